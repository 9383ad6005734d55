/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Supervisors are started one at a time, the newest is the one that receives, and each writes what it has in
 * hand into its own slot of the shared state (target-state.h). From outside, that's enough to see whether one
 * is stuck: its slot has had the same notification for a while and the listener has more to read. Nobody has
 * to answer us for that, which matters, since a process that's stuck in the kernel answers nobody. */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "basic/message-id.h"
#include "daemon/entry.h"
#include "daemon/daemon-limits.h"
#include "daemon/store.h"
#include "daemon/target-supervisor.h"
#include "filter/filter.h"

#define N_SUPERVISOR_FDS 4

/* The child's side between vfork(2) and execve(2): it shares our memory, so it calls the kernel and nothing
 * else. The slot is marked with its pid before it can run, so that whatever becomes of it, the slot says
 * whose it was. */
static void exec_supervisor(const char *path, char *const *argv, char *const *environment, const int *fds,
                _Atomic int32_t *owner, const struct rlimit *files) {
        struct sigaction ignore_no_more = { .sa_handler = SIG_DFL };
        int copies[N_SUPERVISOR_FDS];
        sigset_t mask;

        atomic_store(owner, (int32_t) syscall(SYS_getpid));

        /* Out of the way of each other's final numbers first. */
        for (unsigned i = 0; i < N_SUPERVISOR_FDS; i++) {
                copies[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, SUPERVISOR_FD_STATE + 1);
                if (copies[i] < 0)
                        _exit(127);
        }
        for (unsigned i = 0; i < N_SUPERVISOR_FDS; i++)
                if (dup2(copies[i], SUPERVISOR_FD_LISTENER + (int) i) < 0)
                        _exit(127);
        if (syscall(SYS_close_range, SUPERVISOR_FD_STATE + 1, ~0U, 0) < 0)
                _exit(127);

        (void) setrlimit(RLIMIT_NOFILE, files);
        (void) sigaction(SIGPIPE, &ignore_no_more, NULL);
        sigemptyset(&mask);
        (void) sigprocmask(SIG_SETMASK, &mask, NULL);

        (void) execve(path, argv, environment);
        _exit(127);
}

/* "fds" in the order of SUPERVISOR_FD_*. Return: the pid, or a negative errno. */
static pid_t spawn(Target *t, unsigned slot, const int *fds) {
        static struct rlimit files = { .rlim_cur = 1024 };
        g_autofree char *slot_argument = g_strdup_printf("--slot=%u", slot);
        g_autofree char *target_argument = g_strdup_printf("--target=%s", t->id);
        g_autofree char *unit_argument = g_strdup_printf("--unit=%s", t->policy->unit);
        g_autofree char *calls_argument =
                        g_strdup_printf("--calls=%" G_GINT64_MODIFIER "x", t->calls_known ? t->calls : 0);
        g_autofree char *machine_argument = t->machine ? g_strdup_printf("--machine=%s", t->machine) : NULL;
        char *argv[] = { (char *) "deputy-supervisor", slot_argument, target_argument, unit_argument,
                calls_argument, machine_argument, NULL };
        _Atomic int32_t *owner = &t->activity->state->slots[slot].owner;
        pid_t pid;

        if (files.rlim_max == 0) {
                struct rlimit ours;

                if (getrlimit(RLIMIT_NOFILE, &ours) < 0)
                        return -errno;
                files.rlim_max = ours.rlim_max;
                files.rlim_cur = MIN(files.rlim_cur, ours.rlim_max);
        }

        pid = vfork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                exec_supervisor(t->manager->supervisor_path, argv, t->manager->supervisor_environment, fds,
                                owner, &files);

        return pid;
}

static unsigned count(const Target *t) {
        unsigned n = 0;

        for (unsigned i = 0; t->activity && i < TARGET_STATE_SLOTS; i++)
                n += t->activity->supervisors[i] && !t->activity->supervisors[i]->killed;

        return n;
}

static int find_free_slot(const Target *t) {
        for (unsigned i = 0; i < TARGET_STATE_SLOTS; i++)
                if (!t->activity->supervisors[i] && atomic_load(&t->activity->state->slots[i].owner) == 0)
                        return (int) i;

        return -EBUSY;
}

bool supervisor_may_start(const Target *t) {
        if (t->manager->stopping)
                return false;

        return !t->activity || (count(t) < t->policy->max_supervisors && find_free_slot(t) >= 0);
}

/* How many calls of this target were answered by supervisors, ever. */
static uint64_t count_answered(const Target *t) {
        uint64_t n = 0;

        for (unsigned i = 0; t->activity && i < TARGET_STATE_CALLS; i++)
                n += atomic_load_explicit(&t->activity->state->calls[i].received, memory_order_relaxed);

        return n;
}

