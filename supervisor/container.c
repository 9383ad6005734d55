/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "basic/fd.h"
#include "supervisor/container.h"
#include "supervisor/kernel-files.h"
#include "supervisor/thread-entry.h"

/* From linux/nsfs.h of 6.11, for older headers: the host's number of a process of that namespace. */
#define PID_FROM_NAMESPACE_IOCTL _IOR(0xb7, 0x6, int)

/* A list of tasks is long; pids.current isn't, and read each time. */
#define COUNT_INTERVAL_NSEC UINT64_C(1000000000)
#define TASKS_MAX           65535u /* more don't fit into struct sysinfo */

#define NSEC_PER_SEC UINT64_C(1000000000)

int container_namespace_of(int proc_fd, ino_t *ret) {
        char link[64];
        ssize_t n;

        n = readlinkat(proc_fd, "ns/pid", link, sizeof(link) - 1);
        if (n < 0)
                return errno == ESRCH ? -ENOENT : -errno;
        link[n] = 0;

        if (strncmp(link, "pid:[", 5) != 0)
                return -EBADMSG;
        *ret = strtoull(link + 5, NULL, 10);
        return 0;
}

/* The init's number with us: the last one of NSpid: is its own. */
static bool is_first_process(int proc_fd) {
        _cleanup_close_ int fd = -1;
        char text[4096], *p, *end;

        fd = openat(proc_fd, "status", O_RDONLY | O_CLOEXEC);
        if (fd < 0 || read_kernel_file_piece(fd, text, sizeof(text)) < 0)
                return false;

        p = strstr(text, "\nNSpid:\t");
        if (!p)
                return false;
        end = strchr(p + 1, '\n');
        return end && end - p > 2 && strncmp(end - 2, "\t1", 2) == 0;
}

