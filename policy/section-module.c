/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* [Module]: kernel modules: which ones. */

#include <glib.h>

#include "policy/section.h"

extern const PolicySection policy_section_module;
const PolicySection policy_section_module = {
        .name = "Module",
};
