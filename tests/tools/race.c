/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Attacks: one thread makes a call again and again while another changes what the call depends on. Whatever
 * the call returns, nothing may come of it that the caller couldn't have had honestly; the test that runs
 * this looks for it afterwards. Prints how often each result came. */

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static atomic_bool stop;
static const char *good, *bad;
static char shared[4096];
static unsigned n_ok, n_errors[4096];
static unsigned n_bad; /* what was mounted that mustn't be */

static void die(const char *what) {
        fprintf(stderr, "race: %s: %s\n", what, strerror(errno));
        exit(125);
}

static void count(long r) {
        if (r == 0)
                n_ok++;
        else
                n_errors[errno]++;
}

static void report(void) {
        printf("OK %u\n", n_ok);
        if (n_bad > 0)
                printf("BAD %u\n", n_bad);
        for (int i = 0; i < 4096; i++)
                if (n_errors[i] > 0)
                        printf("%s %u\n", strerrorname_np(i), n_errors[i]);
}

static long make(const char *path) {
        return syscall(SYS_mknodat, AT_FDCWD, path, S_IFCHR | 0666, makedev(1, 3));
}

/* Flips the bytes that differ between the two strings of equal length. */
static void *flip_memory(void *p) {
        size_t size = strlen(good) + 1;

        for (bool b = false; !atomic_load(&stop); b = !b) {
                memcpy(shared, b ? bad : good, size);
                for (volatile unsigned i = 0; i < 200; i++)
                        ;
        }
        return NULL;
}

/* Swaps "link" between two targets, atomically. */
static void *flip_link(void *p) {
        for (unsigned i = 0; !atomic_load(&stop); i++) {
                unlink("link.new");
                if (symlink(i & 1 ? bad : good, "link.new") == 0)
                        rename("link.new", "link");
        }
        return NULL;
}

/* Swaps a directory and a symlink of the same name: RENAME_EXCHANGE. */
static void *flip_directory(void *p) {
        while (!atomic_load(&stop))
                syscall(SYS_renameat2, AT_FDCWD, "swap-a", AT_FDCWD, "swap-b", 2);
        return NULL;
}

/* Moves a directory out of the jail and back while it's walked: ".." of it then leads outside. */
static void *move_directory(void *p) {
        char inside[4096];

        snprintf(inside, sizeof(inside), "%s/deep/a/b", good);
        while (!atomic_load(&stop)) {
                rename(inside, "b-away");
                rename("b-away", inside);
        }
        return NULL;
}

static void run(void *(*attacker)(void *), long (*call)(void), unsigned n) {
        pthread_t thread;

        errno = pthread_create(&thread, NULL, attacker, NULL);
        if (errno)
                die("pthread_create");
        for (unsigned i = 0; i < n; i++)
                count(call());
        atomic_store(&stop, true);
        pthread_join(thread, NULL);
}

static long call_path(void) {
        long r = make(shared);
        int saved = errno;

        unlink(good);
        errno = saved;
        return r;
}

static long call_link(void) {
        char path[4096];
        long r = make("link/node");
        int saved = errno;

        snprintf(path, sizeof(path), "%s/node", good);
        unlink(path);
        errno = saved;
        return r;
}

static long call_swap(void) {
        long r = make("swap-a/node");
        int saved = errno;

        unlink("swap-a/node");
        unlink("swap-b/node");
        errno = saved;
        return r;
}

static long call_deep(void) {
        return make("deep/a/b/../../../../../../../../../../escaped");
}

static long call_name(void) {
        return syscall(SYS_setxattr, "file", shared, "y", 1, 0);
}

static bool is_mounted_with(const char *word) {
        static char text[256 * 1024];
        int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
        size_t size = 0;
        ssize_t n;

        while (fd >= 0 && (n = read(fd, text + size, sizeof(text) - 1 - size)) > 0)
                size += (size_t) n;
        text[size] = 0;
        close(fd);
        return strstr(text, word);
}

static long mount_squashfs(const char *source, const char *target, const char *type, const char *options) {
        return syscall(SYS_mount, source, target, type, MS_RDONLY, options);
}

/* What's mounted, if anything, is of the type that's lent. */
static long call_mount_type(void) {
        long r = mount_squashfs("dev", "mnt", shared, NULL);
        struct statfs sfs;
        int saved = errno;

        if (r == 0) {
                n_bad += statfs("mnt", &sfs) < 0 || sfs.f_type != SQUASHFS_MAGIC;
                umount("mnt");
        }
        errno = saved;
        return r;
}

/* The device that isn't lent has a file called "secret". */
static long call_mount_source(void) {
        long r = mount_squashfs("link", "mnt", "squashfs", NULL);
        int saved = errno;

        if (r == 0) {
                n_bad += access("mnt/secret", F_OK) == 0;
                umount("mnt");
        }
        errno = saved;
        return r;
}

static long call_mount_target(void) {
        long r = mount_squashfs("dev", "link", "squashfs", NULL);
        int saved = errno;

        if (r == 0 && umount(good) < 0)
                n_bad += umount(bad) == 0;
        errno = saved;
        return r;
}

static long call_mount_options(void) {
        long r = mount_squashfs("dev", "mnt", "squashfs", shared);
        int saved = errno;

        if (r == 0) {
                n_bad += is_mounted_with("panic");
                umount("mnt");
        }
        errno = saved;
        return r;
}

