/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/fd.h"
#include "supervisor/lookup.h"
#include "supervisor/worker.h"

static int open_path(int directory, const char *path, int flags, uint64_t resolve) {
        struct open_how how = {
                .flags = (uint64_t) (unsigned) (O_PATH | O_CLOEXEC | flags),
                .resolve = resolve | RESOLVE_NO_MAGICLINKS,
        };
        int fd = (int) syscall(SYS_openat2, directory, path, &how, sizeof(how));

        return fd < 0 ? -errno : fd;
}

/* The general way: with the caller's root as our own, for a walk that starts elsewhere and may come to it by
 * an absolute link or "..". Also for walks that the kernel won't confine while something is being renamed
 * (EAGAIN). */
static int open_path_chrooted(int root_fd, int directory, const char *path, int flags) {
        _cleanup_close_ int own_root = -1;
        int fd;

        own_root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (own_root < 0)
                return -errno;

        if (fchdir(root_fd) < 0 || chroot(".") < 0 || fchdir(directory) < 0)
                fd = -errno;
        else
                fd = open_path(AT_FDCWD, path, flags, 0);

        /* Not for a moment longer: a working directory of ours keeps the target from unmounting what it's in.
         */
        if (fchdir(own_root) < 0 || chroot(".") < 0)
                abort(); /* We can't go on with a root directory that a target controls. */

        return fd;
}

static int open_path_as_now(Lookup *lookup, const char *path, int flags) {
        int root_fd, fd;

        if (lookup->from_root) {
                fd = open_path(lookup->start_fd, path, flags, RESOLVE_IN_ROOT);
                if (fd != -EAGAIN)
                        return fd;
        } else {
                /* Most relative walks stay below where they start. EXDEV says that this one doesn't. */
                fd = open_path(lookup->start_fd, path, flags, RESOLVE_BENEATH);
                if (fd != -EXDEV && fd != -EAGAIN)
                        return fd;
        }

        root_fd = caller_open_root(lookup->caller);
        if (root_fd < 0)
                return root_fd;
        if (caller_verify(lookup->caller) < 0) /* Opened late, so asked again. */
                return -ENOENT;

        return open_path_chrooted(root_fd, lookup->start_fd, path, flags);
}

/* Walks with the caller's capabilities over its own files: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH in a user
 * namespace count for those inodes whose owner and group are mapped there. The kernel knows that rule best,
 * so a child enters the caller's user namespace, keeps just those of the two that the caller has, and walks.
 * It shares our memory and descriptors, so that it costs little and its result is ours; the container can't
 * touch it, since it isn't in its pid namespace and not dumpable. */
typedef struct WalkChild {
        Lookup *lookup;
        const char *path;
        int flags;
        pid_t parent;
        int result;
} WalkChild;

static int walk_child(void *userdata) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        const CapabilitySet walk = CAPABILITY_BIT(CAP_DAC_OVERRIDE) | CAPABILITY_BIT(CAP_DAC_READ_SEARCH);
        WalkChild *w = userdata;
        CapabilitySet keep = (w->lookup->caller->effective & walk) | CAPABILITY_BIT(CAP_SYS_CHROOT);
        const struct __user_cap_data_struct data[2] = {
                { .effective = (uint32_t) keep, .permitted = (uint32_t) keep },
                { .effective = (uint32_t) (keep >> 32), .permitted = (uint32_t) (keep >> 32) },
        };

        if (setns(w->lookup->caller->userns->fd, CLONE_NEWUSER) < 0 ||
                        syscall(SYS_capset, &header, data) < 0) {
                w->result = -errno;
                return 0;
        }

        /* It may be walking for ever when we're killed for that. */
        w->result = worker_end_with(w->parent);
        if (w->result < 0)
                return 0;

        w->result = open_path_as_now(w->lookup, w->path, w->flags);
        return 0;
}

static int open_path_as_privileged_caller(Lookup *lookup, const char *path, int flags) {
        static char stack[256 * 1024] __attribute__((aligned(64)));
        WalkChild w = { .lookup = lookup, .path = path, .flags = flags, .parent = getpid(), .result = -EIO };
        int status;
        pid_t pid;

        /* Opened here, since the child's rights don't reach to the caller's /proc entries. */
        if (caller_open_root(lookup->caller) < 0)
                return -EACCES;

        pid = clone(walk_child, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, &w);
        if (pid < 0)
                return -errno;
        if (waitpid(pid, &status, 0) < 0)
                return -errno;

        return w.result;
}

static int walk(Lookup *lookup, const char *path, int flags) {
        const CapabilitySet search = CAPABILITY_BIT(CAP_DAC_OVERRIDE) | CAPABILITY_BIT(CAP_DAC_READ_SEARCH);
        const Caller *caller = lookup->caller;
        int fd = open_path_as_now(lookup, path, flags);

        if (fd != -EACCES || !(caller->effective & search))
                return fd;

        if (caller->userns->kind == USERNS_CONTAINER)
                return open_path_as_privileged_caller(lookup, path, flags);

        if (caller->userns->kind == USERNS_OURS && privilege_raise(caller->effective & search) >= 0) {
                fd = open_path_as_now(lookup, path, flags);
                (void) privilege_raise(0);
        }

        return fd;
}

/* Skips "prefix" and the slashes behind it. NULL if the path doesn't start with it. */
static const char *skip_component(const char *path, const char *prefix) {
        size_t n = strlen(prefix);

        if (strncmp(path, prefix, n) != 0 || (path[n] && path[n] != '/'))
                return NULL;

        path += n;
        while (*path == '/')
                path++;
        return path;
}

