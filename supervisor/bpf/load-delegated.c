/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* BPF_PROG_LOAD with a token of the container's, by what Token= lends.
 *
 * A token that's good for this in the kernel would be good for more than the container has: CAP_SYS_ADMIN in
 * its user namespace counts as CAP_PERFMON, with which a program reads the kernel's memory. So the tokens of
 * our file systems never are (see mount-bpf.c). The caller's names the type and the place of what it may
 * load; the program is loaded here, from copies, without a token, with CAP_BPF and, where the kernel asks for
 * it, CAP_NET_ADMIN. What the verifier isn't even shown is said in delegated-check.h.
 *
 * Type information isn't passed on: it's of use for functions, and they aren't lent. */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>

#include "basic/fd.h"
#include "supervisor/bpf/delegated-check.h"
#include "supervisor/bpf/instruction-check.h"
#include "supervisor/bpf/load.h"
#include "supervisor/bpf/object.h"
#include "supervisor/bpf/type.h"
#include "supervisor/descriptor.h"

/* What a helper may have to copy in one call, and to look up by: there's room for 100,000 calls in a program.
 * In an LPM trie it goes from bit to bit, so there the key is an address and no more. */
#define MAP_VALUE_MAX   16384u
#define MAP_KEY_MAX     256u
#define MAP_LPM_KEY_MAX 20u
#define MAP_RING_MAX    65536u

#define FLAGS (BPF_STRICT_ALIGNMENT | BPF_ANY_ALIGNMENT | BPF_XDP_HAS_FRAGS)

#define TYPE_BIT(n) (UINT64_C(1) << (n))

bool bpf_prog_is_delegated(const BpfRequest *b) {
        const Policy *policy = b->request->policy;

        return b->command == BPF_COMMAND_PROG_LOAD && (b->attr.load.flags & BPF_TOKEN_FD) &&
               policy_allows_bpf_token(policy) &&
               (policy->bpf.token.bits[BPF_DELEGATED_COMMANDS] & TYPE_BIT(BPF_COMMAND_PROG_LOAD));
}

/* What the token is good for, by its fdinfo, as far as that concerns loading. Return: 0, or a negative errno
 * if it's none. */
static int read_token(const Caller *caller, int number, BpfDelegation *ret) {
        _cleanup_close_ int fd = -1;
        int r;

        fd = descriptor_copy(caller, number, DESCRIPTOR_BPF_TOKEN);
        if (fd < 0)
                return fd;

        r = descriptor_read_bits(fd, "allowed_cmds", &ret->bits[BPF_DELEGATED_COMMANDS]);
        if (r >= 0)
                r = descriptor_read_bits(fd, "allowed_progs", &ret->bits[BPF_DELEGATED_PROGRAMS]);
        if (r >= 0)
                r = descriptor_read_bits(fd, "allowed_attachs", &ret->bits[BPF_DELEGATED_ATTACH_TYPES]);
        return r;
}

static bool delegates(const BpfDelegation *d, uint32_t type, uint32_t attach_type) {
        return type < 64 && attach_type < 64 && (d->bits[BPF_DELEGATED_PROGRAMS] & TYPE_BIT(type)) &&
               (d->bits[BPF_DELEGATED_ATTACH_TYPES] & TYPE_BIT(attach_type));
}

/* Where a program is attached that doesn't say so: as the kernel has it (bpf_prog_load_fixup_attach_type()).
 */
static uint32_t attach_type_of(const BpfLoad *load) {
        if (load->attach_type == 0 && load->type == BPF_PROGRAM_SK_REUSEPORT)
                return BPF_ATTACH_SK_REUSEPORT_SELECT;
        return load->attach_type;
}

/* For which types the kernel asks for CAP_NET_ADMIN: all but those that were once anybody's
 * (is_net_admin_prog_type()). */
static CapabilitySet capabilities_for(uint32_t type) {
        bool network = type != BPF_PROGRAM_SOCKET_FILTER && type != BPF_PROGRAM_SK_REUSEPORT &&
                       type != BPF_PROGRAM_CGROUP_SKB;

        return CAPABILITY_BIT(CAP_BPF) | (network ? CAPABILITY_BIT(CAP_NET_ADMIN) : 0);
}

static Reason may_load(const BpfRequest *b, CapabilitySet capabilities) {
        Reason reason = bpf_may_borrow(b, CAP_BPF);

        if (reason == REASON_NONE && (capabilities & CAPABILITY_BIT(CAP_NET_ADMIN)))
                reason = bpf_may_borrow(b, CAP_NET_ADMIN);
        /* A token counts in its own user namespace only, which is never ours. */
        if (reason == REASON_NONE && b->request->caller.userns->kind == USERNS_OURS)
                reason = REASON_NO_CAPABILITY;
        return reason;
}

