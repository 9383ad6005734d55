/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A target's life. The one event source on its listener says two things: somebody waits (EPOLLIN), and the
 * last task with the filter is gone (EPOLLHUP). It's on exactly while no supervisor receives: the daemon then
 * starts one, or, for a target whose supervisors only crash, answers by itself. Receiving and answering touch
 * nothing of the target but the notification.
 *
 * Errors that concern one target end here: an event handler that fails would be switched off, and the target
 * would hang for good. */

#include <assert.h>
#include <errno.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <systemd/sd-id128.h>
#include <unistd.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "basic/message-id.h"
#include "daemon/entry.h"
#include "daemon/daemon-limits.h"
#include "daemon/store.h"
#include "daemon/target-bus.h"
#include "daemon/target-supervisor.h"
#include "daemon/target.h"
#include "daemon/unit.h"
#include "filter/filter.h"

static const char *const status_names[_TARGET_STATUS_MAX] = {
        [TARGET_IDLE] = "idle",
        [TARGET_ACTIVE] = "active",
        [TARGET_PASS_THROUGH] = "pass-through",
        [TARGET_FAILED] = "failed",
};

const char *target_status_to_string(TargetStatus status) {
        return status < _TARGET_STATUS_MAX ? status_names[status] : NULL;
}

TargetStatus target_status(const Target *t) {
        if (t->listener < 0 || t->reason || t->policy->calls == 0)
                return TARGET_PASS_THROUGH;
        if (t->failed)
                return TARGET_FAILED;

        return t->activity && t->activity->n_supervisors > 0 ? TARGET_ACTIVE : TARGET_IDLE;
}

const char *target_error(const Target *t) {
        if (t->reason)
                return t->reason;
        if (t->policy->error)
                return t->policy->error;
        if (t->failed)
                return "Its supervisors crashed again and again; 'deputyctl reload' tries once more";

        return NULL;
}

bool target_needs_restart(const Target *t) {
        if (t->listener >= 0 && !t->calls_known)
                return false;

        return t->calls != t->policy->calls;
}

void target_find_machine(Target *t) {
        if (t->machine || !t->policy->unit[0])
                return;

        t->machine = unit_machine(t->policy->unit);
        if (t->machine && t->announced)
                target_bus_changed(t, "Machine");
}

int target_map_state(Target *t) {
        int r;

        if (t->activity)
                return 1;
        if (t->state_fd < 0)
                return 0;

        t->activity = g_new0(TargetActivity, 1);
        r = target_state_map(t->state_fd, &t->activity->state);
        if (r < 0) {
                g_clear_pointer(&t->activity, g_free);
                return r;
        }

        return 1;
}

void target_unmap_state(Target *t) {
        if (!t->activity || t->activity->n_supervisors > 0)
                return;

        target_state_unmap(t->activity->state);
        g_clear_pointer(&t->activity, g_free);
}

void target_answer_failure(Target *t, const struct seccomp_notif *notification) {
        struct seccomp_notif_resp response = { .id = notification->id };
        CallId call = filter_resolve(notification->data.arch, notification->data.nr);

        if (t->policy->on_failure != 0)
                response.error = -t->policy->on_failure;
        else if (call_is_guarded(call, (const uint64_t *) notification->data.args))
                response.error = -EPERM;
        else
                response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;

        /* ENOENT: the caller is gone, or the supervisor was quicker. */
        if (ioctl(t->listener, SECCOMP_IOCTL_NOTIF_SEND, &response) < 0)
                return;

        if (call >= 0 && t->activity)
                atomic_fetch_add_explicit(&t->activity->state->calls[call].failed, 1, memory_order_relaxed);
}

/* Receives and answers what a failed target's caller asks. RECV ignores O_NONBLOCK and would wait if the
 * caller has gone since poll(2) saw it, so a timer that goes on ticking interrupts it. */
static int answer_one(Target *t) {
        static const struct itimerval guard = { { 0, RECEIVE_GUARD_USEC }, { 0, RECEIVE_GUARD_USEC } };
        static const struct itimerval off = {};
        TargetState *state = t->activity->state;
        TargetSlot *slot = NULL;
        int r;

        for (unsigned i = 0; i < TARGET_STATE_SLOTS && !slot; i++)
                if (atomic_load(&state->slots[i].owner) == 0)
                        slot = &state->slots[i];
        if (!slot)
                return -EBUSY;

        memset(&slot->notification, 0, sizeof(slot->notification));
        atomic_store(&slot->received_nsec, 0);
        atomic_store(&slot->stage, SLOT_RECEIVED);
        atomic_store(&slot->owner, (int32_t) getpid());

        (void) setitimer(ITIMER_REAL, &guard, NULL);
        r = ioctl(t->listener, SECCOMP_IOCTL_NOTIF_RECV, &slot->notification) < 0 ? -errno : 0;
        (void) setitimer(ITIMER_REAL, &off, NULL);

        if (r >= 0) {
                CallId call = filter_resolve(slot->notification.data.arch, slot->notification.data.nr);

                if (call >= 0)
                        atomic_fetch_add_explicit(&state->calls[call].received, 1, memory_order_relaxed);
                target_answer_failure(t, &slot->notification);
        }

        slot->notification.id = 0;
        atomic_store(&slot->owner, 0);
        return r;
}

