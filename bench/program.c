/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/program.h"

/* Our own standard input and output are the conversation with bench/run. */
static int spawn(pid_t *ret, const char *path, const char *const argv[]) {
        static const char *const environment[] = {
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG=C.UTF-8",
                NULL,
        };
        posix_spawn_file_actions_t actions;
        int r;

        r = posix_spawn_file_actions_init(&actions);
        if (r != 0)
                return r;

        for (int fd = STDIN_FILENO; r == 0 && fd <= STDERR_FILENO; fd++)
                r = posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
        if (r == 0)
                r = posix_spawn(ret, path, &actions, NULL, (char *const *) argv, (char *const *) environment);

        (void) posix_spawn_file_actions_destroy(&actions);
        return r;
}

long start_program(const char *path, const char *const argv[]) {
        int status, r;
        pid_t pid;

        r = spawn(&pid, path, argv);
        if (r != 0) {
                errno = r;
                return -1;
        }

        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -1;

        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
                errno = ECHILD;
                return -1;
        }

        return 0;
}
