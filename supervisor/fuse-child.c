/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "basic/fd.h"
#include "supervisor/fuse-mount.h"
#include "supervisor/fuse-start.h"
#include "supervisor/fuse-stderr.h"

/* In one go: as much as the largest pipe of an unprivileged process can hold (pipe-max-size in pipe(7), 1
 * MiB), 64 KiB each, so that all that an ended server has said is read before its end is told. */
#define STDERR_READS_MAX 16

#define SEARCH_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* The package of Debian that has a program, where it's called otherwise. */
static const struct {
        const char *program, *package;
} package_table[] = {
        { "squashfuse_ll", "squashfuse" },
        { "lowntfs-3g", "ntfs-3g" },
        { "mount.ntfs-3g", "ntfs-3g" },
        { "mount.exfat-fuse", "exfat-fuse" },
        { "mount.exfat", "exfat-fuse" },
        { "fusexfs", NULL },
};

const char *fuse_program_name(const FuseServer *server) {
        const char *slash = strrchr(server->program, '/');

        return slash ? slash + 1 : server->program;
}

static int compare_fds(const void *a, const void *b) {
        return *(const int *) a - *(const int *) b;
}

void fuse_close_all_but(int *fds, size_t n) {
        int next = STDERR_FILENO + 1;

        qsort(fds, n, sizeof(int), compare_fds);
        for (size_t i = 0; i < n; i++) {
                if (fds[i] > next)
                        (void) close_range((unsigned) next, (unsigned) fds[i] - 1, 0);
                next = MAX(next, fds[i] + 1);
        }
        (void) close_range((unsigned) next, ~0U, 0);
}

/* Nobody waits in vain for what can't be said: the socket's end says it. */
static void report(const FuseStart *start, FuseReportType type, int value, const char *text) {
        FuseReport message = { .type = type, .value = value };

        g_strlcpy(message.text, text, sizeof(message.text));
        (void) send(start->report_sock, &message, offsetof(FuseReport, text) + strlen(message.text) + 1,
                        MSG_NOSIGNAL | MSG_DONTWAIT);
}

__attribute__((noreturn, format(printf, 3, 4))) static void give_up(
                const FuseStart *start, int error, const char *format, ...) {
        g_autofree char *text = NULL;
        va_list ap;

        va_start(ap, format);
        text = g_strdup_vprintf(format, ap);
        va_end(ap);

        report(start, FUSE_REPORT_FAILED, error, text);
        _exit(EXIT_FAILURE);
}

__attribute__((noreturn)) static void give_up_step(const FuseStart *start, int error, const char *step) {
        give_up(start, error, "Failed to %s: %s", step, g_strerror(-error));
}

/* Looks a name up as execvp(3) would. Whatever hangs on the way is killed in time. */
static char *find_program(const FuseStart *start) {
        const char *program = start->server->program, *package = fuse_program_name(start->server);
        g_auto(GStrv) directories = g_strsplit(*program == '/' ? "" : SEARCH_PATH, ":", -1);
        g_autofree char *hint = NULL;
        const char *found = NULL;
        int error = ENOENT;

        for (char **d = directories; *d || d == directories; d++) {
                g_autofree char *path =
                                *program == '/' ? g_strdup(program) : g_strconcat(*d, "/", program, NULL);
                struct stat st;

                if (stat(path, &st) < 0) {
                        if (errno != ENOENT && errno != ENOTDIR)
                                error = errno;
                } else if (!S_ISREG(st.st_mode) || faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0) {
                        error = EACCES;
                } else
                        return g_steal_pointer(&path);

                if (!*d)
                        break;
        }

        if (error != ENOENT)
                give_up(start, -error, "%s can't be executed in the container: %s", program,
                                g_strerror(error));

        for (size_t i = 0; i < G_N_ELEMENTS(package_table); i++)
                if (strcmp(package_table[i].program, package) == 0) {
                        found = package_table[i].package;
                        package = found ?: package;
                        hint = found ? NULL : g_strdup("install a package that has it");
                }
        if (!hint)
                hint = g_strdup_printf("install package %s", package);
        give_up(start, -ENOPKG, "%s isn't in the container: %s there", program, hint);
}

/* A server would say it on stderr in its own words, or try to make the node. */
static void check_device(const FuseStart *start) {
        _cleanup_close_ int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);

        if (fd >= 0)
                return;

        give_up(start, -ENODEV,
                        "/dev/fuse can't be opened in the container: %s. Bind it (systemd-nspawn "
                        "--bind=/dev/fuse) and let the unit use it (DeviceAllow=/dev/fuse rw)",
                        g_strerror(errno));
}

