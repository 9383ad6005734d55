/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What sysinfo(2) says to a limited caller, and the form in which it's said.
 *
 * The kernel's formula:
 *
 *     totalram   the smallest limit on the caller's cgroup and those above, or the host's total
 *     freeram    totalram - (usage - page cache), never below 0. Usage and page cache (active_file +
 *                inactive_file) are those of the cgroup that sets the limit; page cache counts as free since
 *                it's what the kernel takes back first when the limit is met
 *     sharedram  shmem of that cgroup
 *     bufferram  0: buffers of block devices aren't accounted to cgroups (and page cache isn't buffers)
 *     totalswap  the smallest swap limit (v1: what's left of the limit on RAM and swap together), or the
 * host's freeswap   totalswap - the swap that the cgroup uses that sets the limit, and no more than the host
 * has
 *
 * Where nothing is limited below the host's total, RAM or swap are told as the host has them.
 *
 * lxcfs' formula is the one by which lxcfs 5 makes MemTotal:, MemFree:, Shmem:, Buffers:, SwapTotal: and
 * SwapFree: of /proc/meminfo: from the container's cgroup, in KiB, page cache counted as used. Swap is told
 * as version 6 does it: with v2, version 5 doesn't find any. Only what wraps around there is 0 here. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/sysinfo.h>

#include "supervisor/cgroup-memory.h"

/* struct sysinfo, whatever the architecture; in bytes. */
typedef struct SysinfoNumbers {
        int64_t uptime; /* s */
        uint64_t loads[3];
        uint64_t totalram, freeram, sharedram, bufferram;
        uint64_t totalswap, freeswap;
        uint64_t totalhigh, freehigh;
        unsigned procs;
} SysinfoNumbers;

/* What the kernel itself says. */
void sysinfo_numbers_of_host(const struct sysinfo *host, SysinfoNumbers *ret);

/* Replaces the host's RAM and swap by what the caller has. */
void sysinfo_numbers_limit(SysinfoNumbers *numbers, const MemoryNumbers *memory);
void sysinfo_numbers_limit_as_lxcfs(SysinfoNumbers *numbers, const MemoryOfLxcfs *memory);

#define SYSINFO_SIZE        112u
#define SYSINFO_SIZE_COMPAT 64u

/* Writes struct sysinfo as the caller's architecture has it: "compat" with 32-bit longs, in which sizes are
 * told in units of mem_unit bytes, raised as far as they need to fit. Return: its size. */
size_t sysinfo_numbers_format(const SysinfoNumbers *numbers, bool compat, uint8_t ret[static SYSINFO_SIZE]);
