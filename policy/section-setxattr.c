/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* [Setxattr]: which extended attributes. */

#include <fnmatch.h>
#include <glib.h>
#include <linux/limits.h>
#include <string.h>

#include "policy/section.h"
#include "policy/syntax.h"

/* What's never lent, and why nobody misses it. user.* needs no privilege, only write access. system.* are
 * POSIX ACLs and their like, which the kernel lets the owner set and translates between user namespaces. So
 * it does with security.capability: a container's root may set it, and it's bound to that container. */
static bool is_never_lent(const char *name) {
        return g_str_has_prefix(name, "user.") || g_str_has_prefix(name, "system.") ||
               strcmp(name, "security.capability") == 0;
}

static void parse_allow_name(PolicyLoader *loader, const PolicyKey *key, char *value, void *data) {
        GPtrArray *globs = *(GPtrArray **) data;

        if (!*value)
                g_ptr_array_set_size(globs, 0);

        for (char *word; (word = syntax_next_word(&value));) {
                if (is_never_lent(word))
                        policy_warn(loader, key, "user.*, system.* and security.capability need no lending",
                                        "\"%s\" is never lent", word);
                else if (strlen(word) > XATTR_NAME_MAX || policy_joins_next_line(word))
                        policy_warn(loader, key, "write a name or a pattern such as trusted.overlay.*",
                                        "\"%s\" is no name of an extended attribute", word);
                else if (policy_record(loader, key, word, NULL))
                        g_ptr_array_add(globs, g_strdup(word));
        }
}

static const PolicyKey keys[] = {
        { "AllowName", parse_allow_name, offsetof(Policy, xattr.names), "", .is_list = true },
        { "ReadBack", policy_parse_bool, offsetof(Policy, xattr.read_back), "no" },
};

static void setxattr_init(Policy *policy) {
        policy->xattr.names = g_ptr_array_new_with_free_func(g_free);
}

static void setxattr_clear(Policy *policy) {
        g_clear_pointer(&policy->xattr.names, g_ptr_array_unref);
}

static bool setxattr_equal(const Policy *a, const Policy *b) {
        return a->xattr.read_back == b->xattr.read_back &&
               policy_strings_equal(a->xattr.names, b->xattr.names);
}

extern const PolicySection policy_section_setxattr;
const PolicySection policy_section_setxattr = {
        .name = "Setxattr",
        .keys = keys,
        .n_keys = G_N_ELEMENTS(keys),
        .init = setxattr_init,
        .clear = setxattr_clear,
        .equal = setxattr_equal,
};

bool policy_allows_xattr(const Policy *policy, const char *name) {
        g_assert(policy);
        g_assert(name);

        if (policy->error || is_never_lent(name))
                return false;

        for (guint i = 0; i < policy->xattr.names->len; i++)
                if (fnmatch(g_ptr_array_index(policy->xattr.names, i), name, 0) == 0)
                        return true;

        return false;
}
