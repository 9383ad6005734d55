/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* deputyctl policy: the merged policy, in its own syntax, with the file and line that each value came from.
 */

#include <stdio.h>
#include <string.h>

#include "basic/log.h"
#include "ctl/json.h"
#include "ctl/policy-argument.h"
#include "ctl/terminal.h"

static void policy_to_json(const Policy *policy, Json *json) {
        g_autofree char *names = call_set_to_string(policy_intercepted_calls(policy));
        g_auto(GStrv) calls = g_strsplit_set(names, " ", -1);

        json_open(json, NULL, '{');
        json_string(json, "unit", policy->unit);

        json_open(json, "files", '[');
        for (guint i = 0; i < policy->files->len; i++)
                json_string(json, NULL, policy->files->pdata[i]);
        json_close(json, ']');

        json_string(json, "error", policy->error);

        json_open(json, "system_calls", '[');
        for (char **c = calls; *c; c++)
                if (**c)
                        json_string(json, NULL, *c);
        json_close(json, ']');

        json_open(json, "assignments", '[');
        for (guint i = 0; i < policy->assignments->len; i++) {
                const PolicyAssignment *a = policy->assignments->pdata[i];

                json_open(json, NULL, '{');
                json_string(json, "section", a->section);
                json_string(json, "key", a->key);
                json_string(json, "value", a->value);
                json_string(json, "file", a->file);
                json_number(json, "line", a->line);
                json_close(json, '}');
        }
        json_close(json, ']');

        json_open(json, "problems", '[');
        for (guint i = 0; i < policy->problems->len; i++) {
                const PolicyProblem *p = policy->problems->pdata[i];

                json_open(json, NULL, '{');
                json_string(json, "level", p->level <= LOG_ERR ? "error" : "warning");
                json_string(json, "file", p->file);
                json_number(json, "line", p->line);
                json_string(json, "message", p->message);
                json_string(json, "hint", p->hint);
                json_close(json, '}');
        }
        json_close(json, ']');
        json_close(json, '}');
}

static void print_section(const Policy *policy, const char *section) {
        const char *file = NULL;
        unsigned line = 0;

        printf("\n%s[%s]%s\n", style(STYLE_BOLD), section, style(STYLE_NORMAL));

        for (guint i = 0; i < policy->assignments->len; i++) {
                const PolicyAssignment *a = policy->assignments->pdata[i];
                g_autofree char *value = NULL;

                if (strcmp(a->section, section) != 0)
                        continue;

                if (g_strcmp0(file, a->file) != 0 || line != a->line) {
                        file = a->file;
                        line = a->line;
                        printf("%s# %s:%u%s\n", style(STYLE_DIM), file, line, style(STYLE_NORMAL));
                }

                value = terminal_escape(a->value);
                printf("%s=%s\n", a->key, value);
        }
}

static void print_policy(const Policy *policy) {
        g_autoptr(GPtrArray) sections = g_ptr_array_new();
        g_auto(GStrv) directories = NULL;

        if (policy->unit)
                printf("# The policy of %s\n", policy->unit);

        if (!policy->has_files) {
                directories = policy_directories();
                printf("# There's none: all its calls are left to the kernel. Looked for drop-in files "
                       "in:\n");
                for (char **d = directories; *d; d++)
                        printf("#   %s\n", *d);
                return;
        }

        for (guint i = 0; i < policy->files->len; i++)
                printf("#   %s\n", (char *) policy->files->pdata[i]);

        for (guint i = 0; i < policy->assignments->len; i++) {
                const PolicyAssignment *a = policy->assignments->pdata[i];

                if (!g_ptr_array_find_with_equal_func(sections, a->section, g_str_equal, NULL))
                        g_ptr_array_add(sections, (void *) a->section);
        }

        for (guint i = 0; i < sections->len; i++)
                print_section(policy, sections->pdata[i]);
}

/* Units each have their policy; the files that are named make one together. */
static int load_all(char **arguments, GPtrArray *policies) {
        g_autoptr(GPtrArray) files = g_ptr_array_new();
        int r;

        for (; *arguments; arguments++) {
                Policy *policy;

                if (argument_is_file(*arguments)) {
                        g_ptr_array_add(files, *arguments);
                        continue;
                }

                r = policy_load_argument(*arguments, &policy);
                if (r < 0)
                        return r;

                g_ptr_array_add(policies, policy);
        }

        if (files->len > 0) {
                Policy *policy;

                g_ptr_array_add(files, NULL);
                r = policy_load_file_arguments((const char *const *) files->pdata, &policy);
                if (r < 0)
                        return r;

                g_ptr_array_add(policies, policy);
        }

        return 0;
}

static void free_element(void *p) {
        policy_free(p);
}

int verb_policy(char **arguments, const Options *options) {
        g_autoptr(GPtrArray) policies = g_ptr_array_new_with_free_func(free_element);
        Json json;
        int r;

        r = load_all(arguments, policies);
        if (r < 0)
                return r;

        terminal_start_pager(options);

        if (options->output != OUTPUT_TEXT) {
                json_init(&json, options->output);
                json_open(&json, NULL, '[');
                for (guint i = 0; i < policies->len; i++)
                        policy_to_json(policies->pdata[i], &json);
                json_close(&json, ']');
                json_finish(&json);
        }

        for (guint i = 0; i < policies->len; i++) {
                const Policy *policy = policies->pdata[i];

                if (options->output == OUTPUT_TEXT) {
                        if (i > 0)
                                putchar('\n');
                        print_policy(policy);
                        fflush(stdout);
                        policy_log_problems(policy);
                }

                if (policy->error)
                        r = -EBADMSG;
        }

        return r;
}
