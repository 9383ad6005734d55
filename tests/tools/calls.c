/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Makes system calls exactly as told and prints what each returned, one line per call: "mknod 0 OK" or
 * "mknod -1 EEXIST". Run once where calls are intercepted and once where they aren't, it shows any
 * difference. Calls are made through syscall(2), so that what's tested is the kernel's interface and not a
 * library's idea of it; the same source built with -m32 tests the other architecture. */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "caller.h"

#ifndef CLONE_NEWTIME
#        define CLONE_NEWTIME 0x00000080
#endif

#define VALUE_MAX (256 * 1024)

typedef struct Command {
        int argc;
        char **argv;
} Command;

static void usage(FILE *stream) {
        fputs("Usage: calls [OPTION]… CALL ARGUMENT… [, CALL ARGUMENT…]…\n"
              "Makes system calls and prints what they return.\n\n"
              "  --chroot=DIR --chdir=DIR    change root, working directory first, in this order\n"
              "  --umask=OCTAL --uid=N --gid=N --groups=N,N --fsuid=N --fsgid=N\n"
              "  --drop=NAME[,NAME]          drop capabilities (mknod, sys_admin, dac, all) from the "
              "effective set\n"
              "  --userns                    as root of a new, nested user namespace\n"
              "  --timens                    with a new time namespace for children, 1000000 s ahead\n"
              "  --thread=with|alone         in a thread that isn't the leader, which waits or has exited\n"
              "  --fork                      in a child process\n\n"
              "Calls (TYPE: c b p s f d, DEVICE: MAJOR:MINOR or a number, MODE and FLAGS: numbers):\n"
              "  mknod PATH TYPE MODE DEVICE            mknodat DIR PATH TYPE MODE DEVICE\n"
              "  setxattr|lsetxattr PATH NAME VALUE FLAGS    fsetxattr FILE NAME VALUE FLAGS\n"
              "  removexattr|lremovexattr PATH NAME          fremovexattr FILE NAME\n"
              "  getxattr|lgetxattr PATH NAME SIZE           fgetxattr FILE NAME SIZE\n"
              "  listxattr|llistxattr PATH SIZE              flistxattr FILE SIZE\n"
              "  mount SOURCE TARGET TYPE FLAGS DATA         umount TARGET\n"
              "  sysinfo WHERE                          here; @null, @bad; @readonly; @cut:N (N bytes are "
              "writable);\n"
              "                                         @secret (memfd_secret)\n"
              "  rmcwd                                  remove the working directory\n"
              "DIR is \"cwd\", a number, or a path to open; FILE is a number or \"r:PATH\", \"w:PATH\", "
              "\"p:PATH\" (O_PATH).\n"
              "A string is taken as it is, or: @null, @bad (not mapped), @empty, @long:N (N times 'x'),\n"
              "@end:TEXT (ends with the page), @cut:TEXT (no NUL before the end of the page), @size:N (a "
              "value of N bytes).\n",
                        stream);
}

/* Memory that ends where a page ends and nothing is mapped behind. */
static char *at_page_end(const char *text, size_t size) {
        size_t page = (size_t) sysconf(_SC_PAGESIZE), whole = (size + page - 1) / page * page;
        char *p = mmap(NULL, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED || munmap(p + whole, page) < 0)
                die("mmap");
        return memcpy(p + whole - size, text, size);
}

static char *filled(size_t size) {
        char *p = malloc(size + 1);

        if (!p)
                die("malloc");
        memset(p, 'x', size);
        p[size] = 0;
        return p;
}

