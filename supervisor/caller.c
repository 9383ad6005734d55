/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/fd.h"
#include "supervisor/caller.h"
#include "supervisor/kernel-files.h"
#include "supervisor/thread-entry.h"
#include "supervisor/verdict.h"

/* Groups of the caller in hand. There's one at a time. */
static gid_t *group_buffer;
static size_t group_buffer_size;

int caller_setup(void) {
        int r;

        r = thread_entry_setup();
        return r < 0 ? r : userns_setup();
}

void caller_init(Caller *caller, int listener, uint64_t id, pid_t tid) {
        caller->listener = listener;
        caller->id = id;
        caller->tid = tid;
}

void caller_close(Caller *caller) {
        caller->root_fd = close_fd(caller->root_fd);
        caller->mem_fd = close_fd(caller->mem_fd);
        caller->proc_fd = -1;
}

/* Parses "NUMBER NUMBER ..." of a Groups: line into the group buffer. */
static int parse_groups(const char *p, size_t *ret_n) {
        size_t n = 0;

        for (;;) {
                char *end;
                unsigned long gid = strtoul(p, &end, 10);

                if (end == p)
                        break;

                if (n >= CALLER_GROUPS_MAX)
                        return -E2BIG;
                if (n >= group_buffer_size) {
                        size_t size = group_buffer_size ? group_buffer_size * 2 : 64;
                        gid_t *b = reallocarray(group_buffer, size, sizeof(gid_t));

                        if (!b)
                                return -ENOMEM;
                        group_buffer = b;
                        group_buffer_size = size;
                }

                group_buffer[n++] = (gid_t) gid;
                p = end;
                if (*p == ' ')
                        p++;
                if (*p == '\n')
                        break;
        }

        *ret_n = n;
        return 0;
}

/* Parses the four ids of a Uid: or Gid: line: real, effective, saved, file system. */
static int parse_ids(const char *p, uint32_t ret[4]) {
        for (size_t i = 0; i < 4; i++) {
                char *end;

                ret[i] = (uint32_t) strtoul(p, &end, 10);
                if (end == p)
                        return -EBADMSG;
                p = end;
        }

        return 0;
}

/* Fills in what /proc/TID/status knows. See proc_pid_status(5); ids are shown in the reader's user namespace,
 * ours. It's the only place that tells umask and groups, so the rest is taken from it as well. */
static int parse_status(Caller *caller, const char *status) {
        static const char *const wanted[] = { "\nUmask:\t", "\nTgid:\t", "\nUid:\t", "\nGid:\t",
                "\nGroups:\t", "\nCapEff:\t" };
        const char *at[6], *p = status;
        uint32_t uids[4], gids[4];

        /* They come in this order, whatever stands between them. The first line is the name, which the caller
         * chooses; newlines in it are escaped. */
        for (size_t i = 0; i < 6; i++) {
                p = strstr(p, wanted[i]);
                if (!p)
                        return -EBADMSG;
                p += strlen(wanted[i]);
                at[i] = p;
                p--;
        }

        caller->umask = (mode_t) strtoul(at[0], NULL, 8);
        caller->tgid = (pid_t) strtol(at[1], NULL, 10);
        if (parse_ids(at[2], uids) < 0 || parse_ids(at[3], gids) < 0)
                return -EBADMSG;
        caller->euid = uids[1];
        caller->fsuid = uids[3];
        caller->fsgid = gids[3];
        caller->effective = strtoull(at[5], NULL, 16);

        int r = parse_groups(at[4], &caller->n_groups);
        caller->groups = group_buffer;
        return r;
}

/* The status of a dead thread is ESRCH. Return: 0, or as an EntryFunc. */
static int read_status(Caller *caller, const ThreadEntry *entry) {
        static char *status;
        static const size_t status_size = 1024 * 1024; /* A full group list is 700 KiB. */
        ssize_t n;

        if (!status) {
                status = malloc(status_size);
                if (!status)
                        return -ENOMEM;
        }

        n = read_kernel_file_piece(entry->status_fd, status, status_size);
        if (n < 0)
                return (int) n;

        return parse_status(caller, status);
}

