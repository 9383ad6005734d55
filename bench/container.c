/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/fd.h"
#include "bench/container.h"

/* The host's /proc, which there is none of inside. */
static int proc_fd = -1;

static int write_file(int directory, const char *path, const char *text) {
        _cleanup_close_ int fd = -1;

        fd = openat(directory, path, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;

        return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static int write_map(pid_t pid, const char *name, unsigned outside, unsigned count) {
        char path[64], text[64];

        snprintf(path, sizeof(path), "%i/%s", (int) pid, name);
        snprintf(text, sizeof(text), "0 %u %u\n", outside, count);
        return write_file(proc_fd, path, text);
}

__attribute__((noreturn)) static void wait_and_exit(pid_t pid) {
        int status;

        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        _exit(EXIT_FAILURE);

        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE);
}

/* See pivot_root(2), "pivot_root(".", ".")". */
static int change_root(const char *root) {
        if (mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0 ||
                        mount(root, root, NULL, MS_BIND | MS_REC, NULL) < 0 || chdir(root) < 0 ||
                        syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 ||
                        chdir("/") < 0)
                return -errno;

        return 0;
}

/* In the child: "mapped" is readable when the maps are written. */
static int enter_namespaces(int unshared, int mapped, const char *root) {
        pid_t pid;
        char byte;
        int r;

        if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID) < 0)
                return -errno;

        if (write(unshared, "u", 1) != 1 || read(mapped, &byte, 1) != 1)
                return -EPIPE;

        if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
                return -errno;

        /* A pid namespace is for children. */
        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid > 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                wait_and_exit(pid);
        }

        r = prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ? -errno : 0;
        return r < 0 ? r : change_root(root);
}

int container_enter(const char *root) {
        int unshared[2], mapped[2], r;
        char byte;
        pid_t pid;

        proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (proc_fd < 0)
                return -errno;

        if (pipe2(unshared, O_CLOEXEC) < 0 || pipe2(mapped, O_CLOEXEC) < 0)
                return -errno;

        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0) {
                close_fd(unshared[0]);
                close_fd(mapped[1]);
                r = enter_namespaces(unshared[1], mapped[0], root);
                close_fd(unshared[1]);
                close_fd(mapped[0]);
                return r;
        }

        close_fd(unshared[1]);
        close_fd(mapped[0]);

        if (read(unshared[0], &byte, 1) == 1) {
                r = write_map(pid, "uid_map", CONTAINER_UID_BASE, 65536);
                if (r >= 0)
                        r = write_map(pid, "gid_map", CONTAINER_UID_BASE, 65536);
                if (r >= 0 && write(mapped[1], "m", 1) != 1)
                        r = -errno;
                if (r < 0)
                        fprintf(stderr, "Failed to map the container's ids: %s\n", strerror(-r));
        }

        close_fd(mapped[1]);
        wait_and_exit(pid);
}

int container_start_init(void) {
        int status;
        pid_t pid, ended;

        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                return 0;

        do
                ended = waitpid(-1, &status, 0);
        while (ended != pid && (ended >= 0 || errno == EINTR));

        _exit(ended == pid && WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE);
}

int container_nest(void) {
        static const char *const maps[][2] = {
                { "self/setgroups", "deny" },
                { "self/uid_map", "0 0 1\n" },
                { "self/gid_map", "0 0 1\n" },
        };

        /* Without it our own entries in /proc belong to the host's root. */
        if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0 || unshare(CLONE_NEWUSER) < 0)
                return -errno;

        for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
                int r = write_file(proc_fd, maps[i][0], maps[i][1]);

                if (r < 0)
                        return r;
        }

        return 0;
}
