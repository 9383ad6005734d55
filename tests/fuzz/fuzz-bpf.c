/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Any bytes may come as a program. Whatever is let through to the kernel's verifier must keep what the check
 * promises on every way through it. In the simple sets: it goes forward only, and the pointer to the context
 * is loaded from, copied and passed on, and nothing else. In those for compiled programs: each register holds
 * one kind of thing, only the stack is written to, and the result is 0 or 1. Of those with a token see below.
 * A second, simpler reading of the program looks for a way that breaks that. */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "supervisor/bpf/delegated-check.h"
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

/* What a register holds on one way. */
enum { NOTHING, BIT, NUMBER, CONTEXT, STACK, PLACE, MAP, ENTRY, VALUE };

static bool is_number(int kind) {
        return kind == BIT || kind == NUMBER;
}

static void walk_load(bool is_address, const struct bpf_insn *insn, int from) {
        switch (from) {
        case CONTEXT:
                g_assert_cmpint(BPF_SIZE(insn->code), ==, BPF_W);
                g_assert_true(is_address ? insn->off == 0 || insn->off == 24 || insn->off == 28 ||
                                                                insn->off == 36
                                         : insn->off == 40);
                break;
        case STACK:
                g_assert_true(insn->off < 0 && insn->off >= -512);
                break;
        case ENTRY:
        case VALUE:
                g_assert_true(insn->off >= 0 && insn->off < 64);
                break;
        default:
                g_assert_not_reached();
        }
        g_assert_true(from != VALUE || !is_address);
        g_assert_cmpint(BPF_MODE(insn->code), ==, BPF_MEM);
        g_assert_cmpint(BPF_SIZE(insn->code), !=, BPF_DW);
}

static int walk_arithmetic(bool is_address, const struct bpf_insn *insn, const int *kinds) {
        bool by_register = BPF_SRC(insn->code) == BPF_X && BPF_OP(insn->code) != BPF_END;
        int to = kinds[insn->dst_reg], from = by_register ? kinds[insn->src_reg] : NUMBER;

        if (BPF_OP(insn->code) == BPF_MOV) {
                g_assert_cmpint(from, !=, NOTHING);
                g_assert_true(BPF_CLASS(insn->code) == BPF_ALU64 || is_number(from));
                return by_register ? from : insn->imm == 0 || insn->imm == 1 ? BIT : NUMBER;
        }
        if (to == STACK) {
                g_assert_true(BPF_OP(insn->code) == BPF_ADD && !by_register && insn->imm < 0);
                return PLACE;
        }
        g_assert_true(is_address && is_number(to) && is_number(from));
        return NUMBER;
}

static bool is_written(const bool *written, int offset, int size) {
        for (int i = 0; i < size; i++)
                if (offset + i < -512 || offset + i >= 0 || !written[512 + offset + i])
                        return false;

        return true;
}

static int size_of(const struct bpf_insn *insn) {
        return BPF_SIZE(insn->code) == BPF_B ? 1 : BPF_SIZE(insn->code) == BPF_H ? 2 : 4;
}

static int walk_call(const struct bpf_insn *insn, int *kinds, const bool *written, int place) {
        g_assert_true(insn->imm == 1 && insn->src_reg == 0 && kinds[1] == MAP && kinds[2] == PLACE);
        g_assert_true(is_written(written, place, 4));
        for (int i = 1; i <= 5; i++)
                kinds[i] = NOTHING;
        return ENTRY;
}

