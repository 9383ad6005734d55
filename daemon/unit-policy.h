/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What deputyd keeps of a unit's policy: one for all targets of the unit, and no more of it than the daemon
 * needs itself plus the text that supervisors and D-Bus get. (The parsed Policy with the origin of each value
 * is several times as large, and idle targets should cost next to nothing.) */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "policy/call.h"

typedef struct Manager Manager;

typedef struct UnitPolicy {
        Manager *manager;
        unsigned n_ref;
        unsigned n_targets_untrusted;
        char *unit; /* "" for processes in no unit */

        CallSet calls; /* what the filter has to intercept; 0: pass-through */
        char *error;   /* why it's pass-through although somebody wrote a policy; else NULL */
        int on_failure;
        unsigned max_supervisors;
        uint64_t timeout_usec;
        char **files;
        char *text; /* policy_to_text(), or "" */
} UnitPolicy;

/* The policy of a unit, loaded now unless a target or a handover has it already. Problems of its files are
 * logged. Return: 0 and a reference; -EINVAL if "unit" is no unit name; -ENOMEM. */
int unit_policy_get(Manager *m, const char *unit, UnitPolicy **ret);

/* Reads the files again. Return: 1 if anything that targets see has changed, 0 if not, or a negative errno
 * (then the old policy stays). */
int unit_policy_reload(UnitPolicy *p);

UnitPolicy *unit_policy_ref(UnitPolicy *p);
UnitPolicy *unit_policy_unref(UnitPolicy *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(UnitPolicy, unit_policy_unref)
