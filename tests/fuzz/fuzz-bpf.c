/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Any bytes may come as a program. Whatever is let through to the kernel's verifier must keep what the check
 * promises on every way through it: it goes forward only, and the pointer to the context is loaded from,
 * copied and passed on, and nothing else. A second, simpler reading of the program looks for a way that
 * breaks that. */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "supervisor/bpf/instruction-check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool sources_are_numbers(const struct bpf_insn *insn, const bool *context) {
        return !context[insn->dst_reg] && (BPF_SRC(insn->code) != BPF_X || !context[insn->src_reg]);
}

/* Walks one way; "choices" says at each branch which. */
static void walk(InstructionSet set, const struct bpf_insn *insns, size_t n, uint32_t choices) {
        bool context[16] = { [1] = true };
        size_t i = 0;

        for (size_t steps = 0;; steps++) {
                const struct bpf_insn *insn = insns + i;
                size_t next = i + 1;

                g_assert_cmpuint(steps, <, n);
                g_assert_cmpuint(i, <, n);

                switch (BPF_CLASS(insn->code)) {
                case BPF_LDX:
                        g_assert_true(set != INSTRUCTIONS_CONSTANT && context[insn->src_reg]);
                        g_assert_cmpint(insn->off, >=, 0);
                        g_assert_cmpint(insn->off, <, set == INSTRUCTIONS_DEVICE ? 12 : 20);
                        context[insn->dst_reg] = false;
                        break;
                case BPF_ALU:
                case BPF_ALU64:
                        if (BPF_OP(insn->code) == BPF_MOV && BPF_SRC(insn->code) == BPF_X) {
                                g_assert_true(BPF_CLASS(insn->code) == BPF_ALU64 || !context[insn->src_reg]);
                                context[insn->dst_reg] = context[insn->src_reg];
                        } else if (BPF_OP(insn->code) == BPF_MOV)
                                context[insn->dst_reg] = false;
                        else
                                g_assert_true(sources_are_numbers(insn, context));
                        g_assert_cmpuint(insn->dst_reg, <, 10);
                        break;
                case BPF_ST:
                case BPF_STX:
                        g_assert_true(set == INSTRUCTIONS_SKB && !context[insn->dst_reg]);
                        g_assert_true(BPF_CLASS(insn->code) == BPF_ST || !context[insn->src_reg]);
                        break;
                case BPF_LD:
                        g_assert_true(set == INSTRUCTIONS_SKB && insn->src_reg == BPF_PSEUDO_MAP_FD);
                        context[insn->dst_reg] = false;
                        next = i + 2;
                        break;
                default:
                        if (BPF_OP(insn->code) == BPF_EXIT) {
                                g_assert_false(context[0]);
                                return;
                        }
                        if (BPF_OP(insn->code) == BPF_CALL) {
                                g_assert_true(set == INSTRUCTIONS_SKB && (insn->imm == 1 || insn->imm == 26));
                                memset(context, 0, 6 * sizeof(bool));
                                break;
                        }
                        if (BPF_OP(insn->code) != BPF_JA)
                                g_assert_true(sources_are_numbers(insn, context));
                        if (BPF_OP(insn->code) == BPF_JA || (choices & 1))
                                next = i + 1 + (size_t) insn->off;
                        choices = choices >> 1 | choices << 31;
                        g_assert_cmpuint(next, >, i);
                }

                i = next;
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static struct bpf_insn insns[BPF_INSTRUCTIONS_MAX + 1];
        InstructionSet set;
        size_t n, at;

        if (size < 1)
                return 0;

        set = data[0] % _INSTRUCTION_SET_MAX;
        n = MIN((size - 1) / sizeof(struct bpf_insn), G_N_ELEMENTS(insns));
        memcpy(insns, data + 1, n * sizeof(struct bpf_insn));

        if (instruction_check(set, insns, n, &at) < 0) {
                g_assert_cmpuint(at, <=, n);
                return 0;
        }

        for (uint32_t i = 0; i < 64; i++)
                walk(set, insns, n, i < 2 ? -i : i * 2654435761u);
        return 0;
}
