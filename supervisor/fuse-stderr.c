/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "basic/clock.h"
#include "basic/fd.h"
#include "basic/journal.h"
#include "supervisor/fuse-stderr.h"
#include "supervisor/request.h"

void fuse_stderr_say(FuseStderr *e, int priority, const char *message) {
        g_autofree char *text = request_text("%s", message);
        g_autoptr(GPtrArray) fields = g_ptr_array_new_with_free_func(g_free);

        if (e->journal_fd < 0)
                return;

        g_ptr_array_add(fields, g_strdup_printf("MESSAGE=%s", text));
        g_ptr_array_add(fields, g_strdup_printf("PRIORITY=%i", priority));
        g_ptr_array_add(fields, g_strdup_printf("SYSLOG_IDENTIFIER=%s", e->identifier));
        for (size_t i = 0; i < e->n_fields; i++)
                g_ptr_array_add(fields, g_strdup(e->fields[i]));

        if (journal_send(e->journal_fd, (const char *const *) fields->pdata, fields->len) < 0)
                e->n_dropped++;
}

static void line_done(FuseStderr *e) {
        uint64_t now = now_nsec(CLOCK_MONOTONIC) / 1000;

        e->line[e->size] = 0;
        if (e->size > 0) {
                g_strlcpy(e->last, e->line, sizeof(e->last));

                if (e->n_in_interval == 0 || now - e->interval_start_usec >= FUSE_LINES_INTERVAL_USEC) {
                        uint64_t n = e->n_dropped;

                        e->interval_start_usec = now;
                        e->n_in_interval = 0;
                        e->n_dropped = 0;
                        if (n > 0) {
                                g_autofree char *text = g_strdup_printf(
                                                "%" G_GUINT64_FORMAT " messages were not written", n);

                                fuse_stderr_say(e, LOG_NOTICE, text);
                        }
                }

                if (e->n_in_interval < FUSE_LINES_BURST) {
                        e->n_in_interval++;
                        fuse_stderr_say(e, LOG_INFO, e->line);
                } else
                        e->n_dropped++;
        }

        e->size = 0;
        e->cut = false;
}

static void take(FuseStderr *e, const char *p, size_t size) {
        while (size > 0) {
                const char *end = memchr(p, '\n', size);
                size_t n = end ? (size_t) (end - p) : size;
                size_t room = FUSE_LINE_MAX - e->size;

                if (!e->cut) {
                        memcpy(e->line + e->size, p, MIN(n, room));
                        e->size += MIN(n, room);
                        e->cut = n > room;
                }

                if (end) {
                        line_done(e);
                        n++;
                }
                p += n;
                size -= n;
        }
}

int fuse_stderr_read(FuseStderr *e) {
        static char buffer[65536];
        ssize_t n;

        n = read(e->fd, buffer, sizeof(buffer));
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        if (n == 0) {
                line_done(e);
                if (e->n_dropped > 0) {
                        g_autofree char *text = g_strdup_printf(
                                        "%" G_GUINT64_FORMAT " messages were not written", e->n_dropped);

                        fuse_stderr_say(e, LOG_NOTICE, text);
                }
                e->fd = close_fd(e->fd);
                return -EPIPE;
        }

        take(e, buffer, (size_t) n);
        return 1;
}
