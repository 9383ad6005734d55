/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* supervisor/caller.c, caller-memory.c and userns.c: who asks, what may it borrow, and its memory. */

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/caller.h"
#include "supervisor/thread-entry.h"
#include "tests/unit/blocked-caller.h"

static void setup(void) {
        if (geteuid() != 0)
                cr_skip_test("needs root");
        cr_assert(caller_setup() == 0);
}

TestSuite(caller, .init = setup, .timeout = 30);

/* What's looked up in it goes with it; in the host's the kernel would keep it. */
Test(caller, callers_are_looked_at_through_a_procfs_of_ours) {
        struct stat own, hosts;
        struct statfs fs;

        cr_assert_eq(fstatfs(thread_entry_proc(), &fs), 0);
        cr_expect_eq(fs.f_type, PROC_SUPER_MAGIC);

        cr_assert_eq(fstat(thread_entry_proc(), &own), 0);
        cr_assert_eq(stat("/proc", &hosts), 0);
        cr_expect_neq(own.st_dev, hosts.st_dev);
}

static Caller open_caller(const BlockedCaller *b) {
        Caller c = CALLER_INIT;

        caller_init(&c, b->listener, b->id, b->tid);
        cr_assert(caller_identify(&c) == 0);
        return c;
}

static void become_somebody(void *userdata) {
        static const gid_t groups[] = { 7, 1000, 65000 };

        umask(0027);
        cr_assert(setgroups(3, groups) == 0);
        cr_assert(setresgid(1001, 1002, 1003) == 0);
        cr_assert(setresuid(2001, 2002, 2003) == 0);
}

Test(caller, ids_groups_and_umask_are_those_of_the_host) {
        BlockedCaller b;

        blocked_caller_start(
                        &b, &(BlockedCallerOptions){ .user_namespace = true, .prepare = become_somebody });
        Caller c = open_caller(&b);

        cr_expect_eq(c.euid, 102002);
        cr_expect_eq(c.fsuid, 102002);
        cr_expect_eq(c.fsgid, 101002);
        cr_expect_eq(c.umask, 0027);
        cr_expect_eq(c.n_groups, 3);
        cr_expect_eq(c.groups[0], 100007);
        cr_expect_eq(c.groups[2], 165000);
        cr_expect_eq(c.tgid, b.child);
        cr_expect_eq(c.userns->kind, USERNS_CONTAINER);
        /* Its capabilities went with its uid. */
        cr_expect_eq(caller_may_borrow(&c, CAP_MKNOD, true), REASON_NO_CAPABILITY);

        caller_close(&c);
        blocked_caller_stop(&b);
}

Test(caller, root_of_the_container_may_borrow) {
        BlockedCaller b;

        blocked_caller_start(&b, &(BlockedCallerOptions){ .user_namespace = true });
        Caller c = open_caller(&b);

        cr_expect_eq(caller_may_borrow(&c, CAP_MKNOD, false), REASON_NONE);
        cr_expect(caller_maps_owner(&c, 100000, 165535));
        cr_expect_not(caller_maps_owner(&c, 99999, 100000));
        cr_expect_not(caller_maps_owner(&c, 100000, 165536));
        cr_expect_not(caller_maps_owner(&c, 0, 0));

        caller_close(&c);
        blocked_caller_stop(&b);
}

/* As many ranges as the kernel takes: their text is longer than what it shows at once. */
Test(caller, ids_of_many_ranges_are_mapped) {
        g_autoptr(GString) map = g_string_new(NULL);
        BlockedCaller b;

        for (unsigned i = 0; i < USERNS_RANGES_MAX; i++)
                g_string_append_printf(map, "%u %u 1\n", i, 2000 + 2 * i);

        blocked_caller_start(&b, &(BlockedCallerOptions){ .user_namespace = true, .uid_map = map->str });
        Caller c = open_caller(&b);

        cr_expect_eq(c.userns->n_uids, USERNS_RANGES_MAX);
        for (unsigned i = 0; i < USERNS_RANGES_MAX; i++) {
                cr_expect(caller_maps_owner(&c, 2000 + 2 * i, 100000), "%u", i);
                cr_expect_not(caller_maps_owner(&c, 2001 + 2 * i, 100000), "%u", i);
        }

        caller_close(&c);
        blocked_caller_stop(&b);
}

