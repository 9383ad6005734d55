/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One filter that somebody has loaded and whose listener we have; or, for show, one command that deputy-run
 * started without a filter. An idle one is this struct, a descriptor and an event source. */

#include <stdatomic.h>

#include "basic/target-state.h"
#include "daemon/manager.h"
#include "daemon/unit-policy.h"

#define TARGET_ID_SIZE 17u

typedef struct Supervisor Supervisor;

typedef enum TargetStatus {
        TARGET_IDLE,
        TARGET_ACTIVE,
        TARGET_PASS_THROUGH,
        TARGET_FAILED,
        _TARGET_STATUS_MAX,
} TargetStatus;

/* What a target has only while it has supervisors. */
typedef struct TargetActivity {
        TargetState *state;
        Supervisor *supervisors[TARGET_STATE_SLOTS];
        unsigned n_supervisors;
        Supervisor *receiver; /* the one that may receive; NULL: nobody is there to do it */
        uint64_t deaf_since_usec;
        uint64_t deaf_last_call_nsec;
} TargetActivity;

struct Target {
        Manager *manager;
        UnitPolicy *policy;
        char id[TARGET_ID_SIZE];
        bool failed;          /* its supervisors crash: the daemon answers, until a reload */
        bool calls_known;     /* no: a third party made the filter */
        bool announced;       /* InterfacesAdded was sent */
        uint8_t status_shown; /* TargetStatus on the bus */
        uint8_t n_crashes;
        uint16_t store_number; /* 0: nothing stored */
        int listener;          /* -1: there's no filter */
        int state_fd;          /* -1: no supervisor has run yet */
        int leader_pidfd;      /* only if there's no listener */
        pid_t leader;
        uid_t uid;
        CallSet calls; /* those in the filter */
        uint64_t timestamp_usec;
        uint64_t crash_begin_usec;
        uint64_t crash_answered; /* calls, at the last crash */
        char *machine;
        char *reason; /* why it's pass-through, if not by its policy */
        sd_event_source *source;
        TargetActivity *activity;
};

typedef struct TargetParameters {
        const char *id; /* NULL: a new one */
        UnitPolicy *policy;
        int listener;     /* or -1; taken over on success */
        int leader_pidfd; /* or -1; taken over on success */
        pid_t leader;
        uid_t uid;
        bool calls_known;
        CallSet calls;
        const char *reason;
        uint64_t timestamp_usec; /* 0: now */
        bool restored;           /* it's there already: no limit applies */
} TargetParameters;

/* Makes a target, adds it to the manager and watches it. Return: 0; -EEXIST if the listener is a target's
 * already; -EUSERS if a limit is reached; another negative errno. */
int target_new(Manager *m, const TargetParameters *p, Target **ret);

/* Tells the journal and the bus of a target that has come now (as opposed to one that was restored). */
void target_announce(Target *t);

/* The last task with the filter is gone: tells everybody, and frees it. */
void target_gone(Target *t);

TargetStatus target_status(const Target *t);
const char *target_status_to_string(TargetStatus status);

/* Why it's pass-through or failed; NULL if it isn't. */
const char *target_error(const Target *t);

/* Do the calls that the policy lends now differ from those in the filter? */
bool target_needs_restart(const Target *t);

/* Looks for the machine's name if it isn't known yet. */
void target_find_machine(Target *t);

/* Its unit's policy was loaded again. "changed": it's another one now. */
void target_policy_reloaded(Target *t, bool changed);

/* Brings the event source, the shared memory and what the bus shows in line with the supervisors there are.
 */
void target_update(Target *t);

/* Serves calls that were in the hand of a supervisor that's dead now. */
void target_serve_orphans(Target *t);

/* Maps the shared state if there's one. Return: 1 mapped (undo with target_unmap_state()), 0 there's none, or
 * a negative errno. */
int target_map_state(Target *t);
void target_unmap_state(Target *t);

/* Answers a notification by OnFailure= and counts it as failed. */
void target_answer_failure(Target *t, const struct seccomp_notif *notification);

/* Frees without telling anybody. */
Target *target_free(Target *t);
