/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* supervisor/mount-contexts.c: contexts known by their open file, mounts by their root; limits; taking over
 * from another supervisor. */

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/mount-contexts.h"
#include "supervisor/thread-entry.h"

#define SECOND UINT64_C(1000000)

static void setup(void) {
        if (geteuid() != 0)
                cr_skip_test("needs root");
        if (!mount_contexts_supported())
                cr_skip_test("this kernel has no kcmp(2)");

        cr_assert(thread_entry_setup() == 0);
}

TestSuite(mount_contexts, .init = setup, .timeout = 30);

static int new_file(void) {
        int fd = memfd_create("test", MFD_CLOEXEC);

        cr_assert(fd >= 0);
        return fd;
}

/* What a caller has: the same open file as the context that's added, under a number of its own. */
static int add(const char *type, uint64_t now) {
        int theirs = new_file(), ours = fcntl(theirs, F_DUPFD_CLOEXEC, 100);

        cr_assert(mount_context_add(ours, type, getpid(), theirs, now) == 0);
        return theirs;
}

Test(mount_contexts, are_known_by_their_open_file) {
        int a = add("ext4", 1), b = add("xfs", 1), copy = dup(a), other = new_file();
        MountContext *c;

        cr_assert(mount_context_find(getpid(), a, NULL, 0, 2, &c) == 1);
        cr_expect_str_eq(c->parameters.type, "ext4");
        cr_expect_eq(c->state, MOUNT_CONTEXT_OPEN);
        mount_context_release(c);

        cr_assert(mount_context_find(getpid(), copy, NULL, 0, 2, &c) == 1);
        cr_expect_str_eq(c->parameters.type, "ext4");
        mount_context_release(c);

        cr_assert(mount_context_find(getpid(), b, NULL, 0, 2, &c) == 1);
        cr_expect_str_eq(c->parameters.type, "xfs");
        mount_context_release(c);

        cr_expect_eq(mount_context_find(getpid(), other, NULL, 0, 2, &c), 0);
        cr_expect_eq(mount_context_find(getpid(), -1, NULL, 0, 2, &c), 0);
        cr_expect_eq(mount_context_find(getpid(), 999, NULL, 0, 2, &c), 0);

        /* Something else takes the number. */
        cr_assert(dup2(other, a) == a);
        cr_expect_eq(mount_context_find(getpid(), a, NULL, 0, 2, &c), 0);
        cr_expect_eq(mount_context_find(getpid(), copy, NULL, 0, 2, &c), 1);
}

Test(mount_contexts, another_process_with_the_file_is_known_too) {
        int fd = add("ext4", 1), status;
        pid_t pid = fork();
        MountContext *c;

        if (pid == 0) {
                pause();
                _exit(0);
        }

        cr_expect_eq(mount_context_find(pid, fd, NULL, 0, 2, &c), 1);
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        mount_context_release(c);
        cr_expect_eq(mount_context_find(pid, fd, NULL, 0, 2, &c), 0);
}

Test(mount_contexts, note_parameters_in_their_order) {
        int fd = add("ext4", 1);
        const char *key, *value;
        size_t position = 0;
        MountContext *c;

        cr_assert(mount_context_find(getpid(), fd, NULL, 0, 2, &c) == 1);
        cr_expect_not(mount_parameters_next(&c->parameters, &position, &key, &value));

        cr_assert(mount_context_add_option(c, "source", "/dev/x=y,z") == 0);
        cr_assert(mount_context_add_option(c, "ro", NULL) == 0);
        cr_assert(mount_context_add_option(c, "empty", "") == 0);

        cr_assert(mount_parameters_next(&c->parameters, &position, &key, &value));
        cr_expect_str_eq(key, "source");
        cr_expect_str_eq(value, "/dev/x=y,z");
        cr_assert(mount_parameters_next(&c->parameters, &position, &key, &value));
        cr_expect_str_eq(key, "ro");
        cr_expect_null(value);
        cr_assert(mount_parameters_next(&c->parameters, &position, &key, &value));
        cr_expect_str_eq(key, "empty");
        cr_expect_str_eq(value, "");
        cr_expect_not(mount_parameters_next(&c->parameters, &position, &key, &value));
        cr_expect_not(c->unknown);
}

