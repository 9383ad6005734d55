/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "basic/protocol.h"
#include "launcher/handover.h"
#include "launcher/message.h"
#include "launcher/notify.h"

#define RETRY_MSEC 100

#define FDS_MAX 2

static int make_address(const char *path, struct sockaddr_un *ret, socklen_t *ret_size) {
        size_t n = strlen(path);

        if ((path[0] != '/' && path[0] != '@') || n < 2 || n >= sizeof(ret->sun_path))
                return -EINVAL;

        *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
        memcpy(ret->sun_path, path, n);
        if (path[0] == '@')
                ret->sun_path[0] = 0;

        /* A path counts its NUL, an abstract name doesn't. */
        *ret_size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + n + (path[0] == '/' ? 1 : 0));
        return 0;
}

/* Sends one datagram. It waits while the socket's queue is full, up to the time-out: then -EAGAIN. */
static int send_datagram(const char *path, const char *text, const int *fds, size_t n_fds, int timeout_msec) {
        alignas(struct cmsghdr) char control[CMSG_SPACE(FDS_MAX * sizeof(int))] = {};
        struct timeval timeout = {
                .tv_sec = timeout_msec / 1000,
                .tv_usec = (timeout_msec % 1000) * 1000,
        };
        struct iovec iov = { .iov_base = (char *) text, .iov_len = strlen(text) };
        struct sockaddr_un address;
        struct msghdr message = {
                .msg_name = &address,
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = control,
                .msg_controllen = CMSG_SPACE(n_fds * sizeof(int)),
        };
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        ssize_t n;
        int sock, r;

        r = make_address(path, &address, &message.msg_namelen);
        if (r < 0)
                return r;

        sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (sock < 0)
                return -errno;

        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(header), fds, n_fds * sizeof(int));

        (void) setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
        do
                n = sendmsg(sock, &message, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        r = n < 0 ? -errno : 0;

        (void) close(sock);
        return r;
}

static int explain_unreachable(const char *path, int error) {
        switch (-error) {
        case ENOENT:
        case ENOTDIR:
        case ECONNREFUSED:
                return complain(error,
                                "deputyd isn't there (%s: %m). Start its socket with \"systemctl enable "
                                "--now "
                                "deputyd.socket\", or do without it, in the embedded mode: \"deputy-run "
                                "--policy=FILE -- COMMAND\" or \"deputy-run --profile=NAME -- COMMAND\"",
                                path);
        case EAFNOSUPPORT:
                return complain(error,
                                "Not allowed to make a local socket: %m. If this is a unit with "
                                "RestrictAddressFamilies=, add \"RestrictAddressFamilies=AF_UNIX\" to it");
        case EAGAIN:
                return complain(ETIMEDOUT,
                                "deputyd.socket is there (%s), but its queue stays full: see \"systemctl "
                                "status deputyd.service\"",
                                path);
        case EINVAL:
                return complain(error,
                                "$DEPUTYD_NOTIFY_SOCKET isn't an absolute path or \"@\" and a name, of less "
                                "than 108 bytes: %s",
                                path);
        case EPERM:
        case EACCES:
                return complain(error,
                                "Not allowed to talk to deputyd at %s: %m. Check the permissions of the "
                                "socket "
                                "and, if this is a unit with SystemCallFilter=, that it has \"@network-io\"",
                                path);
        default:
                return complain(error, "Failed to talk to deputyd at %s: %m", path);
        }
}

static void format_unit(char *line, size_t size, const char *unit) {
        if (unit)
                (void) snprintf(line, size, "UNIT=%s\n", unit);
        else
                *line = 0;
}

int notify_request(const char *path, const char *unit, int timeout_msec) {
        char text[512], unit_line[300];
        int pair[2], fds[FDS_MAX], r;

        narrate("Asking deputyd at %s for a filter", path);

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
                if (errno == EAFNOSUPPORT)
                        return explain_unreachable(path, -errno);
                return complain(errno, "Failed to make a pair of sockets: %m");
        }

        format_unit(unit_line, sizeof(unit_line), unit);
        (void) snprintf(text, sizeof(text), "DEPUTY_RUN=1\n%s", unit_line);

        /* With our pidfd the receiver needn't fear that our pid is another process by the time it looks. The
         * call may be forbidden or missing, and is just a help. */
        fds[0] = pair[1];
        fds[1] = (int) syscall(SYS_pidfd_open, getpid(), 0);

        r = send_datagram(path, text, fds, fds[1] >= 0 ? 2 : 1, timeout_msec);

        /* From here on the far end is the server's alone, so we see it if the server goes away. */
        (void) close(pair[1]);
        if (fds[1] >= 0)
                (void) close(fds[1]);

        if (r < 0) {
                (void) close(pair[0]);
                return explain_unreachable(path, r);
        }

        return pair[0];
}

/* Waits until everything that was sent before has been dealt with. */
static int barrier(const char *path, long long until_msec) {
        int fds[2], r;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;

        r = send_datagram(path, "BARRIER=1", &fds[1], 1, (int) (until_msec - now_msec()));
        (void) close(fds[1]);
        if (r >= 0)
                r = wait_for(fds[0], 0, until_msec); /* POLLHUP needs not be asked for */

        (void) close(fds[0]);
        return r;
}

int notify_store(const char *path, const char *unit, int listener, int timeout_msec) {
        long long until = now_msec() + timeout_msec;
        char text[512], unit_line[300];
        int r;

        narrate("The server is gone, handing the listener over to the next one");

        format_unit(unit_line, sizeof(unit_line), unit);
        (void) snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=deputy-run\n%s", unit_line);

        for (;;) {
                struct timespec pause = { .tv_nsec = RETRY_MSEC * 1000000L };
                long long left = until - now_msec();

                r = left > 0 ? send_datagram(path, text, &listener, 1, (int) left) : -ETIMEDOUT;
                if (r >= 0)
                        break;

                /* The socket is PID 1's and outlives deputyd, but "systemctl restart deputyd.socket" is a
                 * moment without it. */
                if (r != -ENOENT && r != -ECONNREFUSED)
                        break;

                (void) nanosleep(&pause, NULL);
        }

        if (r >= 0)
                r = barrier(path, until);
        if (r < 0)
                return complain(r,
                                "The server went away in the middle of the handover, and nobody takes the "
                                "listener over: %m. Without that the intercepted calls would fail, so the "
                                "command isn't run; see \"systemctl status deputyd.socket deputyd.service\"");

        narrate("The listener is handed over");
        return 0;
}
