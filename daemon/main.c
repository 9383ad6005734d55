/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* deputyd: takes listeners, starts supervisors. See deputyd(8). */

#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "basic/log.h"
#include "basic/protocol.h"
#include "daemon/manager.h"

static ManagerOptions arg_options;

static void help(void) {
        printf("deputyd [OPTIONS...]\n\n"
               "Lends single privileged system calls to unprivileged services and containers.\n"
               "Started by deputyd.socket; by hand only for tests.\n\n"
               "  -h --help              Show this help\n"
               "     --version           Show the version\n"
               "     --log-level=LEVEL   Log up to LEVEL (emerg, alert, crit, err, warning,\n"
               "                         notice, info, debug)\n"
               "     --socket=PATH       Listen on PATH unless the service manager passes\n"
               "                         a socket (default: %s)\n"
               "     --no-bus            Don't connect to D-Bus\n\n"
               "See deputyd(8), deputy-run(1), deputyctl(1).\n",
                        NOTIFY_SOCKET_PATH);
}

/* Return: 1 to go on, 0 if all is done, or a negative errno. */
static int parse_argv(int argc, char *argv[]) {
        enum { ARG_VERSION = 0x100, ARG_LOG_LEVEL, ARG_SOCKET, ARG_NO_BUS };
        static const struct option options[] = {
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, ARG_VERSION },
                { "log-level", required_argument, NULL, ARG_LOG_LEVEL },
                { "socket", required_argument, NULL, ARG_SOCKET },
                { "no-bus", no_argument, NULL, ARG_NO_BUS },
                {},
        };
        int c, level;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                switch (c) {
                case 'h':
                        help();
                        return 0;
                case ARG_VERSION:
                        printf("deputyd %s\n", PROJECT_VERSION);
                        return 0;
                case ARG_LOG_LEVEL:
                        level = log_level_from_string(optarg);
                        if (level < 0)
                                return log_error_errno(EINVAL, "Unknown log level '%s', see --help.", optarg);
                        log_set_level(level);
                        break;
                case ARG_SOCKET:
                        if (optarg[0] != '/')
                                return log_error_errno(EINVAL, "--socket= takes an absolute path, not '%s'.",
                                                optarg);
                        arg_options.socket_path = optarg;
                        break;
                case ARG_NO_BUS:
                        arg_options.no_bus = true;
                        break;
                default:
                        return -EINVAL;
                }

        if (optind < argc)
                return log_error_errno(EINVAL, "Unexpected argument '%s', see --help.", argv[optind]);

        return 1;
}

int main(int argc, char *argv[]) {
        g_autoptr(Manager) manager = NULL;
        int r;

        (void) setlocale(LC_ALL, "C.UTF-8");
        log_setup("deputyd");

        r = parse_argv(argc, argv);
        if (r <= 0)
                return r < 0 ? 2 : EXIT_SUCCESS;

        /* Small and long-lived: what's freed goes back to the system. */
        (void) mallopt(M_TRIM_THRESHOLD, 64 * 1024);

        r = manager_new(&arg_options, &manager);
        if (r < 0)
                return EXIT_FAILURE;

        r = manager_run(manager);
        return r < 0 ? EXIT_FAILURE : r;
}