Test(caller, a_thread_that_is_not_the_leader) {
        BlockedCaller b;

        blocked_caller_start(&b, &(BlockedCallerOptions){ .user_namespace = true, .thread = true });
        cr_assert_neq(b.tid, b.child);
        Caller c = open_caller(&b);

        cr_expect_eq(c.tgid, b.child);
        cr_expect_eq(caller_may_borrow(&c, CAP_MKNOD, false), REASON_NONE);
        cr_expect_eq(caller_verify(&c), 0);

        caller_close(&c);
        blocked_caller_stop(&b);
}

static void drop_mknod(void *userdata) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2];

        syscall(SYS_capget, &header, data);
        data[0].effective &= ~(1u << CAP_MKNOD); /* still permitted: it counts what's effective */
        syscall(SYS_capset, &header, data);
}

Test(caller, a_capability_that_is_not_effective_is_not_enough) {
        BlockedCaller b;

        blocked_caller_start(&b, &(BlockedCallerOptions){ .user_namespace = true, .prepare = drop_mknod });
        Caller c = open_caller(&b);

        cr_expect_eq(caller_may_borrow(&c, CAP_MKNOD, true), REASON_NO_CAPABILITY);
        cr_expect_eq(caller_may_borrow(&c, CAP_SYS_ADMIN, false), REASON_NONE);

        caller_close(&c);
        blocked_caller_stop(&b);
}

Test(caller, root_of_a_nested_namespace_is_not_root_of_the_container) {
        BlockedCaller b;

        blocked_caller_start(&b, &(BlockedCallerOptions){ .user_namespace = true, .nested = true });
        Caller c = open_caller(&b);

        cr_expect_eq(c.userns->kind, USERNS_NESTED);
        cr_expect_eq(caller_may_borrow(&c, CAP_MKNOD, true), REASON_NESTED_USERNS);
        cr_expect_not(caller_maps_owner(&c, 100000, 100000));

        caller_close(&c);
        blocked_caller_stop(&b);
}

Test(caller, a_namespace_that_a_user_made_is_no_container) {
        BlockedCaller b;

        blocked_caller_start(
                        &b, &(BlockedCallerOptions){ .user_namespace = true, .user_namespace_owner = 1234 });
        Caller c = open_caller(&b);

        cr_expect_eq(c.userns->kind, USERNS_NOT_ROOTS);
        cr_expect_eq(caller_may_borrow(&c, CAP_MKNOD, true), REASON_USERNS_NOT_ROOT);

        caller_close(&c);
        blocked_caller_stop(&b);
}

Test(caller, in_our_own_namespace_users_count) {
        BlockedCaller b;

        blocked_caller_start(&b, &(BlockedCallerOptions){});
        Caller c = open_caller(&b);

        cr_expect_eq(c.userns->kind, USERNS_OURS);
        cr_expect_eq(caller_may_borrow(&c, CAP_MKNOD, false), REASON_USER_NOT_LENT);
        cr_expect_eq(caller_may_borrow(&c, CAP_MKNOD, true), REASON_NONE);

        caller_close(&c);
        blocked_caller_stop(&b);
}

Test(caller, a_dead_caller_is_noticed) {
        BlockedCaller b;

        blocked_caller_start(&b, &(BlockedCallerOptions){ .user_namespace = true });
        Caller c = open_caller(&b);
        cr_expect_eq(caller_verify(&c), 0);

        kill(b.child, SIGKILL);
        waitpid(b.child, NULL, 0);

        cr_expect_eq(caller_verify(&c), -ENOENT);
        cr_expect_eq(caller_open_root(&c), -ENOENT);
        cr_expect_eq(caller_open_cwd(&c), -ENOENT);
        cr_expect_eq(caller_identify(&c), -ENOENT);
        caller_close(&c);
        blocked_caller_stop(&b);
}

