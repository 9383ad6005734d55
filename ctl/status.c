/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* deputyctl status: the manager, or targets with their counters and what they were refused. */

#include <inttypes.h>
#include <stdio.h>
#include <stddef.h>
#include <string.h>

#include "basic/log.h"
#include "ctl/policy-argument.h"
#include "ctl/refusals.h"
#include "ctl/table.h"
#include "ctl/target.h"
#include "ctl/unit-settings.h"

typedef struct Manager {
        char *version;
        char **features;
        uint32_t n_targets;
} Manager;

static const BusProperty manager_properties[] = {
        { "Version", "s", offsetof(Manager, version), NULL },
        { "Features", "as", offsetof(Manager, features), NULL },
        { "NTargets", "u", offsetof(Manager, n_targets), NULL },
        {},
};

static const char *const states[] = { "active", "idle", "pass-through", "failed" };

static unsigned count_state(const GPtrArray *targets, const char *state) {
        unsigned n = 0;

        for (guint i = 0; i < targets->len; i++)
                n += g_strcmp0(((const Target *) targets->pdata[i])->state, state) == 0;

        return n;
}

static void print_manager(const Manager *manager, const GPtrArray *targets) {
        g_autofree char *features = g_strjoinv(" ", manager->features ?: (char *[]){ NULL });
        g_auto(GStrv) directories = policy_directories();
        unsigned n_restart = 0;

        for (guint i = 0; i < targets->len; i++)
                n_restart += ((const Target *) targets->pdata[i])->needs_restart;

        printf("%s*%s deputyd %s\n", style(STYLE_GREEN), style(STYLE_NORMAL), manager->version ?: "");
        printf("  Features: %s\n", *features ? features : "none");
        printf("   Targets: %" PRIu32, manager->n_targets);
        for (size_t i = 0; i < G_N_ELEMENTS(states); i++) {
                unsigned n = count_state(targets, states[i]);

                if (n > 0)
                        printf(", %u %s", n, states[i]);
        }
        putchar('\n');
        if (n_restart > 0)
                printf("            %u need%s a restart for a changed set of calls\n", n_restart,
                                n_restart == 1 ? "s" : "");
        for (char **d = directories; *d; d++)
                printf("%s%s\n", d == directories ? "  Policies: " : "            ", *d);
}

static void manager_to_json(const Manager *manager, const GPtrArray *targets, OutputFormat output) {
        Json json;

        json_init(&json, output);
        json_open(&json, NULL, '{');
        json_string(&json, "version", manager->version);
        json_strv(&json, "features", (const char *const *) manager->features);
        json_number(&json, "n_targets", manager->n_targets);
        json_open(&json, "states", '{');
        for (size_t i = 0; i < G_N_ELEMENTS(states); i++)
                json_number(&json, states[i], count_state(targets, states[i]));
        json_close(&json, '}');
        json_close(&json, '}');
        json_finish(&json);
}

static int show_manager(sd_bus *bus, const Options *options) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autoptr(GPtrArray) targets = NULL;
        Manager manager = {};
        int r;

        r = bus_get_all(bus, DEPUTYD_BUS_NAME, DEPUTYD_BUS_PATH, DEPUTYD_MANAGER, manager_properties,
                        &manager, &error);
        if (r < 0) {
                bus_log_error(&error, r, "Can't ask deputyd");
                goto finish;
        }

        r = targets_load(bus, &targets);
        if (r < 0)
                goto finish;

        terminal_start_pager(options);
        if (options->output == OUTPUT_TEXT)
                print_manager(&manager, targets);
        else
                manager_to_json(&manager, targets, options->output);

finish:
        g_free(manager.version);
        g_strfreev(manager.features);
        return r;
}

static int ask_for_path(sd_bus *bus, const char *method, const char *type, const char *id, uint32_t pid,
                char **ret, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *path;
        int r;

        if (*type == 'u')
                r = sd_bus_call_method(bus, DEPUTYD_BUS_NAME, DEPUTYD_BUS_PATH, DEPUTYD_MANAGER, method,
                                error, &reply, "u", pid);
        else
                r = sd_bus_call_method(bus, DEPUTYD_BUS_NAME, DEPUTYD_BUS_PATH, DEPUTYD_MANAGER, method,
                                error, &reply, "s", id);
        if (r < 0)
                return r;

        r = sd_bus_message_read(reply, "o", &path);
        if (r < 0)
                return r;

        *ret = g_strdup(path);
        return 0;
}

/* A process, a target's id, or a unit, in this order. A unit that has several targets is shown by its newest.
 * Return: 1 if it was found, 0 if there's no such target, or a negative errno that has been logged. */
