/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Senders are untrusted, and whatever they send, it's read, understood or not, and its descriptors are
 * closed. Nothing that they do stops the reading: PID 1's own socket gives up after an unexpected error, ours
 * can't.
 *
 * Datagrams are worked off in order and each of them completely, up to the entry in the service manager's
 * store: that's what a barrier asks for. */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "basic/protocol.h"
#include "daemon/handover.h"
#include "daemon/intake-message.h"
#include "daemon/intake.h"
#include "daemon/daemon-limits.h"
#include "daemon/store.h"
#include "daemon/target.h"
#include "daemon/unit.h"

#ifndef SO_PASSPIDFD
#        define SO_PASSPIDFD 76
#endif
#ifndef SCM_PIDFD
#        define SCM_PIDFD 0x04
#endif

/* The most that the kernel attaches to one message (SCM_MAX_FD). All are taken and closed by us, in a way
 * that can't block; what the kernel drops for want of room, it closes in our name. */
#define DATAGRAM_FDS_MAX 253u

typedef struct Datagram {
        char data[NOTIFY_MESSAGE_MAX + 1];
        size_t size;
        int fds[DATAGRAM_FDS_MAX];
        size_t n_fds;
        struct ucred credentials;
        int pidfd; /* the kernel's */
        bool has_credentials;
        bool truncated;
} Datagram;

void intake_discard_fd(Manager *m, uid_t uid, int fd) {
        if (uid == 0)
                close_fd(fd);
        else
                closer_close(&m->closer, fd);
}

static void datagram_done(Manager *m, Datagram *d) {
        uid_t uid = d->has_credentials ? d->credentials.uid : (uid_t) -1;

        for (size_t i = 0; i < d->n_fds; i++)
                if (d->fds[i] >= 0)
                        intake_discard_fd(m, uid, d->fds[i]);
        d->n_fds = 0;
        d->pidfd = close_fd(d->pidfd);
}

/* The sender's uid is looked at before its descriptors are taken. */
static bool next_sender_is_root(int fd) {
        union {
                struct cmsghdr header;
                char buffer[CMSG_SPACE(sizeof(struct ucred))];
        } control;
        struct msghdr message = { .msg_control = &control, .msg_controllen = sizeof(control) };
        struct ucred credentials;

        if (recvmsg(fd, &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0)
                return false;

        for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
                if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS &&
                                c->cmsg_len == CMSG_LEN(sizeof(credentials))) {
                        memcpy(&credentials, CMSG_DATA(c), sizeof(credentials));
                        return credentials.uid == 0;
                }

        return false;
}

