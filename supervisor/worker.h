/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Work that may take long, hang or be attacked, in a child of its own: it dies with us, and after its time.
 * Such a child costs some 200 µs, so it's nothing for the path of an ordinary call. */

#include <stddef.h>
#include <stdint.h>

/* Runs in the child, which has copies of our memory and descriptors and our privileges; what it makes of
 * those is its affair. "ret" is a zeroed buffer for what it has to tell us, *ret_fd is -1 and may be set to a
 * descriptor for us (which stays the child's). Return: 0 or more, or a negative errno: worker_run() returns
 * the same. */
typedef int (*WorkerFunc)(void *userdata, void *ret, int *ret_fd);

/* Longest answer. */
#define WORKER_ANSWER_MAX 4096u

/* Runs "work" in a child and waits for it for up to "timeout_usec" (UINT64_MAX: for ever). "ret" (of "size"
 * bytes, may be NULL) and "ret_fd" (may be NULL; the descriptor is ours then) are written if the child has
 * answered. Return: what "work" returned; -ETIMEDOUT if it took too long and was killed; -ECHILD if it died
 * without an answer; or another negative errno. The child is dead and reaped when this returns, unless it's
 * stuck in the kernel. */
int worker_run(WorkerFunc work, void *userdata, uint64_t timeout_usec, void *ret, size_t size, int *ret_fd);

/* For a worker: closes all its descriptors from "first" on but the one that its answer goes to. Those that it
 * got from us are copies. Return: 0 or a negative errno. */
int worker_close_files(int first);

/* In any child, also one that shares our memory: ends it with its parent. A change of credentials may undo
 * that, so it's for afterwards. Return: 0, -ESRCH if the parent is dead already, or another negative errno.
 */
int worker_end_with(pid_t parent);

/* The same for a child of worker_run() that has changed its ids (the file system's, too). */
int worker_end_with_parent(void);
