/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* fsmount(2), move_mount(2), mount_setattr(2): mounts that aren't attached yet. See mount-api.c. */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "policy/mount-type.h"
#include "supervisor/attach.h"
#include "supervisor/descriptor.h"
#include "supervisor/fault.h"
#include "supervisor/handlers/mount-api.h"
#include "supervisor/lookup.h"
#include "supervisor/mount-as-caller.h"
#include "supervisor/mount-id.h"
#include "supervisor/supervisor.h"

/* ST_NOSYMFOLLOW of statvfs(3), since 5.10 */
#define NO_SYMLINKS_FOLLOWED 0x2000u

#define FSMOUNT_ATTRIBUTES                                                                                   \
        (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR__ATIME |  \
                        MOUNT_ATTR_NODIRATIME | MOUNT_ATTR_NOSYMFOLLOW)
#define ACCESS_TIMES (MOUNT_ATTR__ATIME | MOUNT_ATTR_NODIRATIME)

/* Has anybody anything of this target's callers? */
static bool nothing_kept(const Request *request) {
        pid_t others[TARGET_STATE_SLOTS];

        return !mount_contexts_pending() && supervisor_others(request->supervisor, others) == 0;
}

/* Hands the mount out, in place of the caller's descriptor "number" if that isn't -1. Takes "tree_fd" over.
 * Return: the number of the caller's descriptor, or a negative errno. */
static int give_mount(Request *request, int tree_fd, uint64_t attributes, const MountParameters *parameters,
                bool cloexec, int number) {
        _cleanup_close_ int tree = tree_fd, fd = -1, watch = -1;
        bool locked, read_only = (attributes & MOUNT_ATTR_RDONLY) ||
                                 request->policy->mount.read_only == MOUNT_READ_ONLY_YES;
        int r, n;

        r = mount_as_caller_open(&request->caller, tree, &fd, &watch, &locked);
        if (r < 0)
                return r;

        n = descriptor_give(&request->caller, fd, cloexec, number);
        if (n < 0)
                return n;
        fault_point("mount-injected");

        r = mount_kept_add(
                        TAKE_FD(tree), TAKE_FD(watch), locked, read_only, parameters, mount_api_now_usec());
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

        reason = mount_api_identify(request, NULL, &r);
        if (reason == REASON_NONE)
                r = caller_impersonate(&request->caller);
        if (r < 0)
                return request_fail(request, r, ret_result);
        if (reason != REASON_NONE)
                return mount_api_refuse(
                                request, reason, request_text("mount of %s", context->parameters.type), NULL);
        if (caller_verify(&request->caller) < 0)
                return VERDICT_CONTINUED;
        if (context->state == MOUNT_CONTEXT_MOUNTED)
                return mount_api_answer(request, -EBUSY, ret_result);

        r = mount_api_build_request(request, &context->parameters, &m);
        m.attributes = attributes;
        if (r >= 0)
                r = mount_request_finish(&m, context->tree_fd, &tree);
        if (request_wants_description(request))
                request->arguments = mount_api_describe(&m);
        mount_request_done(&m);
        if (r < 0)
                return request_fail(request, r == -ENOENT ? -EIO : r, ret_result);

        request_acting(request, SLOT_ACTING, 0);
        context->tree_fd = close_fd(context->tree_fd);
        context->state = MOUNT_CONTEXT_MOUNTED;
        r = give_mount(request, tree, attributes, &context->parameters, cloexec, -1);
        return r == -ENOENT ? VERDICT_CONTINUED : mount_api_answer(request, r, ret_result);
}

Verdict mount_api_fsmount(Request *request, int64_t *ret_result) {
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

        r = mount_api_find_context(request, (int) request->args[0], &context);
        if (r < 0)
                return mount_api_answer(request, r, ret_result);
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
                return mount_api_answer(request, target, ret_result);
        if (!mount_request_allows_target(request->policy, &request->caller, target)) {
                /* Left to the kernel it would work, in a container. */
                request->reason = REASON_TARGET_NOT_LENT;
                return mount_api_answer(request, -EPERM, ret_result);
        }

        if (!is_safe_outside(&request->caller, kept))
                return mount_api_answer(request, -EPERM, ret_result);

        request_acting(request, SLOT_ACTING, 0);
        r = attach_to(kept->tree_fd, target, namespace);
        fault_point("moved");
        return mount_api_answer(request, r, ret_result);
}

