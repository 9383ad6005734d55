/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/fd.h"
#include "supervisor/kernel-files.h"
#include "supervisor/thread-entry.h"

#define ENTRIES_MAX 32u

static ThreadEntry entries[ENTRIES_MAX];
static uint64_t entries_clock;
static int proc_root_fd = -1;

/* The kernel keeps what was looked up in a procfs until the thread is dead or memory is short: 6 KiB for each
 * that has ever asked. In an instance of our own that's gone when we are. Nobody else sees it, and it has
 * nothing that the host's hasn't. */
static int open_own_proc(void) {
        _cleanup_close_ int context = -1;
        int fd;

        context = (int) syscall(SYS_fsopen, "proc", FSOPEN_CLOEXEC);
        if (context < 0 || syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
                return -errno;

        fd = (int) syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC,
                        MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
        return fd < 0 ? -errno : fd;
}

/* Is it of our own pid namespace, whose numbers the kernel tells us? Then there's just one for us in it. */
static bool is_of_our_namespace(int proc_fd) {
        char text[4096], *pids, *end;

        if (read_kernel_file_at(proc_fd, "self/status", text, sizeof(text)) < 0)
                return false;

        pids = strstr(text, "\nNSpid:\t");
        return pids && strtol(pids + strlen("\nNSpid:\t"), &end, 10) == getpid() && *end == '\n';
}

int thread_entry_setup(void) {
        for (size_t i = 0; i < ENTRIES_MAX; i++)
                entries[i] = (ThreadEntry){ .directory_fd = -1, .status_fd = -1, .userns_fd = -1 };

        proc_root_fd = open_own_proc();
        if (proc_root_fd < 0) /* An unprivileged embedded supervisor may not. */
                proc_root_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (proc_root_fd < 0)
                return -errno;
        if (!is_of_our_namespace(proc_root_fd)) { /* Callers would be taken for others. */
                proc_root_fd = close_fd(proc_root_fd);
                return -EXDEV;
        }

        return 0;
}

int thread_entry_proc(void) {
        return proc_root_fd;
}

void thread_entry_drop(ThreadEntry *entry) {
        close_fd(entry->directory_fd);
        close_fd(entry->status_fd);
        close_fd(entry->userns_fd);
        *entry = (ThreadEntry){ .directory_fd = -1, .status_fd = -1, .userns_fd = -1 };
}

static int open_entry(pid_t tid, ThreadEntry *entry) {
        char name[3 * sizeof(pid_t) + 1];

        snprintf(name, sizeof(name), "%i", (int) tid);

        entry->directory_fd = openat(proc_root_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (entry->directory_fd < 0)
                return -errno;
        entry->status_fd = openat(entry->directory_fd, "status", O_RDONLY | O_CLOEXEC);
        if (entry->status_fd < 0)
                return -errno;
        entry->userns_fd = openat(entry->directory_fd, "ns/user", O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (entry->userns_fd < 0)
                return -errno;

        entry->tid = tid;
        return 0;
}

int thread_entry_get(pid_t tid, ThreadEntry **ret) {
        ThreadEntry *entry = &entries[0];
        int r;

        if (tid <= 0) /* In a pid namespace that we can't see. */
                return -ESRCH;

        for (size_t i = 0; i < ENTRIES_MAX; i++) {
                if (entries[i].tid == tid) {
                        entries[i].used = ++entries_clock;
                        *ret = &entries[i];
                        return 0;
                }
                if (entries[i].used < entry->used)
                        entry = &entries[i];
        }

        thread_entry_drop(entry);
        r = open_entry(tid, entry);
        if (r < 0) {
                thread_entry_drop(entry);
                return r == -ESRCH ? -ENOENT : r;
        }

        entry->used = entry->serial = ++entries_clock;
        *ret = entry;
        return 0;
}
