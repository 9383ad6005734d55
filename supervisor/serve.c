/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The loop: receive into the slot, decide, act, answer, count. One call at a time; if one takes long, deputyd
 * notices and starts another supervisor for the target, and this one leaves when it's done. */

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/clock.h"
#include "basic/fd.h"
#include "basic/log.h"
#include "basic/protocol.h"
#include "filter/filter.h"
#include "supervisor/handlers/handlers.h"
#include "supervisor/mount-contexts.h"
#include "supervisor/supervisor.h"

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#        define SECCOMP_IOCTL_NOTIF_SET_FLAGS      SECCOMP_IOW(4, __u64)
#        define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

/* How long a supervisor that has just served a call waits for the next one outside its event loop. */
#define BUSY_WAIT_MSEC 5

/* One that has nothing to do but to keep mounts for their callers looks so often whether it may leave. */
#define MOUNT_PENDING_USEC (UINT64_C(500) * 1000)
/* And so long it stays for a successor to come for them: it counts for MaxSupervisors=. */
#define MOUNT_LEAVING_USEC (UINT64_C(10) * 1000 * 1000)

const Handler *const handler_table[] = {
        &mknod_handler,
        &xattr_handler,
        &mount_handler,
        &mount_api_handler,
        &sysinfo_handler,
        &scheduling_handler,
        &bpf_handler,
        &module_handler,
};
const size_t handler_table_size = G_N_ELEMENTS(handler_table);

static const Handler *find_handler(CallId call) {
        for (size_t i = 0; i < handler_table_size; i++)
                if (call_set_contains(handler_table[i]->calls, call))
                        return handler_table[i];

        return NULL;
}

CapabilitySet supervisor_capabilities(const Policy *policy) {
        CallSet calls = policy_intercepted_calls(policy);
        CapabilitySet set = 0;

        for (size_t i = 0; i < handler_table_size; i++)
                if (handler_table[i]->calls & calls)
                        set |= handler_table[i]->capabilities;

        return set;
}

bool request_wants_description(const Request *request) {
        return report_has_room(&request->supervisor->report, request->policy);
}

char *request_text(const char *format, ...) {
        char letters[129];
        g_autofree char *text = NULL;
        va_list ap;

        va_start(ap, format);
        text = g_strdup_vprintf(format, ap);
        va_end(ap);

        /* Letters beyond ASCII may stay as they are, if they are any. */
        for (unsigned i = 0; i < 128; i++)
                letters[i] = (char) (0x80 + i);
        letters[128] = 0;

        return g_strescape(text, g_utf8_validate(text, -1, NULL) ? letters : NULL);
}

Verdict request_refuse(Request *request, Reason reason, char *arguments, char *hint) {
        request->reason = reason;
        request->arguments = arguments;
        request->hint = hint;
        return VERDICT_REFUSED;
}

Verdict request_fail(Request *request, int error, int64_t *ret_result) {
        if (error == -ENOENT)
                return VERDICT_CONTINUED;

        request->reason = REASON_INTERNAL;
        *ret_result = error;
        return VERDICT_FAILED;
}

void request_acting(Request *request, SlotStage stage, int64_t before) {
        request->slot->before = before;
        atomic_store_explicit(&request->slot->stage, stage, memory_order_release);
}

bool request_may_have_made(const Request *request, int64_t ctime_nsec) {
        return ctime_nsec >= request->slot->started_realtime_nsec;
}

/* Return: 0, or -ENOENT if nobody waits for this answer any more, which is ordinary: it was killed, or
 * interrupted. */
static int answer(Supervisor *s, uint64_t id, Verdict verdict, int64_t result, bool guarded) {
        struct seccomp_notif_resp *response = s->response;

        memset(response, 0, s->sizes.seccomp_notif_resp);
        response->id = id;

        if (verdict == VERDICT_FAILED && s->policy->on_failure != 0)
                response->error = -s->policy->on_failure;
        else if (verdict != VERDICT_EMULATED && guarded)
                response->error = -EPERM;
        else if (verdict != VERDICT_EMULATED)
                response->flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        else if (result >= 0)
                response->val = result;
        else
                response->error = (int) result;

        return ioctl(s->listener_fd, SECCOMP_IOCTL_NOTIF_SEND, response) < 0 ? -errno : 0;
}

#define ENOTSUPP 524 /* the kernel's, which bpf(2) lets out */

/* Whatever a handler comes up with, the caller only sees errnos that system calls have: 512 and above are the
 * kernel's own affair. */
static int64_t clamp_result(int64_t result) {
        return result <= -512 && result != -ENOTSUPP ? -EIO : result;
}