/* Return: the /proc/PID of a process if it's in that namespace, and its init if "first". */
static int open_process(const char *pid, ino_t inode, bool first) {
        _cleanup_close_ int fd = -1;
        ino_t found;

        fd = openat(thread_entry_proc(), pid, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (container_namespace_of(fd, &found) < 0 || found != inode || (first && !is_first_process(fd)))
                return -ESRCH;

        return TAKE_FD(fd);
}

/* Before 6.11: asks all processes. Once for each container. */
static int search_init(ino_t inode) {
        int proc_fd = openat(thread_entry_proc(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -ESRCH;
        DIR *dir = proc_fd < 0 ? NULL : fdopendir(proc_fd);

        if (!dir) {
                fd = -errno;
                close_fd(proc_fd);
                return fd;
        }

        for (struct dirent *d; fd < 0 && (d = readdir(dir));)
                if (g_ascii_isdigit(d->d_name[0]) && strlen(d->d_name) < 3 * sizeof(pid_t))
                        fd = open_process(d->d_name, inode, true);

        (void) closedir(dir);
        return fd;
}

static int find_init(int namespace_fd, ino_t inode) {
        char name[3 * sizeof(pid_t) + 1];
        int pid;

        pid = ioctl(namespace_fd, PID_FROM_NAMESPACE_IOCTL, 1);
        if (pid < 0)
                return errno == ESRCH ? -ESRCH : search_init(inode);

        snprintf(name, sizeof(name), "%i", pid);
        return open_process(name, inode, false);
}

/* Field 22 of proc_pid_stat(5). The name in brackets may have anything in it, even brackets. */
static int read_start_time(int proc_fd, uint64_t *ret_nsec) {
        _cleanup_close_ int fd = -1;
        char text[4096], *p;
        long per_sec = sysconf(_SC_CLK_TCK);
        ssize_t n;
        uint64_t ticks;

        fd = openat(proc_fd, "stat", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        n = read_kernel_file_piece(fd, text, sizeof(text));
        if (n < 0)
                return (int) n;

        p = strrchr(text, ')');
        for (unsigned i = 2; p && i < 22; i++) {
                p = strchr(p, ' ');
                if (p)
                        p++;
        }
        if (!p || !g_ascii_isdigit(*p) || per_sec <= 0)
                return -EBADMSG;

        ticks = strtoull(p, NULL, 10);
        *ret_nsec = ticks / (uint64_t) per_sec * NSEC_PER_SEC +
                    ticks % (uint64_t) per_sec * NSEC_PER_SEC / (uint64_t) per_sec;
        return 0;
}

int container_open(int proc_fd, ino_t inode, Container *ret) {
        Container c = CONTAINER_INIT;
        struct stat st;

        c.namespace_fd = openat(proc_fd, "ns/pid", O_RDONLY | O_CLOEXEC);
        if (c.namespace_fd < 0)
                return errno == ESRCH ? -ENOENT : -errno;
        if (fstat(c.namespace_fd, &st) < 0 || st.st_ino != inode) {
                container_close(&c);
                return -ENOENT;
        }

        c.namespace_inode = inode;
        c.init_fd = find_init(c.namespace_fd, inode);
        if (c.init_fd >= 0)
                c.init_cgroup_fd = openat(c.init_fd, "cgroup", O_RDONLY | O_CLOEXEC);
        if (c.init_cgroup_fd < 0 || read_start_time(c.init_fd, &c.start_nsec) < 0) {
                c.init_cgroup_fd = close_fd(c.init_cgroup_fd);
                c.init_fd = close_fd(c.init_fd);
        }

        *ret = c;
        return 0;
}

static void close_files(Container *c) {
        c->tasks_fd = close_fd(c->tasks_fd);
        c->cpu_fd = close_fd(c->cpu_fd);
        c->cpu_pressure_fd = close_fd(c->cpu_pressure_fd);
        c->io_pressure_fd = close_fd(c->io_pressure_fd);
}

void container_close(Container *container) {
        close_files(container);
        close_fd(container->namespace_fd);
        close_fd(container->init_fd);
        close_fd(container->init_cgroup_fd);
        g_free(container->cgroups);
        *container = CONTAINER_INIT;
}

static void prune_init_scope(char *path) {
        char *last = strrchr(path, '/');

        if (strcmp(path, "init.scope") == 0)
                *path = 0;
        else if (last && strcmp(last, "/init.scope") == 0)
                *last = 0;
}

const CgroupHierarchy *container_find_cgroup(const Container *c, const CgroupTree *tree,
                CgroupController controller, char path[static CGROUP_PATH_SIZE]) {
        const CgroupHierarchy *h = c->cgroups ? cgroup_find(tree, controller, c->cgroups, path) : NULL;

        if (h)
                prune_init_scope(path);
        return h;
}

/* Opens the files of the cgroup that its init is in now. What's missing is done without. */
static void open_files(Container *c, const CgroupTree *tree) {
        char path[CGROUP_PATH_SIZE];
        const CgroupHierarchy *h;

        close_files(c);

        h = container_find_cgroup(c, tree, CGROUP_PIDS, path);
        if (h)
                c->tasks_fd = cgroup_open_file(h, path, strlen(path), "pids.current");

        h = container_find_cgroup(c, tree, CGROUP_CPU, path);
        if (!h)
                return;

        c->cpu_is_v1 = !h->unified;
        c->cpu_fd = cgroup_open_file(h, path, strlen(path), h->unified ? "cpu.stat" : "cpuacct.usage");
        c->loads = (LoadAverage){};

        /* Pressure is told by the unified hierarchy, whatever controllers are there. */
        h = cgroup_find_unified(tree, c->cgroups, path);
        if (!h)
                return;

        prune_init_scope(path);
        c->cpu_pressure_fd = cgroup_open_file(h, path, strlen(path), "cpu.pressure");
        c->io_pressure_fd = cgroup_open_file(h, path, strlen(path), "io.pressure");
}

/* How long some task waited: "some avg10=0.00 avg60=0.00 avg300=0.00 total=USEC". */
static uint64_t read_pressure(int fd) {
        char text[256], *p;

        if (fd < 0 || read_kernel_file_piece(fd, text, sizeof(text)) < 0)
                return 0;

        p = strstr(text, "total=");
        return p && strncmp(text, "some ", 5) == 0 ? strtoull(p + strlen("total="), NULL, 10) * 1000 : 0;
}

static int read_cpu_time(const Container *c, uint64_t *ret_nsec) {
        static char text[4096];
        ssize_t n;
        int r;

        if (c->cpu_fd < 0)
                return -ENODATA;
        if (c->cpu_is_v1)
                return cgroup_read_number(c->cpu_fd, ret_nsec);

        n = read_kernel_file_piece(c->cpu_fd, text, sizeof(text));
        if (n < 0)
                return (int) n;
        r = cgroup_parse_field(text, "usage_usec", ret_nsec);
        if (r >= 0)
                *ret_nsec *= 1000;
        return r;
}

static int read_tasks(Container *c, const CgroupTree *tree, uint64_t now_nsec) {
        char path[CGROUP_PATH_SIZE];
        const CgroupHierarchy *h;
        uint64_t n;
        int r;

        if (c->tasks_fd >= 0) {
                r = cgroup_read_number(c->tasks_fd, &n);
                if (r >= 0)
                        c->n_tasks = (unsigned) MIN(n, TASKS_MAX);
                return r;
        }

        if (c->counted_nsec > 0 && now_nsec - c->counted_nsec < COUNT_INTERVAL_NSEC)
                return c->has_tasks ? 0 : -ENODATA;

        c->counted_nsec = now_nsec;
        h = container_find_cgroup(c, tree, CGROUP_PIDS, path);
        return h ? cgroup_count_tasks(h, path, TASKS_MAX, &c->n_tasks) : -ENODATA;
}

int container_read(Container *container, const CgroupTree *tree, uint64_t now_nsec, uint64_t boottime_nsec) {
        static char text[CGROUP_TEXT_SIZE];
        uint64_t active;
        ssize_t n;
        int r;

        container->read_nsec = now_nsec;
        if (container->init_cgroup_fd < 0)
                return 0;

        n = read_kernel_file_piece(container->init_cgroup_fd, text, sizeof(text));
        if (n < 0)
                return n == -ESRCH ? -ENODEV : (int) n;

        if (g_strcmp0(container->cgroups, text) != 0) {
                g_free(container->cgroups);
                container->cgroups = g_strdup(text);
                container->counted_nsec = 0;
                open_files(container, tree);
        }

        r = read_tasks(container, tree, now_nsec);
        if (r == -ENODEV) {
                /* The controller was turned off. */
                container->tasks_fd = close_fd(container->tasks_fd);
                r = read_tasks(container, tree, now_nsec);
        }
        container->has_tasks = r >= 0 && container->n_tasks > 0;

        r = read_cpu_time(container, &active);
        container->has_loads = r >= 0;
        if (r >= 0) {
                /* The cgroup may be older than the namespace, and what it did before isn't the container's.
                 */
                unsigned most = (unsigned) get_nprocs() + 2;

                if (container->has_tasks && container->n_tasks < most)
                        most = container->n_tasks;
                load_average_update(&container->loads, container->start_nsec, boottime_nsec,
                                active + read_pressure(container->cpu_pressure_fd) +
                                                read_pressure(container->io_pressure_fd),
                                most);
        }

        return 0;
}
