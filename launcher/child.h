/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Children that leave no trace: whoever started deputy-run may have blocked or ignored SIGCHLD, and the
 * command inherits pending signals. A child without an exit signal sends none and isn't reaped by itself,
 * whatever the disposition is. */

#include <sys/types.h>

/* fork(2) without SIGCHLD. The child must stick to simple system calls, _exit(2) and execve(2): libc doesn't
 * know that it's another process. Return: as fork(2). */
pid_t clone_silently(void);

/* Waits for a child of clone_silently(). Return: 0 and its status, or a negative errno. */
int wait_silently(pid_t pid, int *ret_status);
