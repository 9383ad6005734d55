/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What outlives the daemon: listeners and state memfds in PID 1's descriptor store, and a link per target in
 * the runtime directory that says what they belong to. */

#include "daemon/target.h"

/* Keeps the target's listener. Return: 0, or a negative errno. */
int store_push_listener(Target *t);

/* Keeps the target's state memfd. Return: 0, or a negative errno. */
int store_push_state(Target *t);

/* Says in the runtime directory what has to be known of the target. Return: 0, or a negative errno. */
int store_write_entry(const Target *t);

/* Drops all that's kept of the target. */
void store_remove(Target *t);

/* Takes over what the service manager passes: sets the manager's notify socket and makes the targets of the
 * predecessor. Return: 0, or a negative errno. */
int store_restore(Manager *m);
