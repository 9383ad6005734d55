/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "basic/fd.h"
#include "supervisor/cgroup-memory.h"
#include "supervisor/kernel-files.h"

#define STAT_SIZE 16384u

/* v1 says "no limit" by the largest number of whole pages, whatever their size. */
#define V1_UNLIMITED ((uint64_t) INT64_MAX - (UINT64_C(1) << 20))

typedef struct FileNames {
        const char *limit, *usage, *swap_limit, *swap_usage;
        /* In memory.stat, with those of the cgroups below. */
        const char *active_file, *inactive_file, *shmem;
} FileNames;

/* In v1, swap is counted together with RAM ("memsw"). */
static const FileNames v1_names = {
        .limit = "memory.limit_in_bytes",
        .usage = "memory.usage_in_bytes",
        .swap_limit = "memory.memsw.limit_in_bytes",
        .swap_usage = "memory.memsw.usage_in_bytes",
        .active_file = "total_active_file",
        .inactive_file = "total_inactive_file",
        .shmem = "total_shmem",
};

static const FileNames v2_names = {
        .limit = "memory.max",
        .usage = "memory.current",
        .swap_limit = "memory.swap.max",
        .swap_usage = "memory.swap.current",
        .active_file = "active_file",
        .inactive_file = "inactive_file",
        .shmem = "shmem",
};

#define USAGE_CLOSED                                                                                         \
        (MemoryUsage) {                                                                                      \
                .level = SIZE_MAX, .usage_fd = -1, .swap_usage_fd = -1, .stat_fd = -1                        \
        }

static const FileNames *names_of(const MemoryCgroup *m) {
        return m->hierarchy->unified ? &v2_names : &v1_names;
}

/* The levels of a path: the root, and one more at the end of each component. */
static size_t find_levels(const char *path, MemoryLevel *ret) {
        size_t n = 0;

        if (ret)
                ret[n] = (MemoryLevel){ .limit_fd = -1, .swap_limit_fd = -1 };
        n++;

        for (const char *p = path; *p;) {
                p = strchrnul(p, '/');
                if (ret)
                        ret[n] = (MemoryLevel){
                                .length = (size_t) (p - path), .limit_fd = -1, .swap_limit_fd = -1
                        };
                n++;
                if (*p)
                        p++;
        }

        return n;
}

int memory_cgroup_open(const CgroupHierarchy *hierarchy, const char *path, MemoryCgroup *ret) {
        MemoryCgroup m = { .hierarchy = hierarchy, .ram = USAGE_CLOSED, .swap = USAGE_CLOSED };
        const FileNames *names = names_of(&m);

        m.levels = calloc(find_levels(path, NULL), sizeof(MemoryLevel));
        if (!m.levels)
                return -ENOMEM;
        m.path = g_strdup(path);
        m.n_levels = find_levels(path, m.levels);

        for (size_t i = 0; i < m.n_levels && i < MEMORY_LEVELS_KEPT; i++) {
                MemoryLevel *level = &m.levels[i];

                level->limit_fd = cgroup_open_file(hierarchy, path, level->length, names->limit);
                level->swap_limit_fd = cgroup_open_file(hierarchy, path, level->length, names->swap_limit);
                if (level->limit_fd == -EMFILE || level->swap_limit_fd == -EMFILE) {
                        memory_cgroup_close(&m);
                        return -EMFILE;
                }
        }

        *ret = m;
        return 0;
}

static void close_usage(MemoryUsage *u) {
        close_fd(u->usage_fd);
        close_fd(u->swap_usage_fd);
        close_fd(u->stat_fd);
        *u = USAGE_CLOSED;
}

void memory_cgroup_close(MemoryCgroup *m) {
        for (size_t i = 0; i < m->n_levels; i++) {
                close_fd(m->levels[i].limit_fd);
                close_fd(m->levels[i].swap_limit_fd);
        }

        close_usage(&m->ram);
        close_usage(&m->swap);
        free(m->levels);
        g_free(m->path);
        *m = (MemoryCgroup){ .ram = USAGE_CLOSED, .swap = USAGE_CLOSED };
}

