/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <systemd/sd-journal.h>

#include "basic/message-id.h"
#include "ctl/refusals.h"

static const struct {
        const char *field;
        size_t offset;
} fields[] = {
        { "MESSAGE", offsetof(Refusal, message) },
        { "DEPUTYD_UNIT", offsetof(Refusal, unit) },
        { "DEPUTYD_TARGET", offsetof(Refusal, target) },
        { "DEPUTYD_SYSCALL", offsetof(Refusal, call) },
        { "DEPUTYD_VERDICT", offsetof(Refusal, verdict) },
        { "DEPUTYD_ERRNO", offsetof(Refusal, error) },
        { "DEPUTYD_REASON", offsetof(Refusal, reason) },
        { "DEPUTYD_ARGUMENTS", offsetof(Refusal, arguments) },
        { "DEPUTYD_HINT", offsetof(Refusal, hint) },
        { "OBJECT_PID", offsetof(Refusal, pid) },
};

static char **field_of(Refusal *refusal, size_t i) {
        return (char **) ((char *) refusal + fields[i].offset);
}

static void refusal_free(void *p) {
        Refusal *refusal = p;

        for (size_t i = 0; i < G_N_ELEMENTS(fields); i++)
                g_free(*field_of(refusal, i));
        g_free(refusal);
}

static Refusal *read_entry(sd_journal *journal) {
        Refusal *refusal = g_new0(Refusal, 1);

        (void) sd_journal_get_realtime_usec(journal, &refusal->realtime_usec);

        for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
                size_t size, skip = strlen(fields[i].field) + 1;
                const void *data;

                if (sd_journal_get_data(journal, fields[i].field, &data, &size) >= 0 && size >= skip)
                        *field_of(refusal, i) = g_strndup((const char *) data + skip, size - skip);
        }

        return refusal;
}

static int add_match(sd_journal *journal, const char *field, const char *value) {
        g_autofree char *match = g_strdup_printf("%s=%s", field, value);

        return sd_journal_add_match(journal, match, 0);
}

int refusals_load(const char *unit, const char *target, unsigned n, GPtrArray **ret) {
        g_autoptr(GPtrArray) refusals = g_ptr_array_new_with_free_func(refusal_free);
        _cleanup_(sd_journal_closep) sd_journal *journal = NULL;
        int r;

        r = sd_journal_open(&journal, SD_JOURNAL_LOCAL_ONLY);
        if (r < 0)
                return r;

        /* Matches of one field are alternatives, those of different fields all have to hold. */
        if ((r = add_match(journal, "MESSAGE_ID", MESSAGE_CALL_REFUSED)) < 0 ||
                        (r = add_match(journal, "MESSAGE_ID", MESSAGE_CALL_FAILED)) < 0 ||
                        (r = add_match(journal, "_UID", "0")) < 0 ||
                        (unit && (r = add_match(journal, "DEPUTYD_UNIT", unit)) < 0) ||
                        (target && (r = add_match(journal, "DEPUTYD_TARGET", target)) < 0))
                return r;

        r = sd_journal_seek_tail(journal);
        if (r < 0)
                return r;

        while (refusals->len < n && (r = sd_journal_previous(journal)) > 0)
                g_ptr_array_insert(refusals, 0, read_entry(journal));
        if (r < 0)
                return r;

        *ret = g_steal_pointer(&refusals);
        return 0;
}

const char *refusal_reason_sentence(const char *reason) {
        static const struct {
                const char *reason;
                const char *sentence;
        } sentences[] = {
                { "device-not-lent", "The policy doesn't lend this device." },
                { "name-not-lent", "The policy doesn't lend this extended attribute." },
                { "no-capability",
                                "The caller doesn't hold, in its container's user namespace, the capability "
                                "that the kernel asks for; deputyd lends the privilege, never the "
                                "authority. It isn't for a policy to change: run the program as the "
                                "container's root, with its capabilities." },
                { "nested-userns",
                                "The caller is in a user namespace inside of the container's own, and root "
                                "there isn't root of the container. It isn't for a policy to change: run "
                                "the program in the container's own user namespace." },
                { "userns-not-owned-by-root",
                                "The container's user namespace wasn't made by the host's root, so deputyd "
                                "doesn't trust it: start the container as a system service." },
                { "user-not-lent", "The unit has no user namespace of its own, and the policy's AllowUsers= "
                                   "doesn't name the caller's user." },
                { "path-not-reachable", "The path can't be reached with the caller's own credentials." },
                { "owner-not-mapped", "The file belongs to an id that the container doesn't have." },
                { "type-not-lent", "The policy doesn't lend this type of file system." },
                { "source-not-lent", "The policy doesn't lend a mount of this source." },
                { "target-not-lent", "The policy doesn't lend a mount at this place." },
                { "option-not-lent", "The policy doesn't lend one of these mount options." },
                { "policy-not-lent", "The policy doesn't lend this scheduling policy or class." },
                { "priority-not-lent", "The policy doesn't lend a priority as high as this." },
                { "program-not-lent", "The policy doesn't lend BPF programs of this kind." },
                { "cgroup-not-lent", "The cgroup isn't one of the container's own." },
                { "module-not-lent", "The policy doesn't lend this kernel module." },
                { "parameters-not-lent", "The policy doesn't lend parameters of this kernel module." },
                { "internal", "deputyd couldn't do it. The entry in the journal of deputyd.service says "
                              "more: journalctl -u deputyd.service" },
                { "timeout", "It took longer than CallTimeoutSec= allows: a file system or memory of the "
                             "target that doesn't answer." },
        };

        for (size_t i = 0; reason && i < G_N_ELEMENTS(sentences); i++)
                if (strcmp(sentences[i].reason, reason) == 0)
                        return sentences[i].sentence;

        return "The entry in the journal says more.";
}

void refusal_to_json(const Refusal *refusal, Json *json, const char *name) {
        json_open(json, name, '{');
        json_number(json, "realtime_usec", refusal->realtime_usec);
        json_string(json, "message", refusal->message);
        json_string(json, "unit", refusal->unit);
        json_string(json, "target", refusal->target);
        json_string(json, "system_call", refusal->call);
        json_string(json, "verdict", refusal->verdict);
        json_string(json, "errno", refusal->error);
        json_string(json, "reason", refusal->reason);
        json_string(json, "arguments", refusal->arguments);
        json_string(json, "hint", refusal->hint);
        json_string(json, "pid", refusal->pid);
        json_close(json, '}');
}
