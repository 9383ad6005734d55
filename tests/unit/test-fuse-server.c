/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* supervisor/fuse-server.c and what it's made of: a server is what the caller would have started itself, and
 * nothing is left of one that didn't get ready. */

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/clock.h"
#include "basic/fd.h"
#include "supervisor/fuse-server.h"
#include "supervisor/fuse-stderr.h"
#include "supervisor/target-seccomp.h"
#include "tests/unit/fuse-container.h"

/* The runner itself (with --jobs=2, if tests take their time) loses 48 bytes, which isn't what we look for.
 */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
        return "leak:libcriterion.so";
}

static void setup(void) {
        if (geteuid() != 0)
                cr_skip_test("needs root");
        if (access("/dev/fuse", F_OK) < 0)
                cr_skip_test("needs FUSE");
        cr_assert(caller_setup() == 0);
}

TestSuite(fuse_server, .init = setup, .fini = fuse_container_clean, .timeout = 100);

static Caller open_caller(const FuseContainer *c) {
        Caller caller = CALLER_INIT;

        caller_init(&caller, c->listener, c->id, c->caller);
        cr_assert(caller_identify(&caller) == 0);
        return caller;
}

/* What a handler would have looked up. */
static int open_target(const FuseContainer *c, const char *path) {
        g_autofree char *full = g_strdup_printf("/proc/%i/root%s", (int) c->caller, path);
        int fd = open(full, O_PATH | O_CLOEXEC);

        cr_assert(fd >= 0, "%s: %m", full);
        return fd;
}

typedef struct Start {
        const char *program, *source, *options, *target;
        uint64_t usec;
        int journal_fd;
        const char *const *fields;
        size_t n_fields;
} Start;

static int start(const FuseContainer *c, const Start *s, FuseResult *ret) {
        Caller caller = open_caller(c);
        _cleanup_close_ int target = open_target(c, s->target ?: "/mnt");
        FuseServer server = {
                .caller = &caller,
                .program = s->program ?: FUSE_CONTAINER_PROGRAM,
                .source = s->source,
                .target_fd = target,
                .options = s->options,
                .start_usec = s->usec,
                .journal_fd = s->fields ? s->journal_fd : -1,
                .journal_fields = s->fields,
                .n_journal_fields = s->n_fields,
        };
        int r = fuse_server_start(&server, ret);

        caller_close(&caller);
        return r;
}

#define START(...) (&(Start){ __VA_ARGS__ })

static void expect_nothing_left(const FuseContainer *c) {
        for (unsigned i = 0; fuse_container_count(c) > 0 && i < FUSE_CONTAINER_LOOKS; i++)
                (void) usleep(20000);
        cr_expect_eq(fuse_container_count(c), 0, "a process is left");
        cr_expect_eq(fuse_container_count_mounts(c), 0, "a mount is left");
        cr_expect_eq(waitpid(-1, NULL, WNOHANG), 0, "a child of ours is left");
}

static char *read_file(pid_t pid, const char *name, gsize *ret_size) {
        g_autofree char *path = g_strdup_printf("/proc/%i/%s", (int) pid, name);
        char *text = NULL;

        cr_assert(g_file_get_contents(path, &text, ret_size, NULL), "%s", path);
        return text;
}

static void expect_line(const char *text, const char *line) {
        g_autofree char *wanted = g_strdup_printf("\n%s\n", line), *all = g_strdup_printf("\n%s", text);

        cr_expect(strstr(all, wanted), "there's no line \"%s\" in\n%s", line, text);
}

static void expect_same_line(const char *a, const char *b, const char *name) {
        g_autofree char *start_of = g_strdup_printf("\n%s:", name);
        const char *x = strstr(a, start_of), *y = strstr(b, start_of);

        cr_assert(x && y, "%s", name);
        cr_expect(strncmp(x, y, strcspn(x + 1, "\n") + 2) == 0, "%s: %.60s, not %.60s", name, x, y);
}

static CapabilitySet capabilities(const char *status, const char *name) {
        const char *line = strstr(status, name);

        cr_assert(line && line[6] == ':');
        return strtoull(line + 7, NULL, 16);
}

/* In the caller: there's no assertion to fail there. */
__attribute__((noreturn)) static void prepare_failed(int where) {
        (void) fprintf(stderr, "the caller can't prepare itself: step %i: %s\n", where, strerror(errno));
        _exit(where);
}

