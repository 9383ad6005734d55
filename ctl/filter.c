/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* deputyctl filter: the seccomp program that a policy compiles to. */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "basic/log.h"
#include "ctl/json.h"
#include "ctl/policy-argument.h"
#include "ctl/terminal.h"

static void filter_to_json(const Filter *filter, OutputFormat output) {
        g_autofree char *names = call_set_to_string(filter->calls);
        g_auto(GStrv) calls = g_strsplit_set(names, " ", -1);
        Json json;

        json_init(&json, output);
        json_open(&json, NULL, '{');
        json_strv(&json, "system_calls", (const char *const *) calls);
        json_open(&json, "program", '[');
        for (size_t i = 0; i < filter->n_insns; i++) {
                json_open(&json, NULL, '{');
                json_number(&json, "code", filter->insns[i].code);
                json_number(&json, "jt", filter->insns[i].jt);
                json_number(&json, "jf", filter->insns[i].jf);
                json_number(&json, "k", filter->insns[i].k);
                json_close(&json, '}');
        }
        json_close(&json, ']');
        json_close(&json, '}');
        json_finish(&json);
}

int verb_filter(char **arguments, const Options *options) {
        g_autoptr(Policy) policy = NULL;
        g_autoptr(Filter) filter = NULL;
        int r;

        if (options->output == OUTPUT_TEXT && options->format == FILTER_FORMAT_BPF && terminal_is_tty()) {
                log_error("The program is binary, and this is a terminal: redirect it into a file, or ask "
                          "for "
                          "--format=pfc");
                return -EINVAL;
        }

        r = policy_load_argument(arguments[0], &policy);
        if (r < 0)
                return r;

        policy_log_problems(policy);
        if (policy->error) {
                log_error("A policy with an error makes its target pass-through: it has no filter");
                return -EBADMSG;
        }

        r = filter_new(policy_intercepted_calls(policy), &filter);
        if (r == -ENODATA) {
                log_error("%s: nothing is intercepted, so there's no filter; [Intercept] SystemCalls= says "
                          "what "
                          "is",
                                arguments[0]);
                return r;
        }
        if (r < 0)
                return log_error_errno(r, "Can't compile the filter of %s: %m", arguments[0]);

        if (options->format != FILTER_FORMAT_BPF)
                terminal_start_pager(options);

        if (options->output != OUTPUT_TEXT) {
                filter_to_json(filter, options->output);
                return 0;
        }

        fflush(stdout);
        r = filter_export(filter, options->format, STDOUT_FILENO);
        if (r < 0 && r != -EPIPE)
                return log_error_errno(r, "Can't write the filter: %m");

        return 0;
}
