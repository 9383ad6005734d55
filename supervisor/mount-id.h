/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

/* The identity of the mount that "fd" is on, which never comes again (STATX_MNT_ID_UNIQUE, 6.8).
 * Return: 0, -EOPNOTSUPP if the kernel only has numbers that it reuses, or another negative errno. */
int mount_id_unique(int fd, uint64_t *ret);
