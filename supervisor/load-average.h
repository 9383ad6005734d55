/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Load averages of a cgroup, without a clock that ticks for it.
 *
 * The kernel counts, each 5 s, the tasks of the whole machine that run or wait, and lets each of three
 * averages approach that number, by a factor of e per 1, 5 and 15 minutes. For a cgroup nobody counts. But
 * the kernel adds up how long its tasks ran (cpu.stat, cpuacct.usage) and, with pressure stall information,
 * how long some task of it waited for a processor or for I/O (cpu.pressure, io.pressure). The increase of
 * their sum over the time between two looks is the mean number of tasks that ran or waited in it, and the
 * averages approach that one, however long the time was. Many that wait at once count as one, so on a crowded
 * machine the load is understated; without pressure stall information waiting isn't counted at all.
 *
 * At the first look, the time since the container's start counts as one such interval. */

#include <stdint.h>

typedef struct LoadAverage {
        uint64_t looked_nsec; /* 0: never */
        uint64_t active_nsec; /* the sum, then */
        double averages[3];
} LoadAverage;

/* "active_nsec" is the sum at "now_nsec"; both began with 0 at "start_nsec", which counts at the first look.
 * No more than "most" tasks can have been active at a time. */
void load_average_update(LoadAverage *load, uint64_t start_nsec, uint64_t now_nsec, uint64_t active_nsec,
                unsigned most);

/* As struct sysinfo has them: in units of 1/65536. */
void load_average_get(const LoadAverage *load, uint64_t ret[static 3]);
