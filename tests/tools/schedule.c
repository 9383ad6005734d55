/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Makes calls of the scheduling family exactly as told and prints what each returned and what is then in
 * force. Run once where calls are intercepted and once where they aren't, it shows any difference; so nothing
 * that it prints depends on a process id. The same source built with -m32 tests the other architecture. */

#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/sched.h>
#include <unistd.h>

#include "caller.h"

#define WORDS_MAX 32

typedef struct Attr {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
        uint32_t util_min, util_max;
} Attr;

static pid_t child, other, gone;
static volatile pid_t thread_id;
static pthread_t thread;

static void usage(FILE *stream) {
        fputs("Usage: schedule [OPTION]… CALL ARGUMENT… [, CALL ARGUMENT…]…\n"
              "       schedule race N GOOD BAD       sched_setscheduler FIFO, the priority in memory flips\n"
              "       schedule race-attr N GOOD BAD  the same with sched_setattr, of which GOOD is FIFO and\n"
              "                                      BAD deadline if it's 0\n"
              "       schedule hold N [COMMAND…]     be the process of this number and sleep\n\n"
              "  --uid=N --drop=nice --userns --rtprio=N --nice-limit=N --inside-thread --alone (no other "
              "tasks)\n\n"
              "Calls (TASK: 0, self, child, other (of user 4242), thread, gone, init, a number):\n"
              "  setscheduler TASK POLICY PRIORITY|@null|@bad|@cut\n"
              "  setparam TASK PRIORITY|…           pthread TASK POLICY PRIORITY (pthread_setschedparam)\n"
              "  setattr TASK KEY=VALUE… (size, policy, flags, nice, priority, runtime, deadline, period, "
              "min, "
              "max,\n"
              "          tail: bytes behind that aren't 0, at: null, bad, cut, odd, syscall-flags)\n"
              "  setpriority WHICH TASK NICE        ioprio WHICH TASK VALUE\n"
              "  group                              child and other become a process group named child\n",
                        stream);
}

static long number(const char *word) {
        return strtol(word, NULL, 0);
}

static pid_t task(const char *word) {
        if (strcmp(word, "self") == 0)
                return (pid_t) syscall(SYS_gettid);
        if (strcmp(word, "child") == 0)
                return child;
        if (strcmp(word, "other") == 0)
                return other;
        if (strcmp(word, "thread") == 0)
                return thread_id;
        if (strcmp(word, "gone") == 0)
                return gone;
        if (strcmp(word, "init") == 0)
                return 1;
        return (pid_t) number(word);
}

static int policy_number(const char *word) {
        static const char *const names[] = { "other", "fifo", "rr", "batch", "iso", "idle", "deadline" };
        int reset = 0;

        if (word[0] == '+') {
                reset = 0x40000000;
                word++;
        }
        for (int i = 0; i < 7; i++)
                if (strcmp(names[i], word) == 0)
                        return i | reset;
        return (int) number(word) | reset;
}

/* Memory that ends where a page ends and nothing is mapped behind; "skip" bytes of "size" lie behind. */
static void *at_page_end(const void *data, size_t size, size_t skip) {
        size_t page = (size_t) sysconf(_SC_PAGESIZE), whole = (size + page - 1) / page * page;
        char *p = mmap(NULL, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED || munmap(p + whole, page) < 0)
                die("mmap");
        return memcpy(p + whole - (size - skip), data, size - skip);
}

static void *param(const char *word) {
        static int priority;

        if (strcmp(word, "@null") == 0)
                return NULL;
        if (strcmp(word, "@bad") == 0)
                return (void *) (uintptr_t) 8;
        if (strcmp(word, "@cut") == 0) {
                priority = 1;
                return at_page_end(&priority, sizeof(priority), 2);
        }
        priority = (int) number(word);
        return &priority;
}

static bool value_of(const char *word, const char *key, const char **ret) {
        size_t n = strlen(key);

        if (strncmp(word, key, n) != 0 || word[n] != '=')
                return false;
        *ret = word + n + 1;
        return true;
}

