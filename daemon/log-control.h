/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* org.freedesktop.LogControl1(5), what "systemctl service-log-level" talks to. */

#include "daemon/manager.h"

int log_control_add(Manager *m);
