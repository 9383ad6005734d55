/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From a program that was copied and checked to one in the kernel that the caller has. */

#include "supervisor/bpf/command.h"
#include "supervisor/bpf/program.h"

/* How the kernel is asked for it. */
typedef struct LoadMode {
        uint32_t flags;
        CapabilitySet capabilities;
        bool long_lasting; /* the verifier may take seconds: one at a time for each target */
        /* Not zero: if the verifier doesn't take it, once more with these, and without a log. Who has
         * CAP_PERFMON is told in it where in the kernel the maps are. So the caller has the log of the first
         * attempt, if that's why, and an empty one if it's been loaded. */
        CapabilitySet second;
} LoadMode;

/* Reads all that the program is made of, with up to "max_maps" maps (0: they aren't looked at), and opens the
 * memory that results go to. Call it before caller_verify(). Return: as program_read() and
 * program_copy_maps(). */
int bpf_load_prepare(BpfRequest *b, size_t max_maps, Program *p);

/* Loads it as the caller, within its MaxPrograms=, and gives it a descriptor. A predecessor may have done so
 * already. Return: the descriptor, or the negative errno that the caller would see. */
int bpf_load_and_give(BpfRequest *b, const LoadMode *mode, const Program *p);

/* A number of instructions that no kernel takes? */
bool bpf_load_is_impossible(const BpfLoad *load);

/* What the kernel says to that. Whether it does before it looks at the license depends on its version, so
 * it's asked; it doesn't come as far as the instructions. */
Verdict bpf_load_impossible(BpfRequest *b, CapabilitySet capabilities, int64_t *ret_result);

/* Refuses, with what's asked for and "why" (may be NULL). */
Verdict bpf_refuse_load(BpfRequest *b, Reason reason, const char *hint, const char *why);
Verdict bpf_refuse_instruction(BpfRequest *b, const char *hint, size_t at);
