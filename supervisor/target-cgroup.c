/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <libmount.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/fd.h"
#include "supervisor/container.h"
#include "supervisor/privilege.h"
#include "supervisor/target-cgroup.h"

#define CGROUP_TEXT_MAX (256u * 1024)

static int read_cgroup_file(int proc_fd, const char *name, char **ret) {
        _cleanup_close_ int fd = openat(proc_fd, name, O_RDONLY | O_CLOEXEC);
        size_t size;

        if (fd < 0)
                return errno == ESRCH ? -ENOENT : -errno;

        return read_fd_full(fd, CGROUP_TEXT_MAX, ret, &size);
}

/* Is this the mount of the hierarchy with these controllers ("" for cgroup2, "name=systemd", "cpu,cpuacct")?
 */
static bool is_hierarchy(struct libmnt_fs *fs, const char *controllers) {
        g_auto(GStrv) names = NULL;

        if (g_strcmp0(mnt_fs_get_root(fs), "/") != 0)
                return false;
        if (*controllers == 0)
                return g_strcmp0(mnt_fs_get_fstype(fs), "cgroup2") == 0;
        if (g_strcmp0(mnt_fs_get_fstype(fs), "cgroup") != 0)
                return false;

        names = g_strsplit(controllers, ",", -1);
        for (char **name = names; *name; name++) {
                const char *value = g_str_has_prefix(*name, "name=") ? *name + strlen("name=") : NULL;
                char *found = NULL;
                size_t size = 0;

                if (mnt_optstr_get_option(mnt_fs_get_fs_options(fs), value ? "name" : *name, &found, &size) !=
                                0)
                        return false;
                if (value && (size != strlen(value) || strncmp(found, value, size) != 0))
                        return false;
        }

        return true;
}

/* The names are the container's. A path can't leave the hierarchy by them. */
static int open_cgroup(struct libmnt_table *mounts, const char *controllers, const char *path) {
        static const struct open_how how = {
                .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
        };
        _cleanup_close_ int root = -1;
        struct libmnt_fs *fs;
        struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_BACKWARD);
        int fd;

        if (!iter)
                return -ENOMEM;
        while (mnt_table_next_fs(mounts, iter, &fs) == 0)
                if (is_hierarchy(fs, controllers)) {
                        root = open(mnt_fs_get_target(fs), O_PATH | O_DIRECTORY | O_CLOEXEC);
                        break;
                }
        mnt_free_iter(iter);
        if (root < 0)
                return -EXDEV;

        /* As such paths are printed: above our own cgroup namespace, or removed. */
        if (strncmp(path, "/..", 3) == 0 || g_str_has_suffix(path, " (deleted)"))
                return -EXDEV;

        fd = (int) syscall(SYS_openat2, root, path, &how, sizeof(how));
        return fd < 0 ? -errno : fd;
}

/* Splits "ID:CONTROLLERS:PATH"; false at the end. */
static bool next_line(char **text, char **ret_controllers, char **ret_path) {
        char *line = *text, *end = strchr(line, '\n');

        if (!end)
                return false;
        *end = 0;
        *text = end + 1;

        *ret_controllers = strchr(line, ':');
        *ret_path = *ret_controllers ? strchr(*ret_controllers + 1, ':') : NULL;
        if (!*ret_path)
                return false;

        *(*ret_controllers)++ = 0;
        *(*ret_path)++ = 0;
        return true;
}

/* Our own path in the same hierarchy. */
static bool is_ours(const char *own, const char *controllers, const char *path) {
        g_autofree char *wanted = g_strdup_printf(":%s:%s\n", controllers, path);

        return strstr(own, wanted) != NULL;
}

static int read_container_cgroups(const Caller *caller, char **ret) {
        __attribute__((cleanup(container_close))) Container container = CONTAINER_INIT;
        ino_t inode;
        int r;

        r = container_namespace_of(caller->proc_fd, &inode);
        if (r >= 0)
                r = container_open(caller->proc_fd, inode, &container);
        if (r < 0)
                return r;

        return read_cgroup_file(container.init_fd >= 0 ? container.init_fd : caller->proc_fd, "cgroup", ret);
}

