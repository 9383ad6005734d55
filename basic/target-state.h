/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What deputyd and the supervisors of one target share: a memfd, mapped by all of them and kept in PID 1's fd
 * store, so that it outlives each of them. It holds the target's counters (D-Bus reads them without asking
 * anyone) and its in-flight table: a notification that was received and not answered is never delivered
 * again, so each is received *into* its slot (the kernel writes it there before the supervisor can die) and
 * stays there until it's answered. Whoever comes next serves it again. See docs/architecture.md, "Restart".
 */

#include <linux/seccomp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define TARGET_STATE_MAGIC   0x73505544u
#define TARGET_STATE_VERSION 1u

/* MaxSupervisors= can't be larger: one slot per supervisor. */
#define TARGET_STATE_SLOTS           16u
#define TARGET_STATE_CALLS           40u
#define TARGET_STATE_LATENCY_BUCKETS 32u

typedef enum SlotStage {
        SLOT_RECEIVED = 0, /* nothing has been done for the call yet */
        SLOT_ACTING, /* about to act, "before" is known: what the act finds may be its own earlier result */
        SLOT_FILE_MADE, /* mknod's bind fallback: the file to mount on may exist */
        SLOT_ANSWERING, /* acted; "result" is the answer */
} SlotStage;

/* One call in hand. Written by the supervisor that owns the slot, read by deputyd and by the slot's next
 * owner. */
typedef struct TargetSlot {
        struct seccomp_notif notification; /* id != 0: in flight. Cleared before each receive, as the kernel
                                              demands */
        _Atomic int32_t owner; /* pid of the supervisor that has the slot; 0: free; -1: orphaned, to be served
                                  again */
        _Atomic uint32_t stage; /* SlotStage */
        _Atomic uint64_t
                        received_nsec; /* CLOCK_MONOTONIC; 0: nothing received. Set right after the receive */
        int64_t started_realtime_nsec; /* CLOCK_REALTIME_COARSE at the first attempt */
        int64_t before;                /* what the handler noted before it acted, e.g. "it didn't exist" */
        int64_t result;                /* 0 or more: return value; less: -errno */
} TargetSlot;

typedef struct CallCounters {
        _Atomic uint64_t received;
        _Atomic uint64_t emulated;  /* done on the caller's behalf, whatever errno came of it */
        _Atomic uint64_t continued; /* not our business: left to the kernel */
        _Atomic uint64_t refused;  /* the policy or the capability law said no: left to the kernel, which says
                                      EPERM */
        _Atomic uint64_t failed;   /* we couldn't: OnFailure= */
        _Atomic uint64_t nsec_max; /* from receive to answer */
} CallCounters;

typedef struct TargetState {
        uint32_t magic;
        uint32_t version;
        _Atomic uint32_t receiver; /* index of the slot whose owner may receive; deputyd moves it when one is
                                      stuck */
        uint32_t secret;           /* random, in the names of what the kernel doesn't remember the maker of:
                                      bpf/object.h */
        _Atomic uint64_t last_call_nsec;  /* CLOCK_MONOTONIC of the last receive */
        _Atomic uint64_t entries_dropped; /* journal entries not written: rate limit or a full socket */
        _Atomic uint32_t latency[TARGET_STATE_LATENCY_BUCKETS]; /* bucket i: 2^i to 2^(i+1) ns from receive to
                                                                   answer */
        TargetSlot slots[TARGET_STATE_SLOTS];
        CallCounters calls[TARGET_STATE_CALLS]; /* by CallId */
} TargetState;

/* A target that was active once keeps this memory: one page, no more. */
_Static_assert(sizeof(TargetState) <= 4096, "the shared state fits into a page");

/* Makes the memfd with a fresh state. Return: 0, or a negative errno. */
int target_state_new(int *ret_fd);

/* Maps it; checks size, magic and version. Unmap with target_state_unmap(). Return: 0, -EBADMSG, or another
 * negative errno. */
int target_state_map(int fd, TargetState **ret);
TargetState *target_state_unmap(TargetState *state);

/* Estimates a quantile (0 to 1) of the latency in ns from the buckets; 0 if there was no call. */
uint64_t target_state_latency_quantile(const TargetState *state, double quantile);
