/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* [Scheduling] of a policy: which scheduling policies, priorities and I/O classes. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* MinNice= if nothing is lent: no nice value is that high. */
#define SCHEDULING_NICE_NONE 20

typedef struct SchedulingPolicy {
        unsigned policies;   /* AllowPolicy=: a bit for each SCHED_* number */
        unsigned io_classes; /* IOClass=: a bit for each IOPRIO_CLASS_* number */
        unsigned max_realtime_priority;
        int min_nice;
        uint64_t max_deadline_runtime_usec;
        unsigned max_deadline_bandwidth; /* percent of one processor, all tasks of the target together */
} SchedulingPolicy;

/* Is this scheduling policy (a SCHED_* number without flags) lent? SCHED_OTHER is as soon as anything of
 * [Scheduling] is that concerns processors: what was lent must be possible to give back. */
bool scheduling_lends_policy(const SchedulingPolicy *scheduling, unsigned policy);

/* Is this I/O class (an IOPRIO_CLASS_* number) lent? */
bool scheduling_lends_io_class(const SchedulingPolicy *scheduling, unsigned io_class);

/* Names as in AllowPolicy= and IOClass=. NULL for what can't be lent. */
const char *scheduling_policy_name(unsigned policy);
const char *scheduling_io_class_name(unsigned io_class);
