/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* ExecStart= lines as "deputyctl enable" reads and writes them. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "ctl/exec-line.h"

static GPtrArray *parse(const char *text) {
        GPtrArray *commands = exec_commands_new();

        cr_assert(eq(int, exec_commands_from_text(text, "test.service", commands), 0), "%s", text);
        return commands;
}

/* argv of a command as one string, with | between the words. */
static char *joined(const ExecCommand *command) {
        GString *text = g_string_new(NULL);

        for (guint i = 0; i < command->argv->len; i++)
                g_string_append_printf(text, "%s%s", i > 0 ? "|" : "", (char *) command->argv->pdata[i]);

        return g_string_free(text, FALSE);
}

static void assert_argv(const char *value, const char *argv) {
        g_autofree char *text = g_strdup_printf("[Service]\nExecStart=%s\n", value), *got = NULL;
        g_autoptr(GPtrArray) commands = parse(text);

        cr_assert(eq(uint, commands->len, 1), "%s", value);
        got = joined(commands->pdata[0]);
        cr_assert(eq(str, got, (char *) argv));
}

static char *wrap(const char *value) {
        g_autofree char *text = g_strdup_printf("[Service]\nExecStart=%s\n", value);
        g_autoptr(GPtrArray) commands = parse(text);
        char *line;

        cr_assert(eq(uint, commands->len, 1));
        cr_assert(eq(int, exec_command_wrap(commands->pdata[0], "/usr/bin/deputy-run", NULL, &line), 0));
        return line;
}

static void assert_wrapped(const char *value, const char *expected) {
        g_autofree char *line = wrap(value);

        cr_assert(eq(str, line, (char *) expected));
}

Test(exec_line, words) {
        assert_argv("/bin/a b c", "/bin/a|b|c");
        assert_argv("/bin/a \"b c\" 'd e' f\"g h\"i \"\"", "/bin/a|b c|d e|fg hi|");
        assert_argv("/bin/a b\\x20c \\101 \\u00e9 \"d\\\"e\" 'f\\'g' \\\\", "/bin/a|b c|A|é|d\"e|f'g|\\");
        assert_argv("/bin/a \\; ';'", "/bin/a|;|;");
        assert_argv("@/bin/a name b", "name|b");
        assert_argv("-@:/bin/a name b", "name|b");
}

Test(exec_line, what_cannot_be_understood) {
        static const char *const broken[] = { "/bin/a \"b", "/bin/a 'b", "/bin/a \\q", "/bin/a \\x0", "-",
                "@/bin/a" };

        for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
                g_autofree char *text = g_strdup_printf("[Service]\nExecStart=%s\n", broken[i]);
                g_autoptr(GPtrArray) commands = exec_commands_new();

                cr_assert(eq(int, exec_commands_from_text(text, "x", commands), -EINVAL), "%s", broken[i]);
        }
}

Test(exec_line, files) {
        g_autoptr(GPtrArray) commands = parse("ExecStart=/bin/outside\n"
                                              "[Unit]\nExecStart=/bin/unit\n"
                                              "[Service]\n"
                                              "ExecStart=/bin/gone\n"
                                              "ExecStart=\n"
                                              "# ExecStart=/bin/comment\n"
                                              " ExecStart = /bin/one \\\n"
                                              "# between\n"
                                              "  two ; /bin/three\n"
                                              "ExecStartPre=/bin/pre\n"
                                              "ExecStart=/bin/last \\\\\n"
                                              "[Install]\nExecStart=/bin/install\n");
        g_autofree char *first = NULL, *second = NULL, *third = NULL;

        cr_assert(eq(uint, commands->len, 3));
        first = joined(commands->pdata[0]);
        second = joined(commands->pdata[1]);
        third = joined(commands->pdata[2]);
        cr_assert(eq(str, first, "/bin/one|two"));
        cr_assert(eq(str, second, "/bin/three"));
        cr_assert(eq(str, third, "/bin/last|\\"));
}

Test(exec_line, flags) {
        g_autoptr(GPtrArray) commands =
                        parse("[Service]\nExecStart=-:!!/bin/a\nExecStart=+/bin/a\nExecStart=!/bin/a\n"
                              "ExecStart=|/bin/a\n");
        const ExecCommand *const *c = (const ExecCommand *const *) commands->pdata;
        char *line;

        cr_assert(eq(int, c[0]->flags, EXEC_IGNORE_FAILURE | EXEC_NO_ENV_EXPAND | EXEC_AMBIENT));
        cr_assert(eq(int, c[1]->flags, EXEC_PRIVILEGED));
        cr_assert(eq(int, c[2]->flags, EXEC_NO_SETUID));
        cr_assert(eq(int, exec_command_wrap(c[3], "/d", NULL, &line), -EOPNOTSUPP));
}

