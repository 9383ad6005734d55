/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/capability.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/fd.h"
#include "supervisor/mount-contexts.h"
#include "supervisor/mount-id.h"
#include "supervisor/privilege.h"
#include "supervisor/thread-entry.h"

/* By this name others find it among our descriptors. */
#define TABLE_NAME "deputyd-mount-contexts"

typedef struct Table {
        MountContext contexts[MOUNT_CONTEXTS_MAX];
        MountKept kept[MOUNT_KEPT_MAX];
} Table;

/* Made at the first need: most supervisors never have one. It's sparse: an entry that was never used has no
 * memory. */
static Table *table;
static int table_fd = -1;

static Table *map_table(int fd) {
        struct stat st;
        void *p;

        if (fstat(fd, &st) < 0 || st.st_size != sizeof(Table))
                return NULL;

        p = mmap(NULL, sizeof(Table), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        return p == MAP_FAILED ? NULL : p;
}

static int make_table(void) {
        _cleanup_close_ int fd = -1;

        if (table)
                return 0;

        fd = memfd_create(TABLE_NAME, MFD_CLOEXEC);
        if (fd < 0 || ftruncate(fd, sizeof(Table)) < 0)
                return -errno;

        table = map_table(fd);
        if (!table)
                return -ENOMEM;

        table_fd = TAKE_FD(fd);
        return 0;
}

/* Takes an entry into use, so that nobody else does. */
static bool claim(_Atomic int32_t *owner, pid_t from) {
        int32_t expected = (int32_t) from;

        return atomic_compare_exchange_strong(owner, &expected, MOUNT_ENTRY_BUSY);
}

/* Is descriptor "fd" of one process the same open file as descriptor "other_fd" of another? */
static bool same_file(pid_t pid, int fd, pid_t other, int other_fd) {
        return syscall(SYS_kcmp, pid, other, KCMP_FILE, (unsigned long) fd, (unsigned long) other_fd) == 0;
}

bool mount_contexts_supported(void) {
        static int answer = -1;

        if (answer < 0)
                answer = syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILES, 0, 0) == 0;

        return answer > 0;
}

/* A dead supervisor's number may have gone to somebody else by now. */
static bool is_host_root(pid_t pid, int pidfd) {
        char path[64], text[2048];
        _cleanup_close_ int fd = -1;
        struct stat theirs, ours;
        ssize_t n;

        snprintf(path, sizeof(path), "%i/ns/user", (int) pid);
        if (fstatat(thread_entry_proc(), path, &theirs, 0) < 0 ||
                        fstatat(thread_entry_proc(), "self/ns/user", &ours, 0) < 0 ||
                        theirs.st_ino != ours.st_ino)
                return false;

        snprintf(path, sizeof(path), "%i/status", (int) pid);
        fd = openat(thread_entry_proc(), path, O_RDONLY | O_CLOEXEC);
        n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
        if (n < 0)
                return false;
        text[n] = 0;

        return strstr(text, "\nUid:\t0\t") && pidfd_send_signal(pidfd, 0, NULL, 0) >= 0;
}

/* Looks for the table of another supervisor of the target. "ret_pidfd" is for its descriptors. Unmap it with
 * munmap(). Return: the table, or NULL if it has none. */
