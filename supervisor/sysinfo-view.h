/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a caller of sysinfo(2) sees, from its control groups and namespaces.
 *
 * RAM and swap follow the limits on the caller's own cgroup, which may be a service of the container. Number
 * of tasks, loads and uptime are the container's (see container.h), or the host's if there's none. lxcfs
 * knows the container alone, so with its formula RAM and swap are the container's, too.
 *
 * Uptime is the age of the container's init. If the caller is in a time namespace whose CLOCK_BOOTTIME was
 * set, somebody has said already what time it is, and that clock is told, as natively.
 *
 * All of it is kept, so that a call that's repeated reads nothing: which cgroup and container a thread is in,
 * their open files, and the numbers; each for as long as CacheMSec= says. What wasn't asked for during some
 * seconds is closed. There are places for a handful of each, the oldest one makes room. */

#include "policy/policy-sysinfo.h"
#include "supervisor/caller.h"
#include "supervisor/sysinfo-numbers.h"

/* The numbers for a caller that's pinned; "thread" as caller_pin_memory() gave it. Return: 0; -ENOENT if the
 * caller is gone; another negative errno. */
int sysinfo_view(const Caller *caller, uint64_t thread, const SysinfoPolicy *policy, SysinfoNumbers *ret);
