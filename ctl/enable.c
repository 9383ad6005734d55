/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* deputyctl enable: a unit's command runs through deputy-run, by a drop-in. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "basic/log.h"
#include "ctl/drop-in.h"
#include "ctl/findings.h"
#include "ctl/policy-argument.h"
#include "ctl/terminal.h"
#include "ctl/unit-argument.h"
#include "ctl/unit-job.h"

#define PROBE_INSTANCE "deputyd-probe"

typedef struct Enabling {
        char *unit;  /* as it's enabled: an instance, a template */
        char *probe; /* the unit that PID 1 is asked about: the same, or an instance of the template */
        char *path;  /* of the drop-in */
        UnitSettings *settings; /* of the probe */
        GPtrArray *commands;    /* ExecCommand: what the unit runs without us */
        GPtrArray *lines;       /* char *: new values of ExecStart= */
        GPtrArray *links;       /* DropInLink: all that belong to the drop-in */
        bool wrapped_by_others; /* deputy-run is in the unit's own ExecStart= */
        const Options *options;
} Enabling;

static void enabling_done(Enabling *e) {
        g_free(e->unit);
        g_free(e->probe);
        g_free(e->path);
        unit_settings_free(e->settings);
        g_clear_pointer(&e->commands, g_ptr_array_unref);
        g_clear_pointer(&e->lines, g_ptr_array_unref);
        g_clear_pointer(&e->links, g_ptr_array_unref);
}

static int load_settings(sd_bus *bus, Enabling *e) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        const char *state;
        int r;

        e->settings = unit_settings_free(e->settings);
        r = unit_settings_load(bus, e->probe, &e->settings, &error);
        if (r < 0)
                return bus_log_error(&error, r, "Can't ask systemd for the unit");

        state = e->settings->load_state ?: "";
        if (strcmp(state, "loaded") == 0)
                return 0;

        if (strcmp(state, "not-found") == 0)
                log_error("There's no unit %s: systemctl list-unit-files lists those there are; a new one "
                          "needs "
                          "systemctl daemon-reload",
                                e->unit);
        else if (strcmp(state, "masked") == 0)
                log_error("%s is masked: systemctl unmask '%s' first", e->unit, e->unit);
        else
                log_error("%s can't be loaded (%s): see systemctl status '%s'", e->unit, state, e->unit);

        return -ENOENT;
}

/* PID 1 must have read the files that we're going to read. */
static int load_current_settings(sd_bus *bus, Enabling *e) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = load_settings(bus, e);
        if (r < 0 || !e->settings->need_daemon_reload)
                return r;

        if (e->options->dry_run) {
                log_warning("Files of %s have changed since systemd read them: systemctl daemon-reload first",
                                e->unit);
                return 0;
        }

        r = systemd_reload(bus, &error);
        if (r < 0)
                return bus_log_error(&error, r, "Can't make systemd read its units again");

        return load_settings(bus, e);
}

/* An alias leads to the unit's own name: PID 1 knows drop-ins by both, people know them by one. */
static void resolve_alias(Enabling *e) {
        const char *id = e->settings->id;

        if (strcmp(e->unit, e->probe) != 0 || !id || strcmp(id, e->unit) == 0)
                return;

        if (!e->options->quiet)
                printf("%s is an alias of %s.\n", e->unit, id);

        g_free(e->unit);
        g_free(e->probe);
        g_free(e->path);
        e->unit = g_strdup(id);
        e->probe = g_strdup(id);
        e->path = drop_in_path(id, e->options->runtime);
}

static int read_unit_files(const Enabling *e, bool with_ours, GPtrArray *commands) {
        g_autoptr(GPtrArray) files = g_ptr_array_new();
        int r;

        if (e->settings->fragment_path && *e->settings->fragment_path)
                g_ptr_array_add(files, e->settings->fragment_path);
        for (char **d = e->settings->drop_in_paths; d && *d; d++)
                if (with_ours || !drop_in_is_ours(*d))
                        g_ptr_array_add(files, *d);

        for (guint i = 0; i < files->len; i++) {
                g_autofree char *text = NULL;

                if (!g_file_get_contents(files->pdata[i], &text, NULL, NULL))
                        return -EIO;

                r = exec_commands_from_text(text, files->pdata[i], commands);
                if (r < 0)
                        return r;
        }

        return 0;
}

static bool has_our_drop_in(const Enabling *e) {
        for (char **d = e->settings->drop_in_paths; d && *d; d++)
                if (drop_in_is_ours(*d))
                        return true;

        return false;
}

