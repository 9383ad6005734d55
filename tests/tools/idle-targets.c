/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Registers many targets with deputyd and holds them: one child each, with a filter for mknodat(2) whose
 * listener goes to $NOTIFY_SOCKET as sd_notify(3) would send it. Prints "ready" when all are taken, makes one
 * mknodat call in the child named by each line on stdin, and ends all children at end of file.
 *
 * The children end SLICE_SIZE at a time, also when this program is killed: some kernels deadlock when more
 * than a thousand compiled filters are freed at once (see docs/architecture.md). */

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLICE_SIZE       100
#define SLICE_PAUSE_USEC 50000

typedef struct Child {
        int to, from;
} Child;

static void die(const char *what) {
        fprintf(stderr, "idle-targets: %s: %s\n", what, strerror(errno));
        exit(125);
}

static int send_fd(int sock, const struct sockaddr_un *address, const char *text, int fd) {
        char control[CMSG_SPACE(sizeof(int))] = {};
        struct iovec iov = { (void *) (uintptr_t) text, strlen(text) };
        struct msghdr message = { .msg_name = (void *) (uintptr_t) address,
                .msg_namelen = sizeof(*address),
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = control,
                .msg_controllen = sizeof(control) };
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);

        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
        return sendmsg(sock, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* The listener, then a barrier: the other side closes the pipe's end when it has handled the listener. */
static void hand_over(const char *path) {
        struct sock_filter insns[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mknodat, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = { sizeof(insns) / sizeof(insns[0]), insns };
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int sock, listener, barrier[2], r;
        char byte;

        snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (sock < 0)
                die("socket");
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        listener = (int) syscall(
                        SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
        if (listener < 0)
                die("seccomp");
        r = send_fd(sock, &address, "FDSTORE=1\nFDNAME=idle", listener);
        if (r < 0 || pipe2(barrier, O_CLOEXEC) < 0 ||
                        (r = send_fd(sock, &address, "BARRIER=1", barrier[1])) < 0) {
                errno = -r;
                die("sendmsg");
        }
        close(listener);
        close(barrier[1]);
        if (read(barrier[0], &byte, 1) != 0)
                die("barrier");
        close(barrier[0]);
        close(sock);
}

/* Lives until the other end of 'in' is closed, by the parent or by its death, and then waits for its turn. A
 * service manager's SIGTERM comes to all at once and must not be what ends them. */
static void live(long index, const char *path, int in, int out) {
        char node[64], byte = 'r';

        signal(SIGTERM, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        signal(SIGINT, SIG_IGN);
        signal(SIGPIPE, SIG_IGN);
        hand_over(path);
        snprintf(node, sizeof(node), "/tmp/idle-%d", (int) getpid());
        while (write(out, &byte, 1) == 1 && read(in, &byte, 1) == 1) {
                byte = syscall(SYS_mknodat, AT_FDCWD, node, S_IFCHR | 0600, makedev(1, 3)) == 0 ? '+' : '-';
                unlink(node);
        }
        usleep((useconds_t) (index / SLICE_SIZE * SLICE_PAUSE_USEC));
        _exit(0);
}

int main(int argc, char *argv[]) {
        const char *path = getenv("NOTIFY_SOCKET");
        char line[64], byte;
        Child *children;
        long n;

        if (argc != 2 || strcmp(argv[1], "--help") == 0 || !path) {
                puts("Usage: NOTIFY_SOCKET=/run/deputyd/notify idle-targets N\n"
                     "Registers N targets and prints \"ready\". Each number on stdin makes that target call "
                     "mknod(2) once and prints + or -.\n"
                     "All end at end of file, a hundred at a time.");
                return argc == 2 && strcmp(argv[1], "--help") == 0 ? 0 : 125;
        }
        n = atol(argv[1]);
        children = calloc((size_t) n, sizeof(*children));
        if (!children)
                die("calloc");

        for (long i = 0; i < n; i++) {
                int down[2], up[2];

                if (pipe2(down, O_CLOEXEC) < 0 || pipe2(up, O_CLOEXEC) < 0)
                        die("pipe");
                switch (fork()) {
                case -1:
                        die("fork");
                        break;
                case 0:
                        for (long j = 0; j < i; j++) {
                                close(children[j].to);
                                close(children[j].from);
                        }
                        close(down[1]);
                        close(up[0]);
                        live(i, path, down[0], up[1]);
                        break;
                default:
                        close(down[0]);
                        close(up[1]);
                        children[i] = (Child){ .to = down[1], .from = up[0] };
                        if (read(up[0], &byte, 1) != 1) {
                                fprintf(stderr, "idle-targets: target %ld wasn't taken\n", i);
                                return 1;
                        }
                }
        }
        puts("ready");
        fflush(stdout);

        while (fgets(line, sizeof(line), stdin)) {
                long i = atol(line);

                if (i < 0 || i >= n)
                        continue;
                if (write(children[i].to, "c", 1) != 1 || read(children[i].from, &byte, 1) != 1)
                        return 1;
                printf("%c\n", byte);
                fflush(stdout);
        }

        for (long i = 0; i < n; i++)
                close(children[i].to);
        while (wait(NULL) > 0)
                ;
        return 0;
}
