/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* /proc/PID/cgroup is named by a number that may be another process by the time it's read: the pidfd that
 * came with the datagram is asked *after* the reading whether its process still lives, in which case the
 * number was its own all the time (sd_pid_get_unit(3), "subject to races"). */

#include <errno.h>
#include <fnmatch.h>
#include <glib.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <systemd/sd-login.h>
#include <unistd.h>

#include "daemon/unit.h"

int unit_of_process(pid_t pid, int pidfd, char **ret) {
        char *unit = NULL;
        int r;

        if (pidfd < 0 || pid <= 0)
                return -ESRCH;

        r = sd_pid_get_unit(pid, &unit);

        if (syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) < 0 && errno != EPERM) {
                free(unit);
                return -errno;
        }
        if (r < 0)
                return r == -ENXIO || r == -ENOMEDIUM ? -ENODATA : r;

        *ret = g_strdup(unit);
        free(unit);
        return 0;
}

char *unit_machine(const char *unit) {
        static const char prefix[] = "systemd-nspawn@", suffix[] = ".service";
        g_autofree char *path = g_strdup_printf("/run/systemd/machines/unit:%s", unit);
        char target[NAME_MAX + 1];
        size_t size;
        ssize_t n;

        n = readlink(path, target, sizeof(target) - 1);
        if (n > 0) {
                target[n] = 0;
                return g_strdup(target);
        }

        /* nspawn isn't registered yet when deputy-run asks, but the shipped template says --machine=%i, which
         * is the instance as it stands. */
        size = strlen(unit);
        if (!g_str_has_prefix(unit, prefix) || !g_str_has_suffix(unit, suffix) ||
                        size <= sizeof(prefix) - 1 + sizeof(suffix) - 1)
                return NULL;

        return g_strndup(unit + sizeof(prefix) - 1, size - (sizeof(prefix) - 1) - (sizeof(suffix) - 1));
}

const char *unit_refused(const char *unit, const char *own) {
        static const struct {
                const char *glob;
                const char *reason;
        } refused[] = {
                { "deputyd.service", "deputyd can't be its own target" },
                { "dbus*.service",
                                "deputyd talks to the message bus, which therefore can't wait for deputyd" },
                { "systemd-journald*.service",
                                "deputyd writes to the journal, which therefore can't wait for it" },
                { "init.scope", "deputyd's listeners are kept by PID 1, which therefore can't wait for it" },
        };

        if (own && strcmp(unit, own) == 0)
                return refused[0].reason;

        for (size_t i = 0; i < G_N_ELEMENTS(refused); i++)
                if (fnmatch(refused[i].glob, unit, 0) == 0)
                        return refused[i].reason;

        return NULL;
}
