/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What systemd-nspawn is told, on its command line and in the settings file of its container, and what of
 * that stands between the container and its policy. */

#include <string.h>

#include "basic/log.h"
#include "ctl/findings.h"

/* Calls that nspawn denies by itself, and the group by which its --system-call-filter= lets them through as
 * well as by their names. */
static const struct {
        CallId call;
        const char *group; /* may be NULL */
} nspawn_denied[] = {
        { CALL_BPF, NULL },
        { CALL_INIT_MODULE, "@module" },
        { CALL_FINIT_MODULE, "@module" },
};

/* Capabilities that lending asks callers for, in their user namespace, and that nspawn takes from containers.
 * There they're no privilege by themselves. */
static const struct {
        CallSet calls;
        const char *capability;
        bool opens_filter; /* nspawn's filter lets the calls through if it's kept */
        bool for_tokens;   /* the kernel asks for it when a BPF token is made */
} nspawn_dropped[] = {
        { CALL_BIT(CALL_INIT_MODULE) | CALL_BIT(CALL_FINIT_MODULE), "CAP_SYS_MODULE", true, false },
        { 0, "CAP_BPF", false, true },
};

char **nspawn_options(CallSet calls, bool tokens) {
        g_autoptr(GString) names = g_string_new(NULL), capabilities = g_string_new(NULL);
        g_autoptr(GPtrArray) options = g_ptr_array_new();

        for (size_t i = 0; i < G_N_ELEMENTS(nspawn_dropped); i++)
                if ((nspawn_dropped[i].calls & calls) || (nspawn_dropped[i].for_tokens && tokens))
                        g_string_append_printf(capabilities, "%s%s", capabilities->len > 0 ? "," : "",
                                        nspawn_dropped[i].capability);
        for (size_t i = 0; i < G_N_ELEMENTS(nspawn_denied); i++)
                if (call_set_contains(calls, nspawn_denied[i].call))
                        g_string_append_printf(names, "%s%s", names->len > 0 ? " " : "",
                                        call_to_string(nspawn_denied[i].call));

        if (capabilities->len > 0)
                g_ptr_array_add(options, g_strdup_printf("--capability=%s", capabilities->str));
        if (names->len > 0)
                g_ptr_array_add(options, g_strdup_printf("--system-call-filter=%s", names->str));
        g_ptr_array_add(options, NULL);
        return (char **) g_ptr_array_free(g_steal_pointer(&options), FALSE);
}
/* The value of an argument "LONG=VALUE", "LONG VALUE", "-S VALUE" or "-SVALUE", or NULL if it isn't this
 * option. */
static const char *option_value(const char *argument, const char *next, const char *name, char letter) {
        if (g_str_has_prefix(argument, name)) {
                if (argument[strlen(name)] == '=')
                        return argument + strlen(name) + 1;
                return argument[strlen(name)] ? NULL : next;
        }

        if (letter && argument[0] == '-' && argument[1] == letter)
                return argument[2] ? argument + 2 : next;

        return NULL;
}

/* All values of an option in a command line of nspawn, the last one last. An option whose value may be left
 * out takes none from the next word: those are asked for without "takes_next". */
static GPtrArray *nspawn_values(const ExecCommand *command, const char *name, char letter, bool takes_next) {
        GPtrArray *values = g_ptr_array_new();

        for (guint i = exec_command_program_index(command) + 1; i < command->argv->len; i++) {
                const char *a = command->argv->pdata[i], *value;

                if (strcmp(a, "--") == 0)
                        break;

                value = option_value(a,
                                takes_next && i + 1 < command->argv->len ? command->argv->pdata[i + 1] : NULL,
                                name, letter);
                if (value)
                        g_ptr_array_add(values, (char *) (uintptr_t) value);
        }

        return values;
}

static const char *nspawn_value(const ExecCommand *command, const char *name, char letter, bool takes_next) {
        g_autoptr(GPtrArray) values = nspawn_values(command, name, letter, takes_next);

        return values->len > 0 ? values->pdata[values->len - 1] : NULL;
}

