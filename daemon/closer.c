/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* close(2) of somebody else's file can take for ever: a FUSE file system is told of it and may not answer, a
 * TCP socket may linger, and a socket's queue may hold more of either. So whatever isn't known to be harmless
 * is closed by a child that shares our table of descriptors (CLONE_FILES) and nothing else. A child that's
 * stuck is in nobody's way, not even in ours when we exit; others go on with the rest of the queue.
 *
 * The queue is a ring in memory that we share with the children. We append, they take: each index is taken by
 * exactly one of them, before it's closed, so no number is closed twice even if we have reused it meanwhile.
 */

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "daemon/closer.h"
#include "daemon/daemon-limits.h"

/* A child that takes nothing new for so long is taken as stuck, and another one started. */
#define CLOSER_STUCK_USEC (500 * USEC_PER_MSEC)

struct CloserQueue {
        _Atomic uint32_t added; /* free-running; modulo the size they're indices */
        _Atomic uint32_t taken;
        int fds[CLOSER_QUEUE_MAX];
};

/* What the kernel calls it is never a path of a file system: those begin with a slash. */
static bool closes_at_once(int fd) {
        static const char *const harmless[] = { "pipe:[", "anon_inode:seccomp notify", "anon_inode:[pidfd]",
                "pidfd:[" };
        char path[sizeof("/proc/self/fd/") + 3 * sizeof(int)], target[64] = "";

        snprintf(path, sizeof(path), "/proc/self/fd/%i", fd);
        if (readlink(path, target, sizeof(target) - 1) < 0)
                return false;

        for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
                if (strncmp(target, harmless[i], strlen(harmless[i])) == 0)
                        return true;

        return false;
}

static void close_queued(CloserQueue *q) {
        for (;;) {
                uint32_t i = atomic_load(&q->taken);
                int fd;

                if (i == atomic_load(&q->added))
                        return;

                fd = q->fds[i % CLOSER_QUEUE_MAX];
                if (atomic_compare_exchange_strong(&q->taken, &i, i + 1))
                        (void) close(fd);
        }
}

static int start_process(Closer *c);

static int on_process_exit(sd_event_source *source, const siginfo_t *info, void *userdata) {
        Closer *c = userdata;

        sd_event_source_unref(source);
        c->n_processes--;

        /* What was added between its last look and its end. */
        if (c->n_processes == 0 && atomic_load(&c->queue->taken) != atomic_load(&c->queue->added))
                (void) start_process(c);
        return 0;
}

static int on_check(sd_event_source *source, uint64_t usec, void *userdata) {
        Closer *c = userdata;
        uint32_t taken = atomic_load(&c->queue->taken);

        if (taken == atomic_load(&c->queue->added))
                return 0;

        if (taken == c->checked_taken)
                (void) start_process(c);

        c->checked_taken = taken;
        (void) sd_event_source_set_time_relative(source, CLOSER_STUCK_USEC);
        (void) sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        return 0;
}

static int start_process(Closer *c) {
        sd_event_source *source;
        pid_t pid;
        int r;

        if (c->n_processes >= CLOSER_PROCESSES_MAX)
                return -EAGAIN;

        pid = (pid_t) syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
        if (pid < 0)
                return -errno;
        if (pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                close_queued(c->queue);
                _exit(0);
        }

        r = sd_event_add_child(c->event, &source, pid, WEXITED, on_process_exit, c);
        if (r < 0)
                return log_error_errno(r, "Failed to watch the process that closes descriptors: %m");

        c->n_processes++;
        return 0;
}

int closer_init(Closer *c, sd_event *event) {
        int r;

        c->event = event;
        c->queue = mmap(NULL, sizeof(CloserQueue), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (c->queue == MAP_FAILED) {
                c->queue = NULL;
                return -errno;
        }

        r = sd_event_add_time_relative(event, &c->check_source, CLOCK_MONOTONIC, 0, 0, on_check, c);
        if (r < 0)
                return r;

        return sd_event_source_set_enabled(c->check_source, SD_EVENT_OFF);
}

bool closer_has_room(const Closer *c, unsigned n) {
        return atomic_load(&c->queue->added) - atomic_load(&c->queue->taken) + n <= CLOSER_QUEUE_MAX;
}

void closer_close(Closer *c, int fd) {
        uint32_t added;

        if (fd < 0)
                return;

        if (closes_at_once(fd) || !closer_has_room(c, 1)) {
                close_fd(fd);
                return;
        }

        added = atomic_load(&c->queue->added);
        c->queue->fds[added % CLOSER_QUEUE_MAX] = fd;
        atomic_store(&c->queue->added, added + 1);

        if (c->n_processes == 0)
                (void) start_process(c);

        if (sd_event_source_get_enabled(c->check_source, NULL) == 0) {
                c->checked_taken = atomic_load(&c->queue->taken);
                (void) sd_event_source_set_time_relative(c->check_source, CLOSER_STUCK_USEC);
                (void) sd_event_source_set_enabled(c->check_source, SD_EVENT_ONESHOT);
        }
}

void closer_done(Closer *c) {
        c->check_source = sd_event_source_disable_unref(c->check_source);
        if (c->queue)
                (void) munmap(c->queue, sizeof(CloserQueue));
        c->queue = NULL;
}