/* Return: 0; -ESRCH or -EACCES if the entry may be a dead thread's; another negative errno. */
typedef int (*EntryFunc)(Caller *caller, const ThreadEntry *entry);

/* Pins the caller by its kept /proc entries and does this with them; opens them anew if they turn out to be
 * those of a dead thread that had the same number. */
static int with_entry(Caller *caller, EntryFunc func, uint64_t *ret_serial) {
        ThreadEntry *entry;
        int r;

        for (unsigned attempt = 0;; attempt++) {
                r = thread_entry_get(caller->tid, &entry);
                if (r < 0)
                        return r;

                caller->proc_fd = entry->directory_fd;
                r = func(caller, entry);
                if (r >= 0 && ret_serial)
                        *ret_serial = entry->serial;
                if (r != -ESRCH && r != -EACCES)
                        return r;

                thread_entry_drop(entry);
                caller->proc_fd = -1;
                caller->userns = NULL;
                if (attempt > 0)
                        return thread_gone_or(-r);
        }
}

static int look_at_userns(Caller *caller, const ThreadEntry *entry) {
        return caller->userns ? 0 : userns_get(entry, &caller->userns);
}

static int look_at_all(Caller *caller, const ThreadEntry *entry) {
        int r = look_at_userns(caller, entry);

        return r < 0 ? r : read_status(caller, entry);
}

int caller_identify(Caller *caller) {
        return with_entry(caller, look_at_all, NULL);
}

bool caller_has_natively(Caller *caller, int capability) {
        if (!caller->userns && with_entry(caller, look_at_userns, NULL) < 0)
                return false;
        if (caller->userns->kind != USERNS_OURS)
                return false;

        return (caller->tgid > 0 || caller_identify(caller) >= 0) &&
               (caller->effective & CAPABILITY_BIT(capability));
}

Reason caller_may_borrow(const Caller *caller, int capability, bool user_allowed) {
        switch (caller->userns->kind) {
        case USERNS_OURS:
                return user_allowed ? REASON_NONE : REASON_USER_NOT_LENT;
        case USERNS_CONTAINER:
                return caller->effective & CAPABILITY_BIT(capability) ? REASON_NONE : REASON_NO_CAPABILITY;
        case USERNS_NESTED:
                return REASON_NESTED_USERNS;
        case USERNS_NOT_ROOTS:
        case USERNS_FOREIGN:
        default:
                return REASON_USERNS_NOT_ROOT;
        }
}

bool caller_maps_owner(const Caller *caller, uid_t uid, gid_t gid) {
        const Userns *u = caller->userns;

        return u->kind == USERNS_CONTAINER && id_ranges_contain(u->uids, u->n_uids, uid) &&
               id_ranges_contain(u->gids, u->n_gids, gid);
}

bool caller_owns_uid(const Caller *caller, uid_t uid) {
        const Userns *u = caller->userns;

        if (uid == 0)
                return false;
        if (u->kind == USERNS_OURS)
                return uid == caller->euid;

        return u->kind == USERNS_CONTAINER && id_ranges_contain(u->uids, u->n_uids, uid) &&
               !id_ranges_contain(u->uids, u->n_uids, 0);
}

uid_t caller_base_uid(const Caller *caller) {
        const Userns *u = caller->userns;

        return u->kind == USERNS_OURS || u->n_uids == 0 ? caller->euid : u->uids[0].outside;
}

CapabilitySet caller_dac_over(const Caller *caller, uid_t uid, gid_t gid) {
        bool counts = caller->userns->kind == USERNS_OURS || caller_maps_owner(caller, uid, gid);

        return counts ? caller->effective & privilege_dac : 0;
}

