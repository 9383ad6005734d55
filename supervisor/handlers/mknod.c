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

        if (request_wants_description(request)) {
                char type = S_ISCHR(d->mode) ? 'c' : 'b';
                char buffer[PATH_MAX];

                if (!path)
                        path = caller_read_string(
                                               &request->caller, d->path_address, buffer, sizeof(buffer)) >= 0
                                               ? buffer
                                               : "?";

                arguments = g_strdup_printf("%s, %s device %u:%u, mode %04o", path,
                                type == 'c' ? "character" : "block", d->major, d->minor, d->mode & 07777u);
                if (reason == REASON_DEVICE_NOT_LENT)
                        hint = g_strdup_printf("[Mknod] AllowDevice=%c %u:%u", type, d->major, d->minor);
                else if (reason == REASON_USER_NOT_LENT)
                        hint = g_strdup_printf("[Intercept] AllowUsers=%u", (unsigned) request->caller.euid);
        }

        return request_refuse(request, reason, arguments, hint);
}

/* Can a device node on this mount be opened? Asks the mount's flags, and then the kernel itself, with a node
 * of /dev/null's number (opening which does nothing): that the superblock belongs to the container shows
 * nowhere else. Return: 1 yes, 0 no, or a negative errno. */
static int probe_mount(int parent) {
        char name[64], self[64];
        _cleanup_close_ int node = -1;
        struct statvfs sfs;
        struct stat st;
        int r, fd;

        if (fstatvfs(parent, &sfs) < 0)
                return -errno;
        if (sfs.f_flag & ST_NODEV)
                return 0;

        snprintf(name, sizeof(name), ".deputyd-probe-%i-%08x", (int) getpid(), (unsigned) g_random_int());
        if (syscall(SYS_mknodat, parent, name, S_IFCHR | 0600, 0x103) < 0)
                return errno == EPERM ? 0 : -errno;

        /* Somebody may have put something else there by now: look at what we have before we open it. */
        node = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (node < 0 || fstat(node, &st) < 0)
                r = -errno;
        else if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
                r = -ESTALE;
        else {
                /* For this open alone, so that EACCES can only mean that the mount has no devices. */
                r = privilege_raise(CAPABILITY_BIT(CAP_DAC_OVERRIDE));
                if (r >= 0) {
                        snprintf(self, sizeof(self), "/proc/self/fd/%i", node);
                        fd = open(self, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
                        r = fd >= 0 ? 1 : errno == EACCES ? 0 : 1;
                        close_fd(fd);
                        (void) privilege_raise(0);
                }
        }

        (void) unlinkat(parent, name, 0);
        return r;
}

/* The same, remembered per mount where mounts have identities of their own (6.8): a number that can come
 * again isn't one. */
static int mount_has_devices(int parent) {
        static struct {
                uint64_t mount;
                int answer;
        } cache[32];
        static unsigned next;
        uint64_t mount;
        int r;

        r = mount_id_unique(parent, &mount);
        if (r < 0)
                return probe_mount(parent);

        for (size_t i = 0; i < G_N_ELEMENTS(cache); i++)
                if (cache[i].mount == mount)
                        return cache[i].answer;

        r = probe_mount(parent);
        if (r >= 0) {
                cache[next].mount = mount;
                cache[next].answer = r;
                next = (next + 1) % G_N_ELEMENTS(cache);
        }

        return r;
}

/* Makes the node, with the caller's capability over the directory if it has to be. Return: 0 or a negative
 * errno. */
static int make_node(Request *request, const DeviceRequest *d, int parent, const char *name) {
        const Caller *caller = &request->caller;
        CapabilitySet dac = caller->effective & privilege_dac;
        struct stat st;
        int r;

        if (syscall(SYS_mknodat, parent, name, d->mode, d->number) >= 0)
                return 0;
        if (errno != EACCES || !dac || fstat(parent, &st) < 0 ||
                        !caller_maps_owner(caller, st.st_uid, st.st_gid))
                return -errno;

        r = privilege_raise(dac);
        if (r < 0)
                return r;

        r = syscall(SYS_mknodat, parent, name, d->mode, d->number) < 0 ? -errno : 0;
        (void) privilege_raise(0);
        return r;
}

/* The fallback: a new file, and over it a bind mount of a node from a file system of ours. */
static int bind_node(Request *request, const DeviceRequest *d, int parent, const char *name) {
        const Caller *caller = &request->caller;
        _cleanup_close_ int tree = -1, file = -1, namespace = -1;
        CapabilitySet dac = 0;
        struct stat st;
        int r;

        namespace = caller_open_namespace(&request->caller, "mnt");
        if (namespace < 0)
                return namespace;
        if (caller_verify(caller) < 0) /* Opened late, so asked again. */
                return -ENOENT;

        tree = attach_node_tree(d->mode, d->number);
        if (tree < 0)
                return tree;

        if (fstat(parent, &st) >= 0 && caller_maps_owner(caller, st.st_uid, st.st_gid))
                dac = caller->effective & privilege_dac;

        request_acting(request, SLOT_FILE_MADE, 0);
        r = privilege_raise(dac);
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
                        st->st_uid == request->caller.fsuid && unlinkat(parent, name, 0) >= 0)
                return 0;

        return -EEXIST;
}

static int act(Request *request, const DeviceRequest *d, int parent, const char *name) {
        bool fallback = request->policy->mknod.bind_fallback &&
                        request->caller.userns->kind == USERNS_CONTAINER;
        struct stat st;
        int r, usable = 1;

        /* Whatever is there by that name is in the way, and a successor must be able to tell it from our own
         * work. */
        if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) >= 0) {
                r = adopt_traces(request, d, parent, name, &st);
                if (r != 0)
                        return r < 0 ? r : 0;
        }

        if (fallback) {
                usable = mount_has_devices(parent);
                if (usable == 0)
                        return bind_node(request, d, parent, name);
        }

        request_acting(request, SLOT_ACTING, 0);
        r = make_node(request, d, parent, name);
        if (r == -EPERM && fallback)
                return bind_node(request, d, parent, name);

        return r;
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
                request->arguments = g_strdup_printf("%s, %s device %u:%u, mode %04o", lookup.path,
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
