/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* [Module]: which kernel modules, and with which parameters. */

#include <fnmatch.h>
#include <glib.h>
#include <string.h>

#include "policy/section.h"
#include "policy/syntax.h"

bool module_name_is_valid(const char *name) {
        size_t length = strlen(name);

        if (length == 0 || length > MODULE_NAME_MAX)
                return false;

        for (const char *p = name; *p; p++)
                if (!g_ascii_isalnum(*p) && *p != '_' && *p != '-')
                        return false;

        return true;
}

void module_name_normalize(char *name) {
        for (; *name; name++)
                if (*name == '-')
                        *name = '_';
}

/* An alias is what modprobe(8) takes for one: "fs-ext4", "net-pf-10", "nft-chain-1-nat". Patterns are the
 * module's business ("pci:v*"); here they'd be taken for ours. */
static bool is_alias(const char *word) {
        for (const char *p = word; *p; p++)
                if (!g_ascii_isgraph(*p) || strchr("*?[]/\\\"'", *p))
                        return false;

        return strlen(word) <= MODULE_ALIAS_MAX;
}

static void parse_allow_module(PolicyLoader *loader, const PolicyKey *key, char *value, void *data) {
        GPtrArray *modules = *(GPtrArray **) data;

        if (!*value)
                g_ptr_array_set_size(modules, 0);

        for (char *word; (word = syntax_next_word(&value));) {
                g_autofree char *name = g_strdup(word);

                if (!is_alias(word)) {
                        policy_warn(loader, key, "write the name of a module, or an alias without wildcards",
                                        "\"%s\" is no name of a kernel module", word);
                        continue;
                }

                /* An alias may well look like a name ("net-pf-10"), and is found by either spelling. */
                if (module_name_is_valid(word))
                        module_name_normalize(name);
                if (policy_record(loader, key, word, NULL))
                        g_ptr_array_add(modules, g_steal_pointer(&name));
        }
}

static void parse_allow_parameters(PolicyLoader *loader, const PolicyKey *key, char *value, void *data) {
        GPtrArray *parameters = *(GPtrArray **) data;

        if (!*value)
                g_ptr_array_set_size(parameters, 0);

        for (char *word; (word = syntax_next_word(&value));) {
                const char *dot = strchr(word, '.'), *equals = strchr(word, '=');
                g_autofree char *pattern = g_strdup(word);

                if (!dot || dot == word || !dot[1] || (equals && (equals < dot || equals == dot + 1)) ||
                                strlen(word) > MODULE_ALIAS_MAX || g_str_has_suffix(word, "\\")) {
                        policy_warn(loader, key, "write MODULE.PARAMETER or MODULE.PARAMETER=VALUE",
                                        "\"%s\" is no parameter of a kernel module", word);
                        continue;
                }

                /* Up to the value "-" and "_" are the same; in a bracket expression "-" is a range's. */
                for (char *p = pattern; *p && *p != '='; p++)
                        if (*p == '[')
                                break;
                        else if (*p == '-')
                                *p = '_';
                if (policy_record(loader, key, word, NULL))
                        g_ptr_array_add(parameters, g_steal_pointer(&pattern));
        }
}

static const PolicyKey keys[] = {
        { "AllowModule", parse_allow_module, offsetof(Policy, module.modules), "", .is_list = true },
        { "AllowParameters", parse_allow_parameters, offsetof(Policy, module.parameters), "",
                        .is_list = true },
};

static void module_init(Policy *policy) {
        policy->module.modules = g_ptr_array_new_with_free_func(g_free);
        policy->module.parameters = g_ptr_array_new_with_free_func(g_free);
}

static void module_clear(Policy *policy) {
        g_clear_pointer(&policy->module.modules, g_ptr_array_unref);
        g_clear_pointer(&policy->module.parameters, g_ptr_array_unref);
}

static bool module_equal(const Policy *a, const Policy *b) {
        return policy_strings_equal(a->module.modules, b->module.modules) &&
               policy_strings_equal(a->module.parameters, b->module.parameters);
}

extern const PolicySection policy_section_module;
const PolicySection policy_section_module = {
        .name = "Module",
        .keys = keys,
        .n_keys = G_N_ELEMENTS(keys),
        .init = module_init,
        .clear = module_clear,
        .equal = module_equal,
};

bool policy_allows_module(const Policy *policy, const char *name) {
        g_assert(policy);
        g_assert(name);

        if (policy->error)
                return false;

        for (guint i = 0; i < policy->module.modules->len; i++)
                if (strcmp(policy->module.modules->pdata[i], name) == 0)
                        return true;

        return false;
}

bool policy_allows_module_parameter(
                const Policy *policy, const char *module, const char *parameter, const char *value) {
        g_autofree char *name = g_strdup_printf("%s.%s", module, parameter);

        if (policy->error)
                return false;

        module_name_normalize(name);
        for (guint i = 0; i < policy->module.parameters->len; i++) {
                const char *pattern = policy->module.parameters->pdata[i], *equals = strchr(pattern, '=');
                g_autofree char *name_pattern =
                                equals ? g_strndup(pattern, (gsize) (equals - pattern)) : NULL;

                /* Each by itself: a wildcard of the name mustn't take up a part of the value. */
                if (fnmatch(name_pattern ?: pattern, name, 0) == 0 &&
                                (!equals || fnmatch(equals + 1, value ?: "", 0) == 0))
                        return true;
        }

        return false;
}