/* Is /proc of the caller's root a procfs? Only then do its names mean what they say. */
static bool caller_has_procfs(Lookup *lookup) {
        _cleanup_close_ int fd = -1;
        struct statfs s;
        int root_fd = caller_open_root(lookup->caller);

        if (root_fd < 0)
                return false;

        fd = open_path(root_fd, "proc", O_DIRECTORY | O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
        return fd >= 0 && fstatfs(fd, &s) >= 0 && s.f_type == PROC_SUPER_MAGIC;
}

/* Understands a path that starts with one of the caller's own magic links. Return: 1 and start_fd, walk set
 * if it goes on behind it; 0 and link_fd set if it ends there (it's then up to who asks whether it's
 * followed), or if it's none of these; a negative errno. */
static int prepare_magic(Lookup *lookup) {
        const char *p = lookup->path, *q;
        char *end;
        long n;
        int fd;

        while (*p == '/')
                p++;

        p = skip_component(p, "proc");
        if (!p)
                return 0;
        q = skip_component(p, "self");
        if (!q)
                q = skip_component(p, "thread-self");
        if (!q || !caller_has_procfs(lookup))
                return 0;

        p = skip_component(q, "fd");
        if (p) {
                n = strtol(p, &end, 10);
                if (end == p || (*end && *end != '/') || n < 0 || n > INT_MAX)
                        return 0;
                fd = caller_open_fd(lookup->caller, (int) n, NULL);
                if (fd == -EBADF)
                        fd = -ENOENT;
                p = end;
        } else if ((p = skip_component(q, "cwd")))
                fd = caller_open_cwd(lookup->caller);
        else if ((p = skip_component(q, "root"))) {
                fd = caller_open_root(lookup->caller);
                if (fd >= 0)
                        fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
                if (fd < 0)
                        fd = -errno;
        } else
                return 0;

        if (fd < 0)
                return fd;

        if (!*p && p[-1] != '/') {
                lookup->link_fd = fd;
                return 0;
        }

        while (*p == '/')
                p++;

        lookup->start_fd = fd;
        lookup->walk = *p ? p : ".";
        return 1;
}

/* Opens where the walk of lookup->path starts. */
static int open_start(Lookup *lookup, int dirfd) {
        struct stat st;
        int r;

        lookup->walk = lookup->path;

        if (lookup->path[0] == '/') {
                r = prepare_magic(lookup);
                if (r != 0)
                        return r < 0 ? r : 0;

                lookup->start_fd = caller_open_root(lookup->caller);
                lookup->from_root = true;
                return lookup->start_fd < 0 ? lookup->start_fd : 0;
        }

        lookup->start_fd = dirfd == AT_FDCWD ? caller_open_cwd(lookup->caller)
                                             : caller_open_fd(lookup->caller, dirfd, NULL);
        if (lookup->start_fd < 0)
                return lookup->start_fd;

        if (lookup->path[0] && dirfd != AT_FDCWD) {
                if (fstat(lookup->start_fd, &st) < 0)
                        return -errno;
                if (!S_ISDIR(st.st_mode))
                        return -ENOTDIR;
        }

        return 0;
}

int lookup_prepare(Lookup *lookup, Caller *caller, int dirfd, uint64_t path_address, unsigned flags) {
        ssize_t n;

        lookup->caller = caller;

        n = caller_read_string(caller, path_address, lookup->path, sizeof(lookup->path));
        if (n < 0)
                return (int) n;
        if (n == 0 && !(flags & LOOKUP_EMPTY_PATH))
                return -ENOENT;

        return open_start(lookup, dirfd);
}

int lookup_prepare_path(Lookup *lookup, Caller *caller, const char *path) {
        size_t n = strlen(path);

        lookup->caller = caller;

        if (n == 0)
                return -ENOENT;
        if (n >= sizeof(lookup->path))
                return -ENAMETOOLONG;

        memcpy(lookup->path, path, n + 1);
        return open_start(lookup, AT_FDCWD);
}

void lookup_done(Lookup *lookup) {
        if (!lookup->from_root)
                lookup->start_fd = close_fd(lookup->start_fd);
        lookup->start_fd = -1;
        lookup->link_fd = close_fd(lookup->link_fd);
}

int lookup_parent(Lookup *lookup) {
        static char directory[PATH_MAX];
        const char *end = lookup->walk + strlen(lookup->walk), *slash;
        size_t n;
        int fd;

        /* The last component, with the slashes behind it; for "/" there's none, and "." is refused in the
         * same way. */
        while (end > lookup->walk && end[-1] == '/')
                end--;
        slash = end;
        while (slash > lookup->walk && slash[-1] != '/')
                slash--;

        /* Never a name with a slash in front: that would be looked up from our own root. */
        lookup->name = slash < end ? slash : ".";
        n = (size_t) (slash - lookup->walk);
        if (n == 0) {
                fd = fcntl(lookup->start_fd, F_DUPFD_CLOEXEC, 3);
                return fd < 0 ? -errno : fd;
        }

        memcpy(directory, lookup->walk, n);
        directory[n] = 0;
        return walk(lookup, directory, O_DIRECTORY);
}

int lookup_object(Lookup *lookup, unsigned flags) {
        bool is_link = lookup->link_fd >= 0 && !(flags & LOOKUP_NOFOLLOW);

        if (is_link || !lookup->walk[0]) {
                int fd = fcntl(is_link ? lookup->link_fd : lookup->start_fd, F_DUPFD_CLOEXEC, 3);

                return fd < 0 ? -errno : fd;
        }

        return walk(lookup, lookup->walk, flags & LOOKUP_NOFOLLOW ? O_NOFOLLOW : 0);
}
