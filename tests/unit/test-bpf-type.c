/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which word of the policy lends which programs, places and maps. */

#include <criterion/criterion.h>
#include <glib.h>
#include <stdbool.h>

#include "policy/policy.h"
#include "supervisor/bpf/type.h"

#define DEVICE    POLICY_BPF_CGROUP_DEVICE
#define SKB       POLICY_BPF_CGROUP_SKB
#define INTERFACE POLICY_BPF_CGROUP_SKB_INTERFACE
#define SOCK_ADDR POLICY_BPF_CGROUP_SOCK_ADDR
#define ALL       (DEVICE | SKB | INTERFACE | SOCK_ADDR)
#define SET(name) INSTRUCTION_SET_BIT(INSTRUCTIONS_##name)

static unsigned sets(uint32_t type, unsigned lent) {
        return bpf_program_sets(type, lent);
}

/* Each word lends what it's for, and what libraries load to look around. */
Test(bpf_policy, words_and_programs) {
        cr_expect_eq(sets(BPF_PROGRAM_CGROUP_DEVICE, DEVICE), SET(DEVICE));
        cr_expect_eq(sets(BPF_PROGRAM_CGROUP_DEVICE, ALL & ~DEVICE), 0);
        cr_expect_eq(sets(BPF_PROGRAM_CGROUP_SKB, DEVICE), SET(CONSTANT));
        cr_expect_eq(sets(BPF_PROGRAM_CGROUP_SKB, SOCK_ADDR), SET(CONSTANT));
        cr_expect_eq(sets(BPF_PROGRAM_CGROUP_SKB, SKB), SET(CONSTANT) | SET(SKB));
        cr_expect_eq(sets(BPF_PROGRAM_CGROUP_SKB, INTERFACE), SET(CONSTANT) | SET(INTERFACE));
        cr_expect_eq(sets(BPF_PROGRAM_SOCKET_FILTER, DEVICE | SKB), 0);
        cr_expect_eq(sets(BPF_PROGRAM_SOCKET_FILTER, SOCK_ADDR), SET(CONSTANT));
        cr_expect_eq(sets(BPF_PROGRAM_SOCKET_FILTER, INTERFACE), SET(CONSTANT) | SET(PROBE));
        cr_expect_eq(sets(BPF_PROGRAM_CGROUP_SOCK_ADDR, ALL & ~SOCK_ADDR), 0);
        for (uint32_t type = 0; type < 64; type++) {
                cr_expect_eq(sets(type, 0), 0);
                if (type != BPF_PROGRAM_CGROUP_DEVICE && type != BPF_PROGRAM_CGROUP_SKB &&
                                type != BPF_PROGRAM_SOCKET_FILTER && type != BPF_PROGRAM_CGROUP_SOCK_ADDR)
                        cr_expect_eq(sets(type, ALL), 0);
        }
}

/* A constant may be what lends a privilege, if it's returned to bind(2). So there's none for that type, even
 * for a place where nothing is attached: BPF_LINK_UPDATE doesn't look at that. */
Test(bpf_policy, places_of_programs) {
        for (uint32_t place = 0; place < 64; place++) {
                bool is_bind = place == BPF_ATTACH_CGROUP_INET4_BIND || place == BPF_ATTACH_CGROUP_INET6_BIND,
                     is_packet = place <= BPF_ATTACH_CGROUP_INET_EGRESS,
                     is_device = place == BPF_ATTACH_CGROUP_DEVICE;

                cr_expect_eq(bpf_program_sets_for(BPF_PROGRAM_CGROUP_SOCK_ADDR, place, ALL),
                                is_bind || place == BPF_ATTACH_CGROUP_INET4_CONNECT ? SET(SOCK_ADDR) : 0);
                cr_expect_eq(bpf_program_sets_for(BPF_PROGRAM_CGROUP_SKB, place, SKB),
                                is_packet ? SET(SKB) | SET(CONSTANT) : 0);
                cr_expect_eq(bpf_program_sets_for(BPF_PROGRAM_CGROUP_DEVICE, place, ALL),
                                place == 0 || is_device ? SET(DEVICE) : 0);
                cr_expect_eq(bpf_attach_type_policy(place), is_bind     ? SOCK_ADDR
                                                            : is_packet ? SKB | INTERFACE
                                                            : is_device ? DEVICE
                                                                        : 0);
        }
        cr_expect_eq(bpf_attach_type_program(BPF_ATTACH_CGROUP_INET6_BIND), BPF_PROGRAM_CGROUP_SOCK_ADDR);
        cr_expect_str_eq(bpf_set_hint(BPF_PROGRAM_CGROUP_SKB, INSTRUCTIONS_INTERFACE),
                        "[Bpf] AllowProgram=cgroup-skb-interface");
        cr_expect_str_eq(bpf_hint(bpf_program_policy(BPF_PROGRAM_CGROUP_SOCK_ADDR)),
                        "[Bpf] AllowProgram=cgroup-sock-addr");
        cr_expect_null(bpf_hint(0));
}

