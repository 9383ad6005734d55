/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Offer, listener, go: two messages from us, one from deputy-run. Both of ours fit into the socket's buffer
 * of anybody who plays by the rules, so neither is ever waited for; who has made the buffer smaller or filled
 * it is not served. Between them the conversation is one event source with a time-out.
 *
 * By the time that "go" is sent, the listener is in the service manager's store: from the first call on, a
 * crash of ours loses nothing. */

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "basic/protocol.h"
#include "daemon/handover.h"
#include "daemon/intake.h"
#include "daemon/daemon-limits.h"
#include "daemon/store.h"
#include "daemon/target.h"

typedef struct Handover {
        Manager *manager;
        UnitPolicy *policy;
        CallSet calls;
        pid_t pid;
        uid_t uid;
        int pidfd;
        int socket;
        sd_event_source *io;
        sd_event_source *timeout;
} Handover;

static Handover *handover_free(Handover *h) {
        UserAccount *user;

        if (!h)
                return NULL;

        g_hash_table_remove(h->manager->handovers, h);

        user = manager_user(h->manager, h->uid);
        if (user)
                user->n_handovers--;
        manager_user_done(h->manager, h->uid);

        sd_event_source_disable_unref(h->io);
        sd_event_source_disable_unref(h->timeout);
        intake_discard_fd(h->manager, h->uid, h->socket);
        close_fd(h->pidfd);
        unit_policy_unref(h->policy);
        manager_status_changed(h->manager);
        g_free(h);
        return NULL;
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Handover, handover_free)

static int send_offer(Handover *h, HandoverVerdict verdict, const char *message, const Filter *filter) {
        size_t n = filter ? filter->n_insns : 0,
               size = sizeof(HandoverOffer) + n * sizeof(struct sock_filter);
        g_autofree HandoverOffer *offer = g_malloc0(size);

        offer->magic = HANDOVER_MAGIC;
        offer->version = HANDOVER_VERSION;
        offer->verdict = verdict;
        offer->n_insns = (uint32_t) n;
        g_strlcpy(offer->message, message ?: "", sizeof(offer->message));
        if (n > 0)
                memcpy(offer->insns, filter->insns, n * sizeof(struct sock_filter));

        return send_fds(h->socket, offer, size, NULL, 0, MSG_DONTWAIT);
}

static void send_go(Handover *h, HandoverVerdict verdict, const char *message) {
        HandoverGo go = { .magic = HANDOVER_MAGIC, .verdict = verdict };
        int r;

        g_strlcpy(go.message, message ?: "", sizeof(go.message));

        r = send_fds(h->socket, &go, sizeof(go), NULL, 0, MSG_DONTWAIT);
        if (r < 0)
                (void) log_debug_errno(r, "Failed to send the word to go to process %i: %m", (int) h->pid);
}

/* Runs without a filter: there's nothing to serve, but people ask "why isn't this lent?". */
static void show_without_filter(Handover *h, const char *reason) {
        TargetParameters parameters = {
                .policy = h->policy,
                .listener = -1,
                .leader_pidfd = h->pidfd,
                .leader = h->pid,
                .uid = h->uid,
                .calls_known = true,
                .reason = reason,
        };
        Target *t;

        if (h->pidfd < 0 || target_new(h->manager, &parameters, &t) < 0)
                return;

        h->pidfd = -1;
        target_announce(t);
}

/* What the policy says about a target that can't have what it lends: run as it is, or don't run. */
static HandoverVerdict verdict_of_failure(const UnitPolicy *policy) {
        return policy->on_failure == 0 ? HANDOVER_PASS : HANDOVER_REFUSE;
}

static void serve_listener(Handover *h, int listener) {
        _cleanup_close_ int fd = listener;
        TargetParameters parameters = {
                .policy = h->policy,
                .listener = fd,
                .leader_pidfd = -1,
                .leader = h->pid,
                .uid = h->uid,
                .calls_known = true,
                .calls = h->calls,
        };
        Target *t;
        int r;

        r = target_new(h->manager, &parameters, &t);
        if (r < 0) {
                (void) log_warning_errno(
                                r, "Failed to serve process %i in %s: %m", (int) h->pid, h->policy->unit);
                send_go(h, HANDOVER_REFUSE,
                                r == -EUSERS ? "deputyd has as many targets as it takes"
                                             : "deputyd can't serve this listener");
                return;
        }
        TAKE_FD(fd);

        r = store_push_listener(t);
        if (r < 0)
                (void) log_warning_errno(
                                r, "Failed to keep the listener of target %s for a restart: %m", t->id);

        target_announce(t);
        send_go(h, HANDOVER_FILTER, NULL);
}

static void on_answer(Handover *h) {
        _cleanup_close_ int fd = -1;
        HandoverListener answer;
        ssize_t n;

        n = receive_fds(h->socket, &answer, sizeof(answer), &fd, 1, MSG_DONTWAIT);
        if (n == -EAGAIN)
                return;

        if (n != sizeof(answer) || answer.magic != HANDOVER_MAGIC) {
                if (n != 0)
                        log_debug("Process %i in %s broke the handover off", (int) h->pid, h->policy->unit);
                intake_discard_fd(h->manager, h->uid, TAKE_FD(fd));
        } else if (answer.error != 0) {
                g_autofree char *reason = g_strdup_printf(
                                "The filter could not be loaded: %s", g_strerror(ABS(answer.error)));

                log_warning("Process %i in %s can't be served: %s", (int) h->pid, h->policy->unit, reason);
                intake_discard_fd(h->manager, h->uid, TAKE_FD(fd));
                send_go(h, verdict_of_failure(h->policy), reason);
                if (verdict_of_failure(h->policy) == HANDOVER_PASS)
                        show_without_filter(h, reason);
        } else if (fd < 0 || fd_is_seccomp_listener(fd) <= 0) {
                log_warning("Process %i in %s handed over something that is no listener", (int) h->pid,
                                h->policy->unit);
                intake_discard_fd(h->manager, h->uid, TAKE_FD(fd));
                send_go(h, HANDOVER_REFUSE, "What was handed over is no listener");
        } else
                serve_listener(h, TAKE_FD(fd));

        handover_free(h);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Handover *h = userdata;

        if (events & EPOLLIN)
                on_answer(h);
        else
                handover_free(h);
        return 0;
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        Handover *h = userdata;

        log_warning("Process %i in %s didn't hand its listener over in time", (int) h->pid, h->policy->unit);
        handover_free(h);
        return 0;
}

