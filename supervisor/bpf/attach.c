/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* BPF_PROG_ATTACH, PROG_DETACH, LINK_CREATE, PROG_QUERY, PROG_GET_FD_BY_ID: programs of the container on
 * cgroups of the container. The order of checks is the kernel's, as programs find out by their errnos what it
 * can do. */

#include <errno.h>
#include <linux/capability.h>
#include <string.h>

#include "basic/fd.h"
#include "supervisor/bpf/cgroup.h"
#include "supervisor/bpf/command.h"
#include "supervisor/bpf/object.h"
#include "supervisor/descriptor.h"

/* What one of these commands names, copied before the caller is verified. */
typedef struct Operands {
        int program; /* -1 if the caller's descriptor is none */
        int replace;
        int program_error, replace_error, cgroup_error;
        CgroupRequest cgroup_request;
        Cgroup cgroup;
        uint32_t program_id;
} Operands;

#define OPERANDS_INIT                                                                                        \
        { .program = -1, .replace = -1, .cgroup_request = CGROUP_REQUEST_INIT, .cgroup.fd = -1 }

static void operands_done(Operands *o) {
        close_fd(o->program);
        close_fd(o->replace);
        close_fd(o->cgroup.fd);
        cgroup_done(&o->cgroup_request);
}

static uint32_t program_type(uint32_t attach_type) {
        return attach_type == BPF_ATTACH_CGROUP_DEVICE ? BPF_PROGRAM_CGROUP_DEVICE : BPF_PROGRAM_CGROUP_SKB;
}

/* Is it lent at all, and to this caller? */
static Reason may_act(const BpfRequest *b, uint32_t attach_type, const char **ret_hint) {
        unsigned program = bpf_attach_type_policy(attach_type);

        *ret_hint = NULL;
        if (!(b->request->policy->bpf.programs & program)) {
                *ret_hint = bpf_hint(program);
                return REASON_PROGRAM_NOT_LENT;
        }

        return bpf_may_borrow(b, CAP_NET_ADMIN);
}

/* Looks at a copy of a program's descriptor. Return: 0; -EINVAL if it isn't one of this type, as the kernel;
 * -EPERM if it isn't the container's; another negative errno. */
static int check_program(const BpfRequest *b, int fd, uint32_t attach_type, uint32_t *ret_id) {
        ProgramInfo info;
        int r;

        r = bpf_program_info(fd, &info);
        if (r < 0)
                return r;
        if (info.type != program_type(attach_type))
                return -EINVAL;
        if (!bpf_program_is_own(&b->request->caller, &info))
                return -EPERM;

        if (ret_id)
                *ret_id = info.id;
        return 0;
}

/* Copies what the command names; "replace" is -1 if there's nothing to replace. */
static void copy_operands(BpfRequest *b, Operands *o, uint32_t program, int64_t replace, uint32_t target) {
        Caller *caller = &b->request->caller;

        o->program = descriptor_copy(caller, (int) program, "bpf-prog");
        o->program_error = o->program < 0 ? o->program : 0;
        if (replace >= 0) {
                o->replace = descriptor_copy(caller, (int) replace, "bpf-prog");
                o->replace_error = o->replace < 0 ? o->replace : 0;
        }
        o->cgroup_error = cgroup_prepare(&o->cgroup_request, caller, (int) target);
}

static Verdict refuse_cgroup(BpfRequest *b, const char *why) {
        return bpf_refuse(b, REASON_CGROUP_NOT_LENT, NULL, "%s", why);
}

static bool contains(const CgroupPrograms *programs, uint32_t id) {
        for (uint32_t i = 0; i < programs->n; i++)
                if (programs->ids[i] == id)
                        return true;

        return false;
}

/* Is the program attached to the cgroup itself? */
static int is_attached(int cgroup, uint32_t attach_type, uint32_t id) {
        static CgroupPrograms programs;
        int r;

        r = cgroup_programs(cgroup, attach_type, 0, &programs);
        return r < 0 ? r : contains(&programs, id);
}

/* Notes whether the program was attached before we act. A predecessor of ours that died may have acted
 * already. Return: 1 if it has, 0 if not, or a negative errno. "wanted" is what it's about to become. */
