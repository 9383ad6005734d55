/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* [Module] of a policy: kernel modules: which ones. */

#include <glib.h>
#include <stdbool.h>

typedef struct ModulePolicy {
        bool reserved;
} ModulePolicy;
