/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The compiled program is run twice: by an interpreter of ours over every call that matters on every
 * architecture, which shows its verdicts, and by the kernel, which shows that it's taken and that the
 * verdicts are those. */

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <linux/audit.h>
#include <linux/seccomp.h>

#include "basic/fd.h"
#include "basic/protocol.h"
#include "filter/architecture.h"
#include "filter/filter.h"
#include "tests/unit/filter-machine.h"

#define ALLOW  SECCOMP_RET_ALLOW
#define NOTIFY SECCOMP_RET_USER_NOTIF

#define GARBAGE UINT64_C(0xdeadbeef00000000)

#define ALL_CALLS (CALL_BIT(_CALL_MAX) - 1)

static uint32_t verdict_of_five(const Filter *filter, uint32_t arch, uint32_t nr, uint64_t a0, uint64_t a1,
                uint64_t a2, uint64_t a3, uint64_t a4) {
        struct seccomp_data data = {
                .nr = (int) nr,
                .arch = arch,
                .args = { a0, a1, a2, a3, a4, GARBAGE },
        };

        return filter_machine_run(filter, &data, NULL);
}

static uint32_t verdict(const Filter *filter, uint32_t arch, uint32_t nr, uint64_t a0, uint64_t a1,
                uint64_t a2, uint64_t a3) {
        return verdict_of_five(filter, arch, nr, a0, a1, a2, a3, GARBAGE);
}

static Filter *compile(CallSet calls) {
        Filter *filter = NULL;
        int r;

        r = filter_new(calls, &filter);
        cr_assert_eq(r, 0, "filter_new(0x%llx): %s", (unsigned long long) calls, strerror(-r));
        cr_assert_not_null(filter);
        cr_assert_eq(filter->calls, calls);
        cr_assert_gt(filter->n_insns, 0);
        cr_assert_leq(filter->n_insns, HANDOVER_INSNS_MAX);
        return filter;
}

