/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The conversation of basic/protocol.h from the target's side. It's the same with deputyd and with a
 * supervisor of our own; only the far end of the socket differs. */

#include <stdbool.h>

#include "basic/protocol.h"

/* What was agreed, and what a caller needs to go on. */
typedef struct Handover {
        int sock;     /* our end of the pair */
        int listener; /* of the filter that's loaded; -1: none */
        bool wait_killable;
        bool embedded;    /* the server is a supervisor of our own */
        int timeout_msec; /* for each answer of the server */
} Handover;

#define HANDOVER_NULL                                                                                        \
        { .sock = -1, .listener = -1 }

/* Waits for the server's offer and acts on it: loads the filter, gives the listener away, waits for the word
 * to go. Prints what went wrong, but for -ECONNRESET. Return: 0: the command may run; -ECONNRESET: the server
 * has gone away (look at "listener" for what's done already); another negative errno: it must not. */
int handover_run(Handover *handover);

/* Closes what's still open. */
void handover_done(Handover *handover);

/* Waits until the descriptor has "events", until a point in CLOCK_MONOTONIC given in ms. Return: 0,
 * -ETIMEDOUT, or another negative errno. */
int wait_for(int fd, short events, long long until_msec);
long long now_msec(void);