/* Supervisors die again and again, and no call gets through meanwhile: then the daemon answers instead. One
 * that has answered a call before it died doesn't count: whoever kills those all the time only makes them
 * slow. */
static void count_crash(Target *t) {
        uint64_t now = now_monotonic_usec(), answered = count_answered(t);

        if (answered != t->crash_answered || now > t->crash_begin_usec + CRASH_INTERVAL_USEC)
                t->n_crashes = 0;
        if (t->n_crashes == 0)
                t->crash_begin_usec = now;
        t->crash_answered = answered;

        if (++t->n_crashes < CRASHES_MAX || t->failed)
                return;

        t->failed = true;
        entry_log(t->manager, t, LOG_ERR, MESSAGE_PASS_THROUGH, NULL, 0,
                        "Supervisors of target %s (%s) crashed %u times, its calls are answered by "
                        "OnFailure= from "
                        "now on. Try again with 'deputyctl reload'.",
                        t->id, t->policy->unit, t->n_crashes);
}

static Supervisor *supervisor_free(Supervisor *s) {
        sd_event_source_disable_unref(s->child);
        sd_event_source_disable_unref(s->helpers);
        close_fd(s->control);
        g_free(s);
        return NULL;
}

/* The slots that a dead supervisor had: what's still waiting for an answer is to be served again. */
static unsigned release_slots(Target *t, pid_t owner) {
        unsigned n = 0;

        for (unsigned i = 0; i < TARGET_STATE_SLOTS; i++) {
                TargetSlot *slot = &t->activity->state->slots[i];
                uint64_t id = slot->notification.id;

                if (atomic_load(&slot->owner) != owner)
                        continue;

                if (id != 0 && ioctl(t->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) >= 0) {
                        atomic_store(&slot->owner, -1);
                        n++;
                } else {
                        slot->notification.id = 0;
                        atomic_store(&slot->owner, 0);
                }
        }

        return n;
}

static void log_exit(const Target *t, const siginfo_t *info) {
        if (info->si_code == CLD_EXITED)
                log_warning("Supervisor %i of target %s (%s) failed with exit status %i", (int) info->si_pid,
                                t->id, t->policy->unit, info->si_status);
        else
                log_warning("Supervisor %i of target %s (%s) was killed by signal %i", (int) info->si_pid,
                                t->id, t->policy->unit, info->si_status);
}

static void supervisor_is_gone(Supervisor *s) {
        Target *t = s->target;

        if (t) {
                t->activity->supervisors[s->slot] = NULL;
                t->activity->n_supervisors--;
        }
        supervisor_free(s);
}

static int on_helper_exit(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Supervisor *s = userdata;
        Target *t = s->target;

        supervisor_is_gone(s);
        if (t) {
                target_serve_orphans(t);
                target_update(t);
        }
        return 0;
}

/* Some of its work is done by processes that share its descriptors, and they may be unable to die where it
 * could. A target mustn't get more of them than it may have supervisors: so it's as if it weren't reaped,
 * until the socket that it shared with us is closed. */
static bool outlive_helpers(Supervisor *s) {
        struct pollfd p = { .fd = s->control, .events = 0 };

        if (!s->killed || poll(&p, 1, 0) != 0)
                return false;
        if (sd_event_add_io(s->target->manager->event, &s->helpers, s->control, EPOLLHUP, on_helper_exit, s) <
                        0)
                return false;

        s->child = sd_event_source_disable_unref(s->child);
        s->pid = 0; /* Whoever gets this number isn't ours. */
        return true;
}

static int on_child_exit(sd_event_source *source, const siginfo_t *info, void *userdata) {
        Supervisor *s = userdata;
        Target *t = s->target;
        bool crashed;

        if (!t) {
                supervisor_free(s);
                return 0;
        }

        if (t->activity->receiver == s)
                t->activity->receiver = NULL;

        crashed = !s->killed && (info->si_code != CLD_EXITED || info->si_status != 0) &&
                  !t->manager->stopping;
        (void) release_slots(t, s->pid);
        if (!outlive_helpers(s))
                supervisor_is_gone(s);

        if (crashed) {
                log_exit(t, info);
                count_crash(t);
        }

        target_serve_orphans(t);
        target_update(t);
        return 0;
}

static int ensure_state(Target *t) {
        int r;

        if (t->state_fd < 0) {
                r = target_state_new(&t->state_fd);
                if (r < 0)
                        return r;

                /* Before anybody can receive a call into it. */
                r = store_push_state(t);
                if (r < 0)
                        (void) log_warning_errno(
                                        r, "Failed to keep the state of target %s for a restart: %m", t->id);
        }

        r = target_map_state(t);
        if (r == -EBADMSG) {
                /* Another version's. Nothing of it can be used. */
                t->state_fd = close_fd(t->state_fd);
                return ensure_state(t);
        }

        return r < 0 ? r : 0;
}

