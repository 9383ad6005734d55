/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* org.deputyd1.Target; see org.deputyd1(5). Targets aren't registered one by one: an object is looked up when
 * somebody asks for its path, so that idle targets cost nothing here. */

#include "daemon/target.h"

/* Adds the objects to the connection. Return: 0, or a negative errno. */
int target_bus_add(Manager *m);

/* The object's path; free with g_free(). */
char *target_bus_path(const Target *t);

void target_bus_added(Target *t);
void target_bus_removed(Target *t);

/* One property has changed. */
void target_bus_changed(Target *t, const char *property);

/* All that comes from the policy has changed. */
void target_bus_policy_changed(Target *t);
