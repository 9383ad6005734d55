/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A writer of JSON (RFC 8259), short or pretty. libsmartcols writes tables alone and only its own layout;
 * deputyctl's answers are deeper than a table. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "ctl/ctl.h"

typedef struct Json {
        GString *text;
        unsigned depth;
        bool pretty;
        bool filled; /* the innermost object or array has a member */
} Json;

/* Starts a document; it's printed and freed by json_finish(). */
void json_init(Json *json, OutputFormat format);
void json_finish(Json *json);

/* Each takes the member's name in an object, NULL in an array or at the top. */
void json_open(Json *json, const char *name, char bracket);
void json_close(Json *json, char bracket);
void json_string(Json *json, const char *name, const char *value); /* NULL becomes null */
void json_number(Json *json, const char *name, uint64_t value);
void json_bool(Json *json, const char *name, bool value);
void json_strv(Json *json, const char *name, const char *const *values); /* NULL becomes [] */
