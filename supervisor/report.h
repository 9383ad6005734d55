/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What happened to each call: counters in the shared state, entries in the journal, rate-limited, and never
 * at the price of a wait. */

#include <stdbool.h>
#include <stdint.h>

#include "basic/target-state.h"
#include "policy/policy.h"
#include "supervisor/request.h"

typedef struct Report {
        int journal_fd; /* -1: no journal */
        bool verbose;   /* also on stderr */
        const char *target;
        const char *unit;
        const char *machine;
        TargetState *state;
        uint64_t interval_start_usec;
        unsigned n_in_interval;
        uint64_t n_dropped; /* since the last entry that said so */
} Report;

/* Would an entry written now be kept? Counts nothing. */
bool report_has_room(const Report *report, const Policy *policy);

/* Counts one finished call, received at "start_nsec" (CLOCK_MONOTONIC), and writes its entry. "result" as in
 * Handler. */
void report_call(
                Report *report, const Request *request, Verdict verdict, int64_t result, uint64_t start_nsec);
