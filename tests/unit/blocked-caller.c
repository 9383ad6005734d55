/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/fd.h"
#include "tests/unit/blocked-caller.h"

static int load_filter(void) {
        struct sock_filter insns[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_getppid, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = { .len = 4, .filter = insns };

        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return -errno;
        return (int) syscall(
                        SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

/* The child's part; says on the socket when the parent is to write the maps. */
static void enter_user_namespace(int sock, uid_t owner) {
        char c = 'm';

        /* Who makes it owns it. The effective uid is enough, and with the saved one we stay dumpable, so that
         * the maps can be written. */
        if (owner != 0 && (setresgid(owner, owner, owner) < 0 || setresuid(owner, owner, owner) < 0))
                _exit(41);
        if (owner != 0)
                (void) prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
        if (unshare(CLONE_NEWUSER) < 0)
                _exit(42);
        if (write(sock, &c, 1) != 1 || read(sock, &c, 1) != 1)
                _exit(43);
        if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
                _exit(44);
}

static void *thread_main(void *userdata) {
        (void) syscall(__NR_getppid);
        return NULL;
}

static _Noreturn void child_main(int sock, const BlockedCallerOptions *options) {
        pthread_t thread;
        int listener;

        if (options->user_namespace)
                enter_user_namespace(sock, options->user_namespace_owner);
        if (options->nested && unshare(CLONE_NEWUSER) < 0)
                _exit(45);
        if (options->prepare)
                options->prepare(options->userdata);

        listener = load_filter();
        if (listener < 0 || send_fds(sock, "l", 1, &listener, 1, 0) < 0)
                _exit(46);
        close(listener);

        if (options->thread) {
                if (pthread_create(&thread, NULL, thread_main, NULL) != 0)
                        _exit(47);
                pthread_join(thread, NULL);
        } else
                (void) syscall(__NR_getppid);

        _exit(0);
}

static void write_map(pid_t child, const char *name, const char *text) {
        char path[64];
        int fd;

        snprintf(path, sizeof(path), "/proc/%i/%s", (int) child, name);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t) strlen(text), "%s: %m", path);
        close(fd);
}

/* fork(2), with a process id of our choice if it isn't 0 (clone3(2)). */
static pid_t fork_as(pid_t pid) {
        struct clone_args args = {
                .exit_signal = SIGCHLD,
                .set_tid = (uintptr_t) &pid,
                .set_tid_size = 1,
        };

        return pid == 0 ? fork() : (pid_t) syscall(SYS_clone3, &args, sizeof(args));
}

void blocked_caller_start(BlockedCaller *c, const BlockedCallerOptions *options) {
        struct seccomp_notif n = {};
        int sock[2], r;
        char byte;

        *c = (BlockedCaller){ .listener = -1 };
        cr_assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock) == 0);

        c->child = fork_as(options->pid);
        cr_assert(c->child >= 0);
        if (c->child == 0)
                child_main(sock[1], options);
        close(sock[1]);

        if (options->user_namespace) {
                cr_assert(read(sock[0], &byte, 1) == 1, "the child could not make its user namespace");
                write_map(c->child, "uid_map", options->uid_map ?: "0 100000 65536");
                write_map(c->child, "gid_map", "0 100000 65536");
                cr_assert(write(sock[0], "g", 1) == 1);
        }

        cr_assert(receive_fds(sock[0], &byte, 1, &c->listener, 1, 0) == 1 && c->listener >= 0);
        close(sock[0]);

        do
                r = ioctl(c->listener, SECCOMP_IOCTL_NOTIF_RECV, &n);
        while (r < 0 && errno == EINTR);
        cr_assert(r == 0, "%m");
        c->tid = (pid_t) n.pid;
        c->id = n.id;
}

void blocked_caller_stop(BlockedCaller *c) {
        struct seccomp_notif_resp response = { .id = c->id };

        (void) ioctl(c->listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
        c->listener = close_fd(c->listener);
        (void) kill(c->child, SIGKILL);
        (void) waitpid(c->child, NULL, 0);
}
