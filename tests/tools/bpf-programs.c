/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf-programs.h"

#define PROGRAM(name, type, attach_type, ...)                                                                \
        {                                                                                                    \
                name, type, attach_type, ELEMENTSOF(((struct bpf_insn[]){ __VA_ARGS__ })),                   \
                                (struct bpf_insn[]) {                                                        \
                        __VA_ARGS__                                                                          \
                }                                                                                            \
        }
#define SOCKET(name, ...) PROGRAM(name, 1, 0, __VA_ARGS__)
#define DEVICE(name, ...) PROGRAM(name, 15, 0, __VA_ARGS__)
#define SKB(name, ...)    PROGRAM(name, 8, 1, __VA_ARGS__)
#define BIND4(name, ...)  PROGRAM(name, 18, 8, __VA_ARGS__)
#define CLS(name, ...)    PROGRAM(name, 3, 0, __VA_ARGS__)
#define BIND6(name, ...)  PROGRAM(name, 18, 9, __VA_ARGS__)

/* Looks up a number, that's on the stack then, in the map: r0. */
#define LOOK_UP(number) STORE(BPF_W, 10, number, -4), COPY(2, 10), ADD(2, -4), MAP(1), CALL(1)

/* Is the port in one of 16 entries? The loop goes back to LOOK_UP(). */
#define PORT_IN_LIST(found, otherwise)                                                                       \
        COPY(7, 1), LOAD(BPF_W, 6, 7, 24), TO_BE16(6), MOV(8, 0), LOOK_UP(8), JEQ(0, 0, 4),                  \
                        LOAD(BPF_W, 1, 0, 0), JEQ_REG(1, 6, 4), ADD(8, 1), JNE(8, 16, -11),                  \
                        MOV(0, otherwise), EXIT, MOV(0, found), EXIT

