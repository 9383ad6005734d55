/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A program as a caller has written it, copied: what's checked is what the kernel gets. */

#include <linux/bpf.h>
#include <stddef.h>

#include "supervisor/bpf/attr.h"
#include "supervisor/caller.h"

/* What the kernel takes from those who may load programs (BPF_COMPLEXITY_LIMIT_INSNS), and how many maps one
 * may name (MAX_USED_MAPS). */
#define PROGRAM_INSTRUCTIONS_MAX 1000000u
#define PROGRAM_MAPS_MAX         64u

typedef struct ProgramMap {
        int fd;        /* a copy of the caller's descriptor */
        int number;    /* which that is */
        unsigned uses; /* MapUse, how it's named */
} ProgramMap;

typedef struct Program {
        struct bpf_insn *insns;
        size_t n;
        char license[BPF_LICENSE_SIZE];
        ProgramMap maps[PROGRAM_MAPS_MAX];
        size_t n_maps;
} Program;

/* The license, cut where the kernel cuts it. Return: 0 or a negative errno. */
int program_read_license(const Caller *caller, uint64_t address, char ret[BPF_LICENSE_SIZE]);

/* Reads instructions and license. Call program_done() in any case, on a Program that was all zero before.
 * Return: 0; -EFAULT as the kernel; -ENOMEM; another negative errno. */
int program_read(const Caller *caller, const BpfLoad *load, Program *ret);

/* Copies the descriptors of the maps that the instructions name, no more than "max" of them, and puts the
 * copies in their places: which they'd be in an array of the caller's, too (where there's none, these
 * instructions stay as they are). Call it before caller_verify(). Return: 0; -EBADF, -EINVAL or -EFAULT as
 * the kernel; -E2BIG if they are too many; another negative errno. */
int program_copy_maps(const Caller *caller, const BpfLoad *load, size_t max, Program *p);

void program_done(Program *p);
