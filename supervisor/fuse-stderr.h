/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a FUSE server prints, on its way to the journal: line by line, escaped, and no more than so many lines
 * in a time. It's read whether there's room in the journal or not, so the server never waits. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FUSE_LINE_MAX            1024u
#define FUSE_LINES_BURST         60u
#define FUSE_LINES_INTERVAL_USEC (UINT64_C(30) * 1000 * 1000)

typedef struct FuseStderr {
        int fd;         /* read end of its pipe, non-blocking; -1: it's closed */
        int journal_fd; /* or -1 */
        const char *identifier;
        const char *const *fields; /* added to each entry */
        size_t n_fields;

        char line[FUSE_LINE_MAX + 1]; /* the beginning of the next one */
        size_t size;
        bool cut;                     /* the rest of a long one is being skipped */
        char last[FUSE_LINE_MAX + 1]; /* the last whole line that wasn't empty */

        uint64_t interval_start_usec;
        unsigned n_in_interval;
        uint64_t n_dropped;
} FuseStderr;

/* Reads some of what's there, at most 64 KiB. Return: 1 if there may be more, 0 if there's nothing now, or
 * -EPIPE at its end (all writers have closed it; "fd" is closed then). */
int fuse_stderr_read(FuseStderr *e);

/* Writes an entry of our own about it. */
void fuse_stderr_say(FuseStderr *e, int priority, const char *message);
