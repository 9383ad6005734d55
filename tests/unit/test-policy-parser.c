/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The syntax alone: what the handler is told, written one event per line as
 *     LINE[section]    LINE key=value    LINE!LEVEL message */

#include <criterion/criterion.h>
#include <errno.h>
#include <glib.h>
#include <string.h>
#include <syslog.h>

#include "policy/syntax.h"

static void on_section(const char *name, unsigned line, void *userdata) {
        g_string_append_printf(userdata, "%u[%s]\n", line, name);
}

static void on_assignment(const char *key, const char *value, unsigned line, void *userdata) {
        g_string_append_printf(userdata, "%u %s=%s\n", line, key, value);
}

static void on_problem(int level, unsigned line, const char *message, const char *hint, void *userdata) {
        g_string_append_printf(userdata, "%u!%i %s\n", line, level, message);
}

static const SyntaxHandler handler = { on_section, on_assignment, on_problem };

static char *parse(const char *text, size_t size, int *ret_r) {
        GString *events = g_string_new(NULL);

        *ret_r = syntax_parse(text, size, &handler, events);
        return g_string_free(events, FALSE);
}

static void expect_n(const char *text, size_t size, int expected_r, const char *expected) {
        g_autofree char *events = NULL;
        int r;

        events = parse(text, size, &r);
        cr_expect_eq(r, expected_r, "\"%s\" returned %i", text, r);
        cr_expect_str_eq(events, expected, "\"%s\" gave\n%s", text, events);
}

#define expect(text, expected)        expect_n((text), strlen(text), 0, (expected))
#define expect_broken(text, expected) expect_n((text), strlen(text), -EBADMSG, (expected))

Test(parser, nothing) {
        expect("", "");
        expect("\n\n  \n\t\n", "");
        expect_n(NULL, 0, 0, "");
}

Test(parser, sections_and_assignments) {
        expect("[A]\nx=1\ny=2\n[B]\nx=3", "1[A]\n2 x=1\n3 y=2\n4[B]\n5 x=3\n");
}

Test(parser, blanks_are_stripped) {
        expect("  [A]  \n\tx \t=  1 2 \t \n", "1[A]\n2 x=1 2\n");
}

/* Only blank, tab, CR and LF are blanks. */
Test(parser, other_controls_are_text) {
        expect("[A]\nx=\v1\f\n", "1[A]\n2 x=\v1\f\n");
}

Test(parser, value_may_be_empty_or_hold_equals_signs) {
        expect("[A]\nx=\ny = \nz==a=b\n", "1[A]\n2 x=\n3 y=\n4 z==a=b\n");
}

Test(parser, comments) {
        expect("# x\n; y\n  # z\n[A]\n#x=1\n;x=2\n \t;x=3\nx=#4 ;5\n", "4[A]\n8 x=#4 ;5\n");
}

Test(parser, continuation) {
        expect("[A]\nx=1 \\\n  2\\\n3\ny=4\n", "1[A]\n2 x=1  2 3\n5 y=4\n");
}

Test(parser, comments_inside_a_continuation) {
        expect("[A]\nx=1\\\n# no\n  ; nor this \\\n2\n", "1[A]\n2 x=1 2\n");
}

Test(parser, blank_line_ends_a_continuation) {
        expect("[A]\nx=1\\\n\ny=2\n", "1[A]\n2 x=1\n4 y=2\n");
}

Test(parser, continuation_at_the_end_of_the_file) {
        expect("[A]\nx=1\\", "1[A]\n2 x=1\n");
        expect("[A]\nx=1\\\n", "1[A]\n2 x=1\n");
        expect("[A]\nx=1\\\n# end", "1[A]\n2 x=1\n");
        expect("\\", "");
}

/* Two backslashes are one that's escaped; it's up to the value what that means. */
Test(parser, escaped_backslash_continues_nothing) {
        expect("[A]\nx=1\\\\\ny=2\\\\\\\n3\n", "1[A]\n2 x=1\\\\\n3 y=2\\\\ 3\n");
}

Test(parser, backslash_before_blanks_continues_nothing) {
        expect("[A]\nx=1\\ \ny=2\n", "1[A]\n2 x=1\\\n3 y=2\n");
}

Test(parser, a_header_may_be_continued_as_any_line) {
        expect("[A\\\n]\n", "1[A ]\n");
}

Test(parser, carriage_returns) {
        expect("[A]\r\nx=1\\\r\n2\r\n\r\ny=3", "1[A]\n2 x=1 2\n5 y=3\n");
}

