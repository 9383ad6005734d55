/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* "UNIT|FILE": what policy, verify and filter take. */

#include <stdbool.h>

#include "policy/policy.h"

/* A path (it has a slash), or a name that ends in ".conf", is a file; all else is a unit. */
bool argument_is_file(const char *argument);

/* Loads the policy that an argument stands for. Return: 0, or a negative errno that has been logged. */
int policy_load_argument(const char *argument, Policy **ret);

/* Loads several files as one policy, as "deputy-run --policy=" would. Return: as above. */
int policy_load_file_arguments(const char *const *paths, Policy **ret);

/* Logs each problem of a policy. */
void policy_log_problems(const Policy *policy);

/* The names of the shipped profiles, sorted; free with g_strfreev(). */
char **policy_profile_names(void);
