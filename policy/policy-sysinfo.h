/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* [Sysinfo] of a policy: what sysinfo(2) tells. */

#include <glib.h>
#include <stdbool.h>

typedef struct SysinfoPolicy {
        bool reserved;
} SysinfoPolicy;