static int start(Target *t) {
        _cleanup_close_ int policy = -1, ours = -1, theirs = -1;
        int r, slot, pair[2];
        TargetSlot *state;
        Supervisor *s;
        pid_t pid;

        r = ensure_state(t);
        if (r < 0)
                return r;

        slot = find_free_slot(t);
        if (slot < 0)
                return slot;

        policy = memfd_new_sealed("deputyd-policy", t->policy->text, strlen(t->policy->text));
        if (policy < 0)
                return policy;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        ours = pair[0];
        theirs = pair[1];

        state = &t->activity->state->slots[slot];
        memset(&state->notification, 0, sizeof(state->notification));
        atomic_store(&state->received_nsec, 0);
        atomic_store(&state->stage, SLOT_RECEIVED);
        atomic_store_explicit(&t->activity->state->receiver, (uint32_t) slot, memory_order_release);

        pid = spawn(t, (unsigned) slot,
                        (const int[N_SUPERVISOR_FDS]){ t->listener, theirs, policy, t->state_fd });
        if (pid < 0) {
                atomic_store(&state->owner, 0);
                return (int) pid;
        }

        s = g_new(Supervisor, 1);
        *s = (Supervisor){
                .target = t,
                .slot = (unsigned) slot,
                .pid = pid,
                .control = TAKE_FD(ours),
                .started_usec = now_monotonic_usec(),
        };

        r = sd_event_add_child(t->manager->event, &s->child, pid, WEXITED, on_child_exit, s);
        if (r < 0) {
                /* Nobody would ever hear of its end. */
                (void) kill(pid, SIGKILL);
                (void) waitpid(pid, NULL, 0);
                (void) release_slots(t, pid);
                supervisor_free(s);
                return r;
        }

        t->activity->supervisors[slot] = s;
        t->activity->n_supervisors++;
        t->activity->receiver = s;
        t->activity->deaf_since_usec = 0;
        log_debug("Started supervisor %i in slot %i for target %s (%s)", (int) pid, slot, t->id,
                        t->policy->unit);
        return 0;
}

int supervisor_start(Target *t) {
        int r;

        if (!supervisor_may_start(t))
                return -EBUSY;

        r = start(t);
        if (r < 0) {
                (void) log_error_errno(r, "Failed to start a supervisor for target %s (%s): %m", t->id,
                                t->policy->unit);
                count_crash(t);
        }

        target_update(t);
        return r;
}

static void kill_supervisor(Supervisor *s) {
        (void) kill(s->pid, SIGKILL);
        s->killed = true;
        if (s->target->activity->receiver == s)
                s->target->activity->receiver = NULL;
}

/* A call that takes longer than CallTimeoutSec=. The process may be unable to die, so the answer is ours. */
static void time_out(Target *t, Supervisor *s, TargetSlot *slot, uint64_t usec) {
        struct seccomp_notif notification = slot->notification;
        CallId call = filter_resolve(notification.data.arch, notification.data.nr);
        g_autofree char *call_field =
                        g_strdup_printf("DEPUTYD_SYSCALL=%s", call >= 0 ? call_to_string(call) : "?");
        g_autofree char *errno_field = g_strdup_printf("DEPUTYD_ERRNO=%i", t->policy->on_failure);
        g_autofree char *tid_field = g_strdup_printf("TID=%i", (int) notification.pid);
        const char *fields[] = { "DEPUTYD_REASON=timeout", "DEPUTYD_VERDICT=failed", call_field, errno_field,
                tid_field };

        if (!s->killed)
                kill_supervisor(s);

        /* Done in the last moment, and the next one received: that one is served again when the process is
         * reaped. */
        if (slot->notification.id != notification.id)
                return;

        target_answer_failure(t, &notification);
        slot->notification.id = 0;

        entry_log(t->manager, t, LOG_ERR, MESSAGE_SUPERVISOR_STUCK, fields, G_N_ELEMENTS(fields),
                        "Call %s of thread %i in %s took longer than %" G_GUINT64_FORMAT
                        " s, its supervisor %i was killed and OnFailure= applied",
                        call_field + strlen("DEPUTYD_SYSCALL="), (int) notification.pid, t->policy->unit,
                        usec / USEC_PER_SEC, (int) s->pid);
}

/* How long has the call in this slot been in the supervisor's hand? 0: there's none. (A call that waited in
 * the slot while there was no supervisor isn't held against the one that has it now.) */
static uint64_t in_hand_usec(const TargetSlot *slot, const Supervisor *s, uint64_t now) {
        uint64_t received = atomic_load_explicit(&slot->received_nsec, memory_order_acquire) / NSEC_PER_USEC;

        if (slot->notification.id == 0 || received == 0)
                return 0;

        received = MAX(received, s->started_usec);
        return now > received ? now - received : 0;
}