/* What the unit runs without us: from its files if they say what PID 1 says they do, else from PID 1. */
static int find_commands(Enabling *e) {
        g_autoptr(GPtrArray) current = exec_commands_new(), original = exec_commands_new();

        if (read_unit_files(e, true, current) >= 0 && exec_commands_match(current, e->settings->exec_start) &&
                        read_unit_files(e, false, original) >= 0) {
                e->commands = g_steal_pointer(&original);
                return 0;
        }

        if (has_our_drop_in(e)) {
                log_error("The ExecStart= lines of %s aren't what systemd made of them, so its own can't be "
                          "told "
                          "from ours: deputyctl disable '%s' first, then enable it again",
                                e->unit, e->unit);
                return -EUCLEAN;
        }

        if (unit_name_is_template(e->unit)) {
                log_error("The ExecStart= lines of %s can't be understood without an instance: enable an "
                          "instance "
                          "of it instead, such as %.*sNAME.service",
                                e->unit, (int) (strchr(e->unit, '@') + 1 - e->unit), e->unit);
                return -EUCLEAN;
        }

        e->commands = g_ptr_array_ref(e->settings->exec_start);
        return 0;
}

/* Drop-ins apply in the order of their names: one that comes after ours would put its commands in place of,
 * or beside, the wrapped ones. */
static int check_order(const Enabling *e) {
        for (guint i = 0; i < e->commands->len; i++) {
                const ExecCommand *command = e->commands->pdata[i];
                g_autofree char *name = command->source ? g_path_get_basename(command->source) : NULL;

                if (!name || strcmp(command->source, e->settings->fragment_path ?: "") == 0 ||
                                strcmp(name, DROP_IN_NAME) < 0)
                        continue;

                log_error("%s sets ExecStart= and comes after " DROP_IN_NAME
                          ", so it would win: rename it to "
                          "something that sorts before, such as 40-%s",
                                command->source, name);
                return -EBUSY;
        }

        return 0;
}

static bool is_deputy_run_here(char **path) {
        if (access(*path, X_OK) >= 0)
                return true;

        g_clear_pointer(path, g_free);
        return false;
}

/* deputy-run lies beside us, or in a build tree next door. */
static char *find_deputy_run(void) {
        g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
        g_autofree char *directory = self ? g_path_get_dirname(self) : NULL;
        g_autofree char *parent = directory ? g_path_get_dirname(directory) : NULL;
        char *path;

        if (directory) {
                path = g_build_filename(directory, "deputy-run", NULL);
                if (is_deputy_run_here(&path))
                        return path;

                path = g_build_filename(parent, "launcher", "deputy-run", NULL);
                if (is_deputy_run_here(&path))
                        return path;
        }

        return g_strdup(BINDIR "/deputy-run");
}

/* What nspawn has to let through for the policy that the unit will have. Profiles that are about to be linked
 * count; it does no harm to let more through than is lent. */
static char **nspawn_options_for(const Enabling *e) {
        g_autoptr(Policy) policy = NULL;
        CallSet calls = 0;
        bool tokens = false;

        if (policy_load_unit(e->unit, NULL, &policy) >= 0) {
                calls = policy_intercepted_calls(policy);
                tokens = policy_allows_bpf_token(policy);
        }

        for (guint i = 0; i < e->links->len; i++) {
                const DropInLink *link = e->links->pdata[i];
                g_autoptr(Policy) profile = NULL;

                if (policy_load_files((const char *const[]){ link->target, NULL }, NULL, &profile, NULL) >=
                                0) {
                        calls |= policy_intercepted_calls(profile);
                        tokens |= policy_allows_bpf_token(profile);
                }
        }

        return nspawn_options(calls, tokens);
}

/* Does this command make a container with a user namespace? Its settings file is named after the machine,
 * which PID 1 knows and the line in the file ("%i") doesn't. */
static bool makes_private_users(const Enabling *e, guint i) {
        const GPtrArray *loaded = e->settings->exec_start;

        return nspawn_has_private_users(e->commands->pdata[i]) &&
               (loaded->len != e->commands->len || nspawn_has_private_users(loaded->pdata[i]));
}

