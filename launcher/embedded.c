/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/install-path.h"
#include "launcher/child.h"
#include "launcher/embedded.h"
#include "launcher/message.h"

/* The supervisor's end, and how it's told. */
#define EMBEDDED_FD     3
#define EMBEDDED_OPTION "--embedded=3"

extern char **environ;

/* What's meant for the command alone: the supervisor isn't the service that a service manager started. */
static const char *const not_for_supervisor[] = {
        "NOTIFY_SOCKET=",
        "WATCHDOG_USEC=",
        "WATCHDOG_PID=",
        "LISTEN_FDS=",
        "LISTEN_PID=",
        "LISTEN_FDNAMES=",
        "LISTEN_PIDFDID=",
        "FDSTORE=",
        "MAINPID=",
};

/* The supervisor's environment, to be freed. If our own execve(2) raised privileges, nothing that the caller
 * wrote gets any further. */
static char **supervisor_environment(void) {
        size_t n = 0, n_kept = 0;
        char **copy;

        while (environ[n])
                n++;

        copy = calloc(n + 1, sizeof(char *));
        if (!copy || getauxval(AT_SECURE))
                return copy;

        for (size_t i = 0; i < n; i++) {
                bool keep = true;

                for (size_t k = 0; k < sizeof(not_for_supervisor) / sizeof(not_for_supervisor[0]); k++)
                        if (strncmp(environ[i], not_for_supervisor[k], strlen(not_for_supervisor[k])) == 0)
                                keep = false;
                if (keep)
                        copy[n_kept++] = environ[i];
        }

        return copy;
}

static void close_from(unsigned first) {
        long max;

        if (syscall(SYS_close_range, first, ~0u, 0) >= 0)
                return;

        max = sysconf(_SC_OPEN_MAX);
        for (long fd = first; fd < (max > 0 && max < 65536 ? max : 65536); fd++)
                (void) close((int) fd);
}

/* Leaves the supervisor with its socket and stderr. Every other descriptor is the command's: a pipe that we
 * kept open would make its reader wait for us. */
static int arrange_descriptors(int sock) {
        bool has_stderr;
        int null, flags;

        flags = fcntl(STDERR_FILENO, F_GETFL);
        has_stderr = flags >= 0 && !(flags & O_PATH);

        if (sock == EMBEDDED_FD) {
                if (fcntl(sock, F_SETFD, 0) < 0)
                        return -errno;
        } else if (dup2(sock, EMBEDDED_FD) < 0)
                return -errno;

        null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null < 0)
                return -errno;
        if (dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
                        (!has_stderr && dup2(null, STDERR_FILENO) < 0))
                return -errno;

        close_from(EMBEDDED_FD + 1);
        return 0;
}

static void reset_signals(void) {
        sigset_t none;

        for (int i = 1; i < NSIG; i++)
                (void) signal(i, SIG_DFL);

        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
}

__attribute__((noreturn)) static void exec_supervisor(int sock, char **argv, char **environment) {
        int r;

        reset_signals();

        r = arrange_descriptors(sock);
        if (r < 0)
                (void) complain(r, "Failed to arrange the supervisor's descriptors: %m");
        else {
                (void) execve(argv[0], argv, environment);
                (void) complain(errno,
                                "Failed to start the supervisor %s: %m. Is deputyd installed completely?",
                                argv[0]);
        }

        _exit(EXIT_OURS);
}

/* In between us and the supervisor, so that the command doesn't find a child that it never made. */
__attribute__((noreturn)) static void detach(int sock, char **argv, char **environment) {
        pid_t pid;

        (void) setsid();

        pid = clone_silently();
        if (pid == 0)
                exec_supervisor(sock, argv, environment);

        _exit(pid < 0 ? 1 : 0);
}

static int spawn(int sock, char **argv) {
        char **environment;
        int status, r;
        pid_t pid;

        environment = supervisor_environment();
        if (!environment)
                return -ENOMEM;

        pid = clone_silently();
        if (pid == 0)
                detach(sock, argv, environment);

        r = pid < 0 ? -errno : wait_silently(pid, &status);
        free(environment);
        if (r < 0)
                return r;

        return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EAGAIN;
}

int embedded_start(const char *const *options, size_t n_options) {
        char **argv, *path;
        int pair[2], r;

        if (install_path("deputy-supervisor", &path) < 0)
                return complain(ENOMEM, "%m");

        argv = calloc(n_options + 3, sizeof(char *));
        if (!argv)
                return complain(ENOMEM, "%m");

        argv[0] = path;
        argv[1] = (char *) EMBEDDED_OPTION;
        for (size_t i = 0; i < n_options; i++)
                argv[i + 2] = (char *) options[i];

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return complain(errno, "Failed to make a pair of sockets: %m");

        narrate("Starting %s", path);

        r = spawn(pair[1], argv);
        (void) close(pair[1]);
        free(argv);
        free(path);
        if (r < 0) {
                (void) close(pair[0]);
                return complain(r, "Failed to start the supervisor: %m");
        }

        return pair[0];
}
