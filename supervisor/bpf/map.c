/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* BPF_MAP_CREATE and BPF_MAP_FREEZE. */

#include <errno.h>
#include <linux/capability.h>
#include <string.h>

#include "basic/fd.h"
#include "supervisor/bpf/command.h"
#include "supervisor/bpf/instruction-check.h"
#include "supervisor/bpf/object.h"
#include "supervisor/bpf/type.h"
#include "supervisor/descriptor.h"

/* As the kernel wants names, which it looks at even though ours takes the place of the caller's. */
static bool name_is_valid(const char name[BPF_NAME_SIZE]) {
        size_t n = strnlen(name, BPF_NAME_SIZE);

        for (size_t i = 0; i < n; i++)
                if (!g_ascii_isalnum(name[i]) && name[i] != '_' && name[i] != '.')
                        return false;

        return n < BPF_NAME_SIZE;
}

/* Such maps are of use to programs that we'd load. */
bool bpf_map_is_lent(const BpfRequest *b) {
        const BpfMapCreate *map = &b->attr.map;

        return bpf_rest_is_zero(b, offsetof(BpfMapCreate, later)) && map->inner_map == 0 &&
               map->numa_node == 0 && bpf_map_kind_is_lent(map, b->request->policy->bpf.programs);
}

static int create_and_give(BpfRequest *b) {
        const Caller *caller = &b->request->caller;
        const BpfMapCreate *asked = &b->attr.map;
        _cleanup_close_ int fd = -1;
        BpfAttr attr = { .map = {
                                         .type = asked->type,
                                         .key_size = asked->key_size,
                                         .value_size = asked->value_size,
                                         .max_entries = asked->max_entries,
                                         .flags = asked->flags,
                         } };
        int r;

        r = bpf_given(b, "map_id");
        if (r >= 0)
                return r;

        r = bpf_room_for_map(b->request);
        if (r < 0)
                return r;

        bpf_map_own_name(b->request, attr.map.name);
        fd = bpf_call_as(caller, BPF_COMMAND_MAP_CREATE, &attr, offsetof(BpfMapCreate, later),
                        CAPABILITY_BIT(CAP_BPF));
        return fd < 0 ? fd : bpf_give(b, fd);
}

Verdict bpf_map_create(BpfRequest *b, int64_t *ret_result) {
        const BpfMapCreate *map = &b->attr.map;
        Reason reason;

        if (!bpf_map_is_lent(b))
                return bpf_refuse(b, REASON_PROGRAM_NOT_LENT,
                                bpf_map_hint(map, b->request->policy->bpf.programs),
                                "type %u, %u entries of %u and %u bytes", map->type, map->max_entries,
                                map->key_size, map->value_size);

        reason = bpf_may_borrow(b, CAP_BPF);
        if (reason != REASON_NONE)
                return bpf_refuse(b, reason, NULL, "type %u", map->type);

        if (caller_verify(&b->request->caller) < 0)
                return VERDICT_CONTINUED;

        return bpf_answer(b, name_is_valid(map->name) ? create_and_give(b) : -EINVAL, ret_result,
                        "type %u, %u entries", map->type, map->max_entries);
}

/* Return: 0; -EINVAL if it's no map, as the kernel; -EPERM if it isn't the container's; another negative
 * errno. */
static int check_frozen(const BpfRequest *b, int fd, bool *ret_frozen) {
        MapInfo info;
        int r;

        r = bpf_map_info(fd, &info);
        if (r >= 0)
                r = bpf_map_is_own(b->request, &info) ? 0 : -EPERM;
        if (r >= 0)
                *ret_frozen = descriptor_says(fd, "frozen", 1);
        return r;
}

/* Return: 0, or the negative errno that the caller would see. */
static int freeze(BpfRequest *b, int fd, bool frozen) {
        BpfAttr attr = { .freeze.fd = (uint32_t) fd };
        Request *request = b->request;

        /* A predecessor of ours that died may have done it. The kernel would say EBUSY to the second one. */
        if (request->retry && request->slot->stage == SLOT_ACTING && request->slot->before == 0 && frozen)
                return 0;

        request_acting(request, SLOT_ACTING, frozen);
        return bpf_call(BPF_COMMAND_MAP_FREEZE, &attr, sizeof(attr.freeze), CAPABILITY_BIT(CAP_BPF));
}

/* No write by bpf(2) any more. The kernel leaves that to whoever has the descriptor, but for a capability
 * that it asked for until 6.5. */
Verdict bpf_map_freeze(BpfRequest *b, int64_t *ret_result) {
        const Caller *caller = &b->request->caller;
        _cleanup_close_ int fd = -1;
        bool frozen = false;
        Reason reason;
        int r;

        if (!bpf_map_freeze_is_lent(b))
                return bpf_refuse(
                                b, REASON_PROGRAM_NOT_LENT, bpf_hint(POLICY_BPF_CGROUP_SKB_INTERFACE), NULL);
        reason = bpf_may_borrow(b, CAP_BPF);
        if (reason != REASON_NONE)
                return bpf_refuse(b, reason, NULL, NULL);

        if (bpf_rest_is_zero(b, sizeof(BpfMapFreeze))) {
                fd = descriptor_copy(caller, (int) b->attr.freeze.fd, "bpf-map");
                r = MIN(fd, 0);
        } else
                r = -EINVAL;
        if (caller_verify(caller) < 0)
                return VERDICT_CONTINUED;
        if (r < 0 && r != -EBADF && r != -EINVAL)
                return request_fail(b->request, r, ret_result);

        if (r >= 0)
                r = check_frozen(b, fd, &frozen);
        if (r == -EPERM)
                return bpf_refuse(b, REASON_PROGRAM_NOT_LENT, NULL, "a map that isn't the container's");
        if (r >= 0)
                r = freeze(b, fd, frozen);
        return bpf_answer(b, r, ret_result, NULL);
}

/* There's no use for it but in programs that read a map's value. */
bool bpf_map_freeze_is_lent(const BpfRequest *b) {
        return b->request->policy->bpf.programs & POLICY_BPF_CGROUP_SKB_INTERFACE;
}
