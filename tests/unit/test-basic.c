/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* basic/: descriptors that are handed over, journal datagrams, the shared state of a target, log levels. */

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/fd.h"
#include "basic/install-path.h"
#include "basic/journal.h"
#include "basic/log.h"
#include "basic/protocol.h"
#include "basic/target-state.h"

static void make_pair(int type, int ret[2]) {
        cr_assert_eq(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ret), 0);
}

static unsigned count_fds(void) {
        unsigned n = 0;

        for (int fd = 0; fd < 1024; fd++)
                n += fcntl(fd, F_GETFD) >= 0;
        return n;
}

static bool is_cloexec(int fd) {
        return fcntl(fd, F_GETFD) & FD_CLOEXEC;
}

Test(fd, close_fd_keeps_errno_and_ignores_no_fd) {
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

        errno = EXFULL;
        fd = close_fd(fd);
        cr_assert_eq(fd, -1);
        cr_assert_eq(close_fd(fd), -1);
        cr_assert_eq(errno, EXFULL);
}

Test(fd, take_fd_leaves_none_behind) {
        int fd = 7, taken = TAKE_FD(fd);

        cr_assert_eq(taken, 7);
        cr_assert_eq(fd, -1);
}

Test(fd, sent_descriptors_arrive_and_stay_the_senders) {
        int pair[2], sent[2], received[2];
        char text[16];

        make_pair(SOCK_SEQPACKET, pair);
        sent[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        sent[1] = open("/dev/zero", O_RDONLY | O_CLOEXEC);

        cr_assert_eq(send_fds(pair[0], "hello", 5, sent, 2, 0), 0);
        cr_assert_eq(receive_fds(pair[1], text, sizeof(text), received, 2, 0), 5);
        cr_assert_arr_eq(text, "hello", 5);
        for (int i = 0; i < 2; i++) {
                struct stat a, b;

                cr_assert_eq(fstat(sent[i], &a), 0);
                cr_assert_eq(fstat(received[i], &b), 0);
                cr_assert_eq(a.st_rdev, b.st_rdev);
                cr_assert_neq(sent[i], received[i]);
                cr_assert(is_cloexec(received[i]));
        }
}

Test(fd, unused_places_are_empty) {
        int pair[2], received[3] = { 5, 5, 5 };
        char text[4];

        make_pair(SOCK_DGRAM, pair);
        cr_assert_eq(send_fds(pair[0], "x", 1, &pair[0], 1, 0), 0);
        cr_assert_eq(receive_fds(pair[1], text, sizeof(text), received, 3, 0), 1);
        cr_assert_geq(received[0], 0);
        cr_assert_eq(received[1], -1);
        cr_assert_eq(received[2], -1);
}

Test(fd, too_many_descriptors_are_refused_and_closed) {
        int pair[2], sent[PROTOCOL_FDS_MAX], received[1];
        char text[4];
        unsigned before;

        make_pair(SOCK_DGRAM, pair);
        for (unsigned i = 0; i < PROTOCOL_FDS_MAX; i++)
                sent[i] = pair[0];
        before = count_fds();
        cr_assert_eq(send_fds(pair[0], "x", 1, sent, PROTOCOL_FDS_MAX, 0), 0);
        cr_assert_eq(receive_fds(pair[1], text, sizeof(text), received, 1, 0), -EXFULL);
        cr_assert_eq(count_fds(), before);
}

/* More than receive_fds() has room for, so that the kernel cuts the list off. */
Test(fd, hundred_descriptors_are_refused_and_closed) {
        char control[CMSG_SPACE(100 * sizeof(int))] = {}, text[4];
        struct iovec iov = { (void *) "x", 1 };
        struct msghdr message = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
        };
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);
        int pair[2], received[1];
        unsigned before;

        make_pair(SOCK_DGRAM, pair);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(100 * sizeof(int));
        for (int i = 0; i < 100; i++)
                memcpy(CMSG_DATA(cmsg) + (size_t) i * sizeof(int), &pair[0], sizeof(int));
        before = count_fds();
        cr_assert_eq(sendmsg(pair[0], &message, 0), 1);
        cr_assert_lt(receive_fds(pair[1], text, sizeof(text), received, 1, 0), 0);
        cr_assert_eq(count_fds(), before);
}

