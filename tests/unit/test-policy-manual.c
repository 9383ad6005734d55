/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* deputyd.policy(5) must know every section, key, default, name and profile that there is. POLICY_MANUAL is
 * the path of its source. */

#include <criterion/criterion.h>
#include <glib.h>
#include <string.h>

#include "policy/policy.h"

static char *manual;

static void setup(void) {
        cr_assert(g_file_get_contents(POLICY_MANUAL, &manual, NULL, NULL), "can't read " POLICY_MANUAL);
}

static void teardown(void) {
        g_free(manual);
}

TestSuite(manual, .init = setup, .fini = teardown);

/* The text from the heading of a section to the next heading. */
static char *section_of_manual(const char *section) {
        g_autofree char *upper = g_ascii_strup(section, -1),
                        *heading = g_strdup_printf("\n# [%s] SECTION\n", upper);
        const char *start, *end;

        start = strstr(manual, heading);
        cr_assert_not_null(start, "no heading for [%s]", section);
        start += strlen(heading);
        end = strstr(start, "\n# ");
        return g_strndup(start, end ? (gsize) (end - start) : strlen(start));
}

Test(manual, has_every_key_with_its_default) {
        const char *section, *key, *fallback;

        for (size_t i = 0; policy_keys(i, &section, &key, &fallback); i++) {
                g_autofree char *text = section_of_manual(section), *item = g_strdup_printf("\n*%s=*\n", key),
                                *next = NULL;
                const char *start, *end;

                start = strstr(text, item);
                cr_expect_not_null(start, "[%s] %s= isn't described", section, key);
                if (!start || !*fallback)
                        continue;

                end = strstr(start + strlen(item), "\n*");
                next = g_strndup(start, end ? (gsize) (end - start) : strlen(start));
                g_free(item);
                item = g_strdup_printf("Default: %s.", fallback);
                cr_expect_not_null(strstr(next, item), "\"%s\" isn't said of %s=", item, key);
        }
}

Test(manual, has_every_name_of_a_call) {
        for (size_t i = 0; call_known_name(i); i++) {
                g_autofree char *item = g_strdup_printf("*%s*", call_known_name(i));

                cr_expect_not_null(strstr(manual, item), "%s isn't described", item);
        }

        for (int i = 0; i < _CALL_MAX; i++)
                cr_expect_not_null(strstr(manual, call_to_string((CallId) i)), "%s isn't named",
                                call_to_string((CallId) i));
}

Test(manual, has_the_limits) {
        g_autofree char *size = g_strdup_printf("%u MiB", POLICY_SIZE_MAX / (1024 * 1024)),
                        *files = g_strdup_printf("%u files", POLICY_FILES_MAX),
                        *items = g_strdup_printf("%u items", POLICY_ITEMS_MAX);

        cr_expect_not_null(strstr(manual, size));
        cr_expect_not_null(strstr(manual, files));
        cr_expect_not_null(strstr(manual, items));
}

Test(manual, has_every_profile) {
        g_autofree char *directory = g_path_get_dirname(POLICY_MANUAL), *profiles = NULL;
        g_autoptr(GDir) dir = NULL;
        unsigned n = 0;

        profiles = g_build_filename(directory, "../policy.d/profiles", NULL);
        dir = g_dir_open(profiles, 0, NULL);
        cr_assert_not_null(dir);

        for (const char *file; (file = g_dir_read_name(dir));) {
                g_autofree char *item = NULL;

                if (!g_str_has_suffix(file, ".conf"))
                        continue;

                item = g_strdup_printf("\n*%.*s*\n", (int) strcspn(file, "."), file);
                cr_expect_not_null(strstr(manual, item), "profile %s isn't described", file);
                n++;
        }

        cr_expect_geq(n, 2);
}
