/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/fd.h"
#include "supervisor/kernel-files.h"
#include "supervisor/userns.h"

/* Namespaces are few per target: its own, and now and then one that somebody inside makes. */
#define USERNS_CACHE_MAX 16u

static ino_t own_userns_inode;

static Userns userns_cache[USERNS_CACHE_MAX];
static uint64_t userns_clock;

int userns_setup(void) {
        struct stat st;

        for (size_t i = 0; i < USERNS_CACHE_MAX; i++)
                userns_cache[i].fd = -1;

        if (stat("/proc/self/ns/user", &st) < 0)
                return -errno;

        own_userns_inode = st.st_ino;
        return 0;
}

static int read_id_map(int proc_fd, const char *name, IdRange **ret, size_t *ret_n) {
        static char text[USERNS_RANGES_MAX * 36];
        const char *p = text;
        IdRange *ranges;
        size_t n = 0;
        ssize_t size;

        size = read_kernel_file_at(proc_fd, name, text, sizeof(text));
        if (size < 0)
                return thread_gone_or((int) -size);

        ranges = calloc(USERNS_RANGES_MAX, sizeof(IdRange));
        if (!ranges)
                return -ENOMEM;

        while (n < USERNS_RANGES_MAX) {
                int used = 0;

                if (sscanf(p, " %u %u %u%n", &ranges[n].inside, &ranges[n].outside, &ranges[n].count,
                                    &used) != 3)
                        break;
                p += used;
                n++;
        }

        *ret = ranges;
        *ret_n = n;
        return 0;
}

/* Walks up from a user namespace to the one below ours. */
static int userns_classify(int fd, ino_t inode, UsernsKind *ret) {
        _cleanup_close_ int above = -1;
        struct stat st;
        uid_t owner;
        int parent;

        if (inode == own_userns_inode) {
                *ret = USERNS_OURS;
                return 0;
        }

        parent = ioctl(fd, NS_GET_PARENT);
        if (parent < 0) {
                /* EPERM: it has none that we may see, so it isn't below ours. */
                if (errno != EPERM)
                        return -errno;
                *ret = USERNS_FOREIGN;
                return 0;
        }

        above = parent;
        if (fstat(above, &st) < 0)
                return -errno;
        if (st.st_ino != own_userns_inode) {
                *ret = USERNS_NESTED;
                return 0;
        }

        if (ioctl(fd, NS_GET_OWNER_UID, &owner) < 0)
                return -errno;

        *ret = owner == 0 ? USERNS_CONTAINER : USERNS_NOT_ROOTS;
        return 0;
}

static void userns_clear(Userns *u) {
        u->fd = close_fd(u->fd);
        free(u->uids);
        free(u->gids);
        *u = (Userns){ .fd = -1 };
}

static int userns_add(int proc_fd, const Userns **ret) {
        _cleanup_close_ int fd = -1;
        Userns *u = &userns_cache[0];
        struct stat st;
        int r;

        fd = openat(proc_fd, "ns/user", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return thread_gone_or(errno);
        if (fstat(fd, &st) < 0)
                return -errno;

        for (size_t i = 1; i < USERNS_CACHE_MAX; i++)
                if (userns_cache[i].used < u->used)
                        u = &userns_cache[i];

        userns_clear(u);
        r = userns_classify(fd, st.st_ino, &u->kind);
        if (r < 0)
                return r;
        r = read_id_map(proc_fd, "uid_map", &u->uids, &u->n_uids);
        if (r < 0)
                return r;
        r = read_id_map(proc_fd, "gid_map", &u->gids, &u->n_gids);
        if (r < 0)
                return r;

        u->fd = TAKE_FD(fd);
        /* A map can be written once. While it's empty, look again next time. */
        u->inode = u->n_uids > 0 && u->n_gids > 0 ? st.st_ino : 0;
        u->used = userns_clock;
        *ret = u;
        return 0;
}

int userns_get(const ThreadEntry *entry, const Userns **ret) {
        unsigned long long inode;
        char link[64];
        ssize_t n;

        n = readlinkat(entry->userns_fd, "", link, sizeof(link) - 1);
        if (n < 0)
                return errno == ENOENT ? -ESRCH : -errno;
        link[n] = 0;
        if (strncmp(link, "user:[", 6) != 0)
                return -EBADMSG;
        inode = strtoull(link + 6, NULL, 10);

        userns_clock++;
        for (size_t i = 0; i < USERNS_CACHE_MAX; i++)
                if (userns_cache[i].inode == inode) {
                        userns_cache[i].used = userns_clock;
                        *ret = &userns_cache[i];
                        return 0;
                }

        return userns_add(entry->directory_fd, ret);
}

bool id_ranges_contain(const IdRange *ranges, size_t n, uint32_t id) {
        for (size_t i = 0; i < n; i++)
                if (id >= ranges[i].outside && id - ranges[i].outside < ranges[i].count)
                        return true;

        return false;
}
