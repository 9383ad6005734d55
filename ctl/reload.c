/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* deputyctl reload: makes deputyd read the policies again. */

#include <stdio.h>

#include "basic/log.h"
#include "ctl/bus.h"
#include "ctl/target.h"

/* Says which targets have to be restarted for the changes to be whole. */
static void tell_restarts(sd_bus *bus) {
        g_autoptr(GPtrArray) targets = NULL;

        if (targets_load(bus, &targets) < 0)
                return;

        for (guint i = 0; i < targets->len; i++) {
                const Target *target = targets->pdata[i];

                g_autofree char *unit = terminal_escape(target->unit ?: "");

                if (target->needs_restart)
                        log_notice("%s: its policy now asks for other calls than its filter has; for those: "
                                   "systemctl restart '%s'",
                                        unit, unit);
        }
}

int verb_reload(char **arguments, const Options *options) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        int r;

        r = bus_connect(&bus);
        if (r < 0)
                return r;

        r = sd_bus_message_new_method_call(
                        bus, &message, DEPUTYD_BUS_NAME, DEPUTYD_BUS_PATH, DEPUTYD_MANAGER, "Reload");
        if (r >= 0)
                r = sd_bus_message_set_allow_interactive_authorization(message, true);
        if (r < 0)
                return log_error_errno(r, "Can't ask deputyd: %m");

        r = sd_bus_call(bus, message, 0, &error, NULL);
        if (r < 0)
                return bus_log_error(&error, r, "Can't reload the policies");

        if (!options->quiet)
                tell_restarts(bus);

        return 0;
}
