/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of the scheduling family share. */

#include "supervisor/request.h"
#include "supervisor/target-task.h"

/* Who asks, and may it borrow CAP_SYS_NICE (law 1)? *ret_reason is REASON_NONE if it may, or why not. Return:
 * 0 or a negative errno. */
int scheduling_identify(Request *request, Reason *ret_reason);

/* Ends a call that isn't lent for "reason": continued without a word if the caller has the capability
 * natively or is gone, refused otherwise. Takes the strings over. */
Verdict scheduling_refuse(Request *request, Reason reason, char *arguments, char *hint);

/* setpriority(2), ioprio_set(2): handlers/priority.c. */
Verdict setpriority_handle(Request *request, int64_t *ret_result);
Verdict ioprio_set_handle(Request *request, int64_t *ret_result);
