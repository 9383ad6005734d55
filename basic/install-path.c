/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "basic/install-path.h"

/* What has another name or place in a build tree. */
static const struct {
        const char *name;
        const char *build_path;
} build_tree[] = {
        { "deputy-supervisor", "supervisor/deputy-supervisor" },
        { "profiles", "policy.d/profiles" },
};

int install_path(const char *name, char **ret) {
        char directory[PATH_MAX], candidate[PATH_MAX + NAME_MAX + 32];
        const char *build_path = NULL;
        ssize_t n;
        char *p;

        n = readlink("/proc/self/exe", directory, sizeof(directory) - 1);
        if (n > 0) {
                directory[n] = 0;
                p = strrchr(directory, '/');
                if (p)
                        *p = 0;

                for (size_t i = 0; i < sizeof(build_tree) / sizeof(build_tree[0]); i++)
                        if (strcmp(build_tree[i].name, name) == 0)
                                build_path = build_tree[i].build_path;

                for (int i = 0; i < 3; i++) {
                        if (i == 0)
                                snprintf(candidate, sizeof(candidate), "%s/%s", directory, name);
                        else if (i == 1)
                                snprintf(candidate, sizeof(candidate), "%s/../lib/deputyd/%s", directory,
                                                name);
                        else if (build_path)
                                snprintf(candidate, sizeof(candidate), "%s/../%s", directory, build_path);
                        else
                                continue;

                        if (access(candidate, F_OK) >= 0)
                                goto found;
                }
        }

        snprintf(candidate, sizeof(candidate), "%s/%s", PKGLIBDIR, name);
found:
        /* Without "..", since it's shown to people; as it is if it doesn't exist. */
        p = realpath(candidate, NULL);
        if (!p)
                p = strdup(candidate);
        if (!p)
                return -ENOMEM;

        *ret = p;
        return 0;
}
