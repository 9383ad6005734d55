/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "basic/log.h"
#include "daemon/manager.h"

static int help(void) {
        printf("deputyd [OPTIONS...]\n\n"
               "Lends single privileged system calls to unprivileged services and containers.\n\n"
               "  -h --help             Show this help\n"
               "     --version          Show the version\n"
               "     --socket=PATH      Listen on this socket if the service manager passes none\n"
               "     --no-bus           Don't connect to the message bus\n"
               "     --log-level=LEVEL  Log what is of this level or graver (emerg, alert, crit, err,\n"
               "                        warning, notice, info, debug)\n\n"
               "It's started by deputyd.socket. See deputyd(8).\n");
        return 0;
}

/* Return: 1 to go on, 0 if all is done, or a negative errno. */
static int parse_argv(int argc, char *argv[], ManagerOptions *ret) {
        enum { ARG_VERSION = 0x100, ARG_SOCKET, ARG_NO_BUS, ARG_LOG_LEVEL };
        static const struct option options[] = {
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, ARG_VERSION },
                { "socket", required_argument, NULL, ARG_SOCKET },
                { "no-bus", no_argument, NULL, ARG_NO_BUS },
                { "log-level", required_argument, NULL, ARG_LOG_LEVEL },
                {},
        };
        int c, level;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                switch (c) {
                case 'h':
                        return help();
                case ARG_VERSION:
                        printf("deputyd %s\n", PROJECT_VERSION);
                        return 0;
                case ARG_SOCKET:
                        ret->socket_path = optarg;
                        break;
                case ARG_NO_BUS:
                        ret->no_bus = true;
                        break;
                case ARG_LOG_LEVEL:
                        level = log_level_from_string(optarg);
                        if (level < 0)
                                return log_error_errno(EINVAL,
                                                "--log-level= takes a level such as \"debug\", not \"%s\"",
                                                optarg);
                        log_set_level(level);
                        break;
                default:
                        return -EINVAL;
                }

        if (optind < argc)
                return log_error_errno(EINVAL, "Unexpected argument \"%s\"", argv[optind]);

        return 1;
}

int main(int argc, char *argv[]) {
        g_autoptr(Manager) m = NULL;
        ManagerOptions options = {};
        int r;

        log_setup("deputyd");

        r = parse_argv(argc, argv, &options);
        if (r <= 0)
                return r < 0 ? 2 : EXIT_SUCCESS;

        if (manager_new(&options, &m) < 0)
                return EXIT_FAILURE;

        return manager_run(m);
}