static int wrap_commands(Enabling *e) {
        g_auto(GStrv) options = nspawn_options_for(e);
        g_autofree char *deputy_run = find_deputy_run();
        int r;

        if (e->commands->len == 0) {
                log_error("%s has no ExecStart=: there's nothing to run through deputy-run", e->unit);
                return -ENODATA;
        }

        for (guint i = 0; i < e->commands->len; i++) {
                const ExecCommand *command = e->commands->pdata[i];
                bool nspawn = exec_command_is_program(command, "systemd-nspawn");
                bool needs_options = nspawn && *options && makes_private_users(e, i);
                char *line;

                if (exec_command_is_wrapped(command)) {
                        e->wrapped_by_others = true;
                        continue;
                }

                r = exec_command_wrap(command, deputy_run,
                                needs_options ? (const char *const *) options : NULL, &line);
                if (r == -EOPNOTSUPP)
                        log_error("%s: the command %s has a prefix that deputyctl doesn't know; write the "
                                  "drop-in "
                                  "by hand (systemctl edit): deputyctl(1) shows how",
                                        e->unit, command->path);
                else if (r == -ENOTUNIQ)
                        log_error("%s: argv[0] of %s comes from a variable, %s, which may be several words; "
                                  "write "
                                  "${...} instead, or the drop-in by hand",
                                        e->unit, command->path, (char *) command->argv->pdata[0]);
                if (r < 0)
                        return r;

                if (nspawn && *options && !needs_options)
                        log_warning("%s makes a container without a user namespace, whose root would get the "
                                    "host's privileges with %s: that isn't added",
                                        e->unit, *options);

                g_ptr_array_add(e->lines, line);
        }

        if (e->wrapped_by_others && e->lines->len > 0) {
                log_error("%s runs some of its commands through deputy-run already, and others not; write "
                          "them all "
                          "by hand, or none",
                                e->unit);
                return -EEXIST;
        }

        return 0;
}

static void log_unknown_profile(const char *name) {
        g_auto(GStrv) known = policy_profile_names();
        g_autofree char *list = g_strjoinv(", ", known), *escaped = terminal_escape(name);

        log_error("There's no profile \"%s\"; there are: %s", escaped, *list ? list : "none");
}

/* Adds the links that the options ask for to those that the drop-in already has. */
static int collect_links(Enabling *e) {
        int r;

        r = drop_in_read(e->path, &e->links);
        if (r == -EEXIST) {
                log_error("%s exists and wasn't written by deputyctl: rename it, and try again", e->path);
                return r;
        }
        if (r < 0)
                return log_error_errno(r, "Can't read %s: %m", e->path);
        if (r == 0)
                e->links = drop_in_links_new();

        for (guint i = 0; i < e->options->profiles->len; i++) {
                const char *profile = e->options->profiles->pdata[i];
                g_autofree char *found = NULL, *target = NULL, *path = NULL, *present = NULL;

                r = policy_find_profile(profile, &found);
                if (r < 0) {
                        log_unknown_profile(profile);
                        return r;
                }

                target = g_canonicalize_filename(found, NULL);
                path = drop_in_link_path(e->unit, profile, e->options->runtime);
                if (drop_in_links_contain(e->links, path))
                        continue;

                /* One that the admin has made stays the admin's. */
                present = g_file_read_link(path, NULL);
                if (g_strcmp0(present, target) == 0)
                        continue;
                if (present || g_file_test(path, G_FILE_TEST_EXISTS)) {
                        log_error("%s exists and isn't a link to the profile: remove or rename it, and try "
                                  "again",
                                        path);
                        return -EEXIST;
                }

                drop_in_links_add(e->links, path, target);
        }

        return 0;
}

static void print_plan(const Enabling *e, const char *text) {
        for (guint i = 0; i < e->links->len; i++) {
                const DropInLink *link = e->links->pdata[i];

                printf("%s# %s -> %s%s\n", style(STYLE_DIM), link->path, link->target, style(STYLE_NORMAL));
        }

        printf("%s# %s%s\n%s", style(STYLE_DIM), e->path, style(STYLE_NORMAL), text);
}

/* The drop-in first, since it says which links are ours. */
static int write_files(const Enabling *e, const char *text) {
        g_autofree char *present = NULL;
        bool same = g_file_get_contents(e->path, &present, NULL, NULL) && strcmp(present, text) == 0;
        int r;

        if (!same) {
                r = write_file_atomically(e->path, text);
                if (r < 0)
                        return log_error_errno(r, "Can't write %s: %m%s", e->path,
                                        r == -EACCES ? "; do this as root" : "");
        }
        if (!e->options->quiet)
                printf("%s %s.\n", same ? "Unchanged:" : "Wrote", e->path);

        for (guint i = 0; i < e->links->len; i++) {
                const DropInLink *link = e->links->pdata[i];

                r = make_link(link->path, link->target);
                if (r < 0)
                        return log_error_errno(r, "Can't link %s to %s: %m", link->path, link->target);
                if (r > 0 && !e->options->quiet)
                        printf("Linked %s to %s.\n", link->path, link->target);
        }

        return 0;
}

