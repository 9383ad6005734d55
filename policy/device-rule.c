/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "policy/section.h"
#include "policy/syntax.h"

/* What the kernel's dev_t has room for: 12 and 20 bits (include/linux/kdev_t.h). */
#define MAJOR_MAX 0xfffu
#define MINOR_MAX 0xfffffu

static void clear_rule(gpointer p) {
        DeviceRule *rule = p;

        g_clear_pointer(&rule->path, g_free);
}

/* "1:3", "4:64-67", "10:*"; cuts the word into its numbers. */
static int parse_device_numbers(char *word, DeviceRule *rule) {
        uint64_t major, first, last;
        char *minor, *dash;
        int r;

        minor = strchr(word, ':');
        if (!minor)
                return -EINVAL;
        *minor++ = 0;

        r = parse_number(word, MAJOR_MAX, &major);
        if (r < 0)
                return r;

        rule->major = (unsigned) major;
        if (strcmp(minor, "*") == 0) {
                rule->minor_first = 0;
                rule->minor_last = UINT_MAX;
                return 0;
        }

        dash = strchr(minor, '-');
        if (dash)
                *dash++ = 0;

        r = parse_number(minor, MINOR_MAX, &first);
        if (r < 0)
                return r;

        r = parse_number(dash ?: minor, MINOR_MAX, &last);
        if (r < 0)
                return r;
        if (last < first)
                return -EINVAL;

        rule->minor_first = (unsigned) first;
        rule->minor_last = (unsigned) last;
        return 0;
}

/* A path below /dev that says where it leads. */
static bool is_device_path(const char *word) {
        if (!g_str_has_prefix(word, "/dev/") || strlen(word) >= PATH_MAX)
                return false;

        for (const char *p = word + strlen("/dev"); *p;) {
                size_t n = strcspn(++p, "/");

                if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
                        return false;

                p += n;
        }

        /* An odd backslash at the end would join the next line, see policy_to_text(). */
        return word[strlen(word) - 1] != '\\';
}

void device_rules_add_path(PolicyLoader *loader, const PolicyKey *key, const char *word, GArray *rules) {
        DeviceRule rule = {};

        if (!is_device_path(word)) {
                policy_warn(loader, key, "write a path below /dev without \"..\", such as /dev/null",
                                "\"%s\" is no path of a device", word);
                return;
        }

        if (!policy_record(loader, key, word, NULL))
                return;

        rule.path = g_strdup(word);
        g_array_append_val(rules, rule);
}

/* What begins an item, "c", "b" or a path, rather than going on with one? */
static bool is_item(const char *text) {
        return text[0] == '/' || ((text[0] == 'c' || text[0] == 'b') && strchr(SYNTAX_BLANKS, text[1]));
}

char *device_rules_take_numbers(char **value) {
        *value += strspn(*value, SYNTAX_BLANKS);

        return is_item(*value) ? NULL : syntax_next_word(value);
}

void device_rules_add_numbers(
                PolicyLoader *loader, const PolicyKey *key, const char *type, char **value, GArray *rules) {
        char *word = device_rules_take_numbers(value);
        g_autofree char *item = g_strdup_printf("%s %s", type, word ?: "");
        DeviceRule rule = { .type = type[0] == 'c' ? S_IFCHR : S_IFBLK };
        int r;

        r = word ? parse_device_numbers(word, &rule) : -EINVAL;
        if (r == -ERANGE) {
                policy_warn(loader, key, "majors go up to 4095, minors up to 1048575",
                                "device \"%s\" is out of range", item);
                return;
        }
        if (r < 0) {
                policy_warn(loader, key,
                                "write TYPE MAJOR:MINOR, such as \"c 1:3\", \"c 4:64-67\", \"c 10:*\"",
                                "\"%s\" is no device", g_strchomp(item));
                return;
        }
        if (rule.type == S_IFCHR && rule.major == 0 && rule.minor_last == 0) {
                policy_warn(loader, key, "anyone may make one",
                                "\"%s\" is a whiteout, which needs no lending", item);
                return;
        }

        if (policy_record(loader, key, item, NULL))
                g_array_append_val(rules, rule);
}

GArray *device_rules_new(void) {
        GArray *rules = g_array_new(FALSE, FALSE, sizeof(DeviceRule));

        g_array_set_clear_func(rules, clear_rule);
        return rules;
}

bool device_rules_equal(const GArray *a, const GArray *b) {
        if (a->len != b->len)
                return false;

        for (guint i = 0; i < a->len; i++) {
                const DeviceRule *x = &g_array_index(a, DeviceRule, i), *y = &g_array_index(b, DeviceRule, i);

                if (x->type != y->type || x->major != y->major || x->minor_first != y->minor_first ||
                                x->minor_last != y->minor_last || g_strcmp0(x->path, y->path) != 0)
                        return false;
        }

        return true;
}

const DeviceRule *device_rules_find(const GArray *rules, mode_t type, dev_t device) {
        for (guint i = 0; i < rules->len; i++) {
                const DeviceRule *rule = &g_array_index(rules, DeviceRule, i);

                if (!rule->path && rule->type == type && rule->major == major(device) &&
                                rule->minor_first <= minor(device) && minor(device) <= rule->minor_last)
                        return rule;
        }

        for (guint i = 0; i < rules->len; i++) {
                const DeviceRule *rule = &g_array_index(rules, DeviceRule, i);
                struct stat st;

                if (rule->path && stat(rule->path, &st) >= 0 && (st.st_mode & S_IFMT) == type &&
                                st.st_rdev == device)
                        return rule;
        }

        return NULL;
}
