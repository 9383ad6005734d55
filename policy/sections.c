/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The table of sections. A new one is a file section-NAME.c and a line here. */

#include "policy/section.h"

extern const PolicySection policy_section_intercept;
extern const PolicySection policy_section_mknod;
extern const PolicySection policy_section_setxattr;
extern const PolicySection policy_section_mount;
extern const PolicySection policy_section_sysinfo;
extern const PolicySection policy_section_scheduling;
extern const PolicySection policy_section_bpf;
extern const PolicySection policy_section_module;

const PolicySection *const policy_sections[] = {
        &policy_section_intercept,
        &policy_section_mknod,
        &policy_section_setxattr,
        &policy_section_mount,
        &policy_section_sysinfo,
        &policy_section_scheduling,
        &policy_section_bpf,
        &policy_section_module,
        NULL,
};

bool policy_keys(size_t i, const char **ret_section, const char **ret_key, const char **ret_default) {
        for (const PolicySection *const *s = policy_sections; *s; s++) {
                if (i >= (*s)->n_keys) {
                        i -= (*s)->n_keys;
                        continue;
                }

                *ret_section = (*s)->name;
                *ret_key = (*s)->keys[i].name;
                *ret_default = (*s)->keys[i].fallback;
                return true;
        }

        return false;
}