/* For whoever may do it without us, it's left to the kernel all the same. */
static bool is_guarded(Request *request) {
        return call_is_guarded(request->call, request->args) &&
               !caller_has_natively(&request->caller, CAP_SYS_ADMIN) &&
               !caller_has_natively(&request->caller, CAP_NET_ADMIN);
}

static Verdict handle(Request *request, int64_t *ret_result) {
        const struct seccomp_notif *n = &request->slot->notification;
        Verdict verdict;

        if (request->call == _CALL_INVALID)
                return VERDICT_CONTINUED;

        caller_init(&request->caller, request->supervisor->listener_fd, n->id, (pid_t) n->pid);
        if (request->policy->error) {
                request->guarded = is_guarded(request);
                caller_close(&request->caller);
                return VERDICT_CONTINUED;
        }

        request->handler = find_handler(request->call);
        verdict = request->handler && call_set_contains(policy_intercepted_calls(request->policy),
                                                      request->call)
                                  ? request->handler->handle(request, ret_result)
                                  : VERDICT_CONTINUED;
        request->guarded = verdict != VERDICT_EMULATED && is_guarded(request);
        caller_close(&request->caller);
        return verdict;
}

/* Serves what is in the slot, and empties it. */
static void serve_slot(Supervisor *s, TargetSlot *slot, bool retry) {
        const struct seccomp_notif *n = &slot->notification;
        uint64_t start = atomic_load_explicit(&slot->received_nsec, memory_order_relaxed), id = n->id;
        Request request = {
                .supervisor = s,
                .policy = s->policy,
                .slot = slot,
                .call = filter_resolve(n->data.arch, n->data.nr),
#if defined(__x86_64__)
                .compat = n->data.arch != AUDIT_ARCH_X86_64,
#elif defined(__aarch64__)
                .compat = n->data.arch != AUDIT_ARCH_AARCH64,
#endif
                .retry = retry,
                .caller = CALLER_INIT,
        };
        Verdict verdict;
        int64_t result = 0;

        memcpy(request.args, n->data.args, sizeof(request.args));
        request.caller.tid = (pid_t) n->pid;

        if (retry && slot->stage == SLOT_ANSWERING) {
                request.handler = find_handler(request.call);
                verdict = VERDICT_EMULATED;
                result = slot->result;
        } else {
                verdict = handle(&request, &result);
                result = clamp_result(result);
                if (verdict == VERDICT_EMULATED) {
                        slot->result = result;
                        atomic_store_explicit(&slot->stage, SLOT_ANSWERING, memory_order_release);
                }
        }

        (void) answer(s, id, verdict, result, request.guarded);
        slot->notification.id = 0;

        if (request.call != _CALL_INVALID)
                report_call(&s->report, &request, verdict, result, start);

        g_free(request.arguments);
        g_free(request.hint);
}

/* Return: 1 if a call was served, 0 if there was none, or a negative errno. */
static int receive_one(Supervisor *s) {
        TargetSlot *slot = &s->state->slots[s->slot_index];
        uint64_t now;

        memset(&slot->notification, 0, sizeof(slot->notification));
        atomic_store_explicit(&slot->received_nsec, 0, memory_order_relaxed);
        atomic_store_explicit(&slot->stage, SLOT_RECEIVED, memory_order_relaxed);

        /* The kernel writes the notification into the shared state: from here on it can't be lost with us. */
        if (ioctl(s->listener_fd, SECCOMP_IOCTL_NOTIF_RECV, &slot->notification) < 0)
                return errno == ENOENT || errno == EINTR ? 0 : -errno;

        now = now_nsec(CLOCK_MONOTONIC);
        slot->started_realtime_nsec = (int64_t) now_nsec(CLOCK_REALTIME_COARSE);
        atomic_store_explicit(&slot->received_nsec, now, memory_order_release);
        atomic_store_explicit(&s->state->last_call_nsec, now, memory_order_relaxed);
        s->last_call_usec = now / 1000;

        serve_slot(s, slot, false);
        return 1;
}

/* Calls that a former supervisor of the target had in hand when it died. */
static void serve_orphans(Supervisor *s) {
        for (unsigned i = 0; i < TARGET_STATE_SLOTS; i++) {
                TargetSlot *slot = &s->state->slots[i];
                int32_t orphaned = -1;
                uint64_t id;

                if (!atomic_compare_exchange_strong(&slot->owner, &orphaned, (int32_t) getpid()))
                        continue;

                id = slot->notification.id;
                if (id != 0 && ioctl(s->listener_fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) >= 0) {
                        log_debug("Serving call %s again, whose supervisor died",
                                        call_to_string(filter_resolve(slot->notification.data.arch,
                                                        slot->notification.data.nr))
                                                        ?: "?");
                        if (atomic_load(&slot->received_nsec) == 0)
                                atomic_store(&slot->received_nsec, now_nsec(CLOCK_MONOTONIC));
                        if (slot->started_realtime_nsec == 0)
                                slot->started_realtime_nsec = (int64_t) now_nsec(CLOCK_REALTIME_COARSE);
                        serve_slot(s, slot, true);
                }

                slot->notification.id = 0;
                if (i != s->slot_index)
                        atomic_store(&slot->owner, 0);
        }
}

