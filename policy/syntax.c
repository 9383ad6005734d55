/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Text is cut into physical lines; those that end in an odd number of backslashes are joined with what
 * follows into one logical line; a logical line is a header, an assignment or a mistake. Comments are
 * recognised per physical line, hence also in the middle of a continued one. */

#include <errno.h>
#include <glib.h>
#include <stdbool.h>
#include <string.h>
#include <syslog.h>

#include "policy/syntax.h"

#define BYTE_ORDER_MARK "\xef\xbb\xbf"

typedef struct Parser {
        const SyntaxHandler *handler;
        void *userdata;
        GString *logical;    /* the logical line so far */
        unsigned first_line; /* where it began; 0: there's none */
        bool in_section;
} Parser;

static int broken(Parser *p, unsigned line, const char *message, const char *hint) {
        p->handler->problem(LOG_ERR, line, message, hint, p->userdata);
        return -EBADMSG;
}

static int parse_header(Parser *p, char *text, size_t length) {
        if (length < 2 || text[length - 1] != ']')
                return broken(p, p->first_line, "section header without closing bracket",
                                "write \"[Section]\" on a line of its own");

        text[length - 1] = 0;

        for (const char *c = text + 1; *c; c++)
                if (g_ascii_iscntrl(*c) || strchr("[]\"'\\", *c))
                        return broken(p, p->first_line,
                                        "character in section header that no section name has", NULL);

        p->in_section = true;
        p->handler->section(text + 1, p->first_line, p->userdata);
        return 0;
}

static int parse_assignment(Parser *p, char *text) {
        char *equals;

        equals = strchr(text, '=');
        if (!equals || equals == text) {
                p->handler->problem(LOG_WARNING, p->first_line,
                                equals ? "missing key before \"=\", line skipped"
                                       : "missing \"=\", line skipped",
                                "an assignment is \"Key=value\"", p->userdata);
                return 0;
        }

        if (!p->in_section) {
                p->handler->problem(LOG_WARNING, p->first_line, "assignment outside of a section, skipped",
                                "write a header such as \"[Intercept]\" above it", p->userdata);
                return 0;
        }

        for (char *end = equals; end > text && strchr(SYNTAX_BLANKS, end[-1]);)
                *--end = 0;
        *equals++ = 0;
        equals += strspn(equals, SYNTAX_BLANKS);

        p->handler->assignment(text, equals, p->first_line, p->userdata);
        return 0;
}

/* One logical line, in p->logical. */
static int parse_line(Parser *p) {
        char *text = p->logical->str;
        size_t length = p->logical->len;

        /* NUL isn't valid here either. */
        if (!g_utf8_validate(text, (gssize) length, NULL))
                return broken(p, p->first_line, "line isn't valid UTF-8", "save the file as UTF-8");

        while (length > 0 && strchr(SYNTAX_BLANKS, text[length - 1]))
                length--;
        text[length] = 0;

        if (length == 0)
                return 0;

        return text[0] == '[' ? parse_header(p, text, length) : parse_assignment(p, text);
}

static int finish_line(Parser *p) {
        int r;

        r = parse_line(p);
        g_string_truncate(p->logical, 0);
        p->first_line = 0;
        return r;
}

static bool is_continued(const char *text, size_t length) {
        size_t n = 0;

        while (n < length && text[length - 1 - n] == '\\')
                n++;

        return n % 2 == 1;
}

/* One physical line, without its newline. */
static int add_line(Parser *p, const char *text, size_t length, unsigned line) {
        bool continued;

        if (length > 0 && text[length - 1] == '\r')
                length--;

        while (length > 0 && (*text == ' ' || *text == '\t' || *text == '\r')) {
                text++;
                length--;
        }

        if (length > 0 && (*text == '#' || *text == ';'))
                return 0;

        if (p->first_line == 0)
                p->first_line = line;

        if (p->logical->len + length > SYNTAX_LINE_MAX)
                return broken(p, p->first_line, "line is longer than 1 MiB", "use several assignments");

        continued = is_continued(text, length);
        g_string_append_len(p->logical, text, (gssize) (continued ? length - 1 : length));
        if (continued) {
                g_string_append_c(p->logical, ' ');
                return 0;
        }

        return finish_line(p);
}

int syntax_parse(const char *text, size_t size, const SyntaxHandler *handler, void *userdata) {
        Parser p = { .handler = handler, .userdata = userdata };
        unsigned line = 0;
        int r = 0;

        g_assert(text || size == 0);
        g_assert(handler);

        if (size >= strlen(BYTE_ORDER_MARK) && memcmp(text, BYTE_ORDER_MARK, strlen(BYTE_ORDER_MARK)) == 0) {
                text += strlen(BYTE_ORDER_MARK);
                size -= strlen(BYTE_ORDER_MARK);
        }

        p.logical = g_string_sized_new(256);

        while (size > 0 && r >= 0) {
                const char *newline = memchr(text, '\n', size);
                size_t length = newline ? (size_t) (newline - text) : size;

                r = add_line(&p, text, length, ++line);

                length += newline ? 1 : 0;
                text += length;
                size -= length;
        }

        /* The file ends in a backslash: what's there counts. */
        if (r >= 0 && p.first_line > 0)
                r = finish_line(&p);

        g_string_free(p.logical, TRUE);
        return r;
}

char *syntax_next_word(char **p) {
        char *word;

        g_assert(p);

        word = *p + strspn(*p, SYNTAX_BLANKS);
        *p = word + strcspn(word, SYNTAX_BLANKS);
        if (*p == word)
                return NULL;

        if (**p)
                *(*p)++ = 0;

        return word;
}

char *syntax_printable(const char *text, size_t max) {
        GString *printable;

        g_assert(text);

        printable = g_string_new(NULL);

        for (const char *p = text; *p;) {
                gunichar c = g_utf8_get_char_validated(p, -1);
                bool valid = c != (gunichar) -1 && c != (gunichar) -2;

                if (printable->len >= max) {
                        g_string_append(printable, "…");
                        break;
                }

                if (valid && g_unichar_isprint(c))
                        g_string_append_unichar(printable, c);
                else
                        g_string_append_c(printable, '?');

                p = valid ? g_utf8_next_char(p) : p + 1;
        }

        return g_string_free(printable, FALSE);
}
