/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The syntax is that of the kernel's command line, see next_arg() in its lib/cmdline.c: words between blanks,
 * NAME or NAME=VALUE, blanks within double quotes. Stricter here: quotes are around the whole value or the
 * whole word, and no text is left over that could mean something else to the kernel than to us. */

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "supervisor/handlers/module-parameters.h"

#define BLANKS " \t\n\v\f\r"

/* Cuts the next word off *p: NAME, and VALUE or NULL. Return: 1, 0 at the end, or -EINVAL. */
static int next_parameter(char **p, char **ret_name, char **ret_value) {
        char *word = *p + strspn(*p, BLANKS), *equals, *end;
        bool quoted = *word == '"';

        if (!*word)
                return 0;
        if (quoted)
                word++;

        equals = word + strcspn(word, "=\"" BLANKS);
        if (*equals != '=') {
                end = equals;
                equals = NULL;
        } else if (quoted)
                end = equals + strcspn(equals, "\"");
        else if (equals[1] == '"') {
                quoted = true;
                *equals++ = 0;
                end = equals + 1 + strcspn(equals + 1, "\"");
        } else
                end = equals + strcspn(equals, "\"" BLANKS);

        if (quoted ? *end != '"' || (end[1] && !strchr(BLANKS, end[1])) : *end == '"')
                return -EINVAL;

        *p = *end ? end + 1 : end;
        *end = 0;
        if (equals)
                *equals++ = 0;

        *ret_name = word;
        *ret_value = equals;
        return 1;
}

/* Names of parameters are those of C variables; some have a dot or two. "--" would end the parameters. */
static bool name_is_valid(const char *name) {
        if (!g_ascii_isalpha(*name) && *name != '_')
                return false;

        for (const char *p = name; *p; p++)
                if (!g_ascii_isalnum(*p) && !strchr("_-.", *p))
                        return false;

        return true;
}

int module_parameters_check(
                const Policy *policy, const char *module, char *text, char **ret, char **ret_refused) {
        g_autoptr(GString) fresh = g_string_new(NULL);
        char *name, *value;
        int r;

        while ((r = next_parameter(&text, &name, &value)) > 0) {
                if (!name_is_valid(name)) {
                        r = -EINVAL;
                        break;
                }
                if (!policy_allows_module_parameter(policy, module, name, value)) {
                        *ret_refused = g_strdup_printf("%s.%s", module, name);
                        return -EPERM;
                }

                g_string_append_printf(fresh, "%s%s", fresh->len > 0 ? " " : "", name);
                if (value && strpbrk(value, BLANKS))
                        g_string_append_printf(fresh, "=\"%s\"", value);
                else if (value)
                        g_string_append_printf(fresh, "=%s", value);
        }

        if (r < 0) {
                *ret_refused = NULL;
                return -EPERM;
        }

        *ret = g_string_free(g_steal_pointer(&fresh), FALSE);
        return 0;
}