/* A caller that differs from us and from its init in all that can be taken over. */
static void become_special(void *userdata) {
        static const gid_t groups[] = { 5, 6, 1000 };
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2];
        int fd;

        umask(027);
        if (chdir("/srv") < 0 || setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 333, 444 }) < 0 ||
                        setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 4096 }) < 0 ||
                        setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ 65536, 131072 }) < 0 ||
                        setgroups(3, groups) < 0)
                prepare_failed(50);

        fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, "77", 2) != 2)
                prepare_failed(51);
        close(fd);

        /* One capability only out of the bounding set, another one only out of the permitted one. */
        if (prctl(PR_CAPBSET_DROP, CAP_NET_RAW) < 0 || syscall(SYS_capget, &header, data) < 0)
                prepare_failed(52);
        for (unsigned i = 0; i < 2; i++)
                data[i].inheritable = 0;
        data[0].effective &= ~(1u << CAP_SYS_TIME);
        data[0].permitted &= ~(1u << CAP_SYS_TIME);
        data[0].inheritable = 1u << CAP_CHOWN;
        if (syscall(SYS_capset, &header, data) < 0)
                prepare_failed(53);
}

static void spoil_ourselves(void) {
        /* The kernel's struct sigaction: SIG_IGN. 32 and 33 are the C library's. */
        static const unsigned long ignore[4] = { 1 };
        uint64_t all = ~UINT64_C(0);

        for (int i = 1; i <= 64; i++)
                if (i != SIGKILL && i != SIGSTOP && i != SIGCHLD)
                        (void) syscall(SYS_rt_sigaction, i, ignore, NULL, 8);
        (void) syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, NULL, 8);
        (void) open("/etc/passwd", O_RDONLY); /* without O_CLOEXEC */
        (void) setenv("SECRET", "of the supervisor", 1);
        (void) prctl(PR_SET_TIMERSLACK, 77777);
}

