/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "supervisor/request.h"

extern const Handler mknod_handler;
extern const Handler xattr_handler;