/* What a word of the command line stands for; "ret_size" is the size of a value. */
static const char *pointer(const char *word, size_t *ret_size) {
        size_t size = strlen(word);
        const char *p = word;

        if (strcmp(word, "@null") == 0) {
                p = NULL;
                size = 0;
        } else if (strcmp(word, "@bad") == 0) {
                p = (const char *) (uintptr_t) 8;
                size = 1;
        } else if (strcmp(word, "@empty") == 0) {
                p = "";
                size = 0;
        } else if (strncmp(word, "@long:", 6) == 0) {
                size = strtoul(word + 6, NULL, 0);
                p = filled(size);
        } else if (strncmp(word, "@size:", 6) == 0) {
                size = strtoul(word + 6, NULL, 0);
                p = filled(size);
        } else if (strncmp(word, "@end:", 5) == 0) {
                size = strlen(word + 5);
                p = at_page_end(word + 5, size + 1);
        } else if (strncmp(word, "@cut:", 5) == 0) {
                size = strlen(word + 5);
                p = at_page_end(word + 5, size);
        }

        if (ret_size)
                *ret_size = size;
        return p;
}

static long number(const char *word) {
        return strtol(word, NULL, 0);
}

static int descriptor(const char *word) {
        int flags, fd;

        if (strcmp(word, "cwd") == 0)
                return AT_FDCWD;
        if (word[0] == '-' || (word[0] >= '0' && word[0] <= '9'))
                return (int) number(word);
        if (strncmp(word, "r:", 2) == 0)
                flags = O_RDONLY | O_NONBLOCK;
        else if (strncmp(word, "w:", 2) == 0)
                flags = O_WRONLY | O_NONBLOCK;
        else
                flags = O_PATH | O_NOFOLLOW;
        if (word[0] && word[1] == ':')
                word += 2;
        fd = open(word, flags | O_CLOEXEC);
        if (fd < 0)
                die(word);
        return fd;
}

static unsigned long type_and_mode(const char *type, const char *mode) {
        static const struct {
                char letter;
                mode_t type;
        } types[] = {
                { 'c', S_IFCHR },
                { 'b', S_IFBLK },
                { 'p', S_IFIFO },
                { 's', S_IFSOCK },
                { 'f', S_IFREG },
                { 'd', S_IFDIR },
                { '0', 0 },
                { 'l', S_IFLNK },
        };

        for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
                if (types[i].letter == type[0])
                        return types[i].type | (mode_t) strtoul(mode, NULL, 8);
        fprintf(stderr, "calls: no such type: %s\n", type);
        exit(125);
}

/* As the kernel's new_encode_dev(): what a process passes to mknod. */
static unsigned long device(const char *word) {
        unsigned major_, minor_;

        if (sscanf(word, "%u:%u", &major_, &minor_) == 2)
                return (minor_ & 0xff) | (major_ << 8) | ((minor_ & ~0xffU) << 12);
        return strtoul(word, NULL, 0);
}

static const char *error_name(int error) {
        const char *name = error == 0 ? "OK" : strerrorname_np(error);

        return name ? name : "?";
}

static void need(const Command *c, int n) {
        if (c->argc == n + 1)
                return;
        fprintf(stderr, "calls: %s takes %d arguments\n", c->argv[0], n);
        exit(125);
}

static void report(const char *name, long r, int error) {
        printf("%s %ld %s\n", name, r, error_name(r < 0 ? error : 0));
}

static long set_attribute(const Command *c) {
        size_t size;
        const char *value = pointer(c->argv[3], &size), *name = pointer(c->argv[2], NULL);
        int flags = (int) number(c->argv[4]);

        /* "@null:N" can't be written: a null pointer with a size is what "@bad" is for. */
        if (c->argv[0][0] == 'f')
                return syscall(SYS_fsetxattr, descriptor(c->argv[1]), name, value, size, flags);
        return syscall(c->argv[0][0] == 'l' ? SYS_lsetxattr : SYS_setxattr, pointer(c->argv[1], NULL), name,
                        value, size, flags);
}

static long remove_attribute(const Command *c) {
        const char *name = pointer(c->argv[2], NULL);

        if (c->argv[0][0] == 'f')
                return syscall(SYS_fremovexattr, descriptor(c->argv[1]), name);
        return syscall(c->argv[0][0] == 'l' && c->argv[0][1] == 'r' ? SYS_lremovexattr : SYS_removexattr,
                        pointer(c->argv[1], NULL), name);
}

