/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stddef.h>
#include <string.h>

#include "basic/log.h"
#include "ctl/unit-settings.h"

#define RELOAD_TIMEOUT_USEC (UINT64_C(90) * G_USEC_PER_SEC)

UnitSettings *unit_settings_free(UnitSettings *settings) {
        if (!settings)
                return NULL;

        g_free(settings->id);
        g_free(settings->load_state);
        g_free(settings->active_state);
        g_free(settings->fragment_path);
        g_strfreev(settings->drop_in_paths);
        g_ptr_array_unref(settings->exec_start);
        g_free(settings->user);
        g_free(settings->root_directory);
        g_free(settings->root_image);
        g_free(settings->device_policy);
        g_strfreev(settings->environment);
        g_strfreev(settings->exec_search_path);
        g_strfreev(settings->system_call_filter.names);
        g_strfreev(settings->address_families.names);
        g_ptr_array_unref(settings->device_allow);
        g_free(settings);
        return NULL;
}

static ExecFlags flags_from_strv(char **names) {
        static const struct {
                const char *name;
                ExecFlags flag;
        } known[] = {
                { "ignore-failure", EXEC_IGNORE_FAILURE },
                { "no-env-expand", EXEC_NO_ENV_EXPAND },
                { "privileged", EXEC_PRIVILEGED },
                { "no-setuid", EXEC_NO_SETUID },
                { "ambient", EXEC_AMBIENT },
        };
        ExecFlags flags = 0;

        for (; names && *names; names++) {
                ExecFlags flag = EXEC_UNKNOWN;

                for (size_t i = 0; i < G_N_ELEMENTS(known); i++)
                        if (strcmp(known[i].name, *names) == 0)
                                flag = known[i].flag;
                flags |= flag;
        }

        return flags;
}

/* One (sasasttttuii): path, argv, flags; times and results don't concern us. */
static int read_command(sd_bus_message *message, ExecCommand *command) {
        g_auto(GStrv) argv = NULL, flags = NULL;
        const char *path;
        int r;

        if ((r = sd_bus_message_read(message, "s", &path)) < 0 ||
                        (r = sd_bus_message_read_strv(message, &argv)) < 0 ||
                        (r = sd_bus_message_read_strv(message, &flags)) < 0 ||
                        (r = sd_bus_message_skip(message, "ttttuii")) < 0)
                return r;

        command->path = g_strdup(path);
        command->argv = g_ptr_array_new_with_free_func(g_free);
        for (char **a = argv; a && *a; a++)
                g_ptr_array_add(command->argv, g_strdup(*a));
        if (command->argv->len == 0)
                g_ptr_array_add(command->argv, g_strdup(path));
        command->flags = flags_from_strv(flags);
        return 0;
}

static int read_exec_start(sd_bus_message *message, void *field) {
        GPtrArray *commands = *(GPtrArray **) field;
        int r;

        r = sd_bus_message_enter_container(message, 'a', "(sasasttttuii)");
        if (r < 0)
                return r;

        while ((r = sd_bus_message_enter_container(message, 'r', "sasasttttuii")) > 0) {
                g_autoptr(ExecCommand) command = g_new0(ExecCommand, 1);

                r = read_command(message, command);
                if (r < 0)
                        return r;

                g_ptr_array_add(commands, g_steal_pointer(&command));
                r = sd_bus_message_exit_container(message);
                if (r < 0)
                        return r;
        }

        return r < 0 ? r : sd_bus_message_exit_container(message);
}

static int read_list(sd_bus_message *message, void *field) {
        UnitList *list = field;
        int r, allow;

        if ((r = sd_bus_message_enter_container(message, 'r', "bas")) < 0 ||
                        (r = sd_bus_message_read(message, "b", &allow)) < 0 ||
                        (r = sd_bus_message_read_strv(message, &list->names)) < 0)
                return r;

        list->allow = allow;
        return sd_bus_message_exit_container(message);
}

static int read_device_allow(sd_bus_message *message, void *field) {
        GPtrArray *devices = *(GPtrArray **) field;
        const char *specifier, *mode;
        int r;

        r = sd_bus_message_enter_container(message, 'a', "(ss)");
        if (r < 0)
                return r;

        while ((r = sd_bus_message_read(message, "(ss)", &specifier, &mode)) > 0) {
                g_ptr_array_add(devices, g_strdup(specifier));
                g_ptr_array_add(devices, g_strdup(mode));
        }

        return r < 0 ? r : sd_bus_message_exit_container(message);
}

static const BusProperty unit_properties[] = {
        { "Id", "s", offsetof(UnitSettings, id), NULL },
        { "LoadState", "s", offsetof(UnitSettings, load_state), NULL },
        { "ActiveState", "s", offsetof(UnitSettings, active_state), NULL },
        { "FragmentPath", "s", offsetof(UnitSettings, fragment_path), NULL },
        { "DropInPaths", "as", offsetof(UnitSettings, drop_in_paths), NULL },
        { "NeedDaemonReload", "b", offsetof(UnitSettings, need_daemon_reload), NULL },
        {},
};

