/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stddef.h>
#include <string.h>

#include "basic/log.h"
#include "ctl/target.h"

static void counters_free(void *p) {
        TargetCounters *counters = p;

        g_free(counters->call);
        g_free(counters);
}

Target *target_free(Target *target) {
        if (!target)
                return NULL;

        g_free(target->id);
        g_free(target->unit);
        g_free(target->machine);
        g_free(target->state);
        g_free(target->policy_error);
        g_free(target->policy);
        g_strfreev(target->calls);
        g_strfreev(target->files);
        g_array_unref(target->supervisors);
        g_ptr_array_unref(target->counters);
        g_free(target);
        return NULL;
}

static Target *target_new(void) {
        Target *target = g_new0(Target, 1);

        target->supervisors = g_array_new(FALSE, FALSE, sizeof(uint32_t));
        target->counters = g_ptr_array_new_with_free_func(counters_free);
        return target;
}

static int read_supervisors(sd_bus_message *message, void *field) {
        GArray *supervisors = *(GArray **) field;
        const void *pids;
        size_t size;
        int r;

        r = sd_bus_message_read_array(message, 'u', &pids, &size);
        if (r < 0)
                return r;

        g_array_set_size(supervisors, 0);
        if (size > 0)
                g_array_append_vals(supervisors, pids, size / sizeof(uint32_t));
        return 0;
}

static int read_counters(sd_bus_message *message, void *field) {
        GPtrArray *all = *(GPtrArray **) field;
        TargetCounters c;
        int r;

        r = sd_bus_message_enter_container(message, 'a', "{s(ttttt)}");
        if (r < 0)
                return r;

        while ((r = sd_bus_message_read(message, "{s(ttttt)}", &c.call, &c.received, &c.emulated,
                                &c.continued, &c.refused, &c.failed)) > 0) {
                c.call = g_strdup(c.call);
                g_ptr_array_add(all, g_memdup2(&c, sizeof(c)));
        }
        if (r < 0)
                return r;

        return sd_bus_message_exit_container(message);
}

static const BusProperty target_properties[] = {
        { "Id", "s", offsetof(Target, id), NULL },
        { "Unit", "s", offsetof(Target, unit), NULL },
        { "Machine", "s", offsetof(Target, machine), NULL },
        { "State", "s", offsetof(Target, state), NULL },
        { "SystemCalls", "as", offsetof(Target, calls), NULL },
        { "PolicyFiles", "as", offsetof(Target, files), NULL },
        { "PolicyError", "s", offsetof(Target, policy_error), NULL },
        { "NeedsRestart", "b", offsetof(Target, needs_restart), NULL },
        { "Leader", "u", offsetof(Target, leader), NULL },
        { "TimestampUSec", "t", offsetof(Target, since_usec), NULL },
        { "Supervisors", "au", offsetof(Target, supervisors), read_supervisors },
        { "Policy", "s", offsetof(Target, policy), NULL },
        { "Counters", "a{s(ttttt)}", offsetof(Target, counters), read_counters },
        { "LatencyMedianNSec", "t", offsetof(Target, median_nsec), NULL },
        { "LatencyP99NSec", "t", offsetof(Target, p99_nsec), NULL },
        { "LatencyMaxNSec", "t", offsetof(Target, max_nsec), NULL },
        { "EntriesDropped", "t", offsetof(Target, entries_dropped), NULL },
        {},
};

