/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The sets of instructions for compiled programs: each form that's allowed, and its neighbours that aren't.
 */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "supervisor/bpf/compiled-check.h"

#include "bpf-insn.h"

#define SOCK_GOOD(...)    GOOD(INSTRUCTIONS_SOCK_ADDR, __VA_ARGS__, MOV(0, 1), EXIT)
#define SOCK_BAD(at, ...) BAD(at, INSTRUCTIONS_SOCK_ADDR, __VA_ARGS__, MOV(0, 1), EXIT)
#define FACE_GOOD(...)    GOOD(INSTRUCTIONS_INTERFACE, __VA_ARGS__, MOV(0, 1), EXIT)
#define FACE_BAD(at, ...) BAD(at, INSTRUCTIONS_INTERFACE, __VA_ARGS__, MOV(0, 1), EXIT)
#define BOTH_BAD(at, ...)                                                                                    \
        do {                                                                                                 \
                SOCK_BAD(at, __VA_ARGS__);                                                                   \
                FACE_BAD(at, __VA_ARGS__);                                                                   \
        } while (0)

/* As a compiler makes it of a list of rules and a loop over it. */
Test(bpf_compiled, list_of_ports) {
        SOCK_GOOD(COPY(7, 1), LOAD(BPF_W, 1, 7, 0), JUMP(BPF_JNE, 1, 2, 31), LOAD(BPF_W, 1, 7, 28),
                        JUMP(BPF_JNE, 1, 2, 29), LOAD(BPF_W, 1, 7, 24), STORE(BPF_W, 10, 1, -4), MOV(8, 0),
                        LOAD(BPF_W, 9, 10, -4), TO_BE(9, 16), WIDE(6, -1, 0), STORE(BPF_W, 10, 8, -8),
                        PLACE(2, -8), MAP(1, 5), CALL(1), JUMP(BPF_JEQ, 0, 0, 15), LOAD(BPF_W, 2, 0, 0),
                        JUMP_REG(BPF_JEQ, 2, 6, 7), LOAD(BPF_W, 1, 7, 36), JUMP_REG(BPF_JNE, 2, 1, 5),
                        LOAD(BPF_H, 1, 0, 8), LOAD(BPF_H, 2, 0, 10), OP_REG(BPF_ADD, 2, 1),
                        JUMP_REG(BPF_JGT, 2, 9, 1), GOTO(6), OP(BPF_ADD, 8, 1), COPY(1, 8),
                        OP(BPF_LSH, 1, 32), OP(BPF_RSH, 1, 32), JUMP(BPF_JEQ, 1, 128, 1), GOTO(-22));
        /* Both ways of a bool, in either width. */
        GOOD(INSTRUCTIONS_SOCK_ADDR, I(BPF_ALU | BPF_MOV | BPF_K, 6, 0, 0, 1), LOAD(BPF_W, 1, 1, 24),
                        I(BPF_JMP32 | BPF_JEQ | BPF_K, 1, 0, 1, 80), MOV(6, 0), COPY32(0, 6), EXIT);
        SOCK_GOOD(LOAD(BPF_W, 2, 1, 0), LOAD(BPF_W, 3, 1, 24), LOAD(BPF_W, 4, 1, 28), LOAD(BPF_W, 5, 1, 36));
        SOCK_GOOD(STORE_IMM(10, -4, 7), LOAD(BPF_B, 3, 10, -1), LOAD(BPF_H, 3, 10, -4), STORE_IMM(10, -64, 7),
                        LOAD(BPF_W, 3, 10, -64));
}

