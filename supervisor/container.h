/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The container that a caller is in, as far as processes are concerned: its pid namespace. Its init is that
 * namespace's process 1, and its cgroup that of the init, without a last component "init.scope", in which
 * systemd puts itself. A process in our own pid namespace is in no container. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "supervisor/cgroup.h"
#include "supervisor/load-average.h"

typedef struct Container {
        int namespace_fd;      /* pins the namespace, and with it the number */
        ino_t namespace_inode; /* 0: an unused entry */
        int init_fd;           /* /proc/PID of its init; -1: not found */
        int init_cgroup_fd;    /* its "cgroup" there */
        uint64_t start_nsec;   /* of the init, on the host's CLOCK_BOOTTIME */

        char *cgroups; /* text of the init's /proc/PID/cgroup, as the files below were opened by it */
        int tasks_fd;  /* pids.current */
        int cpu_fd;    /* cpu.stat or cpuacct.usage */
        bool cpu_is_v1;
        int cpu_pressure_fd, io_pressure_fd;

        uint64_t read_nsec; /* when what follows was read, CLOCK_MONOTONIC */
        uint64_t counted_nsec;
        unsigned n_tasks;
        bool has_tasks, has_loads;
        LoadAverage loads;
} Container;

#define CONTAINER_INIT                                                                                       \
        (Container) {                                                                                        \
                .namespace_fd = -1, .init_fd = -1, .init_cgroup_fd = -1, .tasks_fd = -1, .cpu_fd = -1,       \
                .cpu_pressure_fd = -1, .io_pressure_fd = -1                                                  \
        }

/* The number of the pid namespace of a process or of a thread ("proc_fd" is its /proc/PID). Return: 0 or a
 * negative errno. */
int container_namespace_of(int proc_fd, ino_t *ret);

/* Finds the init of the pid namespace that the process of "proc_fd" is in, whose number "inode" is. Return: 0
 * (the init may not have been found), -ENOENT if the process is gone, or another negative errno. */
int container_open(int proc_fd, ino_t inode, Container *ret);
void container_close(Container *container);

/* Reads how many tasks it has and what they did, at this time of CLOCK_MONOTONIC and CLOCK_BOOTTIME. Return:
 * 0; -ENODEV if the container is gone; another negative errno. */
int container_read(Container *container, const CgroupTree *tree, uint64_t now_nsec, uint64_t boottime_nsec);

/* The container's cgroup, as of the last container_read(); as cgroup_find(). */
const CgroupHierarchy *container_find_cgroup(const Container *container, const CgroupTree *tree,
                CgroupController controller, char path[static CGROUP_PATH_SIZE]);