static int note_or_adopt(BpfRequest *b, const Operands *o, uint32_t attach_type, int wanted) {
        Request *request = b->request;
        int attached;

        attached = is_attached(o->cgroup.fd, attach_type, o->program_id);
        if (attached < 0)
                return attached;

        if (request->retry && request->slot->stage == SLOT_ACTING && request->slot->before == !wanted &&
                        attached == wanted)
                return 1;

        request_acting(request, SLOT_ACTING, attached);
        return 0;
}

/* Attaches what was checked. Return: 0, or the negative errno that the caller would see. */
static int attach(BpfRequest *b, const Operands *o) {
        const BpfAttach *asked = &b->attr.attach;
        BpfAttr attr = { .attach = {
                                         .target = (uint32_t) o->cgroup.fd,
                                         .program = (uint32_t) o->program,
                                         .attach_type = asked->attach_type,
                                         .flags = asked->flags,
                                         .replace = (uint32_t) (o->replace >= 0 ? o->replace : 0),
                         } };
        int r;

        r = note_or_adopt(b, o, asked->attach_type, 1);
        if (r != 0)
                return MIN(r, 0);

        return bpf_call(BPF_COMMAND_PROG_ATTACH, &attr, offsetof(BpfAttach, relative),
                        CAPABILITY_BIT(CAP_NET_ADMIN));
}

/* Where a program of the container's may be attached. Return: 0, or a negative errno; *ret_why is then set if
 * it's the law that says no. */
static int resolve_cgroup(const BpfRequest *b, Operands *o, uint32_t attach_type, const char **ret_why) {
        const Caller *caller = &b->request->caller;
        int r = o->cgroup_error;

        if (r < 0)
                return r;

        r = cgroup_resolve(&o->cgroup_request, caller, &o->cgroup);
        if (r == -EPERM)
                *ret_why = "a cgroup that isn't the container's";
        if (r < 0)
                return r;

        r = cgroup_check_foreign(caller, &o->cgroup, attach_type);
        if (r == -EPERM)
                *ret_why = "a cgroup with a program that isn't the container's, and may be put out of force";
        return r;
}

/* The kernel's checks in the kernel's order, with ours where it would begin to act. */
static int check_attach(const BpfRequest *b, Operands *o, const char **ret_why) {
        const BpfAttach *asked = &b->attr.attach;
        int r;

        if (o->program_error < 0)
                return o->program_error;
        r = check_program(b, o->program, asked->attach_type, &o->program_id);
        if (r == -EPERM)
                *ret_why = "a program that isn't the container's";
        if (r < 0)
                return r;

        r = resolve_cgroup(b, o, asked->attach_type, ret_why);
        if (r < 0)
                return r;

        /* At the top the host may attach something at any time. There it's made sure that this doesn't give
         * way to ours: the kernel refuses to mix. */
        if (o->cgroup.is_top && !(asked->flags & BPF_ATTACH_MULTI)) {
                *ret_why = "the container's own cgroup, without BPF_F_ALLOW_MULTI";
                return -EPERM;
        }

        if (o->replace_error < 0)
                return o->replace_error;
        r = o->replace >= 0 ? check_program(b, o->replace, asked->attach_type, NULL) : 0;
        if (r == -EPERM)
                *ret_why = "in place of a program that isn't the container's";
        return r;
}

Verdict bpf_prog_attach(BpfRequest *b, int64_t *ret_result) {
        __attribute__((cleanup(operands_done))) Operands o = OPERANDS_INIT;
        const BpfAttach *asked = &b->attr.attach;
        const char *hint, *why = NULL;
        Reason reason;
        int r;

        reason = may_act(b, asked->attach_type, &hint);
        if (reason != REASON_NONE)
                return bpf_refuse(b, reason, hint, "type %u", asked->attach_type);

        if (!bpf_rest_is_zero(b, offsetof(BpfAttach, relative)) ||
                        (asked->flags & ~(BPF_ATTACH_OVERRIDE | BPF_ATTACH_MULTI | BPF_ATTACH_REPLACE)))
                r = -EINVAL;
        else {
                copy_operands(b, &o, asked->program,
                                asked->flags & BPF_ATTACH_REPLACE ? (int64_t) asked->replace : -1,
                                asked->target);
                r = 0;
        }
        if (caller_verify(&b->request->caller) < 0)
                return VERDICT_CONTINUED;

        if (r >= 0)
                r = check_attach(b, &o, &why);
        if (why)
                return refuse_cgroup(b, why);
        if (r >= 0)
                r = attach(b, &o);
        return bpf_answer(b, r, ret_result, "type %u, flags %#x", asked->attach_type, asked->flags);
}

