/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fnmatch.h>
#include <string.h>

#include "ctl/exec-line.h"

#define WHITESPACE " \t\n\r"

static bool is_white(char c) {
        return c && strchr(WHITESPACE, c);
}

void exec_command_free(ExecCommand *command) {
        if (!command)
                return;

        g_free(command->path);
        if (command->argv)
                g_ptr_array_unref(command->argv);
        g_free(command->source);
        g_free(command);
}

static void free_element(void *p) {
        exec_command_free(p);
}

GPtrArray *exec_commands_new(void) {
        return g_ptr_array_new_with_free_func(free_element);
}

/* Reads "n" digits of a base. Return: the number, or -EINVAL. */
static int64_t read_digits(const char *p, unsigned n, unsigned base) {
        int64_t value = 0;

        for (unsigned i = 0; i < n; i++) {
                int digit = g_ascii_xdigit_value(p[i]);

                if (digit < 0 || (unsigned) digit >= base)
                        return -EINVAL;
                value = value * base + digit;
        }

        return value;
}

/* Appends what the escape sequence at p (after the backslash) stands for. Return: its length, or -EINVAL. */
static int unescape_one(const char *p, GString *word) {
        static const char from[] = "abfnrtvs\\\"'", to[] = "\a\b\f\n\r\t\v \\\"'";
        const char *q = *p ? strchr(from, *p) : NULL;
        int64_t value;
        unsigned n;

        if (q) {
                g_string_append_c(word, to[q - from]);
                return 1;
        }

        if (*p == 'x' || (*p >= '0' && *p <= '7')) {
                bool octal = *p != 'x';

                value = octal ? read_digits(p, 3, 8) : read_digits(p + 1, 2, 16);
                if (value <= 0 || value > 255)
                        return -EINVAL;

                g_string_append_c(word, value);
                return 3;
        }

        if (*p == 'u' || *p == 'U') {
                n = *p == 'u' ? 4 : 8;
                value = read_digits(p + 1, n, 16);
                if (value <= 0 || !g_unichar_validate(value))
                        return -EINVAL;

                g_string_append_unichar(word, value);
                return 1 + n;
        }

        return -EINVAL;
}

/* Takes one word off a line. Return: 1 and the word, 0 at the end, or -EINVAL. */
static int next_word(const char **line, char **ret) {
        g_autoptr(GString) word = NULL;
        const char *p = *line;
        char quote = 0;

        p += strspn(p, WHITESPACE);
        *line = p;
        if (!*p)
                return 0;

        word = g_string_new(NULL);
        for (; *p; p++)
                if (*p == '\\') {
                        int n = unescape_one(p + 1, word);

                        if (n < 0)
                                return n;
                        p += n;
                } else if (quote && *p == quote)
                        quote = 0;
                else if (!quote && (*p == '"' || *p == '\''))
                        quote = *p;
                else if (!quote && is_white(*p))
                        break;
                else
                        g_string_append_c(word, *p);

        if (quote)
                return -EINVAL;

        *line = p;
        *ret = g_strdup(word->str);
        return 1;
}

/* Reads the prefix characters of the first word. Returns where the path starts. */
static const char *read_prefix(const char *word, ExecFlags *flags, bool *separate_argv0) {
        for (;; word++)
                if (*word == '-')
                        *flags |= EXEC_IGNORE_FAILURE;
                else if (*word == '@')
                        *separate_argv0 = true;
                else if (*word == ':')
                        *flags |= EXEC_NO_ENV_EXPAND;
                else if (*word == '+')
                        *flags |= EXEC_PRIVILEGED;
                else if (*word == '|')
                        *flags |= EXEC_UNKNOWN;
                else if (word[0] == '!' && word[1] == '!') {
                        *flags |= EXEC_AMBIENT;
                        word++;
                } else if (*word == '!')
                        *flags |= EXEC_NO_SETUID;
                else
                        return word;
}

/* Does a word that's nothing but a semicolon (or, "escaped", a backslash and one) start at p? */
static bool at_semicolon(const char *p, bool escaped) {
        if (escaped) {
                if (*p != '\\')
                        return false;
                p++;
        }

        return p[0] == ';' && (!p[1] || is_white(p[1]));
}

