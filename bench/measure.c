/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/clock.h"
#include "bench/measure.h"

#define THREADS_MAX 64u

extern char **environ;

static int compare(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

        return x < y ? -1 : x > y;
}

static uint64_t clock_cost(void) {
        static uint64_t cost;
        uint64_t samples[1001];
        const size_t n = sizeof(samples) / sizeof(samples[0]);

        if (cost > 0)
                return cost;

        for (size_t i = 0; i < n; i++) {
                uint64_t before = now_nsec(CLOCK_MONOTONIC);

                samples[i] = now_nsec(CLOCK_MONOTONIC) - before;
        }

        qsort(samples, n, sizeof(samples[0]), compare);
        cost = samples[n / 2];
        return cost;
}

/* One call. Return: 0 and how long it took, or as measure_each(). */
static int call_once(const Operation *operation, const Place *place, int expected, uint64_t *ret_nsec) {
        uint64_t before, took, cost = clock_cost();
        int error = 0;
        long result;

        before = now_nsec(CLOCK_MONOTONIC);
        result = operation->call(place);
        if (result < 0)
                error = errno;
        took = now_nsec(CLOCK_MONOTONIC) - before;

        if (error == 0 && operation->undo)
                operation->undo(place);

        if (error != expected)
                return error ? -error : -EPROTO;
        if (error == 0 && result != operation->result)
                return -EPROTO;

        *ret_nsec = took > cost ? took - cost : 0;
        return 0;
}

int measure_each(const Operation *operation, const Place *place, int expected, size_t warm_up, size_t n,
                uint32_t *ret_nsec) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < warm_up + n; i++) {
                uint64_t took = 0;

                r = call_once(operation, place, expected, &took);
                if (i >= warm_up)
                        ret_nsec[i - warm_up] = took > UINT32_MAX ? UINT32_MAX : (uint32_t) took;
        }

        if (operation->finish)
                operation->finish(place);
        return r;
}

typedef struct LoadThread {
        pthread_t thread;
        pthread_barrier_t *barrier;
        const Operation *operation;
        const Place *place;
        int expected;
        uint64_t duration_nsec;

        int error;
        Load load;
} LoadThread;

static void *run_load(void *userdata) {
        LoadThread *t = userdata;
        uint64_t start, now;

        (void) pthread_barrier_wait(t->barrier);
        start = now_nsec(CLOCK_MONOTONIC);

        do {
                uint64_t took;

                t->error = call_once(t->operation, t->place, t->expected, &took);
                if (t->error < 0)
                        return NULL;

                t->load.calls++;
                if (took > t->load.longest_nsec)
                        t->load.longest_nsec = took;
                now = now_nsec(CLOCK_MONOTONIC);
        } while (now - start < t->duration_nsec);

        if (t->operation->finish)
                t->operation->finish(t->place);
        t->load.calls_per_second = (double) t->load.calls * 1e9 / (double) (now - start);
        return NULL;
}

int measure_load(const Operation *operation, const Place *places, unsigned n_threads, int expected,
                unsigned msec, Load *ret) {
        LoadThread threads[THREADS_MAX];
        pthread_barrier_t barrier;
        Load sum = {};
        int r = 0;

        if (n_threads == 0 || n_threads > THREADS_MAX)
                return -EINVAL;

        (void) clock_cost();
        (void) pthread_barrier_init(&barrier, NULL, n_threads);

        for (unsigned i = 0; i < n_threads; i++) {
                threads[i] = (LoadThread){
                        .barrier = &barrier,
                        .operation = operation,
                        .place = places + i,
                        .expected = expected,
                        .duration_nsec = msec * UINT64_C(1000000),
                };
                r = pthread_create(&threads[i].thread, NULL, run_load, threads + i);
                if (r != 0)
                        abort(); /* The others wait for it at the barrier. */
        }

        for (unsigned i = 0; i < n_threads; i++) {
                (void) pthread_join(threads[i].thread, NULL);
                if (threads[i].error < 0)
                        r = threads[i].error;
                sum.calls += threads[i].load.calls;
                sum.calls_per_second += threads[i].load.calls_per_second;
                if (threads[i].load.longest_nsec > sum.longest_nsec)
                        sum.longest_nsec = threads[i].load.longest_nsec;
        }

        (void) pthread_barrier_destroy(&barrier);
        *ret = sum;
        return r;
}

int measure_start(char *const argv[], size_t n, uint32_t *ret_nsec) {
        posix_spawn_file_actions_t actions;
        int result = 0;

        /* Ours are the conversation with whoever started us. */
        (void) posix_spawn_file_actions_init(&actions);
        (void) posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        (void) posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);

        for (size_t i = 0; i < n && result >= 0; i++) {
                uint64_t before = now_nsec(CLOCK_MONOTONIC), took;
                int status, r;
                pid_t pid;

                r = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ);
                if (r != 0)
                        result = -r;
                else if (waitpid(pid, &status, 0) < 0)
                        result = -errno;
                else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                        result = -ECHILD;

                took = now_nsec(CLOCK_MONOTONIC) - before;
                ret_nsec[i] = took > UINT32_MAX ? UINT32_MAX : (uint32_t) took;
        }

        (void) posix_spawn_file_actions_destroy(&actions);
        return result;
}
