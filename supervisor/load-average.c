/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <math.h>
#include <stddef.h>

#include "supervisor/load-average.h"

#define NSEC_PER_SEC 1e9
#define LOAD_SCALE   65536.0 /* 1 << SI_LOAD_SHIFT */

void load_average_update(LoadAverage *load, uint64_t start_nsec, uint64_t now_nsec, uint64_t active_nsec,
                unsigned most) {
        static const double periods_sec[3] = { 60, 300, 900 };
        uint64_t since = load->looked_nsec > 0 ? load->looked_nsec : start_nsec;
        double elapsed, mean;

        if (now_nsec <= since)
                return;

        elapsed = (double) (now_nsec - since);
        mean = active_nsec > load->active_nsec ? (double) (active_nsec - load->active_nsec) / elapsed : 0;
        if (mean > most)
                mean = most;

        for (size_t i = 0; i < 3; i++) {
                double kept = exp(-elapsed / NSEC_PER_SEC / periods_sec[i]);

                load->averages[i] = load->averages[i] * kept + mean * (1 - kept);
        }

        load->looked_nsec = now_nsec;
        load->active_nsec = active_nsec;
}

void load_average_get(const LoadAverage *load, uint64_t ret[static 3]) {
        for (size_t i = 0; i < 3; i++)
                ret[i] = (uint64_t) (load->averages[i] * LOAD_SCALE + 0.5);
}
