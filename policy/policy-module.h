/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* [Module] of a policy: which kernel modules, and with which parameters. */

#include <glib.h>
#include <stdbool.h>

/* As the kernel's MODULE_NAME_LEN allows on 64-bit machines. */
#define MODULE_NAME_MAX 55u

/* Longest alias ("pci:v00008086d*…") and longest pattern of a parameter that a policy may name. */
#define MODULE_ALIAS_MAX 255u

typedef struct Policy Policy;

typedef struct ModulePolicy {
        GPtrArray *modules; /* char *: names, and aliases that the host resolves; "-" written as "_" in names
                             */
        GPtrArray *parameters; /* char *: globs of "MODULE.PARAMETER" or "MODULE.PARAMETER=VALUE" */
} ModulePolicy;

/* Can this be the name of a module, "-" and "_" being the same? */
bool module_name_is_valid(const char *name);

/* Writes "-" as "_", as the kernel does. */
void module_name_normalize(char *name);

/* Is a module of this (normalized) name lent by its own name? (It may still be by an alias: only the host's
 * module tree knows those.) */
bool policy_allows_module(const Policy *policy, const char *name);

/* Is this parameter of the module lent? "value" may be NULL: a parameter without. */
bool policy_allows_module_parameter(
                const Policy *policy, const char *module, const char *parameter, const char *value);
