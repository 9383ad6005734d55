/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "supervisor/handlers/handlers.h"

static Verdict scheduling_handle(Request *request, int64_t *ret_result) {
        return VERDICT_CONTINUED;
}

const Handler scheduling_handler = {
        .name = "scheduling",
        .calls = CALL_BIT(CALL_SCHED_SETSCHEDULER) | CALL_BIT(CALL_SCHED_SETPARAM) |
                 CALL_BIT(CALL_SCHED_SETATTR) | CALL_BIT(CALL_SETPRIORITY) | CALL_BIT(CALL_IOPRIO_SET),
        .handle = scheduling_handle,
};
