/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* mknod(2), mknodat(2): device nodes.
 *
 * Privilege lent: CAP_MKNOD, for the one mknodat() of a device that AllowDevice= names. The node is made with
 * the caller's own ids, umask and rights in the directory; CAP_DAC_OVERRIDE is raised only where the caller's
 * own would count (its directory, see caller_maps_owner()).
 *
 * What a hostile container may try, and what meets it:
 *   - change the path while it's read, or a link on the way: the path is copied once, the directory is opened
 * once and kept; the node is made there, whatever the names mean by then. A device that isn't lent can't come
 * of it: its number is in a register.
 *   - ask from a nested user namespace, without CAP_MKNOD, as a user: caller_may_borrow().
 *   - ask for 64-bit garbage: mode and number are compared as the kernel reads them, 16 and 32 bits.
 *   - have us mount where it may not: caller_open_mount_namespace().
 *   - make it on a file system of its own that answers late or never: deputyd starts another supervisor.
 *   - have us open something dangerous when a new mount is probed: only c 1:3 is ever opened, and checked to
 * be that.
 *   - reuse the thread's id, or exec a setuid program meanwhile: see caller.h.
 *
 * Where a node can be made but not opened (a mount with nodev, a tmpfs that the container made itself) or not
 * be made at all (an overlay that it made itself), a node of our own is bind-mounted over a new file instead.
 * Only in containers: in the mount namespace of a service it would show on the host. */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "supervisor/attach.h"
#include "supervisor/handlers/handlers.h"
#include "supervisor/lookup.h"
#include "supervisor/mount-id.h"

/* What the call asks for, at the width at which the kernel reads it. */
typedef struct DeviceRequest {
        int dirfd;
        uint64_t path_address;
        mode_t mode;
        unsigned number; /* the kernel's encoding of a device number */
        unsigned major, minor;
} DeviceRequest;

static DeviceRequest device_request(const Request *request) {
        unsigned shift = request->call == CALL_MKNODAT ? 1 : 0;
        DeviceRequest d = {
                .dirfd = shift ? (int) request->args[0] : AT_FDCWD,
                .path_address = request->args[shift],
                .mode = (uint16_t) request->args[1 + shift],
                .number = (unsigned) request->args[2 + shift],
        };

        /* See new_decode_dev() in the kernel: 12 bits of major between the lower 8 and the upper 12 of minor.
         */
        d.major = (d.number >> 8) & 0xfff;
        d.minor = (d.number & 0xff) | ((d.number >> 12) & 0xfff00);
        return d;
}

static Verdict refuse(Request *request, const DeviceRequest *d, Reason reason, const char *path) {
        char *arguments = NULL, *hint = NULL;

        if (caller_has_natively(&request->caller, CAP_MKNOD))
                return VERDICT_CONTINUED;

        if (request_wants_description(request)) {
                char type = S_ISCHR(d->mode) ? 'c' : 'b';
                char buffer[PATH_MAX];

                if (!path)
                        path = caller_read_string(
                                               &request->caller, d->path_address, buffer, sizeof(buffer)) >= 0
                                               ? buffer
                                               : "?";

                arguments = request_text("%s, %s device %u:%u, mode %04o", path,
                                type == 'c' ? "character" : "block", d->major, d->minor, d->mode & 07777u);
                if (reason == REASON_DEVICE_NOT_LENT)
                        hint = g_strdup_printf("[Mknod] AllowDevice=%c %u:%u", type, d->major, d->minor);
                else if (reason == REASON_USER_NOT_LENT)
                        hint = g_strdup_printf("[Intercept] AllowUsers=%u", (unsigned) request->caller.euid);

                /* What was read is the caller's only if it's still there (law 3); the journal is no place for
                 * others' memory. */
                if (caller_verify(&request->caller) < 0) {
                        g_free(arguments);
                        g_free(hint);
                        return VERDICT_CONTINUED;
                }
        }

        return request_refuse(request, reason, arguments, hint);
}

/* The caller's own capabilities that count in this directory. */
static CapabilitySet dac_in(const Request *request, int parent) {
        struct stat st;

        return fstat(parent, &st) < 0 ? 0 : caller_dac_over(&request->caller, st.st_uid, st.st_gid);
}

/* Takes back what was made in this directory. Return: 0 or a negative errno. */
static int remove_name(const Request *request, int parent, const char *name) {
        int r;

        r = privilege_raise(dac_in(request, parent));
        if (r < 0)
                return r;

        r = unlinkat(parent, name, 0) < 0 ? -errno : 0;
        (void) privilege_raise(0);
        return r;
}

/* Can this node be opened, where it is? That the superblock belongs to the container (SB_I_NODEV) shows
 * nowhere, so the kernel itself is asked, in a way that never opens the device: O_NOATIME is for the owner
 * alone, and that's checked (EPERM) after the question whether devices may be opened there at all (EACCES).
 * So somebody tries who isn't the owner, with no permission in the way. See may_open() in the kernel's
 * fs/namei.c. Return: 1 yes, 0 no, or a negative errno. */
