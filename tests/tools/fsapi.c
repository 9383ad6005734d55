/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Makes the calls of the new mount interface, step by step as told, and prints what each returned: "create
 * OK", "flag EINVAL". Run once in a container and once as real root on the same image, it shows any
 * difference. Calls are made through syscall(2); the same source built with -m32 tests the other
 * architecture. */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define CREATE_EXCLUSIVE 8

static const char usage[] =
                "Usage: fsapi [OPTION]… STEP…\n"
                "  --thread       in a thread that isn't the leader, as Go programs do\n"
                "  --uid=N        as this user\n"
                "  --drop         without CAP_SYS_ADMIN\n"
                "  --userns       as root of a nested user and mount namespace\n"
                "  --chroot=DIR --chdir=DIR\n"
                "  --repeat=N     the steps, so many times; says so if not as many fail as at first\n"
                "Steps, with numbers in C syntax:\n"
                "  open:TYPE[,FLAGS]  flag:KEY  str:KEY=VALUE  bin:KEY=VALUE  path:KEY=VALUE  fd:KEY=NUMBER\n"
                "  raw:COMMAND,KEY,VALUE,AUX  create  excl  reconf  log  mount[:FLAGS[,ATTRIBUTES]]\n"
                "  move:TARGET[,FLAGS]  movefd:TARGET (by /proc/self/fd)  movedir:TARGET (by a descriptor)  "
                "setattr:SET,CLEAR  clone  pick\n"
                "  dup  dupmount  closectx  closemount  cloexec  fork  pass  ctx:NUMBER  mnt:NUMBER  "
                "forge:TYPE\n"
                "  drop  uid:N  userns  inuserns:STEP (in a child)  many:N (further contexts of ext4)\n"
                "  statfs:PATH  stat:PATH  statmount  read:PATH  touch:PATH  mknod:PATH  device:PATH\n"
                "  mkdir:PATH  umount:PATH[,FLAGS]  remount:PATH,FLAGS  sleep:MSEC  pause  chroot:PATH  "
                "chdir:PATH  symlink:TO,PATH  unlink:PATH  readat:NAME  inuse:DEVICE\n"
                "Words: @null, @bad (not mapped), @long:N (N times x), @cut:TEXT (no NUL before the page "
                "ends)\n"
                "Or: fsapi race-source TYPE LENT OTHER N     the source changes while it's read\n"
                "    fsapi race-dup TYPE SOURCE N            another context takes the number\n";

static int context = -1, mounted = -1;
static bool quiet;
static unsigned n_failed;

static void die(const char *what) {
        fprintf(stderr, "fsapi: %s: %s\n", what, strerror(errno));
        exit(125);
}

/* Where there's no strerrorname_np() for a number, the number. */
static void say(const char *step, long r) {
        int error = errno;

        if (r < 0)
                n_failed++;
        if (quiet)
                return;
        if (r < 0)
                printf("%s %s\n", step, strerrorname_np(error) ?: "?");
        else
                printf("%s OK\n", step);
        fflush(stdout);
}

static char *word(char *text) {
        size_t page = (size_t) sysconf(_SC_PAGESIZE), n;
        char *p;

        if (text && strcmp(text, "@empty") == 0)
                text[0] = 0;
        if (!text || strcmp(text, "@null") == 0)
                return NULL;
        if (strcmp(text, "@bad") == 0)
                return (char *) page;
        if (strncmp(text, "@long:", 6) == 0) {
                n = strtoul(text + 6, NULL, 0);
                p = calloc(1, n + 1);
                return memset(p, 'x', n);
        }
        if (strncmp(text, "@cut:", 5) == 0) {
                n = strlen(text + 5);
                p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                if (p == MAP_FAILED || munmap(p + page, page) < 0)
                        die("mmap");
                return memcpy(p + page - n, text + 5, n);
        }
        return text;
}

static char *split(char *text, char separator) {
        char *p = text ? strchr(text, separator) : NULL;

        if (!p)
                return NULL;
        *p = 0;
        return p + 1;
}

