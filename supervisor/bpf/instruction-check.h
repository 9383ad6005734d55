/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* May a program of a container be given to the kernel's verifier? The verifier decides whether it's safe;
 * what this leaves of the instruction set decides how much of the verifier a container can get at. Most of
 * its mistakes were in what isn't here: pointers that are computed with, loops, calls, memory of many kinds.
 */

#include <linux/bpf.h>
#include <stddef.h>

/* No program may be longer. The longest rule set that a service manager makes of DeviceAllow= has some
 * hundred instructions. The kernel's time for one that does its worst grows with the square: half a second
 * for this many (Linux 6.18; 10 s for 16384). */
#define BPF_INSTRUCTIONS_MAX 4096u

/* Maps that one program may name. */
#define BPF_PROGRAM_MAPS_MAX 16u

/* Nor are there maps with larger values. */
#define BPF_MAP_VALUE_SIZE_MAX 64

typedef enum InstructionSet {
        INSTRUCTIONS_CONSTANT,  /* numbers and forward jumps: what's loaded to find out what the kernel knows
                                 */
        INSTRUCTIONS_DEVICE,    /* and loads from the context, which is all that the rules of devices need */
        INSTRUCTIONS_SKB,       /* and the stack, maps, and two helpers, to look up a packet's address */
        INSTRUCTIONS_PROBE,     /* one certain program of four instructions, of a library that looks around */
        INSTRUCTIONS_INTERFACE, /* a packet's interface is looked up; see compiled-check.h */
        INSTRUCTIONS_SOCK_ADDR, /* an address to bind to is compared with a list, in a loop; likewise */
        _INSTRUCTION_SET_MAX,
} InstructionSet;

/* Looks at each instruction, reachable or not. Return: 0; or -EPERM if one isn't in the set, *ret_index (may
 * be NULL) is then which. */
int instruction_check(InstructionSet set, const struct bpf_insn *insns, size_t n, size_t *ret_index);