static int find_target(sd_bus *bus, const char *argument, char **ret_path) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autofree char *unit = NULL;
        uint64_t pid;
        int r;

        if (g_ascii_string_to_unsigned(argument, 10, 1, INT32_MAX, &pid, NULL)) {
                r = ask_for_path(bus, "GetTargetByPID", "u", NULL, pid, ret_path, &error);
                if (r >= 0)
                        return 1;
                if (!sd_bus_error_has_name(&error, ERROR_NO_TARGET_FOR_PID))
                        return bus_log_error(&error, r, "Can't find the target");
                sd_bus_error_free(&error);
        }

        r = ask_for_path(bus, "GetTarget", "s", argument, 0, ret_path, &error);
        if (r >= 0)
                return 1;
        if (!sd_bus_error_has_name(&error, ERROR_NO_SUCH_TARGET))
                return bus_log_error(&error, r, "Can't find the target");
        sd_bus_error_free(&error);

        if (unit_name_complete(argument, &unit) < 0)
                return 0;

        r = ask_for_path(bus, "GetTargetByUnit", "s", unit, 0, ret_path, &error);
        if (r >= 0)
                return 1;
        if (!sd_bus_error_has_name(&error, ERROR_NO_TARGET_FOR_UNIT))
                return bus_log_error(&error, r, "Can't find the target");

        return 0;
}

static void log_no_target(const char *argument) {
        g_autofree char *escaped = terminal_escape(argument), *unit = NULL;
        uint64_t pid;

        if (g_ascii_string_to_unsigned(argument, 10, 1, INT32_MAX, &pid, NULL)) {
                log_error("Process %s belongs to no target of deputyd", argument);
                return;
        }

        if (unit_name_complete(argument, &unit) < 0) {
                log_error("%s: there's no such target; deputyctl list shows those there are", escaped);
                return;
        }

        log_error("%s isn't a target of deputyd now: it isn't running, or was started without deputy-run. To "
                  "lend it calls: deputyctl enable %s, then systemctl restart %s",
                        unit, unit, unit);
}

static void print_field(const char *name, const char *value) {
        g_autofree char *escaped = terminal_escape(value);

        /* Without a name it's the next line of the field above. */
        printf("%12s%s %s\n", name, *name ? ":" : " ", escaped);
}

static void print_leader(const Target *target) {
        g_autofree char *path = g_strdup_printf("/proc/%" PRIu32 "/comm", target->leader), *name = NULL;

        if (target->leader == 0)
                return;

        if (g_file_get_contents(path, &name, NULL, NULL)) {
                g_autofree char *value = NULL;

                g_strchomp(name);
                value = g_strdup_printf("%" PRIu32 " (%s)", target->leader, name);
                print_field("Leader", value);
        } else
                printf("%12s: %" PRIu32 "\n", "Leader", target->leader);
}

static int print_counters(const Target *target, const Options *options) {
        static const TableColumn columns[] = {
                { "CALL", false, false },
                { "RECEIVED", true, false },
                { "EMULATED", true, false },
                { "CONTINUED", true, false },
                { "REFUSED", true, false },
                { "FAILED", true, false },
        };
        Table *table;
        int r = 0;

        if (target->counters->len == 0) {
                printf("\nNo call was received yet.\n");
                return 0;
        }

        table = table_new(columns, G_N_ELEMENTS(columns), options);
        if (!table)
                return -ENOMEM;

        for (guint i = 0; r >= 0 && i < target->counters->len; i++) {
                const TargetCounters *c = target->counters->pdata[i];
                const uint64_t values[] = { c->received, c->emulated, c->continued, c->refused, c->failed };
                const char *cells[G_N_ELEMENTS(columns)] = { c->call };
                char numbers[G_N_ELEMENTS(values)][24];

                for (size_t j = 0; j < G_N_ELEMENTS(values); j++) {
                        snprintf(numbers[j], sizeof(numbers[j]), "%" PRIu64, values[j]);
                        cells[j + 1] = numbers[j];
                }

                r = table_add(table, cells, G_N_ELEMENTS(columns));
        }

        putchar('\n');
        if (r >= 0)
                r = table_print(table, options);

        scols_unref_table(table);
        return r;
}

static void print_refusals(const GPtrArray *refusals) {
        if (!refusals || refusals->len == 0)
                return;

        putchar('\n');
        for (guint i = 0; i < refusals->len; i++) {
                const Refusal *refusal = refusals->pdata[i];
                g_autofree char *time = format_timestamp(refusal->realtime_usec);
                g_autofree char *message = terminal_escape(refusal->message ?: "");

                printf("%s%s%s %s\n", style(STYLE_DIM), time, style(STYLE_NORMAL), message);
        }
        printf("%sdeputyctl explain says why, and what would lend them.%s\n", style(STYLE_DIM),
                        style(STYLE_NORMAL));
}