static long set_attr(int argc, char **argv) {
        static char block[70000];
        Attr a = { .size = sizeof(a) };
        const char *v, *at = "";
        unsigned syscall_flags = 0, size = sizeof(a);
        void *p = block + 64;
        long r;

        memset(block, 0, sizeof(block));
        for (int i = 2; i < argc; i++) {
                if (value_of(argv[i], "size", &v))
                        a.size = (uint32_t) strtoul(v, NULL, 0);
                else if (value_of(argv[i], "policy", &v))
                        a.policy = (uint32_t) policy_number(v);
                else if (value_of(argv[i], "flags", &v))
                        a.flags = strtoull(v, NULL, 0);
                else if (value_of(argv[i], "nice", &v))
                        a.nice = (int32_t) number(v);
                else if (value_of(argv[i], "priority", &v))
                        a.priority = (uint32_t) strtoul(v, NULL, 0);
                else if (value_of(argv[i], "runtime", &v))
                        a.runtime = strtoull(v, NULL, 0);
                else if (value_of(argv[i], "deadline", &v))
                        a.deadline = strtoull(v, NULL, 0);
                else if (value_of(argv[i], "period", &v))
                        a.period = strtoull(v, NULL, 0);
                else if (value_of(argv[i], "min", &v))
                        a.util_min = (uint32_t) strtoul(v, NULL, 0);
                else if (value_of(argv[i], "max", &v))
                        a.util_max = (uint32_t) strtoul(v, NULL, 0);
                else if (value_of(argv[i], "tail", &v))
                        memset(block + 64 + sizeof(a), 0xff, strtoul(v, NULL, 0));
                else if (value_of(argv[i], "syscall-flags", &v))
                        syscall_flags = (unsigned) strtoul(v, NULL, 0);
                else if (!value_of(argv[i], "at", &at))
                        die(argv[i]);
        }

        if (strcmp(at, "odd") == 0)
                p = block + 65;
        memcpy(p, &a, sizeof(a));
        if (strcmp(at, "null") == 0)
                p = NULL;
        else if (strcmp(at, "bad") == 0)
                p = (void *) (uintptr_t) 8;
        else if (strcmp(at, "cut") == 0)
                p = at_page_end(&a, size, 20);
        else if (strcmp(at, "end") == 0)
                p = at_page_end(&a, size, 0);

        errno = 0;
        r = syscall(SYS_sched_setattr, task(argv[1]), p, syscall_flags);
        if (r < 0 && errno == E2BIG) {
                memcpy(&a.size, p, 4);
                printf("  the kernel knows %u bytes\n", a.size);
                errno = E2BIG;
        }
        return r;
}

static void show(const char *name, pid_t tid) {
        Attr a = {};
        long r;

        if (tid == 0)
                return;
        if (syscall(SYS_sched_getattr, tid, &a, sizeof(a), 0) < 0) {
                printf("  %s: %s\n", name, strerrorname_np(errno));
                return;
        }
        printf("  %s: policy %u, priority %u, flags %llu", name, a.policy, a.priority,
                        (unsigned long long) a.flags);
        if (a.policy == 6)
                printf(", %llu %llu %llu", (unsigned long long) a.runtime, (unsigned long long) a.deadline,
                                (unsigned long long) a.period);
        r = syscall(SYS_getpriority, PRIO_PROCESS, tid);
        printf(", nice %ld", 20 - r);
        r = syscall(SYS_ioprio_get, 1, tid);
        printf(", I/O %ld:%ld\n", r >> 13, r & 0x1fff);
}

static const char *error_name(int error) {
        const char *name = error == 0 ? "OK" : strerrorname_np(error);

        return name ? name : "?";
}

static void need(int argc, char **argv, int n) {
        if (argc == n + 1)
                return;
        fprintf(stderr, "schedule: %s takes %d arguments\n", argv[0], n);
        exit(125);
}

