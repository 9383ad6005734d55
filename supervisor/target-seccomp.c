/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/fd.h"
#include "supervisor/target-seccomp.h"
#include "supervisor/thread-entry.h"
#include "supervisor/worker.h"

/* The kernel allows one task 32768 instructions in all its filters, and counts 4 more for each filter. */
#define INSNS_MAX   32768u
#define FILTERS_MAX (INSNS_MAX / 4)

/* How many tasks are tried. */
#define DONORS_MAX    16u
/* A generous limit for a chain of ancestors. */
#define ANCESTORS_MAX 64u

#define FETCH_USEC (UINT64_C(1000) * 1000)
/* How long a running task may take to stop: it may be in the kernel and unable to. */
#define STOP_USEC  200000u
#define RETRY_USEC 5000u

/* A task that may have the caller's filters. The descriptor of its /proc entry tells it from one that gets
 * its number later. */
typedef struct Donor {
        pid_t tid;
        int proc_fd;
} Donor;

typedef struct Status {
        pid_t parent;
        pid_t innermost_pid; /* in its own pid namespace */
        size_t n_filters;
} Status;

typedef struct Fetch {
        const Caller *caller;
        size_t n;
} Fetch;

static int read_status(int proc_fd, Status *ret) {
        _cleanup_close_ int fd = openat(proc_fd, "status", O_RDONLY | O_CLOEXEC);
        g_autofree char *text = NULL;
        const char *parent, *pids, *end, *filters;
        size_t size;
        int r;

        if (fd < 0)
                return -errno;
        r = read_fd_full(fd, 1024 * 1024 * 2, &text, &size);
        if (r < 0)
                return r;

        parent = strstr(text, "\nPPid:\t");
        pids = strstr(text, "\nNSpid:\t");
        filters = strstr(text, "\nSeccomp_filters:\t");
        end = pids ? strchr(pids + 1, '\n') : NULL;
        if (!parent || !end || !filters)
                return -EOPNOTSUPP;

        while (end[-1] != '\t')
                end--;

        *ret = (Status){
                .parent = (pid_t) strtol(parent + strlen("\nPPid:\t"), NULL, 10),
                .innermost_pid = (pid_t) strtol(end, NULL, 10),
                .n_filters = strtoul(filters + strlen("\nSeccomp_filters:\t"), NULL, 10),
        };
        return 0;
}

