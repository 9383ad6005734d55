/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/fd.h"
#include "supervisor/bpf/cgroup.h"
#include "supervisor/bpf/object.h"
#include "supervisor/cgroup.h"

/* Deeper than anything that a service manager makes, or than paths in /proc can be. */
#define DEPTH_MAX 512u

/* The kernel's handle of a cgroup is its id. */
typedef struct CgroupHandle {
        struct file_handle handle;
        unsigned char bytes[64];
} CgroupHandle;

static bool is_cgroup2(int fd) {
        struct statfs sfs;

        return fstatfs(fd, &sfs) >= 0 && sfs.f_type == CGROUP2_SUPER_MAGIC;
}

/* The unified hierarchy as we see it. NULL: there's none. */
static const CgroupTree *own_tree(void) {
        static CgroupTree tree;
        static bool known;
        g_autofree char *mountinfo = NULL;

        if (!known && g_file_get_contents("/proc/self/mountinfo", &mountinfo, NULL, NULL))
                known = cgroup_tree_open(mountinfo, &tree) >= 0;

        return known && tree.unified.root_fd >= 0 ? &tree : NULL;
}

int cgroup_prepare(CgroupRequest *request, Caller *caller, int fd) {
        _cleanup_close_ int file = -1;

        request->target_fd = caller_open_fd(caller, fd, NULL);
        if (request->target_fd < 0)
                return request->target_fd;

        file = openat(caller->proc_fd, "cgroup", O_RDONLY | O_CLOEXEC);
        if (file < 0)
                return -errno;

        return read_fd_full(file, CGROUP_TEXT_SIZE, &request->membership, NULL);
}

void cgroup_done(CgroupRequest *request) {
        request->target_fd = close_fd(request->target_fd);
        g_clear_pointer(&request->membership, g_free);
}

/* The caller's own cgroup, in our mount. Return: a new fd, or a negative errno. */
static int open_caller_cgroup(const CgroupRequest *request) {
        struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV };
        const CgroupHierarchy *hierarchy;
        char path[CGROUP_PATH_SIZE];
        int fd;

        hierarchy = own_tree() ? cgroup_find_unified(own_tree(), request->membership, path) : NULL;
        if (!hierarchy)
                return -EPERM; /* It's beside what we see. */

        fd = (int) syscall(SYS_openat2, hierarchy->root_fd, path[0] ? path : ".", &how, sizeof(how));
        return fd < 0 ? -errno : fd;
}

