/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "basic/fd.h"
#include "basic/journal.h"
#include "basic/log.h"
#include "daemon/entry.h"
#include "daemon/target.h"

/* Opened at the first entry, and again when journald was restarted: a connected socket stays with the old
 * one. */
static int send_entry(Manager *m, const char *const *fields, size_t n) {
        int r = -ENOTCONN;

        if (m->journal_fd >= 0)
                r = journal_send(m->journal_fd, fields, n);

        if (r == -ECONNREFUSED || r == -ENOTCONN || r == -ECONNRESET || r == -EPIPE) {
                close_fd(m->journal_fd);
                m->journal_fd = journal_open();
                r = m->journal_fd < 0 ? m->journal_fd : journal_send(m->journal_fd, fields, n);
        }

        return r;
}

void entry_log(Manager *m, const Target *t, int level, const char *message_id, const char *const *fields,
                size_t n_fields, const char *format, ...) {
        g_autoptr(GPtrArray) all = NULL;
        g_autofree char *message = NULL;
        va_list ap;

        assert(m);
        assert(t);

        if (level > log_get_level())
                return;

        va_start(ap, format);
        message = g_strdup_vprintf(format, ap);
        va_end(ap);

        /* Somebody who looks at our stderr wants to see it there. */
        if (!getenv("JOURNAL_STREAM")) {
                (void) log_internal(level, 0, "%s", message);
                return;
        }

        all = g_ptr_array_new_with_free_func(g_free);
        g_ptr_array_add(all, g_strdup_printf("MESSAGE=%s", message));
        g_ptr_array_add(all, g_strdup_printf("PRIORITY=%i", level));
        g_ptr_array_add(all, g_strdup_printf("MESSAGE_ID=%s", message_id));
        g_ptr_array_add(all, g_strdup("SYSLOG_IDENTIFIER=deputyd"));
        g_ptr_array_add(all, g_strdup_printf("DEPUTYD_TARGET=%s", t->id));
        g_ptr_array_add(all, g_strdup_printf("DEPUTYD_UNIT=%s", t->policy->unit));
        /* By this name "journalctl -u" finds what root says of a unit, also when the leader is dead. */
        if (t->policy->unit[0])
                g_ptr_array_add(all, g_strdup_printf("OBJECT_SYSTEMD_UNIT=%s", t->policy->unit));
        if (t->leader > 0)
                g_ptr_array_add(all, g_strdup_printf("OBJECT_PID=%i", (int) t->leader));
        for (size_t i = 0; i < n_fields; i++)
                g_ptr_array_add(all, g_strdup(fields[i]));

        if (send_entry(m, (const char *const *) all->pdata, all->len) < 0)
                (void) log_internal(level, 0, "%s", message);
}
