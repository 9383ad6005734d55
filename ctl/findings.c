/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>
#include <string.h>

#include "basic/log.h"
#include "ctl/findings.h"
#include "ctl/terminal.h"

static void finding_free(void *p) {
        Finding *finding = p;

        g_free(finding->where);
        g_free(finding->message);
        g_free(finding->hint);
        g_free(finding);
}

GPtrArray *findings_new(void) {
        return g_ptr_array_new_with_free_func(finding_free);
}

void findings_add(GPtrArray *findings, int level, const char *where, char *message, char *hint) {
        Finding *finding = g_new0(Finding, 1);

        *finding = (Finding){ .level = level, .where = g_strdup(where), .message = message, .hint = hint };
        g_ptr_array_add(findings, finding);
}

/* What's allowed, and should be known to whoever allows it. */
static void add_token(GPtrArray *findings, const Policy *policy) {
        for (guint i = 0; i < policy->assignments->len; i++) {
                const PolicyAssignment *a = policy->assignments->pdata[i];
                g_autofree char *where = NULL;

                if (strcmp(a->section, "Bpf") != 0 || strcmp(a->key, "Token") != 0)
                        continue;

                where = g_strdup_printf("%s:%u", a->file, a->line);
                findings_add(findings, LOG_INFO, where,
                                g_strdup("programs that come with a BPF token have all of the kernel's "
                                         "verifier to try"),
                                g_strdup("lend it where AllowProgram= won't do"));
                if (!call_set_contains(policy_intercepted_calls(policy), CALL_FSOPEN))
                        findings_add(findings, LOG_WARNING, where,
                                        g_strdup("tokens are made of a file system, and mount isn't "
                                                 "intercepted"),
                                        g_strdup("[Intercept] SystemCalls=mount bpf"));
                if (!call_set_contains(policy_intercepted_calls(policy), CALL_BPF))
                        findings_add(findings, LOG_WARNING, where,
                                        g_strdup("no token is lent, since bpf isn't intercepted"),
                                        g_strdup("[Intercept] SystemCalls=mount bpf"));
                return;
        }
}

void findings_add_policy(GPtrArray *findings, const Policy *policy) {
        for (guint i = 0; i < policy->problems->len; i++) {
                const PolicyProblem *problem = policy->problems->pdata[i];
                g_autofree char *where = problem->line > 0
                                ? g_strdup_printf("%s:%u", problem->file, problem->line)
                                : g_strdup(problem->file ?: policy->unit ?: "policy");

                findings_add(findings, problem->level, where, g_strdup(problem->message),
                                g_strdup(problem->hint));
        }

        if (!policy->error)
                add_token(findings, policy);
}

static const char *level_name(int level) {
        return level <= LOG_ERR ? "error" : level <= LOG_WARNING ? "warning" : "note";
}

void findings_print(const GPtrArray *findings) {
        for (guint i = 0; i < findings->len; i++) {
                const Finding *finding = findings->pdata[i];
                g_autofree char *where = terminal_escape(finding->where);
                g_autofree char *message = terminal_escape(finding->message);
                g_autofree char *hint = finding->hint ? terminal_escape(finding->hint) : NULL;
                Style colour = finding->level <= LOG_ERR       ? STYLE_RED
                               : finding->level <= LOG_WARNING ? STYLE_YELLOW
                                                               : STYLE_DIM;

                printf("%s%s:%s %s%s:%s %s", style(STYLE_BOLD), where, style(STYLE_NORMAL), style(colour),
                                level_name(finding->level), style(STYLE_NORMAL), message);
                if (hint)
                        printf(" (%s)", hint);
                putchar('\n');
        }
}

void findings_to_json(const GPtrArray *findings, Json *json, const char *name) {
        json_open(json, name, '[');
        for (guint i = 0; i < findings->len; i++) {
                const Finding *finding = findings->pdata[i];

                json_open(json, NULL, '{');
                json_string(json, "where", finding->where);
                json_string(json, "level", level_name(finding->level));
                json_string(json, "message", finding->message);
                json_string(json, "hint", finding->hint);
                json_close(json, '}');
        }
        json_close(json, ']');
}

int findings_worst(const GPtrArray *findings) {
        int worst = LOG_DEBUG;

        for (guint i = 0; i < findings->len; i++)
                worst = MIN(worst, ((const Finding *) findings->pdata[i])->level);

        return worst;
}
