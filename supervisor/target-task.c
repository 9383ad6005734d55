/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/fd.h"
#include "supervisor/container.h"
#include "supervisor/kernel-files.h"
#include "supervisor/target-task.h"
#include "supervisor/thread-entry.h"

#ifndef NS_GET_PID_FROM_PIDNS
#        define NS_GET_PID_FROM_PIDNS _IOR(NSIO, 0x6, int)
#endif

/* The kernel's MAX_PID_NS_LEVEL, and the one that they're counted from. */
#define LEVELS_MAX 33u

/* The longest /proc/TID/status: one with all the groups that there can be. */
#define STATUS_SIZE (1024u * 1024u)

static bool ioctl_forbidden;

/* What /proc/TID/status says of a task. Numbers are as seen from each pid namespace, ours first. */
typedef struct TaskStatus {
        uid_t uid, euid;
        CapabilitySet permitted;
        size_t n_levels;
        pid_t pids[LEVELS_MAX];
        pid_t pgids[LEVELS_MAX];
} TaskStatus;

/* A pid namespace, and how far below ours it is. */
typedef struct PidNamespace {
        int fd;
        ino_t inode;
        size_t n_levels;
} PidNamespace;

void target_forbid_ioctl(bool forbid) {
        ioctl_forbidden = forbid;
}

/* An entry of a dead task, at whatever step. */
static int gone_or(int error) {
        return error == ENOENT || error == EACCES ? -ESRCH : -error;
}

static ssize_t read_entry(int proc_fd, const char *name, char *buffer, size_t size) {
        ssize_t n = read_kernel_file_at(proc_fd, name, buffer, size);

        return n < 0 ? gone_or((int) -n) : n;
}

static size_t parse_numbers(const char *status, const char *line, pid_t *numbers) {
        const char *p = strstr(status, line);
        size_t n = 0;

        for (p = p ? p + strlen(line) : ""; n < LEVELS_MAX; n++) {
                char *end;
                long number = strtol(p, &end, 10);

                if (end == p || *p == '\n')
                        break;
                numbers[n] = (pid_t) number;
                p = *end == '\t' ? end + 1 : "";
        }

        return n;
}

static int read_status(int proc_fd, TaskStatus *ret) {
        static char *text;
        const char *p;
        ssize_t n;

        if (!text)
                text = malloc(STATUS_SIZE);
        if (!text)
                return -ENOMEM;

        n = read_entry(proc_fd, "status", text, STATUS_SIZE);
        if (n < 0)
                return (int) n;

        /* The name, which the task chooses, comes first; newlines in it are escaped. */
        p = strstr(text, "\nUid:\t");
        if (!p || sscanf(p, "\nUid:\t%u\t%u", &ret->uid, &ret->euid) != 2)
                return -EBADMSG;

        ret->n_levels = parse_numbers(p, "\nNSpid:\t", ret->pids);
        if (ret->n_levels == 0 || parse_numbers(p, "\nNSpgid:\t", ret->pgids) != ret->n_levels)
                return -EBADMSG;

        p = strstr(p, "\nCapPrm:\t");
        if (!p)
                return -EBADMSG;
        ret->permitted = strtoull(p + strlen("\nCapPrm:\t"), NULL, 16);
        return 0;
}

static int open_namespace(int proc_fd, const char *name) {
        int fd = openat(proc_fd, name, O_RDONLY | O_CLOEXEC);

        return fd < 0 ? gone_or(errno) : fd;
}

static int inode_of(int fd, ino_t *ret) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;

        *ret = st.st_ino;
        return 0;
}

/* Climbs from a namespace, which is closed, for up to "steps" until it's the one of this inode. Return: how
 * many steps it took; -ESRCH if it isn't above; another negative errno. */
static int climb_to(int fd, ino_t inode, size_t steps) {
        _cleanup_close_ int at = fd;

        for (size_t i = 0;; i++) {
                ino_t here = 0;
                int r, above;

                r = inode_of(at, &here);
                if (r < 0)
                        return r;
                if (here == inode)
                        return (int) i;
                if (i == steps)
                        return -ESRCH;

                above = ioctl(at, NS_GET_PARENT);
                if (above < 0)
                        return errno == EPERM ? -ESRCH : -errno; /* The top of what we may see. */
                close_fd(at);
                at = above;
        }
}

