/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The seccomp filters of a caller, for a process that's started in its place. The kernel gives a filter to
 * children of a task that has it, and to nobody else; but it shows filters to a debugger
 * (PTRACE_SECCOMP_GET_FILTER), and what was shown can be loaded again.
 *
 * A thread that's blocked in an intercepted call can't be stopped, and only stopped ones are shown. So
 * they're read from another task that has the same ones:
 * - a thread of the same process that has as many (threads share their memory, so there's no wall between
 * them that a filter could be);
 * - an ancestor, if each one from the caller up to the init of its pid namespace has as many: then none of
 *   them has added one after the container was started.
 * If there's none, we don't guess.
 *
 * Needs CAP_SYS_PTRACE and CAP_SYS_ADMIN, a kernel with CONFIG_CHECKPOINT_RESTORE, and that we run without a
 * seccomp filter ourselves. */

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "supervisor/caller.h"

typedef struct TargetFilters {
        size_t n;
        struct sock_fprog *programs; /* oldest first */
} TargetFilters;

/* Reads the caller's filters, of which it has "n". Takes a child and up to a second. Return: 0; -EOPNOTSUPP
 * if they can't be had ("ret_why" then gets a constant text); or another negative errno. */
int target_filters_read(const Caller *caller, size_t n, TargetFilters *ret, const char **ret_why);
void target_filters_clear(TargetFilters *filters);

/* Our own filter says USER_NOTIF, and where there's no listener that means ENOSYS. So in the oldest filter
 * that does nothing but allow and notify, notifying becomes allowing: the kernel decides (law 2). All others
 * stay as they are. */
void target_filters_silence(TargetFilters *filters);

/* Loads them all into the calling thread. Needs no_new_privs or CAP_SYS_ADMIN in its user namespace. Return:
 * 0 or a negative errno. */
int target_filters_load(const TargetFilters *filters);
