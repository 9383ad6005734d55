/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* [Sysinfo] of a policy: what sysinfo(2) tells. */

#include <glib.h>
#include <stdbool.h>

/* By whose rules the numbers are made: see supervisor/sysinfo-numbers.h. */
typedef enum SysinfoFormula {
        SYSINFO_FORMULA_AUTO, /* lxcfs' where it serves the caller's /proc/meminfo, else the kernel's */
        SYSINFO_FORMULA_LXCFS,
        SYSINFO_FORMULA_KERNEL,
} SysinfoFormula;

typedef struct SysinfoPolicy {
        SysinfoFormula formula;
        unsigned cache_msec; /* how old an answer may be */
} SysinfoPolicy;
