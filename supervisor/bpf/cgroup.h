/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Cgroups of the container, and what's attached to them.
 *
 * A container's cgroups are the one that was delegated to it (its directory belongs to one of the container's
 * users) and all below. Which cgroup a descriptor is for, and where that stands, is asked by the cgroup's id
 * in a mount of our own: paths and mounts inside the container are the container's to choose. */

#include <stdbool.h>
#include <stdint.h>

#include "supervisor/bpf/attr.h"
#include "supervisor/caller.h"

/* As many as a cgroup and all above it can have, and more: 64 each. */
#define CGROUP_PROGRAMS_MAX 1024u

/* A cgroup that the caller's descriptor is for, not looked at yet. */
typedef struct CgroupRequest {
        int target_fd;    /* O_PATH, in a mount of the caller's */
        char *membership; /* the caller's /proc/TID/cgroup */
} CgroupRequest;

#define CGROUP_REQUEST_INIT                                                                                  \
        { .target_fd = -1 }

typedef struct Cgroup {
        int fd;
        bool is_top; /* the very one that was delegated */
} Cgroup;

typedef struct CgroupPrograms {
        uint32_t flags; /* BPF_ATTACH_*, of the cgroup */
        uint32_t n;
        uint64_t revision;
        uint32_t ids[CGROUP_PROGRAMS_MAX];
} CgroupPrograms;

/* Opens what's needed of the caller. Call it before caller_verify(). Return: 0, -EBADF as the kernel would,
 * or another negative errno. */
int cgroup_prepare(CgroupRequest *request, Caller *caller, int fd);
void cgroup_done(CgroupRequest *request);

/* Finds out which cgroup it is. Return: 0 and it's one of the container's (close ret->fd); -EPERM if it
 * isn't; -EBADF if it's no cgroup, as the kernel would; another negative errno. */
int cgroup_resolve(const CgroupRequest *request, const Caller *caller, Cgroup *ret);

/* Which programs are attached. "query_flags" as in bpf(2). Return: 0 or a negative errno. */
int cgroup_programs(int fd, uint32_t attach_type, uint32_t query_flags, CgroupPrograms *ret);

/* Is any of these not the container's? Return: 1, 0, or a negative errno. */
int cgroup_has_foreign(const Caller *caller, const CgroupPrograms *programs);

/* Could attaching a program to this cgroup, or detaching one, put one out of force that isn't the
 * container's? A program that was attached without BPF_F_ALLOW_MULTI can be taken off by anyone and gives way
 * to those of the cgroups below. Return: 0 if not; -EPERM if so; another negative errno. */
int cgroup_check_foreign(const Caller *caller, const Cgroup *cgroup, uint32_t attach_type);
