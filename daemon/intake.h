/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The notify socket: where everybody may send. */

#include "daemon/manager.h"

/* Starts to read m->notify_fd; makes and binds it first (to "path") if the service manager passed none.
 * Return: 0, or a negative errno (logged). */
int intake_start(Manager *m, const char *path);

/* Closes a descriptor that "uid" sent. What an untrusted user sends is never closed by the daemon itself
 * unless that can't block. */
void intake_discard_fd(Manager *m, uid_t uid, int fd);
