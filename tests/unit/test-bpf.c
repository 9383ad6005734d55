/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which programs get to the kernel's verifier, which policy lends them, and what's never left to the kernel.
 */

#include <criterion/criterion.h>
#include <errno.h>
#include <glib.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "filter/filter.h"
#include "policy/policy.h"
#include "supervisor/bpf/attr.h"
#include "supervisor/bpf/instruction-check.h"
#include "supervisor/privilege.h"

#include "bpf-insn.h"

#define DEVICE_GOOD(...)    GOOD(INSTRUCTIONS_DEVICE, __VA_ARGS__, MOV(0, 1), EXIT)
#define DEVICE_BAD(at, ...) BAD(at, INSTRUCTIONS_DEVICE, __VA_ARGS__, MOV(0, 1), EXIT)
#define SKB_GOOD(...)       GOOD(INSTRUCTIONS_SKB, __VA_ARGS__, MOV(0, 1), EXIT)
#define SKB_BAD(at, ...)    BAD(at, INSTRUCTIONS_SKB, __VA_ARGS__, MOV(0, 1), EXIT)

Test(bpf_check, rules_of_devices) {
        DEVICE_GOOD(LOAD(BPF_W, 2, 1, 0), I(BPF_ALU | BPF_AND | BPF_K, 2, 0, 0, 0xffff), LOAD(BPF_W, 3, 1, 0),
                        I(BPF_ALU | BPF_RSH | BPF_K, 3, 0, 0, 16), LOAD(BPF_W, 4, 1, 4), LOAD(BPF_W, 5, 1, 8),
                        COPY32(1, 3), JUMP_REG(BPF_JNE, 1, 3, 3), JUMP(BPF_JNE, 2, 2, 2),
                        JUMP(BPF_JNE, 4, 1, 1), GOTO(0));
        DEVICE_GOOD(LOAD(BPF_H, 2, 1, 0), LOAD(BPF_H, 3, 1, 2), LOAD(BPF_B, 4, 1, 3), LOAD(BPF_B, 5, 1, 11));
        DEVICE_GOOD(COPY(6, 1), COPY(7, 6), LOAD(BPF_W, 1, 7, 4), OP(BPF_ADD, 1, 1));
        DEVICE_GOOD(MOV(2, -1), OP(BPF_NEG, 2, 0), OP(BPF_MUL, 2, 3), OP_REG(BPF_XOR, 2, 2));
        DEVICE_GOOD(I(BPF_JMP32 | BPF_JEQ | BPF_K, 0, 0, 0, 1));
        GOOD(INSTRUCTIONS_CONSTANT, MOV(0, 0), EXIT);
}

Test(bpf_check, form) {
        const struct bpf_insn two[] = { MOV(0, 1), EXIT };
        g_autofree struct bpf_insn *many = g_new0(struct bpf_insn, BPF_INSTRUCTIONS_MAX + 1);
        size_t at = 0;

        cr_expect_eq(instruction_check(INSTRUCTIONS_DEVICE, two, 0, NULL), -EPERM);
        cr_expect_eq(instruction_check(INSTRUCTIONS_DEVICE, two, 1, &at), -EPERM, "no way out");
        cr_expect_eq(at, 0);

        for (size_t i = 0; i <= BPF_INSTRUCTIONS_MAX; i++)
                many[i] = two[0];
        many[BPF_INSTRUCTIONS_MAX] = many[BPF_INSTRUCTIONS_MAX - 1] = two[1];
        cr_expect_eq(instruction_check(INSTRUCTIONS_DEVICE, many, BPF_INSTRUCTIONS_MAX, NULL), 0);
        cr_expect_eq(instruction_check(INSTRUCTIONS_DEVICE, many, BPF_INSTRUCTIONS_MAX + 1, NULL), -EPERM);
}