/* Reads the a{sa{sv}} of one object. Return: 1 if it's a target, 0 if not, or a negative errno. */
static int read_object(sd_bus_message *message, Target *target) {
        bool is_target = false;
        int r;

        r = sd_bus_message_enter_container(message, 'a', "{sa{sv}}");
        if (r < 0)
                return r;

        while ((r = sd_bus_message_enter_container(message, 'e', "sa{sv}")) > 0) {
                const char *interface;

                r = sd_bus_message_read(message, "s", &interface);
                if (r < 0)
                        return r;

                if (strcmp(interface, DEPUTYD_TARGET) == 0) {
                        is_target = true;
                        r = bus_read_properties(message, target_properties, target);
                } else
                        r = sd_bus_message_skip(message, "a{sv}");
                if (r < 0)
                        return r;

                r = sd_bus_message_exit_container(message);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;

        r = sd_bus_message_exit_container(message);
        return r < 0 ? r : is_target;
}

static int compare_targets(const void *a, const void *b) {
        const Target *x = *(Target *const *) a, *y = *(Target *const *) b;
        int r;

        r = g_strcmp0(x->unit, y->unit);
        if (r != 0)
                return r;

        return x->since_usec < y->since_usec ? -1 : x->since_usec > y->since_usec;
}

static int read_objects(sd_bus_message *message, GPtrArray *targets) {
        int r;

        r = sd_bus_message_enter_container(message, 'a', "{oa{sa{sv}}}");
        if (r < 0)
                return r;

        while ((r = sd_bus_message_enter_container(message, 'e', "oa{sa{sv}}")) > 0) {
                g_autoptr(Target) target = target_new();

                r = sd_bus_message_skip(message, "o");
                if (r < 0)
                        return r;

                r = read_object(message, target);
                if (r < 0)
                        return r;
                if (r > 0)
                        g_ptr_array_add(targets, g_steal_pointer(&target));

                r = sd_bus_message_exit_container(message);
                if (r < 0)
                        return r;
        }

        return r;
}

static void free_element(void *p) {
        target_free(p);
}

int targets_load(sd_bus *bus, GPtrArray **ret) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        g_autoptr(GPtrArray) targets = g_ptr_array_new_with_free_func(free_element);
        int r;

        r = sd_bus_call_method(bus, DEPUTYD_BUS_NAME, DEPUTYD_BUS_PATH, "org.freedesktop.DBus.ObjectManager",
                        "GetManagedObjects", &error, &reply, NULL);
        if (r < 0)
                return bus_log_error(&error, r, "Can't list the targets");

        r = read_objects(reply, targets);
        if (r < 0)
                return log_error_errno(r, "Can't read deputyd's answer: %m");

        g_ptr_array_sort(targets, compare_targets);
        *ret = g_steal_pointer(&targets);
        return 0;
}

int target_load(sd_bus *bus, const char *path, Target **ret, sd_bus_error *error) {
        g_autoptr(Target) target = target_new();
        int r;

        r = bus_get_all(bus, DEPUTYD_BUS_NAME, path, DEPUTYD_TARGET, target_properties, target, error);
        if (r < 0)
                return r;

        *ret = g_steal_pointer(&target);
        return 0;
}

TargetCounters target_sum(const Target *target) {
        TargetCounters sum = {};

        for (guint i = 0; i < target->counters->len; i++) {
                const TargetCounters *c = target->counters->pdata[i];

                sum.received += c->received;
                sum.emulated += c->emulated;
                sum.continued += c->continued;
                sum.refused += c->refused;
                sum.failed += c->failed;
        }

        return sum;
}

static void counters_to_json(const TargetCounters *c, Json *json, const char *name) {
        json_open(json, name, '{');
        json_number(json, "received", c->received);
        json_number(json, "emulated", c->emulated);
        json_number(json, "continued", c->continued);
        json_number(json, "refused", c->refused);
        json_number(json, "failed", c->failed);
        json_close(json, '}');
}

void target_to_json(const Target *target, Json *json, const char *name) {
        TargetCounters sum = target_sum(target);

        json_open(json, name, '{');
        json_string(json, "id", target->id);
        json_string(json, "unit", target->unit);
        json_string(json, "machine", target->machine && *target->machine ? target->machine : NULL);
        json_string(json, "state", target->state);
        json_strv(json, "system_calls", (const char *const *) target->calls);
        json_strv(json, "policy_files", (const char *const *) target->files);
        json_string(json, "policy_error",
                        target->policy_error && *target->policy_error ? target->policy_error : NULL);
        json_bool(json, "needs_restart", target->needs_restart);
        json_number(json, "leader", target->leader);
        json_number(json, "since_usec", target->since_usec);

        json_open(json, "supervisors", '[');
        for (guint i = 0; i < target->supervisors->len; i++)
                json_number(json, NULL, g_array_index(target->supervisors, uint32_t, i));
        json_close(json, ']');

        counters_to_json(&sum, json, "total");
        json_open(json, "counters", '{');
        for (guint i = 0; i < target->counters->len; i++) {
                const TargetCounters *c = target->counters->pdata[i];

                counters_to_json(c, json, c->call);
        }
        json_close(json, '}');

        json_open(json, "latency_nsec", '{');
        json_number(json, "median", target->median_nsec);
        json_number(json, "p99", target->p99_nsec);
        json_number(json, "max", target->max_nsec);
        json_close(json, '}');
        json_number(json, "entries_dropped", target->entries_dropped);
        json_close(json, '}');
}

Style target_state_style(const Target *target) {
        if (g_strcmp0(target->state, "failed") == 0)
                return STYLE_RED;
        if (g_strcmp0(target->state, "pass-through") == 0 || target->needs_restart)
                return STYLE_YELLOW;
        if (g_strcmp0(target->state, "active") == 0)
                return STYLE_GREEN;

        return STYLE_NORMAL;
}
