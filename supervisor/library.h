/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Shared libraries that only rare calls need: opened then, by their child, so that a supervisor's start and
 * memory don't pay for them. */

#include <stddef.h>

typedef struct LibrarySymbol {
        const char *name;
        void *function; /* address of the pointer to fill in */
} LibrarySymbol;

/* Opens the library, for as long as the process lives, and finds the functions. Return: 0, or -EOPNOTSUPP if
 * it isn't there or lacks one. */
int library_open(const char *soname, const LibrarySymbol *symbols, size_t n_symbols);