Test(bpf_compiled, list_of_interfaces) {
        GOOD(INSTRUCTIONS_INTERFACE, LOAD(BPF_W, 1, 1, 40), LOOK_UP(1), VALUE(1, 0), LOAD(BPF_B, 1, 1, 0),
                        JUMP(BPF_JEQ, 1, 0, 3), MOV(1, 1), JUMP(BPF_JEQ, 0, 0, 3), GOTO(3), MOV(1, 1),
                        JUMP(BPF_JEQ, 0, 0, 1), MOV(1, 0), COPY(0, 1), EXIT);
        FACE_GOOD(VALUE(1, 63), LOAD(BPF_W, 2, 1, 60));
        FACE_BAD(0, LOAD(BPF_W, 2, 1, 36)); /* ingress_ifindex */
        FACE_BAD(0, LOAD(BPF_W, 2, 1, 44));
        FACE_BAD(0, LOAD(BPF_H, 2, 1, 40));
        FACE_BAD(0, VALUE(1, 64));
        FACE_BAD(0, VALUE(1, -1));
        FACE_BAD(2, VALUE(1, 0), LOAD(BPF_W, 2, 1, 64));
        FACE_BAD(2, VALUE(1, 0), LOAD(BPF_W, 2, 1, -4));
        FACE_BAD(2, VALUE(1, 0), STORE_IMM(1, 0, 1));
        FACE_BAD(2, VALUE(1, 0), OP(BPF_ADD, 1, 1));
        FACE_BAD(2, VALUE(1, 0), JUMP(BPF_JEQ, 1, 0, 0));
        /* What only the other set has. */
        FACE_BAD(1, LOAD(BPF_W, 2, 1, 40), OP(BPF_ADD, 2, 1));
        FACE_BAD(1, LOAD(BPF_W, 2, 1, 40), TO_BE(2, 16));
        FACE_BAD(2, MOV(2, 0), JUMP(BPF_JEQ, 2, 0, 1), GOTO(-2));
        SOCK_BAD(0, VALUE(1, 0));
}

Test(bpf_compiled, fields_of_an_address) {
        static const int good[] = { 0, 24, 28, 36 };

        for (int offset = -8; offset < 80; offset++)
                for (unsigned size = 0; size < 4; size++) {
                        static const uint8_t sizes[] = { BPF_B, BPF_H, BPF_W, BPF_DW };
                        bool expected = false;

                        for (size_t i = 0; i < G_N_ELEMENTS(good); i++)
                                expected |= size == 2 && offset == good[i];
                        cr_expect_eq(CHECK(INSTRUCTIONS_SOCK_ADDR, LOAD(sizes[size], 2, 1, (int16_t) offset),
                                                     MOV(0, 1), EXIT),
                                        expected ? -1 : 0, "offset %i", offset);
                }
        SOCK_BAD(0, I(BPF_LDX | 0x80 | BPF_W, 2, 1, 24, 0));
        SOCK_BAD(0, I(BPF_LDX | 0x20 | BPF_W, 2, 1, 24, 0));
        SOCK_BAD(0, I(BPF_LDX | BPF_MEM | BPF_W, 2, 1, 24, 1));
        SOCK_BAD(0, LOAD(BPF_W, 10, 1, 24));
        SOCK_BAD(0, LOAD(BPF_W, 2, 11, 24));
}

/* 2 and 3 would let a process bind to ports below 1024. */
Test(bpf_compiled, result_is_0_or_1) {
        static const InstructionSet sets[] = { INSTRUCTIONS_SOCK_ADDR, INSTRUCTIONS_INTERFACE };

        for (size_t i = 0; i < G_N_ELEMENTS(sets); i++) {
                GOOD(sets[i], MOV(0, 0), EXIT);
                GOOD(sets[i], MOV(0, 1), EXIT);
                BAD(1, sets[i], MOV(0, 2), EXIT);
                BAD(1, sets[i], MOV(0, 3), EXIT);
                BAD(1, sets[i], MOV(0, -1), EXIT);
                BAD(1, sets[i], COPY(0, 1), EXIT);
                BAD(0, sets[i], EXIT);
                BAD(2, sets[i], WIDE(0, 1, 0), EXIT);
                BAD(6, sets[i], STORE_IMM(10, -4, 0), PLACE(2, -4), MAP(1, 5), CALL(1), EXIT);
        }
        BAD(2, INSTRUCTIONS_SOCK_ADDR, MOV(0, 1), OP(BPF_ADD, 0, 1), EXIT);
        BAD(2, INSTRUCTIONS_SOCK_ADDR, MOV(0, 1), OP(BPF_LSH, 0, 1), EXIT);
        BAD(2, INSTRUCTIONS_SOCK_ADDR, MOV(0, 1), TO_BE(0, 16), EXIT);
        BAD(1, INSTRUCTIONS_SOCK_ADDR, LOAD(BPF_W, 0, 1, 24), EXIT);
        BAD(5, INSTRUCTIONS_SOCK_ADDR, MOV(3, 0), STORE(BPF_W, 10, 3, -4), LOAD(BPF_W, 2, 10, -4),
                        JUMP(BPF_JEQ, 2, 1, 2), MOV(0, 1), EXIT, MOV(0, 2), GOTO(-3));
        /* On the second time through the loop it's 2. */
        BAD(4, INSTRUCTIONS_SOCK_ADDR, MOV(0, 1), LOAD(BPF_W, 2, 1, 24), JUMP(BPF_JEQ, 2, 80, 1), GOTO(1),
                        EXIT, MOV(0, 2), GOTO(-5));
}

