/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The start of a FUSE server, as its processes see it. All of them are plain forks (memory is copied, never
 * shared) and talk over sockets that close with the process:
 *
 * - The *watch* is in the container's cgroup, so that it lives on when deputyd and all of its are killed, and
 * otherwise on the host. It looks whether the mount is there, keeps the time, and cleans up if the supervisor
 * goes away before the end. When the server is ready and the supervisor knows, it leaves.
 * - The *entering* process takes over the caller's namespaces and all else, and makes the minder as its last
 * act: that's the moment when the first of us is seen in the container's pid namespace. It's the watch's
 * child.
 * - The *minder* starts the server as its child, tells the watch how that goes and reads its messages. What
 * the server leaves behind when it goes into the background becomes the minder's child, too, so that the
 * watch finds all there is to kill. Once the server is ready and has closed its stderr, which whoever goes
 * into the background does, it leaves, and the server is the container's init's child. */

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "supervisor/caller-process.h"
#include "supervisor/fuse-server.h"
#include "supervisor/target-seccomp.h"

typedef struct FuseStart {
        const FuseServer *server;
        CallerProcess process;
        TargetFilters filters;
        int null_fd; /* the server's stdin */
        int stderr_r, stderr_w;
        int watch_sock;  /* the watch's end */
        int report_sock; /* the end of all others */
} FuseStart;

typedef enum FuseReportType {
        FUSE_REPORT_TARGET = 1, /* text: the mount point's path. A "go" is awaited. */
        FUSE_REPORT_MINDER,     /* with its pidfd. A "go" is awaited. */
        FUSE_REPORT_FAILED,     /* value: negative errno for the caller; text: a sentence */
        FUSE_REPORT_LINE,       /* text: the last line of stderr */
        FUSE_REPORT_EXITED,     /* value: wait status of the server's first process */
        FUSE_REPORT_ALONE,      /* and there's nothing left of it */
} FuseReportType;

typedef struct FuseReport {
        uint32_t type;
        int32_t value;
        char text[PATH_MAX + 64];
} FuseReport;

/* Answers of the watch, single bytes. */
#define FUSE_WORD_GO   'g'
#define FUSE_WORD_KEEP 'k'

/* The entering process, the minder and the server. */
__attribute__((noreturn)) void fuse_child_run(const FuseStart *start);

/* The watch. Tells the supervisor, over the socket, a FuseAnswer, and awaits FUSE_WORD_KEEP if it's a good
 * one. */
typedef struct FuseAnswer {
        int32_t error; /* 0 or a negative errno */
        FuseResult result;
} FuseAnswer;

__attribute__((noreturn)) void fuse_watch_run(FuseStart *start, int supervisor_sock, FILE *mountinfo);

/* Closes all descriptors but these (and stdio): a copy of the supervisor's would keep its listener open, or
 * the container's mounts busy. */
void fuse_close_all_but(int *fds, size_t n);

/* What the server is called in messages. */
const char *fuse_program_name(const FuseServer *server);
