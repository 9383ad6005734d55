/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* "UNIT": what enable and disable take. */

/* Completes a unit's name ("foo" is foo.service) and checks that it can be a target. Return: 0 and a new
 * string in *ret, or a negative errno that has been logged. */
int unit_argument_complete(const char *argument, char **ret);

/* Can this kind of unit be a target at all? Return: 0, or -EINVAL, which has been logged. */
int unit_argument_check_type(const char *unit);