Test(exec_line, wrapping) {
        assert_wrapped("/bin/a b", "/usr/bin/deputy-run -- /bin/a b");
        assert_wrapped("systemd-nspawn -U --machine=%i",
                        "/usr/bin/deputy-run -- systemd-nspawn -U --machine=%i");
        assert_wrapped("-/bin/a", "-/usr/bin/deputy-run -- /bin/a");
        assert_wrapped("!!:/bin/a", ":!!/usr/bin/deputy-run -- /bin/a");
        assert_wrapped("@/bin/a \"the name\" b", "/usr/bin/deputy-run \"--argv0=the name\" -- /bin/a b");
        assert_wrapped("@/bin/a /bin/a b", "/usr/bin/deputy-run -- /bin/a b");
        assert_wrapped("/bin/a \"b c\" '' ';' x\\ty",
                        "/usr/bin/deputy-run -- /bin/a \"b c\" \"\" \";\" \"x\\x09y\"");
        assert_wrapped("/bin/a 100%% %i $VAR ${VAR} $$",
                        "/usr/bin/deputy-run -- /bin/a 100%% %i $VAR ${VAR} $$");
        /* A path isn't expanded by PID 1, an argument is. */
        assert_wrapped("/bin/a$b c", "/usr/bin/deputy-run -- /bin/a$$b c");
        assert_wrapped(":/bin/a$b c", ":/usr/bin/deputy-run -- /bin/a$b c");
        /* Is an argument of the command, not of ours. */
        assert_wrapped("/bin/a -- -x", "/usr/bin/deputy-run -- /bin/a -- -x");
}

Test(exec_line, argv0_from_a_variable) {
        g_autoptr(GPtrArray) commands =
                        parse("[Service]\nExecStart=@/bin/a $NAME\nExecStart=@/bin/a ${NAME}\n");
        g_autofree char *line = NULL;

        cr_assert(eq(int, exec_command_wrap(commands->pdata[0], "/d", NULL, &line), -ENOTUNIQ));
        cr_assert(eq(int, exec_command_wrap(commands->pdata[1], "/d", NULL, &line), 0));
        cr_assert(eq(str, line, "/d --argv0=${NAME} -- /bin/a"));
}

Test(exec_line, an_option_comes_first) {
        g_autoptr(GPtrArray) commands = parse("[Service]\nExecStart=systemd-nspawn -U\n");
        g_autofree char *line = NULL;

        cr_assert(eq(int,
                        exec_command_wrap(commands->pdata[0], "/d",
                                        (const char *const[]){ "--capability=CAP_SYS_MODULE",
                                                        "--system-call-filter=bpf @module", NULL },
                                        &line),
                        0));
        cr_assert(eq(str, line,
                        "/d -- systemd-nspawn --capability=CAP_SYS_MODULE \"--system-call-filter=bpf "
                        "@module\" -U"));
}

/* What's written is read back as the same words, whatever is in them. */
Test(exec_line, quoting_is_reversible) {
        static const char *const words[] = { "", ";", "a b", "\"", "'", "\\", "\\;", "\n\t\r", "a\\",
                "é\x01\x7f", "#", "=x", "-", "@a", "%", "%%i", "$A", "a;b", " " };

        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
                g_autofree char *quoted = exec_word_quote(words[i], true);
                g_autofree char *text = g_strdup_printf("[Service]\nExecStart=/bin/a %s z\n", quoted);
                g_autoptr(GPtrArray) commands = parse(text);
                const ExecCommand *command = commands->pdata[0];

                cr_assert(eq(uint, command->argv->len, 3), "%s", quoted);
                cr_assert(eq(str, command->argv->pdata[1], (char *) words[i]));
        }
}

Test(exec_line, per_cent_signs_of_pid1_are_doubled) {
        g_autofree char *literal = exec_word_quote("100%", false), *specifier = exec_word_quote("%i", true);

        cr_assert(eq(str, literal, "100%%"));
        cr_assert(eq(str, specifier, "%i"));
}

Test(exec_line, matching) {
        g_autoptr(GPtrArray) text = parse("[Service]\nExecStart=/bin/a --x=%i/[y]* 5%%\n");
        g_autoptr(GPtrArray) same = parse("[Service]\nExecStart=/bin/a --x=demo/[y]* 5%\n");
        g_autoptr(GPtrArray) other = parse("[Service]\nExecStart=/bin/a --x=demo/yy 5%\n");
        g_autoptr(GPtrArray) longer = parse("[Service]\nExecStart=/bin/a --x=demo/[y]* 5% z\n");
        g_autoptr(GPtrArray) flagged = parse("[Service]\nExecStart=-/bin/a --x=demo/[y]* 5%\n");

        cr_assert(exec_commands_match(text, same));
        cr_assert(not(exec_commands_match(text, other)));
        cr_assert(not(exec_commands_match(text, longer)));
        cr_assert(not(exec_commands_match(text, flagged)));
}

Test(exec_line, programs) {
        g_autoptr(GPtrArray) commands =
                        parse("[Service]\nExecStart=/usr/bin/deputy-run --argv0=x -- systemd-nspawn -U\n"
                              "ExecStart=/usr/bin/systemd-nspawn -U\n");

        cr_assert(exec_command_is_wrapped(commands->pdata[0]));
        cr_assert(exec_command_is_program(commands->pdata[0], "systemd-nspawn"));
        cr_assert(eq(uint, exec_command_program_index(commands->pdata[0]), 3));
        cr_assert(not(exec_command_is_wrapped(commands->pdata[1])));
        cr_assert(exec_command_is_program(commands->pdata[1], "systemd-nspawn"));
}
