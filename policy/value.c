/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The types of values that keys of several sections share. */

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>

#include "policy/section.h"
#include "policy/syntax.h"

#define USEC_PER_SEC   UINT64_C(1000000)
#define USEC_PER_MSEC  UINT64_C(1000)
#define USEC_PER_MIN   (60 * USEC_PER_SEC)
#define USEC_PER_HOUR  (60 * USEC_PER_MIN)
#define USEC_PER_DAY   (24 * USEC_PER_HOUR)
#define USEC_PER_WEEK  (7 * USEC_PER_DAY)
#define USEC_PER_YEAR  UINT64_C(31557600000000) /* 365.25 days */
#define USEC_PER_MONTH (USEC_PER_YEAR / 12)
#define USEC_INFINITY  UINT64_MAX

/* systemd.time(7), "Parsing Time Spans". */
static const struct {
        const char *name;
        uint64_t usec;
} time_units[] = {
        { "", USEC_PER_SEC },
        { "us", 1 },
        { "usec", 1 },
        { "µs", 1 }, /* U+00B5 */
        { "μs", 1 }, /* U+03BC */
        { "ms", USEC_PER_MSEC },
        { "msec", USEC_PER_MSEC },
        { "s", USEC_PER_SEC },
        { "sec", USEC_PER_SEC },
        { "second", USEC_PER_SEC },
        { "seconds", USEC_PER_SEC },
        { "m", USEC_PER_MIN },
        { "min", USEC_PER_MIN },
        { "minute", USEC_PER_MIN },
        { "minutes", USEC_PER_MIN },
        { "h", USEC_PER_HOUR },
        { "hr", USEC_PER_HOUR },
        { "hour", USEC_PER_HOUR },
        { "hours", USEC_PER_HOUR },
        { "d", USEC_PER_DAY },
        { "day", USEC_PER_DAY },
        { "days", USEC_PER_DAY },
        { "w", USEC_PER_WEEK },
        { "week", USEC_PER_WEEK },
        { "weeks", USEC_PER_WEEK },
        { "M", USEC_PER_MONTH },
        { "month", USEC_PER_MONTH },
        { "months", USEC_PER_MONTH },
        { "y", USEC_PER_YEAR },
        { "year", USEC_PER_YEAR },
        { "years", USEC_PER_YEAR },
};

int parse_number(const char *text, uint64_t max, uint64_t *ret) {
        uint64_t n = 0;

        g_assert(text);
        g_assert(ret);

        if (!*text)
                return -EINVAL;

        for (const char *p = text; *p; p++)
                if (!g_ascii_isdigit(*p))
                        return -EINVAL;

        for (const char *p = text; *p; p++)
                if (__builtin_mul_overflow(n, 10, &n) ||
                                __builtin_add_overflow(n, (uint64_t) (*p - '0'), &n) || n > max)
                        return -ERANGE;

        *ret = n;
        return 0;
}

/* Is this the unit that "text" names, with "length" characters? */
static const uint64_t *find_time_unit(const char *text, size_t length) {
        for (size_t i = 0; i < G_N_ELEMENTS(time_units); i++)
                if (strlen(time_units[i].name) == length && memcmp(time_units[i].name, text, length) == 0)
                        return &time_units[i].usec;

        return NULL;
}

/* One "NUMBER[.NUMBER] [UNIT]" off the front of *p. */
static int take_time_span(const char **p, uint64_t *ret) {
        const char *number = *p, *fraction = NULL, *unit, *end;
        const uint64_t *factor;
        uint64_t usec = 0;

        end = number + strspn(number, "0123456789");
        if (end == number)
                return -EINVAL;

        if (*end == '.') {
                fraction = end + 1;
                end = fraction + strspn(fraction, "0123456789");
                if (end == fraction)
                        return -EINVAL;
        }

        unit = end + strspn(end, SYNTAX_BLANKS);
        end = unit + strcspn(unit, SYNTAX_BLANKS "0123456789.");
        factor = find_time_unit(unit, (size_t) (end - unit));
        if (!factor)
                return -EINVAL;

        for (; g_ascii_isdigit(*number); number++)
                if (__builtin_mul_overflow(usec, 10, &usec) ||
                                __builtin_add_overflow(usec, (uint64_t) (*number - '0'), &usec))
                        return -ERANGE;

        if (__builtin_mul_overflow(usec, *factor, &usec))
                return -ERANGE;

        if (fraction)
                for (uint64_t m = *factor / 10; m > 0 && g_ascii_isdigit(*fraction); fraction++, m /= 10)
                        if (__builtin_add_overflow(usec, m * (uint64_t) (*fraction - '0'), &usec))
                                return -ERANGE;

        *p = end;
        *ret = usec;
        return 0;
}

