/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A mount namespace of our own to make mounts in, and the way of a mount from there into a target's. */

#include <sys/types.h>

/* Takes a private mount namespace, once, and stays in it: what the host mounts later still arrives, what's
 * mounted in it never leaves. It has a tmpfs for what mounts are made of (attach_staging_fd()), writable for
 * all ids since nobody else gets there. Return: 0 or a negative errno. */
int attach_setup(void);

/* The root directory of that tmpfs. Only after attach_setup(). */
int attach_staging_fd(void);

/* Comes back from another mount namespace (setns(2)) to our own; ends the process if it can't, since it can't
 * go on in one that a target controls. */
void attach_come_back(void);

/* Makes a device node with the ids and umask in force, on that tmpfs, and detaches a mount of it. "number" is
 * in the kernel's encoding. Return: the fd of the detached mount, or a negative errno. */
int attach_node_tree(mode_t mode, unsigned number);

/* Attaches the detached mount over the file or directory "target_fd", which is in the given mount namespace.
 * Return: 0 or a negative errno. */
int attach_to(int tree_fd, int target_fd, int mount_namespace_fd);

/* Frees the name of the node that attach_node_tree() made. The mounts of it live on. */
void attach_forget_node(void);
