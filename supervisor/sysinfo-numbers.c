/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <glib.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/sysinfo-numbers.h"

/* The layouts of linux/sysinfo.h, spelled out: both are needed, on every architecture. */
typedef struct SysinfoNative {
        int64_t uptime;
        uint64_t loads[3];
        uint64_t totalram, freeram, sharedram, bufferram, totalswap, freeswap;
        uint16_t procs, pad;
        uint32_t pad_2;
        uint64_t totalhigh, freehigh;
        uint32_t mem_unit;
        uint32_t pad_3;
} SysinfoNative;

typedef struct SysinfoCompat {
        int32_t uptime;
        uint32_t loads[3];
        uint32_t totalram, freeram, sharedram, bufferram, totalswap, freeswap;
        uint16_t procs, pad;
        uint32_t totalhigh, freehigh;
        uint32_t mem_unit;
        uint8_t filler[8];
} SysinfoCompat;

_Static_assert(sizeof(SysinfoNative) == SYSINFO_SIZE, "as the kernel's");
_Static_assert(sizeof(SysinfoCompat) == SYSINFO_SIZE_COMPAT, "as the kernel's");

void sysinfo_numbers_of_host(const struct sysinfo *host, SysinfoNumbers *ret) {
        uint64_t unit = host->mem_unit > 0 ? host->mem_unit : 1;

        *ret = (SysinfoNumbers){
                .uptime = host->uptime,
                .loads = { host->loads[0], host->loads[1], host->loads[2] },
                .totalram = host->totalram * unit,
                .freeram = host->freeram * unit,
                .sharedram = host->sharedram * unit,
                .bufferram = host->bufferram * unit,
                .totalswap = host->totalswap * unit,
                .freeswap = host->freeswap * unit,
                .totalhigh = host->totalhigh * unit,
                .freehigh = host->freehigh * unit,
                .procs = host->procs,
        };
}

static uint64_t minus(uint64_t a, uint64_t b) {
        return a > b ? a - b : 0;
}

void sysinfo_numbers_limit(SysinfoNumbers *n, const MemoryNumbers *memory) {
        if (memory->limit < n->totalram) {
                n->totalram = memory->limit;
                n->freeram = minus(n->totalram, minus(memory->usage, memory->file));
                n->sharedram = MIN(memory->shmem, n->totalram);
                n->bufferram = 0;
                n->totalhigh = n->freehigh = 0;
        }

        if (memory->swap_limit < n->totalswap) {
                n->totalswap = memory->swap_limit;
                n->freeswap = MIN(minus(n->totalswap, memory->swap_usage), n->freeswap);
        }
}

static uint64_t kib(uint64_t bytes) {
        return bytes / 1024;
}

/* In KiB, step by step as lxcfs does it. */
void sysinfo_numbers_limit_as_lxcfs(SysinfoNumbers *numbers, const MemoryOfLxcfs *memory) {
        uint64_t host_ram = kib(numbers->totalram), host_swap = kib(numbers->totalswap),
                 ram = memory->limit > 0 ? MIN(kib(memory->limit), host_ram) : host_ram, swap = 0,
                 swap_used = 0;

        if (memory->has_swap && memory->swap_limit > 0) {
                swap = kib(memory->unified ? memory->swap_limit : minus(memory->swap_limit, memory->limit));
                swap_used = kib(memory->unified ? memory->swap_usage
                                                : minus(memory->swap_usage, memory->usage));
        }
        if (memory->has_swap) {
                swap = MIN(memory->unified ? swap : swap + ram, host_swap);
                if (memory->never_swaps)
                        swap = swap_used;
        }

        numbers->totalram = ram * 1024;
        numbers->freeram = minus(ram, kib(memory->usage)) * 1024;
        numbers->sharedram = kib(memory->shmem) * 1024;
        numbers->bufferram = 0;
        numbers->totalhigh = numbers->freehigh = 0;
        numbers->totalswap = swap * 1024;
        numbers->freeswap = minus(swap, swap_used) * 1024;
}

static void format_native(const SysinfoNumbers *n, SysinfoNative *ret) {
        *ret = (SysinfoNative){
                .uptime = n->uptime,
                .loads = { n->loads[0], n->loads[1], n->loads[2] },
                .totalram = n->totalram,
                .freeram = n->freeram,
                .sharedram = n->sharedram,
                .bufferram = n->bufferram,
                .totalswap = n->totalswap,
                .freeswap = n->freeswap,
                .procs = (uint16_t) MIN(n->procs, UINT16_MAX),
                .totalhigh = n->totalhigh,
                .freehigh = n->freehigh,
                .mem_unit = 1,
        };
}

static void format_compat(const SysinfoNumbers *n, SysinfoCompat *ret) {
        uint64_t largest = MAX(n->totalram, n->totalswap);
        unsigned shift = 0;

        /* As the kernel: bytes, or else pages. From 16 TiB on it would cut numbers off. */
        if (largest > UINT32_MAX)
                shift = (unsigned) __builtin_ctzl((unsigned long) sysconf(_SC_PAGESIZE));
        while (largest >> shift > UINT32_MAX)
                shift++;

        *ret = (SysinfoCompat){
                .uptime = (int32_t) MIN(n->uptime, INT32_MAX),
                .loads = { (uint32_t) n->loads[0], (uint32_t) n->loads[1], (uint32_t) n->loads[2] },
                .totalram = (uint32_t) (n->totalram >> shift),
                .freeram = (uint32_t) (n->freeram >> shift),
                .sharedram = (uint32_t) (n->sharedram >> shift),
                .bufferram = (uint32_t) (n->bufferram >> shift),
                .totalswap = (uint32_t) (n->totalswap >> shift),
                .freeswap = (uint32_t) (n->freeswap >> shift),
                .procs = (uint16_t) MIN(n->procs, UINT16_MAX),
                .totalhigh = (uint32_t) (n->totalhigh >> shift),
                .freehigh = (uint32_t) (n->freehigh >> shift),
                .mem_unit = UINT32_C(1) << shift,
        };
}

size_t sysinfo_numbers_format(const SysinfoNumbers *numbers, bool compat, uint8_t ret[static SYSINFO_SIZE]) {
        if (compat) {
                SysinfoCompat c;

                format_compat(numbers, &c);
                memcpy(ret, &c, sizeof(c));
                return sizeof(c);
        }

        SysinfoNative n;

        format_native(numbers, &n);
        memcpy(ret, &n, sizeof(n));
        return sizeof(n);
}
