/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Whom a call is about: the tasks that a caller names by numbers of its own pid namespace.
 *
 * Calls such as sched_setscheduler(2) take a number only, and numbers come again. So a task is pinned: its
 * number is translated to ours, its /proc/TID directory opened, the number translated again. From then on
 * target_is_there() says whether that very task still holds its number; as a number can't be given away
 * before its holder is gone, a task that's there after a call was what the call met.
 *
 * Numbers are translated by NS_GET_PID_FROM_PIDNS (6.11), or by looking for the number among all tasks'
 * NSpid: lines. */

#include <stdbool.h>
#include <sys/types.h>

#include "supervisor/caller.h"

typedef struct TargetTask {
        pid_t tid;         /* as we number it */
        int proc_fd;       /* O_PATH of /proc/TID; -1 for the caller itself, which its own call pins */
        bool is_container; /* what is lent to the caller counts for this task: see target_find() */
        uid_t uid, euid;   /* of the host */
} TargetTask;

#define TARGET_TASK_INIT                                                                                     \
        { .proc_fd = -1 }

/* Finds the task (a thread) that "pid" names in the caller's pid namespace, 0 being the caller, and pins it.
 * Its is_container is true if the caller may do to it what it could natively do to any task, were its user
 * namespace the initial one: in a container, if the task is in the container's user namespace or below and
 * its user is mapped; for a service without one, if it has the caller's user and control group. To be called
 * after caller_identify() and before caller_verify(). Return: 0; -ESRCH if there's no such task; -ENOENT if
 * the caller is gone; another negative errno. */
int target_find(Caller *caller, pid_t pid, TargetTask *ret);

/* Does it still hold its number? */
bool target_is_there(const Caller *caller, const TargetTask *task);

void target_done(TargetTask *task);

/* Has this number of ours a task, now, for which is_container would hold? */
bool target_is_containers(const Caller *caller, pid_t tid);

/* Called for each task, which stays the enumerator's. Return: 0 to go on; anything else ends it. */
typedef int (*TargetFunc)(const TargetTask *task, void *userdata);

/* All threads of the process group that "pgid" names in the caller's pid namespace, 0 being the caller's own
 * (which may have members that it can't see). Return: what the function returned last; -ESRCH if there's no
 * such group; another negative errno. */
int target_each_of_group(Caller *caller, pid_t pgid, TargetFunc func, void *userdata);

/* All threads with this real user (of the host) that the caller can see. */
int target_each_of_user(Caller *caller, uid_t uid, TargetFunc func, void *userdata);

/* All threads that what's lent to the container is shared among: those for which is_container holds, and for
 * a service all those of the caller's user, whatever their cgroup. */
int target_each_of_container(Caller *caller, TargetFunc func, void *userdata);

/* The caller's real user, of the host. Return: 0 or a negative errno. */
int target_caller_uid(Caller *caller, uid_t *ret);

/* The user of the host that this user of the caller's namespace is. Return: 0, or -EINVAL if it's none. */
int target_map_uid(const Caller *caller, uid_t inside, uid_t *ret);

/* A soft resource limit of a task by its line in /proc/PID/limits, such as "Max nice priority"; the caller's
 * proc_fd stands for its own. Return: 0 (UINT64_MAX: unlimited) or a negative errno. */
int target_limit(const Caller *caller, const TargetTask *task, const char *line, uint64_t *ret);

/* For tests: how numbers are translated. */
void target_forbid_ioctl(bool forbid);