static Table *find_other_table(pid_t pid, int *ret_pidfd) {
        char path[64], link[64];
        Table *found = NULL;
        struct dirent *entry;
        int pidfd, fds;
        DIR *d;

        pidfd = pidfd_open(pid, 0);
        if (pidfd < 0)
                return NULL;

        /* Its entries are root's, and closed to all else: the ids in force are the last caller's. */
        (void) privilege_raise(CAPABILITY_BIT(CAP_DAC_READ_SEARCH));

        snprintf(path, sizeof(path), "%i/fd", (int) pid);
        fds = is_host_root(pid, pidfd) ? openat(thread_entry_proc(), path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                                       : -1;
        d = fds < 0 ? NULL : fdopendir(fds);
        while (d && !found && (entry = readdir(d))) {
                ssize_t n = readlinkat(dirfd(d), entry->d_name, link, sizeof(link) - 1);

                link[MAX(n, 0)] = 0;
                if (g_str_has_prefix(link, "/memfd:" TABLE_NAME)) {
                        _cleanup_close_ int fd = pidfd_getfd(pidfd, atoi(entry->d_name), 0);

                        found = fd < 0 ? NULL : map_table(fd);
                }
        }
        if (d)
                closedir(d);
        else
                close_fd(fds);
        (void) privilege_raise(0);

        if (!found)
                close_fd(pidfd);
        else
                *ret_pidfd = pidfd;
        return found;
}

static void close_other_table(Table *t, int pidfd) {
        (void) munmap(t, sizeof(Table));
        close_fd(pidfd);
}

/* Closes what we have of the entry. */
static void clear_context(MountContext *c) {
        close_fd(c->fd);
        close_fd(c->tree_fd);
        c->fd = c->tree_fd = -1;
        atomic_store(&c->owner, MOUNT_ENTRY_FREE);
}

/* A free entry, or else the one that has waited longest. */
static MountContext *room_for_context(void) {
        MountContext *c = NULL;

        for (size_t i = 0; i < MOUNT_CONTEXTS_MAX; i++) {
                MountContext *o = &table->contexts[i];
                int32_t owner = atomic_load(&o->owner);

                if (owner == MOUNT_ENTRY_FREE)
                        return o;
                if (owner == (int32_t) getpid() && (!c || o->used_usec < c->used_usec))
                        c = o;
        }

        if (!c || !claim(&c->owner, getpid()))
                return NULL;

        clear_context(c);
        return c;
}

int mount_context_add(int fd, const char *type, pid_t opener, int opener_fd, uint64_t now_usec) {
        MountContext *c;
        int r;

        r = make_table();
        if (r < 0)
                return r;

        c = room_for_context();
        if (!c)
                return -ENFILE;

        c->fd = fd;
        c->tree_fd = -1;
        c->opener = opener;
        c->opener_fd = opener_fd;
        c->state = MOUNT_CONTEXT_OPEN;
        c->used_usec = now_usec;
        c->unknown = false;
        c->parameters.n_bytes = 0;
        g_strlcpy(c->parameters.type, type, sizeof(c->parameters.type));
        atomic_store(&c->owner, (int32_t) getpid());
        return 0;
}

static void copy_parameters(MountParameters *to, const MountParameters *from) {
        memcpy(to->type, from->type, sizeof(to->type));
        to->n_bytes = MIN(from->n_bytes, MOUNT_CONTEXT_BYTES_MAX);
        memcpy(to->bytes, from->bytes, to->n_bytes);
}

static void adopt_context(MountContext *theirs, pid_t pid, int pidfd) {
        MountContext *c = NULL;
        int fd, tree;

        for (size_t i = 0; !c && i < MOUNT_CONTEXTS_MAX; i++)
                if (atomic_load(&table->contexts[i].owner) == MOUNT_ENTRY_FREE)
                        c = &table->contexts[i];
        if (!c || !claim(&theirs->owner, pid))
                return;

        fd = pidfd_getfd(pidfd, theirs->fd, 0);
        tree = theirs->tree_fd < 0 ? -1 : pidfd_getfd(pidfd, theirs->tree_fd, 0);
        if (fd < 0 || (tree < 0 && theirs->tree_fd >= 0)) {
                close_fd(fd);
                atomic_store(&theirs->owner, pid);
                return;
        }

        c->fd = fd;
        c->tree_fd = tree;
        c->opener = theirs->opener;
        c->opener_fd = theirs->opener_fd;
        c->state = theirs->state;
        c->used_usec = theirs->used_usec;
        c->unknown = theirs->unknown;
        copy_parameters(&c->parameters, &theirs->parameters);
        atomic_store(&c->owner, (int32_t) getpid());
        atomic_store(&theirs->owner, MOUNT_ENTRY_TAKEN);
}

/* Its former owner has the same open files, and one of them keeps the mount busy until it's closed. It looks
 * soon, if it isn't stuck. */
static void adopt_kept(MountKept *theirs, pid_t pid, int pidfd) {
        MountKept *k = NULL;
        int tree, watch;

        for (size_t i = 0; !k && i < MOUNT_KEPT_MAX; i++)
                if (atomic_load(&table->kept[i].owner) == MOUNT_ENTRY_FREE)
                        k = &table->kept[i];
        if (!k || !claim(&theirs->owner, pid))
                return;

        tree = pidfd_getfd(pidfd, theirs->tree_fd, 0);
        watch = pidfd_getfd(pidfd, theirs->watch_fd, 0);
        if (tree < 0 || watch < 0) {
                close_fd(tree);
                close_fd(watch);
                atomic_store(&theirs->owner, pid);
                return;
        }

        k->tree_fd = tree;
        k->watch_fd = watch;
        k->locked = theirs->locked;
        k->read_only = theirs->read_only;
        k->since_usec = theirs->since_usec;
        k->device = theirs->device;
        k->inode = theirs->inode;
        k->id = theirs->id;
        copy_parameters(&k->parameters, &theirs->parameters);
        atomic_store(&k->owner, (int32_t) getpid());
        atomic_store(&theirs->owner, MOUNT_ENTRY_TAKEN);
}

bool mount_contexts_take_over(const pid_t *others, size_t n_others) {
        bool found = false;

        for (size_t i = 0; i < n_others; i++) {
                int pidfd;
                Table *t = find_other_table(others[i], &pidfd);

                if (!t)
                        continue;

                found = true;
                if (make_table() >= 0) {
                        for (size_t j = 0; j < MOUNT_CONTEXTS_MAX; j++)
                                adopt_context(&t->contexts[j], others[i], pidfd);
                        for (size_t j = 0; j < MOUNT_KEPT_MAX; j++)
                                adopt_kept(&t->kept[j], others[i], pidfd);
                }
                close_other_table(t, pidfd);
        }

        return found;
}

/* Is another supervisor at work on this context? */
static bool is_busy_elsewhere(pid_t other, pid_t tid, int fd) {
        bool busy = false;
        int pidfd;
        Table *t;

        t = find_other_table(other, &pidfd);
        if (!t)
                return false;

        for (size_t i = 0; !busy && i < MOUNT_CONTEXTS_MAX; i++)
                busy = atomic_load(&t->contexts[i].owner) == MOUNT_ENTRY_BUSY &&
                       same_file(other, t->contexts[i].fd, tid, fd);

        close_other_table(t, pidfd);
        return busy;
}

static MountContext *find_here(pid_t tid, int fd) {
        for (size_t i = 0; table && i < MOUNT_CONTEXTS_MAX; i++) {
                MountContext *c = &table->contexts[i];

                if (atomic_load(&c->owner) == (int32_t) getpid() && same_file(getpid(), c->fd, tid, fd))
                        return claim(&c->owner, getpid()) ? c : NULL;
        }

        return NULL;
}

int mount_context_find(pid_t tid, int fd, const pid_t *others, size_t n_others, uint64_t now_usec,
                MountContext **ret) {
        MountContext *c;

        if (fd < 0)
                return 0;

        c = find_here(tid, fd);
        if (!c && n_others > 0 && mount_contexts_take_over(others, n_others)) {
                c = find_here(tid, fd);
                for (size_t i = 0; !c && i < n_others; i++)
                        if (is_busy_elsewhere(others[i], tid, fd))
                                return -EBUSY;
        }
        if (!c)
                return 0;

        c->used_usec = now_usec;
        *ret = c;
        return 1;
}

int mount_context_add_option(MountContext *context, const char *key, const char *value) {
        size_t key_size = strlen(key) + 1, value_size = value ? strlen(value) + 1 : 0;
        MountParameters *parameters = &context->parameters;
        char *p = parameters->bytes + parameters->n_bytes;

        if (1 + key_size + value_size > MOUNT_CONTEXT_BYTES_MAX - parameters->n_bytes) {
                context->unknown = true;
                return -E2BIG;
        }

        *p = value ? '=' : ' ';
        memcpy(p + 1, key, key_size);
        if (value)
                memcpy(p + 1 + key_size, value, value_size);
        parameters->n_bytes += (uint32_t) (1 + key_size + value_size);
        return 0;
}

bool mount_parameters_next(const MountParameters *parameters, size_t *position, const char **ret_key,
                const char **ret_value) {
        const char *p = parameters->bytes + *position, *value;

        if (*position >= parameters->n_bytes)
                return false;

        value = *p == '=' ? p + 1 + strlen(p + 1) + 1 : NULL;
        *ret_key = p + 1;
        *ret_value = value;
        *position += 1 + strlen(p + 1) + 1 + (value ? strlen(value) + 1 : 0);
        return true;
}

void mount_context_release(MountContext *context) {
        atomic_store(&context->owner, (int32_t) getpid());
}

static void clear_kept(MountKept *k) {
        close_fd(k->watch_fd);
        close_fd(k->tree_fd);
        k->watch_fd = k->tree_fd = -1;
        atomic_store(&k->owner, MOUNT_ENTRY_FREE);
}

static MountKept *room_for_kept(void) {
        MountKept *k = NULL;

        for (size_t i = 0; i < MOUNT_KEPT_MAX; i++) {
                MountKept *o = &table->kept[i];

                if (atomic_load(&o->owner) == MOUNT_ENTRY_FREE)
                        return o;
                if (atomic_load(&o->owner) == (int32_t) getpid() && (!k || o->since_usec < k->since_usec))
                        k = o;
        }

        if (!k || !claim(&k->owner, getpid()))
                return NULL;

        clear_kept(k);
        return k;
}

int mount_kept_add(int tree_fd, int watch_fd, bool locked, bool read_only, const MountParameters *parameters,
                uint64_t now_usec) {
        _cleanup_close_ int tree = tree_fd, watch = watch_fd;
        struct stat st;
        MountKept *k;
        uint64_t id;
        int r;

        r = make_table();
        if (r >= 0)
                r = mount_id_living(tree, &id);
        if (r < 0)
                return r;
        if (fstat(watch, &st) < 0)
                return -errno;

        k = room_for_kept();
        if (!k)
                return -ENFILE;

        k->tree_fd = TAKE_FD(tree);
        k->watch_fd = TAKE_FD(watch);
        k->locked = locked;
        k->read_only = read_only;
        k->since_usec = now_usec;
        k->device = st.st_dev;
        k->inode = st.st_ino;
        k->id = id;
        copy_parameters(&k->parameters, parameters);
        atomic_store(&k->owner, (int32_t) getpid());
        return 0;
}

static bool is_root_of(const MountKept *k, const struct stat *st, uint64_t id) {
        return k->id == id && k->device == st->st_dev && k->inode == st->st_ino;
}

static MountKept *find_kept_here(const struct stat *st, uint64_t id) {
        for (size_t i = 0; table && i < MOUNT_KEPT_MAX; i++)
                if (is_root_of(&table->kept[i], st, id) && claim(&table->kept[i].owner, getpid()))
                        return &table->kept[i];

        return NULL;
}

int mount_kept_find(int fd, const pid_t *others, size_t n_others, MountKept **ret) {
        struct stat st;
        MountKept *k;
        uint64_t id;

        if (fstat(fd, &st) < 0 || mount_id_living(fd, &id) < 0)
                return 0;

        k = find_kept_here(&st, id);
        if (!k && n_others > 0 && mount_contexts_take_over(others, n_others))
                k = find_kept_here(&st, id);
        if (!k)
                return 0;

        *ret = k;
        return 1;
}

void mount_kept_release(MountKept *kept) {
        atomic_store(&kept->owner, (int32_t) getpid());
}

void mount_kept_drop(MountKept *kept) {
        clear_kept(kept);
}

/* Has somebody attached it? What's attached elsewhere isn't ours to change, what's detached is anybody's: so
 * the kernel says when it's asked to set an attribute, here one that's set already. */
static bool is_attached(const MountKept *k) {
        struct mount_attr attributes = {};
        struct statvfs s;

        if (fstatvfs(k->tree_fd, &s) < 0)
                return false;

        if (s.f_flag & ST_NODEV)
                attributes.attr_set = MOUNT_ATTR_NODEV;
        else if (s.f_flag & ST_NOSUID)
                attributes.attr_set = MOUNT_ATTR_NOSUID;
        else {
                attributes.attr_clr = MOUNT_ATTR__ATIME;
                if (s.f_flag & ST_NOATIME)
                        attributes.attr_set = MOUNT_ATTR_NOATIME;
                else if (!(s.f_flag & ST_RELATIME))
                        attributes.attr_set = MOUNT_ATTR_STRICTATIME;
        }

        return syscall(SYS_mount_setattr, k->tree_fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) <
                               0 &&
               errno == EINVAL;
}

/* Has the caller closed it, with all copies? Its lock goes with the open file. */
static bool is_closed(const MountKept *k) {
        return k->locked && flock(k->watch_fd, LOCK_EX | LOCK_NB) >= 0;
}

static bool context_is_needed(const MountContext *c, uint64_t now_usec) {
        uint64_t unused = now_usec - c->used_usec,
                 orphan = c->state == MOUNT_CONTEXT_CREATED ? MOUNT_CONTEXT_CREATED_ORPHAN_USEC
                                                            : MOUNT_CONTEXT_ORPHAN_USEC;

        return unused <= orphan ||
               (unused <= MOUNT_CONTEXT_USEC && same_file(c->opener, c->opener_fd, getpid(), c->fd));
}

static bool kept_is_needed(const MountKept *k, uint64_t now_usec) {
        return now_usec - k->since_usec <= MOUNT_CONTEXT_USEC && !is_closed(k) && !is_attached(k);
}

size_t mount_contexts_sweep(uint64_t now_usec, size_t *ret_n_mounts) {
        size_t n_contexts = 0, n_mounts = 0;

        for (size_t i = 0; table && i < MOUNT_CONTEXTS_MAX; i++) {
                MountContext *c = &table->contexts[i];

                if (claim(&c->owner, getpid())) {
                        if (context_is_needed(c, now_usec))
                                mount_context_release(c);
                        else
                                clear_context(c);
                } else if (atomic_load(&c->owner) == MOUNT_ENTRY_TAKEN)
                        clear_context(c);
                n_contexts += atomic_load(&c->owner) != MOUNT_ENTRY_FREE;
        }

        for (size_t i = 0; table && i < MOUNT_KEPT_MAX; i++) {
                MountKept *k = &table->kept[i];

                if (claim(&k->owner, getpid())) {
                        if (kept_is_needed(k, now_usec))
                                mount_kept_release(k);
                        else
                                clear_kept(k);
                } else if (atomic_load(&k->owner) == MOUNT_ENTRY_TAKEN)
                        clear_kept(k);
                n_mounts += atomic_load(&k->owner) != MOUNT_ENTRY_FREE;
        }

        if (ret_n_mounts)
                *ret_n_mounts = n_mounts;
        return n_contexts + n_mounts;
}

bool mount_contexts_pending(void) {
        for (size_t i = 0; table && i < MOUNT_CONTEXTS_MAX; i++)
                if (atomic_load(&table->contexts[i].owner) != MOUNT_ENTRY_FREE)
                        return true;
        for (size_t i = 0; table && i < MOUNT_KEPT_MAX; i++)
                if (atomic_load(&table->kept[i].owner) != MOUNT_ENTRY_FREE)
                        return true;

        return false;
}