static long call_bpf_options(void) {
        long r = syscall(SYS_mount, "bpf", "mnt", "bpf", 0, shared);
        int saved = errno;

        if (r == 0) {
                n_bad += is_mounted_with(strchr(bad, '=') + 1);
                umount("mnt");
        }
        errno = saved;
        return r;
}

/* While the leader (without privilege) is in its call, another thread becomes a privileged program, which
 * takes the leader's id. */
static void *become_privileged(void *p) {
        usleep((useconds_t) (rand() % 300));
        execl(bad, bad, "0.02", NULL);
        _exit(1);
}

static void exec_race(unsigned n) {
        for (unsigned i = 0; i < n; i++) {
                pid_t pid = fork();

                if (pid == 0) {
                        pthread_t thread;

                        srand((unsigned) getpid());
                        if (setresgid(1000, 1000, 1000) < 0 || setresuid(1000, 1000, 1000) < 0)
                                _exit(1);
                        pthread_create(&thread, NULL, become_privileged, NULL);
                        for (;;)
                                make(good);
                }
                waitpid(pid, NULL, 0);
        }
        n_ok = access(good, F_OK) == 0;
}

/* A caller that's killed in its call; its id is taken by another process as soon as possible. */
static void pid_race(unsigned n) {
        for (unsigned i = 0; i < n; i++) {
                pid_t pid = fork();

                if (pid == 0) {
                        if (setresgid(1000, 1000, 1000) < 0 || setresuid(1000, 1000, 1000) < 0)
                                _exit(1);
                        for (;;)
                                make(good);
                }
                usleep((useconds_t) (rand() % 200));
                kill(pid, 9);
                waitpid(pid, NULL, 0);
                for (int tries = 0; tries < 3; tries++) {
                        int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);

                        if (fd >= 0) {
                                char text[16];
                                int size = snprintf(text, sizeof(text), "%d", (int) pid - 1);

                                if (write(fd, text, (size_t) size) <
                                                0) { /* read-only in most containers: then it's luck */
                                }
                                close(fd);
                        }
                        if (fork() == 0) { /* privileged */
                                usleep(100);
                                _exit(0);
                        }
                        wait(NULL);
                }
        }
        n_ok = access(good, F_OK) == 0;
}

int main(int argc, char *argv[]) {
        unsigned n;

        if (argc != 5) {
                puts("Usage: race memory|name|link|swap|deep|exec|pid|mount-type|mount-source|mount-target|"
                     "mount-options|bpf-options N GOOD BAD\n"
                     "  memory  the path in memory flips between GOOD and BAD (of equal length)\n"
                     "  name    the name of an attribute of ./file flips between GOOD and BAD\n"
                     "  link    ./link flips between the directories GOOD and BAD\n"
                     "  swap    ./swap-a (directory) and ./swap-b (symlink) change places\n"
                     "  deep    GOOD/deep/a/b moves out of the chroot GOOD while \"..\" is walked from it\n"
                     "  exec    uid 1000 makes GOOD while a sibling thread executes the set-user-ID program "
                     "BAD\n"
                     "  pid     uid 1000 makes GOOD, is killed, and its id is reused\n"
                     "  mount-type, mount-options   type or options of a mount of ./dev on ./mnt flip in "
                     "memory\n"
                     "  bpf-options  the same for a bpf file system, BAD being KEY=WORD\n"
                     "  mount-source, mount-target  ./link, the source or target of a mount, flips");
                return argc == 2 && strcmp(argv[1], "--help") == 0 ? 0 : 125;
        }
        n = (unsigned) atoi(argv[2]);
        good = argv[3];
        bad = argv[4];
        umask(0);

        if (strcmp(argv[1], "memory") == 0 || strcmp(argv[1], "name") == 0 ||
                        strcmp(argv[1], "mount-type") == 0 || strcmp(argv[1], "mount-options") == 0 ||
                        strcmp(argv[1], "bpf-options") == 0) {
                if (strlen(good) != strlen(bad) || strlen(good) >= sizeof(shared))
                        return 125;
                strcpy(shared, good);
                run(flip_memory,
                                strcmp(argv[1], "memory") == 0        ? call_path
                                : strcmp(argv[1], "name") == 0        ? call_name
                                : strcmp(argv[1], "mount-type") == 0  ? call_mount_type
                                : strcmp(argv[1], "bpf-options") == 0 ? call_bpf_options
                                                                      : call_mount_options,
                                n);
        } else if (strcmp(argv[1], "link") == 0)
                run(flip_link, call_link, n);
        else if (strcmp(argv[1], "mount-source") == 0)
                run(flip_link, call_mount_source, n);
        else if (strcmp(argv[1], "mount-target") == 0)
                run(flip_link, call_mount_target, n);
        else if (strcmp(argv[1], "swap") == 0)
                run(flip_directory, call_swap, n);
        else if (strcmp(argv[1], "deep") == 0) {
                pthread_t thread;
                /* The attacker is outside of the chroot, the caller inside. */
                errno = pthread_create(&thread, NULL, move_directory, NULL);
                if (errno || unshare(CLONE_FS) < 0 || chroot(good) < 0 || chdir("/") < 0)
                        die(good);
                for (unsigned i = 0; i < n; i++)
                        count(call_deep());
                atomic_store(&stop, true);
                pthread_join(thread, NULL);
        } else if (strcmp(argv[1], "exec") == 0)
                exec_race(n);
        else if (strcmp(argv[1], "pid") == 0)
                pid_race(n);
        else
                return 125;
        report();
        return 0;
}