static unsigned number(const char *text, unsigned fallback) {
        return text ? (unsigned) strtoul(text, NULL, 0) : fallback;
}

static long fsconfig_(int fd, unsigned command, const void *key, const void *value, int aux) {
        return syscall(SYS_fsconfig, fd, command, key, value, aux);
}

static void set(const char *step, unsigned command, char *argument) {
        char *value = split(argument, '=');
        int aux = 0;

        if (command == FSCONFIG_SET_BINARY)
                aux = value ? (int) strlen(value) : 0;
        else if (command == FSCONFIG_SET_PATH)
                aux = AT_FDCWD;
        else if (command == FSCONFIG_SET_FD) {
                aux = (int) number(value, 0);
                value = NULL;
        }
        say(step, fsconfig_(context, command, word(argument),
                                  command == FSCONFIG_SET_FLAG ? NULL : word(value), aux));
}

static void show_log(void) {
        char text[1024];
        ssize_t n;

        while ((n = read(context, text, sizeof(text) - 1)) > 0) {
                text[n] = 0;
                printf("log %s%s", text, text[n - 1] == '\n' ? "" : "\n");
        }
}

static void show_statvfs(const char *path) {
        struct statvfs s;

        if (statvfs(path, &s) < 0) {
                say("statfs", -1);
                return;
        }
        if (!quiet)
                printf("statfs%s%s%s%s%s%s%s\n", s.f_flag & ST_RDONLY ? " ro" : " rw",
                                s.f_flag & ST_NOSUID ? " nosuid" : "", s.f_flag & ST_NODEV ? " nodev" : "",
                                s.f_flag & ST_NOEXEC ? " noexec" : "",
                                s.f_flag & ST_NOATIME ? " noatime" : "",
                                s.f_flag & ST_NODIRATIME ? " nodiratime" : "",
                                s.f_flag & ST_RELATIME ? " relatime" : "");
}

static void show_stat(const char *step, int fd, const char *path) {
        struct stat st;

        if (fstatat(fd, path, &st, AT_EMPTY_PATH) < 0)
                say(step, -1);
        else if (!quiet)
                printf("%s %u:%u %o\n", step, st.st_uid, st.st_gid, st.st_mode & 07777);
}

/* Hands both descriptors to a child, which goes on, and closes them here. */
static void pass(void) {
        union {
                struct cmsghdr h;
                char space[CMSG_SPACE(2 * sizeof(int))];
        } control = {};
        int pair[2], fds[2], n = 0, status;
        char byte = 'x';
        struct iovec iov = { &byte, 1 };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control };
        pid_t pid;

        if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
                die("socketpair");

        pid = fork();
        if (pid < 0)
                die("fork");
        if (pid > 0) {
                if (context >= 0)
                        fds[n++] = context;
                if (mounted >= 0)
                        fds[n++] = mounted;
                message.msg_controllen = CMSG_SPACE((size_t) n * sizeof(int));
                control.h = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
                        .cmsg_type = SCM_RIGHTS,
                        .cmsg_len = CMSG_LEN((size_t) n * sizeof(int)) };
                memcpy(CMSG_DATA(&control.h), fds, (size_t) n * sizeof(int));
                if (sendmsg(pair[0], &message, 0) < 0)
                        die("sendmsg");
                close(context);
                close(mounted);
                if (waitpid(pid, &status, 0) < 0)
                        die("waitpid");
                _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 126);
        }

        n = (context >= 0) + (mounted >= 0);
        close(context);
        close(mounted);
        message.msg_controllen = sizeof(control);
        if (recvmsg(pair[1], &message, 0) < 0 || !CMSG_FIRSTHDR(&message))
                die("recvmsg");
        memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&message)), (size_t) n * sizeof(int));
        n = 0;
        if (context >= 0)
                context = fds[n++];
        if (mounted >= 0)
                mounted = fds[n++];
}

