/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Stands in for libFuzzer where there's none: feeds a fuzz target with the files of the directories that are
 * named on the command line, so that what the fuzzer once found stays found. */

#include <glib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned run_directory(const char *path) {
        g_autoptr(GDir) directory = NULL;
        g_autoptr(GError) error = NULL;
        unsigned n = 0;

        directory = g_dir_open(path, 0, &error);
        if (!directory) {
                fprintf(stderr, "%s\n", error->message);
                exit(EXIT_FAILURE);
        }

        for (const char *name; (name = g_dir_read_name(directory));) {
                g_autofree char *file = g_build_filename(path, name, NULL), *data = NULL;
                gsize size;

                if (!g_file_get_contents(file, &data, &size, &error)) {
                        fprintf(stderr, "%s\n", error->message);
                        exit(EXIT_FAILURE);
                }

                (void) LLVMFuzzerTestOneInput((const uint8_t *) data, size);
                n++;
        }

        return n;
}

int main(int argc, char *argv[]) {
        unsigned n = 0;

        for (int i = 1; i < argc; i++)
                n += run_directory(argv[i]);

        printf("%u inputs\n", n);
        return n > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
