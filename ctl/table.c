/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/table.h"

Table *table_new(const TableColumn *columns, size_t n_columns, const Options *options) {
        Table *table = scols_new_table();

        if (!table)
                return NULL;

        scols_table_enable_noheadings(table, !options->legend);
        scols_table_enable_colors(table, terminal_has_colours());

        for (size_t i = 0; i < n_columns; i++) {
                struct libscols_column *column;
                int flags = (columns[i].number ? SCOLS_FL_RIGHT : 0) |
                            (columns[i].truncate && !options->full ? SCOLS_FL_TRUNC : 0);

                column = scols_table_new_column(table, columns[i].header, 0, flags);
                if (!column) {
                        scols_unref_table(table);
                        return NULL;
                }
        }

        return table;
}

int table_add(Table *table, const char *const *cells, size_t n_columns) {
        struct libscols_line *line = scols_table_new_line(table, NULL);
        int r;

        if (!line)
                return -ENOMEM;

        for (size_t i = 0; i < n_columns; i++) {
                r = scols_line_set_data(line, i, cells[i] ?: "-");
                if (r < 0)
                        return r;
        }

        return 0;
}

void table_colour(Table *table, size_t column, Style which) {
        struct libscols_line *line = scols_table_get_line(table, scols_table_get_nlines(table) - 1);
        struct libscols_cell *cell = line ? scols_line_get_cell(line, column) : NULL;

        if (cell && terminal_has_colours())
                scols_cell_set_color(cell, style(which));
}

int table_print(Table *table, const Options *options) {
        /* libsmartcols would ask stdout for its width, which is a pipe when there's a pager. */
        if (terminal_is_tty() && !options->full) {
                scols_table_set_termforce(table, SCOLS_TERMFORCE_ALWAYS);
                scols_table_set_termwidth(table, terminal_width());
        } else
                scols_table_set_termforce(table, SCOLS_TERMFORCE_NEVER);

        return scols_print_table(table);
}
