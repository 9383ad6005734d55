/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Asks PID 1 to restart a unit and waits for it. */

#include <systemd/sd-bus.h>

/* "method" is RestartUnit (starts it if it isn't running) or TryRestartUnit (leaves it alone then). Return:
 * 0, or a negative errno that has been logged. */
int unit_restart(sd_bus *bus, const char *method, const char *unit);
