/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Connects the syntax with the sections: finds the key of each assignment, keeps account of what's in force
 * and where it came from, and collects problems with a hint at what was probably meant. */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <syslog.h>
#include <unistd.h>

#include "basic/fd.h"
#include "policy/loader.h"
#include "policy/suggest.h"
#include "policy/syntax.h"

/* How much of a file's text a message repeats. */
#define EXCERPT_MAX 100

struct PolicyLoader {
        Policy *policy;
        GPtrArray **recorded; /* one array of PolicyAssignment per key, NULL as long as it's empty */
        size_t n_keys;
        size_t n_items;
        size_t size; /* of all text so far */

        /* Where we are. */
        const char *file;
        unsigned line;
        const PolicySection *section; /* NULL: one that we don't know */
        bool in_defaults;             /* nothing is recorded */
};

static void free_assignment(gpointer p) {
        PolicyAssignment *a = p;

        g_free(a->value);
        g_free(a->resolved);
        g_free(a);
}

static void free_problem(gpointer p) {
        PolicyProblem *problem = p;

        g_free(problem->file);
        g_free(problem->message);
        g_free(problem->hint);
        g_free(problem);
}

static void add_problem(PolicyLoader *loader, int level, const char *file, unsigned line, char *message,
                const char *hint) {
        Policy *policy = loader->policy;
        PolicyProblem *problem;

        /* Errors are at most one per file; it's warnings that can be as many as lines. */
        if (level > LOG_ERR && policy->problems->len >= POLICY_PROBLEMS_MAX) {
                g_free(message);
                if (policy->problems->len > POLICY_PROBLEMS_MAX)
                        return;

                message = g_strdup("too many problems, further ones aren't shown");
                hint = NULL;
        }

        problem = g_new(PolicyProblem, 1);
        *problem = (PolicyProblem){
                .level = level,
                .file = g_strdup(file),
                .line = line,
                .message = message,
                .hint = g_strdup(hint),
        };
        g_ptr_array_add(policy->problems, problem);

        if (level <= LOG_ERR && !policy->error)
                policy->error = line > 0 ? g_strdup_printf("%s:%u: %s", file, line, message)
                                         : g_strdup_printf("%s: %s", file, message);
}

void policy_loader_problem(PolicyLoader *loader, int level, const char *file, const char *hint,
                const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        add_problem(loader, level, file, 0, g_strdup_vprintf(format, ap), hint);
        va_end(ap);
}

void policy_warn(PolicyLoader *loader, const PolicyKey *key, const char *hint, const char *format, ...) {
        g_autofree char *message = NULL, *excerpt = NULL;
        va_list ap;

        g_assert(!loader->in_defaults);

        /* Nobody will see it: don't spend time on it. */
        if (loader->policy->problems->len > POLICY_PROBLEMS_MAX)
                return;

        va_start(ap, format);
        message = g_strdup_vprintf(format, ap);
        va_end(ap);

        excerpt = syntax_printable(message, 2 * EXCERPT_MAX);
        add_problem(loader, LOG_WARNING, loader->file, loader->line,
                        g_strdup_printf("%s=: %s, skipped", key->name, excerpt), hint);
}

void policy_refuse(
                PolicyLoader *loader, const PolicyAssignment *a, const char *hint, const char *format, ...) {
        g_autofree char *message = NULL, *excerpt = NULL;
        va_list ap;

        va_start(ap, format);
        message = g_strdup_vprintf(format, ap);
        va_end(ap);

        excerpt = syntax_printable(message, 2 * EXCERPT_MAX);
        add_problem(loader, LOG_ERR, a->file, a->line, g_strdup_printf("%s=: %s", a->key, excerpt), hint);
}

/* The key's place in loader->recorded. */
static size_t key_index(const PolicyKey *key) {
        size_t base = 0;

        for (const PolicySection *const *s = policy_sections; *s; s++) {
                if ((*s)->n_keys > 0 && key >= (*s)->keys && key < (*s)->keys + (*s)->n_keys)
                        return base + (size_t) (key - (*s)->keys);

                base += (*s)->n_keys;
        }

        g_assert_not_reached();
}

GPtrArray *policy_recorded(PolicyLoader *loader, const PolicyKey *key) {
        GPtrArray **recorded = &loader->recorded[key_index(key)];

        if (!*recorded)
                *recorded = g_ptr_array_new_with_free_func(free_assignment);

        return *recorded;
}

bool policy_record(PolicyLoader *loader, const PolicyKey *key, const char *value, const char *resolved) {
        GPtrArray *recorded;
        PolicyAssignment *a;

        if (loader->in_defaults)
                return true;

        recorded = policy_recorded(loader, key);
        if (!key->is_list)
                g_ptr_array_set_size(recorded, 0);
        else if (recorded->len >= POLICY_ITEMS_MAX) {
                policy_warn(loader, key, "use patterns or ranges", "more than %u items", POLICY_ITEMS_MAX);
                return false;
        }

        a = g_new(PolicyAssignment, 1);
        *a = (PolicyAssignment){
                .section = loader->section->name,
                .key = key->name,
                .value = g_strdup(value),
                .resolved = g_strdup(resolved),
                .file = loader->file,
                .line = loader->line,
        };
        g_ptr_array_add(recorded, a);
        return true;
}

