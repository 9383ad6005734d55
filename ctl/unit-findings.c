/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What stands between a unit and its policy. A seccomp filter that says ERRNO beats ours that says
 * USER_NOTIF, so each setting of the unit that denies a call makes lending it void; and a node that can be
 * made may still be refused by the device cgroup when it's opened. Families that come later add lines to the
 * tables here. */

#include <pwd.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "basic/log.h"
#include "ctl/findings.h"

/* Settings that deny calls, by systemd.exec(5). */
static const struct {
        size_t offset;
        const char *setting;
        const char *calls;
} denying_settings[] = {
        { offsetof(UnitSettings, restrict_realtime), "RestrictRealtime",
                        "sched_setscheduler sched_setparam sched_setattr" },
        { offsetof(UnitSettings, protect_kernel_modules), "ProtectKernelModules",
                        "init_module finit_module delete_module" },
        { offsetof(UnitSettings, protect_clock), "ProtectClock",
                        "clock_settime clock_adjtime adjtimex settimeofday" },
        { offsetof(UnitSettings, protect_kernel_logs), "ProtectKernelLogs", "syslog" },
};

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

static bool names_call(const char *list, const char *call) {
        g_auto(GStrv) names = g_strsplit(list, " ", -1);

        return g_strv_contains((const char *const *) names, call);
}

/* A drop-in's line that undoes something, as advice. */
static char *advise(const UnitSettings *settings, const char *line) {
        return g_strdup_printf("systemctl edit '%s': [Service] %s", settings->id, line);
}

static void check_denying_settings(GPtrArray *findings, const UnitSettings *settings, CallSet calls) {
        for (size_t i = 0; i < G_N_ELEMENTS(denying_settings); i++) {
                g_autoptr(GString) denied = g_string_new(NULL);
                g_autofree char *line = NULL;

                if (!*(const bool *) ((const char *) settings + denying_settings[i].offset))
                        continue;

                for (CallId id = 0; id < _CALL_MAX; id++)
                        if (call_set_contains(calls, id) &&
                                        names_call(denying_settings[i].calls, call_to_string(id)))
                                g_string_append_printf(denied, " %s", call_to_string(id));

                if (denied->len == 0)
                        continue;

                line = g_strdup_printf("%s=no", denying_settings[i].setting);
                findings_add(findings, LOG_WARNING, settings->id,
                                g_strdup_printf("%s=yes denies%s before deputyd is asked",
                                                denying_settings[i].setting, denied->str),
                                advise(settings, line));
        }

        if (settings->restrict_suid_sgid && call_set_contains(calls, CALL_MKNOD))
                findings_add(findings, LOG_INFO, settings->id,
                                g_strdup("RestrictSUIDSGID=yes denies mknod with a set-user-ID or "
                                         "set-group-ID mode"),
                                NULL);
}

static void check_system_call_filter(GPtrArray *findings, const UnitSettings *settings, CallSet calls) {
        static const char *const launcher_calls[] = { "seccomp", "socket", "socketpair", "sendmsg", "recvmsg",
                "execve", NULL };
        g_autoptr(GString) ours = g_string_new(NULL), lent = g_string_new(NULL);

        for (const char *const *c = launcher_calls; *c; c++)
                if (!unit_list_allows(&settings->system_call_filter, *c))
                        g_string_append_printf(ours, "%s%s", ours->len > 0 ? " " : "", *c);

        /* A call that systemd itself doesn't know the name of can't be in its list, and is denied by any
         * list of allowed ones: it can't be helped, and the older calls do the same. */
        for (CallId id = 0; id < _CALL_MAX; id++)
                if (call_set_contains(calls, id) && call_unified_number(id) < 0 &&
                                !unit_list_allows(&settings->system_call_filter, call_to_string(id)))
                        g_string_append_printf(lent, "%s%s", lent->len > 0 ? " " : "", call_to_string(id));

        if (ours->len > 0) {
                g_autofree char *line = g_strdup_printf("SystemCallFilter=%s", ours->str);

                findings_add(findings, LOG_ERR, settings->id,
                                g_strdup_printf("SystemCallFilter= denies what deputy-run needs: %s",
                                                ours->str),
                                advise(settings, line));
        }

        if (lent->len > 0) {
                g_autofree char *line = g_strdup_printf("SystemCallFilter=%s", lent->str);

                findings_add(findings, LOG_WARNING, settings->id,
                                g_strdup_printf("SystemCallFilter= denies, before deputyd is asked: %s",
                                                lent->str),
                                advise(settings, line));
        }
}

