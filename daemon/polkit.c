/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Two questions, both asynchronous: the bus, who the sender is; if that's not root, polkit, whether he may.
 */

#include <errno.h>

#include "basic/log.h"
#include "daemon/daemon-limits.h"
#include "daemon/polkit.h"

/* As long as somebody may need to type a password. */
#define POLKIT_TIMEOUT_USEC (120 * USEC_PER_SEC)
#define BUS_TIMEOUT_USEC    (25 * USEC_PER_SEC)

typedef struct PolkitQuery {
        Manager *manager;
        sd_bus_message *message;
        const char *action;
        PolkitDone done;
} PolkitQuery;

static PolkitQuery *polkit_query_free(PolkitQuery *q) {
        if (!q)
                return NULL;

        q->manager->n_polkit_queries--;
        sd_bus_message_unref(q->message);
        g_free(q);
        return NULL;
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PolkitQuery, polkit_query_free)

static void polkit_query_destroy(void *userdata) {
        polkit_query_free(userdata);
}

static int on_decision(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        PolkitQuery *q = userdata;
        int authorized, challenge, r;

        if (sd_bus_message_is_method_error(reply, NULL)) {
                log_debug("polkit can't be asked: %s", sd_bus_message_get_error(reply)->message);
                q->done(q->manager, q->message, -EACCES);
                return 0;
        }

        r = sd_bus_message_enter_container(reply, 'r', "bba{ss}");
        if (r >= 0)
                r = sd_bus_message_read(reply, "bb", &authorized, &challenge);
        if (r < 0)
                q->done(q->manager, q->message, r);
        else
                q->done(q->manager, q->message, authorized ? 1 : challenge ? -EPERM : -EACCES);

        return 0;
}

static int ask_polkit(PolkitQuery *q) {
        sd_bus_message *request = NULL;
        sd_bus_slot *slot = NULL;
        int r;

        r = sd_bus_message_new_method_call(q->manager->bus, &request, "org.freedesktop.PolicyKit1",
                        "/org/freedesktop/PolicyKit1/Authority", "org.freedesktop.PolicyKit1.Authority",
                        "CheckAuthorization");
        if (r >= 0)
                r = sd_bus_message_append(request, "(sa{sv})sa{ss}us", "system-bus-name", 1, "name", "s",
                                sd_bus_message_get_sender(q->message), q->action, 0,
                                sd_bus_message_get_allow_interactive_authorization(q->message) > 0 ? 1 : 0,
                                "");
        if (r >= 0)
                r = sd_bus_call_async(q->manager->bus, &slot, request, on_decision, q, POLKIT_TIMEOUT_USEC);
        if (r >= 0) {
                (void) sd_bus_slot_set_destroy_callback(slot, polkit_query_destroy);
                (void) sd_bus_slot_set_floating(slot, true);
        }

        sd_bus_slot_unref(slot);
        sd_bus_message_unref(request);
        return r;
}

static int on_sender(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        g_autoptr(PolkitQuery) q = userdata;
        uint32_t uid;
        int r;

        /* From here on it's ours or the next question's, not the slot's. */
        (void) sd_bus_slot_set_destroy_callback(sd_bus_get_current_slot(q->manager->bus), NULL);

        if (sd_bus_message_is_method_error(reply, NULL))
                r = -EACCES;
        else
                r = sd_bus_message_read(reply, "u", &uid);

        if (r >= 0 && uid != 0) {
                r = ask_polkit(q);
                if (r >= 0) {
                        g_steal_pointer(&q);
                        return 0;
                }
        }

        q->done(q->manager, q->message, r < 0 ? r : 1);
        return 0;
}

int polkit_check(Manager *m, sd_bus_message *message, const char *action, PolkitDone done) {
        g_autoptr(PolkitQuery) q = NULL;
        sd_bus_message *request = NULL;
        sd_bus_slot *slot = NULL;
        int r;

        if (m->n_polkit_queries >= POLKIT_QUERIES_MAX)
                return -EBUSY;

        q = g_new(PolkitQuery, 1);
        *q = (PolkitQuery){ m, sd_bus_message_ref(message), action, done };
        m->n_polkit_queries++;

        r = sd_bus_message_new_method_call(m->bus, &request, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                        "org.freedesktop.DBus", "GetConnectionUnixUser");
        if (r >= 0)
                r = sd_bus_message_append(request, "s", sd_bus_message_get_sender(message));
        if (r >= 0)
                r = sd_bus_call_async(m->bus, &slot, request, on_sender, q, BUS_TIMEOUT_USEC);
        if (r >= 0) {
                (void) sd_bus_slot_set_destroy_callback(slot, polkit_query_destroy);
                (void) sd_bus_slot_set_floating(slot, true);
                g_steal_pointer(&q);
        }

        sd_bus_slot_unref(slot);
        sd_bus_message_unref(request);
        return r < 0 ? r : 0;
}
