/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/fd.h"
#include "policy/mount-type.h"
#include "supervisor/attach.h"
#include "supervisor/kernel-files.h"
#include "supervisor/mount-bpf.h"
#include "supervisor/mount-request.h"
#include "supervisor/mount-source.h"

void mount_request_init(MountRequest *m, const Policy *policy, Caller *caller, const char *type) {
        *m = (MountRequest){
                .policy = policy,
                .caller = caller,
                .type = g_strdup(type),
                .options = g_array_new(FALSE, FALSE, sizeof(MountOption)),
                .source_fd = -1,
        };
}

void mount_request_done(MountRequest *m) {
        m->source_fd = close_fd(m->source_fd);
        g_clear_pointer(&m->type, g_free);
        g_clear_pointer(&m->source, g_free);
        g_clear_pointer(&m->options, g_array_unref);
        g_clear_pointer(&m->hint, g_free);
        g_clear_pointer(&m->message, g_free);
}

Reason mount_request_may_borrow(const Policy *policy, Caller *caller, int *ret_namespace_fd) {
        _cleanup_close_ int namespace = -1;
        Reason reason;

        reason = caller_may_borrow(caller, CAP_SYS_ADMIN, policy_allows_user(policy, caller->euid));
        if (reason != REASON_NONE)
                return reason;

        namespace = caller_open_mount_namespace(caller);
        if (namespace == -EPERM)
                return REASON_NO_CAPABILITY; /* It has it, but not over this mount namespace. */
        if (namespace < 0)
                return REASON_INTERNAL;

        if (ret_namespace_fd)
                *ret_namespace_fd = TAKE_FD(namespace);
        return REASON_NONE;
}

/* Why a bpf file system would be of no use. */
static const char *why_no_token(const MountRequest *m) {
        if (!mount_type_is_callers(m->type))
                return NULL;
        if (m->caller->userns->kind != USERNS_CONTAINER)
                return "there are BPF tokens in user namespaces only";

        return mount_bpf_is_supported() ? NULL : "this kernel knows no BPF tokens";
}

char *mount_request_token_hint(const char *option, const char *value) {
        BpfDelegated which = bpf_delegated_from_option(option);
        BpfDelegation d = {};

        return which != _BPF_DELEGATED_INVALID && value && bpf_delegation_add(&d, which, value, NULL) >= 0
                               ? g_strdup_printf("[Bpf] Token=%s=%s", option, value)
                               : NULL;
}

static Reason check_options(MountRequest *m) {
        bool read_only = m->sb_flags & MS_RDONLY;

        if (read_only && m->policy->mount.read_only == MOUNT_READ_ONLY_NO) {
                m->hint = g_strdup("[Mount] ReadOnly=caller");
                return REASON_OPTION_NOT_LENT;
        }

        for (guint i = 0; i < m->options->len; i++) {
                const MountOption *option = &g_array_index(m->options, MountOption, i);

                if (policy_allows_mount_option(m->policy, m->type, option->name, option->value))
                        continue;

                if (mount_type_is_callers(m->type) &&
                                bpf_delegated_from_option(option->name) != _BPF_DELEGATED_INVALID)
                        m->hint = mount_request_token_hint(option->name, option->value);
                else if (!mount_option_never_lent(option->name, option->value))
                        m->hint = g_strdup_printf(
                                        "[Mount] AllowOptions=%s%s", option->name, option->value ? "=*" : "");
                return REASON_OPTION_NOT_LENT;
        }

        return REASON_NONE;
}

int mount_request_check(MountRequest *m, Reason *ret_reason) {
        Reason reason;
        int r;

        if (!policy_allows_mount_type(m->policy, m->type)) {
                if (mount_type_name_is_valid(m->type) && !mount_type_never_lent(m->type))
                        m->hint = g_strdup_printf("[Mount] AllowType=%s", m->type);
                *ret_reason = REASON_TYPE_NOT_LENT;
                return 0;
        }

        m->message = g_strdup(why_no_token(m));
        if (m->message) {
                *ret_reason = REASON_TYPE_NOT_LENT;
                return 0;
        }

        r = mount_source_resolve(m);
        if (r < 0)
                return r;

        reason = mount_source_check(m);
        if (reason == REASON_NONE)
                reason = check_options(m);

        *ret_reason = reason;
        return 0;
}

/* The path of the target as the container has it, whatever links and chroots the caller went through. */
static bool target_is_lent(const Policy *policy, int target_fd) {
        char self[64], path[PATH_MAX];
        ssize_t n;

        if (policy->mount.targets->len == 0)
                return true;

        snprintf(self, sizeof(self), "/proc/self/fd/%i", target_fd);
        n = readlink(self, path, sizeof(path) - 1);
        if (n < 0 || n == sizeof(path) - 1)
                return false;
        path[n] = 0;

        return policy_allows_mount_target(policy, path);
}

/* Natively only root mounts outside of containers, and root may do so anywhere. What users own of procfs
 * (their processes) and of cgroups isn't theirs to replace: programs of the host, this one too, take their
 * word from there on who they are. */
static bool is_users_own(const Caller *caller, int target_fd) {
        struct stat st;

        return fstat(target_fd, &st) >= 0 && st.st_uid == caller->fsuid && !is_kernel_file(target_fd);
}

bool mount_request_allows_target(const Policy *policy, const Caller *caller, int target_fd) {
        return target_is_lent(policy, target_fd) &&
               (caller->userns->kind != USERNS_OURS || is_users_own(caller, target_fd));
}

/* The kernel refuses to mount a file system twice on the same spot, but move_mount(2) doesn't. */
static bool is_on_top_of_itself(int fd, int target_fd) {
        struct statx a, b;

        return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &a) >= 0 &&
               statx(target_fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &b) >= 0 &&
               (b.stx_attributes & STATX_ATTR_MOUNT_ROOT) && a.stx_dev_major == b.stx_dev_major &&
               a.stx_dev_minor == b.stx_dev_minor;
}

int mount_request_attach(MountRequest *m, int fd, int target_fd, int namespace_fd) {
        struct stat mounted, target;

        if (is_on_top_of_itself(fd, target_fd))
                return -EBUSY;

        /* move_mount(2) says EINVAL to this. */
        if (fstat(fd, &mounted) < 0 || fstat(target_fd, &target) < 0)
                return -errno;
        if (S_ISDIR(mounted.st_mode) != S_ISDIR(target.st_mode))
                return -ENOTDIR;

        return attach_to(fd, target_fd, namespace_fd);
}

char *mount_request_describe(const MountRequest *m, const char *target) {
        GString *text = g_string_new(m->type);

        if (m->source)
                g_string_append_printf(text, " from %s", m->source);
        if (target)
                g_string_append_printf(text, " on %s", target);
        if (m->sb_flags & MS_RDONLY)
                g_string_append(text, ", read-only");

        for (guint i = 0; i < m->options->len; i++) {
                const MountOption *option = &g_array_index(m->options, MountOption, i);

                g_string_append_printf(text, "%s%s%s%s", i == 0 ? ", options " : ",", option->name,
                                option->value ? "=" : "", option->value ?: "");
        }

        if (m->message)
                g_string_append_printf(text, " (%s)", m->message);

        return g_string_free(text, FALSE);
}
