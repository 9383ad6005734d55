/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Messages of the programs themselves. (What happened to a target's call is a structured entry: see
 * journal.h.) They go to stderr: with an sd-daemon(3) level prefix if stderr is the journal, in plain text
 * otherwise. Library code doesn't log above LOG_DEBUG; whoever knows what to say logs once and returns the
 * error. */

#include <errno.h>
#include <stdbool.h>
#include <syslog.h>

/* Sets the "NAME: " that precedes each message on a terminal. */
void log_setup(const char *program_name);

/* LOG_EMERG to LOG_DEBUG; the default is LOG_INFO, or $SYSTEMD_LOG_LEVEL (a name or a number). */
void log_set_level(int level);
int log_get_level(void);

/* "debug" to LOG_DEBUG and back. Return: the level or -EINVAL; NULL for a number that is no level. */
int log_level_from_string(const char *name);
const char *log_level_to_string(int level);

/* Logs one line. "error" is an errno (of either sign, 0 for none) that %m expands to. Returns -abs(error). */
__attribute__((format(printf, 3, 4))) int log_internal(int level, int error, const char *format, ...);

#define log_full_errno(level, error, ...) log_internal((level), (error), __VA_ARGS__)
#define log_error_errno(error, ...)       log_internal(LOG_ERR, (error), __VA_ARGS__)
#define log_warning_errno(error, ...)     log_internal(LOG_WARNING, (error), __VA_ARGS__)
#define log_info_errno(error, ...)        log_internal(LOG_INFO, (error), __VA_ARGS__)
#define log_debug_errno(error, ...)       log_internal(LOG_DEBUG, (error), __VA_ARGS__)
#define log_error(...)                    ((void) log_internal(LOG_ERR, 0, __VA_ARGS__))
#define log_warning(...)                  ((void) log_internal(LOG_WARNING, 0, __VA_ARGS__))
#define log_notice(...)                   ((void) log_internal(LOG_NOTICE, 0, __VA_ARGS__))
#define log_info(...)                     ((void) log_internal(LOG_INFO, 0, __VA_ARGS__))
#define log_debug(...)                    ((void) log_internal(LOG_DEBUG, 0, __VA_ARGS__))
#define log_oom()                         log_internal(LOG_ERR, ENOMEM, "Out of memory")
