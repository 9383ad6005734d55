/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What programs that make calls as they're told have in common: what they make of themselves before, and how
 * the words of their command line are divided into calls. */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The other numbers that this kernel may know calls by; see filter/architecture.h. */
#ifdef X32
#        define syscall(number, ...) syscall((number) | __X32_SYSCALL_BIT, ##__VA_ARGS__)
#endif

static inline void die(const char *what) {
        fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
        exit(125);
}

static inline void write_file(const char *path, const char *text) {
        int fd = open(path, O_WRONLY | O_CLOEXEC);

        if (fd < 0 || write(fd, text, strlen(text)) < 0)
                die(path);
        close(fd);
}

/* "all", or names as below with commas between them. */
static inline void drop_capabilities(const char *names) {
        static const struct {
                const char *name;
                uint64_t capabilities;
        } known[] = {
                { "all", UINT64_MAX },
                { "mknod", UINT64_C(1) << CAP_MKNOD },
                { "sys_admin", UINT64_C(1) << CAP_SYS_ADMIN },
                { "dac", UINT64_C(1) << CAP_DAC_OVERRIDE | UINT64_C(1) << CAP_DAC_READ_SEARCH |
                                                UINT64_C(1) << CAP_FOWNER },
                { "nice", UINT64_C(1) << CAP_SYS_NICE },
                { "net_admin", UINT64_C(1) << CAP_NET_ADMIN },
                { "bpf", UINT64_C(1) << 39 },
                { "perfmon", UINT64_C(1) << 38 },
        };
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2];
        uint64_t dropped = 0;

        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
                if (strstr(names, known[i].name))
                        dropped |= known[i].capabilities;

        if (syscall(SYS_capget, &header, data) < 0)
                die("capget");
        data[0].effective &= (uint32_t) ~dropped;
        data[1].effective &= (uint32_t) (~dropped >> 32);
        if (syscall(SYS_capset, &header, data) < 0)
                die("capset");
}

/* One of our own, as its root. Not possible with threads. */
static inline void enter_user_namespace(void) {
        char uid_map[64], gid_map[64];

        snprintf(uid_map, sizeof(uid_map), "0 %u 1", geteuid());
        snprintf(gid_map, sizeof(gid_map), "0 %u 1", getegid());
        prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* or /proc/self belongs to root after a change of uid */
        if (unshare(CLONE_NEWUSER) < 0)
                die("unshare");
        write_file("/proc/self/setgroups", "deny");
        write_file("/proc/self/uid_map", uid_map);
        write_file("/proc/self/gid_map", gid_map);
}

/* Calls are separated by a word that is a comma. The words of each end with NULL. */
static inline void for_each_call(char **argv, void (*perform)(int argc, char **argv)) {
        while (*argv) {
                int argc = 0;
                char *end;

                while (argv[argc] && strcmp(argv[argc], ",") != 0)
                        argc++;
                end = argv[argc];
                argv[argc] = NULL;
                if (argc > 0)
                        perform(argc, argv);
                argv[argc] = end;
                argv += argc + (end ? 1 : 0);
        }
}