Test(bpf_check, jumps_go_forward_and_stay_inside) {
        DEVICE_BAD(0, GOTO(-1));
        DEVICE_BAD(1, MOV(2, 0), JUMP(BPF_JEQ, 2, 0, -2));
        DEVICE_GOOD(GOTO(1));
        DEVICE_BAD(0, GOTO(2));
        DEVICE_BAD(0, JUMP(BPF_JEQ, 2, 0, 2));
        DEVICE_BAD(0, GOTO(0x7fff));
        DEVICE_BAD(0, I(BPF_JMP32 | BPF_JA, 0, 0, 0, 0)); /* the long jump, whose distance is in imm */
        DEVICE_BAD(0, I(BPF_JMP | BPF_JA, 0, 0, 0, 1));
        DEVICE_BAD(0, I(BPF_JMP | 0xe0, 0, 0, 0, 0)); /* may_goto */
        DEVICE_BAD(0, I(BPF_JMP | 0xf0, 0, 0, 0, 0));
        DEVICE_BAD(0, I(BPF_JMP | BPF_EXIT, 0, 1, 0, 0));
        DEVICE_BAD(0, I(BPF_JMP32 | BPF_EXIT, 0, 0, 0, 0));
        BAD(2, INSTRUCTIONS_DEVICE, MOV(0, 1), EXIT, MOV(0, 1));
}

Test(bpf_check, context_is_loaded_from_where_it_is) {
        DEVICE_BAD(0, LOAD(BPF_W, 2, 1, 12));
        DEVICE_BAD(0, LOAD(BPF_W, 2, 1, -4));
        DEVICE_BAD(0, LOAD(BPF_W, 2, 1, 10));
        DEVICE_BAD(0, LOAD(BPF_H, 2, 1, 1));
        DEVICE_BAD(0, LOAD(BPF_DW, 2, 1, 0));
        DEVICE_BAD(0, LOAD(BPF_W, 2, 3, 0));
        DEVICE_BAD(0, LOAD(BPF_W, 2, 10, 0));
        DEVICE_BAD(0, LOAD(BPF_W, 10, 1, 0));
        DEVICE_BAD(0, LOAD(BPF_W, 15, 1, 0));
        DEVICE_BAD(0, I(BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 1));
        DEVICE_BAD(0, I(BPF_LDX | 0x80 | BPF_W, 2, 1, 0, 0)); /* sign-extending */
        DEVICE_BAD(0, I(BPF_LD | BPF_ABS | BPF_W, 0, 0, 0, 0));
        DEVICE_BAD(0, I(BPF_LD | BPF_IND | BPF_W, 0, 1, 0, 0));
        BAD(0, INSTRUCTIONS_CONSTANT, LOAD(BPF_W, 0, 1, 0), EXIT);
}

Test(bpf_check, context_is_no_number) {
        DEVICE_BAD(0, OP(BPF_ADD, 1, 4));
        DEVICE_BAD(0, OP_REG(BPF_ADD, 2, 1));
        DEVICE_BAD(1, COPY(6, 1), OP(BPF_AND, 6, -1));
        DEVICE_BAD(0, COPY32(2, 1));
        DEVICE_BAD(0, JUMP(BPF_JEQ, 1, 0, 0));
        DEVICE_BAD(0, JUMP_REG(BPF_JGT, 2, 1, 0));
        BAD(1, INSTRUCTIONS_DEVICE, COPY(0, 1), EXIT);
        /* A number again once it's overwritten. */
        DEVICE_GOOD(MOV(1, 0), OP(BPF_ADD, 1, 4), JUMP(BPF_JEQ, 1, 0, 0));
        DEVICE_GOOD(LOAD(BPF_W, 1, 1, 0), OP(BPF_ADD, 1, 4));
}

/* What holds on one way only doesn't hold where ways meet. */
Test(bpf_check, ways_meet) {
        DEVICE_BAD(3, LOAD(BPF_W, 2, 1, 0), JUMP(BPF_JEQ, 2, 1, 1), MOV(1, 0), LOAD(BPF_W, 3, 1, 4));
        DEVICE_BAD(3, LOAD(BPF_W, 2, 1, 0), JUMP(BPF_JEQ, 2, 1, 1), MOV(1, 0), OP(BPF_ADD, 1, 4));
        DEVICE_GOOD(LOAD(BPF_W, 2, 1, 0), JUMP(BPF_JEQ, 2, 1, 1), MOV(3, 0), LOAD(BPF_W, 3, 1, 4));
        DEVICE_BAD(4, LOAD(BPF_W, 2, 1, 0), JUMP(BPF_JEQ, 2, 1, 2), MOV(6, 0), GOTO(0), LOAD(BPF_W, 3, 6, 4));
}

