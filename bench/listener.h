/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Puts a filter on the calling thread that lets one call be answered by a supervisor and leaves the others to
 * the kernel. Needs CAP_SYS_ADMIN. See seccomp_unotify(2). Return: the listener (O_CLOEXEC), or a negative
 * errno. */
int listener_new(int nr);
