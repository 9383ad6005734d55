/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Descriptors of the caller that are needed themselves (a BPF program, say), where an O_PATH one of the same
 * object (caller_open_fd()) won't do, and descriptors that are made for the caller. */

#include <stdint.h>

#include "supervisor/caller.h"

/* Copies a descriptor of the caller, if it refers to an object of the kernel's of this kind (see
 * descriptor_is()). Anything else is closed at once, before another one is copied: to close a file may wait
 * for a server of the caller's (FUSE), which mustn't live on by what we hold meanwhile. Call it before
 * caller_verify(). Return: a new fd; -EBADF if the caller has none of that number; -EINVAL if it's something
 * else; -ENOENT if it's gone; -EOPNOTSUPP for a thread with descriptors of its own on kernels that can't name
 * it (before 6.9); another negative errno. */
int descriptor_copy(const Caller *caller, int fd, const char *kind);

/* Gives the caller a descriptor of the same open file, under a number of the kernel's choice or (not -1) in
 * place of what has that number. It exists from then on, whatever becomes of the call: the answer is a step
 * of its own. (SECCOMP_ADDFD_FLAG_SEND does both at once, but if we're killed within, the caller may take 0
 * for its descriptor.) O_PATH descriptors can't be given. Return: its number there, or the negative errno
 * that the caller would see; -ENOENT if it's gone. */
int descriptor_give(const Caller *caller, int fd, bool cloexec, int number);

/* Does "fd" (one of ours) refer to an object of the kernel's of this kind ("bpf-prog")? Costs one
 * readlink(2). DESCRIPTOR_BPF_TOKEN is a name that a file can have as well: go on to ask for what only the
 * fdinfo of a token says. */
#define DESCRIPTOR_BPF_TOKEN "/bpf-token (deleted)"
bool descriptor_is(int fd, const char *kind);

/* Does the fdinfo of "fd" (one of ours) say "FIELD:\tNUMBER"? */
bool descriptor_says(int fd, const char *field, unsigned number);

/* What the fdinfo of "fd" (one of ours) says after "FIELD:\t": "0x…", or "any", which is all bits. Return: 0,
 * -ENODATA if there's no such line, or another negative errno. */
int descriptor_read_bits(int fd, const char *field, uint64_t *ret);

/* Looks for a descriptor of the caller whose fdinfo says "FIELD:\tNUMBER" (field "prog_id"). Slow; for a
 * successor that looks for its predecessor's work. Return: its number there, or a negative errno. */
int descriptor_find(const Caller *caller, const char *field, unsigned number);