/* Type information, and what's said with its words of functions and lines, is left out. */
static bool fields_are_lent(const BpfLoad *load) {
        return load->interface == 0 && load->attach_function == 0 && load->attach_object == 0 &&
               load->n_relocations == 0 && load->signature == 0 && load->signature_size == 0 &&
               load->keyring == 0 && (load->flags & ~(FLAGS | BPF_TOKEN_FD)) == 0;
}

static bool map_is_lent(const MapInfo *info) {
        uint32_t key_max = info->type == BPF_MAP_LPM_TRIE ? MAP_LPM_KEY_MAX : MAP_KEY_MAX;

        return bpf_delegated_name(BPF_DELEGATED_MAPS, info->type) && info->key_size <= key_max &&
               info->value_size <= MAP_VALUE_MAX &&
               (info->type != BPF_MAP_RINGBUF || info->max_entries <= MAP_RING_MAX);
}

/* Maps are the container's own making, or were passed to it, perhaps only to be read: a program writes to
 * what it has, whatever the descriptor was for. Return: 0; -EPERM if one isn't lent; another negative errno.
 */
static int check_maps(const Program *p) {
        for (size_t i = 0; i < p->n_maps; i++) {
                int fd = p->maps[i].fd, r;
                MapInfo info;

                r = bpf_map_info(fd, &info);
                if (r < 0)
                        return r;
                if (!map_is_lent(&info) || (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR)
                        return -EPERM;
        }

        return 0;
}

static Verdict load_checked(BpfRequest *b, const LoadMode *mode, Program *p, int64_t *ret_result) {
        const BpfLoad *load = &b->attr.load;
        size_t at;
        int r;

        r = bpf_load_prepare(b, PROGRAM_MAPS_MAX, p);
        if (caller_verify(&b->request->caller) < 0)
                return VERDICT_CONTINUED;
        if (r < 0 && r != -EFAULT && r != -EBADF && r != -EINVAL && r != -E2BIG)
                return request_fail(b->request, r, ret_result);

        if (r >= 0 && delegated_check(load->type, p->insns, p->n, &at) < 0)
                return bpf_refuse_instruction(b, NULL, at);
        if (r >= 0)
                r = check_maps(p);
        if (r == -EPERM)
                return bpf_refuse_load(b, REASON_PROGRAM_NOT_LENT, NULL,
                                ", a map of another kind or size, or that isn't open for reading and "
                                "writing");
        if (r >= 0)
                r = bpf_load_and_give(b, mode, p);
        return bpf_answer(b, r, ret_result, "%s, %u instructions", bpf_program_name(load->type),
                        load->n_instructions);
}

/* What the policy would have to say; NULL if it can't. */
static char *hint_for(const BpfRequest *b) {
        uint32_t type = b->attr.load.type;
        bool by_type = !(b->request->policy->bpf.token.bits[BPF_DELEGATED_PROGRAMS] & TYPE_BIT(type));
        BpfDelegated which = by_type ? BPF_DELEGATED_PROGRAMS : BPF_DELEGATED_ATTACH_TYPES;
        const char *name = bpf_delegated_name(which, by_type ? type : attach_type_of(&b->attr.load));

        return name ? g_strdup_printf("[Bpf] Token=%s=%s", bpf_delegated_option(which), name) : NULL;
}

Verdict bpf_prog_load_delegated(BpfRequest *b, int64_t *ret_result) {
        const BpfLoad *load = &b->attr.load;
        LoadMode mode = {
                .flags = load->flags & FLAGS,
                .capabilities = capabilities_for(load->type),
                .long_lasting = true,
        };
        Caller *caller = &b->request->caller;
        BpfDelegation token = {};
        Program p = {};
        Reason reason;
        Verdict v;
        int r;

        /* One that isn't good for it, and one of the host's making that is, are the kernel's to judge. */
        r = read_token(caller, (int) load->token, &token);
        if (caller_verify(caller) < 0 || r < 0 || !delegates(&token, load->type, attach_type_of(load)) ||
                        (token.bits[BPF_DELEGATED_COMMANDS] & TYPE_BIT(BPF_COMMAND_PROG_LOAD)))
                return VERDICT_CONTINUED;

        if (!delegates(&b->request->policy->bpf.token, load->type, attach_type_of(load))) {
                g_autofree char *hint = hint_for(b);

                return bpf_refuse_load(b, REASON_PROGRAM_NOT_LENT, hint, NULL);
        }
        reason = may_load(b, mode.capabilities);
        if (reason != REASON_NONE)
                return bpf_refuse_load(b, reason, NULL, NULL);

        if (bpf_load_is_impossible(load))
                return bpf_load_impossible(b, mode.capabilities, ret_result);
        if (load->n_instructions > BPF_INSTRUCTIONS_MAX)
                return bpf_refuse_load(b, REASON_PROGRAM_NOT_LENT, NULL, ", more than are lent");
        if (!fields_are_lent(load))
                return bpf_refuse_load(b, REASON_PROGRAM_NOT_LENT, NULL, ", attributes that aren't lent");

        v = load_checked(b, &mode, &p, ret_result);
        program_done(&p);
        return v;
}
