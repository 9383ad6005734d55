/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <glib.h>

#include "policy/policy.h"
#include "supervisor/bpf/type.h"

#define DEVICE    POLICY_BPF_CGROUP_DEVICE
#define SKB       POLICY_BPF_CGROUP_SKB
#define INTERFACE POLICY_BPF_CGROUP_SKB_INTERFACE
#define SOCK_ADDR POLICY_BPF_CGROUP_SOCK_ADDR

#define AT(attach_type) (1u << (attach_type))

/* Places, and what's attached there. */
static const struct {
        uint32_t attach_type;
        uint32_t program;
        unsigned words; /* any of them */
} places[] = {
        { BPF_ATTACH_CGROUP_DEVICE, BPF_PROGRAM_CGROUP_DEVICE, DEVICE },
        { BPF_ATTACH_CGROUP_INET_INGRESS, BPF_PROGRAM_CGROUP_SKB, SKB | INTERFACE },
        { BPF_ATTACH_CGROUP_INET_EGRESS, BPF_PROGRAM_CGROUP_SKB, SKB | INTERFACE },
        { BPF_ATTACH_CGROUP_INET4_BIND, BPF_PROGRAM_CGROUP_SOCK_ADDR, SOCK_ADDR },
        { BPF_ATTACH_CGROUP_INET6_BIND, BPF_PROGRAM_CGROUP_SOCK_ADDR, SOCK_ADDR },
};

/* Programs. Those of the set INSTRUCTIONS_CONSTANT do nothing; libraries load them to find out whether the
 * kernel knows a type. For packets that's even done before a program for devices is attached. One for sockets
 * that does nothing is what anyone may have with SO_ATTACH_FILTER. The one for BPF_CGROUP_INET4_CONNECT,
 * where nothing is ever attached, is held to the rules of the others of its type: BPF_LINK_UPDATE, which is
 * native, puts any program of a type in place of another. */
static const struct {
        uint32_t type;
        uint32_t places; /* AT(), that it may be loaded for */
        unsigned words;  /* any of them */
        InstructionSet set;
} kinds[] = {
        { BPF_PROGRAM_CGROUP_DEVICE, AT(0) | AT(BPF_ATTACH_CGROUP_DEVICE), DEVICE, INSTRUCTIONS_DEVICE },
        { BPF_PROGRAM_CGROUP_SKB, AT(BPF_ATTACH_CGROUP_INET_INGRESS) | AT(BPF_ATTACH_CGROUP_INET_EGRESS), SKB,
                        INSTRUCTIONS_SKB },
        { BPF_PROGRAM_CGROUP_SKB, AT(BPF_ATTACH_CGROUP_INET_INGRESS) | AT(BPF_ATTACH_CGROUP_INET_EGRESS),
                        INTERFACE, INSTRUCTIONS_INTERFACE },
        { BPF_PROGRAM_CGROUP_SKB, AT(BPF_ATTACH_CGROUP_INET_INGRESS) | AT(BPF_ATTACH_CGROUP_INET_EGRESS),
                        DEVICE | SKB | INTERFACE | SOCK_ADDR, INSTRUCTIONS_CONSTANT },
        { BPF_PROGRAM_CGROUP_SOCK_ADDR,
                        AT(BPF_ATTACH_CGROUP_INET4_BIND) | AT(BPF_ATTACH_CGROUP_INET6_BIND) |
                                        AT(BPF_ATTACH_CGROUP_INET4_CONNECT),
                        SOCK_ADDR, INSTRUCTIONS_SOCK_ADDR },
        { BPF_PROGRAM_SOCKET_FILTER, AT(0), INTERFACE | SOCK_ADDR, INSTRUCTIONS_CONSTANT },
        { BPF_PROGRAM_SOCKET_FILTER, AT(0), INTERFACE, INSTRUCTIONS_PROBE },
};

/* Maps. A list of addresses takes an entry for each, counters two altogether. */
static const struct {
        uint32_t type;
        uint32_t flags;
        uint32_t key_size; /* an address behind the length of its prefix, or an interface; 0: the kernel knows
                            */
        uint32_t value_size_max;
        uint32_t entries_max;
        unsigned words; /* any of them */
} maps[] = {
        { BPF_MAP_LPM_TRIE, BPF_MAP_NO_PREALLOC, 4 + 4, BPF_MAP_VALUE_SIZE_MAX, 4096, SKB },
        { BPF_MAP_LPM_TRIE, BPF_MAP_NO_PREALLOC, 4 + 16, BPF_MAP_VALUE_SIZE_MAX, 4096, SKB },
        { BPF_MAP_ARRAY, 0, 0, BPF_MAP_VALUE_SIZE_MAX, 4096, SKB | INTERFACE | SOCK_ADDR },
        { BPF_MAP_HASH, 0, 4, 8, 1024, INTERFACE },
        { BPF_MAP_ARRAY, BPF_MAP_READ_ONLY, 0, BPF_MAP_VALUE_SIZE_MAX, 1, INTERFACE },
};

