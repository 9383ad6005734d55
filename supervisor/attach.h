/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Bind mounts from a file system of ours into a target's mount namespace. */

#include <sys/types.h>

/* Makes a device node with the ids and umask in force, on a tmpfs that only this process sees, and detaches a
 * mount of it. "number" is in the kernel's encoding. Return: the fd of the detached mount, or a negative
 * errno. */
int attach_node_tree(mode_t mode, unsigned number);

/* Attaches the detached mount over the file or directory "target_fd", which is in the given mount namespace.
 * Return: 0 or a negative errno. */
int attach_to(int tree_fd, int target_fd, int mount_namespace_fd);

/* Frees the name of the node that attach_node_tree() made. The mounts of it live on. */
void attach_forget_node(void);
