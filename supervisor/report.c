/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "basic/clock.h"
#include "basic/journal.h"
#include "basic/log.h"
#include "basic/message-id.h"
#include "supervisor/report.h"

static const struct {
        const char *name;
        const char *message_id;
        int priority;
} verdict_table[] = {
        [VERDICT_EMULATED] = { "emulated", MESSAGE_CALL_EMULATED, LOG_INFO },
        [VERDICT_CONTINUED] = { "continued", NULL, LOG_DEBUG },
        [VERDICT_REFUSED] = { "refused", MESSAGE_CALL_REFUSED, LOG_NOTICE },
        [VERDICT_FAILED] = { "failed", MESSAGE_CALL_FAILED, LOG_WARNING },
};

_Static_assert(_CALL_MAX <= TARGET_STATE_CALLS, "each call has its counters");

static void count(Report *report, CallId call, Verdict verdict, uint64_t start) {
        CallCounters *c = &report->state->calls[call];
        uint64_t took = now_nsec(CLOCK_MONOTONIC) - start;
        unsigned bucket = took > 1 ? 63 - (unsigned) __builtin_clzll(took) : 0;
        _Atomic uint64_t *by_verdict[] = {
                [VERDICT_EMULATED] = &c->emulated,
                [VERDICT_CONTINUED] = &c->continued,
                [VERDICT_REFUSED] = &c->refused,
                [VERDICT_FAILED] = &c->failed,
        };

        if (bucket >= TARGET_STATE_LATENCY_BUCKETS)
                bucket = TARGET_STATE_LATENCY_BUCKETS - 1;

        atomic_fetch_add_explicit(&c->received, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(by_verdict[verdict], 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&report->state->latency[bucket], 1, memory_order_relaxed);
        if (took > atomic_load_explicit(&c->nsec_max, memory_order_relaxed))
                atomic_store_explicit(&c->nsec_max, took, memory_order_relaxed);
}

static bool interval_is_over(const Report *report, const Policy *policy, uint64_t now) {
        return now - report->interval_start_usec >= policy->log_interval_usec;
}

bool report_has_room(const Report *report, const Policy *policy) {
        if (report->verbose)
                return true;
        if (report->journal_fd < 0)
                return false;

        return policy->log_interval_usec == 0 || policy->log_burst == 0 ||
               report->n_in_interval < policy->log_burst ||
               interval_is_over(report, policy, now_nsec(CLOCK_MONOTONIC) / 1000);
}

static void add_field(GPtrArray *fields, const char *name, const char *value) {
        if (value)
                g_ptr_array_add(fields, g_strdup_printf("%s=%s", name, value));
}

static char *message_text(const Request *request, Verdict verdict, int64_t result) {
        const char *call = call_to_string(request->call), *asked = request->arguments ?: "";

        switch (verdict) {
        case VERDICT_EMULATED:
                return result < 0 ? g_strdup_printf("%s(%s): %s", call, asked, strerror((int) -result))
                                  : g_strdup_printf("%s(%s): done", call, asked);
        case VERDICT_REFUSED:
                return g_strdup_printf(
                                "%s(%s): not lent: %s", call, asked, reason_to_string(request->reason));
        default:
                return g_strdup_printf("%s(%s): %s: %s", call, asked,
                                reason_to_string(request->reason) ?: "failed", strerror((int) -result));
        }
}

static int send_entry(
                Report *report, const Request *request, Verdict verdict, int64_t result, const char *text) {
        g_autoptr(GPtrArray) fields = g_ptr_array_new_with_free_func(g_free);

        add_field(fields, "MESSAGE", text);
        g_ptr_array_add(fields, g_strdup_printf("PRIORITY=%i", verdict_table[verdict].priority));
        add_field(fields, "MESSAGE_ID", verdict_table[verdict].message_id);
        add_field(fields, "SYSLOG_IDENTIFIER", "deputyd");
        add_field(fields, "DEPUTYD_TARGET", report->target);
        add_field(fields, "DEPUTYD_UNIT", report->unit);
        add_field(fields, "DEPUTYD_MACHINE", report->machine);
        add_field(fields, "DEPUTYD_SYSCALL", call_to_string(request->call));
        add_field(fields, "DEPUTYD_VERDICT", verdict_table[verdict].name);
        g_ptr_array_add(fields, g_strdup_printf("DEPUTYD_ERRNO=%i", result < 0 ? (int) -result : 0));
        add_field(fields, "DEPUTYD_REASON", reason_to_string(request->reason));
        add_field(fields, "DEPUTYD_ARGUMENTS", request->arguments);
        add_field(fields, "DEPUTYD_HINT", request->hint);
        /* "journalctl -u" of the target's unit shows what root says of it by this name. journald would add it
         * itself, by OBJECT_PID=, but only if the process still lives when it comes to our entry. */
        add_field(fields, "OBJECT_SYSTEMD_UNIT", report->unit);
        g_ptr_array_add(fields, g_strdup_printf("OBJECT_PID=%i",
                                                (int) (request->caller.tgid > 0 ? request->caller.tgid
                                                                                : request->caller.tid)));
        g_ptr_array_add(fields, g_strdup_printf("TID=%i", (int) request->caller.tid));

        return journal_send(report->journal_fd, (const char *const *) fields->pdata, fields->len);
}

static void drop(Report *report) {
        report->n_dropped++;
        atomic_fetch_add_explicit(&report->state->entries_dropped, 1, memory_order_relaxed);
}

/* Says how many entries of the last interval are missing. */
static void send_dropped(Report *report) {
        g_autoptr(GPtrArray) fields = g_ptr_array_new_with_free_func(g_free);

        g_ptr_array_add(fields, g_strdup_printf("MESSAGE=%" G_GUINT64_FORMAT
                                                " entries on calls of %s were not written",
                                                report->n_dropped, report->unit ?: report->target));
        add_field(fields, "PRIORITY", "5");
        add_field(fields, "MESSAGE_ID", MESSAGE_ENTRIES_DROPPED);
        add_field(fields, "SYSLOG_IDENTIFIER", "deputyd");
        add_field(fields, "DEPUTYD_TARGET", report->target);
        add_field(fields, "DEPUTYD_UNIT", report->unit);
        add_field(fields, "OBJECT_SYSTEMD_UNIT", report->unit);
        g_ptr_array_add(fields, g_strdup_printf("DEPUTYD_DROPPED=%" G_GUINT64_FORMAT, report->n_dropped));

        if (journal_send(report->journal_fd, (const char *const *) fields->pdata, fields->len) >= 0)
                report->n_dropped = 0;
}

void report_call(Report *report, const Request *request, Verdict verdict, int64_t result,
                uint64_t start_nsec) {
        g_autofree char *text = NULL;
        uint64_t now;

        count(report, request->call, verdict, start_nsec);

        if (verdict == VERDICT_CONTINUED)
                return;

        if (report->verbose) {
                text = message_text(request, verdict, result);
                log_info("%s[%i]: %s", report->unit ?: "", (int) request->caller.tid, text);
        }

        if (report->journal_fd < 0)
                return;
        if (verdict == VERDICT_EMULATED && request->handler && request->handler->quiet)
                return;

        now = now_nsec(CLOCK_MONOTONIC) / 1000;
        if (interval_is_over(report, request->policy, now)) {
                if (report->n_dropped > 0)
                        send_dropped(report);
                report->interval_start_usec = now;
                report->n_in_interval = 0;
        }

        if (request->policy->log_interval_usec > 0 && request->policy->log_burst > 0 &&
                        report->n_in_interval >= request->policy->log_burst) {
                drop(report);
                return;
        }

        report->n_in_interval++;
        if (!text)
                text = message_text(request, verdict, result);
        if (send_entry(report, request, verdict, result, text) < 0)
                drop(report);
}
