/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* sched_setscheduler(2), sched_setparam(2), sched_setattr(2): scheduling policies. (setpriority(2) and
 * ioprio_set(2), of the same family, are in priority.c.)
 *
 * Privilege lent: CAP_SYS_NICE, for the one call that gives one task a policy and priority that [Scheduling]
 * names. The kernel asks for it in the initial user namespace; for root of a container that is the case for
 * real-time and deadline policies, for a better nice value, for leaving SCHED_IDLE, for clearing the
 * reset-on-fork flag and for tasks of other users of the container.
 *
 * What a hostile container may try, and what meets it:
 *   - name a process of the host, or of another container: numbers are those of the caller's pid namespace,
 * and what is found must be in the container's user namespace (target_find()).
 *   - let the target die and its number be taken by a process of the host: task-setting.h.
 *   - change the structure while it's read: it's copied once; the kernel gets the copy, cut to what we know,
 * in our own memory. "Keep the policy" is resolved before the check, so what's set is what was checked.
 *   - starve the host: MaxRealtimePriority=, MaxDeadlineRuntimeSec= and MaxDeadlineBandwidth=, the latter for
 * all tasks of the container together. Within these it's the administrator's word: see deputyd.policy(5).
 *   - ask from a nested user namespace, without CAP_SYS_NICE, as a user: caller_may_borrow().
 *   - huge, short, misaligned, unmapped structures: whatever isn't a sound call continues, and gets the
 * kernel's own errno, since none of those checks concerns a privilege.
 *   - reuse the caller's id, or exec a set-user-ID program meanwhile: see caller.h.
 *
 * Setting the same thing twice does no harm, so a successor of a supervisor that died simply does it again.
 */

#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <string.h>

#include "basic/log.h"
#include "supervisor/handlers/handlers.h"
#include "supervisor/handlers/scheduling.h"
#include "supervisor/task-setting.h"

/* The kernel's own limits of what's sound. */
#define RT_PRIORITY_MAX 99u
#define ATTR_SIZE_MAX   4096u /* PAGE_SIZE where it's smallest; more is continued, and judged there */
#define NICE_MIN        (-20)
#define NICE_MAX        19

/* kernel.sched_deadline_period_max_us as it is by default, in ns. */
#define DEADLINE_PERIOD_MAX (UINT64_C(4194304) * 1000)

#define KNOWN_FLAGS                                                                                          \
        ((uint64_t) SCHED_FLAG_RESET_ON_FORK | SCHED_FLAG_RECLAIM | SCHED_FLAG_DL_OVERRUN |                  \
                        SCHED_FLAG_KEEP_POLICY | SCHED_FLAG_KEEP_PARAMS | SCHED_FLAG_UTIL_CLAMP_MIN |        \
                        SCHED_FLAG_UTIL_CLAMP_MAX)

/* Of the kernel's own threads. It isn't in headers, and refused to all others, but after their privileges. */
#define FLAG_SUGOV UINT64_C(0x10000000)

/* What the call asks for. */
typedef struct Wish {
        pid_t pid;
        bool keep_policy; /* the target's present one: sched_setparam(), SCHED_FLAG_KEEP_POLICY */
        bool keep_params; /* change nothing but the clamps: SCHED_FLAG_KEEP_PARAMS */
        Setting setting;
} Wish;

static bool is_realtime(unsigned policy) {
        return policy == SCHED_FIFO || policy == SCHED_RR;
}

static bool is_fair(unsigned policy) {
        return policy == SCHED_NORMAL || policy == SCHED_BATCH || policy == SCHED_IDLE;
}

/* The part of the kernel's EINVALs that comes before all questions of privilege and that matters here:
 * anything that isn't what it claims to be is left to the kernel, and so is what must never be lent. */
