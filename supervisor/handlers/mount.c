/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* mount(2): new superblocks. What changes mounts that are there (bind, move, remount, propagation) is native.
 *
 * Privilege lent: CAP_SYS_ADMIN in the initial user namespace, for the making of one superblock of a type
 * that AllowType= names, from a source that's lent; and over the caller's mount namespace, which it has
 * itself, for the one move_mount() that attaches it.
 *
 * What a hostile container may try, and what meets it:
 *   - change type, source, options or target in memory while they're read, or links on the way: each is
 * copied once; source and target are opened once, as the caller, and what's checked, made and mounted on are
 * those descriptors (mount-source.c, mount-name.c).
 *   - name a device of its own making: its number is what counts, and whether devices may be opened where the
 * node is, the kernel checks itself.
 *   - take nodev or nosuid off the mount afterwards: they're locked (mount-lock.c).
 *   - mount where it couldn't natively: caller_open_mount_namespace(). A user without a container, to whom
 *     AllowUsers= lends the call, only where the directory is its own: what's mounted over /etc rules the
 * host.
 *   - ask from a nested user namespace, without CAP_SYS_ADMIN, as a user: mount_request_may_borrow().
 *   - ask for options that name other devices, files or descriptors, or stop the host: never lent
 * (mount-type.c).
 *   - hand over data that's no text: refused.
 *   - a device or file that answers late or never: deputyd starts another supervisor.
 *   - have a program of its own started (Fuse=): that's what it may do by itself (fuse-server.h).
 *   - an image made to attack the kernel: nothing meets that but the policy. See docs/mount-security.md.
 *   - reuse the thread's id, or exec a set-user-ID program meanwhile: see caller.h. */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "policy/mount-type.h"
#include "supervisor/fault.h"
#include "supervisor/fuse-server.h"
#include "supervisor/handlers/handlers.h"
#include "supervisor/handlers/mount-fuse.h"
#include "supervisor/lookup.h"
#include "supervisor/mount-id.h"
#include "supervisor/mount-options.h"

/* The kernel takes a page of options, whatever a page is. */
#define DATA_SIZE 4096u

/* What was copied of one call. */
typedef struct MountCall {
        Request *request;
        MountRequest mount;
        Lookup target;
        char type[64];
        const char *fuse; /* the program that mounts it in the kernel's place, or NULL */
        int target_fd, namespace_fd;
} MountCall;

static Verdict refuse(MountCall *call, Reason reason) {
        Request *request = call->request;
        MountRequest *m = &call->mount;
        char *arguments = NULL, *hint = NULL;

        if (caller_has_natively(&request->caller, CAP_SYS_ADMIN))
                return VERDICT_CONTINUED;

        if (request_wants_description(request)) {
                g_autofree char *text = NULL;

                /* What was read is the caller's only if it's still there (law 3). */
                if (caller_verify(&request->caller) < 0)
                        return VERDICT_CONTINUED;

                text = m->type ? mount_request_describe(m, call->target.path[0] ? call->target.path : NULL)
                               : g_strdup(call->type);
                arguments = request_text("%s", text);
                hint = g_steal_pointer(&m->hint);
                if (!hint && reason == REASON_USER_NOT_LENT)
                        hint = g_strdup_printf("[Intercept] AllowUsers=%u", (unsigned) request->caller.euid);
                else if (!hint && reason == REASON_TYPE_NOT_LENT && mount_type_name_is_valid(call->type) &&
                                !mount_type_never_lent(call->type))
                        hint = g_strdup_printf("[Mount] AllowType=%s", call->type);
        }

        return request_refuse(request, reason, arguments, hint);
}

/* An argument that may be missing. Return: 0 (*ret is NULL for a null pointer), or the caller's errno. */
static int read_optional(const Caller *caller, uint64_t address, char **ret) {
        static char buffer[PATH_MAX];
        ssize_t n;

        if (address == 0)
                return 0;

        n = caller_read_string(caller, address, buffer, sizeof(buffer));
        if (n < 0)
                return n == -ENAMETOOLONG ? -EINVAL : (int) n;

        *ret = g_strdup(buffer);
        return 0;
}

