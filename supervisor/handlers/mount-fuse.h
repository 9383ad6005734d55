/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Fuse=: a program in the container in place of the kernel. */

#include "supervisor/mount-request.h"
#include "supervisor/request.h"

/* Has "program" mount what's asked for on "target_fd", and waits until it has. Nothing is lent: it runs as
 * the caller, in the container, with what the caller may do. Return: 0, or the errno for the caller;
 * *ret_internal: a failure of ours. m->message tells people what went wrong. */
int mount_by_fuse(Request *request, const char *program, MountRequest *m, int target_fd, bool *ret_internal);