/* Those of an option that adds up, as words: "CAP_A,CAP_B" are two. */
static char **nspawn_words(const ExecCommand *command, const char *name) {
        g_autoptr(GPtrArray) values = nspawn_values(command, name, 0, true);
        g_autofree char *all = NULL;

        g_ptr_array_add(values, NULL);
        all = g_strjoinv(" ", (char **) values->pdata);
        return g_strsplit_set(all, " \t,", -1);
}

/* Is there an option without a value, by its long name or by its letter, which may stand among others? */
static bool nspawn_has_flag(const ExecCommand *command, const char *name, char letter) {
        for (guint i = exec_command_program_index(command) + 1; i < command->argv->len; i++) {
                const char *a = command->argv->pdata[i];

                if (strcmp(a, "--") == 0)
                        break;
                if (name && strcmp(a, name) == 0)
                        return true;
                if (!letter || a[0] != '-' || a[1] == '-')
                        continue;

                /* Behind these letters comes a value. */
                for (a++; *a && !strchr("DELMSZipu", *a); a++)
                        if (*a == letter)
                                return true;
        }

        return false;
}

/* The settings file that nspawn trusts, as text: the first of /etc and /run. */
static char *nspawn_settings_file(const char *machine, char **ret_path) {
        static const char *const directories[] = { "/etc/systemd/nspawn", "/run/systemd/nspawn" };

        for (size_t i = 0; machine && i < G_N_ELEMENTS(directories); i++) {
                g_autofree char *path = g_strdup_printf("%s/%s.nspawn", directories[i], machine);
                char *text;

                if (!strchr(machine, '/') && g_file_get_contents(path, &text, NULL, NULL)) {
                        *ret_path = g_steal_pointer(&path);
                        return text;
                }
        }

        return NULL;
}

/* The last value of a key anywhere in a settings file, or NULL; the keys asked for are unambiguous. */
static char *settings_file_value(const char *text, const char *key) {
        g_auto(GStrv) lines = g_strsplit(text ?: "", "\n", -1);
        char *value = NULL;

        for (char **l = lines; *l; l++) {
                char *equals;

                g_strstrip(*l);
                equals = strchr(*l, '=');
                if (!equals || **l == '#' || **l == ';')
                        continue;

                *equals = 0;
                if (strcmp(g_strchomp(*l), key) == 0) {
                        g_free(value);
                        value = g_strdup(g_strchug(equals + 1));
                }
        }

        return value;
}

static bool is_no(const char *value) {
        static const char *const no[] = { "no", "off", "false", "0", "n", "f", NULL };

        return value && g_strv_contains(no, value);
}

/* The command line beats the settings file, if it says anything, unless it says that the file does. */
static bool file_comes_first(const ExecCommand *command) {
        return g_strcmp0(nspawn_value(command, "--settings", 0, true), "override") == 0;
}

/* "file_users": PrivateUsers= of its settings file; may be NULL. */
static bool has_private_users(const ExecCommand *command, const char *file_users) {
        const char *private_users = nspawn_value(command, "--private-users", 0, false);
        bool flag = nspawn_has_flag(command, "--private-users", 'U');

        if (file_users && (file_comes_first(command) || (!private_users && !flag)))
                return !is_no(file_users);

        return private_users ? !is_no(private_users) : flag;
}

/* What names the settings file. Return: a new string, or NULL. */
static char *nspawn_machine(const ExecCommand *command) {
        const char *machine = nspawn_value(command, "--machine", 'M', true);
        const char *directory = nspawn_value(command, "--directory", 'D', true);
        const char *image = nspawn_value(command, "--image", 'i', true);
        char *name;

        if (machine)
                return g_strdup(machine);
        if (!directory && !image)
                return NULL;

        name = g_path_get_basename(directory ?: image);
        if (!directory && g_str_has_suffix(name, ".raw"))
                name[strlen(name) - strlen(".raw")] = 0;
        return name;
}

