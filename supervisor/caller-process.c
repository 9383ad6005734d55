/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/fd.h"
#include "supervisor/caller-process.h"

#ifndef CLONE_NEWTIME
#        define CLONE_NEWTIME 0x00000080
#endif

/* A full group list takes 700 KiB. */
#define STATUS_MAX (1024u * 1024)
#define LABEL_MAX  4096u

/* All signals of the kernel, as it has them: sigset_t and sigaction(3) of the C library leave out the ones
 * that it uses itself. */
#define N_SIGNALS 64

static const struct {
        const char *name;
        int flag;
} namespace_table[_NAMESPACE_MAX] = {
        [NAMESPACE_CGROUP] = { "cgroup", CLONE_NEWCGROUP },
        [NAMESPACE_IPC] = { "ipc", CLONE_NEWIPC },
        [NAMESPACE_UTS] = { "uts", CLONE_NEWUTS },
        [NAMESPACE_NET] = { "net", CLONE_NEWNET },
        [NAMESPACE_TIME] = { "time", CLONE_NEWTIME },
        [NAMESPACE_PID] = { "pid", CLONE_NEWPID },
        [NAMESPACE_MNT] = { "mnt", CLONE_NEWNS },
        [NAMESPACE_USER] = { "user", CLONE_NEWUSER },
};

static int read_entry(const Caller *caller, const char *name, size_t max, char **ret) {
        _cleanup_close_ int fd = openat(caller->proc_fd, name, O_RDONLY | O_CLOEXEC);
        size_t size;
        int r;

        if (fd < 0)
                return errno == ESRCH ? -ENOENT : -errno;

        r = read_fd_full(fd, max, ret, &size);
        return r == -ESRCH ? -ENOENT : r;
}

/* The number in a line of /proc/TID/status; the "index"th, counted from 0. */
static int status_number(const char *status, const char *name, unsigned index, int base, uint64_t *ret) {
        g_autofree char *start = g_strdup_printf("\n%s:\t", name);
        const char *p = strstr(status, start);

        if (!p)
                return -EBADMSG;
        p += strlen(start);

        for (unsigned i = 0;; i++) {
                char *end;

                errno = 0;
                *ret = strtoull(p, &end, base);
                if (end == p || errno != 0)
                        return -EBADMSG;
                if (i == index)
                        return 0;
                p = end;
        }
}

static int read_status(Caller *caller, CallerProcess *process) {
        uint64_t uid, gid, no_new_privs, filters, mask;
        g_autofree char *status = NULL;
        int r;

        r = read_entry(caller, "status", STATUS_MAX, &status);
        if (r < 0)
                return r;

        /* Second of four: the effective ids. */
        if (status_number(status, "Uid", 1, 10, &uid) < 0 || status_number(status, "Gid", 1, 10, &gid) < 0 ||
                        status_number(status, "Umask", 0, 8, &mask) < 0 ||
                        status_number(status, "CapEff", 0, 16, &process->effective) < 0 ||
                        status_number(status, "CapPrm", 0, 16, &process->permitted) < 0 ||
                        status_number(status, "CapInh", 0, 16, &process->inheritable) < 0 ||
                        status_number(status, "CapBnd", 0, 16, &process->bounding) < 0 ||
                        status_number(status, "NoNewPrivs", 0, 10, &no_new_privs) < 0)
                return -EBADMSG;
        /* Since Linux 5.9. Before that we don't know how many there are. */
        if (status_number(status, "Seccomp_filters", 0, 10, &filters) < 0)
                return -EOPNOTSUPP;

        process->uid = (uid_t) uid;
        process->gid = (gid_t) gid;
        process->umask = (mode_t) mask;
        process->no_new_privs = no_new_privs != 0;
        process->n_filters = filters;
        process->groups = g_memdup2(caller->groups, caller->n_groups * sizeof(gid_t));
        process->n_groups = caller->n_groups;
        return 0;
}

static int read_limits(const Caller *caller, CallerProcess *process) {
        for (int i = 0; i < RLIM_NLIMITS; i++)
                if (prlimit(caller->tid, (enum __rlimit_resource) i, NULL, &process->limits[i]) < 0)
                        return errno == ESRCH ? -ENOENT : -errno;

        return 0;
}

