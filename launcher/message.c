/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "launcher/message.h"

static bool arg_verbose;

void set_verbose(bool verbose) {
        arg_verbose = verbose;
}

/* The whole line in one write, since others may write to the same stderr. Control characters of a server's
 * message don't reach the terminal. */
__attribute__((format(printf, 1, 0))) static void print_line(const char *format, va_list arguments) {
        char line[2048];
        int n;

        n = snprintf(line, sizeof(line), "deputy-run: ");
        (void) vsnprintf(line + n, sizeof(line) - (size_t) n, format, arguments);

        for (char *p = line; *p; p++)
                if ((unsigned char) *p < ' ' || *p == 0x7f)
                        *p = ' ';

        (void) dprintf(2, "%s\n", line);
}

int complain(int error, const char *format, ...) {
        va_list arguments;

        errno = abs(error);
        va_start(arguments, format);
        print_line(format, arguments);
        va_end(arguments);

        return error == 0 ? -EIO : -abs(error);
}

void narrate(const char *format, ...) {
        va_list arguments;

        if (!arg_verbose)
                return;

        va_start(arguments, format);
        print_line(format, arguments);
        va_end(arguments);
}
