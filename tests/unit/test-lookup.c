/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* supervisor/lookup.c: paths as the caller sees them. Each test builds a small tree, blocks a caller in it
 * and compares. */

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glib.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/lookup.h"
#include "supervisor/privilege.h"
#include "tests/unit/blocked-caller.h"

static char base[64];
static char *path_argument; /* at the same address in the child */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
        return remove(path);
}

static void make(const char *name, mode_t mode, uid_t owner) {
        g_autofree char *p = g_build_filename(base, name, NULL);

        cr_assert(mkdir(p, 0755) == 0, "%s: %m", p);
        cr_assert(chown(p, owner, owner) == 0 && chmod(p, mode) == 0);
}

static void link_to(const char *target, const char *name) {
        g_autofree char *p = g_build_filename(base, name, NULL);

        cr_assert(symlink(target, p) == 0, "%s: %m", p);
}

/*   root/              the caller's root directory in the chroot tests
 *   root/dir/sub       0755
 *   root/abs -> /dir, root/rel -> dir/sub, root/up -> ../../.., root/loop -> loop
 *   root/private       0700, of uid 101000 (mapped), with private/in
 *   root/hosts         0700, of uid 0 (not mapped), with hosts/in */
static void setup(void) {
        if (geteuid() != 0)
                cr_skip_test("needs root");

        strcpy(base, "/var/tmp/deputyd-lookup-XXXXXX");
        cr_assert(mkdtemp(base) != NULL);
        cr_assert(chmod(base, 0755) == 0);
        make("root", 0755, 100000);
        make("root/dir", 0755, 100000);
        make("root/dir/sub", 0755, 100000);
        make("root/private", 0700, 101000);
        make("root/private/in", 0755, 101000);
        make("root/hosts", 0700, 0);
        make("root/hosts/in", 0755, 0);
        link_to("/dir", "root/abs");
        link_to("dir/sub", "root/rel");
        link_to("../../..", "root/up");
        link_to("loop", "root/loop");

        path_argument = calloc(1, 2 * PATH_MAX);
        cr_assert(caller_setup() == 0);
}

