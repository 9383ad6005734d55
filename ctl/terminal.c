/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "ctl/terminal.h"

static pid_t pager_pid;
static int tty = -1;
static int colours = -1;
static unsigned width;

bool terminal_is_tty(void) {
        if (tty < 0)
                tty = isatty(STDOUT_FILENO);

        return tty;
}

unsigned terminal_width(void) {
        struct winsize size = {};
        const char *columns;

        if (width > 0)
                return width;

        columns = getenv("COLUMNS");
        if (columns && atoi(columns) > 0)
                width = atoi(columns);
        else if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) >= 0 && size.ws_col > 0)
                width = size.ws_col;
        else
                width = 80;

        return width;
}

bool terminal_has_colours(void) {
        const char *e;

        if (colours >= 0)
                return colours;

        e = getenv("SYSTEMD_COLORS");
        if (e && *e)
                colours = strcmp(e, "0") != 0 && strcmp(e, "no") != 0 && strcmp(e, "false") != 0 &&
                          terminal_is_tty();
        else {
                const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

                colours = terminal_is_tty() && !(no && *no) && term && strcmp(term, "dumb") != 0;
        }

        return colours;
}

const char *style(Style which) {
        static const char *const sequences[] = {
                [STYLE_NORMAL] = "\033[0m",
                [STYLE_BOLD] = "\033[1m",
                [STYLE_DIM] = "\033[2m",
                [STYLE_RED] = "\033[1;31m",
                [STYLE_GREEN] = "\033[1;32m",
                [STYLE_YELLOW] = "\033[1;33m",
        };

        return terminal_has_colours() ? sequences[which] : "";
}

/* In the child: becomes the pager that the user has chosen, or the first that there is. As root, less is held
 * to its secure mode unless $SYSTEMD_PAGERSECURE says otherwise: it could run commands on behalf of whoever
 * has called us through sudo. */
static _Noreturn void exec_pager(const char *command) {
        const char *less = getenv("SYSTEMD_LESS"), *secure = getenv("SYSTEMD_PAGERSECURE");

        setenv("LESS", less ?: "FRSXMK", 1);
        if (!getenv("LESSCHARSET"))
                setenv("LESSCHARSET", "utf-8", 1);
        if (secure ? strcmp(secure, "0") != 0 : getenv("SUDO_UID") != NULL)
                setenv("LESSSECURE", "1", 1);

        if (command)
                execl("/bin/sh", "sh", "-c", command, (char *) NULL);
        else {
                execlp("less", "less", (char *) NULL);
                execlp("more", "more", (char *) NULL);
                execlp("cat", "cat", (char *) NULL);
        }

        _exit(127);
}

void terminal_start_pager(const Options *options) {
        const char *command;
        int pipe_fds[2];

        if (pager_pid > 0 || !options->pager || options->quiet || !terminal_is_tty())
                return;

        command = getenv("SYSTEMD_PAGER") ?: getenv("PAGER");
        if (command && (strcmp(command, "") == 0 || strcmp(command, "cat") == 0))
                return;

        /* Both are found out once, and before stdout becomes a pipe. */
        (void) terminal_has_colours();
        (void) terminal_width();

        fflush(stdout);
        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                return;

        pager_pid = fork();
        if (pager_pid == 0) {
                dup2(pipe_fds[0], STDIN_FILENO);
                exec_pager(command);
        }

        if (pager_pid > 0) {
                /* ^C belongs to the pager; we end when it closes the pipe. */
                signal(SIGINT, SIG_IGN);
                signal(SIGPIPE, SIG_IGN);
                dup2(pipe_fds[1], STDOUT_FILENO);
        }

        close_fd(pipe_fds[0]);
        close_fd(pipe_fds[1]);
}

int terminal_finish(void) {
        int r = 0;

        errno = 0;
        if ((fflush(stdout) == EOF || ferror(stdout)) && errno != EPIPE)
                r = errno ? -errno : -EIO;

        if (pager_pid > 0) {
                close(STDOUT_FILENO);
                while (waitpid(pager_pid, NULL, 0) < 0 && errno == EINTR)
                        ;
                pager_pid = 0;
        }

        return r;
}

char *terminal_escape(const char *text) {
        g_autofree char *valid = g_utf8_make_valid(text, -1);
        GString *escaped = g_string_new(NULL);

        for (const char *p = valid; *p; p = g_utf8_next_char(p)) {
                gunichar c = g_utf8_get_char(p);

                if (c < 0x20 || (c >= 0x7f && c < 0xa0))
                        g_string_append_printf(escaped, "\\x%02x", (unsigned) c);
                else
                        g_string_append_unichar(escaped, c);
        }

        return g_string_free(escaped, FALSE);
}

char *format_timestamp(uint64_t realtime_usec) {
        g_autoptr(GDateTime) t = g_date_time_new_from_unix_local(realtime_usec / G_USEC_PER_SEC);

        return t ? g_date_time_format(t, "%a %Y-%m-%d %H:%M:%S %Z") : g_strdup("n/a");
}

char *format_ago(uint64_t realtime_usec) {
        uint64_t now = g_get_real_time(), s;

        s = now > realtime_usec ? (now - realtime_usec) / G_USEC_PER_SEC : 0;
        if (s < 60)
                return g_strdup_printf("%" PRIu64 "s ago", s);
        if (s < 3600)
                return g_strdup_printf("%" PRIu64 "min %" PRIu64 "s ago", s / 60, s % 60);
        if (s < 86400)
                return g_strdup_printf("%" PRIu64 "h %" PRIu64 "min ago", s / 3600, s % 3600 / 60);

        return g_strdup_printf("%" PRIu64 "d %" PRIu64 "h ago", s / 86400, s % 86400 / 3600);
}

char *format_nsec(uint64_t nsec) {
        if (nsec < 1000)
                return g_strdup_printf("%" PRIu64 "ns", nsec);
        if (nsec < 1000 * 1000)
                return g_strdup_printf("%.1fus", nsec / 1e3);
        if (nsec < UINT64_C(1000) * 1000 * 1000)
                return g_strdup_printf("%.2fms", nsec / 1e6);

        return g_strdup_printf("%.2fs", nsec / 1e9);
}
