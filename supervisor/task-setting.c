/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <glib.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <linux/sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/log.h"
#include "supervisor/kernel-files.h"
#include "supervisor/privilege.h"
#include "supervisor/task-setting.h"
#include "supervisor/thread-entry.h"

int task_setting_get_attr(pid_t tid, SchedAttr *ret) {
        *ret = (SchedAttr){};

        return syscall(SYS_sched_getattr, tid, ret, sizeof(*ret), 0) < 0 ? -errno : 0;
}

int task_setting_get_nice(pid_t tid, int *ret) {
        long r = syscall(SYS_getpriority, PRIO_PROCESS, tid); /* 40 to 1, so that it's no errno */

        if (r < 0)
                return -errno;

        *ret = 20 - (int) r;
        return 0;
}

static int set(pid_t tid, const Setting *setting) {
        int r = -1;

        switch (setting->kind) {
        case SETTING_SCHEDULER: {
                int policy = (int) setting->attr.policy, priority = (int) setting->attr.priority;

                if (setting->attr.flags & SCHED_FLAG_RESET_ON_FORK)
                        policy |= SCHED_RESET_ON_FORK;
                r = (int) syscall(SYS_sched_setscheduler, tid, policy, &priority);
                break;
        }
        case SETTING_ATTR:
                r = (int) syscall(SYS_sched_setattr, tid, &setting->attr, 0);
                break;
        case SETTING_NICE:
                r = (int) syscall(SYS_setpriority, PRIO_PROCESS, tid, setting->value);
                break;
        case SETTING_IO:
                r = (int) syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, tid, setting->value);
                break;
        }

        return r < 0 ? -errno : 0;
}

static int set_with_privilege(pid_t tid, const Setting *setting) {
        int r;

        r = privilege_raise(CAPABILITY_BIT(CAP_SYS_NICE));
        if (r < 0)
                return r;

        r = set(tid, setting);
        return privilege_raise(0) < 0 ? -EPERM : r;
}

static bool is_in_force(pid_t tid, const Setting *setting) {
        SchedAttr attr;
        int nice = 0;

        switch (setting->kind) {
        case SETTING_SCHEDULER:
        case SETTING_ATTR:
                return task_setting_get_attr(tid, &attr) >= 0 && attr.policy == setting->attr.policy &&
                       attr.priority == setting->attr.priority;
        case SETTING_NICE:
                return task_setting_get_nice(tid, &nice) >= 0 && nice == setting->value;
        case SETTING_IO:
                return syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, tid) == setting->value;
        default:
                return false;
        }
}

static int parent_of(pid_t tid, pid_t *ret) {
        char name[3 * sizeof(pid_t) + sizeof("/stat")], text[512];
        const char *p;
        ssize_t n;

        snprintf(name, sizeof(name), "%i/stat", (int) tid);
        n = read_kernel_file_at(thread_entry_proc(), name, text, sizeof(text));
        if (n < 0)
                return (int) n;

        p = strrchr(text, ')'); /* ends the name, which may have any characters */
        return p && sscanf(p + 1, " %*c %i", ret) == 1 && *ret > 0 ? 0 : -ESRCH;
}

/* The setting of the same kind that a child of this process is born with. */
static int inherited(pid_t parent, SettingKind kind, Setting *ret) {
        long value;
        int r;

        *ret = (Setting){ .kind = kind };

        switch (kind) {
        case SETTING_SCHEDULER:
        case SETTING_ATTR:
                ret->kind = SETTING_ATTR;
                r = task_setting_get_attr(parent, &ret->attr);
                if (r < 0)
                        return r;
                /* See sched_fork() in the kernel. */
                if (ret->attr.flags & SCHED_FLAG_RESET_ON_FORK || ret->attr.policy == SCHED_DEADLINE)
                        ret->attr = (SchedAttr){ .nice = MAX(ret->attr.nice, 0) };
                ret->attr.flags = 0;
                ret->attr.size = SCHED_ATTR_SIZE_FIRST;
                return 0;
        case SETTING_NICE:
                return task_setting_get_nice(parent, &ret->value);
        case SETTING_IO:
                value = syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, parent);
                if (value < 0)
                        return -errno;
                ret->value = (int) value;
                return 0;
        default:
                return -EINVAL;
        }
}

int task_setting_undo(pid_t tid, const Setting *setting) {
        Setting before;
        pid_t parent;
        int r;

        if (!is_in_force(tid, setting))
                return 0;

        r = parent_of(tid, &parent);
        if (r >= 0)
                r = inherited(parent, setting->kind, &before);
        if (r >= 0)
                r = set_with_privilege(tid, &before);
        return r < 0 ? r : 1;
}

/* The task is gone. Whoever has its number now: what it does among its own is the container's affair. */
static void undo_for_strangers(const Caller *caller, pid_t tid, const Setting *setting) {
        int r;

        if (target_is_containers(caller, tid))
                return;

        r = task_setting_undo(tid, setting);
        if (r > 0)
                log_warning("Process %i got its number while another one's scheduling was changed; undone",
                                (int) tid);
        else if (r < 0 && r != -ESRCH && r != -ENOENT)
                (void) log_warning_errno(r, "Failed to look after process %i: %m", (int) tid);
}

int task_setting_apply(const Caller *caller, const TargetTask *task, const Setting *setting) {
        int r;

        if (!target_is_there(caller, task))
                return -ESRCH;

        r = set_with_privilege(task->tid, setting);

        if (r >= 0 && !target_is_there(caller, task))
                undo_for_strangers(caller, task->tid, setting);
        return r;
}
