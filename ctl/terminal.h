/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The terminal that deputyctl writes to: its pager, its colours, and what must never reach it. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "ctl/ctl.h"

typedef enum Style {
        STYLE_NORMAL,
        STYLE_BOLD,
        STYLE_DIM,
        STYLE_RED,
        STYLE_GREEN,
        STYLE_YELLOW,
} Style;

/* Sends what's written to stdout from now on through the pager, if stdout is a terminal and the options
 * don't say otherwise. Call it before the first output of a verb; more than once is fine. */
void terminal_start_pager(const Options *options);

/* Flushes stdout and waits until the pager has been left. Return: 0, or a negative errno if the output
 * couldn't be written (a closed pipe is none). */
int terminal_finish(void);

/* Was stdout a terminal when we were started? */
bool terminal_is_tty(void);

/* Its width as it was before the pager took its place. */
unsigned terminal_width(void);

/* May escape sequences be written to stdout: a terminal, and neither $NO_COLOR nor $SYSTEMD_COLORS is against
 * it? */
bool terminal_has_colours(void);

/* The escape sequence that starts a style (STYLE_NORMAL ends all); "" without colours. */
const char *style(Style style);

/* What targets say (paths, names, arguments) could hold escape sequences: a copy with each control character
 * as \xNN, of valid UTF-8. Free with g_free(). */
char *terminal_escape(const char *text);

/* "Sun 2026-11-22 03:50:32 UTC". Free with g_free(). */
char *format_timestamp(uint64_t realtime_usec);
/* "5min ago", "2h 3min ago". */
char *format_ago(uint64_t realtime_usec);
/* "830ns", "18.2us", "1.20ms", "3.1s". */
char *format_nsec(uint64_t nsec);
