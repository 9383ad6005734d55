/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where a mount comes from: a block device, an image file, or nothing but a name. */

#include "supervisor/mount-request.h"

/* Finds out what the source is, and opens it as the caller by its path, from its root and working directory;
 * after that the path means nothing any more. An errno that the caller would see is kept in m->source_error.
 * Return: 0, -ENOENT if the caller is gone, or another negative errno. */
int mount_source_resolve(MountRequest *m);

/* Is it lent? */
Reason mount_source_check(MountRequest *m);

/* Opens the image with the caller's own rights over it. Return: 0 and a new fd; or the errno that the caller
 * would see. */
int mount_source_open_image(MountRequest *m, bool read_only, int *ret_fd);
