/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Filters on the calling thread. Both functions need CAP_SYS_ADMIN; see seccomp(2) and seccomp_unotify(2).
 * Return: the listener (O_CLOEXEC), or a negative errno. */

#include <linux/filter.h>

/* Loads a program. */
int listener_load(struct sock_filter *insns, unsigned short n);

/* Loads one that has a supervisor answer this one call and leaves the others to the kernel. */
int listener_new(int nr);
