/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The making of a mount: fsopen(2), fsconfig(2), fsmount(2), mount_setattr(2), in the host's namespaces. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "policy/mount-type.h"
#include "supervisor/fault.h"
#include "supervisor/loop-device.h"
#include "supervisor/mount-bpf.h"
#include "supervisor/mount-create.h"
#include "supervisor/mount-lock.h"
#include "supervisor/mount-name.h"
#include "supervisor/mount-options.h"
#include "supervisor/mount-source.h"

#ifndef MOUNT_ATTR_NOSYMFOLLOW
#        define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif

/* fsconfig(2) takes no longer ones. */
#define VALUE_MAX 255u

/* FSCONFIG_CMD_CREATE_EXCL, since 6.6 */
#define CREATE_EXCLUSIVE 8u

int mount_configure(int context, unsigned command, const char *key, const char *value) {
        return syscall(SYS_fsconfig, context, command, key, value, 0) < 0 ? -errno : 0;
}

void mount_take_message(MountRequest *m, int context) {
        char text[512];

        for (;;) {
                ssize_t n = read(context, text, sizeof(text) - 1);

                if (n <= 2)
                        return;
                text[n] = 0;
                g_strchomp(text);
                if (text[0] == 'e' || !m->message) {
                        g_free(m->message);
                        m->message = g_strdup(text + 2);
                }
        }
}

static bool in_container(const MountRequest *m) {
        return m->caller->userns->kind == USERNS_CONTAINER;
}

static bool translate(const IdRange *ranges, size_t n, bool inwards, uint32_t id, uint32_t *ret) {
        for (size_t i = 0; i < n; i++) {
                uint32_t from = inwards ? ranges[i].outside : ranges[i].inside,
                         to = inwards ? ranges[i].inside : ranges[i].outside;

                if (id >= from && id - from < ranges[i].count) {
                        *ret = to + (id - from);
                        return true;
                }
        }

        return false;
}

static bool translate_id(const MountRequest *m, bool group, bool inwards, uint32_t id, uint32_t *ret) {
        const Userns *u = m->caller->userns;

        return group ? translate(u->gids, u->n_gids, inwards, id, ret)
                     : translate(u->uids, u->n_uids, inwards, id, ret);
}

static bool is_id_option(const char *name) {
        return strcmp(name, "uid") == 0 || strcmp(name, "gid") == 0;
}

/* An id in an option is one of the container's, which must have it, as natively. The superblock is the
 * host's: without an idmapped mount between them, it has to be told the host's. */
static int set_id(const MountRequest *m, int context, const MountOption *option, bool idmapped) {
        char text[16], *end;
        unsigned long n;
        uint32_t id;

        if (!in_container(m) || !option->value)
                return mount_configure(context, FSCONFIG_SET_STRING, option->name, option->value);

        errno = 0;
        n = strtoul(option->value, &end, 0);
        if (errno || end == option->value || *end || n >= UINT32_MAX ||
                        !translate_id(m, option->name[0] == 'g', false, (uint32_t) n, &id))
                return -EINVAL;

        g_snprintf(text, sizeof(text), "%" PRIu32, idmapped ? (uint32_t) n : id);
        return mount_configure(context, FSCONFIG_SET_STRING, option->name, text);
}

/* Where a file system belongs to who mounts it, that's the caller. */
static int set_owner(const MountRequest *m, int context, bool idmapped) {
        static const char *const names[] = { "uid", "gid" };

        for (int group = 0; group < 2; group++) {
                uint32_t id = group ? m->caller->fsgid : m->caller->fsuid;
                char text[16];
                int r;

                if (mount_options_get(m, names[group]))
                        continue;
                if (idmapped && !translate_id(m, group, true, id, &id))
                        return -EPERM;

                g_snprintf(text, sizeof(text), "%" PRIu32, id);
                r = mount_configure(context, FSCONFIG_SET_STRING, names[group], text);
                if (r < 0)
                        return r;
        }

        return 0;
}

/* Only says how to write, and is refused where there's no journal to write to. */
static bool is_journal_option(const char *name) {
        static const char *const names[] = { "commit", "data", "data_err", "journal_async_commit",
                "journal_checksum", "nojournal_checksum" };

        for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
                if (strcmp(names[i], name) == 0)
                        return true;

        return false;
}

