/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* See fuse-start.h. The watch touches nothing that the container could make hang: the host's /proc, and
 * sockets. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/clock.h"
#include "basic/fd.h"
#include "supervisor/fuse-mount.h"
#include "supervisor/fuse-start.h"
#include "supervisor/request.h"
#include "supervisor/thread-entry.h"

/* A server that stays in the foreground is taken for ready when its mount has been there for so long: some
 * mount first and then find out that they can't go on. */
#define SETTLE_USEC (UINT64_C(250) * 1000)

/* How long the supervisor may take to take notice. */
#define KEEP_USEC (UINT64_C(2) * 1000 * 1000)

/* How long one step of cleaning up may take. */
#define CLEAN_USEC (UINT64_C(800) * 1000)

typedef struct Watch {
        const FuseStart *start;
        int supervisor_sock;
        int sock;
        int proc_fd; /* of the host */
        FuseMountPoint point;
        pid_t entering, minder;
        int minder_fd; /* its pidfd */
        uint64_t deadline_usec, mounted_usec;
        uint64_t mount_id;
        bool exited, alone;
        int exit_status;
        char last_line[512];
        FuseAnswer answer;
} Watch;

static uint64_t now_usec(void) {
        return now_nsec(CLOCK_MONOTONIC) / 1000;
}

/* Return: 1 for "return 1 from the loop", as do those below. */
__attribute__((format(printf, 3, 4))) static int fail(Watch *w, int error, const char *format, ...) {
        g_autofree char *text = NULL, *said = NULL, *message = NULL;
        va_list ap;

        va_start(ap, format);
        text = g_strdup_vprintf(format, ap);
        va_end(ap);

        said = w->last_line[0] ? g_strconcat(text, "; it said: ", w->last_line, NULL) : g_strdup(text);
        message = request_text("%s", said);
        g_strlcpy(w->answer.result.message, message, sizeof(w->answer.result.message));
        w->answer.error = error;
        return 1;
}

static int look(Watch *w) {
        uint64_t id;

        if (!w->point.path)
                return 0;

        if (fuse_mount_look(&w->point, &id) <= 0 || id == w->point.known_id) {
                w->mounted_usec = 0;
                w->mount_id = 0;
                return 0;
        }

        if (w->mounted_usec == 0)
                w->mounted_usec = now_usec();
        w->mount_id = id;
        return 1;
}

static int on_exit_of_server(Watch *w) {
        const char *name = fuse_program_name(w->start->server);

        if (WIFSIGNALED(w->exit_status))
                return fail(w, -EIO, "%s was killed by signal %i", name, WTERMSIG(w->exit_status));
        if (WEXITSTATUS(w->exit_status) != 0)
                return fail(w, -EINVAL, "%s has ended with exit status %i", name,
                                WEXITSTATUS(w->exit_status));
        return 0;
}

static int send_go(Watch *w) {
        return send(w->sock, &(char){ FUSE_WORD_GO }, 1, MSG_NOSIGNAL) < 0
                               ? fail(w, -EIO, "Lost the server: %s", g_strerror(errno))
                               : 0;
}

/* Its number in our pid namespace, too: what a pidfd can't do is tell its children. */
static void take_minder(Watch *w, int fd) {
        g_autofree char *path = g_strdup_printf("/proc/self/fdinfo/%i", fd), *text = NULL;
        const char *p;

        w->minder_fd = fd;
        if (g_file_get_contents(path, &text, NULL, NULL) && (p = strstr(text, "\nPid:\t")))
                w->minder = (pid_t) strtol(p + strlen("\nPid:\t"), NULL, 10);
}

