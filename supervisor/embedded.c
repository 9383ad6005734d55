/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* deputy-run's embedded mode: no daemon. The supervisor itself offers the filter and takes the listener. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "basic/protocol.h"
#include "filter/filter.h"
#include "supervisor/supervisor.h"

static int send_offer(int fd, HandoverVerdict verdict, const Filter *filter, const char *message) {
        size_t n = filter ? filter->n_insns : 0;
        size_t size = sizeof(HandoverOffer) + n * sizeof(struct sock_filter);
        g_autofree HandoverOffer *offer = g_malloc0(size);

        offer->magic = HANDOVER_MAGIC;
        offer->version = HANDOVER_VERSION;
        offer->verdict = verdict;
        offer->n_insns = (uint32_t) n;
        g_strlcpy(offer->message, message, sizeof(offer->message));
        if (n > 0)
                memcpy(offer->insns, filter->insns, n * sizeof(struct sock_filter));

        return send_fds(fd, offer, size, NULL, 0, 0);
}

static int send_go(int fd, HandoverVerdict verdict, const char *message) {
        HandoverGo go = { .magic = HANDOVER_MAGIC, .verdict = verdict };

        g_strlcpy(go.message, message, sizeof(go.message));
        return send_fds(fd, &go, sizeof(go), NULL, 0, 0);
}

/* What OnFailure= means for a target whose filter can't be had. */
static HandoverVerdict verdict_without_filter(const Policy *policy) {
        return policy->on_failure == 0 ? HANDOVER_PASS : HANDOVER_REFUSE;
}

int supervisor_handover(Supervisor *s, int socket_fd) {
        g_autoptr(Filter) filter = NULL;
        _cleanup_close_ int listener = -1;
        HandoverListener reply;
        const Policy *policy = s->policy;
        ssize_t n;
        int r;

        if (policy->error)
                return send_offer(socket_fd, verdict_without_filter(policy), NULL, policy->error);

        r = filter_new(policy_intercepted_calls(policy), &filter);
        if (r == -ENODATA)
                return send_offer(socket_fd, HANDOVER_PASS, NULL, "The policy lends no calls");
        if (r < 0)
                return log_error_errno(r, "Failed to compile the filter: %m");

        r = send_offer(socket_fd, HANDOVER_FILTER, filter, "");
        if (r < 0)
                return log_error_errno(r, "Failed to offer the filter: %m");

        n = receive_fds(socket_fd, &reply, sizeof(reply), &listener, 1, 0);
        if (n < 0)
                return log_error_errno((int) n, "Failed to receive the listener: %m");
        if (n == 0)
                return 0; /* It has given up and said why itself. */
        if (n != sizeof(reply) || reply.magic != HANDOVER_MAGIC)
                return log_error_errno(EPROTO, "Unexpected answer to the filter");
        if (reply.error != 0) {
                g_autofree char *text =
                                g_strdup_printf("The filter can't be loaded: %s", g_strerror(reply.error));

                return send_go(socket_fd, verdict_without_filter(policy), text);
        }
        if (listener < 0 || fd_is_seccomp_listener(listener) <= 0)
                return log_error_errno(EPROTO, "The answer carries no listener");

        s->listener_fd = TAKE_FD(listener);
        r = send_go(socket_fd, HANDOVER_FILTER, "");
        if (r < 0)
                return log_error_errno(r, "Failed to give the word to go: %m");

        return 1;
}
