/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The floor: a supervisor that does nothing but receive a notification and answer it with a value. What an
 * intercepted call costs beyond this is ours. */

/* Starts such a supervisor in a child and puts the filter on the calling thread: getppid(2) returns
 * ROUND_TRIP_RESULT from then on. Return: 0 or a negative errno. */
int round_trip_start(void);

#define ROUND_TRIP_RESULT 4711
