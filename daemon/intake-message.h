/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The text of a datagram on the notify socket. It's untrusted: anybody may send anything. */

#include <stddef.h>

/* The longest unit name, as in systemd.unit(5). */
#define UNIT_NAME_MAX 255u

typedef enum IntakeKind {
        INTAKE_RUN,      /* DEPUTY_RUN=1: one end of a socket pair [and the sender's pidfd] */
        INTAKE_LISTENER, /* FDSTORE=1: a listener */
        INTAKE_BARRIER,  /* BARRIER=1: close the descriptor, see sd_notify_barrier(3) */
} IntakeKind;

typedef struct IntakeMessage {
        IntakeKind kind;
        char unit[UNIT_NAME_MAX + 1]; /* UNIT= of INTAKE_RUN; "" if there's none */
} IntakeMessage;

/* Reads the text of a datagram that came with "n_fds" descriptors. Unknown assignments are skipped, as
 * sd_notify(3) demands. Return: 0; -EBADMSG for an embedded NUL; -ENOMSG if it's none of the kinds above;
 * -EINVAL if it contradicts itself or has a bad UNIT=; -EBADF if the number of descriptors is wrong. */
int intake_message_parse(const char *data, size_t size, size_t n_fds, IntakeMessage *ret);
