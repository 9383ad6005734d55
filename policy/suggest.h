/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* "Did you mean ...?" for names of policy files that we don't know. */

#include "policy/section.h"

/* Return: a hint; free with g_free(). */
char *suggest_section(const char *name);

/* Return: a hint, or NULL if nothing is near. Free with g_free(). */
char *suggest_key(const PolicySection *section, const char *name);
