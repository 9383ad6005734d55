/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "basic/clock.h"
#include "basic/fd.h"
#include "supervisor/cgroup-memory.h"
#include "supervisor/container.h"
#include "supervisor/kernel-files.h"
#include "supervisor/sysinfo-view.h"
#include "supervisor/worker.h"

#ifndef CLONE_NEWTIME
#        define CLONE_NEWTIME 0x00000080
#endif

/* Descriptors of one memory cgroup are at most 2 * MEMORY_LEVELS_KEPT + 6, of one container 7. */
#define MEMORY_CACHE_MAX    8u
#define CONTAINER_CACHE_MAX 8u
#define THREAD_CACHE_MAX    32u
#define MOUNTS_CACHE_MAX    16u

#define UNUSED_NSEC        (UINT64_C(10) * 1000000000) /* then files are closed */
#define MOUNTS_NSEC        (UINT64_C(2) * 1000000000)  /* how long a mount table is believed */
#define MOUNTINFO_MAX      (1024u * 1024u)             /* of a larger one only the beginning is looked at */
#define CLOCK_TIMEOUT_USEC UINT64_C(1000000)

typedef struct MemoryEntry {
        MemoryCgroup cgroup;
        bool as_lxcfs;
        uint64_t serial; /* 0: unused */
        uint64_t used_nsec, read_nsec;
        union {
                MemoryNumbers numbers;
                MemoryOfLxcfs lxcfs;
        };
} MemoryEntry;

typedef struct ContainerEntry {
        Container container;
        uint64_t serial;
        uint64_t used_nsec;
} ContainerEntry;

/* Where a thread is. */
typedef struct ThreadPlace {
        uint64_t thread;
        uint64_t looked_nsec;
        SysinfoFormula formula_asked, formula; /* AUTO only in the former */
        MemoryEntry *memory;                   /* NULL: none is known */
        uint64_t memory_serial;
        ContainerEntry *container; /* NULL: in none */
        uint64_t container_serial;
        bool own_clock; /* its time namespace tells the uptime */
        int64_t clock_offset_nsec;
} ThreadPlace;

static MemoryEntry memories[MEMORY_CACHE_MAX];
static ContainerEntry containers[CONTAINER_CACHE_MAX];
static ThreadPlace places[THREAD_CACHE_MAX];
static uint64_t last_serial;

static struct {
        ino_t inode;
        uint64_t looked_nsec;
        bool has_lxcfs;
} mount_tables[MOUNTS_CACHE_MAX];

static struct {
        bool done;
        CgroupTree tree;
        ino_t pid_namespace;
        char time_namespace[64];
} here;