/* Of services; a scope has the few of them that concern its cgroup. */
static const BusProperty settings_properties[] = {
        { "ExecStartEx", "a(sasasttttuii)", offsetof(UnitSettings, exec_start), read_exec_start },
        { "User", "s", offsetof(UnitSettings, user), NULL },
        { "RootDirectory", "s", offsetof(UnitSettings, root_directory), NULL },
        { "RootImage", "s", offsetof(UnitSettings, root_image), NULL },
        { "Environment", "as", offsetof(UnitSettings, environment), NULL },
        { "ExecSearchPath", "as", offsetof(UnitSettings, exec_search_path), NULL },
        { "DynamicUser", "b", offsetof(UnitSettings, dynamic_user), NULL },
        { "PrivateUsers", "b", offsetof(UnitSettings, private_users), NULL },
        { "PrivateDevices", "b", offsetof(UnitSettings, private_devices), NULL },
        { "NoNewPrivileges", "b", offsetof(UnitSettings, no_new_privileges), NULL },
        { "RestrictRealtime", "b", offsetof(UnitSettings, restrict_realtime), NULL },
        { "RestrictSUIDSGID", "b", offsetof(UnitSettings, restrict_suid_sgid), NULL },
        { "ProtectKernelModules", "b", offsetof(UnitSettings, protect_kernel_modules), NULL },
        { "ProtectClock", "b", offsetof(UnitSettings, protect_clock), NULL },
        { "ProtectKernelLogs", "b", offsetof(UnitSettings, protect_kernel_logs), NULL },
        { "AmbientCapabilities", "t", offsetof(UnitSettings, ambient_capabilities), NULL },
        { "CapabilityBoundingSet", "t", offsetof(UnitSettings, bounding_set), NULL },
        { "LimitMEMLOCK", "t", offsetof(UnitSettings, limit_memlock), NULL },
        { "SystemCallFilter", "(bas)", offsetof(UnitSettings, system_call_filter), read_list },
        { "RestrictAddressFamilies", "(bas)", offsetof(UnitSettings, address_families), read_list },
        { "DevicePolicy", "s", offsetof(UnitSettings, device_policy), NULL },
        { "DeviceAllow", "a(ss)", offsetof(UnitSettings, device_allow), read_device_allow },
        {},
};

int unit_settings_load(sd_bus *bus, const char *unit, UnitSettings **ret, sd_bus_error *error) {
        g_autoptr(UnitSettings) settings = g_new0(UnitSettings, 1);
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *path, *interface = NULL;
        int r;

        settings->exec_start = exec_commands_new();
        settings->device_allow = g_ptr_array_new_with_free_func(g_free);
        settings->bounding_set = UINT64_MAX;

        r = sd_bus_call_method(bus, SYSTEMD_BUS_NAME, SYSTEMD_BUS_PATH, SYSTEMD_MANAGER, "LoadUnit", error,
                        &reply, "s", unit);
        if (r < 0)
                return r;

        r = sd_bus_message_read(reply, "o", &path);
        if (r < 0)
                return r;

        r = bus_get_all(bus, SYSTEMD_BUS_NAME, path, "org.freedesktop.systemd1.Unit", unit_properties,
                        settings, error);
        if (r < 0)
                return r;

        if (g_str_has_suffix(unit, ".service"))
                interface = "org.freedesktop.systemd1.Service";
        else if (g_str_has_suffix(unit, ".scope"))
                interface = "org.freedesktop.systemd1.Scope";
        if (interface) {
                r = bus_get_all(bus, SYSTEMD_BUS_NAME, path, interface, settings_properties, settings, error);
                if (r < 0)
                        return r;
        }

        *ret = g_steal_pointer(&settings);
        return 0;
}

int systemd_reload(sd_bus *bus, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
        int r;

        r = sd_bus_message_new_method_call(
                        bus, &message, SYSTEMD_BUS_NAME, SYSTEMD_BUS_PATH, SYSTEMD_MANAGER, "Reload");
        if (r < 0)
                return r;

        /* Generators run in it: on a large or slow machine that's more than the usual 25 s. */
        r = sd_bus_message_set_allow_interactive_authorization(message, true);
        if (r < 0)
                return r;

        return sd_bus_call(bus, message, RELOAD_TIMEOUT_USEC, error, NULL);
}

bool unit_list_allows(const UnitList *list, const char *name) {
        size_t length = strlen(name);
        bool found = false;

        if (!list->names || !*list->names)
                return !list->allow;

        /* "NAME:ERRNO" says what a denied call returns. */
        for (char **n = list->names; *n && !found; n++)
                found = strncmp(*n, name, length) == 0 && ((*n)[length] == 0 || (*n)[length] == ':');

        return found == list->allow;
}

int unit_name_complete(const char *name, char **ret) {
        static const char *const suffixes[] = { ".service", ".scope", ".slice", ".socket", ".target",
                ".mount", ".automount", ".swap", ".timer", ".path", ".device" };
        g_autofree char *complete = NULL;
        char **names;
        int r;

        for (size_t i = 0; i < G_N_ELEMENTS(suffixes) && !complete; i++)
                if (g_str_has_suffix(name, suffixes[i]))
                        complete = g_strdup(name);
        if (!complete)
                complete = g_strconcat(name, ".service", NULL);

        r = policy_unit_directory_names(complete, &names);
        if (r < 0)
                return r;

        g_strfreev(names);
        *ret = g_steal_pointer(&complete);
        return 0;
}

bool unit_name_is_template(const char *name) {
        const char *at = strchr(name, '@');

        return at && at[1] == '.' && !strchr(at + 2, '.');
}