static int set_options(const MountRequest *m, int context, const MountType *type, bool idmapped) {
        bool without_journal = (m->sb_flags & MS_RDONLY) && type && g_strcmp0(type->replay, "noload") == 0;

        for (guint i = 0; i < m->options->len; i++) {
                const MountOption *option = &g_array_index(m->options, MountOption, i);
                int r;

                if (without_journal && is_journal_option(option->name))
                        continue;

                if (is_id_option(option->name))
                        r = set_id(m, context, option, idmapped);
                else if (option->value)
                        r = strlen(option->value) > VALUE_MAX ? -EINVAL
                                                              : mount_configure(context, FSCONFIG_SET_STRING,
                                                                                option->name, option->value);
                else
                        r = mount_configure(context, FSCONFIG_SET_FLAG, option->name, NULL);
                if (r < 0)
                        return r;
        }

        return 0;
}

/* What nobody asked for, and is right all the same. */
static int set_own_options(const MountRequest *m, int context, const MountType *type, bool idmapped) {
        int r = 0;

        /* Otherwise the image may ask for a panic of the host at the first error. */
        if (type && (type->flags & MOUNT_TYPE_ERRORS) && !mount_options_get(m, "errors"))
                r = mount_configure(context, FSCONFIG_SET_STRING, "errors", "remount-ro");

        /* Read-only means that nothing is written: no journal is replayed either. */
        if (r >= 0 && type && type->replay && (m->sb_flags & MS_RDONLY)) {
                g_auto(GStrv) words = g_strsplit(type->replay, "=", 2);

                r = mount_configure(context, words[1] ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, words[0],
                                words[1]);
        }

        if (r >= 0 && type && (type->flags & MOUNT_TYPE_OWNED))
                r = set_owner(m, context, idmapped);

        return r;
}

/* An image of a type that's never written to isn't opened for writing either. */
static bool superblock_is_read_only(const MountRequest *m) {
        const MountType *type = mount_type_find(m->type);

        return (m->sb_flags & MS_RDONLY) ||
               (m->kind == MOUNT_SOURCE_IMAGE && type && (type->flags & MOUNT_TYPE_READ_ONLY));
}

int mount_set_flags(const MountRequest *m, int context) {
        static const struct {
                uint64_t flag;
                const char *name;
        } flags[] = {
                { MS_RDONLY, "ro" },
                { MS_SYNCHRONOUS, "sync" },
                { MS_DIRSYNC, "dirsync" },
                { MS_LAZYTIME, "lazytime" },
                { MS_MANDLOCK, "mand" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(flags); i++)
                if ((m->sb_flags & flags[i].flag) ||
                                (flags[i].flag == MS_RDONLY && superblock_is_read_only(m))) {
                        int r = mount_configure(context, FSCONFIG_SET_FLAG, flags[i].name, NULL);

                        if (r < 0)
                                return r;
                }

        return 0;
}

/* Makes the superblock from what "fd" refers to. Return: 0 or the caller's errno. */
static int create(const MountRequest *m, int context) {
        return mount_configure(context, m->exclusive ? CREATE_EXCLUSIVE : FSCONFIG_CMD_CREATE, NULL, NULL);
}

static int create_from(const MountRequest *m, int context, int fd, bool *ret_internal) {
        const char *name;
        int r;

        r = mount_name_enter(m->source, fd, &name);
        if (r < 0) {
                *ret_internal = true;
                return r;
        }

        r = mount_configure(context, FSCONFIG_SET_STRING, "source", name);
        if (r >= 0)
                r = create(m, context);

        mount_name_leave();
        return r;
}

/* Until it turns out that this kernel's types don't. */
static bool kernel_takes_files = true;

static bool takes_files(const MountRequest *m) {
        const MountType *type = mount_type_find(m->type);

        return kernel_takes_files && type && (type->flags & MOUNT_TYPE_FILES);
}

/* The kernel opens the file by its name, once more: that works if we didn't need the caller's
 * CAP_DAC_OVERRIDE.
 */
static bool opens_again(int file) {
        char self[64];
        int fd;

        g_snprintf(self, sizeof(self), "/proc/self/fd/%i", file);
        fd = open(self, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd < 0)
                return false;

        close_fd(fd);
        return true;
}

static int create_from_image(MountRequest *m, int context, bool *ret_internal) {
        bool read_only = superblock_is_read_only(m);
        _cleanup_close_ int file = -1, device = -1;
        int r;

        r = mount_source_open_image(m, read_only, &file);
        if (r < 0)
                return r;

        if (takes_files(m) && opens_again(file))
                return create_from(m, context, file, ret_internal);

        fault_point("loop");
        r = loop_device_attach(file, read_only, &device);
        if (r < 0) {
                log_debug_errno(r, "Failed to set up a loop device: %m");
                *ret_internal = true;
                return r;
        }

        fault_point("loop-attached");
        return create_from(m, context, device, ret_internal);
}

static int create_superblock(MountRequest *m, int context, bool *ret_internal) {
        switch (m->kind) {
        case MOUNT_SOURCE_DEVICE:
                return create_from(m, context, m->source_fd, ret_internal);
        case MOUNT_SOURCE_IMAGE:
                return create_from_image(m, context, ret_internal);
        case MOUNT_SOURCE_NAME:
        default: {
                int r = 0;

                if (m->source && strlen(m->source) > VALUE_MAX)
                        return -EINVAL;
                if (m->source)
                        r = mount_configure(context, FSCONFIG_SET_STRING, "source", m->source);
                return r < 0 ? r : create(m, context);
        }
        }
}

int mount_of_context(int context) {
        int fd = (int) syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);

        return fd < 0 ? -errno : fd;
}

