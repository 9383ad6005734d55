/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "supervisor/request.h"

extern const Handler mknod_handler;
extern const Handler xattr_handler;
extern const Handler mount_handler;
extern const Handler sysinfo_handler;
extern const Handler scheduling_handler;
extern const Handler bpf_handler;
extern const Handler module_handler;