static void fork_off(void) {
        pid_t pid = fork();
        int status;

        if (pid < 0)
                die("fork");
        if (pid == 0)
                return;
        if (waitpid(pid, &status, 0) < 0)
                die("waitpid");
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 126);
}

static void drop_sys_admin(void) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2];

        if (syscall(SYS_capget, &header, data) < 0)
                die("capget");
        data[0].effective &= ~(1u << CAP_SYS_ADMIN);
        if (syscall(SYS_capset, &header, data) < 0)
                die("capset");
}

static void write_file(const char *path, const char *text) {
        int fd = open(path, O_WRONLY);

        if (fd < 0 || write(fd, text, strlen(text)) < 0)
                die(path);
        close(fd);
}

static void become(uid_t uid) {
        if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
                die("setresuid");
}

static void enter_userns(void) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
                die("unshare");
        write_file("/proc/self/setgroups", "deny");
        write_file("/proc/self/uid_map", "0 0 1");
        write_file("/proc/self/gid_map", "0 0 1");
}

static void show_cloexec(const char *name, int fd) {
        if (fd >= 0 && !quiet)
                printf("cloexec %s %s\n", name, fcntl(fd, F_GETFD) & FD_CLOEXEC ? "yes" : "no");
}

static int duplicate(int *fd) {
        int n = fcntl(*fd, F_DUPFD, 50);

        if (n < 0)
                return -1;
        close(*fd);
        *fd = n;
        return 0;
}

static void make_mount_step(const char *step, char *argument) {
        unsigned flags = number(argument, FSMOUNT_CLOEXEC), attributes = number(split(argument, ','), 0);

        mounted = (int) syscall(SYS_fsmount, context, flags, attributes);
        say(step, mounted);
}