static void check_timeouts(Target *t, uint64_t now) {
        if (t->policy->timeout_usec == UINT64_MAX)
                return;

        for (unsigned i = 0; i < TARGET_STATE_SLOTS; i++) {
                TargetSlot *slot = &t->activity->state->slots[i];
                int32_t owner = atomic_load(&slot->owner);

                for (unsigned j = 0; owner > 0 && j < TARGET_STATE_SLOTS; j++) {
                        Supervisor *s = t->activity->supervisors[j];

                        if (s && s->pid == owner && in_hand_usec(slot, s, now) > t->policy->timeout_usec)
                                time_out(t, s, slot, t->policy->timeout_usec);
                }
        }
}

/* Is a call waiting while the receiver has another in hand for too long, or doesn't receive at all? The
 * former gets company, the latter is replaced. */
static void check_receiver(Target *t, uint64_t now) {
        TargetActivity *a = t->activity;
        struct pollfd p = { .fd = t->listener, .events = POLLIN };
        uint64_t in_hand, last_call;

        if (poll(&p, 1, 0) <= 0 || !(p.revents & POLLIN)) {
                a->deaf_since_usec = 0;
                return;
        }

        in_hand = in_hand_usec(&a->state->slots[a->receiver->slot], a->receiver, now);
        for (unsigned i = 0; i < TARGET_STATE_SLOTS; i++)
                if (atomic_load(&a->state->slots[i].owner) == a->receiver->pid)
                        in_hand = MAX(in_hand, in_hand_usec(&a->state->slots[i], a->receiver, now));

        if (in_hand > 0) {
                a->deaf_since_usec = 0;
                if (in_hand > STUCK_USEC && supervisor_may_start(t))
                        (void) supervisor_start(t);
                return;
        }

        last_call = atomic_load_explicit(&a->state->last_call_nsec, memory_order_relaxed);
        if (a->deaf_since_usec == 0 || last_call != a->deaf_last_call_nsec) {
                a->deaf_since_usec = now;
                a->deaf_last_call_nsec = last_call;
        } else if (now - a->deaf_since_usec > DEAF_USEC) {
                log_warning("Supervisor %i of target %s (%s) doesn't receive the calls that wait for it and "
                            "is killed",
                                (int) a->receiver->pid, t->id, t->policy->unit);
                kill_supervisor(a->receiver);
                count_crash(t);
        }
}

void supervisor_check(Target *t, uint64_t now_usec) {
        check_timeouts(t, now_usec);

        if (t->activity->receiver)
                check_receiver(t, now_usec);

        target_update(t);
}

void supervisor_tell(Target *t, ControlType type, uint32_t value, int fd) {
        ControlMessage message = { .type = type, .value = value };

        for (unsigned i = 0; t->activity && i < TARGET_STATE_SLOTS; i++) {
                Supervisor *s = t->activity->supervisors[i];
                int r;

                if (!s || s->killed)
                        continue;

                r = send_fds(s->control, &message, sizeof(message), &fd, fd >= 0, MSG_DONTWAIT);
                if (r < 0)
                        (void) log_debug_errno(
                                        r, "Failed to send a message to supervisor %i: %m", (int) s->pid);
        }
}

void supervisor_send_policy(Target *t) {
        _cleanup_close_ int fd = -1;

        if (!t->activity)
                return;

        fd = memfd_new_sealed("deputyd-policy", t->policy->text, strlen(t->policy->text));
        if (fd < 0)
                (void) log_error_errno(fd, "Failed to pass the new policy of %s on: %m", t->policy->unit);
        else
                supervisor_tell(t, CONTROL_POLICY, 0, fd);
}

unsigned supervisor_adopt_slots(Target *t) {
        unsigned n = 0;

        for (unsigned i = 0; i < TARGET_STATE_SLOTS; i++) {
                int32_t owner = atomic_load(&t->activity->state->slots[i].owner);

                if (owner != 0)
                        n += release_slots(t, owner);
        }

        return n;
}

void supervisor_answer_orphans(Target *t) {
        for (unsigned i = 0; i < TARGET_STATE_SLOTS; i++) {
                TargetSlot *slot = &t->activity->state->slots[i];

                if (atomic_load(&slot->owner) != -1)
                        continue;

                target_answer_failure(t, &slot->notification);
                slot->notification.id = 0;
                atomic_store(&slot->owner, 0);
        }
}

void supervisor_abandon(Target *t) {
        for (unsigned i = 0; t->activity && i < TARGET_STATE_SLOTS; i++) {
                Supervisor *s = t->activity->supervisors[i];

                if (!s)
                        continue;

                if (s->pid > 0)
                        (void) kill(s->pid, SIGKILL);
                s->target = NULL;
                t->activity->supervisors[i] = NULL;
                t->activity->n_supervisors--;
        }
}
