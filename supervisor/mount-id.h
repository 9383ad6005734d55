/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

/* The identity of the mount that "fd" is on, which never comes again (STATX_MNT_ID_UNIQUE, 6.8).
 * Return: 0, -EOPNOTSUPP if the kernel only has numbers that it reuses, or another negative errno. */
int mount_id_unique(int fd, uint64_t *ret);

/* The number that mountinfo(5) has for the mount that "fd" is on (STATX_MNT_ID, 5.8). It's reused when the
 * mount is gone. Return: 0, -EOPNOTSUPP, or another negative errno. */
int mount_id(int fd, uint32_t *ret);

/* The same, or where the kernel has none, a number that no other mount has while this one lives. Return: 0 or
 * a negative errno. */
int mount_id_living(int fd, uint64_t *ret);
