/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Changes how a pinned task is scheduled, with CAP_SYS_NICE raised for that one system call.
 *
 * The system calls take a number. That it's the pinned task's is verified right before and right after. If
 * the task was gone afterwards, another may have been met that got the number in between (it takes a whole
 * turn of the kernel's counter within microseconds, or a supervisor that's kept from running meanwhile). One
 * that isn't the container's gets back what it had: what its parent has, since it was born a moment ago. */

#include <stdint.h>

#include "supervisor/target-task.h"

/* struct sched_attr, by a name that C libraries don't define. */
typedef struct SchedAttr {
        uint32_t size;
        uint32_t policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime;
        uint64_t deadline;
        uint64_t period;
        uint32_t util_min;
        uint32_t util_max;
} SchedAttr;

#define SCHED_ATTR_SIZE_FIRST 48u /* without utilisation clamps */

typedef enum SettingKind {
        SETTING_SCHEDULER, /* sched_setscheduler(2): attr's policy, reset-on-fork flag, and priority */
        SETTING_ATTR,      /* sched_setattr(2): attr */
        SETTING_NICE,      /* setpriority(2): value */
        SETTING_IO,        /* ioprio_set(2): value */
} SettingKind;

typedef struct Setting {
        SettingKind kind;
        SchedAttr attr;
        int value;
} Setting;

/* Return: 0; -ESRCH if the task is gone; the errno of the system call. */
int task_setting_apply(const Caller *caller, const TargetTask *task, const Setting *setting);

/* What's in force. Return: 0 or a negative errno. */
int task_setting_get_attr(pid_t tid, SchedAttr *ret);
int task_setting_get_nice(pid_t tid, int *ret);

/* Gives a task that was met by mistake what its parent has, if "setting" is in force for it. Return: 1 if it
 * was done, 0 if there was no need, or a negative errno. */
int task_setting_undo(pid_t tid, const Setting *setting);