static bool is_sound(const Wish *wish) {
        const SchedAttr *attr = &wish->setting.attr;

        if (wish->pid < 0 || attr->flags & ~(KNOWN_FLAGS | FLAG_SUGOV))
                return false;
        /* The kernel (up to 6.18 at least) reserves processor time for such a call although the task doesn't
         * get the policy, and never gives it back. */
        if (wish->keep_params && !wish->keep_policy && attr->policy == SCHED_DEADLINE)
                return false;
        if (wish->keep_policy || wish->keep_params)
                return true;
        if (attr->policy == SCHED_DEADLINE)
                return attr->priority == 0 && wish->setting.kind == SETTING_ATTR;
        if (is_realtime(attr->policy))
                return attr->priority >= 1 && attr->priority <= RT_PRIORITY_MAX;

        return is_fair(attr->policy) && attr->priority == 0;
}

static bool read_param(Request *request, uint64_t address, Wish *wish) {
        int priority;

        if (address == 0 || caller_read(&request->caller, address, &priority, sizeof(priority)) < 0)
                return false;

        wish->setting.kind = SETTING_SCHEDULER;
        wish->setting.attr.priority = (uint32_t) priority;
        return true;
}

static bool read_scheduler(Request *request, Wish *wish) {
        int policy = (int) request->args[1];

        if (policy < 0 || !read_param(request, request->args[2], wish))
                return false;

        if (policy & SCHED_RESET_ON_FORK)
                wish->setting.attr.flags = SCHED_FLAG_RESET_ON_FORK;
        wish->setting.attr.policy = (unsigned) policy & ~(unsigned) SCHED_RESET_ON_FORK;
        return true;
}

static bool is_zero(const unsigned char *p, size_t size) {
        while (size > 0 && *p == 0) {
                p++;
                size--;
        }

        return size == 0;
}

/* As sched_copy_attr() in the kernel. */
static bool read_attr(Request *request, Wish *wish) {
        uint64_t address = request->args[1];
        unsigned char bytes[ATTR_SIZE_MAX];
        SchedAttr *attr = &wish->setting.attr;
        uint32_t size;

        if (address == 0 || (uint32_t) request->args[2] != 0 ||
                        caller_read(&request->caller, address, &size, sizeof(size)) < 0)
                return false;

        if (size == 0)
                size = SCHED_ATTR_SIZE_FIRST;
        if (size < SCHED_ATTR_SIZE_FIRST || size > sizeof(bytes) ||
                        caller_read(&request->caller, address, bytes, size) < 0)
                return false;
        if (size > sizeof(*attr) && !is_zero(bytes + sizeof(*attr), size - sizeof(*attr)))
                return false; /* What a newer kernel may know and we don't. */

        memcpy(attr, bytes, MIN(size, sizeof(*attr)));
        attr->size = MIN(size, (uint32_t) sizeof(*attr));
        if (attr->flags & SCHED_FLAG_UTIL_CLAMP && size < sizeof(*attr))
                return false;

        attr->nice = CLAMP(attr->nice, NICE_MIN, NICE_MAX);
        wish->setting.kind = SETTING_ATTR;
        wish->keep_policy = attr->flags & SCHED_FLAG_KEEP_POLICY;
        wish->keep_params = attr->flags & SCHED_FLAG_KEEP_PARAMS;
        return (int) attr->policy >= 0;
}

static bool read_wish(Request *request, Wish *wish) {
        *wish = (Wish){ .pid = (pid_t) request->args[0] };

        switch (request->call) {
        case CALL_SCHED_SETSCHEDULER:
                return read_scheduler(request, wish) && is_sound(wish);
        case CALL_SCHED_SETPARAM:
                wish->keep_policy = true;
                return read_param(request, request->args[1], wish) && is_sound(wish);
        case CALL_SCHED_SETATTR:
                return read_attr(request, wish) && is_sound(wish);
        default:
                return false;
        }
}

/* Puts the target's present policy into the wish. Return: true if it's then still sound. */
static bool resolve_policy(Wish *wish, const SchedAttr *current) {
        SchedAttr *attr = &wish->setting.attr;

        attr->policy = current->policy;
        attr->flags &= ~(uint64_t) (SCHED_FLAG_KEEP_POLICY | SCHED_FLAG_RESET_ON_FORK);
        attr->flags |= current->flags & SCHED_FLAG_RESET_ON_FORK;
        wish->keep_policy = false;
        return is_sound(wish);
}

