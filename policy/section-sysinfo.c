/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* [Sysinfo]: what sysinfo(2) tells. */

#include <glib.h>
#include <string.h>

#include "policy/section.h"

#define CACHE_MSEC_MAX 60000

static void parse_formula(PolicyLoader *loader, const PolicyKey *key, char *value, void *data) {
        static const char *const names[] = {
                [SYSINFO_FORMULA_AUTO] = "auto",
                [SYSINFO_FORMULA_LXCFS] = "lxcfs",
                [SYSINFO_FORMULA_KERNEL] = "kernel",
        };

        for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
                if (strcmp(value, names[i]) == 0) {
                        if (policy_record(loader, key, value, NULL))
                                *(SysinfoFormula *) data = (SysinfoFormula) i;
                        return;
                }

        policy_warn(loader, key, "write auto, lxcfs or kernel", "\"%s\" is no formula", value);
}

static const PolicyKey keys[] = {
        { "Formula", parse_formula, offsetof(Policy, sysinfo.formula), "auto" },
        { "CacheMSec", policy_parse_unsigned, offsetof(Policy, sysinfo.cache_msec), "100",
                        .max = CACHE_MSEC_MAX },
};

static bool sysinfo_equal(const Policy *a, const Policy *b) {
        return a->sysinfo.formula == b->sysinfo.formula && a->sysinfo.cache_msec == b->sysinfo.cache_msec;
}

extern const PolicySection policy_section_sysinfo;
const PolicySection policy_section_sysinfo = {
        .name = "Sysinfo",
        .keys = keys,
        .n_keys = G_N_ELEMENTS(keys),
        .equal = sysinfo_equal,
};
