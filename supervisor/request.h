/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One intercepted call, from its receipt to its answer. */

#include <stdbool.h>
#include <stdint.h>

#include "basic/target-state.h"
#include "policy/call.h"
#include "policy/policy.h"
#include "supervisor/caller.h"
#include "supervisor/verdict.h"

typedef struct Supervisor Supervisor;
typedef struct Handler Handler;

typedef struct Request {
        Supervisor *supervisor;
        const Policy *policy;
        const Handler *handler;
        TargetSlot *slot;
        CallId call;
        bool compat; /* a 32-bit caller: pointers and sizes are 32 bits wide */
        bool retry;  /* its former supervisor died on it: slot->stage and slot->before tell how far it got */
        uint64_t args[6]; /* as in struct seccomp_data: compare them at their C width */
        Caller caller;

        bool guarded; /* not to be left to the kernel: see call_is_guarded() */

        Reason reason;   /* of a refusal or failure: REASON_* */
        char *arguments; /* what was asked, for people; owned */
        char *hint;      /* the policy line that would lend it; owned */
} Request;

/* One family of calls: adding one is adding one file in handlers/ and one line in handler_table[]. */
struct Handler {
        const char *name;
        CallSet calls;
        CapabilitySet capabilities; /* that its work needs beyond privilege_base */
        bool quiet; /* calls that are emulated are counted and leave no entry in the journal: there are many
                     */

        /* Decides and acts. Stores the answer (0 or more: the return value; less: -errno) in *ret_result for
         * VERDICT_EMULATED, and the cause
         * (-errno) for VERDICT_FAILED. Holds no descriptor of the caller's world when it returns: the caller
         * may unmount what it refers to. */
        Verdict (*handle)(Request *request, int64_t *ret_result);
};

extern const Handler *const handler_table[];
extern const size_t handler_table_size;

/* Does someone want to read what was asked? If not, there's no need to describe it. */
bool request_wants_description(const Request *request);

/* A text for people with words of the caller in it: like printf(3), then all that isn't printable escaped as
 * in C. Free with g_free(). */
__attribute__((format(printf, 1, 2))) char *request_text(const char *format, ...);

/* Sets reason, arguments ("%s" style) and hint in one go, as most refusals do; returns VERDICT_REFUSED. Takes
 * the strings over. */
Verdict request_refuse(Request *request, Reason reason, char *arguments, char *hint);

/* Stores the cause and returns VERDICT_FAILED, or VERDICT_CONTINUED if the caller is gone (-ENOENT), who
 * needs no answer. */
Verdict request_fail(Request *request, int error, int64_t *ret_result);

/* Declares that the side effect comes next, and what was there before it; a successor then knows its own
 * traces. */
void request_acting(Request *request, SlotStage stage, int64_t before);

/* Whether the traces at hand (an inode with this change time) can be those of our own earlier attempt at the
 * same call. */
bool request_may_have_made(const Request *request, int64_t ctime_nsec);
