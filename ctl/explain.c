/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* deputyctl explain: why calls of a unit were refused, and the lines of policy that would lend them. Entries
 * that differ in nothing but their time are told once. */

#include <stdio.h>
#include <string.h>

#include "basic/log.h"
#include "ctl/refusals.h"
#include "ctl/terminal.h"
#include "ctl/unit-settings.h"

typedef struct Group {
        const Refusal *last;
        unsigned n;
} Group;

static bool same(const Refusal *a, const Refusal *b) {
        return g_strcmp0(a->call, b->call) == 0 && g_strcmp0(a->arguments, b->arguments) == 0 &&
               g_strcmp0(a->reason, b->reason) == 0 && g_strcmp0(a->hint, b->hint) == 0 &&
               g_strcmp0(a->verdict, b->verdict) == 0 && g_strcmp0(a->error, b->error) == 0;
}

static GArray *group_refusals(const GPtrArray *refusals) {
        GArray *groups = g_array_new(FALSE, FALSE, sizeof(Group));

        for (guint i = 0; i < refusals->len; i++) {
                Group *known = NULL;

                for (guint j = 0; j < groups->len && !known; j++)
                        if (same(g_array_index(groups, Group, j).last, refusals->pdata[i]))
                                known = &g_array_index(groups, Group, j);

                if (known) {
                        known->last = refusals->pdata[i];
                        known->n++;
                } else
                        g_array_append_vals(groups, &(Group){ refusals->pdata[i], 1 }, 1);
        }

        return groups;
}

/* A hint is "[Section] Key=value" on one line. Return: is it, and its two halves? */
static bool split_hint(const char *hint, char **ret_section, char **ret_line) {
        const char *end;

        if (!hint || *hint != '[' || strpbrk(hint, "\n\r"))
                return false;

        end = strchr(hint, ']');
        if (!end || !strchr(end, '='))
                return false;

        *ret_section = g_strndup(hint, end + 1 - hint);
        *ret_line = g_strstrip(g_strdup(end + 1));
        return true;
}

/* The policy file that would lend all of it: each section once, each line once. NULL if nothing can be. */
static char *compose_policy(const GArray *groups) {
        g_autoptr(GPtrArray) sections = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(GString) text = g_string_new(NULL);

        for (guint i = 0; i < groups->len; i++) {
                char *section, *line, *whole;

                if (!split_hint(g_array_index(groups, Group, i).last->hint, &section, &line))
                        continue;

                whole = g_strdup_printf("%s%s\n", section, line);
                g_free(line);
                if (g_ptr_array_find_with_equal_func(lines, whole, g_str_equal, NULL))
                        g_free(whole);
                else
                        g_ptr_array_add(lines, whole);

                if (g_ptr_array_find_with_equal_func(sections, section, g_str_equal, NULL))
                        g_free(section);
                else
                        g_ptr_array_add(sections, section);
        }

        for (guint i = 0; i < sections->len; i++) {
                const char *section = sections->pdata[i];

                g_string_append_printf(text, "%s\n", section);
                for (guint j = 0; j < lines->len; j++)
                        if (g_str_has_prefix(lines->pdata[j], section))
                                g_string_append(text, (const char *) lines->pdata[j] + strlen(section));
        }

        return text->len > 0 ? g_strdup(text->str) : NULL;
}

static const char *error_name(const char *number) {
        uint64_t error;

        if (!number || !g_ascii_string_to_unsigned(number, 10, 1, 4095, &error, NULL))
                return NULL;

        return g_strerror(error);
}

static void print_group(const Group *group) {
        const Refusal *refusal = group->last;
        g_autofree char *time = format_timestamp(refusal->realtime_usec);
        g_autofree char *arguments = terminal_escape(refusal->arguments ?: "");
        g_autofree char *call = terminal_escape(refusal->call ?: "a call");
        g_autofree char *verdict = terminal_escape(refusal->verdict ?: "refused");
        const char *error = error_name(refusal->error);

        printf("%s%s%s %s\n", style(STYLE_BOLD), call, style(STYLE_NORMAL), arguments);
        printf("  %s", verdict);
        if (error)
                printf(" (%s)", error);
        if (group->n > 1)
                printf(", %u times, last %s", group->n, time);
        else
                printf(", %s", time);
        if (refusal->pid)
                printf(", process %s", refusal->pid);
        printf("\n  %s\n", refusal_reason_sentence(refusal->reason));

        if (refusal->hint) {
                g_autofree char *hint = terminal_escape(refusal->hint);

                printf("  This would lend it: %s%s%s\n", style(STYLE_GREEN), hint, style(STYLE_NORMAL));
        }
        putchar('\n');
}

static void print_advice(const char *unit, const char *file, const char *policy) {
        g_auto(GStrv) lines = NULL;

        if (!policy) {
                printf("No line of policy would change this.\n");
                return;
        }

        lines = g_strsplit(policy, "\n", -1);
        printf("If %s should have them, %s %s:\n\n", unit,
                        g_file_test(file, G_FILE_TEST_EXISTS) ? "add to" : "write to", file);
        for (char **l = lines; *l && **l; l++) {
                g_autofree char *line = terminal_escape(*l);

                printf("    %s\n", line);
        }
        printf("\nand run: deputyctl reload\n");
}

static void explain_to_json(const char *unit, const GArray *groups, const char *file, const char *policy,
                OutputFormat output) {
        Json json;

        json_init(&json, output);
        json_open(&json, NULL, '{');
        json_string(&json, "unit", unit);
        json_open(&json, "refusals", '[');
        for (guint i = 0; i < groups->len; i++) {
                const Group *group = &g_array_index(groups, Group, i);

                json_open(&json, NULL, '{');
                json_number(&json, "times", group->n);
                json_string(&json, "explanation", refusal_reason_sentence(group->last->reason));
                refusal_to_json(group->last, &json, "last");
                json_close(&json, '}');
        }
        json_close(&json, ']');
        json_string(&json, "file", policy ? file : NULL);
        json_string(&json, "policy", policy);
        json_close(&json, '}');
        json_finish(&json);
}

int verb_explain(char **arguments, const Options *options) {
        g_autofree char *unit = NULL, *policy = NULL, *file = NULL;
        g_autoptr(GPtrArray) refusals = NULL;
        g_autoptr(GArray) groups = NULL;
        int r;

        r = unit_name_complete(arguments[0], &unit);
        if (r < 0) {
                g_autofree char *escaped = terminal_escape(arguments[0]);

                log_error("\"%s\" is no unit's name", escaped);
                return r;
        }

        r = refusals_load(unit, NULL, options->lines, &refusals);
        if (r < 0)
                return log_error_errno(r, "Can't read the journal: %m");

        groups = group_refusals(refusals);
        policy = compose_policy(groups);
        file = g_strdup_printf("%s/deputyd/policy.d/%s.d/50-site.conf", SYSCONFDIR, unit);

        terminal_start_pager(options);
        if (options->output != OUTPUT_TEXT) {
                explain_to_json(unit, groups, file, policy, options->output);
                return 0;
        }

        if (groups->len == 0) {
                printf("The journal knows of no call of %s that was refused or failed.\n", unit);
                return 0;
        }

        for (guint i = 0; i < groups->len; i++)
                print_group(&g_array_index(groups, Group, i));

        print_advice(unit, file, policy);
        return 0;
}
