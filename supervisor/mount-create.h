/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Steps that all kinds of mounts share, for mount-create.c and its parts. Return of all: 0 or the kernel's
 * negative errno. */

#include "supervisor/mount-request.h"

/* fsconfig(2). */
int mount_configure(int context, unsigned command, const char *key, const char *value);

/* Sets those of m->sb_flags. */
int mount_set_flags(const MountRequest *m, int context);

/* Keeps what the kernel says about the failure: what mount(2) would have written to the kernel's log. */
void mount_take_message(MountRequest *m, int context);

/* Makes a detached mount of the context's superblock. Return: a new fd. */
int mount_of_context(int context);