/* Numbers from the kernel's tables, so that nothing is compared with itself. */
static const struct Number {
        uint32_t arch;
        CallId call;
        uint32_t nr;
} numbers[] = {
#if defined(__x86_64__)
        { AUDIT_ARCH_X86_64, CALL_MKNOD, 133 },
        { AUDIT_ARCH_X86_64, CALL_MKNODAT, 259 },
        { AUDIT_ARCH_X86_64, CALL_SETXATTR, 188 },
        { AUDIT_ARCH_X86_64, CALL_LSETXATTR, 189 },
        { AUDIT_ARCH_X86_64, CALL_FSETXATTR, 190 },
        { AUDIT_ARCH_X86_64, CALL_SETXATTRAT, 463 },
        { AUDIT_ARCH_X86_64, CALL_REMOVEXATTR, 197 },
        { AUDIT_ARCH_X86_64, CALL_LREMOVEXATTR, 198 },
        { AUDIT_ARCH_X86_64, CALL_FREMOVEXATTR, 199 },
        { AUDIT_ARCH_X86_64, CALL_REMOVEXATTRAT, 466 },
        { AUDIT_ARCH_X86_64, CALL_GETXATTR, 191 },
        { AUDIT_ARCH_X86_64, CALL_LGETXATTR, 192 },
        { AUDIT_ARCH_X86_64, CALL_FGETXATTR, 193 },
        { AUDIT_ARCH_X86_64, CALL_GETXATTRAT, 464 },
        { AUDIT_ARCH_X86_64, CALL_LISTXATTR, 194 },
        { AUDIT_ARCH_X86_64, CALL_LLISTXATTR, 195 },
        { AUDIT_ARCH_X86_64, CALL_FLISTXATTR, 196 },
        { AUDIT_ARCH_X86_64, CALL_LISTXATTRAT, 465 },
        { AUDIT_ARCH_X86_64, CALL_MKNOD, X32_BIT | 133 },
        { AUDIT_ARCH_X86_64, CALL_MKNODAT, X32_BIT | 259 },
        { AUDIT_ARCH_X86_64, CALL_SETXATTR, X32_BIT | 188 },
        { AUDIT_ARCH_X86_64, CALL_SETXATTRAT, X32_BIT | 463 },
        { AUDIT_ARCH_X86_64, CALL_REMOVEXATTRAT, X32_BIT | 466 },
        { AUDIT_ARCH_X86_64, CALL_LISTXATTRAT, X32_BIT | 465 },
        { AUDIT_ARCH_I386, CALL_MKNOD, 14 },
        { AUDIT_ARCH_I386, CALL_MKNODAT, 297 },
        { AUDIT_ARCH_I386, CALL_SETXATTR, 226 },
        { AUDIT_ARCH_I386, CALL_LSETXATTR, 227 },
        { AUDIT_ARCH_I386, CALL_FSETXATTR, 228 },
        { AUDIT_ARCH_I386, CALL_SETXATTRAT, 463 },
        { AUDIT_ARCH_I386, CALL_GETXATTR, 229 },
        { AUDIT_ARCH_I386, CALL_LISTXATTR, 232 },
        { AUDIT_ARCH_I386, CALL_REMOVEXATTR, 235 },
        { AUDIT_ARCH_I386, CALL_LREMOVEXATTR, 236 },
        { AUDIT_ARCH_I386, CALL_FREMOVEXATTR, 237 },
        { AUDIT_ARCH_I386, CALL_REMOVEXATTRAT, 466 },
        { AUDIT_ARCH_X86_64, CALL_MOUNT, 165 },
        { AUDIT_ARCH_X86_64, CALL_FSOPEN, 430 },
        { AUDIT_ARCH_X86_64, CALL_FSCONFIG, 431 },
        { AUDIT_ARCH_X86_64, CALL_FSMOUNT, 432 },
        { AUDIT_ARCH_X86_64, CALL_MOVE_MOUNT, 429 },
        { AUDIT_ARCH_X86_64, CALL_MOUNT_SETATTR, 442 },
        { AUDIT_ARCH_X86_64, CALL_SYSINFO, 99 },
        { AUDIT_ARCH_X86_64, CALL_SCHED_SETSCHEDULER, 144 },
        { AUDIT_ARCH_X86_64, CALL_SCHED_SETPARAM, 142 },
        { AUDIT_ARCH_X86_64, CALL_SCHED_SETATTR, 314 },
        { AUDIT_ARCH_X86_64, CALL_SETPRIORITY, 141 },
        { AUDIT_ARCH_X86_64, CALL_IOPRIO_SET, 251 },
        { AUDIT_ARCH_X86_64, CALL_BPF, 321 },
        { AUDIT_ARCH_X86_64, CALL_INIT_MODULE, 175 },
        { AUDIT_ARCH_X86_64, CALL_FINIT_MODULE, 313 },
        { AUDIT_ARCH_X86_64, CALL_MOUNT, X32_BIT | 165 },
        { AUDIT_ARCH_X86_64, CALL_BPF, X32_BIT | 321 },
        { AUDIT_ARCH_I386, CALL_MOUNT, 21 },
        { AUDIT_ARCH_I386, CALL_FSOPEN, 430 },
        { AUDIT_ARCH_I386, CALL_FSCONFIG, 431 },
        { AUDIT_ARCH_I386, CALL_FSMOUNT, 432 },
        { AUDIT_ARCH_I386, CALL_MOVE_MOUNT, 429 },
        { AUDIT_ARCH_I386, CALL_MOUNT_SETATTR, 442 },
        { AUDIT_ARCH_I386, CALL_SYSINFO, 116 },
        { AUDIT_ARCH_I386, CALL_SCHED_SETSCHEDULER, 156 },
        { AUDIT_ARCH_I386, CALL_SCHED_SETPARAM, 154 },
        { AUDIT_ARCH_I386, CALL_SCHED_SETATTR, 351 },
        { AUDIT_ARCH_I386, CALL_SETPRIORITY, 97 },
        { AUDIT_ARCH_I386, CALL_IOPRIO_SET, 289 },
        { AUDIT_ARCH_I386, CALL_BPF, 357 },
        { AUDIT_ARCH_I386, CALL_INIT_MODULE, 128 },
        { AUDIT_ARCH_I386, CALL_FINIT_MODULE, 350 },
#elif defined(__aarch64__)
        { AUDIT_ARCH_AARCH64, CALL_MKNODAT, 33 },
        { AUDIT_ARCH_AARCH64, CALL_SETXATTR, 5 },
        { AUDIT_ARCH_AARCH64, CALL_LSETXATTR, 6 },
        { AUDIT_ARCH_AARCH64, CALL_FSETXATTR, 7 },
        { AUDIT_ARCH_AARCH64, CALL_SETXATTRAT, 463 },
        { AUDIT_ARCH_AARCH64, CALL_REMOVEXATTR, 14 },
        { AUDIT_ARCH_AARCH64, CALL_REMOVEXATTRAT, 466 },
        { AUDIT_ARCH_ARM, CALL_MKNOD, 14 },
        { AUDIT_ARCH_ARM, CALL_MKNODAT, 324 },
        { AUDIT_ARCH_ARM, CALL_SETXATTR, 226 },
        { AUDIT_ARCH_ARM, CALL_SETXATTRAT, 463 },
        { AUDIT_ARCH_AARCH64, CALL_MOUNT, 40 },
        { AUDIT_ARCH_AARCH64, CALL_FSOPEN, 430 },
        { AUDIT_ARCH_AARCH64, CALL_FSCONFIG, 431 },
        { AUDIT_ARCH_AARCH64, CALL_FSMOUNT, 432 },
        { AUDIT_ARCH_AARCH64, CALL_MOVE_MOUNT, 429 },
        { AUDIT_ARCH_AARCH64, CALL_MOUNT_SETATTR, 442 },
        { AUDIT_ARCH_AARCH64, CALL_SYSINFO, 179 },
        { AUDIT_ARCH_AARCH64, CALL_SCHED_SETSCHEDULER, 119 },
        { AUDIT_ARCH_AARCH64, CALL_SCHED_SETPARAM, 118 },
        { AUDIT_ARCH_AARCH64, CALL_SCHED_SETATTR, 274 },
        { AUDIT_ARCH_AARCH64, CALL_SETPRIORITY, 140 },
        { AUDIT_ARCH_AARCH64, CALL_IOPRIO_SET, 30 },
        { AUDIT_ARCH_AARCH64, CALL_BPF, 280 },
        { AUDIT_ARCH_AARCH64, CALL_INIT_MODULE, 105 },
        { AUDIT_ARCH_AARCH64, CALL_FINIT_MODULE, 273 },
        { AUDIT_ARCH_ARM, CALL_MOUNT, 21 },
        { AUDIT_ARCH_ARM, CALL_FSOPEN, 430 },
        { AUDIT_ARCH_ARM, CALL_FSCONFIG, 431 },
        { AUDIT_ARCH_ARM, CALL_FSMOUNT, 432 },
        { AUDIT_ARCH_ARM, CALL_MOVE_MOUNT, 429 },
        { AUDIT_ARCH_ARM, CALL_MOUNT_SETATTR, 442 },
        { AUDIT_ARCH_ARM, CALL_SYSINFO, 116 },
        { AUDIT_ARCH_ARM, CALL_SCHED_SETSCHEDULER, 156 },
        { AUDIT_ARCH_ARM, CALL_SCHED_SETPARAM, 154 },
        { AUDIT_ARCH_ARM, CALL_SCHED_SETATTR, 380 },
        { AUDIT_ARCH_ARM, CALL_SETPRIORITY, 97 },
        { AUDIT_ARCH_ARM, CALL_IOPRIO_SET, 314 },
        { AUDIT_ARCH_ARM, CALL_BPF, 386 },
        { AUDIT_ARCH_ARM, CALL_INIT_MODULE, 128 },
        { AUDIT_ARCH_ARM, CALL_FINIT_MODULE, 379 },
#endif
};

