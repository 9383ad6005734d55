/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* From the number in a notification back to the call: one small array per architecture, filled once from
 * libseccomp's tables, because a lookup by name has no place between a caller and its answer. */

#include "filter/architecture.h"
#include "filter/filter.h"

/* Beyond every number that one of our calls has anywhere (the unified ones, the highest, are below 600 in
 * 2025 and grow by a few a year). */
#define NR_MAX 1024

/* CallId + 1, so that the untouched table says "none". */
static uint8_t tables[ARCHITECTURES_MAX][NR_MAX];

void filter_resolver_init(void) {
        for (size_t i = 0; i < ARCHITECTURES_MAX; i++)
                for (CallId id = 0; id < _CALL_MAX; id++) {
                        int nr = seccomp_syscall_resolve_name_arch(architectures[i].scmp, call_to_string(id));

                        if (nr == __NR_SCMP_ERROR)
                                nr = call_unified_number(id); /* the name is too new for this libseccomp */
                        if (nr < 0)
                                continue; /* the architecture has no such call */

                        nr &= (int) ~architectures[i].nr_bit;
                        if (nr < NR_MAX)
                                tables[i][nr] = (uint8_t) (id + 1);
                }
}

CallId filter_resolve(unsigned arch, int nr) {
        for (size_t i = 0; i < ARCHITECTURES_MAX; i++) {
                /* A number of the other kind of x86_64 leaves bit 30 set here, which is out of range. */
                uint32_t index = (uint32_t) nr ^ architectures[i].nr_bit;

                if (architectures[i].audit != arch || index >= NR_MAX)
                        continue;

                return tables[i][index] > 0 ? (CallId) (tables[i][index] - 1) : _CALL_INVALID;
        }

        return _CALL_INVALID;
}
