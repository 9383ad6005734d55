/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/child.h"

pid_t clone_silently(void) {
        return (pid_t) syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
}

int wait_silently(pid_t pid, int *ret_status) {
        while (waitpid(pid, ret_status, __WALL) < 0)
                if (errno != EINTR)
                        return -errno;

        return 0;
}