static long get_attribute(const Command *c, char *buffer) {
        const char *name = pointer(c->argv[2], NULL);
        size_t size = strtoul(c->argv[3], NULL, 0);
        char *p = size ? buffer : NULL;

        if (c->argv[0][0] == 'f')
                return syscall(SYS_fgetxattr, descriptor(c->argv[1]), name, p, size);
        return syscall(c->argv[0][0] == 'l' ? SYS_lgetxattr : SYS_getxattr, pointer(c->argv[1], NULL), name,
                        p, size);
}

static long list_attributes(const Command *c, char *buffer) {
        size_t size = strtoul(c->argv[2], NULL, 0);
        char *p = size ? buffer : NULL;

        if (c->argv[0][0] == 'f')
                return syscall(SYS_flistxattr, descriptor(c->argv[1]), p, size);
        return syscall(c->argv[0][1] == 'l' ? SYS_llistxattr : SYS_listxattr, pointer(c->argv[1], NULL), p,
                        size);
}

static void print_value(const char *name, long r, int error, const char *buffer, size_t asked) {
        report(name, r, error);
        if (r <= 0 || asked == 0)
                return;
        printf("  ");
        for (long i = 0; i < r && i < 200; i++)
                putchar(buffer[i] >= ' ' && buffer[i] <= '~' ? buffer[i] : '|');
        putchar('\n');
}

#define SYSINFO_ROOM 256
#define SYSINFO_FILL 0xa5

static void print_sysinfo(const unsigned char *buffer, size_t room) {
        struct sysinfo s;
        size_t size = room;

        while (size > 0 && buffer[size - 1] == SYSINFO_FILL)
                size--;
        printf("  size=%zu", size);
        if (size == sizeof(s)) {
                memcpy(&s, buffer, sizeof(s));
                printf(" uptime=%ld load1=%lu load5=%lu load15=%lu totalram=%lu freeram=%lu sharedram=%lu "
                       "bufferram=%lu "
                       "totalswap=%lu freeswap=%lu procs=%u totalhigh=%lu freehigh=%lu mem_unit=%u",
                                s.uptime, s.loads[0], s.loads[1], s.loads[2], s.totalram, s.freeram,
                                s.sharedram, s.bufferram, s.totalswap, s.freeswap, s.procs, s.totalhigh,
                                s.freehigh, s.mem_unit);
        }
        putchar('\n');
}

#ifndef SYS_memfd_secret
#        define SYS_memfd_secret 447 /* the same everywhere */
#endif

/* Memory that nobody else can get at, not even a debugger. */
static int secret_memory(size_t size) {
        int fd = (int) syscall(SYS_memfd_secret, 0);

        if (fd < 0 || ftruncate(fd, (off_t) size) < 0)
                die("memfd_secret");
        return fd;
}

/* Into memory that's filled before, so that what was written shows. */
static void get_sysinfo(const char *where) {
        size_t page = (size_t) sysconf(_SC_PAGESIZE), room = SYSINFO_ROOM;
        unsigned char *p = (unsigned char *) 8;
        bool can_be_read = strcmp(where, "@null") != 0 && strcmp(where, "@bad") != 0;
        long r;

        if (strcmp(where, "@null") == 0)
                p = NULL;
        else if (can_be_read) {
                int fd = strcmp(where, "@secret") == 0 ? secret_memory(2 * page) : -1;
                unsigned char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
                                fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);

                if (pages == MAP_FAILED)
                        die("mmap");
                memset(pages, SYSINFO_FILL, 2 * page);
                p = pages;
                if (strncmp(where, "@cut:", 5) == 0) {
                        p = pages + page - strtoul(where + 5, NULL, 0);
                        if (mprotect(pages + page, page, PROT_READ) < 0)
                                die("mprotect");
                } else if (strcmp(where, "@readonly") == 0 && mprotect(pages, page, PROT_READ) < 0)
                        die("mprotect");
        }

        r = syscall(SYS_sysinfo, p);
        report("sysinfo", r, errno);
        if (can_be_read)
                print_sysinfo(p, room);
}

