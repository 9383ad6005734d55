/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Paths as the caller sees them: from its root and its working directory, with its ids and its rights, links
 * included. Nothing is looked up by joining or comparing names, and nothing as root first and checked
 * afterwards (law 1).
 *
 * Magic links (/proc/PID/fd/N and the like) would lead a walk of ours out of the caller's world, so they're
 * not followed. The ones that name the caller itself (/proc/self/fd/N, /proc/self/cwd, /proc/self/root, also
 * as /proc/thread-self) are understood, as descriptors of the caller.
 *
 * The result is always an O_PATH descriptor: opening one never blocks on a FIFO or device and has no side
 * effect. A walk may still block for ever on a file system that the target serves itself; deputyd then starts
 * another supervisor. */

#include <stdint.h>

#include "supervisor/caller.h"

#define LOOKUP_NOFOLLOW   (1u << 0) /* the last component isn't followed if it's a link */
#define LOOKUP_EMPTY_PATH (1u << 1) /* "" is what dirfd refers to (AT_EMPTY_PATH) */

/* Everything that a walk needs of the caller is opened first (lookup_prepare()), then the caller is verified,
 * then the walk begins. */
typedef struct Lookup {
        Caller *caller;
        int start_fd;   /* where the walk starts: root, working directory, or a descriptor of the caller */
        bool from_root; /* start_fd is the root directory (not owned) */
        int link_fd;    /* what the path as a whole is a magic link to, or -1 */
        char path[PATH_MAX]; /* as the caller gave it */
        const char *walk;    /* the part of it that is left to walk from start_fd */
        const char *name; /* lookup_parent(): its last component, with trailing slashes; points into path */
} Lookup;

#define LOOKUP_INIT                                                                                          \
        { .start_fd = -1, .link_fd = -1 }

/* Reads the path from the caller's memory and opens where it starts. "dirfd" is as the caller gave it
 * (AT_FDCWD included). Return: 0; -EFAULT, -ENAMETOOLONG, -ENOENT (empty path), -EBADF, -ENOTDIR as the
 * kernel would; -ELOOP for a magic link that isn't understood; or another negative errno. */
int lookup_prepare(Lookup *lookup, Caller *caller, int dirfd, uint64_t path_address, unsigned flags);
/* The same for a path that was copied from the caller's memory before; relative to its working directory. */
int lookup_prepare_path(Lookup *lookup, Caller *caller, const char *path);
void lookup_done(Lookup *lookup);

/* Opens the directory that the last component is in. lookup->name is that component, for an *at() call on the
 * directory: the kernel then deals with ".", "..", trailing slashes and an existing link as natively. Return:
 * a new O_PATH fd, or the negative errno that the caller would see. */
int lookup_parent(Lookup *lookup);

/* Opens the object itself. Return: a new O_PATH fd, or the negative errno that the caller would see. */
int lookup_object(Lookup *lookup, unsigned flags);
