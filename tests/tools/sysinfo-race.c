/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* sysinfo(2) under attack: the memory that the answer goes to changes while the call is served, or becomes
 * another program's. Prints how often each result came; "broken" counts what mustn't happen. */

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE        4096u
#define PATTERN     0x5a
#define THREADS_MAX 64u

static atomic_bool stop;
static atomic_uint n_ok, n_fault, n_other, n_broken;

/* At the same address in each process of this program, as it isn't relocated. */
static unsigned char victim[PAGE] __attribute__((aligned(PAGE))) = { PATTERN };

static void die(const char *what) {
        fprintf(stderr, "sysinfo-race: %s: %s\n", what, strerror(errno));
        exit(125);
}

static long ask(void *p) {
        long r = syscall(SYS_sysinfo, p);

        if (r == 0)
                atomic_fetch_add(&n_ok, 1);
        else if (errno == EFAULT)
                atomic_fetch_add(&n_fault, 1);
        else
                atomic_fetch_add(&n_other, 1);
        return r;
}

static void start(pthread_t *ret, void *(*func)(void *), void *data) {
        errno = pthread_create(ret, NULL, func, data);
        if (errno)
                die("pthread_create");
}

static void *page;

/* Takes the memory away, gives it back, write-protects it. */
static void *unmap_and_map(void *p) {
        while (!atomic_load(&stop)) {
                munmap(page, PAGE);
                mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
                mprotect(page, PAGE, PROT_READ);
                mprotect(page, PAGE, PROT_READ | PROT_WRITE);
        }
        return NULL;
}

static int file_fd;

/* Puts a file that's mapped shared, without write permission, in the place of the memory. */
static void *map_file(void *p) {
        while (!atomic_load(&stop)) {
                mmap(page, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, file_fd, 0);
                mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        }
        return NULL;
}

static void change_memory(void *(*attacker)(void *), unsigned n) {
        pthread_t thread;

        page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED)
                die("mmap");
        start(&thread, attacker, NULL);
        for (unsigned i = 0; i < n; i++)
                ask(page);
        atomic_store(&stop, true);
        pthread_join(thread, NULL);
}

static void protect_file(unsigned n) {
        char path[] = "/tmp/sysinfo-race-XXXXXX";
        unsigned char content[PAGE];
        int writing = mkstemp(path);

        memset(content, PATTERN, sizeof(content));
        file_fd = open(path, O_RDWR | O_CLOEXEC);
        if (writing < 0 || file_fd < 0 || write(writing, content, sizeof(content)) != PAGE)
                die(path);
        change_memory(map_file, n);
        if (pread(writing, content, sizeof(content), 0) != PAGE)
                die(path);
        for (unsigned i = 0; i < PAGE; i++)
                if (content[i] != PATTERN)
                        atomic_store(&n_broken, 1);
        unlink(path);
}

static int fault_fd;

/* Fills pages some time after somebody wanted them. */
static void *fill_late(void *p) {
        struct uffd_msg message;

        while (read(fault_fd, &message, sizeof(message)) == sizeof(message)) {
                struct uffdio_zeropage zero = {
                        .range = { message.arg.pagefault.address & ~(uint64_t) (PAGE - 1), PAGE }
                };

                usleep(20000);
                ioctl(fault_fd, UFFDIO_ZEROPAGE, &zero);
        }
        return NULL;
}

/* Memory that userfaultfd(2) fills: the caller waits for it, and gets its answer. */
static void late_memory(unsigned n) {
        struct uffdio_api api = { .api = UFFD_API };
        pthread_t thread;

        fault_fd = (int) syscall(SYS_userfaultfd, O_CLOEXEC);
        if (fault_fd < 0 || ioctl(fault_fd, UFFDIO_API, &api) < 0)
                die("userfaultfd");
        start(&thread, fill_late, NULL);
        for (unsigned i = 0; i < n; i++) {
                struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
                struct sysinfo *p =
                                mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

                if (p == MAP_FAILED)
                        die("mmap");
                range.range.start = (uintptr_t) p;
                range.range.len = PAGE;
                if (ioctl(fault_fd, UFFDIO_REGISTER, &range) < 0)
                        die("UFFDIO_REGISTER");
                if (ask(p) == 0 && p->totalram == 0)
                        atomic_fetch_add(&n_broken, 1);
        }
}

static void *ask_often(void *data) {
        unsigned n = *(unsigned *) data;

        for (unsigned i = 0; i < n; i++) {
                struct sysinfo s;

                memset(&s, 0xff, sizeof(s));
                if (ask(&s) == 0 && (s.freeram > s.totalram || s.freeswap > s.totalswap || s.procs == 0 ||
                                                    s.mem_unit == 0 || s.mem_unit > PAGE))
                        atomic_fetch_add(&n_broken, 1);
        }
        return NULL;
}

