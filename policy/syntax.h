/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The syntax of policy files, systemd.syntax(7): sections, assignments, comments, continued lines. It knows
 * no section and no key; whoever calls it does. It's fed with any bytes, so it never recurses, and what it
 * keeps is bounded by the longest line. */

#include <stddef.h>

/* The longest line, continuations joined; more makes the file broken. */
#define SYNTAX_LINE_MAX (1024u * 1024u)

typedef struct SyntaxHandler {
        /* A section header. "name" has no brackets. */
        void (*section)(const char *name, unsigned line, void *userdata);

        /* "key=value" below a section header; both are stripped of blanks, the key isn't empty. "line" is
         * where the assignment begins. */
        void (*assignment)(const char *key, const char *value, unsigned line, void *userdata);

        /* LOG_WARNING: the line was skipped. LOG_ERR: the file is broken and not read any further. "hint" may
         * be NULL. */
        void (*problem)(int level, unsigned line, const char *message, const char *hint, void *userdata);
} SyntaxHandler;

/* Reads "size" bytes of text. All strings that the handler gets are valid UTF-8, and gone when it returns.
 * Return: 0, or -EBADMSG if the file is broken (the handler was told). */
int syntax_parse(const char *text, size_t size, const SyntaxHandler *handler, void *userdata);

/* The characters that separate and surround words (not the newline's business: lines are cut before). */
#define SYNTAX_BLANKS " \t\r\n"

/* Cuts the next word off *p, in place, and moves *p behind it. Return: the word, or NULL at the end. */
char *syntax_next_word(char **p);

/* "text", cut to a readable length and with all that could upset a terminal or a line replaced by "?", for
 * messages and comments. Free with g_free(). */
char *syntax_printable(const char *text, size_t max);
