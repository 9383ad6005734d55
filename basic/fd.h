/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* File descriptors with visible owners: -1 when empty, closed when their variable leaves its scope, handed
 * over with TAKE_FD(). Every descriptor of the project is born with O_CLOEXEC. */

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Closes fd if it's one, keeps errno. Returns -1, for "fd = close_fd(fd)". */
int close_fd(int fd);

static inline void close_fdp(int *fd) {
        close_fd(*fd);
}

#define _cleanup_close_ __attribute__((cleanup(close_fdp)))

/* Hands the descriptor over: evaluates to it and leaves -1 behind. */
#define TAKE_FD(fd)                                                                                          \
        ({                                                                                                   \
                int *_pfd = &(fd);                                                                           \
                int _taken = *_pfd;                                                                          \
                *_pfd = -1;                                                                                  \
                _taken;                                                                                      \
        })

/* Sends one message of "size" bytes over a connected or (if "address" is given) unconnected AF_UNIX socket,
 * with up to PROTOCOL_FDS_MAX descriptors attached (which stay the caller's). Return: 0, or a negative errno.
 * Never raises SIGPIPE. */
int send_fds(int sock, const void *data, size_t size, const int *fds, size_t n_fds, int flags);

/* Receives one message. Up to "n_fds" descriptors are stored in "ret_fds" (O_CLOEXEC, now the caller's;
 * unused entries are -1); more than that are closed and the message is refused with -EXFULL, as is one whose
 * ancillary data was cut off. Return: the message's length (0: the peer has closed), -EMSGSIZE if it didn't
 * fit, or another negative errno. */
ssize_t receive_fds(int sock, void *data, size_t size, int *ret_fds, size_t n_fds, int flags);

/* Makes a memfd named "name" with the given content and seals it against every change.
 * Return: the descriptor, or a negative errno. */
int memfd_new_sealed(const char *name, const void *data, size_t size);

/* Reads a whole file or memfd from its start into a NUL-terminated buffer (free with g_free()); refuses with
 * -E2BIG what's longer than "max" bytes. Return: 0, or a negative errno. */
int read_fd_full(int fd, size_t max, char **ret, size_t *ret_size);

/* Is this descriptor the listener of a seccomp filter? Return: 1 yes, 0 no, or a negative errno. */
int fd_is_seccomp_listener(int fd);
