/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/fd.h"
#include "supervisor/attach.h"

/* Where the staging tmpfs is, in a mount namespace that we share with nobody. Any directory will do: we don't
 * need it for anything else. */
#define STAGING_DIRECTORY "/tmp"

static const char node_name[] = "node";
static int staging_fd = -1;       /* root of the staging tmpfs */
static int own_namespace_fd = -1; /* our private mount namespace */

/* open_tree(2) clones only what's attached in the mount namespace that we're in. So we take one of our own,
 * at the first need, and attach a tmpfs there; what the host mounts later still arrives (MS_SLAVE), what we
 * mount never leaves. */
int attach_setup(void) {
        _cleanup_close_ int fd = -1, namespace = -1;
        mode_t saved;

        if (staging_fd >= 0)
                return 0;

        if (unshare(CLONE_NEWNS) < 0)
                return -errno;
        if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
                return -errno;

        /* Writable for all, since nodes are made with the callers' ids, and nobody else gets here. Not nodev:
         * that's what it's for. Each mount of a node keeps its inode until the target unmounts it. */
        saved = umask(0);
        if (mount("deputyd", STAGING_DIRECTORY, "tmpfs", MS_NOSUID | MS_NOEXEC,
                            "mode=0777,size=1m,nr_inodes=65536") < 0) {
                (void) umask(saved);
                return -errno;
        }
        (void) umask(saved);

        fd = open(STAGING_DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;

        namespace = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
        if (namespace < 0)
                return -errno;

        staging_fd = TAKE_FD(fd);
        own_namespace_fd = TAKE_FD(namespace);
        return 0;
}

int attach_staging_fd(void) {
        return staging_fd;
}

void attach_come_back(void) {
        if (setns(own_namespace_fd, CLONE_NEWNS) < 0)
                abort();
}

int attach_node_tree(mode_t mode, unsigned number) {
        int tree, r;

        r = attach_setup();
        if (r < 0)
                return r;

        if (syscall(SYS_mknodat, staging_fd, node_name, mode, number) < 0)
                return -errno;

        tree = (int) syscall(SYS_open_tree, staging_fd, node_name, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        if (tree < 0) {
                tree = -errno;
                (void) unlinkat(staging_fd, node_name, 0);
        }

        return tree;
}

int attach_to(int tree_fd, int target_fd, int mount_namespace_fd) {
        int r;

        r = attach_setup();
        if (r < 0)
                return r;

        if (setns(mount_namespace_fd, CLONE_NEWNS) < 0)
                return -errno;

        if (syscall(SYS_move_mount, tree_fd, "", target_fd, "",
                            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
                r = -errno;

        attach_come_back();
        return r;
}

void attach_forget_node(void) {
        (void) unlinkat(staging_fd, node_name, 0);
}
