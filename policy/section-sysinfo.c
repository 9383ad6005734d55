/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* [Sysinfo]: what sysinfo(2) tells. */

#include <glib.h>

#include "policy/section.h"

extern const PolicySection policy_section_sysinfo;
const PolicySection policy_section_sysinfo = {
        .name = "Sysinfo",
};