/* As copy_mount_options() of the kernel: a page of whatever can be read from there on. */
static int read_data(const Caller *caller, uint64_t address, char buffer[DATA_SIZE]) {
        size_t first = caller_page_rest(address);
        int r;

        memset(buffer, 0, DATA_SIZE);
        if (address == 0)
                return 0;
        if (first > DATA_SIZE)
                first = DATA_SIZE;

        r = caller_read(caller, address, buffer, first);
        if (r < 0)
                return r;
        if (first < DATA_SIZE && !memchr(buffer, 0, first) &&
                        caller_read(caller, address + first, buffer + first, DATA_SIZE - first) < 0)
                memset(buffer + first, 0, DATA_SIZE - first);

        buffer[DATA_SIZE - 1] = 0;
        return 0;
}

/* Copies all that the call points to, in the kernel's order. Return: 0, or the caller's errno; -EBADMSG for
 * data that can't be judged. */
static int read_arguments(MountCall *call) {
        const uint64_t *args = call->request->args;
        Caller *caller = &call->request->caller;
        MountRequest *m = &call->mount;
        char data[DATA_SIZE];
        int r;

        r = read_optional(caller, args[0], &m->source);
        if (r >= 0)
                r = read_data(caller, args[4], data);
        if (r >= 0)
                r = lookup_prepare(&call->target, caller, AT_FDCWD, args[1], 0);
        if (r < 0)
                return r;

        mount_options_set_flags(m, args[3]);
        return mount_options_parse_data(m, data);
}

static Reason check(MountCall *call) {
        Caller *caller = &call->request->caller;
        MountRequest *m = &call->mount;
        Reason reason;
        int r;

        if (!call->fuse) {
                r = mount_request_check(m, &reason);
                if (r < 0)
                        return REASON_INTERNAL;
                if (reason != REASON_NONE)
                        return reason;
        }

        if (!mount_request_allows_target(m->policy, caller, call->target_fd))
                return REASON_TARGET_NOT_LENT;

        return REASON_NONE;
}

/* Which mount it is, for a successor: the number that mountinfo(5) has for it. 0: it can't be told. */
static int64_t mount_mark(int fd) {
        uint32_t id;

        return mount_id(fd, &id) < 0 ? 0 : INT64_C(1) << 32 | id;
}

/* Did a predecessor attach it, and die before it could say so? Numbers are reused, but hardly by a mount of
 * the same type in the same namespace, in the moment between the two. */
static bool was_attached(MountCall *call) {
        const Request *request = call->request;
        g_autofree char *text = NULL, *type = g_strdup_printf(" - %s ", call->type);
        _cleanup_close_ int fd = -1;
        int64_t mark = request->slot->before;
        size_t size;

        if (!request->retry || request->slot->stage != SLOT_ACTING || mark == 0)
                return false;

        fd = openat(request->caller.proc_fd, "mountinfo", O_RDONLY | O_CLOEXEC);
        if (fd < 0 || read_fd_full(fd, 64 * 1024 * 1024, &text, &size) < 0)
                return false;

        for (const char *line = text; *line;) {
                const char *end = strchrnul(line, '\n');

                if (strtoul(line, NULL, 10) == (uint32_t) mark && g_strstr_len(line, end - line, type))
                        return true;

                line = *end ? end + 1 : end;
        }

        return false;
}

/* Makes the mount and attaches it. Return: 0, or the caller's errno; *ret_internal: it's a failure of ours.
 */
static int act(MountCall *call, bool *ret_internal) {
        _cleanup_close_ int made = -1, finished = -1;
        MountRequest *m = &call->mount;
        int r;

        *ret_internal = false;
        if (call->fuse)
                return mount_by_fuse(call->request, call->fuse, m, call->target_fd, ret_internal);
        if (was_attached(call))
                return 0;

        r = mount_request_create(m, &made, ret_internal);
        if (r < 0)
                return r;

        r = mount_request_finish(m, made, &finished);
        if (r < 0) {
                *ret_internal = true;
                return r;
        }
        made = close_fd(made);

        request_acting(call->request, SLOT_ACTING, mount_mark(finished));
        fault_point("finished");
        r = mount_request_attach(m, finished, call->target_fd, call->namespace_fd);
        fault_point("attached");
        return r;
}

