/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* [Bpf] of a policy: bpf(2): which programs. */

#include <glib.h>
#include <stdbool.h>

typedef struct BpfPolicy {
        bool reserved;
} BpfPolicy;
