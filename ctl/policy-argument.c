/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "basic/log.h"
#include "ctl/policy-argument.h"
#include "ctl/terminal.h"
#include "ctl/unit-settings.h"

bool argument_is_file(const char *argument) {
        return strchr(argument, '/') || g_str_has_suffix(argument, ".conf");
}

int policy_load_file_arguments(const char *const *paths, Policy **ret) {
        const char *bad = NULL;
        int r;

        r = policy_load_files(paths, NULL, ret, &bad);
        if (r < 0)
                return log_error_errno(r, "Can't read %s: %m", bad ?: paths[0]);

        return 0;
}

int policy_load_argument(const char *argument, Policy **ret) {
        g_autofree char *unit = NULL;
        int r;

        if (argument_is_file(argument))
                return policy_load_file_arguments((const char *const[]){ argument, NULL }, ret);

        r = unit_name_complete(argument, &unit);
        if (r >= 0)
                r = policy_load_unit(unit, NULL, ret);
        if (r == -EINVAL) {
                g_autofree char *escaped = terminal_escape(argument);

                log_error("\"%s\" is neither a unit's name nor a file (a file in the current directory is "
                          "./%s)",
                                escaped, escaped);
                return r;
        }
        if (r < 0)
                return log_error_errno(r, "Can't load the policy of %s: %m", unit);

        return 0;
}

void policy_log_problems(const Policy *policy) {
        for (guint i = 0; i < policy->problems->len; i++) {
                const PolicyProblem *problem = policy->problems->pdata[i];
                g_autofree char *text = policy_problem_to_string(problem), *escaped = terminal_escape(text);

                if (problem->level <= LOG_ERR)
                        log_error("%s", escaped);
                else
                        log_warning("%s", escaped);
        }
}

static int compare_names(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

char **policy_profile_names(void) {
        g_autofree char *path = policy_profile_directory();
        g_autoptr(GDir) directory = path ? g_dir_open(path, 0, NULL) : NULL;
        g_autoptr(GPtrArray) names = g_ptr_array_new();
        const char *name;

        while (directory && (name = g_dir_read_name(directory)))
                if (g_str_has_suffix(name, ".conf"))
                        g_ptr_array_add(names, g_strndup(name, strlen(name) - strlen(".conf")));

        g_ptr_array_sort(names, compare_names);
        g_ptr_array_add(names, NULL);
        return (char **) g_ptr_array_free(g_steal_pointer(&names), FALSE);
}
