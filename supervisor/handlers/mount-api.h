/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the handlers of the new mount interface share. */

#include "supervisor/handlers/handlers.h"
#include "supervisor/mount-contexts.h"
#include "supervisor/mount-request.h"

Verdict mount_api_fsopen(Request *request, int64_t *ret_result);
Verdict mount_api_fsconfig(Request *request, int64_t *ret_result);
Verdict mount_api_fsmount(Request *request, int64_t *ret_result);
Verdict mount_api_move_mount(Request *request, int64_t *ret_result);
Verdict mount_api_mount_setattr(Request *request, int64_t *ret_result);

/* CLOCK_MONOTONIC, as mount-contexts.h takes it. */
uint64_t mount_api_now_usec(void);

/* Which context of ours is this descriptor of the caller? Return: as mount_context_find(). */
int mount_api_find_context(Request *request, int fd, MountContext **ret);

/* Ids, capabilities and namespace of the caller. Return: REASON_NONE or why it may not borrow; *ret_error is
 * a negative errno if it isn't known. */
Reason mount_api_identify(Request *request, int *ret_namespace_fd, int *ret_error);

/* Puts together what the caller has asked for so far. Return: 0 or a negative errno. */
int mount_api_build_request(Request *request, const MountParameters *parameters, MountRequest *ret);

/* Answers the call with this result, a negative errno if it failed. */
Verdict mount_api_answer(Request *request, int64_t result, int64_t *ret_result);

/* Says in the journal why the call is left to the kernel. Takes both strings over. */
Verdict mount_api_refuse(Request *request, Reason reason, char *arguments, char *hint);

/* What's asked for, for Request.arguments. */
char *mount_api_describe(const MountRequest *m);