static void teardown(void) {
        if (base[0])
                nftw(base, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        free(path_argument);
}

TestSuite(lookup, .init = setup, .fini = teardown, .timeout = 30);

static void enter_root(void *userdata) {
        g_autofree char *p = g_build_filename(base, "root", NULL);

        cr_assert(chroot(p) == 0 && chdir("/dir") == 0);
}

static void enter_directory(void *userdata) {
        g_autofree char *p = g_build_filename(base, "root", NULL);

        cr_assert(chdir(p) == 0);
        cr_assert(dup2(open("dir", O_PATH | O_DIRECTORY), 77) == 77);
        cr_assert(dup2(open("/etc/passwd", O_RDONLY), 78) == 78);
}

static unsigned object_flags = LOOKUP_NOFOLLOW;

/* Looks up the parent ("parent") or the object of a path, as a caller that was prepared so. Return: the fd,
 * or the errno. "name" gets the last component. */
static int look(const char *path, void (*prepare)(void *), bool parent, int dirfd, char *name) {
        BlockedCaller b;
        Caller c = CALLER_INIT;
        Lookup lookup = LOOKUP_INIT;
        int r;

        strcpy(path_argument, path);
        blocked_caller_start(&b, &(BlockedCallerOptions){ .user_namespace = true, .prepare = prepare });

        /* As the supervisor does: with few privileges, and without those over file permissions. */
        cr_assert(privilege_drop(privilege_base | privilege_dac) == 0);
        caller_init(&c, b.listener, b.id, b.tid);
        cr_assert(caller_identify(&c) == 0);
        cr_assert(caller_impersonate(&c) == 0);

        r = lookup_prepare(&lookup, &c, dirfd, (uintptr_t) path_argument, 0);
        cr_assert(caller_verify(&c) == 0);
        if (r >= 0) {
                r = parent ? lookup_parent(&lookup) : lookup_object(&lookup, object_flags);
                if (r >= 0 && parent && name)
                        strcpy(name, lookup.name);
        }

        lookup_done(&lookup);
        caller_close(&c);
        blocked_caller_stop(&b);
        (void) privilege_raise(privilege_dac);
        return r;
}

static void expect_is(int fd, const char *name) {
        g_autofree char *p = g_build_filename(base, name, NULL);
        struct stat a, e;

        cr_assert(fd >= 0, "%s: got %s", name, strerror(-fd));
        cr_assert(fstat(fd, &a) == 0 && stat(p, &e) == 0);
        cr_expect(a.st_ino == e.st_ino && a.st_dev == e.st_dev, "it's not %s", name);
}

#define TEST_PARENT(test, path, prepare, dirfd, expected_directory, expected_name)                           \
        Test(lookup, test) {                                                                                 \
                char name[PATH_MAX] = "";                                                                    \
                expect_is(look((path), (prepare), true, (dirfd), name), (expected_directory));               \
                cr_expect_str_eq(name, (expected_name));                                                     \
        }

#define TEST_ERROR(test, path, prepare, dirfd, expected)                                                     \
        Test(lookup, test) {                                                                                 \
                int r = look((path), (prepare), true, (dirfd), NULL);                                        \
                cr_expect_eq(r, -(expected), "got %i", r);                                                   \
        }

TEST_PARENT(bare_name, "n", enter_root, AT_FDCWD, "root/dir", "n")
TEST_PARENT(absolute_in_a_chroot, "/dir/sub/n", enter_root, AT_FDCWD, "root/dir/sub", "n")
TEST_PARENT(relative, "sub/n", enter_root, AT_FDCWD, "root/dir/sub", "n")
TEST_PARENT(relative_with_dots, "./sub/../sub/./n", enter_root, AT_FDCWD, "root/dir/sub", "n")
TEST_PARENT(relative_upwards, "../rel/n", enter_root, AT_FDCWD, "root/dir/sub", "n")
TEST_PARENT(dots_stop_at_the_chroot, "../../../../dir/n", enter_root, AT_FDCWD, "root/dir", "n")
TEST_PARENT(absolute_dots_stop_at_the_chroot, "/../../dir/n", enter_root, AT_FDCWD, "root/dir", "n")
TEST_PARENT(absolute_link_stays_in_the_chroot, "/abs/sub/n", enter_root, AT_FDCWD, "root/dir/sub", "n")
TEST_PARENT(absolute_link_from_relative_path, "../abs/sub/n", enter_root, AT_FDCWD, "root/dir/sub", "n")
TEST_PARENT(link_upwards_stops_at_the_chroot, "/up/n", enter_root, AT_FDCWD, "root", "n")
TEST_PARENT(trailing_slashes_stay_with_the_name, "/dir/n//", enter_root, AT_FDCWD, "root/dir", "n//")
TEST_PARENT(root_itself, "/", enter_root, AT_FDCWD, "root", ".")
TEST_PARENT(last_component_dot_dot, "sub/..", enter_root, AT_FDCWD, "root/dir/sub", "..")
TEST_PARENT(dirfd, "sub/n", enter_directory, 77, "root/dir/sub", "n")
TEST_PARENT(dirfd_bare_name, "n", enter_directory, 77, "root/dir", "n")
TEST_PARENT(proc_self_fd, "/proc/self/fd/77/sub/n", enter_directory, AT_FDCWD, "root/dir/sub", "n")
TEST_PARENT(proc_self_cwd, "/proc/self/cwd/dir/n", enter_directory, AT_FDCWD, "root/dir", "n")
TEST_PARENT(proc_thread_self_fd, "/proc/thread-self/fd/77/n", enter_directory, AT_FDCWD, "root/dir", "n")
/* Container root may search a directory of another of its users: a capability of its own namespace counts
 * there. */
TEST_PARENT(directory_of_a_mapped_user, "/private/in/n", enter_root, AT_FDCWD, "root/private/in", "n")

TEST_ERROR(directory_of_the_host, "/hosts/in/n", enter_root, AT_FDCWD, EACCES)
TEST_ERROR(missing_directory, "/nowhere/n", enter_root, AT_FDCWD, ENOENT)
TEST_ERROR(outside_the_chroot, "/etc/passwd", enter_root, AT_FDCWD, ENOENT)
TEST_ERROR(not_a_directory, "/etc/passwd/n", NULL, AT_FDCWD, ENOTDIR)
TEST_ERROR(link_loop, "/loop/n", enter_root, AT_FDCWD, ELOOP)
TEST_ERROR(empty_path, "", enter_root, AT_FDCWD, ENOENT)
TEST_ERROR(dirfd_that_is_not_open, "n", enter_directory, 55, EBADF)
TEST_ERROR(dirfd_that_is_a_file, "n", enter_directory, 78, ENOTDIR)
TEST_ERROR(magic_link_of_a_descriptor_that_is_not_open, "/proc/self/fd/55/n", enter_directory, AT_FDCWD,
                ENOENT)

/* EACCES where the other process may not be looked at (a matter of its dumpable flag), ELOOP where it may:
 * never its root. */
Test(lookup, magic_link_of_another) {
        int r = look("/proc/1/root/n", enter_directory, true, AT_FDCWD, NULL);

        cr_expect(r == -ELOOP || r == -EACCES, "got %i", r);
}

Test(lookup, too_long) {
        char path[PATH_MAX + 8];

        memset(path, 'a', sizeof(path));
        path[sizeof(path) - 1] = 0;
        cr_expect_eq(look(path, enter_root, true, AT_FDCWD, NULL), -ENAMETOOLONG);
}

Test(lookup, the_last_link_is_not_followed_if_not_asked) {
        struct stat st;
        int fd = look("/rel", enter_root, false, AT_FDCWD, NULL);

        cr_assert(fd >= 0 && fstat(fd, &st) == 0);
        cr_expect(S_ISLNK(st.st_mode));
}

Test(lookup, leaves_no_trace_of_the_callers_root) {
        g_autofree char *before = g_file_read_link("/proc/self/root", NULL), *after = NULL, *cwd = NULL;

        (void) look("../abs/sub/n", enter_root, true, AT_FDCWD, NULL); /* the way by chroot */

        after = g_file_read_link("/proc/self/root", NULL);
        cwd = g_get_current_dir();
        cr_expect_str_eq(after, before);
        cr_expect_str_eq(cwd, "/");
}

/* As the target of a mount, or of setxattr(2): the link is followed, in the caller's table and not in ours.
 */
#define TEST_MAGIC(test, path, expected)                                                                     \
        Test(lookup, test) {                                                                                 \
                object_flags = 0;                                                                            \
                expect_is(look(path, enter_directory, false, AT_FDCWD, NULL), expected);                     \
        }

TEST_MAGIC(ends_in_a_descriptor, "/proc/self/fd/77", "root/dir")
TEST_MAGIC(ends_in_a_descriptor_of_the_thread, "/proc/thread-self/fd/77", "root/dir")
TEST_MAGIC(ends_in_a_descriptor_with_slash, "/proc/self/fd/77/", "root/dir")
TEST_MAGIC(ends_in_the_working_directory, "/proc/self/cwd", "root")

Test(lookup, ends_in_a_descriptor_that_is_not_open) {
        object_flags = 0;
        cr_expect_eq(look("/proc/self/fd/55", enter_directory, false, AT_FDCWD, NULL), -ENOENT);
}
