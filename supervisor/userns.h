/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The user namespaces that callers live in: where each stands, and which ids it maps. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "supervisor/thread-entry.h"

/* Where a caller's user namespace stands. */
typedef enum UsernsKind {
        USERNS_OURS, /* the one we live in: a plain service, or the container manager before it enters the
                        container */
        USERNS_CONTAINER, /* topmost below ours, made by root: the container's own */
        USERNS_NESTED,    /* below a container's: its root isn't root of the container */
        USERNS_NOT_ROOTS, /* topmost below ours, but made by a user */
        USERNS_FOREIGN,   /* not below ours */
} UsernsKind;

typedef struct IdRange {
        uint32_t inside;
        uint32_t outside;
        uint32_t count;
} IdRange;

#define USERNS_RANGES_MAX 340 /* as the kernel's UID_GID_MAP_MAX_EXTENTS */

/* A user namespace that callers live in. Kept (with its descriptor, so that its inode number can't come
 * again) and shared between calls. */
typedef struct Userns {
        int fd;
        ino_t inode;
        UsernsKind kind;
        size_t n_uids, n_gids;
        IdRange *uids, *gids;
        uint64_t used; /* for eviction */
} Userns;

/* Once, at the start, in the namespace that counts as ours. Return: 0 or a negative errno. */
int userns_setup(void);

/* Gets the namespace that this thread is in, which stays valid until the next call. Return: 0; -ESRCH or
 * -EACCES if the entry may be a dead thread's (its namespaces aren't there, or closed to all); another
 * negative errno. */
int userns_get(const ThreadEntry *entry, const Userns **ret);

/* Is "id", as the host knows it, in one of the ranges? */
bool id_ranges_contain(const IdRange *ranges, size_t n, uint32_t id);
