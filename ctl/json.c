/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/json.h"

void json_init(Json *json, OutputFormat format) {
        *json = (Json){ .text = g_string_new(NULL), .pretty = format == OUTPUT_JSON_PRETTY };
}

void json_finish(Json *json) {
        fputs(json->text->str, stdout);
        putchar('\n');
        g_string_free(json->text, TRUE);
        json->text = NULL;
}

static void append_string(GString *text, const char *value) {
        /* A byte that's no UTF-8 would make the document invalid: it becomes U+FFFD. */
        g_autofree char *valid = g_utf8_make_valid(value, -1);

        g_string_append_c(text, '"');
        for (const char *p = valid; *p; p++)
                if (*p == '"' || *p == '\\')
                        g_string_append_printf(text, "\\%c", *p);
                else if (*p == '\n')
                        g_string_append(text, "\\n");
                else if (*p == '\t')
                        g_string_append(text, "\\t");
                else if ((unsigned char) *p < 0x20 || *p == 0x7f)
                        g_string_append_printf(text, "\\u%04x", (unsigned) *p);
                else
                        g_string_append_c(text, *p);
        g_string_append_c(text, '"');
}

static void new_line(Json *json) {
        if (!json->pretty)
                return;

        g_string_append_c(json->text, '\n');
        for (unsigned i = 0; i < json->depth; i++)
                g_string_append_c(json->text, '\t');
}

static void begin_member(Json *json, const char *name) {
        if (json->filled)
                g_string_append_c(json->text, ',');
        if (json->depth > 0)
                new_line(json);
        json->filled = true;

        if (!name)
                return;

        append_string(json->text, name);
        g_string_append(json->text, json->pretty ? " : " : ":");
}

void json_open(Json *json, const char *name, char bracket) {
        begin_member(json, name);
        g_string_append_c(json->text, bracket);
        json->depth++;
        json->filled = false;
}

void json_close(Json *json, char bracket) {
        json->depth--;
        if (json->filled)
                new_line(json);
        g_string_append_c(json->text, bracket);
        json->filled = true;
}

void json_string(Json *json, const char *name, const char *value) {
        begin_member(json, name);
        if (value)
                append_string(json->text, value);
        else
                g_string_append(json->text, "null");
}

void json_number(Json *json, const char *name, uint64_t value) {
        begin_member(json, name);
        g_string_append_printf(json->text, "%" PRIu64, value);
}

void json_bool(Json *json, const char *name, bool value) {
        begin_member(json, name);
        g_string_append(json->text, value ? "true" : "false");
}

void json_strv(Json *json, const char *name, const char *const *values) {
        json_open(json, name, '[');
        for (; values && *values; values++)
                json_string(json, NULL, *values);
        json_close(json, ']');
}