#define N_NUMBERS (sizeof(numbers) / sizeof(numbers[0]))

/* Arguments with which a call is one that a policy might lend. */
static const struct {
        CallId call;
        uint64_t arguments[5];
} lendable[] = {
        { CALL_MKNOD, { 1, S_IFBLK, 0x800, 1 } },
        { CALL_MKNODAT, { 1, 1, S_IFBLK, 0x800 } },
        { CALL_MOUNT, { 1, 1, 1, MS_NODEV } },
        { CALL_MOVE_MOUNT, { 1, 1, 1, 1, GARBAGE | MOVE_MOUNT_F_EMPTY_PATH } },
        { CALL_MOUNT_SETATTR, { 1, 1, GARBAGE | AT_EMPTY_PATH | AT_RECURSIVE, 1 } },
        { CALL_SCHED_SETSCHEDULER, { 0, SCHED_FIFO, 1, 1 } },
        { CALL_SCHED_SETATTR, { 0, 1, 0, 1 } },
        { CALL_SETPRIORITY, { 0, 0, (uint32_t) -5, 1 } },
        { CALL_IOPRIO_SET, { 1, 0, 1 << 13, 1 } },
        { CALL_BPF, { 5 /* BPF_PROG_LOAD */, 1, 128, 1 } },
        { CALL_FINIT_MODULE, { 3, 1, 0, 1 } },
};

/* The verdict on a number as if it were of this call, with arguments that are of interest. */
static uint32_t lendable_verdict(const Filter *filter, uint32_t arch, uint32_t nr, CallId id) {
        for (size_t i = 0; i < sizeof(lendable) / sizeof(lendable[0]); i++) {
                const uint64_t *a = lendable[i].arguments;

                if (lendable[i].call == id)
                        return verdict_of_five(filter, arch, nr, a[0], a[1], a[2], a[3], a[4]);
        }

        return verdict(filter, arch, nr, 1, 1, 1, 1);
}

static bool is_mknod(CallId id) {
        return id == CALL_MKNOD || id == CALL_MKNODAT;
}

/* The verdict on a mknod of either form, whose mode and dev registers are given. */
static uint32_t mknod_verdict(const Filter *filter, const struct Number *n, uint64_t mode, uint64_t dev) {
        return n->call == CALL_MKNOD ? verdict(filter, n->arch, n->nr, 1, mode, dev, GARBAGE | 0x2103)
                                     : verdict(filter, n->arch, n->nr, 1, 2, mode, dev);
}

Test(filter, empty_set) {
        Filter *filter = (Filter *) 1;

        cr_assert_eq(filter_new(0, &filter), -ENODATA);
        cr_assert_eq(filter, (Filter *) 1, "*ret is written on success only");
}

Test(filter, unknown_bit) {
        Filter *filter = NULL;

        cr_assert_eq(filter_new(UINT64_C(1) << 63, &filter), -EINVAL);
        cr_assert_null(filter);
        cr_assert_null(filter_free(NULL));
}

/* What needs no privilege never wakes anybody. */
Test(filter, mknod_unprivileged_kinds) {
        static const uint64_t modes[] = { 0, 0644, S_IFREG | 0644, S_IFIFO | 0600, S_IFSOCK | 0777 };
        g_autoptr(Filter) filter = compile(ALL_CALLS);

        for (size_t i = 0; i < N_NUMBERS; i++)
                for (size_t m = 0; is_mknod(numbers[i].call) && m < sizeof(modes) / sizeof(modes[0]); m++) {
                        cr_expect_eq(mknod_verdict(filter, numbers + i, modes[m], 0), ALLOW);
                        cr_expect_eq(mknod_verdict(filter, numbers + i, modes[m], makedev(1, 3)), ALLOW);
                        cr_expect_eq(mknod_verdict(filter, numbers + i, GARBAGE | modes[m], GARBAGE | 0x103),
                                        ALLOW);
                }
}

