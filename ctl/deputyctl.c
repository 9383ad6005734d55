/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* deputyctl: the options, and the table of verbs. */

#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/log.h"
#include "ctl/ctl.h"
#include "ctl/terminal.h"

#define LINES_DEFAULT_STATUS  5
#define LINES_DEFAULT_EXPLAIN 100
#define LINES_MAX             10000

/* Options that not every verb has. */
typedef enum VerbOptions {
        TAKES_NOW = 1 << 0,
        TAKES_RUNTIME = 1 << 1,
        TAKES_DRY_RUN = 1 << 2,
        TAKES_STRICT = 1 << 3,
        TAKES_LINES = 1 << 4,
        TAKES_FORMAT = 1 << 5,
        TAKES_PROFILE = 1 << 6,
} VerbOptions;

static const struct {
        VerbOptions option;
        const char *name;
} verb_options[] = {
        { TAKES_NOW, "--now" },
        { TAKES_RUNTIME, "--runtime" },
        { TAKES_DRY_RUN, "--dry-run" },
        { TAKES_STRICT, "--strict" },
        { TAKES_LINES, "--lines" },
        { TAKES_FORMAT, "--format" },
        { TAKES_PROFILE, "--profile" },
};

static const struct Verb {
        const char *name;
        unsigned arguments_min;
        unsigned arguments_max;
        VerbOptions options;
        int (*run)(char **arguments, const Options *options);
} verbs[] = {
        { "list", 0, 0, 0, verb_list },
        { "status", 0, UINT_MAX, TAKES_LINES, verb_status },
        { "explain", 1, 1, TAKES_LINES, verb_explain },
        { "policy", 1, UINT_MAX, 0, verb_policy },
        { "verify", 0, UINT_MAX, TAKES_STRICT, verb_verify },
        { "filter", 1, 1, TAKES_FORMAT, verb_filter },
        { "enable", 1, 1, TAKES_NOW | TAKES_RUNTIME | TAKES_DRY_RUN | TAKES_PROFILE, verb_enable },
        { "disable", 1, 1, TAKES_NOW | TAKES_DRY_RUN, verb_disable },
        { "reload", 0, 0, 0, verb_reload },
};

static void help(void) {
        const char *u = style(STYLE_BOLD), *n = style(STYLE_NORMAL);

        printf("deputyctl [OPTION...] [VERB] [ARGUMENT...]\n"
               "\n"
               "Show and control what deputyd lends to services and containers.\n"
               "\n"
               "%sShow:%s\n"
               "  list                          List the targets (the default)\n"
               "  status [UNIT|ID|PID...]       Show deputyd, or targets with their counters\n"
               "  explain UNIT                  Say why calls were refused, and what would lend\n"
               "                                them\n"
               "\n"
               "%sPolicy:%s\n"
               "  policy UNIT|FILE...           Show the merged policy and where it comes from\n"
               "  verify [UNIT|FILE...]         Check policies, and settings that defeat them\n"
               "  filter UNIT|FILE              Show the seccomp program of a policy\n"
               "\n"
               "%sChange:%s\n"
               "  enable UNIT                   Run the unit's command through deputy-run\n"
               "  disable UNIT                  Take that back\n"
               "  reload                        Apply changed policies to running targets\n"
               "\n"
               "%sOptions:%s\n"
               "  -h --help                     Show this help\n"
               "     --version                  Show the version\n"
               "     --json=short|pretty|off    Print JSON\n"
               "     --no-pager                 Don't pipe output into a pager\n"
               "     --no-legend                Don't print headers and the count\n"
               "  -l --full                     Don't shorten columns\n"
               "  -q --quiet                    Say only what went wrong\n"
               "  -n --lines=N                  Look at N refused calls (status, explain)\n"
               "     --strict                   Fail on warnings, too (verify)\n"
               "     --format=pfc|bpf|c         How the program is written (filter)\n"
               "     --profile=NAME             Link a shipped policy to the unit (enable)\n"
               "     --now                      Restart the unit as well (enable, disable)\n"
               "     --runtime                  Only until the next boot (enable)\n"
               "     --dry-run                  Show what would be written (enable, disable)\n"
               "\n"
               "See deputyctl(1), deputyd.policy(5).\n",
                        u, n, u, n, u, n, u, n);
}