size_t supervisor_others(const Supervisor *s, pid_t ret[static TARGET_STATE_SLOTS]) {
        size_t n = 0;

        for (size_t i = 0; i < TARGET_STATE_SLOTS; i++) {
                int32_t owner = atomic_load_explicit(&s->state->slots[i].owner, memory_order_relaxed);

                if (owner > 0 && owner != (int32_t) getpid())
                        ret[n++] = (pid_t) owner;
        }

        return n;
}

static bool is_receiver(const Supervisor *s) {
        return s->control_fd < 0 ||
               atomic_load_explicit(&s->state->receiver, memory_order_acquire) == s->slot_index;
}

/* A caller that made one call often makes the next at once. It's waited for here for a moment, which costs
 * less than a turn of the event loop; deputyd's word counts as soon as it comes. Return: 0 or a negative
 * errno. */
static int receive_while_busy(Supervisor *s) {
        struct pollfd p[] = {
                { .fd = s->listener_fd, .events = POLLIN },
                { .fd = s->control_fd, .events = POLLIN }, /* -1, and then ignored, in the embedded mode */
        };
        int r;

        do {
                r = receive_one(s);
                if (r < 0 || !is_receiver(s))
                        return r;

                r = poll(p, G_N_ELEMENTS(p), BUSY_WAIT_MSEC);
                if (r < 0)
                        return errno == EINTR ? 0 : -errno;
        } while (r > 0 && p[0].revents == POLLIN && p[1].revents == 0);

        return 0;
}

