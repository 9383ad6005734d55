/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* [Bpf]: bpf(2): which programs. */

#include <glib.h>
#include <string.h>

#include "policy/section.h"
#include "policy/syntax.h"

static const struct {
        const char *name;
        unsigned program;
} programs[] = {
        { "cgroup-device", POLICY_BPF_CGROUP_DEVICE },
        { "cgroup-skb", POLICY_BPF_CGROUP_SKB },
};

static void parse_allow_program(PolicyLoader *loader, const PolicyKey *key, char *value, void *data) {
        unsigned *set = data;

        if (!*value)
                *set = 0;

        for (char *word; (word = syntax_next_word(&value));) {
                size_t i = 0;

                while (i < G_N_ELEMENTS(programs) && strcmp(programs[i].name, word) != 0)
                        i++;

                if (i == G_N_ELEMENTS(programs))
                        policy_warn(loader, key, "write cgroup-device or cgroup-skb",
                                        "\"%s\" is no type of BPF program that can be lent", word);
                else if (policy_record(loader, key, word, NULL))
                        *set |= programs[i].program;
        }
}

static const PolicyKey keys[] = {
        { "AllowProgram", parse_allow_program, offsetof(Policy, bpf.programs), "", .is_list = true },
        { "MaxPrograms", policy_parse_unsigned, offsetof(Policy, bpf.max_programs), "256", .min = 1,
                        .max = 4096 },
        { "MaxMaps", policy_parse_unsigned, offsetof(Policy, bpf.max_maps), "256", .min = 1, .max = 4096 },
};

static bool bpf_equal(const Policy *a, const Policy *b) {
        return a->bpf.programs == b->bpf.programs && a->bpf.max_programs == b->bpf.max_programs &&
               a->bpf.max_maps == b->bpf.max_maps;
}

extern const PolicySection policy_section_bpf;
const PolicySection policy_section_bpf = {
        .name = "Bpf",
        .keys = keys,
        .n_keys = G_N_ELEMENTS(keys),
        .equal = bpf_equal,
};
