/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Profiles: the policy files that we ship, found by their name. */

#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "basic/install-path.h"
#include "policy/policy.h"

#define PROFILE_NAME_MAX 64

char *policy_profile_directory(void) {
        const char *e = secure_getenv("DEPUTYD_PROFILE_PATH");
        char *directory = NULL;

        if (e && *e)
                return g_strdup(e);

        if (install_path("profiles", &directory) < 0)
                return g_strdup(PKGLIBDIR "/profiles");

        return directory;
}

static bool is_profile_name(const char *name) {
        size_t length = strspn(name, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.");

        return name[0] != '.' && length > 0 && length <= PROFILE_NAME_MAX && !name[length];
}

int policy_find_profile(const char *name, char **ret_path) {
        g_autofree char *directory = NULL, *path = NULL;

        g_assert(name);
        g_assert(ret_path);

        if (!is_profile_name(name))
                return -EINVAL;

        directory = policy_profile_directory();
        path = g_strconcat(directory, "/", name, ".conf", NULL);
        if (access(path, F_OK) < 0)
                return -errno;

        *ret_path = g_steal_pointer(&path);
        return 0;
}
