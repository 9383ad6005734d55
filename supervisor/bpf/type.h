/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What's lent by which word of the policy (POLICY_BPF_*): types of programs with their instructions, places
 * to attach them, and maps. */

#include <stdbool.h>
#include <stdint.h>

#include "supervisor/bpf/attr.h"
#include "supervisor/bpf/instruction-check.h"

#define INSTRUCTION_SET_BIT(set) (1u << (set))

/* The sets of instructions (INSTRUCTION_SET_BIT()) of which a program of this type may be, one of them, if
 * the policy has all of these words. */
unsigned bpf_program_sets(uint32_t type, unsigned lent);
/* The same, to be attached there. (Most types don't say so when they're loaded, which is 0.) */
unsigned bpf_program_sets_for(uint32_t type, uint32_t attach_type, unsigned lent);

const char *bpf_program_name(uint32_t type);

/* The words of which any lends this place, and these programs there; 0: none does. */
unsigned bpf_attach_type_policy(uint32_t attach_type);
unsigned bpf_program_policy(uint32_t type);

/* The type of programs that are attached there. */
uint32_t bpf_attach_type_program(uint32_t attach_type);

/* May a map of this kind and size be made, if the policy has all of these words? */
bool bpf_map_kind_is_lent(const BpfMapCreate *map, unsigned lent);

/* How a program names a map. */
typedef enum MapUse {
        MAP_USE_LOOKUP = 1, /* by the map's address */
        MAP_USE_VALUE = 2,  /* by the address of its value */
} MapUse;

/* May a program of this set name maps of this kind in this way? */
bool bpf_map_suits(InstructionSet set, MapUse use, uint32_t type, uint32_t flags);

/* "AllowProgram=" line for the first of these words, or NULL. */
const char *bpf_hint(unsigned words);
/* For such a map, unless it's lent and refused for another reason. */
const char *bpf_map_hint(const BpfMapCreate *map, unsigned lent);
/* For a program of this type and set. */
const char *bpf_set_hint(uint32_t type, InstructionSet set);
