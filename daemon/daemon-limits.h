/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Every resource of deputyd that somebody else controls has its limit here. "Untrusted" is whoever isn't uid
 * 0 of the host: inner root of a container is such a sender. */

#include <stdint.h>

#define USEC_PER_SEC  UINT64_C(1000000)
#define USEC_PER_MSEC UINT64_C(1000)
#define NSEC_PER_USEC UINT64_C(1000)

/* All targets together. PID 1 hands the names of all stored descriptors back in one environment variable, and
 * execve(2) takes no string longer than 128 KiB (MAX_ARG_STRLEN): beyond that the service could never start
 * again. A target takes up to two names of at most six characters with their colon (see store.h), so twice
 * 6 × 10240 leaves room for the socket's. */
#define TARGETS_MAX 10240u

/* Of them, for untrusted senders: all together, per unit, per user. */
#define TARGETS_UNTRUSTED_MAX (TARGETS_MAX / 2)
#define TARGETS_PER_UNIT_MAX  256u
#define TARGETS_PER_USER_MAX  256u

/* Conversations with deputy-run that aren't finished. */
#define HANDOVERS_MAX          512u
#define HANDOVERS_PER_USER_MAX 16u
#define HANDOVER_TIMEOUT_USEC  (10 * USEC_PER_SEC)

/* Datagrams that are read before the event loop looks at its other sources. */
#define DATAGRAMS_PER_WAKE_UP 16u

/* Compiled filters that are kept, one for each set of calls. */
#define FILTERS_MAX 64u

/* Messages waiting for a slow bus; while there are more, signals are left out. */
#define BUS_QUEUE_MAX 4096u

/* Requests that wait for polkit's word. */
#define POLKIT_QUERIES_MAX 64u

/* How often active targets are looked at, and how long one call may keep the others waiting before a further
 * supervisor is started. */
#define TICK_USEC  (100 * USEC_PER_MSEC)
#define STUCK_USEC (50 * USEC_PER_MSEC)

/* A supervisor that leaves a waiting call unread for so long, with no other in hand, is replaced. */
#define DEAF_USEC (10 * USEC_PER_SEC)

/* So many crashes in so short a time make a target "failed". */
#define CRASHES_MAX         5u
#define CRASH_INTERVAL_USEC (10 * USEC_PER_SEC)

/* Notifications of a failed target that are answered before the event loop looks at its other sources, and
 * how long one receive may block (the caller may have gone since the listener was readable). */
#define ANSWERS_PER_WAKE_UP 16u
#define RECEIVE_GUARD_USEC  (10 * USEC_PER_MSEC)

/* Leaving: how long supervisors may take to finish what they have in hand, and to wait for the bus. */
#define LEAVE_TIMEOUT_USEC (2 * USEC_PER_SEC)
#define IDLE_EXIT_USEC     (30 * USEC_PER_SEC)