static int on_report(Watch *w) {
        _cleanup_close_ int fd = -1;
        FuseReport report;
        ssize_t n;

        n = receive_fds(w->sock, &report, sizeof(report), &fd, 1, MSG_DONTWAIT);
        if (n == -EAGAIN || n == -EINTR)
                return 0;
        if (n < 0)
                return fail(w, -EIO, "Lost the server: %s", g_strerror((int) -n));
        if (n < (ssize_t) offsetof(FuseReport, text) + 1)
                return fail(w, -EIO, "Its minder in the container was killed");
        report.text[(size_t) n - offsetof(FuseReport, text) - 1] = 0;

        switch (report.type) {
        case FUSE_REPORT_TARGET:
                w->point.path = g_strdup(report.text);
                if (fuse_mount_look(&w->point, &w->point.known_id) < 0)
                        return fail(w, -EIO, "Failed to read the caller's mount table");
                return send_go(w);
        case FUSE_REPORT_MINDER:
                take_minder(w, TAKE_FD(fd));
                return w->minder > 0 ? send_go(w) : fail(w, -EIO, "Its minder in the container was killed");
        case FUSE_REPORT_LINE:
                g_strlcpy(w->last_line, report.text, sizeof(w->last_line));
                return 0;
        case FUSE_REPORT_FAILED:
                return fail(w, report.value, "%s", report.text);
        case FUSE_REPORT_EXITED:
                w->exited = true;
                w->answer.result.exit_status = w->exit_status = report.value;
                return on_exit_of_server(w);
        case FUSE_REPORT_ALONE:
                w->alone = true;
                return 0;
        default:
                return fail(w, -EIO, "Unexpected report");
        }
}

/* Return: 1 when it's over, 0 if not. */
static int step(Watch *w) {
        bool mounted = look(w);
        uint64_t now = now_usec();

        if (mounted && (w->exited || now - w->mounted_usec >= SETTLE_USEC)) {
                w->answer.result.mount_id = w->mount_id;
                return 1;
        }
        if (!mounted && w->alone)
                return fail(w, -EIO, "%s has ended without having mounted anything",
                                fuse_program_name(w->start->server));
        if (now >= w->deadline_usec)
                return fail(w, -ETIMEDOUT, "%s wasn't ready in time", fuse_program_name(w->start->server));

        return 0;
}

/* Return: 0 if there's an answer, -EPIPE if there's nobody to hear it. */
static int watch(Watch *w) {
        bool told = false;

        for (;;) {
                struct pollfd p[] = {
                        { .fd = w->supervisor_sock, .events = POLLIN },
                        { .fd = w->sock, .events = POLLIN },
                        { .fd = fileno(w->point.mountinfo), .events = POLLPRI },
                };
                uint64_t now = now_usec(), end = w->deadline_usec;
                int r;

                if (w->mounted_usec > 0)
                        end = MIN(end, w->mounted_usec + SETTLE_USEC);
                (void) poll(p, G_N_ELEMENTS(p), now < end && !told ? (int) ((end - now + 999) / 1000) : 0);

                if (p[0].revents)
                        return -EPIPE;

                /* All that was told comes before what it means. */
                told = p[1].revents != 0;
                r = told ? on_report(w) : step(w);
                if (r != 0)
                        return 0;
        }
}

/* Reads a number list of the host's /proc. */
static size_t read_children(Watch *w, pid_t parent, pid_t *ret, size_t n_max) {
        g_autofree char *path = g_strdup_printf("%i/task/%i/children", (int) parent, (int) parent),
                        *text = NULL;
        _cleanup_close_ int fd = openat(w->proc_fd, path, O_RDONLY | O_CLOEXEC);
        size_t n = 0, size;
        char *p, *end;

        if (fd < 0 || read_fd_full(fd, 1024 * 1024, &text, &size) < 0)
                return 0;

        for (p = text; n < n_max; p = end) {
                long pid = strtol(p, &end, 10);

                if (end == p)
                        break;
                ret[n++] = (pid_t) pid;
        }

        return n;
}