static unsigned distance(const char *a, const char *b) {
        size_t n = strlen(b);
        unsigned row[64];

        if (n >= G_N_ELEMENTS(row))
                return UINT_MAX;

        for (size_t j = 0; j <= n; j++)
                row[j] = j;

        for (size_t i = 1; a[i - 1]; i++) {
                unsigned diagonal = row[0];

                row[0] = i;
                for (size_t j = 1; j <= n; j++) {
                        unsigned above = row[j];

                        row[j] = MIN(MIN(row[j], row[j - 1]) + 1, diagonal + (a[i - 1] != b[j - 1]));
                        diagonal = above;
                }
        }

        return row[n];
}

static void log_unknown_verb(const char *name) {
        g_autofree char *escaped = terminal_escape(name);
        const char *nearest = NULL;
        unsigned best = 3;

        for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++) {
                unsigned d = distance(verbs[i].name, name);

                if (strlen(name) >= 2 && g_str_has_prefix(verbs[i].name, name))
                        d = 0;
                if (d < best) {
                        best = d;
                        nearest = verbs[i].name;
                }
        }

        if (nearest)
                log_error("Unknown verb \"%s\": did you mean \"%s\"?", escaped, nearest);
        else
                log_error("Unknown verb \"%s\": deputyctl --help lists them", escaped);
}

static const struct Verb *find_verb(const char *name) {
        for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++)
                if (strcmp(verbs[i].name, name) == 0)
                        return verbs + i;

        return NULL;
}

static int parse_json(const char *value, OutputFormat *ret) {
        if (strcmp(value, "short") == 0)
                *ret = OUTPUT_JSON_SHORT;
        else if (strcmp(value, "pretty") == 0)
                *ret = OUTPUT_JSON_PRETTY;
        else if (strcmp(value, "off") == 0)
                *ret = OUTPUT_TEXT;
        else {
                log_error("--json= takes short, pretty or off, not \"%s\"", value);
                return -EINVAL;
        }

        return 0;
}

static int parse_lines(const char *value, unsigned *ret) {
        uint64_t n;

        if (!g_ascii_string_to_unsigned(value, 10, 0, LINES_MAX, &n, NULL)) {
                log_error("--lines= takes a number up to %i, not \"%s\"", LINES_MAX, value);
                return -EINVAL;
        }

        *ret = n;
        return 0;
}

static int parse_format(const char *value, FilterFormat *ret) {
        FilterFormat format = filter_format_from_string(value);

        if (format < 0) {
                log_error("--format= takes pfc, bpf or c, not \"%s\"", value);
                return -EINVAL;
        }

        *ret = format;
        return 0;
}

