/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <libkmod.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>

#include "basic/clock.h"
#include "basic/log.h"
#include "supervisor/handlers/module-load.h"
#include "supervisor/library.h"
#include "supervisor/privilege.h"
#include "supervisor/worker.h"

/* So long it's remembered which modules the words of a policy mean. */
#define MEANINGS_NSEC (20 * UINT64_C(1000000000))

typedef struct LoadWork {
        const char *name;
        const char *parameters;
        const GPtrArray *words;
} LoadWork;

typedef struct LoadAnswer {
        int result;
        ModuleOutcome outcome;
} LoadAnswer;

static struct {
        struct kmod_ctx *(*kmod_new)(const char *directory, const char *const *paths);
        struct kmod_ctx *(*kmod_unref)(struct kmod_ctx *context);
        void (*kmod_set_log_fn)(struct kmod_ctx *context,
                        void (*log)(void *data, int priority, const char *file, int line,
                                        const char *function, const char *format, va_list ap),
                        const void *data);
        struct kmod_list *(*kmod_list_next)(const struct kmod_list *list, const struct kmod_list *entry);
        int (*kmod_module_new_from_name)(
                        struct kmod_ctx *context, const char *name, struct kmod_module **ret);
        int (*kmod_module_new_from_lookup)(
                        struct kmod_ctx *context, const char *alias, struct kmod_list **ret);
        struct kmod_module *(*kmod_module_get_module)(const struct kmod_list *entry);
        struct kmod_module *(*kmod_module_unref)(struct kmod_module *module);
        int (*kmod_module_unref_list)(struct kmod_list *list);
        const char *(*kmod_module_get_name)(const struct kmod_module *module);
        const char *(*kmod_module_get_path)(const struct kmod_module *module);
        int (*kmod_module_get_initstate)(const struct kmod_module *module);
        int (*kmod_module_probe_insert_module)(struct kmod_module *module, unsigned flags,
                        const char *options,
                        int (*run_install)(struct kmod_module *module, const char *command, void *data),
                        const void *data,
                        void (*print)(struct kmod_module *module, bool install, const char *options));
} kmod;

