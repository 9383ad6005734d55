/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/fd.h"
#include "supervisor/attach.h"
#include "supervisor/fault.h"
#include "supervisor/mount-lock.h"

/* Where the small file system is put together, before it becomes all that there is. Any directory will do. */
#define BUILD_DIRECTORY "/tmp"
/* Where mounts pass. */
#define SPOT            "spot"

typedef struct Passage {
        ino_t userns;           /* 0: there's none yet */
        int outer_fd, inner_fd; /* the mount namespaces */
        int outer_spot_fd;
        int inner_root_fd;
} Passage;

#define PASSAGE_INIT                                                                                         \
        { .outer_fd = -1, .inner_fd = -1, .outer_spot_fd = -1, .inner_root_fd = -1 }

/* One is enough: a target's mounts are made by its own root. */
static Passage passage = PASSAGE_INIT;

static void passage_close(Passage *p) {
        close_fd(p->outer_fd);
        close_fd(p->inner_fd);
        close_fd(p->outer_spot_fd);
        close_fd(p->inner_root_fd);
        *p = (Passage) PASSAGE_INIT;
}

static int build_outer(Passage *p, int namespaces_fd) {
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return -errno;

        /* Root's, of the host: the container's root may find its way into the inner namespace (the kernel
         * lists the namespaces of a user namespace to it), and must have nothing to write to there. */
        if (mount("deputyd", BUILD_DIRECTORY, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                            "mode=0755,uid=0,gid=0,size=64k,nr_inodes=8") < 0)
                return -errno;
        if (chdir(BUILD_DIRECTORY) < 0 || mkdir(SPOT, 0755) < 0)
                return -errno;

        /* Nothing else stays: what the host has mounted is nobody's business in there. */
        if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
                return -errno;
        if (mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
                return -errno;
        if (mount(NULL, "/", NULL, MS_SHARED, NULL) < 0)
                return -errno;

        p->outer_fd = openat(namespaces_fd, "mnt", O_RDONLY | O_CLOEXEC);
        p->outer_spot_fd = open("/" SPOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
        return p->outer_fd < 0 || p->outer_spot_fd < 0 ? -errno : 0;
}

typedef struct BuildChild {
        Passage *passage;
        const Userns *userns;
        int result;
} BuildChild;

/* Shares our memory and descriptors, so that what it opens is ours, and has its own file system context and
 * credentials. The container can't touch it: it isn't in its pid namespace and not dumpable. */
static int build_child(void *userdata) {
        BuildChild *b = userdata;
        _cleanup_close_ int namespaces = -1;

        setfsuid(0);
        setfsgid(0);
        (void) umask(0);

        namespaces = open("/proc/thread-self/ns", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (namespaces < 0 || unshare(CLONE_NEWNS) < 0) {
                b->result = -errno;
                return 0;
        }

        b->result = build_outer(b->passage, namespaces);
        if (b->result < 0)
                return 0;

        if (setns(b->userns->fd, CLONE_NEWUSER) < 0 || unshare(CLONE_NEWNS) < 0) {
                b->result = -errno;
                return 0;
        }

        b->passage->inner_fd = openat(namespaces, "mnt", O_RDONLY | O_CLOEXEC);
        b->passage->inner_root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        b->result = b->passage->inner_fd < 0 || b->passage->inner_root_fd < 0 ? -errno : 0;
        return 0;
}

static int passage_build(const Userns *userns) {
        static char stack[64 * 1024] __attribute__((aligned(64)));
        Passage p = PASSAGE_INIT;
        BuildChild b = { .passage = &p, .userns = userns, .result = -EIO };
        pid_t pid;

        passage_close(&passage);

        pid = clone(build_child, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, &b);
        if (pid < 0)
                return -errno;
        if (waitpid(pid, NULL, 0) < 0)
                return -errno;
        if (b.result < 0) {
                passage_close(&p);
                return b.result;
        }

        p.userns = userns->inode;
        passage = p;
        return 0;
}

/* Is this the mount that was put in at the other end? The container's root may have got there too. */
static int check_clone(int fd, int original_fd, unsigned long flags) {
        struct statvfs sfs;
        struct stat a, b;

        if (fstat(fd, &a) < 0 || fstat(original_fd, &b) < 0 || fstatvfs(fd, &sfs) < 0)
                return -errno;

        return a.st_dev == b.st_dev && a.st_ino == b.st_ino && (sfs.f_flag & flags) == flags ? 0 : -EPERM;
}

static int pass_through(int fd, unsigned long flags) {
        _cleanup_close_ int clone_fd = -1;
        int r = 0;

        if (setns(passage.outer_fd, CLONE_NEWNS) < 0)
                return -errno;
        if (syscall(SYS_move_mount, fd, "", passage.outer_spot_fd, "",
                            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
                return -errno;

        fault_point("locking");
        if (setns(passage.inner_fd, CLONE_NEWNS) < 0)
                r = -errno;
        else {
                clone_fd = (int) syscall(SYS_open_tree, passage.inner_root_fd, SPOT,
                                OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
                if (clone_fd < 0)
                        r = -errno;
        }

        fault_point("cloned");
        /* Nothing stays behind: a mount that's left would keep the file system busy after the container has
         * unmounted it. */
        if (setns(passage.outer_fd, CLONE_NEWNS) < 0 || umount2("/" SPOT, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
                return r < 0 ? r : -errno;
        if (r < 0)
                return r;

        r = check_clone(clone_fd, fd, flags);
        return r < 0 ? r : TAKE_FD(clone_fd);
}

int mount_lock(int fd, const Userns *userns, unsigned long flags, int *ret_fd) {
        int r;

        r = attach_setup();
        if (r < 0)
                return r;

        if (passage.userns != userns->inode) {
                r = passage_build(userns);
                if (r < 0)
                        return r;
        }

        r = pass_through(fd, flags);
        attach_come_back();
        if (r < 0) {
                /* Begin anew next time, whatever is in there now goes with it. */
                passage_close(&passage);
                return r;
        }

        *ret_fd = r;
        return 0;
}