Test(fuse_server, takes_over_all_of_the_caller) {
        static const char *const namespaces[] = { "user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time",
                "pid_for_children", "time_for_children" };
        g_autofree char *status = NULL, *theirs = NULL, *limits = NULL, *their_limits = NULL,
                        *environment = NULL, *cgroup = NULL, *their_cgroup = NULL, *oom = NULL,
                        *stat_text = NULL, *report = NULL, *command = NULL;
        CapabilitySet bounding, permitted, effective, expected;
        gsize size;
        FuseContainer c;
        FuseResult result;
        pid_t server;
        int r;

        fuse_container_start(&c, &(FuseContainerOptions){ .prepare = become_special });
        spoil_ourselves();
        r = start(&c, START(.source = "report", .options = "ro,noatime"), &result);
        cr_assert(r == 0, "%i %s", r, result.message);
        cr_expect_gt(result.mount_id, 0);
        cr_expect_eq(fuse_container_count_mounts(&c), 1);

        server = fuse_container_find(&c, "/fuse-program");
        cr_assert(server > 0);
        status = read_file(server, "status", NULL);
        theirs = read_file(c.caller, "status", NULL);

        for (size_t i = 0; i < G_N_ELEMENTS(namespaces); i++) {
                g_autofree char *a = g_strdup_printf("/proc/%i/ns/%s", (int) server, namespaces[i]);
                g_autofree char *b = g_strdup_printf("/proc/%i/ns/%s", (int) c.caller, namespaces[i]);
                g_autofree char *own = g_strdup_printf("/proc/self/ns/%s", namespaces[i]);
                struct stat x, y, z;

                cr_assert(stat(a, &x) == 0 && stat(b, &y) == 0 && stat(own, &z) == 0);
                cr_expect_eq(x.st_ino, y.st_ino, "%s", namespaces[i]);
                cr_expect_neq(x.st_ino, z.st_ino, "%s", namespaces[i]);
        }

        expect_line(status, "Uid:\t100000\t100000\t100000\t100000");
        expect_line(status, "Gid:\t100000\t100000\t100000\t100000");
        expect_line(status, "Groups:\t100005 100006 101000 ");
        expect_line(status, "Umask:\t0027");
        expect_line(status, "NoNewPrivs:\t0");
        expect_line(status, "Seccomp:\t2");
        expect_line(status, "Seccomp_filters:\t2");
        expect_line(status, "SigBlk:\t0000000000000000");
        expect_line(status, "SigIgn:\t0000000000000000");
        expect_line(status, "SigCgt:\t0000000000000000");
        expect_line(status, "CapAmb:\t0000000000000000");
        expect_same_line(status, theirs, "CapInh");

        /* What the caller has and could pass on. */
        expected = capabilities(theirs, "CapPrm") & capabilities(theirs, "CapBnd");
        effective = capabilities(status, "CapEff");
        permitted = capabilities(status, "CapPrm");
        bounding = capabilities(status, "CapBnd");
        cr_expect_eq(permitted, expected);
        cr_expect_eq(effective, expected);
        cr_expect_eq(bounding, permitted);
        cr_expect(effective & CAPABILITY_BIT(CAP_SYS_ADMIN));
        cr_expect_not(bounding & CAPABILITY_BIT(CAP_SYS_TIME));
        cr_expect_not(bounding & CAPABILITY_BIT(CAP_NET_RAW));

        limits = read_file(server, "limits", NULL);
        their_limits = read_file(c.caller, "limits", NULL);
        cr_expect_str_eq(limits, their_limits);
        oom = read_file(server, "oom_score_adj", NULL);
        cr_expect_str_eq(oom, "77\n");
        cgroup = read_file(server, "cgroup", NULL);
        their_cgroup = read_file(c.caller, "cgroup", NULL);
        cr_expect_str_eq(cgroup, their_cgroup);
        cr_expect(strstr(cgroup, "deputyd-fuse"));

        environment = read_file(server, "environ", &size);
        cr_expect_eq(size, sizeof("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/"
                                  "bin\0LANG=C.UTF-8"));
        cr_expect_str_eq(environment, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        cr_expect_str_eq(environment + strlen(environment) + 1, "LANG=C.UTF-8");
        command = read_file(server, "cmdline", &size);
        cr_expect_eq(size, sizeof("fuse-program\0report\0/mnt\0-o\0ro,noatime"));
        cr_expect(memcmp(command, "fuse-program\0report\0/mnt\0-o\0ro,noatime", size) == 0);

        /* Leader of a session: fields 6 (and 5), after pid, name and state. */
        stat_text = read_file(server, "stat", NULL);
        {
                int parent, group, session;
                g_autofree char *parent_status = NULL;

                cr_assert(sscanf(strrchr(stat_text, ')'), ") %*c %i %i %i", &parent, &group, &session) == 3);
                cr_expect_eq(group, server);
                cr_expect_eq(session, server);
                /* It talks, so its minder is still there: in the container, and with nothing that the server
                 * hasn't. */
                parent_status = read_file(parent, "status", NULL);
                expect_same_line(status, parent_status, "Uid");
                expect_same_line(status, parent_status, "CapPrm");
                expect_same_line(status, parent_status, "CapBnd");
                cr_expect_neq(parent, c.init);
        }

        report = ({
                g_autofree char *path = g_strdup_printf("/proc/%i/root/tmp/report", (int) c.init);
                char *text;

                cr_assert(g_file_get_contents(path, &text, NULL, NULL));
                text;
        });
        expect_line(report, "securebits 0");
        expect_line(report, "parent_death_signal 0");
        expect_line(report, "getppid 1");      /* not intercepted: there's no listener */
        expect_line(report, "sethostname 18"); /* EXDEV, by the container's filter */
        expect_line(report, "setdomainname 0");

        fuse_container_stop(&c);
        /* It dies with the container. */
        cr_expect(kill(server, 0) < 0 && errno == ESRCH);
}

Test(fuse_server, has_no_descriptors_but_its_own) {
        g_autofree char *path = NULL, *cwd = NULL;
        unsigned n = 0;
        struct dirent *entry;
        char link[PATH_MAX];
        FuseContainer c;
        FuseResult result;
        ssize_t size;
        pid_t server;
        DIR *dir;

        fuse_container_start(&c, &(FuseContainerOptions){ .prepare = become_special });
        spoil_ourselves();
        cr_assert_eq(start(&c, START(.source = "foreground"), &result), 0);
        server = fuse_container_find(&c, "/fuse-program");
        cr_assert(server > 0);

        path = g_strdup_printf("/proc/%i/fd", (int) server);
        dir = opendir(path);
        cr_assert(dir);
        while ((entry = readdir(dir))) {
                int fd = atoi(entry->d_name);

                if (entry->d_name[0] == '.')
                        continue;
                size = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);
                cr_assert(size > 0);
                link[size] = 0;
                n++;
                if (fd == 0)
                        cr_expect_str_eq(link, "/dev/null");
                else if (fd < 3)
                        cr_expect(g_str_has_prefix(link, "pipe:"), "%i is %s", fd, link);
                else
                        cr_expect_str_eq(link, "/dev/fuse");
        }
        closedir(dir);
        cr_expect_eq(n, 4);

        cwd = g_strdup_printf("/proc/%i/cwd", (int) server);
        size = readlink(cwd, link, sizeof(link) - 1);
        cr_assert(size > 0);
        link[size] = 0;
        cr_expect_str_eq(link, "/srv");

        fuse_container_stop(&c);
}

/* What root of the container could learn from, or do to, the process of ours that stays while the server
 * talks. */
