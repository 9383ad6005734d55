/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which unit, and which machine, does a process belong to? */

#include <stdbool.h>
#include <sys/types.h>

/* The system unit whose cgroup the process is in: the outermost one below the slices, so that everything that
 * a container or a delegated unit makes below its own cgroup is still that unit. "pidfd" must refer to "pid"
 * and makes sure that it's still the same process after the look.
 * Return: 0 and a name (free with g_free()); -ENODATA if it's in no unit; -ESRCH if it's dead; another
 * negative errno. */
int unit_of_process(pid_t pid, int pidfd, char **ret);

/* The machine that systemd-machined registered for the unit, else the instance of
 * systemd-nspawn@NAME.service. Return: a name (free with g_free()), or NULL. */
char *unit_machine(const char *unit);

/* Is this a unit that deputyd itself waits for (or is)? Its calls would wait for us while we wait for it, so
 * it can have no policy. "own" is our own unit, or NULL. Return: a reason for people, or NULL. */
const char *unit_refused(const char *unit, const char *own);
