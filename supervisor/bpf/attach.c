/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* BPF_PROG_ATTACH, PROG_DETACH, LINK_CREATE: programs of the container on cgroups of the container. The order
 * of checks is the kernel's, as programs find out by their errnos what it can do. */

#include <errno.h>
#include <linux/capability.h>
#include <string.h>

#include "basic/fd.h"
#include "supervisor/bpf/cgroup.h"
#include "supervisor/bpf/command.h"
#include "supervisor/bpf/object.h"
#include "supervisor/bpf/type.h"
#include "supervisor/descriptor.h"

/* What the caller has asked for. */
typedef struct Asked {
        uint32_t program;
        uint32_t target;
        uint32_t attach_type;
        uint32_t flags;
        int64_t replace; /* -1: nothing */
        bool is_valid;   /* as far as it can be told from the attributes alone */
} Asked;

/* What that names, copied before the caller is verified. */
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

/* Looks at a copy of a program's descriptor. Return: 0; -EINVAL if it isn't one of this type, as the kernel;
 * -EPERM if it isn't the container's; another negative errno. */
static int check_program(const BpfRequest *b, int fd, uint32_t attach_type, uint32_t *ret_id) {
        ProgramInfo info;
        int r;

        r = bpf_program_info(fd, &info);
        if (r < 0)
                return r;
        if (info.type != bpf_attach_type_program(attach_type))
                return -EINVAL;
        if (!bpf_program_is_own(&b->request->caller, &info))
                return -EPERM;

        if (ret_id)
                *ret_id = info.id;
        return 0;
}