Test(parser, byte_order_mark) {
        expect("\xef\xbb\xbf[A]\nx=1", "1[A]\n2 x=1\n");
        expect("\xef\xbb\xbf", "");
        /* In the middle it's a character like others. */
        expect("[A]\n\xef\xbb\xbfx=1", "1[A]\n2 \xef\xbb\xbfx=1\n");
}

Test(parser, unicode) {
        expect("[Ä]\nschlüssel=wert €\n", "1[Ä]\n2 schlüssel=wert €\n");
}

Test(parser, mistakes_cost_their_line) {
        expect("[A]\nfoo\n=1\n = 2\nx=3\n", "1[A]\n2!4 missing \"=\", line skipped\n"
                                            "3!4 missing key before \"=\", line skipped\n"
                                            "4!4 missing key before \"=\", line skipped\n5 x=3\n");
}

Test(parser, assignment_outside_of_a_section) {
        expect("x=1\n[A]\nx=2\n", "1!4 assignment outside of a section, skipped\n2[A]\n3 x=2\n");
}

Test(parser, malformed_header_breaks_the_file) {
        expect_broken("[A]\nx=1\n[B\ny=2\n", "1[A]\n2 x=1\n3!3 section header without closing bracket\n");
        expect_broken("[", "1!3 section header without closing bracket\n");
        expect_broken("[A] # comment", "1!3 section header without closing bracket\n");
        expect_broken("[A]]", "1!3 character in section header that no section name has\n");
        expect_broken("[A\tB]", "1!3 character in section header that no section name has\n");
        expect_broken("[\"A\"]", "1!3 character in section header that no section name has\n");
}

Test(parser, empty_section_name) {
        expect("[]\n", "1[]\n");
}

Test(parser, invalid_utf8_breaks_the_file) {
        expect_broken("[A]\nx=\xff\ny=1", "1[A]\n2!3 line isn't valid UTF-8\n");
        expect_broken("[A]\nx=1\\\n\xc3\n", "1[A]\n2!3 line isn't valid UTF-8\n");
        expect_n("[A]\nx=1\0002\ny=3", 13, -EBADMSG, "1[A]\n2!3 line isn't valid UTF-8\n");
}

/* Nobody can say what a comment's encoding is, and it doesn't matter. */
Test(parser, invalid_utf8_in_a_comment) {
        expect("# caf\xe9\n[A]\n", "2[A]\n");
}

static char *long_text(size_t n, size_t *ret_size) {
        GString *text = g_string_new("[A]\nx=");

        for (size_t i = 2; i < n; i++)
                g_string_append_c(text, 'y');
        g_string_append(text, "\nz=1\n");

        *ret_size = text->len;
        return g_string_free(text, FALSE);
}

Test(parser, longest_line) {
        g_autofree char *text = NULL, *events = NULL;
        size_t size;
        int r;

        text = long_text(SYNTAX_LINE_MAX, &size);
        events = parse(text, size, &r);
        cr_expect_eq(r, 0);
        cr_expect_eq(strlen(events), strlen("1[A]\n2 \n3 z=1\n") + SYNTAX_LINE_MAX);
        cr_expect(g_str_has_suffix(events, "yy\n3 z=1\n"));
}

Test(parser, longer_line) {
        g_autofree char *text = NULL;
        size_t size;

        text = long_text(SYNTAX_LINE_MAX + 1, &size);
        expect_n(text, size, -EBADMSG, "1[A]\n2!3 line is longer than 1 MiB\n");
}

/* The limit holds for what's joined, too. */
Test(parser, longer_line_by_continuation) {
        g_autoptr(GString) text = g_string_new("[A]\nx=\\\n");

        for (size_t i = 0; i < SYNTAX_LINE_MAX / 8; i++)
                g_string_append(text, "1234567\\\n");

        expect_n(text->str, text->len, -EBADMSG, "1[A]\n2!3 line is longer than 1 MiB\n");
}

Test(parser, words) {
        char text[] = "  one two\t\nthree  ", *p = text;

        cr_expect_str_eq(syntax_next_word(&p), "one");
        cr_expect_str_eq(syntax_next_word(&p), "two");
        cr_expect_str_eq(syntax_next_word(&p), "three");
        cr_expect_null(syntax_next_word(&p));
        cr_expect_null(syntax_next_word(&p));
}

Test(parser, printable) {
        g_autofree char *a = syntax_printable("tab\there\x1b[1m, €, \xff.", 100),
                        *b = syntax_printable("0123456789", 4), *c = syntax_printable("", 4);

        cr_expect_str_eq(a, "tab?here?[1m, €, ?.");
        cr_expect_str_eq(b, "0123…");
        cr_expect_str_eq(c, "");
}
