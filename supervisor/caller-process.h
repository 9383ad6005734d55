/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a process takes over that's started in a caller's place, so that it can do what the caller could have
 * done by itself and no more.
 *
 * Differences from a child of the caller, all on the narrow side:
 * - Real, effective and saved ids are all the caller's effective ones: who started a set-user-ID mount(8)
 * isn't to get hold of the server.
 * - The bounding set is cut to what the caller holds (permitted). /proc doesn't show securebits, so a caller
 * that has given up root's right to regain capabilities at an execve(2) can't be told from others; with this
 * it doesn't matter. A caller that isn't root of its namespace passes on what it has in effect, by ambient
 * capabilities.
 * - no_new_privs is set if the caller has it or we do. (A supervisor does.)
 * - Its session keyring is a new one. Nice level and I/O priority are the default ones. */

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "supervisor/caller.h"

typedef enum NamespaceKind {
        /* In the order in which they're entered. */
        NAMESPACE_CGROUP,
        NAMESPACE_IPC,
        NAMESPACE_UTS,
        NAMESPACE_NET,
        NAMESPACE_TIME,
        NAMESPACE_PID, /* counts for children only */
        NAMESPACE_MNT,
        NAMESPACE_USER,
        _NAMESPACE_MAX,
} NamespaceKind;

typedef struct CallerProcess {
        int namespace_fds[_NAMESPACE_MAX]; /* -1 if it's ours */
        int root_fd, cwd_fd;               /* O_PATH */
        uid_t uid;                         /* ids as we see them */
        gid_t gid;
        gid_t *groups;
        size_t n_groups;
        mode_t umask;
        CapabilitySet effective, permitted, inheritable, bounding;
        bool no_new_privs;
        size_t n_filters; /* of seccomp */
        struct rlimit limits[RLIM_NLIMITS];
        int oom_score_adj;
        int nice, scheduling;   /* of SCHED_OTHER and so on */
        char *label;            /* what its security module is to be told, or NULL */
        const char *label_file; /* below /proc/thread-self */
} CallerProcess;

/* Reads and opens all of it. The caller is to be verified afterwards. Return: 0, -ENOENT if it's gone, or
 * another negative errno. */
int caller_process_read(Caller *caller, CallerProcess *ret);
void caller_process_clear(CallerProcess *process);

/* Makes the calling process, which is single-threaded, not dumpable and nobody else's, into one like the
 * caller: all but what caller_process_finish() does, and that the pid namespace counts for its children.
 * Needs privilege_base, and CAP_SYS_RESOURCE if limits of ours are lower. Return: 0 or a negative errno;
 * "ret_step" then gets what has failed. */
int caller_process_become(const CallerProcess *process, const char **ret_step);

/* The last steps, to be taken by who's about to call execve(2), with a descriptor of the host's /proc:
 * limits, signals, the security module's label, no_new_privs. Only seccomp filters are missing then. As
 * above. */
int caller_process_finish(const CallerProcess *process, int proc_fd, const char **ret_step);
