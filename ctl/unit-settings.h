/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What PID 1 knows of a unit and deputyctl needs to enable or to judge it: see org.freedesktop.systemd1(5).
 */

#include "ctl/bus.h"
#include "ctl/exec-line.h"

/* A list that's either all that's allowed, or all that isn't. */
typedef struct UnitList {
        bool allow;
        char **names;
} UnitList;

typedef struct UnitSettings {
        char *id, *load_state, *active_state, *fragment_path;
        char **drop_in_paths;
        bool need_daemon_reload;

        GPtrArray *exec_start; /* ExecCommand */
        char *user, *root_directory, *root_image, *device_policy;
        char **environment, **exec_search_path;
        bool dynamic_user, private_users, private_devices, no_new_privileges, restrict_realtime;
        bool restrict_suid_sgid, protect_kernel_modules, protect_clock, protect_kernel_logs;
        uint64_t ambient_capabilities, bounding_set;
        uint64_t limit_memlock; /* the hard one */
        UnitList system_call_filter, address_families;
        GPtrArray *device_allow; /* char *: a specifier, its mode, the next specifier ... */
} UnitSettings;

UnitSettings *unit_settings_free(UnitSettings *settings);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(UnitSettings, unit_settings_free)

/* Asks PID 1, which loads the unit if it hasn't. Return: 0 (look at load_state), or a negative errno and
 * "error". */
int unit_settings_load(sd_bus *bus, const char *unit, UnitSettings **ret, sd_bus_error *error);

/* Makes PID 1 read its unit files again, as "systemctl daemon-reload" does. */
int systemd_reload(sd_bus *bus, sd_bus_error *error);

/* Is the name in the list as a filter would see it: allowed? */
bool unit_list_allows(const UnitList *list, const char *name);

/* "foo" is short for "foo.service". Return: 0 and a name (free with g_free()), or -EINVAL. */
int unit_name_complete(const char *name, char **ret);

/* foo@.service? */
bool unit_name_is_template(const char *name);
