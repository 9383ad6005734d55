/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* fsopen(2) and fsconfig(2): contexts. See mount-api.c. */

#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/mount.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "policy/mount-type.h"
#include "supervisor/descriptor.h"
#include "supervisor/fault.h"
#include "supervisor/handlers/mount-api.h"
#include "supervisor/mount-as-caller.h"

/* Since 6.6. */
#define COMMAND_CREATE_EXCLUSIVE 8u

static bool has_fuse(const Policy *policy) {
        return policy->mount.fuse && policy->mount.fuse->len > 0;
}

/* The interface isn't there for this caller: programs then use mount(2), where a type may be redirected to
 * FUSE, which can't be done here: such a program mounts by itself, on a path. */
static Verdict not_there(Request *request, int64_t *ret_result) {
        int r;

        if (caller_has_natively(&request->caller, CAP_SYS_ADMIN))
                return VERDICT_CONTINUED;
        if (mount_api_identify(request, NULL, &r) != REASON_NONE || caller_verify(&request->caller) < 0)
                return VERDICT_CONTINUED;

        return mount_api_answer(request, -ENOSYS, ret_result);
}

Verdict mount_api_fsopen(Request *request, int64_t *ret_result) {
        const Policy *policy = request->policy;
        unsigned flags = (unsigned) request->args[1];
        _cleanup_close_ int namespace = -1, fd = -1;
        char type[MOUNT_CONTEXT_STRING_MAX];
        Reason reason;
        int r, n;

        if (policy->mount.new_api == MOUNT_NEW_API_NATIVE || !mount_contexts_supported())
                return VERDICT_CONTINUED;
        if (policy->mount.new_api == MOUNT_NEW_API_ENOSYS)
                return not_there(request, ret_result);

        /* mount(8) asks for the type NULL to see whether the interface is there, before it knows the type. */
        if (request->args[0] == 0)
                return has_fuse(policy) ? not_there(request, ret_result) : VERDICT_CONTINUED;
        if (flags & ~(unsigned) FSOPEN_CLOEXEC)
                return VERDICT_CONTINUED; /* EINVAL */
        if (caller_read_string(&request->caller, request->args[0], type, sizeof(type)) < 0)
                return VERDICT_CONTINUED; /* EFAULT, or longer than the name of any type */

        if (policy_mount_fuse(policy, type))
                return not_there(request, ret_result);
        if (!policy_allows_mount_type(policy, type))
                return VERDICT_CONTINUED;
        if (caller_has_natively(&request->caller, CAP_SYS_ADMIN))
                return VERDICT_CONTINUED;

        reason = mount_api_identify(request, &namespace, &r);
        if (r < 0)
                return request_fail(request, r, ret_result);
        if (reason != REASON_NONE)
                return mount_api_refuse(request, reason, request_text("context for %s", type), NULL);

        r = caller_impersonate(&request->caller);
        if (r < 0)
                return request_fail(request, r, ret_result);
        if (caller_verify(&request->caller) < 0)
                return VERDICT_CONTINUED;

        fd = mount_as_caller_fsopen(&request->caller, namespace, type);
        if (fd < 0)
                return mount_api_answer(request, fd, ret_result);

        n = descriptor_give(&request->caller, fd, flags & FSOPEN_CLOEXEC, -1);
        if (n == -ENOENT)
                return VERDICT_CONTINUED;
        if (n < 0)
                return mount_api_answer(request, n, ret_result);

        fault_point("context-injected");
        r = mount_context_add(fd, type, request->caller.tid, n, mount_api_now_usec());
        if (r >= 0)
                (void) TAKE_FD(fd);
        else /* It works like any context of the caller's own. */
                log_warning_errno(r, "Failed to keep the context of a mount: %m");
        mount_api_look_soon(request->supervisor);

        if (request_wants_description(request))
                request->arguments = request_text("context for %s", type);
        return mount_api_answer(request, n, ret_result);
}

/* fsconfig(2) as the kernel reads it. */
typedef struct ConfigRequest {
        int fd;
        unsigned command;
        uint64_t key_address, value_address;
        int aux;
        char key[MOUNT_CONTEXT_STRING_MAX], value[MOUNT_CONTEXT_STRING_MAX];
} ConfigRequest;

/* Return: 0 or the kernel's errno. */
static int read_parameter(Request *request, uint64_t address, char *buffer) {
        ssize_t n = caller_read_string(&request->caller, address, buffer, MOUNT_CONTEXT_STRING_MAX);

        return n == -ENAMETOOLONG ? -EINVAL : n < 0 ? (int) n : 0;
}

static bool is_delegation(const MountContext *context, const char *key) {
        return mount_type_is_callers(context->parameters.type) &&
               bpf_delegated_from_option(key) != _BPF_DELEGATED_INVALID;
}

static Verdict refuse_delegation(
                Request *request, const MountContext *context, const char *key, const char *value) {
        return mount_api_refuse(request, REASON_OPTION_NOT_LENT,
                        request_text("%s: %s%s%s", context->parameters.type, key, value ? "=" : "",
                                        value ?: ""),
                        mount_request_token_hint(key, value));
}