/* Reads one limit. A file that isn't there limits nothing: the root has none, a level may not have the
 * controller, and swap may not be accounted for. It's looked for each time, as a controller may be turned on
 * at any time. Return: 0 or -ENODEV. */
static int read_limit(MemoryCgroup *m, size_t i, bool swap, uint64_t *ret) {
        const FileNames *names = names_of(m);
        MemoryLevel *level = &m->levels[i];
        int *kept = swap ? &level->swap_limit_fd : &level->limit_fd, fd = *kept, r;
        _cleanup_close_ int opened = -1;

        *ret = MEMORY_UNLIMITED;

        if (fd < 0) {
                fd = opened = cgroup_open_file(m->hierarchy, m->path, level->length,
                                swap ? names->swap_limit : names->limit);
                if (fd < 0)
                        return 0;
                if (i < MEMORY_LEVELS_KEPT)
                        *kept = TAKE_FD(opened);
        }

        r = cgroup_read_number(fd, ret);
        if (r < 0)
                *ret = MEMORY_UNLIMITED;
        return r == -ENODEV ? r : 0;
}

/* The smallest limit, and the topmost level that sets it. */
static int find_tightest(MemoryCgroup *m, bool swap, uint64_t *ret, size_t *ret_level) {
        *ret = MEMORY_UNLIMITED;

        for (size_t i = 0; i < m->n_levels; i++) {
                uint64_t limit;
                int r;

                r = read_limit(m, i, swap, &limit);
                if (r < 0)
                        return r;

                if (limit < *ret) {
                        *ret = limit;
                        *ret_level = i;
                }
        }

        return 0;
}

/* Opens the usage files of this level, unless they're open. */
static int open_usage(const MemoryCgroup *m, MemoryUsage *u, size_t level) {
        const FileNames *names = names_of(m);
        size_t length = m->levels[level].length;

        if (u->level == level)
                return 0;

        close_usage(u);
        u->usage_fd = cgroup_open_file(m->hierarchy, m->path, length, names->usage);
        if (u->usage_fd < 0)
                return u->usage_fd;
        u->swap_usage_fd = cgroup_open_file(
                        m->hierarchy, m->path, length, names->swap_usage); /* may be missing */
        u->stat_fd = cgroup_open_file(m->hierarchy, m->path, length, "memory.stat");
        u->level = level;
        return 0;
}

/* memory.stat of a level that's open. Return: its text, empty if it can't be read. */
static const char *read_stat(const MemoryUsage *u) {
        static char text[STAT_SIZE];

        if (u->stat_fd < 0 || read_kernel_file_piece(u->stat_fd, text, sizeof(text)) < 0)
                text[0] = 0;
        return text;
}

static int read_ram_usage(MemoryCgroup *m, size_t level, MemoryNumbers *numbers) {
        const FileNames *names = names_of(m);
        uint64_t active = 0, inactive = 0;
        const char *stat;
        int r;

        r = open_usage(m, &m->ram, level);
        if (r >= 0)
                r = cgroup_read_number(m->ram.usage_fd, &numbers->usage);
        if (r < 0)
                return r;

        stat = read_stat(&m->ram);
        (void) cgroup_parse_field(stat, names->active_file, &active);
        (void) cgroup_parse_field(stat, names->inactive_file, &inactive);
        (void) cgroup_parse_field(stat, names->shmem, &numbers->shmem);
        numbers->file = active + inactive;
        return 0;
}