static void many_threads(unsigned n, unsigned n_threads) {
        pthread_t threads[THREADS_MAX];

        if (n_threads > THREADS_MAX)
                n_threads = THREADS_MAX;
        for (unsigned i = 0; i < n_threads; i++)
                start(&threads[i], ask_often, &n);
        for (unsigned i = 0; i < n_threads; i++)
                pthread_join(threads[i], NULL);
}

/* The victim: has nobody written to its memory? */
static int watch(useconds_t usec) {
        for (unsigned i = 0; i < PAGE; i++)
                victim[i] = PATTERN;
        usleep(usec);
        for (unsigned i = 0; i < PAGE; i++)
                if (victim[i] != PATTERN)
                        return 1;
        return 0;
}

static void become_user(void) {
        if (setresgid(1000, 1000, 1000) < 0 || setresuid(1000, 1000, 1000) < 0)
                _exit(125);
}

static const char *program;

static void *become_program(void *p) {
        usleep((useconds_t) (rand() % 500));
        execl(program, program, "victim", "5000", NULL);
        _exit(125);
}

static void count_victim(pid_t pid) {
        int status;

        if (waitpid(pid, &status, 0) != pid)
                die("waitpid");
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                atomic_fetch_add(&n_ok, 1);
        else if (WIFEXITED(status) && WEXITSTATUS(status) == 1)
                atomic_fetch_add(&n_broken, 1);
        else
                atomic_fetch_add(&n_other, 1);
}

/* A sibling thread executes a set-user-ID program, which takes the id of the thread that is in its call. */
static void exec_race(unsigned n) {
        for (unsigned i = 0; i < n; i++) {
                pid_t pid = fork();

                if (pid == 0) {
                        pthread_t thread;

                        srand((unsigned) getpid());
                        become_user();
                        start(&thread, become_program, NULL);
                        for (;;)
                                syscall(SYS_sysinfo, victim);
                }
                count_victim(pid);
        }
}

/* The caller is killed in its call and its id given to another process at once. */
static void pid_race(unsigned n) {
        for (unsigned i = 0; i < n; i++) {
                struct clone_args arguments = { .exit_signal = SIGCHLD, .set_tid_size = 1 };
                pid_t pid = fork(), again;

                if (pid == 0) {
                        become_user();
                        for (;;)
                                syscall(SYS_sysinfo, victim);
                }
                usleep((useconds_t) (rand() % 300));
                kill(pid, SIGKILL);
                waitpid(pid, NULL, 0);

                arguments.set_tid = (uint64_t) (uintptr_t) &pid;
                again = (pid_t) syscall(SYS_clone3, &arguments, sizeof(arguments));
                if (again == 0)
                        _exit(watch(2000));
                if (again < 0)
                        die("clone3");
                count_victim(again);
        }
}

int main(int argc, char *argv[]) {
        unsigned n;

        if (argc < 3) {
                puts("Usage: sysinfo-race unmap|file|late|threads|exec|pid N [ARGUMENT]\n"
                     "  unmap    the memory is unmapped, mapped and write-protected meanwhile\n"
                     "  file     a file that can't be written to takes its place; broken if the file "
                     "changes\n"
                     "  late     userfaultfd(2) makes the memory, after a while; broken if there's no answer "
                     "in it\n"
                     "  threads  ARGUMENT threads ask N times each; broken if an answer makes no sense\n"
                     "  exec     uid 1000 asks while a sibling thread executes ARGUMENT, a set-user-ID copy "
                     "of "
                     "this program;\n"
                     "           broken if that one's memory changes\n"
                     "  pid      uid 1000 asks, is killed, and its id is reused; likewise");
                return argc == 2 && strcmp(argv[1], "--help") == 0 ? 0 : 125;
        }
        n = (unsigned) atoi(argv[2]);

        if (strcmp(argv[1], "victim") == 0)
                return watch(n);
        if (strcmp(argv[1], "unmap") == 0)
                change_memory(unmap_and_map, n);
        else if (strcmp(argv[1], "file") == 0)
                protect_file(n);
        else if (strcmp(argv[1], "late") == 0)
                late_memory(n);
        else if (strcmp(argv[1], "threads") == 0 && argc > 3)
                many_threads(n, (unsigned) atoi(argv[3]));
        else if (strcmp(argv[1], "exec") == 0 && argc > 3) {
                program = argv[3];
                exec_race(n);
        } else if (strcmp(argv[1], "pid") == 0)
                pid_race(n);
        else
                return 125;

        printf("OK %u\nEFAULT %u\nother %u\nbroken %u\n", n_ok, n_fault, n_other, n_broken);
        return 0;
}
