/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "basic/log.h"
#include "supervisor/library.h"

int library_open(const char *soname, const LibrarySymbol *symbols, size_t n_symbols) {
        void *library;

        library = dlopen(soname, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        if (!library) {
                log_warning("Can't open a library that a call needs: %s", dlerror());
                return -EOPNOTSUPP;
        }

        for (size_t i = 0; i < n_symbols; i++) {
                void *function = dlsym(library, symbols[i].name);

                if (!function) {
                        log_warning("%s has no %s()", soname, symbols[i].name);
                        return -EOPNOTSUPP;
                }
                memcpy(symbols[i].function, &function, sizeof(function));
        }

        return 0;
}