Test(bpf_check, device_rules_have_no_calls_maps_or_memory) {
        DEVICE_BAD(0, CALL(1));
        DEVICE_BAD(0, CALL(5));
        DEVICE_BAD(0, CALL(187)); /* bpf_set_retval: it could take back what another program has refused */
        DEVICE_BAD(0, MAP(2, 3));
        DEVICE_BAD(0, I(BPF_LD | BPF_IMM | BPF_DW, 2, 0, 0, 1), I(0, 0, 0, 0, 0));
        DEVICE_BAD(0, STORE(BPF_W, 10, 2, -4));
        DEVICE_BAD(0, STORE_IMM(10, -4, 0));
        DEVICE_BAD(0, XADD(1, 2));
        DEVICE_BAD(0, COPY(2, 10));
        DEVICE_BAD(0, MOV(10, 0));
        DEVICE_BAD(0, MOV(11, 0));
        DEVICE_BAD(0, OP_REG(BPF_ADD, 2, 10));
        DEVICE_BAD(0, I(BPF_ALU64 | BPF_MOV | BPF_X, 2, 3, 8, 0)); /* sign-extending */
        DEVICE_BAD(0, I(BPF_ALU64 | BPF_DIV | BPF_K, 2, 0, 1, 3)); /* signed */
        /* Each takes the kernel four instructions, and time: nobody needs them for such rules. */
        DEVICE_BAD(0, OP(BPF_DIV, 2, 3));
        DEVICE_BAD(0, OP_REG(BPF_MOD, 2, 3));
        DEVICE_BAD(0, I(BPF_ALU64 | BPF_MOV | BPF_K, 2, 1, 0, 0));
        DEVICE_BAD(0, I(BPF_ALU64 | BPF_MOV | BPF_X, 2, 3, 0, 1));
        DEVICE_BAD(0, I(BPF_ALU | BPF_END | BPF_X, 2, 0, 0, 16));
        DEVICE_BAD(0, I(BPF_ALU | 0xf0, 2, 0, 0, 0));
        /* Nor where it's never reached. */
        BAD(2, INSTRUCTIONS_DEVICE, MOV(0, 1), EXIT, CALL(1), EXIT);
}

Test(bpf_check, list_of_addresses) {
        SKB_GOOD(COPY(6, 1), LOAD(BPF_W, 7, 6, 16), JUMP(BPF_JNE, 7, 8, 12), COPY(1, 6), MOV(2, 16),
                        COPY(3, 10), OP(BPF_ADD, 3, -4), MOV(4, 4), CALL(26), MAP(1, 5), COPY(2, 10),
                        OP(BPF_ADD, 2, -8), STORE_IMM(2, 0, 32), CALL(1));
        SKB_GOOD(MOV(0, 0), STORE(BPF_W, 10, 0, -4), COPY(2, 10), OP(BPF_ADD, 2, -4), MAP(1, 5), CALL(1),
                        JUMP(BPF_JEQ, 0, 0, 2), MOV(1, 1), XADD(0, 1));
        SKB_GOOD(LOAD(BPF_W, 1, 1, 0));
        SKB_BAD(0, LOAD(BPF_W, 2, 1, 76)); /* data */
        SKB_BAD(0, LOAD(BPF_H, 2, 1, 16));
        SKB_BAD(0, CALL(9));
        SKB_BAD(0, CALL(2));
        SKB_BAD(0, I(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 1));
        SKB_BAD(0, I(BPF_JMP | BPF_CALL, 0, 2, 0, 1)); /* a function of the kernel's */
        SKB_BAD(0, I(BPF_LD | BPF_IMM | BPF_DW, 1, 2, 0, 5), I(0, 0, 0, 0, 0)); /* the value of a map */
        SKB_BAD(0, I(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, 5), I(0, 0, 0, 0, 1));
        SKB_BAD(0, STORE(BPF_W, 1, 2, 0));
        SKB_BAD(0, STORE(BPF_DW, 10, 1, -8)); /* the context, spilled */
        SKB_BAD(0, STORE(BPF_W, 10, 2, 4));
        SKB_BAD(0, STORE(BPF_W, 10, 2, -516));
        SKB_BAD(0, I(BPF_STX | 0xc0 | BPF_DW, 2, 3, 0, 0xe1)); /* exchange */
        SKB_BAD(0, I(BPF_STX | 0xc0 | BPF_W, 2, 3, 0, 0));
        /* A call leaves nothing in the registers of its arguments. */
        SKB_BAD(1, CALL(26), LOAD(BPF_W, 2, 1, 0));
        /* Into the second half of an address. */
        SKB_BAD(1, JUMP(BPF_JEQ, 0, 0, 1), MAP(1, 5));
}