static int caller_pid_namespace(Caller *caller, bool with_levels, PidNamespace *ret) {
        _cleanup_close_ int fd = -1;
        TaskStatus status;
        int r;

        fd = caller_open_namespace(caller, "pid");
        if (fd < 0)
                return fd;

        ret->n_levels = 0;
        if (with_levels) {
                r = inode_of(fd, &ret->inode);
                if (r >= 0)
                        r = read_status(caller->proc_fd, &status);
                if (r < 0)
                        return r == -ESRCH ? -ENOENT : r;
                ret->n_levels = status.n_levels;
        }

        ret->fd = TAKE_FD(fd);
        return 0;
}

/* Is this task one that has a number in the namespace? */
static bool is_in_namespace(const PidNamespace *ns, int proc_fd, const TaskStatus *status) {
        size_t steps = status->n_levels - ns->n_levels;
        int fd;

        if (status->n_levels < ns->n_levels)
                return false;

        fd = open_namespace(proc_fd, "ns/pid");
        return fd >= 0 && climb_to(fd, ns->inode, steps) == (int) steps;
}

/* Our own pid namespace; 0 if it can't be told. */
static ino_t own_namespace(void) {
        static ino_t inode;

        if (inode == 0) {
                _cleanup_close_ int self =
                                openat(thread_entry_proc(), "self", O_PATH | O_DIRECTORY | O_CLOEXEC);

                if (self < 0 || container_namespace_of(self, &inode) < 0)
                        return 0;
        }

        return inode;
}

/* Can't this process have a number in the namespace? Asked of each process of the host, and so answered by
 * one look where possible: most are in our own namespace, which is below none but itself. */
static bool is_outside(const PidNamespace *ns, int proc_fd) {
        ino_t inode;

        return container_namespace_of(proc_fd, &inode) >= 0 && inode == own_namespace() && inode != ns->inode;
}

typedef int (*TaskFunc)(pid_t id, int proc_fd, void *userdata);

/* All numbers of a directory of tasks: /proc, or /proc/PID/task. Tasks that end meanwhile are left out.
 * Return: what the function returned last, or a negative errno. */
