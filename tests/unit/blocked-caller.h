/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A caller for tests: a child that sits in an intercepted getppid(), as a target's thread sits in a lent
 * call. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct BlockedCaller {
        pid_t child; /* the process */
        pid_t tid;   /* the thread that is blocked */
        int listener;
        uint64_t id; /* of its notification */
} BlockedCaller;

typedef struct BlockedCallerOptions {
        bool user_namespace;        /* made by root, maps 0 to 100000, 65536 ids; the child is its root */
        uid_t user_namespace_owner; /* 0, or the user who makes it */
        const char *uid_map;        /* or these ids */
        bool nested;                /* one more below it */
        bool thread;                /* blocked in a thread that isn't the leader */
        pid_t pid;                  /* with this process id, which must be free; 0: any */
        void (*prepare)(void *userdata); /* runs in the child, after all of that, before the filter is loaded
                                          */
        void *userdata;
} BlockedCallerOptions;

/* Starts it and returns when its notification is received. Fails the test if that can't be done. */
void blocked_caller_start(BlockedCaller *c, const BlockedCallerOptions *options);

/* Answers the call, if it's still there, and reaps the child. */
void blocked_caller_stop(BlockedCaller *c);
