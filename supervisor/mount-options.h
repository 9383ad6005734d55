/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What mount(2) has in two arguments, and fsconfig(2) and fsmount(2) take piece by piece. */

#include "supervisor/mount-request.h"

/* What the flags of mount(2) can have in a call that makes a new superblock: none of the operations that are
 * something else, and none that the kernel refuses. */
bool mount_flags_make_superblock(uint64_t flags);

/* Takes over the flags of mount(2): each goes to the superblock or to the mount, as path_mount() in the
 * kernel's fs/namespace.c has it. */
void mount_options_set_flags(MountRequest *m, uint64_t flags);

/* Takes over the data of mount(2): what the kernel would read, which is the string up to the first NUL and
 * never more than a page. Return: 0; -EINVAL for what's no list of options; -EBADMSG for what's no text. */
int mount_options_parse_data(MountRequest *m, const char *data);

/* The first value of an option, NULL if it isn't there. */
const char *mount_options_get(const MountRequest *m, const char *name);
