/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* deputyctl verify: problems of policy files, and of units that have a policy. */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/log.h"
#include "ctl/findings.h"
#include "ctl/policy-argument.h"
#include "ctl/terminal.h"

static int verify_file(const char *path, GPtrArray *findings) {
        g_autoptr(Policy) policy = NULL;
        int r;

        r = policy_load_file_arguments((const char *const[]){ path, NULL }, &policy);
        if (r < 0)
                return r;

        findings_add_policy(findings, policy);
        return 0;
}

static int verify_unit(sd_bus *bus, const char *argument, GPtrArray *findings) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autoptr(UnitSettings) settings = NULL;
        g_autoptr(Policy) policy = NULL;
        int r;

        r = policy_load_argument(argument, &policy);
        if (r < 0)
                return r;

        findings_add_policy(findings, policy);
        if (!policy->has_files) {
                findings_add(findings, LOG_WARNING, policy->unit,
                                g_strdup("there's no policy for it: it's lent nothing"),
                                g_strdup_printf("deputyctl enable --profile=NAME '%s', or write "
                                                "%s/deputyd/policy.d/%s.d/50-site.conf",
                                                policy->unit, SYSCONFDIR, policy->unit));
                return 0;
        }

        /* PID 1 has no settings of a template as such. */
        if (!bus || unit_name_is_template(policy->unit))
                return 0;

        r = unit_settings_load(bus, policy->unit, &settings, &error);
        if (r < 0) {
                g_autofree char *sentence = bus_error_sentence(&error, r);

                findings_add(findings, LOG_WARNING, policy->unit,
                                g_strdup_printf("systemd can't be asked for its settings: %s", sentence),
                                NULL);
                return 0;
        }

        findings_add_unit(findings, settings, policy);
        return 0;
}

static int compare_strings(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

/* The names in a directory, sorted. An unreadable one is empty. */
static char **list_directory(const char *path) {
        g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
        GPtrArray *names = g_ptr_array_new();
        const char *name;

        while (directory && (name = g_dir_read_name(directory)))
                g_ptr_array_add(names, g_strdup(name));

        g_ptr_array_sort(names, compare_strings);
        g_ptr_array_add(names, NULL);
        return (char **) g_ptr_array_free(names, FALSE);
}

/* Does a "NAME.d" in a policy directory belong to some unit: foo.service, foo-.service, service? */
static bool names_units(const char *directory) {
        g_autofree char *name = g_strndup(directory, strlen(directory) - strlen(".d"));
        g_autofree char *example = strchr(name, '.') ? NULL : g_strconcat("a.", name, NULL);

        return policy_unit_name_is_valid(example ?: name);
}

static int verify_drop_ins(const char *directory, GPtrArray *findings, unsigned *n_files) {
        g_auto(GStrv) names = list_directory(directory);
        int r, result = 0;

        for (char **n = names; *n; n++) {
                g_autofree char *path = g_build_filename(directory, *n, NULL), *link = NULL;

                if (!g_str_has_suffix(*n, ".conf")) {
                        findings_add(findings, LOG_WARNING, path, g_strdup("isn't read"),
                                        g_strdup("a drop-in's name ends in .conf"));
                        continue;
                }

                link = g_file_read_link(path, NULL);
                if (g_strcmp0(link, "/dev/null") == 0)
                        continue;

                (*n_files)++;
                r = verify_file(path, findings);
                if (r < 0)
                        result = r;
        }

        return result;
}

static int verify_everything(GPtrArray *findings, unsigned *n_files) {
        g_auto(GStrv) directories = policy_directories();
        int r, result = 0;

        for (char **d = directories; *d; d++) {
                g_auto(GStrv) names = list_directory(*d);

                for (char **n = names; *n; n++) {
                        g_autofree char *path = g_build_filename(*d, *n, NULL);

                        if (!g_file_test(path, G_FILE_TEST_IS_DIR)) {
                                if (g_str_has_suffix(*n, ".conf"))
                                        findings_add(findings, LOG_WARNING, path, g_strdup("isn't read"),
                                                        g_strdup("drop-ins are in directories named after a "
                                                                 "unit: foo.service.d/50-site.conf"));
                                continue;
                        }

                        if (!g_str_has_suffix(*n, ".d"))
                                continue;

                        if (!names_units(*n)) {
                                findings_add(findings, LOG_WARNING, path,
                                                g_strdup("is named after no unit, so nothing in it is read"),
                                                g_strdup("foo.service.d, foo@.service.d, service.d"));
                                continue;
                        }

                        r = verify_drop_ins(path, findings, n_files);
                        if (r < 0)
                                result = r;
                }
        }

        return result;
}

static int verify_arguments(char **arguments, GPtrArray *findings) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        bool asked = false;
        int r, result = 0;

        for (char **a = arguments; *a; a++) {
                if (!argument_is_file(*a) && !asked) {
                        g_autofree char *why = NULL;

                        asked = true;
                        if (bus_connect_quietly(&bus, &why) < 0)
                                log_notice("The settings of units aren't checked: %s", why);
                }

                r = argument_is_file(*a) ? verify_file(*a, findings) : verify_unit(bus, *a, findings);
                if (r < 0)
                        result = r;
        }

        return result;
}

int verb_verify(char **arguments, const Options *options) {
        g_autoptr(GPtrArray) findings = findings_new();
        unsigned n_files = 0;
        int r, worst;

        r = *arguments ? verify_arguments(arguments, findings) : verify_everything(findings, &n_files);
        worst = findings_worst(findings);

        terminal_start_pager(options);
        if (options->output != OUTPUT_TEXT) {
                Json json;

                json_init(&json, options->output);
                findings_to_json(findings, &json, NULL);
                json_finish(&json);
        } else {
                findings_print(findings);
                if (!*arguments && options->legend && !options->quiet)
                        printf("%s%u policy file%s checked.\n", findings->len > 0 ? "\n" : "", n_files,
                                        n_files == 1 ? "" : "s");
        }

        if (r < 0)
                return r;

        return worst <= LOG_ERR || (options->strict && worst <= LOG_WARNING) ? -EBADMSG : 0;
}