static int read_priority(const Caller *caller, CallerProcess *process) {
        errno = 0;
        process->nice = getpriority(PRIO_PROCESS, (id_t) caller->tid);
        if (errno)
                return errno == ESRCH ? -ENOENT : -errno;

        process->scheduling = sched_getscheduler(caller->tid);
        if (process->scheduling < 0)
                return errno == ESRCH ? -ENOENT : -errno;

        process->scheduling &= ~SCHED_RESET_ON_FORK;
        return 0;
}

static int read_oom_score(const Caller *caller, CallerProcess *process) {
        g_autofree char *text = NULL;
        int r;

        r = read_entry(caller, "oom_score_adj", 64, &text);
        if (r < 0)
                return r;

        process->oom_score_adj = (int) strtol(text, NULL, 10);
        return 0;
}

/* The caller's label, if there is a security module that has labels and ours is another one. AppArmor's file
 * says "PROFILE (MODE)" and wants "exec PROFILE"; SELinux has the same text in both. */
static int read_label(const Caller *caller, CallerProcess *process) {
        static const struct {
                const char *current, *own, *exec;
                bool apparmor;
        } files[] = {
                { "attr/apparmor/current", "/proc/self/attr/apparmor/current", "attr/apparmor/exec", true },
                { "attr/current", "/proc/self/attr/current", "attr/exec", false },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
                g_autofree char *label = NULL, *own = NULL;
                _cleanup_close_ int fd = -1;
                size_t size;
                int r;

                r = read_entry(caller, files[i].current, LABEL_MAX, &label);
                /* No such module, or not in use. */
                if (r == -ENOENT || r == -EINVAL || r == -EOPNOTSUPP)
                        continue;
                if (r < 0)
                        return r;

                label[strcspn(label, "\n")] = 0;
                fd = open(files[i].own, O_RDONLY | O_CLOEXEC);
                if (fd < 0)
                        return -errno;
                r = read_fd_full(fd, LABEL_MAX, &own, &size);
                if (r < 0)
                        return r;
                own[strcspn(own, "\n")] = 0;
                if (*label == 0 || strcmp(label, own) == 0)
                        continue;

                if (files[i].apparmor) {
                        char *mode = g_str_has_suffix(label, ")") ? strrchr(label, '(') : NULL;

                        if (mode && mode > label && mode[-1] == ' ')
                                mode[-1] = 0;
                        process->label = g_strconcat("exec ", label, NULL);
                } else
                        process->label = g_steal_pointer(&label);
                process->label_file = files[i].exec;
                return 0;
        }

        return 0;
}

static int open_namespace(Caller *caller, NamespaceKind kind, int *ret) {
        g_autofree char *own = g_strdup_printf("/proc/self/ns/%s", namespace_table[kind].name);
        _cleanup_close_ int fd = -1;
        struct stat ours, theirs;

        if (stat(own, &ours) < 0)
                return errno == ENOENT ? 0 : -errno; /* The kernel has no such namespaces. */

        fd = caller_open_namespace(caller, namespace_table[kind].name);
        if (fd < 0)
                return fd;
        if (fstat(fd, &theirs) < 0)
                return -errno;

        if (ours.st_dev != theirs.st_dev || ours.st_ino != theirs.st_ino)
                *ret = TAKE_FD(fd);
        return 0;
}

int caller_process_read(Caller *caller, CallerProcess *ret) {
        __attribute__((cleanup(caller_process_clear)))
        CallerProcess process = { .root_fd = -1, .cwd_fd = -1 };
        int r;

        for (size_t i = 0; i < _NAMESPACE_MAX; i++)
                process.namespace_fds[i] = -1;

        r = read_status(caller, &process);
        if (r >= 0)
                r = read_limits(caller, &process);
        if (r >= 0)
                r = read_priority(caller, &process);
        if (r >= 0)
                r = read_oom_score(caller, &process);
        if (r >= 0)
                r = read_label(caller, &process);
        for (NamespaceKind i = 0; r >= 0 && i < _NAMESPACE_MAX; i++)
                r = open_namespace(caller, i, &process.namespace_fds[i]);
        if (r < 0)
                return r;

        r = caller_open_root(caller);
        if (r < 0)
                return r;
        process.root_fd = fcntl(r, F_DUPFD_CLOEXEC, 3);
        if (process.root_fd < 0)
                return -errno;
        process.cwd_fd = caller_open_cwd(caller);
        if (process.cwd_fd < 0)
                return process.cwd_fd;

        *ret = process;
        process = (CallerProcess){ .root_fd = -1, .cwd_fd = -1 };
        for (size_t i = 0; i < _NAMESPACE_MAX; i++)
                process.namespace_fds[i] = -1;
        return 0;
}

