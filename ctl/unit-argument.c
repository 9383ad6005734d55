/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <glib.h>

#include "basic/log.h"
#include "ctl/terminal.h"
#include "ctl/unit-argument.h"
#include "ctl/unit-settings.h"

/* deputyd waits for some services while it answers a call: a call of theirs that waited for deputyd would
 * never be answered. */
int unit_argument_check_type(const char *unit) {
        static const char *const needed_by_us[] = { "deputyd.service", "dbus.service", "dbus-broker.service",
                "systemd-journald.service", "polkit.service", NULL };

        if (g_strv_contains(needed_by_us, unit)) {
                log_error("%s can't be a target: deputyd itself needs it to answer", unit);
                return -EINVAL;
        }

        if (g_str_has_suffix(unit, ".service"))
                return 0;

        if (g_str_has_suffix(unit, ".scope"))
                log_error("%s is a scope: its processes are started by somebody else, so there's no "
                          "ExecStart= "
                          "to change. Start the command itself with \"deputy-run -- COMMAND\"",
                                unit);
        else if (g_str_has_suffix(unit, ".slice"))
                log_error("%s is a slice: it has no processes of its own. Enable the services in it", unit);
        else
                log_error("%s runs no command that calls could be lent to: only services can be enabled",
                                unit);

        return -EINVAL;
}

int unit_argument_complete(const char *argument, char **ret) {
        g_autofree char *unit = NULL, *escaped = terminal_escape(argument);
        int r;

        r = unit_name_complete(argument, &unit);
        if (r < 0) {
                log_error("\"%s\" is no unit's name", escaped);
                return r;
        }

        r = unit_argument_check_type(unit);
        if (r < 0)
                return r;

        *ret = g_steal_pointer(&unit);
        return 0;
}
