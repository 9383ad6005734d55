/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Attributes of a mount that a container can't take back.
 *
 * Whoever has CAP_SYS_ADMIN in the user namespace that owns a mount namespace may change what's mounted in
 * it: "mount -o remount,bind,dev" inside would take the nodev from a mount of ours, and give the container
 * the device nodes that it put into its image. The kernel keeps such attributes (nodev, nosuid, noexec,
 * read-only) only on a mount that came from a more privileged mount namespace, by propagation or when a
 * namespace was copied.
 *
 * So each mount passes from one to the other. Two mount namespaces exist for that, of one small empty file
 * system each and without any process in them, held by descriptors of ours: the outer one belongs to us, the
 * inner one to the container's user namespace and is the slave of the outer one. A mount that's attached in
 * the outer one appears locked in the inner one, where a detached clone is made of it: that's what the
 * container gets. Nothing of it outlives this process, whenever that dies. */

#include "supervisor/caller.h"

/* Makes a locked clone of the detached mount "fd". "flags" (ST_NODEV and so on, of statvfs(3)) are those that
 * the clone must have for this to count. Return: 0 and a new fd; -EPERM if somebody meddled with it; another
 * negative errno. */
int mount_lock(int fd, const Userns *userns, unsigned long flags, int *ret_fd);