static int on_leaving(sd_event_source *source, uint64_t usec, void *userdata) {
        uint64_t now = now_nsec(CLOCK_MONOTONIC) / 1000;
        Supervisor *s = userdata;

        if (!mount_contexts_pending() || now > s->last_call_usec + MOUNT_LEAVING_USEC)
                return sd_event_exit(s->event, 0);

        (void) sd_event_source_set_time(source, now + MOUNT_PENDING_USEC);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* Another receives now. What callers may come back for is with us until that one has taken it over
 * (mount-contexts.h). */
static int leave_to_other(Supervisor *s, sd_event_source *listener_source) {
        s->last_call_usec = now_nsec(CLOCK_MONOTONIC) / 1000;
        if (!mount_contexts_pending() || sd_event_add_time(s->event, NULL, CLOCK_MONOTONIC, s->last_call_usec,
                                                         0, on_leaving, s) < 0)
                return sd_event_exit(s->event, 0);

        return sd_event_source_set_enabled(listener_source, SD_EVENT_OFF);
}

static int on_listener(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Supervisor *s = userdata;
        int r;

        if (!is_receiver(s))
                return leave_to_other(s, source); /* It has taken over while we were stuck. */

        if (events & EPOLLIN) {
                r = receive_while_busy(s);
                if (r >= 0)
                        return is_receiver(s) ? 0 : leave_to_other(s, source);

                log_error_errno(r, "Failed to receive a call: %m");
                return sd_event_exit(s->event, r);
        }

        return sd_event_exit(s->event, 0); /* EPOLLHUP: the last process with this filter is gone. */
}

/* Not armed anew with each call: when it fires, it asks when the last one was. */
static int on_idle(sd_event_source *source, uint64_t usec, void *userdata);

static void arm_idle_timer(Supervisor *s) {
        int r;

        if (s->control_fd < 0)
                return; /* The embedded mode ends with the command. */

        s->idle_source = sd_event_source_disable_unref(s->idle_source);
        if (s->policy->idle_usec == UINT64_MAX)
                return;

        r = sd_event_add_time(s->event, &s->idle_source, CLOCK_MONOTONIC,
                        s->last_call_usec + s->policy->idle_usec, 250 * 1000, on_idle, s);
        if (r < 0) /* Staying for longer than asked does no harm. */
                (void) log_warning_errno(r, "Failed to prepare to leave when nothing is asked: %m");
}

static int on_idle(sd_event_source *source, uint64_t usec, void *userdata) {
        uint64_t now = now_nsec(CLOCK_MONOTONIC) / 1000;
        Supervisor *s = userdata;

        if (s->last_call_usec + s->policy->idle_usec > now) {
                arm_idle_timer(s);
                return 0;
        }

        if (!mount_contexts_pending())
                return sd_event_exit(s->event, 0);

        (void) sd_event_source_set_time(source, now + MOUNT_PENDING_USEC);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static void take_policy(Supervisor *s, int fd) {
        g_autofree char *text = NULL;
        Policy *policy = NULL;
        size_t size;
        int r;

        r = read_fd_full(fd, POLICY_TEXT_MAX, &text, &size);
        if (r >= 0)
                r = policy_load_text(text, size, "deputyd", &policy);
        if (r < 0) {
                log_error_errno(r, "Failed to take over the new policy, the old one stays in force: %m");
                return;
        }

        policy_free(s->policy);
        s->policy = policy;
        arm_idle_timer(s);

        /* What we gave up at the start doesn't come back. A fresh supervisor has what this policy needs. */
        if (supervisor_capabilities(policy) & ~s->capabilities)
                (void) sd_event_exit(s->event, 0);
}

static int on_control(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Supervisor *s = userdata;
        _cleanup_close_ int policy_fd = -1;
        ControlMessage message;
        ssize_t n;

        n = receive_fds(fd, &message, sizeof(message), &policy_fd, 1, MSG_DONTWAIT);
        if (n == -EAGAIN || n == -EINTR)
                return 0;
        if (n != sizeof(message))
                return sd_event_exit(s->event,
                                0); /* deputyd is gone: its successor starts one of us when there's need. */

        switch (message.type) {
        case CONTROL_POLICY:
                if (policy_fd >= 0)
                        take_policy(s, policy_fd);
                break;
        case CONTROL_LEAVE:
                return sd_event_exit(s->event, 0);
        case CONTROL_LOG_LEVEL:
                log_set_level((int) message.value);
                break;
        }

        return 0;
}

static int setup_loop(Supervisor *s) {
        uint64_t flags = SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP;
        int r;

        if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &s->sizes) < 0)
                return -errno;
        if (s->sizes.seccomp_notif > sizeof(struct seccomp_notif))
                return -EOPNOTSUPP; /* The slots would be too small. The struct hasn't grown since it was
                                       introduced. */

        s->response = calloc(1, MAX(s->sizes.seccomp_notif_resp, sizeof(struct seccomp_notif_resp)));
        if (!s->response)
                return -ENOMEM;

        /* Wakes the caller on our processor and lets it run: one hand-over instead of two. Unknown
         * before 6.6. */
        (void) ioctl(s->listener_fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, flags);

        r = sd_event_new(&s->event);
        if (r < 0)
                return r;
        r = sd_event_add_io(s->event, NULL, s->listener_fd, EPOLLIN, on_listener, s);
        if (r < 0)
                return r;
        if (s->control_fd >= 0) {
                r = sd_event_add_signal(s->event, NULL, SIGTERM, NULL, NULL);
                if (r < 0)
                        return r;
                r = sd_event_add_io(s->event, NULL, s->control_fd, EPOLLIN, on_control, s);
                if (r < 0)
                        return r;

                s->last_call_usec = now_nsec(CLOCK_MONOTONIC) / 1000;
                arm_idle_timer(s);
        }

        return 0;
}

int supervisor_serve(Supervisor *s) {
        pid_t others[TARGET_STATE_SLOTS];
        size_t n_others;
        int r;

        filter_resolver_init();

        r = setup_loop(s);
        if (r < 0)
                return r;

        /* Who is stuck can't look after what callers come back for. */
        n_others = supervisor_others(s, others);
        if (n_others > 0 && mount_contexts_take_over(others, n_others))
                mount_api_look_soon(s);

        serve_orphans(s);
        return sd_event_loop(s->event);
}

static int set_lock(const Supervisor *s, short type) {
        struct flock lock = { .l_type = type, .l_whence = SEEK_SET };

        while (fcntl(s->state_fd, F_SETLKW, &lock) < 0)
                if (errno != EINTR)
                        return -errno;

        return 0;
}

int supervisor_lock(const Supervisor *s) {
        return set_lock(s, F_WRLCK);
}

void supervisor_unlock(const Supervisor *s) {
        (void) set_lock(s, F_UNLCK);
}

void supervisor_done(Supervisor *s) {
        s->idle_source = sd_event_source_unref(s->idle_source);
        s->event = sd_event_unref(s->event);
        s->listener_fd = close_fd(s->listener_fd);
        s->control_fd = close_fd(s->control_fd);
        s->state = target_state_unmap(s->state);
        s->state_fd = close_fd(s->state_fd);
        s->policy = policy_free(s->policy);
        free(s->response);
        s->response = NULL;
}
