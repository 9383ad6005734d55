/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Nothing that the server says is believed before its size, magic and bounds are checked: the socket can be a
 * path that somebody else chose. A program that passes these checks can still be wrong, but it's the kernel
 * that checks it next, and a filter never grants anything. */

#include <errno.h>
#include <poll.h>
#include <stdalign.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "launcher/handover.h"
#include "launcher/load.h"
#include "launcher/message.h"

long long now_msec(void) {
        struct timespec now;

        (void) clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

int wait_for(int fd, short events, long long until_msec) {
        struct pollfd poll_fd = { .fd = fd, .events = events };

        for (;;) {
                long long left = until_msec - now_msec();
                int n;

                n = poll(&poll_fd, 1, left > 0 ? (int) left : 0);
                if (n > 0)
                        return 0;
                if (n < 0 && errno != EINTR)
                        return -errno;
                if (n == 0 && left <= 0)
                        return -ETIMEDOUT;
        }
}

/* Reads one message. Descriptors that come with it, which none should, are dropped by the kernel. Return: its
 * size, which is more than "size" if it didn't fit; -ECONNRESET if the server is gone, whichever way. */
static ssize_t receive_message(const Handover *handover, void *data, size_t size) {
        ssize_t n;
        int r;

        r = wait_for(handover->sock, POLLIN, now_msec() + handover->timeout_msec);
        if (r < 0)
                return r;

        do
                n = recv(handover->sock, data, size, MSG_TRUNC);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;

        return n > 0 ? n : -ECONNRESET;
}

static int complain_timeout(const Handover *handover, const char *what) {
        return complain(ETIMEDOUT, "No %s within %i s: %s. $DEPUTYD_TIMEOUT_SEC allows more time", what,
                        handover->timeout_msec / 1000,
                        handover->embedded ? "the supervisor is there, but doesn't answer"
                                           : "deputyd.socket is there, but deputyd doesn't answer, see "
                                             "\"systemctl status deputyd.service\"");
}

static int receive_offer(const Handover *handover, HandoverOffer **ret) {
        static alignas(HandoverOffer) char buffer[HANDOVER_OFFER_SIZE_MAX];
        HandoverOffer *offer = (HandoverOffer *) (void *) buffer;
        ssize_t n;

        n = receive_message(handover, buffer, sizeof(buffer));
        if (n == -ETIMEDOUT)
                return complain_timeout(handover, "offer of a filter");
        if (n == -ECONNRESET)
                return -ECONNRESET;
        if (n < 0)
                return complain((int) n, "Failed to receive the offer: %m");

        if ((size_t) n < sizeof(HandoverOffer) || (size_t) n > sizeof(buffer) ||
                        offer->magic != HANDOVER_MAGIC)
                return complain(EBADMSG, "The server's offer isn't one of deputyd's protocol");
        if (offer->version != HANDOVER_VERSION)
                return complain(EPROTONOSUPPORT,
                                "The server speaks version %u of the protocol and deputy-run version %u: "
                                "restart deputyd.service, or update the copy of deputy-run in the container",
                                offer->version, HANDOVER_VERSION);
        if (offer->n_insns > HANDOVER_INSNS_MAX ||
                        (size_t) n != sizeof(HandoverOffer) + offer->n_insns * sizeof(struct sock_filter) ||
                        offer->verdict > HANDOVER_REFUSE ||
                        (offer->verdict == HANDOVER_FILTER) != (offer->n_insns > 0) ||
                        !memchr(offer->message, 0, sizeof(offer->message)))
                return complain(EBADMSG, "The server's offer is malformed");

        *ret = offer;
        return 0;
}

static int send_listener(const Handover *handover, int error) {
        HandoverListener answer = {
                .magic = HANDOVER_MAGIC,
                .error = error,
                .wait_killable = handover->wait_killable,
        };
        alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
        struct iovec iov = { .iov_base = &answer, .iov_len = sizeof(answer) };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
        struct cmsghdr *header;
        ssize_t n;

        if (error == 0) {
                message.msg_control = control;
                message.msg_controllen = sizeof(control);
                header = CMSG_FIRSTHDR(&message);
                header->cmsg_level = SOL_SOCKET;
                header->cmsg_type = SCM_RIGHTS;
                header->cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(header), &handover->listener, sizeof(int));
        }

        do
                n = sendmsg(handover->sock, &message, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        if (n >= 0)
                return 0;
        if (errno == EPIPE || errno == ECONNRESET)
                return -ECONNRESET;

        return complain(errno, "Failed to hand the listener over: %m");
}

/* "loaded": the filter is there, so there's no way back to running without it. */
static int receive_go(const Handover *handover, bool loaded) {
        HandoverGo go;
        ssize_t n;

        n = receive_message(handover, &go, sizeof(go));
        if (n == -ETIMEDOUT)
                return complain_timeout(handover, loaded ? "word to go" : "verdict");
        if (n == -ECONNRESET)
                return -ECONNRESET;
        if (n < 0)
                return complain((int) n, "Failed to receive the word to go: %m");
        if ((size_t) n != sizeof(go) || go.magic != HANDOVER_MAGIC || go.verdict > HANDOVER_REFUSE ||
                        (go.verdict == HANDOVER_FILTER && !loaded) ||
                        !memchr(go.message, 0, sizeof(go.message)))
                return complain(EBADMSG, "The server's word to go is malformed");

        if (go.verdict == HANDOVER_REFUSE)
                return complain(ECANCELED, "Not running the command: %s",
                                go.message[0] ? go.message : "the server refuses to serve it");

        if (go.message[0])
                (void) complain(0, "%s", go.message);
        else if (go.verdict == HANDOVER_PASS)
                narrate("Running the command %s",
                                loaded ? "with all calls left to the kernel" : "without a filter");
        else
                narrate("The server has the listener");

        return 0;
}

int handover_run(Handover *handover) {
        HandoverOffer *offer;
        int r, error = 0;

        r = receive_offer(handover, &offer);
        if (r < 0)
                return r;

        switch (offer->verdict) {
        case HANDOVER_REFUSE:
                return complain(ECANCELED, "Not running the command: %s",
                                offer->message[0] ? offer->message : "the server refuses to serve it");

        case HANDOVER_PASS:
                if (offer->message[0])
                        (void) complain(0, "Running the command without a filter: %s", offer->message);
                else
                        narrate("No policy, running the command without a filter");
                return 0;
        }

        if (offer->message[0])
                narrate("%s", offer->message);
        narrate("Loading a filter of %u instructions", offer->n_insns);

        handover->listener = load_filter(offer->insns, offer->n_insns, &handover->wait_killable);
        if (handover->listener < 0) {
                error = -handover->listener;
                handover->listener = -1;
        }

        r = send_listener(handover, error);
        if (r < 0)
                return r;

        return receive_go(handover, error == 0);
}

void handover_done(Handover *handover) {
        if (handover->sock >= 0)
                (void) close(handover->sock);
        if (handover->listener >= 0)
                (void) close(handover->listener);

        handover->sock = handover->listener = -1;
}
