/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "policy/policy.h"

/* Longest text of parameters that's looked at. */
#define MODULE_PARAMETERS_MAX 4096u

/* Reads the parameters that a caller wants for a module and writes those that the policy lends anew, so that
 * what was checked is what's used. "text" is changed. Return: 0 and a text (free with g_free()); -EPERM, and
 * *ret_refused is "MODULE.PARAMETER" (free with g_free(); may be NULL if the text can't be understood). */
int module_parameters_check(
                const Policy *policy, const char *module, char *text, char **ret, char **ret_refused);
