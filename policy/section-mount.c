/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* [Mount]: mounts: which file systems, from where, to where, with which options. */

#include <glib.h>

#include "policy/section.h"

extern const PolicySection policy_section_mount;
const PolicySection policy_section_mount = {
        .name = "Mount",
};
