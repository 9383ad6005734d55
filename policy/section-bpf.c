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
        { "cgroup-skb-interface", POLICY_BPF_CGROUP_SKB_INTERFACE },
        { "cgroup-sock-addr", POLICY_BPF_CGROUP_SOCK_ADDR },
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
                        policy_warn(loader, key,
                                        "write cgroup-device, cgroup-skb, cgroup-skb-interface or "
                                        "cgroup-sock-addr",
                                        "\"%s\" is no type of BPF program that can be lent", word);
                else if (policy_record(loader, key, word, NULL))
                        *set |= programs[i].program;
        }
}

static void parse_token(PolicyLoader *loader, const PolicyKey *key, char *value, void *data) {
        BpfDelegation *token = data;

        if (!*value)
                *token = (BpfDelegation){};

        for (char *word; (word = syntax_next_word(&value));) {
                char *equals = strchr(word, '=');
                g_autofree char *bad = NULL, *name = g_strndup(word, equals ? (gsize) (equals - word) : 0);
                BpfDelegated which = bpf_delegated_from_option(name);
                BpfDelegation both = *token;

                if (which == _BPF_DELEGATED_INVALID)
                        policy_warn(loader, key,
                                        "write options of the mount: \"delegate_cmds=prog_load:map_create "
                                        "delegate_maps=… delegate_progs=… delegate_attachs=…\"",
                                        "\"%s\" delegates nothing", word);
                else if (bpf_delegation_add(&both, which, equals + 1, &bad) < 0)
                        policy_warn(loader, key, "see deputyd.policy(5) for what can be",
                                        "\"%s\" of %s can't be delegated", bad, name);
                else if (policy_record(loader, key, word, NULL))
                        *token = both;
        }
}

static const PolicyKey keys[] = {
        { "AllowProgram", parse_allow_program, offsetof(Policy, bpf.programs), "", .is_list = true },
        { "MaxPrograms", policy_parse_unsigned, offsetof(Policy, bpf.max_programs), "256", .min = 1,
                        .max = 4096 },
        { "MaxMaps", policy_parse_unsigned, offsetof(Policy, bpf.max_maps), "256", .min = 1, .max = 4096 },
        { "Token", parse_token, offsetof(Policy, bpf.token), "", .is_list = true },
};

static bool bpf_equal(const Policy *a, const Policy *b) {
        return a->bpf.programs == b->bpf.programs && a->bpf.max_programs == b->bpf.max_programs &&
               a->bpf.max_maps == b->bpf.max_maps && bpf_delegation_contains(&a->bpf.token, &b->bpf.token) &&
               bpf_delegation_contains(&b->bpf.token, &a->bpf.token);
}

extern const PolicySection policy_section_bpf;
const PolicySection policy_section_bpf = {
        .name = "Bpf",
        .keys = keys,
        .n_keys = G_N_ELEMENTS(keys),
        .equal = bpf_equal,
};

bool policy_allows_bpf_token(const Policy *policy) {
        g_assert(policy);

        /* The kernel attaches programs to cgroups, any that can be opened, without asking for a capability.
         * Who couldn't load any had no use of that; who can must be kept from it (call_is_guarded()). */
        return call_set_contains(policy_intercepted_calls(policy), CALL_BPF) &&
               !bpf_delegation_is_empty(&policy->bpf.token);
}

bool policy_allows_bpf_delegation(const Policy *policy, const char *option, const char *value) {
        BpfDelegated which = bpf_delegated_from_option(option);
        BpfDelegation wanted = {};

        g_assert(policy);
        g_assert(option);

        return !policy->error && which != _BPF_DELEGATED_INVALID && value &&
               bpf_delegation_add(&wanted, which, value, NULL) >= 0 &&
               bpf_delegation_contains(&policy->bpf.token, &wanted);
}