static int probe_node(Request *request, const DeviceRequest *d, int parent, const char *name) {
        const Caller *caller = &request->caller;
        _cleanup_close_ int node = -1, opened = -1;
        struct stat st;
        char self[64];
        int r;

        /* Somebody may have put something else there by now: look at what we have first. */
        r = privilege_raise(dac_in(request, parent));
        if (r < 0)
                return r;
        node = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        r = node < 0 || fstat(node, &st) < 0 ? -errno : 0;
        (void) privilege_raise(0);
        if (r < 0)
                return r;
        if ((st.st_mode & S_IFMT) != (d->mode & S_IFMT) || st.st_rdev != makedev(d->major, d->minor))
                return -ESTALE;

        r = privilege_take_ids(st.st_uid == 65534 ? 65533 : 65534, caller->fsgid, caller->groups,
                        caller->n_groups, caller->umask);
        if (r >= 0)
                r = privilege_raise(CAPABILITY_BIT(CAP_DAC_OVERRIDE));
        if (r >= 0) {
                snprintf(self, sizeof(self), "/proc/self/fd/%i", node);
                opened = open(self, O_RDONLY | O_NOATIME | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
                r = opened < 0 && errno == EACCES ? 0 : 1;
        }

        (void) privilege_raise(0);
        if (caller_impersonate(caller) < 0)
                return -EPERM;

        return r;
}

/* What is known of mounts: 1 nodes can be opened there, 0 they can't. Only where mounts have identities of
 * their own (6.8): a number that can come again isn't one. */
static struct {
        uint64_t mount;
        int answer;
} mount_cache[32];

static int mount_recall(uint64_t mount) {
        for (size_t i = 0; i < G_N_ELEMENTS(mount_cache); i++)
                if (mount_cache[i].mount == mount)
                        return mount_cache[i].answer;

        return -ENODATA;
}

static void mount_remember(uint64_t mount, int answer) {
        static unsigned next;

        mount_cache[next].mount = mount;
        mount_cache[next].answer = answer;
        next = (next + 1) % G_N_ELEMENTS(mount_cache);
}

/* Makes the node, with the caller's capability over the directory if it has to be. Return: 0 or a negative
 * errno. */
static int make_node(Request *request, const DeviceRequest *d, int parent, const char *name) {
        CapabilitySet dac;
        int r;

        if (syscall(SYS_mknodat, parent, name, d->mode, d->number) >= 0)
                return 0;
        if (errno != EACCES)
                return -errno;

        dac = dac_in(request, parent);
        r = dac ? privilege_raise(dac) : -EACCES;
        if (r < 0)
                return r;

        r = syscall(SYS_mknodat, parent, name, d->mode, d->number) < 0 ? -errno : 0;
        (void) privilege_raise(0);
        return r;
}

/* The fallback: a new file, and over it a bind mount of a node from a file system of ours. */
static int bind_node(Request *request, const DeviceRequest *d, int parent, const char *name, int namespace) {
        _cleanup_close_ int tree = -1, file = -1;
        int r;

        tree = attach_node_tree(d->mode, d->number);
        if (tree < 0)
                return tree;

        request_acting(request, SLOT_FILE_MADE, 0);
        r = privilege_raise(dac_in(request, parent));
        if (r >= 0) {
                file = openat(parent, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0);
                r = file < 0 ? -errno : attach_to(tree, file, namespace);
                if (r < 0 && file >= 0)
                        (void) unlinkat(parent, name, 0);
                (void) privilege_raise(0);
        }

        attach_forget_node();
        return r;
}

/* A successor finds what may be its predecessor's work. Return: 1 if it's ours and complete, 0 to go on, or a
 * negative errno. */
static int adopt_traces(Request *request, const DeviceRequest *d, int parent, const char *name,
                const struct stat *st) {
        if (!request->retry || request->slot->before != 0 || request->slot->stage == SLOT_RECEIVED ||
                        !request_may_have_made(request,
                                        st->st_ctim.tv_sec * INT64_C(1000000000) + st->st_ctim.tv_nsec))
                return -EEXIST;

        if ((st->st_mode & S_IFMT) == (d->mode & S_IFMT) && st->st_rdev == makedev(d->major, d->minor))
                return 1;

        /* The file that was made to be mounted on, and nothing mounted yet: begin again. */
        if (request->slot->stage == SLOT_FILE_MADE && S_ISREG(st->st_mode) && st->st_size == 0 &&
                        st->st_uid == request->caller.fsuid && remove_name(request, parent, name) >= 0)
                return 0;

        return -EEXIST;
}

/* Makes the node where nodes are known to work, or finds out whether they do. Return: 0; -ENODEV if a node of
 * our own has to stand in; or the caller's errno. */
static int make_working_node(
                Request *request, const DeviceRequest *d, int parent, const char *name, bool adopted) {
        struct statvfs sfs;
        uint64_t mount = 0;
        int r, known;

        known = mount_id_unique(parent, &mount) < 0 ? -ENODATA : mount_recall(mount);
        if (known < 0 && fstatvfs(parent, &sfs) >= 0 && (sfs.f_flag & ST_NODEV))
                known = 0;
        if (known == 0 && !adopted)
                return -ENODEV;

        if (!adopted) {
                request_acting(request, SLOT_ACTING, 0);
                r = make_node(request, d, parent, name);
                if (r < 0)
                        return r == -EPERM ? -ENODEV : r; /* An overlay that the container mounted makes nodes
                                                             with the container's rights. */
        }

        if (known < 0) {
                known = probe_node(request, d, parent, name);
                if (known >= 0 && mount != 0)
                        mount_remember(mount, known);
        }
        if (known != 0)
                return 0;

        return remove_name(request, parent, name) < 0 ? 0 : -ENODEV;
}

static int act(Request *request, const DeviceRequest *d, int parent, const char *name) {
        bool fallback = request->policy->mknod.bind_fallback &&
                        request->caller.userns->kind == USERNS_CONTAINER,
             adopted = false;
        _cleanup_close_ int namespace = -1;
        struct stat st;
        int r;

        /* A slash behind the name makes other calls follow a link, and that from our own root. mknodat(2)
         * never does, and never makes a device there: its errno is the native one. */
        if (g_str_has_suffix(name, "/"))
                return make_node(request, d, parent, name);

        /* Whatever is there by that name is in the way, and a successor must be able to tell it from our own
         * work. */
        if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) >= 0) {
                r = adopt_traces(request, d, parent, name, &st);
                if (r < 0)
                        return r;
                adopted = r > 0;
                if (adopted && (!fallback || request->slot->stage == SLOT_FILE_MADE))
                        return 0; /* It's complete: made, or mounted. */
        }

        if (fallback) {
                r = make_working_node(request, d, parent, name, adopted);
                if (r != -ENODEV)
                        return r;

                namespace = request->caller.effective & CAPABILITY_BIT(CAP_SYS_ADMIN)
                                            ? caller_open_mount_namespace(&request->caller)
                                            : -EPERM;
                if (namespace >= 0)
                        return bind_node(request, d, parent, name, namespace);
                if (namespace != -EPERM)
                        return namespace;
        }

        request_acting(request, SLOT_ACTING, 0);
        return make_node(request, d, parent, name);
}

