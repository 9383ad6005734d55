/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Many targets that do nothing: N threads, each with a filter of its own that it got from deputyd in the way
 * of deputy-run, and then asleep. Threads, since they cost little and deputyd can't tell: a target is a
 * listener.
 *
 * Says "ok N" on stdout when deputyd has N of them, fewer than asked for if it takes no more, and ends with
 * its stdin. With "busy" each makes one intercepted call, so that it has had a supervisor. */

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "basic/fd.h"
#include "basic/protocol.h"
#include "bench/listener.h"

#define STACK_SIZE  (64 * 1024)
#define TIMEOUT_SEC 10

static const char *arg_unit;
static bool arg_busy = false;
static int notify_fd = -1;
static sem_t done;
static int thread_error; /* of the thread that is being started; there's one at a time */

static int ask_for_filter(int *ret_socket) {
        const struct timeval timeout = { .tv_sec = TIMEOUT_SEC };
        char text[256];
        int pair[2], r;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;

        snprintf(text, sizeof(text), "DEPUTY_RUN=1\nUNIT=%s\n", arg_unit);
        r = send_fds(notify_fd, text, strlen(text), &pair[1], 1, 0);
        close_fd(pair[1]);
        if (r >= 0 && setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0)
                r = -errno;
        if (r < 0) {
                close_fd(pair[0]);
                return r;
        }

        *ret_socket = pair[0];
        return 0;
}

/* The conversation of protocol.h, as deputy-run has it. */
static int become_target(void) {
        static union {
                HandoverOffer offer;
                char bytes[HANDOVER_OFFER_SIZE_MAX];
        } buffer;
        HandoverListener answer = { .magic = HANDOVER_MAGIC };
        _cleanup_close_ int sock = -1, listener = -1;
        HandoverGo go;
        ssize_t n;
        int r;

        r = ask_for_filter(&sock);
        if (r < 0)
                return r;

        n = receive_fds(sock, &buffer, sizeof(buffer), NULL, 0, 0);
        if (n < 0)
                return (int) n;
        if ((size_t) n < sizeof(HandoverOffer) || buffer.offer.verdict != HANDOVER_FILTER)
                return -ENOTCONN;

        listener = listener_load(buffer.offer.insns, (unsigned short) buffer.offer.n_insns);
        if (listener < 0)
                return listener;

        r = send_fds(sock, &answer, sizeof(answer), &listener, 1, 0);
        if (r < 0)
                return r;

        n = receive_fds(sock, &go, sizeof(go), NULL, 0, 0);
        if (n < 0)
                return (int) n;

        return n == sizeof(go) && go.verdict == HANDOVER_FILTER ? 0 : -ENOTCONN;
}

__attribute__((noreturn)) static void *be_idle(void *userdata) {
        thread_error = become_target();
        if (thread_error >= 0 && arg_busy)
                (void) mknod("/", S_IFBLK, makedev(8, 0)); /* Not lent, and it couldn't be made anyway. */

        (void) sem_post(&done);
        for (;;)
                (void) pause();
}

/* Return: how many there are, which is less than n if there was an error. */
static unsigned start(unsigned n) {
        pthread_attr_t attributes;

        (void) pthread_attr_init(&attributes);
        (void) pthread_attr_setstacksize(&attributes, STACK_SIZE);
        (void) sem_init(&done, 0, 0);

        for (unsigned i = 0; i < n; i++) {
                pthread_t thread;
                int r;

                r = pthread_create(&thread, &attributes, be_idle, NULL);
                if (r == 0) {
                        (void) sem_wait(&done);
                        r = -thread_error;
                }
                if (r != 0) {
                        fprintf(stderr, "Failed to start idle target %u: %s\n", i + 1, strerror(r));
                        return i;
                }
        }

        return n;
}

int main(int argc, char *argv[]) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        char byte;

        if (argc < 4 || argc > 5 || strlen(argv[1]) >= sizeof(address.sun_path) ||
                        (argc == 5 && strcmp(argv[4], "busy") != 0)) {
                fprintf(stderr, "Usage: %s SOCKET UNIT N [busy]\n", argv[0]);
                return EXIT_FAILURE;
        }

        memcpy(address.sun_path, argv[1], strlen(argv[1]));
        arg_unit = argv[2];
        arg_busy = argc == 5;

        notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (notify_fd < 0 || connect(notify_fd, (struct sockaddr *) &address, sizeof(address)) < 0) {
                fprintf(stderr, "Failed to connect to %s: %s\n", argv[1], strerror(errno));
                return EXIT_FAILURE;
        }

        if (printf("ok %u\n", start((unsigned) strtoul(argv[3], NULL, 10))) < 0 || fflush(stdout) < 0)
                return EXIT_FAILURE;

        (void) !read(STDIN_FILENO, &byte, 1);
        return EXIT_SUCCESS;
}