Test(fuse_server, minder_is_out_of_the_container_s_reach) {
        g_autofree char *stat_text = NULL, *command = NULL, *path = NULL;
        struct dirent *entry;
        char link[PATH_MAX];
        FuseContainer c;
        FuseResult result;
        int status, minder;
        DIR *dir;
        pid_t server, pid;
        gsize size;

        fuse_container_start(&c, &(FuseContainerOptions){});
        cr_assert_eq(start(&c, START(.source = "foreground"), &result), 0);
        server = fuse_container_find(&c, "/fuse-program");
        cr_assert(server > 0);
        stat_text = read_file(server, "stat", NULL);
        cr_assert(sscanf(strrchr(stat_text, ')'), ") %*c %i", &minder) == 1);

        /* Of the supervisor's descriptors it has none, least of all the listener. */
        path = g_strdup_printf("/proc/%i/fd", minder);
        dir = opendir(path);
        cr_assert(dir);
        while ((entry = readdir(dir))) {
                ssize_t n = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);

                if (entry->d_name[0] == '.')
                        continue;
                cr_assert(n > 0);
                link[n] = 0;
                cr_expect(strcmp(link, "/dev/null") == 0 || g_str_has_prefix(link, "pipe:") ||
                                                g_str_has_prefix(link, "socket:") ||
                                                g_str_has_prefix(link, "anon_inode:[pidfd]"),
                                "%s is %s", entry->d_name, link);
        }
        closedir(dir);

        command = read_file(minder, "cmdline", &size);
        for (gsize i = 0; i < size; i++)
                cr_expect_eq(command[i], 0);

        /* As root of the container, with all capabilities there. */
        pid = fork();
        if (pid == 0) {
                g_autofree char *ns = g_strdup_printf("/proc/%i/ns/user", (int) c.init);
                static const char *const entries[] = { "exe", "root", "cwd", "fd", "maps", "environ", "mem" };
                int fd = open(ns, O_RDONLY | O_CLOEXEC);

                if (fd < 0 || setns(fd, CLONE_NEWUSER) < 0 || setgroups(0, NULL) < 0 ||
                                setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
                        _exit(1);
                for (size_t i = 0; i < G_N_ELEMENTS(entries); i++) {
                        g_autofree char *name = g_strdup_printf("/proc/%i/%s", minder, entries[i]);
                        char buffer[256];

                        if (readlink(name, buffer, sizeof(buffer)) >= 0)
                                _exit(2 + (int) i);
                        fd = open(name, O_RDONLY | O_CLOEXEC);
                        if (fd >= 0 && read(fd, buffer, sizeof(buffer)) > 0)
                                _exit(20 + (int) i);
                }
                if (syscall(SYS_ptrace, 0x4206 /* PTRACE_SEIZE */, minder, 0, 0) == 0)
                        _exit(40);
                fd = (int) syscall(SYS_pidfd_open, minder, 0);
                for (int i = 0; i < 64; i++)
                        if (syscall(SYS_pidfd_getfd, fd, i, 0) >= 0)
                                _exit(41);
                /* The server itself is the container's. */
                if (syscall(SYS_ptrace, 0x4206, server, 0, 0) != 0)
                        _exit(42);
                _exit(0);
        }
        cr_assert(waitpid(pid, &status, 0) == pid);
        cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%i", WEXITSTATUS(status));

        fuse_container_stop(&c);
}

static int run_and_expect_failure(const Start *s, const FuseContainerOptions *options, FuseResult *ret) {
        FuseContainer c;
        int r;

        fuse_container_start(&c, options ?: &(FuseContainerOptions){});
        r = start(&c, s, ret);
        expect_nothing_left(&c);
        fuse_container_stop(&c);
        return r;
}

static void write_program(const char *path, const char *text, mode_t mode) {
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);

        if (fd < 0 || write(fd, text, strlen(text)) < 0 || fchmod(fd, mode) < 0)
                prepare_failed(60);
        close(fd);
}

static void write_programs(void *userdata) {
        write_program("/opt/not-executable", "#!/bin/sh\n", 0644);
        write_program("/opt/not-a-program", "what?", 0755);
        write_program("/opt/no-interpreter", "#!/opt/nothing\n", 0755);
        write_program("/opt/script", "#!/bin/sh\nexec " FUSE_CONTAINER_PROGRAM " \"$@\"\n", 0755);
        if (mkdir("/opt/directory", 0755) < 0)
                prepare_failed(61);
}

Test(fuse_server, missing_program) {
        FuseResult result;

        cr_expect_eq(run_and_expect_failure(START(.program = "fuse-of-nobody", .source = "x"), NULL, &result),
                        -ENOPKG);
        cr_expect(strstr(result.message, "install package fuse-of-nobody"), "%s", result.message);

        cr_expect_eq(run_and_expect_failure(
                                     START(.program = "/opt/squashfuse_ll", .source = "x"), NULL, &result),
                        -ENOPKG);
        cr_expect(strstr(result.message, "install package squashfuse there"), "%s", result.message);
        cr_expect_eq(result.mount_id, 0);
}

