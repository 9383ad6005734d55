/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

/* For a worker that's about to look at an attacker's bytes: from here on it can compute, take up to "memory"
 * more bytes, and give its answer. No descriptors but that for the answer, no capabilities, no other system
 * calls, no files, no processes. Whatever libraries it needs must be loaded by now. Return: 0 or a negative
 * errno. */
int confine_worker(size_t memory);

/* For a worker that takes much memory: if that runs out it's this process that goes, not a supervisor or
 * deputyd. Call worker_end_with_parent() afterwards. */
void confine_offer_to_oom_killer(void);
