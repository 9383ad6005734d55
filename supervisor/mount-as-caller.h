/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The steps of the new mount interface that need no privilege of ours, made as the caller itself would make
 * them: in its user namespace, with its effective capabilities and no others, its file system ids (which must
 * be in force, caller_impersonate()), its root and working directory. What comes of them has the caller's
 * authority alone, and may be put into its hands (law 1).
 *
 * Each runs in a child that shares our memory and descriptors, as a namespace can't be left again. The
 * container can't touch it: it's in none of its pid namespaces and not dumpable. */

#include "supervisor/caller.h"

/* Opens a context for a new superblock of this type, in the caller's user namespace and "mount_namespace_fd".
 * Return: a new fd, or the negative errno that the caller would see. */
int mount_as_caller_fsopen(const Caller *caller, int mount_namespace_fd, const char *type);

/* Sets a parameter of a context that is the caller's. "command" is FSCONFIG_SET_FLAG ("value" is NULL) or
 * FSCONFIG_SET_STRING. The caller must have been verified with its root directory opened. "cwd_fd" is its
 * working directory. Return: 0, or the negative errno that the caller would see. */
int mount_as_caller_set(const Caller *caller, int cwd_fd, int context_fd, unsigned command, const char *key,
                const char *value);

/* Opens the root directory of a detached mount, twice: once for the caller, which holds a shared lock
 * (flock(2)) until the last descriptor of that open file is closed; once for us, to ask for that lock.
 * Return: 0 and two new fds (*ret_locked says whether the file system has such locks), or a negative errno:
 * -EACCES if the caller may not read the directory. */
int mount_as_caller_open(const Caller *caller, int tree_fd, int *ret_fd, int *ret_watch_fd, bool *ret_locked);