Test(mount_contexts, that_have_too_much_are_never_repeated) {
        char value[MOUNT_CONTEXT_STRING_MAX];
        int fd = add("ext4", 1), r;
        MountContext *c;
        size_t n = 0;

        memset(value, 'x', sizeof(value) - 1);
        value[sizeof(value) - 1] = 0;
        cr_assert(mount_context_find(getpid(), fd, NULL, 0, 2, &c) == 1);

        while ((r = mount_context_add_option(c, "key", value)) == 0)
                n += strlen("key") + strlen(value);
        cr_expect_eq(r, -E2BIG);
        cr_expect(c->unknown);
        cr_expect_leq(n, MOUNT_CONTEXT_BYTES_MAX);
        cr_expect_gt(n, MOUNT_CONTEXT_BYTES_MAX / 2);
}

Test(mount_contexts, the_longest_unused_makes_room) {
        int fds[MOUNT_CONTEXTS_MAX + 1];
        MountContext *c;

        for (size_t i = 0; i < MOUNT_CONTEXTS_MAX; i++)
                fds[i] = add("ext4", 10 + i);
        cr_assert(mount_context_find(getpid(), fds[0], NULL, 0, 1000, &c) == 1);
        mount_context_release(c);

        fds[MOUNT_CONTEXTS_MAX] = add("ext4", 1001);
        cr_expect_eq(mount_context_find(getpid(), fds[1], NULL, 0, 1002, &c), 0);
        cr_assert(mount_context_find(getpid(), fds[0], NULL, 0, 1002, &c) == 1);
        mount_context_release(c);
        cr_expect_eq(mount_context_find(getpid(), fds[MOUNT_CONTEXTS_MAX], NULL, 0, 1002, &c), 1);
}

Test(mount_contexts, end_when_nobody_comes_back) {
        int a = add("ext4", SECOND), b = add("xfs", SECOND);

        cr_expect(mount_contexts_pending());
        cr_expect_eq(mount_contexts_sweep(2 * SECOND, NULL), 2);

        /* Closed by its opener: somebody else may have it, but not for ever. */
        close(a);
        cr_expect_eq(mount_contexts_sweep(SECOND + MOUNT_CONTEXT_ORPHAN_USEC, NULL), 2);
        cr_expect_eq(mount_contexts_sweep(2 * SECOND + MOUNT_CONTEXT_ORPHAN_USEC, NULL), 1);

        cr_expect_eq(mount_contexts_sweep(SECOND + MOUNT_CONTEXT_USEC, NULL), 1);
        cr_expect_eq(mount_contexts_sweep(2 * SECOND + MOUNT_CONTEXT_USEC, NULL), 0);
        cr_expect_not(mount_contexts_pending());
        close(b);
}

Test(mount_contexts, with_a_superblock_end_sooner) {
        int fd = add("ext4", SECOND);
        MountContext *c;

        cr_assert(mount_context_find(getpid(), fd, NULL, 0, SECOND, &c) == 1);
        c->state = MOUNT_CONTEXT_CREATED;
        mount_context_release(c);

        cr_expect_eq(mount_contexts_sweep(20 * SECOND, NULL), 1);
        close(fd);
        cr_expect_eq(mount_contexts_sweep(SECOND + MOUNT_CONTEXT_CREATED_ORPHAN_USEC, NULL), 1);
        cr_expect_eq(mount_contexts_sweep(2 * SECOND + MOUNT_CONTEXT_CREATED_ORPHAN_USEC, NULL), 0);
}

