/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Many targets that do nothing: N threads, each with a filter of its own that it got from deputyd in the way
 * of deputy-run, and then asleep. Threads, since they cost little and deputyd can't tell: a target is a
 * listener.
 *
 * Says "ok N" on stdout when deputyd has N of them, fewer than asked for if it takes no more, and ends with
 * its stdin. With "busy" each makes one intercepted call, so that it has had a supervisor.
 *
 * The threads are in processes of SLICE_SIZE each, which end one after another, also when this program is
 * killed: some kernels deadlock when more than a thousand compiled filters are freed at once (see
 * docs/architecture.md). */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/fd.h"
#include "basic/protocol.h"
#include "bench/listener.h"

#define STACK_SIZE  (64 * 1024)
#define TIMEOUT_SEC 10

#define SLICE_SIZE       100U
#define SLICE_PAUSE_USEC 50000U

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
static unsigned start_threads(unsigned n) {
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
                        fprintf(stderr, "Failed to start idle target %u of its slice: %s\n", i + 1,
                                        strerror(r));
                        return i;
                }
        }

        return n;
}

/* A process of the slice's threads. The end of the parent ends it, but only after those before it. */
__attribute__((noreturn)) static void be_slice(unsigned index, unsigned n, int alive, int result) {
        unsigned started;
        char byte;

        /* A terminal's signals come to all processes at once. */
        (void) signal(SIGINT, SIG_IGN);
        (void) signal(SIGTERM, SIG_IGN);
        (void) signal(SIGHUP, SIG_IGN);

        started = start_threads(n);
        if (write(result, &started, sizeof(started)) != sizeof(started))
                _exit(EXIT_FAILURE);
        while (read(alive, &byte, 1) < 0 && errno == EINTR)
                ;
        (void) usleep(index * SLICE_PAUSE_USEC);
        _exit(EXIT_SUCCESS);
}

/* Return: how many targets there are. The slices live until the write end of 'alive' is closed. */
static unsigned start(unsigned n, int alive[static 2]) {
        unsigned total = 0;

        for (unsigned index = 0; index * SLICE_SIZE < n; index++) {
                unsigned wanted = n - index * SLICE_SIZE, started = 0;
                int result[2];

                if (wanted > SLICE_SIZE)
                        wanted = SLICE_SIZE;
                if (pipe2(result, O_CLOEXEC) < 0)
                        break;

                switch (fork()) {
                case -1:
                        fprintf(stderr, "Failed to fork: %s\n", strerror(errno));
                        break;
                case 0:
                        close_fd(alive[1]);
                        close_fd(result[0]);
                        be_slice(index, wanted, alive[0], result[1]);
                default:
                        break;
                }

                close_fd(result[1]);
                if (read(result[0], &started, sizeof(started)) != sizeof(started))
                        started = 0;
                close_fd(result[0]);
                total += started;
                if (started < wanted)
                        break;
        }

        return total;
}

int main(int argc, char *argv[]) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int alive[2];
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

        if (pipe2(alive, O_CLOEXEC) < 0) {
                fprintf(stderr, "Failed to create a pipe: %s\n", strerror(errno));
                return EXIT_FAILURE;
        }
        if (printf("ok %u\n", start((unsigned) strtoul(argv[3], NULL, 10), alive)) < 0 || fflush(stdout) < 0)
                return EXIT_FAILURE;

        (void) !read(STDIN_FILENO, &byte, 1);
        close_fd(alive[1]);
        while (wait(NULL) > 0)
                ;
        return EXIT_SUCCESS;
}
