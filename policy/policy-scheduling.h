/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* [Scheduling] of a policy: scheduling: which policies and priorities. */

#include <glib.h>
#include <stdbool.h>

typedef struct SchedulingPolicy {
        bool reserved;
} SchedulingPolicy;