static Verdict mknod_handle(Request *request, int64_t *ret_result) {
        DeviceRequest d = device_request(request);
        _cleanup_close_ int parent = -1;
        Lookup lookup = LOOKUP_INIT;
        Reason reason;
        int r;

        if ((!S_ISCHR(d.mode) && !S_ISBLK(d.mode)) || (S_ISCHR(d.mode) && d.number == 0))
                return VERDICT_CONTINUED; /* The filter lets them pass; a third party's needn't. */

        if (!policy_find_device(request->policy, d.mode & S_IFMT, makedev(d.major, d.minor)))
                return refuse(request, &d, REASON_DEVICE_NOT_LENT, NULL);

        r = caller_identify(&request->caller);
        if (r < 0)
                return request_fail(request, r, ret_result);

        reason = caller_may_borrow(&request->caller, CAP_MKNOD,
                        policy_allows_user(request->policy, request->caller.euid));
        if (reason != REASON_NONE)
                return refuse(request, &d, reason, NULL);

        r = caller_impersonate(&request->caller);
        if (r < 0)
                return request_fail(request, r, ret_result);

        r = lookup_prepare(&lookup, &request->caller, d.dirfd, d.path_address, 0);
        if (caller_verify(&request->caller) < 0) {
                lookup_done(&lookup);
                return VERDICT_CONTINUED; /* Gone: nobody waits for an answer. */
        }

        if (r >= 0)
                r = parent = lookup_parent(&lookup);

        if (r == -ELOOP) {
                /* Too many links, or a magic one that isn't ours to follow. The kernel knows which. */
                Verdict v = refuse(request, &d, REASON_PATH_NOT_REACHABLE, lookup.path);

                lookup_done(&lookup);
                return v;
        }

        if (r >= 0)
                r = act(request, &d, parent, lookup.name);

        if (request_wants_description(request))
                request->arguments = request_text("%s, %s device %u:%u, mode %04o", lookup.path,
                                S_ISCHR(d.mode) ? "character" : "block", d.major, d.minor, d.mode & 07777u);

        lookup_done(&lookup);
        *ret_result = r < 0 ? r : 0;
        return VERDICT_EMULATED;
}

const Handler mknod_handler = {
        .name = "mknod",
        .calls = CALL_BIT(CALL_MKNOD) | CALL_BIT(CALL_MKNODAT),
        .capabilities = CAPABILITY_BIT(CAP_MKNOD) | CAPABILITY_BIT(CAP_DAC_OVERRIDE) |
                        CAPABILITY_BIT(CAP_DAC_READ_SEARCH) | CAPABILITY_BIT(CAP_FOWNER) |
                        CAPABILITY_BIT(CAP_FSETID),
        .handle = mknod_handle,
};
