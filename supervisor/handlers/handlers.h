/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "supervisor/request.h"

extern const Handler mknod_handler;
extern const Handler xattr_handler;
extern const Handler mount_handler;
extern const Handler mount_api_handler;
extern const Handler sysinfo_handler;
extern const Handler scheduling_handler;
extern const Handler bpf_handler;
extern const Handler module_handler;

/* Looks soon, and then now and then, at what is kept for callers of the new mount interface. */
void mount_api_look_soon(Supervisor *s);
