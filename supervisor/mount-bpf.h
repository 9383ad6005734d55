/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* File systems of type bpf, from which programs of the container make BPF tokens ([Bpf] Token=).
 *
 * The superblock is the caller's own: it's made from a context of the caller's user namespace, since the
 * kernel makes tokens for who's in the namespace that the superblock belongs to. All that we add is what it
 * delegates, and the word of somebody with CAP_SYS_ADMIN on the host that it may exist. */

#include "supervisor/mount-request.h"

/* Does the kernel know tokens (since 6.9)? Before that, a bpf file system takes any option and ignores it. */
bool mount_bpf_is_supported(void);

/* As mount_request_create(). What the caller names with delegate_cmds= and its like is delegated, and if it
 * names nothing, all that the policy lends and doesn't deny by DenyOptions=. */
int mount_bpf_create(MountRequest *m, int *ret_fd, bool *ret_internal);