bool nspawn_has_private_users(const ExecCommand *command) {
        g_autofree char *machine = nspawn_machine(command), *path = NULL, *file_users = NULL;
        g_autofree char *text = nspawn_settings_file(machine, &path);

        file_users = settings_file_value(text, "PrivateUsers");
        return has_private_users(command, file_users);
}

static bool words_contain(char **words, const char *word) {
        return g_strv_contains((const char *const *) words, word);
}

/* Which capabilities lending asks for, and the container hasn't? */
static CallSet check_nspawn_capabilities(GPtrArray *findings, const UnitSettings *settings,
                const ExecCommand *command, const char *path, const char *text, CallSet calls, bool tokens) {
        g_auto(GStrv) kept = nspawn_words(command, "--capability");
        g_auto(GStrv) dropped = nspawn_words(command, "--drop-capability");
        g_autofree char *file_kept = settings_file_value(text, "Capability");
        g_autofree char *file_dropped = settings_file_value(text, "DropCapability");
        g_auto(GStrv) kept_in_file = g_strsplit_set(file_kept ?: "", " \t,", -1);
        g_auto(GStrv) dropped_in_file = g_strsplit_set(file_dropped ?: "", " \t,", -1);
        CallSet opened = 0;

        for (size_t i = 0; i < G_N_ELEMENTS(nspawn_dropped); i++) {
                const char *capability = nspawn_dropped[i].capability;
                bool is_dropped = words_contain(dropped, capability) ||
                                  words_contain(dropped_in_file, capability);
                bool is_kept = words_contain(kept, capability) || words_contain(kept, "all") ||
                               words_contain(kept_in_file, capability) || words_contain(kept_in_file, "all");

                if (!(nspawn_dropped[i].calls & calls) && !(nspawn_dropped[i].for_tokens && tokens))
                        continue;
                if (is_kept && !is_dropped) {
                        opened |= nspawn_dropped[i].opens_filter ? nspawn_dropped[i].calls : 0;
                        continue;
                }

                findings_add(findings, LOG_WARNING, is_dropped && path ? path : settings->id,
                                g_strdup_printf("the container has no %s, so it's lent nothing that asks for "
                                                "it",
                                                capability),
                                is_dropped ? NULL
                                           : g_strdup_printf("deputyctl enable '%s' adds --capability=%s, "
                                                             "which "
                                                             "is no privilege by itself in a user namespace",
                                                             settings->id, capability));
        }

        return opened;
}

/* Which of the calls does a list of nspawn's not let through? Blank-separated, or NULL. */
static char *nspawn_filter_lacks(char **filter, CallSet calls) {
        g_autoptr(GString) lacking = g_string_new(NULL);

        for (size_t i = 0; i < G_N_ELEMENTS(nspawn_denied); i++) {
                const char *name = call_to_string(nspawn_denied[i].call), *group = nspawn_denied[i].group;

                if (call_set_contains(calls, nspawn_denied[i].call) && !words_contain(filter, name) &&
                                !words_contain(filter, "@known") && !(group && words_contain(filter, group)))
                        g_string_append_printf(lacking, "%s%s", lacking->len > 0 ? " " : "", name);
        }

        return lacking->len > 0 ? g_strdup(lacking->str) : NULL;
}

/* "--rlimit=RLIMIT_MEMLOCK=…": its value, or NULL. */
static const char *nspawn_memlock(const ExecCommand *command) {
        static const char *const names[] = { "RLIMIT_MEMLOCK=", "LimitMEMLOCK=", "MEMLOCK=" };
        g_autoptr(GPtrArray) values = nspawn_values(command, "--rlimit", 0, true);

        for (guint i = values->len; i > 0; i--)
                for (size_t k = 0; k < G_N_ELEMENTS(names); k++)
                        if (g_str_has_prefix(values->pdata[i - 1], names[k]))
                                return (const char *) values->pdata[i - 1] + strlen(names[k]);

        return NULL;
}