/* What the device cgroup of a unit lets it open: entries of one type and major, with a range of minors. */
typedef struct AllowedDevice {
        mode_t type;
        unsigned major, minor_first, minor_last;
} AllowedDevice;

/* "char-pts", "block-loop", "char-*": by the names in /proc/devices. */
static void allow_by_name(GArray *allowed, const char *specifier) {
        bool block = g_str_has_prefix(specifier, "block-");
        const char *pattern = strchr(specifier, '-') + 1;
        g_autofree char *text = NULL;
        g_auto(GStrv) lines = NULL;
        bool in_block = false;

        if (!g_file_get_contents("/proc/devices", &text, NULL, NULL))
                return;

        lines = g_strsplit(text, "\n", -1);
        for (char **l = lines; *l; l++) {
                unsigned major;
                char name[64];

                if (g_str_has_prefix(*l, "Block"))
                        in_block = true;
                else if (sscanf(*l, "%u %63s", &major, name) == 2 && in_block == block &&
                                g_pattern_match_simple(pattern, name))
                        g_array_append_vals(allowed,
                                        &(AllowedDevice){ block ? S_IFBLK : S_IFCHR, major, 0, UINT_MAX }, 1);
        }
}

static void allow_specifier(GArray *allowed, const char *specifier) {
        struct stat st;

        if (g_str_has_prefix(specifier, "char-") || g_str_has_prefix(specifier, "block-"))
                allow_by_name(allowed, specifier);
        else if (stat(specifier, &st) >= 0 && (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)))
                g_array_append_vals(allowed,
                                &(AllowedDevice){ st.st_mode & S_IFMT, major(st.st_rdev), minor(st.st_rdev),
                                                minor(st.st_rdev) },
                                1);
}

static GArray *allowed_devices(const UnitSettings *settings) {
        /* What DevicePolicy=closed always has: null zero full random urandom, tty ptmx, pts. */
        static const AllowedDevice built_in[] = {
                { S_IFCHR, 1, 3, 3 },
                { S_IFCHR, 1, 5, 5 },
                { S_IFCHR, 1, 7, 7 },
                { S_IFCHR, 1, 8, 8 },
                { S_IFCHR, 1, 9, 9 },
                { S_IFCHR, 5, 0, 0 },
                { S_IFCHR, 5, 2, 2 },
        };
        GArray *allowed = g_array_new(FALSE, FALSE, sizeof(AllowedDevice));

        if (g_strcmp0(settings->device_policy, "strict") != 0) {
                g_array_append_vals(allowed, built_in, G_N_ELEMENTS(built_in));
                allow_by_name(allowed, "char-pts");
        }

        for (guint i = 0; i + 1 < settings->device_allow->len; i += 2)
                if (strpbrk(settings->device_allow->pdata[i + 1], "rw"))
                        allow_specifier(allowed, settings->device_allow->pdata[i]);

        return allowed;
}

/* Is all that a rule lends among the allowed? A device that isn't there now can't be told. */
static bool rule_is_allowed(const GArray *allowed, const DeviceRule *rule) {
        AllowedDevice wanted = { rule->type, rule->major, rule->minor_first, rule->minor_last };
        struct stat st;

        if (rule->path) {
                if (stat(rule->path, &st) < 0)
                        return true;

                wanted = (AllowedDevice){ st.st_mode & S_IFMT, major(st.st_rdev), minor(st.st_rdev),
                        minor(st.st_rdev) };
        }

        for (guint i = 0; i < allowed->len; i++) {
                const AllowedDevice *a = &g_array_index(allowed, AllowedDevice, i);

                if (a->type == wanted.type && a->major == wanted.major &&
                                a->minor_first <= wanted.minor_first && a->minor_last >= wanted.minor_last)
                        return true;
        }

        return false;
}