/* Does the kernel ask for CAP_SYS_NICE here? As user_check_sched_setscheduler() there; limits are the
 * target's. (It's only asked when a refusal is told of, so that what's allowed anyway isn't.) */
static bool needs_privilege(
                const Caller *caller, const Wish *wish, const TargetTask *task, const SchedAttr *current) {
        const SchedAttr *attr = &wish->setting.attr;
        uint64_t nice_limit = 0, priority_limit = 0;
        int nice = wish->setting.kind == SETTING_ATTR ? attr->nice : current->nice;

        if (task->proc_fd >= 0 && task->uid != caller->euid && task->euid != caller->euid)
                return true;
        if (current->flags & SCHED_FLAG_RESET_ON_FORK && !(attr->flags & SCHED_FLAG_RESET_ON_FORK))
                return true;
        if (attr->policy == SCHED_DEADLINE)
                return true;

        (void) target_limit(caller, task, "Max nice priority", &nice_limit);
        (void) target_limit(caller, task, "Max realtime priority", &priority_limit);

        if (is_realtime(attr->policy))
                return (attr->policy != current->policy && priority_limit == 0) ||
                       (attr->priority > current->priority && attr->priority > priority_limit);

        if (current->policy == SCHED_IDLE && attr->policy != SCHED_IDLE &&
                        (uint64_t) (20 - current->nice) > nice_limit)
                return true;
        return is_fair(current->policy) && nice < current->nice && (uint64_t) (20 - nice) > nice_limit;
}

static char *describe(const Wish *wish) {
        const SchedAttr *attr = &wish->setting.attr;
        const char *name = wish->keep_policy ? "present" : scheduling_policy_name(attr->policy) ?: "unknown";

        if (attr->policy == SCHED_DEADLINE && !wish->keep_policy)
                return request_text("task %i, policy deadline, %" PRIu64 " of %" PRIu64 " ns",
                                (int) wish->pid, attr->runtime, attr->period ?: attr->deadline);
        if (wish->setting.kind == SETTING_ATTR && is_fair(attr->policy))
                return request_text("task %i, policy %s, nice %i", (int) wish->pid, name, attr->nice);

        return request_text("task %i, policy %s, priority %u", (int) wish->pid, name, attr->priority);
}

/* Parts of a processor that a deadline task reserves, in 1/2^20 as the kernel counts. */
static uint64_t deadline_bandwidth(const SchedAttr *attr) {
        uint64_t period = attr->period ?: attr->deadline;

        return period == 0 ? 0 : (uint64_t) (((unsigned __int128) attr->runtime << 20) / period);
}

static char *hint_for(const Request *request, Reason reason, const Wish *wish) {
        const SchedAttr *attr = &wish->setting.attr;
        const SchedulingPolicy *lent = &request->policy->scheduling;
        const char *name = scheduling_policy_name(attr->policy);

        switch (reason) {
        case REASON_POLICY_NOT_LENT:
                return name ? g_strdup_printf("[Scheduling] AllowPolicy=%s", name) : NULL;
        case REASON_PRIORITY_NOT_LENT:
                if (is_realtime(attr->policy))
                        return g_strdup_printf("[Scheduling] MaxRealtimePriority=%u", attr->priority);
                if (attr->policy != SCHED_DEADLINE)
                        return g_strdup_printf("[Scheduling] MinNice=%i", attr->nice);
                if (attr->runtime / 1000 >= lent->max_deadline_runtime_usec)
                        return g_strdup_printf("[Scheduling] MaxDeadlineRuntimeSec=%" PRIu64 "us",
                                        attr->runtime / 1000 + (attr->runtime % 1000 != 0));
                if (attr->flags & SCHED_FLAG_RECLAIM && lent->max_deadline_bandwidth < 100)
                        return g_strdup("[Scheduling] MaxDeadlineBandwidth=100%");
                /* Enough beside whatever else is reserved by now. */
                return g_strdup_printf("[Scheduling] MaxDeadlineBandwidth=%" PRIu64 "%%",
                                lent->max_deadline_bandwidth + (deadline_bandwidth(attr) * 100 >> 20) + 1);
        case REASON_USER_NOT_LENT:
                return g_strdup_printf("[Intercept] AllowUsers=%u", (unsigned) request->caller.euid);
        default:
                return NULL;
        }
}

