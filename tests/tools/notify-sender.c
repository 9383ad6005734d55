/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a program needs that wants to borrow without deputy-run: a filter with a listener, and three calls of
 * libsystemd and the kernel. Takes no code or header of deputyd. */

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

int main(int argc, char *argv[]) {
        struct sock_filter insns[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mknodat, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = { sizeof(insns) / sizeof(insns[0]), insns };
        int listener, r;

        if (argc < 2 || strcmp(argv[1], "--help") == 0) {
                puts("Usage: NOTIFY_SOCKET=/run/deputyd/notify notify-sender COMMAND…\n"
                     "Hands a listener for mknodat(2) to whoever serves $NOTIFY_SOCKET and runs the "
                     "command.");
                return argc < 2 ? 125 : 0;
        }
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        listener = (int) syscall(
                        SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
        if (listener < 0) {
                perror("seccomp");
                return 125;
        }
        r = sd_pid_notify_with_fds(0, 0, "FDSTORE=1\nFDNAME=third-party", &listener, 1);
        if (r > 0)
                r = sd_notify_barrier(0, 10 * 1000 * 1000);
        if (r <= 0) {
                fprintf(stderr, "notify-sender: %s: %s\n", "the listener wasn't taken", strerror(-r));
                return 125;
        }
        close(listener);
        execvp(argv[1], argv + 1);
        perror(argv[1]);
        return 127;
}