/* After the reload, PID 1 says whether it has come to pass. */
static int check_result(sd_bus *bus, Enabling *e) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autoptr(UnitSettings) socket = NULL;
        int r;

        r = systemd_reload(bus, &error);
        if (r < 0)
                return bus_log_error(&error, r, "Written, but systemd can't be made to read it");

        r = load_settings(bus, e);
        if (r < 0)
                return r;

        for (guint i = 0; i < e->settings->exec_start->len; i++) {
                const ExecCommand *command = e->settings->exec_start->pdata[i];

                if (!exec_command_is_wrapped(command)) {
                        log_error("%s still runs %s directly: systemctl cat '%s' shows which drop-in undoes "
                                  "ours",
                                        e->unit, command->path, e->probe);
                        return -EUCLEAN;
                }
        }

        if (unit_settings_load(bus, "deputyd.socket", &socket, NULL) >= 0 &&
                        g_strcmp0(socket->load_state, "loaded") != 0)
                log_warning("%s now requires deputyd.socket, which is %s here: is deputyd installed?",
                                e->unit, socket->load_state);

        return 0;
}

/* The same as "deputyctl verify UNIT" says; only errors make it fail. */
static int verify_result(const Enabling *e) {
        g_autoptr(GPtrArray) findings = findings_new();
        g_autoptr(Policy) policy = NULL;
        int r;

        r = policy_load_unit(e->unit, NULL, &policy);
        if (r < 0)
                return log_error_errno(r, "Can't load the policy of %s: %m", e->unit);

        findings_add_policy(findings, policy);
        if (policy->has_files)
                findings_add_unit(findings, e->settings, policy);
        else
                findings_add(findings, LOG_WARNING, e->unit,
                                g_strdup("it has no policy yet, so it's lent nothing"),
                                g_strdup_printf("add --profile=NAME, or write " SYSCONFDIR
                                                "/deputyd/policy.d/%s.d/50-site.conf",
                                                e->unit));

        if (!e->options->quiet || findings_worst(findings) <= LOG_ERR)
                findings_print(findings);

        return findings_worst(findings) <= LOG_ERR ? -EBADMSG : 0;
}

static int finish_enabling(sd_bus *bus, const Enabling *e) {
        bool active;
        int r;

        if (unit_name_is_template(e->unit)) {
                if (!e->options->quiet)
                        printf("Instances have it when they're started next: systemctl restart "
                               "'%.*sNAME.service'\n",
                                        (int) (strchr(e->unit, '@') + 1 - e->unit), e->unit);
                return 0;
        }

        if (e->options->now) {
                r = unit_restart(bus, "RestartUnit", e->unit);
                if (r >= 0 && !e->options->quiet)
                        printf("Restarted %s.\n", e->unit);
                return r;
        }

        active = g_strcmp0(e->settings->active_state, "inactive") != 0 &&
                 g_strcmp0(e->settings->active_state, "failed") != 0;
        if (!e->options->quiet)
                printf("Next: systemctl %s '%s'\n", active ? "restart" : "start", e->unit);

        return 0;
}

static int prepare(sd_bus *bus, Enabling *e, const char *argument) {
        int r;

        r = unit_argument_complete(argument, &e->unit);
        if (r < 0)
                return r;

        e->lines = g_ptr_array_new_with_free_func(g_free);
        e->path = drop_in_path(e->unit, e->options->runtime);
        if (unit_name_is_template(e->unit)) {
                const char *at = strchr(e->unit, '@') + 1;

                if (e->options->now) {
                        log_error("%s is a template, which isn't started itself: restart its instances",
                                        e->unit);
                        return -EINVAL;
                }
                e->probe = g_strdup_printf("%.*s" PROBE_INSTANCE "%s", (int) (at - e->unit), e->unit, at);
        } else
                e->probe = g_strdup(e->unit);

        r = load_current_settings(bus, e);
        if (r < 0)
                return r;

        resolve_alias(e);

        if ((r = unit_argument_check_type(e->unit)) < 0 || (r = collect_links(e)) < 0 ||
                        (r = find_commands(e)) < 0 || (r = wrap_commands(e)) < 0)
                return r;

        return e->wrapped_by_others ? 0 : check_order(e);
}

int verb_enable(char **arguments, const Options *options) {
        _cleanup_(enabling_done) Enabling e = { .options = options };
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        g_autofree char *text = NULL;
        int r;

        r = bus_connect(&bus);
        if (r < 0)
                return r;

        r = prepare(bus, &e, arguments[0]);
        if (r < 0)
                return r;

        if (e.wrapped_by_others && !options->quiet)
                printf("%s runs through deputy-run by its own ExecStart=, which stays as it is.\n", e.unit);

        text = drop_in_compose(e.lines, e.links);
        if (options->dry_run) {
                print_plan(&e, text);
                return 0;
        }

        if ((r = write_files(&e, text)) < 0 || (r = check_result(bus, &e)) < 0)
                return r;

        r = verify_result(&e);
        if (r < 0) {
                log_error("%s is enabled, but what stands above has to be put right before it's restarted",
                                e.unit);
                return r;
        }

        return finish_enabling(bus, &e);
}
