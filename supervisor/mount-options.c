/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <libmount/libmount.h>
#include <string.h>
#include <sys/mount.h>

#include "supervisor/mount-options.h"

#ifndef MS_NOSYMFOLLOW
#        define MS_NOSYMFOLLOW 256
#endif
#ifndef MOUNT_ATTR_NOSYMFOLLOW
#        define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif

/* Of the file system's list there's room for a page; a name takes one byte at least, and a comma. */
#define OPTIONS_MAX 2048u

/* Flags that all file systems have, and their words in a list of options: see fs_context.c of the kernel. */
static const struct {
        const char *set, *clear;
        uint64_t flag;
} sb_flags[] = {
        { "ro", "rw", MS_RDONLY },
        { "sync", "async", MS_SYNCHRONOUS },
        { "dirsync", NULL, MS_DIRSYNC },
        { "lazytime", "nolazytime", MS_LAZYTIME },
        { "mand", "nomand", MS_MANDLOCK },
};

static const struct {
        uint64_t flag, attribute;
} attributes[] = {
        { MS_RDONLY, MOUNT_ATTR_RDONLY },
        { MS_NOSUID, MOUNT_ATTR_NOSUID },
        { MS_NODEV, MOUNT_ATTR_NODEV },
        { MS_NOEXEC, MOUNT_ATTR_NOEXEC },
        { MS_NODIRATIME, MOUNT_ATTR_NODIRATIME },
        { MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW },
};

bool mount_flags_make_superblock(uint64_t flags) {
        /* The kernel tests for MS_NOUSER with an int, whose sign fills the upper half. */
        if (flags & UINT64_C(0xffffffff80000000) && (flags & MS_MGC_MSK) != MS_MGC_VAL)
                return false;
        if (flags >> 32)
                return false;
        if ((flags & MS_MGC_MSK) == MS_MGC_VAL)
                flags &= ~(uint64_t) MS_MGC_MSK;

        return !(flags &
                        (MS_REMOUNT | MS_BIND | MS_MOVE | MS_UNBINDABLE | MS_PRIVATE | MS_SLAVE | MS_SHARED));
}

void mount_options_set_flags(MountRequest *m, uint64_t flags) {
        if ((flags & MS_MGC_MSK) == MS_MGC_VAL)
                flags &= ~(uint64_t) MS_MGC_MSK;

        m->sb_flags |= flags & MOUNT_SB_FLAGS;

        for (size_t i = 0; i < G_N_ELEMENTS(attributes); i++)
                if (flags & attributes[i].flag)
                        m->attributes |= attributes[i].attribute;

        /* One of three: relatime is what there is without a word, and strictatime beats noatime. */
        if (flags & MS_STRICTATIME)
                m->attributes |= MOUNT_ATTR_STRICTATIME;
        else if (flags & MS_NOATIME)
                m->attributes |= MOUNT_ATTR_NOATIME;
}

static void clear_option(gpointer p) {
        MountOption *option = p;

        g_clear_pointer(&option->name, g_free);
        g_clear_pointer(&option->value, g_free);
}

int mount_request_add_option(MountRequest *m, const char *name, const char *value) {
        MountOption option;

        if (!value) {
                for (size_t i = 0; i < G_N_ELEMENTS(sb_flags); i++) {
                        if (strcmp(name, sb_flags[i].set) == 0) {
                                m->sb_flags |= sb_flags[i].flag;
                                return 0;
                        }
                        if (sb_flags[i].clear && strcmp(name, sb_flags[i].clear) == 0) {
                                m->sb_flags &= ~sb_flags[i].flag;
                                return 0;
                        }
                }
        }

        if (m->options->len >= OPTIONS_MAX)
                return -EINVAL;

        if (m->options->len == 0)
                g_array_set_clear_func(m->options, clear_option);
        option = (MountOption){ .name = g_strdup(name), .value = g_strdup(value) };
        g_array_append_val(m->options, option);
        return 0;
}

int mount_options_parse_data(MountRequest *m, const char *data) {
        /* mnt_optstr_next_option() has a char * that it doesn't write to. */
        char *p = (char *) data, *name, *value;
        size_t name_size, value_size;
        int r;

        /* NFS, SMB and others once took a struct of their own here: that can't be judged. */
        for (const char *c = data; *c; c++)
                if ((unsigned char) *c < ' ' || *c == 0x7f)
                        return -EBADMSG;

        for (;;) {
                g_autofree char *n = NULL, *v = NULL;

                /* The kernel skips what has no name. */
                while (*p == ',' || *p == '=')
                        p += *p == ',' ? 1 : strcspn(p, ",");

                r = mnt_optstr_next_option(&p, &name, &name_size, &value, &value_size);
                if (r < 0)
                        return -EINVAL;
                if (r > 0)
                        return 0;

                /* libmount doesn't tell "name=" from "name"; the kernel does. */
                n = g_strndup(name, name_size);
                if (value)
                        v = g_strndup(value, value_size);
                else if (name[name_size] == '=')
                        v = g_strdup("");

                r = mount_request_add_option(m, n, v);
                if (r < 0)
                        return r;
        }
}

const char *mount_options_get(const MountRequest *m, const char *name) {
        for (guint i = 0; i < m->options->len; i++) {
                const MountOption *option = &g_array_index(m->options, MountOption, i);

                if (strcmp(option->name, name) == 0)
                        return option->value ?: "";
        }

        return NULL;
}
