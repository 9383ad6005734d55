/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* [Mount]: which file systems, from where, to where, with which options. */

#include <fnmatch.h>
#include <glib.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "policy/mount-type.h"
#include "policy/section.h"
#include "policy/syntax.h"

#define MINUTE UINT64_C(60000000)

static bool check_type(PolicyLoader *loader, const PolicyKey *key, const char *type) {
        const char *why = mount_type_never_lent(type);

        if (!mount_type_name_is_valid(type))
                policy_warn(loader, key, "write a type such as ext4, squashfs, erofs",
                                "\"%s\" is no type of a file system", type);
        else if (why)
                policy_warn(loader, key, why, "%s is never lent", type);
        else
                return true;

        return false;
}

static void parse_allow_type(PolicyLoader *loader, const PolicyKey *key, char *value, void *data) {
        GPtrArray *types = *(GPtrArray **) data;

        if (!*value)
                g_ptr_array_set_size(types, 0);

        for (char *word; (word = syntax_next_word(&value));)
                if (check_type(loader, key, word) && policy_record(loader, key, word, NULL))
                        g_ptr_array_add(types, g_strdup(word));
}

/* One key, but its items are of several kinds: "data" is the whole MountPolicy. */
static void parse_allow_source(PolicyLoader *loader, const PolicyKey *key, char *value, void *data) {
        MountPolicy *mount = data;

        if (!*value) {
                g_array_set_size(mount->devices, 0);
                g_ptr_array_set_size(mount->names, 0);
                mount->no_source = false;
        }

        for (char *word; (word = syntax_next_word(&value));)
                if (strcmp(word, "b") == 0)
                        device_rules_add_numbers(loader, key, word, &value, mount->devices);
                else if (strcmp(word, "none") == 0) {
                        if (policy_record(loader, key, word, NULL))
                                mount->no_source = true;
                } else if (g_str_has_prefix(word, "/dev/"))
                        device_rules_add_path(loader, key, word, mount->devices);
                else if ((strchr(word, ':') || g_str_has_prefix(word, "//")) && strlen(word) < PATH_MAX &&
                                !policy_joins_next_line(word)) {
                        if (policy_record(loader, key, word, NULL))
                                g_ptr_array_add(mount->names, g_strdup(word));
                } else {
                        const char *numbers =
                                        strcmp(word, "c") == 0 ? device_rules_take_numbers(&value) : NULL;

                        policy_warn(loader, key,
                                        "write a path below /dev, \"b MAJOR:MINOR\", \"none\", or what "
                                        "stands "
                                        "for a server such as nas:/export/*; files are lent by AllowLoop=",
                                        "\"%s%s%s\" is no source", word, numbers ? " " : "", numbers ?: "");
                }
}

static void parse_allow_target(PolicyLoader *loader, const PolicyKey *key, char *value, void *data) {
        GPtrArray *globs = *(GPtrArray **) data;

        if (!*value)
                g_ptr_array_set_size(globs, 0);

        for (char *word; (word = syntax_next_word(&value));)
                if (word[0] != '/' || strlen(word) >= PATH_MAX || policy_joins_next_line(word))
                        policy_warn(loader, key, "write an absolute path, with patterns: /mnt/*",
                                        "\"%s\" is no path", word);
                else if (policy_record(loader, key, word, NULL))
                        g_ptr_array_add(globs, g_strdup(word));
}

static void parse_options(PolicyLoader *loader, const PolicyKey *key, char *value, void *data) {
        GPtrArray *globs = *(GPtrArray **) data;

        if (!*value)
                g_ptr_array_set_size(globs, 0);

        for (char *word; (word = syntax_next_word(&value));)
                if (strchr(word, ',') || strlen(word) > 255 || policy_joins_next_line(word))
                        policy_warn(loader, key,
                                        "write names and NAME=VALUE with patterns, separated by blanks: "
                                        "\"quota commit=*\"",
                                        "\"%s\" is no option", word);
                else if (policy_record(loader, key, word, NULL))
                        g_ptr_array_add(globs, g_strdup(word));
}

/* "TYPE:BINARY" */
static void parse_fuse(PolicyLoader *loader, const PolicyKey *key, char *value, void *data) {
        GArray *fuse = *(GArray **) data;

        if (!*value)
                g_array_set_size(fuse, 0);

        for (char *word; (word = syntax_next_word(&value));) {
                char *binary = strchr(word, ':');
                MountFuse item;

                if (!binary || !binary[1] || strlen(binary) >= PATH_MAX || policy_joins_next_line(binary) ||
                                (binary[1] != '/' && strchr(binary, '/'))) {
                        policy_warn(loader, key, "write TYPE:BINARY, such as ext4:fuse2fs",
                                        "\"%s\" is no redirection", word);
                        continue;
                }

                *binary = 0;
                if (!check_type(loader, key, word))
                        continue;
                *binary = ':';
                if (!policy_record(loader, key, word, NULL))
                        continue;
                *binary = 0;

                item = (MountFuse){ .type = g_strdup(word), .binary = g_strdup(binary + 1) };
                g_array_append_val(fuse, item);
        }
}