/* Takes one command off a line, up to the next ";". */
static int next_command(const char **line, const char *source, GPtrArray *commands) {
        g_autoptr(ExecCommand) command = g_new0(ExecCommand, 1);
        g_autofree char *first = NULL;
        bool separate_argv0 = false;
        const char *path;
        int r;

        r = next_word(line, &first);
        if (r <= 0)
                return r;

        command->argv = g_ptr_array_new_with_free_func(g_free);
        command->specifiers = true;
        command->source = g_strdup(source);
        path = read_prefix(first, &command->flags, &separate_argv0);
        if (!*path)
                return -EINVAL;

        command->path = g_strdup(path);
        if (!separate_argv0)
                g_ptr_array_add(command->argv, g_strdup(path));

        for (;;) {
                char *word;

                *line += strspn(*line, WHITESPACE);
                if (at_semicolon(*line, false)) {
                        (*line)++;
                        break;
                }

                if (at_semicolon(*line, true)) {
                        *line += 2;
                        g_ptr_array_add(command->argv, g_strdup(";"));
                        continue;
                }

                r = next_word(line, &word);
                if (r < 0)
                        return r;
                if (r == 0)
                        break;

                g_ptr_array_add(command->argv, word);
        }

        if (command->argv->len == 0)
                return -EINVAL;

        g_ptr_array_add(commands, g_steal_pointer(&command));
        return 1;
}

static int read_assignment(const char *value, const char *source, GPtrArray *commands) {
        int r;

        if (!*value) {
                g_ptr_array_set_size(commands, 0);
                return 0;
        }

        do
                r = next_command(&value, source, commands);
        while (r > 0);

        return r;
}

/* One logical line, stripped. */
static int read_line(char *line, bool *in_service, const char *source, GPtrArray *commands) {
        char *value;

        if (*line == '[') {
                *in_service = strcmp(line, "[Service]") == 0;
                return 0;
        }

        value = strchr(line, '=');
        if (!value || !*in_service)
                return 0;

        *value++ = 0;
        g_strchomp(line);
        g_strchug(value);
        if (strcmp(line, "ExecStart") != 0)
                return 0;

        return read_assignment(value, source, commands);
}

/* Does the line end in a backslash that no other backslash escapes? */
static bool is_continued(const char *line) {
        size_t n = 0, length = strlen(line);

        while (n < length && line[length - 1 - n] == '\\')
                n++;

        return n % 2 == 1;
}

int exec_commands_from_text(const char *text, const char *source, GPtrArray *commands) {
        g_auto(GStrv) lines = g_strsplit_set(text, "\n\r", -1);
        g_autoptr(GString) logical = g_string_new(NULL);
        bool in_service = false;
        int r;

        for (char **line = lines; *line; line++) {
                const char *l = *line + strspn(*line, WHITESPACE);

                /* Comments are such inside of a continued line, too. */
                if (*l == '#' || *l == ';')
                        continue;

                g_string_append(logical, logical->len > 0 ? *line : l);
                if (is_continued(*line)) {
                        logical->str[logical->len - 1] = ' ';
                        if (line[1])
                                continue;
                }

                g_strstrip(logical->str);
                r = read_line(logical->str, &in_service, source, commands);
                if (r < 0)
                        return r;
                g_string_truncate(logical, 0);
        }

        return 0;
}

/* Could a word with specifiers expand to this one? */
static bool word_matches(const char *text, const char *loaded) {
        g_autoptr(GString) pattern = g_string_new(NULL);

        for (const char *p = text; *p; p++)
                if (p[0] == '%' && p[1] == '%') {
                        g_string_append_c(pattern, '%');
                        p++;
                } else if (p[0] == '%' && g_ascii_isalpha(p[1])) {
                        g_string_append_c(pattern, '*');
                        p++;
                } else {
                        if (strchr("*?[]\\", *p))
                                g_string_append_c(pattern, '\\');
                        g_string_append_c(pattern, *p);
                }

        return fnmatch(pattern->str, loaded, 0) == 0;
}

static bool command_matches(const ExecCommand *text, const ExecCommand *loaded) {
        if (text->flags != loaded->flags || text->argv->len != loaded->argv->len ||
                        !word_matches(text->path, loaded->path))
                return false;

        for (guint i = 0; i < text->argv->len; i++)
                if (!word_matches(text->argv->pdata[i], loaded->argv->pdata[i]))
                        return false;

        return true;
}

bool exec_commands_match(const GPtrArray *text, const GPtrArray *loaded) {
        if (text->len != loaded->len)
                return false;

        for (guint i = 0; i < text->len; i++)
                if (!command_matches(text->pdata[i], loaded->pdata[i]))
                        return false;

        return true;
}

