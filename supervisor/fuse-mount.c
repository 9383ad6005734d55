/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <libmount.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "basic/fd.h"
#include "supervisor/fuse-mount.h"

int fuse_mount_id(int fd, uint64_t *ret) {
        g_autofree char *path = g_strdup_printf("/proc/self/fdinfo/%i", fd), *text = NULL;
        _cleanup_close_ int info = open(path, O_RDONLY | O_CLOEXEC);
        const char *p;
        size_t size;
        int r;

        if (info < 0)
                return -errno;
        r = read_fd_full(info, 4096, &text, &size);
        if (r < 0)
                return r;

        p = strstr(text, "mnt_id:");
        if (!p)
                return -EBADMSG;

        *ret = strtoull(p + strlen("mnt_id:"), NULL, 10);
        return 0;
}

static bool is_fuse(struct libmnt_fs *fs) {
        const char *type = mnt_fs_get_fstype(fs);

        return type && (strcmp(type, "fuse") == 0 || g_str_has_prefix(type, "fuse.") ||
                                       strcmp(type, "fuseblk") == 0 || g_str_has_prefix(type, "fuseblk."));
}

static struct libmnt_table *read_table(FILE *mountinfo) {
        struct libmnt_table *table = mnt_new_table();

        if (!table)
                return NULL;

        rewind(mountinfo);
        if (mnt_table_parse_stream(table, mountinfo, "mountinfo") != 0) {
                mnt_unref_table(table);
                return NULL;
        }

        return table;
}

/* The mount on top of "parent_id" at this path. */
static struct libmnt_fs *find_on(struct libmnt_table *table, uint64_t parent_id, const char *path) {
        struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_BACKWARD);
        struct libmnt_fs *fs, *found = NULL;

        while (iter && !found && mnt_table_next_fs(table, iter, &fs) == 0)
                if ((uint64_t) mnt_fs_get_parent_id(fs) == parent_id &&
                                (uint64_t) mnt_fs_get_id(fs) != parent_id &&
                                g_strcmp0(mnt_fs_get_target(fs), path) == 0)
                        found = fs;

        mnt_free_iter(iter);
        return found;
}

int fuse_mount_look(const FuseMountPoint *point, uint64_t *ret_id) {
        struct libmnt_table *table = read_table(point->mountinfo);
        uint64_t id = point->parent_id, top = 0;
        bool fuse = false;
        int n;

        if (!table)
                return -EIO;

        /* Mounts may be stacked; there are no more than the table has. */
        n = mnt_table_get_nents(table);
        for (int i = 0; i < n; i++) {
                struct libmnt_fs *fs = find_on(table, id, point->path);

                if (!fs)
                        break;
                id = top = (uint64_t) mnt_fs_get_id(fs);
                fuse = is_fuse(fs);
        }

        mnt_unref_table(table);
        *ret_id = top;
        return fuse;
}

int fuse_mount_is_fuse(FILE *mountinfo, uint64_t id) {
        struct libmnt_table *table = read_table(mountinfo);
        struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_FORWARD);
        struct libmnt_fs *fs;
        int r = -ENOENT;

        if (!table || !iter) {
                mnt_unref_table(table);
                mnt_free_iter(iter);
                return -EIO;
        }

        while (r == -ENOENT && mnt_table_next_fs(table, iter, &fs) == 0)
                if ((uint64_t) mnt_fs_get_id(fs) == id)
                        r = is_fuse(fs);

        mnt_free_iter(iter);
        mnt_unref_table(table);
        return r;
}
