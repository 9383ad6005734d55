/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* fsopen(2), fsconfig(2), fsmount(2): the new mount interface; and move_mount(2) of what came of it.
 *
 * Privilege lent: CAP_SYS_ADMIN of the host, for one FSCONFIG_CMD_CREATE of a superblock that the policy
 * lends (mount-request.h), and for the one move_mount() that attaches its mount in the caller's own mount
 * namespace.
 *
 * How it's done: the caller's context is opened in the caller's own user namespace, so that what it gets is
 * exactly what its own fsopen() would have given it, and has no authority of ours. Parameters are copied,
 * tried on that context as the caller, with the kernel's own answer and messages, and if they're good they're
 * noted. When the caller wants the superblock, a context of our own is made from the notes, checked and
 * created; nobody else ever has that one. What isn't lent, or not understood, continues: the context being
 * genuine, the kernel then answers by itself, all the way to its EPERM.
 *
 * fsmount(2) returns an O_PATH descriptor, and SECCOMP_IOCTL_NOTIF_ADDFD takes none of these. So the caller
 * gets an open root directory of the mount, which serves as well where only the path counts:
 * mount_setattr(2), open_tree(2), fspick(2), statx(2), openat(2) stay native. The descriptor whose last close
 * dissolves a mount that's not attached stays here, and as it keeps the mount busy it must be gone when the
 * caller unmounts. That's why move_mount(2) by descriptor is intercepted: the mount is attached for the
 * caller and let go of before the answer. Whoever attaches it in another way (by /proc/self/fd/N) is noticed
 * within a tenth of a second.
 *
 * What a hostile container may try, and what meets it:
 *   - change keys and values while they're read: each is copied once; the copy is tried, noted, checked,
 * used.
 *   - change the context behind our back (from a process without the filter, or in a nested user namespace):
 * it has no part in what's created.
 *   - put another context, or any file, in place of ours (dup2(2), a forged number): contexts are known by
 * the open file, which kcmp(2) compares; mounts by the id of a mount that's pinned here. What isn't ours
 * continues.
 *   - pass the context to others: who creates and mounts needs the capability itself, at that moment
 * (mount_request_may_borrow()), and the source is looked up as that one.
 *   - name a path in a parameter that a file system looks up when it's set: it's looked up in a child that is
 * the caller, with its root directory and rights.
 *   - hoard contexts and mounts: mount-contexts.h has the limits.
 *   - read a directory that's closed to it through the descriptor it's given: the root directory is opened as
 * the caller (EACCES).
 *   - give the mount back its device nodes (mount_setattr(2), remount): mount_request_finish() has locked
 * that.
 *
 * If this supervisor dies, its contexts and mounts die with it: the caller's next call is left to the kernel,
 * which says EPERM to the creation, EINVAL to fsmount(2) and to move_mount(2) of a dissolved mount. */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "basic/clock.h"
#include "basic/fd.h"
#include "basic/log.h"
#include "supervisor/attach.h"
#include "supervisor/fault.h"
#include "supervisor/handlers/handlers.h"
#include "supervisor/lookup.h"
#include "supervisor/mount-as-caller.h"
#include "supervisor/mount-contexts.h"
#include "supervisor/mount-id.h"
#include "supervisor/mount-request.h"
#include "supervisor/supervisor.h"

/* Since 6.6. */
#define COMMAND_CREATE_EXCLUSIVE 8u

/* ST_NOSYMFOLLOW of statvfs(3), since 5.10 */
#define NO_SYMLINKS_FOLLOWED 0x2000u

#define FSMOUNT_ATTRIBUTES                                                                                   \
        (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR__ATIME |  \
                        MOUNT_ATTR_NODIRATIME | MOUNT_ATTR_NOSYMFOLLOW)

/* How often kept mounts and contexts are looked at. */
#define SWEEP_MOUNTS_USEC   (UINT64_C(100) * 1000)
#define SWEEP_CONTEXTS_USEC (UINT64_C(1000) * 1000)

static sd_event_source *sweep_source;

static uint64_t now_usec(void) {
        return now_nsec(CLOCK_MONOTONIC) / 1000;
}

