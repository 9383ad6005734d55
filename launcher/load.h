/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>

/* Loads the program for this thread and what it becomes, and makes its listener (O_CLOEXEC). Sets
 * no_new_privs if, and only if, the kernel demands it. Explains a failure on stderr. Return: the listener, or
 * the negative errno of seccomp(2). */
int load_filter(const struct sock_filter *insns, size_t n_insns, bool *ret_wait_killable);