Test(caller, an_id_that_is_reused_is_another_thread) {
        BlockedCaller first, second;

        blocked_caller_start(
                        &first, &(BlockedCallerOptions){ .user_namespace = true, .prepare = drop_mknod });
        Caller c = open_caller(&first);
        cr_expect_eq(caller_may_borrow(&c, CAP_MKNOD, false), REASON_NO_CAPABILITY);
        caller_close(&c);
        blocked_caller_stop(&first);

        /* Its /proc entries are still kept, and must not be taken for the newcomer's. */
        blocked_caller_start(&second, &(BlockedCallerOptions){ .pid = first.child });
        cr_assert_eq(second.tid, first.tid);
        Caller d = open_caller(&second);
        cr_expect_eq(d.userns->kind, USERNS_OURS);
        cr_expect_eq(caller_may_borrow(&d, CAP_MKNOD, true), REASON_NONE);
        cr_expect(caller_has_natively(&d, CAP_MKNOD));
        caller_close(&d);
        blocked_caller_stop(&second);
}

/* Pages as the child has them at the same address, since it's our fork. */
static char *pages;

static void make_pages(void) {
        pages = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        cr_assert(pages != MAP_FAILED);
        memset(pages, 'a', 4 * 4096);
        munmap(pages + 3 * 4096, 4096);
}

Test(caller, strings_end_where_they_end) {
        char buffer[8192];
        BlockedCaller b;

        make_pages();
        strcpy(pages + 3 * 4096 - 6, "hello"); /* behind it nothing is mapped */
        strcpy(pages + 4090, "acrosspages");
        blocked_caller_start(&b, &(BlockedCallerOptions){});
        Caller c = open_caller(&b);

        cr_expect_eq(caller_read_string(&c, (uintptr_t) pages + 3 * 4096 - 6, buffer, sizeof(buffer)), 5);
        cr_expect_str_eq(buffer, "hello");
        cr_expect_eq(caller_read_string(&c, (uintptr_t) pages + 4090, buffer, sizeof(buffer)), 11);
        cr_expect_str_eq(buffer, "acrosspages");
        cr_expect_eq(caller_read_string(&c, (uintptr_t) pages + 4090, buffer, 12), 11);
        cr_expect_eq(caller_read_string(&c, (uintptr_t) pages + 4090, buffer, 11), -ENAMETOOLONG);
        cr_expect_eq(caller_read_string(&c, (uintptr_t) pages, buffer, 4096), -ENAMETOOLONG);
        cr_expect_eq(caller_read_string(&c, 0, buffer, sizeof(buffer)), -EFAULT);
        cr_expect_eq(caller_read_string(&c, (uintptr_t) pages + 3 * 4096, buffer, sizeof(buffer)), -EFAULT);
        cr_expect_eq(caller_read_string(&c, UINT64_MAX - 2, buffer, sizeof(buffer)), -EFAULT);
        cr_expect_eq(caller_read(&c, (uintptr_t) pages + 3 * 4096 - 4, buffer, 8), -EFAULT);

        caller_close(&c);
        blocked_caller_stop(&b);
}

Test(caller, writes_only_where_the_caller_could) {
        char buffer[16];
        BlockedCaller b;

        make_pages();
        mprotect(pages, 4096, PROT_READ);
        blocked_caller_start(&b, &(BlockedCallerOptions){});
        Caller c = open_caller(&b);

        cr_assert(caller_open_memory(&c) == 0);
        cr_expect_eq(caller_write(&c, (uintptr_t) pages + 4096, "written", 8), 0);
        cr_expect_eq(caller_read(&c, (uintptr_t) pages + 4096, buffer, 8), 0);
        cr_expect_str_eq(buffer, "written");
        /* A debugger may write there; the caller may not. */
        cr_expect_eq(caller_write(&c, (uintptr_t) pages, "x", 1), -EFAULT);
        cr_expect_eq(caller_write(&c, (uintptr_t) pages + 4092, "12345678", 8), -EFAULT);
        cr_expect_eq(caller_write(&c, (uintptr_t) pages + 3 * 4096 - 4, "12345678", 8), -EFAULT);
        cr_expect_eq(caller_write(&c, 0, "x", 1), -EFAULT);
        cr_expect_eq(caller_write(&c, UINT64_MAX - 2, "12345678", 8), -EFAULT);

        caller_close(&c);
        blocked_caller_stop(&b);
}

