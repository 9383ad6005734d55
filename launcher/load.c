/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The one system call that deputy-run exists for. See seccomp(2), seccomp_unotify(2). */

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/seccomp.h>

#include "launcher/child.h"
#include "launcher/load.h"
#include "launcher/message.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#        define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

/* SystemCallFilter= kills, unless SystemCallErrorNumber= is set, and who's killed explains nothing. So where
 * a filter is in force already, a child tries the call first (in a form that has no effect). */
static int probe_seccomp(void) {
        const uint32_t action = SECCOMP_RET_USER_NOTIF;
        int status;
        pid_t pid;

        if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != SECCOMP_MODE_FILTER)
                return 0;

        pid = clone_silently();
        if (pid < 0)
                return 0; /* then we find out ourselves */
        if (pid == 0) {
                (void) prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* no core dump */
                (void) syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action);
                _exit(0);
        }

        if (wait_silently(pid, &status) < 0)
                return 0;

        return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS ? -EPERM : 0;
}

static int explain(int error) {
        switch (error) {
        case EBUSY:
                return complain(error,
                                "A filter above this process has a listener already, and the kernel allows "
                                "one "
                                "only: another deputy-run, or a container manager that intercepts calls "
                                "itself. Give the calls to the policy of the outermost one; see "
                                "\"Nesting\" in deputy-run(1)");
        case EPERM:
        case EACCES:
        case ENOSYS:
                return complain(error,
                                "Not allowed to load a filter: %m. If this is a unit with SystemCallFilter=, "
                                "add \"SystemCallFilter=seccomp\" to it; in a container, allow the call in "
                                "its manager's seccomp profile");
        case EINVAL:
                return complain(error,
                                "The kernel doesn't take the filter: %m. System call notifications need "
                                "Linux 5.5 or newer with CONFIG_SECCOMP_FILTER");
        default:
                return complain(error, "Failed to load the filter: %m");
        }
}

int load_filter(const struct sock_filter *insns, size_t n_insns, bool *ret_wait_killable) {
        /* With WAIT_KILLABLE_RECV (Linux 5.19) a signal can't interrupt a call that's being acted on, and so
         * can't make it happen twice. */
        unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
        struct sock_fprog program = {
                .len = (unsigned short) n_insns,
                .filter = (struct sock_filter *) insns,
        };
        bool tried_no_new_privs = false;
        long fd;

        if (probe_seccomp() < 0)
                return explain(EPERM);

        for (;;) {
                fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
                if (fd >= 0)
                        break;

                if (errno == EINVAL && (flags & SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)) {
                        flags &= ~SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
                        continue;
                }

                /* A process without CAP_SYS_ADMIN must promise first not to gain privileges by execve(2), or
                 * it could confuse set-user-ID programs with its filter. The promise is for life and takes
                 * something away, so it isn't made unless it's asked for. */
                if (errno == EACCES && !tried_no_new_privs) {
                        tried_no_new_privs = true;
                        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                                return complain(errno, "Failed to set no_new_privs: %m");

                        narrate("Without CAP_SYS_ADMIN, so no_new_privs is set: the command gains nothing "
                                "from "
                                "set-user-ID programs");
                        continue;
                }

                return explain(errno);
        }

        *ret_wait_killable = flags & SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
        if (!*ret_wait_killable)
                narrate("The kernel has no WAIT_KILLABLE_RECV: a signal can interrupt an intercepted call");

        return (int) fd;
}