/* The default isn't something that was written, so it isn't recorded. */
static void apply_default(PolicyLoader *loader, const PolicyKey *key) {
        g_autofree char *copy = g_strdup(key->fallback);

        loader->in_defaults = true;
        key->parse(loader, key, copy, (char *) loader->policy + key->offset);
        loader->in_defaults = false;
}

static void apply(PolicyLoader *loader, const PolicyKey *key, const char *value) {
        g_autofree char *copy = NULL;

        if (!*value) {
                g_ptr_array_set_size(policy_recorded(loader, key), 0);
                apply_default(loader, key);
                return;
        }

        copy = g_strdup(value);
        key->parse(loader, key, copy, (char *) loader->policy + key->offset);
}

static void on_section(const char *name, unsigned line, void *userdata) {
        PolicyLoader *loader = userdata;
        g_autofree char *excerpt = NULL, *hint = NULL;

        for (const PolicySection *const *s = policy_sections; *s; s++)
                if (strcmp((*s)->name, name) == 0) {
                        loader->section = *s;
                        return;
                }

        loader->section = NULL;
        if (g_str_has_prefix(name, "X-"))
                return;

        excerpt = syntax_printable(name, EXCERPT_MAX);
        hint = suggest_section(name);
        add_problem(loader, LOG_WARNING, loader->file, line,
                        g_strdup_printf("unknown section [%s], skipped", excerpt), hint);
}

static void on_assignment(const char *name, const char *value, unsigned line, void *userdata) {
        PolicyLoader *loader = userdata;
        g_autofree char *excerpt = NULL, *hint = NULL;

        if (!loader->section || g_str_has_prefix(name, "X-"))
                return;

        loader->line = line;

        for (size_t i = 0; i < loader->section->n_keys; i++)
                if (strcmp(loader->section->keys[i].name, name) == 0) {
                        apply(loader, &loader->section->keys[i], value);
                        return;
                }

        excerpt = syntax_printable(name, EXCERPT_MAX);
        hint = suggest_key(loader->section, name);
        add_problem(loader, LOG_WARNING, loader->file, line,
                        g_strdup_printf("unknown key %s= in [%s], skipped", excerpt, loader->section->name),
                        hint);
}

static void on_problem(int level, unsigned line, const char *message, const char *hint, void *userdata) {
        PolicyLoader *loader = userdata;

        add_problem(loader, level, loader->file, line, g_strdup(message), hint);
}

PolicyLoader *policy_loader_new(const char *unit) {
        PolicyLoader *loader = g_new0(PolicyLoader, 1);

        loader->policy = g_new0(Policy, 1);
        loader->policy->unit = g_strdup(unit);
        loader->policy->files = g_ptr_array_new_with_free_func(g_free);
        loader->policy->problems = g_ptr_array_new_with_free_func(free_problem);
        loader->policy->assignments = g_ptr_array_new_with_free_func(free_assignment);

        for (const PolicySection *const *s = policy_sections; *s; s++) {
                if ((*s)->init)
                        (*s)->init(loader->policy);

                for (size_t i = 0; i < (*s)->n_keys; i++)
                        apply_default(loader, &(*s)->keys[i]);

                loader->n_keys += (*s)->n_keys;
        }

        loader->recorded = g_new0(GPtrArray *, loader->n_keys);
        return loader;
}

void policy_loader_add_text(PolicyLoader *loader, const char *text, size_t size, const char *name) {
        static const SyntaxHandler handler = {
                .section = on_section,
                .assignment = on_assignment,
                .problem = on_problem,
        };
        char *file = g_strdup(name);

        g_ptr_array_add(loader->policy->files, file);
        loader->policy->has_files = true;
        loader->file = file;
        loader->section = NULL;

        (void) syntax_parse(text, size, &handler, loader);
}

int policy_loader_add_file(PolicyLoader *loader, const char *path) {
        _cleanup_close_ int fd = -1;
        g_autofree char *text = NULL;
        struct stat st;
        size_t size;
        int r;

        /* Look before opening: opening can have effects on a device. And look again at what was opened. */
        if (stat(path, &st) < 0)
                return -errno;
        if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3))
                return 0;
        if (!S_ISREG(st.st_mode))
                return -ENOTSUP;

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -ENOTSUP;

        r = read_fd_full(fd, POLICY_SIZE_MAX - loader->size, &text, &size);
        if (r == -E2BIG) {
                g_ptr_array_add(loader->policy->files, g_strdup(path));
                loader->policy->has_files = true;
                policy_loader_problem(loader, LOG_ERR, path, NULL,
                                "the policy's files are larger than %u MiB together",
                                POLICY_SIZE_MAX / (1024 * 1024));
                return 1;
        }
        if (r < 0)
                return r;
        if (size == 0)
                return 0;

        if (st.st_mode & S_IWOTH)
                policy_loader_problem(loader, LOG_WARNING, path, "chmod o-w", "anyone may change this file");

        loader->size += size;
        policy_loader_add_text(loader, text, size, path);
        return 1;
}

Policy *policy_loader_finish(PolicyLoader *loader) {
        Policy *policy = loader->policy;

        for (const PolicySection *const *s = policy_sections; *s; s++)
                if ((*s)->check)
                        (*s)->check(loader, policy);

        for (size_t i = 0; i < loader->n_keys; i++)
                if (loader->recorded[i])
                        g_ptr_array_extend_and_steal(policy->assignments, loader->recorded[i]);

        g_free(loader->recorded);
        g_free(loader);
        return policy;
}
