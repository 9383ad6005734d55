/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* deputy-supervisor: serves the calls of one target. One process, one thread, one listener, one event loop.
 */

#include <linux/seccomp.h>
#include <systemd/sd-event.h>

#include "basic/target-state.h"
#include "policy/policy.h"
#include "supervisor/report.h"
#include "supervisor/request.h"

struct Supervisor {
        sd_event *event;
        int listener_fd;
        int control_fd; /* to deputyd; -1 in the embedded mode */
        unsigned slot_index;
        TargetState *state;
        int state_fd;       /* what's mapped there, for a lock on it: supervisor_lock() */
        const char *target; /* its id */
        Policy *policy;
        CapabilitySet capabilities; /* held, of those that handlers ask for */
        Report report;

        sd_event_source *idle_source;
        uint64_t last_call_usec;

        /* The kernel's struct may be larger than ours. */
        struct seccomp_notif_sizes sizes;
        struct seccomp_notif_resp *response;
};

#define SUPERVISOR_INIT                                                                                      \
        { .listener_fd = -1, .control_fd = -1, .state_fd = -1 }

/* Serves until the target is gone, deputyd says so or goes, or nothing was asked for a while. Return: 0 or a
 * negative errno. */
int supervisor_serve(Supervisor *s);

/* The other supervisors of this target, alive or about to be found dead. Return: how many. */
size_t supervisor_others(const Supervisor *s, pid_t ret[static TARGET_STATE_SLOTS]);

/* For what no two supervisors of a target are to do at once. Waits while another has the lock, which ends
 * with its process at the latest. Return: 0 or a negative errno. */
int supervisor_lock(const Supervisor *s);
void supervisor_unlock(const Supervisor *s);

/* Capabilities that this policy's calls need, beyond those to look at callers. */
CapabilitySet supervisor_capabilities(const Policy *policy);

/* The server's side of the handover of the embedded mode: offers the policy's filter over the connected
 * socket, takes the listener. Return: 1 if there's something to serve, 0 if the command runs without a
 * filter, or a negative errno. */
int supervisor_handover(Supervisor *s, int socket_fd);

void supervisor_done(Supervisor *s);
