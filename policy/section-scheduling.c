/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* [Scheduling]: scheduling: which policies and priorities. */

#include <glib.h>

#include "policy/section.h"

extern const PolicySection policy_section_scheduling;
const PolicySection policy_section_scheduling = {
        .name = "Scheduling",
};
