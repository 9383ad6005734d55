/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "policy/bpf-delegation.h"

#define BITS 64

/* The kernel's names are those of <linux/bpf.h> without their prefix, in lower case. The numbers are written
 * here because an installed header may be older than the kernel. */

/* All that the kernel takes a token for, but for opening objects by their ids. */
static const char *const commands[BITS] = {
        [0] = "map_create",
        [5] = "prog_load",
        [18] = "btf_load",
};

/* Not among them: what's of use for tracing only (perf_event_array, stack_trace), what belongs to others'
 * tasks, sockets and cgroups (the storages), what has threads of the kernel (cpumap), memory shared with
 * programs (arena), struct_ops; what no helper that's lent makes use of (prog_array);
 * devmap, into which one namespace puts its interfaces for programs of another, and the first may be the
 * host's; and those of which nobody sees what one call of a helper may cost: maps of maps, and two where
 * that's 100 microseconds for some (bloom_filter with keys of 16 KiB and 15 hashes, devmap_hash with keys
 * that all fall into one bucket).
 */
static const char *const maps[BITS] = {
        [1] = "hash",
        [2] = "array",
        [5] = "percpu_hash",
        [6] = "percpu_array",
        [9] = "lru_hash",
        [10] = "lru_percpu_hash",
        [11] = "lpm_trie",
        [17] = "xskmap",
        [20] = "reuseport_sockarray",
        [22] = "queue",
        [23] = "stack",
        [27] = "ringbuf",
};

/* For packets, and for sockets that one has: these are attached by netlink and socket options, for which the
 * kernel asks for capabilities in the network namespace, or ownership. Of those that are attached to cgroups
 * only what denies and does nothing else: others set marks, or let a process bind where it takes a
 * capability, and a cgroup's processes may be in the host's network. */
static const char *const programs[BITS] = {
        [1] = "socket_filter",
        [3] = "sched_cls",
        [4] = "sched_act",
        [6] = "xdp",
        [10] = "lwt_in",
        [11] = "lwt_out",
        [12] = "lwt_xmit",
        [15] = "cgroup_device",
        [19] = "lwt_seg6local",
        [21] = "sk_reuseport",
};

static const char *const attach_types[BITS] = {
        [0] = "cgroup_inet_ingress", /* and of programs that don't say so */
        [6] = "cgroup_device",
        [37] = "xdp",
        [39] = "sk_reuseport_select",
        [40] = "sk_reuseport_select_or_migrate",
};

static const struct {
        const char *option;
        const char *const *names;
} delegated[_BPF_DELEGATED_MAX] = {
        [BPF_DELEGATED_COMMANDS] = { "delegate_cmds", commands },
        [BPF_DELEGATED_MAPS] = { "delegate_maps", maps },
        [BPF_DELEGATED_PROGRAMS] = { "delegate_progs", programs },
        [BPF_DELEGATED_ATTACH_TYPES] = { "delegate_attachs", attach_types },
};

const char *bpf_delegated_option(BpfDelegated which) {
        return delegated[which].option;
}

BpfDelegated bpf_delegated_from_option(const char *name) {
        for (BpfDelegated i = 0; i < _BPF_DELEGATED_MAX; i++)
                if (strcmp(delegated[i].option, name) == 0)
                        return i;

        return _BPF_DELEGATED_INVALID;
}

const char *bpf_delegated_name(BpfDelegated which, unsigned bit) {
        return bit < BITS ? delegated[which].names[bit] : NULL;
}

/* Return: false if it's unknown, or stands for something that's never delegated. */
static bool parse_part(BpfDelegated which, const char *part, uint64_t *ret) {
        uint64_t bits;
        char *end;

        for (unsigned i = 0; i < BITS; i++)
                if (delegated[which].names[i] && strcmp(delegated[which].names[i], part) == 0) {
                        *ret = UINT64_C(1) << i;
                        return true;
                }

        if (!g_ascii_isdigit(*part))
                return false;

        errno = 0;
        bits = g_ascii_strtoull(part, &end, 0);
        if (errno != 0 || *end)
                return false;

        for (unsigned i = 0; i < BITS; i++)
                if ((bits & UINT64_C(1) << i) && !delegated[which].names[i])
                        return false;

        *ret = bits;
        return true;
}

int bpf_delegation_add(BpfDelegation *d, BpfDelegated which, const char *value, char **ret_bad) {
        uint64_t all = 0, bits;

        for (const char *p = value, *end;; p = end + 1) {
                g_autofree char *part = NULL;

                end = strchrnul(p, ':');
                part = g_strndup(p, (gsize) (end - p));
                if (!parse_part(which, part, &bits)) {
                        if (ret_bad)
                                *ret_bad = g_steal_pointer(&part);
                        return -EINVAL;
                }

                all |= bits;
                if (!*end)
                        break;
        }

        d->bits[which] |= all;
        return 0;
}

bool bpf_delegation_is_empty(const BpfDelegation *d) {
        for (BpfDelegated i = 0; i < _BPF_DELEGATED_MAX; i++)
                if (d->bits[i] != 0)
                        return false;

        return true;
}

bool bpf_delegation_contains(const BpfDelegation *whole, const BpfDelegation *part) {
        for (BpfDelegated i = 0; i < _BPF_DELEGATED_MAX; i++)
                if (part->bits[i] & ~whole->bits[i])
                        return false;

        return true;
}
