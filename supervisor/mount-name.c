/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/fd.h"
#include "supervisor/attach.h"
#include "supervisor/mount-name.h"

#define TREE_NAME   "names"
/* A procfs in the tree, for its links of our descriptors, and so a way to all of the host. Callers choose the
 * names that are made in the tree, and some file systems (f2fs) have the names of further devices in the
 * image and look them up there: neither must be able to name it. */
#define PROC_PREFIX ".deputyd-"
/* What a name that the tree can't have is replaced by. */
#define OTHER_NAME  "/source"

#define COMPONENTS_MAX  32u
#define NAME_LENGTH_MAX 255u /* of fsconfig(2) */

static char proc_name[sizeof(PROC_PREFIX) + 2 * 16];
static int tree_fd = -1;
static int host_root_fd = -1;

/* What is made for one name, to be removed in the reverse order when another comes: paths relative to the
 * tree's root. Whoever mounts one thing often finds all as it needs it. */
static char *made[COMPONENTS_MAX];
static size_t n_made;
static char *made_name; /* NULL: nothing, or not all of it */
static int made_fd = -1;

static int choose_proc_name(void) {
        uint64_t random[2];

        if (getrandom(random, sizeof(random), 0) != (ssize_t) sizeof(random))
                return -EIO;

        snprintf(proc_name, sizeof(proc_name), PROC_PREFIX "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
        return 0;
}

static int tree_setup(void) {
        _cleanup_close_ int tree = -1, proc = -1, root = -1;
        int r;

        if (tree_fd >= 0)
                return 0;

        r = attach_setup();
        if (r >= 0)
                r = choose_proc_name();
        if (r < 0)
                return r;

        if (mkdirat(attach_staging_fd(), TREE_NAME, 0777) < 0 && errno != EEXIST)
                return -errno;
        tree = openat(attach_staging_fd(), TREE_NAME, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (tree < 0)
                return -errno;
        if (fchmod(tree, 0777) < 0) /* The umask in force was the caller's. */
                return -errno;
        if (mkdirat(tree, proc_name, 0755) < 0 && errno != EEXIST)
                return -errno;

        proc = (int) syscall(SYS_open_tree, AT_FDCWD, "/proc", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        if (proc < 0)
                return -errno;
        if (syscall(SYS_move_mount, proc, "", tree, proc_name, MOVE_MOUNT_F_EMPTY_PATH) < 0)
                return -errno;

        root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root < 0)
                return -errno;

        tree_fd = TAKE_FD(tree);
        host_root_fd = TAKE_FD(root);
        return 0;
}

static void remove_made(void) {
        g_clear_pointer(&made_name, g_free);
        while (n_made > 0) {
                const char *path = made[--n_made];

                if (unlinkat(tree_fd, path, 0) < 0)
                        (void) unlinkat(tree_fd, path, AT_REMOVEDIR);
                g_clear_pointer(&made[n_made], g_free);
        }
}

/* Makes the directories on the way, as a walk would need them, and a link at the end. Names are words of the
 * caller's: none but directories of ours may be on the way, since what's made is made with all that we see.
 */
static int make_name(const char *name, const char *link) {
        g_auto(GStrv) components = g_strsplit(name, "/", -1);
        g_autoptr(GPtrArray) stack = g_ptr_array_new();
        size_t n = g_strv_length(components);

        if (n == 0 || !components[n - 1][0])
                return -EINVAL;

        for (size_t i = 0; i < n; i++) {
                g_autofree char *path = NULL;
                bool last = i == n - 1;
                int r;

                if (strcmp(components[i], "..") == 0 || strcmp(components[i], ".") == 0 ||
                                !components[i][0]) {
                        if (last)
                                return -EINVAL;
                        if (components[i][0] && components[i][1] && stack->len > 0)
                                g_ptr_array_remove_index(stack, stack->len - 1);
                        continue;
                }

                /* Nothing is ever made by a path that leads into procfs: it goes on from there to everywhere.
                 */
                if (n_made == COMPONENTS_MAX || strcmp(components[i], proc_name) == 0)
                        return -EINVAL;

                g_ptr_array_add(stack, components[i]);
                for (guint k = 0; k < stack->len; k++) {
                        char *longer = path ? g_strdup_printf("%s/%s", path, (char *) stack->pdata[k])
                                            : g_strdup(stack->pdata[k]);

                        g_free(path);
                        path = longer;
                }

                r = last ? symlinkat(link, tree_fd, path) : mkdirat(tree_fd, path, 0777);
                if (r < 0 && (last || errno != EEXIST))
                        return -errno;
                if (r >= 0)
                        made[n_made++] = g_steal_pointer(&path);
        }

        return 0;
}

/* Some types take such words for something else than a path, before they look one up: "mtd0" is the host's
 * first flash device to romfs and cramfs, whatever a file of that name is. */
static bool is_no_path_to_all(const char *name) {
        return g_str_has_prefix(name, "mtd") || g_str_has_prefix(name, "ubi") ||
               (*name != '/' && strpbrk(name, ":=!"));
}

/* Return: 0 or a negative errno; "name" is then the one that the tree has. */
static int prepare_name(const char **name, int fd) {
        static char unambiguous[NAME_LENGTH_MAX + 1];
        char link[128];
        mode_t mask;
        int r;

        if (is_no_path_to_all(*name) && strlen(*name) + 2 < sizeof(unambiguous)) {
                snprintf(unambiguous, sizeof(unambiguous), "./%s", *name);
                *name = unambiguous;
        } else if (is_no_path_to_all(*name))
                *name = OTHER_NAME;

        if (made_name && made_fd == fd && strcmp(made_name, *name) == 0)
                return 0;

        remove_made();
        snprintf(link, sizeof(link), "/%s/self/fd/%i", proc_name, fd);

        mask = umask(0); /* The next one's ids may be others. */
        r = strlen(*name) <= NAME_LENGTH_MAX ? make_name(*name, link) : -EINVAL;
        if (r < 0) {
                remove_made();
                *name = OTHER_NAME;
                r = make_name(*name, link);
        }
        (void) umask(mask);

        if (r < 0)
                return r;

        made_name = g_strdup(*name);
        made_fd = fd;
        return 0;
}

int mount_name_enter(const char *name, int fd, const char **ret_name) {
        int r;

        r = tree_setup();
        if (r >= 0)
                r = prepare_name(&name, fd);
        if (r < 0)
                return r;

        if (fchdir(tree_fd) < 0 || chroot(".") < 0) {
                r = -errno;
                mount_name_leave();
                return r;
        }

        *ret_name = name;
        return 0;
}

void mount_name_leave(void) {
        if (fchdir(host_root_fd) < 0 || chroot(".") < 0)
                abort(); /* We can't go on without the host's root. */
}
