/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The system calls that deputyd knows how to lend, and the families they come in. A family is what
 * SystemCalls= names: "mknod" stands for mknod and mknodat. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* deputyd notes sets of them for its successor, which may be of another version: once released, a number
 * stays, and new calls come at the end. */
typedef enum CallId {
        CALL_MKNOD,
        CALL_MKNODAT,
        CALL_SETXATTR,
        CALL_LSETXATTR,
        CALL_FSETXATTR,
        CALL_SETXATTRAT,
        CALL_REMOVEXATTR,
        CALL_LREMOVEXATTR,
        CALL_FREMOVEXATTR,
        CALL_REMOVEXATTRAT,
        CALL_GETXATTR,
        CALL_LGETXATTR,
        CALL_FGETXATTR,
        CALL_GETXATTRAT,
        CALL_LISTXATTR,
        CALL_LLISTXATTR,
        CALL_FLISTXATTR,
        CALL_LISTXATTRAT,
        CALL_MOUNT,
        CALL_FSOPEN,
        CALL_FSCONFIG,
        CALL_FSMOUNT,
        CALL_MOVE_MOUNT,
        CALL_MOUNT_SETATTR,
        CALL_SYSINFO,
        CALL_SCHED_SETSCHEDULER,
        CALL_SCHED_SETPARAM,
        CALL_SCHED_SETATTR,
        CALL_SETPRIORITY,
        CALL_IOPRIO_SET,
        CALL_BPF,
        CALL_INIT_MODULE,
        CALL_FINIT_MODULE,
        _CALL_MAX,
        _CALL_INVALID = -22, /* -EINVAL */
} CallId;

/* A set of calls, one bit each. */
typedef uint64_t CallSet;

_Static_assert(_CALL_MAX <= 64, "CallSet has one bit per call");

#define CALL_BIT(id) (UINT64_C(1) << (id))

static inline bool call_set_contains(CallSet set, CallId id) {
        return set & CALL_BIT(id);
}

/* The kernel's name of the call ("mknodat"). NULL for a number that is no CallId. */
const char *call_to_string(CallId id);
/* Return: the call, or _CALL_INVALID. */
CallId call_from_string(const char *name);

/* Looks up what SystemCalls= may name: a call or its family ("mknod" and "mknodat" both are mknod's family)
 * or a group
 * ("@all"). Getters aren't part of the setxattr family: they're lent by ReadBack=. Return: 0 and the set, or
 * -ENOENT. */
int call_set_from_name(const char *name, CallSet *ret);

/* The names that SystemCalls= takes, for messages and completion: a family each by its plainest call, then
 * the groups. Return: the i-th, or NULL beyond the last. */
const char *call_known_name(size_t i);

/* The calls that read extended attributes, which ReadBack= lends. */
CallSet call_set_read_back(void);

/* fsopen(2) and its kin, which NewMountAPI= may leave to the kernel; with what concerns the mounts that come
 * of them. */
CallSet call_set_new_mount_api(void);

/* The set as a blank-separated list of call names, in the order of CallId; free with g_free(). */
char *call_set_to_string(CallSet set);

/* Is this a call that is never left to the kernel? The one exception to law 2: bpf(2) attaches programs to
 * cgroups and takes them off without asking for a capability, so that "let the kernel decide" would let a
 * container take off what the host attached. What we don't do there ourselves fails with EPERM. "args" as in
 * struct seccomp_data. */
bool call_is_guarded(CallId id, const uint64_t args[6]);

/* The number that the call has on every architecture of the kernel since the tables were unified (v5.1; calls
 * >= 403), for calls that an older libseccomp doesn't know by name. Return: the number, or -1 for a call that
 * has none. */
int call_unified_number(CallId id);