/* Is this process alive, and still a child of "parent"? */
static bool is_child(Watch *w, pid_t pid, pid_t parent) {
        g_autofree char *path = g_strdup_printf("%i/stat", (int) pid), *text = NULL;
        _cleanup_close_ int fd = openat(w->proc_fd, path, O_RDONLY | O_CLOEXEC);
        const char *p;
        int found;
        size_t size;
        char state;

        if (fd < 0 || read_fd_full(fd, 4096, &text, &size) < 0)
                return false;

        p = strrchr(text, ')');
        return p && sscanf(p, ") %c %i", &state, &found) == 2 && found == parent && state != 'Z' &&
               state != 'X';
}

/* Kills the minder's children until it has none: those of each that dies become its own. */
static void kill_server(Watch *w) {
        uint64_t end = now_usec() + CLEAN_USEC;
        pid_t children[256];

        if (w->minder <= 0)
                return;

        while (now_usec() < end) {
                size_t n = read_children(w, w->minder, children, G_N_ELEMENTS(children)), n_killed = 0;

                for (size_t i = 0; i < n; i++) {
                        _cleanup_close_ int pidfd = (int) syscall(SYS_pidfd_open, children[i], 0);

                        if (pidfd < 0 || !is_child(w, children[i], w->minder))
                                continue;
                        (void) syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
                        n_killed++;
                }

                if (n_killed == 0)
                        break;
                (void) usleep(2000);
        }
}

static void end_child(pid_t pid) {
        uint64_t end = now_usec() + CLEAN_USEC;

        if (pid <= 0)
                return;

        (void) kill(pid, SIGKILL);
        while (waitpid(pid, NULL, WNOHANG | __WALL) == 0 && now_usec() < end)
                (void) usleep(1000);
}

/* In the caller's mount namespace, with the capabilities of its user namespace: whatever it is made to
 * unmount, the container could have unmounted by itself. */
