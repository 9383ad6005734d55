/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The name of a mount's source.
 *
 * The kernel opens the source of a mount by its name, and shows that name in mountinfo(5) ever after. The
 * name is the caller's, and must be shown as it gave it; but what's opened must be the very object that was
 * checked (law 3), not what the name means by then, let alone what it means on the host. So it's looked up in
 * a directory tree of our own, in which it leads to a descriptor of ours. */

/* Makes "name" lead to what "fd" refers to, and that tree our root and working directory. *ret_name is the
 * name to use: the same, or another one if the tree can't have it (".." at the end, more than 255 bytes as
 * fsconfig(2) takes no more, and the like) or a type could take it for something else than a path. It's valid
 * until mount_name_leave(), which must follow whatever happens. Return: 0 or a negative errno (there's
 * nothing to leave then). */
int mount_name_enter(const char *name, int fd, const char **ret_name);

/* Takes the host's root back; ends the process if it can't. */
void mount_name_leave(void);
