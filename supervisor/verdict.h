/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What becomes of one call. See law 2 in docs/architecture.md: only VERDICT_EMULATED (and, if OnFailure= says
 * so, VERDICT_FAILED) gives the caller an answer of ours; all else is left to the kernel, which decides as if
 * deputyd weren't there. */

typedef enum Verdict {
        VERDICT_EMULATED, /* done on the caller's behalf; the result may be an errno, the one the kernel would
                             have given */
        VERDICT_CONTINUED, /* not our business */
        VERDICT_REFUSED,   /* the policy or the capability law says no */
        VERDICT_FAILED,    /* we couldn't */
} Verdict;

/* Why a call was refused or failed. Their names are DEPUTYD_REASON= in the journal; "deputyctl explain" has a
 * sentence for each. */
typedef enum Reason {
        REASON_NONE,
        REASON_DEVICE_NOT_LENT,
        REASON_NAME_NOT_LENT,
        REASON_NO_CAPABILITY,
        REASON_NESTED_USERNS,
        REASON_USERNS_NOT_ROOT,
        REASON_USER_NOT_LENT,
        REASON_PATH_NOT_REACHABLE,
        REASON_OWNER_NOT_MAPPED,
        REASON_TYPE_NOT_LENT,
        REASON_SOURCE_NOT_LENT,
        REASON_TARGET_NOT_LENT,
        REASON_OPTION_NOT_LENT,
        REASON_POLICY_NOT_LENT,
        REASON_PRIORITY_NOT_LENT,
        REASON_PROGRAM_NOT_LENT,
        REASON_CGROUP_NOT_LENT,
        REASON_MODULE_NOT_LENT,
        REASON_PARAMETERS_NOT_LENT,
        REASON_INTERNAL,
        _REASON_MAX,
} Reason;

/* Return: the keyword, NULL for REASON_NONE. */
const char *reason_to_string(Reason reason);
