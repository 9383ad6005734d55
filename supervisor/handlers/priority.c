/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* setpriority(2), ioprio_set(2): nice values and I/O classes, of a task, a process group or a user.
 *
 * Privilege lent: CAP_SYS_NICE, for the call that gives one task a nice value down to MinNice=, or an I/O
 * class of IOClass=. Groups and users are served task by task, as the kernel does it; only tasks of the
 * container count, and for the others the result is what the kernel says without the privilege.
 *
 * What a hostile container may try, and what meets it:
 *   - have processes of the host in its group (who enters a container from outside keeps the group), or name
 * a user that isn't its own: each task is looked at by itself (TargetTask.is_container), users are translated
 * by the caller's user namespace.
 *   - all that's said in scheduling.c about numbers, dying targets and callers. There's no memory to change:
 * all arguments are in registers, compared at their width.
 *   - make as many tasks as it may and name them all: deputyd starts another supervisor for its other calls,
 * and ends this one after CallTimeoutSec=. */

#include <errno.h>
#include <linux/ioprio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/capability.h>

#include "supervisor/handlers/scheduling.h"
#include "supervisor/task-setting.h"

#define NICE_MIN (-20)
#define NICE_MAX 19

/* The kernel reads the class from three bits, whatever is above them. */
static unsigned io_class_of(int ioprio) {
        return ((unsigned) ioprio >> IOPRIO_CLASS_SHIFT) & 7u;
}

typedef struct Round {
        Request *request;
        Setting setting;
        int result;
} Round;

static char *describe_who(int which, int who, int user_which) {
        static const char *const names[] = { "task", "group", "user" };

        return g_strdup_printf("%s %i", names[which - (user_which - 2)], who);
}

static Verdict refuse_nice(Request *request, Reason reason, int which, int who, int nice) {
        char *arguments = NULL, *hint = NULL;

        if (request_wants_description(request)) {
                g_autofree char *whom = describe_who(which, who, PRIO_USER);

                arguments = request_text("%s, nice %i", whom, nice);
                if (reason == REASON_PRIORITY_NOT_LENT)
                        hint = g_strdup_printf("[Scheduling] MinNice=%i", nice);
                else if (reason == REASON_USER_NOT_LENT)
                        hint = g_strdup_printf("[Intercept] AllowUsers=%u", (unsigned) request->caller.euid);
        }

        return scheduling_refuse(request, reason, arguments, hint);
}

/* What the kernel makes of one task of many: set_one_prio() there. */
static int set_nice_of_one(const TargetTask *task, void *userdata) {
        Round *round = userdata;
        const Caller *caller = &round->request->caller;
        int nice, r;

        if (!task->is_container && task->uid != caller->euid && task->euid != caller->euid) {
                round->result = -EPERM;
                return 0;
        }
        if (task_setting_get_nice(task->tid, &nice) < 0)
                return 0; /* gone */

        if (!task->is_container && round->setting.value < nice) {
                uint64_t limit = 0;

                (void) target_limit(caller, task, "Max nice priority", &limit);
                if ((uint64_t) (20 - round->setting.value) > limit) {
                        round->result = -EACCES;
                        return 0;
                }
        }

        r = task_setting_apply(caller, task, &round->setting);
        if (r == -ENOENT)
                return r;
        if (r < 0 && r != -ESRCH)
                round->result = r;
        else if (r >= 0 && round->result == -ESRCH)
                round->result = 0;
        return 0;
}

/* Of one task: the kernel needs no help unless the value gets better. */
static Verdict set_nice_of_task(Request *request, pid_t pid, int nice, int64_t *ret_result) {
        Setting setting = { .kind = SETTING_NICE, .value = nice };
        TargetTask task = TARGET_TASK_INIT;
        Verdict verdict = VERDICT_CONTINUED;
        int r, current;

        r = target_find(&request->caller, pid, &task);
        if (r == -ESRCH)
                return VERDICT_CONTINUED;
        if (r < 0)
                return request_fail(request, r, ret_result);

        if (task.is_container && task_setting_get_nice(task.tid, &current) >= 0 && nice < current) {
                if (nice < request->policy->scheduling.min_nice)
                        verdict = refuse_nice(request, REASON_PRIORITY_NOT_LENT, PRIO_PROCESS, pid, nice);
                else if (caller_verify(&request->caller) >= 0) {
                        *ret_result = task_setting_apply(&request->caller, &task, &setting);
                        verdict = VERDICT_EMULATED;
                }
        }

        target_done(&task);
        return verdict;
}

