/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Where the policy of a unit is found: the rules of systemd.unit(5) for drop-ins, as PID 1 applies them.
 *
 * A unit has a list of names, from its own to ever more general ones (policy_unit_directory_names()), and
 * there's a list of trees, from /etc down to the vendor's. Each NAME.d in each tree may hold *.conf files. Of
 * files with equal base names one counts: the first in the order "tree by tree, in each name by name", where
 * the type-level names (service.d) come after all others of all trees. The files that count are applied in
 * the order of their base names, wherever they are. A file that's empty or a link to /dev/null counts, and
 * says nothing: that's how an administrator masks one of the vendor's. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "basic/fd.h"
#include "basic/install-path.h"
#include "basic/log.h"
#include "policy/loader.h"

#define UNIT_NAME_LENGTH_MAX 255

static const char unit_characters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:-_.\\";

static const char *const unit_types[] = {
        "service",
        "scope",
        "slice",
        "socket",
        "mount",
        "swap",
        "target",
        "device",
        "automount",
        "timer",
        "path",
        NULL,
};

/* The parts of a unit name: PREFIX[@[INSTANCE]].TYPE, pointing into it. */
typedef struct UnitName {
        const char *at;  /* NULL: neither instance nor template */
        const char *dot; /* the last one */
} UnitName;

static bool split_unit_name(const char *unit, UnitName *ret) {
        size_t length = strlen(unit);

        *ret = (UnitName){ .at = strchr(unit, '@'), .dot = strrchr(unit, '.') };

        if (length == 0 || length > UNIT_NAME_LENGTH_MAX || !ret->dot ||
                        !g_strv_contains(unit_types, ret->dot + 1))
                return false;

        for (const char *p = unit; p < ret->dot; p++)
                if (*p != '@' && !strchr(unit_characters, *p))
                        return false;

        return ret->dot != unit && ret->at != unit;
}

bool policy_unit_name_is_valid(const char *unit) {
        UnitName name;

        g_assert(unit);

        return split_unit_name(unit, &name);
}

static void add_name(GPtrArray *names, char *name) {
        if (g_ptr_array_find_with_equal_func(names, name, g_str_equal, NULL))
                g_free(name);
        else
                g_ptr_array_add(names, name);
}

/* The prefix of the next more general name: "foo-bar" to "foo-", "foo-" to nothing. One dash at the end is
 * where the prefix was cut before; two are part of the name. */
static char *shorten_prefix(const char *prefix) {
        g_autofree char *shorter = g_strdup(prefix);
        size_t length = strlen(shorter);
        char *dash;

        if (length > 0 && shorter[length - 1] == '-')
                shorter[length - 1] = 0;

        dash = strrchr(shorter, '-');
        if (!dash || dash == shorter)
                return NULL;

        dash[1] = 0;
        return g_steal_pointer(&shorter);
}

/* Adds PREFIX+SUFFIX and what's more general than it. */
static void add_prefixes(GPtrArray *names, const char *prefix, const char *suffix) {
        g_autofree char *p = shorten_prefix(prefix);

        while (p) {
                char *shorter = shorten_prefix(p);

                add_name(names, g_strconcat(p, suffix, NULL));
                g_free(p);
                p = shorter;
        }
}

int policy_unit_directory_names(const char *unit, char ***ret) {
        g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
        g_autofree char *prefix = NULL;
        UnitName name;

        g_assert(unit);
        g_assert(ret);

        if (!split_unit_name(unit, &name))
                return -EINVAL;

        prefix = g_strndup(unit, (gsize) ((name.at ?: name.dot) - unit));
        add_name(names, g_strdup(unit));

        if (name.at && name.at + 1 < name.dot) {
                g_autofree char *template = g_strconcat("@", name.dot, NULL), *p = g_strdup(prefix);

                /* An instance: each of its prefixes comes as instance, as template and, as that template is a
                 * unit like others, with the prefixes of the template. */
                for (;;) {
                        char *shorter;

                        add_name(names, g_strconcat(p, name.at, NULL));
                        add_name(names, g_strconcat(p, template, NULL));
                        add_prefixes(names, p, name.dot);

                        shorter = shorten_prefix(p);
                        if (!shorter)
                                break;
                        g_free(p);
                        p = shorter;
                }
        } else
                add_prefixes(names, prefix, name.dot);

        add_name(names, g_strdup(name.dot + 1));
        g_ptr_array_add(names, NULL);

        *ret = (char **) g_ptr_array_free(g_steal_pointer(&names), FALSE);
        return 0;
}

static bool is_conf_file(const struct dirent *entry) {
        return entry->d_name[0] != '.' && g_str_has_suffix(entry->d_name, ".conf");
}