Test(bpf_compiled, nothing_but_the_stack_is_written) {
        BOTH_BAD(1, MOV(2, 80), STORE(BPF_W, 1, 2, 24));
        BOTH_BAD(0, STORE_IMM(1, 24, 80));
        BOTH_BAD(2, COPY(6, 1), MOV(2, 80), STORE(BPF_W, 6, 2, 24));
        BOTH_BAD(8, MOV(3, 0), LOOK_UP(3), MOV(1, 0), STORE(BPF_W, 0, 1, 0));
        BOTH_BAD(7, MOV(3, 0), LOOK_UP(3), STORE_IMM(0, 0, 1));
        BOTH_BAD(8, MOV(3, 0), LOOK_UP(3), MOV(1, 1), XADD(0, 1));
        BOTH_BAD(1, MOV(2, 0), XADD(10, 2));
        BOTH_BAD(2, PLACE(2, -8), STORE_IMM(2, 0, 1));
        BOTH_BAD(2, PLACE(2, -8), STORE_IMM(2, -4, 1));
        BOTH_BAD(1, COPY(2, 10), STORE_IMM(2, -4, 1));
        BOTH_BAD(0, STORE_IMM(1, -4, 1));
        BOTH_BAD(1, MOV(2, 0), STORE(BPF_W, 1, 2, -4));
        BOTH_BAD(7, MOV(3, 0), LOOK_UP(3), STORE_IMM(0, -4, 1));
        BOTH_BAD(0, STORE_IMM(10, 0, 1));
        BOTH_BAD(0, STORE_IMM(10, 4, 1));
        BOTH_BAD(0, STORE_IMM(10, -68, 1));
        BOTH_BAD(0, STORE_IMM(10, -6, 1));
        BOTH_BAD(0, STORE_IMM(10, -2, 1));
        BOTH_BAD(1, MOV(2, 0), STORE(BPF_DW, 10, 2, -8));
        BOTH_BAD(0, STORE(BPF_W, 10, 1, -4)); /* half of the context */
        BOTH_BAD(0, STORE(BPF_W, 10, 10, -4));
        BOTH_BAD(0, STORE(BPF_W, 10, 5, -4)); /* nothing yet */
        BOTH_BAD(0, STORE(BPF_W, 10, 11, -4));
        BOTH_BAD(0, I(BPF_ST | BPF_MEM | BPF_W, 10, 3, -4, 0));
        BOTH_BAD(0, LOAD(BPF_DW, 2, 10, -8));
        BOTH_BAD(0, LOAD(BPF_W, 2, 10, 0));
        BOTH_BAD(1, COPY(3, 10), LOAD(BPF_W, 2, 3, -4));
}