static void answer_failed(Target *t) {
        struct pollfd p = { .fd = t->listener, .events = POLLIN };
        int r;

        r = target_map_state(t);
        if (r <= 0) {
                (void) log_warning_errno(r, "Failed to map the state of target %s: %m", t->id);
                return;
        }

        for (unsigned i = 0; i < ANSWERS_PER_WAKE_UP && poll(&p, 1, 0) > 0 && (p.revents & POLLIN); i++) {
                r = answer_one(t);
                if (r < 0 && r != -ENOENT && r != -EINTR) {
                        (void) log_debug_errno(r, "Failed to answer a call of target %s: %m", t->id);
                        break;
                }
        }

        target_unmap_state(t);
}

static int on_listener(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Target *t = userdata;

        if (events & (EPOLLHUP | EPOLLERR)) {
                target_gone(t);
                return 0;
        }

        if (t->failed) {
                answer_failed(t);
                return 0;
        }

        target_find_machine(t);
        (void) supervisor_start(t);
        return 0;
}

static int on_leader(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        target_gone(userdata);
        return 0;
}

/* The order of kcmp(2) is arbitrary but total, so a sorted array finds a file among thousands in a few calls.
 * Return: 1 and the index of the target that has this listener, 0 and the index where it belongs. */
static int find_listener(Manager *m, int fd, unsigned *ret) {
        unsigned low = 0, high = m->listeners->len;

        while (m->kcmp_works && low < high) {
                unsigned middle = (low + high) / 2;
                const Target *t = m->listeners->pdata[middle];
                long c = syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, fd, t->listener);

                if (c == 0) {
                        *ret = middle;
                        return 1;
                }
                if (c == 1)
                        high = middle;
                else if (c == 2)
                        low = middle + 1;
                else {
                        log_debug("kcmp(2) doesn't work here: a listener that's handed over twice isn't "
                                  "noticed.");
                        m->kcmp_works = false;
                }
        }

        *ret = m->kcmp_works ? low : m->listeners->len;
        return 0;
}

static int check_limits(Manager *m, const TargetParameters *p) {
        UserAccount *user = manager_user(m, p->uid);

        if (g_hash_table_size(m->targets) >= TARGETS_MAX)
                return -EUSERS;

        if (user && (user->n_targets >= TARGETS_PER_USER_MAX || m->n_untrusted >= TARGETS_UNTRUSTED_MAX ||
                                    p->policy->n_targets_untrusted >= TARGETS_PER_UNIT_MAX))
                return -EUSERS;

        return 0;
}

static void account(Target *t, int change) {
        UserAccount *user = manager_user(t->manager, t->uid);

        if (!user)
                return;

        user->n_targets += (unsigned) change;
        t->manager->n_untrusted += (unsigned) change;
        t->policy->n_targets_untrusted += (unsigned) change;
        manager_user_done(t->manager, t->uid);
}

static int watch(Target *t) {
        g_autofree char *description = NULL;
        int r;

        if (t->listener >= 0)
                r = sd_event_add_io(t->manager->event, &t->source, t->listener, EPOLLIN, on_listener, t);
        else
                r = sd_event_add_io(t->manager->event, &t->source, t->leader_pidfd, EPOLLIN, on_leader, t);
        if (r < 0)
                return r;

        description = g_strdup_printf("target/%s", t->id);
        (void) sd_event_source_set_description(t->source, description);
        return 0;
}

static int choose_id(Manager *m, char ret[static TARGET_ID_SIZE]) {
        sd_id128_t random;
        int r;

        do {
                r = sd_id128_randomize(&random);
                if (r < 0)
                        return r;

                snprintf(ret, TARGET_ID_SIZE, "%016" G_GINT64_MODIFIER "x", random.qwords[0]);
        } while (g_hash_table_contains(m->targets, ret));

        return 0;
}

