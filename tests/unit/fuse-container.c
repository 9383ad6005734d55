/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/fd.h"
#include "tests/unit/fuse-container.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#        define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

#define CHECK(x)                                                                                             \
        do {                                                                                                 \
                if ((x) < 0) {                                                                               \
                        (void) fprintf(stderr, "fuse-container.c:%i: %s: %s\n", __LINE__, #x,                \
                                        strerror(errno));                                                    \
                        _exit(40);                                                                           \
                }                                                                                            \
        } while (0)

static int load(int nr, uint32_t action, unsigned flags) {
        struct sock_filter insns[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t) nr, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, action),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = { .len = 4, .filter = insns };

        return (int) syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

void fuse_container_load_filter(int nr, int error) {
        CHECK(load(nr, SECCOMP_RET_ERRNO | (uint32_t) error, 0));
}

static void make_root(const FuseContainer *c, const FuseContainerOptions *options) {
        static const char *const links[] = { "bin", "sbin", "lib", "lib32", "lib64", "libx32" };
        g_autofree char *data = NULL;
        gsize size;

        CHECK(unshare(CLONE_NEWNS));
        CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
        if (!g_file_get_contents(FUSE_PROGRAM, &data, &size, NULL))
                _exit(41);
        CHECK(mount("root", c->root, "tmpfs", 0, "mode=0755"));
        CHECK(chdir(c->root));

        for (const char *const *d = (const char *const[]){ "usr", "etc", "proc", "dev", "mnt", "srv", "tmp",
                             "opt", "old", NULL };
                        *d; d++)
                CHECK(mkdir(*d, 0755));
        CHECK(mount("/usr", "usr", NULL, MS_BIND, NULL));
        CHECK(mount("/etc", "etc", NULL, MS_BIND, NULL));
        CHECK(mount("/proc", "proc", NULL, MS_BIND | MS_REC, NULL));
        for (size_t i = 0; i < G_N_ELEMENTS(links); i++) {
                g_autofree char *path = g_strconcat("usr/", links[i], NULL);

                if (access(path, F_OK) == 0)
                        CHECK(symlink(path, links[i]));
        }

        (void) umask(0);
        CHECK(mknod("dev/null", S_IFCHR | 0666, makedev(1, 3)));
        if (!options->no_fuse)
                CHECK(mknod("dev/fuse", S_IFCHR | 0666, makedev(10, 229)));
        CHECK(chmod("tmp", 01777));
        CHECK(chown("mnt", 100000, 100000));
        CHECK(chown("srv", 100000, 100000));
        CHECK(chown("opt", 100000, 100000));
        if (!g_file_set_contents("opt/fuse-program", data, (gssize) size, NULL))
                _exit(42);
        CHECK(chmod("opt/fuse-program", 0755));
        CHECK(chown("opt/fuse-program", 100000, 100000));
        (void) umask(022);

        CHECK(syscall(SYS_pivot_root, ".", "old"));
        CHECK(chdir("/"));
        CHECK(umount2("/old", MNT_DETACH));
        CHECK(rmdir("/old"));
}

static void enter_cgroup(const char *directory) {
        g_autofree char *path = g_strconcat(directory, "/cgroup.procs", NULL);
        int fd;

        if (*directory == 0)
                return;
        fd = open(path, O_WRONLY | O_CLOEXEC);
        CHECK(fd);
        CHECK(write(fd, "0", 1));
        close(fd);
}

static void *thread_main(void *userdata) {
        (void) syscall(__NR_getppid);
        return NULL;
}

static _Noreturn void caller_main(const FuseContainerOptions *options) {
        pthread_t thread;

        if (options->prepare)
                options->prepare(options->userdata);

        if (options->thread) {
                if (pthread_create(&thread, NULL, thread_main, NULL) != 0)
                        _exit(43);
                pthread_join(thread, NULL);
        } else
                (void) syscall(__NR_getppid);
        _exit(0);
}