static int nice_round(Request *request, int which, int who, Round *round) {
        uid_t uid;
        int r;

        if (which == PRIO_PGRP)
                return target_each_of_group(&request->caller, who, set_nice_of_one, round);

        /* 0 is the caller's real user. */
        r = who == 0 ? target_caller_uid(&request->caller, &uid)
                     : target_map_uid(&request->caller, (uid_t) who, &uid);
        if (r < 0)
                return r == -EINVAL ? -ESRCH : r;

        return target_each_of_user(&request->caller, uid, set_nice_of_one, round);
}

/* A limit of resources may allow it natively. */
static bool limit_allows(Request *request, int nice) {
        TargetTask self = TARGET_TASK_INIT;
        uint64_t limit;

        return caller_identify(&request->caller) >= 0 &&
               target_limit(&request->caller, &self, "Max nice priority", &limit) >= 0 &&
               (uint64_t) (20 - nice) <= limit;
}

Verdict setpriority_handle(Request *request, int64_t *ret_result) {
        int which = (int) request->args[0], who = (int) request->args[1], nice = (int) request->args[2];
        Round round = { .request = request, .result = -ESRCH };
        Reason reason;
        int r, current;

        if (which < PRIO_PROCESS || which > PRIO_USER)
                return VERDICT_CONTINUED;
        nice = CLAMP(nice, NICE_MIN, NICE_MAX);

        /* Cheap and common: the caller itself, to no better value. */
        if (which == PRIO_PROCESS && who == 0 &&
                        (task_setting_get_nice(request->caller.tid, &current) < 0 || nice >= current))
                return VERDICT_CONTINUED;

        if (nice < request->policy->scheduling.min_nice && (which != PRIO_PROCESS || who == 0)) {
                if (which != PRIO_PROCESS && nice >= 0)
                        return VERDICT_CONTINUED;
                if (request_wants_description(request) && limit_allows(request, nice))
                        return VERDICT_CONTINUED;
                return refuse_nice(request, REASON_PRIORITY_NOT_LENT, which, who, nice);
        }

        r = scheduling_identify(request, &reason);
        if (r < 0)
                return request_fail(request, r, ret_result);
        if (reason != REASON_NONE) {
                if (nice >= 0 || limit_allows(request, nice))
                        return VERDICT_CONTINUED;
                return refuse_nice(request, reason, which, who, nice);
        }

        if (which == PRIO_PROCESS) {
                Verdict verdict = set_nice_of_task(request, who, nice, ret_result);

                if (verdict == VERDICT_EMULATED && request_wants_description(request))
                        request->arguments = request_text("task %i, nice %i", who, nice);
                return verdict;
        }

        if (caller_verify(&request->caller) < 0)
                return VERDICT_CONTINUED;

        round.setting = (Setting){ .kind = SETTING_NICE, .value = nice };
        r = nice_round(request, which, who, &round);
        if (r < 0 && r != -ESRCH)
                return request_fail(request, r, ret_result);

        if (request_wants_description(request)) {
                g_autofree char *whom = describe_who(which, who, PRIO_USER);

                request->arguments = request_text("%s, nice %i", whom, nice);
        }
        *ret_result = round.result;
        return VERDICT_EMULATED;
}

static char *describe_io(int which, int who, int ioprio) {
        g_autofree char *whom = describe_who(which, who, IOPRIO_WHO_USER);

        return request_text("%s, I/O class %s, level %u", whom,
                        scheduling_io_class_name(io_class_of(ioprio)) ?: "none", (unsigned) ioprio & 7u);
}

static Verdict refuse_io(Request *request, Reason reason, int which, int who, int ioprio) {
        char *arguments = NULL, *hint = NULL;

        if (request_wants_description(request)) {
                if (which >= IOPRIO_WHO_PROCESS && which <= IOPRIO_WHO_USER)
                        arguments = describe_io(which, who, ioprio);
                if (reason == REASON_POLICY_NOT_LENT)
                        hint = g_strdup_printf("[Scheduling] IOClass=%s",
                                        scheduling_io_class_name(io_class_of(ioprio)) ?: "best-effort");
                else if (reason == REASON_USER_NOT_LENT)
                        hint = g_strdup_printf("[Intercept] AllowUsers=%u", (unsigned) request->caller.euid);
        }

        return scheduling_refuse(request, reason, arguments, hint);
}

