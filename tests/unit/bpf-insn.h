/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Programs as they're written in the tests of what checks them. */

#include <criterion/criterion.h>
#include <glib.h>
#include <linux/bpf.h>

#include "supervisor/bpf/instruction-check.h"

#define I(c, d, s, o, i)                                                                                     \
        { .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) }
#define MOV(d, i)             I(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define COPY(d, s)            I(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define COPY32(d, s)          I(BPF_ALU | BPF_MOV | BPF_X, d, s, 0, 0)
#define OP(op, d, i)          I(BPF_ALU64 | (op) | BPF_K, d, 0, 0, i)
#define OP_REG(op, d, s)      I(BPF_ALU64 | (op) | BPF_X, d, s, 0, 0)
#define LOAD(size, d, s, o)   I(BPF_LDX | BPF_MEM | (size), d, s, o, 0)
#define STORE(size, d, s, o)  I(BPF_STX | BPF_MEM | (size), d, s, o, 0)
#define STORE_IMM(d, o, i)    I(BPF_ST | BPF_MEM | BPF_W, d, 0, o, i)
#define JUMP(op, d, i, o)     I(BPF_JMP | (op) | BPF_K, d, 0, o, i)
#define JUMP_REG(op, d, s, o) I(BPF_JMP | (op) | BPF_X, d, s, o, 0)
#define GOTO(o)               I(BPF_JMP | BPF_JA, 0, 0, o, 0)
#define CALL(n)               I(BPF_JMP | BPF_CALL, 0, 0, 0, n)
#define MAP(d, fd)            I(BPF_LD | BPF_IMM | BPF_DW, d, BPF_PSEUDO_MAP_FD, 0, fd), I(0, 0, 0, 0, 0)
#define XADD(d, s)            I(BPF_STX | 0xc0 | BPF_DW, d, s, 0, 0)
#define EXIT                  I(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

#define PLACE(d, o)   COPY(d, 10), OP(BPF_ADD, d, o)
#define VALUE(d, o)   I(BPF_LD | BPF_IMM | BPF_DW, d, BPF_PSEUDO_MAP_VALUE, 0, 5), I(0, 0, 0, 0, o)
#define WIDE(d, l, h) I(BPF_LD | BPF_IMM | BPF_DW, d, 0, 0, l), I(0, 0, 0, 0, h)
#define TO_BE(d, n)   I(BPF_ALU | BPF_END | BPF_TO_BE, d, 0, 0, n)
#define LOOK_UP(r)    STORE(BPF_W, 10, r, -4), PLACE(2, -4), MAP(1, 5), CALL(1)

/* Checks a program, and says where it's refused: -1 if it isn't. */
#define CHECK(set, ...)                                                                                      \
        ({                                                                                                   \
                const struct bpf_insn _insns[] = { __VA_ARGS__ };                                            \
                size_t _at = 0;                                                                              \
                instruction_check(set, _insns, G_N_ELEMENTS(_insns), &_at) < 0 ? (int) _at : -1;             \
        })
#define GOOD(set, ...)    cr_expect_eq(CHECK(set, __VA_ARGS__), -1)
#define BAD(at, set, ...) cr_expect_eq(CHECK(set, __VA_ARGS__), at)
