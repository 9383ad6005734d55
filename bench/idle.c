/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Many idle targets: N threads, each with a filter of its own, whose listeners are handed to deputyd as
 * sd_pid_notify_with_fds(3) does. Says "ok" on stdout when deputyd has them all and ends with its stdin.
 *
 * Threads, since they cost little and deputyd can't tell: a target is a listener. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "basic/fd.h"
#include "bench/listener.h"

#define STACK_SIZE          (64 * 1024)
#define BARRIER_MSEC        (60 * 1000)
#define TARGETS_PER_BARRIER 200u

static const char *arg_unit;
static int notify_fd = -1;
static sem_t done;
static int first_error;

static int send_listener(int listener) {
        char text[256];

        snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=bench\n%s%s%s", arg_unit ? "UNIT=" : "",
                        arg_unit ?: "", arg_unit ? "\n" : "");
        return send_fds(notify_fd, text, strlen(text), &listener, 1, 0);
}

__attribute__((noreturn)) static void *be_idle(void *userdata) {
        int listener, r;

        r = listener = listener_new(SYS_mknodat);
        if (r >= 0)
                r = send_listener(listener);
        close_fd(listener);
        if (r < 0)
                first_error = r;

        (void) sem_post(&done);
        for (;;)
                (void) pause();
}

/* Returns when everything that was sent before has been dealt with, see sd_notify_barrier(3). */
static int barrier(void) {
        _cleanup_close_ int reader = -1, writer = -1;
        struct pollfd p = {};
        int fds[2], r;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        reader = fds[0];
        writer = fds[1];

        r = send_fds(notify_fd, "BARRIER=1", strlen("BARRIER=1"), &writer, 1, 0);
        if (r < 0)
                return r;
        writer = close_fd(writer);

        p.fd = reader;
        r = poll(&p, 1, BARRIER_MSEC);
        return r < 0 ? -errno : r == 0 ? -ETIMEDOUT : 0;
}

static int start(unsigned n) {
        pthread_attr_t attributes;

        (void) pthread_attr_init(&attributes);
        (void) pthread_attr_setstacksize(&attributes, STACK_SIZE);

        for (unsigned i = 0; i < n; i++) {
                pthread_t thread;
                int r;

                r = pthread_create(&thread, &attributes, be_idle, NULL);
                if (r != 0)
                        return -r;
                (void) sem_wait(&done);
                if (first_error < 0)
                        return first_error;

                if (i % TARGETS_PER_BARRIER == TARGETS_PER_BARRIER - 1 || i == n - 1) {
                        r = barrier();
                        if (r < 0)
                                return r;
                }
        }

        return 0;
}

int main(int argc, char *argv[]) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        char byte;
        int r;

        if (argc < 3 || argc > 4 || strlen(argv[1]) >= sizeof(address.sun_path)) {
                fprintf(stderr, "Usage: %s SOCKET N [UNIT]\n", argv[0]);
                return EXIT_FAILURE;
        }

        memcpy(address.sun_path, argv[1], strlen(argv[1]));
        arg_unit = argv[3];
        (void) sem_init(&done, 0, 0);

        notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        r = notify_fd < 0 || connect(notify_fd, (struct sockaddr *) &address, sizeof(address)) < 0
                            ? -errno
                            : start((unsigned) strtoul(argv[2], NULL, 10));
        if (r < 0) {
                fprintf(stderr, "Failed to hand idle targets over: %s\n", strerror(-r));
                return EXIT_FAILURE;
        }

        if (puts("ok") < 0 || fflush(stdout) < 0)
                return EXIT_FAILURE;

        (void) !read(STDIN_FILENO, &byte, 1);
        return EXIT_SUCCESS;
}