int scheduling_identify(Request *request, Reason *ret_reason) {
        int r;

        r = caller_identify(&request->caller);
        if (r < 0)
                return r;

        *ret_reason = caller_may_borrow(&request->caller, CAP_SYS_NICE,
                        policy_allows_user(request->policy, request->caller.euid));
        return 0;
}

Verdict scheduling_refuse(Request *request, Reason reason, char *arguments, char *hint) {
        if (caller_has_natively(&request->caller, CAP_SYS_NICE) || caller_verify(&request->caller) < 0) {
                g_free(arguments);
                g_free(hint);
                request->reason = REASON_NONE;
                return VERDICT_CONTINUED;
        }

        return request_refuse(request, reason, arguments, hint);
}

/* The kernel will decide. Was it refused, then, or only never asked? Looked into as long as somebody reads
 * the answer; after that what asks for more than an ordinary policy counts as refused. */
static Verdict refuse(Request *request, Reason reason, const Wish *wish) {
        TargetTask task = TARGET_TASK_INIT;
        SchedAttr current;
        Wish resolved = *wish;
        bool needed;

        if (caller_has_natively(&request->caller, CAP_SYS_NICE))
                return VERDICT_CONTINUED;
        if (!request_wants_description(request))
                return is_fair(wish->setting.attr.policy) ? VERDICT_CONTINUED
                                                          : request_refuse(request, reason, NULL, NULL);

        if (caller_identify(&request->caller) < 0 || target_find(&request->caller, wish->pid, &task) < 0 ||
                        task_setting_get_attr(task.tid, &current) < 0) {
                target_done(&task);
                return VERDICT_CONTINUED; /* There's nobody of that number. */
        }

        needed = (!wish->keep_policy || resolve_policy(&resolved, &current)) &&
                 (wish->keep_params || needs_privilege(&request->caller, &resolved, &task, &current));
        target_done(&task);
        if (!needed)
                return VERDICT_CONTINUED;

        return scheduling_refuse(request, reason, describe(&resolved), hint_for(request, reason, &resolved));
}

typedef struct DeadlineSum {
        pid_t except;
        uint64_t sum;
} DeadlineSum;

static int add_deadline(const TargetTask *task, void *userdata) {
        DeadlineSum *sum = userdata;
        SchedAttr attr;

        if (task->tid != sum->except && task_setting_get_attr(task->tid, &attr) >= 0 &&
                        attr.policy == SCHED_DEADLINE)
                sum->sum += deadline_bandwidth(&attr);
        return 0;
}

/* Do all deadline tasks of the container keep within MaxDeadlineBandwidth= if this one gets what it asks for?
 * Return: 1 yes, 0 no, or a negative errno. */
static int fits_deadline_bandwidth(Request *request, const TargetTask *task, const SchedAttr *attr) {
        uint64_t max = ((uint64_t) request->policy->scheduling.max_deadline_bandwidth << 20) / 100;
        DeadlineSum sum = { .except = task->tid, .sum = deadline_bandwidth(attr) };
        int r;

        r = target_each_of_container(&request->caller, add_deadline, &sum);
        return r < 0 ? r : sum.sum <= max;
}

static Reason check_deadline(Request *request, const SchedAttr *attr) {
        const SchedulingPolicy *lent = &request->policy->scheduling;

        if (attr->runtime > lent->max_deadline_runtime_usec * 1000)
                return REASON_PRIORITY_NOT_LENT;
        /* It takes what others have reserved and don't use, so that its reservation bounds nothing. */
        if (attr->flags & SCHED_FLAG_RECLAIM && lent->max_deadline_bandwidth < 100)
                return REASON_PRIORITY_NOT_LENT;

        return REASON_NONE;
}

