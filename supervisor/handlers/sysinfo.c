/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "supervisor/handlers/handlers.h"

static Verdict sysinfo_handle(Request *request, int64_t *ret_result) {
        return VERDICT_CONTINUED;
}

const Handler sysinfo_handler = {
        .name = "sysinfo",
        .calls = CALL_BIT(CALL_SYSINFO),
        .handle = sysinfo_handle,
};