static int each_entry(int directory, const char *name, TaskFunc func, void *userdata) {
        struct dirent *entry;
        int fd, r = 0;
        DIR *dir;

        fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return gone_or(errno);
        dir = fdopendir(fd);
        if (!dir) {
                r = -errno;
                close_fd(fd);
                return r;
        }

        while (r == 0 && (entry = readdir(dir))) {
                _cleanup_close_ int proc_fd = -1;
                int id = atoi(entry->d_name);

                if (id <= 0)
                        continue;

                proc_fd = openat(fd, entry->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
                if (proc_fd >= 0)
                        r = func(id, proc_fd, userdata);
                else if (errno != ENOENT && errno != ESRCH)
                        r = -errno;
        }

        closedir(dir);
        return r;
}

static int each_process(TaskFunc func, void *userdata) {
        return each_entry(thread_entry_proc(), ".", func, userdata);
}

static int each_thread(int proc_fd, TaskFunc func, void *userdata) {
        int r = each_entry(proc_fd, "task", func, userdata);

        return r == -ESRCH ? 0 : r;
}

static int open_task(pid_t tid) {
        char name[3 * sizeof(pid_t) + 1];
        int fd;

        snprintf(name, sizeof(name), "%i", (int) tid);
        fd = openat(thread_entry_proc(), name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? gone_or(errno) : fd;
}

typedef struct NumberSearch {
        const PidNamespace *ns;
        pid_t number;
        pid_t found;
} NumberSearch;

static int compare_thread(pid_t tid, int proc_fd, void *userdata) {
        NumberSearch *search = userdata;
        TaskStatus status;

        if (read_status(proc_fd, &status) < 0 || status.n_levels < search->ns->n_levels ||
                        status.pids[search->ns->n_levels - 1] != search->number)
                return 0;

        search->found = tid;
        return 1;
}

static int search_process(pid_t pid, int proc_fd, void *userdata) {
        NumberSearch *search = userdata;
        TaskStatus status;

        if (is_outside(search->ns, proc_fd) || read_status(proc_fd, &status) < 0 ||
                        !is_in_namespace(search->ns, proc_fd, &status))
                return 0;

        return each_thread(proc_fd, compare_thread, search);
}

static pid_t search(Caller *caller, pid_t number) {
        NumberSearch search = { .number = number };
        PidNamespace ns;
        int r;

        r = caller_pid_namespace(caller, true, &ns);
        if (r < 0)
                return r;

        /* Of a service, numbers are ours. */
        if (ns.inode == own_namespace()) {
                _cleanup_close_ int task = open_task(number);

                close_fd(ns.fd);
                return task < 0 ? task : number;
        }

        /* Most often it's another thread of the same process. */
        search.ns = &ns;
        r = each_thread(caller->proc_fd, compare_thread, &search);
        if (r == 0)
                r = each_process(search_process, &search);
        close_fd(ns.fd);
        return r < 0 ? r : r > 0 ? search.found : -ESRCH;
}

/* Return: our number of a task, -ESRCH if there's none, or another negative errno. */
static pid_t translate(Caller *caller, int pid_ns, pid_t number) {
        int r;

        if (!ioctl_forbidden) {
                r = ioctl(pid_ns, NS_GET_PID_FROM_PIDNS, number);
                if (r > 0)
                        return r;
                if (r == 0 || errno == ESRCH)
                        return -ESRCH;
                if (errno != ENOTTY)
                        return -errno;
                ioctl_forbidden = true;
        }

        return search(caller, number);
}

/* Is the number that of this pinned task, which is "tid" here? */
static bool is_named(Caller *caller, int pid_ns, pid_t number, pid_t tid, int proc_fd) {
        TaskStatus status;
        PidNamespace ns;
        bool named;

        if (!ioctl_forbidden)
                return translate(caller, pid_ns, number) == tid;

        /* Without another search: a task keeps its numbers. */
        if (caller_pid_namespace(caller, true, &ns) < 0)
                return false;
        named = read_status(proc_fd, &status) >= 0 && status.n_levels >= ns.n_levels &&
                status.pids[ns.n_levels - 1] == number && is_in_namespace(&ns, proc_fd, &status);
        close_fd(ns.fd);
        return named;
}

/* A user namespace may be 32 levels deep. */
static bool is_below_callers_userns(const Caller *caller, int proc_fd) {
        ino_t inode = 0;
        int fd;

        if (inode_of(caller->userns->fd, &inode) < 0)
                return false;

        fd = open_namespace(proc_fd, "ns/user");
        return fd >= 0 && climb_to(fd, inode, 32) >= 0;
}

static bool is_in_callers_cgroup(const Caller *caller, int proc_fd) {
        char ours[4096], theirs[4096];

        return read_entry(caller->proc_fd, "cgroup", ours, sizeof(ours)) > 0 &&
               read_entry(proc_fd, "cgroup", theirs, sizeof(theirs)) > 0 && strcmp(ours, theirs) == 0;
}

static bool is_in_callers_userns(const Caller *caller, int proc_fd) {
        ino_t inode = 0;
        int fd;

        if (inode_of(caller->userns->fd, &inode) < 0)
                return false;

        fd = open_namespace(proc_fd, "ns/user");
        return fd >= 0 && climb_to(fd, inode, 0) == 0;
}

static bool counts(const Caller *caller, int proc_fd, const TaskStatus *status) {
        switch (caller->userns->kind) {
        case USERNS_CONTAINER:
                return id_ranges_contain(caller->userns->uids, caller->userns->n_uids, status->uid) &&
                       id_ranges_contain(caller->userns->uids, caller->userns->n_uids, status->euid) &&
                       is_below_callers_userns(caller, proc_fd);
        case USERNS_OURS:
                /* Somebody without CAP_SYS_NICE may touch only what is no more privileged than itself. */
                return status->uid == caller->euid && status->euid == caller->euid &&
                       !(status->permitted & ~caller->effective) && is_in_callers_userns(caller, proc_fd) &&
                       is_in_callers_cgroup(caller, proc_fd);
        case USERNS_NESTED:
        case USERNS_NOT_ROOTS:
        case USERNS_FOREIGN:
        default:
                return false;
        }
}

static int examine(const Caller *caller, int proc_fd, TargetTask *task) {
        TaskStatus status;
        int r;

        r = read_status(proc_fd, &status);
        if (r < 0)
                return r;

        task->uid = status.uid;
        task->euid = status.euid;
        task->is_container = counts(caller, proc_fd, &status);
        return 0;
}

int target_find(Caller *caller, pid_t pid, TargetTask *ret) {
        TargetTask task = { .tid = caller->tid, .proc_fd = -1, .is_container = true, .euid = caller->euid };
        _cleanup_close_ int ns = -1, proc_fd = -1;
        pid_t tid;
        int r;

        if (pid == 0) {
                *ret = task;
                return 0;
        }
        if (pid < 0)
                return -ESRCH;

        ns = caller_open_namespace(caller, "pid");
        if (ns < 0)
                return ns;

        tid = translate(caller, ns, pid);
        if (tid < 0)
                return tid;
        if (tid == caller->tid) {
                *ret = task;
                return 0;
        }

        proc_fd = open_task(tid);
        if (proc_fd < 0)
                return proc_fd;

        task.tid = tid;
        task.proc_fd = proc_fd;
        r = examine(caller, proc_fd, &task);
        if (r < 0)
                return r;

        /* Between the translation and the opening the number may have changed hands, here or there. */
        if (!is_named(caller, ns, pid, tid, proc_fd) || !target_is_there(caller, &task))
                return -ESRCH;

        task.proc_fd = TAKE_FD(proc_fd);
        *ret = task;
        return 0;
}

bool target_is_there(const Caller *caller, const TargetTask *task) {
        return task->proc_fd < 0 ? caller_verify(caller) >= 0
                                 : faccessat(task->proc_fd, "stat", F_OK, 0) >= 0;
}

bool target_is_containers(const Caller *caller, pid_t tid) {
        _cleanup_close_ int proc_fd = open_task(tid);
        TargetTask task = TARGET_TASK_INIT;

        return proc_fd >= 0 && examine(caller, proc_fd, &task) >= 0 && task.is_container;
}

void target_done(TargetTask *task) {
        task->proc_fd = close_fd(task->proc_fd);
}

typedef struct Enumeration {
        Caller *caller;
        PidNamespace ns;
        enum { BY_GROUP, BY_USER, BY_CONTAINER } by;
        pid_t pgid; /* as the caller numbers it, then as we do */
        bool found;
        uid_t uid;
        TargetFunc func;
        void *userdata;
} Enumeration;

/* A service may move its tasks to cgroups of its own (Delegate=), so all of its user's count. */
static bool counts_for_container(const Caller *caller, const TargetTask *task) {
        if (caller->userns->kind == USERNS_OURS)
                return task->uid == caller->euid || task->euid == caller->euid;

        return task->is_container;
}

static int visit_thread(pid_t tid, int proc_fd, void *userdata) {
        Enumeration *e = userdata;
        TargetTask task = { .tid = tid, .proc_fd = proc_fd };
        int r;

        r = examine(e->caller, proc_fd, &task);
        if (r < 0)
                return r == -ESRCH ? 0 : r;
        if ((e->by == BY_USER && task.uid != e->uid) ||
                        (e->by == BY_CONTAINER && !counts_for_container(e->caller, &task)))
                return 0;

        return e->func(&task, e->userdata);
}

static int visit_process(pid_t pid, int proc_fd, void *userdata) {
        Enumeration *e = userdata;
        TaskStatus status;

        if (e->by == BY_CONTAINER) {
                /* All threads of a process are in one user namespace, so most of the host is passed over
                 * soon. */
                if (e->caller->userns->kind == USERNS_CONTAINER &&
                                !is_below_callers_userns(e->caller, proc_fd))
                        return 0;
                return each_thread(proc_fd, visit_thread, e);
        }

        if (e->by == BY_USER && is_outside(&e->ns, proc_fd))
                return 0;
        if (read_status(proc_fd, &status) < 0)
                return 0;
        if (e->by == BY_GROUP && status.pgids[0] != e->pgid)
                return 0;
        if (e->by == BY_USER && !is_in_namespace(&e->ns, proc_fd, &status))
                return 0;

        return each_thread(proc_fd, visit_thread, e);
}

/* Translates the number of a group. Its leader may be dead, so any member tells. */
static int find_group(pid_t pid, int proc_fd, void *userdata) {
        Enumeration *e = userdata;
        TaskStatus status;

        if (is_outside(&e->ns, proc_fd) || read_status(proc_fd, &status) < 0 ||
                        status.n_levels < e->ns.n_levels || status.pgids[e->ns.n_levels - 1] != e->pgid ||
                        !is_in_namespace(&e->ns, proc_fd, &status))
                return 0;

        e->pgid = status.pgids[0];
        e->found = true;
        return 1;
}

static int enumerate(Enumeration *e) {
        int r;

        r = caller_pid_namespace(e->caller, true, &e->ns);
        if (r < 0)
                return r;

        if (e->by == BY_GROUP && e->pgid == 0) {
                TaskStatus status;

                r = read_status(e->caller->proc_fd, &status);
                if (r >= 0)
                        e->pgid = status.pgids[0];
                else if (r == -ESRCH)
                        r = -ENOENT;
        } else if (e->by == BY_GROUP) {
                r = e->pgid > 0 ? each_process(find_group, e) : 0;
                if (r >= 0)
                        r = e->found ? 0 : -ESRCH;
        }

        if (r >= 0)
                r = each_process(visit_process, e);
        close_fd(e->ns.fd);
        return r;
}

int target_each_of_group(Caller *caller, pid_t pgid, TargetFunc func, void *userdata) {
        return enumerate(&(Enumeration){
                        .caller = caller, .by = BY_GROUP, .pgid = pgid, .func = func, .userdata = userdata });
}

int target_each_of_user(Caller *caller, uid_t uid, TargetFunc func, void *userdata) {
        return enumerate(&(Enumeration){
                        .caller = caller, .by = BY_USER, .uid = uid, .func = func, .userdata = userdata });
}

int target_each_of_container(Caller *caller, TargetFunc func, void *userdata) {
        return enumerate(&(Enumeration){
                        .caller = caller, .by = BY_CONTAINER, .func = func, .userdata = userdata });
}

int target_caller_uid(Caller *caller, uid_t *ret) {
        TaskStatus status;
        int r;

        r = read_status(caller->proc_fd, &status);
        if (r < 0)
                return r == -ESRCH ? -ENOENT : r;

        *ret = status.uid;
        return 0;
}

int target_map_uid(const Caller *caller, uid_t inside, uid_t *ret) {
        const Userns *u = caller->userns;

        for (size_t i = 0; i < u->n_uids; i++)
                if (inside >= u->uids[i].inside && inside - u->uids[i].inside < u->uids[i].count) {
                        *ret = u->uids[i].outside + (inside - u->uids[i].inside);
                        return 0;
                }

        return -EINVAL;
}

int target_limit(const Caller *caller, const TargetTask *task, const char *line, uint64_t *ret) {
        char text[4096], soft[32];
        const char *p;
        ssize_t n;

        n = read_entry(task->proc_fd >= 0 ? task->proc_fd : caller->proc_fd, "limits", text, sizeof(text));
        if (n < 0)
                return (int) n;

        p = strstr(text, line);
        if (!p || sscanf(p + strlen(line), " %31s", soft) != 1)
                return -EBADMSG;

        *ret = strcmp(soft, "unlimited") == 0 ? UINT64_MAX : strtoull(soft, NULL, 10);
        return 0;
}