/* Return: 1: go on; 0: done; a negative errno: wrong usage, explained. */
static int parse_options(int argc, char **argv, Options *options, VerbOptions *given) {
        enum {
                OPTION_VERSION = 0x100,
                OPTION_JSON,
                OPTION_NO_PAGER,
                OPTION_NO_LEGEND,
                OPTION_STRICT,
                OPTION_FORMAT,
                OPTION_PROFILE,
                OPTION_NOW,
                OPTION_RUNTIME,
                OPTION_DRY_RUN,
        };
        static const struct option long_options[] = {
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, OPTION_VERSION },
                { "json", required_argument, NULL, OPTION_JSON },
                { "no-pager", no_argument, NULL, OPTION_NO_PAGER },
                { "no-legend", no_argument, NULL, OPTION_NO_LEGEND },
                { "full", no_argument, NULL, 'l' },
                { "quiet", no_argument, NULL, 'q' },
                { "lines", required_argument, NULL, 'n' },
                { "strict", no_argument, NULL, OPTION_STRICT },
                { "format", required_argument, NULL, OPTION_FORMAT },
                { "profile", required_argument, NULL, OPTION_PROFILE },
                { "now", no_argument, NULL, OPTION_NOW },
                { "runtime", no_argument, NULL, OPTION_RUNTIME },
                { "dry-run", no_argument, NULL, OPTION_DRY_RUN },
                {},
        };
        int c, r = 0;

        while (r >= 0 && (c = getopt_long(argc, argv, "hlqn:", long_options, NULL)) >= 0)
                switch (c) {
                case 'h':
                        terminal_start_pager(options);
                        help();
                        return 0;
                case OPTION_VERSION:
                        printf("deputyd " PROJECT_VERSION "\n");
                        return 0;
                case OPTION_JSON:
                        r = parse_json(optarg, &options->output);
                        break;
                case OPTION_NO_PAGER:
                        options->pager = false;
                        break;
                case OPTION_NO_LEGEND:
                        options->legend = false;
                        break;
                case 'l':
                        options->full = true;
                        break;
                case 'q':
                        options->quiet = true;
                        break;
                case 'n':
                        *given |= TAKES_LINES;
                        r = parse_lines(optarg, &options->lines);
                        break;
                case OPTION_STRICT:
                        *given |= TAKES_STRICT;
                        options->strict = true;
                        break;
                case OPTION_FORMAT:
                        *given |= TAKES_FORMAT;
                        r = parse_format(optarg, &options->format);
                        break;
                case OPTION_PROFILE:
                        *given |= TAKES_PROFILE;
                        g_ptr_array_add(options->profiles, optarg);
                        break;
                case OPTION_NOW:
                        *given |= TAKES_NOW;
                        options->now = true;
                        break;
                case OPTION_RUNTIME:
                        *given |= TAKES_RUNTIME;
                        options->runtime = true;
                        break;
                case OPTION_DRY_RUN:
                        *given |= TAKES_DRY_RUN;
                        options->dry_run = true;
                        break;
                default:
                        /* getopt_long() has said what's wrong. */
                        return -EINVAL;
                }

        return r < 0 ? r : 1;
}

/* Do the verb's arguments and options fit it? */
static int check_usage(const struct Verb *verb, unsigned n_arguments, VerbOptions given) {
        if (n_arguments < verb->arguments_min) {
                log_error("\"%s\" needs %s: see deputyctl --help", verb->name,
                                strcmp(verb->name, "policy") == 0 || strcmp(verb->name, "filter") == 0
                                                ? "a unit or a file"
                                                : "a unit");
                return -EINVAL;
        }

        if (n_arguments > verb->arguments_max) {
                log_error("\"%s\" takes %s: see deputyctl --help", verb->name,
                                verb->arguments_max == 0 ? "no argument" : "one argument");
                return -EINVAL;
        }

        for (size_t i = 0; i < G_N_ELEMENTS(verb_options); i++)
                if (given & ~verb->options & verb_options[i].option) {
                        log_error("\"%s\" has no option %s: see deputyctl --help", verb->name,
                                        verb_options[i].name);
                        return -EINVAL;
                }

        return 0;
}

static int run(int argc, char **argv) {
        g_autoptr(GPtrArray) profiles = g_ptr_array_new();
        Options options = {
                .pager = true,
                .legend = true,
                .format = FILTER_FORMAT_PFC,
                .profiles = profiles,
        };
        const struct Verb *verb;
        VerbOptions given = 0;
        int r;

        r = parse_options(argc, argv, &options, &given);
        if (r <= 0)
                return r < 0 ? EXIT_USAGE : EXIT_SUCCESS;

        verb = find_verb(optind < argc ? argv[optind] : "list");
        if (!verb) {
                log_unknown_verb(argv[optind]);
                return EXIT_USAGE;
        }

        if (optind < argc)
                optind++;
        if (check_usage(verb, argc - optind, given) < 0)
                return EXIT_USAGE;

        if (!(given & TAKES_LINES))
                options.lines = verb->run == verb_explain ? LINES_DEFAULT_EXPLAIN : LINES_DEFAULT_STATUS;

        r = verb->run(argv + optind, &options);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv) {
        int r, status;

        setlocale(LC_ALL, "");
        log_setup("deputyctl");

        status = run(argc, argv);

        r = terminal_finish();
        if (r < 0) {
                log_error_errno(r, "Can't write: %m");
                return EXIT_FAILURE;
        }

        return status;
}
