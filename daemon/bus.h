/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The connection to the message bus. It's nothing that calls of targets depend on: everything is
 * asynchronous, what a slow bus doesn't take is left out, and the daemon runs without one and connects when
 * it comes. */

#include "daemon/manager.h"

#define BUS_NAME          "org.deputyd1"
#define BUS_PATH          "/org/deputyd1"
#define BUS_PATH_TARGET   BUS_PATH "/target"
#define MANAGER_INTERFACE "org.deputyd1.Manager"
#define TARGET_INTERFACE  "org.deputyd1.Target"

/* Begins to connect. Return: 0, or a negative errno. */
int bus_start(Manager *m);

/* Gives the connection up at once. */
void bus_stop(Manager *m);

/* Gives the name back and calls "done" when the bus has confirmed it or can't. */
void bus_release_name(Manager *m, void (*done)(Manager *m));

/* Should a signal be sent now? */
bool bus_takes_signals(const Manager *m);