static void perform(int argc, char **argv) {
        const char *name = argv[0];
        long r = -1;

        errno = 0;
        if (strcmp(name, "setscheduler") == 0) {
                need(argc, argv, 3);
                r = syscall(SYS_sched_setscheduler, task(argv[1]), policy_number(argv[2]), param(argv[3]));
        } else if (strcmp(name, "setparam") == 0) {
                need(argc, argv, 2);
                r = syscall(SYS_sched_setparam, task(argv[1]), param(argv[2]));
        } else if (strcmp(name, "setattr") == 0)
                r = set_attr(argc, argv);
        else if (strcmp(name, "pthread") == 0) {
                struct sched_param p;

                need(argc, argv, 3);
                p.sched_priority = (int) number(argv[3]);
                errno = pthread_setschedparam(strcmp(argv[1], "thread") == 0 ? thread : pthread_self(),
                                policy_number(argv[2]), &p);
                r = errno ? -1 : 0;
        } else if (strcmp(name, "setpriority") == 0) {
                need(argc, argv, 3);
                r = syscall(SYS_setpriority, (int) number(argv[1]), task(argv[2]), (int) number(argv[3]));
        } else if (strcmp(name, "ioprio") == 0) {
                need(argc, argv, 3);
                r = syscall(SYS_ioprio_set, (int) number(argv[1]), task(argv[2]), (int) number(argv[3]));
        } else if (strcmp(name, "group") == 0) {
                r = setpgid(child, child);
                if (r == 0)
                        r = setpgid(other, child);
        } else {
                fprintf(stderr, "schedule: no such call: %s\n", name);
                exit(125);
        }
        printf("%s %ld %s\n", name, r, error_name(r < 0 ? errno : 0));
        show("self", (pid_t) syscall(SYS_gettid));
        show("child", child);
        show("other", other);
        show("thread", thread_id);
        fflush(stdout);
}

static pid_t sleeper(uid_t uid) {
        pid_t pid;
        int p[2];
        char c;

        if (pipe(p) < 0)
                die("pipe");
        pid = fork();
        if (pid < 0)
                die("fork");
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (uid != 0 && (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 ||
                                                setresuid(uid, uid, uid) < 0))
                        _exit(1);
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (write(p[1], "x", 1) == 1)
                        for (;;)
                                pause();
                _exit(1);
        }
        close(p[1]);
        if (read(p[0], &c, 1) != 1)
                die("sleeper");
        close(p[0]);
        return pid;
}

static void *sleep_in_thread(void *p) {
        thread_id = (pid_t) syscall(SYS_gettid);
        for (;;)
                pause();
        return NULL;
}

static void start_tasks(bool with_other) {
        child = sleeper(0);
        if (with_other)
                other = sleeper(4242);
        gone = sleeper(0);
        kill(gone, SIGKILL);
        waitpid(gone, NULL, 0);
        if (pthread_create(&thread, NULL, sleep_in_thread, NULL) != 0)
                die("pthread_create");
        while (thread_id == 0)
                usleep(100);
}

static void limit(int resource, const char *word) {
        struct rlimit l = { (rlim_t) number(word), (rlim_t) number(word) };

        if (setrlimit(resource, &l) < 0)
                die("setrlimit");
}

static _Atomic int flipped_priority;
static Attr flipped_attr;
static Attr attrs[2];

static void *flip_priority(void *p) {
        const int *values = p;

        for (unsigned i = 0;; i++)
                atomic_store_explicit(&flipped_priority, values[i & 1], memory_order_relaxed);
        return NULL;
}

static void *flip_attr(void *p) {
        for (unsigned i = 0;; i++) {
                memcpy(&flipped_attr, attrs + (i & 1), sizeof(Attr));
                atomic_signal_fence(memory_order_seq_cst);
        }
        return NULL;
}

