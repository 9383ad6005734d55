/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The policy as an object: freed, compared, written as text. What its sections mean is in section-*.c, how
 * it's read in loader.c, where it's found in dropin.c. */

#include <glib.h>
#include <string.h>

#include "policy/loader.h"
#include "policy/section.h"
#include "policy/syntax.h"

Policy *policy_free(Policy *policy) {
        if (!policy)
                return NULL;

        for (const PolicySection *const *s = policy_sections; *s; s++)
                if ((*s)->clear)
                        (*s)->clear(policy);

        g_clear_pointer(&policy->assignments, g_ptr_array_unref);
        g_clear_pointer(&policy->problems, g_ptr_array_unref);
        g_clear_pointer(&policy->files, g_ptr_array_unref);
        g_free(policy->unit);
        g_free(policy->error);
        g_free(policy);
        return NULL;
}

int policy_load_text(const char *text, size_t size, const char *name, Policy **ret) {
        PolicyLoader *loader;

        g_assert(text || size == 0);
        g_assert(name);
        g_assert(ret);

        loader = policy_loader_new(NULL);
        policy_loader_add_text(loader, text, size, name);
        *ret = policy_loader_finish(loader);
        return 0;
}

bool policy_equal(const Policy *a, const Policy *b) {
        g_assert(a);
        g_assert(b);

        if (a->has_files != b->has_files || !a->error != !b->error)
                return false;

        for (const PolicySection *const *s = policy_sections; *s; s++)
                if ((*s)->equal && !(*s)->equal(a, b))
                        return false;

        return true;
}

char *policy_to_text(const Policy *policy) {
        const PolicyAssignment *before = NULL;
        GString *text;

        g_assert(policy);

        text = g_string_new(NULL);

        for (guint i = 0; i < policy->assignments->len; i++) {
                const PolicyAssignment *a = g_ptr_array_index(policy->assignments, i);

                if (!before || before->section != a->section)
                        g_string_append_printf(text, "%s[%s]\n", before ? "\n" : "", a->section);

                /* One comment for all that comes from one line. */
                if (!before || before->section != a->section || before->file != a->file ||
                                before->line != a->line) {
                        g_autofree char *file = syntax_printable(a->file, SIZE_MAX);

                        g_string_append_printf(text, "# %s:%u\n", file, a->line);
                }

                g_string_append_printf(text, "%s=%s\n", a->key, a->resolved ?: a->value);
                before = a;
        }

        return g_string_free(text, FALSE);
}

char *policy_problem_to_string(const PolicyProblem *problem) {
        GString *text;

        g_assert(problem);

        text = g_string_new(problem->file);
        if (problem->line > 0)
                g_string_append_printf(text, ":%u", problem->line);
        g_string_append_printf(text, ": %s", problem->message);
        if (problem->hint)
                g_string_append_printf(text, " (%s)", problem->hint);

        return g_string_free(text, FALSE);
}