static void perform(const Command *c) {
        static char buffer[VALUE_MAX];
        const char *name = c->argv[0];
        long r;

        errno = 0;
        if (strcmp(name, "mknod") == 0) {
                need(c, 4);
                r = syscall(SYS_mknod, pointer(c->argv[1], NULL), type_and_mode(c->argv[2], c->argv[3]),
                                device(c->argv[4]));
        } else if (strcmp(name, "mknodat") == 0) {
                need(c, 5);
                r = syscall(SYS_mknodat, descriptor(c->argv[1]), pointer(c->argv[2], NULL),
                                type_and_mode(c->argv[3], c->argv[4]), device(c->argv[5]));
        } else if (strcmp(name, "setxattr") == 0 || strcmp(name, "lsetxattr") == 0 ||
                        strcmp(name, "fsetxattr") == 0) {
                need(c, 4);
                r = set_attribute(c);
        } else if (strcmp(name, "removexattr") == 0 || strcmp(name, "lremovexattr") == 0 ||
                        strcmp(name, "fremovexattr") == 0) {
                need(c, 2);
                r = remove_attribute(c);
        } else if (strcmp(name, "getxattr") == 0 || strcmp(name, "lgetxattr") == 0 ||
                        strcmp(name, "fgetxattr") == 0) {
                need(c, 3);
                r = get_attribute(c, buffer);
                print_value(name, r, errno, buffer, strtoul(c->argv[3], NULL, 0));
                return;
        } else if (strcmp(name, "listxattr") == 0 || strcmp(name, "llistxattr") == 0 ||
                        strcmp(name, "flistxattr") == 0) {
                need(c, 2);
                r = list_attributes(c, buffer);
                print_value(name, r, errno, buffer, strtoul(c->argv[2], NULL, 0));
                return;
        } else if (strcmp(name, "mount") == 0) {
                need(c, 5);
                r = syscall(SYS_mount, pointer(c->argv[1], NULL), pointer(c->argv[2], NULL),
                                pointer(c->argv[3], NULL), strtoul(c->argv[4], NULL, 0),
                                pointer(c->argv[5], NULL));
        } else if (strcmp(name, "umount") == 0) {
                need(c, 1);
                r = syscall(SYS_umount2, pointer(c->argv[1], NULL), 0);
        } else if (strcmp(name, "sysinfo") == 0) {
                need(c, 1);
                get_sysinfo(c->argv[1]);
                return;
        } else if (strcmp(name, "rmcwd") == 0) {
                char cwd[4096];

                r = getcwd(cwd, sizeof(cwd)) && rmdir(cwd) == 0 ? 0 : -1;
        } else {
                fprintf(stderr, "calls: no such call: %s\n", name);
                exit(125);
        }
        report(name, r, errno);
}

static void perform_words(int argc, char **argv) {
        Command c = { .argc = argc, .argv = argv };

        perform(&c);
}

static void perform_all(char **argv) {
        for_each_call(argv, perform_words);
        fflush(stdout);
}

static void make_timens(void) {
        if (unshare(CLONE_NEWTIME) < 0)
                die("unshare");
        write_file("/proc/self/timens_offsets", "boottime 1000000 0\n");
}

static void set_groups(char *list) {
        gid_t groups[64];
        size_t n = 0;

        for (char *word = strtok(list, ","); word && n < 64; word = strtok(NULL, ","))
                groups[n++] = (gid_t) number(word);
        if (setgroups(n, groups) < 0)
                die("setgroups");
}