static int make_in_namespace(MountRequest *m, bool idmapped, int *ret_fd, bool *ret_internal) {
        const MountType *type = mount_type_find(m->type);
        _cleanup_close_ int context = -1;
        int r;

        context = (int) syscall(SYS_fsopen, m->type, FSOPEN_CLOEXEC);
        if (context < 0) {
                *ret_internal = errno != ENODEV;
                return -errno;
        }

        r = mount_set_flags(m, context);
        if (r >= 0)
                r = set_options(m, context, type, idmapped);
        if (r < 0) {
                mount_take_message(m, context);
                return r;
        }

        r = m->source_error;
        if (r < 0)
                return r;

        r = set_own_options(m, context, type, idmapped);
        if (r < 0) {
                mount_take_message(m, context);
                *ret_internal = true;
                return r;
        }

        fault_point("context");
        r = create_superblock(m, context, ret_internal);
        if (r < 0) {
                mount_take_message(m, context);
                return r;
        }

        fault_point("superblock");
        r = mount_of_context(context);
        if (r < 0) {
                *ret_internal = true;
                return r;
        }

        *ret_fd = r;
        return 0;
}

/* What speaks to a network speaks to the caller's. */
static int make_in_callers_network(MountRequest *m, bool idmapped, int *ret_fd, bool *ret_internal) {
        _cleanup_close_ int own = -1, theirs = -1;
        int r;

        own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        theirs = caller_open_namespace(m->caller, "net");
        if (own < 0 || theirs < 0 || caller_verify(m->caller) < 0 || setns(theirs, CLONE_NEWNET) < 0) {
                *ret_internal = true;
                return -EPERM;
        }

        r = make_in_namespace(m, idmapped, ret_fd, ret_internal);

        if (setns(own, CLONE_NEWNET) < 0)
                abort(); /* We can't go on in a network that a target controls. */

        return r;
}

static int make(MountRequest *m, bool idmapped, int *ret_fd, bool *ret_internal) {
        const MountType *type = mount_type_find(m->type);
        int r;

        if (type && (type->flags & MOUNT_TYPE_NETWORK))
                return make_in_callers_network(m, idmapped, ret_fd, ret_internal);

        r = make_in_namespace(m, idmapped, ret_fd, ret_internal);
        if (r == -ENOTBLK && m->kind == MOUNT_SOURCE_IMAGE && takes_files(m)) {
                kernel_takes_files = false;
                r = make_in_namespace(m, idmapped, ret_fd, ret_internal);
        }

        return r;
}

/* Types whose mounts can't be idmapped, as it has turned out. */
static char *unmappable[16];
static unsigned n_unmappable;

static bool is_unmappable(const char *type) {
        for (unsigned i = 0; i < n_unmappable; i++)
                if (strcmp(unmappable[i], type) == 0)
                        return true;

        return false;
}

static int set_id_map(const MountRequest *m, int fd) {
        struct mount_attr attr = {
                .attr_set = MOUNT_ATTR_IDMAP,
                .userns_fd = (uint64_t) m->caller->userns->fd,
        };

        return syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0 ? -errno : 0;
}

