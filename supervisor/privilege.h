/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which privileges the supervisor holds, and when.
 *
 * Permitted for its whole life: only what the policy's handlers ask for, and what is needed to look at
 * callers. Effective while it works: of those, all but the capabilities that override file permissions
 * (privilege_dac) and CAP_SYS_NICE, which counts for every process of the host. The file system ids, groups
 * and umask are the caller's, and they rest there until the next call: most targets are one user's, and
 * switching costs more than the call itself. So the kernel checks each path as it would for the caller (law
 * 1). */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef uint64_t CapabilitySet;

#define CAPABILITY_BIT(cap) (UINT64_C(1) << (cap))

/* Looks at callers: their memory and /proc entries (SYS_PTRACE), their namespaces (SYS_ADMIN), their root
 * directory (SYS_CHROOT); takes their ids (SETUID, SETGID). */
extern const CapabilitySet privilege_base;
/* Override file permissions: raised for single operations only. */
extern const CapabilitySet privilege_dac;

/* Gives up all but "keep" (and what isn't held anyway), for good: bounding, inheritable, permitted and
 * ambient sets; keeps capabilities when the file system ids change; forbids new privileges and makes the
 * process undumpable. Return: 0 or a negative errno. */
int privilege_drop(CapabilitySet keep);

/* For a child: gives up all but "keep" at once and for good, privilege_raise() included. The bounding set and
 * no_new_privs are those of privilege_drop(). Return: 0 or a negative errno. */
int privilege_keep_only(CapabilitySet keep);

/* Makes "set" effective in addition to the resting set, or just the resting set (0). Return: 0 or a negative
 * errno. */
int privilege_raise(CapabilitySet set);

/* Makes just "set" effective, without what else rests: for a call in which CAP_SYS_ADMIN would count for more
 * than what's lent. privilege_raise(0) ends it. Return: 0 or a negative errno. */
int privilege_limit(CapabilitySet set);

/* Takes over a real user id, by which the kernel remembers who made an object, for a call that has nothing to
 * do with files: the file system uid is our own until privilege_return_real_uid(). Return: 0 or a negative
 * errno. */
int privilege_take_real_uid(uid_t uid);
int privilege_return_real_uid(void);

/* Takes over file system uid, gid, supplementary groups and umask; cheap when they're the ones already in
 * force. Return: 0 or a negative errno (the process then has ids that are neither's: it must not act). */
int privilege_take_ids(uid_t uid, gid_t gid, const gid_t *groups, size_t n_groups, mode_t mask);