int parse_timespan(const char *text, uint64_t *ret_usec) {
        uint64_t total = 0;
        int r;

        g_assert(text);
        g_assert(ret_usec);

        text += strspn(text, SYNTAX_BLANKS);
        if (!*text)
                return -EINVAL;

        if (g_str_has_prefix(text, "infinity") &&
                        !text[strlen("infinity") + strspn(text + strlen("infinity"), SYNTAX_BLANKS)]) {
                *ret_usec = USEC_INFINITY;
                return 0;
        }

        while (*text) {
                uint64_t usec;

                r = take_time_span(&text, &usec);
                if (r < 0)
                        return r;

                if (__builtin_add_overflow(total, usec, &total) || total == USEC_INFINITY)
                        return -ERANGE;

                text += strspn(text, SYNTAX_BLANKS);
        }

        *ret_usec = total;
        return 0;
}

/* For messages: in the largest unit that it's a whole number of. */
static char *format_timespan(uint64_t usec) {
        static const struct {
                const char *name;
                uint64_t usec;
        } units[] = {
                { "h", USEC_PER_HOUR },
                { "min", USEC_PER_MIN },
                { "s", USEC_PER_SEC },
                { "ms", USEC_PER_MSEC },
        };

        if (usec == USEC_INFINITY)
                return g_strdup("infinity");

        for (size_t i = 0; i < G_N_ELEMENTS(units); i++)
                if (usec > 0 && usec % units[i].usec == 0)
                        return g_strdup_printf("%" PRIu64 "%s", usec / units[i].usec, units[i].name);

        return g_strdup_printf("%" PRIu64 "%s", usec, usec > 0 ? "us" : "");
}

void policy_parse_timespan(PolicyLoader *loader, const PolicyKey *key, char *value, void *data) {
        g_autofree char *resolved = NULL;
        uint64_t usec;
        int r;

        r = parse_timespan(value, &usec);
        if (r == -EINVAL) {
                policy_warn(loader, key, "write one such as 30, 500ms or \"1min 30s\"",
                                "\"%s\" is no time span", value);
                return;
        }
        if (r < 0 || usec < key->min || usec > key->max) {
                g_autofree char *min = format_timespan(key->min), *max = format_timespan(key->max);
                g_autofree char *hint = g_strdup_printf("from %s to %s", min, max);

                policy_warn(loader, key, hint, "time span \"%s\" is out of range", value);
                return;
        }

        resolved = usec == USEC_INFINITY ? g_strdup("infinity") : g_strdup_printf("%" PRIu64 "us", usec);
        if (policy_record(loader, key, value, resolved))
                *(uint64_t *) data = usec;
}

void policy_parse_unsigned(PolicyLoader *loader, const PolicyKey *key, char *value, void *data) {
        uint64_t n;

        if (parse_number(value, key->max, &n) < 0 || n < key->min) {
                g_autofree char *hint = g_strdup_printf("from %" PRIu64 " to %" PRIu64, key->min, key->max);

                policy_warn(loader, key, hint, "\"%s\" is no number in range", value);
                return;
        }

        if (policy_record(loader, key, value, NULL))
                *(unsigned *) data = (unsigned) n;
}

void policy_parse_bool(PolicyLoader *loader, const PolicyKey *key, char *value, void *data) {
        static const char *const words[][2] = {
                { "no", "yes" },
                { "false", "true" },
                { "off", "on" },
                { "0", "1" },
                { "n", "y" },
                { "f", "t" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
                for (int b = 0; b < 2; b++)
                        if (g_ascii_strcasecmp(value, words[i][b]) == 0) {
                                if (policy_record(loader, key, value, NULL))
                                        *(bool *) data = b;
                                return;
                        }

        policy_warn(loader, key, "write yes or no", "\"%s\" is neither yes nor no", value);
}

bool policy_joins_next_line(const char *word) {
        size_t n = 0, length = strlen(word);

        while (n < length && word[length - 1 - n] == '\\')
                n++;

        return n % 2 == 1;
}

bool policy_strings_equal(const GPtrArray *a, const GPtrArray *b) {
        if (a->len != b->len)
                return false;

        for (guint i = 0; i < a->len; i++)
                if (strcmp(a->pdata[i], b->pdata[i]) != 0)
                        return false;

        return true;
}
