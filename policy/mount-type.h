/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What's known of types of file systems: which are never lent, which options of the others do no harm. */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

typedef enum MountTypeFlags {
        MOUNT_TYPE_NO_SOURCE = 1u << 0, /* its source is a name that means nothing */
        MOUNT_TYPE_NETWORK = 1u << 1,   /* made in the caller's network namespace */
        MOUNT_TYPE_OWNED = 1u << 2,     /* has uid= and gid=, and belongs to who mounts it otherwise */
        MOUNT_TYPE_ERRORS = 1u << 3,    /* the image may ask for a panic at errors; errors=remount-ro wins */
        MOUNT_TYPE_READ_ONLY = 1u << 4, /* can't be written to */
        MOUNT_TYPE_FILES = 1u << 5,     /* takes an image file without a loop device, since 6.12 */
        MOUNT_TYPE_CALLERS = 1u << 6,   /* made in the caller's user namespace, which it belongs to */
} MountTypeFlags;

typedef struct MountType {
        const char *name;
        MountTypeFlags flags;
        const char *replay; /* the option that keeps a read-only mount from writing (a replay of the journal)
                             */
        const char *const *options; /* globs of what's lent by default; NULL-terminated, may be NULL */
} MountType;

/* Return: what's known, or NULL. */
const MountType *mount_type_find(const char *name);

/* Is its superblock the caller's own (MOUNT_TYPE_CALLERS)? */
bool mount_type_is_callers(const char *name);

/* Why this type is never lent, for a person; NULL if it may be. */
const char *mount_type_never_lent(const char *name);

/* Could this be the name of a type? */
bool mount_type_name_is_valid(const char *name);

/* Options that are never lent, whatever AllowOptions= says. */
bool mount_option_never_lent(const char *name, const char *value);

/* Does "NAME" or "NAME=VALUE" match one of these globs? */
bool mount_option_matches(const char *const *globs, size_t n, const char *name, const char *value);
