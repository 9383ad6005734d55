/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Threads that make and remove device nodes for some seconds and check that each call was made once and once
 * only: every mknod(2) returns 0, the node is there with its type, number and mode, every unlink(2) returns
 * 0, no name is ever used twice, and at the end the directory is empty (a call made a second time, or after
 * its answer, leaves a node behind). Signals may rain on the threads meanwhile. Prints one JSON object. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 64

typedef struct Worker {
        pthread_t thread;
        unsigned index;
        _Atomic pid_t tid;
        uint64_t calls, ok, eexist, eintr, eperm, enosys, other, wrong_node, unlink_failed,
                        acted_though_failed;
        int last_error;
        uint64_t max_nsec;
} Worker;

static Worker workers[THREADS_MAX];
static unsigned n_threads = 4;
static double seconds = 5;
static const char *directory = ".";
static unsigned dev_major = 1, dev_minor = 3;
static atomic_bool stop;
static _Atomic uint64_t n_signals;

static uint64_t now(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000000000ULL + (uint64_t) ts.tv_nsec;
}

static void on_signal(int sig) {
        atomic_fetch_add(&n_signals, 1);
}

static void count_error(Worker *w, int error) {
        w->last_error = error;
        switch (error) {
        case EEXIST:
                w->eexist++;
                break;
        case EINTR:
                w->eintr++;
                break;
        case EPERM:
                w->eperm++;
                break;
        case ENOSYS:
                w->enosys++;
                break;
        default:
                w->other++;
        }
}

