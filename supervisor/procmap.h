/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Questions about the memory map of another process. */

#include <stddef.h>
#include <stdint.h>

/* Is the whole range mapped writable in the process whose /proc/TID "proc_fd" is? Asks by PROCMAP_QUERY
 * (6.11) or reads /proc/TID/maps. Return: 0; -EFAULT if not; -ENOENT if the process is gone; another negative
 * errno. */
int procmap_check_writable(int proc_fd, uint64_t address, size_t size);
