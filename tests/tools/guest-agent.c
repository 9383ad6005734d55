/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Runs commands in a virtual machine for tests/integration/guest.py, over a virtio-serial port of its own, so
 * that nothing else writes there. Both sides send frames: struct Frame, then as many bytes as it says. Any
 * number of commands run side by side, told apart by an id that the test chooses. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define COMMANDS_MAX  256
#define PAYLOAD_MAX   (1U << 20)
#define ARGUMENTS_MAX 1024

/* Little-endian, as both sides are. */
typedef struct Frame {
        uint32_t id;
        uint32_t type;
        uint32_t size;
} Frame;

enum {
        FRAME_HELLO = 'h',  /* to the test: I'm here */
        FRAME_START = 's',  /* to us: the arguments, each with its NUL */
        FRAME_INPUT = 'i',  /* to us: bytes for stdin; none: end of file */
        FRAME_SIGNAL = 'k', /* to us: a byte, the signal for the command's process group */
        FRAME_STDOUT = 'o', /* to the test: bytes; none: end of file */
        FRAME_STDERR = 'e',
        FRAME_EXIT = 'x', /* to the test: int32_t, the exit status or minus the signal */
};

/* A slot is free when its process is reaped and both its streams are at their end. */
typedef struct Command {
        bool used, exited;
        uint32_t id;
        pid_t pid;
        int in, out, err;
        bool in_ends;
        char *queue; /* what stdin hasn't taken yet */
        size_t n_queue;
} Command;

static Command commands[COMMANDS_MAX];
static int port = -1;

__attribute__((noreturn)) static void die(const char *what) {
        fprintf(stderr, "guest-agent: %s: %s\n", what, strerror(errno));
        exit(1);
}

static void close_fd(int *fd) {
        if (*fd >= 0)
                close(*fd);
        *fd = -1;
}

static void read_all(void *to, size_t size) {
        for (size_t done = 0; done < size;) {
                ssize_t n = read(port, (char *) to + done, size - done);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        die("read");
                if (n == 0)
                        usleep(10000); /* Nobody has the other end open. */
                done += (size_t) n;
        }
}

static void write_all(const void *from, size_t size) {
        for (size_t done = 0; done < size;) {
                ssize_t n = write(port, (const char *) from + done, size - done);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        die("write");
                done += (size_t) n;
        }
}

static void send_frame(uint32_t id, uint32_t type, const void *payload, uint32_t size) {
        const Frame frame = { id, type, size };

        write_all(&frame, sizeof(frame));
        write_all(payload, size);
}

static void open_port(const char *name) {
        for (;; usleep(50000)) {
                DIR *ports = opendir("/sys/class/virtio-ports");
                struct dirent *entry;

                while (ports && (entry = readdir(ports))) {
                        char path[512], text[64] = "";
                        FILE *f;

                        snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", entry->d_name);
                        f = fopen(path, "re");
                        if (!f)
                                continue;
                        if (fgets(text, sizeof(text), f))
                                text[strcspn(text, "\n")] = 0;
                        fclose(f);
                        if (strcmp(text, name) != 0)
                                continue;
                        snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
                        port = open(path, O_RDWR | O_CLOEXEC);
                        if (port < 0)
                                die(path);
                        closedir(ports);
                        return;
                }
                if (ports)
                        closedir(ports);
        }
}

static Command *find(uint32_t id) {
        for (size_t i = 0; i < COMMANDS_MAX; i++)
                if (commands[i].used && commands[i].id == id)
                        return &commands[i];
        return NULL;
}

static void release(Command *c) {
        if (!c->exited || c->out >= 0 || c->err >= 0)
                return;
        close_fd(&c->in);
        free(c->queue);
        *c = (Command){ .in = -1, .out = -1, .err = -1 };
}

static void start(uint32_t id, char *text, size_t size) {
        char *argv[ARGUMENTS_MAX + 1];
        int in[2], out[2], err[2];
        size_t n = 0;
        Command *c = NULL;
        sigset_t none;

        for (size_t i = 0; i < COMMANDS_MAX && !c; i++)
                if (!commands[i].used)
                        c = &commands[i];
        for (size_t i = 0; i < size && n < ARGUMENTS_MAX; i += strlen(text + i) + 1)
                argv[n++] = text + i;
        argv[n] = NULL;
        if (!c || n == 0 || pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 ||
                        pipe2(err, O_CLOEXEC) < 0)
                die("start");
        fcntl(in[1], F_SETFL, O_NONBLOCK);

        *c = (Command){ .used = true, .id = id, .in = in[1], .out = out[0], .err = err[0] };
        c->pid = fork();
        if (c->pid < 0)
                die("fork");
        if (c->pid == 0) {
                setsid();
                sigemptyset(&none);
                sigprocmask(SIG_SETMASK, &none, NULL);
                signal(SIGPIPE, SIG_DFL);
                if (dup2(in[0], 0) < 0 || dup2(out[1], 1) < 0 || dup2(err[1], 2) < 0)
                        _exit(127);
                execvp(argv[0], argv);
                fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
                _exit(errno == ENOENT ? 127 : 126);
        }
        close(in[0]);
        close(out[1]);
        close(err[1]);
}

