/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a file system of type bpf delegates to those who make tokens of it (BPF_TOKEN_CREATE, since Linux
 * 6.9): four sets, each with an option of its own at mount, in the kernel's words: delegate_cmds=prog_load,
 * delegate_progs=xdp:sched_cls.
 *
 * Known are the names of what may be delegated at all. That leaves out what's for tracing, security modules
 * and parts of the kernel itself, by which the host's programs could be changed. */

#include <stdbool.h>
#include <stdint.h>

typedef enum BpfDelegated {
        BPF_DELEGATED_COMMANDS,
        BPF_DELEGATED_MAPS,
        BPF_DELEGATED_PROGRAMS,
        BPF_DELEGATED_ATTACH_TYPES,
        _BPF_DELEGATED_MAX,
        _BPF_DELEGATED_INVALID = -1,
} BpfDelegated;

/* Bit N stands for value N of enum bpf_cmd, bpf_map_type, bpf_prog_type, bpf_attach_type. */
typedef struct BpfDelegation {
        uint64_t bits[_BPF_DELEGATED_MAX];
} BpfDelegation;

/* The name of the mount's option, and which one it is (or _BPF_DELEGATED_INVALID). */
const char *bpf_delegated_option(BpfDelegated which);
BpfDelegated bpf_delegated_from_option(const char *name);

/* Adds what the option's value says: names or numbers (of bits; 0: none), separated by colons. Return: 0; or
 * -EINVAL and nothing is added, with a copy of the part that's unknown or never delegated in *ret_bad (may be
 * NULL; to be freed). */
int bpf_delegation_add(BpfDelegation *d, BpfDelegated which, const char *value, char **ret_bad);

bool bpf_delegation_is_empty(const BpfDelegation *d);

/* Is all of "part" in "whole"? */
bool bpf_delegation_contains(const BpfDelegation *whole, const BpfDelegation *part);

/* The name of a bit that may be delegated, or NULL. */
const char *bpf_delegated_name(BpfDelegated which, unsigned bit);
