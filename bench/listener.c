/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/listener.h"

int listener_load(struct sock_filter *insns, unsigned short n) {
        const struct sock_fprog program = { .len = n, .filter = insns };
        int fd = (int) syscall(
                        SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);

        return fd < 0 ? -errno : fd;
}

int listener_new(int nr) {
        /* Native callers only, so the architecture needn't be looked at. */
        struct sock_filter insns[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned) nr, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };

        return listener_load(insns, sizeof(insns) / sizeof(insns[0]));
}
