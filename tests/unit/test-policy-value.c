/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <criterion/criterion.h>
#include <errno.h>
#include <glib.h>
#include <stdint.h>

#include "policy/section.h"

#define SEC UINT64_C(1000000)

/* systemd.time(7), "Parsing Time Spans". */
Test(value, time_spans) {
        static const struct {
                const char *text;
                uint64_t usec;
        } spans[] = {
                { "30", 30 * SEC },
                { "0", 0 },
                { "30s", 30 * SEC },
                { " 30 s ", 30 * SEC },
                { "500ms", SEC / 2 },
                { "5min 20s", 320 * SEC },
                { "5min20s", 320 * SEC },
                { "20s 5 min", 320 * SEC },
                { "5 20", 25 * SEC },
                { "2h", 7200 * SEC },
                { "48hr", 2 * 86400 * SEC },
                { "1.5h", 5400 * SEC },
                { "0.25", SEC / 4 },
                { "1.0000001s", SEC },
                { "12us", 12 },
                { "12µs", 12 },
                { "12μs", 12 },
                { "12 usec", 12 },
                { "1week 1d", 8 * 86400 * SEC },
                { "1m", 60 * SEC },
                { "12M", UINT64_C(31557600) * SEC },
                { "1y", UINT64_C(31557600) * SEC },
                { "2 seconds 1 minute 1 hours", 3662 * SEC },
                { "infinity", UINT64_MAX },
                { " infinity ", UINT64_MAX },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(spans); i++) {
                uint64_t usec = 42;

                cr_expect_eq(parse_timespan(spans[i].text, &usec), 0, "\"%s\"", spans[i].text);
                cr_expect_eq(usec, spans[i].usec, "\"%s\" is %" G_GUINT64_FORMAT, spans[i].text, usec);
        }
}

Test(value, no_time_spans) {
        static const char *const texts[] = { "", " ", "s", "-1", "+1", "1 parsec", "1.", ".5", "1.5.5", "1S",
                "infinitys", "1 infinity", "0x10", "1,5", "1s\xc2", "1e3" };
        uint64_t usec;

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
                cr_expect_eq(parse_timespan(texts[i], &usec), -EINVAL, "\"%s\"", texts[i]);
}

Test(value, time_spans_that_are_too_long) {
        static const char *const texts[] = { "18446744073709551616us", "99999999999999999999", "584543y",
                "18446744073709551615us", "18446744073709551614us 2us", "584542y 1y",
                "18446744073709551614.9us 1us" };
        uint64_t usec;

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
                cr_expect_eq(parse_timespan(texts[i], &usec), -ERANGE, "\"%s\"", texts[i]);

        cr_expect_eq(parse_timespan("18446744073709551614us", &usec), 0);
        cr_expect_eq(usec, UINT64_MAX - 1);
}

Test(value, numbers) {
        uint64_t n = 42;

        cr_expect_eq(parse_number("", 10, &n), -EINVAL);
        cr_expect_eq(parse_number("-1", 10, &n), -EINVAL);
        cr_expect_eq(parse_number("+1", 10, &n), -EINVAL);
        cr_expect_eq(parse_number(" 1", 10, &n), -EINVAL);
        cr_expect_eq(parse_number("1a", 10, &n), -EINVAL);
        cr_expect_eq(parse_number("99999999999999999999a", 10, &n), -EINVAL);
        cr_expect_eq(parse_number("11", 10, &n), -ERANGE);
        cr_expect_eq(parse_number("18446744073709551616", UINT64_MAX, &n), -ERANGE);
        cr_expect_eq(n, 42);

        cr_expect_eq(parse_number("0010", 10, &n), 0);
        cr_expect_eq(n, 10);
        cr_expect_eq(parse_number("18446744073709551615", UINT64_MAX, &n), 0);
        cr_expect_eq(n, UINT64_MAX);
}