#define GLOBAL VALUE(1, 16), I(BPF_ST | BPF_MEM | BPF_DW, 1, 0, 0, 42)

Test(bpf_check, one_program_that_asks_for_global_data) {
        GOOD(INSTRUCTIONS_PROBE, GLOBAL, MOV(0, 0), EXIT);
        BAD(0, INSTRUCTIONS_PROBE, MAP(1, 5), I(BPF_ST | BPF_MEM | BPF_DW, 1, 0, 0, 42), MOV(0, 0), EXIT);
        BAD(1, INSTRUCTIONS_PROBE, VALUE(1, 15), I(BPF_ST | BPF_MEM | BPF_DW, 1, 0, 0, 42), MOV(0, 0), EXIT);
        BAD(2, INSTRUCTIONS_PROBE, VALUE(1, 16), I(BPF_ST | BPF_MEM | BPF_DW, 1, 0, 8, 42), MOV(0, 0), EXIT);
        BAD(3, INSTRUCTIONS_PROBE, GLOBAL, MOV(0, 1), EXIT);
        BAD(5, INSTRUCTIONS_PROBE, GLOBAL, MOV(0, 0), EXIT, EXIT);
        BAD(4, INSTRUCTIONS_PROBE, GLOBAL, MOV(0, 0));
        BAD(0, INSTRUCTIONS_PROBE, MOV(0, 0), EXIT);
}

static Policy *policy_of(const char *text) {
        Policy *policy = NULL;

        cr_assert_eq(policy_load_text(text, strlen(text), "test", &policy), 0);
        return policy;
}

Test(bpf_policy, programs) {
        g_autoptr(Policy) none = policy_of("[Intercept]\nSystemCalls=bpf\n"),
                          device = policy_of("[Bpf]\nAllowProgram=cgroup-device\nMaxPrograms=3\n"),
                          both = policy_of("[Bpf]\nAllowProgram=cgroup-device cgroup-skb\n"),
                          all = policy_of("[Bpf]\nAllowProgram=cgroup-device cgroup-skb\nAllowProgram="
                                          "cgroup-skb-interface cgroup-sock-addr\n"),
                          reset = policy_of("[Bpf]\nAllowProgram=cgroup-device\nAllowProgram=\nAllowProgram="
                                            "cgroup-skb\n"),
                          wrong = policy_of("[Bpf]\nAllowProgram=kprobe "
                                            "cgroup-device\nMaxPrograms=0\nMaxMaps=5000\n");

        cr_expect_eq(none->bpf.programs, 0);
        cr_expect_eq(none->bpf.max_programs, 256);
        cr_expect_eq(none->bpf.max_maps, 256);
        cr_expect_eq(device->bpf.programs, POLICY_BPF_CGROUP_DEVICE);
        cr_expect_eq(device->bpf.max_programs, 3);
        cr_expect_eq(both->bpf.programs, POLICY_BPF_CGROUP_DEVICE | POLICY_BPF_CGROUP_SKB);
        cr_expect_eq(reset->bpf.programs, POLICY_BPF_CGROUP_SKB);
        cr_expect_eq(wrong->problems->len, 3);
        cr_expect_eq(wrong->bpf.programs, POLICY_BPF_CGROUP_DEVICE);
        cr_expect_eq(wrong->bpf.max_programs, 256);
        cr_expect_eq(all->bpf.programs, 15);
        cr_expect_not(policy_equal(device, both));

        g_autofree char *text = policy_to_text(both);
        g_autoptr(Policy) again = policy_of(text);
        cr_expect(policy_equal(both, again));
}