static void step_config(const char *name, char *argument) {
        static const struct {
                const char *name;
                unsigned command;
        } sets[] = { { "flag", FSCONFIG_SET_FLAG }, { "str", FSCONFIG_SET_STRING },
                { "bin", FSCONFIG_SET_BINARY }, { "path", FSCONFIG_SET_PATH }, { "fd", FSCONFIG_SET_FD } };
        char *key, *value, *aux;

        for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
                if (strcmp(name, sets[i].name) == 0) {
                        set(name, sets[i].command, argument);
                        return;
                }

        if (strcmp(name, "open") == 0) {
                char *flags = split(argument, ',');

                context = (int) syscall(SYS_fsopen, word(argument), number(flags, FSOPEN_CLOEXEC));
                say(name, context);
        } else if (strcmp(name, "create") == 0)
                say(name, fsconfig_(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
        else if (strcmp(name, "excl") == 0)
                say(name, fsconfig_(context, CREATE_EXCLUSIVE, NULL, NULL, 0));
        else if (strcmp(name, "reconf") == 0)
                say(name, fsconfig_(context, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0));
        else if (strcmp(name, "raw") == 0) {
                key = split(argument, ',');
                value = split(key, ',');
                aux = split(value, ',');
                say(name, fsconfig_(context, number(argument, 0), word(key), word(value),
                                          (int) number(aux, 0)));
        } else if (strcmp(name, "log") == 0)
                show_log();
        else if (strcmp(name, "mount") == 0)
                make_mount_step(name, argument);
        else if (strcmp(name, "ctx") == 0)
                context = (int) number(argument, 0);
        else if (strcmp(name, "mnt") == 0)
                mounted = (int) number(argument, 0);
        else if (strcmp(name, "forge") == 0) {
                int other = (int) syscall(SYS_fsopen, argument, 0);

                say(name, other < 0 ? -1 : dup2(other, context));
                close(other);
        } else {
                fprintf(stderr, "fsapi: unknown step %s\n", name);
                exit(2);
        }
}

static bool step_mount(const char *name, char *argument) {
        char path[64];

        if (strcmp(name, "move") == 0) {
                unsigned flags = number(split(argument, ','), 0);

                say(name, syscall(SYS_move_mount, mounted, "", AT_FDCWD, word(argument),
                                          MOVE_MOUNT_F_EMPTY_PATH | flags));
        } else if (strcmp(name, "movefd") == 0) {
                snprintf(path, sizeof(path), "/proc/self/fd/%i", mounted);
                say(name, syscall(SYS_move_mount, AT_FDCWD, path, AT_FDCWD, argument, MOVE_MOUNT_F_SYMLINKS));
        } else if (strcmp(name, "movedir") == 0) {
                int fd = open(argument, O_PATH | O_DIRECTORY | O_CLOEXEC);

                say(name, syscall(SYS_move_mount, mounted, "", fd, "",
                                          MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
                close(fd);
        } else if (strcmp(name, "setattr") == 0) {
                struct mount_attr attr = { .attr_clr = number(split(argument, ','), 0) };

                attr.attr_set = number(argument, 0);
                say(name, syscall(SYS_mount_setattr, mounted, "", AT_EMPTY_PATH, &attr, sizeof(attr)));
        } else if (strcmp(name, "clone") == 0) {
                int fd = (int) syscall(SYS_open_tree, mounted, "",
                                AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

                say(name, fd);
                if (fd >= 0) {
                        close(mounted);
                        mounted = fd;
                }
        } else if (strcmp(name, "pick") == 0) {
                context = (int) syscall(SYS_fspick, mounted, "", FSPICK_EMPTY_PATH | FSPICK_CLOEXEC);
                say(name, context);
        } else if (strcmp(name, "dup") == 0)
                say(name, duplicate(&context));
        else if (strcmp(name, "dupmount") == 0)
                say(name, duplicate(&mounted));
        else if (strcmp(name, "closectx") == 0) {
                say(name, close(context));
                context = -1;
        } else if (strcmp(name, "closemount") == 0) {
                say(name, close(mounted));
                mounted = -1;
        } else if (strcmp(name, "cloexec") == 0) {
                show_cloexec("context", context);
                show_cloexec("mount", mounted);
        } else if (strcmp(name, "umount") == 0) {
                unsigned flags = number(split(argument, ','), 0);

                say(name, umount2(argument, (int) flags));
        } else if (strcmp(name, "remount") == 0) {
                unsigned flags = number(split(argument, ','), 0);

                say(name, mount(NULL, argument, NULL, flags, NULL));
        } else
                return false;

        return true;
}

static void step_file(const char *name, char *argument) {
        char text[256];
        ssize_t n;
        int fd;

        if (strcmp(name, "statfs") == 0)
                show_statvfs(argument);
        else if (strcmp(name, "stat") == 0)
                show_stat(name, AT_FDCWD, argument);
        else if (strcmp(name, "statmount") == 0)
                show_stat(name, mounted, "");
        else if (strcmp(name, "read") == 0) {
                fd = open(argument, O_RDONLY);
                n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
                if (n < 0)
                        say(name, -1);
                else if (!quiet)
                        printf("read %.*s\n",
                                        (int) strcspn(text, "\n") < n ? (int) strcspn(text, "\n") : (int) n,
                                        text);
                close(fd);
        } else if (strcmp(name, "touch") == 0) {
                fd = open(argument, O_CREAT | O_WRONLY, 0644);
                say(name, fd);
                close(fd);
        } else if (strcmp(name, "device") == 0) {
                fd = open(argument, O_RDONLY | O_NONBLOCK);
                say(name, fd);
                close(fd);
        } else if (strcmp(name, "mknod") == 0)
                say(name, mknod(argument, S_IFCHR | 0666, makedev(1, 3)));
        else if (strcmp(name, "mkdir") == 0)
                say(name, mkdir(argument, 0755));
        else if (strcmp(name, "symlink") == 0) {
                char *path = split(argument, ',');

                say(name, symlink(argument, path));
        } else if (strcmp(name, "unlink") == 0)
                say(name, unlink(argument));
        else if (strcmp(name, "readat") == 0) {
                fd = openat(mounted, argument, O_RDONLY);
                say(name, fd);
                close(fd);
        } else if (strcmp(name, "inuse") == 0) {
                fd = open(argument, O_RDONLY | O_EXCL);
                printf("inuse %s\n", fd >= 0 ? "no" : errno == EBUSY ? "yes" : strerrorname_np(errno));
                close(fd);
        } else if (strcmp(name, "chdir") == 0)
                say(name, chdir(argument));
        else if (strcmp(name, "chroot") == 0)
                say(name, chroot(argument) < 0 ? -1 : chdir("/"));
        else if (strcmp(name, "sleep") == 0)
                usleep(number(argument, 0) * 1000);
        else if (strcmp(name, "pause") == 0) {
                puts("paused");
                fflush(stdout);
                if (!fgets(text, sizeof(text), stdin))
                        exit(3);
        } else if (strcmp(name, "fork") == 0)
                fork_off();
        else if (strcmp(name, "pass") == 0)
                pass();
        else
                step_config(name, argument);
}

static void run_step(const char *step);

/* One step as root of a nested user namespace, in a child. */
static void step_in_userns(const char *step) {
        pid_t pid = fork();

        if (pid < 0)
                die("fork");
        if (pid == 0) {
                enter_userns();
                run_step(step);
                _exit(0);
        }
        if (waitpid(pid, NULL, 0) < 0)
                die("waitpid");
}

static bool step_identity(const char *name, char *argument) {
        if (strcmp(name, "drop") == 0)
                drop_sys_admin();
        else if (strcmp(name, "uid") == 0)
                become(number(argument, 0));
        else if (strcmp(name, "userns") == 0)
                enter_userns();
        else if (strcmp(name, "inuserns") == 0)
                step_in_userns(argument);
        else if (strcmp(name, "many") == 0) {
                for (unsigned n = number(argument, 0); n > 0; n--)
                        if (syscall(SYS_fsopen, "ext4", FSOPEN_CLOEXEC) < 0)
                                die("fsopen");
        } else
                return false;

        return true;
}

static void run_step(const char *step) {
        char *name = strdup(step), *argument = split(name, ':');

        if (!step_identity(name, argument) && !step_mount(name, argument))
                step_file(name, argument);
        free(name);
}

typedef struct Script {
        char **steps;
        unsigned repeat;
} Script;

static void *run_script(void *userdata) {
        Script *s = userdata;
        unsigned first = 0;

        for (unsigned i = 0; i < s->repeat; i++) {
                quiet = i > 0;
                n_failed = 0;
                for (char **step = s->steps; *step; step++)
                        run_step(*step);
                if (i == 0)
                        first = n_failed;
                else if (n_failed != first) {
                        printf("%u steps failed at repetition %u, %u at first\n", n_failed, i, first);
                        break;
                }
        }
        return NULL;
}

static char racing[256];
static volatile bool racing_done;
static const char *racing_values[2];

static void *flip_text(void *userdata) {
        for (unsigned i = 0; !racing_done; i++)
                memcpy(racing, racing_values[i % 2], strlen(racing_values[i % 2]) + 1);
        return NULL;
}

/* Both names have the same length. What's mounted in the end has to be the lent device, each time. */
static int race_source(const char *type, const char *lent, const char *other, unsigned n) {
        unsigned created = 0, refused = 0, wrong = 0, odd = 0;
        struct stat st, device;
        pthread_t thread;

        racing_values[0] = lent;
        racing_values[1] = other;
        strcpy(racing, lent);
        if (strlen(lent) != strlen(other) || stat(lent, &device) < 0 ||
                        pthread_create(&thread, NULL, flip_text, NULL) != 0)
                die("race-source");

        for (unsigned i = 0; i < n; i++) {
                int c = (int) syscall(SYS_fsopen, type, FSOPEN_CLOEXEC), m;

                if (c < 0)
                        die("fsopen");
                if (fsconfig_(c, FSCONFIG_SET_STRING, "source", racing, 0) < 0 ||
                                fsconfig_(c, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0)
                        odd++;
                else if (fsconfig_(c, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
                        refused++;
                else {
                        created++;
                        m = (int) syscall(SYS_fsmount, c, FSMOUNT_CLOEXEC, 0);
                        if (m < 0 || fstat(m, &st) < 0)
                                odd++;
                        else if (st.st_dev != device.st_rdev)
                                wrong++;
                        close(m);
                }
                close(c);
        }

        racing_done = true;
        pthread_join(thread, NULL);
        printf("created %u refused %u wrong %u odd %u\n", created, refused, wrong, odd);
        return wrong == 0 && created > 0 ? 0 : 1;
}

static int racing_fds[3];

static void *flip_context(void *userdata) {
        for (unsigned i = 0; !racing_done; i++)
                dup2(racing_fds[1 + i % 2], racing_fds[0]);
        return NULL;
}

/* A context of ours and one of the caller's own, tmpfs, change places all the time. */
static int race_dup(const char *type, const char *source, unsigned n) {
        unsigned results[2] = { 0 }, odd = 0;

        for (unsigned i = 0; i < n; i++) {
                pthread_t thread;
                int m;

                racing_done = false;
                racing_fds[1] = (int) syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
                racing_fds[2] = (int) syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
                racing_fds[0] = dup(racing_fds[1]);
                if (racing_fds[0] < 0 || racing_fds[2] < 0 ||
                                pthread_create(&thread, NULL, flip_context, NULL) != 0)
                        die("race-dup");

                for (unsigned j = 0; j < 20; j++) {
                        (void) fsconfig_(racing_fds[0], FSCONFIG_SET_STRING, "source", source, 0);
                        (void) fsconfig_(racing_fds[0], FSCONFIG_SET_FLAG, "ro", NULL, 0);
                        if (fsconfig_(racing_fds[0], FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
                                results[0]++;
                        else if (errno == EPERM || errno == EBUSY || errno == EINVAL)
                                results[1]++;
                        else
                                odd++;
                        m = (int) syscall(SYS_fsmount, racing_fds[0], FSMOUNT_CLOEXEC, 0);
                        close(m);
                }

                racing_done = true;
                pthread_join(thread, NULL);
                for (unsigned j = 0; j < 3; j++)
                        close(racing_fds[j]);
        }

        printf("created %u refused %u odd %u\n", results[0], results[1], odd);
        return odd == 0 ? 0 : 1;
}

int main(int argc, char **argv) {
        Script script = { .repeat = 1 };
        bool in_thread = false;
        pthread_t thread;

        if (argc == 6 && strcmp(argv[1], "race-source") == 0)
                return race_source(argv[2], argv[3], argv[4], number(argv[5], 1));
        if (argc == 5 && strcmp(argv[1], "race-dup") == 0)
                return race_dup(argv[2], argv[3], number(argv[4], 1));

        for (argv++; *argv && strncmp(*argv, "--", 2) == 0; argv++) {
                char *value = split(*argv, '=');

                if (strcmp(*argv, "--thread") == 0)
                        in_thread = true;
                else if (strcmp(*argv, "--uid") == 0)
                        become(number(value, 0));
                else if (strcmp(*argv, "--drop") == 0)
                        drop_sys_admin();
                else if (strcmp(*argv, "--userns") == 0)
                        enter_userns();
                else if (strcmp(*argv, "--chroot") == 0) {
                        if (chroot(value) < 0 || chdir("/") < 0)
                                die("chroot");
                } else if (strcmp(*argv, "--chdir") == 0) {
                        if (chdir(value) < 0)
                                die("chdir");
                } else if (strcmp(*argv, "--repeat") == 0)
                        script.repeat = number(value, 1);
                else {
                        bool help = strcmp(*argv, "--help") == 0;

                        fputs(usage, help ? stdout : stderr);
                        return help ? 0 : 2;
                }
        }

        script.steps = argv;
        if (!*argv) {
                fputs(usage, stderr);
                return 2;
        }

        if (in_thread) {
                if (pthread_create(&thread, NULL, run_script, &script) != 0)
                        die("pthread_create");
                pthread_join(thread, NULL);
        } else
                run_script(&script);
        return 0;
}
