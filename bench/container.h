/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A container as small as can be and yet one to deputyd: a user namespace of its own, made by the host's
 * root, with 65536 ids from CONTAINER_UID_BASE on, and mount and pid namespaces of its own. */

#define CONTAINER_UID_BASE 100000

/* Goes on as the container's first process, its root, with "root" as root directory. The calling process
 * itself stays behind, waits for the container's end and exits as it did. Needs to be root. Return: 0 or a
 * negative errno. */
int container_enter(const char *root);

/* Goes on as a child of the container's first process, which from then on only reaps, as an init does, and
 * ends with the child. Return: 0 or a negative errno. */
int container_start_init(void);

/* Goes on as root of a user namespace below the present one. Return: 0 or a negative errno. */
int container_nest(void);
