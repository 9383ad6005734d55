/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* [Bpf] Token=: what's delegated, how it's written, and what never is. */

#include <criterion/criterion.h>
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "policy/policy.h"

static Policy *load(const char *lines) {
        g_autofree char *text = g_strconcat("[Intercept]\nSystemCalls=mount bpf\n[Bpf]\n", lines, NULL);
        Policy *policy = NULL;

        cr_assert_eq(policy_load_text(text, strlen(text), "t.conf", &policy), 0);
        return policy;
}

static void expect_problem(const char *line, const char *expected) {
        g_autoptr(Policy) policy = load(line);
        g_autofree char *problem = NULL;

        cr_assert_eq(policy->problems->len, 1, "%s", line);
        problem = policy_problem_to_string(g_ptr_array_index(policy->problems, 0));
        cr_expect(strstr(problem, expected), "%s: %s", line, problem);
        cr_expect_not(policy_allows_bpf_token(policy), "%s", line);
}

Test(policy_bpf_token, there_is_none_by_default) {
        g_autoptr(Policy) policy = load("AllowProgram=cgroup-device\n");

        cr_expect_not(policy_allows_bpf_token(policy));
        cr_expect_not(policy_allows_mount_type(policy, "bpf"));
        cr_expect_not(policy_allows_bpf_delegation(policy, "delegate_cmds", "prog_load"));
        cr_expect(policy_allows_bpf_delegation(policy, "delegate_cmds", "0"));
}

/* What's loaded with one could be attached wherever the container likes. */
Test(policy_bpf_token, there_is_none_unless_bpf_is_intercepted) {
        static const char text[] = "[Intercept]\nSystemCalls=mount\n[Bpf]\nToken=delegate_cmds=prog_load\n";
        g_autoptr(Policy) policy = NULL;

        cr_assert_eq(policy_load_text(text, strlen(text), "t.conf", &policy), 0);
        cr_expect_eq(policy->problems->len, 0);
        cr_expect_not(policy_allows_bpf_token(policy));
        cr_expect_not(policy_allows_mount_type(policy, "bpf"));
}

Test(policy_bpf_token, what_is_listed) {
        g_autoptr(Policy) policy = load("Token=delegate_cmds=prog_load:map_create delegate_progs=xdp\n"
                                        "Token=delegate_progs=0x8000 delegate_attachs=xdp\n");

        cr_expect_eq(policy->problems->len, 0);
        cr_expect(policy_allows_bpf_token(policy));
        cr_expect(policy_allows_mount_type(policy, "bpf"));
        cr_expect(policy_allows_mount_name(policy, "bpf", "anything"));
        cr_expect_eq(policy->bpf.token.bits[BPF_DELEGATED_COMMANDS], 1u << 5 | 1u << 0);
        cr_expect_eq(policy->bpf.token.bits[BPF_DELEGATED_PROGRAMS], 1u << 6 | 1u << 15);
        cr_expect_eq(policy->bpf.token.bits[BPF_DELEGATED_MAPS], 0);
        cr_expect_eq(policy->bpf.token.bits[BPF_DELEGATED_ATTACH_TYPES], UINT64_C(1) << 37);

        cr_expect(policy_allows_bpf_delegation(policy, "delegate_progs", "cgroup_device:xdp"));
        cr_expect(policy_allows_bpf_delegation(policy, "delegate_progs", "0x8040"));
        cr_expect_not(policy_allows_bpf_delegation(policy, "delegate_progs", "cgroup_device:sched_cls"));
        cr_expect_not(policy_allows_bpf_delegation(policy, "delegate_progs", "any"));
        cr_expect_not(policy_allows_bpf_delegation(policy, "delegate_progs", NULL));
        cr_expect_not(policy_allows_bpf_delegation(policy, "delegate_maps", "hash"));
        cr_expect_not(policy_allows_bpf_delegation(policy, "mode", "0700"));
}

Test(policy_bpf_token, options_of_the_mount) {
        g_autoptr(Policy) policy = load("Token=delegate_cmds=prog_load\n[Mount]\nAllowOptions=*\n");

        cr_expect(policy_allows_mount_option(policy, "bpf", "delegate_cmds", "prog_load"));
        cr_expect_not(policy_allows_mount_option(policy, "bpf", "delegate_cmds", "any"),
                        "AllowOptions= has no part in it");
        cr_expect_not(policy_allows_mount_option(policy, "bpf", "delegate_progs", "xdp"));
        cr_expect(policy_allows_mount_option(policy, "bpf", "mode", "0700"));
        cr_expect_not(policy_allows_mount_type(policy, "ext4"));
        cr_expect_not(policy_allows_mount_name(policy, "tmpfs", "none"));
}

Test(policy_bpf_token, taken_back) {
        g_autoptr(Policy) policy = load("Token=delegate_cmds=prog_load\nToken=\nToken=delegate_maps=hash\n");

        cr_expect_eq(policy->bpf.token.bits[BPF_DELEGATED_COMMANDS], 0);
        cr_expect_eq(policy->bpf.token.bits[BPF_DELEGATED_MAPS], 1u << 1);
}