Test(fd, long_message_is_refused_and_its_descriptor_closed) {
        int pair[2], received[1];
        char text[4];
        unsigned before;

        make_pair(SOCK_DGRAM, pair);
        before = count_fds();
        cr_assert_eq(send_fds(pair[0], "too long", 8, &pair[0], 1, 0), 0);
        cr_assert_eq(receive_fds(pair[1], text, sizeof(text), received, 1, 0), -EMSGSIZE);
        cr_assert_eq(count_fds(), before);
}

Test(fd, closed_peer_reads_as_nothing) {
        int pair[2], received[1];
        char text[4];

        make_pair(SOCK_SEQPACKET, pair);
        close(pair[0]);
        cr_assert_eq(receive_fds(pair[1], text, sizeof(text), received, 1, 0), 0);
}

Test(fd, sending_to_a_closed_peer_is_an_error_and_no_signal) {
        int pair[2];

        make_pair(SOCK_SEQPACKET, pair);
        close(pair[1]);
        cr_assert_eq(send_fds(pair[0], "x", 1, NULL, 0, 0), -EPIPE);
}

Test(fd, sealed_memfd_cant_be_changed) {
        int fd = memfd_new_sealed("test", "content", 7);
        g_autofree char *text = NULL;
        size_t size;

        cr_assert_geq(fd, 0);
        cr_assert(is_cloexec(fd));
        cr_assert_eq(pwrite(fd, "x", 1, 0), -1);
        cr_assert_eq(ftruncate(fd, 0), -1);
        cr_assert_eq(ftruncate(fd, 100), -1);
        cr_assert_eq(mmap(NULL, 7, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
        cr_assert_eq(read_fd_full(fd, 7, &text, &size), 0);
        cr_assert_eq(size, 7);
        cr_assert_str_eq(text, "content");
        close(fd);
}

Test(fd, reading_has_a_limit) {
        _cleanup_close_ int fd = memfd_new_sealed("test", "content", 7);
        char *text = NULL;
        size_t size;

        cr_assert_eq(read_fd_full(fd, 6, &text, &size), -E2BIG);
        cr_assert_null(text);
}

Test(fd, empty_file_reads_as_empty_string) {
        _cleanup_close_ int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        g_autofree char *text = NULL;
        size_t size = 1;

        cr_assert_eq(read_fd_full(fd, 100, &text, &size), 0);
        cr_assert_eq(size, 0);
        cr_assert_str_eq(text, "");
}

/* In a child, since a filter can't be taken off again. */
Test(fd, listener_is_told_from_other_descriptors) {
        struct sock_filter insns[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
        struct sock_fprog program = { 1, insns };
        int pair[2], status;
        pid_t pid = fork();

        if (pid == 0) {
                int fd;

                prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                fd = (int) syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
                                &program);
                _exit(fd >= 0 && fd_is_seccomp_listener(fd) == 1 ? 0 : 1);
        }
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);

        make_pair(SOCK_STREAM, pair);
        cr_assert_eq(fd_is_seccomp_listener(pair[0]), 0);
        cr_assert_eq(fd_is_seccomp_listener(STDIN_FILENO), 0);
        cr_assert_lt(fd_is_seccomp_listener(999), 1);
}

Test(log, levels_have_names) {
        cr_assert_eq(log_level_from_string("debug"), LOG_DEBUG);
        cr_assert_eq(log_level_from_string("emerg"), LOG_EMERG);
        cr_assert_eq(log_level_from_string("nonsense"), -EINVAL);
        for (int level = LOG_EMERG; level <= LOG_DEBUG; level++)
                cr_assert_eq(log_level_from_string(log_level_to_string(level)), level);
        cr_assert_null(log_level_to_string(8));
        cr_assert_null(log_level_to_string(-1));
}

Test(log, errors_come_back_negative) {
        log_set_level(LOG_EMERG);
        cr_assert_eq(log_error_errno(ENOENT, "x"), -ENOENT);
        cr_assert_eq(log_error_errno(-ENOENT, "x"), -ENOENT);
}

/* Entries as a reader of the protocol sees them: plain fields on one line, others with their size. */
Test(journal, values_with_newlines_are_framed) {
        static const char *const fields[] = { "MESSAGE=plain", "DEPUTYD_ARGUMENTS=two\nlines" };
        static const char expected[] = "MESSAGE=plain\nDEPUTYD_ARGUMENTS\n\x09\0\0\0\0\0\0\0two\nlines\n";
        char text[256];
        int pair[2];

        make_pair(SOCK_DGRAM, pair);
        cr_assert_eq(journal_send(pair[0], fields, 2), 0);
        cr_assert_eq(recv(pair[1], text, sizeof(text), 0), (ssize_t) sizeof(expected) - 1);
        cr_assert_arr_eq(text, expected, sizeof(expected) - 1);
}

Test(journal, full_socket_doesnt_block, .timeout = 10) {
        static const char *const fields[] = { "MESSAGE=x" };
        int pair[2], r = 0;

        make_pair(SOCK_DGRAM, pair);
        for (int i = 0; i < 100000 && r == 0; i++)
                r = journal_send(pair[0], fields, 1);
        cr_assert_eq(r, -EAGAIN);
}

Test(target_state, new_one_is_empty_and_shared) {
        TargetState *a, *b;
        int fd;

        cr_assert_eq(target_state_new(&fd), 0);
        cr_assert(is_cloexec(fd));
        cr_assert_eq(target_state_map(fd, &a), 0);
        cr_assert_eq(target_state_map(fd, &b), 0);
        cr_assert_eq(a->magic, TARGET_STATE_MAGIC);
        cr_assert_eq(a->slots[0].notification.id, 0);
        atomic_fetch_add(&a->calls[3].received, 5);
        cr_assert_eq(atomic_load(&b->calls[3].received), 5);
        cr_assert_null(target_state_unmap(a));
        cr_assert_null(target_state_unmap(b));
        cr_assert_null(target_state_unmap(NULL));
        close(fd);
}

Test(target_state, wrong_ones_are_refused) {
        _cleanup_close_ int small = memfd_new_sealed("small", "x", 1), fd = -1;
        TargetState *state = NULL;
        uint32_t wrong = 0;

        cr_assert_lt(target_state_map(small, &state), 0);
        cr_assert_eq(target_state_new(&fd), 0);
        cr_assert_eq(pwrite(fd, &wrong, sizeof(wrong), offsetof(TargetState, magic)), sizeof(wrong));
        cr_assert_eq(target_state_map(fd, &state), -EBADMSG);
        cr_assert_null(state);
}

Test(target_state, its_size_is_fixed) {
        _cleanup_close_ int fd = -1;

        cr_assert_eq(target_state_new(&fd), 0);
        cr_assert_eq(ftruncate(fd, 0), -1,
                        "a supervisor that's gone wild could take the memory from under deputyd");
}

Test(target_state, quantiles_come_from_the_buckets) {
        TargetState *state;
        int fd;

        cr_assert_eq(target_state_new(&fd), 0);
        cr_assert_eq(target_state_map(fd, &state), 0);
        cr_assert_eq(target_state_latency_quantile(state, 0.5), 0);
        state->latency[10] = 99; /* about 1 to 2 µs */
        state->latency[20] = 1;  /* about 1 to 2 ms */
        cr_assert_geq(target_state_latency_quantile(state, 0.5), 1 << 10);
        cr_assert_leq(target_state_latency_quantile(state, 0.5), 1 << 11);
        cr_assert_geq(target_state_latency_quantile(state, 1), 1 << 20);
        cr_assert_leq(target_state_latency_quantile(state, 1), 1 << 21);
        target_state_unmap(state);
        close(fd);
}

Test(install_path, unknown_files_are_where_they_were_configured_to_be) {
        char *path = NULL;

        cr_assert_eq(install_path("no-such-file", &path), 0);
        cr_assert_str_eq(path, PKGLIBDIR "/no-such-file");
        free(path);
}
