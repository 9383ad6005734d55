/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "supervisor/handlers/handlers.h"

static Verdict mount_handle(Request *request, int64_t *ret_result) {
        return VERDICT_CONTINUED;
}

const Handler mount_handler = {
        .name = "mount",
        .calls = CALL_BIT(CALL_MOUNT) | CALL_BIT(CALL_FSOPEN) | CALL_BIT(CALL_FSCONFIG) |
                 CALL_BIT(CALL_FSMOUNT),
        .handle = mount_handle,
};
