/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* deputyctl disable: takes away what enable has made, and nothing else. */

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "basic/log.h"
#include "ctl/bus.h"
#include "ctl/ctl.h"
#include "ctl/drop-in.h"
#include "ctl/unit-argument.h"
#include "ctl/unit-job.h"
#include "ctl/unit-settings.h"

/* Removes a link if it's still the one that we made. */
static void remove_link(const DropInLink *link, const Options *options) {
        g_autofree char *target = g_file_read_link(link->path, NULL),
                        *directory = g_path_get_dirname(link->path);

        if (g_strcmp0(target, link->target) != 0)
                return;

        if (!options->dry_run) {
                if (unlink(link->path) < 0) {
                        log_warning_errno(errno, "Can't remove %s: %m", link->path);
                        return;
                }
                (void) rmdir(directory);
        }
        if (!options->quiet)
                printf("%s %s.\n", options->dry_run ? "Would remove" : "Removed", link->path);
}

/* Return: 1 if there was a drop-in of ours, 0 if not, or a negative errno that has been logged. */
static int disable_in(const char *unit, bool runtime, const Options *options) {
        g_autofree char *path = drop_in_path(unit, runtime), *directory = g_path_get_dirname(path);
        g_autoptr(GPtrArray) links = NULL;
        int r;

        r = drop_in_read(path, &links);
        if (r == -EEXIST) {
                log_warning("%s wasn't written by deputyctl, and stays", path);
                return 0;
        }
        if (r < 0)
                return log_error_errno(r, "Can't read %s: %m", path);
        if (r == 0)
                return 0;

        for (guint i = 0; i < links->len; i++)
                remove_link(links->pdata[i], options);

        if (!options->dry_run) {
                if (unlink(path) < 0)
                        return log_error_errno(errno, "Can't remove %s: %m", path);
                (void) rmdir(directory);
        }
        if (!options->quiet)
                printf("%s %s.\n", options->dry_run ? "Would remove" : "Removed", path);

        return 1;
}

static void tell_what_stays(const char *unit) {
        static const char *const trees[] = { SYSCONFDIR "/deputyd/policy.d", "/run/deputyd/policy.d" };

        for (size_t i = 0; i < G_N_ELEMENTS(trees); i++) {
                g_autofree char *path = g_strdup_printf("%s/%s.d", trees[i], unit);
                g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
                const char *name;

                while (directory && (name = g_dir_read_name(directory)))
                        printf("Yours, so it stays: %s/%s\n", path, name);
        }
}

static int finish_disabling(sd_bus *bus, const char *unit, const Options *options) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autoptr(UnitSettings) settings = NULL;
        int r;

        r = systemd_reload(bus, &error);
        if (r < 0)
                return bus_log_error(&error, r, "Removed, but systemd can't be made to read its units again");

        if (unit_name_is_template(unit)) {
                if (!options->quiet)
                        printf("Instances that run keep their filter until they're restarted.\n");
                return 0;
        }

        if (options->now)
                return unit_restart(bus, "TryRestartUnit", unit);

        if (!options->quiet && unit_settings_load(bus, unit, &settings, NULL) >= 0 &&
                        g_strcmp0(settings->active_state, "active") == 0)
                printf("It keeps its filter until it's restarted: systemctl restart '%s'\n", unit);

        return 0;
}

/* The unit's own name, if PID 1 knows it by another; as it is if it doesn't know it (any more). */
static char *real_name(sd_bus *bus, const char *unit) {
        g_autoptr(UnitSettings) settings = NULL;

        if (unit_name_is_template(unit) || unit_settings_load(bus, unit, &settings, NULL) < 0 ||
                        !settings->id)
                return g_strdup(unit);

        return g_strdup(settings->id);
}

int verb_disable(char **arguments, const Options *options) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        g_autofree char *name = NULL, *unit = NULL;
        int r, in_etc, in_run;

        r = unit_argument_complete(arguments[0], &name);
        if (r < 0)
                return r;

        r = bus_connect(&bus);
        if (r < 0)
                return r;

        unit = real_name(bus, name);
        in_etc = disable_in(unit, false, options);
        in_run = disable_in(unit, true, options);
        if (in_etc < 0 || in_run < 0)
                return in_etc < 0 ? in_etc : in_run;

        if (in_etc + in_run == 0) {
                if (!options->quiet)
                        printf("%s isn't enabled: there's nothing to undo.\n", unit);
                return 0;
        }

        if (!options->quiet)
                tell_what_stays(unit);

        return options->dry_run ? 0 : finish_disabling(bus, unit, options);
}