/* Is it lent, as far as the wish itself tells? */
static Reason check_wish(Request *request, const Wish *wish) {
        const SchedulingPolicy *lent = &request->policy->scheduling;
        const SchedAttr *attr = &wish->setting.attr;

        if (wish->keep_policy || wish->keep_params)
                return scheduling_lends_policy(lent, SCHED_NORMAL) ? REASON_NONE : REASON_POLICY_NOT_LENT;
        if (!scheduling_lends_policy(lent, attr->policy))
                return REASON_POLICY_NOT_LENT;
        if (is_realtime(attr->policy))
                return attr->priority <= lent->max_realtime_priority ? REASON_NONE : REASON_PRIORITY_NOT_LENT;

        return attr->policy == SCHED_DEADLINE ? check_deadline(request, attr) : REASON_NONE;
}

/* Is it lent, from what the target has now? For ordinary policies, whose nice value may get better. */
static Reason check_nice(Request *request, const Wish *wish, const SchedAttr *current) {
        const SchedAttr *attr = &wish->setting.attr;
        int min = request->policy->scheduling.min_nice;

        if (wish->keep_params || !is_fair(attr->policy))
                return REASON_NONE;

        /* The nice value is kept beneath a real-time policy. sched_setscheduler() doesn't touch it. */
        if (wish->setting.kind == SETTING_ATTR && attr->nice < current->nice && attr->nice < min)
                return REASON_PRIORITY_NOT_LENT;
        /* SCHED_IDLE is less than any nice value. */
        if (current->policy == SCHED_IDLE && attr->policy != SCHED_IDLE && current->nice < min)
                return REASON_PRIORITY_NOT_LENT;

        return REASON_NONE;
}

static int nice_of(pid_t tid, SchedAttr *attr) {
        /* Only shown for ordinary policies. */
        return is_fair(attr->policy) ? 0 : task_setting_get_nice(tid, &attr->nice);
}

/* A deadline task that sleeps while it's given another policy never gives back what it has reserved, up to
 * Linux 6.18 at least, so that little by little nobody could reserve anything any more. So it's first made to
 * reserve next to nothing (less than the kernel's 1/2^20), which takes effect at once. */
static int leave_deadline(const Caller *caller, const TargetTask *task, const SchedAttr *current) {
        Setting little = {
                .kind = SETTING_ATTR,
                .attr = {
                        .size = SCHED_ATTR_SIZE_FIRST,
                        .policy = SCHED_DEADLINE,
                        .flags = current->flags & SCHED_FLAG_RESET_ON_FORK,
                        .runtime = 1024,
                        .deadline = DEADLINE_PERIOD_MAX,
                        .period = DEADLINE_PERIOD_MAX,
                },
        };

        return task_setting_apply(caller, task, &little);
}

/* What sched_getattr() shows, to be set again. */
static Setting setting_of(const SchedAttr *current) {
        Setting setting = { .kind = SETTING_ATTR, .attr = *current };

        setting.attr.size = SCHED_ATTR_SIZE_FIRST;
        setting.attr.flags &= KNOWN_FLAGS & ~(uint64_t) SCHED_FLAG_UTIL_CLAMP;
        return setting;
}

/* Sets what's wished. Return: 0 or the caller's errno. */
static int set_policy(
                const Caller *caller, const TargetTask *task, const Wish *wish, const SchedAttr *current) {
        const SchedAttr *attr = &wish->setting.attr;
        bool leaves = current->policy == SCHED_DEADLINE && attr->policy != SCHED_DEADLINE &&
                      !wish->keep_params;
        Setting before = setting_of(current);
        int r;

        if (attr->flags & FLAG_SUGOV)
                return -EINVAL;

        if (leaves)
                (void) leave_deadline(caller, task, current); /* If it can't be, the kernel has its way. */
        r = task_setting_apply(caller, task, &wish->setting);
        if (r < 0 && leaves)
                (void) task_setting_apply(caller, task, &before);
        return r;
}

/* Two supervisors of one target could each find that their task's part still fits. So it's asked again when
 * it's in force, and taken back. Return: 1 if it stays, 0 if it was taken back, or a negative errno. */