/* One node's life. */
static void round_trip(Worker *w, uint64_t n) {
        char path[4096];
        struct stat st;
        uint64_t begin, took;
        int r;

        snprintf(path, sizeof(path), "%s/%u-%llu", directory, w->index, (unsigned long long) n);
        begin = now();
        r = (int) syscall(SYS_mknodat, AT_FDCWD, path, S_IFCHR | 0640, makedev(dev_major, dev_minor));
        took = now() - begin;
        w->calls++;
        if (took > w->max_nsec)
                w->max_nsec = took;

        if (r < 0) {
                count_error(w, errno);
                if (lstat(path, &st) == 0) {
                        w->acted_though_failed++;
                        unlink(path);
                }
                return;
        }
        w->ok++;
        if (lstat(path, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(dev_major, dev_minor) ||
                        (st.st_mode & 07777) != 0640)
                w->wrong_node++;
        if (unlink(path) < 0)
                w->unlink_failed++;
}

static void *work(void *p) {
        Worker *w = p;

        atomic_store(&w->tid, (pid_t) syscall(SYS_gettid));
        for (uint64_t n = 0; !atomic_load(&stop); n++)
                round_trip(w, n);
        return NULL;
}

/* A child sends the signals, so that they come from outside, as fast as it can. */
static pid_t rain(void) {
        pid_t target = getpid(), pid = fork();

        if (pid != 0)
                return pid;
        for (unsigned i = 0;; i++) {
                pid_t tid = atomic_load(&workers[i % n_threads].tid);

                if (syscall(SYS_tgkill, target, tid, i & 1 ? SIGURG : SIGALRM) < 0)
                        _exit(0);
                if (i % 8 == 0)
                        nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
        }
}

static uint64_t leftovers(void) {
        DIR *d = opendir(directory);
        uint64_t n = 0;

        for (struct dirent *entry; d && (entry = readdir(d));)
                n += entry->d_name[0] != '.';
        if (d)
                closedir(d);
        return n;
}

static uint64_t print_result(uint64_t left) {
        Worker sum = {};

        for (unsigned i = 0; i < n_threads; i++) {
                Worker *w = &workers[i];

                sum.calls += w->calls;
                sum.ok += w->ok;
                sum.eexist += w->eexist;
                sum.eintr += w->eintr;
                sum.eperm += w->eperm;
                sum.enosys += w->enosys;
                sum.other += w->other;
                sum.wrong_node += w->wrong_node;
                sum.unlink_failed += w->unlink_failed;
                sum.acted_though_failed += w->acted_though_failed;
                if (w->last_error)
                        sum.last_error = w->last_error;
                if (w->max_nsec > sum.max_nsec)
                        sum.max_nsec = w->max_nsec;
        }
        printf("{\"calls\": %llu, \"ok\": %llu, \"eexist\": %llu, \"eintr\": %llu, \"eperm\": %llu, "
               "\"enosys\": %llu, \"other\": %llu, "
               "\"wrong_node\": %llu, \"unlink_failed\": %llu, \"acted_though_failed\": %llu, \"leftovers\": "
               "%llu, \"signals\": %llu, "
               "\"last_error\": \"%s\", \"max_usec\": %llu}\n",
                        (unsigned long long) sum.calls, (unsigned long long) sum.ok,
                        (unsigned long long) sum.eexist, (unsigned long long) sum.eintr,
                        (unsigned long long) sum.eperm, (unsigned long long) sum.enosys,
                        (unsigned long long) sum.other, (unsigned long long) sum.wrong_node,
                        (unsigned long long) sum.unlink_failed, (unsigned long long) sum.acted_though_failed,
                        (unsigned long long) left, (unsigned long long) atomic_load(&n_signals),
                        sum.last_error ? strerrorname_np(sum.last_error) : "",
                        (unsigned long long) sum.max_nsec / 1000);
        return sum.calls - sum.ok + sum.wrong_node + sum.unlink_failed + left;
}

int main(int argc, char *argv[]) {
        static const struct option options[] = { { "seconds", required_argument, NULL, 's' },
                { "threads", required_argument, NULL, 't' }, { "dir", required_argument, NULL, 'd' },
                { "device", required_argument, NULL, 'D' }, { "signals", no_argument, NULL, 'S' },
                { "no-restart", no_argument, NULL, 'N' }, { "help", no_argument, NULL, 'h' }, {} };
        struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
        bool signals = false;
        pid_t sender = -1;
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (c) {
                case 's':
                        seconds = atof(optarg);
                        break;
                case 't':
                        n_threads = (unsigned) atoi(optarg);
                        break;
                case 'd':
                        directory = optarg;
                        break;
                case 'D':
                        if (sscanf(optarg, "%u:%u", &dev_major, &dev_minor) != 2)
                                return 125;
                        break;
                case 'S':
                        signals = true;
                        break;
                case 'N':
                        action.sa_flags = 0;
                        break;
                case 'h':
                        puts("Usage: storm [--seconds=N] [--threads=N] [--dir=EMPTY-DIRECTORY] "
                             "[--device=MAJOR:MINOR] [--signals] [--no-restart]\n"
                             "Threads loop over mknod and unlink and check that each call is made exactly "
                             "once. Prints JSON; exit status 1\n"
                             "if any call failed. --signals: SIGURG and SIGALRM rain on the threads "
                             "(handlers with SA_RESTART, or without).");
                        return 0;
                default:
                        return 125;
                }
        if (n_threads == 0 || n_threads > THREADS_MAX)
                return 125;

        sigaction(SIGURG, &action, NULL);
        sigaction(SIGALRM, &action, NULL);
        for (unsigned i = 0; i < n_threads; i++) {
                workers[i].index = i;
                if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
                        return 125;
                while (!atomic_load(&workers[i].tid))
                        usleep(1000);
        }
        if (signals)
                sender = rain();
        for (uint64_t end = now() + (uint64_t) (seconds * 1e9); now() < end;)
                usleep(20000);
        atomic_store(&stop, true);
        if (sender > 0) {
                kill(sender, SIGKILL);
                waitpid(sender, NULL, 0);
        }
        for (unsigned i = 0; i < n_threads; i++)
                pthread_join(workers[i].thread, NULL);
        usleep(200000); /* what's done too late shows now */
        return print_result(leftovers()) > 0;
}