static void take_control_message(Datagram *d, const struct cmsghdr *c) {
        size_t size = c->cmsg_len - CMSG_LEN(0);

        if (c->cmsg_level != SOL_SOCKET)
                return;

        if (c->cmsg_type == SCM_CREDENTIALS && size == sizeof(d->credentials)) {
                memcpy(&d->credentials, CMSG_DATA(c), size);
                d->has_credentials = d->credentials.pid > 0;
        } else if (c->cmsg_type == SCM_PIDFD && size == sizeof(int)) {
                int fd;

                memcpy(&fd, CMSG_DATA(c), sizeof(fd));
                if (fd >= 0) /* else: the sender is dead */
                        d->pidfd = fd;
        } else if (c->cmsg_type == SCM_RIGHTS)
                for (size_t i = 0; i < size / sizeof(int) && d->n_fds < DATAGRAM_FDS_MAX; i++)
                        memcpy(&d->fds[d->n_fds++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
}

/* Return: 1 if there was a datagram, 0 if not, or a negative errno. */
static int receive(Manager *m, Datagram *d) {
        union {
                struct cmsghdr header;
                char buffer[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int)) +
                                CMSG_SPACE(DATAGRAM_FDS_MAX * sizeof(int))];
        } control;
        struct iovec iov = { .iov_base = d->data, .iov_len = NOTIFY_MESSAGE_MAX };
        struct msghdr message = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        ssize_t n;

        d->n_fds = 0;
        d->pidfd = -1;
        d->has_credentials = d->truncated = false;

        /* Closers are stuck all over the place: until they aren't, only root's descriptors are taken. */
        if (!closer_has_room(&m->closer, DATAGRAM_FDS_MAX) && !next_sender_is_root(m->notify_fd))
                message.msg_controllen = CMSG_SPACE(sizeof(struct ucred));

        n = recvmsg(m->notify_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;

        for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
                take_control_message(d, c);

        d->size = (size_t) n;
        d->truncated = message.msg_flags & (MSG_TRUNC | MSG_CTRUNC);
        return 1;
}

/* Does this pidfd refer to that process? */
static bool pidfd_is_of(int fd, pid_t pid) {
        char path[sizeof("/proc/self/fdinfo/") + 3 * sizeof(int)], line[128];
        bool found = false;
        FILE *f;

        snprintf(path, sizeof(path), "/proc/self/fd/%i", fd);
        if (readlink(path, line, sizeof(line)) <= 0 ||
                        (strncmp(line, "anon_inode:[pidfd]", strlen("anon_inode:[pidfd]")) != 0 &&
                                        strncmp(line, "pidfd:[", strlen("pidfd:[")) != 0))
                return false;

        snprintf(path, sizeof(path), "/proc/self/fdinfo/%i", fd);
        f = fopen(path, "re");
        if (!f)
                return false;

        while (!found && fgets(line, sizeof(line), f)) {
                int number;

                found = sscanf(line, "Pid: %i", &number) == 1 && number == pid;
        }

        (void) fclose(f);
        return found;
}

/* The best reference to the sender that can be had: the kernel's own (6.5 and later), the one it attached
 * itself, or one made from its pid now. Return: a descriptor, or -1 if it's dead. */
static int sender_pidfd(Datagram *d) {
        if (d->pidfd >= 0)
                return TAKE_FD(d->pidfd);

        if (d->n_fds == 2 && pidfd_is_of(d->fds[1], d->credentials.pid))
                return TAKE_FD(d->fds[1]);

        return (int) syscall(SYS_pidfd_open, d->credentials.pid, 0);
}

static bool is_seqpacket(int fd) {
        int domain = -1, type = -1;
        socklen_t size = sizeof(int);

        if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0)
                return false;
        size = sizeof(int);
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
                return false;

        return domain == AF_UNIX && type == SOCK_SEQPACKET;
}

static int on_run(Manager *m, Datagram *d, const IntakeMessage *message) {
        g_autofree char *unit = NULL;
        _cleanup_close_ int pidfd = sender_pidfd(d);
        HandoverSender sender = { .pid = d->credentials.pid, .uid = d->credentials.uid };
        int r;

        if (!is_seqpacket(d->fds[0]))
                return -ENOTSOCK;

        if (message->unit[0] && sender.uid == 0)
                unit = g_strdup(message->unit); /* Root of the initial user namespace may claim anything. */
        else {
                r = unit_of_process(sender.pid, pidfd, &unit);
                if (r < 0 && r != -ENODATA)
                        return r;
        }

        sender.pidfd = TAKE_FD(pidfd);
        sender.unit = unit ?: "";
        handover_start(m, TAKE_FD(d->fds[0]), &sender);
        close_fd(sender.pidfd);
        return 0;
}

static int on_third_party(Manager *m, Datagram *d) {
        g_autoptr(UnitPolicy) policy = NULL;
        g_autofree char *unit = NULL;
        _cleanup_close_ int pidfd = -1;
        TargetParameters parameters;
        Target *t;
        int r;

        r = fd_is_seccomp_listener(d->fds[0]);
        if (r <= 0)
                return r < 0 ? r : -EBADF;

        pidfd = sender_pidfd(d);
        r = unit_of_process(d->credentials.pid, pidfd, &unit);
        if (r < 0)
                (void) log_debug_errno(
                                r, "Failed to find the unit of process %i: %m", (int) d->credentials.pid);

        r = unit_policy_get(m, unit ?: "", &policy);
        if (r < 0)
                return r;

        parameters = (TargetParameters){
                .policy = policy,
                .listener = d->fds[0],
                .leader_pidfd = -1,
                .leader = d->credentials.pid,
                .uid = d->credentials.uid,
                /* The filter is there: without us its calls would fail, so it's served even if nothing is
                   lent. */
                .reason = unit ? NULL
                               : "It's not known which unit it belongs to: the sender is in none, or was "
                                 "gone",
        };

        r = target_new(m, &parameters, &t);
        if (r == -EEXIST) {
                log_debug("Process %i handed a listener over that we have already", (int) d->credentials.pid);
                return 0;
        }
        if (r < 0)
                return r;
        d->fds[0] = -1;

        r = store_push_listener(t);
        if (r < 0)
                (void) log_warning_errno(
                                r, "Failed to keep the listener of target %s for a restart: %m", t->id);

        target_announce(t);
        return 0;
}