static int on_sweep(sd_event_source *source, uint64_t usec, void *userdata) {
        uint64_t now = now_usec();
        size_t n_mounts, n = mount_contexts_sweep(now, &n_mounts);

        if (n == 0)
                return sd_event_source_set_enabled(source, SD_EVENT_OFF);

        (void) sd_event_source_set_time(
                        source, now + (n_mounts > 0 ? SWEEP_MOUNTS_USEC : SWEEP_CONTEXTS_USEC));
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

void mount_api_look_soon(Supervisor *s) {
        uint64_t at = now_usec() + SWEEP_MOUNTS_USEC;
        int r;

        if (sweep_source) {
                (void) sd_event_source_set_time(sweep_source, at);
                (void) sd_event_source_set_enabled(sweep_source, SD_EVENT_ONESHOT);
                return;
        }

        r = sd_event_add_time(s->event, &sweep_source, CLOCK_MONOTONIC, at, 10 * 1000, on_sweep, NULL);
        if (r < 0)
                log_warning_errno(r, "Failed to prepare to look at mounts that nobody attaches: %m");
}

/* Has anybody anything of this target's callers? */
static bool nothing_kept(const Request *request) {
        pid_t others[TARGET_STATE_SLOTS];

        return !mount_contexts_pending() && supervisor_others(request->supervisor, others) == 0;
}

/* Which context of ours is this descriptor of the caller? Return: as mount_context_find(). */
static int find_context(Request *request, int fd, MountContext **ret) {
        pid_t others[TARGET_STATE_SLOTS];
        size_t n = supervisor_others(request->supervisor, others);
        int r;

        if (n == 0 && !mount_contexts_pending())
                return 0;

        r = mount_context_find(request->caller.tid, fd, others, n, now_usec(), ret);
        if (r > 0)
                mount_api_look_soon(request->supervisor);
        return r;
}

static Verdict answer(Request *request, int64_t result, int64_t *ret_result) {
        *ret_result = result;
        return VERDICT_EMULATED;
}

/* Says in the journal why it's left to the kernel. */
static Verdict refuse(Request *request, Reason reason, char *arguments, char *hint) {
        if (caller_verify(&request->caller) < 0) {
                g_free(arguments);
                g_free(hint);
                return VERDICT_CONTINUED;
        }

        return request_refuse(request, reason, arguments, hint);
}

/* Puts a descriptor of ours into the caller's table, under a number of the kernel's choice or (not -1) in
 * place of what has that number. Return: its number there, or a negative errno. */
static int inject(Request *request, int fd, bool cloexec, int number) {
        struct seccomp_notif_addfd add = {
                .id = request->caller.id,
                .srcfd = (uint32_t) fd,
                .flags = number >= 0 ? SECCOMP_ADDFD_FLAG_SETFD : 0,
                .newfd = number >= 0 ? (uint32_t) number : 0,
                .newfd_flags = cloexec ? O_CLOEXEC : 0,
        };
        int n = ioctl(request->supervisor->listener_fd, SECCOMP_IOCTL_NOTIF_ADDFD, &add);

        return n < 0 ? -errno : n;
}

/* Ids, capabilities and namespace of the caller. Return: REASON_NONE or why it may not borrow; *ret_error is
 * a negative errno if it isn't known. */
static Reason identify(Request *request, int *ret_namespace_fd, int *ret_error) {
        *ret_error = caller_identify(&request->caller);

        return *ret_error < 0 ? REASON_INTERNAL
                              : mount_request_may_borrow(request->policy, &request->caller, ret_namespace_fd);
}

static bool has_fuse(const Policy *policy) {
        return policy->mount.fuse && policy->mount.fuse->len > 0;
}

/* The interface isn't there for this caller: programs then use mount(2), where a type may be redirected to
 * FUSE, which can't be done here: such a program mounts by itself, on a path. */
static Verdict not_there(Request *request, int64_t *ret_result) {
        int r;

        if (caller_has_natively(&request->caller, CAP_SYS_ADMIN))
                return VERDICT_CONTINUED;
        if (identify(request, NULL, &r) != REASON_NONE || caller_verify(&request->caller) < 0)
                return VERDICT_CONTINUED;

        return answer(request, -ENOSYS, ret_result);
}

static Verdict fsopen_handle(Request *request, int64_t *ret_result) {
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

        reason = identify(request, &namespace, &r);
        if (r < 0)
                return request_fail(request, r, ret_result);
        if (reason != REASON_NONE)
                return refuse(request, reason, request_text("context for %s", type), NULL);

        r = caller_impersonate(&request->caller);
        if (r < 0)
                return request_fail(request, r, ret_result);
        if (caller_verify(&request->caller) < 0)
                return VERDICT_CONTINUED;

        fd = mount_as_caller_fsopen(&request->caller, namespace, type);
        if (fd < 0)
                return answer(request, fd, ret_result);

        n = inject(request, fd, flags & FSOPEN_CLOEXEC, -1);
        if (n == -ENOENT)
                return VERDICT_CONTINUED;
        if (n < 0)
                return answer(request, n, ret_result);

        fault_point("context-injected");
        r = mount_context_add(fd, type, request->caller.tid, n, now_usec());
        if (r >= 0)
                (void) TAKE_FD(fd);
        else /* It works like any context of the caller's own. */
                log_warning_errno(r, "Failed to keep the context of a mount: %m");
        mount_api_look_soon(request->supervisor);

        if (request_wants_description(request))
                request->arguments = request_text("context for %s", type);
        return answer(request, n, ret_result);
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

static bool is_bpf(const MountParameters *parameters) {
        return strcmp(parameters->type, "bpf") == 0;
}

static bool is_delegation(const MountContext *context, const char *key) {
        return is_bpf(&context->parameters) && bpf_delegated_from_option(key) != _BPF_DELEGATED_INVALID;
}

static Verdict refuse_delegation(
                Request *request, const MountContext *context, const char *key, const char *value) {
        return refuse(request, REASON_OPTION_NOT_LENT,
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

        if (identify(request, NULL, &r) != REASON_NONE) {
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
        return answer(request, r, ret_result);
}

static char *describe(const MountRequest *m) {
        g_autofree char *text = mount_request_describe(m, NULL);

        return request_text("%s", text);
}

/* Puts together what the caller has asked for so far. Return: 0 or a negative errno. */
static int build_request(Request *request, const MountParameters *parameters, MountRequest *ret) {
        const char *key, *value;
        size_t position = 0;
        int r = 0;

        mount_request_init(ret, request->policy, &request->caller, parameters->type);
        while (r >= 0 && mount_parameters_next(parameters, &position, &key, &value))
                if (strcmp(key, "source") == 0 && value && !ret->source)
                        ret->source = g_strdup(value);
                else
                        r = mount_request_add_option(ret, key, value);

        return r;
}

static Verdict create(Request *request, MountContext *context, ConfigRequest *c, int64_t *ret_result) {
        bool internal = false;
        MountRequest m;
        Verdict verdict;
        Reason reason;
        int r, error = 0;

        if (c->key_address != 0 || c->value_address != 0 || c->aux != 0)
                return VERDICT_CONTINUED; /* EINVAL */

        reason = identify(request, NULL, &r);
        if (reason == REASON_NONE)
                r = caller_impersonate(&request->caller);
        if (r < 0)
                return request_fail(request, r, ret_result);

        r = build_request(request, &context->parameters, &m);
        if (reason == REASON_NONE && (r < 0 || context->unknown))
                reason = REASON_OPTION_NOT_LENT;
        if (reason == REASON_NONE && context->state == MOUNT_CONTEXT_OPEN)
                error = mount_request_check(&m, &reason);

        if (reason != REASON_NONE)
                verdict = refuse(request, reason, describe(&m), g_strdup(m.hint));
        else if (caller_verify(&request->caller) < 0)
                verdict = VERDICT_CONTINUED;
        else if (context->state != MOUNT_CONTEXT_OPEN)
                verdict = answer(request, -EBUSY, ret_result);
        else if (error < 0)
                verdict = request_fail(request, error, ret_result);
        else {
                /* What callers have closed is gone: it could be the same file system, mounted otherwise. */
                (void) mount_contexts_sweep(now_usec(), NULL);

                m.exclusive = c->command == COMMAND_CREATE_EXCLUSIVE;
                request_acting(request, SLOT_ACTING, 0);
                r = mount_request_create(&m, &context->tree_fd, &internal);
                if (internal)
                        verdict = request_fail(request, r == -ENOENT ? -EIO : r, ret_result);
                else {
                        if (r >= 0 || r != -EOPNOTSUPP || !m.exclusive)
                                context->state = r >= 0 ? MOUNT_CONTEXT_CREATED : MOUNT_CONTEXT_FAILED;
                        verdict = answer(request, r, ret_result);
                }

                if (request_wants_description(request))
                        request->arguments = describe(&m);
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
                return answer(request, -EPERM, ret_result);
        default:
                /* Blobs, paths and descriptors: no type that can be lent takes any, and the kernel says so.
                 * If one does, it has what we don't know. */
                context->unknown = true;
                return VERDICT_CONTINUED;
        }
}

static Verdict fsconfig_handle(Request *request, int64_t *ret_result) {
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

        r = find_context(request, c.fd, &context);
        if (r < 0) /* The kernel would wait for the other one: nobody needs that. */
                return answer(request, r, ret_result);
        if (r == 0)
                return VERDICT_CONTINUED;

        verdict = configure(request, context, &c, ret_result);
        mount_context_release(context);
        return verdict;
}

/* Hands the mount out, in place of the caller's descriptor "number" if that isn't -1. Takes "tree_fd" over.
 * Return: the number of the caller's descriptor, or a negative errno. */
static int give_mount(
                Request *request, int tree_fd, const MountParameters *parameters, bool cloexec, int number) {
        _cleanup_close_ int tree = tree_fd, fd = -1, watch = -1;
        bool locked;
        int r, n;

        r = mount_as_caller_open(&request->caller, tree, &fd, &watch, &locked);
        if (r < 0)
                return r;

        n = inject(request, fd, cloexec, number);
        if (n < 0)
                return n;
        fault_point("mount-injected");

        r = mount_kept_add(TAKE_FD(tree), TAKE_FD(watch), locked, parameters, now_usec());
        if (r < 0)
                log_warning_errno(r, "Failed to keep a mount until it's attached: %m");

        mount_api_look_soon(request->supervisor);
        return n;
}

static Verdict make_mount(Request *request, MountContext *context, bool cloexec, unsigned attributes,
                int64_t *ret_result) {
        MountRequest m;
        Reason reason;
        int r, tree;

        if (context->state == MOUNT_CONTEXT_OPEN || context->state == MOUNT_CONTEXT_FAILED)
                return VERDICT_CONTINUED; /* EINVAL: there's no superblock */

        reason = identify(request, NULL, &r);
        if (reason == REASON_NONE)
                r = caller_impersonate(&request->caller);
        if (r < 0)
                return request_fail(request, r, ret_result);
        if (reason != REASON_NONE)
                return refuse(request, reason, request_text("mount of %s", context->parameters.type), NULL);
        if (caller_verify(&request->caller) < 0)
                return VERDICT_CONTINUED;
        if (context->state == MOUNT_CONTEXT_MOUNTED)
                return answer(request, -EBUSY, ret_result);

        r = build_request(request, &context->parameters, &m);
        m.attributes = attributes;
        if (r >= 0)
                r = mount_request_finish(&m, context->tree_fd, &tree);
        if (request_wants_description(request))
                request->arguments = describe(&m);
        mount_request_done(&m);
        if (r < 0)
                return request_fail(request, r == -ENOENT ? -EIO : r, ret_result);

        request_acting(request, SLOT_ACTING, 0);
        context->tree_fd = close_fd(context->tree_fd);
        context->state = MOUNT_CONTEXT_MOUNTED;
        r = give_mount(request, tree, &context->parameters, cloexec, -1);
        return r == -ENOENT ? VERDICT_CONTINUED : answer(request, r, ret_result);
}

static Verdict fsmount_handle(Request *request, int64_t *ret_result) {
        unsigned flags = (unsigned) request->args[1], attributes = (unsigned) request->args[2],
                 atime = attributes & MOUNT_ATTR__ATIME;
        MountContext *context;
        Verdict verdict;
        int r;

        /* The kernel looks at these before it looks at the context. */
        if ((flags & ~(unsigned) FSMOUNT_CLOEXEC) || (attributes & ~(unsigned) FSMOUNT_ATTRIBUTES) ||
                        (atime != MOUNT_ATTR_RELATIME && atime != MOUNT_ATTR_NOATIME &&
                                        atime != MOUNT_ATTR_STRICTATIME))
                return VERDICT_CONTINUED; /* EINVAL */

        r = find_context(request, (int) request->args[0], &context);
        if (r < 0)
                return answer(request, r, ret_result);
        if (r == 0)
                return VERDICT_CONTINUED;

        verdict = make_mount(request, context, flags & FSMOUNT_CLOEXEC, attributes, ret_result);
        mount_context_release(context);
        return verdict;
}

/* The mount that the caller's descriptor is the root of. Nothing of it stays open here: it would be busy.
 * *ret_flags are the open flags of the descriptor. Return: 1 and the entry, 0 if it's none of ours. */
static int find_kept(Request *request, int caller_fd, int *ret_flags, MountKept **ret) {
        _cleanup_close_ int fd = -1;
        pid_t others[TARGET_STATE_SLOTS];
        size_t n = supervisor_others(request->supervisor, others);

        fd = caller_open_fd(&request->caller, caller_fd, ret_flags);
        return fd < 0 ? 0 : mount_kept_find(fd, others, n, ret);
}

/* A former supervisor died on this call. Has it attached the mount before that? */
static bool was_attached(Request *request, int caller_fd, int target_fd) {
        _cleanup_close_ int fd = -1;
        uint64_t a, b;

        if (!request->retry || request->slot->stage != SLOT_ACTING)
                return false;

        fd = caller_open_fd(&request->caller, caller_fd, NULL);
        return fd >= 0 && mount_id_living(fd, &a) >= 0 && mount_id_living(target_fd, &b) >= 0 && a == b;
}

/* Follows the caller's path to where the mount shall be. Return: a new fd; -ENODATA if the kernel knows
 * better; or the errno of the caller. */
static int find_target(Request *request, unsigned flags) {
        Lookup lookup = LOOKUP_INIT;
        int r;

        r = lookup_prepare(&lookup, &request->caller, (int) request->args[2], request->args[3],
                        flags & MOVE_MOUNT_T_EMPTY_PATH ? LOOKUP_EMPTY_PATH : 0);
        if (caller_verify(&request->caller) < 0)
                r = -ENODATA;
        if (r >= 0)
                r = lookup_object(&lookup, flags & MOVE_MOUNT_T_SYMLINKS ? 0 : LOOKUP_NOFOLLOW);
        if (request_wants_description(request))
                request->arguments = request_text("on %s", lookup.path);
        lookup_done(&lookup);

        /* A magic link that isn't ours to follow, perhaps. It's noticed if it works. */
        return r == -ELOOP ? -ENODATA : r;
}

/* A mount that was made for a container may be passed to somebody without one, where its device nodes and
 * set-user-ID programs would be real. */
static bool is_safe_outside(const Caller *caller, const MountKept *kept) {
        const unsigned long needed = ST_NODEV | ST_NOSUID;
        struct statvfs s;

        return caller->userns->kind == USERNS_CONTAINER ||
               (fstatvfs(kept->tree_fd, &s) >= 0 && (s.f_flag & needed) == needed);
}

static Verdict attach(Request *request, MountKept *kept, int namespace, unsigned flags, int64_t *ret_result) {
        _cleanup_close_ int target = -1;
        int r;

        target = find_target(request, flags);
        if (target == -ENODATA)
                return VERDICT_CONTINUED;
        if (target < 0)
                return answer(request, target, ret_result);
        if (!mount_request_allows_target(request->policy, &request->caller, target)) {
                /* Left to the kernel it would work, in a container. */
                request->reason = REASON_TARGET_NOT_LENT;
                return answer(request, -EPERM, ret_result);
        }

        if (!is_safe_outside(&request->caller, kept))
                return answer(request, -EPERM, ret_result);

        request_acting(request, SLOT_ACTING, 0);
        r = attach_to(kept->tree_fd, target, namespace);
        fault_point("moved");
        return answer(request, r, ret_result);
}

static Verdict move_mount_handle(Request *request, int64_t *ret_result) {
        const unsigned known = MOVE_MOUNT_F_SYMLINKS | MOVE_MOUNT_F_AUTOMOUNTS | MOVE_MOUNT_F_EMPTY_PATH |
                               MOVE_MOUNT_T_SYMLINKS | MOVE_MOUNT_T_AUTOMOUNTS | MOVE_MOUNT_T_EMPTY_PATH;
        unsigned flags = (unsigned) request->args[4];
        int caller_fd = (int) request->args[0], r;
        _cleanup_close_ int namespace = -1;
        MountKept *kept;
        Verdict verdict;
        char c;

        /* What the kernel does by itself works as well; only the mount stays busy for a moment. */
        if ((flags & ~known) || !(flags & MOVE_MOUNT_F_EMPTY_PATH) || request->args[1] == 0)
                return VERDICT_CONTINUED;
        if (nothing_kept(request) && !request->retry)
                return VERDICT_CONTINUED;
        if (caller_read(&request->caller, request->args[1], &c, 1) < 0 || c != 0)
                return VERDICT_CONTINUED;

        if (identify(request, &namespace, &r) != REASON_NONE)
                return VERDICT_CONTINUED; /* EPERM */

        r = caller_impersonate(&request->caller);
        if (r < 0)
                return request_fail(request, r, ret_result);

        if (request->retry) {
                _cleanup_close_ int target = find_target(request, flags);

                return target >= 0 && was_attached(request, caller_fd, target)
                                       ? answer(request, 0, ret_result)
                                       : VERDICT_CONTINUED;
        }

        if (find_kept(request, caller_fd, NULL, &kept) == 0)
                return VERDICT_CONTINUED;

        verdict = attach(request, kept, namespace, flags, ret_result);
        if (verdict == VERDICT_EMULATED && *ret_result >= 0)
                mount_kept_drop(kept);
        else
                mount_kept_release(kept);
        return verdict;
}

#define ACCESS_TIMES (MOUNT_ATTR__ATIME | MOUNT_ATTR_NODIRATIME)

static uint64_t attributes_of(int fd) {
        static const struct {
                unsigned long flag;
                uint64_t attribute;
        } table[] = {
                { ST_RDONLY, MOUNT_ATTR_RDONLY },
                { ST_NOSUID, MOUNT_ATTR_NOSUID },
                { ST_NODEV, MOUNT_ATTR_NODEV },
                { ST_NOEXEC, MOUNT_ATTR_NOEXEC },
                { ST_NODIRATIME, MOUNT_ATTR_NODIRATIME },
                { NO_SYMLINKS_FOLLOWED, MOUNT_ATTR_NOSYMFOLLOW },
        };
        uint64_t attributes = 0;
        struct statvfs s;

        if (fstatvfs(fd, &s) < 0)
                return 0;

        for (size_t i = 0; i < G_N_ELEMENTS(table); i++)
                if (s.f_flag & table[i].flag)
                        attributes |= table[i].attribute;

        if (s.f_flag & ST_NOATIME)
                attributes |= MOUNT_ATTR_NOATIME;
        else if (!(s.f_flag & ST_RELATIME))
                attributes |= MOUNT_ATTR_STRICTATIME;

        return attributes;
}

/* Is it something that only we can do, since the access times of the mount are locked, and nothing else that
 * the kernel would have to say something about? */
static bool changes_access_times(const struct mount_attr *a) {
        uint64_t atime = a->attr_set & MOUNT_ATTR__ATIME;

        if (!((a->attr_set | a->attr_clr) & ACCESS_TIMES) || a->propagation != 0 || a->userns_fd != 0)
                return false;
        if ((a->attr_set | a->attr_clr) & ~(uint64_t) FSMOUNT_ATTRIBUTES)
                return false;
        if (a->attr_clr & MOUNT_ATTR__ATIME ? (a->attr_clr & MOUNT_ATTR__ATIME) != MOUNT_ATTR__ATIME
                                            : atime != 0)
                return false;

        return atime == MOUNT_ATTR_RELATIME || atime == MOUNT_ATTR_NOATIME || atime == MOUNT_ATTR_STRICTATIME;
}

/* Makes the mount once more, as the caller wants it, and puts it in place of what it has. It's the same
 * superblock, which lives. */
static Verdict replace_mount(Request *request, MountKept *kept, const struct mount_attr *a, int caller_fd,
                bool cloexec, int64_t *ret_result) {
        uint64_t attributes = attributes_of(kept->tree_fd);
        _cleanup_close_ int made = -1;
        bool internal = false;
        Reason reason = REASON_NONE;
        int r, tree = -1;
        struct stat st;
        MountRequest m;

        r = build_request(request, &kept->parameters, &m);
        m.attributes = (attributes & ~a->attr_clr) | a->attr_set;
        if (request_wants_description(request))
                request->arguments = describe(&m);
        if (r >= 0)
                r = mount_request_check(&m, &reason);
        if (r >= 0 && (reason != REASON_NONE || caller_verify(&request->caller) < 0))
                r = -EPERM;
        if (r >= 0)
                r = mount_request_create(&m, &made, &internal);
        if (r >= 0 && (fstat(made, &st) < 0 || st.st_dev != kept->device || st.st_ino != kept->inode))
                r = -ESTALE;
        if (r >= 0)
                r = mount_request_finish(&m, made, &tree);
        mount_request_done(&m);
        if (r < 0)
                return VERDICT_CONTINUED; /* EPERM, and all is as before. */

        r = give_mount(request, tree, &kept->parameters, cloexec, caller_fd);
        return r < 0 ? VERDICT_CONTINUED : answer(request, 0, ret_result);
}

/* mount_setattr(2). The kernel locks a mount's access times together with what must be locked; but until it's
 * attached, mount(8) wants to set them. All other attributes are left to the kernel. */
static Verdict mount_setattr_handle(Request *request, int64_t *ret_result) {
        int caller_fd = (int) request->args[0], flags, r;
        struct mount_attr a;
        MountKept *kept;
        Verdict verdict;
        char path;

        if ((unsigned) request->args[2] &
                        ~(unsigned) (AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_RECURSIVE))
                return VERDICT_CONTINUED;
        if (request->args[1] == 0 || request->args[4] != sizeof(a) || nothing_kept(request))
                return VERDICT_CONTINUED;
        if (caller_read_both(&request->caller, request->args[1], &path, 1, request->args[3], &a, sizeof(a)) <
                                        0 ||
                        path != 0 || !changes_access_times(&a))
                return VERDICT_CONTINUED;

        if (identify(request, NULL, &r) != REASON_NONE || caller_impersonate(&request->caller) < 0)
                return VERDICT_CONTINUED;
        if (find_kept(request, caller_fd, &flags, &kept) == 0)
                return VERDICT_CONTINUED;
        if (caller_verify(&request->caller) < 0 || is_bpf(&kept->parameters) ||
                        (attributes_of(kept->tree_fd) & a.attr_clr & ~ACCESS_TIMES)) {
                /* What's set may be locked, and then it's EPERM. Of a bpf file system nothing is. */
                mount_kept_release(kept);
                return VERDICT_CONTINUED;
        }

        verdict = replace_mount(request, kept, &a, caller_fd, flags & O_CLOEXEC, ret_result);
        if (verdict == VERDICT_EMULATED)
                mount_kept_drop(kept);
        else
                mount_kept_release(kept);
        return verdict;
}

static Verdict mount_api_handle(Request *request, int64_t *ret_result) {
        switch (request->call) {
        case CALL_FSOPEN:
                return fsopen_handle(request, ret_result);
        case CALL_FSCONFIG:
                return fsconfig_handle(request, ret_result);
        case CALL_FSMOUNT:
                return fsmount_handle(request, ret_result);
        case CALL_MOVE_MOUNT:
                return move_mount_handle(request, ret_result);
        case CALL_MOUNT_SETATTR:
                return mount_setattr_handle(request, ret_result);
        default:
                return VERDICT_CONTINUED;
        }
}

const Handler mount_api_handler = {
        .name = "mount-api",
        .calls = CALL_BIT(CALL_FSOPEN) | CALL_BIT(CALL_FSCONFIG) | CALL_BIT(CALL_FSMOUNT) |
                 CALL_BIT(CALL_MOVE_MOUNT) | CALL_BIT(CALL_MOUNT_SETATTR),
        .capabilities = CAPABILITY_BIT(CAP_DAC_OVERRIDE) | CAPABILITY_BIT(CAP_DAC_READ_SEARCH),
        .handle = mount_api_handle,
};