Test(fuse_server, programs_that_are_none) {
        const FuseContainerOptions options = { .prepare = write_programs };
        FuseResult result;

        cr_expect_eq(run_and_expect_failure(START(.program = "/opt/not-executable", .source = "x"), &options,
                                     &result),
                        -EACCES);
        cr_expect_eq(run_and_expect_failure(
                                     START(.program = "/opt/directory", .source = "x"), &options, &result),
                        -EACCES);
        cr_expect_eq(run_and_expect_failure(START(.program = "/opt/not-a-program", .source = "x"), &options,
                                     &result),
                        -ENOEXEC);
        cr_expect_eq(run_and_expect_failure(START(.program = "/opt/no-interpreter", .source = "x"), &options,
                                     &result),
                        -ENOPKG);
        cr_expect(strstr(result.message, "interpreter"), "%s", result.message);
        cr_expect_eq(run_and_expect_failure(
                                     START(.program = "../fuse-program", .source = "x"), &options, &result),
                        -EOPNOTSUPP);
}

Test(fuse_server, a_script_is_a_program) {
        FuseContainer c;
        FuseResult result;

        fuse_container_start(&c, &(FuseContainerOptions){ .prepare = write_programs });
        cr_expect_eq(start(&c, START(.program = "/opt/script", .source = "daemon"), &result), 0, "%s",
                        result.message);
        fuse_container_stop(&c);
}

Test(fuse_server, missing_device) {
        FuseResult result;

        cr_expect_eq(run_and_expect_failure(START(.source = "foreground"),
                                     &(FuseContainerOptions){ .no_fuse = true }, &result),
                        -ENODEV);
        cr_expect(strstr(result.message, "--bind=/dev/fuse"), "%s", result.message);
}

Test(fuse_server, failures_of_the_server) {
        FuseResult result;

        cr_expect_eq(run_and_expect_failure(START(.source = "exit 3"), NULL, &result), -EINVAL);
        cr_expect(WIFEXITED(result.exit_status) && WEXITSTATUS(result.exit_status) == 3);
        cr_expect(strstr(result.message, "exit status 3"), "%s", result.message);
        cr_expect(strstr(result.message, "it said: bad \\033[31msuperblock"), "%s", result.message);

        cr_expect_eq(run_and_expect_failure(START(.source = "exit 0"), NULL, &result), -EIO);
        cr_expect(strstr(result.message, "without having mounted"), "%s", result.message);

        cr_expect_eq(run_and_expect_failure(START(.source = "crash"), NULL, &result), -EIO);
        cr_expect(strstr(result.message, "signal 11"), "%s", result.message);

        cr_expect_eq(run_and_expect_failure(START(.source = "die-mounted"), NULL, &result), -EINVAL, "%s",
                        result.message);
        cr_expect(strstr(result.message, "changed my mind"), "%s", result.message);
}

Test(fuse_server, time_is_limited) {
        static const char *const sources[] = { "hang", "hang-daemon" };
        FuseResult result;

        for (size_t i = 0; i < G_N_ELEMENTS(sources); i++) {
                uint64_t begin = now_nsec(CLOCK_MONOTONIC), took;

                cr_expect_eq(run_and_expect_failure(
                                             START(.source = sources[i], .usec = 300000), NULL, &result),
                                -ETIMEDOUT, "%s", result.message);
                took = (now_nsec(CLOCK_MONOTONIC) - begin) / 1000;
                cr_expect(took >= 300000 && took < 30000000, "%s took %lu", sources[i], (unsigned long) took);
        }
}

Test(fuse_server, a_daemon_is_the_container_s) {
        g_autofree char *text = NULL;
        FuseContainer c;
        FuseResult result;
        pid_t server;
        int parent;

        fuse_container_start(&c, &(FuseContainerOptions){});
        cr_assert_eq(start(&c, START(.source = "daemon"), &result), 0, "%s", result.message);

        /* Nothing of ours is left, and its parent is the container's init. */
        for (unsigned i = 0; fuse_container_count(&c) > 1 && i < FUSE_CONTAINER_LOOKS; i++)
                (void) usleep(20000);
        cr_expect_eq(fuse_container_count(&c), 1);
        server = fuse_container_find(&c, "/fuse-program");
        cr_assert(server > 0);
        text = read_file(server, "stat", NULL);
        cr_assert(sscanf(strrchr(text, ')'), ") %*c %i", &parent) == 1);
        cr_expect_eq(parent, c.init);

        fuse_container_stop(&c);
}

static int make_journal(int pair[2]) {
        return socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair);
}

Test(fuse_server, stderr_goes_to_the_journal_and_is_limited) {
        static const char *const fields[] = { "DEPUTYD_TARGET=test" };
        unsigned n = 0, n_said = 0;
        FuseContainer c;
        FuseResult result;
        char entry[4096];
        int journal[2];
        ssize_t size;

        cr_assert_eq(make_journal(journal), 0);
        (void) setsockopt(journal[1], SOL_SOCKET, SO_SNDBUF, &(int){ 1 << 20 }, sizeof(int));
        fuse_container_start(&c, &(FuseContainerOptions){});
        cr_assert_eq(start(&c,
                                     START(.source = "flood", .journal_fd = journal[1], .fields = fields,
                                                     .n_fields = 1),
                                     &result),
                        0, "%s", result.message);

        while ((size = recv(journal[0], entry, sizeof(entry) - 1, 0)) > 0) {
                entry[size] = 0;
                n++;
                n_said += strstr(entry, "MESSAGE=0000") != NULL;
                cr_expect(strstr(entry, "SYSLOG_IDENTIFIER=fuse-program\n"));
                cr_expect(strstr(entry, "DEPUTYD_TARGET=test\n"));
                cr_expect(strstr(entry, "PRIORITY="));
        }
        cr_expect(n_said > 0 && n_said <= FUSE_LINES_BURST, "%u of %u", n_said, n);

        fuse_container_stop(&c);
}