static int process(Manager *m, Datagram *d) {
        IntakeMessage message;
        int r;

        if (d->truncated)
                return -EMSGSIZE;
        if (!d->has_credentials)
                return -EACCES;

        r = intake_message_parse(d->data, d->size, d->n_fds, &message);
        if (r < 0)
                return r;

        switch (message.kind) {
        case INTAKE_RUN:
                return on_run(m, d, &message);
        case INTAKE_LISTENER:
                return on_third_party(m, d);
        case INTAKE_BARRIER:
                break; /* Everything before it is done; closing its descriptor says so. */
        }

        return 0;
}

static void complain(Manager *m, const Datagram *d, int error) {
        int pid = d->has_credentials ? (int) d->credentials.pid : 0;
        unsigned skipped;

        (void) log_debug_errno(error, "Ignored a datagram of process %i (%zu bytes, %zu descriptors): %m",
                        pid, d->size, d->n_fds);

        /* A barrier or READY=1 of a program that takes us for PID 1 is nothing to warn of. */
        if (error == -ENOMSG || !message_limit_pass(&m->intake_limit, &skipped))
                return;

        if (skipped > 0)
                log_warning("Ignored %u more datagrams on the notify socket", skipped);
        (void) log_warning_errno(error, "Ignored a datagram of process %i on the notify socket: %m", pid);
}

static int on_notify(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Manager *m = userdata;
        Datagram d;
        int r;

        for (unsigned i = 0; i < DATAGRAMS_PER_WAKE_UP; i++) {
                r = receive(m, &d);
                if (r == 0)
                        break;
                if (r < 0) {
                        (void) log_debug_errno(r, "Failed to receive a datagram: %m");
                        break;
                }

                r = process(m, &d);
                if (r < 0)
                        complain(m, &d, r);
                datagram_done(m, &d);
        }

        return 0;
}

static int bind_socket(Manager *m, const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = -1;

        if (strlen(path) >= sizeof(address.sun_path))
                return log_error_errno(ENAMETOOLONG, "Can't listen on %s: %m", path);
        strcpy(address.sun_path, path);

        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return log_error_errno(errno, "Failed to make a socket: %m");

        /* A dead predecessor's. One that lives keeps its descriptor, but gets nothing any more. */
        (void) unlink(path);
        if (bind(fd, (const struct sockaddr *) &address, sizeof(address)) < 0)
                return log_error_errno(errno, "Failed to listen on %s: %m", path);
        if (chmod(path, 0666) < 0)
                return log_error_errno(errno, "Failed to open %s to everybody: %m", path);

        m->bound_path = g_strdup(path);
        m->notify_fd = TAKE_FD(fd);
        return 0;
}

int intake_start(Manager *m, const char *path) {
        int r;

        if (m->notify_fd < 0) {
                r = bind_socket(m, path);
                if (r < 0)
                        return r;
        }

        if (setsockopt(m->notify_fd, SOL_SOCKET, SO_PASSCRED, &(int){ 1 }, sizeof(int)) < 0)
                return log_error_errno(errno, "Failed to ask for senders' credentials: %m");

        /* Linux 6.5 */
        if (setsockopt(m->notify_fd, SOL_SOCKET, SO_PASSPIDFD, &(int){ 1 }, sizeof(int)) < 0)
                (void) log_debug_errno(errno, "The kernel doesn't attach pidfds to datagrams: %m");

        r = sd_event_add_io(m->event, &m->notify_source, m->notify_fd, EPOLLIN, on_notify, m);
        if (r < 0)
                return log_error_errno(r, "Failed to watch the notify socket: %m");

        (void) sd_event_source_set_description(m->notify_source, "notify");
        return 0;
}
