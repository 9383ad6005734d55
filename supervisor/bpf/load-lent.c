/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* BPF_PROG_LOAD of what AllowProgram= lends: programs of a few forms. */

#include <errno.h>
#include <limits.h>
#include <linux/capability.h>

#include "supervisor/bpf/instruction-check.h"
#include "supervisor/bpf/load.h"
#include "supervisor/bpf/object.h"
#include "supervisor/bpf/type.h"

#define LOAD_CAPABILITIES (CAPABILITY_BIT(CAP_BPF) | CAPABILITY_BIT(CAP_NET_ADMIN))

/* Of a kind that we make, at all? Who may have maps with a token gives them any name. */
static bool is_of_a_kind_we_make(const MapInfo *info) {
        BpfMapCreate made = {
                .type = info->type,
                .key_size = info->key_size,
                .value_size = info->value_size,
                .max_entries = info->max_entries,
                .flags = info->flags,
        };

        return bpf_map_kind_is_lent(&made, UINT_MAX);
}

static bool map_is_lent(const Request *request, InstructionSet set, unsigned named, const MapInfo *info) {
        if (!bpf_map_is_own(request, info) || !is_of_a_kind_we_make(info))
                return false;

        for (unsigned use = MAP_USE_LOOKUP; use <= MAP_USE_VALUE; use <<= 1)
                if ((named & use) && !bpf_map_suits(set, use, info->type, info->flags))
                        return false;

        return true;
}

static bool maps_are_lent(const Request *request, InstructionSet set, const Program *p, int *ret_error) {
        *ret_error = 0;
        for (size_t i = 0; i < p->n_maps; i++) {
                MapInfo info;

                *ret_error = bpf_map_info(p->maps[i].fd, &info);
                if (*ret_error < 0)
                        return true; /* The kernel's own answer, then. */
                if (!map_is_lent(request, set, p->maps[i].uses, &info))
                        return false;
        }

        return true;
}

bool bpf_prog_is_lent(const BpfRequest *b) {
        return bpf_program_sets(b->attr.load.type, b->request->policy->bpf.programs) != 0;
}

/* What isn't lent must not be there. */
static bool fields_are_lent(const BpfRequest *b) {
        const BpfLoad *load = &b->attr.load;

        return bpf_is_zero(b, offsetof(BpfLoad, btf), offsetof(BpfLoad, log_true_size)) &&
               bpf_is_zero(b, offsetof(BpfLoad, token), sizeof(*load)) && load->flags == 0 &&
               load->interface == 0 && load->n_instructions <= BPF_INSTRUCTIONS_MAX;
}

/* Of which set of instructions is it? Looks in what's lent first. Return: false if it's of none that's lent;
 * *ret_hint is then what would lend it, or NULL, and *ret_at what's in its way. */
static bool find_set(const BpfRequest *b, const Program *p, InstructionSet *ret, const char **ret_hint,
                size_t *ret_at) {
        const BpfLoad *load = &b->attr.load;
        unsigned lent = bpf_program_sets_for(load->type, load->attach_type, b->request->policy->bpf.programs),
                 others = bpf_program_sets_for(load->type, load->attach_type, UINT_MAX) & ~lent;
        size_t at;

        *ret_hint = NULL;
        *ret_at = 0;
        for (InstructionSet set = 0; set < _INSTRUCTION_SET_MAX; set++) {
                if (!(lent & INSTRUCTION_SET_BIT(set)))
                        continue;
                if (instruction_check(set, p->insns, p->n, &at) >= 0) {
                        *ret = set;
                        return true;
                }
                *ret_at = MAX(*ret_at, at); /* the set that it comes closest to */
        }

        for (InstructionSet set = 0; set < _INSTRUCTION_SET_MAX && !*ret_hint; set++)
                if ((others & INSTRUCTION_SET_BIT(set)) && instruction_check(set, p->insns, p->n, NULL) >= 0)
                        *ret_hint = bpf_set_hint(load->type, set);

        return false;
}

/* Before 6.17 the verifier also follows what a processor may guess wrong, which has no end in a loop. With
 * CAP_PERFMON it doesn't, nor does it see to it that a program tells no addresses: for programs of this set
 * we do that ourselves (see compiled-check.h). It's lent only where it's needed. */
static LoadMode mode_for(const BpfRequest *b, InstructionSet set) {
        bool loops = set == INSTRUCTIONS_SOCK_ADDR && bpf_may_borrow(b, CAP_PERFMON) == REASON_NONE;

        return (LoadMode){
                .capabilities = LOAD_CAPABILITIES,
                .second = loops ? LOAD_CAPABILITIES | CAPABILITY_BIT(CAP_PERFMON) : 0,
        };
}

static bool may_load(const BpfRequest *b, Reason *ret) {
        *ret = bpf_may_borrow(b, CAP_BPF);
        if (*ret == REASON_NONE)
                *ret = bpf_may_borrow(b, CAP_NET_ADMIN);
        return *ret == REASON_NONE;
}

static Verdict load_checked(BpfRequest *b, unsigned sets, Program *p, int64_t *ret_result) {
        const unsigned without_maps =
                        INSTRUCTION_SET_BIT(INSTRUCTIONS_CONSTANT) | INSTRUCTION_SET_BIT(INSTRUCTIONS_DEVICE);
        const BpfLoad *load = &b->attr.load;
        InstructionSet set;
        LoadMode mode;
        const char *hint;
        size_t at;
        int r;

        r = bpf_load_prepare(b, sets & ~without_maps ? BPF_PROGRAM_MAPS_MAX : 0, p);
        if (caller_verify(&b->request->caller) < 0)
                return VERDICT_CONTINUED;
        if (r == -E2BIG)
                return bpf_refuse_load(b, REASON_PROGRAM_NOT_LENT, NULL, ", too many maps");
        if (r == -EFAULT || r == -EBADF || r == -EINVAL)
                return bpf_answer(b, r, ret_result, "%s", bpf_program_name(load->type));
        if (r < 0)
                return request_fail(b->request, r, ret_result);

        if (!find_set(b, p, &set, &hint, &at))
                return bpf_refuse_instruction(b, hint, at);
        if (!maps_are_lent(b->request, set, p, &r))
                return bpf_refuse_load(b, REASON_PROGRAM_NOT_LENT, NULL,
                                ", a map that isn't the container's, or of another kind");

        mode = mode_for(b, set);
        if (r >= 0)
                r = bpf_load_and_give(b, &mode, p);
        return bpf_answer(b, r, ret_result, "%s, %u instructions", bpf_program_name(load->type),
                        load->n_instructions);
}

Verdict bpf_prog_load(BpfRequest *b, int64_t *ret_result) {
        const BpfLoad *load = &b->attr.load;
        Program p = {};
        unsigned sets;
        Reason reason;
        Verdict v;

        if (!bpf_prog_is_lent(b))
                return bpf_refuse_load(
                                b, REASON_PROGRAM_NOT_LENT, bpf_hint(bpf_program_policy(load->type)), NULL);
        if (!may_load(b, &reason))
                return bpf_refuse_load(b, reason, NULL, NULL);

        if (bpf_load_is_impossible(load))
                return bpf_load_impossible(b, LOAD_CAPABILITIES, ret_result);

        sets = bpf_program_sets_for(load->type, load->attach_type, b->request->policy->bpf.programs);
        if (sets == 0 || !fields_are_lent(b))
                return bpf_refuse_load(b, REASON_PROGRAM_NOT_LENT, NULL, ", attributes that aren't lent");

        v = load_checked(b, sets, &p, ret_result);
        program_done(&p);
        return v;
}
