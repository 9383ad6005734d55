/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stddef.h>

#include "supervisor/verdict.h"

static const char *const reason_table[_REASON_MAX] = {
        [REASON_DEVICE_NOT_LENT] = "device-not-lent",
        [REASON_NAME_NOT_LENT] = "name-not-lent",
        [REASON_NO_CAPABILITY] = "no-capability",
        [REASON_NESTED_USERNS] = "nested-userns",
        [REASON_USERNS_NOT_ROOT] = "userns-not-owned-by-root",
        [REASON_USER_NOT_LENT] = "user-not-lent",
        [REASON_PATH_NOT_REACHABLE] = "path-not-reachable",
        [REASON_OWNER_NOT_MAPPED] = "owner-not-mapped",
        [REASON_TYPE_NOT_LENT] = "type-not-lent",
        [REASON_SOURCE_NOT_LENT] = "source-not-lent",
        [REASON_TARGET_NOT_LENT] = "target-not-lent",
        [REASON_OPTION_NOT_LENT] = "option-not-lent",
        [REASON_POLICY_NOT_LENT] = "policy-not-lent",
        [REASON_PRIORITY_NOT_LENT] = "priority-not-lent",
        [REASON_PROGRAM_NOT_LENT] = "program-not-lent",
        [REASON_CGROUP_NOT_LENT] = "cgroup-not-lent",
        [REASON_MODULE_NOT_LENT] = "module-not-lent",
        [REASON_PARAMETERS_NOT_LENT] = "parameters-not-lent",
        [REASON_INTERNAL] = "internal",
};

const char *reason_to_string(Reason reason) {
        return reason < _REASON_MAX ? reason_table[reason] : NULL;
}
