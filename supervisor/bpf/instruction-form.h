/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Forms of instructions that are the same in all sets. A field that means nothing there must be zero: a later
 * kernel may give it a meaning. */

#include <linux/bpf.h>
#include <stdbool.h>

/* How many registers can be written; and the one that can only be read. */
#define N_REGISTERS   10
#define FRAME_POINTER 10

#define STACK_SIZE 512

/* Helpers, by their number. */
#define HELPER_MAP_LOOKUP_ELEM 1
#define HELPER_SKB_LOAD_BYTES  26

/* How many bytes a load or store is about. */
unsigned instruction_size(const struct bpf_insn *insn);

/* Is the second operand the register that's named, or else the number? */
bool instruction_is_by_register(const struct bpf_insn *insn);

/* Is the one that isn't the operand zero? */
bool instruction_has_one_operand(const struct bpf_insn *insn);

/* "exit", "goto", and the call of a helper: exactly these. */
bool instruction_is_exit(const struct bpf_insn *insn);
bool instruction_is_goto(const struct bpf_insn *insn);
bool instruction_is_helper_call(const struct bpf_insn *insn);

/* The address of a map, or of a map's value, or a number of 64 bits: two instructions wide. */
bool instruction_is_wide(const struct bpf_insn *insn);
/* The second half of such, whose number is anything. */
bool instruction_is_second_half(const struct bpf_insn *insn);
