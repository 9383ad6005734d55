/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One mount to make on a caller's behalf: what's asked for, whether it's lent, and the making of it. Both
 * interfaces of the kernel, mount(2) and fsopen(2) and its kin, end up here:
 *
 *      mount_request_init()             type, source, options, flags go in, as copied from the caller
 *      mount_request_check()            law 1(a): the policy. Resolves the source, as the caller; verifies it
 *      mount_request_create()           superblock and a detached mount of it, idmapped
 *      mount_request_finish()           the mount's own attributes, locked against the container
 *      mount_request_attach()           (mount(2) only: in the new interface the caller attaches it)
 *
 * The caller's file system ids must be in force (caller_impersonate()) from the check on. Whether it may
 * borrow CAP_SYS_ADMIN at all (law 1(b)) is mount_request_may_borrow(). */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "policy/policy.h"
#include "supervisor/caller.h"
#include "supervisor/verdict.h"

typedef struct MountOption {
        char *name;
        char *value; /* NULL: it has none ("quota", not "uid=0") */
} MountOption;

typedef enum MountSourceKind {
        MOUNT_SOURCE_NAME,   /* a mere name, or nothing: the type needs no device */
        MOUNT_SOURCE_DEVICE, /* a block device */
        MOUNT_SOURCE_IMAGE,  /* a regular file */
} MountSourceKind;

typedef struct MountRequest {
        const Policy *policy;
        Caller *caller;

        /* What's asked for. */
        char *type;
        char *source;        /* as the caller gave it; NULL: none */
        GArray *options;     /* MountOption: of the file system */
        uint64_t sb_flags;   /* of MOUNT_SB_FLAGS */
        uint64_t attributes; /* MOUNT_ATTR_*, see fsmount(2) */
        bool exclusive;      /* the superblock must be a new one (6.6) */

        /* mount_request_check(): what the source is. */
        MountSourceKind kind;
        int source_fd;    /* O_PATH: the very object that was checked; -1 for names */
        int source_error; /* it can't be reached: the errno for the caller, after that of the options */
        dev_t device;

        /* Of a refusal, for people: the policy line that would lend it, or NULL. Of a failure: the kernel's
         * own explanation. Owned. */
        char *hint;
        char *message;
} MountRequest;

/* The flags of mount(2) that belong to the superblock and that fsconfig(2) knows by name. */
#define MOUNT_SB_FLAGS (MS_RDONLY | MS_SYNCHRONOUS | MS_DIRSYNC | MS_MANDLOCK | MS_LAZYTIME)

void mount_request_init(MountRequest *m, const Policy *policy, Caller *caller, const char *type);
void mount_request_done(MountRequest *m);

/* Adds an option, as "name=value" or, if "value" is NULL, "name". Those that every file system has ("ro",
 * "rw", "sync" …) change sb_flags; "source" sets the source. Return: 0, or -EINVAL if there's no end of them
 * (the kernel has room for a page). */
int mount_request_add_option(MountRequest *m, const char *name, const char *value);

/* Law 1(b), and whether it's the caller's own mount namespace to mount in (*ret_namespace_fd, if not NULL;
 * -1 on refusal). Return: REASON_NONE or why not. */
Reason mount_request_may_borrow(const Policy *policy, Caller *caller, int *ret_namespace_fd);

/* Is what's asked for lent? Opens the source by its path, as the caller and after verifying it (law 3), and
 * has no other effect. Return: 0 and in *ret_reason REASON_NONE, REASON_TYPE_NOT_LENT,
 * REASON_SOURCE_NOT_LENT, REASON_OPTION_NOT_LENT or REASON_PATH_NOT_REACHABLE (m->hint then tells what would
 * lend it); -ENOENT if the caller is gone; another negative errno. */
int mount_request_check(MountRequest *m, Reason *ret_reason);

/* May the caller mount on this (O_PATH)? AllowTarget= and, for a user without a container, the owner say so.
 */
bool mount_request_allows_target(const Policy *policy, const Caller *caller, int target_fd);

/* Makes the superblock and a detached mount of it, in the host's namespaces, idmapped as the policy says. It
 * isn't locked yet: it must not get into the hands of a container. Blocks for as long as the file system
 * takes. Return: 0 and a new fd; the errno that the caller would see; or one of ours, in which case
 * *ret_internal is set. m->message may have the kernel's words. */
int mount_request_create(MountRequest *m, int *ret_fd, bool *ret_internal);

/* Sets m->attributes and those that the policy forces (nodev, nosuid …) on the mount, and locks them for the
 * container. Return: 0 and a new fd of the mount that may be handed out or attached ("fd" is then to be
 * closed); or a negative errno, ours. */
int mount_request_finish(MountRequest *m, int fd, int *ret_fd);

/* Attaches the finished mount over what "target_fd" (O_PATH) refers to, in the caller's mount namespace.
 * Return: 0, or the errno that the caller would see. */
int mount_request_attach(MountRequest *m, int fd, int target_fd, int namespace_fd);

/* The policy line that would lend this option of a bpf file system, or NULL if none does. Free with g_free().
 */
char *mount_request_token_hint(const char *option, const char *value);

/* Describes what's asked for, for people. Free with g_free(). */
char *mount_request_describe(const MountRequest *m, const char *target);
