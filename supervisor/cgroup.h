/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where control groups are found: from the lines of /proc/PID/cgroup to directories.
 *
 * A controller may be in the unified hierarchy (v2) or in one of its own (v1). What counts is what the host
 * has mounted, in whatever place; a controller that's mounted nowhere has no numbers to tell. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef enum CgroupController {
        CGROUP_MEMORY,
        CGROUP_PIDS,
        CGROUP_CPU, /* v1: cpuacct */
        _CGROUP_CONTROLLER_MAX,
} CgroupController;

typedef struct CgroupHierarchy {
        int root_fd;      /* O_PATH of its mount point; -1: not mounted */
        bool unified;     /* v2 */
        char *mount_root; /* the cgroup that is at the mount point */
} CgroupHierarchy;

typedef struct CgroupTree {
        CgroupHierarchy unified;
        CgroupHierarchy own[_CGROUP_CONTROLLER_MAX]; /* v1 */
} CgroupTree;

/* Large enough for a path in a hierarchy, and for the whole of /proc/PID/cgroup. */
#define CGROUP_PATH_SIZE 4096u
#define CGROUP_TEXT_SIZE (64u * 1024u)

/* Opens the hierarchies that "mountinfo" (text of /proc/self/mountinfo) shows. Return: 0 (though it may have
 * found none) or a negative errno; cgroup_tree_close() frees it. */
int cgroup_tree_open(const char *mountinfo, CgroupTree *ret);
void cgroup_tree_close(CgroupTree *tree);

/* Which cgroup of this controller is a process in? "text" is its /proc/PID/cgroup. Writes the path relative
 * to the hierarchy's root_fd ("" for the root). Return: the hierarchy, or NULL if there's none or the cgroup
 * is out of sight. */
const CgroupHierarchy *cgroup_find(const CgroupTree *tree, CgroupController controller, const char *text,
                char path[static CGROUP_PATH_SIZE]);

/* The same in the unified hierarchy, whatever controllers are there. */
const CgroupHierarchy *cgroup_find_unified(
                const CgroupTree *tree, const char *text, char path[static CGROUP_PATH_SIZE]);

/* Opens a file of a cgroup for reading. "length" bytes of the path name the cgroup. Return: a new fd or a
 * negative errno. */
int cgroup_open_file(const CgroupHierarchy *hierarchy, const char *path, size_t length, const char *file);

/* Reads a kept file with a single number, or "max" (UINT64_MAX). Return: 0; -ENODEV if the cgroup is gone; or
 * another negative errno. */
int cgroup_read_number(int fd, uint64_t *ret);

/* The number after the name of a line "NAME NUMBER", as in memory.stat and cpu.stat. Return: 0 or
 * -ENODATA. */
int cgroup_parse_field(const char *text, const char *name, uint64_t *ret);

/* Counts the tasks of a cgroup and those below it by reading their lists: for hosts without the pids
 * controller. Stops at "max". Return: 0 or a negative errno. */
int cgroup_count_tasks(const CgroupHierarchy *hierarchy, const char *path, unsigned max, unsigned *ret);