static int open_entry(pid_t pid) {
        char name[3 * sizeof(pid_t) + 1];
        int fd;

        snprintf(name, sizeof(name), "%i", (int) pid);
        fd = openat(thread_entry_proc(), name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

/* Threads of the caller's process. */
static size_t find_siblings(const Fetch *fetch, Donor donors[], size_t n_max) {
        const Caller *caller = fetch->caller;
        struct dirent *entry;
        size_t n = 0;
        DIR *dir;
        int fd;

        fd = openat(caller->proc_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        dir = fd < 0 ? NULL : fdopendir(fd);
        if (!dir) {
                close_fd(fd);
                return 0;
        }

        while (n < n_max && (entry = readdir(dir))) {
                pid_t tid = (pid_t) strtol(entry->d_name, NULL, 10);
                Status status;

                if (tid <= 0 || tid == caller->tid)
                        continue;

                donors[n].tid = tid;
                donors[n].proc_fd = openat(dirfd(dir), entry->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
                if (donors[n].proc_fd < 0)
                        continue;
                if (read_status(donors[n].proc_fd, &status) >= 0 && status.n_filters == fetch->n)
                        n++;
                else
                        close_fd(donors[n].proc_fd);
        }

        (void) closedir(dir);
        return n;
}

/* Ancestors up to init, nearest first. None, if one of them has more or fewer filters. */
static size_t find_ancestors(const Fetch *fetch, Donor donors[], size_t n_max) {
        size_t n = 0;
        Status status;

        if (read_status(fetch->caller->proc_fd, &status) < 0)
                return 0;

        for (unsigned i = 0; i < ANCESTORS_MAX; i++) {
                _cleanup_close_ int fd = -1;
                pid_t pid = status.parent;

                /* 0: its parent is outside of what we see, and -ENOENT: it's dying. */
                fd = pid > 0 ? open_entry(pid) : -1;
                if (fd < 0 || read_status(fd, &status) < 0 || status.n_filters != fetch->n)
                        break;

                if (n < n_max)
                        donors[n++] = (Donor){ .tid = pid, .proc_fd = TAKE_FD(fd) };
                if (status.innermost_pid == 1)
                        return n;
        }

        while (n > 0)
                close_fd(donors[--n].proc_fd);
        return 0;
}

static int write_all(int fd, const void *data, size_t size) {
        for (size_t done = 0; done < size;) {
                ssize_t n = write(fd, (const char *) data + done, size - done);

                if (n < 0)
                        return -errno;
                done += (size_t) n;
        }

        return 0;
}

/* Writes the filters of a stopped task: for each its length, then its instructions. */
static int copy_filters(pid_t tid, size_t n, int memfd) {
        static struct sock_filter insns[INSNS_MAX];

        if (ftruncate(memfd, 0) < 0 || lseek(memfd, 0, SEEK_SET) < 0)
                return -errno;

        for (size_t i = 0; i <= n; i++) {
                long length = ptrace(PTRACE_SECCOMP_GET_FILTER, tid, (void *) i, NULL);
                uint32_t size;
                int r;

                if (i == n) /* That there are no more tells that they're the ones that were counted. */
                        return length < 0 && errno == ENOENT ? 0 : -EAGAIN;
                if (length < 0)
                        return -errno;
                if (length == 0 || length > INSNS_MAX)
                        return -E2BIG;

                if (ptrace(PTRACE_SECCOMP_GET_FILTER, tid, (void *) i, insns) != length)
                        return -errno;

                size = (uint32_t) length;
                r = write_all(memfd, &size, sizeof(size));
                if (r >= 0)
                        r = write_all(memfd, insns, size * sizeof(struct sock_filter));
                if (r < 0)
                        return r;
        }

        return 0;
}

/* Waits for a task that we've interrupted. Return: 0 and its status, or -ETIMEDOUT. */
static int wait_for_stop(pid_t tid, int *ret_status) {
        for (unsigned waited = 0; waited < STOP_USEC;) {
                pid_t pid = waitpid(tid, ret_status, WNOHANG | __WALL);

                if (pid < 0)
                        return -errno;
                if (pid == tid)
                        return WIFSTOPPED(*ret_status) ? 0 : -ESRCH;

                (void) usleep(waited < 2000 ? 50 : 2000);
                waited += waited < 2000 ? 50 : 2000;
        }

        return -ETIMEDOUT;
}

/* One that can't be stopped in time is let go when this process ends. */
static int fetch_from(const Donor *donor, size_t n, int memfd) {
        int r, wait_status = 0, signal_number;
        Status status;

        if (ptrace(PTRACE_SEIZE, donor->tid, NULL, NULL) < 0)
                return -errno;
        if (ptrace(PTRACE_INTERRUPT, donor->tid, NULL, NULL) < 0)
                return -errno;
        r = wait_for_stop(donor->tid, &wait_status);
        if (r < 0)
                return r;

        r = copy_filters(donor->tid, n, memfd);

        /* If the one that we've pinned is still alive, it's the one that was stopped. */
        if (r >= 0 && read_status(donor->proc_fd, &status) < 0)
                r = -ESRCH;

        /* It may have stopped for a signal of its own, which it must get. */
        signal_number = wait_status >> 16 == PTRACE_EVENT_STOP ? 0 : WSTOPSIG(wait_status);
        (void) ptrace(PTRACE_DETACH, donor->tid, NULL, (void *) (uintptr_t) signal_number);
        return r;
}

/* In a child: whatever it's stuck in or however it ends, the kernel lets the traced tasks go. */
static int fetch(void *userdata, void *ret, int *ret_fd) {
        const Fetch *f = userdata;
        Donor donors[DONORS_MAX];
        size_t n_siblings, n;
        Status own;
        int memfd, r = -ENODATA;

        n_siblings = find_siblings(f, donors, DONORS_MAX / 2);
        n = n_siblings + find_ancestors(f, donors + n_siblings, DONORS_MAX - n_siblings);

        if (n == 0 && read_status(f->caller->proc_fd, &own) >= 0 && own.innermost_pid == 1)
                return -EBUSY;

        memfd = memfd_create("deputyd-filters", MFD_CLOEXEC);
        if (memfd < 0)
                return -errno;

        /* Again for a while, if all are traced: another supervisor may be about the same. */
        for (unsigned waited = 0;; waited += RETRY_USEC) {
                for (size_t i = 0; i < n; i++) {
                        r = fetch_from(&donors[i], f->n, memfd);
                        if (r >= 0) {
                                *ret_fd = memfd;
                                return 0;
                        }
                        if (r == -EACCES || r == -EIO || r == -EMEDIUMTYPE)
                                return r; /* It's not about this one. */
                }

                if (r != -EPERM || waited >= STOP_USEC)
                        return r;
                (void) usleep(RETRY_USEC);
        }
}

static int parse_filters(int memfd, size_t n, TargetFilters *ret) {
        TargetFilters filters = {};
        g_autofree char *data = NULL;
        size_t size, at = 0;
        int r;

        r = read_fd_full(memfd, INSNS_MAX * sizeof(struct sock_filter) + FILTERS_MAX * sizeof(uint32_t),
                        &data, &size);
        if (r < 0)
                return r;

        filters.programs = g_new0(struct sock_fprog, n);
        for (; filters.n < n; filters.n++) {
                struct sock_fprog *program = &filters.programs[filters.n];
                uint32_t length;

                if (size - at < sizeof(length))
                        break;
                memcpy(&length, data + at, sizeof(length));
                at += sizeof(length);
                if (length == 0 || length > INSNS_MAX || size - at < length * sizeof(struct sock_filter))
                        break;

                program->len = (unsigned short) length;
                program->filter = g_memdup2(data + at, length * sizeof(struct sock_filter));
                at += length * sizeof(struct sock_filter);
        }

        if (filters.n != n) {
                target_filters_clear(&filters);
                return -EBADMSG;
        }

        *ret = filters;
        return 0;
}

int target_filters_read(const Caller *caller, size_t n, TargetFilters *ret, const char **ret_why) {
        Fetch f = { .caller = caller, .n = n };
        _cleanup_close_ int memfd = -1;
        int r;

        if (n == 0) {
                *ret = (TargetFilters){};
                return 0;
        }
        if (n > FILTERS_MAX)
                return -E2BIG;

        if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 0) {
                *ret_why = "deputyd itself runs under a seccomp filter and may not read those of others";
                return -EOPNOTSUPP;
        }

        r = worker_run(fetch, &f, FETCH_USEC, NULL, 0, &memfd);
        if (r >= 0)
                return parse_filters(memfd, n, ret);

        switch (r) {
        case -ENODATA:
                *ret_why = "the caller has seccomp filters of its own, beyond those of its container's init";
                break;
        case -EBUSY:
                *ret_why = "the caller is its container's init, whose filters no other process is sure to "
                           "have, and "
                           "its own can't be read while it waits for this call";
                break;
        case -EIO:
        case -EINVAL:
                *ret_why = "this kernel doesn't show seccomp filters (CONFIG_CHECKPOINT_RESTORE)";
                break;
        case -EMEDIUMTYPE:
                *ret_why = "the caller has a seccomp filter that isn't classic BPF";
                break;
        case -EACCES:
        case -EPERM:
                *ret_why = "its seccomp filters may not be read (traced by another, or not allowed to us)";
                break;
        default:
                *ret_why = "its seccomp filters can't be read now";
                break;
        }

        return -EOPNOTSUPP;
}

void target_filters_clear(TargetFilters *filters) {
        for (size_t i = 0; i < filters->n; i++)
                g_free(filters->programs[i].filter);
        g_free(filters->programs);
        *filters = (TargetFilters){};
}

static bool is_return(const struct sock_filter *insn) {
        return BPF_CLASS(insn->code) == BPF_RET;
}

/* Does it allow or notify, and nothing else? */
static bool only_notifies(const struct sock_fprog *program) {
        bool notifies = false;

        for (size_t i = 0; i < program->len; i++) {
                const struct sock_filter *insn = &program->filter[i];

                if (!is_return(insn))
                        continue;
                if (BPF_RVAL(insn->code) != BPF_K)
                        return false;

                switch (insn->k & SECCOMP_RET_ACTION_FULL) {
                case SECCOMP_RET_USER_NOTIF:
                        notifies = true;
                        break;
                case SECCOMP_RET_ALLOW:
                        break;
                default:
                        return false;
                }
        }

        return notifies;
}

void target_filters_silence(TargetFilters *filters) {
        for (size_t i = 0; i < filters->n; i++) {
                struct sock_fprog *program = &filters->programs[i];

                if (!only_notifies(program))
                        continue;

                for (size_t j = 0; j < program->len; j++)
                        if (is_return(&program->filter[j]))
                                program->filter[j].k = SECCOMP_RET_ALLOW;
                return;
        }
}

int target_filters_load(const TargetFilters *filters) {
        for (size_t i = 0; i < filters->n; i++) {
                struct sock_fprog *program = &filters->programs[i];

                /* A filter may forbid one of the two ways to load the next one, but whoever loaded that has
                 * found one. */
                if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program) < 0 &&
                                prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) < 0)
                        return -errno;
        }

        return 0;
}