/* Once; the supervisor has the host's root and namespaces. */
static int look_around(void) {
        _cleanup_close_ int fd = -1, self = -1;
        g_autofree char *mountinfo = NULL;
        size_t size;
        ssize_t n;
        int r;

        if (here.done)
                return 0;

        self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (self < 0)
                return -errno;
        fd = openat(self, "mountinfo", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;

        r = read_fd_full(fd, 64 * MOUNTINFO_MAX, &mountinfo, &size);
        if (r >= 0)
                r = container_namespace_of(self, &here.pid_namespace);
        if (r >= 0)
                r = cgroup_tree_open(mountinfo, &here.tree);
        if (r < 0)
                return r;

        n = readlinkat(self, "ns/time", here.time_namespace, sizeof(here.time_namespace) - 1);
        here.time_namespace[MAX(n, 0)] = 0; /* Without time namespaces there's none. */
        here.done = true;
        return 0;
}

/* Reads a file of the caller's /proc/TID from its start. What doesn't fit is left out. */
static int read_entry(const Caller *caller, const char *name, char *buffer, size_t size) {
        ssize_t n = read_kernel_file_at(caller->proc_fd, name, buffer, size);

        return n == -ESRCH ? -ENOENT : n < 0 ? (int) n : 0;
}

/* Memory */

static void forget_memory(MemoryEntry *e) {
        if (e->serial > 0)
                memory_cgroup_close(&e->cgroup);
        *e = (MemoryEntry){};
}

static int refresh_memory(MemoryEntry *e, const SysinfoNumbers *host, uint64_t now) {
        int r;

        r = e->as_lxcfs ? memory_cgroup_read_as_lxcfs(&e->cgroup, &e->lxcfs)
                        : memory_cgroup_read(&e->cgroup, host->totalram, host->totalswap, &e->numbers);
        if (r >= 0)
                e->read_nsec = now;
        return r;
}

static int find_memory(
                const CgroupHierarchy *h, const char *path, bool as_lxcfs, uint64_t now, MemoryEntry **ret) {
        MemoryEntry *oldest = &memories[0];
        int r;

        for (size_t i = 0; i < MEMORY_CACHE_MAX; i++) {
                MemoryEntry *e = &memories[i];

                if (e->serial > 0 && e->as_lxcfs == as_lxcfs && e->cgroup.hierarchy == h &&
                                strcmp(e->cgroup.path, path) == 0) {
                        e->used_nsec = now;
                        *ret = e;
                        return 0;
                }
                if (e->used_nsec < oldest->used_nsec)
                        oldest = e;
        }

        forget_memory(oldest);
        r = memory_cgroup_open(h, path, &oldest->cgroup);
        if (r < 0)
                return r;

        oldest->as_lxcfs = as_lxcfs;
        oldest->serial = ++last_serial;
        oldest->used_nsec = now;
        *ret = oldest;
        return 0;
}

/* Containers */

static void forget_container(ContainerEntry *e) {
        if (e->serial > 0)
                container_close(&e->container);
        *e = (ContainerEntry){};
}

static int find_container(const Caller *caller, uint64_t now, ContainerEntry **ret) {
        ContainerEntry *oldest = &containers[0];
        ino_t inode;
        int r;

        r = container_namespace_of(caller->proc_fd, &inode);
        if (r < 0)
                return r;
        if (inode == here.pid_namespace) {
                *ret = NULL;
                return 0;
        }

        for (size_t i = 0; i < CONTAINER_CACHE_MAX; i++) {
                ContainerEntry *e = &containers[i];

                if (e->serial > 0 && e->container.namespace_inode == inode) {
                        e->used_nsec = now;
                        *ret = e;
                        return 0;
                }
                if (e->used_nsec < oldest->used_nsec)
                        oldest = e;
        }

        forget_container(oldest);
        r = container_open(caller->proc_fd, inode, &oldest->container);
        if (r < 0)
                return r;

        oldest->serial = ++last_serial;
        oldest->used_nsec = now;
        *ret = oldest;
        return 0;
}

static int refresh_container(ContainerEntry *e, uint64_t now) {
        int r;

        r = container_read(&e->container, &here.tree, now, now_nsec(CLOCK_BOOTTIME));
        if (r == -ENODEV)
                forget_container(e);
        return r;
}

/* The formula */

/* Is lxcfs mounted over /proc/meminfo there? In lines "36 35 0:50 ROOT POINT OPTIONS … - fuse.lxcfs …". */
static bool shows_lxcfs(const char *mountinfo) {
        for (const char *line = mountinfo; *line;) {
                const char *end = strchrnul(line, '\n'),
                           *point = g_strstr_len(line, end - line, " /proc/meminfo "),
                           *type = g_strstr_len(line, end - line, " - fuse.lxcfs ");

                if (point && type && point < type)
                        return true;
                line = *end ? end + 1 : end;
        }

        return false;
}

static bool caller_has_lxcfs(const Caller *caller, uint64_t now) {
        static char mountinfo[MOUNTINFO_MAX];
        char link[64];
        size_t oldest = 0;
        ssize_t n;
        ino_t inode;

        n = readlinkat(caller->proc_fd, "ns/mnt", link, sizeof(link) - 1);
        if (n < 0)
                return false;
        link[n] = 0;
        inode = strncmp(link, "mnt:[", 5) == 0 ? strtoull(link + 5, NULL, 10) : 0;

        for (size_t i = 0; i < MOUNTS_CACHE_MAX; i++) {
                if (mount_tables[i].inode == inode && now - mount_tables[i].looked_nsec < MOUNTS_NSEC)
                        return mount_tables[i].has_lxcfs;
                if (mount_tables[i].looked_nsec < mount_tables[oldest].looked_nsec)
                        oldest = i;
        }

        mount_tables[oldest].inode = inode;
        mount_tables[oldest].looked_nsec = now;
        mount_tables[oldest].has_lxcfs = read_entry(caller, "mountinfo", mountinfo, sizeof(mountinfo)) >= 0 &&
                                         shows_lxcfs(mountinfo);
        return mount_tables[oldest].has_lxcfs;
}

/* The clock */

/* Runs in a child. */
static int tell_clock_offset(void *userdata, void *ret, int *ret_fd) {
        uint64_t before = now_nsec(CLOCK_BOOTTIME);
        int64_t offset;

        if (setns(*(int *) userdata, CLONE_NEWTIME) < 0)
                return -errno;

        offset = (int64_t) (now_nsec(CLOCK_BOOTTIME) - before);
        memcpy(ret, &offset, sizeof(offset));
        return 0;
}

/* The caller's own time namespace and the one for its children may differ, between unshare(2) and fork(2),
 * and /proc shows the offsets of the latter. */
static int clock_offset(Caller *caller, const char *own, int64_t *ret_nsec) {
        char text[256], children[64], *p;
        _cleanup_close_ int fd = -1;
        long long sec, nsec;
        ssize_t n;
        int r;

        n = readlinkat(caller->proc_fd, "ns/time_for_children", children, sizeof(children) - 1);
        if (n < 0)
                return -errno;
        children[n] = 0;

        if (strcmp(own, children) != 0) {
                fd = caller_open_namespace(caller, "time");
                return fd < 0 ? fd
                              : worker_run(tell_clock_offset, &fd, CLOCK_TIMEOUT_USEC, ret_nsec,
                                                sizeof(*ret_nsec), NULL);
        }

        r = read_entry(caller, "timens_offsets", text, sizeof(text));
        if (r < 0)
                return r;
        p = strstr(text, "boottime");
        if (!p || sscanf(p, "boottime %lld %lld", &sec, &nsec) != 2)
                return -EBADMSG;

        *ret_nsec = sec * 1000000000 + nsec;
        return 0;
}

static int find_clock(const Caller *caller, ThreadPlace *place) {
        char link[sizeof(here.time_namespace)];
        ssize_t n;
        int r;

        if (!here.time_namespace[0])
                return 0;

        n = readlinkat(caller->proc_fd, "ns/time", link, sizeof(link) - 1);
        if (n < 0)
                return errno == ESRCH ? -ENOENT : -errno;
        link[n] = 0;
        if (strcmp(link, here.time_namespace) == 0)
                return 0;

        r = clock_offset((Caller *) caller, link, &place->clock_offset_nsec);
        if (r < 0)
                return r;

        place->own_clock = place->clock_offset_nsec != 0;
        return 0;
}

/* Putting it together */

static int find_memory_of(const Caller *caller, uint64_t now, ThreadPlace *place) {
        static char text[CGROUP_TEXT_SIZE];
        bool as_lxcfs = place->formula == SYSINFO_FORMULA_LXCFS;
        char path[CGROUP_PATH_SIZE];
        const CgroupHierarchy *h = NULL;
        int r;

        if (as_lxcfs && place->container)
                h = container_find_cgroup(&place->container->container, &here.tree, CGROUP_MEMORY, path);
        if (!h) {
                r = read_entry(caller, "cgroup", text, sizeof(text));
                if (r < 0)
                        return r;
                h = cgroup_find(&here.tree, CGROUP_MEMORY, text, path);
        }
        if (!h)
                return 0; /* No memory controller: nothing limits it. */

        r = find_memory(h, path, as_lxcfs, now, &place->memory);
        if (r < 0)
                return r;

        place->memory_serial = place->memory->serial;
        return 0;
}

/* Closes what wasn't asked for lately: the cgroup may be gone, the container have ended. */
static void forget_unused(uint64_t now) {
        for (size_t i = 0; i < MEMORY_CACHE_MAX; i++)
                if (memories[i].serial > 0 && now - memories[i].used_nsec > UNUSED_NSEC)
                        forget_memory(&memories[i]);

        for (size_t i = 0; i < CONTAINER_CACHE_MAX; i++)
                if (containers[i].serial > 0 && now - containers[i].used_nsec > UNUSED_NSEC)
                        forget_container(&containers[i]);
}

static int look_at_thread(const Caller *caller, uint64_t thread, SysinfoFormula formula, uint64_t now,
                ThreadPlace *ret) {
        ThreadPlace place = {
                .thread = thread, .looked_nsec = now, .formula_asked = formula, .formula = formula
        };
        int r;

        forget_unused(now);

        if (formula == SYSINFO_FORMULA_AUTO)
                place.formula = caller_has_lxcfs(caller, now) ? SYSINFO_FORMULA_LXCFS
                                                              : SYSINFO_FORMULA_KERNEL;

        r = find_container(caller, now, &place.container);
        if (r < 0)
                return r;
        if (place.container) {
                place.container_serial = place.container->serial;
                if (place.container->container.read_nsec == 0) {
                        r = refresh_container(place.container, now);
                        if (r < 0)
                                return r;
                }
        }

        r = find_memory_of(caller, now, &place);
        if (r >= 0)
                r = find_clock(caller, &place);
        if (r < 0)
                return r;

        *ret = place;
        return 0;
}

static bool is_fresh(uint64_t then, uint64_t now, const SysinfoPolicy *policy) {
        return then > 0 && now - then < (uint64_t) policy->cache_msec * 1000000;
}

static int find_place(const Caller *caller, uint64_t thread, const SysinfoPolicy *policy, uint64_t now,
                ThreadPlace **ret) {
        ThreadPlace *place = &places[0];
        int r;

        for (size_t i = 0; i < THREAD_CACHE_MAX; i++) {
                if (places[i].thread == thread) {
                        place = &places[i];
                        break;
                }
                if (places[i].looked_nsec < place->looked_nsec)
                        place = &places[i];
        }

        if (place->thread == thread && is_fresh(place->looked_nsec, now, policy) &&
                        place->formula_asked == policy->formula &&
                        (!place->memory || place->memory->serial == place->memory_serial) &&
                        (!place->container || place->container->serial == place->container_serial)) {
                *ret = place;
                return 0;
        }

        *place = (ThreadPlace){};
        r = look_at_thread(caller, thread, policy->formula, now, place);
        *ret = place;
        return r;
}

/* Return: 0, or a negative errno if the cgroup can't be read any more; its entry is closed then. */
static int tell_memory(
                ThreadPlace *place, const SysinfoPolicy *policy, uint64_t now, SysinfoNumbers *numbers) {
        MemoryEntry *e = place->memory;
        int r;

        if (!e)
                return 0;

        e->used_nsec = now;
        if (!is_fresh(e->read_nsec, now, policy)) {
                r = refresh_memory(e, numbers, now);
                if (r < 0) {
                        forget_memory(e);
                        return r;
                }
        }

        if (e->as_lxcfs)
                sysinfo_numbers_limit_as_lxcfs(numbers, &e->lxcfs);
        else
                sysinfo_numbers_limit(numbers, &e->numbers);
        return 0;
}

static int64_t whole_seconds(uint64_t nsec, bool round_up) {
        return (int64_t) ((nsec + (round_up ? 999999999 : 0)) / 1000000000);
}

static void tell_container(
                ThreadPlace *place, const SysinfoPolicy *policy, uint64_t now, SysinfoNumbers *numbers) {
        bool as_lxcfs = place->formula == SYSINFO_FORMULA_LXCFS;
        uint64_t boottime = now_nsec(CLOCK_BOOTTIME);
        ContainerEntry *e = place->container;
        const Container *c = e ? &e->container : NULL;

        if (e) {
                e->used_nsec = now;
                if (!is_fresh(c->read_nsec, now, policy) && refresh_container(e, now) < 0)
                        c = NULL;
        }

        if (c && c->has_tasks)
                numbers->procs = c->n_tasks;
        if (c && c->has_loads && !as_lxcfs)
                load_average_get(&c->loads, numbers->loads);

        /* The kernel counts a second that has begun, lxcfs doesn't. */
        if (place->own_clock && !as_lxcfs)
                numbers->uptime = whole_seconds(boottime + (uint64_t) place->clock_offset_nsec, true);
        else if (c && c->init_fd >= 0 && boottime >= c->start_nsec)
                numbers->uptime = whole_seconds(boottime - c->start_nsec, !as_lxcfs);
}

int sysinfo_view(const Caller *caller, uint64_t thread, const SysinfoPolicy *policy, SysinfoNumbers *ret) {
        uint64_t now = now_nsec(CLOCK_MONOTONIC);
        SysinfoNumbers numbers;
        ThreadPlace *place;
        struct sysinfo host;
        int r;

        r = look_around();
        if (r < 0)
                return r;
        if (sysinfo(&host) < 0)
                return -errno;

        for (unsigned attempt = 0;; attempt++) {
                r = find_place(caller, thread, policy, now, &place);
                if (r < 0)
                        return r;

                sysinfo_numbers_of_host(&host, &numbers);
                r = tell_memory(place, policy, now, &numbers);
                if (r >= 0)
                        break;

                /* It was moved to another cgroup, and its former one removed. */
                if (attempt > 0)
                        return r;
                place->looked_nsec = 0;
        }

        tell_container(place, policy, now, &numbers);
        *ret = numbers;
        return 0;
}