int target_new(Manager *m, const TargetParameters *p, Target **ret) {
        unsigned position = 0;
        Target *t;
        int r;

        assert(m);
        assert(p);
        assert(ret);

        r = p->restored ? 0 : check_limits(m, p);
        if (r < 0) {
                manager_user_done(m, p->uid);
                return r;
        }

        if (p->listener >= 0 && find_listener(m, p->listener, &position) > 0) {
                manager_user_done(m, p->uid);
                return -EEXIST;
        }

        t = g_new(Target, 1);
        *t = (Target){
                .manager = m,
                .policy = unit_policy_ref(p->policy),
                .listener = p->listener,
                .leader_pidfd = p->leader_pidfd,
                .state_fd = -1,
                .leader = p->leader,
                .uid = p->uid,
                .calls = p->calls,
                .calls_known = p->calls_known,
                .timestamp_usec = p->timestamp_usec ?: (uint64_t) g_get_real_time(),
                .reason = g_strdup(p->reason),
        };

        if (p->id)
                g_strlcpy(t->id, p->id, sizeof(t->id));
        else
                r = choose_id(m, t->id);
        if (r >= 0)
                r = watch(t);
        if (r < 0) {
                sd_event_source_disable_unref(t->source);
                unit_policy_unref(t->policy);
                g_free(t->reason);
                g_free(t);
                manager_user_done(m, p->uid);
                return r;
        }

        g_hash_table_insert(m->targets, t->id, t);
        if (t->listener >= 0)
                g_ptr_array_insert(m->listeners, (int) position, t);
        account(t, +1);
        target_find_machine(t);
        manager_status_changed(m);

        *ret = t;
        return 0;
}

void target_announce(Target *t) {
        const char *error = target_error(t);

        t->status_shown = (uint8_t) target_status(t);
        t->announced = true;

        if (t->listener >= 0)
                entry_log(t->manager, t, LOG_INFO, MESSAGE_TARGET_NEW, NULL, 0,
                                "New target %s in %s, led by process %i", t->id,
                                t->policy->unit[0] ? t->policy->unit : "no unit", (int) t->leader);
        if (error)
                entry_log(t->manager, t, LOG_WARNING, MESSAGE_PASS_THROUGH, NULL, 0,
                                "Target %s (%s) is pass-through, nothing is lent to it: %s", t->id,
                                t->policy->unit, error);

        target_bus_added(t);
}

void target_gone(Target *t) {
        if (t->listener >= 0)
                entry_log(t->manager, t, LOG_INFO, MESSAGE_TARGET_GONE, NULL, 0, "Target %s (%s) is gone",
                                t->id, t->policy->unit);

        store_remove(t);
        target_bus_removed(t);
        target_free(t);
}

/* Serves what nobody is left for: a call that was in a dead supervisor's hand, or, with no slot free for a
 * new one, all of them by OnFailure=. */
void target_serve_orphans(Target *t) {
        bool orphans = false;

        if (target_map_state(t) <= 0 || t->manager->stopping)
                return;

        for (unsigned i = 0; i < TARGET_STATE_SLOTS; i++)
                orphans = orphans || atomic_load(&t->activity->state->slots[i].owner) == -1;

        if (!orphans)
                return;

        if (t->failed || (!supervisor_may_start(t) && t->activity->n_supervisors == 0))
                supervisor_answer_orphans(t);
        else if (supervisor_may_start(t))
                (void) supervisor_start(t);
}

void target_update(Target *t) {
        TargetStatus status;
        bool watched;

        if (t->listener < 0)
                return;

        watched = !t->manager->stopping && (!t->activity || !t->activity->receiver) &&
                  (t->failed || supervisor_may_start(t));
        (void) sd_event_source_set_enabled(t->source, watched ? SD_EVENT_ON : SD_EVENT_OFF);

        if (t->activity && t->activity->n_supervisors > 0)
                g_hash_table_add(t->manager->active, t);
        else
                g_hash_table_remove(t->manager->active, t);
        target_unmap_state(t);

        manager_status_changed(t->manager);

        status = target_status(t);
        if (t->announced && status != t->status_shown) {
                t->status_shown = (uint8_t) status;
                target_bus_changed(t, "State");
        }
}

void target_policy_reloaded(Target *t, bool changed) {
        t->failed = false;
        t->n_crashes = 0;
        g_clear_pointer(&t->machine, g_free);
        target_find_machine(t);

        if (changed) {
                const char *error = target_error(t);

                if (error)
                        entry_log(t->manager, t, LOG_WARNING, MESSAGE_PASS_THROUGH, NULL, 0,
                                        "Target %s (%s) is pass-through, nothing is lent to it: %s", t->id,
                                        t->policy->unit, error);
                supervisor_send_policy(t);
                target_bus_policy_changed(t);
        }

        target_update(t);
}

Target *target_free(Target *t) {
        unsigned position;

        if (!t)
                return NULL;

        supervisor_abandon(t);
        target_unmap_state(t);

        g_hash_table_remove(t->manager->targets, t->id);
        g_hash_table_remove(t->manager->active, t);
        if (t->listener >= 0) {
                if (find_listener(t->manager, t->listener, &position) > 0 &&
                                t->manager->listeners->pdata[position] == t)
                        g_ptr_array_remove_index(t->manager->listeners, position);
                else
                        g_ptr_array_remove(t->manager->listeners, t);
        }
        account(t, -1);
        manager_status_changed(t->manager);

        sd_event_source_disable_unref(t->source);
        close_fd(t->listener);
        close_fd(t->leader_pidfd);
        close_fd(t->state_fd);
        unit_policy_unref(t->policy);
        g_free(t->machine);
        g_free(t->reason);
        g_free(t);
        return NULL;
}
