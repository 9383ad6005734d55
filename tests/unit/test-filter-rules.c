/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Two things about the program as a whole, over all numbers and all arguments at whose edges it could go
 * wrong: it notifies of exactly those calls that the plain words below say, however the compiler has arranged
 * its tests; and it's done soon with a call that isn't notified. */

#include <criterion/criterion.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <linux/audit.h>
#include <linux/seccomp.h>

#include "filter/architecture.h"
#include "filter/filter.h"
#include "tests/unit/filter-machine.h"

#define N_RANDOM_SETS 24
#define N_ARGUMENTS   6

/* How many instructions may be executed for a call that goes on natively, for the policy of one family and of
 * several. With the numbers in a list it would be twice as many for the latter. */
#define EXECUTED_FAMILY_MAX 30u
#define EXECUTED_ALL_MAX    40u

#define GARBAGE UINT64_C(0xdeadbeef00000000)

/* Whether a call concerns anybody, by its registers. Zero is said of the whole register where it has 64 bits
 * and of 32 otherwise, see TEST_NOT_ZERO() of the filter; all else of what the kernel reads. */
static bool concerns(CallId id, bool wide, const uint64_t a[static N_ARGUMENTS]) {
#define NOT_ZERO(n) (wide ? a[n] != 0 : (uint32_t) a[n] != 0)

        switch (id) {
        case CALL_MKNOD:
                return (a[1] & S_IFMT) == S_IFBLK || ((a[1] & S_IFMT) == S_IFCHR && NOT_ZERO(2));
        case CALL_MKNODAT:
                return (a[2] & S_IFMT) == S_IFBLK || ((a[2] & S_IFMT) == S_IFCHR && NOT_ZERO(3));
        case CALL_MOUNT:
                if (a[3] & (MS_REMOUNT | MS_BIND | MS_MOVE))
                        return false;
                return (a[3] & 0xffff0000) == 0xc0ed0000 ||
                       (a[3] & (MS_UNBINDABLE | MS_PRIVATE | MS_SLAVE | MS_SHARED)) == 0;
        case CALL_MOVE_MOUNT:
                return a[4] & 4 /* MOVE_MOUNT_F_EMPTY_PATH */;
        case CALL_MOUNT_SETATTR:
                return a[2] & 0x1000 /* AT_EMPTY_PATH */;
        case CALL_SCHED_SETSCHEDULER:
                switch ((uint32_t) a[1] & ~0x40000000u /* SCHED_RESET_ON_FORK */) {
                case SCHED_OTHER:
                case SCHED_FIFO:
                case SCHED_RR:
                        return true;
                case SCHED_BATCH:
                case SCHED_IDLE:
                        return NOT_ZERO(0);
                default:
                        return false;
                }
        case CALL_SCHED_SETATTR:
                return (uint32_t) a[2] == 0;
        case CALL_SETPRIORITY:
                return (int32_t) (uint32_t) a[2] < 19;
        case CALL_IOPRIO_SET:
                return (a[2] >> 13 & 7) == 1 || NOT_ZERO(1) || (uint32_t) a[0] == 2;
        case CALL_BPF:
                switch (a[0] & 0xffff) {
                case 0:
                case 5:
                case 8:
                case 9:
                case 13:
                case 16:
                case 22:
                case 28:
                        return true;
                default:
                        return false;
                }
        case CALL_FINIT_MODULE:
                return (a[2] & 3) == 0;
        default:
                return true;
        }

#undef NOT_ZERO
}

