/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Any bytes may stand in a policy file. Whatever they are, reading them must end in a Policy, and one that
 * isn't broken must survive being written and read again: that's the way it takes from deputyd to a
 * supervisor. */

#include <glib.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <syslog.h>

#include "policy/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_problems(const Policy *policy) {
        for (guint i = 0; i < policy->problems->len; i++) {
                const PolicyProblem *problem = g_ptr_array_index(policy->problems, i);
                g_autofree char *text = policy_problem_to_string(problem);

                g_assert_true(problem->level == LOG_ERR || problem->level == LOG_WARNING);
                g_assert_null(strchr(text, '\n'));
                g_assert_true(g_utf8_validate(text, -1, NULL));
        }
}

static void check_round_trip(const Policy *policy) {
        g_autofree char *text = policy_to_text(policy);
        g_autoptr(Policy) copy = NULL;

        g_assert_cmpint(policy_load_text(text, strlen(text), "copy", &copy), ==, 0);
        g_assert_cmpuint(copy->problems->len, ==, 0);
        g_assert_cmpuint(copy->assignments->len, ==, policy->assignments->len);
        g_assert_true(policy_equal(policy, copy));
}

/* A broken policy lends nothing, and nothing at all lends what's never lent. */
static void check_lending(const Policy *policy) {
        g_assert_null(policy_find_device(policy, S_IFCHR, makedev(0, 0)));
        g_assert_null(policy_find_device(policy, S_IFREG, makedev(1, 3)));
        g_assert_false(policy_allows_xattr(policy, "user.name"));
        g_assert_false(policy_allows_xattr(policy, "security.capability"));
        g_assert_false(policy_allows_user(policy, (uid_t) -1));

        if (policy->error) {
                g_assert_cmpuint(policy_intercepted_calls(policy), ==, 0);
                g_assert_null(policy_find_device(policy, S_IFCHR, makedev(1, 3)));
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        g_autoptr(Policy) policy = NULL;

        g_assert_cmpint(policy_load_text((const char *) data, size, "fuzz", &policy), ==, 0);

        check_problems(policy);
        check_lending(policy);
        if (!policy->error)
                check_round_trip(policy);

        return 0;
}