/* Calls "found" with the base name of each *.conf of a directory. */
static int list_directory(
                int directory_fd, const char *name, void (*found)(const char *, void *), void *userdata) {
        _cleanup_close_ int fd = -1;
        DIR *directory;

        fd = openat(directory_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;

        directory = fdopendir(fd);
        if (!directory)
                return -errno;
        (void) TAKE_FD(fd);

        for (const struct dirent *entry; (entry = readdir(directory));)
                if (is_conf_file(entry))
                        found(entry->d_name, userdata);

        closedir(directory);
        return 0;
}

/* What's being collected: base name to path. */
typedef struct Search {
        GHashTable *paths;
        const char *tree;
        const char *name;
} Search;

static void on_found(const char *base_name, void *userdata) {
        Search *search = userdata;

        if (!g_hash_table_contains(search->paths, base_name))
                g_hash_table_insert(search->paths, g_strdup(base_name),
                                g_strconcat(search->tree, "/", search->name, ".d/", base_name, NULL));
}

static void search_tree(GHashTable *paths, const char *tree, char *const *names, size_t n_names) {
        _cleanup_close_ int fd = -1;
        int r;

        fd = open(tree, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) {
                if (errno != ENOENT)
                        log_debug_errno(errno, "Skipping policy directory %s: %m", tree);
                return;
        }

        for (size_t i = 0; i < n_names; i++) {
                g_autofree char *directory = g_strconcat(names[i], ".d", NULL);
                Search search = { .paths = paths, .tree = tree, .name = names[i] };

                r = list_directory(fd, directory, on_found, &search);
                if (r < 0 && r != -ENOENT && r != -ENAMETOOLONG)
                        log_debug_errno(r, "Skipping policy directory %s/%s: %m", tree, directory);
        }
}

char **policy_directories(void) {
        const char *e = secure_getenv("DEPUTYD_POLICY_PATH");
        char *vendor = NULL, **trees;

        if (e && *e)
                return g_strsplit(e, ":", -1);

        if (install_path("policy.d", &vendor) < 0)
                vendor = g_strdup(PKGLIBDIR "/policy.d");

        trees = g_new0(char *, 5);
        trees[0] = g_strdup(SYSCONFDIR "/deputyd/policy.d");
        trees[1] = g_strdup("/run/deputyd/policy.d");
        trees[2] = g_strdup("/usr/local/lib/deputyd/policy.d");
        trees[3] = vendor;
        return trees;
}

/* A drop-in that can't be had isn't passed over: it may be one that takes away. */
static void load_found(PolicyLoader *loader, const char *path) {
        int r;

        r = policy_loader_add_file(loader, path);
        if (r == -ENOENT)
                policy_loader_problem(loader, LOG_WARNING, path, "remove it, or bring back what it links to",
                                "link to nothing, skipped");
        else if (r == -ENOTSUP)
                policy_loader_problem(loader, LOG_WARNING, path, NULL, "not a regular file, skipped");
        else if (r < 0)
                policy_loader_problem(loader, LOG_ERR, path, NULL, "can't be read: %s", g_strerror(-r));
}

static int compare_strings(gconstpointer a, gconstpointer b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

int policy_load_unit(const char *unit, const char *const *dirs, Policy **ret) {
        g_autoptr(GHashTable) paths = NULL;
        g_autoptr(GPtrArray) base_names = NULL;
        g_auto(GStrv) names = NULL, own_dirs = NULL;
        GHashTableIter iter;
        PolicyLoader *loader;
        size_t n_names;
        gpointer key;
        int r;

        g_assert(unit);
        g_assert(ret);

        r = policy_unit_directory_names(unit, &names);
        if (r < 0)
                return r;

        if (!dirs) {
                own_dirs = policy_directories();
                dirs = (const char *const *) own_dirs;
        }

        paths = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        n_names = g_strv_length(names);
        for (size_t i = 0; dirs[i]; i++)
                if (*dirs[i])
                        search_tree(paths, dirs[i], names, n_names - 1);
        for (size_t i = 0; dirs[i]; i++)
                if (*dirs[i])
                        search_tree(paths, dirs[i], names + n_names - 1, 1);

        base_names = g_ptr_array_new();
        g_hash_table_iter_init(&iter, paths);
        while (g_hash_table_iter_next(&iter, &key, NULL))
                g_ptr_array_add(base_names, key);
        g_ptr_array_sort(base_names, compare_strings);

        loader = policy_loader_new(unit);
        for (guint i = 0; i < base_names->len; i++) {
                const char *path = g_hash_table_lookup(paths, g_ptr_array_index(base_names, i));

                if (i >= POLICY_FILES_MAX) {
                        policy_loader_problem(loader, LOG_ERR, path, NULL, "more than %u drop-in files",
                                        POLICY_FILES_MAX);
                        break;
                }

                load_found(loader, path);
        }

        *ret = policy_loader_finish(loader);
        return 0;
}

static void on_named(const char *base_name, void *userdata) {
        g_ptr_array_add(userdata, g_strdup(base_name));
}

/* A named directory: its *.conf in order. */
static int load_directory(PolicyLoader *loader, const char *path) {
        g_autoptr(GPtrArray) base_names = g_ptr_array_new_with_free_func(g_free);
        int r;

        r = list_directory(AT_FDCWD, path, on_named, base_names);
        if (r < 0)
                return r;
        if (base_names->len > POLICY_FILES_MAX)
                return -E2BIG;

        g_ptr_array_sort(base_names, compare_strings);

        for (guint i = 0; i < base_names->len; i++) {
                g_autofree char *file = g_build_filename(path, g_ptr_array_index(base_names, i), NULL);

                load_found(loader, file);
        }

        return 0;
}

int policy_load_files(const char *const *paths, const char *unit, Policy **ret, const char **ret_path) {
        PolicyLoader *loader;
        int r = 0;

        g_assert(paths);
        g_assert(ret);

        loader = policy_loader_new(unit);

        for (size_t i = 0; paths[i]; i++) {
                r = load_directory(loader, paths[i]);
                if (r == -ENOTDIR)
                        r = policy_loader_add_file(loader, paths[i]);
                if (r < 0) {
                        if (ret_path)
                                *ret_path = paths[i];
                        policy_free(policy_loader_finish(loader));
                        return r;
                }
        }

        *ret = policy_loader_finish(loader);
        return 0;
}
