/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* BPF_PROG_QUERY, PROG_GET_FD_BY_ID: which programs of the container there are. Others, of which it could do
 * nothing but know, aren't its business. */

#include <errno.h>
#include <linux/capability.h>
#include <string.h>

#include "basic/fd.h"
#include "supervisor/bpf/cgroup.h"
#include "supervisor/bpf/command.h"
#include "supervisor/bpf/object.h"
#include "supervisor/bpf/type.h"
#include "supervisor/descriptor.h"

/* Leaves the container's own programs in the list. */
static int keep_own(const Caller *caller, CgroupPrograms *programs) {
        uint32_t kept = 0;

        for (uint32_t i = 0; i < programs->n; i++) {
                int r = bpf_program_id_is_own(caller, programs->ids[i]);

                if (r < 0 && r != -ENOENT)
                        return r;
                if (r > 0)
                        programs->ids[kept++] = programs->ids[i];
        }

        programs->n = kept;
        return 0;
}

static int write_u32(BpfRequest *b, size_t offset, uint32_t value) {
        return caller_write(&b->request->caller, b->address + offset, &value, sizeof(value));
}

/* Writes the answer in the order in which the kernel does. Return: 0; -ENOSPC if the caller has room for some
 * only; -EFAULT. */
static int write_programs(BpfRequest *b, const CgroupPrograms *programs) {
        const BpfQuery *asked = &b->attr.query;
        Caller *caller = &b->request->caller;
        uint32_t n = programs->n;
        int r;

        r = write_u32(b, offsetof(BpfQuery, flags), programs->flags);
        if (r >= 0)
                r = write_u32(b, offsetof(BpfQuery, n_programs), n);
        if (r >= 0 && programs->revision != 0 && b->size >= sizeof(BpfQuery))
                r = caller_write(caller, b->address + offsetof(BpfQuery, revision), &programs->revision,
                                sizeof(programs->revision));
        if (r < 0 || asked->n_programs == 0 || asked->programs == 0 || n == 0)
                return r;

        n = MIN(n, asked->n_programs);
        r = caller_write(caller, asked->programs, programs->ids, n * sizeof(uint32_t));
        for (uint32_t i = 0; r >= 0 && asked->program_flags != 0 && i < n; i++)
                r = caller_write(caller, asked->program_flags + i * sizeof(uint32_t), &programs->flags,
                                sizeof(uint32_t));
        if (r < 0)
                return r;

        return n < programs->n ? -ENOSPC : 0;
}

typedef struct Operands {
        CgroupRequest request;
        Cgroup cgroup;
        int error; /* if there's no cgroup */
} Operands;

static void operands_done(Operands *o) {
        close_fd(o->cgroup.fd);
        cgroup_done(&o->request);
}

static int query(BpfRequest *b, Operands *o, const char **ret_why) {
        static CgroupPrograms programs;
        const BpfQuery *asked = &b->attr.query;
        const Caller *caller = &b->request->caller;
        int r;

        r = o->error < 0 ? o->error : cgroup_resolve(&o->request, caller, &o->cgroup);
        if (r == -EPERM)
                *ret_why = "a cgroup that isn't the container's";
        if (r < 0)
                return r;
        if ((asked->query_flags & BPF_QUERY_EFFECTIVE) && asked->program_flags != 0)
                return -EINVAL;

        r = cgroup_programs(o->cgroup.fd, asked->attach_type, asked->query_flags, &programs);
        if (r >= 0)
                r = keep_own(caller, &programs);
        return r < 0 ? r : write_programs(b, &programs);
}

Verdict bpf_prog_query(BpfRequest *b, int64_t *ret_result) {
        __attribute__((cleanup(operands_done)))
        Operands o = { .request = CGROUP_REQUEST_INIT, .cgroup.fd = -1 };
        const BpfQuery *asked = &b->attr.query;
        const char *hint, *why = NULL;
        Reason reason;
        int r = 0;

        reason = bpf_may_act(b, asked->attach_type, &hint);
        if (reason != REASON_NONE)
                return bpf_refuse(b, reason, hint, "type %u", asked->attach_type);

        if (!bpf_rest_is_zero(b, sizeof(BpfQuery)) || (asked->query_flags & ~BPF_QUERY_EFFECTIVE) ||
                        asked->links != 0 || asked->link_flags != 0)
                r = -EINVAL;
        else {
                o.error = cgroup_prepare(&o.request, &b->request->caller, (int) asked->target);
                r = caller_open_memory(&b->request->caller);
        }
        if (caller_verify(&b->request->caller) < 0)
                return VERDICT_CONTINUED;

        if (r >= 0)
                r = query(b, &o, &why);
        if (why)
                return bpf_refuse(b, REASON_CGROUP_NOT_LENT, NULL, "%s", why);
        return bpf_answer(b, r, ret_result, "type %u", asked->attach_type);
}

/* A program that isn't the container's is none: an id tells nothing of what there is on the host, no more
 * than BPF_PROG_QUERY does. Return: a new fd, -ENOENT, or another negative errno. */
static int open_own(const BpfRequest *b) {
        _cleanup_close_ int fd = -1;
        ProgramInfo info;
        int r;

        fd = bpf_open_program(b->attr.by_id.id);
        r = fd < 0 ? fd : bpf_program_info(fd, &info);
        if (r < 0)
                return r;

        if (!bpf_program_is_own(&b->request->caller, &info) ||
                        bpf_program_sets(info.type, b->request->policy->bpf.programs) == 0)
                return -ENOENT;

        return TAKE_FD(fd);
}

/* If we die between giving the descriptor and answering, our successor gives another one: the first is the
 * caller's until it ends, and a descriptor of its own program anyway. */
Verdict bpf_prog_get_fd_by_id(BpfRequest *b, int64_t *ret_result) {
        _cleanup_close_ int fd = -1;
        uint32_t id = b->attr.by_id.id;
        Reason reason;
        int r;

        if (b->request->policy->bpf.programs == 0)
                return bpf_refuse(b, REASON_PROGRAM_NOT_LENT, bpf_hint(POLICY_BPF_CGROUP_DEVICE), "%u", id);
        reason = bpf_may_borrow(b, CAP_SYS_ADMIN);
        if (reason != REASON_NONE)
                return bpf_refuse(b, reason, NULL, "%u", id);
        if (caller_verify(&b->request->caller) < 0)
                return VERDICT_CONTINUED;
        if (!bpf_rest_is_zero(b, sizeof(id)))
                return bpf_answer(b, -EINVAL, ret_result, "%u", id);

        fd = open_own(b);
        r = fd < 0 ? fd : descriptor_give(&b->request->caller, fd, true, -1);
        return bpf_answer(b, r, ret_result, "%u", id);
}
