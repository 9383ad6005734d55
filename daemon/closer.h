/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Closes descriptors that came from untrusted senders without ever waiting for it. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#define CLOSER_QUEUE_MAX     8192u
#define CLOSER_PROCESSES_MAX 8u

typedef struct CloserQueue CloserQueue;

typedef struct Closer {
        sd_event *event;
        CloserQueue *queue;
        unsigned n_processes;
        sd_event_source *check_source;
        uint32_t checked_taken;
} Closer;

/* Prepares it. Return: 0, or a negative errno. */
int closer_init(Closer *c, sd_event *event);

/* Takes the descriptor and closes it: at once if that can't block, else in a child. */
void closer_close(Closer *c, int fd);

/* Is there room for another descriptor that may be slow to close? If not, take no more of them. */
bool closer_has_room(const Closer *c, unsigned n);

void closer_done(Closer *c);