static Kind kinds[] = {
        DEVICE("allow", MOV(0, 1), EXIT),
        DEVICE("deny", MOV(0, 0), EXIT),
        DEVICE("deny-zero", LOAD(BPF_W, 4, 1, 4), LOAD(BPF_W, 5, 1, 8), MOV(0, 1), JNE(4, 1, 2), JNE(5, 5, 1),
                        MOV(0, 0), EXIT),
        DEVICE("constant", MOV(0, 1), EXIT),
        DEVICE("call", CALL(5), MOV(0, 1), EXIT),
        DEVICE("set-retval", MOV(1, 0), CALL(187), MOV(0, 1), EXIT),
        PROGRAM("read-kernel", 15, 6, COPY(1, 10), ADD(1, -8), MOV(2, 8), MOV(3, 4096), CALL(113), MOV(0, 1),
                        EXIT),
        DEVICE("loop", MOV(1, 0), ADD(1, 1), JNE(1, 8, -2), EXIT),
        SKB("skb-allow", LOAD(BPF_W, 2, 1, 16), MOV(0, 1), EXIT),
        SKB("skb-deny", LOAD(BPF_W, 2, 1, 16), MOV(0, 0), EXIT),
        PROGRAM("skb-constant", 8, 0, MOV(0, 1), EXIT),
        SKB("skb-map", MOV(0, 0), LOOK_UP(0), MOV(0, 1), JUMP(0), EXIT),
        SOCKET("socket", LOAD(BPF_W, 0, 1, 0), EXIT),
        SOCKET("socket-constant", MOV(0, 0), EXIT),
        SOCKET("socket-global", MAP_VALUE(1, 16), INSN(BPF_ST | BPF_MEM | BPF_DW, 1, 0, 0, 42), MOV(0, 0),
                        EXIT),
        SOCKET("socket-global-43", MAP_VALUE(1, 16), INSN(BPF_ST | BPF_MEM | BPF_DW, 1, 0, 0, 43), MOV(0, 0),
                        EXIT),
        PROGRAM("kprobe", 2, 0, MOV(0, 0), EXIT),

        /* Interfaces: the first byte of the value says whether those in the list are allowed or denied. */
        SKB("interface", LOAD(BPF_W, 1, 1, 40), LOOK_UP(1), MAP_VALUE(1, 0), LOAD(BPF_B, 1, 1, 0),
                        JEQ(1, 0, 4), MOV(1, 0), JEQ(0, 0, 5), MOV(1, 1), JUMP(3), MOV(1, 1), JEQ(0, 0, 1),
                        MOV(1, 0), COPY(0, 1), EXIT),
        SKB("interface-plain", LOAD(BPF_W, 1, 1, 40), MOV(0, 1), EXIT),
        SKB("interface-backward", LOAD(BPF_W, 1, 1, 40), LOOK_UP(1), JEQ(0, 0, 2), MOV(0, 1), EXIT, MOV(0, 0),
                        JUMP(-3)),
        SKB("interface-number", LOAD(BPF_W, 1, 1, 40), ADD(1, 1), LOOK_UP(1), MOV(0, 1), EXIT),
        SKB("interface-mark", LOAD(BPF_W, 1, 1, 8), LOOK_UP(1), MOV(0, 1), EXIT),
        SKB("interface-write", MOV(2, 1), STORE(BPF_W, 1, 2, 8), MOV(0, 1), EXIT),
        SKB("interface-count", LOAD(BPF_W, 1, 1, 40), LOOK_UP(1), JEQ(0, 0, 2), MOV(1, 1),
                        STORE(BPF_B, 0, 1, 0), MOV(0, 1), EXIT),
        SKB("interface-result", LOAD(BPF_W, 1, 1, 40), LOOK_UP(1), MOV(0, 2), EXIT),

        /* Ports. */
        BIND4("bind-allow", MOV(0, 1), EXIT),
        BIND4("bind-deny", MOV(0, 0), EXIT),
        BIND6("bind6-deny", MOV(0, 0), EXIT),
        BIND4("bind-list", PORT_IN_LIST(0, 1)),
        BIND6("bind6-list", PORT_IN_LIST(0, 1)),
        /* Lets a process bind where it takes a capability. */
        BIND4("bind-privileged", MOV(0, 3), EXIT),
        BIND4("bind-privileged-2", LOAD(BPF_W, 0, 1, 24), EXIT),
        BIND4("bind-privileged-3", MOV(0, 1), ADD(0, 2), EXIT),
        BIND4("bind-privileged-4", LOAD(BPF_W, 2, 1, 24), MOV(0, 1), JEQ(2, 0, 1), MOV(0, 3), EXIT),
        /* Another port than what was asked for. */
        BIND4("bind-rewrite", MOV(2, 80), STORE(BPF_W, 1, 2, 24), MOV(0, 1), EXIT),
        BIND4("bind-rewrite-copy", COPY(6, 1), STORE_IMM(6, 24, 80), MOV(0, 1), EXIT),
        BIND4("bind-rewrite-add", MOV(2, 80), ADD(1, 24), STORE(BPF_W, 1, 2, 0), MOV(0, 1), EXIT),
        BIND4("bind-arithmetic", COPY(2, 1), ADD(2, 4), LOAD(BPF_W, 3, 2, 0), MOV(0, 1), EXIT),
        BIND4("bind-variable", LOAD(BPF_W, 3, 1, 24), ADD_REG(1, 3), LOAD(BPF_W, 3, 1, 0), MOV(0, 1), EXIT),
        BIND4("bind-address", LOAD(BPF_W, 2, 1, 4), MOV(0, 1), EXIT),
        BIND4("bind-socket", LOAD(BPF_DW, 2, 1, 64), MOV(0, 1), EXIT),
        BIND4("bind-helper", MOV(1, 0), CALL(187), MOV(0, 1), EXIT),
        BIND4("bind-bind", COPY(2, 10), ADD(2, -16), MOV(3, 16), CALL(64), MOV(0, 1), EXIT),
        BIND4("bind-function", INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 1), EXIT, MOV(0, 1), EXIT),
        BIND4("bind-kernel-function", KERNEL_CALL(1), MOV(0, 1), EXIT),
        BIND4("bind-delete", MOV(3, 0), STORE(BPF_W, 10, 3, -4), COPY(2, 10), ADD(2, -4), MAP(1), CALL(3),
                        MOV(0, 1), EXIT),
        BIND4("bind-map-write", MOV(3, 0), LOOK_UP(3), JEQ(0, 0, 2), MOV(1, 0), STORE(BPF_W, 0, 1, 0),
                        MOV(0, 1), EXIT),
        BIND4("bind-map-offset", MOV(3, 0), LOOK_UP(3), JEQ(0, 0, 2), ADD(0, 4), LOAD(BPF_W, 1, 0, 0),
                        MOV(0, 1), EXIT),
        BIND4("bind-map-twice", MOV(3, 0), LOOK_UP(3), JEQ(0, 0, 3), COPY(1, 0), COPY(2, 10), CALL(1),
                        MOV(0, 1), EXIT),
        BIND4("bind-unchecked", LOAD(BPF_W, 3, 1, 24), LOOK_UP(3), LOAD(BPF_W, 1, 0, 0), MOV(0, 1), EXIT),
        BIND4("bind-endless", MOV(0, 1), JUMP(-1), EXIT),
        BIND4("bind-unbounded", LOAD(BPF_W, 2, 1, 24), MOV(0, 1), JNE(2, 5, -2), EXIT),
        BIND4("bind-unbounded-list", LOAD(BPF_W, 6, 1, 24), LOOK_UP(6), MOV(0, 1), JNE(6, 5, -2), EXIT),
        BIND4("bind-may-goto", MOV(0, 1), INSN(BPF_JMP | 0xe0, 0, 0, 0, 0), EXIT),
        BIND4("bind-spill", STORE(BPF_DW, 10, 1, -8), MOV(0, 1), EXIT),
        BIND4("bind-value", MAP_VALUE(1, 0), LOAD(BPF_W, 1, 1, 0), MOV(0, 1), EXIT),
        PROGRAM("bind-connect", 18, 10, MOV(0, 1), EXIT),
        PROGRAM("bind-connect-privileged", 18, 10, MOV(0, 3), EXIT),
        PROGRAM("bind-sendmsg", 18, 14, MOV(0, 1), EXIT),

        /* Of a type that's lent by a token only. */
        CLS("cls", MOV(0, 0), EXIT),
        CLS("cls-context", LOAD(BPF_W, 2, 1, 0), STORE(BPF_W, 1, 2, 8), MOV(0, 0), EXIT),
        CLS("cls-time", CALL(5), MOV(0, 0), EXIT),
        CLS("cls-map", MOV(3, 0), LOOK_UP(3), MOV(0, 0), EXIT),
        CLS("cls-map-only", MAP(1), MOV(0, 0), EXIT),
        CLS("cls-value", MAP_VALUE(1, 0), LOAD(BPF_DW, 2, 1, 0), MOV(0, 0), EXIT),
        CLS("cls-by-index", MOV(3, 0), STORE(BPF_W, 10, 3, -4), COPY(2, 10), ADD(2, -4),
                        WIDE(1, BPF_PSEUDO_MAP_IDX, 1), CALL(1), WIDE(1, BPF_PSEUDO_MAP_IDX_VALUE, 0),
                        LOAD(BPF_DW, 2, 1, 0), MOV(0, 0), EXIT),
        CLS("cls-function", INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 1), EXIT, MOV(0, 0), EXIT),
        CLS("cls-endless", MOV(0, 0), JUMP(-1), EXIT),
        CLS("cls-pointer", COPY(0, 1), EXIT),
        CLS("cls-pointer-in-map", MOV(3, 0), LOOK_UP(3), JEQ(0, 0, 1), STORE(BPF_DW, 0, 10, 0), MOV(0, 0),
                        EXIT),
        CLS("cls-pointer-compared", COPY(2, 10), JEQ_REG(2, 1, 0), MOV(0, 0), EXIT),
        CLS("cls-stack", LOAD(BPF_DW, 0, 10, -8), EXIT),
        CLS("cls-packet", LOAD(BPF_W, 2, 1, 76), LOAD(BPF_B, 0, 2, 0), EXIT),
        /* What the verifier isn't shown. */
        CLS("cls-kernel-function", KERNEL_CALL(1), MOV(0, 0), EXIT),
        CLS("cls-kernel-variable", WIDE(1, 3, 1), MOV(0, 0), EXIT),
        CLS("cls-callback", WIDE(2, 4, 7), MOV(1, 8), MOV(3, 0), MOV(4, 0), CALL(181), MOV(0, 0), EXIT,
                        MOV(0, 0), EXIT),
        CLS("cls-callback-unused", WIDE(2, 4, 2), MOV(0, 0), EXIT, MOV(0, 0), EXIT),
        CLS("cls-may-goto", MOV(0, 0), INSN(BPF_JMP | 0xe0, 0, 0, 0, 0), EXIT),
        CLS("cls-jump-to-register", MOV(0, 0), INSN(BPF_JMP | BPF_JA | BPF_X, 0, 0, 0, 0), EXIT),
        CLS("cls-call-register", MOV(0, 0), INSN(BPF_JMP | BPF_CALL | BPF_X, 0, 0, 0, 0), EXIT),
        CLS("cls-other-memory", MOV(0, 0), INSN(BPF_ALU64 | BPF_MOV | BPF_X, 0, 0, 1, 1), EXIT),
        CLS("cls-unknown", MOV(0, 0), INSN(BPF_JMP | 0xf0, 0, 0, 0, 0), EXIT),
        CLS("cls-half", MOV(0, 0), EXIT, INSN(BPF_LD | BPF_IMM | BPF_DW, 1, 0, 0, 0)),
        CLS("cls-read-kernel", COPY(1, 10), ADD(1, -8), MOV(2, 8), MOV(3, 4096), CALL(113), MOV(0, 0), EXIT),
        CLS("cls-signal", MOV(1, 9), CALL(109), MOV(0, 0), EXIT),
        CLS("cls-task", CALL(35), MOV(0, 0), EXIT),
        CLS("cls-process", CALL(14), MOV(0, 0), EXIT),
        CLS("cls-print", CALL(6), MOV(0, 0), EXIT),
        CLS("cls-format", CALL(165), MOV(0, 0), EXIT),
        CLS("cls-socket-of-others", CALL(84), MOV(0, 0), EXIT),
        CLS("cls-to-peer", MOV(1, 1), MOV(2, 0), CALL(155), EXIT),
        CLS("cls-timer", CALL(169), MOV(0, 0), EXIT),
        CLS("cls-set-result", MOV(1, 0), CALL(187), MOV(0, 0), EXIT),
        CLS("cls-tail-call", CALL(12), MOV(0, 0), EXIT),
        CLS("cls-clone", MOV(2, 1), MOV(3, 0), CALL(13), MOV(0, 0), EXIT),
        CLS("cls-socket", CALL(47), MOV(0, 0), EXIT),
        CLS("cls-cookie", CALL(110), MOV(0, 0), EXIT),
        CLS("cls-socket-of-packet", LOAD(BPF_DW, 2, 1, 168), MOV(0, 0), EXIT),
        CLS("cls-helper-of-tomorrow", CALL(212), MOV(0, 0), EXIT),
        CLS("cls-helper-none", CALL(-1), MOV(0, 0), EXIT),
};

