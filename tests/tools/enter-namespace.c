/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Enters a user namespace as its root and then a mount namespace, if it may, without needing anything that's
 * there, and says what it finds: the names in the root directory, whether a directory can be made, and with
 * --cover whether a tmpfs can be mounted on them. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char *argv[]) {
        bool cover = argc == 4 && strcmp(argv[1], "--cover") == 0;
        int user, mnt;
        DIR *directory;

        if (argc != 3 + cover) {
                puts("Usage: enter-namespace [--cover] USER-NAMESPACE MOUNT-NAMESPACE");
                return argc == 2 && strcmp(argv[1], "--help") == 0 ? 0 : 125;
        }

        user = open(argv[1 + cover], O_RDONLY | O_CLOEXEC);
        mnt = open(argv[2 + cover], O_RDONLY | O_CLOEXEC);
        if (user < 0 || mnt < 0 || setns(user, CLONE_NEWUSER) < 0)
                return 125;
        if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
                return 125;
        if (setns(mnt, CLONE_NEWNS) < 0) {
                puts(strerrorname_np(errno));
                return 0;
        }

        directory = opendir("/");
        for (struct dirent *e; directory && (e = readdir(directory));)
                if (e->d_name[0] != '.') {
                        printf("%s ", e->d_name);
                        if (cover)
                                printf("%s ", mount("cover", e->d_name, "tmpfs", 0, NULL) < 0
                                                                ? strerrorname_np(errno)
                                                                : "covered");
                }
        puts(mkdir("/made", 0700) < 0 ? strerrorname_np(errno) : "made");
        return 0;
}