/* Becomes the server. Only what's needed for a last word of failure is open beyond stdio, and it closes. */
__attribute__((noreturn)) static void server_run(
                const FuseStart *start, int proc_fd, const char *path, char *target) {
        const FuseServer *server = start->server;
        bool options = server->options && *server->options;
        /* It must not look like an option of the program. */
        g_autofree char *source = *server->source == '-' ? g_strconcat("./", server->source, NULL)
                                                         : g_strdup(server->source);
        char *argv[] = { (char *) fuse_program_name(server), source, target, options ? (char *) "-o" : NULL,
                options ? (char *) server->options : NULL, NULL };
        char *envp[] = { (char *) "PATH=" SEARCH_PATH, (char *) "LANG=C.UTF-8", NULL };
        const char *step;
        int r;

        if (setsid() < 0)
                give_up_step(start, -errno, "make a session");
        if (dup2(start->null_fd, STDIN_FILENO) < 0 || dup2(start->stderr_w, STDOUT_FILENO) < 0 ||
                        dup2(start->stderr_w, STDERR_FILENO) < 0 ||
                        close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
                give_up_step(start, -errno, "set up its descriptors");

        r = caller_process_finish(&start->process, proc_fd, &step);
        if (r < 0)
                give_up_step(start, r, step);

        /* Last, as they may forbid any of the above. */
        r = target_filters_load(&start->filters);
        if (r < 0)
                give_up_step(start, r, "load the caller's seccomp filters");

        (void) execve(path, argv, envp);
        if (errno == ENOENT)
                give_up(start, -ENOPKG,
                                "%s can't be executed in the container: its interpreter or dynamic "
                                "linker is missing there",
                                path);
        give_up(start, -errno, "%s can't be executed in the container: %s", path, g_strerror(errno));
}

/* Reaps whatever has ended. Return: true if there are children left. */
static bool reap(const FuseStart *start, pid_t server, int *server_status) {
        for (;;) {
                int status;
                pid_t pid = waitpid(-1, &status, WNOHANG | __WALL);

                if (pid <= 0)
                        return pid == 0;
                if (pid == server)
                        *server_status = status;
        }
}

static void say_end(FuseStderr *e, const char *name, int status) {
        g_autofree char *text = NULL;

        if (WIFSIGNALED(status))
                text = g_strdup_printf("%s was killed by signal %i", name, WTERMSIG(status));
        else if (WEXITSTATUS(status) != 0)
                text = g_strdup_printf("%s has ended with exit status %i", name, WEXITSTATUS(status));
        if (text)
                fuse_stderr_say(e, LOG_WARNING, text);
}

/* A server that never stops writing mustn't keep us from what else happens. */
static void read_stderr(const FuseStart *start, FuseStderr *e, bool keep) {
        int r = 1;

        for (unsigned i = 0; r > 0 && e->fd >= 0 && i < STDERR_READS_MAX; i++)
                r = fuse_stderr_read(e);

        if (!keep && e->last[0]) {
                report(start, FUSE_REPORT_LINE, 0, e->last);
                e->last[0] = 0;
        }
}

/* In the container, as the caller: until the server is ready and has nothing more to say. */
__attribute__((noreturn)) static void mind(const FuseStart *start, pid_t server) {
        const FuseServer *spec = start->server;
        FuseStderr e = {
                .fd = start->stderr_r,
                .journal_fd = spec->journal_fd,
                .identifier = fuse_program_name(spec),
                .fields = spec->journal_fields,
                .n_fields = spec->n_journal_fields,
        };
        bool keep = false, exited = false, told_alone = false;
        int pidfd = (int) syscall(SYS_pidfd_open, server, 0), status = -1;

        for (;;) {
                struct pollfd p[] = {
                        { .fd = e.fd, .events = POLLIN },
                        { .fd = keep ? -1 : start->report_sock, .events = POLLIN },
                        { .fd = exited ? -1 : pidfd, .events = POLLIN },
                };
                bool left;
                char word;

                /* The ends of its children's children come unannounced, and only count before it's ready. */
                (void) poll(p, G_N_ELEMENTS(p), (exited || pidfd < 0) && !keep ? 20 : -1);

                left = reap(start, server, &status);
                if (e.fd >= 0)
                        read_stderr(start, &e, keep);

                if (status >= 0 && !exited) {
                        exited = true;
                        if (keep)
                                say_end(&e, e.identifier, status);
                        else
                                report(start, FUSE_REPORT_EXITED, status, "");
                }
                if (!left && !keep && !told_alone) {
                        report(start, FUSE_REPORT_ALONE, 0, "");
                        told_alone = true;
                }

                if (p[1].revents) {
                        ssize_t n = recv(start->report_sock, &word, 1, MSG_DONTWAIT);

                        /* ECONNRESET: the watch has left without reading all that we had to say. It comes
                         * once, and before what the watch had to say, which is read next. */
                        if (n == 1 && word == FUSE_WORD_KEEP)
                                keep = true;
                        else if (n == 0 ||
                                        (n < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNRESET)) {
                                /* The watch is gone, who would have killed more. */
                                if (!exited)
                                        (void) kill(server, SIGKILL);
                                _exit(EXIT_FAILURE);
                        }
                }

                if (keep && e.fd < 0)
                        _exit(EXIT_SUCCESS);
        }
}

static void await_go(const FuseStart *start) {
        char word;

        if (recv(start->report_sock, &word, 1, 0) != 1)
                _exit(EXIT_FAILURE);
}

__attribute__((noreturn)) static void minder_run(const FuseStart *start, int proc_fd, char *target) {
        g_autofree char *path = NULL;
        pid_t server;

        /* The watch is to know us before there's something to kill. */
        await_go(start);
        (void) prctl(PR_SET_NAME, "fuse-minder", 0, 0, 0);
        if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
                give_up_step(start, -errno, "become a subreaper");

        server = fork();
        if (server < 0)
                give_up_step(start, -errno, "fork");
        if (server == 0) {
                path = find_program(start);
                check_device(start);
                server_run(start, proc_fd, path, target);
        }

        fuse_close_all_but((int[]){ start->report_sock, start->stderr_r, start->server->journal_fd }, 3);
        if (chdir("/") < 0)
                give_up_step(start, -errno, "change to the root directory");

        mind(start, server);
}

/* The name of the mount point as the caller sees it, whose root we have by now. It must lead there. */
static char *target_path(const FuseStart *start, int proc_fd) {
        g_autofree char *link = g_strdup_printf("self/fd/%i", start->server->target_fd);
        _cleanup_close_ int fd = -1;
        char path[PATH_MAX];
        struct statx a, b;
        ssize_t n;

        n = readlinkat(proc_fd, link, path, sizeof(path));
        if (n < 0)
                give_up_step(start, -errno, "read the name of the mount point");
        if ((size_t) n == sizeof(path))
                give_up(start, -ENAMETOOLONG, "The mount point's name is too long");
        path[n] = 0;

        fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &a) < 0 ||
                        statx(start->server->target_fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO,
                                        &b) < 0 ||
                        a.stx_ino != b.stx_ino || a.stx_dev_major != b.stx_dev_major ||
                        a.stx_dev_minor != b.stx_dev_minor)
                give_up(start, -ESTALE,
                                "The mount point has no name that leads to it from the caller's root");

        return g_strdup(path);
}