void caller_process_clear(CallerProcess *process) {
        for (size_t i = 0; i < _NAMESPACE_MAX; i++)
                process->namespace_fds[i] = close_fd(process->namespace_fds[i]);
        process->root_fd = close_fd(process->root_fd);
        process->cwd_fd = close_fd(process->cwd_fd);
        g_clear_pointer(&process->groups, g_free);
        g_clear_pointer(&process->label, g_free);
}

static int capabilities_get(struct __user_cap_data_struct data[2]) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };

        return syscall(SYS_capget, &header, data) < 0 ? -errno : 0;
}

static int capabilities_set(CapabilitySet effective, CapabilitySet permitted, CapabilitySet inheritable) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        const struct __user_cap_data_struct data[2] = {
                { (uint32_t) effective, (uint32_t) permitted, (uint32_t) inheritable },
                { (uint32_t) (effective >> 32), (uint32_t) (permitted >> 32),
                                (uint32_t) (inheritable >> 32) },
        };

        return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

/* Hard limits, as raising them takes a capability of the host. The soft ones hold us up if they come now. */
static int set_hard_limits(const CallerProcess *process) {
        for (int i = 0; i < RLIM_NLIMITS; i++) {
                const struct rlimit *wanted = &process->limits[i];
                struct rlimit limit = { wanted->rlim_max, wanted->rlim_max };

                if (setrlimit((enum __rlimit_resource) i, &limit) < 0 && errno != EPERM)
                        return -errno;
                /* EPERM: it's above ours and may not be raised. Ours stays, then. */
        }

        return 0;
}

static int set_soft_limits(const CallerProcess *process) {
        for (int i = 0; i < RLIM_NLIMITS; i++) {
                struct rlimit limit;

                if (getrlimit((enum __rlimit_resource) i, &limit) < 0)
                        return -errno;
                limit.rlim_cur = MIN(process->limits[i].rlim_cur, limit.rlim_max);
                if (setrlimit((enum __rlimit_resource) i, &limit) < 0)
                        return -errno;
        }

        return 0;
}

/* It may not raise its priority by itself, and so a program that's started for it has no higher one. */
static int set_priority(const CallerProcess *process) {
        static const struct sched_param parameters;
        int own;

        errno = 0;
        own = getpriority(PRIO_PROCESS, 0);
        if (errno || (own != process->nice && setpriority(PRIO_PROCESS, 0, process->nice) < 0 &&
                                     process->nice > own))
                return -errno;

        /* Realtime, which is a privilege of the host's, isn't handed on. */
        if (process->scheduling != SCHED_BATCH && process->scheduling != SCHED_IDLE)
                return 0;

        return sched_setscheduler(0, process->scheduling, &parameters) < 0 ? -errno : 0;
}

static int set_oom_score(const CallerProcess *process) {
        _cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
        char text[16];
        int n;

        if (fd < 0)
                return -errno;

        n = snprintf(text, sizeof(text), "%i", process->oom_score_adj);
        return write(fd, text, (size_t) n) < 0 ? -errno : 0;
}

/* The caller's ids are set while we're outside of its user namespace: seen from here they're all valid, and
 * nothing of the namespace (its maps, "setgroups") is in the way. Our capabilities must survive that. */
static int take_ids(const CallerProcess *process) {
        struct __user_cap_data_struct data[2];
        CapabilitySet permitted;
        int r;

        if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
                return -errno;
        if (setgroups(process->n_groups, process->groups) < 0)
                return -errno;
        if (setresgid(process->gid, process->gid, process->gid) < 0 ||
                        setresuid(process->uid, process->uid, process->uid) < 0)
                return -errno;

        r = capabilities_get(data);
        if (r < 0)
                return r;

        permitted = (CapabilitySet) data[1].permitted << 32 | data[0].permitted;
        return capabilities_set(permitted, permitted, 0);
}

