/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "supervisor/handlers/handlers.h"

static Verdict module_handle(Request *request, int64_t *ret_result) {
        return VERDICT_CONTINUED;
}

const Handler module_handler = {
        .name = "module",
        .calls = CALL_BIT(CALL_INIT_MODULE) | CALL_BIT(CALL_FINIT_MODULE),
        .handle = module_handle,
};