Test(fuse_server, a_server_that_never_stops_writing_is_heard_to_end) {
        FuseResult result;

        cr_expect_eq(run_and_expect_failure(START(.source = "babble", .usec = 20000000), NULL, &result),
                        -EINVAL, "%s", result.message);
        cr_expect(strstr(result.message, "exit status 3"), "%s", result.message);
}

/* It talks while the watch leaves, too: on a busy machine one in forty runs found the minder with the watch
 * gone, and what that had said last not yet read. */
Test(fuse_server, survives_the_supervisor_and_goes_on_talking) {
        static const char *const fields[] = { "DEPUTYD_TARGET=test" };
        FuseContainer c;
        FuseResult result;
        char entry[4096];
        int journal[2], status;
        pid_t supervisor, server;
        ssize_t n = -1;

        cr_assert_eq(make_journal(journal), 0);
        fuse_container_start(&c, &(FuseContainerOptions){});
        supervisor = fork();
        cr_assert(supervisor >= 0);
        if (supervisor == 0) {
                int r = start(&c,
                                START(.source = "talker", .journal_fd = journal[1], .fields = fields,
                                                .n_fields = 1),
                                &result);

                _exit(r == 0 ? 0 : 1);
        }
        close(journal[1]);
        cr_assert(waitpid(supervisor, &status, 0) == supervisor);
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);

        /* Forget what was said until now. */
        while (recv(journal[0], entry, sizeof(entry), 0) > 0)
                ;
        for (unsigned i = 0; i < FUSE_CONTAINER_LOOKS && n <= 0; i++) {
                (void) usleep(20000);
                n = recv(journal[0], entry, sizeof(entry), 0);
        }
        cr_expect_gt(n, 0);
        server = fuse_container_find(&c, "/fuse-program");
        cr_expect_gt(server, 0);

        /* When nobody reads the journal any more, it doesn't mind. */
        close(journal[0]);
        (void) usleep(200000);
        cr_expect_eq(fuse_container_find(&c, "/fuse-program"), server);
        cr_expect_eq(fuse_container_count(&c), 2);

        fuse_container_stop(&c);
}

/* All or nothing, whenever it happens. That it was killed between the moment when both knew and its own
 * return can't be told from outside: then all is there. */
Test(fuse_server, nothing_is_left_when_the_supervisor_is_killed, .timeout = 120) {
        unsigned n_nothing = 0;
        FuseContainer c;

        fuse_container_start(&c, &(FuseContainerOptions){});
        for (unsigned i = 0; i < 40; i++) {
                unsigned n_processes = 0, n_mounts = 0;
                pid_t supervisor = fork();
                FuseResult result;
                int status;

                cr_assert(supervisor >= 0);
                if (supervisor == 0) {
                        int r = start(&c, START(.source = "slow"), &result);

                        if (r < 0)
                                (void) fprintf(stderr, "%s (%i)\n", result.message, r);
                        _exit(r < 0);
                }

                (void) usleep(i * 2000 + (useconds_t) (random() % 2000));
                (void) kill(supervisor, SIGKILL);
                cr_assert(waitpid(supervisor, &status, 0) == supervisor);
                cr_expect(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);

                for (unsigned j = 0; j < FUSE_CONTAINER_LOOKS; j++) {
                        n_processes = fuse_container_count(&c);
                        n_mounts = fuse_container_count_mounts(&c);
                        if (n_processes == 0 && n_mounts == 0)
                                break;
                        if (j > 20 && n_processes == 1 && n_mounts == 1)
                                break;
                        (void) usleep(20000);
                }

                if (n_processes > 0 || n_mounts > 0) {
                        cr_assert(n_processes == 1 && n_mounts == 1, "after %u: %u processes, %u mounts", i,
                                        n_processes, n_mounts);
                        cr_assert(fuse_container_find(&c, "/fuse-program") > 0);
                        fuse_container_stop(&c);
                        fuse_container_start(&c, &(FuseContainerOptions){});
                } else {
                        cr_expect(WIFSIGNALED(status), "it was there and is gone");
                        n_nothing++;
                }
        }
        cr_expect_geq(n_nothing, 15);
        fuse_container_stop(&c);
}