/* Which arguments these are, the one with the most to it first; -1: no more. */
static const int *tested_arguments(CallId id) {
        static const int tested[_CALL_MAX][3] = {
                [CALL_MKNOD] = { 1, 2, -1 },
                [CALL_MKNODAT] = { 2, 3, -1 },
                [CALL_MOUNT] = { 3, -1, -1 },
                [CALL_MOVE_MOUNT] = { 4, -1, -1 },
                [CALL_MOUNT_SETATTR] = { 2, -1, -1 },
                [CALL_SCHED_SETSCHEDULER] = { 1, 0, -1 },
                [CALL_SCHED_SETATTR] = { 2, -1, -1 },
                [CALL_SETPRIORITY] = { 2, -1, -1 },
                [CALL_IOPRIO_SET] = { 2, 1, 0 },
                [CALL_BPF] = { 0, -1, -1 },
                [CALL_FINIT_MODULE] = { 2, -1, -1 },
        };
        static const int none[3] = { -1, -1, -1 };

        return tested[id][0] == tested[id][1] ? none : tested[id];
}

/* Small numbers, each single bit, and what has a meaning; for a second and a third argument only the latter,
 * since not more than "zero" and "two" is asked of them. */
static size_t edge_values(bool all, uint64_t *ret) {
        static const uint64_t meanings[] = {
                0,
                1,
                2,
                7,
                0x80000000u,
                UINT32_MAX,
                GARBAGE,
                GARBAGE | 2,
                UINT64_MAX,
                S_IFCHR | 0666,
                S_IFBLK,
                S_IFIFO | 0600,
                S_IFSOCK,
                GARBAGE | S_IFCHR,
                GARBAGE | S_IFBLK | 07777,
                0x7fff0000u | S_IFCHR,
                MS_MGC_VAL,
                MS_MGC_VAL | MS_BIND,
                MS_MGC_VAL | MS_PRIVATE,
                MS_MGC_VAL | MS_NODEV | MS_NOSUID,
                GARBAGE | MS_MGC_VAL,
                MS_SHARED | MS_REC,
                MS_UNBINDABLE | MS_SLAVE,
                MS_RDONLY | MS_NODEV,
                0x40000000u | SCHED_FIFO,
                0x40000000u | SCHED_BATCH,
                GARBAGE | SCHED_IDLE,
                0xc0000000u | SCHED_RR,
                1u << 13 | 4,
                2u << 13 | 4,
                3u << 13,
                9u << 13,
                0xe000,
                0x10000 | 5,
                0xffff0000u | 28,
                GARBAGE | 18,
                GARBAGE | 19,
        };
        size_t n = sizeof(meanings) / sizeof(meanings[0]);

        memcpy(ret, meanings, sizeof(meanings));
        if (!all)
                return n;

        for (uint64_t small = 3; small < 64; small++)
                ret[n++] = small;
        for (unsigned bit = 6; bit < 64; bit++)
                ret[n++] = UINT64_C(1) << bit;
        return n;
}

#define VALUES_MAX 192

/* What a walk over a program has to say of it. */
typedef struct Walk {
        const Filter *filter;
        unsigned executed_max; /* of the calls that go on natively */
        size_t n_calls;
} Walk;

static void walk_call(Walk *walk, const Architecture *architecture, CallId id, struct seccomp_data *data) {
        bool wide = architecture->audit & __AUDIT_ARCH_64BIT && architecture->nr_bit == 0;
        uint32_t expected = SECCOMP_RET_ALLOW, verdict;
        unsigned executed;

        if (id >= 0 && call_set_contains(walk->filter->calls, id) &&
                        concerns(id, wide, (const uint64_t *) data->args))
                expected = SECCOMP_RET_USER_NOTIF;

        verdict = filter_machine_run(walk->filter, data, &executed);
        if (verdict != expected) {
                g_autofree char *calls = call_set_to_string(walk->filter->calls);

                cr_assert_fail("%s (%i) of 0x%x with 0x%llx, 0x%llx, 0x%llx, 0x%llx, 0x%llx under '%s': 0x%x",
                                id >= 0 ? call_to_string(id) : "not ours", data->nr, data->arch,
                                data->args[0], data->args[1], data->args[2], data->args[3], data->args[4],
                                calls, verdict);
        }

        if (verdict == SECCOMP_RET_ALLOW && executed > walk->executed_max)
                walk->executed_max = executed;
        walk->n_calls++;
}