static const MapKind map_kinds[] = {
        { "lpm", 11, 8, 8, 2, BPF_F_NO_PREALLOC },
        { "lpm6", 11, 20, 8, 2, BPF_F_NO_PREALLOC },
        { "array", 2, 4, 8, 2, 0 },
        { "big", 2, 4, 8, 1000000, 0 },
        { "wide", 2, 4, 65, 2, 0 },
        { "huge", 2, 4, 16385, 2, 0 },
        { "hash-long-key", 1, 257, 8, 2, 0 },
        { "lpm-long-key", 11, 21, 8, 2, BPF_F_NO_PREALLOC },
        { "read-only", 2, 4, 8, 1, 1u << 3 }, /* BPF_F_RDONLY, which is about the descriptor */
        { "write-only-descriptor", 2, 4, 8, 1, 1u << 4 },
        { "list", 2, 4, 8, 16, 0 },
        { "global", 2, 4, 32, 1, 0 },
        { "hash", 1, 4, 8, 2, 0 },
        { "hash-wide-key", 1, 8, 8, 2, 0 },
        { "hash-no-prealloc", 1, 4, 8, 2, BPF_F_NO_PREALLOC },
        { "value", 2, 4, 8, 1, 1u << 7 },      /* BPF_F_RDONLY_PROG */
        { "mapped", 2, 4, 8, 1, 1u << 10 },    /* BPF_F_MMAPABLE */
        { "write-only", 2, 4, 8, 1, 1u << 8 }, /* BPF_F_WRONLY_PROG */
        { "programs", 3, 4, 4, 1, 0 },
        { "maps", 12, 4, 4, 1, 0 },
        { "ring", 27, 0, 0, 4096, 0 },
        { "ring-large", 27, 0, 0, 131072, 0 },
        { "storage", 19, 8, 8, 0, 0 },
};

Kind *find_kind(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
                if (strcmp(kinds[i].name, name) == 0)
                        return kinds + i;
        fprintf(stderr, "bpf-calls: no such kind: %s\n", name);
        exit(125);
}

const MapKind *find_map_kind(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(map_kinds); i++)
                if (strcmp(map_kinds[i].name, name) == 0)
                        return map_kinds + i;
        fprintf(stderr, "bpf-calls: no such kind of map: %s\n", name);
        exit(125);
}
