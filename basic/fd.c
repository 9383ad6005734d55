/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/seccomp.h>

#include "basic/fd.h"
#include "basic/protocol.h"

int close_fd(int fd) {
        if (fd >= 0) {
                int saved = errno;

                (void) close(fd);
                errno = saved;
        }

        return -1;
}

int send_fds(int sock, const void *data, size_t size, const int *fds, size_t n_fds, int flags) {
        union {
                struct cmsghdr header;
                char buffer[CMSG_SPACE(PROTOCOL_FDS_MAX * sizeof(int))];
        } control = {};
        struct iovec iov = { .iov_base = (void *) data, .iov_len = size };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
        ssize_t n;

        if (n_fds > PROTOCOL_FDS_MAX)
                return -E2BIG;

        if (n_fds > 0) {
                message.msg_control = &control;
                message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
                control.header.cmsg_level = SOL_SOCKET;
                control.header.cmsg_type = SCM_RIGHTS;
                control.header.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
                memcpy(CMSG_DATA(&control.header), fds, n_fds * sizeof(int));
        }

        do
                n = sendmsg(sock, &message, flags | MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;

        return (size_t) n == size ? 0 : -EIO;
}

ssize_t receive_fds(int sock, void *data, size_t size, int *ret_fds, size_t n_fds, int flags) {
        union {
                struct cmsghdr header;
                char buffer[CMSG_SPACE(PROTOCOL_FDS_MAX * sizeof(int)) + CMSG_SPACE(64)];
        } control = {};
        struct iovec iov = { .iov_base = data, .iov_len = size };
        struct msghdr message = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        size_t n_received = 0;
        bool too_many;
        ssize_t n;

        for (size_t i = 0; i < n_fds; i++)
                ret_fds[i] = -1;

        do
                n = recvmsg(sock, &message, flags | MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;

        too_many = message.msg_flags & MSG_CTRUNC;

        for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                        continue;

                for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
                        int fd;

                        memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
                        if (n_received < n_fds)
                                ret_fds[n_received++] = fd;
                        else {
                                close_fd(fd);
                                too_many = true;
                        }
                }
        }

        if (too_many || (message.msg_flags & MSG_TRUNC)) {
                for (size_t i = 0; i < n_fds; i++)
                        ret_fds[i] = close_fd(ret_fds[i]);

                return too_many ? -EXFULL : -EMSGSIZE;
        }

        return n;
}

int memfd_new_sealed(const char *name, const void *data, size_t size) {
        _cleanup_close_ int fd = -1;
        size_t done = 0;

        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0)
                return -errno;

        while (done < size) {
                ssize_t n = pwrite(fd, (const char *) data + done, size - done, (off_t) done);

                if (n < 0)
                        return -errno;
                done += (size_t) n;
        }

        if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
                return -errno;

        return TAKE_FD(fd);
}

int read_fd_full(int fd, size_t max, char **ret, size_t *ret_size) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        guint8 buffer[4096];

        for (;;) {
                ssize_t n = pread(fd, buffer, sizeof(buffer), (off_t) bytes->len);

                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                if (bytes->len + (size_t) n > max)
                        return -E2BIG;

                g_byte_array_append(bytes, buffer, (guint) n);
        }

        if (ret_size)
                *ret_size = bytes->len;

        g_byte_array_append(bytes, (const guint8 *) "", 1);
        *ret = (char *) g_byte_array_free(g_steal_pointer(&bytes), FALSE);
        return 0;
}

int fd_is_seccomp_listener(int fd) {
        char path[sizeof("/proc/self/fd/") + 3 * sizeof(int)], target[64] = "";
        uint64_t id = 0;
        ssize_t n;

        snprintf(path, sizeof(path), "/proc/self/fd/%i", fd);

        n = readlink(path, target, sizeof(target) - 1);
        if (n < 0)
                return -errno;
        if (strcmp(target, "anon_inode:seccomp notify") != 0)
                return 0;

        /* The name of an anonymous inode is the kernel's, but ask the file itself as well: id 0 is never in
         * flight, so a listener answers ENOENT, and whatever else answers something else. */
        if (ioctl(fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) >= 0 || errno != ENOENT)
                return 0;

        return 1;
}
