/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One load: text and files go in one after another, a Policy comes out. */

#include "policy/section.h"

/* "unit" may be NULL. */
PolicyLoader *policy_loader_new(const char *unit);

/* Reads text. "name" stands for it in problems. */
void policy_loader_add_text(PolicyLoader *loader, const char *text, size_t size, const char *name);

/* Reads a file, unless it's empty or /dev/null: such a file only takes the place of another. Never blocks on
 * a FIFO or a device. A file that's too large or broken is a problem of the policy, not an error.
 * Return: 1 if it counts, 0 if it's empty, -ENOTSUP if it's not a regular file, or another negative errno. */
int policy_loader_add_file(PolicyLoader *loader, const char *path);

/* Adds a problem of a file as a whole. */
__attribute__((format(printf, 5, 6))) void policy_loader_problem(
                PolicyLoader *loader, int level, const char *file, const char *hint, const char *format, ...);

/* Frees the loader and returns what it made. */
Policy *policy_loader_finish(PolicyLoader *loader);