__attribute__((noreturn)) static void unmount_run(const Watch *w) {
        const CallerProcess *process = &w->start->process;

        if (process->namespace_fds[NAMESPACE_MNT] >= 0 &&
                        setns(process->namespace_fds[NAMESPACE_MNT], CLONE_NEWNS) < 0)
                _exit(EXIT_FAILURE);
        if (fchdir(process->root_fd) < 0 || chroot(".") < 0)
                _exit(EXIT_FAILURE);

        _exit(umount2(w->point.path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

static void unmount(Watch *w) {
        uint64_t end = now_usec() + CLEAN_USEC;
        pid_t pid;

        if (!look(w))
                return;

        pid = fork();
        if (pid == 0)
                unmount_run(w);
        while (pid > 0 && waitpid(pid, NULL, WNOHANG) == 0 && now_usec() < end)
                (void) usleep(500);
        end_child(pid);
}

static void end_minder(Watch *w) {
        struct pollfd p = { .fd = w->minder_fd, .events = POLLIN };

        if (w->minder_fd < 0)
                return;

        (void) syscall(SYS_pidfd_send_signal, w->minder_fd, SIGKILL, NULL, 0);
        (void) poll(&p, 1, CLEAN_USEC / 1000);
}

/* Undoes what was begun. The minder is last, as it finds us what to kill. */
static void clean_up(Watch *w) {
        end_child(w->entering);
        w->entering = 0;

        /* A minder that we haven't heard of has no server yet, and ends with us. */
        kill_server(w);
        end_minder(w);
        unmount(w);
}

/* The supervisor's arguments (units, machines) stand in /proc/PID/cmdline, which whoever sees the process may
 * read. */
static void wipe_arguments(void) {
        g_autofree char *text = NULL;
        unsigned long start = 0, end = 0;
        const char *p;

        if (!g_file_get_contents("/proc/self/stat", &text, NULL, NULL))
                return;

        /* Fields 48 and 49; the second is the name, in parentheses. */
        p = strrchr(text, ')');
        for (unsigned i = 2; p && i < 48; i++) {
                p = strchr(p, ' ');
                if (p)
                        p++;
        }
        if (p && sscanf(p, "%lu %lu", &start, &end) == 2 && start < end)
                memset((void *) (uintptr_t) start, 0, end - start);
}

static void close_the_supervisor_s(const FuseStart *start, int supervisor_sock, FILE *mountinfo) {
        const CallerProcess *process = &start->process;
        int fds[12 + _NAMESPACE_MAX] = { supervisor_sock, fileno(mountinfo), start->watch_sock,
                start->report_sock, start->stderr_r, start->stderr_w, start->null_fd, process->root_fd,
                process->cwd_fd, start->server->target_fd, start->server->journal_fd, thread_entry_proc() };

        memcpy(fds + 12, process->namespace_fds, sizeof(process->namespace_fds));
        fuse_close_all_but(fds, G_N_ELEMENTS(fds));

        for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++)
                if (dup2(start->null_fd, i) < 0)
                        _exit(EXIT_FAILURE);
}

void fuse_watch_run(FuseStart *start, int supervisor_sock, FILE *mountinfo) {
        Watch w = {
                .start = start,
                .supervisor_sock = supervisor_sock,
                .sock = start->watch_sock,
                .minder_fd = -1,
                .point = { .mountinfo = mountinfo },
                .deadline_usec = now_usec() + (start->server->start_usec ?: FUSE_START_USEC_DEFAULT),
                .answer.result = FUSE_RESULT_INIT,
        };
        const int user = start->process.namespace_fds[NAMESPACE_USER];
        char word;
        int r = 0;

        (void) setsid();
        (void) prctl(PR_SET_NAME, "fuse-watch", 0, 0, 0);
        if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
                _exit(EXIT_FAILURE);
        wipe_arguments();
        close_the_supervisor_s(start, supervisor_sock, mountinfo);

        w.proc_fd = thread_entry_proc();
        if (fuse_mount_id(start->server->target_fd, &w.point.parent_id) < 0)
                r = fail(&w, -EIO, "Failed to look at the mount point");

        if (r == 0) {
                w.entering = fork();
                if (w.entering == 0) {
                        close_fd(supervisor_sock);
                        close_fd(start->watch_sock);
                        close_fd(w.proc_fd); /* It would keep the supervisor's procfs. */
                        fuse_child_run(start);
                }
                if (w.entering < 0)
                        r = fail(&w, -errno, "Failed to fork: %s", g_strerror(errno));
        }
        start->report_sock = close_fd(start->report_sock);
        start->stderr_r = close_fd(start->stderr_r);
        start->stderr_w = close_fd(start->stderr_w);

        /* What is left to do needs capabilities over the container only. */
        if (r == 0 && setns(user, CLONE_NEWUSER) < 0)
                r = fail(&w, -errno, "Failed to enter the caller's user namespace: %s", g_strerror(errno));

        r = r == 0 ? watch(&w) : 0;
        if (r < 0 || w.answer.error < 0)
                clean_up(&w);
        if (r < 0)
                _exit(EXIT_FAILURE);

        /* Both or none: a supervisor that isn't there any more can't answer the call. */
        if (send(supervisor_sock, &w.answer, sizeof(w.answer), MSG_NOSIGNAL) < 0)
                r = -EPIPE;
        if (w.answer.error < 0)
                _exit(EXIT_SUCCESS);

        if (r >= 0) {
                struct pollfd p = { .fd = supervisor_sock, .events = POLLIN };

                /* If it's late, no word of its may arrive any more that we don't hear. */
                if (poll(&p, 1, KEEP_USEC / 1000) <= 0)
                        (void) shutdown(supervisor_sock, SHUT_RDWR);
                if (recv(supervisor_sock, &word, 1, MSG_DONTWAIT) != 1)
                        r = -EPIPE;
        }
        if (r < 0)
                clean_up(&w);
        else
                (void) send(w.sock, &(char){ FUSE_WORD_KEEP }, 1, MSG_NOSIGNAL);

        (void) waitpid(w.entering, NULL, WNOHANG); /* It has left long ago. */
        _exit(EXIT_SUCCESS);
}