/* What's used of the swap at this level. In v1 that's what RAM and swap have together and RAM hasn't. */
static int read_swap_usage(MemoryCgroup *m, size_t level, uint64_t *ret) {
        uint64_t both, ram;
        int r;

        r = open_usage(m, &m->swap, level);
        if (r < 0)
                return r;
        if (m->swap.swap_usage_fd < 0)
                return -ENODATA;

        r = cgroup_read_number(m->swap.swap_usage_fd, &both);
        if (r < 0)
                return r;
        if (m->hierarchy->unified) {
                *ret = both;
                return 0;
        }

        r = cgroup_read_number(m->swap.usage_fd, &ram);
        if (r < 0)
                return r;

        *ret = both > ram ? both - ram : 0;
        return 0;
}

static int read_swap(MemoryCgroup *m, uint64_t ram_limit, uint64_t host_swap, MemoryNumbers *numbers) {
        size_t level = 0;
        uint64_t limit;
        int r;

        if (host_swap == 0)
                return 0; /* Nothing to limit. */

        r = find_tightest(m, true, &limit, &level);
        if (r < 0 || limit >= V1_UNLIMITED)
                return r;

        /* With a limit on both together, swap is what RAM leaves of it. */
        if (!m->hierarchy->unified && ram_limit < V1_UNLIMITED)
                limit = limit > ram_limit ? limit - ram_limit : 0;
        if (limit >= host_swap)
                return 0;

        numbers->swap_limit = limit;
        r = read_swap_usage(m, level, &numbers->swap_usage);
        return r == -ENODEV ? r : 0;
}

int memory_cgroup_read(MemoryCgroup *m, uint64_t host_ram, uint64_t host_swap, MemoryNumbers *ret) {
        MemoryNumbers numbers = { .limit = MEMORY_UNLIMITED, .swap_limit = MEMORY_UNLIMITED };
        uint64_t limit;
        size_t level = 0;
        int r;

        r = find_tightest(m, false, &limit, &level);
        if (r < 0)
                return r;

        if (limit < host_ram) {
                numbers.limit = limit;
                r = read_ram_usage(m, level, &numbers);
                if (r < 0)
                        return r;
        }

        r = read_swap(m, limit, host_swap, &numbers);
        if (r < 0)
                return r;

        *ret = numbers;
        return 0;
}

/* The smallest limit, or 0 if there's none. For swap that's said as well if the cgroup itself has none. */
static int find_limit_as_lxcfs(MemoryCgroup *m, bool swap, uint64_t *ret) {
        uint64_t own, smallest;
        size_t level;
        int r;

        r = read_limit(m, m->n_levels - 1, swap, &own);
        if (r >= 0)
                r = find_tightest(m, swap, &smallest, &level);
        if (r < 0)
                return r;

        *ret = smallest == MEMORY_UNLIMITED || (swap && own == MEMORY_UNLIMITED) ? 0 : smallest;
        return 0;
}

int memory_cgroup_read_as_lxcfs(MemoryCgroup *m, MemoryOfLxcfs *ret) {
        MemoryOfLxcfs numbers = { .unified = m->hierarchy->unified };
        _cleanup_close_ int swappiness_fd = -1;
        uint64_t swappiness = 0;
        int r;

        r = find_limit_as_lxcfs(m, false, &numbers.limit);
        if (r >= 0)
                r = find_limit_as_lxcfs(m, true, &numbers.swap_limit);
        if (r >= 0)
                r = open_usage(m, &m->ram, m->n_levels - 1);
        if (r >= 0)
                r = cgroup_read_number(m->ram.usage_fd, &numbers.usage);
        if (r < 0)
                return r;

        (void) cgroup_parse_field(read_stat(&m->ram), names_of(m)->shmem, &numbers.shmem);
        numbers.has_swap = m->ram.swap_usage_fd >= 0 &&
                           cgroup_read_number(m->ram.swap_usage_fd, &numbers.swap_usage) >= 0;

        swappiness_fd = cgroup_open_file(
                        m->hierarchy, m->path, m->levels[m->n_levels - 1].length, "memory.swappiness");
        numbers.never_swaps = swappiness_fd >= 0 && cgroup_read_number(swappiness_fd, &swappiness) >= 0 &&
                              swappiness == 0;

        *ret = numbers;
        return 0;
}
