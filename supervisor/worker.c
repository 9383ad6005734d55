/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/clock.h"
#include "basic/fd.h"
#include "supervisor/worker.h"

typedef struct Answer {
        int32_t result;
        unsigned char bytes[WORKER_ANSWER_MAX];
} Answer;

/* In the child. */
static int answer_fd = -1;
static pid_t parent_pid;

int worker_close_files(int first) {
        if (answer_fd > first && close_range((unsigned) first, (unsigned) answer_fd - 1, 0) < 0)
                return -errno;

        return close_range((unsigned) answer_fd + 1, UINT_MAX, 0) < 0 ? -errno : 0;
}

int worker_end_with(pid_t parent) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
                return -errno;

        /* Who died before has another number by now. */
        return getppid() == parent ? 0 : -ESRCH;
}

int worker_end_with_parent(void) {
        return worker_end_with(parent_pid);
}

__attribute__((noreturn)) static void work_and_tell(WorkerFunc work, void *userdata, int sock, pid_t parent) {
        static Answer answer;
        int fd = -1;

        parent_pid = parent;
        if (worker_end_with_parent() < 0)
                _exit(EXIT_FAILURE);

        answer_fd = sock;
        answer.result = work(userdata, answer.bytes, &fd);
        _exit(send_fds(sock, &answer, sizeof(answer), &fd, fd >= 0, 0) < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

/* Return: 1 if there's something to read or nobody to write it, 0 if the time is over, or a negative errno.
 */
static int wait_for_answer(int sock, uint64_t timeout_usec) {
        uint64_t end = now_nsec(CLOCK_MONOTONIC) / 1000;

        end = timeout_usec > UINT64_MAX - end ? UINT64_MAX : end + timeout_usec;
        for (;;) {
                struct pollfd p = { .fd = sock, .events = POLLIN };
                uint64_t now = now_nsec(CLOCK_MONOTONIC) / 1000, left = now < end ? end - now : 0;
                struct timespec ts = { .tv_sec = (time_t) (left / 1000000),
                        .tv_nsec = (long) (left % 1000000) * 1000 };
                int r = ppoll(&p, 1, end == UINT64_MAX ? NULL : &ts, NULL);

                if (r >= 0 || errno != EINTR)
                        return r < 0 ? -errno : r;
        }
}

/* One that's stuck in the kernel can't die now. It's left to be reaped when we leave. */
static void end_child(pid_t pid, bool answered) {
        if (!answered)
                (void) kill(pid, SIGKILL);

        for (unsigned i = 0; i < 100; i++) {
                if (waitpid(pid, NULL, WNOHANG) != 0)
                        return;
                (void) usleep(i < 10 ? 100 : 10000);
                if (i == 50)
                        (void) kill(pid, SIGKILL);
        }
}

int worker_run(WorkerFunc work, void *userdata, uint64_t timeout_usec, void *ret, size_t size, int *ret_fd) {
        _cleanup_close_ int ours = -1, theirs = -1, fd = -1;
        pid_t parent = getpid(), pid;
        static Answer answer;
        int pair[2], r;
        ssize_t n;

        if (size > WORKER_ANSWER_MAX)
                return -EINVAL;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        ours = pair[0];
        theirs = pair[1];

        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0) {
                close_fd(ours);
                work_and_tell(work, userdata, theirs, parent);
        }
        theirs = close_fd(theirs);

        r = wait_for_answer(ours, timeout_usec);
        if (r <= 0) {
                end_child(pid, false);
                return r < 0 ? r : -ETIMEDOUT;
        }

        n = receive_fds(ours, &answer, sizeof(answer), &fd, 1, MSG_DONTWAIT);
        end_child(pid, n == sizeof(answer));
        if (n != sizeof(answer))
                return n < 0 ? (int) n : -ECHILD;

        if (ret)
                memcpy(ret, answer.bytes, size);
        if (ret_fd)
                *ret_fd = TAKE_FD(fd);
        return answer.result;
}