static int keep_deadline_or_not(
                Request *request, const TargetTask *task, const Wish *wish, const SchedAttr *before) {
        Setting back = setting_of(before);
        int r;

        r = fits_deadline_bandwidth(request, task, &wish->setting.attr);
        if (r > 0)
                return r;

        if (before->policy != SCHED_DEADLINE)
                (void) leave_deadline(&request->caller, task, &wish->setting.attr);
        (void) task_setting_apply(&request->caller, task, &back);
        return r;
}

/* With a target in hand. */
static Verdict serve_target(Request *request, Wish *wish, const TargetTask *task, int64_t *ret_result) {
        bool resolve = wish->keep_policy && !wish->keep_params,
             deadline = wish->setting.attr.policy == SCHED_DEADLINE;
        SchedAttr current = {};
        Reason reason;
        int r;

        if (!task->is_container)
                return VERDICT_CONTINUED; /* One that root of a container can't touch natively either. */

        r = task_setting_get_attr(task->tid, &current);
        if (r >= 0)
                r = nice_of(task->tid, &current);
        if (r < 0)
                return VERDICT_CONTINUED; /* gone */

        if (resolve) {
                if (!resolve_policy(wish, &current))
                        return VERDICT_CONTINUED;
                reason = check_wish(request, wish);
                if (reason != REASON_NONE)
                        return refuse(request, reason, wish);
                deadline = wish->setting.attr.policy == SCHED_DEADLINE;
        }

        reason = check_nice(request, wish, &current);
        if (reason != REASON_NONE)
                return refuse(request, reason, wish);

        deadline = deadline && !wish->keep_params;
        if (deadline) {
                r = fits_deadline_bandwidth(request, task, &wish->setting.attr);
                if (r < 0)
                        return request_fail(request, r, ret_result);
                if (r == 0)
                        return refuse(request, REASON_PRIORITY_NOT_LENT, wish);
        }

        if (caller_verify(&request->caller) < 0)
                return VERDICT_CONTINUED; /* Gone: nobody waits for an answer. */

        r = set_policy(&request->caller, task, wish, &current);
        if (r >= 0 && deadline && keep_deadline_or_not(request, task, wish, &current) <= 0)
                return refuse(request, REASON_PRIORITY_NOT_LENT, wish);

        if (request_wants_description(request))
                request->arguments = describe(wish);
        *ret_result = r;
        return VERDICT_EMULATED;
}

static Verdict policy_handle(Request *request, int64_t *ret_result) {
        TargetTask task = TARGET_TASK_INIT;
        Verdict verdict;
        Reason reason;
        Wish wish;
        int r;

        if (!read_wish(request, &wish))
                return VERDICT_CONTINUED;

        reason = check_wish(request, &wish);
        if (reason != REASON_NONE)
                return refuse(request, reason, &wish);

        r = scheduling_identify(request, &reason);
        if (r < 0)
                return request_fail(request, r, ret_result);
        if (reason != REASON_NONE)
                return refuse(request, reason, &wish);

        r = target_find(&request->caller, wish.pid, &task);
        if (r == -ESRCH)
                return VERDICT_CONTINUED; /* The kernel's answer, too, and before any question of privilege.
                                           */
        if (r < 0)
                return request_fail(request, r, ret_result);

        verdict = serve_target(request, &wish, &task, ret_result);
        target_done(&task);
        return verdict;
}

static Verdict scheduling_handle(Request *request, int64_t *ret_result) {
        switch (request->call) {
        case CALL_SETPRIORITY:
                return setpriority_handle(request, ret_result);
        case CALL_IOPRIO_SET:
                return ioprio_set_handle(request, ret_result);
        default:
                return policy_handle(request, ret_result);
        }
}

const Handler scheduling_handler = {
        .name = "scheduling",
        .calls = CALL_BIT(CALL_SCHED_SETSCHEDULER) | CALL_BIT(CALL_SCHED_SETPARAM) |
                 CALL_BIT(CALL_SCHED_SETATTR) | CALL_BIT(CALL_SETPRIORITY) | CALL_BIT(CALL_IOPRIO_SET),
        .capabilities = CAPABILITY_BIT(CAP_SYS_NICE),
        .handle = scheduling_handle,
};