/* We hold all capabilities of the user namespace now, and full sets. */
static int take_capabilities(const CallerProcess *process) {
        bool root = geteuid() == 0;
        CapabilitySet keep = process->bounding & (root ? process->permitted : process->effective);
        CapabilitySet inheritable = root ? process->inheritable & keep : keep;
        int r;

        for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
                if (cap >= 64 || !(keep & CAPABILITY_BIT(cap)))
                        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
                                return -errno;

        r = capabilities_set(keep, keep, inheritable);
        if (r < 0 || root)
                return r;

        for (unsigned long cap = 0; cap < 64; cap++)
                if (keep & CAPABILITY_BIT(cap))
                        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
                                return -errno;

        return 0;
}

int caller_process_become(const CallerProcess *process, const char **ret_step) {
        int r;

        *ret_step = "set its OOM score";
        r = set_oom_score(process);
        if (r < 0)
                return r;

        *ret_step = "set its limits";
        r = set_hard_limits(process);
        if (r < 0)
                return r;

        *ret_step = "set its priority";
        r = set_priority(process);
        if (r < 0)
                return r;

        *ret_step = "enter the caller's namespaces";
        for (NamespaceKind i = 0; i < NAMESPACE_USER; i++)
                if (process->namespace_fds[i] >= 0 &&
                                setns(process->namespace_fds[i], namespace_table[i].flag) < 0)
                        return -errno;

        *ret_step = "take over the caller's ids";
        r = take_ids(process);
        if (r < 0)
                return r;

        *ret_step = "enter the caller's user namespace";
        if (process->namespace_fds[NAMESPACE_USER] >= 0 &&
                        setns(process->namespace_fds[NAMESPACE_USER], CLONE_NEWUSER) < 0)
                return -errno;
        if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
                return -errno;

        /* deputyd's would be the server's otherwise, with what is in it. No support is fine: there's none,
         * then. */
        *ret_step = "make a session keyring";
        if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0 && errno != ENOSYS &&
                        errno != EOPNOTSUPP)
                return -errno;

        /* With the capabilities of the user namespace: directories of the container's are what they're for.
         */
        *ret_step = "enter the caller's root directory";
        if (fchdir(process->root_fd) < 0 || chroot(".") < 0)
                return -errno;

        *ret_step = "take over the caller's capabilities";
        r = take_capabilities(process);
        if (r < 0)
                return r;

        (void) umask(process->umask);

        /* As the caller. If it may not enter its own working directory, it's in the root directory, as we
         * are. */
        (void) fchdir(process->cwd_fd);
        return 0;
}

static int reset_signals(void) {
        static const uint64_t none;
        /* The kernel's struct sigaction, which is all zero for the default action. */
        static const unsigned long action[4];

        for (int i = 1; i <= N_SIGNALS; i++)
                if (i != SIGKILL && i != SIGSTOP &&
                                syscall(SYS_rt_sigaction, i, action, NULL, sizeof(none)) < 0)
                        return -errno;

        return syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none)) < 0 ? -errno : 0;
}

static int set_label(const CallerProcess *process, int proc_fd) {
        g_autofree char *path = g_strconcat("thread-self/", process->label_file, NULL);
        _cleanup_close_ int fd = openat(proc_fd, path, O_WRONLY | O_CLOEXEC);

        if (fd < 0)
                return -errno;

        return write(fd, process->label, strlen(process->label)) < 0 ? -errno : 0;
}

int caller_process_finish(const CallerProcess *process, int proc_fd, const char **ret_step) {
        int r;

        *ret_step = "reset its signals";
        r = reset_signals();
        if (r < 0)
                return r;

        *ret_step = "set its security label";
        r = process->label ? set_label(process, proc_fd) : 0;
        if (r < 0)
                return r;

        *ret_step = "set no_new_privs";
        if (process->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return -errno;

        *ret_step = "set its limits";
        return set_soft_limits(process);
}