Test(filter, mknod_devices) {
        g_autoptr(Filter) filter = compile(CALL_BIT(CALL_MKNOD) | CALL_BIT(CALL_MKNODAT));

        for (size_t i = 0; i < N_NUMBERS; i++) {
                const struct Number *n = numbers + i;

                if (!is_mknod(n->call)) {
                        cr_expect_eq(verdict(filter, n->arch, n->nr, 1, S_IFCHR, S_IFCHR, 0x103), ALLOW);
                        continue;
                }

                cr_expect_eq(mknod_verdict(filter, n, S_IFCHR | 0666, 0x103), NOTIFY);
                cr_expect_eq(mknod_verdict(filter, n, S_IFCHR | S_ISUID | S_ISGID | S_ISVTX | 0777, 1),
                                NOTIFY);
                cr_expect_eq(mknod_verdict(filter, n, S_IFCHR, 0x80000000u), NOTIFY);
                cr_expect_eq(mknod_verdict(filter, n, S_IFBLK | 0660, 0x800), NOTIFY);
                cr_expect_eq(mknod_verdict(filter, n, S_IFCHR | 0600, 0), ALLOW, "A whiteout is native");
                cr_expect_eq(mknod_verdict(filter, n, S_IFBLK | 0600, 0), NOTIFY, "b 0:0 is no whiteout");
        }
}

/* What makes no new superblock needs no lending, and is the most of what's mounted. */
Test(filter, mount_flags) {
        static const uint64_t others[] = { MS_BIND, MS_BIND | MS_REC, MS_REMOUNT,
                MS_REMOUNT | MS_BIND | MS_RDONLY, MS_MOVE, MS_PRIVATE, MS_PRIVATE | MS_REC, MS_SLAVE,
                MS_SHARED, MS_UNBINDABLE, MS_MGC_VAL | MS_BIND, MS_MGC_VAL | MS_REMOUNT,
                MS_MGC_VAL | MS_MOVE };
        static const uint64_t news[] = { 0, MS_RDONLY, MS_NODEV | MS_NOSUID | MS_NOATIME, MS_SILENT,
                MS_LAZYTIME, MS_MGC_VAL, MS_MGC_VAL | MS_RDONLY };
        g_autoptr(Filter) filter = compile(CALL_BIT(CALL_MOUNT));

        for (size_t i = 0; i < N_NUMBERS; i++) {
                const struct Number *n = numbers + i;

                if (n->call != CALL_MOUNT)
                        continue;

                for (size_t k = 0; k < sizeof(others) / sizeof(others[0]); k++) {
                        cr_expect_eq(verdict(filter, n->arch, n->nr, 1, 2, 3, others[k]), ALLOW);
                        cr_expect_eq(verdict(filter, n->arch, n->nr, 1, 2, 3, GARBAGE | others[k]), ALLOW);
                }
                for (size_t k = 0; k < sizeof(news) / sizeof(news[0]); k++) {
                        cr_expect_eq(verdict(filter, n->arch, n->nr, 1, 2, 3, news[k]), NOTIFY);
                        cr_expect_eq(verdict(filter, n->arch, n->nr, 1, 2, 3, GARBAGE | news[k]), NOTIFY);
                }
        }
}

/* What names a mount by a path can't be one that fsmount(2) has just made: it stays native. */
Test(filter, mounts_by_path_are_native) {
        g_autoptr(Filter) filter = compile(CALL_BIT(CALL_MOVE_MOUNT) | CALL_BIT(CALL_MOUNT_SETATTR));

        for (size_t i = 0; i < N_NUMBERS; i++) {
                const struct Number *n = numbers + i;

                if (n->call == CALL_MOVE_MOUNT) {
                        cr_expect_eq(verdict_of_five(filter, n->arch, n->nr, 1, 1, 1, 1, GARBAGE), ALLOW);
                        cr_expect_eq(verdict_of_five(filter, n->arch, n->nr, 1, 1, 1, 1, 0x77 & ~4u), ALLOW);
                        cr_expect_eq(verdict_of_five(filter, n->arch, n->nr, 1, 1, 1, 1, 4), NOTIFY);
                        cr_expect_eq(verdict_of_five(filter, n->arch, n->nr, 1, 1, 1, 1, 0x77), NOTIFY);
                } else if (n->call == CALL_MOUNT_SETATTR) {
                        cr_expect_eq(verdict(filter, n->arch, n->nr, 1, 1, GARBAGE, 1), ALLOW);
                        cr_expect_eq(verdict(filter, n->arch, n->nr, 1, 1, AT_RECURSIVE, 1), ALLOW);
                        cr_expect_eq(verdict(filter, n->arch, n->nr, 1, 1, AT_EMPTY_PATH, 1), NOTIFY);
                }
        }
}

/* A module that's forced upon the kernel is never lent; whether it's compressed, or a flag is unknown, is for
 * the supervisor to see. */
Test(filter, module_flags) {
        g_autoptr(Filter) filter = compile(CALL_BIT(CALL_FINIT_MODULE) | CALL_BIT(CALL_INIT_MODULE));

        for (size_t i = 0; i < N_NUMBERS; i++) {
                const struct Number *n = numbers + i;

                for (uint64_t flags = 0; flags < 16 && n->call == CALL_FINIT_MODULE; flags++) {
                        uint32_t expected = flags & 3 ? ALLOW : NOTIFY;

                        cr_expect_eq(verdict(filter, n->arch, n->nr, 3, 1, flags, 0), expected);
                        cr_expect_eq(verdict(filter, n->arch, n->nr, 3, 1, GARBAGE | flags, 0), expected);
                }
                if (n->call == CALL_INIT_MODULE)
                        cr_expect_eq(verdict(filter, n->arch, n->nr, 1, 1, 3, 3), NOTIFY);
        }
}

