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

#include <linux/capability.h>
#include <string.h>

#include "basic/clock.h"
#include "basic/log.h"
#include "supervisor/handlers/mount-api.h"
#include "supervisor/supervisor.h"

/* How often kept mounts and contexts are looked at. */
#define SWEEP_MOUNTS_USEC   (UINT64_C(100) * 1000)
#define SWEEP_CONTEXTS_USEC (UINT64_C(1000) * 1000)

static sd_event_source *sweep_source;

uint64_t mount_api_now_usec(void) {
        return now_nsec(CLOCK_MONOTONIC) / 1000;
}

static int on_sweep(sd_event_source *source, uint64_t usec, void *userdata) {
        uint64_t now = mount_api_now_usec();
        size_t n_mounts, n = mount_contexts_sweep(now, &n_mounts);

        if (n == 0)
                return sd_event_source_set_enabled(source, SD_EVENT_OFF);

        (void) sd_event_source_set_time(
                        source, now + (n_mounts > 0 ? SWEEP_MOUNTS_USEC : SWEEP_CONTEXTS_USEC));
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

void mount_api_look_soon(Supervisor *s) {
        uint64_t at = mount_api_now_usec() + SWEEP_MOUNTS_USEC;
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

int mount_api_find_context(Request *request, int fd, MountContext **ret) {
        pid_t others[TARGET_STATE_SLOTS];
        size_t n = supervisor_others(request->supervisor, others);
        int r;

        if (n == 0 && !mount_contexts_pending())
                return 0;

        r = mount_context_find(request->caller.tid, fd, others, n, mount_api_now_usec(), ret);
        if (r > 0)
                mount_api_look_soon(request->supervisor);
        return r;
}

Verdict mount_api_answer(Request *request, int64_t result, int64_t *ret_result) {
        *ret_result = result;
        return VERDICT_EMULATED;
}

Verdict mount_api_refuse(Request *request, Reason reason, char *arguments, char *hint) {
        if (caller_verify(&request->caller) < 0) {
                g_free(arguments);
                g_free(hint);
                return VERDICT_CONTINUED;
        }

        return request_refuse(request, reason, arguments, hint);
}

Reason mount_api_identify(Request *request, int *ret_namespace_fd, int *ret_error) {
        *ret_error = caller_identify(&request->caller);

        return *ret_error < 0 ? REASON_INTERNAL
                              : mount_request_may_borrow(request->policy, &request->caller, ret_namespace_fd);
}

char *mount_api_describe(const MountRequest *m) {
        g_autofree char *text = mount_request_describe(m, NULL);

        return request_text("%s", text);
}

int mount_api_build_request(Request *request, const MountParameters *parameters, MountRequest *ret) {
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

static Verdict mount_api_handle(Request *request, int64_t *ret_result) {
        switch (request->call) {
        case CALL_FSOPEN:
                return mount_api_fsopen(request, ret_result);
        case CALL_FSCONFIG:
                return mount_api_fsconfig(request, ret_result);
        case CALL_FSMOUNT:
                return mount_api_fsmount(request, ret_result);
        case CALL_MOVE_MOUNT:
                return mount_api_move_mount(request, ret_result);
        case CALL_MOUNT_SETATTR:
                return mount_api_mount_setattr(request, ret_result);
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
