/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <sys/mount.h>

#include "supervisor/fuse-server.h"
#include "supervisor/handlers/mount-fuse.h"
#include "supervisor/supervisor.h"

#define USEC_PER_SEC UINT64_C(1000000)

/* All that was asked for, in the words that such programs know. */
static char *option_string(const MountRequest *m) {
        static const struct {
                uint64_t sb_flag, attribute;
                const char *word;
        } words[] = {
                { MS_RDONLY, MOUNT_ATTR_RDONLY, "ro" },
                { 0, MOUNT_ATTR_NOSUID, "nosuid" },
                { 0, MOUNT_ATTR_NODEV, "nodev" },
                { 0, MOUNT_ATTR_NOEXEC, "noexec" },
                { 0, MOUNT_ATTR_NOATIME, "noatime" },
                { MS_SYNCHRONOUS, 0, "sync" },
                { MS_DIRSYNC, 0, "dirsync" },
        };
        uint64_t attributes = m->attributes;
        const MountPolicy *p = &m->policy->mount;
        GString *text = g_string_new(NULL);

        attributes |= (p->read_only == MOUNT_READ_ONLY_YES ? MOUNT_ATTR_RDONLY : 0) |
                      (p->no_suid ? MOUNT_ATTR_NOSUID : 0) | (p->no_exec ? MOUNT_ATTR_NOEXEC : 0);

        for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
                if ((m->sb_flags & words[i].sb_flag) || (attributes & words[i].attribute))
                        g_string_append_printf(text, "%s%s", text->len > 0 ? "," : "", words[i].word);

        for (guint i = 0; i < m->options->len; i++) {
                const MountOption *option = &g_array_index(m->options, MountOption, i);

                g_string_append_printf(text, "%s%s%s%s", text->len > 0 ? "," : "", option->name,
                                option->value ? "=" : "", option->value ?: "");
        }

        return g_string_free(text, FALSE);
}

/* deputyd ends a supervisor that's longer in a call than CallTimeoutSec=, so the start has to end before. */
static uint64_t start_time(const Policy *policy) {
        uint64_t reserve = FUSE_START_MARGIN_USEC + USEC_PER_SEC / 2,
                 most = policy->timeout_usec > reserve + USEC_PER_SEC ? policy->timeout_usec - reserve
                                                                      : USEC_PER_SEC;

        return policy->mount.fuse_start_usec < most ? policy->mount.fuse_start_usec : most;
}

/* Did a predecessor start it, and die before it could say so? It noted which mount the target was on before.
 */
static bool was_started(const Request *request, int target_fd) {
        uint64_t id;

        return request->retry && request->slot->stage == SLOT_ACTING &&
               fuse_server_mount_of(&request->caller, target_fd, &id) > 0 &&
               (int64_t) id != request->slot->before;
}

int mount_by_fuse(Request *request, const char *program, MountRequest *m, int target_fd, bool *ret_internal) {
        const Supervisor *s = request->supervisor;
        g_autofree char *options = option_string(m),
                        *target = g_strdup_printf("DEPUTYD_TARGET=%s", s->target),
                        *unit = s->report.unit ? g_strdup_printf("OBJECT_SYSTEMD_UNIT=%s", s->report.unit)
                                               : NULL;
        const char *fields[] = { target, unit };
        FuseServer server = {
                .caller = &request->caller,
                .program = program,
                .source = m->source,
                .target_fd = target_fd,
                .options = options,
                .start_usec = start_time(m->policy),
                .journal_fd = s->report.journal_fd,
                .journal_fields = fields,
                .n_journal_fields = unit ? 2 : 1,
        };
        FuseResult result = FUSE_RESULT_INIT;
        uint64_t before;
        int r;

        *ret_internal = false;
        if (!m->source || !*m->source)
                return -EINVAL; /* as the kernel says without a device */
        if (was_started(request, target_fd))
                return 0;

        r = fuse_server_mount_of(&request->caller, target_fd, &before);
        if (r < 0) {
                *ret_internal = true;
                return r;
        }

        request_acting(request, SLOT_ACTING, (int64_t) before);
        r = fuse_server_start(&server, &result);
        if (r < 0 && result.message[0]) {
                g_free(m->message);
                m->message = g_strdup(result.message);
        }

        *ret_internal = r == -EOPNOTSUPP || r == -ENOENT;
        return r;
}