/* What's served, and what's never left to the kernel, also with flags above the command: the rest is native.
 */
Test(filter, bpf_commands) {
        static const bool served[64] = { [0] = true,
                [5] = true,
                [8] = true,
                [9] = true,
                [13] = true,
                [16] = true,
                [22] = true,
                [28] = true };
        g_autoptr(Filter) filter = compile(CALL_BIT(CALL_BPF));

        for (size_t i = 0; i < N_NUMBERS; i++) {
                const struct Number *n = numbers + i;

                if (n->call != CALL_BPF)
                        continue;

                for (uint64_t command = 0; command < 64; command++) {
                        uint32_t expected = served[command] ? NOTIFY : ALLOW;

                        cr_expect_eq(verdict(filter, n->arch, n->nr, command, 1, 128, 0), expected);
                        cr_expect_eq(verdict(filter, n->arch, n->nr, GARBAGE | command, 1, 128, 0), expected);
                        cr_expect_eq(verdict(filter, n->arch, n->nr, command | 0x10000, 1, 128, 0), expected);
                        cr_expect_eq(verdict(filter, n->arch, n->nr, command | 0x4000, 1, 128, 0), ALLOW);
                }
        }
}

/* The kernel reads 16 bits of the mode and 32 of the device: what stands above must not hide a device. */
Test(filter, mknod_garbage_in_upper_halves) {
        g_autoptr(Filter) filter = compile(CALL_BIT(CALL_MKNOD) | CALL_BIT(CALL_MKNODAT));

        for (size_t i = 0; i < N_NUMBERS; i++) {
                const struct Number *n = numbers + i;

                if (!is_mknod(n->call))
                        continue;

                cr_expect_eq(mknod_verdict(filter, n, GARBAGE | S_IFCHR | 0666, 0x103), NOTIFY);
                cr_expect_eq(mknod_verdict(filter, n, S_IFCHR | 0666, GARBAGE | 0x103), NOTIFY);
                cr_expect_eq(mknod_verdict(filter, n, GARBAGE | S_IFBLK, GARBAGE | 0x800), NOTIFY);
                cr_expect_eq(mknod_verdict(filter, n, 0x7fff0000u | S_IFCHR, 0x103), NOTIFY);
                cr_expect_eq(mknod_verdict(filter, n, GARBAGE | S_IFCHR, 0), ALLOW, "still a whiteout");
                /* Costs a wake-up where registers have 64 bits, see TEST_NOT_ZERO(). */
                cr_expect_eq(mknod_verdict(filter, n, S_IFCHR, GARBAGE),
                                n->arch == AUDIT_ARCH_I386 || n->arch == AUDIT_ARCH_ARM || (n->nr & X32_BIT)
                                                ? ALLOW
                                                : NOTIFY);
        }
}

/* Verdicts on a call of the scheduling family: { the call, its registers, the verdict }. */
Test(filter, scheduling) {
        static const struct {
                CallId call;
                uint64_t a, b, c;
                uint32_t verdict;
        } cases[] = {
                { CALL_SCHED_SETSCHEDULER, 0, SCHED_FIFO, 1, NOTIFY },
                { CALL_SCHED_SETSCHEDULER, 7, SCHED_RR, 1, NOTIFY },
                { CALL_SCHED_SETSCHEDULER, 0, SCHED_FIFO | 0x40000000, 1, NOTIFY },
                { CALL_SCHED_SETSCHEDULER, GARBAGE, GARBAGE | SCHED_RR, 1, NOTIFY },
                { CALL_SCHED_SETSCHEDULER, 0, SCHED_OTHER, 1, NOTIFY },
                { CALL_SCHED_SETSCHEDULER, GARBAGE, SCHED_OTHER | 0x40000000, 1, NOTIFY },
                { CALL_SCHED_SETSCHEDULER, 0, SCHED_BATCH, 1, ALLOW },
                { CALL_SCHED_SETSCHEDULER, 0, SCHED_IDLE | 0x40000000, 1, ALLOW },
                { CALL_SCHED_SETSCHEDULER, 0, GARBAGE | SCHED_IDLE, 1, ALLOW },
                { CALL_SCHED_SETSCHEDULER, 7, SCHED_OTHER, 1, NOTIFY },
                { CALL_SCHED_SETSCHEDULER, 7, SCHED_OTHER | 0x40000000, 1, NOTIFY },
                { CALL_SCHED_SETSCHEDULER, 7, SCHED_BATCH, 1, NOTIFY },
                { CALL_SCHED_SETSCHEDULER, 7, GARBAGE | SCHED_IDLE, 1, NOTIFY },
                { CALL_SCHED_SETSCHEDULER, 7, 6 /* deadline: always EINVAL */, 1, ALLOW },
                { CALL_SCHED_SETSCHEDULER, 7, 4, 1, ALLOW },
                { CALL_SCHED_SETSCHEDULER, 7, UINT32_MAX, 1, ALLOW },
                { CALL_SCHED_SETSCHEDULER, 7, 0x80000000u | SCHED_FIFO, 1, ALLOW },
                { CALL_SCHED_SETPARAM, 0, 1, 1, NOTIFY },
                { CALL_SCHED_SETATTR, 0, 1, 0, NOTIFY },
                { CALL_SCHED_SETATTR, 7, 1, GARBAGE, NOTIFY },
                { CALL_SCHED_SETATTR, 0, 1, 1, ALLOW },
                { CALL_SETPRIORITY, PRIO_PROCESS, 0, (uint64_t) -20, NOTIFY },
                { CALL_SETPRIORITY, PRIO_PROCESS, 0, (uint32_t) -1, NOTIFY },
                { CALL_SETPRIORITY, PRIO_USER, 0, 0x80000000u, NOTIFY },
                { CALL_SETPRIORITY, PRIO_PGRP, 0, GARBAGE, NOTIFY },
                { CALL_SETPRIORITY, PRIO_PGRP, 0, 15, NOTIFY },
                { CALL_SETPRIORITY, PRIO_PGRP, 0, 16, NOTIFY },
                { CALL_SETPRIORITY, PRIO_PGRP, 0, 17, NOTIFY },
                { CALL_SETPRIORITY, PRIO_PGRP, 7, GARBAGE | 18, NOTIFY },
                { CALL_SETPRIORITY, PRIO_PGRP, 7, 19, ALLOW },
                { CALL_SETPRIORITY, PRIO_PROCESS, 0, 20, ALLOW },
                { CALL_SETPRIORITY, PRIO_PROCESS, 0, INT32_MAX, ALLOW },
                { CALL_SETPRIORITY, PRIO_PROCESS, 0, GARBAGE | 32, ALLOW },
                { CALL_IOPRIO_SET, 1, 0, 1 << 13 | 4, NOTIFY },
                { CALL_IOPRIO_SET, 1, 0, GARBAGE | 9 << 13, NOTIFY },
                { CALL_IOPRIO_SET, 1, 0, 2 << 13 | 4, ALLOW },
                { CALL_IOPRIO_SET, 1, 0, 3 << 13, ALLOW },
                { CALL_IOPRIO_SET, 3, 0, 0, ALLOW },
                { CALL_IOPRIO_SET, GARBAGE | 2, 0, 3 << 13, NOTIFY },
                { CALL_IOPRIO_SET, 1, 7, 2 << 13 | 4, NOTIFY },
        };
        g_autoptr(Filter) filter = compile(ALL_CALLS);

        for (size_t i = 0; i < N_NUMBERS; i++)
                for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++)
                        if (numbers[i].call == cases[c].call)
                                cr_expect_eq(verdict(filter, numbers[i].arch, numbers[i].nr, cases[c].a,
                                                             cases[c].b, cases[c].c, GARBAGE),
                                                cases[c].verdict, "%s, case %zu, arch 0x%x",
                                                call_to_string(cases[c].call), c, numbers[i].arch);
}

