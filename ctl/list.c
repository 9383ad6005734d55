/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* deputyctl list: one line per target. */

#include <inttypes.h>
#include <stdio.h>

#include "basic/log.h"
#include "ctl/table.h"
#include "ctl/target.h"

enum {
        COLUMN_UNIT,
        COLUMN_MACHINE,
        COLUMN_STATE,
        COLUMN_CALLS,
        COLUMN_EMULATED,
        COLUMN_REFUSED,
        COLUMN_FAILED,
        COLUMN_LEADER,
        COLUMN_ID,
        _COLUMN_MAX,
};

static const TableColumn columns[_COLUMN_MAX] = {
        [COLUMN_UNIT] = { "UNIT", false, true },
        [COLUMN_MACHINE] = { "MACHINE", false, true },
        [COLUMN_STATE] = { "STATE", false, false },
        [COLUMN_CALLS] = { "CALLS", true, false },
        [COLUMN_EMULATED] = { "EMULATED", true, false },
        [COLUMN_REFUSED] = { "REFUSED", true, false },
        [COLUMN_FAILED] = { "FAILED", true, false },
        [COLUMN_LEADER] = { "LEADER", true, false },
        [COLUMN_ID] = { "ID", false, false },
};

static int add_target(Table *table, const Target *target) {
        TargetCounters sum = target_sum(target);
        char numbers[5][24];
        const char *cells[_COLUMN_MAX] = {
                [COLUMN_UNIT] = target->unit,
                [COLUMN_MACHINE] = target->machine && *target->machine ? target->machine : NULL,
                [COLUMN_STATE] = target->state,
                [COLUMN_CALLS] = numbers[0],
                [COLUMN_EMULATED] = numbers[1],
                [COLUMN_REFUSED] = numbers[2],
                [COLUMN_FAILED] = numbers[3],
                [COLUMN_LEADER] = target->leader > 0 ? numbers[4] : NULL,
                [COLUMN_ID] = target->id,
        };
        int r;

        snprintf(numbers[0], sizeof(numbers[0]), "%" PRIu64, sum.received);
        snprintf(numbers[1], sizeof(numbers[1]), "%" PRIu64, sum.emulated);
        snprintf(numbers[2], sizeof(numbers[2]), "%" PRIu64, sum.refused);
        snprintf(numbers[3], sizeof(numbers[3]), "%" PRIu64, sum.failed);
        snprintf(numbers[4], sizeof(numbers[4]), "%" PRIu32, target->leader);

        r = table_add(table, cells, _COLUMN_MAX);
        if (r < 0)
                return r;

        table_colour(table, COLUMN_STATE, target_state_style(target));
        return 0;
}

static int print_table(const GPtrArray *targets, const Options *options) {
        Table *table = table_new(columns, _COLUMN_MAX, options);
        int r = table ? 0 : -ENOMEM;

        for (guint i = 0; r >= 0 && i < targets->len; i++)
                r = add_target(table, targets->pdata[i]);
        if (r >= 0)
                r = table_print(table, options);

        scols_unref_table(table);
        return r;
}

int verb_list(char **arguments, const Options *options) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        g_autoptr(GPtrArray) targets = NULL;
        int r;

        r = bus_connect(&bus);
        if (r < 0)
                return r;

        r = targets_load(bus, &targets);
        if (r < 0)
                return r;

        terminal_start_pager(options);

        if (options->output != OUTPUT_TEXT) {
                Json json;

                json_init(&json, options->output);
                json_open(&json, NULL, '[');
                for (guint i = 0; i < targets->len; i++)
                        target_to_json(targets->pdata[i], &json, NULL);
                json_close(&json, ']');
                json_finish(&json);
                return 0;
        }

        if (targets->len > 0) {
                r = print_table(targets, options);
                if (r < 0)
                        return log_error_errno(r, "Can't print the table: %m");
        }

        if (options->legend)
                printf("%s%u target%s listed.\n", targets->len > 0 ? "\n" : "", targets->len,
                                targets->len == 1 ? "" : "s");

        return 0;
}
