/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "basic/fd.h"
#include "policy/mount-type.h"
#include "supervisor/kernel-files.h"
#include "supervisor/lookup.h"
#include "supervisor/mount-source.h"

/* What /proc/filesystems says of a type. */
typedef enum TypeNeeds { TYPE_UNKNOWN, TYPE_NEEDS_DEVICE, TYPE_NEEDS_NAME } TypeNeeds;

static TypeNeeds look_up_type(const char *type) {
        g_autofree char *text = NULL;
        size_t size, length = strlen(type);
        _cleanup_close_ int fd = -1;

        fd = open("/proc/filesystems", O_RDONLY | O_CLOEXEC);
        if (fd < 0 || read_fd_full(fd, 64 * 1024, &text, &size) < 0)
                return TYPE_UNKNOWN;

        for (const char *line = text; *line;) {
                const char *end = strchrnul(line, '\n'), *tab = memchr(line, '\t', (size_t) (end - line));

                if (tab && (size_t) (end - tab - 1) == length && memcmp(tab + 1, type, length) == 0)
                        return tab == line ? TYPE_NEEDS_DEVICE : TYPE_NEEDS_NAME;
                line = *end ? end + 1 : end;
        }

        return TYPE_UNKNOWN;
}

/* Types don't change, so one that was known is remembered. */
static bool type_needs_device(const char *type) {
        static struct {
                char name[64];
                bool device;
        } known[8];
        static unsigned next;
        const MountType *t = mount_type_find(type);
        TypeNeeds needs;

        if (t && (t->flags & (MOUNT_TYPE_NO_SOURCE | MOUNT_TYPE_NETWORK)))
                return false;

        for (size_t i = 0; i < G_N_ELEMENTS(known); i++)
                if (strcmp(known[i].name, type) == 0)
                        return known[i].device;

        needs = look_up_type(type);
        if (needs != TYPE_UNKNOWN && strlen(type) < sizeof(known[0].name)) {
                g_strlcpy(known[next].name, type, sizeof(known[0].name));
                known[next].device = needs == TYPE_NEEDS_DEVICE;
                next = (next + 1) % G_N_ELEMENTS(known);
        }

        /* One whose module isn't loaded: those that need none are all in the table. */
        return needs != TYPE_NEEDS_NAME;
}

int mount_source_resolve(MountRequest *m) {
        Lookup lookup = LOOKUP_INIT;
        struct stat st;
        int r;

        m->kind = MOUNT_SOURCE_NAME;
        if (!type_needs_device(m->type))
                return 0;

        if (!m->source || !*m->source) {
                m->source_error = -EINVAL; /* "No source specified" */
                return 0;
        }

        r = lookup_prepare_path(&lookup, m->caller, m->source);
        if (caller_verify(m->caller) < 0) {
                lookup_done(&lookup);
                return -ENOENT;
        }
        if (r >= 0)
                r = lookup_object(&lookup, 0);
        lookup_done(&lookup);
        if (r < 0) {
                m->source_error = r;
                return 0;
        }

        m->source_fd = r;
        if (fstat(m->source_fd, &st) < 0)
                return -errno;

        if (S_ISBLK(st.st_mode)) {
                m->kind = MOUNT_SOURCE_DEVICE;
                m->device = st.st_rdev;
        } else if (S_ISREG(st.st_mode))
                m->kind = MOUNT_SOURCE_IMAGE;
        else
                m->source_error = -ENOTBLK;

        return 0;
}

/* A file system that the container serves itself could make the kernel wait for it, in the middle of another
 * file system's work. */
static bool image_is_served_by_caller(const MountRequest *m) {
        struct statfs sfs;

        return fstatfs(m->source_fd, &sfs) < 0 || sfs.f_type == FUSE_SUPER_MAGIC;
}

static bool takes_files(const char *type) {
        const MountType *t = mount_type_find(type);

        return t && (t->flags & MOUNT_TYPE_FILES);
}

Reason mount_source_check(MountRequest *m) {
        if (m->source_error == -ELOOP)
                return REASON_PATH_NOT_REACHABLE; /* Too many links, or a magic one. The kernel knows. */
        if (m->source_error < 0)
                return REASON_NONE;

        switch (m->kind) {
        case MOUNT_SOURCE_DEVICE:
                if (policy_allows_mount_device(m->policy, m->device))
                        return REASON_NONE;
                m->hint = g_strdup_printf("[Mount] AllowSource=b %u:%u", major(m->device), minor(m->device));
                break;
        case MOUNT_SOURCE_IMAGE:
                if (m->policy->mount.loop) {
                        /* Some files of the kernel's ask for capabilities of whoever opens them, not of whose
                         * file system ids are in force. None is an image. */
                        if (!image_is_served_by_caller(m) && !is_kernel_file(m->source_fd))
                                return REASON_NONE;
                        break;
                }
                m->hint = g_strdup("[Mount] AllowLoop=yes");
                /* The kernel takes no file as a device, but for types that read one by themselves. */
                if (takes_files(m->type))
                        break;
                m->source_error = -ENOTBLK;
                return REASON_NONE;
        case MOUNT_SOURCE_NAME:
        default:
                if (policy_allows_mount_name(m->policy, m->type, m->source))
                        return REASON_NONE;
                m->hint = m->source && strchr(m->source, ':') && !strpbrk(m->source, " \t\n\\")
                                          ? g_strdup_printf("[Mount] AllowSource=%s", m->source)
                                          : g_strdup("[Mount] AllowSource=none");
        }

        return REASON_SOURCE_NOT_LENT;
}

int mount_source_open_image(MountRequest *m, bool read_only, int *ret_fd) {
        char self[64];
        struct stat st;
        int fd, flags = (read_only ? O_RDONLY : O_RDWR) | O_NONBLOCK | O_NOCTTY | O_LARGEFILE | O_CLOEXEC;

        snprintf(self, sizeof(self), "/proc/self/fd/%i", m->source_fd);
        fd = open(self, flags);
        if (fd < 0 && errno == EACCES && fstat(m->source_fd, &st) >= 0 &&
                        privilege_raise(caller_dac_over(m->caller, st.st_uid, st.st_gid)) >= 0) {
                fd = open(self, flags);
                if (fd < 0)
                        fd = -errno;
                (void) privilege_raise(0);
        } else if (fd < 0)
                fd = -errno;

        if (fd < 0)
                return fd;

        *ret_fd = fd;
        return 0;
}