static char *rule_to_string(const DeviceRule *rule) {
        const char *type = rule->type == S_IFBLK ? "b" : "c";

        if (rule->path)
                return g_strdup(rule->path);
        if (rule->minor_first == 0 && rule->minor_last == UINT_MAX)
                return g_strdup_printf("%s %u:*", type, rule->major);
        if (rule->minor_first == rule->minor_last)
                return g_strdup_printf("%s %u:%u", type, rule->major, rule->minor_first);

        return g_strdup_printf("%s %u:%u-%u", type, rule->major, rule->minor_first, rule->minor_last);
}

/* Which of these devices doesn't the unit's device cgroup let it open? Comma-separated, or NULL. */
static char *closed_devices(const UnitSettings *settings, const GArray *rules) {
        g_autoptr(GString) closed = g_string_new(NULL);
        g_autoptr(GArray) allowed = NULL;

        /* "auto" with DeviceAllow= is as good as "closed", without it everything may be opened. */
        if (!settings->device_policy ||
                        (strcmp(settings->device_policy, "auto") == 0 && settings->device_allow->len == 0))
                return NULL;

        allowed = allowed_devices(settings);
        for (guint i = 0; i < rules->len; i++) {
                const DeviceRule *rule = &g_array_index(rules, DeviceRule, i);
                g_autofree char *name = rule_to_string(rule);

                if (!rule_is_allowed(allowed, rule))
                        g_string_append_printf(closed, "%s%s", closed->len > 0 ? ", " : "", name);
        }

        return closed->len > 0 ? g_strdup(closed->str) : NULL;
}

static void check_devices(GPtrArray *findings, const UnitSettings *settings, const Policy *policy) {
        const char *setting = settings->private_devices ? "PrivateDevices=yes" : "its DevicePolicy=";
        g_autofree char *closed = NULL;

        if (policy->system_calls & (CALL_BIT(CALL_MKNOD) | CALL_BIT(CALL_MKNODAT)))
                closed = closed_devices(settings, policy->mknod.devices);

        if (closed)
                findings_add(findings, LOG_WARNING, settings->id,
                                g_strdup_printf("%s lets it make, but not open: %s", setting, closed),
                                g_strdup_printf("if it should: systemctl set-property '%s' "
                                                "DeviceAllow='/dev/NAME "
                                                "rw', or char-NAME, block-NAME of /proc/devices",
                                                settings->id));
}

/* A kernel mount of a lent device opens nothing in the container. But mount(8) without -t reads the device to
 * find out what's on it, and the programs of Fuse= live on it. */
