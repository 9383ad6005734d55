/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The processes that serve a target. */

#include "basic/protocol.h"
#include "daemon/target.h"

struct Supervisor {
        Target *target; /* NULL: the target is gone, this process only has to be reaped */
        unsigned slot;
        pid_t pid; /* 0: it's reaped, but not all that it had at work for it */
        int control;
        bool killed; /* its slot stays taken until it's gone, but it counts no more */
        uint64_t started_usec;
        sd_event_source *child, *helpers;
};

/* Starts a supervisor and makes it the one that receives. What goes wrong is logged and counted as a crash.
 * Return: 0; -EBUSY if there are enough already; another negative errno. */
int supervisor_start(Target *t);

/* May another one be started? */
bool supervisor_may_start(const Target *t);

/* Looks at a target that has supervisors: is a call stuck, has it timed out, does nobody listen? */
void supervisor_check(Target *t, uint64_t now_usec);

/* Sends a control message to all supervisors of the target. "fd" may be -1. */
void supervisor_tell(Target *t, ControlType type, uint32_t value, int fd);

/* Sends the policy that's in force now. */
void supervisor_send_policy(Target *t);

/* Resolves what a predecessor of ours left in the target's slots. Return: the number of calls in flight. */
unsigned supervisor_adopt_slots(Target *t);

/* Answers all orphaned calls by OnFailure=. */
void supervisor_answer_orphans(Target *t);

/* Kills all of the target's supervisors, which are reaped on their own. */
void supervisor_abandon(Target *t);
