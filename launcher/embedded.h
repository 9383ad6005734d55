/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

/* Starts a supervisor of our own: deputy-supervisor --embedded=FD and the given options ("--policy=...",
 * "--profile=..."). It's nobody's child, in a session of its own, and holds none of our descriptors but
 * stderr; it ends when the last user of the filter has ended. Explains failures on stderr. Return: our end of
 * the socket that the conversation is held over, or a negative errno. */
int embedded_start(const char *const *options, size_t n_options);