#define SYMBOL(name)                                                                                         \
        { #name, &kmod.name }

static const LibrarySymbol kmod_symbols[] = {
        SYMBOL(kmod_new),
        SYMBOL(kmod_unref),
        SYMBOL(kmod_set_log_fn),
        SYMBOL(kmod_list_next),
        SYMBOL(kmod_module_new_from_name),
        SYMBOL(kmod_module_new_from_lookup),
        SYMBOL(kmod_module_get_module),
        SYMBOL(kmod_module_unref),
        SYMBOL(kmod_module_unref_list),
        SYMBOL(kmod_module_get_name),
        SYMBOL(kmod_module_get_path),
        SYMBOL(kmod_module_get_initstate),
        SYMBOL(kmod_module_probe_insert_module),
};

bool module_is_live(const char *name) {
        g_autofree char *path = g_strdup_printf("/sys/module/%s/initstate", name), *state = NULL;

        return g_file_get_contents(path, &state, NULL, NULL) && strcmp(g_strchomp(state), "live") == 0;
}

__attribute__((format(printf, 6, 0))) static void log_kmod(void *data, int priority, const char *file,
                int line, const char *function, const char *format, va_list ap) {
        g_autofree char *text = g_strdup_vprintf(format, ap);

        (void) log_internal(priority, 0, "libkmod: %s", g_strchomp(text));
}

/* In the child: nothing of the caller's is in force or open any more, and of the privileges only the one that
 * it's for. */
static int open_host_modules(CapabilitySet keep, struct kmod_ctx **ret) {
        int r;

        r = library_open("libkmod.so.2", kmod_symbols, G_N_ELEMENTS(kmod_symbols));
        if (r < 0)
                return r;

        r = worker_close_files(3); /* libkmod's messages go to stderr. */
        if (r < 0)
                return r;
        r = privilege_take_ids(0, 0, NULL, 0, 022);
        if (r < 0)
                return r;
        r = privilege_keep_only(keep);
        if (r < 0)
                return r;
        r = worker_end_with_parent();
        if (r < 0)
                return r;

        *ret = kmod.kmod_new(NULL, NULL);
        if (!*ret)
                return -ENOMEM;

        kmod.kmod_set_log_fn(*ret, log_kmod, NULL);
        return 0;
}

/* Adds the names of the modules in the list, each with a blank behind it, as far as they fit. */
static void add_names(const struct kmod_list *list, char *names, size_t size) {
        for (const struct kmod_list *l = list; l; l = kmod.kmod_list_next(list, l)) {
                struct kmod_module *module = kmod.kmod_module_get_module(l);
                const char *name = kmod.kmod_module_get_name(module);
                size_t used = strlen(names);

                if (used + strlen(name) + 2 <= size)
                        (void) g_snprintf(names + used, (gulong) (size - used), "%s ", name);
                else
                        log_warning("Too many modules are meant by AllowModule=: %s isn't lent", name);
                (void) kmod.kmod_module_unref(module);
        }
}

/* Which modules the words that aren't names of modules stand for. */
static int find_meanings(void *userdata, void *ret, int *ret_fd) {
        const LoadWork *work = userdata;
        struct kmod_ctx *context;
        int r;

        r = open_host_modules(0, &context);
        if (r < 0)
                return r;

        for (guint i = 0; i < work->words->len; i++) {
                const char *word = work->words->pdata[i];
                struct kmod_list *list = NULL;

                if (kmod.kmod_module_new_from_lookup(context, word, &list) < 0 || !list)
                        continue;

                add_names(list, ret, WORKER_ANSWER_MAX);
                (void) kmod.kmod_module_unref_list(list);
        }

        (void) kmod.kmod_unref(context);
        return 0;
}

int module_is_meant(const GPtrArray *words, const char *name, uint64_t timeout_usec) {
        static char names[WORKER_ANSWER_MAX];
        static uint64_t asked_nsec;
        static char *asked;
        LoadWork work = { .words = words };
        g_autoptr(GString) all = g_string_new(NULL);
        g_auto(GStrv) known = NULL;
        uint64_t now = now_nsec(CLOCK_MONOTONIC);
        int r;

        if (words->len == 0)
                return 0;

        /* An init that's just starting asks for a dozen modules. The host's tree seldom changes. */
        for (guint i = 0; i < words->len; i++)
                g_string_append_printf(all, "%s ", (const char *) words->pdata[i]);
        if (!asked || strcmp(asked, all->str) != 0 || now - asked_nsec > MEANINGS_NSEC) {
                g_clear_pointer(&asked, g_free);
                r = worker_run(find_meanings, &work, timeout_usec, names, sizeof(names), NULL);
                if (r < 0)
                        return r;

                asked = g_string_free(g_steal_pointer(&all), FALSE);
                asked_nsec = now;
        }

        known = g_strsplit(names, " ", -1);
        return g_strv_contains((const char *const *) known, name);
}

/* Such a command would run with what's left of our privileges and can't be expected to work; "/bin/false",
 * the usual one, says that the module isn't wanted. */
static int refuse_install_command(struct kmod_module *module, const char *command, void *data) {
        *(bool *) data = true;
        return -ECANCELED;
}

static int load_host_module(void *userdata, void *ret, int *ret_fd) {
        const LoadWork *work = userdata;
        struct kmod_module *module = NULL;
        LoadAnswer *answer = ret;
        struct kmod_ctx *context;
        bool command_refused = false;
        int r;

        r = open_host_modules(CAPABILITY_BIT(CAP_SYS_MODULE), &context);
        if (r < 0)
                return r;

        /* By its name alone: what the host means by it as an alias is for AllowModule= to say. */
        r = kmod.kmod_module_new_from_name(context, work->name, &module);
        if (r < 0)
                return r;

        answer->outcome = MODULE_TRIED;
        if (kmod.kmod_module_get_initstate(module) == KMOD_MODULE_BUILTIN)
                answer->result = -EEXIST;
        else if (!kmod.kmod_module_get_path(module))
                answer->outcome = MODULE_NOT_FOUND;
        else {
                r = kmod.kmod_module_probe_insert_module(module,
                                KMOD_PROBE_FAIL_ON_LOADED | KMOD_PROBE_APPLY_BLACKLIST |
                                                KMOD_PROBE_APPLY_BLACKLIST_ALL,
                                *work->parameters ? work->parameters : NULL, refuse_install_command,
                                &command_refused, NULL);
                if (r > 0)
                        answer->outcome = MODULE_BLACKLISTED;
                /* For a module that's loaded beside it if possible (softdep) it doesn't matter. */
                else if (r == -ECANCELED && command_refused)
                        answer->outcome = MODULE_INSTALL_COMMAND;
                answer->result = MIN(r, 0);
        }

        (void) kmod.kmod_module_unref(module);
        (void) kmod.kmod_unref(context);
        return 0;
}

int module_load(const char *name, const char *parameters, uint64_t timeout_usec, ModuleOutcome *ret_outcome,
                bool *ret_failed) {
        LoadWork work = { .name = name, .parameters = parameters };
        LoadAnswer answer = {};
        int r;

        r = worker_run(load_host_module, &work, timeout_usec, &answer, sizeof(answer), NULL);
        *ret_failed = r < 0;
        if (r < 0)
                return r;

        *ret_outcome = answer.outcome;
        return answer.outcome == MODULE_TRIED ? answer.result : 0;
}
