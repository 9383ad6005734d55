/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdbool.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/fd.h"
#include "daemon/kernel-features.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#        define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#        define SECCOMP_IOCTL_NOTIF_SET_FLAGS      SECCOMP_IOW(4, __u64)
#        define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif
#ifndef PIDFD_THREAD
#        define PIDFD_THREAD O_EXCL
#endif

/* A listener to ask questions of. It takes a process to load the filter in, which leaves the descriptor in
 * our table, shared with it, and ends. Return: the listener, or a negative errno. */
static int make_listener(void) {
        static struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
        struct sock_fprog program = { .len = 1, .filter = &allow };
        _Atomic int *result;
        int fd;
        pid_t pid;

        result = mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (result == MAP_FAILED)
                return -errno;
        atomic_store(result, -EIO);

        pid = (pid_t) syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
        if (pid == 0) {
                (void) prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                fd = (int) syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
                                &program);
                atomic_store(result, fd < 0 ? -errno : fd);
                _exit(0);
        }
        if (pid > 0)
                while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                        ;

        fd = atomic_load(result);
        (void) munmap(result, sizeof(*result));
        return fd;
}

/* No address to read the filter from: EFAULT if the flags are known, EINVAL if not. */
static bool has_filter_flag(unsigned long flag) {
        return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER | flag, NULL) <
                               0 &&
               errno == EFAULT;
}

char **features_probe(void) {
        struct seccomp_notif_addfd addfd = { .srcfd = STDERR_FILENO };
        _cleanup_close_ int listener = make_listener(), thread = -1;
        GPtrArray *names = g_ptr_array_new();

        if (has_filter_flag(0))
                g_ptr_array_add(names, g_strdup("notify"));
        if (has_filter_flag(SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV))
                g_ptr_array_add(names, g_strdup("wait-killable"));

        /* Known, but there's no notification 0. */
        if (listener >= 0 && ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &addfd) < 0 && errno == ENOENT)
                g_ptr_array_add(names, g_strdup("addfd"));
        if (listener >= 0 && ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS,
                                             SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP) >= 0)
                g_ptr_array_add(names, g_strdup("sync-wake-up"));

        thread = (int) syscall(SYS_pidfd_open, getpid(), PIDFD_THREAD);
        if (thread >= 0)
                g_ptr_array_add(names, g_strdup("pidfd-thread"));

        g_ptr_array_add(names, NULL);
        return (char **) g_ptr_array_free(names, FALSE);
}
