/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* bpf(2): programs that say which devices may be opened in a cgroup, which addresses may be talked to, over
 * which interfaces, and which ports may be bound to.
 *
 * Privilege lent, each for one bpf() with attributes that we fill in ourselves from what we understand of the
 * caller's, and with no other capability in effect (CAP_SYS_ADMIN would count for all of them, and for
 * CAP_PERFMON, which lets a program leak addresses):
 *   - PROG_LOAD: CAP_BPF, CAP_NET_ADMIN. The instructions are copied and must be of a small set
 *     (bpf/instruction-check.h). For one of these sets, where the kernel needs it, CAP_PERFMON as well.
 *     With a token of the container's: any instruction but a few (bpf/delegated-check.h), without
 * CAP_PERFMON.
 *   - MAP_CREATE: CAP_BPF. Small maps of a few kinds (bpf/type.c).
 *   - MAP_FREEZE: CAP_BPF, for maps of the container.
 *   - PROG_ATTACH, PROG_DETACH, LINK_CREATE, PROG_QUERY: CAP_NET_ADMIN, for programs of the container on
 *     cgroups of the container (bpf/cgroup.h).
 *   - PROG_GET_FD_BY_ID: CAP_SYS_ADMIN, for programs of the container (bpf/object.h).
 *
 * What a hostile container may try, and what meets it:
 *   - change attributes, instructions, the license or a descriptor's object while they're read: each is
 * copied once, checked, and the copy is what the kernel gets.
 *   - name descriptors and addresses that mean something in our process: attributes with fields that aren't
 * lent are refused, descriptors of maps in instructions are replaced by copies that were looked at.
 *   - attach to a cgroup of somebody else's: a cgroup counts as the container's by its id.
 *   - take off or replace what the host attached: descriptors of programs must be those of the container's
 * own, and where a program of somebody else's could be put out of force without one, nothing is done.
 *   - have the kernel attach and detach by itself, since it asks for no capability there: these commands are
 *     never left to the kernel, whatever happens (call_is_guarded(), the exception to law 2).
 *   - fill the kernel's memory: MaxPrograms=, MaxMaps=, and limits on the size of each.
 *   - ask from a nested user namespace, without capabilities, as a user: caller_may_borrow().
 *   - have us write a log into memory that isn't its own: see caller_open_memory().
 *   - reuse the thread's id, or exec a setuid program meanwhile: see caller.h. */

#include <errno.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/bpf/command.h"
#include "supervisor/bpf/object.h"
#include "supervisor/bpf/type.h"
#include "supervisor/descriptor.h"
#include "supervisor/handlers/handlers.h"
#include "supervisor/supervisor.h"

static const struct {
        unsigned command;
        const char *name;
        BpfCommandFunc serve;
        bool (*is_lent)(const BpfRequest *b); /* To anyone? Who knows it beforehand needn't look at the
                                                 caller. */
} commands[] = {
        { BPF_COMMAND_MAP_CREATE, "MAP_CREATE", bpf_map_create, bpf_map_is_lent },
        { BPF_COMMAND_PROG_LOAD, "PROG_LOAD", bpf_prog_load, bpf_prog_is_lent },
        { BPF_COMMAND_PROG_ATTACH, "PROG_ATTACH", bpf_prog_attach },
        { BPF_COMMAND_PROG_DETACH, "PROG_DETACH", bpf_prog_detach },
        { BPF_COMMAND_PROG_GET_FD_BY_ID, "PROG_GET_FD_BY_ID", bpf_prog_get_fd_by_id },
        { BPF_COMMAND_PROG_QUERY, "PROG_QUERY", bpf_prog_query },
        { BPF_COMMAND_MAP_FREEZE, "MAP_FREEZE", bpf_map_freeze, bpf_map_freeze_is_lent },
        { BPF_COMMAND_LINK_CREATE, "LINK_CREATE", bpf_link_create },
};

/* The kernel reads at most so much (bpf_check_uarg_tail_zero()). */
#define KERNEL_SIZE_MAX 4096u

static const char *command_name(unsigned command) {
        for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
                if (commands[i].command == command)
                        return commands[i].name;

        return "?";
}

__attribute__((format(printf, 2, 0))) static void describe(BpfRequest *b, const char *format, va_list ap) {
        g_autofree char *text = NULL;

        /* What was read is the caller's only if it's still there (law 3); the journal is no place for others'
         * memory. */
        if (!request_wants_description(b->request) || caller_verify(&b->request->caller) < 0)
                return;

        text = format ? g_strdup_vprintf(format, ap) : NULL;
        b->request->arguments = request_text("%s%s%s", command_name(b->command), text ? " " : "", text ?: "");
}

Verdict bpf_refuse(BpfRequest *b, Reason reason, const char *hint, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        describe(b, format, ap);
        va_end(ap);

        b->request->reason = reason;
        if (b->request->arguments)
                b->request->hint = g_strdup(hint);
        return VERDICT_REFUSED;
}

Verdict bpf_answer(BpfRequest *b, int64_t result, int64_t *ret_result, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        describe(b, format, ap);
        va_end(ap);

        *ret_result = result;
        return VERDICT_EMULATED;
}

Reason bpf_may_borrow(const BpfRequest *b, int capability) {
        const Request *request = b->request;
        bool allowed = policy_allows_user(request->policy, request->caller.euid);

        if (caller_may_borrow(&request->caller, CAP_SYS_ADMIN, allowed) == REASON_NONE)
                return REASON_NONE;

        return caller_may_borrow(&request->caller, capability, allowed);
}

