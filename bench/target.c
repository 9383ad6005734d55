/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The target of the benchmarks: what a container's program is to deputyd. bench/run keeps one of it per
 * configuration (under deputy-run, under a supervisor that does nothing, in a container without a filter, as
 * the host's root) and has all of them measure in turn, so that the same noise meets all.
 *
 * It takes commands, one per line, on stdin and answers on stdout with "ok ..." or "error TEXT":
 *
 *     measure OPERATION ERRNO WARM-UP N      "ok N" and N durations in ns, as native 32-bit numbers
 *     load OPERATION ERRNO MSEC THREADS      "ok CALLS CALLS-PER-SECOND LONGEST-NSEC"
 *     start N ARGUMENT...                    as measure; starts a program
 *
 * ERRNO is how each call has to end, 0 for success: a call that ends otherwise isn't measured but an error.
 */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/container.h"
#include "bench/measure.h"
#include "bench/operation.h"
#include "bench/round-trip.h"

#define PLACES_MAX    16u
#define SAMPLES_MAX   1000000u
#define ARGUMENTS_MAX 32u

static const char *arg_root = NULL;
static bool arg_container = false;
static bool arg_init = false;
static bool arg_nested = false;
static bool arg_round_trip = false;

static Place places[PLACES_MAX];

static int parse_argv(int argc, char *argv[]) {
        static const struct option options[] = {
                { "root", required_argument, NULL, 'r' },
                { "container", no_argument, NULL, 'c' },
                { "init", no_argument, NULL, 'i' },
                { "nested", no_argument, NULL, 'n' },
                { "round-trip", no_argument, NULL, 't' },
                {},
        };
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (c) {
                case 'r':
                        arg_root = optarg;
                        break;
                case 'c':
                        arg_container = true;
                        break;
                case 'i':
                        arg_init = true;
                        break;
                case 'n':
                        arg_nested = true;
                        break;
                case 't':
                        arg_round_trip = true;
                        break;
                default:
                        return -EINVAL;
                }

        if (optind < argc || (arg_container && !arg_root) || ((arg_init || arg_nested) && !arg_container)) {
                fprintf(stderr, "Usage: %s [--root=DIR [--container [--init] [--nested]]] [--round-trip]\n",
                                argv[0]);
                return -EINVAL;
        }

        return 0;
}

static int fail(int error) {
        printf("error %s\n", strerror(-error));
        return 0;
}

static int answer_samples(uint32_t *samples, size_t n, int r) {
        if (r < 0)
                return fail(r);

        printf("ok %zu\n", n);
        return fwrite(samples, sizeof(uint32_t), n, stdout) == n ? 0 : -EIO;
}

static int on_measure(char **words, size_t n_words) {
        const Operation *operation = n_words == 5 ? operation_find(words[1]) : NULL;
        uint32_t *samples;
        size_t n;
        int r;

        if (!operation)
                return fail(-EINVAL);

        n = strtoul(words[4], NULL, 10);
        samples = n <= SAMPLES_MAX ? calloc(n, sizeof(uint32_t)) : NULL;
        if (!samples)
                return fail(-ENOMEM);

        r = measure_each(operation, places, atoi(words[2]), strtoul(words[3], NULL, 10), n, samples);
        r = answer_samples(samples, n, r);
        free(samples);
        return r;
}

static int on_load(char **words, size_t n_words) {
        const Operation *operation = n_words == 5 ? operation_find(words[1]) : NULL;
        unsigned n_threads;
        Load load;
        int r;

        if (!operation)
                return fail(-EINVAL);

        n_threads = (unsigned) strtoul(words[4], NULL, 10);
        if (n_threads > PLACES_MAX)
                return fail(-EINVAL);

        r = measure_load(operation, places, n_threads, atoi(words[2]), (unsigned) strtoul(words[3], NULL, 10),
                        &load);
        if (r < 0)
                return fail(r);

        printf("ok %" PRIu64 " %f %" PRIu64 "\n", load.calls, load.calls_per_second, load.longest_nsec);
        return 0;
}

static int on_start(char **words, size_t n_words) {
        uint32_t *samples;
        size_t n;
        int r;

        if (n_words < 3)
                return fail(-EINVAL);

        n = strtoul(words[1], NULL, 10);
        samples = n <= SAMPLES_MAX ? calloc(n, sizeof(uint32_t)) : NULL;
        if (!samples)
                return fail(-ENOMEM);

        r = answer_samples(samples, n, measure_start(words + 2, n, samples));
        free(samples);
        return r;
}

static int serve(void) {
        static const struct {
                const char *name;
                int (*handle)(char **words, size_t n_words);
        } commands[] = {
                { "measure", on_measure },
                { "load", on_load },
                { "start", on_start },
        };
        char line[4096];

        while (fgets(line, sizeof(line), stdin)) {
                char *words[ARGUMENTS_MAX + 1] = {}, *state = NULL;
                size_t n_words = 0, i;
                int r;

                for (char *w = strtok_r(line, " \n", &state); w && n_words < ARGUMENTS_MAX;
                                w = strtok_r(NULL, " \n", &state))
                        words[n_words++] = w;

                for (i = 0; n_words > 0 && i < sizeof(commands) / sizeof(commands[0]); i++)
                        if (strcmp(words[0], commands[i].name) == 0)
                                break;

                r = n_words > 0 && i < sizeof(commands) / sizeof(commands[0])
                                    ? commands[i].handle(words, n_words)
                                    : fail(-EINVAL);
                if (r < 0 || fflush(stdout) < 0)
                        return -EIO;
        }

        return 0;
}

static int set_up(void) {
        int r = 0;

        if (arg_round_trip)
                r = round_trip_start();

        if (r >= 0 && arg_container)
                r = container_enter(arg_root);
        else if (r >= 0 && arg_root && (chroot(arg_root) < 0 || chdir("/") < 0))
                r = -errno;

        if (r >= 0 && arg_init)
                r = container_start_init();

        if (r >= 0 && arg_root) {
                r = place_prepare_all(arg_container);
                for (unsigned i = 0; r >= 0 && i < PLACES_MAX; i++)
                        r = place_prepare(places + i, i);
        }

        if (r >= 0 && arg_nested)
                r = container_nest();
        return r;
}

int main(int argc, char *argv[]) {
        int r;

        if (parse_argv(argc, argv) < 0)
                return EXIT_FAILURE;

        r = set_up();
        if (r < 0) {
                fprintf(stderr, "Failed to set the target up: %s\n", strerror(-r));
                return EXIT_FAILURE;
        }

        printf("ok\n");
        if (fflush(stdout) < 0)
                return EXIT_FAILURE;

        return serve() < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