/* Each call alone: it's notified under all its numbers, and no other number of the machine is. */
Test(filter, each_call_alone) {
        for (CallId id = 0; id < _CALL_MAX; id++) {
                g_autoptr(Filter) filter = compile(CALL_BIT(id));

                for (size_t i = 0; i < N_NUMBERS; i++)
                        cr_expect_eq(lendable_verdict(
                                                     filter, numbers[i].arch, numbers[i].nr, numbers[i].call),
                                        numbers[i].call == id ? NOTIFY : ALLOW, "%s under %s alone",
                                        call_to_string(numbers[i].call), call_to_string(id));
        }
}

/* With all calls in the set, exactly those numbers are notified that the resolver knows, on each
 * architecture, and it knows the kernel's numbers. */
Test(filter, resolver_and_filter_agree) {
        static const uint32_t archs[] = {
                AUDIT_ARCH_X86_64,
                AUDIT_ARCH_I386,
                AUDIT_ARCH_AARCH64,
                AUDIT_ARCH_ARM,
                AUDIT_ARCH_RISCV64,
                AUDIT_ARCH_S390X,
                AUDIT_ARCH_PPC64LE,
        };
        static const uint32_t bases[] = { 0, X32_BIT, 0x80000000u, 0x80000000u | X32_BIT };
        g_autoptr(Filter) filter = compile(ALL_CALLS);
        size_t n_notified = 0;

        filter_resolver_init();

        for (size_t i = 0; i < N_NUMBERS; i++)
                cr_expect_eq(filter_resolve(numbers[i].arch, (int) numbers[i].nr), numbers[i].call, "%s",
                                call_to_string(numbers[i].call));

        for (size_t a = 0; a < sizeof(archs) / sizeof(archs[0]); a++)
                for (size_t b = 0; b < sizeof(bases) / sizeof(bases[0]); b++)
                        for (uint32_t nr = 0; nr < 5000; nr++) {
                                CallId id = filter_resolve(archs[a], (int) (bases[b] | nr));
                                uint32_t v = lendable_verdict(filter, archs[a], bases[b] | nr, id);

                                cr_assert(v == NOTIFY || v == ALLOW);
                                cr_expect_eq(v == NOTIFY, id != _CALL_INVALID, "arch 0x%x nr 0x%x", archs[a],
                                                bases[b] | nr);
                                n_notified += v == NOTIFY;
                        }

#if defined(__x86_64__)
        cr_expect_eq(n_notified, 3 * _CALL_MAX);
#else
        cr_expect_eq(n_notified, 2 * _CALL_MAX - 1, "aarch64 has no mknod");
#endif
}

Test(filter, special_numbers) {
        static const uint32_t special[] = { UINT32_MAX, INT32_MAX, 0x80000000u, X32_BIT, X32_BIT - 1 };
        g_autoptr(Filter) filter = compile(ALL_CALLS);

        filter_resolver_init();

        for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++)
                for (size_t a = 0; a < ARCHITECTURES_MAX; a++) {
                        cr_expect_eq(verdict(filter, architectures[a].audit, special[i], 0, S_IFBLK, S_IFBLK,
                                                     1),
                                        ALLOW);
                        cr_expect_eq(filter_resolve(architectures[a].audit, (int) special[i]), _CALL_INVALID);
                }
}