/* Kernels let those with CAP_PERFMON read what was on the stack before. */
Test(bpf_compiled, only_what_was_written_is_read) {
        BOTH_BAD(0, LOAD(BPF_W, 2, 10, -4));
        BOTH_BAD(1, STORE_IMM(10, -4, 0), LOAD(BPF_W, 2, 10, -8));
        BOTH_BAD(1, I(BPF_ST | BPF_MEM | BPF_H, 10, 0, -4, 0), LOAD(BPF_W, 2, 10, -4));
        FACE_GOOD(I(BPF_ST | BPF_MEM | BPF_H, 10, 0, -4, 0), I(BPF_ST | BPF_MEM | BPF_H, 10, 0, -2, 0),
                        LOAD(BPF_W, 2, 10, -4));
        /* Keys. */
        BOTH_BAD(4, PLACE(2, -4), MAP(1, 5), CALL(1));
        BOTH_BAD(5, STORE_IMM(10, -4, 0), PLACE(2, -6), MAP(1, 5), CALL(1));
        BOTH_BAD(5, I(BPF_ST | BPF_MEM | BPF_H, 10, 0, -4, 0), PLACE(2, -4), MAP(1, 5), CALL(1));
        FACE_GOOD(STORE_IMM(10, -4, 0), PLACE(3, -4), COPY(2, 3), MAP(1, 5), CALL(1));
        BOTH_BAD(6, STORE_IMM(10, -4, 0), PLACE(3, -8), COPY(2, 3), MAP(1, 5), CALL(1));
        /* Written on one way only, or in two places. */
        BOTH_BAD(3, MOV(2, 0), JUMP(BPF_JEQ, 2, 0, 1), STORE_IMM(10, -4, 0), LOAD(BPF_W, 3, 10, -4));
        BOTH_BAD(5, MOV(2, 0), JUMP(BPF_JEQ, 2, 0, 2), STORE_IMM(10, -4, 0), GOTO(1), MOV(3, 0),
                        LOAD(BPF_W, 3, 10, -4));
        BOTH_BAD(11, STORE_IMM(10, -4, 0), STORE_IMM(10, -8, 0), MOV(3, 0), JUMP(BPF_JEQ, 3, 0, 3),
                        PLACE(2, -4), GOTO(2), PLACE(2, -8), MAP(1, 5), CALL(1));
        SOCK_BAD(3, MOV(2, 0), GOTO(1), STORE_IMM(10, -4, 0), LOAD(BPF_W, 3, 10, -4),
                        JUMP(BPF_JNE, 2, 1, -3));
}

Test(bpf_compiled, pointers_are_no_numbers) {
        BOTH_BAD(0, OP(BPF_ADD, 1, 4));
        SOCK_BAD(1, MOV(2, 0), OP_REG(BPF_ADD, 2, 1));
        SOCK_BAD(1, MOV(2, 0), OP_REG(BPF_ADD, 2, 10));
        SOCK_BAD(1, MOV(2, 0), OP_REG(BPF_ADD, 2, 15));
        SOCK_BAD(2, MOV(3, 8), COPY(2, 10), OP_REG(BPF_ADD, 2, 3));
        BOTH_BAD(1, COPY(2, 10), OP(BPF_SUB, 2, 8));
        BOTH_BAD(1, COPY(2, 10), OP(BPF_ADD, 2, 8));
        BOTH_BAD(1, COPY(2, 10), OP(BPF_ADD, 2, -68));
        BOTH_BAD(1, COPY(2, 10), OP(BPF_ADD, 2, -2)); /* no room for a key */
        BOTH_BAD(1, COPY(2, 10), I(BPF_ALU | BPF_ADD | BPF_K, 2, 0, 0, -8));
        BOTH_BAD(2, PLACE(2, -8), OP(BPF_ADD, 2, 4));
        BOTH_BAD(0, OP(BPF_ADD, 10, -8));
        BOTH_BAD(0, COPY32(2, 1));
        BOTH_BAD(0, COPY32(2, 10));
        BOTH_BAD(0, JUMP(BPF_JEQ, 1, 0, 0));
        BOTH_BAD(1, MOV(2, 0), JUMP_REG(BPF_JGT, 2, 1, 0));
        BOTH_BAD(1, MOV(2, 0), JUMP_REG(BPF_JGT, 2, 10, 0));
        BOTH_BAD(2, MAP(3, 5), JUMP(BPF_JEQ, 3, 0, 0));
        BOTH_BAD(2, MAP(3, 5), LOAD(BPF_W, 2, 3, 0));
        BOTH_BAD(2, MAP(3, 5), OP(BPF_ADD, 3, 4));
        BOTH_BAD(1, COPY(2, 10), JUMP(BPF_JEQ, 2, 0, 0));
        /* What was found is compared with nothing, and that's all. */
        BOTH_BAD(7, MOV(3, 0), LOOK_UP(3), JUMP(BPF_JEQ, 0, 1, 0));
        BOTH_BAD(7, MOV(3, 0), LOOK_UP(3), JUMP(BPF_JGT, 0, 0, 0));
        BOTH_BAD(7, MOV(3, 0), LOOK_UP(3), I(BPF_JMP32 | BPF_JEQ | BPF_K, 0, 0, 0, 0));
        BOTH_BAD(7, MOV(3, 0), LOOK_UP(3), JUMP_REG(BPF_JEQ, 0, 3, 0));
        BOTH_BAD(7, MOV(3, 0), LOOK_UP(3), OP(BPF_ADD, 0, 4));
        BOTH_BAD(7, MOV(3, 0), LOOK_UP(3), LOAD(BPF_DW, 1, 0, 0));
        BOTH_BAD(7, MOV(3, 0), LOOK_UP(3), LOAD(BPF_W, 1, 0, 2));
        BOTH_BAD(7, MOV(3, 0), LOOK_UP(3), LOAD(BPF_W, 1, 0, 64));
        BOTH_BAD(7, MOV(3, 0), LOOK_UP(3), LOAD(BPF_W, 1, 0, -4));
}

