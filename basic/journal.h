/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Structured journal entries that never wait: sd_journal_send(3) blocks while journald's socket is full, and
 * a supervisor that blocks holds calls of its target. So entries are single datagrams of the documented
 * protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/) with MSG_DONTWAIT; one that doesn't fit is dropped,
 * and counted by the caller. */

#include <stdbool.h>
#include <stddef.h>

/* Opens the socket to journald. Do it before the process changes its root. Return: the fd, or a negative
 * errno. */
int journal_open(void);

/* Sends one entry of "n" fields "NAME=value" (values may hold newlines). Return: 0, -EAGAIN if journald is
 * too slow, or another negative errno. */
int journal_send(int fd, const char *const *fields, size_t n);
