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
        [REASON_INTERNAL] = "internal",
};

const char *reason_to_string(Reason reason) {
        return reason < _REASON_MAX ? reason_table[reason] : NULL;
}
