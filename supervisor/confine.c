/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "supervisor/confine.h"
#include "supervisor/privilege.h"
#include "supervisor/worker.h"

/* What computing, and worker.c's last words, take. */
static const struct {
        int nr;
        int no_exec_argument; /* must not contain PROT_EXEC; -1: nothing to check */
} allowed_calls[] = {
        { SCMP_SYS(brk), -1 },
        { SCMP_SYS(clock_gettime), -1 },
        { SCMP_SYS(exit), -1 },
        { SCMP_SYS(exit_group), -1 },
        { SCMP_SYS(futex), -1 },
        { SCMP_SYS(getrandom), -1 },
        { SCMP_SYS(madvise), -1 },
        { SCMP_SYS(mmap), 2 },
        { SCMP_SYS(mprotect), 2 },
        { SCMP_SYS(mremap), -1 },
        { SCMP_SYS(munmap), -1 },
        { SCMP_SYS(rt_sigreturn), -1 },
        { SCMP_SYS(sendmsg), -1 },
};

static int allow_computing_only(void) {
        scmp_filter_ctx context;
        int r;

        /* Level 1: it's loaded by prctl(2). Where a filter was compiled before, with a level that wasn't
         * asked of the kernel (filter.c), libseccomp 2.5 doesn't know the number of seccomp(2). */
        r = seccomp_api_set(1);
        if (r < 0)
                return r;

        context = seccomp_init(SCMP_ACT_ERRNO(EPERM));
        if (!context)
                return -ENOMEM;

        r = 0;
        for (size_t i = 0; r >= 0 && i < G_N_ELEMENTS(allowed_calls); i++)
                if (allowed_calls[i].no_exec_argument >= 0)
                        r = seccomp_rule_add(context, SCMP_ACT_ALLOW, allowed_calls[i].nr, 1,
                                        SCMP_CMP((unsigned) allowed_calls[i].no_exec_argument,
                                                        SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
                else
                        r = seccomp_rule_add(context, SCMP_ACT_ALLOW, allowed_calls[i].nr, 0);
        if (r >= 0)
                r = seccomp_load(context);

        seccomp_release(context);
        return r;
}

/* How much address space the process has. */
static int address_space(size_t *ret) {
        char text[64];
        size_t pages;
        ssize_t n;
        int fd;

        fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        n = read(fd, text, sizeof(text) - 1);
        (void) close(fd);
        if (n <= 0)
                return -EIO;

        text[n] = 0;
        if (sscanf(text, "%zu", &pages) != 1)
                return -EIO;

        *ret = pages * (size_t) sysconf(_SC_PAGESIZE);
        return 0;
}

void confine_offer_to_oom_killer(void) {
        /* The entry is the host's root's, and the ids in force may be a caller's. */
        uid_t before = (uid_t) setfsuid(0);
        int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

        if (fd >= 0) {
                (void) !write(fd, "1000", 4);
                (void) close(fd);
        }
        setfsuid(before);
}

int confine_worker(size_t memory) {
        struct rlimit limits[] = { {}, {}, {}, { 60, 60 }, {} };
        static const int resources[] = { RLIMIT_FSIZE, RLIMIT_NPROC, RLIMIT_CORE, RLIMIT_CPU, RLIMIT_AS };
        size_t used = 0;
        int r;

        r = address_space(&used);
        if (r < 0)
                return r;
        limits[4] = (struct rlimit){ used + memory, used + memory };

        r = worker_close_files(0);
        if (r < 0)
                return r;

        for (size_t i = 0; i < G_N_ELEMENTS(resources); i++)
                if (setrlimit((__rlimit_resource_t) resources[i], &limits[i]) < 0)
                        return -errno;

        r = privilege_keep_only(0);
        if (r < 0)
                return r;

        return allow_computing_only();
}