static void copy_operands(BpfRequest *b, const Asked *asked, Operands *o) {
        Caller *caller = &b->request->caller;

        o->program = descriptor_copy(caller, (int) asked->program, "bpf-prog");
        o->program_error = MIN(o->program, 0);
        if (asked->replace >= 0) {
                o->replace = descriptor_copy(caller, (int) asked->replace, "bpf-prog");
                o->replace_error = MIN(o->replace, 0);
        }
        o->cgroup_error = cgroup_prepare(&o->cgroup_request, caller, (int) asked->target);
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

/* Before the kernel sees that there's no cgroup, it looks whether the program was loaded for this place,
 * which it tells nobody. So it's asked to link the program to nothing, as libraries do to find out whether it
 * can link. */
static int error_without_cgroup(const Operands *o, uint32_t attach_type) {
        BpfAttr attr = { .link = {
                                         .program = (uint32_t) o->program,
                                         .target = UINT32_MAX,
                                         .attach_type = attach_type,
                         } };
        int r;

        r = bpf_call(BPF_COMMAND_LINK_CREATE, &attr, sizeof(attr.link), CAPABILITY_BIT(CAP_NET_ADMIN));
        if (r < 0)
                return r;

        close_fd(r); /* It can't be. */
        return -EBADF;
}

/* The kernel's checks in the kernel's order, with ours where it would begin to act. Return: 0, or a negative
 * errno, with *ret_why as above. */
static int check_operands(const BpfRequest *b, const Asked *asked, Operands *o, const char **ret_why) {
        int r = o->program_error;

        if (r < 0)
                return r;

        r = check_program(b, o->program, asked->attach_type, &o->program_id);
        if (r == -EPERM)
                *ret_why = "a program that isn't the container's";
        if (r < 0)
                return r;

        r = resolve_cgroup(b, o, asked->attach_type, ret_why);
        return r == -EBADF ? error_without_cgroup(o, asked->attach_type) : r;
}

typedef int (*CheckFunc)(const BpfRequest *b, const Asked *asked, Operands *o, const char **ret_why);
typedef int (*ActFunc)(BpfRequest *b, const Asked *asked, const Operands *o);

/* One of the three commands: checks who asks for what, then acts. */
static Verdict serve(BpfRequest *b, const Asked *asked, CheckFunc check, ActFunc act, int64_t *ret_result) {
        __attribute__((cleanup(operands_done))) Operands o = OPERANDS_INIT;
        const char *hint, *why = NULL;
        int r = asked->is_valid ? 0 : -EINVAL;
        Reason reason;

        reason = bpf_may_act(b, asked->attach_type, &hint);
        if (reason != REASON_NONE)
                return bpf_refuse(b, reason, hint, "type %u", asked->attach_type);

        if (r >= 0)
                copy_operands(b, asked, &o);
        if (caller_verify(&b->request->caller) < 0)
                return VERDICT_CONTINUED;

        if (r >= 0)
                r = check(b, asked, &o, &why);
        if (why)
                return bpf_refuse(b, REASON_CGROUP_NOT_LENT, NULL, "%s", why);
        if (r >= 0)
                r = act(b, asked, &o);
        return bpf_answer(b, r, ret_result, "type %u, flags %#x", asked->attach_type, asked->flags);
}

static int check_attach(const BpfRequest *b, const Asked *asked, Operands *o, const char **ret_why) {
        int r;

        r = check_operands(b, asked, o, ret_why);
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

/* Return: 0, or the negative errno that the caller would see; so the other two. */
static int attach(BpfRequest *b, const Asked *asked, const Operands *o) {
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

Verdict bpf_prog_attach(BpfRequest *b, int64_t *ret_result) {
        const BpfAttach *attr = &b->attr.attach;
        const Asked asked = {
                .program = attr->program,
                .target = attr->target,
                .attach_type = attr->attach_type,
                .flags = attr->flags,
                .replace = attr->flags & BPF_ATTACH_REPLACE ? (int64_t) attr->replace : -1,
                .is_valid = bpf_rest_is_zero(b, offsetof(BpfAttach, relative)) &&
                            !(attr->flags & ~(BPF_ATTACH_OVERRIDE | BPF_ATTACH_MULTI | BPF_ATTACH_REPLACE)),
        };

        return serve(b, &asked, check_attach, attach, ret_result);
}

/* What's no program of this type is no program, which is an error only where there may be several. */
static int check_detach(const BpfRequest *b, const Asked *asked, Operands *o, const char **ret_why) {
        int r;

        r = o->program >= 0 ? check_program(b, o->program, asked->attach_type, &o->program_id) : 0;
        if (r == -EPERM) {
                *ret_why = "a program that isn't the container's";
                return r;
        }
        if (r < 0)
                o->program = close_fd(o->program);

        return resolve_cgroup(b, o, asked->attach_type, ret_why);
}

/* Is there something of the container's that the kernel would take off? If not, it isn't asked: the host may
 * attach something in the meantime, and what's attached without BPF_F_ALLOW_MULTI is taken off by whoever
 * names nothing, or anything. Return: 0, or the negative errno that the kernel would have. */
static int is_detachable(const BpfRequest *b, const Asked *asked, const Operands *o) {
        static CgroupPrograms programs;
        int r;

        r = cgroup_programs(o->cgroup.fd, asked->attach_type, 0, &programs);
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

static int detach(BpfRequest *b, const Asked *asked, const Operands *o) {
        BpfAttr attr = { .attach = {
                                         .target = (uint32_t) o->cgroup.fd,
                                         .program = (uint32_t) o->program, /* -1: none */
                                         .attach_type = asked->attach_type,
                         } };
        int r = 0;

        if (o->program >= 0)
                r = note_or_adopt(b, o, asked->attach_type, 0);
        if (r != 0)
                return MIN(r, 0);

        r = is_detachable(b, asked, o);
        if (r < 0)
                return r;

        return bpf_call(BPF_COMMAND_PROG_DETACH, &attr, offsetof(BpfAttach, flags),
                        CAPABILITY_BIT(CAP_NET_ADMIN));
}

Verdict bpf_prog_detach(BpfRequest *b, int64_t *ret_result) {
        const BpfAttach *attr = &b->attr.attach;
        const Asked asked = {
                .program = attr->program,
                .target = attr->target,
                .attach_type = attr->attach_type,
                .replace = -1,
                .is_valid = bpf_rest_is_zero(b, offsetof(BpfAttach, flags)),
        };

        return serve(b, &asked, check_detach, detach, ret_result);
}

static int create_link(BpfRequest *b, const Asked *asked, const Operands *o) {
        _cleanup_close_ int fd = -1;
        BpfAttr attr = { .link = {
                                         .program = (uint32_t) o->program,
                                         .target = (uint32_t) o->cgroup.fd,
                                         .attach_type = asked->attach_type,
                         } };
        int r;

        r = bpf_given(b, "link_id");
        if (r >= 0)
                return r;

        fd = bpf_call(BPF_COMMAND_LINK_CREATE, &attr, sizeof(attr.link), CAPABILITY_BIT(CAP_NET_ADMIN));
        return fd < 0 ? fd : bpf_give(b, fd);
}

Verdict bpf_link_create(BpfRequest *b, int64_t *ret_result) {
        const BpfLinkCreate *attr = &b->attr.link;
        const Asked asked = {
                .program = attr->program,
                .target = attr->target,
                .attach_type = attr->attach_type,
                .replace = -1,
                .is_valid = bpf_rest_is_zero(b, offsetof(BpfLinkCreate, flags)),
        };

        return serve(b, &asked, check_operands, create_link, ret_result);
}