/* Writes what stdin takes. */
static void feed(Command *c) {
        while (c->in >= 0 && c->n_queue > 0) {
                ssize_t n = write(c->in, c->queue, c->n_queue);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        return;
                if (n < 0) { /* It doesn't want any more. */
                        c->n_queue = 0;
                        close_fd(&c->in);
                        return;
                }
                c->n_queue -= (size_t) n;
                memmove(c->queue, c->queue + n, c->n_queue);
        }
        if (c->in_ends)
                close_fd(&c->in);
}

static void receive(void) {
        static char payload[PAYLOAD_MAX + 1];
        Command *c;
        Frame frame;

        read_all(&frame, sizeof(frame));
        if (frame.size > PAYLOAD_MAX) {
                errno = EMSGSIZE;
                die("frame");
        }
        read_all(payload, frame.size);
        payload[frame.size] = 0;

        if (frame.type == FRAME_HELLO) {
                send_frame(0, FRAME_HELLO, NULL, 0);
                return;
        }
        if (frame.type == FRAME_START) {
                start(frame.id, payload, frame.size);
                return;
        }
        c = find(frame.id);
        if (!c)
                return; /* It has ended meanwhile. */
        if (frame.type == FRAME_SIGNAL && !c->exited)
                kill(-c->pid, payload[0]);
        if (frame.type == FRAME_INPUT && c->in >= 0) {
                if (frame.size == 0)
                        c->in_ends = true;
                else {
                        c->queue = realloc(c->queue, c->n_queue + frame.size);
                        if (!c->queue)
                                die("realloc");
                        memcpy(c->queue + c->n_queue, payload, frame.size);
                        c->n_queue += frame.size;
                }
                feed(c);
        }
}

static void forward(Command *c, int *fd, uint32_t type) {
        static char buffer[65536];
        ssize_t n = read(*fd, buffer, sizeof(buffer));

        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return;
        if (n <= 0)
                close_fd(fd);
        send_frame(c->id, type, buffer, n > 0 ? (uint32_t) n : 0);
        release(c);
}

static void reap(void) {
        pid_t pid;
        int status;

        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
                for (size_t i = 0; i < COMMANDS_MAX; i++) {
                        Command *c = &commands[i];
                        int32_t code = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);

                        if (!c->used || c->exited || c->pid != pid)
                                continue;
                        c->exited = true;
                        send_frame(c->id, FRAME_EXIT, &code, sizeof(code));
                        release(c);
                        break;
                }
}

int main(int argc, char *argv[]) {
        struct pollfd fds[2 + COMMANDS_MAX * 3];
        Command *owners[2 + COMMANDS_MAX * 3];
        struct signalfd_siginfo info;
        sigset_t mask;
        int signals;

        if (argc != 2 || strcmp(argv[1], "--help") == 0) {
                puts("Usage: guest-agent PORT\nRuns commands that come through the virtio-serial port of "
                     "that name.");
                return argc == 2 ? 0 : 1;
        }

        for (size_t i = 0; i < COMMANDS_MAX; i++)
                commands[i].in = commands[i].out = commands[i].err = -1;
        signal(SIGPIPE, SIG_IGN);
        sigemptyset(&mask);
        sigaddset(&mask, SIGCHLD);
        sigprocmask(SIG_BLOCK, &mask, NULL);
        signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
        if (signals < 0)
                die("signalfd");
        open_port(argv[1]);
        send_frame(0, FRAME_HELLO, NULL, 0);

        for (;;) {
                nfds_t n = 0;

                fds[n++] = (struct pollfd){ .fd = port, .events = POLLIN };
                fds[n++] = (struct pollfd){ .fd = signals, .events = POLLIN };
                for (size_t i = 0; i < COMMANDS_MAX; i++) {
                        Command *c = &commands[i];

                        if (!c->used)
                                continue;
                        for (int stream = 0; stream < 3; stream++) {
                                owners[n] = c;
                                fds[n++] = stream == 0   ? (struct pollfd){ .fd = c->out, .events = POLLIN }
                                           : stream == 1 ? (struct pollfd){ .fd = c->err, .events = POLLIN }
                                                         : (struct pollfd){ .fd = c->n_queue > 0 ? c->in : -1,
                                                                   .events = POLLOUT };
                        }
                }
                if (poll(fds, n, -1) < 0 && errno != EINTR)
                        die("poll");

                /* Output first: what a command has written comes before the news that it has ended. */
                for (nfds_t i = 2; i < n; i++) {
                        Command *c = owners[i];

                        if (fds[i].fd < 0 || fds[i].revents == 0)
                                continue;
                        if (fds[i].fd == c->out)
                                forward(c, &c->out, FRAME_STDOUT);
                        else if (fds[i].fd == c->err)
                                forward(c, &c->err, FRAME_STDERR);
                        else if (fds[i].fd == c->in)
                                feed(c);
                }
                if (fds[1].revents & POLLIN) {
                        while (read(signals, &info, sizeof(info)) > 0)
                                ;
                        reap();
                }
                if (fds[0].revents & POLLIN)
                        receive();
                else if (fds[0].revents & POLLHUP)
                        usleep(10000);
        }
}