/* Words that stand for the values of an enum, in its order. */
static void parse_word(PolicyLoader *loader, const PolicyKey *key, const char *value,
                const char *const words[3], const char *hint, int *ret) {
        for (int i = 0; i < 3; i++)
                if (g_ascii_strcasecmp(value, words[i]) == 0) {
                        if (policy_record(loader, key, value, NULL))
                                *ret = i;
                        return;
                }

        policy_warn(loader, key, hint, "\"%s\" is none of the choices", value);
}

static void parse_read_only(PolicyLoader *loader, const PolicyKey *key, char *value, void *data) {
        static const char *const words[] = { "no", "yes", "caller" };
        int n = *(MountReadOnly *) data;

        parse_word(loader, key, value, words, "write yes, no or caller", &n);
        *(MountReadOnly *) data = n;
}

static void parse_id_map(PolicyLoader *loader, const PolicyKey *key, char *value, void *data) {
        static const char *const words[] = { "no", "yes", "auto" };
        int n = *(MountIDMap *) data;

        parse_word(loader, key, value, words, "write yes, no or auto", &n);
        *(MountIDMap *) data = n;
}

static void parse_new_api(PolicyLoader *loader, const PolicyKey *key, char *value, void *data) {
        static const char *const words[] = { "emulate", "enosys", "native" };
        int n = *(MountNewAPI *) data;

        parse_word(loader, key, value, words, "write emulate, enosys or native", &n);
        *(MountNewAPI *) data = n;
}

#define OFFSET(field) offsetof(Policy, mount.field)

enum { KEY_FUSE = 11 };

static const PolicyKey keys[] = {
        { "AllowType", parse_allow_type, OFFSET(types), "", .is_list = true },
        { "AllowSource", parse_allow_source, offsetof(Policy, mount), "", .is_list = true },
        { "AllowLoop", policy_parse_bool, OFFSET(loop), "no" },
        { "AllowTarget", parse_allow_target, OFFSET(targets), "", .is_list = true },
        { "AllowOptions", parse_options, OFFSET(options), "", .is_list = true },
        { "DenyOptions", parse_options, OFFSET(denied_options), "", .is_list = true },
        { "NoDev", policy_parse_bool, OFFSET(no_dev), "yes" },
        { "NoSUID", policy_parse_bool, OFFSET(no_suid), "yes" },
        { "NoExec", policy_parse_bool, OFFSET(no_exec), "no" },
        { "ReadOnly", parse_read_only, OFFSET(read_only), "caller" },
        { "IDMap", parse_id_map, OFFSET(id_map), "auto" },
        [KEY_FUSE] = { "Fuse", parse_fuse, OFFSET(fuse), "", .is_list = true },
        { "FuseStartSec", policy_parse_timespan, OFFSET(fuse_start_usec), "10s", .min = 100 * 1000,
                        .max = 5 * MINUTE },
        { "NewMountAPI", parse_new_api, OFFSET(new_api), "emulate" },
};

static void clear_fuse(gpointer p) {
        MountFuse *item = p;

        g_clear_pointer(&item->type, g_free);
        g_clear_pointer(&item->binary, g_free);
}

static void mount_init(Policy *policy) {
        MountPolicy *mount = &policy->mount;

        mount->types = g_ptr_array_new_with_free_func(g_free);
        mount->devices = device_rules_new();
        mount->names = g_ptr_array_new_with_free_func(g_free);
        mount->targets = g_ptr_array_new_with_free_func(g_free);
        mount->options = g_ptr_array_new_with_free_func(g_free);
        mount->denied_options = g_ptr_array_new_with_free_func(g_free);
        mount->fuse = g_array_new(FALSE, FALSE, sizeof(MountFuse));
        g_array_set_clear_func(mount->fuse, clear_fuse);
}

static void mount_clear(Policy *policy) {
        MountPolicy *mount = &policy->mount;

        g_clear_pointer(&mount->types, g_ptr_array_unref);
        g_clear_pointer(&mount->devices, g_array_unref);
        g_clear_pointer(&mount->names, g_ptr_array_unref);
        g_clear_pointer(&mount->targets, g_ptr_array_unref);
        g_clear_pointer(&mount->options, g_ptr_array_unref);
        g_clear_pointer(&mount->denied_options, g_ptr_array_unref);
        g_clear_pointer(&mount->fuse, g_array_unref);
}

static bool fuse_equal(const GArray *a, const GArray *b) {
        if (a->len != b->len)
                return false;

        for (guint i = 0; i < a->len; i++) {
                const MountFuse *x = &g_array_index(a, MountFuse, i), *y = &g_array_index(b, MountFuse, i);

                if (strcmp(x->type, y->type) != 0 || strcmp(x->binary, y->binary) != 0)
                        return false;
        }

        return true;
}