Verdict mount_api_move_mount(Request *request, int64_t *ret_result) {
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

        if (mount_api_identify(request, &namespace, &r) != REASON_NONE)
                return VERDICT_CONTINUED; /* EPERM */

        r = caller_impersonate(&request->caller);
        if (r < 0)
                return request_fail(request, r, ret_result);

        if (request->retry) {
                _cleanup_close_ int target = find_target(request, flags);

                return target >= 0 && was_attached(request, caller_fd, target)
                                       ? mount_api_answer(request, 0, ret_result)
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

static uint64_t attributes_of(const MountKept *kept) {
        static const struct {
                unsigned long flag;
                uint64_t attribute;
        } table[] = {
                { ST_NOSUID, MOUNT_ATTR_NOSUID },
                { ST_NODEV, MOUNT_ATTR_NODEV },
                { ST_NOEXEC, MOUNT_ATTR_NOEXEC },
                { ST_NODIRATIME, MOUNT_ATTR_NODIRATIME },
                { NO_SYMLINKS_FOLLOWED, MOUNT_ATTR_NOSYMFOLLOW },
        };
        uint64_t attributes = kept->read_only ? MOUNT_ATTR_RDONLY : 0;
        struct statvfs s;

        if (fstatvfs(kept->tree_fd, &s) < 0)
                return attributes;

        for (size_t i = 0; i < G_N_ELEMENTS(table); i++)
                if (s.f_flag & table[i].flag)
                        attributes |= table[i].attribute;

        if (s.f_flag & ST_NOATIME)
                attributes |= MOUNT_ATTR_NOATIME;
        else if (!(s.f_flag & ST_RELATIME))
                attributes |= MOUNT_ATTR_STRICTATIME;

        return attributes;
}

/* Is it about attributes alone, and nothing that the kernel would have to say something about? */
static bool changes_attributes(const struct mount_attr *a) {
        uint64_t atime = a->attr_set & MOUNT_ATTR__ATIME;

        if (a->propagation != 0 || a->userns_fd != 0)
                return false;
        if ((a->attr_set | a->attr_clr) & ~(uint64_t) FSMOUNT_ATTRIBUTES)
                return false;
        if (a->attr_clr & MOUNT_ATTR__ATIME ? (a->attr_clr & MOUNT_ATTR__ATIME) != MOUNT_ATTR__ATIME
                                            : atime != 0)
                return false;

        return atime == MOUNT_ATTR_RELATIME || atime == MOUNT_ATTR_NOATIME || atime == MOUNT_ATTR_STRICTATIME;
}

/* Is it something that only we can do, since it's locked: the access times, always, and what would be taken
 * off? (What's put on isn't, and may have been so by the caller natively.) */
static bool changes_locked(const struct mount_attr *a, uint64_t attributes) {
        return ((a->attr_set | a->attr_clr) & ACCESS_TIMES) || (a->attr_clr & attributes);
}

/* Makes the mount once more, as the caller wants it and with what the policy forces, and puts it in place of
 * what it has. It's the same superblock, which lives. */
static Verdict replace_mount(Request *request, MountKept *kept, const struct mount_attr *a, int caller_fd,
                bool cloexec, int64_t *ret_result) {
        uint64_t attributes = (attributes_of(kept) & ~a->attr_clr) | a->attr_set;
        _cleanup_close_ int made = -1;
        bool internal = false;
        Reason reason = REASON_NONE;
        int r, tree = -1;
        struct stat st;
        MountRequest m;

        r = mount_api_build_request(request, &kept->parameters, &m);
        m.attributes = attributes;
        if (request_wants_description(request))
                request->arguments = mount_api_describe(&m);
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

        r = give_mount(request, tree, attributes, &kept->parameters, cloexec, caller_fd);
        return r < 0 ? VERDICT_CONTINUED : mount_api_answer(request, 0, ret_result);
}

/* mount_setattr(2). The kernel locks a mount's access times together with what must be locked; but until it's
 * attached, mount(8) wants to set them, and to take off what an option says the opposite of ("rw", "dev").
 * What the policy forces stays, as with fsmount(2). What isn't locked is left to the kernel. */
Verdict mount_api_mount_setattr(Request *request, int64_t *ret_result) {
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
                        path != 0 || !changes_attributes(&a))
                return VERDICT_CONTINUED;

        if (mount_api_identify(request, NULL, &r) != REASON_NONE || caller_impersonate(&request->caller) < 0)
                return VERDICT_CONTINUED;
        if (find_kept(request, caller_fd, &flags, &kept) == 0)
                return VERDICT_CONTINUED;
        /* Of a bpf file system nothing is locked. */
        if (caller_verify(&request->caller) < 0 || mount_type_is_callers(kept->parameters.type) ||
                        !changes_locked(&a, attributes_of(kept))) {
                kept->read_only = kept->read_only || (a.attr_set & MOUNT_ATTR_RDONLY);
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
