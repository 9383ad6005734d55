/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* [Scheduling]: which scheduling policies, priorities and I/O classes. */

#include <errno.h>
#include <glib.h>
#include <linux/ioprio.h>
#include <linux/sched.h>
#include <string.h>

#include "policy/section.h"
#include "policy/syntax.h"

typedef struct Name {
        const char *name;
        unsigned number;
} Name;

static const Name policy_names[] = {
        { "other", SCHED_NORMAL },
        { "fifo", SCHED_FIFO },
        { "rr", SCHED_RR },
        { "batch", SCHED_BATCH },
        { "idle", SCHED_IDLE },
        { "deadline", SCHED_DEADLINE },
        {},
};

static const Name io_class_names[] = {
        { "realtime", IOPRIO_CLASS_RT },
        { "best-effort", IOPRIO_CLASS_BE },
        { "idle", IOPRIO_CLASS_IDLE },
        {},
};

static int number_of(const Name *names, const char *name) {
        for (; names->name; names++)
                if (strcmp(names->name, name) == 0)
                        return (int) names->number;

        return -ENOENT;
}

static const char *name_of(const Name *names, unsigned number) {
        for (; names->name; names++)
                if (names->number == number)
                        return names->name;

        return NULL;
}

static void parse_names(PolicyLoader *loader, const PolicyKey *key, char *value, unsigned *bits,
                const Name *names, const char *what) {
        if (!*value)
                *bits = 0;

        for (char *word; (word = syntax_next_word(&value));) {
                int number = number_of(names, word);

                if (number < 0) {
                        g_autoptr(GString) hint = g_string_new("write");

                        for (const Name *n = names; n->name; n++)
                                g_string_append_printf(hint, " %s", n->name);
                        policy_warn(loader, key, hint->str, "\"%s\" is no %s", word, what);
                } else if (policy_record(loader, key, word, NULL))
                        *bits |= 1u << number;
        }
}

static void parse_allow_policy(PolicyLoader *loader, const PolicyKey *key, char *value, void *data) {
        parse_names(loader, key, value, data, policy_names, "scheduling policy");
}

static void parse_io_class(PolicyLoader *loader, const PolicyKey *key, char *value, void *data) {
        parse_names(loader, key, value, data, io_class_names, "I/O class");
}

static void parse_nice(PolicyLoader *loader, const PolicyKey *key, char *value, void *data) {
        bool negative = value[0] == '-';
        uint64_t n;

        if (parse_number(value + (negative ? 1 : 0), SCHEDULING_NICE_NONE, &n) < 0) {
                policy_warn(loader, key, "from -20 to 19, or 20 to lend none", "\"%s\" is no nice value",
                                value);
                return;
        }

        if (policy_record(loader, key, value, NULL))
                *(int *) data = negative ? -(int) n : (int) n;
}

/* "10%" or "10". */
static void parse_percent(PolicyLoader *loader, const PolicyKey *key, char *value, void *data) {
        g_autofree char *number = g_strdup(value);
        uint64_t n;

        if (g_str_has_suffix(number, "%"))
                number[strlen(number) - 1] = 0;

        if (parse_number(number, key->max, &n) < 0) {
                policy_warn(loader, key, "write percents of one processor, such as 10%",
                                "\"%s\" is no percentage in range", value);
                return;
        }

        if (policy_record(loader, key, value, NULL))
                *(unsigned *) data = (unsigned) n;
}

static const PolicyKey keys[] = {
        { "AllowPolicy", parse_allow_policy, offsetof(Policy, scheduling.policies), "", .is_list = true },
        { "MaxRealtimePriority", policy_parse_unsigned, offsetof(Policy, scheduling.max_realtime_priority),
                        "10", .min = 1, .max = 99 },
        { "MaxDeadlineRuntimeSec", policy_parse_timespan,
                        offsetof(Policy, scheduling.max_deadline_runtime_usec), "10ms", .min = 1,
                        .max = 1000000 },
        { "MaxDeadlineBandwidth", parse_percent, offsetof(Policy, scheduling.max_deadline_bandwidth), "10%",
                        .max = 100000 },
        { "MinNice", parse_nice, offsetof(Policy, scheduling.min_nice), "20" },
        { "IOClass", parse_io_class, offsetof(Policy, scheduling.io_classes), "", .is_list = true },
};

static bool scheduling_equal(const Policy *a, const Policy *b) {
        const SchedulingPolicy *x = &a->scheduling, *y = &b->scheduling;

        return x->policies == y->policies && x->io_classes == y->io_classes &&
               x->max_realtime_priority == y->max_realtime_priority && x->min_nice == y->min_nice &&
               x->max_deadline_runtime_usec == y->max_deadline_runtime_usec &&
               x->max_deadline_bandwidth == y->max_deadline_bandwidth;
}

extern const PolicySection policy_section_scheduling;
const PolicySection policy_section_scheduling = {
        .name = "Scheduling",
        .keys = keys,
        .n_keys = G_N_ELEMENTS(keys),
        .equal = scheduling_equal,
};

bool scheduling_lends_policy(const SchedulingPolicy *scheduling, unsigned policy) {
        if (policy == SCHED_NORMAL)
                return scheduling->policies != 0 || scheduling->min_nice < SCHEDULING_NICE_NONE;

        return policy < 32 && (scheduling->policies & (1u << policy));
}

bool scheduling_lends_io_class(const SchedulingPolicy *scheduling, unsigned io_class) {
        return io_class < 32 && (scheduling->io_classes & (1u << io_class));
}

const char *scheduling_policy_name(unsigned policy) {
        return name_of(policy_names, policy);
}

const char *scheduling_io_class_name(unsigned io_class) {
        return name_of(io_class_names, io_class);
}