/* What the kernel remembers of a program is the real user id that loaded it; file system ids mustn't suffer.
 */
Test(bpf_object, real_uid_for_one_call) {
        const gid_t groups[] = { 2000 };
        uid_t real, effective, saved;

        if (geteuid() != 0)
                cr_skip_test("it takes root to change user ids");

        cr_assert_eq(privilege_drop(privilege_base | CAPABILITY_BIT(CAP_NET_ADMIN)), 0);
        cr_assert_eq(privilege_take_ids(1000, 2000, groups, 1, 022), 0);

        cr_assert_eq(privilege_take_real_uid(5000), 0);
        cr_assert_eq(getresuid(&real, &effective, &saved), 0);
        cr_expect_eq(real, 5000);
        cr_expect_eq(effective, 0);
        cr_expect_eq(saved, 0);

        cr_assert_eq(privilege_return_real_uid(), 0);
        cr_assert_eq(getresuid(&real, &effective, &saved), 0);
        cr_expect_eq(real, 0);
        cr_expect_eq(setfsuid((uid_t) -1), 1000);
        cr_assert_eq(privilege_take_ids(1000, 2000, groups, 1, 022), 0);
        cr_expect_eq(setfsuid((uid_t) -1), 1000);
        cr_assert_eq(privilege_take_ids(1001, 2000, groups, 1, 022), 0);
        cr_expect_eq(setfsuid((uid_t) -1), 1001);
}

static CapabilitySet effective_now(void) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2];

        cr_assert_eq(syscall(SYS_capget, &header, data), 0);
        return (CapabilitySet) data[1].effective << 32 | data[0].effective;
}

/* CAP_SYS_ADMIN would count as CAP_PERFMON for the verifier. */
Test(bpf_object, just_the_capabilities_that_are_lent) {
        CapabilitySet lent = CAPABILITY_BIT(CAP_BPF) | CAPABILITY_BIT(CAP_NET_ADMIN);

        if (geteuid() != 0)
                cr_skip_test("it takes root to have capabilities");

        cr_assert_eq(privilege_drop(privilege_base | lent), 0);
        cr_expect_eq(effective_now(), privilege_base | lent);
        cr_assert_eq(privilege_limit(lent), 0);
        cr_expect_eq(effective_now(), lent);
        cr_assert_eq(privilege_limit(lent | CAPABILITY_BIT(CAP_PERFMON)), 0);
        cr_expect_eq(effective_now(), lent, "what isn't permitted doesn't come");
        cr_assert_eq(privilege_raise(0), 0);
        cr_expect_eq(effective_now(), privilege_base | lent);
}

Test(bpf_policy, attaching_is_guarded) {
        for (uint64_t command = 0; command < 64; command++) {
                const uint64_t args[6] = { command }, garbage[6] = { command | UINT64_C(0xdeadbeef00000000) },
                               flags[6] = { command | 0x10000 };
                bool guarded = command == BPF_COMMAND_PROG_ATTACH || command == BPF_COMMAND_PROG_DETACH ||
                               command == BPF_COMMAND_LINK_CREATE;

                cr_expect_eq(call_is_guarded(CALL_BPF, args), guarded);
                cr_expect_eq(call_is_guarded(CALL_BPF, garbage), guarded);
                cr_expect_eq(call_is_guarded(CALL_BPF, flags), guarded);
                cr_expect_not(call_is_guarded(CALL_MKNOD, args));
        }
}
