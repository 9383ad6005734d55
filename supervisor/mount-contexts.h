/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a supervisor remembers between the calls of the new mount interface: contexts that callers have opened
 * with fsopen(2) and what they have set in them, and mounts that fsmount(2) has made and nobody has attached
 * yet.
 *
 * A context is known by its open file, of which we keep a descriptor: kcmp(2) tells whether a descriptor of a
 * caller is that very file, whoever has it by now and under which number. A mount is known by its root: it's
 * pinned here, so nothing else can have its id.
 *
 * A supervisor that was long in one call isn't the one that receives the next (see serve.c). So the table is
 * in shared memory: another supervisor of the same target finds it, and takes over the entry that it needs,
 * with its descriptors. There's no lock; an entry changes hands by its "owner".
 *
 * Everything is bounded, in number and in time: what nobody comes back for is let go of. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Of one target. Beyond it, the one that wasn't used for the longest time goes. */
#define MOUNT_CONTEXTS_MAX 64u
#define MOUNT_KEPT_MAX     64u

/* Parameters of one context: mount(2) has room for 4096 bytes. */
#define MOUNT_CONTEXT_BYTES_MAX 8192u

/* As fsconfig(2): longest key and value, with NUL. Names of types aren't longer either. */
#define MOUNT_CONTEXT_STRING_MAX 256u

/* A context or mount that isn't used is kept for so long; a context that isn't where its opener got it any
 * more (closed; or passed on, so that somebody else may still come), for less, and for still less if it has a
 * superblock, which keeps a device busy. */
#define MOUNT_CONTEXT_USEC                (UINT64_C(300) * 1000 * 1000)
#define MOUNT_CONTEXT_ORPHAN_USEC         (UINT64_C(30) * 1000 * 1000)
#define MOUNT_CONTEXT_CREATED_ORPHAN_USEC (UINT64_C(3) * 1000 * 1000)

/* Besides the pid of the supervisor that has the entry: */
#define MOUNT_ENTRY_FREE  0  /* nothing in it */
#define MOUNT_ENTRY_BUSY  -1 /* in use: by its owner for a call, or by one who takes it over */
#define MOUNT_ENTRY_TAKEN -2 /* taken over; its former owner is to close its descriptors */

typedef enum MountContextState {
        MOUNT_CONTEXT_OPEN,    /* parameters are being set */
        MOUNT_CONTEXT_CREATED, /* there's a superblock, and a mount of it for fsmount(2) */
        MOUNT_CONTEXT_MOUNTED, /* fsmount(2) was here */
        MOUNT_CONTEXT_FAILED,  /* creation failed */
} MountContextState;

/* What has been set, in its order. */
typedef struct MountParameters {
        char type[MOUNT_CONTEXT_STRING_MAX];
        uint32_t n_bytes;
        char bytes[MOUNT_CONTEXT_BYTES_MAX]; /* for each: '=' KEY 0 VALUE 0, or ' ' KEY 0 */
} MountParameters;

typedef struct MountContext {
        _Atomic int32_t owner;
        int32_t fd;         /* the caller's context */
        int32_t tree_fd;    /* MOUNT_CONTEXT_CREATED: the detached mount, not handed out; else -1 */
        int32_t opener;     /* thread id */
        int32_t opener_fd;  /* the number that it has there */
        uint32_t state;     /* MountContextState */
        uint64_t used_usec; /* CLOCK_MONOTONIC */
        bool unknown;       /* something was set in it that we can't repeat: it's never created by us */
        MountParameters parameters;
} MountContext;

typedef struct MountKept {
        _Atomic int32_t owner;
        int32_t tree_fd;  /* of fsmount(2): closing it dissolves the mount if it isn't attached */
        int32_t watch_fd; /* its root directory: locked by the caller's open file as long as that's open */
        bool locked;
        bool read_only; /* the mount's own flag: statvfs(2) doesn't tell it from its superblock's */
        uint64_t since_usec;
        uint64_t device, inode, id;
        MountParameters parameters; /* to make it once more */
} MountKept;

/* Can this kernel compare open files? Without it no context can be known again. */
bool mount_contexts_supported(void);

/* Takes over what other supervisors of the target have and aren't at work on, as far as there's room. Return:
 * whether any of them has a table. */
bool mount_contexts_take_over(const pid_t *others, size_t n_others);

/* Takes "fd" over, unless it fails. Return: 0 or a negative errno. */
int mount_context_add(int fd, const char *type, pid_t opener, int opener_fd, uint64_t now_usec);

/* Which context is descriptor "fd" of thread "tid"? "others" are the other supervisors of the target. The
 * caller is to be verified afterwards. Return: 1 and the entry, which nobody takes over until it's released;
 * 0, it's none of ours; -EBUSY: another supervisor is at work on it. */
int mount_context_find(pid_t tid, int fd, const pid_t *others, size_t n_others, uint64_t now_usec,
                MountContext **ret);

/* Notes a parameter; "value" is NULL for a flag. Return: 0, or -E2BIG; the context is then one of those that
 * we can't repeat. */
int mount_context_add_option(MountContext *context, const char *key, const char *value);

/* Goes through the parameters: start with *position 0. Return: false at the end. */
bool mount_parameters_next(const MountParameters *parameters, size_t *position, const char **ret_key,
                const char **ret_value);

void mount_context_release(MountContext *context);

/* Takes both descriptors over, in any case. Return: 0 or a negative errno. */
int mount_kept_add(int tree_fd, int watch_fd, bool locked, bool read_only, const MountParameters *parameters,
                uint64_t now_usec);

/* Which kept mount has this (O_PATH) descriptor as its root? Return: 1 and the entry, to be released or
 * dropped; 0, it's none of ours. */
int mount_kept_find(int fd, const pid_t *others, size_t n_others, MountKept **ret);
void mount_kept_release(MountKept *kept);

/* Closes its descriptors: it's attached. */
void mount_kept_drop(MountKept *kept);

/* Lets go of what nobody needs: attached mounts, and what's closed, too old, or taken over. Return: how many
 * contexts and mounts are left. */
size_t mount_contexts_sweep(uint64_t now_usec, size_t *ret_n_mounts);

/* Is there anything that a caller may come back for? */
bool mount_contexts_pending(void);
