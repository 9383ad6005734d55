/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The two conversations that processes of deputyd have over sockets, with sizes and limits. All messages are
 * in host byte order, between programs of one installation or one host; senders are untrusted all the same.
 *
 * 1. Handover: how a target gets its filter and gives its listener (deputy-run <-> deputyd, or, embedded,
 *    deputy-run <-> deputy-supervisor). One SOCK_SEQPACKET socketpair per handover:
 *
 *        deputy-run                                              server (deputyd or an embedded supervisor)
 *            | -- datagram to NOTIFY_SOCKET_PATH: "DEPUTY_RUN=1\n[UNIT=...\n]" + one end of the pair -->
 * (daemon only) | <-- HandoverOffer: verdict, message, BPF program ------- | -- HandoverListener: error, +
 * the listener fd ---------> | <-- HandoverGo ------------------------------------------ |  execve()
 *
 *    Whatever else speaks sd_notify(3) hands a listener over with "FDSTORE=1\n[FDNAME=...\n]" + the listener,
 * and may wait with sd_notify_barrier(3) ("BARRIER=1" + the writing end of a pipe).
 *
 * 2. Control: deputyd -> deputy-supervisor, over a SOCK_SEQPACKET socketpair that the supervisor inherits.
 *    A closed control socket means: answer what's in hand and leave. */

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>

#define NOTIFY_SOCKET_PATH "/run/deputyd/notify"

/* Longest datagram that the notify socket takes, as PID 1's (PIPE_BUF). */
#define NOTIFY_MESSAGE_MAX 4096

#define PROTOCOL_FDS_MAX 4

#define HANDOVER_MAGIC   0x64505544u /* "DUPd" */
#define HANDOVER_VERSION 1u

/* The longest program that a policy may compile to. The kernel's own limit is BPF_MAXINSNS (4096). */
#define HANDOVER_INSNS_MAX   2048u
#define HANDOVER_MESSAGE_MAX 512u

typedef enum HandoverVerdict {
        HANDOVER_FILTER, /* load insns[], send the listener */
        HANDOVER_PASS,   /* run the command without a filter; message says why ("" when there's simply no
                            policy) */
        HANDOVER_REFUSE, /* don't run the command; message says why */
} HandoverVerdict;

typedef struct HandoverOffer {
        uint32_t magic;
        uint32_t version;
        uint32_t verdict;
        uint32_t n_insns;
        char message[HANDOVER_MESSAGE_MAX]; /* NUL-terminated, for people */
        struct sock_filter insns[];         /* n_insns of them; one program for all architectures */
} HandoverOffer;

#define HANDOVER_OFFER_SIZE_MAX (sizeof(HandoverOffer) + HANDOVER_INSNS_MAX * sizeof(struct sock_filter))

typedef struct HandoverListener {
        uint32_t magic;
        int32_t error;          /* 0: the listener is attached; else the positive errno of seccomp(2) */
        uint32_t wait_killable; /* was SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV accepted? */
} HandoverListener;

typedef struct HandoverGo {
        uint32_t magic;
        uint32_t verdict; /* HANDOVER_FILTER: you're served; HANDOVER_REFUSE: exit; message says why */
        char message[HANDOVER_MESSAGE_MAX];
} HandoverGo;

/* Descriptors that a supervisor started by deputyd inherits, see deputy-supervisor's --help. */
enum {
        SUPERVISOR_FD_LISTENER = 3,
        SUPERVISOR_FD_CONTROL = 4,
        SUPERVISOR_FD_POLICY = 5, /* sealed memfd: policy_to_text() */
        SUPERVISOR_FD_STATE = 6,  /* memfd: TargetState, see target-state.h */
};

typedef enum ControlType {
        CONTROL_POLICY = 1, /* + one fd: a sealed memfd with the target's new policy */
        CONTROL_LEAVE,      /* answer what's in hand and exit 0 */
        CONTROL_LOG_LEVEL,  /* value: a syslog level */
} ControlType;

typedef struct ControlMessage {
        uint32_t type;
        uint32_t value;
} ControlMessage;
