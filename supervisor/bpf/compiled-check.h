/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The sets of instructions that compiled programs need: INSTRUCTIONS_INTERFACE and INSTRUCTIONS_SOCK_ADDR.
 *
 * What a register holds is followed more closely than for the other sets, as these programs read memory that
 * isn't the context. It's one of a few kinds of things, and each has its uses and no others:
 *   - the context: its fields are loaded, those that are named in the set;
 *   - numbers: counted with, if the set has that, compared, and put on the stack;
 *   - the frame pointer: a constant is added to a copy of it, once, and that's the place of a key;
 *   - a map: it's handed to the lookup, with the place of a key;
 *   - an entry that a lookup has found, or not: it's compared with 0, and loaded from;
 *   - the value of a map that programs can't write to: it's loaded from.
 * No pointer is computed with, compared with another, stored, or returned. Only the stack is written to, and
 * nothing of it is read or looked up that wasn't written.
 *
 * All this holds whatever the branches on the way decide. So it holds for a processor too that guesses them
 * wrong: there's nothing that it could load from by mistake but the same few places. Nor can a load overtake
 * the store before it and find what others left on the stack: where a store goes is the frame pointer and a
 * constant, which the processor knows at once.
 *
 * The program returns 0 or 1, which is seen from the instructions alone. (A kernel takes more from some: 2
 * and 3 of BPF_CGROUP_INET4_BIND let a process bind to ports below 1024, a privilege that isn't lent.) */

#include "supervisor/bpf/instruction-check.h"

/* Longer ones aren't needed, and with loops each instruction counts many times for the verifier. */
#define COMPILED_INSTRUCTIONS_MAX 256u

/* What such a program may use of the stack. */
#define COMPILED_STACK_SIZE 64

/* As instruction_check(), and "ret_index" isn't NULL. Unreachable instructions aren't allowed either. */
int compiled_check(InstructionSet set, const struct bpf_insn *insns, size_t n, size_t *ret_index);