Test(bpf_compiled, arithmetic_that_is_needed) {
        SOCK_GOOD(MOV(2, 9), OP(BPF_ADD, 2, -1), OP(BPF_AND, 2, 255), OP(BPF_LSH, 2, 32), OP(BPF_RSH, 2, 32),
                        OP_REG(BPF_ADD, 2, 2), I(BPF_ALU | BPF_ADD | BPF_X, 2, 2, 0, 0));
        for (unsigned op = 0; op < 0x100; op += 0x10)
                if (op != BPF_ADD && op != BPF_AND && op != BPF_LSH && op != BPF_RSH && op != BPF_MOV) {
                        SOCK_BAD(1, MOV(2, 9), OP(op, 2, 1));
                        SOCK_BAD(2, MOV(2, 9), MOV(3, 1), OP_REG(op, 2, 3));
                }
        SOCK_BAD(2, MOV(2, 9), MOV(3, 1), OP_REG(BPF_LSH, 2, 3));
        SOCK_BAD(2, MOV(2, 9), MOV(3, 1), OP_REG(BPF_AND, 2, 3));
        SOCK_BAD(1, MOV(2, 9), TO_BE(2, 32));
        SOCK_BAD(1, MOV(2, 9), I(BPF_ALU | BPF_END | BPF_TO_LE, 2, 0, 0, 16));
        SOCK_BAD(1, MOV(2, 9), I(BPF_ALU64 | BPF_END | BPF_TO_LE, 2, 0, 0, 16));
        SOCK_BAD(1, MOV(2, 9), I(BPF_ALU64 | BPF_MOV | BPF_X, 3, 2, 8, 0));
        SOCK_BAD(0, OP(BPF_ADD, 2, 1));
        SOCK_BAD(0, COPY(2, 3));
        SOCK_BAD(0, COPY(2, 12));
        SOCK_BAD(0, MOV(11, 0));
}

Test(bpf_compiled, one_helper) {
        SOCK_GOOD(MOV(3, 0), LOOK_UP(3));
        FACE_GOOD(MOV(3, 0), LOOK_UP(3));
        for (int helper = 0; helper < 256; helper++)
                if (helper != 1)
                        BOTH_BAD(6, MOV(3, 0), STORE(BPF_W, 10, 3, -4), PLACE(2, -4), MAP(1, 5),
                                        CALL(helper));
        BOTH_BAD(6, MOV(3, 0), STORE(BPF_W, 10, 3, -4), PLACE(2, -4), MAP(1, 5),
                        I(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 1));
        BOTH_BAD(6, MOV(3, 0), STORE(BPF_W, 10, 3, -4), PLACE(2, -4), MAP(1, 5),
                        I(BPF_JMP | BPF_CALL, 0, 2, 0, 1));
        BOTH_BAD(6, MOV(3, 0), STORE(BPF_W, 10, 3, -4), PLACE(2, -4), MAP(1, 5),
                        I(BPF_JMP32 | BPF_CALL, 0, 0, 0, 1));
        BOTH_BAD(6, MOV(3, 0), STORE(BPF_W, 10, 3, -4), PLACE(2, -4), MAP(1, 5),
                        I(BPF_JMP | BPF_CALL, 0, 0, 1, 1));
        /* The context for a map, a map for a place, the frame pointer itself, a number. */
        BOTH_BAD(3, STORE_IMM(10, -4, 0), PLACE(2, -4), CALL(1));
        BOTH_BAD(4, MAP(1, 5), MAP(2, 5), CALL(1));
        BOTH_BAD(3, MAP(1, 5), COPY(2, 10), CALL(1));
        BOTH_BAD(3, MAP(1, 5), MOV(2, 0), CALL(1));
        FACE_BAD(4, VALUE(1, 0), PLACE(2, -4), CALL(1));
        /* A call leaves nothing in the registers of its arguments. */
        BOTH_BAD(7, MOV(3, 0), LOOK_UP(3), COPY(4, 3));
        BOTH_BAD(7, MOV(3, 0), LOOK_UP(3), CALL(1));
}

