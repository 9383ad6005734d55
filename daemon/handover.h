/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The conversation with one deputy-run; see basic/protocol.h. */

#include "daemon/manager.h"

typedef struct HandoverSender {
        pid_t pid;
        uid_t uid;
        int pidfd;        /* may be -1; taken over if something is made of it */
        const char *unit; /* "" if it's in none */
} HandoverSender;

/* Starts a conversation over "socket" (taken over in any case): sends the offer. */
void handover_start(Manager *m, int socket, HandoverSender *sender);

/* Ends all conversations that aren't finished. */
void handover_end_all(Manager *m);