static Verdict serve(MountCall *call, int64_t *ret_result) {
        Request *request = call->request;
        bool internal = false;
        Reason reason;
        int r;

        r = read_arguments(call);
        if (caller_verify(&request->caller) < 0)
                return VERDICT_CONTINUED; /* Gone: nobody waits for an answer. */
        if (r == -EBADMSG)
                return refuse(call, REASON_OPTION_NOT_LENT);

        if (r >= 0)
                r = call->target_fd = lookup_object(&call->target, 0);
        if (r == -ELOOP) /* Too many links, or a magic one that isn't ours to follow. The kernel knows which.
                          */
                return refuse(call, REASON_PATH_NOT_REACHABLE);

        if (r >= 0) {
                reason = check(call);
                if (reason == REASON_INTERNAL)
                        return VERDICT_CONTINUED;
                if (reason != REASON_NONE)
                        return refuse(call, reason);

                r = act(call, &internal);
        }

        if (request_wants_description(request)) {
                g_autofree char *text = mount_request_describe(&call->mount, call->target.path);

                request->arguments = request_text("%s", text);
                request->hint = g_steal_pointer(&call->mount.hint);
        }

        if (internal)
                return request_fail(request, r, ret_result);

        *ret_result = r < 0 ? r : 0;
        return VERDICT_EMULATED;
}

static Verdict mount_handle(Request *request, int64_t *ret_result) {
        MountCall call = {
                .request = request,
                .mount = { .source_fd = -1 },
                .target = LOOKUP_INIT,
                .target_fd = -1,
                .namespace_fd = -1,
        };
        Reason reason;
        Verdict verdict;
        int r;

        /* What the kernel refuses, or does by itself. A filter that a third party made may let more pass. */
        if (!mount_flags_make_superblock(request->args[3]) || request->args[2] == 0)
                return VERDICT_CONTINUED;

        /* Also a type that can't be read, or is longer than any. */
        if (caller_read_string(&request->caller, request->args[2], call.type, sizeof(call.type)) < 0)
                return VERDICT_CONTINUED;

        call.fuse = policy_mount_fuse(request->policy, call.type);
        if (!call.fuse && !policy_allows_mount_type(request->policy, call.type)) {
                /* Containers mount these by themselves all the time. */
                if (mount_type_never_lent(call.type) || strcmp(call.type, "tmpfs") == 0)
                        return VERDICT_CONTINUED;
                return refuse(&call, REASON_TYPE_NOT_LENT);
        }

        r = caller_identify(&request->caller);
        if (r < 0)
                return request_fail(request, r, ret_result);
        if (caller_has_natively(&request->caller, CAP_SYS_ADMIN))
                return VERDICT_CONTINUED;

        reason = mount_request_may_borrow(request->policy, &request->caller, &call.namespace_fd);
        if (reason == REASON_NONE && call.fuse && request->caller.userns->kind != USERNS_CONTAINER)
                reason = REASON_TYPE_NOT_LENT; /* There's no container for the program to run in. */
        if (reason == REASON_INTERNAL)
                return VERDICT_CONTINUED;
        if (reason != REASON_NONE) {
                verdict = refuse(&call, reason);
                close_fd(call.namespace_fd);
                return verdict;
        }

        r = caller_impersonate(&request->caller);
        if (r < 0)
                verdict = request_fail(request, r, ret_result);
        else {
                mount_request_init(&call.mount, request->policy, &request->caller, call.type);
                verdict = serve(&call, ret_result);
                mount_request_done(&call.mount);
                lookup_done(&call.target);
        }

        close_fd(call.namespace_fd);
        close_fd(call.target_fd);
        return verdict;
}

const Handler mount_handler = {
        .name = "mount",
        .calls = CALL_BIT(CALL_MOUNT),
        .capabilities = CAPABILITY_BIT(CAP_MKNOD) | CAPABILITY_BIT(CAP_DAC_OVERRIDE) |
                        CAPABILITY_BIT(CAP_DAC_READ_SEARCH) | CAPABILITY_BIT(CAP_FOWNER) |
                        CAPABILITY_BIT(CAP_FSETID) | FUSE_SERVER_CAPABILITIES,
        .handle = mount_handle,
};