Test(bpf_compiled, ways_meet_and_go_back) {
        const struct bpf_insn filler = MOV(3, 0);
        struct bpf_insn many[COMPILED_INSTRUCTIONS_MAX + 1];

        /* Once it's the context, the second time a number. */
        SOCK_BAD(1, COPY(6, 1), LOAD(BPF_W, 2, 6, 24), MOV(6, 0), JUMP(BPF_JNE, 2, 0, -3));
        /* A place that's computed anew each time is fine; one that goes on isn't. */
        SOCK_GOOD(MOV(8, 0), STORE(BPF_W, 10, 8, -4), PLACE(2, -4), MAP(1, 5), CALL(1), OP(BPF_ADD, 8, 1),
                        JUMP(BPF_JNE, 8, 16, -8));
        SOCK_BAD(2, MOV(8, 0), COPY(2, 10), OP(BPF_ADD, 2, -4), OP(BPF_ADD, 8, 1), JUMP(BPF_JNE, 8, 16, -3));
        /* What was found in one round is nothing in the next. */
        SOCK_BAD(3, MOV(8, 0), MOV(0, 0), GOTO(1), LOAD(BPF_W, 2, 0, 0), JUMP(BPF_JNE, 8, 16, -2));
        /* Targets. */
        SOCK_BAD(0, GOTO(-2));
        SOCK_BAD(0, GOTO(3));
        SOCK_BAD(0, GOTO(0x7fff));
        SOCK_BAD(0, GOTO(-0x8000));
        SOCK_BAD(0, I(BPF_JMP32 | BPF_JA, 0, 0, 0, 0));
        SOCK_BAD(0, I(BPF_JMP | 0xe0, 0, 0, 0, 0)); /* may_goto */
        SOCK_BAD(1, MOV(2, 0), JUMP(BPF_JSGT, 2, 0, 0));
        SOCK_BAD(1, MOV(2, 0), JUMP(BPF_JSET, 2, 0, 0));
        SOCK_BAD(1, MOV(2, 0), I(BPF_JMP | BPF_JEQ | BPF_K, 2, 3, 0, 0));
        BOTH_BAD(3, MOV(2, 0), JUMP(BPF_JEQ, 2, 0, 1), MAP(1, 5)); /* into the second half */
        BOTH_BAD(2, MOV(2, 0), GOTO(1), MOV(3, 0));                /* what's never reached */
        BAD(0, INSTRUCTIONS_SOCK_ADDR, MOV(0, 1));
        BAD(0, INSTRUCTIONS_SOCK_ADDR, I(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, 5));
        SOCK_BAD(0, I(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, 5), I(0, 0, 0, 0, 1));
        SOCK_BAD(0, I(BPF_LD | BPF_IMM | BPF_DW, 1, 5, 0, 5), I(0, 0, 0, 0, 0)); /* a map by its index */
        SOCK_BAD(0, I(BPF_LD | BPF_IMM | BPF_DW, 10, 0, 0, 5), I(0, 0, 0, 0, 0));
        SOCK_BAD(0, I(BPF_LD | BPF_ABS | BPF_W, 0, 0, 0, 0));

        for (size_t i = 0; i < G_N_ELEMENTS(many); i++)
                many[i] = filler;
        many[G_N_ELEMENTS(many) - 3] = (struct bpf_insn) MOV(0, 1);
        many[G_N_ELEMENTS(many) - 2] = many[G_N_ELEMENTS(many) - 1] = (struct bpf_insn) EXIT;
        cr_expect_eq(instruction_check(INSTRUCTIONS_SOCK_ADDR, many, COMPILED_INSTRUCTIONS_MAX, NULL), 0);
        cr_expect_eq(instruction_check(INSTRUCTIONS_SOCK_ADDR, many, COMPILED_INSTRUCTIONS_MAX + 1, NULL),
                        -EPERM);
}
