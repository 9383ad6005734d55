/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/fd.h"
#include "bench/listener.h"
#include "bench/round-trip.h"

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#        define SECCOMP_IOCTL_NOTIF_SET_FLAGS      SECCOMP_IOW(4, __u64)
#        define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

__attribute__((noreturn)) static void serve(int sock) {
        uint64_t flags = SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP;
        int listener;
        char byte;

        /* Receiving on a listener whose callers are gone blocks for ever before Linux 6.11. */
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);

        if (receive_fds(sock, &byte, 1, &listener, 1, 0) != 1 || listener < 0)
                _exit(1);

        (void) ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, flags);

        for (;;) {
                struct seccomp_notif_resp response = { .val = ROUND_TRIP_RESULT };
                struct seccomp_notif notification = {};

                if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &notification) < 0) {
                        if (errno == EINTR)
                                continue;
                        _exit(0);
                }

                response.id = notification.id;
                (void) ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
        }
}

int round_trip_start(void) {
        _cleanup_close_ int listener = -1, ours = -1, theirs = -1;
        int pair[2];
        pid_t pid;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        ours = pair[0];
        theirs = pair[1];

        /* It must be there before the filter, which it would inherit. */
        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0) {
                close_fd(ours);
                serve(theirs);
        }

        listener = listener_new(SYS_getppid);
        if (listener < 0)
                return listener;

        return send_fds(ours, "L", 1, &listener, 1, 0);
}
