/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A target of deputyd as D-Bus shows it: see org.deputyd1(5). */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "ctl/bus.h"
#include "ctl/json.h"
#include "ctl/terminal.h"

typedef struct TargetCounters {
        char *call;
        uint64_t received, emulated, continued, refused, failed;
} TargetCounters;

typedef struct Target {
        char *id, *unit, *machine, *state, *policy_error, *policy;
        char **calls, **files;
        bool needs_restart;
        uint32_t leader;
        uint64_t since_usec, median_nsec, p99_nsec, max_nsec, entries_dropped;
        GArray *supervisors; /* uint32_t */
        GPtrArray *counters; /* TargetCounters */
} Target;

Target *target_free(Target *target);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Target, target_free)

/* All targets, by unit. Return: 0, or a negative errno that has been logged. */
int targets_load(sd_bus *bus, GPtrArray **ret);

/* The target at an object path. Return: 0, or a negative errno and "error". */
int target_load(sd_bus *bus, const char *path, Target **ret, sd_bus_error *error);

/* The counters of all its calls added up ("call" is NULL). */
TargetCounters target_sum(const Target *target);

/* Writes one JSON object. */
void target_to_json(const Target *target, Json *json, const char *name);

/* What the state is shown as. */
Style target_state_style(const Target *target);
