/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* [Mount] of a policy: mounts: which file systems, from where, to where, with which options. */

#include <glib.h>
#include <stdbool.h>

typedef struct MountPolicy {
        bool reserved;
} MountPolicy;
