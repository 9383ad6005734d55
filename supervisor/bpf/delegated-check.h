/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What's looked at in the instructions of a program that comes with a token, before the kernel's verifier
 * has all the rest to judge: of these any may be there, in any order, but for those that
 *   - reach beyond the container: functions of the kernel's ("kfuncs") and its variables, by which a program
 *     gets at what belongs to nobody in particular; of the helpers, those that aren't listed.
 *   - have no end: calls back (the address of a function), and jumps that only a counter ends (may_goto).
 * What's left the verifier follows to its end, at most a million instructions, so the program ends as soon.
 *   - call another part of the program: each call takes the verifier half a kilobyte for the stack that there
 * could be.
 *   - are younger than this list. */

#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>

/* "type" is the program's. Return: 0; or -EPERM if one isn't lent, *ret_index (may be NULL) is then which. */
int delegated_check(uint32_t type, const struct bpf_insn *insns, size_t n, size_t *ret_index);