/* As walk(), for compiled programs, which may have loops: no further than some rounds. */
static void walk_compiled(bool is_address, const struct bpf_insn *insns, size_t n, uint32_t choices) {
        int kinds[16] = { [1] = CONTEXT, [10] = STACK }, places[16] = {};
        bool written[512] = {};
        size_t i = 0;

        for (size_t steps = 0; steps < 4 * n; steps++) {
                const struct bpf_insn *insn = insns + i;
                int *to = kinds + insn->dst_reg, from = kinds[insn->src_reg];
                size_t next = i + 1;

                g_assert_cmpuint(i, <, n);
                g_assert_true(insn->dst_reg <= 10 && (insn->dst_reg < 10 || BPF_CLASS(insn->code) == BPF_ST ||
                                                                     BPF_CLASS(insn->code) == BPF_STX));

                switch (BPF_CLASS(insn->code)) {
                case BPF_LDX:
                        walk_load(is_address, insn, from);
                        g_assert_true(from != STACK || is_written(written, insn->off, size_of(insn)));
                        *to = NUMBER;
                        break;
                case BPF_ALU:
                case BPF_ALU64:
                        places[insn->dst_reg] =
                                        BPF_OP(insn->code) == BPF_MOV ? places[insn->src_reg] : insn->imm;
                        *to = walk_arithmetic(is_address, insn, kinds);
                        break;
                case BPF_ST:
                case BPF_STX:
                        g_assert_true(insn->dst_reg == 10 && insn->off < 0 && insn->off >= -512);
                        g_assert_true(BPF_MODE(insn->code) == BPF_MEM);
                        g_assert_true(BPF_CLASS(insn->code) == BPF_ST || is_number(from));
                        memset(written + 512 + insn->off, true, (size_t) size_of(insn));
                        break;
                case BPF_LD:
                        g_assert_true(insn->src_reg <=
                                        (is_address ? BPF_PSEUDO_MAP_FD : BPF_PSEUDO_MAP_VALUE));
                        *to = insn->src_reg == BPF_PSEUDO_MAP_FD ? MAP : insn->src_reg == 0 ? NUMBER : VALUE;
                        next = i + 2;
                        break;
                default:
                        if (BPF_OP(insn->code) == BPF_EXIT) {
                                g_assert_cmpint(kinds[0], ==, BIT);
                                return;
                        }
                        if (BPF_OP(insn->code) == BPF_CALL) {
                                kinds[0] = walk_call(insn, kinds, written, places[2]);
                                break;
                        }
                        if (BPF_OP(insn->code) != BPF_JA) {
                                bool nothing = *to == ENTRY && insn->imm == 0 && BPF_SRC(insn->code) == BPF_K;

                                g_assert_true(nothing ||
                                                (is_number(*to) && (BPF_SRC(insn->code) == BPF_K ||
                                                                                   is_number(from))));
                        }
                        if (BPF_OP(insn->code) == BPF_JA || (choices & 1))
                                next = i + 1 + (size_t) (ssize_t) insn->off;
                        choices = choices >> 1 | choices << 31;
                        g_assert_true(is_address || next > i);
                }

                i = next;
        }
}

/* A program with a token: of the kernel's own there's nothing in what's let through, and nothing that doesn't
 * end by itself. */
static void look_at_delegated(const struct bpf_insn *insns, size_t n) {
        size_t at;

        if (delegated_check(BPF_PROG_TYPE_SCHED_CLS, insns, n, &at) < 0) {
                g_assert_cmpuint(at, <, n);
                return;
        }

        for (size_t i = 0; i < n; i++) {
                uint8_t code = insns[i].code, class = BPF_CLASS(code);
                bool jumps = class == BPF_JMP || class == BPF_JMP32;

                if (code == (BPF_LD | BPF_IMM | BPF_DW)) {
                        g_assert_cmpuint(insns[i].src_reg, <=, BPF_PSEUDO_MAP_VALUE);
                        g_assert_cmpuint(++i, <, n);
                        g_assert_cmpuint(insns[i].code, ==, 0);
                } else if (jumps && BPF_OP(code) == BPF_CALL) {
                        g_assert_cmpuint(code, ==, BPF_JMP | BPF_CALL);
                        g_assert_cmpuint(insns[i].src_reg, ==, 0);
                        g_assert_cmpint(insns[i].imm, >, 0);
                        g_assert_cmpint(insns[i].imm, <=, BPF_FUNC_ktime_get_tai_ns);
                } else if (jumps)
                        g_assert_true(BPF_OP(code) < 0xe0 && code != (BPF_JMP | BPF_JA | BPF_X));
                else if (BPF_OP(code) == BPF_MOV && (class == BPF_ALU || class == BPF_ALU64))
                        g_assert_cmpint(insns[i].off % 8, ==, 0);
        }
}

#define DELEGATED 0xff

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static struct bpf_insn insns[BPF_INSTRUCTIONS_MAX + 1];
        InstructionSet set;
        size_t n, at;

        if (size < 1)
                return 0;

        set = data[0] % _INSTRUCTION_SET_MAX;
        n = MIN((size - 1) / sizeof(struct bpf_insn), G_N_ELEMENTS(insns));
        memcpy(insns, data + 1, n * sizeof(struct bpf_insn));

        if (data[0] == DELEGATED) {
                look_at_delegated(insns, n);
                return 0;
        }

        if (instruction_check(set, insns, n, &at) < 0) {
                g_assert_cmpuint(at, <=, n);
                return 0;
        }

        for (uint32_t i = 0; i < 64; i++) {
                uint32_t choices = i < 2 ? -i : i * 2654435761u;

                if (set == INSTRUCTIONS_SOCK_ADDR || set == INSTRUCTIONS_INTERFACE)
                        walk_compiled(set == INSTRUCTIONS_SOCK_ADDR, insns, n, choices);
                else if (set != INSTRUCTIONS_PROBE)
                        walk(set, insns, n, choices);
        }
        return 0;
}
