/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The /proc/TID entries of the threads that asked lately, kept open: a third of the time of a call would go
 * into opening them anew.
 *
 * That's safe because a descriptor of such an entry belongs to the thread that it was opened for, and never
 * to one that gets its number later (reading then fails with ESRCH), because everything is read anew at each
 * call, and because entries of such a procfs keep nothing of the target busy. */

#include <errno.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct ThreadEntry {
        pid_t tid;
        int directory_fd; /* O_PATH of /proc/TID */
        int status_fd;    /* its "status" */
        int userns_fd;    /* O_PATH of the link "ns/user" itself */
        uint64_t used;
        uint64_t serial; /* differs from that of every other entry that was ever opened */
} ThreadEntry;

/* Opens a procfs of the host's processes: one of our own, or /proc. Once, at the start, while the process has
 * the host's root. Return: 0; -EXDEV if /proc is all there is and it's of another pid namespace; another
 * negative errno. */
int thread_entry_setup(void);

/* Its root directory (O_PATH), kept open since then. Numbers of processes mean what they mean to us there,
 * and nowhere else: deputy-run may be started in a pid namespace of its own, with the host's /proc. */
int thread_entry_proc(void);

/* The kept entries of a thread, opened now if there are none. They stay valid until the next call of this
 * function. Return: 0, -ENOENT if there's no such thread, or another negative errno. */
int thread_entry_get(pid_t tid, ThreadEntry **ret);

/* Closes them: the thread is dead. */
void thread_entry_drop(ThreadEntry *entry);

/* What an errno of something below /proc/TID means to a caller of ours: ESRCH, as well as ENOENT, that the
 * thread is gone. Return: a negative errno. */
static inline int thread_gone_or(int error) {
        return error == ESRCH ? -ENOENT : -error;
}
