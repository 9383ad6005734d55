/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* [Scheduling]: what each key means, and what's said about mistakes. */

#include <criterion/criterion.h>
#include <glib.h>
#include <linux/ioprio.h>
#include <linux/sched.h>
#include <string.h>

#include "policy/policy.h"

static Policy *load(const char *lines) {
        g_autofree char *text = g_strconcat("[Scheduling]\n", lines, NULL);
        Policy *policy = NULL;

        cr_assert_eq(policy_load_text(text, strlen(text), "t.conf", &policy), 0);
        return policy;
}

static void expect_problem(const char *line, const char *expected) {
        g_autoptr(Policy) policy = load(line);
        g_autofree char *problem = NULL;

        cr_assert_eq(policy->problems->len, 1, "%s", line);
        problem = policy_problem_to_string(g_ptr_array_index(policy->problems, 0));
        cr_expect_str_eq(problem, expected);
}

Test(policy_scheduling, nothing_is_lent_by_default) {
        g_autoptr(Policy) policy = load("");
        const SchedulingPolicy *s = &policy->scheduling;

        for (unsigned i = 0; i < 64; i++) {
                cr_expect_not(scheduling_lends_policy(s, i));
                cr_expect_not(scheduling_lends_io_class(s, i));
        }
        cr_expect_eq(s->min_nice, SCHEDULING_NICE_NONE);
        cr_expect_eq(s->max_realtime_priority, 10u);
        cr_expect_eq(s->max_deadline_runtime_usec, 10000u);
        cr_expect_eq(s->max_deadline_bandwidth, 10u);
}

Test(policy_scheduling, lists) {
        g_autoptr(Policy) policy =
                        load("AllowPolicy=rr\nAllowPolicy=\nAllowPolicy=fifo deadline\nAllowPolicy=idle\n"
                             "IOClass=idle realtime\n");
        const SchedulingPolicy *s = &policy->scheduling;

        cr_expect_eq(policy->problems->len, 0);
        cr_expect(scheduling_lends_policy(s, SCHED_FIFO));
        cr_expect_not(scheduling_lends_policy(s, SCHED_RR));
        cr_expect(scheduling_lends_policy(s, SCHED_DEADLINE));
        cr_expect(scheduling_lends_policy(s, SCHED_IDLE));
        cr_expect_not(scheduling_lends_policy(s, SCHED_BATCH));
        cr_expect(scheduling_lends_policy(s, SCHED_NORMAL), "what's lent can be given back");
        cr_expect_not(scheduling_lends_policy(s, 7));
        cr_expect_not(scheduling_lends_policy(s, SCHED_FIFO | SCHED_RESET_ON_FORK));
        cr_expect_not(scheduling_lends_policy(s, UINT_MAX));
        cr_expect(scheduling_lends_io_class(s, IOPRIO_CLASS_RT));
        cr_expect_not(scheduling_lends_io_class(s, IOPRIO_CLASS_BE));
        cr_expect(scheduling_lends_io_class(s, IOPRIO_CLASS_IDLE));
        cr_expect_not(scheduling_lends_io_class(s, IOPRIO_CLASS_NONE));
}

Test(policy_scheduling, numbers) {
        static const struct {
                const char *text;
                int nice;
        } nices[] = { { "-20", -20 }, { "0", 0 }, { "19", 19 }, { "20", 20 }, { "-0", 0 } };

        for (size_t i = 0; i < G_N_ELEMENTS(nices); i++) {
                g_autofree char *line = g_strdup_printf("MinNice=%s\n", nices[i].text);
                g_autoptr(Policy) policy = load(line);

                cr_expect_eq(policy->problems->len, 0);
                cr_expect_eq(policy->scheduling.min_nice, nices[i].nice);
                cr_expect_eq(scheduling_lends_policy(&policy->scheduling, SCHED_NORMAL), nices[i].nice < 20);
        }

        g_autoptr(Policy) policy =
                        load("MaxRealtimePriority=99\nMaxDeadlineRuntimeSec=1s\nMaxDeadlineBandwidth=250%\n");
        cr_expect_eq(policy->problems->len, 0);
        cr_expect_eq(policy->scheduling.max_realtime_priority, 99u);
        cr_expect_eq(policy->scheduling.max_deadline_runtime_usec, 1000000u);
        cr_expect_eq(policy->scheduling.max_deadline_bandwidth, 250u);
}

Test(policy_scheduling, mistakes) {
        expect_problem("AllowPolicy=FIFO\n",
                        "t.conf:2: AllowPolicy=: \"FIFO\" is no scheduling policy, skipped "
                        "(write other fifo rr batch idle deadline)");
        expect_problem("IOClass=rt\n", "t.conf:2: IOClass=: \"rt\" is no I/O class, skipped (write realtime "
                                       "best-effort idle)");
        expect_problem("MinNice=-21\n", "t.conf:2: MinNice=: \"-21\" is no nice value, skipped (from -20 to "
                                        "19, or 20 to lend none)");
        expect_problem("MinNice=--1\n", "t.conf:2: MinNice=: \"--1\" is no nice value, skipped (from -20 to "
                                        "19, or 20 to lend none)");
        expect_problem("MaxRealtimePriority=0\n", "t.conf:2: MaxRealtimePriority=: \"0\" is no number in "
                                                  "range, skipped (from 1 to 99)");
        expect_problem("MaxDeadlineBandwidth=many\n",
                        "t.conf:2: MaxDeadlineBandwidth=: \"many\" is no percentage in range, skipped "
                        "(write percents of one processor, such as 10%)");
        expect_problem("MaxDeadlineRuntimeSec=2s\n", "t.conf:2: MaxDeadlineRuntimeSec=: time span \"2s\" is "
                                                     "out of range, skipped (from 1us to 1s)");
}

/* What deputyd hands to its supervisors is text again. */
Test(policy_scheduling, survives_as_text) {
        g_autoptr(Policy) policy =
                        load("AllowPolicy=fifo idle\nMaxRealtimePriority=3\nMaxDeadlineRuntimeSec=5ms\n"
                             "MaxDeadlineBandwidth=30%\nMinNice=-4\nIOClass=realtime\n"),
                          again = NULL;
        g_autofree char *text = policy_to_text(policy);

        cr_assert_eq(policy_load_text(text, strlen(text), "again", &again), 0);
        cr_expect_eq(again->problems->len, 0, "%s", text);
        cr_expect(policy_equal(policy, again));
        again->scheduling.min_nice++;
        cr_expect_not(policy_equal(policy, again));
        again->scheduling.min_nice--;
        again->scheduling.io_classes = 0;
        cr_expect_not(policy_equal(policy, again));
}
