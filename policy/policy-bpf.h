/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* [Bpf] of a policy: bpf(2): which programs. */

#include <stdbool.h>

#include "policy/bpf-delegation.h"

#define POLICY_BPF_CGROUP_DEVICE        (1u << 0) /* BPF_PROG_TYPE_CGROUP_DEVICE: DeviceAllow=, OCI device rules */
#define POLICY_BPF_CGROUP_SKB           (1u << 1) /* BPF_PROG_TYPE_CGROUP_SKB and its maps: IPAddressDeny= */
/* The same type, with other instructions and maps: RestrictNetworkInterfaces= */
#define POLICY_BPF_CGROUP_SKB_INTERFACE (1u << 2)
#define POLICY_BPF_CGROUP_SOCK_ADDR     (1u << 3) /* BPF_PROG_TYPE_CGROUP_SOCK_ADDR: SocketBindDeny= */

typedef struct BpfPolicy {
        unsigned programs;     /* POLICY_BPF_* */
        unsigned max_programs; /* that the container may hold at once */
        unsigned max_maps;
        BpfDelegation token; /* Token=: what tokens of the container may be good for; empty: there are none */
} BpfPolicy;

typedef struct Policy Policy;

/* Is all of this lent, as an option of a bpf file system ("delegate_cmds", "prog_load")? */
bool policy_allows_bpf_delegation(const Policy *policy, const char *option, const char *value);

/* Is anything lent? Not if bpf(2) isn't intercepted. */
bool policy_allows_bpf_token(const Policy *policy);
