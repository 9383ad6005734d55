/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The calls that are measured, and what each needs to be made again and again. */

/* Where one thread works, so that none meets another's node. Its directory is the working directory's "w",
 * and that is /bench. */
typedef struct Place {
        char bare[32];     /* a name in the working directory */
        char relative[64]; /* the same with directories */
        char absolute[64];
        char own[64];  /* on a file system that the container mounted itself, if it's one */
        char file[64]; /* an ordinary file that exists */
        char directory[64];
        char mount_point[64];
        int directory_fd;
} Place;

typedef struct Operation {
        const char *name;
        long (*call)(const Place *place);   /* as a system call does: -1 and errno, or the result */
        void (*undo)(const Place *place);   /* after a success; may be NULL */
        long result;                        /* what a success returns */
        void (*finish)(const Place *place); /* after the last of many calls; may be NULL */
} Operation;

/* NULL if there's none of that name. */
const Operation *operation_find(const char *name);

/* Makes the files of the thread of this number below the working directory. Return: 0 or a negative errno. */
int place_prepare(Place *ret, unsigned number);

/* Directories that all places share; "mount_own": /bench/own gets a tmpfs. Changes to /bench. */
int place_prepare_all(int mount_own);
