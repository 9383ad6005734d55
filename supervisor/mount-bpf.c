/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Privilege lent: CAP_SYS_ADMIN of the host, to set what's delegated and for the one FSCONFIG_CMD_CREATE.
 *
 * What a hostile container may try, and what meets it:
 *   - have more delegated than what's lent: options are copied once and checked as a whole; the kernel gets
 * numbers that we write.
 *   - put a context of its own in place of ours, or change ours: nobody else ever has the one that's created.
 * The one that a caller holds after its own fsopen(2) is never created by us.
 *   - get a token in a nested user namespace, or without CAP_BPF: the kernel asks for both where a token is
 * made.
 *   - use the file system as something else: it belongs to the container's user namespace, so devices and
 * set-user-ID programs on it mean nothing, not even to the host.
 *   - have the kernel load programs: no file system of ours delegates that, whoever gets hold of the token.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/fd.h"
#include "supervisor/bpf/attr.h"
#include "supervisor/fault.h"
#include "supervisor/mount-as-caller.h"
#include "supervisor/mount-bpf.h"
#include "supervisor/mount-create.h"

bool mount_bpf_is_supported(void) {
        static int answer = -1;
        struct {
                uint32_t flags;
                uint32_t fd;
        } attr = { .fd = (uint32_t) -1 };

        /* EBADF: it has looked for the file system. EINVAL: it has no such command. */
        if (answer < 0)
                answer = syscall(SYS_bpf, BPF_COMMAND_TOKEN_CREATE, &attr, sizeof(attr)) < 0 &&
                         errno == EBADF;

        return answer > 0;
}

/* What concerns the file system's owner and mode is set by the caller, with its ids and in its user
 * namespace; what's delegated is put together. */
static int set_options(const MountRequest *m, int context, BpfDelegation *ret, bool *ret_named) {
        int r = 0;

        *ret_named = false;

        for (guint i = 0; r >= 0 && i < m->options->len; i++) {
                const MountOption *option = &g_array_index(m->options, MountOption, i);
                BpfDelegated which = bpf_delegated_from_option(option->name);

                if (which != _BPF_DELEGATED_INVALID) {
                        *ret_named = true;
                        r = bpf_delegation_add(ret, which, option->value ?: "", NULL);
                } else
                        r = mount_as_caller_set(m->caller, -1, context,
                                        option->value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, option->name,
                                        option->value);
        }

        return r;
}

/* For the kernel, without the command that loads programs: these are loaded by us, if the token has their
 * types (bpf/load-delegated.c), and a token that has them is one that's for loading. */
static BpfDelegation without_loading(const BpfDelegation *wanted) {
        const uint64_t loading = UINT64_C(1) << BPF_COMMAND_PROG_LOAD;
        BpfDelegation d = *wanted;

        if (!(d.bits[BPF_DELEGATED_COMMANDS] & loading))
                d.bits[BPF_DELEGATED_PROGRAMS] = d.bits[BPF_DELEGATED_ATTACH_TYPES] = 0;
        d.bits[BPF_DELEGATED_COMMANDS] &= ~loading;
        return d;
}

static int delegate(int context, const BpfDelegation *wanted) {
        BpfDelegation d = without_loading(wanted);
        int r = 0;

        for (BpfDelegated i = 0; r >= 0 && i < _BPF_DELEGATED_MAX; i++) {
                char bits[24];

                if (d.bits[i] == 0)
                        continue;

                snprintf(bits, sizeof(bits), "0x%" PRIx64, d.bits[i]);
                r = mount_configure(context, FSCONFIG_SET_STRING, bpf_delegated_option(i), bits);
        }

        return r;
}

/* All that's lent, but for options that the policy denies whatever else it says. */
static BpfDelegation delegated_by_default(const MountRequest *m) {
        BpfDelegation all = m->policy->bpf.token;

        for (BpfDelegated i = 0; i < _BPF_DELEGATED_MAX; i++)
                if (!policy_allows_mount_option(m->policy, m->type, bpf_delegated_option(i), "0"))
                        all.bits[i] = 0;

        return all;
}

int mount_bpf_create(MountRequest *m, int *ret_fd, bool *ret_internal) {
        _cleanup_close_ int namespace = -1, context = -1;
        BpfDelegation wanted = {};
        bool named;
        int r;

        namespace = caller_open_mount_namespace(m->caller);
        if (namespace < 0) {
                *ret_internal = true;
                return namespace;
        }

        context = mount_as_caller_fsopen(m->caller, namespace, m->type);
        if (context < 0)
                return context;

        r = mount_set_flags(m, context);
        if (r >= 0 && m->source)
                r = mount_configure(context, FSCONFIG_SET_STRING, "source", m->source);
        if (r >= 0)
                r = set_options(m, context, &wanted, &named);
        if (r < 0) {
                mount_take_message(m, context);
                return r;
        }

        if (!named)
                wanted = delegated_by_default(m);
        else if (!bpf_delegation_contains(&m->policy->bpf.token, &wanted))
                return -EPERM; /* It was checked: this can't be. */

        r = delegate(context, &wanted);
        if (r >= 0) {
                fault_point("context");
                r = mount_configure(context, FSCONFIG_CMD_CREATE, NULL, NULL);
        }
        if (r >= 0)
                r = mount_of_context(context);
        if (r < 0) {
                mount_take_message(m, context);
                *ret_internal = true;
                return r;
        }

        *ret_fd = r;
        return 0;
}
