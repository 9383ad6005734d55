/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Tables for people, by libsmartcols. */

#include <libsmartcols.h>
#include <stddef.h>

#include "ctl/terminal.h"

typedef struct TableColumn {
        const char *header;
        bool number;   /* aligned to the right */
        bool truncate; /* the one that becomes shorter on a narrow terminal, unless --full */
} TableColumn;

typedef struct libscols_table Table;

/* Makes an empty table; free with scols_unref_table(). NULL: out of memory. */
Table *table_new(const TableColumn *columns, size_t n_columns, const Options *options);

/* Adds a line of "n_columns" cells, copied; NULL is shown as "-". Return: 0, or a negative errno. */
int table_add(Table *table, const char *const *cells, size_t n_columns);

/* Colours a cell of the line added last. */
void table_colour(Table *table, size_t column, Style style);

/* Prints it. Return: 0, or a negative errno. */
int table_print(Table *table, const Options *options);
