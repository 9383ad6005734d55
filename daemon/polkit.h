/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "daemon/manager.h"

/* Asks whether the sender of "message" may do "action": root may, others if polkit says so. Doesn't wait:
 * "done" is called later, with 1 (yes) or a negative errno and the error to reply. Return: 0 if it will be
 * called, or a negative errno. */
typedef void (*PolkitDone)(Manager *m, sd_bus_message *message, int allowed);

int polkit_check(Manager *m, sd_bus_message *message, const char *action, PolkitDone done);