static _Noreturn void init_main(int sock, const FuseContainerOptions *options) {
        char c;
        pid_t pid;

        if (read(sock, &c, 1) != 1)
                _exit(44);
        close(sock);
        CHECK(setresgid(0, 0, 0));
        CHECK(setresuid(0, 0, 0));
        CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL)); /* a change of ids undoes it */
        CHECK(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
        CHECK(mount("proc", "/proc", "proc", 0, NULL));
        CHECK(sethostname("container", 9));
        fuse_container_load_filter(__NR_sethostname, EXDEV);

        if (options->caller_is_init)
                caller_main(options);

        pid = fork();
        CHECK(pid);
        if (pid == 0)
                caller_main(options);

        for (;;)
                if (waitpid(-1, NULL, 0) < 0)
                        pause();
}

static _Noreturn void outer_main(int sock, const FuseContainer *c, const FuseContainerOptions *options) {
        struct clone_args args = {
                .flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
                         CLONE_NEWUTS | CLONE_NEWCGROUP | 0x80 /* CLONE_NEWTIME */,
                .exit_signal = SIGCHLD,
        };
        int listener, pair[2];
        char byte;
        pid_t pid;

        CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL));
        enter_cgroup(c->unified);
        enter_cgroup(c->legacy);
        make_root(c, options);

        listener = load(__NR_getppid, SECCOMP_RET_USER_NOTIF,
                        SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
        CHECK(listener);
        CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));

        pid = (pid_t) syscall(SYS_clone3, &args, sizeof(args));
        CHECK(pid);
        if (pid == 0) {
                close(listener);
                close(pair[0]);
                init_main(pair[1], options);
        }

        /* Its maps are written by who has /proc. */
        CHECK(send_fds(sock, &pid, sizeof(pid), &listener, 1, 0));
        close(listener);
        if (read(sock, &byte, 1) != 1 || write(pair[0], "g", 1) != 1)
                _exit(45);
        (void) waitpid(pid, NULL, 0);
        _exit(0);
}

/* Our own cgroup directory, below which a new one can be made. */
static void find_cgroup(const char *line, const char *const mounts[], const char *probe, char ret[512]) {
        g_autofree char *text = NULL;
        char *p;

        ret[0] = 0;
        if (!g_file_get_contents("/proc/self/cgroup", &text, NULL, NULL) || !(p = strstr(text, line)))
                return;
        p += strlen(line);
        *strchrnul(p, '\n') = 0;

        for (; *mounts; mounts++) {
                g_autofree char *path = g_strdup_printf("%s%s", *mounts, strcmp(p, "/") == 0 ? "" : p);
                g_autofree char *file = g_strconcat(path, "/", probe, NULL);

                if (access(file, F_OK) < 0)
                        continue;
                /* Not by a pid: one that died before it could clean up may have had the same. */
                (void) snprintf(ret, 512, "%s/deputyd-fuse-XXXXXX", path);
                if (!mkdtemp(ret) || chmod(ret, 0755) < 0)
                        ret[0] = 0;
                return;
        }
}

static void write_map(pid_t pid, const char *name) {
        g_autofree char *path = g_strdup_printf("/proc/%i/%s", (int) pid, name);
        int fd = open(path, O_WRONLY | O_CLOEXEC);

        cr_assert(fd >= 0 && write(fd, "0 100000 65536", 14) == 14, "%s: %m", path);
        close(fd);
}

/* What a test that fails doesn't come to stop: a copy of the one that runs, or zeros. */
static FuseContainer running;

void fuse_container_start(FuseContainer *c, const FuseContainerOptions *options) {
        struct seccomp_notif n = {};
        int sock[2], r;

        *c = (FuseContainer){ .listener = -1 };
        g_strlcpy(c->root, "/tmp/deputyd-fuse-XXXXXX", sizeof(c->root));
        cr_assert(mkdtemp(c->root));
        find_cgroup("0::", (const char *const[]){ "/sys/fs/cgroup/unified", "/sys/fs/cgroup", NULL },
                        "cgroup.controllers", c->unified);
        find_cgroup(":pids:", (const char *const[]){ "/sys/fs/cgroup/pids", NULL }, "tasks", c->legacy);
        cr_assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock) == 0);

        running = *c;

        c->outer = running.outer = fork();
        cr_assert(c->outer >= 0);
        if (c->outer == 0)
                outer_main(sock[1], c, options);
        close(sock[1]);

        cr_assert(receive_fds(sock[0], &c->init, sizeof(c->init), &c->listener, 1, 0) == sizeof(c->init));
        running.init = c->init;
        write_map(c->init, "uid_map");
        write_map(c->init, "gid_map");
        cr_assert(write(sock[0], "g", 1) == 1);
        close(sock[0]);

        cr_assert(poll(&(struct pollfd){ .fd = c->listener, .events = POLLIN }, 1, 30000) == 1,
                        "the caller doesn't call: it has ended while it prepared itself");
        do
                r = ioctl(c->listener, SECCOMP_IOCTL_NOTIF_RECV, &n);
        while (r < 0 && errno == EINTR);
        cr_assert(r == 0, "%m");
        c->caller = (pid_t) n.pid;
        c->id = n.id;
}

