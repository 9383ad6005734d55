/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* ExecStart= lines: read from a unit's text, compared with what PID 1 made of them, and written again with
 * deputy-run in front.
 *
 * PID 1 is the authority on what a unit runs, but the commands that it shows on D-Bus have their specifiers
 * (%i, %H, %v ...) expanded, and a drop-in made from those would freeze them. So the text is parsed as well,
 * by the rules of systemd.syntax(7) and systemd.service(5), "Command lines"; only if PID 1's command is what
 * the text's could expand to is the text's taken. */

#include <glib.h>
#include <stdbool.h>

typedef enum ExecFlags {
        EXEC_IGNORE_FAILURE = 1 << 0, /* - */
        EXEC_NO_ENV_EXPAND = 1 << 1,  /* : */
        EXEC_PRIVILEGED = 1 << 2,     /* + */
        EXEC_NO_SETUID = 1 << 3,      /* ! */
        EXEC_AMBIENT = 1 << 4,        /* !! */
        EXEC_UNKNOWN = 1 << 5,        /* a flag that this version of deputyctl doesn't know */
} ExecFlags;

typedef struct ExecCommand {
        char *path;
        GPtrArray *argv; /* char *, with argv[0] */
        ExecFlags flags;
        bool specifiers; /* % starts a specifier, %% is a per cent sign; else % is itself */
        char *source;    /* the file that it stands in; NULL: from PID 1 */
} ExecCommand;

void exec_command_free(ExecCommand *command);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ExecCommand, exec_command_free)
GPtrArray *exec_commands_new(void);

/* Reads the ExecStart= lines of [Service] in one file's text and adds their commands; an empty assignment
 * empties the array first. Return: 0, or -EINVAL for a line that can't be understood. */
int exec_commands_from_text(const char *text, const char *source, GPtrArray *commands);

/* Could these commands of the text be those of PID 1? */
bool exec_commands_match(const GPtrArray *text, const GPtrArray *loaded);

/* The basename of the program that runs, seen through deputy-run if it's wrapped. */
bool exec_command_is_program(const ExecCommand *command, const char *name);

/* The index in argv of the program's name: 0, or for a wrapped command what follows deputy-run's "--". */
guint exec_command_program_index(const ExecCommand *command);

/* Is this deputy-run? */
bool exec_command_is_wrapped(const ExecCommand *command);

/* The value of an ExecStart= that runs the command through "deputy_run" (a path). "options" (NULL-terminated,
 * or NULL) are added as the program's first arguments. Return: 0 and a line (free with g_free()), -EOPNOTSUPP
 * if the command has a flag that's unknown here, -ENOTUNIQ if its argv[0] comes from a variable and so can be
 * several words. */
int exec_command_wrap(
                const ExecCommand *command, const char *deputy_run, const char *const *options, char **ret);

/* One word as it's written in an ExecStart= line. "specifiers" as in ExecCommand. Free with g_free(). */
char *exec_word_quote(const char *word, bool specifiers);