/* Another supervisor: it has a context, and does as it's told by "commands". */
typedef struct Other {
        pid_t pid;
        int commands, answers;
} Other;

static void other_supervisor(int fd, int commands, int answers) {
        MountContext *c = NULL;
        char command;

        while (read(commands, &command, 1) == 1) {
                uint64_t answer = 0;

                switch (command) {
                case 'a': /* has it */
                        cr_assert(mount_context_add(dup(fd), "btrfs", getppid(), fd, SECOND) == 0);
                        cr_assert(mount_context_find(getpid(), fd, NULL, 0, SECOND, &c) == 1);
                        cr_assert(mount_context_add_option(c, "ro", NULL) == 0);
                        c->tree_fd = new_file();
                        c->state = MOUNT_CONTEXT_CREATED;
                        mount_context_release(c);
                        break;
                case 'b': /* is busy with it */
                        cr_assert(mount_context_find(getpid(), fd, NULL, 0, SECOND, &c) == 1);
                        break;
                case 'r':
                        mount_context_release(c);
                        break;
                case 's':
                        answer = mount_contexts_sweep(SECOND, NULL);
                        break;
                }
                if (write(answers, &answer, sizeof(answer)) < 0)
                        break;
        }
        _exit(0);
}

static uint64_t tell(const Other *o, char command) {
        uint64_t answer;

        cr_assert(write(o->commands, &command, 1) == 1);
        cr_assert(read(o->answers, &answer, sizeof(answer)) == sizeof(answer));
        return answer;
}

static Other start_other(int fd) {
        int to[2], from[2];
        Other o;

        cr_assert(pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0);
        o = (Other){ .pid = fork(), .commands = to[1], .answers = from[0] };
        cr_assert(o.pid >= 0);
        if (o.pid == 0) {
                close(to[1]);
                other_supervisor(fd, to[0], from[1]);
        }
        close(to[0]);
        close(from[1]);
        return o;
}

Test(mount_contexts, are_taken_over_from_another_supervisor) {
        int fd = new_file(), status;
        const char *key, *value;
        size_t position = 0;
        MountContext *c;
        Other o = start_other(fd);

        tell(&o, 'a');
        cr_expect_eq(mount_context_find(getpid(), fd, NULL, 0, SECOND, &c), 0);

        tell(&o, 'b');
        cr_expect_eq(mount_context_find(getpid(), fd, &o.pid, 1, SECOND, &c), -EBUSY);
        tell(&o, 'r');

        cr_assert(mount_context_find(getpid(), fd, &o.pid, 1, SECOND, &c) == 1);
        cr_expect_str_eq(c->parameters.type, "btrfs");
        cr_expect_eq(c->state, MOUNT_CONTEXT_CREATED);
        cr_expect_geq(c->tree_fd, 0);
        cr_expect(fcntl(c->tree_fd, F_GETFD) & FD_CLOEXEC);
        cr_assert(mount_parameters_next(&c->parameters, &position, &key, &value));
        cr_expect_str_eq(key, "ro");
        mount_context_release(c);

        /* Its former owner lets go of it, and it's still ours. */
        cr_expect_eq(tell(&o, 's'), 0);
        kill(o.pid, SIGKILL);
        waitpid(o.pid, &status, 0);
        cr_expect_eq(mount_context_find(getpid(), fd, &o.pid, 1, SECOND, &c), 1);
}

