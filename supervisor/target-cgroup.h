/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The control groups of a container's init, for a process that's started for the container: its limits of
 * memory and processes and its devices count for that process, and it ends with the container's unit.
 *
 * They aren't the caller's. A mount outlives who made it; but what's in the cgroup of a service inside is
 * killed by the container's service manager when the service ends, and mount(8) ends at once. Who may mount
 * in a container may move processes there, too, so that's no way out of anything. */

#include <stddef.h>
#include <sys/types.h>

#include "supervisor/caller.h"

#define TARGET_CGROUPS_LEGACY_MAX 16u

typedef struct TargetCgroups {
        int unified_fd; /* directory in the cgroup2 hierarchy; -1: there's none, or it's ours */
        int legacy_fds[TARGET_CGROUPS_LEGACY_MAX]; /* directories in cgroup v1 hierarchies where it isn't ours
                                                    */
        size_t n_legacy;
} TargetCgroups;

#define TARGET_CGROUPS_INIT                                                                                  \
        { .unified_fd = -1 }

/* Opens them. Return: 0; -EXDEV if one can't be reached from here; another negative errno. */
int target_cgroups_open(const Caller *caller, TargetCgroups *ret);
void target_cgroups_close(TargetCgroups *cgroups);

/* fork(2), the child being born in them. It comes back (0) when it has joined all; one that fails to exits.
 * Works with the file system ids of root and returns with those that were in force. Return: the child's pid,
 * 0 in the child, or a negative errno. */
pid_t target_cgroups_fork(const TargetCgroups *cgroups);