/* Were ids handed to the superblock for an idmapped mount, which must be others without one? */
static bool has_ids(const MountRequest *m) {
        const MountType *type = mount_type_find(m->type);

        return (type && (type->flags & MOUNT_TYPE_OWNED)) || mount_options_get(m, "uid") ||
               mount_options_get(m, "gid");
}

static int refuse_unmapped(MountRequest *m, bool *ret_internal) {
        m->message = g_strdup_printf("mounts of %s can't be idmapped", m->type);
        m->hint = g_strdup("[Mount] IDMap=auto");
        *ret_internal = true;
        return -EOPNOTSUPP;
}

int mount_request_create(MountRequest *m, int *ret_fd, bool *ret_internal) {
        bool wanted = in_container(m) && m->policy->mount.id_map != MOUNT_ID_MAP_NO,
             required = wanted && m->policy->mount.id_map == MOUNT_ID_MAP_YES;
        _cleanup_close_ int fd = -1;
        int r;

        *ret_internal = false;
        if (m->policy->mount.read_only == MOUNT_READ_ONLY_YES) {
                m->sb_flags |= MS_RDONLY;
                m->attributes |= MOUNT_ATTR_RDONLY;
        }

        /* The superblock is of the caller's own user namespace: there's nothing to map, nor, below, to keep
         * from it. */
        if (mount_type_is_callers(m->type))
                return mount_bpf_create(m, ret_fd, ret_internal);

        wanted = wanted && !is_unmappable(m->type);
        if (required && !wanted)
                return refuse_unmapped(m, ret_internal);

        r = make(m, wanted, &fd, ret_internal);
        if (r < 0)
                return r;

        if (wanted) {
                r = set_id_map(m, fd);
                if (r == -EINVAL) {
                        if (n_unmappable < G_N_ELEMENTS(unmappable) && !is_unmappable(m->type))
                                unmappable[n_unmappable++] = g_strdup(m->type);
                        if (required)
                                return refuse_unmapped(m, ret_internal);
                        if (has_ids(m)) {
                                fd = close_fd(fd);
                                r = make(m, false, &fd, ret_internal);
                                if (r < 0)
                                        return r;
                        }
                } else if (r < 0) {
                        *ret_internal = true;
                        return r;
                }
        }

        *ret_fd = TAKE_FD(fd);
        return 0;
}

static uint64_t forced_attributes(const MountRequest *m) {
        const MountPolicy *p = &m->policy->mount;

        /* A user without a user namespace of its own: set-user-ID programs and device nodes would be real. */
        if (!in_container(m))
                return MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | (p->no_exec ? MOUNT_ATTR_NOEXEC : 0);

        return (p->no_dev ? MOUNT_ATTR_NODEV : 0) | (p->no_suid ? MOUNT_ATTR_NOSUID : 0) |
               (p->no_exec ? MOUNT_ATTR_NOEXEC : 0);
}

static unsigned long visible_flags(uint64_t attributes) {
        static const struct {
                uint64_t attribute;
                unsigned long flag;
        } table[] = {
                { MOUNT_ATTR_RDONLY, ST_RDONLY },
                { MOUNT_ATTR_NOSUID, ST_NOSUID },
                { MOUNT_ATTR_NODEV, ST_NODEV },
                { MOUNT_ATTR_NOEXEC, ST_NOEXEC },
        };
        unsigned long flags = 0;

        for (size_t i = 0; i < G_N_ELEMENTS(table); i++)
                if (attributes & table[i].attribute)
                        flags |= table[i].flag;

        return flags;
}

int mount_request_finish(MountRequest *m, int fd, int *ret_fd) {
        struct mount_attr attr = { .attr_set = m->attributes | forced_attributes(m) };

        if (m->policy->mount.read_only == MOUNT_READ_ONLY_YES)
                attr.attr_set |= MOUNT_ATTR_RDONLY;
        if (attr.attr_set & MOUNT_ATTR__ATIME)
                attr.attr_clr = MOUNT_ATTR__ATIME;

        if (attr.attr_set != 0 && syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
                return -errno;

        if (!in_container(m) || mount_type_is_callers(m->type)) {
                int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

                if (copy < 0)
                        return -errno;
                *ret_fd = copy;
                return 0;
        }

        fault_point("mount");
        return mount_lock(fd, m->caller->userns, visible_flags(attr.attr_set), ret_fd);
}
