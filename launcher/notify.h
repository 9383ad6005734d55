/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Talking to deputyd's notify socket, see basic/protocol.h. */

/* Asks deputyd for a handover. "path" is the socket's, with a leading "@" for an abstract one; "unit" may be
 * NULL. Explains failures on stderr. Return: our end of the pair that the conversation is held over, or a
 * negative errno. */
int notify_request(const char *path, const char *unit, int timeout_msec);

/* Hands a listener over without a conversation, as sd_pid_notify_with_fds(3) and sd_notify_barrier(3) do, and
 * tries again until somebody takes it or the time is over. Explains failures on stderr. Return: 0, or a
 * negative errno. */
int notify_store(const char *path, const char *unit, int listener, int timeout_msec);