static void add_filter(void *userdata) {
        fuse_container_load_filter(__NR_setdomainname, EXDEV);
}

__attribute__((noreturn)) static void *wait_for_ever(void *userdata) {
        for (;;)
                pause();
}

static void add_filter_and_thread(void *userdata) {
        pthread_t thread;

        add_filter(NULL);
        if (pthread_create(&thread, NULL, wait_for_ever, NULL) != 0)
                prepare_failed(62);
}

Test(fuse_server, filters_of_the_caller_s_own_are_kept_or_it_is_refused) {
        g_autofree char *path = NULL, *report = NULL, *status = NULL;
        FuseContainer c;
        FuseResult result;

        /* Nobody else has them. */
        cr_expect_eq(run_and_expect_failure(START(.source = "daemon"),
                                     &(FuseContainerOptions){ .prepare = add_filter }, &result),
                        -EOPNOTSUPP);
        cr_expect(strstr(result.message, "seccomp filters"), "%s", result.message);

        cr_expect_eq(run_and_expect_failure(START(.source = "daemon"),
                                     &(FuseContainerOptions){ .caller_is_init = true }, &result),
                        -EOPNOTSUPP);
        cr_expect(strstr(result.message, "is its container's init"), "%s", result.message);

        /* Another thread has. */
        fuse_container_start(&c, &(FuseContainerOptions){ .prepare = add_filter_and_thread });
        cr_assert_eq(start(&c, START(.source = "report"), &result), 0, "%s", result.message);
        path = g_strdup_printf("/proc/%i/root/tmp/report", (int) c.init);
        cr_assert(g_file_get_contents(path, &report, NULL, NULL));
        expect_line(report, "sethostname 18");
        expect_line(report, "setdomainname 18");
        status = read_file(fuse_container_find(&c, "/fuse-program"), "status", NULL);
        expect_line(status, "Seccomp_filters:\t3");
        fuse_container_stop(&c);
}

Test(fuse_server, a_thread_calls) {
        FuseContainer c;
        FuseResult result;

        fuse_container_start(&c, &(FuseContainerOptions){ .thread = true });
        cr_expect_eq(start(&c, START(.source = "daemon"), &result), 0, "%s", result.message);
        fuse_container_stop(&c);
}

Test(fuse_server, refuses_when_we_are_under_a_filter) {
        FuseContainer c;
        FuseResult result;
        int status;
        pid_t pid;

        fuse_container_start(&c, &(FuseContainerOptions){});
        pid = fork();
        if (pid == 0) {
                fuse_container_load_filter(__NR_setdomainname, EXDEV);
                _exit(start(&c, START(.source = "daemon"), &result) == -EOPNOTSUPP ? 0 : 1);
        }
        cr_assert(waitpid(pid, &status, 0) == pid);
        cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        expect_nothing_left(&c);
        fuse_container_stop(&c);
}

static void become_user(void *userdata) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2] = {};

        if (prctl(PR_SET_KEEPCAPS, 1) < 0 || setgroups(0, NULL) < 0 || setresgid(1000, 1000, 1000) < 0 ||
                        setresuid(1000, 1000, 1000) < 0)
                prepare_failed(63);
        data[0].effective = data[0].permitted = 1u << CAP_SYS_ADMIN;
        if (syscall(SYS_capset, &header, data) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                prepare_failed(64);
}

/* A caller that isn't root but holds the capability, and whose program is set-user-ID: nothing is gained by
 * it. */
static void make_set_user_id(void *userdata) {
        if (chmod(FUSE_CONTAINER_PROGRAM, 04755) < 0)
                prepare_failed(65);
        become_user(NULL);
}

Test(fuse_server, a_user_with_the_capability_keeps_it_and_no_more) {
        void (*const prepare[])(void *) = { become_user, make_set_user_id };

        for (size_t i = 0; i < G_N_ELEMENTS(prepare); i++) {
                g_autofree char *status = NULL;
                FuseContainer c;
                FuseResult result;

                fuse_container_start(&c, &(FuseContainerOptions){ .prepare = prepare[i] });
                cr_assert_eq(start(&c, START(.source = "foreground"), &result), 0, "%s", result.message);
                status = read_file(fuse_container_find(&c, "/fuse-program"), "status", NULL);
                expect_line(status, "Uid:\t101000\t101000\t101000\t101000");
                expect_line(status, "Groups:\t ");
                expect_line(status, "NoNewPrivs:\t1");
                expect_line(status, "CapEff:\t0000000000200000");
                expect_line(status, "CapPrm:\t0000000000200000");
                expect_line(status, "CapBnd:\t0000000000200000");
                fuse_container_stop(&c);
        }
}

static void make_links(void *userdata) {
        if (mkdir("/srv/with space", 0755) < 0 || mkdir("/srv/with space/-o", 0755) < 0 ||
                        symlink("with space/-o", "/srv/link") < 0)
                prepare_failed(66);
}