/* The cgroup above, "up" itself at the root of the mount. */
static int open_above(int fd) {
        int above = openat(fd, "..", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        return above < 0 ? -errno : above;
}

static bool is_same(const struct stat *a, const struct stat *b) {
        return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool is_delegated(const Caller *caller, const struct stat *st) {
        if (!caller_owns_uid(caller, st->st_uid))
                return false;

        return caller->userns->kind == USERNS_OURS || caller_maps_owner(caller, st->st_uid, st->st_gid);
}

/* Walks up from the caller's own cgroup to the topmost one that's delegated to it. */
static int find_top(const CgroupRequest *request, const Caller *caller, struct stat *ret) {
        _cleanup_close_ int fd = -1;
        struct stat st, top;
        bool found = false;

        memset(&top, 0, sizeof(top));
        fd = open_caller_cgroup(request);
        if (fd < 0)
                return -EPERM;

        for (unsigned i = 0; i < DEPTH_MAX; i++) {
                int above;

                if (fstat(fd, &st) < 0)
                        return -errno;
                if (is_same(&st, &top) || !is_delegated(caller, &st))
                        break;

                top = st;
                found = true;
                above = open_above(fd);
                if (above < 0)
                        break;
                close_fd(fd);
                fd = above;
        }

        *ret = top;
        return found ? 0 : -EPERM;
}

/* A descriptor by which the kernel knows our mount: it takes none that's O_PATH for that. */
static int own_mount(void) {
        static int fd = -1;

        if (fd < 0 && own_tree())
                fd = openat(own_tree()->unified.root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd;
}

/* Opens in our own mount what the caller's descriptor is for. */
static int reopen(int target) {
        CgroupHandle h = { .handle.handle_bytes = sizeof(h.bytes) };
        struct stat st;
        int mount_id, fd;

        /* A control file of a cgroup is no cgroup, nor is a directory of another file system. */
        if (!is_cgroup2(target) || fstat(target, &st) < 0 || !S_ISDIR(st.st_mode))
                return -EBADF;
        if (own_mount() < 0)
                return -EPERM;
        if (name_to_handle_at(target, "", &h.handle, &mount_id, AT_EMPTY_PATH) < 0)
                return -errno;

        if (privilege_raise(CAPABILITY_BIT(CAP_DAC_READ_SEARCH)) < 0)
                return -EPERM;
        fd = open_by_handle_at(own_mount(), &h.handle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                fd = errno == ESTALE ? -ENOENT : -errno; /* It was removed. */
        if (privilege_raise(0) < 0) {
                close_fd(fd);
                return -EPERM;
        }

        return fd;
}

/* Is "fd" the top or below? */
static int is_inside(int fd, const struct stat *top) {
        _cleanup_close_ int at = -1;
        struct stat st, before = {};

        at = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        for (unsigned i = 0; at >= 0 && i < DEPTH_MAX; i++) {
                int above;

                if (fstat(at, &st) < 0)
                        return -errno;
                if (is_same(&st, top))
                        return 0;
                if (st.st_dev != top->st_dev || is_same(&st, &before))
                        break;

                before = st;
                above = open_above(at);
                close_fd(at);
                at = above;
        }

        return -EPERM;
}

int cgroup_resolve(const CgroupRequest *request, const Caller *caller, Cgroup *ret) {
        _cleanup_close_ int fd = -1;
        struct stat top, st;
        int r;

        memset(&top, 0, sizeof(top));
        fd = reopen(request->target_fd);
        if (fd < 0)
                return fd;

        r = find_top(request, caller, &top);
        if (r >= 0)
                r = is_inside(fd, &top);
        if (r < 0)
                return r;
        if (fstat(fd, &st) < 0)
                return -errno;

        ret->is_top = is_same(&st, &top);
        ret->fd = TAKE_FD(fd);
        return 0;
}

int cgroup_programs(int fd, uint32_t attach_type, uint32_t query_flags, CgroupPrograms *ret) {
        BpfAttr attr = { .query = {
                                         .target = (uint32_t) fd,
                                         .attach_type = attach_type,
                                         .query_flags = query_flags,
                                         .programs = (uintptr_t) ret->ids,
                                         .n_programs = CGROUP_PROGRAMS_MAX,
                         } };
        int r;

        r = bpf_call(BPF_COMMAND_PROG_QUERY, &attr, sizeof(attr.query), CAPABILITY_BIT(CAP_NET_ADMIN));
        if (r < 0)
                return r;

        ret->flags = attr.query.flags;
        ret->n = attr.query.n_programs;
        ret->revision = attr.query.revision;
        return 0;
}

int cgroup_has_foreign(const Caller *caller, const CgroupPrograms *programs) {
        for (uint32_t i = 0; i < programs->n; i++) {
                int r = bpf_program_id_is_own(caller, programs->ids[i]);

                if (r == -ENOENT)
                        continue; /* detached meanwhile, and gone */
                if (r <= 0)
                        return r < 0 ? r : 1;
        }

        return 0;
}

int cgroup_check_foreign(const Caller *caller, const Cgroup *cgroup, uint32_t attach_type) {
        static CgroupPrograms programs;
        _cleanup_close_ int at = -1;
        struct stat st, before = {};
        int r;

        at = fcntl(cgroup->fd, F_DUPFD_CLOEXEC, 3);
        for (unsigned i = 0; i < DEPTH_MAX; i++) {
                int above;

                if (at < 0 || fstat(at, &st) < 0)
                        return -EPERM;
                if (is_same(&st, &before) || !is_cgroup2(at))
                        return 0; /* the top of what we see */

                r = cgroup_programs(at, attach_type, 0, &programs);
                if (r < 0)
                        return r;
                if (programs.n > 0 && !(programs.flags & BPF_ATTACH_MULTI) &&
                                (r = cgroup_has_foreign(caller, &programs)) != 0)
                        return r < 0 ? r : -EPERM;

                before = st;
                above = open_above(at);
                close_fd(at);
                at = above;
        }

        return -EPERM;
}
