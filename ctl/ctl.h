/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the verbs of deputyctl share: the options of the command line, and the entry point of each verb. A
 * verb gets its arguments, without its own name and NULL-terminated, and prints what it has to say. Return:
 * 0, or a negative errno of which it has told the reason; it becomes exit status 1. */

#include <glib.h>
#include <stdbool.h>

#include "filter/filter.h"
#include "policy/policy.h"

#define _cleanup_(function) __attribute__((cleanup(function)))

#define EXIT_USAGE 2

typedef enum OutputFormat {
        OUTPUT_TEXT,
        OUTPUT_JSON_SHORT,
        OUTPUT_JSON_PRETTY,
} OutputFormat;

typedef struct Options {
        OutputFormat output;
        bool pager;
        bool legend;
        bool full;
        bool quiet;
        bool now;
        bool runtime;
        bool dry_run;
        bool strict;
        unsigned lines;
        FilterFormat format;
        GPtrArray *profiles; /* char * */
} Options;

int verb_list(char **arguments, const Options *options);
int verb_status(char **arguments, const Options *options);
int verb_policy(char **arguments, const Options *options);
int verb_verify(char **arguments, const Options *options);
int verb_enable(char **arguments, const Options *options);
int verb_disable(char **arguments, const Options *options);
int verb_reload(char **arguments, const Options *options);
int verb_explain(char **arguments, const Options *options);
int verb_filter(char **arguments, const Options *options);
