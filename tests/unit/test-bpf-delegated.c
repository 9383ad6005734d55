/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which instructions of a program that comes with a token the verifier is shown. */

#include <criterion/criterion.h>
#include <errno.h>
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "supervisor/bpf/delegated-check.h"

#include "bpf-insn.h"

#define INSN(...) ((struct bpf_insn) I(__VA_ARGS__))

static bool lent(struct bpf_insn insn) {
        const struct bpf_insn program[] = { MOV(0, 0), insn, EXIT };
        size_t at = 99;
        int r = delegated_check(BPF_PROG_TYPE_SCHED_CLS, program, G_N_ELEMENTS(program), &at);

        cr_expect(r == 0 || (r == -EPERM && at == 1), "%#x", insn.code);
        return r == 0;
}

static bool wide_is_lent(unsigned source) {
        const struct bpf_insn program[] = { I(BPF_LD | BPF_IMM | BPF_DW, 1, source, 0, 5), I(0, 0, 0, 0, 0),
                MOV(0, 0), EXIT };

        return delegated_check(BPF_PROG_TYPE_SCHED_CLS, program, G_N_ELEMENTS(program), NULL) == 0;
}

/* Of all 256, by the kernel's documentation of the instruction set (bpf/standardization): each that's defined
 * there, but for those that have no end or jump to what a register holds. */
Test(bpf_delegated, all_codes) {
        static const uint8_t loads[] = { 0x20, 0x28, 0x30, 0x40, 0x48, 0x50, /* packet */
                0x61, 0x69, 0x71, 0x79, 0x81, 0x89, 0x91, 0x99,              /* memory, with sign */
                0x62, 0x6a, 0x72, 0x7a, 0x63, 0x6b, 0x73, 0x7b, 0xc3, 0xcb, 0xd3, 0xdb }; /* stores, atomic */
        bool wanted[256] = {};

        for (size_t i = 0; i < G_N_ELEMENTS(loads); i++)
                wanted[loads[i]] = true;
        for (unsigned op = 0; op <= 0xd0; op += 0x10)
                for (unsigned source = 0; source <= 8; source += 8) {
                        wanted[op | source | BPF_ALU] = wanted[op | source | BPF_ALU64] = true;
                        if (op != BPF_CALL && op != BPF_EXIT && op != BPF_JA)
                                wanted[op | source | BPF_JMP] = wanted[op | source | BPF_JMP32] = true;
                }
        wanted[0x05] = wanted[0x06] = wanted[0x95] = wanted[0x85] = true;

        for (unsigned code = 0; code < 256; code++)
                if (code != (BPF_LD | BPF_IMM | BPF_DW))
                        cr_expect_eq(lent(INSN((uint8_t) code, 0, 0, 0, code == 0x85 ? 1 : 0)), wanted[code],
                                        "%#x", code);
}

Test(bpf_delegated, calls) {
        static const int never[] = { 0, 4, 6, 12, 13, 14, 16, 25, 35, 36, 47, 58, 79, 81, 84, 85, 86, 95, 99,
                107, 109, 110, 112, 113, 114, 115, 117, 155, 156, 158, 164, 165, 166, 169, 181, 187, 193, 204,
                209, 210, 211, 212, 100000, -1, INT32_MIN, INT32_MAX };
        static const int always[] = { 1, 2, 3, 5, 9, 23, 26, 44, 51, 69, 130, 189, 208 };

        for (size_t i = 0; i < G_N_ELEMENTS(never); i++)
                cr_expect_not(lent((struct bpf_insn) CALL(never[i])), "%i", never[i]);
        for (size_t i = 0; i < G_N_ELEMENTS(always); i++)
                cr_expect(lent((struct bpf_insn) CALL(always[i])), "%i", always[i]);
        for (uint8_t source = 1; source < 16; source++)
                cr_expect_not(lent(INSN(BPF_JMP | BPF_CALL, 0, source, 0, 1)), "%u", source);
        cr_expect_not(lent(INSN(BPF_JMP | BPF_CALL | BPF_X, 0, 0, 0, 1)));
        cr_expect_not(lent(INSN(BPF_JMP32 | BPF_CALL, 0, 0, 0, 1)));
}

Test(bpf_delegated, what_two_instructions_hold) {
        const struct bpf_insn wide = I(BPF_LD | BPF_IMM | BPF_DW, 1, 0, 0, 5), half = I(0, 0, 0, 0, 7),
                              odd[] = { wide, wide, EXIT }, cut[] = { MOV(0, 0), EXIT, wide },
                              hidden[] = { wide, I(BPF_JMP | BPF_CALL, 0, 2, 0, 1), EXIT },
                              half_alone[] = { half, MOV(0, 0), EXIT },
                              good[] = { wide, half, MOV(0, 0), EXIT };
        size_t at;

        for (unsigned source = 0; source < 16; source++)
                cr_expect_eq(wide_is_lent(source), source <= BPF_PSEUDO_MAP_VALUE, "%u", source);

        cr_expect_eq(delegated_check(BPF_PROG_TYPE_SCHED_CLS, good, G_N_ELEMENTS(good), NULL), 0);
        cr_expect_eq(delegated_check(BPF_PROG_TYPE_SCHED_CLS, odd, G_N_ELEMENTS(odd), &at), -EPERM);
        cr_expect_eq(at, 0);
        cr_expect_eq(delegated_check(BPF_PROG_TYPE_SCHED_CLS, cut, G_N_ELEMENTS(cut), &at), -EPERM);
        cr_expect_eq(at, 2);
        cr_expect_eq(delegated_check(BPF_PROG_TYPE_SCHED_CLS, hidden, G_N_ELEMENTS(hidden), NULL), -EPERM);
        cr_expect_eq(delegated_check(BPF_PROG_TYPE_SCHED_CLS, half_alone, G_N_ELEMENTS(half_alone), NULL),
                        -EPERM);
}

Test(bpf_delegated, moves_with_other_meanings) {
        for (int off = -40; off <= 40; off++)
                cr_expect_eq(lent(INSN(BPF_ALU64 | BPF_MOV | BPF_X, 0, 1, off, 0)),
                                off == 0 || off == 8 || off == 16 || off == 32, "%i", off);
        cr_expect_not(lent(INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 8, 0)));
}

Test(bpf_delegated, sockets_of_packets) {
        const struct bpf_insn load[] = { LOAD(BPF_DW, 2, 1, 168), MOV(0, 0), EXIT };
        const struct bpf_insn others[] = { LOAD(BPF_W, 2, 1, 168), LOAD(BPF_DW, 2, 1, 160), MOV(0, 0), EXIT };
        static const uint32_t with[] = { BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_SCHED_CLS,
                BPF_PROG_TYPE_SCHED_ACT, BPF_PROG_TYPE_LWT_IN, BPF_PROG_TYPE_LWT_OUT, BPF_PROG_TYPE_LWT_XMIT,
                BPF_PROG_TYPE_LWT_SEG6LOCAL },
                              without[] = { BPF_PROG_TYPE_XDP, BPF_PROG_TYPE_CGROUP_DEVICE,
                                      BPF_PROG_TYPE_SK_REUSEPORT };

        for (size_t i = 0; i < G_N_ELEMENTS(with); i++) {
                cr_expect_eq(delegated_check(with[i], load, G_N_ELEMENTS(load), NULL), -EPERM, "%u", with[i]);
                cr_expect_eq(delegated_check(with[i], others, G_N_ELEMENTS(others), NULL), 0);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(without); i++)
                cr_expect_eq(delegated_check(without[i], load, G_N_ELEMENTS(load), NULL), 0, "%u",
                                without[i]);
}
