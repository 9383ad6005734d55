/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "supervisor/handlers/handlers.h"

static Verdict bpf_handle(Request *request, int64_t *ret_result) {
        return VERDICT_CONTINUED;
}

const Handler bpf_handler = {
        .name = "bpf",
        .calls = CALL_BIT(CALL_BPF),
        .handle = bpf_handle,
};