Reason bpf_may_act(const BpfRequest *b, uint32_t attach_type, const char **ret_hint) {
        unsigned words = bpf_attach_type_policy(attach_type);

        *ret_hint = NULL;
        if (!(b->request->policy->bpf.programs & words)) {
                *ret_hint = bpf_hint(words);
                return REASON_PROGRAM_NOT_LENT;
        }

        return bpf_may_borrow(b, CAP_NET_ADMIN);
}

bool bpf_is_zero(const BpfRequest *b, size_t from, size_t to) {
        for (size_t i = from; i < to; i++)
                if (b->attr.bytes[i] != 0)
                        return false;

        return true;
}

bool bpf_rest_is_zero(const BpfRequest *b, size_t from) {
        return bpf_is_zero(b, from, sizeof(b->attr));
}

int bpf_give(BpfRequest *b, int fd) {
        uint32_t id;
        int r;

        r = bpf_object_id(fd, &id);
        if (r < 0)
                return r;

        request_acting(b->request, SLOT_ACTING, id);
        return descriptor_give(&b->request->caller, fd, true, -1);
}

int bpf_given(BpfRequest *b, const char *field) {
        const Request *request = b->request;

        if (!request->retry || request->slot->stage != SLOT_ACTING || request->slot->before == 0)
                return -ENOENT;

        return descriptor_find(&request->caller, field, (unsigned) request->slot->before);
}

/* Who may do all of it without us, such as a container manager until it enters the container. */
static bool is_privileged(Caller *caller) {
        return caller_has_natively(caller, CAP_SYS_ADMIN) ||
               (caller_has_natively(caller, CAP_BPF) && caller_has_natively(caller, CAP_NET_ADMIN));
}

/* Copies the attributes as the kernel does: any size, as long as nothing is set beyond what it knows. Return:
 * 0, -E2BIG, -EFAULT, or another negative errno. */
static int read_attr(BpfRequest *b) {
        const Caller *caller = &b->request->caller;
        unsigned char bytes[KERNEL_SIZE_MAX];
        size_t known = sizeof(b->attr);
        int r;

        if (b->size > KERNEL_SIZE_MAX)
                return -E2BIG;

        r = caller_read(caller, b->address, bytes, b->size);
        if (r < 0)
                return r;

        memcpy(b->attr.bytes, bytes, MIN(b->size, known));
        for (size_t i = known; i < b->size; i++)
                if (bytes[i] != 0)
                        return i >= bpf_kernel_attr_size() ? -E2BIG : -EOPNOTSUPP;

        /* What we know and an older kernel doesn't. */
        for (size_t i = bpf_kernel_attr_size(); i < known; i++)
                if (b->attr.bytes[i] != 0)
                        return -E2BIG;

        return 0;
}

/* Does it come with a BPF token, which says what the caller may have of the kernel? */
static bool has_token(const BpfRequest *b) {
        return (b->command == BPF_COMMAND_PROG_LOAD && (b->attr.load.flags & BPF_TOKEN_FD)) ||
               (b->command == BPF_COMMAND_MAP_CREATE && (b->attr.map.flags & BPF_TOKEN_FD));
}

static Verdict bpf_handle(Request *request, int64_t *ret_result) {
        Caller *caller = &request->caller;
        BpfRequest b = {
                .request = request,
                .command = (uint32_t) request->args[0],
                .address = request->args[1],
                .size = (uint32_t) request->args[2],
        };
        bool delegated;
        size_t i = 0;
        int r;

        while (i < G_N_ELEMENTS(commands) && commands[i].command != b.command)
                i++;
        if (i == G_N_ELEMENTS(commands) || is_privileged(caller))
                return VERDICT_CONTINUED;

        r = read_attr(&b);
        delegated = r >= 0 && bpf_prog_is_delegated(&b);
        if (r >= 0 && has_token(&b) && !delegated) /* The kernel's to judge. */
                return VERDICT_CONTINUED;
        if (r == -EOPNOTSUPP) /* A field of days to come. */
                return bpf_refuse(&b, REASON_PROGRAM_NOT_LENT, NULL, "with unknown attributes");
        if (r == -EFAULT || r == -E2BIG)
                return caller_verify(caller) < 0 ? VERDICT_CONTINUED : bpf_answer(&b, r, ret_result, NULL);
        if (r < 0)
                return request_fail(request, r, ret_result);

        if (delegated || !commands[i].is_lent || commands[i].is_lent(&b)) {
                r = caller_identify(caller);
                if (r >= 0)
                        r = caller_impersonate(caller);
                if (r < 0)
                        return request_fail(request, r, ret_result);
        }

        return delegated ? bpf_prog_load_delegated(&b, ret_result) : commands[i].serve(&b, ret_result);
}

const Handler bpf_handler = {
        .name = "bpf",
        .calls = CALL_BIT(CALL_BPF),
        .capabilities = CAPABILITY_BIT(CAP_BPF) | CAPABILITY_BIT(CAP_NET_ADMIN) |
                        CAPABILITY_BIT(CAP_PERFMON) | CAPABILITY_BIT(CAP_DAC_READ_SEARCH) |
                        CAPABILITY_BIT(CAP_DAC_OVERRIDE),
        .handle = bpf_handle,
};