static int watch(Handover *h) {
        int r;

        r = sd_event_add_io(h->manager->event, &h->io, h->socket, EPOLLIN, on_io, h);
        if (r < 0)
                return r;

        return sd_event_add_time_relative(h->manager->event, &h->timeout, CLOCK_MONOTONIC,
                        HANDOVER_TIMEOUT_USEC, USEC_PER_SEC, on_timeout, h);
}

/* Decides what the command gets. Return: 1 if a listener is to be expected, 0 if the conversation is over, or
 * a negative errno. */
static int offer(Handover *h) {
        const UnitPolicy *p = h->policy;
        const Filter *filter = NULL;
        int r;

        if (p->calls == 0) {
                HandoverVerdict verdict = p->error ? verdict_of_failure(p) : HANDOVER_PASS;
                const char *message = p->error;

                if (!p->unit[0])
                        message = "The process is in no unit, so there's no policy for it. Use --unit=, "
                                  "--policy= or --profile=.";

                r = send_offer(h, verdict, message, NULL);
                if (r >= 0 && verdict == HANDOVER_PASS)
                        show_without_filter(h, NULL);
                return r;
        }

        r = manager_filter(h->manager, p->calls, &filter);
        if (r < 0) {
                g_autofree char *message =
                                g_strdup_printf("The policy of %s can't be compiled to a filter: %s", p->unit,
                                                g_strerror(-r));

                log_error("%s", message);
                r = send_offer(h, verdict_of_failure(p), message, NULL);
                if (r >= 0 && verdict_of_failure(p) == HANDOVER_PASS)
                        show_without_filter(h, message);
                return r;
        }

        h->calls = p->calls;
        r = send_offer(h, HANDOVER_FILTER, NULL, filter);
        return r < 0 ? r : 1;
}

/* Is there room for one more? The filter isn't loaded yet: now is the time to say no. */
static const char *full(const Manager *m, const UserAccount *user, const UnitPolicy *p) {
        if (g_hash_table_size(m->handovers) > HANDOVERS_MAX ||
                        (user && user->n_handovers > HANDOVERS_PER_USER_MAX))
                return "deputyd is busy with as many handovers as it takes at once";

        if (g_hash_table_size(m->targets) + g_hash_table_size(m->handovers) > TARGETS_MAX ||
                        (user && (user->n_targets + user->n_handovers > TARGETS_PER_USER_MAX ||
                                                 p->n_targets_untrusted + user->n_handovers >
                                                                 TARGETS_PER_UNIT_MAX ||
                                                 m->n_untrusted + user->n_handovers > TARGETS_UNTRUSTED_MAX)))
                return "deputyd has as many targets as it takes";

        return NULL;
}

static UnitPolicy *find_policy(Manager *m, const char *unit, const char **ret_problem) {
        UnitPolicy *policy;
        int r;

        r = unit_policy_get(m, unit, &policy);
        if (r >= 0)
                return policy;

        (void) log_warning_errno(r, "Failed to load the policy of '%s': %m", unit);
        *ret_problem = r == -EINVAL ? "The name given is no unit name" : "The policy could not be loaded";
        return unit_policy_get(m, "", &policy) >= 0 ? policy : NULL;
}

void handover_start(Manager *m, int socket, HandoverSender *sender) {
        g_autoptr(Handover) h = NULL;
        const char *problem = NULL;
        UserAccount *user;
        int r;

        assert(m);
        assert(sender);

        h = g_new(Handover, 1);
        *h = (Handover){
                .manager = m,
                .pid = sender->pid,
                .uid = sender->uid,
                .pidfd = TAKE_FD(sender->pidfd),
                .socket = socket,
                .policy = find_policy(m, sender->unit, &problem),
        };
        g_hash_table_add(m->handovers, h);
        user = manager_user(m, h->uid);
        if (user)
                user->n_handovers++;

        if (!h->policy)
                return;

        if (!problem)
                problem = full(m, user, h->policy);
        if (problem) {
                (void) send_offer(h, verdict_of_failure(h->policy), problem, NULL);
                return;
        }

        r = offer(h);
        if (r > 0)
                r = watch(h) < 0 ? -ENOMEM : 1;
        if (r < 0)
                (void) log_debug_errno(r, "Failed to make process %i in %s an offer: %m", (int) h->pid,
                                sender->unit);
        if (r > 0)
                g_steal_pointer(&h);
}

void handover_end_all(Manager *m) {
        GHashTableIter i;
        gpointer h;

        for (;;) {
                g_hash_table_iter_init(&i, m->handovers);
                if (!g_hash_table_iter_next(&i, &h, NULL))
                        return;

                handover_free(h);
        }
}