/* For ioprio_set(2) the real user counts as well. */
static bool is_callers_user(Caller *caller, uid_t uid) {
        uid_t real;

        return uid == caller->euid || (target_caller_uid(caller, &real) >= 0 && uid == real);
}

/* The first error ends it, as in the kernel. */
static int set_io_of_one(const TargetTask *task, void *userdata) {
        Round *round = userdata;
        Caller *caller = &round->request->caller;
        int r;

        /* Of others' tasks those of the same user may be given an ordinary class, with no privilege. */
        if (!task->is_container && (io_class_of(round->setting.value) == IOPRIO_CLASS_RT ||
                                                   !is_callers_user(caller, task->uid))) {
                round->result = -EPERM;
                return 1;
        }

        r = task_setting_apply(caller, task, &round->setting);
        if (r == -ESRCH)
                return 0;
        round->result = r;
        return r < 0 ? 1 : 0;
}

static int io_round(Request *request, int which, int who, Round *round) {
        TargetTask task = TARGET_TASK_INIT;
        uid_t uid;
        int r;

        switch (which) {
        case IOPRIO_WHO_PROCESS:
                r = target_find(&request->caller, who, &task);
                if (r >= 0)
                        (void) set_io_of_one(&task, round);
                target_done(&task);
                return r;
        case IOPRIO_WHO_PGRP:
                return target_each_of_group(&request->caller, who, set_io_of_one, round);
        case IOPRIO_WHO_USER:
                /* Unlike in setpriority(2), 0 is user 0 of the namespace. */
                r = target_map_uid(&request->caller, (uid_t) who, &uid);
                return r < 0 ? -ESRCH : target_each_of_user(&request->caller, uid, set_io_of_one, round);
        default:
                round->result = -EINVAL;
                return 0;
        }
}

/* The kernel looks at the value first, and in each version knows other ones. It's asked about nobody.
 * Return: 0 if it's sound, or its errno. */
static int check_ioprio(int ioprio) {
        int r;

        r = privilege_raise(CAPABILITY_BIT(CAP_SYS_NICE));
        if (r < 0)
                return r;

        r = syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, -1, ioprio) < 0 && errno != ESRCH ? -errno : 0;
        return privilege_raise(0) < 0 ? -EPERM : r;
}

Verdict ioprio_set_handle(Request *request, int64_t *ret_result) {
        int which = (int) request->args[0], who = (int) request->args[1], ioprio = (int) request->args[2];
        const SchedulingPolicy *lent = &request->policy->scheduling;
        unsigned io_class = io_class_of(ioprio);
        Round round = { .request = request, .result = -ESRCH };
        bool ordinary = io_class != IOPRIO_CLASS_RT;
        Reason reason;
        int r;

        if (io_class > IOPRIO_CLASS_IDLE)
                return VERDICT_CONTINUED;

        /* The ordinary classes need a privilege for other users' tasks only. To give back what was lent is
         * lent as well. */
        if (io_class == IOPRIO_CLASS_NONE ? lent->io_classes == 0
                                          : !scheduling_lends_io_class(lent, io_class))
                return ordinary ? VERDICT_CONTINUED
                                : refuse_io(request, REASON_POLICY_NOT_LENT, which, who, ioprio);

        r = scheduling_identify(request, &reason);
        if (r < 0)
                return request_fail(request, r, ret_result);
        if (reason != REASON_NONE)
                return ordinary ? VERDICT_CONTINUED : refuse_io(request, reason, which, who, ioprio);

        if (caller_verify(&request->caller) < 0)
                return VERDICT_CONTINUED;

        round.setting = (Setting){ .kind = SETTING_IO, .value = ioprio };
        r = check_ioprio(ioprio);
        if (r < 0)
                round.result = r;
        else {
                r = io_round(request, which, who, &round);
                if (r < 0 && r != -ESRCH)
                        return request_fail(request, r, ret_result);
        }

        if (request_wants_description(request) && which >= IOPRIO_WHO_PROCESS && which <= IOPRIO_WHO_USER)
                request->arguments = describe_io(which, who, ioprio);
        *ret_result = round.result;
        return VERDICT_EMULATED;
}
