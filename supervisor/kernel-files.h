/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

/* Is what the descriptor refers to part of a file system by which the kernel shows and takes what it's told:
 * procfs, sysfs, cgroups and their like? Whether such a file opens, and what's in it, may depend on who opens
 * it beyond its mode, and programs of the host believe what they read there. Yes if it can't be told. */
bool is_kernel_file(int fd);
