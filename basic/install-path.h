/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where our own files are, relative to the running program: an installed tree works from wherever it was put
 * (DESTDIR, a home directory), and a build tree works without being installed. */

#include <stddef.h>

/* The path of a file below PKGLIBDIR ("deputy-supervisor", "profiles", "policy.d"), seen from the program
 * that runs: the first that exists of
 *   - EXE_DIR/NAME                        (both in PKGLIBDIR),
 *   - EXE_DIR/../lib/deputyd/NAME         (the program in BINDIR),
 *   - for a build tree, EXE_DIR/../SUBDIR/NAME, where SUBDIR is "supervisor" for deputy-supervisor and so on,
 *   - PKGLIBDIR/NAME as configured (also the answer if none exists).
 * Return: 0 and a path (free with free()), or -ENOMEM. */
int install_path(const char *name, char **ret);
