/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* [Mount] of a policy: which file systems, from where, to where, with which options. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "policy/device-rule.h"

typedef enum MountReadOnly {
        MOUNT_READ_ONLY_NO,     /* never: a request for a read-only mount is refused */
        MOUNT_READ_ONLY_YES,    /* always, whatever the caller asks for */
        MOUNT_READ_ONLY_CALLER, /* as the caller asks */
} MountReadOnly;

typedef enum MountIDMap {
        MOUNT_ID_MAP_NO,
        MOUNT_ID_MAP_YES,  /* or not at all */
        MOUNT_ID_MAP_AUTO, /* where the file system can */
} MountIDMap;

typedef enum MountNewAPI {
        MOUNT_NEW_API_EMULATE,
        MOUNT_NEW_API_ENOSYS, /* fsopen(2) doesn't exist for the target: mount(8) falls back to mount(2) */
        MOUNT_NEW_API_NATIVE, /* not intercepted */
} MountNewAPI;

/* One item of Fuse=. */
typedef struct MountFuse {
        char *type;
        char *binary; /* a name, looked up in the container, or an absolute path there */
} MountFuse;

typedef struct MountPolicy {
        GPtrArray *types;          /* char *: AllowType= */
        GArray *devices;           /* DeviceRule: AllowSource= */
        GPtrArray *names;          /* globs of AllowSource=, for sources that are neither device nor file */
        bool no_source;            /* AllowSource=none */
        bool loop;                 /* AllowLoop= */
        GPtrArray *targets;        /* globs: AllowTarget=; empty: any */
        GPtrArray *options;        /* globs: AllowOptions= */
        GPtrArray *denied_options; /* globs: DenyOptions= */
        bool no_dev, no_suid, no_exec;
        MountReadOnly read_only;
        MountIDMap id_map;
        GArray *fuse; /* MountFuse */
        uint64_t fuse_start_usec;
        MountNewAPI new_api;
} MountPolicy;

typedef struct Policy Policy;

/* Is this type of file system lent, for the kernel to mount? */
bool policy_allows_mount_type(const Policy *policy, const char *type);

/* The program that mounts this type instead of the kernel, NULL if it's not redirected. */
const char *policy_mount_fuse(const Policy *policy, const char *type);

/* Is this block device lent as a source? */
bool policy_allows_mount_device(const Policy *policy, dev_t device);

/* Is this source, a mere name (NULL is one too), lent for this type, which needs no device? */
bool policy_allows_mount_name(const Policy *policy, const char *type, const char *source);

/* May it be mounted here? "path" is absolute, as seen in the target. */
bool policy_allows_mount_target(const Policy *policy, const char *path);

/* Is this option of the file system lent? "value" is NULL for one without. The options that every file system
 * has ("ro", "sync" …) are no business of this function. */
bool policy_allows_mount_option(const Policy *policy, const char *type, const char *name, const char *value);
