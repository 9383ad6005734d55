/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The launcher: gets a filter, loads it, gives its listener away and becomes the command. It knows nothing of
 * policies and links nothing but libc, statically, since it may run inside any container. What it must leave
 * behind is nothing: the command finds its arguments, environment, descriptors, signals and children as if it
 * had been started directly. So all descriptors here are O_CLOEXEC and most are left for execve(2) to close.
 */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "launcher/embedded.h"
#include "launcher/handover.h"
#include "launcher/message.h"
#include "launcher/notify.h"

#define TIMEOUT_SEC_DEFAULT 30
#define TIMEOUT_SEC_MAX     3600

/* How often a request is made if deputyd goes away before it has answered (as it does when it's restarted).
 */
#define ATTEMPTS_MAX       3
#define ATTEMPT_PAUSE_MSEC 200

typedef struct Arguments {
        const char *unit;
        const char *argv0;
        const char *socket; /* the notify socket */
        int timeout_msec;
        bool embedded;
        const char **supervisor_options; /* the options that are the embedded supervisor's, in their order */
        size_t n_supervisor_options;
        char **command; /* and its arguments, up to NULL */
} Arguments;

static int flush(void) {
        return fflush(stdout) == 0 ? 0 : complain(errno, "Failed to write to stdout: %m");
}

static int help(void) {
        printf("deputy-run [OPTION...] [--] COMMAND [ARGUMENT...]\n"
               "\n"
               "Run a command with some of its privileged system calls lent by deputyd.\n"
               "\n"
               "  -h --help            Show this help\n"
               "     --version         Show the version\n"
               "     --policy=PATH     Be served by a supervisor of our own, without deputyd,\n"
               "                       by this policy file, or the *.conf of this directory\n"
               "     --profile=NAME    The same, by a shipped policy\n"
               "     --unit=UNIT       Ask for the policy of this unit, not of the one we're in\n"
               "     --argv0=NAME      Give the command this argv[0]\n"
               "  -v --verbose         Say what happens, on stderr\n"
               "\n"
               "The exit status is the command's, or 125: deputy-run failed, 126: the command\n"
               "can't be executed, 127: there's no such command.\n"
               "\n"
               "See deputy-run(1), deputyd.policy(5).\n");
        return flush();
}

static int version(void) {
        printf("deputyd " PROJECT_VERSION "\n");
        return flush();
}

/* No more than keeps a name from being two lines of a message; what's a unit is the server's to judge. */
static bool unit_is_sane(const char *unit) {
        size_t n = strlen(unit);

        if (n == 0 || n > 255)
                return false;

        for (size_t i = 0; i < n; i++)
                if ((unsigned char) unit[i] <= ' ' || unit[i] == 0x7f)
                        return false;

        return true;
}

static int add_supervisor_option(Arguments *arguments, const char *name, const char *value) {
        char *option;

        if (*value == 0)
                return complain(EINVAL, "Option --%s needs a value. Try \"deputy-run --help\"", name);
        if (asprintf(&option, "--%s=%s", name, value) < 0)
                return complain(ENOMEM, "%m");

        arguments->supervisor_options[arguments->n_supervisor_options++] = option;
        return 0;
}

/* What the environment may say, unless our own execve(2) raised privileges (AT_SECURE). */
static int parse_environment(Arguments *arguments) {
        const char *e;
        char *end;
        long sec;

        e = secure_getenv("DEPUTYD_NOTIFY_SOCKET");
        arguments->socket = e ? e : NOTIFY_SOCKET_PATH;

        arguments->timeout_msec = TIMEOUT_SEC_DEFAULT * 1000;
        e = secure_getenv("DEPUTYD_TIMEOUT_SEC");
        if (!e)
                return 0;

        errno = 0;
        sec = strtol(e, &end, 10);
        if (errno != 0 || end == e || *end != 0 || sec < 1 || sec > TIMEOUT_SEC_MAX)
                return complain(EINVAL, "$DEPUTYD_TIMEOUT_SEC isn't a number from 1 to %i: %s",
                                TIMEOUT_SEC_MAX, e);

        arguments->timeout_msec = (int) sec * 1000;
        return 0;
}

