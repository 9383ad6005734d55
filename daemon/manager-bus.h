/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* org.deputyd1.Manager; see org.deputyd1(5). */

#include "daemon/manager.h"

/* Adds the object to the connection. Return: 0, or a negative errno. */
int manager_bus_add(Manager *m);

/* NTargets may have changed. */
void manager_bus_changed(Manager *m);