int caller_open_root(Caller *caller) {
        if (caller->root_fd < 0) {
                caller->root_fd = openat(caller->proc_fd, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
                if (caller->root_fd < 0)
                        return thread_gone_or(errno);
        }

        return caller->root_fd;
}

int caller_open_cwd(Caller *caller) {
        int fd = openat(caller->proc_fd, "cwd", O_PATH | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 ? thread_gone_or(errno) : fd;
}

static int read_open_flags(const Caller *caller, int fd, int *ret) {
        char name[sizeof("fdinfo/") + 3 * sizeof(int)], text[256];
        _cleanup_close_ int info = -1;
        const char *p;
        ssize_t n;

        snprintf(name, sizeof(name), "fdinfo/%i", fd);
        info = openat(caller->proc_fd, name, O_RDONLY | O_CLOEXEC);
        if (info < 0)
                return errno == ENOENT ? -EBADF : thread_gone_or(errno);

        n = read(info, text, sizeof(text) - 1);
        if (n < 0)
                return thread_gone_or(errno);
        text[n] = 0;

        p = strstr(text, "flags:");
        if (!p)
                return -EBADMSG;
        *ret = (int) strtoul(p + strlen("flags:"), NULL, 8);
        return 0;
}

int caller_open_fd(Caller *caller, int fd, int *ret_flags) {
        char name[sizeof("fd/") + 3 * sizeof(int)];
        int opened, r;

        if (fd < 0)
                return -EBADF;

        /* The fd and fdinfo directories belong to the caller and are closed to all else: they're looked into
         * with CAP_DAC_READ_SEARCH. Our right to look at the process itself (ptrace access) is checked all
         * the same. */
        r = privilege_raise(CAPABILITY_BIT(CAP_DAC_READ_SEARCH));
        if (r < 0)
                return r;

        snprintf(name, sizeof(name), "fd/%i", fd);
        opened = openat(caller->proc_fd, name, O_PATH | O_CLOEXEC);
        if (opened < 0)
                opened = errno == ENOENT ? -EBADF : thread_gone_or(errno);

        r = opened >= 0 && ret_flags ? read_open_flags(caller, fd, ret_flags) : 0;
        if (privilege_raise(0) < 0)
                r = -EPERM;
        if (opened >= 0 && r < 0) {
                close_fd(opened);
                return r;
        }

        return opened;
}

int caller_open_namespace(Caller *caller, const char *name) {
        char path[32];
        int fd;

        snprintf(path, sizeof(path), "ns/%s", name);
        fd = openat(caller->proc_fd, path, O_RDONLY | O_CLOEXEC);
        return fd < 0 ? thread_gone_or(errno) : fd;
}

int caller_open_mount_namespace(Caller *caller) {
        _cleanup_close_ int namespace = -1, owner = -1;
        struct stat st;

        namespace = caller_open_namespace(caller, "mnt");
        if (namespace < 0)
                return namespace;
        if (caller_verify(caller) < 0) /* Opened late, so asked again. */
                return -ENOENT;

        owner = ioctl(namespace, NS_GET_USERNS);
        if (owner < 0 || fstat(owner, &st) < 0)
                return -EPERM;

        return st.st_ino == caller->userns->inode ? TAKE_FD(namespace) : -EPERM;
}

static int pin_memory(Caller *caller, const ThreadEntry *entry) {
        int r = caller_open_memory(caller);

        return r == -ENOENT ? -ESRCH : r;
}

int caller_pin_memory(Caller *caller, uint64_t *ret_thread) {
        return with_entry(caller, pin_memory, ret_thread);
}

int caller_verify(const Caller *caller) {
        uint64_t id = caller->id;

        return ioctl(caller->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) < 0 ? -ENOENT : 0;
}

int caller_impersonate(const Caller *caller) {
        return privilege_take_ids(
                        caller->fsuid, caller->fsgid, caller->groups, caller->n_groups, caller->umask);
}