/* Makes the minder and leaves, so that it becomes a child of the container's init, which reaps it. */
__attribute__((noreturn)) static void first_run(const FuseStart *start, int proc_fd, char *target) {
        FuseReport message = { .type = FUSE_REPORT_MINDER };
        int pidfd = -1;
        struct clone_args args = {
                .flags = CLONE_PIDFD,
                .pidfd = (uintptr_t) &pidfd,
                .exit_signal = SIGCHLD,
        };
        pid_t minder;

        minder = (pid_t) syscall(SYS_clone3, &args, sizeof(args));
        if (minder < 0)
                give_up_step(start, -errno, "make a process in the container");
        if (minder == 0)
                minder_run(start, proc_fd, target);

        (void) send_fds(start->report_sock, &message, offsetof(FuseReport, text) + 1, &pidfd, 1, 0);
        _exit(EXIT_SUCCESS);
}

void fuse_child_run(const FuseStart *start) {
        g_autofree char *target = NULL;
        const char *step;
        pid_t first;
        int proc_fd, r;

        proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (proc_fd < 0)
                give_up_step(start, -errno, "open /proc");

        r = caller_process_become(&start->process, &step);
        if (r < 0)
                give_up_step(start, r, step);

        target = target_path(start, proc_fd);
        report(start, FUSE_REPORT_TARGET, 0, target);
        await_go(start);

        /* From here on we're seen in the container. */
        first = fork();
        if (first < 0)
                give_up_step(start, -errno, "make a process in the container");
        if (first == 0)
                first_run(start, proc_fd, target);

        (void) waitpid(first, NULL, 0);
        _exit(EXIT_SUCCESS);
}