/* Is there something of the container's that the kernel would take off? If not, it isn't asked: the host may
 * attach something in the meantime, and what's attached without BPF_F_ALLOW_MULTI is taken off by whoever
 * names nothing, or anything. Return: 0, or the negative errno that the kernel would have. */
static int check_detach(const BpfRequest *b, const Operands *o) {
        static CgroupPrograms programs;
        int r;

        r = cgroup_programs(o->cgroup.fd, b->attr.attach.attach_type, 0, &programs);
        if (r < 0)
                return r;
        if (programs.n == 0)
                return -ENOENT;
        if (!(programs.flags & BPF_ATTACH_MULTI)) {
                r = cgroup_has_foreign(&b->request->caller, &programs);
                return r > 0 ? -EPERM : r;
        }
        if (o->program < 0)
                return -EINVAL;

        return contains(&programs, o->program_id) ? 0 : -ENOENT;
}

static int detach(BpfRequest *b, const Operands *o) {
        BpfAttr attr = { .attach = {
                                         .target = (uint32_t) o->cgroup.fd,
                                         .program = (uint32_t) o->program, /* -1: none */
                                         .attach_type = b->attr.attach.attach_type,
                         } };
        int r = 0;

        if (o->program >= 0)
                r = note_or_adopt(b, o, b->attr.attach.attach_type, 0);
        if (r != 0)
                return MIN(r, 0);

        r = check_detach(b, o);
        if (r < 0)
                return r;

        return bpf_call(BPF_COMMAND_PROG_DETACH, &attr, offsetof(BpfAttach, flags),
                        CAPABILITY_BIT(CAP_NET_ADMIN));
}

Verdict bpf_prog_detach(BpfRequest *b, int64_t *ret_result) {
        __attribute__((cleanup(operands_done))) Operands o = OPERANDS_INIT;
        const BpfAttach *asked = &b->attr.attach;
        const char *hint, *why = NULL;
        Reason reason;
        int r = 0;

        reason = may_act(b, asked->attach_type, &hint);
        if (reason != REASON_NONE)
                return bpf_refuse(b, reason, hint, "type %u", asked->attach_type);

        if (!bpf_rest_is_zero(b, offsetof(BpfAttach, flags)))
                r = -EINVAL;
        else
                copy_operands(b, &o, asked->program, -1, asked->target);
        if (caller_verify(&b->request->caller) < 0)
                return VERDICT_CONTINUED;

        /* What's no program of this type is no program, which is an error only where there may be several. */
        if (r >= 0 && o.program >= 0) {
                r = check_program(b, o.program, asked->attach_type, &o.program_id);
                if (r == -EPERM)
                        why = "a program that isn't the container's";
                else if (r < 0) {
                        o.program = close_fd(o.program);
                        r = 0;
                }
        }
        if (r >= 0)
                r = resolve_cgroup(b, &o, asked->attach_type, &why);
        if (why)
                return refuse_cgroup(b, why);
        if (r >= 0)
                r = detach(b, &o);
        return bpf_answer(b, r, ret_result, "type %u", asked->attach_type);
}

static int create_link(BpfRequest *b, const Operands *o) {
        _cleanup_close_ int fd = -1;
        BpfAttr attr = { .link = {
                                         .program = (uint32_t) o->program,
                                         .target = (uint32_t) o->cgroup.fd,
                                         .attach_type = b->attr.link.attach_type,
                         } };
        uint32_t id;
        int r;

        r = bpf_given(b, "link_id");
        if (r >= 0)
                return r;

        fd = bpf_call(BPF_COMMAND_LINK_CREATE, &attr, sizeof(attr.link), CAPABILITY_BIT(CAP_NET_ADMIN));
        if (fd < 0)
                return fd;

        r = bpf_object_id(fd, &id);
        return r < 0 ? r : bpf_give(b, fd, id);
}