static void own_mounts(void) {
        cr_assert(unshare(CLONE_NEWNS) == 0);
        cr_assert(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
        cr_assert(mount("tmpfs", "/mnt", "tmpfs", 0, NULL) == 0);
}

/* As fsmount(2) is served: "theirs" is what the caller gets. */
static int keep_mount(int *ret_theirs, uint64_t now) {
        int context = (int) syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC), tree, watch;

        cr_assert(syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0);
        tree = (int) syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV);
        cr_assert(tree >= 0);
        close(context);

        *ret_theirs = openat(tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        watch = openat(tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        cr_assert(flock(*ret_theirs, LOCK_SH | LOCK_NB) == 0);
        return mount_kept_add(tree, watch, true, false, &(MountParameters){ .type = "tmpfs" }, now);
}

static int find_kept(int fd, MountKept **ret) {
        char path[64];
        int o_path, r;

        snprintf(path, sizeof(path), "/proc/self/fd/%i", fd);
        o_path = open(path, O_PATH | O_CLOEXEC);
        r = mount_kept_find(o_path, NULL, 0, ret);
        close(o_path);
        return r;
}

Test(mount_contexts, kept_mounts_are_known_by_their_root) {
        int fd, other, below;
        MountKept *k;

        own_mounts();
        cr_assert(keep_mount(&fd, SECOND) == 0);
        cr_assert(keep_mount(&other, SECOND) == 0);

        cr_assert(find_kept(fd, &k) == 1);
        mount_kept_release(k);

        cr_assert(mkdirat(fd, "below", 0755) == 0);
        below = openat(fd, "below", O_RDONLY | O_DIRECTORY);
        cr_expect_eq(find_kept(below, &k), 0);
        cr_expect_eq(find_kept(open("/mnt", O_RDONLY), &k), 0);

        cr_expect_eq(mount_contexts_sweep(2 * SECOND, NULL), 2);
}

Test(mount_contexts, a_mount_is_kept_until_it_is_attached) {
        size_t n;
        int fd;

        own_mounts();
        cr_assert(keep_mount(&fd, SECOND) == 0);
        cr_expect_eq(mount_contexts_sweep(2 * SECOND, &n), 1);
        cr_expect_eq(n, 1);

        cr_assert(syscall(SYS_move_mount, fd, "", AT_FDCWD, "/mnt", MOVE_MOUNT_F_EMPTY_PATH) == 0);
        cr_assert(unshare(CLONE_NEWNS) == 0); /* We look from another namespace, as a supervisor does. */
        cr_expect_eq(mount_contexts_sweep(3 * SECOND, &n), 0);
        cr_expect_eq(n, 0);
}

Test(mount_contexts, a_mount_that_is_dropped_when_attached_can_be_unmounted_at_once) {
        MountKept *k;
        int fd;

        own_mounts();
        cr_assert(keep_mount(&fd, SECOND) == 0);
        cr_assert(find_kept(fd, &k) == 1);
        cr_assert(syscall(SYS_move_mount, fd, "", AT_FDCWD, "/mnt", MOVE_MOUNT_F_EMPTY_PATH) == 0);
        close(fd);
        cr_expect(umount2("/mnt", 0) < 0 && errno == EBUSY);
        mount_kept_drop(k);
        cr_expect(umount2("/mnt", 0) == 0);
        cr_expect_not(mount_contexts_pending());
}

Test(mount_contexts, a_mount_whose_descriptor_is_closed_is_dissolved) {
        int fd, copy;

        own_mounts();
        cr_assert(keep_mount(&fd, SECOND) == 0);
        copy = dup(fd);
        close(fd);
        cr_expect_eq(mount_contexts_sweep(2 * SECOND, NULL), 1);
        close(copy);
        cr_expect_eq(mount_contexts_sweep(2 * SECOND, NULL), 0);
}

Test(mount_contexts, a_mount_that_nobody_attaches_is_dissolved_in_the_end) {
        int fd;

        own_mounts();
        cr_assert(keep_mount(&fd, SECOND) == 0);
        cr_expect_eq(mount_contexts_sweep(SECOND + MOUNT_CONTEXT_USEC, NULL), 1);
        cr_expect_eq(mount_contexts_sweep(2 * SECOND + MOUNT_CONTEXT_USEC, NULL), 0);
        cr_expect(syscall(SYS_move_mount, fd, "", AT_FDCWD, "/mnt", MOVE_MOUNT_F_EMPTY_PATH) < 0 &&
                        errno == EINVAL);
}
