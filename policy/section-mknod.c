/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* [Mknod]: which devices. */

#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "policy/section.h"
#include "policy/syntax.h"

static void parse_allow_device(PolicyLoader *loader, const PolicyKey *key, char *value, void *data) {
        GArray *devices = *(GArray **) data;

        if (!*value)
                g_array_set_size(devices, 0);

        for (char *word; (word = syntax_next_word(&value));)
                if (word[0] == '/')
                        device_rules_add_path(loader, key, word, devices);
                else if (strcmp(word, "c") == 0 || strcmp(word, "b") == 0)
                        device_rules_add_numbers(loader, key, word, &value, devices);
                else {
                        /* What follows a wrong type are its numbers, not another mistake. */
                        const char *numbers = strchr(word, ':') ? NULL : device_rules_take_numbers(&value);

                        policy_warn(loader, key, "write \"c\" or \"b\" and MAJOR:MINOR, or a path below /dev",
                                        "\"%s%s%s\" is no device", word, numbers ? " " : "", numbers ?: "");
                }
}

static const PolicyKey keys[] = {
        { "AllowDevice", parse_allow_device, offsetof(Policy, mknod.devices), "", .is_list = true },
        { "BindFallback", policy_parse_bool, offsetof(Policy, mknod.bind_fallback), "yes" },
};

static void mknod_init(Policy *policy) {
        policy->mknod.devices = device_rules_new();
}

static void mknod_clear(Policy *policy) {
        g_clear_pointer(&policy->mknod.devices, g_array_unref);
}

static bool mknod_equal(const Policy *a, const Policy *b) {
        return a->mknod.bind_fallback == b->mknod.bind_fallback &&
               device_rules_equal(a->mknod.devices, b->mknod.devices);
}

extern const PolicySection policy_section_mknod;
const PolicySection policy_section_mknod = {
        .name = "Mknod",
        .keys = keys,
        .n_keys = G_N_ELEMENTS(keys),
        .init = mknod_init,
        .clear = mknod_clear,
        .equal = mknod_equal,
};

const DeviceRule *policy_find_device(const Policy *policy, mode_t type, dev_t device) {
        g_assert(policy);

        type &= S_IFMT;
        if (policy->error || (type != S_IFCHR && type != S_IFBLK) ||
                        (type == S_IFCHR && device == makedev(0, 0)))
                return NULL;

        return device_rules_find(policy->mknod.devices, type, device);
}
