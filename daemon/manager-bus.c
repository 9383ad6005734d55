/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>

#include "basic/log.h"
#include "daemon/bus.h"
#include "daemon/manager-bus.h"
#include "daemon/polkit.h"
#include "daemon/target-bus.h"
#include "daemon/target.h"

#define RELOAD_ACTION "org.deputyd1.reload"

static int get_version(sd_bus *bus, const char *path, const char *interface, const char *property,
                sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        return sd_bus_message_append(reply, "s", PROJECT_VERSION);
}

static int get_features(sd_bus *bus, const char *path, const char *interface, const char *property,
                sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Manager *m = userdata;

        return sd_bus_message_append_strv(reply, m->features);
}

static int get_n_targets(sd_bus *bus, const char *path, const char *interface, const char *property,
                sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Manager *m = userdata;

        return sd_bus_message_append(reply, "u", (uint32_t) g_hash_table_size(m->targets));
}

static int append_target(sd_bus_message *reply, Target *t) {
        g_autofree char *path = target_bus_path(t);

        target_find_machine(t);
        return sd_bus_message_append(reply, "(sssso)", t->id, t->policy->unit, t->machine ?: "",
                        target_status_to_string(target_status(t)), path);
}

static int list_targets(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Manager *m = userdata;
        sd_bus_message *reply = NULL;
        GHashTableIter i;
        gpointer t;
        int r;

        r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(sssso)");

        g_hash_table_iter_init(&i, m->targets);
        while (r >= 0 && g_hash_table_iter_next(&i, NULL, &t))
                r = append_target(reply, t);

        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        if (r >= 0)
                r = sd_bus_message_send(reply);

        sd_bus_message_unref(reply);
        return r;
}

static int reply_target(sd_bus_message *message, const Target *t) {
        g_autofree char *path = target_bus_path(t);

        return sd_bus_reply_method_return(message, "o", path);
}

static int get_target(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Manager *m = userdata;
        const Target *t;
        const char *id;
        int r;

        r = sd_bus_message_read(message, "s", &id);
        if (r < 0)
                return r;

        t = g_hash_table_lookup(m->targets, id);
        if (!t)
                return sd_bus_error_setf(error, "org.deputyd1.NoSuchTarget", "There's no target '%s'", id);

        return reply_target(message, t);
}

static int get_target_by_pid(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Manager *m = userdata;
        const Target *t;
        uint32_t pid;
        int r;

        r = sd_bus_message_read(message, "u", &pid);
        if (r < 0)
                return r;

        t = manager_find_target_by_pid(m, (pid_t) pid);
        if (!t)
                return sd_bus_error_setf(
                                error, "org.deputyd1.NoTargetForPID", "Process %u belongs to no target", pid);

        return reply_target(message, t);
}

static int get_target_by_unit(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Manager *m = userdata;
        const Target *t;
        const char *unit;
        int r;

        r = sd_bus_message_read(message, "s", &unit);
        if (r < 0)
                return r;

        t = manager_find_target_by_unit(m, unit);
        if (!t)
                return sd_bus_error_setf(
                                error, "org.deputyd1.NoTargetForUnit", "Unit '%s' has no target", unit);

        return reply_target(message, t);
}

static void on_reload_allowed(Manager *m, sd_bus_message *message, int allowed) {
        int r;

        if (allowed > 0) {
                manager_reload(m);
                r = sd_bus_reply_method_return(message, NULL);
        } else if (allowed == -EPERM)
                r = sd_bus_reply_method_errorf(message,
                                "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
                                "Reloading policies needs authentication");
        else
                r = sd_bus_reply_method_errorf(message, SD_BUS_ERROR_ACCESS_DENIED,
                                "Reloading policies isn't allowed to you");
        if (r < 0)
                (void) log_debug_errno(r, "Failed to reply to Reload(): %m");
}

static int reload(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        int r;

        r = polkit_check(userdata, message, RELOAD_ACTION, on_reload_allowed);
        if (r == -EBUSY)
                return sd_bus_error_setf(error, SD_BUS_ERROR_LIMITS_EXCEEDED,
                                "Too many requests wait for an authorization");

        return r < 0 ? r : 1;
}

static const sd_bus_vtable manager_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Version", "s", get_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Features", "as", get_features, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("NTargets", "u", get_n_targets, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_METHOD_WITH_ARGS("ListTargets", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(sssso)", targets),
                        list_targets, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetTarget", SD_BUS_ARGS("s", id), SD_BUS_RESULT("o", object), get_target,
                        SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetTargetByPID", SD_BUS_ARGS("u", pid), SD_BUS_RESULT("o", object),
                        get_target_by_pid, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetTargetByUnit", SD_BUS_ARGS("s", unit), SD_BUS_RESULT("o", object),
                        get_target_by_unit, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                        "Reload", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, reload, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_SIGNAL_WITH_ARGS("TargetNew", SD_BUS_ARGS("s", id, "o", object), 0),
        SD_BUS_SIGNAL_WITH_ARGS("TargetRemoved", SD_BUS_ARGS("s", id, "o", object), 0),
        SD_BUS_VTABLE_END,
};

int manager_bus_add(Manager *m) {
        return sd_bus_add_object_vtable(m->bus, NULL, BUS_PATH, MANAGER_INTERFACE, manager_vtable, m);
}

void manager_bus_changed(Manager *m) {
        uint32_t n = g_hash_table_size(m->targets);

        if (n == m->n_targets_shown || !bus_takes_signals(m))
                return;

        m->n_targets_shown = n;
        (void) sd_bus_emit_properties_changed(m->bus, BUS_PATH, MANAGER_INTERFACE, "NTargets", NULL);
}
