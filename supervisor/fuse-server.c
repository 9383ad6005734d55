/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The supervisor's side: reads what there is to take over from the caller, starts the watch and waits for it.
 */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/clock.h"
#include "basic/fd.h"
#include "supervisor/fuse-mount.h"
#include "supervisor/fuse-server.h"
#include "supervisor/fuse-start.h"
#include "supervisor/target-cgroup.h"

__attribute__((format(printf, 3, 4))) static int fail(FuseResult *ret, int error, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(ret->message, sizeof(ret->message), format, ap);
        va_end(ap);
        return error;
}

static FILE *open_mountinfo(const Caller *caller) {
        _cleanup_close_ int fd = openat(caller->proc_fd, "mountinfo", O_RDONLY | O_CLOEXEC);
        FILE *f;

        f = fd < 0 ? NULL : fdopen(fd, "re");
        if (f)
                (void) TAKE_FD(fd);
        return f;
}

static void start_clear(FuseStart *start) {
        caller_process_clear(&start->process);
        target_filters_clear(&start->filters);
        close_fd(start->null_fd);
        close_fd(start->stderr_r);
        close_fd(start->stderr_w);
        close_fd(start->watch_sock);
        close_fd(start->report_sock);
}

static int start_open(FuseStart *start) {
        int pair[2];

        start->null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (start->null_fd < 0)
                return -errno;

        if (pipe2(pair, O_CLOEXEC) < 0)
                return -errno;
        start->stderr_r = pair[0];
        start->stderr_w = pair[1];
        if (fcntl(start->stderr_r, F_SETFL, O_NONBLOCK) < 0)
                return -errno;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        start->watch_sock = pair[0];
        start->report_sock = pair[1];
        return 0;
}

static void end_watch(pid_t pid, bool kill_it) {
        for (unsigned i = 0; i < 200; i++) {
                if (i == 100 || (i == 0 && kill_it))
                        (void) kill(pid, SIGKILL);
                if (waitpid(pid, NULL, WNOHANG) != 0)
                        return;
                (void) usleep(i < 50 ? 100 : 10000);
        }
}

/* Waits for the watch's answer and tells it that it was heard. */
static int await(pid_t watch, int sock, uint64_t timeout_usec, FuseResult *ret) {
        uint64_t end = now_nsec(CLOCK_MONOTONIC) / 1000 + timeout_usec;
        FuseAnswer answer;
        ssize_t n = -1;

        for (;;) {
                struct pollfd p = { .fd = sock, .events = POLLIN };
                uint64_t now = now_nsec(CLOCK_MONOTONIC) / 1000;
                int r = poll(&p, 1, now < end ? (int) ((end - now + 999) / 1000) : 0);

                if (r < 0 && errno == EINTR)
                        continue;
                if (r > 0)
                        n = recv(sock, &answer, sizeof(answer), MSG_DONTWAIT);
                break;
        }

        if (n != sizeof(answer)) {
                end_watch(watch, true);
                return fail(ret, -EIO, "The process that watches over the server's start %s",
                                n == 0 ? "was killed, or the container's cgroups don't take it"
                                       : "doesn't answer");
        }

        *ret = answer.result;
        if (answer.error == 0 && send(sock, &(char){ FUSE_WORD_KEEP }, 1, MSG_NOSIGNAL) < 0)
                answer.error = fail(ret, -EIO, "The process that watches over the server's start was killed");
        end_watch(watch, false);
        return answer.error;
}

static int start_and_await(FuseStart *start, const TargetCgroups *cgroups, FILE *mountinfo, FuseResult *ret) {
        _cleanup_close_ int ours = -1, theirs = -1;
        int pair[2];
        pid_t pid;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return fail(ret, -errno, "Failed to make a socket: %s", g_strerror(errno));
        ours = pair[0];
        theirs = pair[1];

        pid = target_cgroups_fork(cgroups);
        if (pid < 0)
                return fail(ret, (int) pid, "Failed to make a process in the container's cgroup: %s",
                                g_strerror((int) -pid));
        if (pid == 0) {
                close_fd(ours);
                fuse_watch_run(start, theirs, mountinfo);
        }
        theirs = close_fd(theirs);

        return await(pid, ours,
                        (start->server->start_usec ?: FUSE_START_USEC_DEFAULT) + FUSE_START_MARGIN_USEC / 2,
                        ret);
}

static int prepare_and_start(FuseStart *start, TargetCgroups *cgroups, FuseResult *ret) {
        Caller *caller = start->server->caller;
        FILE *mountinfo;
        const char *why;
        int r;

        r = caller_process_read(caller, &start->process);
        if (r < 0)
                return fail(ret, r, "Failed to read what the server is to take over from the caller: %s",
                                g_strerror(-r));

        r = target_cgroups_open(caller, cgroups);
        if (r < 0)
                return fail(ret, r == -EXDEV ? -EOPNOTSUPP : r, "Failed to open the container's cgroups: %s",
                                g_strerror(-r));

        r = target_filters_read(caller, start->process.n_filters, &start->filters, &why);
        if (r == -EOPNOTSUPP)
                return fail(ret, r, "The server can't be put under the caller's seccomp filters: %s", why);
        if (r < 0)
                return fail(ret, r, "Failed to read the caller's seccomp filters: %s", g_strerror(-r));
        target_filters_silence(&start->filters);

        r = start_open(start);
        if (r < 0)
                return fail(ret, r, "Failed to make a pipe: %s", g_strerror(-r));

        mountinfo = open_mountinfo(caller);
        if (!mountinfo)
                return fail(ret, -errno, "Failed to open the caller's mount table: %s", g_strerror(errno));

        /* All that was read is the caller's (law 3). */
        r = caller_verify(caller);
        if (r >= 0)
                r = start_and_await(start, cgroups, mountinfo, ret);

        (void) fclose(mountinfo);
        return r;
}

int fuse_server_start(const FuseServer *server, FuseResult *ret) {
        FuseStart start = {
                .server = server,
                .process = { .root_fd = -1, .cwd_fd = -1 },
                .null_fd = -1,
                .stderr_r = -1,
                .stderr_w = -1,
                .watch_sock = -1,
                .report_sock = -1,
        };
        TargetCgroups cgroups = TARGET_CGROUPS_INIT;
        int r;

        for (size_t i = 0; i < _NAMESPACE_MAX; i++)
                start.process.namespace_fds[i] = -1;

        *ret = (FuseResult) FUSE_RESULT_INIT;
        if (server->caller->userns->kind != USERNS_CONTAINER)
                return fail(ret, -EOPNOTSUPP,
                                "FUSE servers are started for containers with a user namespace only");
        if (*server->program == 0 || (*server->program != '/' && strchr(server->program, '/')))
                return fail(ret, -EOPNOTSUPP, "The FUSE server is to be a name or an absolute path");

        r = prepare_and_start(&start, &cgroups, ret);
        /* Not what the name says if the caller is still there. */
        if (r == -ENOENT && caller_verify(server->caller) >= 0)
                r = -EIO;
        target_cgroups_close(&cgroups);
        start_clear(&start);
        return r;
}

int fuse_server_mount_of(const Caller *caller, int fd, uint64_t *ret_mount_id) {
        FILE *mountinfo = open_mountinfo(caller);
        uint64_t id;
        int r;

        if (!mountinfo)
                return -errno;

        r = fuse_mount_id(fd, &id);
        if (r >= 0)
                r = fuse_mount_is_fuse(mountinfo, id);
        (void) fclose(mountinfo);
        if (r >= 0)
                *ret_mount_id = id;
        return r;
}
