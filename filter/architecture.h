/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The architectures whose system calls a process of this machine can make: its own and the 32-bit ones that
 * its kernel may run. One table for compiling filters and for resolving what they notify of. */

#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/audit.h>

/* x32 calls come as AUDIT_ARCH_X86_64 with this bit in their number, even where the kernel has no x32. */
#define X32_BIT 0x40000000u

typedef struct Architecture {
        uint32_t scmp;   /* libseccomp's token */
        uint32_t audit;  /* struct seccomp_data.arch */
        uint32_t nr_bit; /* always set in the numbers of its calls; 0: none */
} Architecture;

static const Architecture architectures[] = {
#if defined(__x86_64__)
        { SCMP_ARCH_X86_64, AUDIT_ARCH_X86_64, 0 },
        { SCMP_ARCH_X32, AUDIT_ARCH_X86_64, X32_BIT },
        { SCMP_ARCH_X86, AUDIT_ARCH_I386, 0 },
#elif defined(__aarch64__)
        { SCMP_ARCH_AARCH64, AUDIT_ARCH_AARCH64, 0 },
        { SCMP_ARCH_ARM, AUDIT_ARCH_ARM, 0 },
#else
#        error "The calls of this architecture need an entry here."
#endif
};

#define ARCHITECTURES_MAX (sizeof(architectures) / sizeof(architectures[0]))
