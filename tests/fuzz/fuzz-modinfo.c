/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A kernel module that a container makes up. Whatever its bytes are, reading them must end, within them, in
 * an error or in a name that is one. */

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "supervisor/handlers/modinfo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        /* Written on success only. */
        ModuleInfo info = { .name = "untouched", .machine = 0xabcd };
        int r;

        r = modinfo_parse(data, size, &info);
        if (r < 0) {
                g_assert_cmpint(r, ==, -ENOEXEC);
                g_assert_cmpstr(info.name, ==, "untouched");
                return 0;
        }

        g_assert_nonnull(memchr(info.name, 0, sizeof(info.name)));
        g_assert_true(!*info.name || module_name_is_valid(info.name));
        g_assert_null(strchr(info.name, '-'));
        (void) modinfo_is_native(&info);
        return 0;
}
