/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What deputy-run says to people: one line each on stderr, and nothing at all if everything goes well. */

#include <stdbool.h>

/* All failures of deputy-run itself, as env(1), nice(1) and timeout(1) have it; the command's own exit status
 * is whatever it is. */
enum {
        EXIT_OURS = 125,
        EXIT_CANNOT_EXECUTE = 126,
        EXIT_NOT_FOUND = 127,
};

/* --verbose */
void set_verbose(bool verbose);

/* Prints "deputy-run: ...". "error" is an errno of either sign that %m stands for, or 0. Return: -|error|, or
 * -EIO for 0, so that the place that explains a failure can return it too. */
__attribute__((format(printf, 2, 3))) int complain(int error, const char *format, ...);

/* The same, under --verbose only. */
__attribute__((format(printf, 1, 2))) void narrate(const char *format, ...);
