/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Plays a FUSE server for tests: fuse-program WHAT TARGET [-o OPTIONS]. It never answers a request of the
 * kernel, so whoever touches its file system waits for ever.
 *
 *   foreground   mounts and stays
 *   daemon       mounts, goes into the background, closes its stdio
 *   talker       the same, but the background process keeps stderr open and says "still here"
 *   slow         mounts after 30 ms, goes into the background 30 ms later
 *   report       writes what it sees of itself to /tmp/report, then as foreground
 *   flood        prints 1 MiB on stderr, then as foreground
 *   die-mounted  mounts, and ends with 1 then
 *   babble       three children write to stderr without a pause; it itself ends with 3
 *   exit N       prints two lines and ends with N, having mounted nothing
 *   crash        ends by SIGSEGV
 *   hang         does nothing, for ever
 *   hang-daemon  its child does so, in a session of its own; it itself ends with 0 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void mount_it(const char *target) {
        char options[128];
        int fd = open("/dev/fuse", O_RDWR);

        snprintf(options, sizeof(options), "fd=%i,rootmode=40000,user_id=%u,group_id=%u", fd, getuid(),
                        getgid());
        if (fd < 0 || mount("source", target, "fuse.program", 0, options) < 0) {
                perror("mount");
                exit(1);
        }
}

static void go_into_background(int keep_stderr) {
        int fd;

        switch (fork()) {
        case -1:
                exit(1);
        case 0:
                break;
        default:
                _exit(0);
        }

        setsid();
        fd = open("/dev/null", O_RDWR);
        dup2(fd, 0);
        dup2(fd, 1);
        if (!keep_stderr)
                dup2(fd, 2);
        close(fd);
}

static void report(int argc, char **argv) {
        FILE *f = fopen("/tmp/report", "we");

        if (!f)
                exit(9);
        fprintf(f, "securebits %i\n", prctl(PR_GET_SECUREBITS));
        fprintf(f, "getppid %i\n", (int) syscall(SYS_getppid) >= 0);
        fprintf(f, "sethostname %i\n", sethostname("x", 1) < 0 ? errno : 0);
        fprintf(f, "setdomainname %i\n", setdomainname("x", 1) < 0 ? errno : 0);
        fprintf(f, "parent_death_signal %i\n", ({
                int n = -1;
                prctl(PR_GET_PDEATHSIG, &n);
                n;
        }));
        for (int i = 0; i < argc; i++)
                fprintf(f, "argument %s\n", argv[i]);
        fclose(f);
}

static void babble(void) {
        static char lines[4096];

        /* Room for who writes while it's read. */
        (void) fcntl(STDERR_FILENO, F_SETPIPE_SZ, 1 << 20);
        for (size_t i = 0; i < sizeof(lines); i++)
                lines[i] = i % 2 == 1 ? '\n' : 'x';

        for (unsigned i = 0; i < 3; i++)
                if (fork() == 0)
                        while (write(STDERR_FILENO, lines, sizeof(lines)) > 0)
                                ;
}

int main(int argc, char **argv) {
        const char *what = argc > 1 ? argv[1] : "", *target = argc > 2 ? argv[2] : "";
        struct timespec thirty_ms = { .tv_nsec = 30000000 };

        if (strcmp(what, "daemon") == 0 || strcmp(what, "talker") == 0 || strcmp(what, "slow") == 0) {
                if (*what == 's')
                        nanosleep(&thirty_ms, NULL);
                mount_it(target);
                if (*what == 's')
                        nanosleep(&thirty_ms, NULL);
                go_into_background(*what == 't');
                if (*what == 't')
                        for (;;) {
                                fprintf(stderr, "still here\n");
                                nanosleep(&thirty_ms, NULL);
                        }
        } else if (strcmp(what, "report") == 0) {
                report(argc, argv);
                mount_it(target);
        } else if (strcmp(what, "flood") == 0) {
                for (unsigned i = 0; i < 16384; i++)
                        fprintf(stderr, "%063u\n", i);
                mount_it(target);
        } else if (strcmp(what, "foreground") == 0)
                mount_it(target);
        else if (strcmp(what, "die-mounted") == 0) {
                mount_it(target);
                fprintf(stderr, "changed my mind\n");
                return 1;
        } else if (strcmp(what, "babble") == 0) {
                babble();
                return 3;
        } else if (strncmp(what, "exit ", 5) == 0) {
                fprintf(stderr, "a first line\nbad \x1b[31msuperblock\n");
                return atoi(what + 5);
        } else if (strcmp(what, "crash") == 0)
                raise(SIGSEGV);
        else if (strcmp(what, "hang-daemon") == 0)
                go_into_background(1);
        else if (strcmp(what, "hang") != 0)
                return 77;

        for (;;)
                pause();
}