/* What's in force must always be what's lent: FIFO of the good priority. */
static int race(bool with_attr, unsigned n, int good, int bad) {
        int values[2] = { good, bad }, zero = 0;
        unsigned ok = 0, refused = 0, escaped = 0;
        pthread_t flipper;

        attrs[0] = (Attr){ .size = sizeof(Attr), .policy = 1, .priority = (uint32_t) good };
        attrs[1] = bad > 0 ? (Attr){ .size = sizeof(Attr), .policy = 1, .priority = (uint32_t) bad }
                           : (Attr){ .size = sizeof(Attr),
                                     .policy = 6,
                                     .runtime = 500000000,
                                     .deadline = 1000000000,
                                     .period = 1000000000 };
        flipped_attr = attrs[0];
        atomic_store(&flipped_priority, good);
        if (pthread_create(&flipper, NULL, with_attr ? flip_attr : flip_priority, values) != 0)
                die("pthread_create");

        /* On a busy machine the other thread may not run for long: go on until both were seen. */
        for (unsigned i = 0; i < n || ((ok == 0 || refused == 0) && i < 30 * n); i++) {
                Attr now = {};
                long r = with_attr ? syscall(SYS_sched_setattr, 0, &flipped_attr, 0)
                                   : syscall(SYS_sched_setscheduler, 0, 1, &flipped_priority);

                if (r < 0) {
                        refused++;
                        continue;
                }
                ok++;
                if (syscall(SYS_sched_getattr, 0, &now, sizeof(now), 0) < 0 || now.policy != 1 ||
                                (int) now.priority != good) {
                        escaped++;
                        fprintf(stderr, "policy %u, priority %u, flags %llu, %llu/%llu\n", now.policy,
                                        now.priority, (unsigned long long) now.flags,
                                        (unsigned long long) now.runtime, (unsigned long long) now.period);
                }
                if (syscall(SYS_sched_setscheduler, 0, 0, &zero) < 0)
                        die("sched_setscheduler");
        }
        printf("OK %u\nrefused %u\nescaped %u\n", ok, refused, escaped);
        return 0;
}

static int hold(pid_t pid, char **argv) {
        struct clone_args args = { .exit_signal = SIGCHLD, .set_tid = (uintptr_t) &pid, .set_tid_size = 1 };
        long r = syscall(SYS_clone3, &args, sizeof(args));

        if (r < 0)
                die("clone3");
        if (r == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (argv[0])
                        execvp(argv[0], argv);
                for (;;)
                        pause();
        }
        puts("holding");
        fflush(stdout);
        waitpid((pid_t) r, NULL, 0);
        return 0;
}

static void *perform_in_thread(void *p) {
        for_each_call(p, perform);
        return NULL;
}

int main(int argc, char *argv[]) {
        static const struct option options[] = { { "uid", required_argument, NULL, 'u' },
                { "drop", required_argument, NULL, 'd' }, { "userns", no_argument, NULL, 'n' },
                { "rtprio", required_argument, NULL, 'r' }, { "nice-limit", required_argument, NULL, 'l' },
                { "inside-thread", no_argument, NULL, 't' }, { "alone", no_argument, NULL, 'x' },
                { "help", no_argument, NULL, 'h' }, {} };
        bool userns = false, in_thread = false, alone = false;
        const char *drop = NULL;
        uid_t uid = 0;
        int c;

        while ((c = getopt_long(argc, argv, "+", options, NULL)) >= 0)
                switch (c) {
                case 'u':
                        uid = (uid_t) number(optarg);
                        break;
                case 'd':
                        drop = optarg;
                        break;
                case 'n':
                        userns = true;
                        break;
                case 'r':
                        limit(RLIMIT_RTPRIO, optarg);
                        break;
                case 'l':
                        limit(RLIMIT_NICE, optarg);
                        break;
                case 't':
                        in_thread = true;
                        break;
                case 'x':
                        alone = true;
                        break;
                case 'h':
                        usage(stdout);
                        return 0;
                default:
                        usage(stderr);
                        return 125;
                }
        argv += optind;

        if (argv[0] && strcmp(argv[0], "hold") == 0 && argv[1])
                return hold((pid_t) number(argv[1]), argv + 2);

        if (uid == 0 && !userns && !alone)
                start_tasks(true);
        else if (uid != 0 && (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 ||
                                             setresuid(uid, uid, uid) < 0))
                die("setresuid");
        if (drop)
                drop_capabilities(drop);
        if (userns)
                enter_user_namespace();

        if (argv[0] && strncmp(argv[0], "race", 4) == 0 && argv[1] && argv[2] && argv[3])
                return race(argv[0][4] != 0, (unsigned) number(argv[1]), (int) number(argv[2]),
                                (int) number(argv[3]));

        if (in_thread) {
                pthread_t t;

                if (pthread_create(&t, NULL, perform_in_thread, argv) != 0)
                        die("pthread_create");
                pthread_join(t, NULL);
        } else
                for_each_call(argv, perform);
        return 0;
}