/* Return: 1: run the command; 0: done; a negative errno, explained. */
static int parse_arguments(Arguments *arguments, int argc, char **argv) {
        enum {
                OPTION_VERSION = 0x100,
                OPTION_POLICY,
                OPTION_PROFILE,
                OPTION_UNIT,
                OPTION_ARGV0,
        };
        static const struct option options[] = {
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, OPTION_VERSION },
                { "policy", required_argument, NULL, OPTION_POLICY },
                { "profile", required_argument, NULL, OPTION_PROFILE },
                { "unit", required_argument, NULL, OPTION_UNIT },
                { "argv0", required_argument, NULL, OPTION_ARGV0 },
                { "verbose", no_argument, NULL, 'v' },
                {},
        };
        bool verbose = false;
        int c, r;

        /* At most one per argument, and --unit and --verbose at the end. */
        arguments->supervisor_options = calloc((size_t) argc + 2, sizeof(char *));
        if (!arguments->supervisor_options)
                return complain(ENOMEM, "%m");

        /* "+": the first argument that's no option is the command, whose options aren't ours. ":": we say
         * ourselves what's wrong, under our name whatever argv[0] is. */
        while ((c = getopt_long(argc, argv, "+:hv", options, NULL)) >= 0) {
                r = 0;

                switch (c) {
                case 'h':
                        return help();
                case OPTION_VERSION:
                        return version();
                case OPTION_POLICY:
                        r = add_supervisor_option(arguments, "policy", optarg);
                        break;
                case OPTION_PROFILE:
                        r = add_supervisor_option(arguments, "profile", optarg);
                        break;
                case OPTION_UNIT:
                        if (!unit_is_sane(optarg))
                                return complain(EINVAL, "No name of a unit: \"%s\"", optarg);
                        arguments->unit = optarg;
                        break;
                case OPTION_ARGV0:
                        arguments->argv0 = optarg;
                        break;
                case 'v':
                        verbose = true;
                        break;
                case ':':
                        return complain(EINVAL, "Option %s needs a value. Try \"deputy-run --help\"",
                                        argv[optind - 1]);
                default:
                        if (optopt > 0 && optopt < OPTION_VERSION)
                                return complain(EINVAL, "Unknown option -%c. Try \"deputy-run --help\"",
                                                optopt);
                        return complain(EINVAL, "Unknown or ambiguous option %s. Try \"deputy-run --help\"",
                                        argv[optind - 1]);
                }

                if (r < 0)
                        return r;
        }

        if (optind >= argc)
                return complain(EINVAL, "No command. Try \"deputy-run --help\"");

        set_verbose(verbose);
        arguments->command = argv + optind;
        arguments->embedded = arguments->n_supervisor_options > 0;

        if (arguments->embedded && arguments->unit) {
                r = add_supervisor_option(arguments, "unit", arguments->unit);
                if (r < 0)
                        return r;
        }
        if (verbose)
                arguments->supervisor_options[arguments->n_supervisor_options++] = "--verbose";

        return 1;
}

/* A descriptor of ours that took the number of a closed stdin, stdout or stderr would get what's meant for
 * that one, such as our own messages. So nothing that can be written to takes these numbers, until execve(2).
 */
static int occupy_standard_descriptors(void) {
        for (int fd = 0; fd <= STDERR_FILENO; fd++)
                if (fcntl(fd, F_GETFD) < 0 && open("/", O_PATH | O_CLOEXEC) < 0)
                        return -errno;

        return 0;
}

static int after_break(const Arguments *arguments, const Handover *handover) {
        if (arguments->embedded)
                return complain(0, "The supervisor has ended before the command could be run");
        if (handover->listener >= 0)
                return notify_store(arguments->socket, arguments->unit, handover->listener,
                                arguments->timeout_msec);

        return complain(0, "deputyd goes away without an answer. See \"systemctl status deputyd.service\"");
}

/* Return: 0: the command may run; a negative errno, explained: it must not. */
static int intercept(const Arguments *arguments) {
        const struct timespec pause = { .tv_nsec = ATTEMPT_PAUSE_MSEC * 1000000L };

        for (unsigned attempt = 1;; attempt++) {
                Handover handover = HANDOVER_NULL;
                int r;

                handover.embedded = arguments->embedded;
                handover.timeout_msec = arguments->timeout_msec;
                handover.sock = arguments->embedded ? embedded_start(arguments->supervisor_options,
                                                                      arguments->n_supervisor_options)
                                                    : notify_request(arguments->socket, arguments->unit,
                                                                      arguments->timeout_msec);
                if (handover.sock < 0)
                        return handover.sock;

                r = handover_run(&handover);
                if (r == -ECONNRESET && !arguments->embedded && handover.listener < 0 &&
                                attempt < ATTEMPTS_MAX) {
                        handover_done(&handover);
                        narrate("deputyd has gone away before there was a filter, asking again");
                        (void) nanosleep(&pause, NULL);
                        continue;
                }
                if (r == -ECONNRESET)
                        r = after_break(arguments, &handover);

                handover_done(&handover);
                return r;
        }
}

static int run(const Arguments *arguments) {
        const char *file = arguments->command[0];
        int error;

        if (arguments->argv0)
                arguments->command[0] = (char *) arguments->argv0;

        narrate("Executing %s", file);
        (void) execvp(file, arguments->command);

        error = errno;
        (void) complain(error, "Failed to execute %s: %m", file);
        return error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_EXECUTE;
}

int main(int argc, char **argv) {
        Arguments arguments = {};
        int r;

        r = occupy_standard_descriptors();
        if (r < 0)
                return EXIT_OURS;

        r = parse_arguments(&arguments, argc, argv);
        if (r < 0)
                return EXIT_OURS;
        if (r == 0)
                return 0;

        if (parse_environment(&arguments) < 0)
                return EXIT_OURS;

        if (intercept(&arguments) < 0)
                return EXIT_OURS;

        return run(&arguments);
}