static void print_head(const Target *target) {
        g_autofree char *calls = g_strjoinv(" ", target->calls ?: (char *[]){ NULL });
        g_autofree char *unit = terminal_escape(target->unit ?: "");

        printf("%s*%s %s%s%s\n", style(target_state_style(target)), style(STYLE_NORMAL), style(STYLE_BOLD),
                        unit, style(STYLE_NORMAL));
        printf("%12s: %s%s%s\n", "State", style(target_state_style(target)), target->state ?: "",
                        style(STYLE_NORMAL));
        if (target->since_usec > 0) {
                g_autofree char *time = format_timestamp(target->since_usec);
                g_autofree char *ago = format_ago(target->since_usec);

                printf("%12s: %s; %s\n", "Since", time, ago);
        }
        if (target->machine && *target->machine)
                print_field("Machine", target->machine);
        print_field("Id", target->id ?: "");
        print_leader(target);

        for (guint i = 0; i < target->supervisors->len; i++)
                printf("%*s%s%" PRIu32 "%s", i == 0 ? 12 : 0, i == 0 ? "Supervisors" : "",
                                i == 0 ? ": " : ", ", g_array_index(target->supervisors, uint32_t, i),
                                i + 1 == target->supervisors->len ? "\n" : "");

        print_field("Intercepts", *calls ? calls : "nothing");
        for (char **f = target->files; f && *f; f++)
                print_field(f == target->files ? "Policy" : "", *f);
        if (target->policy_error && *target->policy_error)
                print_field("Policy error", target->policy_error);
}

static void print_latency(const Target *target) {
        g_autofree char *median = format_nsec(target->median_nsec), *p99 = format_nsec(target->p99_nsec);
        g_autofree char *max = format_nsec(target->max_nsec);

        if (target->median_nsec > 0)
                printf("%12s: median %s, p99 %s, longest %s\n", "Latency", median, p99, max);
        if (target->entries_dropped > 0)
                printf("%12s: %" PRIu64 " journal entries (LogRateLimitBurst=)\n", "Dropped",
                                target->entries_dropped);
}

static int print_target(const Target *target, const GPtrArray *refusals, const Options *options) {
        g_autofree char *unit = terminal_escape(target->unit ?: "");
        int r;

        print_head(target);
        print_latency(target);
        if (target->needs_restart)
                printf("%s%12s: its policy asks for other calls than its filter has: systemctl restart "
                       "'%s'%s\n",
                                style(STYLE_YELLOW), "Notice", unit, style(STYLE_NORMAL));

        r = print_counters(target, options);
        if (r < 0)
                return log_error_errno(r, "Can't print the table: %m");

        print_refusals(refusals);
        return 0;
}

static int show_target(sd_bus *bus, const char *argument, Json *json, bool first, const Options *options) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autoptr(GPtrArray) refusals = NULL;
        g_autoptr(Target) target = NULL;
        g_autofree char *path = NULL;
        int r;

        r = find_target(bus, argument, &path);
        if (r < 0)
                return r;
        if (r > 0) {
                r = target_load(bus, path, &target, &error);
                if (r < 0 && !sd_bus_error_has_name(&error, "org.freedesktop.DBus.Error.UnknownObject"))
                        return bus_log_error(&error, r, "Can't ask for the target");
        }
        if (!target) {
                log_no_target(argument);
                return -ENXIO;
        }

        r = refusals_load(NULL, target->id, options->lines, &refusals);
        if (r < 0)
                log_debug("The journal can't be read: %s", g_strerror(-r));

        if (!json) {
                if (!first)
                        putchar('\n');
                return print_target(target, refusals, options);
        }

        json_open(json, NULL, '{');
        target_to_json(target, json, "target");
        json_open(json, "refusals", '[');
        for (guint i = 0; refusals && i < refusals->len; i++)
                refusal_to_json(refusals->pdata[i], json, NULL);
        json_close(json, ']');
        json_close(json, '}');
        return 0;
}

int verb_status(char **arguments, const Options *options) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        bool text = options->output == OUTPUT_TEXT;
        Json json;
        int r, result = 0;

        r = bus_connect(&bus);
        if (r < 0)
                return r;

        if (!*arguments)
                return show_manager(bus, options);

        terminal_start_pager(options);
        if (!text) {
                json_init(&json, options->output);
                json_open(&json, NULL, '[');
        }

        for (char **a = arguments; *a; a++) {
                r = show_target(bus, *a, text ? NULL : &json, a == arguments, options);
                if (r < 0)
                        result = r;
        }

        if (!text) {
                json_close(&json, ']');
                json_finish(&json);
        }

        return result;
}
