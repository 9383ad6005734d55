/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Loop devices for image files. */

#include <stdbool.h>

/* Makes a free loop device show the file "file_fd" (open for reading, and for writing unless "read_only").
 * It's freed by itself when its last user closes it (LO_FLAGS_AUTOCLEAR): as long as nothing has mounted it,
 * that's us alone, so that nothing is left whenever this process dies. Return: 0 and a new fd of the device,
 * or a negative errno. */
int loop_device_attach(int file_fd, bool read_only, int *ret_fd);
