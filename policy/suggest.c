/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Two names are near if few letters must be added, dropped or changed to get from one to the other, whatever
 * their case. Only short names are compared: what's read may be a megabyte of anything. */

#include <glib.h>
#include <string.h>

#include "policy/suggest.h"

#define NAME_LENGTH_MAX 40

/* Levenshtein's distance, by one row of his table. */
static size_t distance(const char *a, const char *b) {
        size_t row[NAME_LENGTH_MAX + 1], m = strlen(a), n = strlen(b);

        if (m > NAME_LENGTH_MAX || n > NAME_LENGTH_MAX)
                return SIZE_MAX;

        for (size_t j = 0; j <= n; j++)
                row[j] = j;

        for (size_t i = 1; i <= m; i++) {
                size_t diagonal = row[0];

                row[0] = i;
                for (size_t j = 1; j <= n; j++) {
                        size_t change = diagonal +
                                        (g_ascii_tolower(a[i - 1]) != g_ascii_tolower(b[j - 1]) ? 1 : 0);

                        diagonal = row[j];
                        row[j] = MIN(change, MIN(row[j], row[j - 1]) + 1);
                }
        }

        return row[n];
}

/* At most a third of the letters may be wrong. */
static bool is_near(const char *name, const char *known) {
        size_t d = distance(name, known);

        return d != SIZE_MAX && d * 3 <= strlen(known);
}

char *suggest_section(const char *name) {
        GString *hint;

        for (const PolicySection *const *s = policy_sections; *s; s++)
                if (is_near(name, (*s)->name))
                        return g_strdup_printf("did you mean [%s]?", (*s)->name);

        hint = g_string_new("known:");
        for (const PolicySection *const *s = policy_sections; *s; s++)
                g_string_append_printf(hint, " [%s]", (*s)->name);

        return g_string_free(hint, FALSE);
}

/* The nearest key of a section, if any is near. */
static const char *nearest_key(const PolicySection *section, const char *name) {
        const char *nearest = NULL;
        size_t best = SIZE_MAX;

        for (size_t i = 0; i < section->n_keys; i++) {
                const char *known = section->keys[i].name;

                if (is_near(name, known) && distance(name, known) < best) {
                        nearest = known;
                        best = distance(name, known);
                }
        }

        return nearest;
}

char *suggest_key(const PolicySection *section, const char *name) {
        const char *nearest;

        nearest = nearest_key(section, name);
        if (nearest)
                return g_strdup_printf("did you mean %s=?", nearest);

        for (const PolicySection *const *s = policy_sections; *s; s++) {
                nearest = *s != section ? nearest_key(*s, name) : NULL;
                if (nearest && strcmp(nearest, name) == 0)
                        return g_strdup_printf("it belongs below [%s]", (*s)->name);
                if (nearest)
                        return g_strdup_printf("did you mean %s= of [%s]?", nearest, (*s)->name);
        }

        return NULL;
}
