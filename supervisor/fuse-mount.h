/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is mounted on a mount point, read from a mountinfo file: the file system itself, which may not answer,
 * is never touched. */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* A place where something may be mounted. */
typedef struct FuseMountPoint {
        FILE *mountinfo;    /* of a process in the mount namespace; gives paths as seen from its root */
        uint64_t parent_id; /* the mount that it is on */
        char *path;
        uint64_t known_id; /* what was there before; 0: nothing */
} FuseMountPoint;

/* The id of the mount that a descriptor is on, from /proc/self/fdinfo. Return: 0 or a negative errno. */
int fuse_mount_id(int fd, uint64_t *ret);

/* The id of the topmost mount there. Return: 1 if it's a FUSE file system, 0 if it's another one or none (id
 * 0); or a negative errno. */
int fuse_mount_look(const FuseMountPoint *point, uint64_t *ret_id);

/* Is the mount of this id a FUSE file system? Return: 1, 0, -ENOENT if there's no such mount; another
 * negative errno. */
int fuse_mount_is_fuse(FILE *mountinfo, uint64_t id);