static void check_mount_sources(GPtrArray *findings, const UnitSettings *settings, const Policy *policy) {
        g_autofree char *closed = NULL;
        bool fuse;

        if (!(policy->system_calls & CALL_BIT(CALL_MOUNT)))
                return;

        closed = closed_devices(settings, policy->mount.devices);
        if (!closed)
                return;

        fuse = policy->mount.fuse->len > 0;
        findings_add(findings, fuse ? LOG_WARNING : LOG_INFO, settings->id,
                        g_strdup_printf("its DevicePolicy= keeps it from opening %s: %s", closed,
                                        fuse ? "the programs of Fuse= need to, and mount(8) without -t"
                                             : "mount(8) needs -t, as it can't look what's on it"),
                        g_strdup_printf("if it should: systemctl set-property '%s' DeviceAllow='/dev/NAME "
                                        "%s'",
                                        settings->id, fuse ? "rw" : "r"));
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

/* "file_users": PrivateUsers= of its settings file; may be NULL. The command line beats it, if it says
 * anything, unless it says that the file does. */
static bool has_private_users(const ExecCommand *command, const char *file_users) {
        const char *private_users = nspawn_value(command, "--private-users", 0, false);
        bool flag = nspawn_has_flag(command, "--private-users", 'U'),
             file_first = g_strcmp0(nspawn_value(command, "--settings", 0, true), "override") == 0;

        if (file_users && (file_first || (!private_users && !flag)))
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

static void check_nspawn(GPtrArray *findings, const UnitSettings *settings, const ExecCommand *command,
                CallSet calls, bool tokens) {
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

        calls &= ~check_nspawn_capabilities(findings, settings, command, path, text, calls, tokens);

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

static void check_users(GPtrArray *findings, const UnitSettings *settings, const Policy *policy) {
        const char *user = settings->user && *settings->user ? settings->user : NULL;
        const struct passwd *entry;
        uid_t uid;

        if (settings->private_users) {
                if ((user || settings->dynamic_user) && settings->ambient_capabilities == 0)
                        findings_add(findings, LOG_WARNING, settings->id,
                                        g_strdup("it isn't root of its user namespace (PrivateUsers=, User=) "
                                                 "and "
                                                 "has no capability there, so it's lent nothing"),
                                        advise(settings, "PrivateUsers=no, and AllowUsers= in the policy"));
                return;
        }

        if (!user && !settings->dynamic_user) {
                findings_add(findings, LOG_INFO, settings->id,
                                g_strdup("it runs as root of the host, which needs no lending"),
                                g_strdup("unless it makes a container with a user namespace of its own"));
                return;
        }

        if (policy->allow_users->len == 0) {
                g_autofree char *key = g_strdup_printf("AllowUsers=%s", user ?: "NAME");

                findings_add(findings, LOG_WARNING, settings->id,
                                g_strdup("it has User= and no user namespace, and the policy has no "
                                         "AllowUsers=, so it's lent nothing"),
                                g_strdup_printf("[Intercept] %s", key));
                return;
        }

        if (!user || settings->dynamic_user)
                return;

        entry = getpwnam(user);
        uid = entry ? entry->pw_uid : (uid_t) g_ascii_strtoull(user, NULL, 10);
        if (!policy_allows_user(policy, uid))
                findings_add(findings, LOG_WARNING, settings->id,
                                g_strdup_printf("its user %s isn't among the policy's AllowUsers=", user),
                                g_strdup_printf("[Intercept] AllowUsers=%s", user));
}

static void check_launcher(GPtrArray *findings, const UnitSettings *settings) {
        const char *root = settings->root_directory && *settings->root_directory ? "RootDirectory="
                           : settings->root_image && *settings->root_image       ? "RootImage="
                                                                                 : NULL;
        bool has_user = (settings->user && *settings->user) || settings->dynamic_user;
        uint64_t sys_admin = UINT64_C(1) << 21;

        if (!unit_list_allows(&settings->address_families, "AF_UNIX"))
                findings_add(findings, LOG_ERR, settings->id,
                                g_strdup("RestrictAddressFamilies= keeps deputy-run from asking deputyd"),
                                advise(settings, "RestrictAddressFamilies=AF_UNIX"));

        if (root)
                findings_add(findings, LOG_WARNING, settings->id,
                                g_strdup_printf("deputy-run and deputyd's socket have to be inside of its %s",
                                                root),
                                advise(settings, "BindReadOnlyPaths=" BINDIR "/deputy-run /run/deputyd"));

        if (!settings->no_new_privileges && (has_user ? !(settings->ambient_capabilities & sys_admin)
                                                      : !(settings->bounding_set & sys_admin)))
                findings_add(findings, LOG_INFO, settings->id,
                                g_strdup("without CAP_SYS_ADMIN, deputy-run sets no_new_privs: set-user-ID "
                                         "programs that it runs gain nothing"),
                                NULL);
}

void findings_add_unit(GPtrArray *findings, const UnitSettings *settings, const Policy *policy) {
        CallSet calls = policy_intercepted_calls(policy);
        bool nspawn = false;

        if (g_strcmp0(settings->load_state, "loaded") != 0) {
                findings_add(findings, LOG_WARNING, settings->id,
                                g_strdup_printf("systemd says that this unit is %s", settings->load_state),
                                NULL);
                return;
        }

        for (guint i = 0; i < settings->exec_start->len; i++) {
                const ExecCommand *command = settings->exec_start->pdata[i];

                if (!exec_command_is_wrapped(command))
                        findings_add(findings, LOG_WARNING, settings->id,
                                        g_strdup_printf("%s isn't run through deputy-run, so it's lent "
                                                        "nothing",
                                                        command->path),
                                        g_strdup_printf("deputyctl enable '%s'", settings->id));

                if (exec_command_is_program(command, "systemd-nspawn")) {
                        nspawn = true;
                        check_nspawn(findings, settings, command, calls, policy_allows_bpf_token(policy));
                }
        }

        check_denying_settings(findings, settings, calls);
        check_system_call_filter(findings, settings, calls);
        check_devices(findings, settings, policy);
        check_mount_sources(findings, settings, policy);
        if (settings->exec_start->len > 0)
                check_launcher(findings, settings);
        if (settings->exec_start->len > 0 && !nspawn)
                check_users(findings, settings, policy);
}