Test(fuse_server, strange_names) {
        FuseContainer c;
        FuseResult result;

        fuse_container_start(&c, &(FuseContainerOptions){ .prepare = make_links });
        cr_assert_eq(start(&c, START(.source = "daemon", .target = "/srv/link"), &result), 0, "%s",
                        result.message);
        cr_expect_eq(fuse_container_count_mounts(&c), 1);

        /* Once more on top of it: it isn't touched, though nobody serves it. */
        cr_assert_eq(start(&c, START(.source = "daemon", .target = "/srv/link"), &result), 0, "%s",
                        result.message);
        cr_expect_eq(fuse_container_count_mounts(&c), 2);
        fuse_container_stop(&c);
}

Test(fuse_server, the_mount_is_found_by_a_successor) {
        _cleanup_close_ int before = -1, after = -1;
        uint64_t old_id, new_id;
        FuseContainer c;
        FuseResult result;
        Caller caller;

        fuse_container_start(&c, &(FuseContainerOptions){});
        caller = open_caller(&c);
        before = open_target(&c, "/mnt");
        cr_expect_eq(fuse_server_mount_of(&caller, before, &old_id), 0);
        cr_assert_eq(start(&c, START(.source = "daemon"), &result), 0, "%s", result.message);

        after = open_target(&c, "/mnt");
        cr_expect_eq(fuse_server_mount_of(&caller, after, &new_id), 1);
        cr_expect_neq(old_id, new_id);
        cr_expect_eq(new_id, result.mount_id);
        caller_close(&caller);
        fuse_container_stop(&c);
}

static int run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int run(const char *format, ...) {
        g_autofree char *command = NULL;
        va_list ap;

        va_start(ap, format);
        command = g_strdup_vprintf(format, ap);
        va_end(ap);
        return system(command);
}

/* In the container, as its root, with a shell. */
#define RUN_INSIDE(c, command)                                                                               \
        run("nsenter --target %i --user --mount --pid --net timeout 10 sh -ec '%s'", (int) (c)->init, command)

/* The programs that it's for, with an image that has a file "hello" of root's in it. What's mounted is what
 * the image has, seen with the container's ids. */
static void real_server(const char *package, const char *make, const char *program, const char *options,
                bool writable) {
        FuseContainer c;
        FuseResult result;
        g_autofree char *root = NULL;

        fuse_container_start(&c, &(FuseContainerOptions){});
        root = g_strdup_printf("/proc/%i/root/tmp", (int) c.init);
        /* On the host, at first: some of these tools look for what is mounted. (The container's root is
         * mounted in its own namespace, so this directory is an empty one here.) */
        if (run("cd %s && mkdir tree && echo hi >tree/hello && (%s) >/dev/null 2>&1 && cp image %s/ && "
                "chown 100000:100000 %s/image",
                            c.root, make, root,
                            root) + run("rm -r %s/*", c.root) !=
                        0) {
                fuse_container_stop(&c);
                cr_skip_test("can't make an image of %s", package);
        }

        cr_assert_eq(start(&c, START(.program = program, .source = "/tmp/image", .options = options),
                                     &result),
                        0, "%s", result.message);
        cr_expect_eq(fuse_container_count_mounts(&c), 1);
        cr_expect_eq(RUN_INSIDE(&c, "test \"$(cat /mnt/hello)\" = hi && test \"$(stat -c %u:%g /mnt/hello)\" "
                                    "= 0:0"),
                        0);
        if (writable)
                cr_expect_eq(RUN_INSIDE(&c, "echo there >/mnt/new && grep -q there /mnt/new"), 0);
        cr_expect_eq(RUN_INSIDE(&c, "umount /mnt"), 0);
        cr_expect_eq(fuse_container_count_mounts(&c), 0);
        expect_nothing_left(&c);

        /* Something else isn't such a file system. */
        cr_assert_eq(run("head -c 1000000 /dev/zero >%s/image", root), 0);
        cr_expect_eq(start(&c, START(.program = program, .source = "/tmp/image", .options = options),
                                     &result),
                        -EINVAL);
        cr_expect(strstr(result.message, "it said: "), "%s", result.message);
        expect_nothing_left(&c);
        fuse_container_stop(&c);
}

Test(fuse_server, fuse2fs) {
        real_server("fuse2fs", "truncate -s 8M image && mkfs.ext4 -q -E root_owner=0:0 -d tree image",
                        "fuse2fs", "fakeroot", true);
}

Test(fuse_server, squashfuse) {
        real_server("squashfuse", "mksquashfs tree image -all-root -quiet", "squashfuse", NULL, false);
}

Test(fuse_server, ntfs_3g) {
        real_server("ntfs-3g", "truncate -s 8M image && mkntfs -q -F image && ntfscp image tree/hello hello",
                        "ntfs-3g", "no_def_opts", true);
}