/* All edges of the arguments that are tested, with the others zero and with the others anything. */
static void walk_arguments(
                Walk *walk, const Architecture *architecture, CallId id, struct seccomp_data *data) {
        static const uint64_t others[] = { 0, GARBAGE | 0x2145 };
        const int *tested = tested_arguments(id);
        uint64_t values[3][VALUES_MAX];
        size_t n[3];

        for (unsigned i = 0; i < 3; i++)
                n[i] = tested[i] < 0 ? 1 : edge_values(i == 0, values[i]);

        for (unsigned other = 0; other < 2; other++) {
                for (unsigned i = 0; i < N_ARGUMENTS; i++)
                        data->args[i] = others[other];

                for (size_t i = 0; i < n[0]; i++)
                        for (size_t k = 0; k < n[1]; k++)
                                for (size_t l = 0; l < n[2]; l++) {
                                        if (tested[0] >= 0)
                                                data->args[tested[0]] = values[0][i];
                                        if (tested[1] >= 0)
                                                data->args[tested[1]] = values[1][k];
                                        if (tested[2] >= 0)
                                                data->args[tested[2]] = values[2][l];
                                        walk_call(walk, architecture, id, data);
                                }
        }
}

/* The program for a set, with all numbers of all architectures. */
static Walk walk_set(CallSet calls) {
        g_autoptr(Filter) filter = NULL;
        Walk walk = {};
        int r;

        r = filter_new(calls, &filter);
        cr_assert_eq(r, 0, "filter_new(0x%llx): %s", (unsigned long long) calls, strerror(-r));
        walk.filter = filter;

        for (size_t i = 0; i < ARCHITECTURES_MAX; i++)
                for (int nr = -1; nr < 1024; nr++) {
                        const Architecture *architecture = architectures + i;
                        struct seccomp_data data = {
                                .nr = nr | (int) architecture->nr_bit,
                                .arch = architecture->audit,
                        };
                        CallId id = filter_resolve(data.arch, data.nr);

                        if (id >= 0)
                                walk_arguments(&walk, architecture, id, &data);
                        else
                                walk_call(&walk, architecture, id, &data);
                }

        walk.filter = NULL;
        return walk;
}

static void set_up(void) {
        filter_resolver_init();
}

TestSuite(filter_rules, .init = set_up);

Test(filter_rules, families) {
        const char *name;

        for (size_t i = 0; (name = call_known_name(i)); i++) {
                CallSet calls = 0;
                Walk walk;

                cr_assert_eq(call_set_from_name(name, &calls), 0);
                walk = walk_set(calls);
                cr_expect_gt(walk.n_calls, 1000);
                cr_expect_leq(walk.executed_max,
                                strcmp(name, "@all") == 0 ? EXECUTED_ALL_MAX : EXECUTED_FAMILY_MAX,
                                "%s: %u instructions for a call that isn't notified", name,
                                walk.executed_max);
        }
}

Test(filter_rules, all_calls) {
        Walk walk = walk_set(CALL_BIT(_CALL_MAX) - 1);

        cr_expect_leq(walk.executed_max, EXECUTED_ALL_MAX, "%u instructions", walk.executed_max);
}

Test(filter_rules, each_call_alone) {
        for (CallId id = 0; id < _CALL_MAX; id++)
                (void) walk_set(CALL_BIT(id));
}

/* A tree's shape depends on the set, so sets of all sizes, always the same ones. */
Test(filter_rules, mixed_sets) {
        uint64_t state = 1;

        for (unsigned i = 0; i < N_RANDOM_SETS; i++) {
                CallSet calls;

                state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
                calls = (state >> 17 | state << 47) & (CALL_BIT(_CALL_MAX) - 1);
                if (calls != 0)
                        (void) walk_set(calls);
        }
}