static bool map_is_lent(uint32_t type, uint32_t key_size, uint32_t flags, unsigned lent) {
        const BpfMapCreate map = {
                .type = type, .key_size = key_size, .flags = flags, .value_size = 8, .max_entries = 1
        };

        return bpf_map_kind_is_lent(&map, lent);
}

Test(bpf_policy, words_and_maps) {
        cr_expect(map_is_lent(BPF_MAP_LPM_TRIE, 8, BPF_MAP_NO_PREALLOC, SKB));
        cr_expect_not(map_is_lent(BPF_MAP_LPM_TRIE, 8, BPF_MAP_NO_PREALLOC, ALL & ~SKB));
        cr_expect_not(map_is_lent(BPF_MAP_LPM_TRIE, 12, BPF_MAP_NO_PREALLOC, ALL));
        cr_expect(map_is_lent(BPF_MAP_ARRAY, 4, 0, SKB));
        cr_expect(map_is_lent(BPF_MAP_ARRAY, 4, 0, SOCK_ADDR));
        cr_expect(map_is_lent(BPF_MAP_ARRAY, 4, 0, INTERFACE));
        cr_expect_not(map_is_lent(BPF_MAP_ARRAY, 4, 0, DEVICE));
        cr_expect(map_is_lent(BPF_MAP_ARRAY, 4, BPF_MAP_READ_ONLY, INTERFACE));
        cr_expect_not(map_is_lent(BPF_MAP_ARRAY, 4, BPF_MAP_READ_ONLY, ALL & ~INTERFACE));
        cr_expect(map_is_lent(BPF_MAP_HASH, 4, 0, INTERFACE));
        cr_expect_not(map_is_lent(BPF_MAP_HASH, 4, 0, ALL & ~INTERFACE));
        cr_expect_not(map_is_lent(BPF_MAP_HASH, 8, 0, ALL));
        for (uint32_t type = 0; type < 64; type++)
                for (unsigned flag = 0; flag < 32; flag++)
                        if ((type != BPF_MAP_LPM_TRIE || flag != 0) && (type != BPF_MAP_ARRAY || flag != 7))
                                cr_expect_not(map_is_lent(type, type == BPF_MAP_LPM_TRIE ? 8 : 4, 1u << flag,
                                                              ALL),
                                                "type %u, flag %u", type, flag);

        const BpfMapCreate large[] = {
                { BPF_MAP_ARRAY, 4, 64, 4096, 0 },
                { BPF_MAP_LPM_TRIE, 8, 64, 4096, BPF_MAP_NO_PREALLOC },
                { BPF_MAP_HASH, 4, 8, 1024, 0 },
                { BPF_MAP_ARRAY, 4, 64, 1, BPF_MAP_READ_ONLY },
        };
        for (size_t i = 0; i < G_N_ELEMENTS(large); i++) {
                BpfMapCreate map = large[i];

                cr_expect(bpf_map_kind_is_lent(&map, ALL));
                map.value_size++;
                cr_expect_not(bpf_map_kind_is_lent(&map, ALL));
                map.value_size--;
                map.max_entries++;
                cr_expect_not(bpf_map_kind_is_lent(&map, ALL));
        }

        /* Programs use those of their word only. */
        cr_expect(bpf_map_suits(INSTRUCTIONS_SOCK_ADDR, MAP_USE_LOOKUP, BPF_MAP_ARRAY, 0));
        cr_expect_not(bpf_map_suits(INSTRUCTIONS_SOCK_ADDR, MAP_USE_LOOKUP, BPF_MAP_HASH, 0));
        cr_expect_not(bpf_map_suits(INSTRUCTIONS_SOCK_ADDR, MAP_USE_VALUE, BPF_MAP_ARRAY, 0));
        cr_expect(bpf_map_suits(INSTRUCTIONS_INTERFACE, MAP_USE_VALUE, BPF_MAP_ARRAY, BPF_MAP_READ_ONLY));
        cr_expect_not(bpf_map_suits(INSTRUCTIONS_INTERFACE, MAP_USE_VALUE, BPF_MAP_ARRAY, 0));
        cr_expect_not(bpf_map_suits(INSTRUCTIONS_SKB, MAP_USE_LOOKUP, BPF_MAP_HASH, 0));
        cr_expect_not(bpf_map_suits(INSTRUCTIONS_SKB, MAP_USE_LOOKUP, BPF_MAP_ARRAY, BPF_MAP_READ_ONLY));
        cr_expect_not(bpf_map_suits(INSTRUCTIONS_DEVICE, MAP_USE_LOOKUP, BPF_MAP_ARRAY, 0));
}