static void open_descriptors(void *userdata) {
        cr_assert(dup2(open("/etc/passwd", O_RDONLY), 100) == 100);
        cr_assert(dup2(open("/etc", O_PATH), 101) == 101);
}

static Caller pin(const BlockedCaller *b, uint64_t *ret_thread) {
        Caller c = CALLER_INIT;

        caller_init(&c, b->listener, b->id, b->tid);
        cr_assert_eq(caller_pin_memory(&c, ret_thread), 0);
        return c;
}

Test(caller, memory_is_the_pinned_threads) {
        uint64_t thread, again, other;
        BlockedCaller first, second;
        char byte;

        make_pages();
        blocked_caller_start(&first, &(BlockedCallerOptions){ .thread = true });
        Caller c = pin(&first, &thread);
        cr_expect_eq(caller_write(&c, (uint64_t) (uintptr_t) pages, "x", 1), 0);
        cr_expect_eq(caller_read(&c, (uint64_t) (uintptr_t) pages, &byte, 1), 0);
        cr_expect_eq(byte, 'x');
        cr_expect_eq(caller_verify(&c), 0);
        caller_close(&c);

        c = pin(&first, &again);
        cr_expect_eq(again, thread, "it's known again");
        blocked_caller_stop(&first);

        /* The descriptor outlives the process; there's nothing behind it any more. */
        cr_expect_lt(caller_write(&c, (uint64_t) (uintptr_t) pages, "y", 1), 0);
        caller_close(&c);

        Caller dead = CALLER_INIT;
        caller_init(&dead, first.listener, first.id, first.tid);
        cr_expect_eq(caller_pin_memory(&dead, &again), -ENOENT);
        caller_close(&dead);

        blocked_caller_start(&first, &(BlockedCallerOptions){});
        c = pin(&first, &thread);
        blocked_caller_stop(&first);
        blocked_caller_start(&second, &(BlockedCallerOptions){ .pid = first.child });
        cr_assert_eq(second.tid, first.tid);
        Caller d = pin(&second, &other);
        cr_expect_neq(other, thread, "another thread of the same number");
        cr_expect_lt(caller_write(&c, (uint64_t) (uintptr_t) pages, "z", 1), 0);
        cr_expect_eq(caller_read(&d, (uint64_t) (uintptr_t) pages, &byte, 1), 0);
        cr_expect_eq(byte, 'a');
        caller_close(&c);
        caller_close(&d);
        blocked_caller_stop(&second);
}

Test(caller, descriptors_are_the_callers) {
        struct stat a, e;
        BlockedCaller b;
        int fd, flags;

        blocked_caller_start(
                        &b, &(BlockedCallerOptions){ .user_namespace = true, .prepare = open_descriptors });
        Caller c = open_caller(&b);

        fd = caller_open_fd(&c, 100, &flags);
        cr_assert(fd >= 0);
        cr_expect_not(flags & O_PATH);
        cr_assert(fstat(fd, &a) == 0 && stat("/etc/passwd", &e) == 0);
        cr_expect(a.st_ino == e.st_ino && a.st_dev == e.st_dev);
        close(fd);

        fd = caller_open_fd(&c, 101, &flags);
        cr_assert(fd >= 0);
        cr_expect(flags & O_PATH);
        close(fd);

        cr_expect_eq(caller_open_fd(&c, 102, NULL), -EBADF);
        cr_expect_eq(caller_open_fd(&c, -5, NULL), -EBADF);

        caller_close(&c);
        blocked_caller_stop(&b);
}