Verdict bpf_link_create(BpfRequest *b, int64_t *ret_result) {
        __attribute__((cleanup(operands_done))) Operands o = OPERANDS_INIT;
        const BpfLinkCreate *asked = &b->attr.link;
        const char *hint, *why = NULL;
        Reason reason;
        int r = 0;

        reason = may_act(b, asked->attach_type, &hint);
        if (reason != REASON_NONE)
                return bpf_refuse(b, reason, hint, "type %u", asked->attach_type);

        if (!bpf_rest_is_zero(b, offsetof(BpfLinkCreate, flags)))
                r = -EINVAL;
        else
                copy_operands(b, &o, asked->program, -1, asked->target);
        if (caller_verify(&b->request->caller) < 0)
                return VERDICT_CONTINUED;

        if (r >= 0)
                r = o.program_error;
        if (r >= 0) {
                r = check_program(b, o.program, asked->attach_type, &o.program_id);
                if (r == -EPERM)
                        why = "a program that isn't the container's";
        }
        if (r >= 0)
                r = resolve_cgroup(b, &o, asked->attach_type, &why);
        if (why)
                return refuse_cgroup(b, why);
        if (r >= 0)
                r = create_link(b, &o);
        return bpf_answer(b, r, ret_result, "type %u", asked->attach_type);
}

/* Leaves the container's own programs in the list. Others, of which it could do nothing but know, aren't its
 * business. */
static int keep_own(const Caller *caller, CgroupPrograms *programs) {
        uint32_t kept = 0;

        for (uint32_t i = 0; i < programs->n; i++) {
                _cleanup_close_ int fd = -1;
                ProgramInfo info;
                int r;

                fd = bpf_open_program(programs->ids[i]);
                if (fd == -ENOENT)
                        continue;
                r = fd < 0 ? fd : bpf_program_info(fd, &info);
                if (r < 0)
                        return r;
                if (bpf_program_is_own(caller, &info))
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

static int query(BpfRequest *b, Operands *o, const char **ret_why) {
        static CgroupPrograms programs;
        const BpfQuery *asked = &b->attr.query;
        const Caller *caller = &b->request->caller;
        int r;

        r = o->cgroup_error < 0 ? o->cgroup_error : cgroup_resolve(&o->cgroup_request, caller, &o->cgroup);
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
        __attribute__((cleanup(operands_done))) Operands o = OPERANDS_INIT;
        const BpfQuery *asked = &b->attr.query;
        const char *hint, *why = NULL;
        Reason reason;
        int r = 0;

        reason = may_act(b, asked->attach_type, &hint);
        if (reason != REASON_NONE)
                return bpf_refuse(b, reason, hint, "type %u", asked->attach_type);

        if (!bpf_rest_is_zero(b, sizeof(BpfQuery)) || (asked->query_flags & ~BPF_QUERY_EFFECTIVE) ||
                        asked->links != 0 || asked->link_flags != 0)
                r = -EINVAL;
        else {
                o.cgroup_error = cgroup_prepare(&o.cgroup_request, &b->request->caller, (int) asked->target);
                r = caller_open_memory(&b->request->caller);
        }
        if (caller_verify(&b->request->caller) < 0)
                return VERDICT_CONTINUED;

        if (r >= 0)
                r = query(b, &o, &why);
        if (why)
                return refuse_cgroup(b, why);
        return bpf_answer(b, r, ret_result, "type %u", asked->attach_type);
}

static int open_own(const BpfRequest *b, bool *ret_foreign) {
        _cleanup_close_ int fd = -1;
        unsigned lent = b->request->policy->bpf.programs;
        ProgramInfo info;
        int r;

        *ret_foreign = false;
        fd = bpf_open_program(b->attr.by_id.id);
        r = fd < 0 ? fd : bpf_program_info(fd, &info);
        if (r < 0)
                return r;

        *ret_foreign = !bpf_program_is_own(&b->request->caller, &info) ||
                       !((info.type == BPF_PROGRAM_CGROUP_DEVICE && (lent & POLICY_BPF_CGROUP_DEVICE)) ||
                                       (info.type == BPF_PROGRAM_CGROUP_SKB &&
                                                       (lent & POLICY_BPF_CGROUP_SKB)));
        return *ret_foreign ? -EPERM : TAKE_FD(fd);
}

/* If we die between giving the descriptor and answering, our successor gives another one: the first is the
 * caller's until it ends, and a descriptor of its own program anyway. */
Verdict bpf_prog_get_fd_by_id(BpfRequest *b, int64_t *ret_result) {
        _cleanup_close_ int fd = -1;
        uint32_t id = b->attr.by_id.id;
        bool foreign;
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

        fd = open_own(b, &foreign);
        if (foreign)
                return bpf_refuse(b, REASON_PROGRAM_NOT_LENT, NULL, "%u, which isn't the container's", id);

        r = fd < 0 ? fd : descriptor_give(&b->request->caller, fd, true, -1);
        return bpf_answer(b, r, ret_result, "%u", id);
}
