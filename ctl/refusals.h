/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The journal's entries of calls that were refused or failed. */

#include <glib.h>
#include <stdint.h>

#include "ctl/json.h"

typedef struct Refusal {
        uint64_t realtime_usec;
        char *message, *unit, *target, *call, *verdict, *error, *reason, *arguments, *hint, *pid;
} Refusal;

/* Reads up to "n" entries, the newest last, of a unit (or of a target, if "unit" is NULL). Entries that
 * something else than root has written are ignored: anybody may send such fields to the journal, and what
 * stands in them becomes advice. Return: 0 and an array of Refusal, or a negative errno. */
int refusals_load(const char *unit, const char *target, unsigned n, GPtrArray **ret);

/* What a DEPUTYD_REASON= means, in a sentence. */
const char *refusal_reason_sentence(const char *reason);

void refusal_to_json(const Refusal *refusal, Json *json, const char *name);