Test(policy_bpf_token, survives_being_written) {
        g_autoptr(Policy) a = load("Token=delegate_cmds=prog_load delegate_attachs=sk_reuseport_select\n"),
                          other = load("Token=delegate_cmds=prog_load\n");
        g_autofree char *text = policy_to_text(a);
        g_autoptr(Policy) b = NULL;

        cr_assert_eq(policy_load_text(text, strlen(text), "again", &b), 0);
        cr_expect(policy_equal(a, b));
        cr_expect_not(policy_equal(a, other));
        cr_expect_not(policy_equal(other, a));
}

Test(policy_bpf_token, mistakes) {
        expect_problem("Token=prog_load\n", "\"prog_load\" delegates nothing");
        expect_problem("Token=yes\n", "delegates nothing");
        expect_problem("Token=mode=0700\n", "\"mode=0700\" delegates nothing");
        expect_problem("Token=delegate_cmds\n", "delegates nothing");
        expect_problem("Token=delegate_cmds=\n", "\"\" of delegate_cmds can't be delegated");
        expect_problem("Token=delegate_cmds=any\n", "\"any\" of delegate_cmds can't be delegated");
        expect_problem("Token=delegate_cmds=prog_load:prog_attach\n", "\"prog_attach\" of delegate_cmds");
        expect_problem("Token=delegate_progs=xdp:\n", "\"\" of delegate_progs");
        expect_problem("Token=delegate_progs=kprobe\n", "\"kprobe\" of delegate_progs can't be delegated");
        expect_problem("Token=delegate_progs=0x4\n", "\"0x4\" of delegate_progs");
        expect_problem("Token=delegate_progs=-1\n", "\"-1\" of delegate_progs");
        expect_problem("Token=delegate_progs=0x20000000000000000\n", "of delegate_progs");
        expect_problem("Token=delegate_progs=6x\n", "\"6x\" of delegate_progs");
        expect_problem("Token=delegate_progs=XDP\n", "\"XDP\" of delegate_progs");
}

/* Whoever could load these would change the host's own programs, or its kernel. */
Test(policy_bpf_token, never_delegated) {
        static const struct {
                BpfDelegated which;
                unsigned bits[16];
        } never[] = {
                /* kprobe, tracepoint, perf_event, raw_tracepoint (two), lirc_mode2, tracing, struct_ops, ext,
                 * lsm, syscall */
                { BPF_DELEGATED_PROGRAMS, { 2, 5, 7, 17, 24, 20, 26, 27, 28, 29, 31 } },
                /* cgroup_skb, cgroup_sock, sock_ops, cgroup_sock_addr, flow_dissector, cgroup_sysctl,
                 * cgroup_sockopt, sk_lookup, netfilter */
                { BPF_DELEGATED_PROGRAMS, { 8, 9, 13, 18, 22, 23, 25, 30, 32 } },
                /* trace_*, modify_return, lsm_*, perf_event, kprobe_multi, struct_ops, uprobe_multi */
                { BPF_DELEGATED_ATTACH_TYPES, { 23, 24, 25, 26, 27, 28, 41, 42, 43, 44, 48 } },
                /* prog_array, perf_event_array, stack_trace, maps of maps (two), cpumap, cgroup_storage,
                 * struct_ops, inode_storage, task_storage, arena, devmap (two), bloom_filter */
                { BPF_DELEGATED_MAPS, { 3, 4, 7, 12, 13, 16, 19, 26, 28, 29, 33, 14, 25, 30 } },
                /* map_update_elem, prog_attach, prog_get_fd_by_id, raw_tracepoint_open, link_create */
                { BPF_DELEGATED_COMMANDS, { 2, 8, 13, 17, 28 } },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(never); i++)
                for (size_t k = 0; k < 16 && never[i].bits[k] > 0; k++) {
                        g_autofree char *number = g_strdup_printf(
                                        "%#" G_GINT64_MODIFIER "x", UINT64_C(1) << never[i].bits[k]);
                        BpfDelegation d = {};

                        cr_expect_null(bpf_delegated_name(never[i].which, never[i].bits[k]));
                        cr_expect_eq(bpf_delegation_add(&d, never[i].which, number, NULL), -EINVAL, "%s",
                                        number);
                        cr_expect(bpf_delegation_is_empty(&d));
                }
}

Test(policy_bpf_token, all_names_are_understood) {
        for (BpfDelegated which = 0; which < _BPF_DELEGATED_MAX; which++) {
                unsigned n = 0;

                cr_expect_eq(bpf_delegated_from_option(bpf_delegated_option(which)), which);
                for (unsigned bit = 0; bit <= 64; bit++) {
                        const char *name = bpf_delegated_name(which, bit);
                        BpfDelegation d = {};

                        if (!name)
                                continue;

                        n++;
                        cr_expect_eq(bpf_delegation_add(&d, which, name, NULL), 0);
                        cr_expect_eq(d.bits[which], UINT64_C(1) << bit);
                }
                cr_expect_gt(n, 2);
        }
        cr_expect_eq(bpf_delegated_from_option("delegate"), _BPF_DELEGATED_INVALID);
}