static Verdict set_parameter(Request *request, MountContext *context, ConfigRequest *c, int64_t *ret_result) {
        bool has_value = c->command == FSCONFIG_SET_STRING;
        _cleanup_close_ int cwd = -1;
        int r, error;

        if (c->key_address == 0 || (c->value_address != 0) != has_value || c->aux != 0)
                return VERDICT_CONTINUED; /* EINVAL */

        if (mount_api_identify(request, NULL, &r) != REASON_NONE) {
                context->unknown = true; /* The kernel sets it, for one who couldn't create it. */
                return VERDICT_CONTINUED;
        }

        r = read_parameter(request, c->key_address, c->key);
        if (r >= 0 && has_value)
                r = read_parameter(request, c->value_address, c->value);

        error = caller_open_root(&request->caller);
        if (error >= 0)
                error = cwd = caller_open_cwd(&request->caller);
        if (error >= 0)
                error = caller_impersonate(&request->caller);
        if (error < 0)
                return request_fail(request, error, ret_result);
        if (caller_verify(&request->caller) < 0)
                return VERDICT_CONTINUED;

        if (r >= 0 && (context->state == MOUNT_CONTEXT_CREATED || context->state == MOUNT_CONTEXT_FAILED))
                r = -EBUSY;
        /* The caller couldn't set this in its context, and needn't: it's for ours. */
        if (r >= 0 && is_delegation(context, c->key)) {
                if (!has_value || !policy_allows_mount_option(request->policy, context->parameters.type,
                                                  c->key, c->value))
                        return refuse_delegation(request, context, c->key, has_value ? c->value : NULL);
        } else if (r >= 0)
                r = mount_as_caller_set(&request->caller, cwd, context->fd, c->command, c->key,
                                has_value ? c->value : NULL);
        if (r >= 0 && context->state == MOUNT_CONTEXT_OPEN)
                (void) mount_context_add_option(context, c->key, has_value ? c->value : NULL);

        if (request_wants_description(request))
                request->arguments = request_text("%s: %s%s%s", context->parameters.type,
                                r == -EFAULT ? "?" : c->key, has_value ? "=" : "",
                                has_value && r >= 0 ? c->value : "");
        return mount_api_answer(request, r, ret_result);
}

static Verdict create(Request *request, MountContext *context, ConfigRequest *c, int64_t *ret_result) {
        bool internal = false;
        MountRequest m;
        Verdict verdict;
        Reason reason;
        int r, error = 0;

        if (c->key_address != 0 || c->value_address != 0 || c->aux != 0)
                return VERDICT_CONTINUED; /* EINVAL */

        reason = mount_api_identify(request, NULL, &r);
        if (reason == REASON_NONE)
                r = caller_impersonate(&request->caller);
        if (r < 0)
                return request_fail(request, r, ret_result);

        r = mount_api_build_request(request, &context->parameters, &m);
        if (reason == REASON_NONE && (r < 0 || context->unknown))
                reason = REASON_OPTION_NOT_LENT;
        if (reason == REASON_NONE && context->state == MOUNT_CONTEXT_OPEN)
                error = mount_request_check(&m, &reason);

        if (reason != REASON_NONE)
                verdict = mount_api_refuse(request, reason, mount_api_describe(&m), g_strdup(m.hint));
        else if (caller_verify(&request->caller) < 0)
                verdict = VERDICT_CONTINUED;
        else if (context->state != MOUNT_CONTEXT_OPEN)
                verdict = mount_api_answer(request, -EBUSY, ret_result);
        else if (error < 0)
                verdict = request_fail(request, error, ret_result);
        else {
                /* What callers have closed is gone: it could be the same file system, mounted otherwise. */
                (void) mount_contexts_sweep(mount_api_now_usec(), NULL);

                m.exclusive = c->command == COMMAND_CREATE_EXCLUSIVE;
                request_acting(request, SLOT_ACTING, 0);
                r = mount_request_create(&m, &context->tree_fd, &internal);
                if (internal)
                        verdict = request_fail(request, r == -ENOENT ? -EIO : r, ret_result);
                else {
                        if (r >= 0 || r != -EOPNOTSUPP || !m.exclusive)
                                context->state = r >= 0 ? MOUNT_CONTEXT_CREATED : MOUNT_CONTEXT_FAILED;
                        verdict = mount_api_answer(request, r, ret_result);
                }

                if (request_wants_description(request))
                        request->arguments = mount_api_describe(&m);
        }

        mount_request_done(&m);
        return verdict;
}

static Verdict configure(Request *request, MountContext *context, ConfigRequest *c, int64_t *ret_result) {
        switch (c->command) {
        case FSCONFIG_SET_FLAG:
        case FSCONFIG_SET_STRING:
                return set_parameter(request, context, c, ret_result);
        case FSCONFIG_CMD_CREATE:
        case COMMAND_CREATE_EXCLUSIVE:
                return create(request, context, c, ret_result);
        case FSCONFIG_CMD_RECONFIGURE:
                /* The superblock is the host's. In all other states the kernel says EBUSY, as it would. */
                if (context->state != MOUNT_CONTEXT_MOUNTED || c->key_address != 0 || c->value_address != 0 ||
                                c->aux != 0)
                        return VERDICT_CONTINUED;
                return mount_api_answer(request, -EPERM, ret_result);
        default:
                /* Blobs, paths and descriptors: no type that can be lent takes any, and the kernel says so.
                 * If one does, it has what we don't know. */
                context->unknown = true;
                return VERDICT_CONTINUED;
        }
}

Verdict mount_api_fsconfig(Request *request, int64_t *ret_result) {
        ConfigRequest c = {
                .fd = (int) request->args[0],
                .command = (unsigned) request->args[1],
                .key_address = request->args[2],
                .value_address = request->args[3],
                .aux = (int) request->args[4],
        };
        MountContext *context;
        Verdict verdict;
        int r;

        r = mount_api_find_context(request, c.fd, &context);
        if (r < 0) /* The kernel would wait for the other one: nobody needs that. */
                return mount_api_answer(request, r, ret_result);
        if (r == 0)
                return VERDICT_CONTINUED;

        verdict = configure(request, context, &c, ret_result);
        mount_context_release(context);
        return verdict;
}