/* Foreign binaries go on, natively. */
Test(filter, unknown_architecture) {
        g_autoptr(Filter) filter = compile(ALL_CALLS);

        for (uint32_t nr = 0; nr < 600; nr++) {
                cr_expect_eq(verdict(filter, AUDIT_ARCH_MIPS64, nr, 1, S_IFCHR, S_IFCHR, 0x103), ALLOW);
                cr_expect_eq(verdict(filter, 0, nr, 1, S_IFCHR, S_IFCHR, 0x103), ALLOW);
        }
}

Test(filter, deterministic) {
        g_autoptr(Filter) one = compile(ALL_CALLS), two = compile(ALL_CALLS);

        cr_assert_eq(one->n_insns, two->n_insns);
        cr_assert_arr_eq(one->insns, two->insns, one->n_insns * sizeof(struct sock_filter));
}

static char *export(const Filter *filter, FilterFormat format, size_t *ret_size) {
        _cleanup_close_ int fd = memfd_create("export", MFD_CLOEXEC);
        char *text;

        cr_assert_geq(fd, 0);
        cr_assert_eq(filter_export(filter, format, fd), 0);
        cr_assert_eq(read_fd_full(fd, 1024 * 1024, &text, ret_size), 0);
        return text;
}

Test(filter, formats) {
        cr_assert_eq(filter_format_from_string("pfc"), FILTER_FORMAT_PFC);
        cr_assert_eq(filter_format_from_string("bpf"), FILTER_FORMAT_BPF);
        cr_assert_eq(filter_format_from_string("c"), FILTER_FORMAT_C);
        cr_assert_eq(filter_format_from_string("C"), _FILTER_FORMAT_INVALID);
        cr_assert_eq(filter_format_from_string(""), _FILTER_FORMAT_INVALID);
        cr_assert_eq(filter_format_from_string(NULL), _FILTER_FORMAT_INVALID);
}

Test(filter, export_bpf) {
        g_autoptr(Filter) filter = compile(ALL_CALLS);
        g_autofree char *bytes = NULL;
        size_t size;

        bytes = export(filter, FILTER_FORMAT_BPF, &size);
        cr_assert_eq(size, filter->n_insns * sizeof(struct sock_filter));
        cr_assert_arr_eq(bytes, filter->insns, size);
}

Test(filter, export_pfc) {
        g_autoptr(Filter) filter = compile(CALL_BIT(CALL_MKNODAT) | CALL_BIT(CALL_SETXATTRAT));
        g_autofree char *text = NULL;

        text = export(filter, FILTER_FORMAT_PFC, NULL);
        cr_expect(strstr(text, "\"mknodat\""), "%s", text);
        cr_expect(strstr(text, "\"setxattrat\""), "%s", text);
        cr_expect(strstr(text, "action NOTIFY;"), "%s", text);
        cr_expect_null(strstr(text, "action 0x"), "%s", text);
        cr_expect_null(strstr(text, "\"setxattr\""), "%s", text);
}

/* The numbers of the C array are the program's. */
Test(filter, export_c) {
        g_autoptr(Filter) filter = compile(ALL_CALLS);
        g_autofree char *text = NULL;
        g_auto(GStrv) lines = NULL;
        size_t n = 0;

        text = export(filter, FILTER_FORMAT_C, NULL);
        cr_assert(g_str_has_prefix(text, "/*"));

        lines = g_strsplit(text, "\n", -1);
        for (char **line = lines; *line; line++) {
                unsigned code, jt, jf, k;

                if (sscanf(*line, " { %x, %u, %u, %x },", &code, &jt, &jf, &k) != 4)
                        continue;

                cr_assert_lt(n, filter->n_insns);
                cr_expect_eq(filter->insns[n].code, code);
                cr_expect_eq(filter->insns[n].jt, jt);
                cr_expect_eq(filter->insns[n].jf, jf);
                cr_expect_eq(filter->insns[n].k, k);
                n++;
        }

        cr_expect_eq(n, filter->n_insns);
}

Test(filter, export_to_a_closed_descriptor) {
        g_autoptr(Filter) filter = compile(ALL_CALLS);

        for (FilterFormat f = FILTER_FORMAT_PFC; f <= FILTER_FORMAT_C; f++)
                cr_expect_eq(filter_export(filter, f, -1), -EBADF);
        cr_expect_eq(filter_export(filter, (FilterFormat) 99, 1), -EINVAL);
}

/* From here on the kernel runs it. */

static atomic_uint n_seen;
static struct seccomp_data last_seen;

/* Answers each call with success, so that the caller can tell it from the kernel's answer. */
static void *supervise(void *userdata) {
        int listener = *(int *) userdata;

        for (;;) {
                struct pollfd p = { .fd = listener, .events = POLLIN };
                struct seccomp_notif request = {};
                struct seccomp_notif_resp response = {};

                if (poll(&p, 1, -1) < 0 || !(p.revents & POLLIN))
                        return NULL;
                if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request) < 0)
                        continue;

                last_seen = request.data;
                atomic_fetch_add(&n_seen, 1);
                response.id = request.id;
                (void) ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
        }
}