static bool mount_equal(const Policy *policy_a, const Policy *policy_b) {
        const MountPolicy *a = &policy_a->mount, *b = &policy_b->mount;

        return policy_strings_equal(a->types, b->types) && device_rules_equal(a->devices, b->devices) &&
               policy_strings_equal(a->names, b->names) && a->no_source == b->no_source &&
               a->loop == b->loop && policy_strings_equal(a->targets, b->targets) &&
               policy_strings_equal(a->options, b->options) &&
               policy_strings_equal(a->denied_options, b->denied_options) && a->no_dev == b->no_dev &&
               a->no_suid == b->no_suid && a->no_exec == b->no_exec && a->read_only == b->read_only &&
               a->id_map == b->id_map && fuse_equal(a->fuse, b->fuse) &&
               a->fuse_start_usec == b->fuse_start_usec && a->new_api == b->new_api;
}

static bool contains(const GPtrArray *strings, const char *s) {
        for (guint i = 0; i < strings->len; i++)
                if (strcmp(strings->pdata[i], s) == 0)
                        return true;

        return false;
}

/* Either the kernel mounts a type or a program does: a policy that says both would leave open which. */
static void mount_check(PolicyLoader *loader, const Policy *policy) {
        const GPtrArray *recorded = policy_recorded(loader, &keys[KEY_FUSE]);

        for (guint i = 0; i < recorded->len && i < policy->mount.fuse->len; i++) {
                const char *type = g_array_index(policy->mount.fuse, MountFuse, i).type;

                if (contains(policy->mount.types, type))
                        policy_refuse(loader, recorded->pdata[i], "take it out of one of them",
                                        "%s is in AllowType= too", type);
                for (guint k = 0; k < i; k++)
                        if (strcmp(g_array_index(policy->mount.fuse, MountFuse, k).type, type) == 0)
                                policy_refuse(loader, recorded->pdata[i],
                                                "an empty Fuse= takes back what an earlier file says",
                                                "%s is redirected twice", type);
        }
}

extern const PolicySection policy_section_mount;
const PolicySection policy_section_mount = {
        .name = "Mount",
        .keys = keys,
        .n_keys = G_N_ELEMENTS(keys),
        .init = mount_init,
        .clear = mount_clear,
        .equal = mount_equal,
        .check = mount_check,
};

bool policy_allows_mount_type(const Policy *policy, const char *type) {
        g_assert(policy);
        g_assert(type);

        /* What's lent of those that are the caller's own stands in [Bpf]. */
        return !policy->error &&
               (contains(policy->mount.types, type) ||
                               (mount_type_is_callers(type) && policy_allows_bpf_token(policy)));
}

const char *policy_mount_fuse(const Policy *policy, const char *type) {
        g_assert(policy);
        g_assert(type);

        if (policy->error)
                return NULL;

        for (guint i = 0; i < policy->mount.fuse->len; i++) {
                const MountFuse *item = &g_array_index(policy->mount.fuse, MountFuse, i);

                if (strcmp(item->type, type) == 0)
                        return item->binary;
        }

        return NULL;
}

bool policy_allows_mount_device(const Policy *policy, dev_t device) {
        g_assert(policy);

        return !policy->error && device_rules_find(policy->mount.devices, S_IFBLK, device);
}

/* The server understands "..": a pattern for what's below a directory would match what's above it. */
static bool goes_up(const char *source) {
        for (const char *p = source; (p = strstr(p, "..")); p += 2)
                if ((p == source || strchr("/\\:", p[-1])) && (!p[2] || strchr("/\\", p[2])))
                        return true;

        return false;
}

bool policy_allows_mount_name(const Policy *policy, const char *type, const char *source) {
        const MountType *known;

        g_assert(policy);
        g_assert(type);

        if (policy->error)
                return false;

        /* Where the name says nothing, any is as good as none. */
        known = mount_type_find(type);
        if ((known && (known->flags & MOUNT_TYPE_NO_SOURCE)) || !source || !*source)
                return policy->mount.no_source || mount_type_is_callers(type);

        if (goes_up(source))
                return false;

        for (guint i = 0; i < policy->mount.names->len; i++)
                if (fnmatch(policy->mount.names->pdata[i], source, 0) == 0)
                        return true;

        return false;
}

bool policy_allows_mount_target(const Policy *policy, const char *path) {
        g_assert(policy);
        g_assert(path);

        if (policy->error)
                return false;

        for (guint i = 0; i < policy->mount.targets->len; i++)
                if (fnmatch(policy->mount.targets->pdata[i], path, 0) == 0)
                        return true;

        return policy->mount.targets->len == 0;
}

static bool matches(const GPtrArray *globs, const char *name, const char *value) {
        return mount_option_matches((const char *const *) globs->pdata, globs->len, name, value);
}

bool policy_allows_mount_option(const Policy *policy, const char *type, const char *name, const char *value) {
        const MountType *known;

        g_assert(policy);
        g_assert(type);
        g_assert(name);

        if (policy->error || mount_option_never_lent(name, value) ||
                        matches(policy->mount.denied_options, name, value))
                return false;
        if (mount_type_is_callers(type) && bpf_delegated_from_option(name) != _BPF_DELEGATED_INVALID)
                return policy_allows_bpf_delegation(policy, name, value);
        if (matches(policy->mount.options, name, value))
                return true;

        known = mount_type_find(type);
        return known && known->options &&
               mount_option_matches(known->options, g_strv_length((char **) known->options), name, value);
}
