/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/fd.h"
#include "supervisor/mount-as-caller.h"
#include "supervisor/worker.h"

typedef struct Step {
        const Caller *caller;
        int (*act)(struct Step *step);
        int mount_namespace_fd; /* to enter; -1: none */
        int root_fd, cwd_fd;    /* to take; -1: none */
        CapabilitySet lend;     /* besides the caller's own: only where there's no user namespace to enter */

        const char *type;
        int context_fd;
        unsigned command;
        const char *key, *value;
        int tree_fd, watch_fd;
        bool locked;

        pid_t parent;
        int result;
} Step;

static int become_caller(const Step *s) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        CapabilitySet keep = s->caller->effective;

        if (s->mount_namespace_fd >= 0 && setns(s->mount_namespace_fd, CLONE_NEWNS) < 0)
                return -errno;
        if (s->root_fd >= 0 && (fchdir(s->root_fd) < 0 || chroot(".") < 0))
                return -errno;
        if (s->cwd_fd >= 0 && fchdir(s->cwd_fd) < 0)
                return -errno;

        if (s->caller->userns->kind == USERNS_OURS)
                keep |= s->lend;
        else if (setns(s->caller->userns->fd, CLONE_NEWUSER) < 0)
                return -errno;

        const struct __user_cap_data_struct data[2] = {
                { .effective = (uint32_t) keep, .permitted = (uint32_t) keep },
                { .effective = (uint32_t) (keep >> 32), .permitted = (uint32_t) (keep >> 32) },
        };

        return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static int step_child(void *userdata) {
        Step *s = userdata;

        s->result = become_caller(s);
        if (s->result >= 0) /* It may be waiting for ever when we're killed for that. */
                s->result = worker_end_with(s->parent);
        if (s->result >= 0)
                s->result = s->act(s);
        return 0;
}

static int run(Step *s) {
        static char stack[256 * 1024] __attribute__((aligned(64)));
        int status;
        pid_t pid;

        s->parent = getpid();
        s->result = -EIO;
        pid = clone(step_child, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, s);
        if (pid < 0)
                return -errno;
        if (waitpid(pid, &status, 0) < 0)
                return -errno;

        return s->result;
}

static int act_fsopen(Step *s) {
        int fd = (int) syscall(SYS_fsopen, s->type, FSOPEN_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

int mount_as_caller_fsopen(const Caller *caller, int mount_namespace_fd, const char *type) {
        Step s = {
                .caller = caller,
                .act = act_fsopen,
                .mount_namespace_fd = mount_namespace_fd,
                .root_fd = -1,
                .cwd_fd = -1,
                .lend = CAPABILITY_BIT(CAP_SYS_ADMIN),
                .type = type,
        };

        return run(&s);
}

static int act_set(Step *s) {
        return syscall(SYS_fsconfig, s->context_fd, s->command, s->key, s->value, 0) < 0 ? -errno : 0;
}

int mount_as_caller_set(const Caller *caller, int cwd_fd, int context_fd, unsigned command, const char *key,
                const char *value) {
        Step s = {
                .caller = caller,
                .act = act_set,
                .mount_namespace_fd = -1,
                .root_fd = caller->root_fd,
                .cwd_fd = cwd_fd,
                .context_fd = context_fd,
                .command = command,
                .key = key,
                .value = value,
        };

        return run(&s);
}

static int act_open(Step *s) {
        const int flags = O_RDONLY | O_DIRECTORY | O_NOCTTY | O_CLOEXEC;
        _cleanup_close_ int fd = -1;

        fd = openat(s->tree_fd, ".", flags);
        if (fd < 0)
                return -errno;

        s->locked = flock(fd, LOCK_SH | LOCK_NB) >= 0;

        s->watch_fd = openat(s->tree_fd, ".", flags);
        if (s->watch_fd < 0)
                return -errno;

        return TAKE_FD(fd);
}

int mount_as_caller_open(
                const Caller *caller, int tree_fd, int *ret_fd, int *ret_watch_fd, bool *ret_locked) {
        Step s = {
                .caller = caller,
                .act = act_open,
                .mount_namespace_fd = -1,
                .root_fd = -1,
                .cwd_fd = -1,
                .tree_fd = tree_fd,
                .watch_fd = -1,
        };
        int fd = run(&s);

        if (fd < 0)
                return fd;

        *ret_fd = fd;
        *ret_watch_fd = s.watch_fd;
        *ret_locked = s.locked;
        return 0;
}