bool exec_command_is_wrapped(const ExecCommand *command) {
        g_autofree char *name = g_path_get_basename(command->path);

        return strcmp(name, "deputy-run") == 0;
}

guint exec_command_program_index(const ExecCommand *command) {
        if (exec_command_is_wrapped(command))
                for (guint i = 1; i + 1 < command->argv->len; i++)
                        if (strcmp(command->argv->pdata[i], "--") == 0)
                                return i + 1;

        return 0;
}

bool exec_command_is_program(const ExecCommand *command, const char *name) {
        guint i = exec_command_program_index(command);
        g_autofree char *base = g_path_get_basename(i > 0 ? command->argv->pdata[i] : command->path);

        return strcmp(base, name) == 0;
}

char *exec_word_quote(const char *word, bool specifiers) {
        static const char plain[] = "!#$%&()*+,-./:<=>?@[]^_`{|}~";
        bool quote = !*word || strcmp(word, ";") == 0;
        GString *quoted = g_string_new(NULL);

        for (const char *p = word; *p; p++) {
                unsigned char c = *p;

                if (c == '\\' || c == '"') {
                        g_string_append_printf(quoted, "\\%c", c);
                        quote = true;
                } else if (c < 0x20 || c == 0x7f) {
                        g_string_append_printf(quoted, "\\x%02x", c);
                        quote = true;
                } else {
                        if (c == '%' && !specifiers)
                                g_string_append_c(quoted, '%');
                        g_string_append_c(quoted, c);
                        if (c < 0x80 && !g_ascii_isalnum(c) && !strchr(plain, c))
                                quote = true;
                }
        }

        if (quote) {
                g_string_prepend_c(quoted, '"');
                g_string_append_c(quoted, '"');
        }

        return g_string_free(quoted, FALSE);
}

static void append_word(GString *line, const char *word, bool specifiers) {
        g_autofree char *quoted = exec_word_quote(word, specifiers);

        if (line->len > 0)
                g_string_append_c(line, ' ');
        g_string_append(line, quoted);
}

/* PID 1 takes the path of a command as it is, but expands variables in its arguments, of which it now becomes
 * one. */
static char *path_as_argument(const ExecCommand *command) {
        g_auto(GStrv) parts = NULL;

        if (command->flags & EXEC_NO_ENV_EXPAND)
                return g_strdup(command->path);

        parts = g_strsplit(command->path, "$", -1);
        return g_strjoinv("$$", parts);
}

static void append_prefix(GString *line, ExecFlags flags) {
        static const struct {
                ExecFlags flag;
                const char *prefix;
        } prefixes[] = {
                { EXEC_IGNORE_FAILURE, "-" },
                { EXEC_NO_ENV_EXPAND, ":" },
                { EXEC_PRIVILEGED, "+" },
                { EXEC_NO_SETUID, "!" },
                { EXEC_AMBIENT, "!!" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(prefixes); i++)
                if (flags & prefixes[i].flag)
                        g_string_append(line, prefixes[i].prefix);
}

int exec_command_wrap(
                const ExecCommand *command, const char *deputy_run, const char *const *options, char **ret) {
        g_autofree char *path = path_as_argument(command), *runner = NULL;
        g_autoptr(GString) line = g_string_new(NULL), prefixed = NULL;
        const char *argv0 = command->argv->pdata[0];

        if (command->flags & EXEC_UNKNOWN)
                return -EOPNOTSUPP;

        if (strcmp(argv0, command->path) != 0) {
                g_autofree char *argument = g_strdup_printf("--argv0=%s", argv0);

                /* A word "$NAME" is split at blanks, which it no longer is behind "--argv0=". */
                if (argv0[0] == '$' && argv0[1] != '{' && argv0[1] != '$' &&
                                !(command->flags & EXEC_NO_ENV_EXPAND))
                        return -ENOTUNIQ;

                append_word(line, argument, command->specifiers);
        }

        append_word(line, "--", true);
        append_word(line, path, command->specifiers);
        for (const char *const *o = options; o && *o; o++)
                append_word(line, *o, false);
        for (guint i = 1; i < command->argv->len; i++)
                append_word(line, command->argv->pdata[i], command->specifiers);

        /* The prefix stands inside of the quotes of the first word, if it has any. */
        prefixed = g_string_new(NULL);
        append_prefix(prefixed, command->flags);
        runner = exec_word_quote(deputy_run, false);
        g_string_append_printf(prefixed, "%s %s", runner, line->str);

        *ret = g_strdup(prefixed->str);
        return 0;
}
