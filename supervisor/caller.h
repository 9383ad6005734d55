/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Who asks: the thread that made a call, pinned and looked at once.
 *
 * notif.pid is a thread id and may be reused as soon as the thread dies, so everything is read through one
 * descriptor of /proc/TID, which belongs to this thread for ever (reads fail with ESRCH after its death), or
 * by id before SECCOMP_IOCTL_NOTIF_ID_VALID says that the thread is still blocked in its call. That check
 * comes once, after all reads (caller_verify()); nothing may be done on the caller's behalf before it (law
 * 3). */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "supervisor/privilege.h"
#include "supervisor/userns.h"
#include "supervisor/verdict.h"

#define CALLER_GROUPS_MAX 65536 /* NGROUPS_MAX */

typedef struct Caller {
        int listener;
        uint64_t id; /* of the notification */
        pid_t tid;
        int proc_fd; /* O_PATH of /proc/TID; not owned, see thread-entry.h */
        int root_fd; /* O_PATH of its root directory, see caller_open_root() */
        int mem_fd;  /* only if a result goes to its memory */

        /* After caller_identify(): */
        pid_t tgid;
        uid_t euid;
        uid_t fsuid;
        gid_t fsgid;
        mode_t umask;
        CapabilitySet effective; /* in its own user namespace */
        gid_t *groups;           /* points to a buffer that the next caller takes over */
        size_t n_groups;
        const Userns *userns;
} Caller;

#define CALLER_INIT                                                                                          \
        { .listener = -1, .proc_fd = -1, .root_fd = -1, .mem_fd = -1 }

/* Opens what is needed to look at callers. Once, at the start, while the process has the host's root. */
int caller_setup(void);

/* Says whose call it is. Costs nothing: the thread is pinned when it's first looked at. (What's only read
 * from its memory needs no pin, just caller_verify().) */
void caller_init(Caller *caller, int listener, uint64_t id, pid_t tid);
void caller_close(Caller *caller);

/* Reads ids, groups, umask, effective capabilities and the user namespace. Return: 0, -ENOENT if it's gone,
 * or another negative errno. */
int caller_identify(Caller *caller);

/* Does the kernel grant this caller what it asks "capability" for by itself, since it holds it in our own
 * user namespace? The container manager does, until it enters the container. Costs one readlink(2) for
 * callers of another namespace. */
bool caller_has_natively(Caller *caller, int capability);

/* Law 1(b): may this caller borrow what the kernel asks "capability" (CAP_*) for? It may if it holds it,
 * effective, in the container's own user namespace; or, for a service without one, if "user_allowed". Return:
 * REASON_NONE if it may, or why not. */
Reason caller_may_borrow(const Caller *caller, int capability, bool user_allowed);

/* Is an object of this owner and group (as stat(2) shows them to us) mapped in the caller's user namespace?
 * What the kernel asks before a capability of that namespace counts for an inode. Always false for callers of
 * our own namespace: their capabilities count in the kernel without us. */
bool caller_maps_owner(const Caller *caller, uid_t uid, gid_t gid);

/* Is this user, as the host knows it, one of the caller's container, or the caller itself if it isn't in one?
 * Never the host's root, and nobody is if the container's root is the host's. */
bool caller_owns_uid(const Caller *caller, uid_t uid);

/* The host's id of the container's first user, which names the container among others; the caller's own
 * outside of containers. */
uid_t caller_base_uid(const Caller *caller);

/* Which of the caller's capabilities over file permissions (privilege_dac) count for an object of this owner
 * and group? */
CapabilitySet caller_dac_over(const Caller *caller, uid_t uid, gid_t gid);

/* Opens the caller's root directory (O_PATH), once. Return: the fd (stays the caller's), or a negative errno.
 */
int caller_open_root(Caller *caller);
/* Opens the caller's working directory (O_PATH). Return: a new fd, or a negative errno. */
int caller_open_cwd(Caller *caller);
/* Opens what the caller's descriptor refers to, as O_PATH. Return: a new fd, -EBADF if it has none of that
 * number, or another negative errno. "ret_flags", if not NULL, gets the open flags of the caller's
 * descriptor. */
int caller_open_fd(Caller *caller, int fd, int *ret_flags);
/* Opens one of the caller's namespaces ("mnt", "user" …). Return: a new fd, or a negative errno. */
int caller_open_namespace(Caller *caller, const char *name);
/* Opens the caller's mount namespace, if it belongs to the caller's own user namespace: only then does the
 * caller's CAP_SYS_ADMIN let it mount there. (A user namespace may well live in the host's mount namespace.)
 * Verifies the caller. Return: a new fd; -EPERM if it belongs to another; -ENOENT; another negative errno. */
int caller_open_mount_namespace(Caller *caller);

/* Copies memory of the caller. Return: 0; -EFAULT if any byte can't be read; -ENOENT if it's gone; another
 * negative errno. */
int caller_read(const Caller *caller, uint64_t address, void *buffer, size_t size);
/* Copies a string, at most size - 1 bytes and NUL. Return: its length; -ENAMETOOLONG if there's no NUL in
 * that many bytes; -EFAULT; as above. */
ssize_t caller_read_string(const Caller *caller, uint64_t address, char *buffer, size_t size);

/* Copies two pieces of memory with one system call. Return: 0 if all of both was read; else a negative errno,
 * which doesn't say what is amiss: read each by itself to know. */
int caller_read_both(const Caller *caller, uint64_t address_a, void *a, size_t size_a, uint64_t address_b,
                void *b, size_t size_b);
/* How many bytes from this address to the end of its page: so many can be read if the first can. */
size_t caller_page_rest(uint64_t address);

/* Prepares to write to the caller's memory: to be called before caller_verify(), as the descriptor pins the
 * memory of now, which another image can't get hold of by execve(2). Return: 0 or a negative errno. */
int caller_open_memory(Caller *caller);
/* Pins the caller and opens its memory, and no more, for calls that ask for no credentials. *ret_thread is a
 * number by which the thread can be known again: no other one ever gets it. Return: 0, -ENOENT if it's gone,
 * or another negative errno. */
int caller_pin_memory(Caller *caller, uint64_t *ret_thread);
/* Writes. Return: 0; -EFAULT if the caller itself couldn't write there (nothing is written then, or only a
 * part, as natively). */
int caller_write(Caller *caller, uint64_t address, const void *data, size_t size);

/* Is it still the caller's call that we're serving? Return: 0 or -ENOENT. */
int caller_verify(const Caller *caller);

/* Becomes the caller as far as the file system is concerned. Return: 0 or a negative errno. */
int caller_impersonate(const Caller *caller);
