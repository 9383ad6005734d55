/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A FUSE server in place of a mount(2): what a caller wants mounted is served by a program of the caller's
 * own root file system (fuse2fs, squashfuse, ntfs-3g), which runs as the caller would run it: in its
 * namespaces and its container's cgroup, under its seccomp filters and limits, with its ids and no more than
 * its capabilities. No privilege is lent for it: the program mounts natively, in the container's user
 * namespace. So there's nothing that a hostile image could attack but the container itself.
 *
 * (fuseblk needs CAP_SYS_ADMIN in the initial user namespace. ntfs-3g tries it for block devices only if it
 * runs as real root and falls back to an ordinary fuse mount.)
 *
 * Four processes take part, so that each ends when it must (see fuse-watch.c and fuse-child.c):
 *
 *   supervisor ── watch ── entering (leaves at once)
 *                   └───── minder ── the server        the last two in the container's pid namespace
 *
 * What a hostile container may try, and what meets it:
 * - To hang us: a program that never gets ready, a working directory, /dev/fuse or a program on a file system
 * that doesn't answer. All of that is touched by processes that are killed when the time is over.
 * - To get at a process of ours that is half inside: it isn't dumpable and its memory belongs to our user
 * namespace, so neither ptrace(2) nor its links in /proc open up to root of the container, and it takes over
 * everything of the caller's before the first process becomes visible in the container's pid namespace.
 * - To get out of its seccomp filters, its container's cgroup or its limits by having a program of its own
 * started: it gets all of them, or isn't started. (Control groups that the container makes for itself don't
 * hold it: it's put beside the container's init, as a service manager in there would end it with its caller.)
 * - To flood the journal: the server's messages are escaped and limited (fuse-stderr.c). */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "supervisor/caller.h"

/* What the supervisor needs for it beyond privilege_base: to give limits and OOM score their values, and to
 * put a process into the container's cgroups. */
#define FUSE_SERVER_CAPABILITIES (CAPABILITY_BIT(CAP_SYS_RESOURCE) | CAPABILITY_BIT(CAP_DAC_OVERRIDE))

#define FUSE_START_USEC_DEFAULT (UINT64_C(10) * 1000 * 1000)

/* Longer than "start_usec" by so much fuse_server_start() never takes. */
#define FUSE_START_MARGIN_USEC (UINT64_C(4) * 1000 * 1000)

typedef struct FuseServer {
        Caller *caller;      /* identified (caller_identify()), and allowed to borrow CAP_SYS_ADMIN */
        const char *program; /* a name, looked up in the usual directories of the caller's root; or an
                                absolute path */
        const char *source;  /* its first argument, as the caller wrote it */
        int target_fd; /* O_PATH of the mount point, looked up as the caller; gives the second argument */
        const char *options; /* for "-o"; NULL or "": none */
        uint64_t start_usec; /* how long the start may take; 0: FUSE_START_USEC_DEFAULT */
        int journal_fd;      /* of journal_open(), for the server's messages; -1: they're dropped */
        const char *const *journal_fields; /* "NAME=value", added to each of them; may be NULL */
        size_t n_journal_fields;
} FuseServer;

typedef struct FuseResult {
        uint64_t mount_id; /* of the new mount, as in the caller's mountinfo; 0 on failure */
        int exit_status;   /* wait status of the program if it has ended; -1 if not */
        char message[512]; /* on failure: a sentence for the journal. What the container wrote is escaped in
                              it. */
} FuseResult;

#define FUSE_RESULT_INIT                                                                                     \
        { .exit_status = -1 }

/* Starts the server and waits until it has mounted. It then outlives us and dies with the caller's pid
 * namespace. On failure, or if the calling process dies before this returns, everything that was started is
 * killed and what it mounted is unmounted.
 *
 * Blocks for up to start_usec + FUSE_START_MARGIN_USEC, which must be less than the policy's CallTimeoutSec=:
 * deputyd kills a supervisor after that. Call it after the target was looked up, before caller_verify() at
 * will: it reads more of the caller and then verifies it itself. The calling process must be able to reap its
 * children, have the host's root directory and /proc, and be single-threaded; worker_run() is a fitting
 * place. The file system ids in force are used and restored.
 *
 * Return: 0; or what the caller's mount(2) is to get:
 *   -ENOPKG      the program isn't in the container (message: which package to install)
 *   -EACCES      it may not be executed
 *   -ENOEXEC     it isn't a program
 *   -ENODEV      there's no usable /dev/fuse in the container (message: how to pass it)
 *   -EINVAL      it has ended with a failure: not such a file system, bad option, …, as the kernel says it
 *   -EIO         it was killed by a signal, or ended without having mounted anything
 *   -ETIMEDOUT   it wasn't ready in time
 *   -ESTALE      the mount point has no name that leads to it
 *   -EAGAIN, -ENOMEM, …  no process could be made under the container's own limits
 * or -EOPNOTSUPP: it can't be done under the caller's restrictions (message: why); nothing was started, and
 * the call had better be continued; -ENOENT: the caller is gone; another negative errno: an internal failure
 * (message). "ret" is always written. */
int fuse_server_start(const FuseServer *server, FuseResult *ret);

/* The id of the mount that a descriptor is on, as in the caller's mountinfo, without touching its file
 * system. Return: 1 if that is a FUSE file system, 0 if it's another one; or a negative errno.
 *
 * For a successor that serves a call again: if the first attempt noted the id of target_fd's mount beforehand
 * (SlotStage), and the target, looked up again, is now on a FUSE mount of another id, then the first attempt
 * was successful. */
int fuse_server_mount_of(const Caller *caller, int fd, uint64_t *ret_mount_id);
