/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A container for tests, with all namespaces, a root file system, cgroups and seccomp filters of its own. Its
 * init has one child, the caller, which sits in an intercepted getppid(). */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct FuseContainer {
        pid_t outer; /* what makes the container; our child */
        pid_t init, caller;
        int listener;
        uint64_t id;       /* of the caller's notification */
        char root[64];     /* where its root file system was put together */
        char unified[512]; /* its cgroup directories; "" if there's none */
        char legacy[512];
} FuseContainer;

typedef struct FuseContainerOptions {
        bool no_fuse;                    /* no /dev/fuse */
        bool caller_is_init;             /* the caller has no parent in the container */
        bool thread;                     /* it calls in a thread that isn't the leader */
        void (*prepare)(void *userdata); /* runs in the caller, before it calls */
        void *userdata;
} FuseContainerOptions;

#define FUSE_CONTAINER_FILTERS 2 /* one with the listener, one that makes sethostname() fail with EXDEV */

/* How often a test looks, every 20 ms, for what takes a moment: much longer than ever needed, since others
 * may keep the processors busy. */
#define FUSE_CONTAINER_LOOKS 1500

/* The program in the container's /opt that mounts, or doesn't, by its first argument: see fuse-program.c. */
#define FUSE_CONTAINER_PROGRAM "/opt/fuse-program"

void fuse_container_start(FuseContainer *c, const FuseContainerOptions *options);
void fuse_container_stop(FuseContainer *c);
/* Stops the one that a test which has failed couldn't stop: for ".fini". */
void fuse_container_clean(void);

/* Loads a filter that lets a call fail, for "prepare". */
void fuse_container_load_filter(int nr, int error);

/* How many processes are in it, apart from those that it began with? */
unsigned fuse_container_count(const FuseContainer *c);

/* How many mounts of a FUSE file system does it have? */
unsigned fuse_container_count_mounts(const FuseContainer *c);

/* The process of it, apart from those that it began with, that's called so; 0 if there's none. */
pid_t fuse_container_find(const FuseContainer *c, const char *name);
