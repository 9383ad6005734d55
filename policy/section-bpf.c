/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* [Bpf]: bpf(2): which programs. */

#include <glib.h>

#include "policy/section.h"

extern const PolicySection policy_section_bpf;
const PolicySection policy_section_bpf = {
        .name = "Bpf",
};
