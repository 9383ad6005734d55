/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How much memory a cgroup may use, and uses.
 *
 * A process is bound by the limits of its cgroup and of all those above, so the smallest one is what it has.
 * Usage is told from the cgroup that sets this limit: what its neighbours there use isn't free for it. Of
 * equal limits that of the topmost cgroup counts, which has the most users.
 *
 * The files are kept open, as reading one takes a tenth of opening it; for the lowest levels of a very deep
 * tree they're not, so that descriptors are bounded. An open file doesn't keep a cgroup from being removed;
 * it then reads as -ENODEV. */

#include <stdbool.h>
#include <stdint.h>

#include "supervisor/cgroup.h"

#define MEMORY_LEVELS_KEPT 16u /* their files stay open */

typedef struct MemoryLevel {
        size_t length; /* of the part of the path that names it */
        int limit_fd;  /* negative: opened when it's read */
        int swap_limit_fd;
} MemoryLevel;

/* Open files of the cgroup that sets a limit. */
typedef struct MemoryUsage {
        size_t level;
        int usage_fd, swap_usage_fd, stat_fd;
} MemoryUsage;

typedef struct MemoryCgroup {
        const CgroupHierarchy *hierarchy;
        char *path;
        MemoryLevel *levels; /* from the root down */
        size_t n_levels;
        MemoryUsage ram, swap;
} MemoryCgroup;

#define MEMORY_UNLIMITED UINT64_MAX

/* In bytes. */
typedef struct MemoryNumbers {
        uint64_t limit; /* MEMORY_UNLIMITED: none below the host's total; then nothing else of RAM is set */
        uint64_t usage;
        uint64_t file;       /* page cache that can be reclaimed: active_file + inactive_file */
        uint64_t shmem;      /* tmpfs, shared memory */
        uint64_t swap_limit; /* likewise */
        uint64_t swap_usage;
} MemoryNumbers;

/* What lxcfs reads of the container's cgroup, in bytes. It takes the smallest limit of the cgroup and those
 * above; of swap in v2 none if the cgroup itself says "max". In v1, swap is RAM and swap together. */
typedef struct MemoryOfLxcfs {
        bool unified;
        uint64_t limit; /* 0: none */
        uint64_t usage;
        uint64_t shmem;
        bool has_swap;       /* swap is accounted for */
        uint64_t swap_limit; /* 0: none */
        uint64_t swap_usage;
        bool never_swaps; /* memory.swappiness is 0 */
} MemoryOfLxcfs;

/* Opens the limits of a cgroup and those above it. Directories that are gone are passed over. Return: 0 or a
 * negative errno. */
int memory_cgroup_open(const CgroupHierarchy *hierarchy, const char *path, MemoryCgroup *ret);
void memory_cgroup_close(MemoryCgroup *m);

/* Reads the numbers of now. Limits of "host_ram" and "host_swap" or more are none. Return: 0; -ENODEV if the
 * cgroup is gone; another negative errno. */
int memory_cgroup_read(MemoryCgroup *m, uint64_t host_ram, uint64_t host_swap, MemoryNumbers *ret);
int memory_cgroup_read_as_lxcfs(MemoryCgroup *m, MemoryOfLxcfs *ret);
