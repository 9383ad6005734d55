/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Structured journal entries about targets. */

#include <stddef.h>

#include "daemon/manager.h"

/* Writes one entry with MESSAGE_ID= and the target's fields, so that "journalctl -u UNIT" shows it. "fields"
 * are "NAME=value" beyond those. Never waits: without a journal it goes to stderr, and if the journal is too
 * slow it's left out. */
__attribute__((format(printf, 7, 8))) void entry_log(Manager *m, const Target *t, int level,
                const char *message_id, const char *const *fields, size_t n_fields, const char *format, ...);