/* Makes the call in this thread and says whether the supervisor saw it. */
static bool notified(long nr, long a, long b, long c, long d) {
        unsigned before = atomic_load(&n_seen);

        (void) syscall(nr, a, b, c, d, 0, 0);
        return atomic_load(&n_seen) > before;
}

#if defined(__x86_64__)
/* A call of i386, by its own number, from this program. */
static bool notified_i386(int nr, int b, int c, int d) {
        unsigned before = atomic_load(&n_seen);
        int result;

        __asm__ volatile("int $0x80"
                         : "=a"(result)
                         : "a"(nr), "b"(b), "c"(c), "d"(d)
                         : "memory", "r8", "r9", "r10", "r11");
        return atomic_load(&n_seen) > before;
}
#endif

static void call_everything(void) {
        const long bad = (long) "/nonexistent/deputyd-test";

#ifdef SYS_mknod
        cr_expect(notified(SYS_mknod, bad, S_IFCHR | 0666, 0x103, 0));
        cr_expect_not(notified(SYS_mknod, bad, S_IFCHR | 0666, 0, 0));
        cr_expect_not(notified(SYS_mknod, bad, S_IFIFO | 0666, 0, 0));
        cr_expect_not(notified(SYS_mknod, bad, S_IFREG | 0666, 0x103, 0));
#endif
        cr_expect(notified(SYS_mknodat, -1, bad, S_IFCHR | 0666, 0x103));
        cr_expect_eq(last_seen.nr, SYS_mknodat);
        cr_expect_eq(last_seen.args[3], 0x103);
        cr_expect(notified(SYS_mknodat, -1, bad, S_IFBLK | 0666, 0x800));
        cr_expect_not(notified(SYS_mknodat, -1, bad, S_IFCHR | 0666, 0));
        cr_expect_not(notified(SYS_mknodat, -1, bad, S_IFIFO | 0666, 0));
        cr_expect_not(notified(SYS_mknodat, -1, bad, S_IFSOCK | 0666, 0));
        cr_expect_not(notified(SYS_mknodat, -1, bad, 0644, 0x103));
        cr_expect(notified(SYS_setxattr, bad, bad, 0, 0));
        cr_expect(notified(SYS_lsetxattr, bad, bad, 0, 0));
        cr_expect(notified(SYS_fsetxattr, -1, bad, 0, 0));
        cr_expect(notified(SYS_removexattr, bad, bad, 0, 0));
        cr_expect(notified(463, -1, bad, 0, 0), "setxattrat");
        cr_expect(notified(466, -1, bad, 0, 0), "removexattrat");
        cr_expect_not(notified(464, -1, bad, 0, 0), "getxattrat isn't in the set");
        cr_expect_not(notified(SYS_getxattr, bad, bad, 0, 0));
        cr_expect_not(notified(SYS_getppid, 0, 0, 0, 0));
        cr_expect_not(notified(100000, 0, 0, 0, 0));
#if defined(__x86_64__)
        cr_expect(notified_i386(14, 0, S_IFCHR | 0666, 0x103), "i386 mknod");
        cr_expect_eq(last_seen.arch, AUDIT_ARCH_I386);
        cr_expect_not(notified_i386(14, 0, S_IFIFO | 0666, 0x103));
        cr_expect(notified_i386(463, 0, 0, 0), "i386 setxattrat");
        cr_expect_not(notified_i386(64 /* getppid */, 0, 0, 0));
        cr_expect(notified(X32_BIT | 133, 0, S_IFCHR, 0x103, 0), "x32 mknod, even if the kernel has no x32");
#endif
}

typedef struct Load {
        const Filter *filter;
        int *listener;
        atomic_int *error;
} Load;

/* The supervisor gets the filter from the thread that starts it, but makes none of these calls. */
static void *load_and_call(void *userdata) {
        const Load *load = userdata;
        struct sock_fprog program = {
                .len = (unsigned short) load->filter->n_insns,
                .filter = load->filter->insns,
        };
        pthread_t supervisor;
        int fd;

        (void) prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        fd = (int) syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
        if (fd < 0) {
                atomic_store(load->error, errno);
                return NULL;
        }

        *load->listener = fd;
        if (pthread_create(&supervisor, NULL, supervise, load->listener) != 0) {
                atomic_store(load->error, EAGAIN);
                return NULL;
        }

        call_everything();
        return NULL;
}

Test(filter, in_the_kernel, .timeout = 30) {
        g_autoptr(Filter) filter = compile(CALL_BIT(CALL_MKNOD) | CALL_BIT(CALL_MKNODAT) |
                                           CALL_BIT(CALL_SETXATTR) | CALL_BIT(CALL_LSETXATTR) |
                                           CALL_BIT(CALL_FSETXATTR) | CALL_BIT(CALL_SETXATTRAT) |
                                           CALL_BIT(CALL_REMOVEXATTR) | CALL_BIT(CALL_REMOVEXATTRAT));
        atomic_int error = 0;
        int listener = -1;
        Load load = { filter, &listener, &error };
        pthread_t caller;

        cr_assert_eq(pthread_create(&caller, NULL, load_and_call, &load), 0);
        cr_assert_eq(pthread_join(caller, NULL), 0);

        if (error == EBUSY)
                cr_skip_test("The tests themselves run under a listener");
        cr_assert_eq(error, 0, "seccomp(): %s", strerror(error));
        cr_assert_gt(atomic_load(&n_seen), 0);
}
