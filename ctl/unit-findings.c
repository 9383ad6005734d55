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
                        findings_add_nspawn(findings, settings, command, policy);
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
