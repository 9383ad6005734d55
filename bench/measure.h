/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "bench/operation.h"

/* Makes the call "warm_up" times, then n times, each timed by CLOCK_MONOTONIC less what reading the clock
 * itself takes. Each call must end with the errno "expected" (0: succeed). Stores n durations in ns. Return:
 * 0, or a negative errno: what a call ended with instead (-EPROTO: it succeeded where it mustn't, or returned
 * something else). */
int measure_each(const Operation *operation, const Place *place, int expected, size_t warm_up, size_t n,
                uint32_t *ret_nsec);

typedef struct Load {
        uint64_t calls;
        double calls_per_second;
        uint64_t longest_nsec; /* of any single call */
} Load;

/* Lets that many threads make the call for so long, each in its own place, undoing it each time. Return: as
 * above. */
int measure_load(const Operation *operation, const Place *places, unsigned n_threads, int expected,
                unsigned msec, Load *ret);

/* Starts the program n times and waits for its end. Return: 0, -ECHILD if it failed, or a negative errno. */
int measure_start(char *const argv[], size_t n, uint32_t *ret_nsec);