/* crun before 1.14 raises RLIMIT_MEMLOCK to infinity before it loads device rules. Where it can't, it goes on
 * without them, and without a word. The container's limits are what nspawn sets: the kernel's defaults unless
 * it's told others, and never more than it has itself. So it takes both, the unit's setting and nspawn's. */
static void check_nspawn_memlock(GPtrArray *findings, const UnitSettings *settings,
                const ExecCommand *command, const char *text, const Policy *policy) {
        g_autofree char *in_file = settings_file_value(text, "LimitMEMLOCK");
        const char *argument = nspawn_memlock(command),
                   *value = in_file && (!argument || file_comes_first(command)) ? in_file : argument;
        bool unit = settings->limit_memlock == UINT64_MAX,
             nspawn = value && g_str_has_suffix(value, "infinity"); /* or "SOFT:infinity" */

        if (!(policy->bpf.programs & POLICY_BPF_CGROUP_DEVICE) || (unit && nspawn))
                return;

        if (nspawn)
                findings_add(findings, LOG_WARNING, settings->id,
                                g_strdup("nspawn can't give its container an RLIMIT_MEMLOCK of infinity: the "
                                         "unit hasn't got it"),
                                g_strdup_printf("systemctl edit '%s': [Service] LimitMEMLOCK=infinity",
                                                settings->id));
        else
                findings_add(findings, LOG_INFO, settings->id,
                                g_strdup("crun before 1.14 silently sets no device rules in there, unless "
                                         "RLIMIT_MEMLOCK is infinity"),
                                g_strdup_printf("LimitMEMLOCK=infinity in %s[Exec] of its .nspawn file",
                                                unit ? "" : "[Service] of the unit and in "));
}

void findings_add_nspawn(GPtrArray *findings, const UnitSettings *settings, const ExecCommand *command,
                const Policy *policy) {
        CallSet calls = policy_intercepted_calls(policy);
        g_autofree char *machine = nspawn_machine(command);
        g_autofree char *path = NULL, *text = NULL, *file_users = NULL, *file_filter = NULL, *lacking = NULL;
        g_auto(GStrv) filter = NULL;

        text = nspawn_settings_file(machine, &path);
        file_users = settings_file_value(text, "PrivateUsers");
        file_filter = settings_file_value(text, "SystemCallFilter");

        if (!has_private_users(command, file_users)) {
                findings_add(findings, LOG_WARNING, path && file_users ? path : settings->id,
                                g_strdup("the container has no user namespace: its root is the host's root, "
                                         "which needs no lending"),
                                g_strdup(file_users ? "PrivateUsers=pick" : "add -U to its command line"));
                return; /* What nspawn keeps from it should stay so. */
        }

        if (file_filter && *file_filter == '~')
                findings_add(findings, LOG_INFO, path,
                                g_strdup("its SystemCallFilter= denies calls, and beats the policy"), NULL);

        if (call_set_contains(calls, CALL_BPF))
                check_nspawn_memlock(findings, settings, command, text, policy);

        calls &= ~check_nspawn_capabilities(
                        findings, settings, command, path, text, calls, policy_allows_bpf_token(policy));

        /* The file's list takes the place of the command line's. */
        filter = file_filter ? g_strsplit_set(file_filter, " \t", -1)
                             : nspawn_words(command, "--system-call-filter");
        lacking = nspawn_filter_lacks(filter, calls);
        if (lacking && file_filter)
                findings_add(findings, LOG_WARNING, path,
                                g_strdup_printf("its SystemCallFilter= takes the place of the command "
                                                "line's, and "
                                                "nspawn denies what the policy lends: %s",
                                                lacking),
                                g_strdup_printf("SystemCallFilter=%s", lacking));
        else if (lacking)
                findings_add(findings, LOG_WARNING, settings->id,
                                g_strdup_printf("nspawn's own filter denies what the policy lends: %s",
                                                lacking),
                                g_strdup_printf("deputyctl enable '%s' adds --system-call-filter=",
                                                settings->id));
}