/* And what programs do with them. */
static const struct {
        InstructionSet set;
        MapUse use;
        uint32_t type;
        uint32_t flags;
} uses[] = {
        { INSTRUCTIONS_SKB, MAP_USE_LOOKUP, BPF_MAP_LPM_TRIE, BPF_MAP_NO_PREALLOC },
        { INSTRUCTIONS_SKB, MAP_USE_LOOKUP, BPF_MAP_ARRAY, 0 },
        { INSTRUCTIONS_INTERFACE, MAP_USE_LOOKUP, BPF_MAP_HASH, 0 },
        { INSTRUCTIONS_INTERFACE, MAP_USE_VALUE, BPF_MAP_ARRAY, BPF_MAP_READ_ONLY },
        { INSTRUCTIONS_SOCK_ADDR, MAP_USE_LOOKUP, BPF_MAP_ARRAY, 0 },
        { INSTRUCTIONS_PROBE, MAP_USE_VALUE, BPF_MAP_ARRAY, 0 },
};

unsigned bpf_program_sets_for(uint32_t type, uint32_t attach_type, unsigned lent) {
        unsigned sets = 0;

        for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
                if (kinds[i].type == type && attach_type < 32 && (kinds[i].places & AT(attach_type)) &&
                                (kinds[i].words & lent))
                        sets |= INSTRUCTION_SET_BIT(kinds[i].set);

        return sets;
}

unsigned bpf_program_sets(uint32_t type, unsigned lent) {
        unsigned sets = 0;

        for (uint32_t attach_type = 0; attach_type < 32; attach_type++)
                sets |= bpf_program_sets_for(type, attach_type, lent);

        return sets;
}

const char *bpf_program_name(uint32_t type) {
        return bpf_delegated_name(BPF_DELEGATED_PROGRAMS, type) ?: "of another type";
}

unsigned bpf_attach_type_policy(uint32_t attach_type) {
        for (size_t i = 0; i < G_N_ELEMENTS(places); i++)
                if (places[i].attach_type == attach_type)
                        return places[i].words;

        return 0;
}

unsigned bpf_program_policy(uint32_t type) {
        for (size_t i = 0; i < G_N_ELEMENTS(places); i++)
                if (places[i].program == type)
                        return places[i].words;

        return 0;
}

uint32_t bpf_attach_type_program(uint32_t attach_type) {
        for (size_t i = 0; i < G_N_ELEMENTS(places); i++)
                if (places[i].attach_type == attach_type)
                        return places[i].program;

        return UINT32_MAX;
}

static unsigned map_words(const BpfMapCreate *map) {
        for (size_t i = 0; i < G_N_ELEMENTS(maps); i++)
                if (maps[i].type == map->type && maps[i].flags == map->flags &&
                                (maps[i].key_size == 0 || maps[i].key_size == map->key_size) &&
                                map->value_size <= maps[i].value_size_max &&
                                map->max_entries <= maps[i].entries_max)
                        return maps[i].words;

        return 0;
}

bool bpf_map_kind_is_lent(const BpfMapCreate *map, unsigned lent) {
        return map_words(map) & lent;
}

bool bpf_map_suits(InstructionSet set, MapUse use, uint32_t type, uint32_t flags) {
        for (size_t i = 0; i < G_N_ELEMENTS(uses); i++)
                if (uses[i].set == set && uses[i].use == use && uses[i].type == type &&
                                uses[i].flags == flags)
                        return true;

        return false;
}

const char *bpf_hint(unsigned words) {
        switch (words & -words) {
        case DEVICE:
                return "[Bpf] AllowProgram=cgroup-device";
        case SKB:
                return "[Bpf] AllowProgram=cgroup-skb";
        case INTERFACE:
                return "[Bpf] AllowProgram=cgroup-skb-interface";
        case SOCK_ADDR:
                return "[Bpf] AllowProgram=cgroup-sock-addr";
        default:
                return NULL;
        }
}

const char *bpf_map_hint(const BpfMapCreate *map, unsigned lent) {
        unsigned words = map_words(map);

        return words & lent ? NULL : bpf_hint(words);
}

const char *bpf_set_hint(uint32_t type, InstructionSet set) {
        for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
                if (kinds[i].type == type && kinds[i].set == set)
                        return bpf_hint(kinds[i].words);

        return NULL;
}