typedef struct ThreadJob {
        char **argv;
        pthread_t leader;
        bool alone;
} ThreadJob;

static void *thread_main(void *p) {
        ThreadJob *job = p;

        if (job->alone) {
                pthread_join(job->leader, NULL);
                usleep(20000); /* the leader's task becomes a zombie a moment later */
        }
        perform_all(job->argv);
        if (job->alone)
                exit(0);
        return NULL;
}

static void perform_in_thread(char **argv, bool alone) {
        static ThreadJob job;
        pthread_t thread;

        job = (ThreadJob){ .argv = argv, .leader = pthread_self(), .alone = alone };
        errno = pthread_create(&thread, NULL, thread_main, &job);
        if (errno)
                die("pthread_create");
        if (alone)
                pthread_exit(NULL);
        pthread_join(thread, NULL);
}

int main(int argc, char *argv[]) {
        enum {
                CHROOT = 256,
                CHDIR,
                UMASK,
                UID,
                GID,
                GROUPS,
                FSUID,
                FSGID,
                DROP,
                USERNS,
                TIMENS,
                THREAD,
                FORK,
                HELP
        };
        static const struct option options[] = { { "chroot", required_argument, NULL, CHROOT },
                { "chdir", required_argument, NULL, CHDIR }, { "umask", required_argument, NULL, UMASK },
                { "uid", required_argument, NULL, UID }, { "gid", required_argument, NULL, GID },
                { "groups", required_argument, NULL, GROUPS }, { "fsuid", required_argument, NULL, FSUID },
                { "fsgid", required_argument, NULL, FSGID }, { "drop", required_argument, NULL, DROP },
                { "userns", no_argument, NULL, USERNS }, { "timens", no_argument, NULL, TIMENS },
                { "thread", required_argument, NULL, THREAD }, { "fork", no_argument, NULL, FORK },
                { "help", no_argument, NULL, HELP }, {} };
        const char *thread = NULL;
        int c;

        umask(0);
        /* Options apply in the order in which they stand. */
        while ((c = getopt_long(argc, argv, "+", options, NULL)) >= 0)
                switch (c) {
                case CHROOT:
                        if (chroot(optarg) < 0 || chdir("/") < 0)
                                die(optarg);
                        break;
                case CHDIR:
                        if (chdir(optarg) < 0)
                                die(optarg);
                        break;
                case UMASK:
                        umask((mode_t) strtoul(optarg, NULL, 8));
                        break;
                case UID:
                        if (setresuid((uid_t) number(optarg), (uid_t) number(optarg),
                                            (uid_t) number(optarg)) < 0)
                                die("setresuid");
                        break;
                case GID:
                        if (setresgid((gid_t) number(optarg), (gid_t) number(optarg),
                                            (gid_t) number(optarg)) < 0)
                                die("setresgid");
                        break;
                case GROUPS:
                        set_groups(optarg);
                        break;
                case FSUID:
                        setfsuid((uid_t) number(optarg));
                        break;
                case FSGID:
                        setfsgid((gid_t) number(optarg));
                        break;
                case DROP:
                        drop_capabilities(optarg);
                        break;
                case USERNS:
                        enter_user_namespace();
                        break;
                case TIMENS:
                        make_timens();
                        break;
                case THREAD:
                        thread = optarg;
                        break;
                case FORK: {
                        pid_t pid = fork();
                        int status;

                        if (pid > 0)
                                return waitpid(pid, &status, 0) == pid && WIFEXITED(status)
                                                       ? WEXITSTATUS(status)
                                                       : 125;
                        break;
                }
                case HELP:
                        usage(stdout);
                        return 0;
                default:
                        usage(stderr);
                        return 125;
                }

        if (optind >= argc) {
                usage(stderr);
                return 125;
        }
        if (thread)
                perform_in_thread(argv + optind, strcmp(thread, "alone") == 0);
        else
                perform_all(argv + optind);
        return 0;
}