/* Return: is nothing left? */
static bool stop(const FuseContainer *c) {
        /* Its pid namespace ends with its init. */
        if (c->init > 0)
                (void) kill(c->init, SIGKILL);
        else if (c->outer > 0)
                (void) kill(c->outer, SIGKILL);
        if (c->outer > 0)
                (void) waitpid(c->outer, NULL, 0);
        (void) rmdir(c->root);

        for (unsigned i = 0; i < FUSE_CONTAINER_LOOKS; i++) {
                bool gone = true;

                if (c->unified[0] && rmdir(c->unified) < 0 && errno != ENOENT)
                        gone = false;
                if (c->legacy[0] && rmdir(c->legacy) < 0 && errno != ENOENT)
                        gone = false;
                if (gone)
                        return true;
                (void) usleep(20000);
        }

        return false;
}

void fuse_container_stop(FuseContainer *c) {
        running = (FuseContainer){};
        c->listener = close_fd(c->listener);
        cr_assert(stop(c), "something is left in the container's cgroups");
}

void fuse_container_clean(void) {
        if (running.root[0])
                (void) stop(&running);
}

/* Calls "f" for each process in its cgroup that it didn't begin with, until it says true. */
static pid_t each_process(const FuseContainer *c, bool (*f)(pid_t pid, void *userdata), void *userdata) {
        const char *directory = c->unified[0] ? c->unified : c->legacy;
        g_autofree char *path = g_strconcat(directory, "/cgroup.procs", NULL), *text = NULL;
        char *p, *end;

        cr_assert(directory[0], "the test needs a cgroup");
        cr_assert(g_file_get_contents(path, &text, NULL, NULL));
        for (p = text;; p = end) {
                pid_t pid = (pid_t) strtol(p, &end, 10);

                if (end == p)
                        return 0;
                if (pid != c->outer && pid != c->init && pid != c->caller && f(pid, userdata))
                        return pid;
        }
}

static bool is_alive(pid_t pid) {
        g_autofree char *path = g_strdup_printf("/proc/%i/stat", (int) pid), *text = NULL;
        const char *p;

        if (!g_file_get_contents(path, &text, NULL, NULL))
                return false;
        p = strrchr(text, ')');
        return p && p[2] != 'Z' && p[2] != 'X';
}

static bool count_one(pid_t pid, void *userdata) {
        *(unsigned *) userdata += is_alive(pid);
        return false;
}

unsigned fuse_container_count(const FuseContainer *c) {
        unsigned n = 0;

        (void) each_process(c, count_one, &n);
        return n;
}

static bool has_program(pid_t pid, void *userdata) {
        g_autofree char *path = g_strdup_printf("/proc/%i/exe", (int) pid);
        char link[PATH_MAX];
        ssize_t n = readlink(path, link, sizeof(link) - 1);

        if (n < 0)
                return false;
        link[n] = 0;
        return is_alive(pid) && g_str_has_suffix(link, userdata);
}

pid_t fuse_container_find(const FuseContainer *c, const char *name) {
        return each_process(c, has_program, (void *) name);
}

unsigned fuse_container_count_mounts(const FuseContainer *c) {
        g_autofree char *path = g_strdup_printf("/proc/%i/mountinfo", (int) c->init), *text = NULL;
        unsigned n = 0;

        cr_assert(g_file_get_contents(path, &text, NULL, NULL));
        for (const char *p = text; (p = strstr(p, " - fuse")); p++)
                n += !g_str_has_prefix(p, " - fusectl");
        return n;
}