int target_cgroups_open(const Caller *caller, TargetCgroups *ret) {
        __attribute__((cleanup(target_cgroups_close))) TargetCgroups cgroups = TARGET_CGROUPS_INIT;
        g_autofree char *text = NULL, *own = NULL;
        struct libmnt_table *mounts;
        char *line, *controllers, *path;
        int r;

        r = read_container_cgroups(caller, &text);
        if (r >= 0)
                r = read_cgroup_file(AT_FDCWD, "/proc/self/cgroup", &own);
        if (r < 0)
                return r;

        mounts = mnt_new_table_from_file("/proc/self/mountinfo");
        if (!mounts)
                return -errno;

        line = text;
        while (r >= 0 && next_line(&line, &controllers, &path)) {
                if (is_ours(own, controllers, path))
                        continue;
                if (*controllers && cgroups.n_legacy >= TARGET_CGROUPS_LEGACY_MAX) {
                        r = -E2BIG;
                        break;
                }

                r = open_cgroup(mounts, controllers, path);
                if (r >= 0 && *controllers)
                        cgroups.legacy_fds[cgroups.n_legacy++] = r;
                else if (r >= 0)
                        cgroups.unified_fd = r;
        }
        mnt_unref_table(mounts);
        if (r < 0)
                return r;

        *ret = cgroups;
        cgroups = (TargetCgroups) TARGET_CGROUPS_INIT;
        return 0;
}

void target_cgroups_close(TargetCgroups *cgroups) {
        cgroups->unified_fd = close_fd(cgroups->unified_fd);
        while (cgroups->n_legacy > 0)
                close_fd(cgroups->legacy_fds[--cgroups->n_legacy]);
}

static int join(int directory_fd) {
        _cleanup_close_ int fd = openat(directory_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);

        if (fd < 0)
                return -errno;

        return write(fd, "0\n", 2) < 0 ? -errno : 0;
}

pid_t target_cgroups_fork(const TargetCgroups *cgroups) {
        /* In the right cgroup from the start: that saves the move, which waits for the whole machine's forks
         * and exits, and counts the child there at once. */
        struct clone_args args = {
                .flags = CLONE_INTO_CGROUP,
                .exit_signal = SIGCHLD,
                .cgroup = (uint64_t) cgroups->unified_fd,
        };
        bool joined = cgroups->unified_fd >= 0;
        uid_t uid;
        gid_t gid;
        pid_t pid;
        int error;

        /* The right to move processes is asked of the files: a container's are its own, those above it
         * root's. */
        if (privilege_raise(CAPABILITY_BIT(CAP_DAC_OVERRIDE)) < 0)
                return -EPERM;
        gid = (gid_t) setfsgid(0);
        uid = (uid_t) setfsuid(0);

        pid = joined ? (pid_t) syscall(SYS_clone3, &args, sizeof(args)) : fork();
        /* Threaded cgroups, and kernels that can't. */
        if (pid < 0 && joined && errno != EAGAIN && errno != ENOMEM) {
                joined = false;
                pid = fork();
        }
        error = errno;

        if (pid == 0) {
                if (!joined && cgroups->unified_fd >= 0 && join(cgroups->unified_fd) < 0)
                        _exit(EXIT_FAILURE);
                for (size_t i = 0; i < cgroups->n_legacy; i++)
                        if (join(cgroups->legacy_fds[i]) < 0)
                                _exit(EXIT_FAILURE);
                return 0; /* Keeps the file system ids of root. */
        }

        (void) setfsuid(uid);
        (void) setfsgid(gid);
        if (privilege_raise(0) < 0)
                abort(); /* We can't go on with more than we should have. */
        return pid < 0 ? -error : pid;
}
