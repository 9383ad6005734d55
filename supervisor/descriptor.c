/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/capability.h>
#include <linux/kcmp.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/fd.h"
#include "supervisor/descriptor.h"

#ifndef PIDFD_THREAD
#        define PIDFD_THREAD O_EXCL
#endif

/* Before 6.9 only processes have pidfds, which does if the thread shares its leader's descriptors. The leader
 * may have exited, though, and then it has none to share. */
static int open_pidfd(const Caller *caller) {
        int fd;

        fd = (int) syscall(SYS_pidfd_open, caller->tid, PIDFD_THREAD);
        if (fd >= 0 || errno != EINVAL)
                return fd < 0 ? (errno == ESRCH ? -ENOENT : -errno) : fd;

        if (caller->tid != caller->tgid &&
                        syscall(SYS_kcmp, caller->tid, caller->tgid, KCMP_FILES, 0, 0) != 0)
                return -EOPNOTSUPP;

        fd = (int) syscall(SYS_pidfd_open, caller->tgid, 0);
        return fd < 0 ? (errno == ESRCH ? -ENOENT : -errno) : fd;
}

int descriptor_copy(const Caller *caller, int fd, const char *kind) {
        _cleanup_close_ int pidfd = -1, copy = -1;

        if (fd < 0)
                return -EBADF;

        pidfd = open_pidfd(caller);
        if (pidfd < 0)
                return pidfd;

        copy = (int) syscall(SYS_pidfd_getfd, pidfd, fd, 0);
        if (copy < 0)
                return errno == ESRCH ? -ENOENT : -errno;

        return descriptor_is(copy, kind) ? TAKE_FD(copy) : -EINVAL;
}

int descriptor_give(const Caller *caller, int fd, bool cloexec, int number) {
        struct seccomp_notif_addfd give = {
                .id = caller->id,
                .srcfd = (uint32_t) fd,
                .flags = number >= 0 ? SECCOMP_ADDFD_FLAG_SETFD : 0,
                .newfd = number >= 0 ? (uint32_t) number : 0,
                .newfd_flags = cloexec ? O_CLOEXEC : 0,
        };
        int given = ioctl(caller->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &give);

        return given < 0 ? -errno : given;
}

bool descriptor_is(int fd, const char *kind) {
        char path[64], target[64], wanted[64];
        ssize_t n;

        snprintf(path, sizeof(path), "/proc/self/fd/%i", fd);
        snprintf(wanted, sizeof(wanted), "%s%s", *kind == '/' ? "" : "anon_inode:", kind);

        /* No file of any file system looks like the latter: the names of those begin with a slash or "(". */
        n = readlink(path, target, sizeof(target) - 1);
        return n == (ssize_t) strlen(wanted) && memcmp(target, wanted, (size_t) n) == 0;
}

#define INFO_MAX 1024

static int info_read(int directory, const char *name, char ret[INFO_MAX]) {
        _cleanup_close_ int fd = -1;
        ssize_t n;

        fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
        n = fd < 0 ? -1 : read(fd, ret, INFO_MAX - 1);
        if (n < 0)
                return -errno;
        ret[n] = 0;
        return 0;
}

static int info_read_own(int fd, char ret[INFO_MAX]) {
        g_autofree char *path = g_strdup_printf("/proc/self/fdinfo/%i", fd);

        return info_read(AT_FDCWD, path, ret);
}

bool descriptor_says(int fd, const char *field, unsigned number) {
        g_autofree char *line = g_strdup_printf("\n%s:\t%u\n", field, number);
        char text[INFO_MAX];

        return info_read_own(fd, text) >= 0 && strstr(text, line);
}

int descriptor_read_bits(int fd, const char *field, uint64_t *ret) {
        g_autofree char *start = g_strdup_printf("\n%s:\t", field);
        char text[INFO_MAX], *line, *end;
        int r;

        r = info_read_own(fd, text);
        if (r < 0)
                return r;

        line = strstr(text, start);
        if (!line)
                return -ENODATA;
        line += strlen(start);

        if (g_str_has_prefix(line, "any\n")) {
                *ret = UINT64_MAX;
                return 0;
        }

        errno = 0;
        *ret = g_ascii_strtoull(line, &end, 0);
        return errno != 0 || end == line || *end != '\n' ? -ENODATA : 0;
}

int descriptor_find(const Caller *caller, const char *field, unsigned number) {
        g_autofree char *line = g_strdup_printf("\n%s:\t%u\n", field, number);
        char text[INFO_MAX];
        int fd, r = -EBADF;
        DIR *directory;

        if (privilege_raise(CAPABILITY_BIT(CAP_DAC_READ_SEARCH)) < 0)
                return -EPERM;

        fd = openat(caller->proc_fd, "fdinfo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        directory = fd < 0 ? NULL : fdopendir(fd);
        if (!directory) {
                r = -errno;
                close_fd(fd);
                (void) privilege_raise(0);
                return r;
        }

        for (struct dirent *entry; r < 0 && (entry = readdir(directory));)
                if (entry->d_name[0] != '.' && info_read(dirfd(directory), entry->d_name, text) >= 0 &&
                                strstr(text, line))
                        r = atoi(entry->d_name);

        closedir(directory);
        return privilege_raise(0) < 0 ? -EPERM : r;
}
