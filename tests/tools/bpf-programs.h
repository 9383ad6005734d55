/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The programs and maps that bpf-calls has to offer. */

#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>

#define ELEMENTSOF(array) (sizeof(array) / sizeof((array)[0]))

#define INSN(c, d, s, o, i)                                                                                  \
        { .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) }
#define MOV(d, i)            INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define COPY(d, s)           INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define ADD(d, i)            INSN(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, i)
#define ADD_REG(d, s)        INSN(BPF_ALU64 | BPF_ADD | BPF_X, d, s, 0, 0)
#define LOAD(size, d, s, o)  INSN(BPF_LDX | BPF_MEM | (size), d, s, o, 0)
#define STORE(size, d, s, o) INSN(BPF_STX | BPF_MEM | (size), d, s, o, 0)
#define STORE_IMM(d, o, i)   INSN(BPF_ST | BPF_MEM | BPF_W, d, 0, o, i)
#define TO_BE16(d)           INSN(BPF_ALU | BPF_END | BPF_TO_BE, d, 0, 0, 16)
#define JEQ(d, i, o)         INSN(BPF_JMP | BPF_JEQ | BPF_K, d, 0, o, i)
#define JEQ_REG(d, s, o)     INSN(BPF_JMP | BPF_JEQ | BPF_X, d, s, o, 0)
#define JNE(d, i, o)         INSN(BPF_JMP | BPF_JNE | BPF_K, d, 0, o, i)
#define JUMP(o)              INSN(BPF_JMP | BPF_JA, 0, 0, o, 0)
#define EXIT                 INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define CALL(n)              INSN(BPF_JMP | BPF_CALL, 0, 0, 0, n)
/* Of a function of the kernel's, by its number in the type information. */
#define KERNEL_CALL(n)       INSN(BPF_JMP | BPF_CALL, 0, 2, 0, n)
#define WIDE(d, s, i)        INSN(BPF_LD | BPF_IMM | BPF_DW, d, s, 0, i), INSN(0, 0, 0, 0, 0)
/* The descriptor is filled in when it's loaded. */
#define MAP(d)               INSN(BPF_LD | BPF_IMM | BPF_DW, d, BPF_PSEUDO_MAP_FD, 0, 0), INSN(0, 0, 0, 0, 0)
#define MAP_VALUE(d, offset)                                                                                 \
        INSN(BPF_LD | BPF_IMM | BPF_DW, d, BPF_PSEUDO_MAP_VALUE, 0, 0), INSN(0, 0, 0, 0, offset)

/* A program. */
typedef struct Kind {
        const char *name;
        unsigned type;
        unsigned attach_type;
        size_t n;
        struct bpf_insn *insns;
} Kind;

/* Ends the process if there's none. */
Kind *find_kind(const char *name);

typedef struct MapKind {
        const char *name;
        uint32_t type, key_size, value_size, max_entries, flags;
} MapKind;

const MapKind *find_map_kind(const char *name);
