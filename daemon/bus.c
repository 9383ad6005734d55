/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdlib.h>

#include "basic/log.h"
#include "daemon/bus.h"
#include "daemon/daemon-limits.h"
#include "daemon/log-control.h"
#include "daemon/manager-bus.h"
#include "daemon/target-bus.h"

#define BUS_ADDRESS "unix:path=/run/dbus/system_bus_socket"

#define BUS_RETRY_USEC (1 * USEC_PER_SEC)

static int on_name(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        if (sd_bus_message_is_method_error(reply, NULL))
                log_warning("The message bus doesn't give us the name %s: %s", BUS_NAME,
                                sd_bus_message_get_error(reply)->message);
        else
                log_debug("Got the name %s", BUS_NAME);

        return 0;
}

static int on_connected(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Manager *m = userdata;
        int r;

        r = sd_bus_request_name_async(m->bus, NULL, BUS_NAME, 0, on_name, m);
        if (r < 0) {
                (void) log_warning_errno(r, "Failed to ask for the name %s: %m", BUS_NAME);
                return 0;
        }

        m->bus_ready = true;
        log_debug("Connected to the message bus");
        return 0;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        Manager *m = userdata;
        int r;

        bus_stop(m);
        r = bus_start(m);
        if (r < 0)
                (void) log_debug_errno(r, "Failed to connect to the message bus: %m");

        return 0;
}

/* From within a callback of the connection it can't be closed, so that's left to a timer. */
static int on_disconnected(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Manager *m = userdata;
        int r;

        m->bus_ready = false;
        if (m->stopping)
                return 0;

        log_debug("The message bus has gone");
        sd_event_source_disable_unref(m->bus_source);
        r = sd_event_add_time_relative(
                        m->event, &m->bus_source, CLOCK_MONOTONIC, BUS_RETRY_USEC, 0, on_retry, m);
        if (r < 0)
                (void) log_error_errno(r, "Failed to prepare to connect to the message bus again: %m");

        return 0;
}

static int add_objects(Manager *m) {
        int r;

        r = manager_bus_add(m);
        if (r < 0)
                return r;

        r = target_bus_add(m);
        if (r < 0)
                return r;

        r = log_control_add(m);
        if (r < 0)
                return r;

        r = sd_bus_add_object_manager(m->bus, NULL, BUS_PATH);
        if (r < 0)
                return r;

        return sd_bus_match_signal_async(m->bus, NULL, "org.freedesktop.DBus.Local",
                        "/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local", "Disconnected",
                        on_disconnected, NULL, m);
}

int bus_start(Manager *m) {
        const char *address = getenv("DBUS_SYSTEM_BUS_ADDRESS");
        int r;

        r = sd_bus_new(&m->bus);
        if (r < 0)
                return r;

        (void) sd_bus_set_description(m->bus, "system");

        r = sd_bus_set_address(m->bus, address ?: BUS_ADDRESS);
        if (r < 0)
                return r;
        r = sd_bus_set_bus_client(m->bus, true);
        if (r < 0)
                return r;

        /* If there's no bus yet, its socket is waited for. */
        r = sd_bus_set_watch_bind(m->bus, true);
        if (r < 0)
                return r;
        r = sd_bus_set_connected_signal(m->bus, true);
        if (r < 0)
                return r;
        r = sd_bus_set_exit_on_disconnect(m->bus, false);
        if (r < 0)
                return r;

        r = add_objects(m);
        if (r < 0)
                return r;

        r = sd_bus_match_signal_async(m->bus, NULL, "org.freedesktop.DBus.Local",
                        "/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local", "Connected",
                        on_connected, NULL, m);
        if (r < 0)
                return r;

        r = sd_bus_start(m->bus);
        if (r < 0)
                return r;

        return sd_bus_attach_event(m->bus, m->event, SD_EVENT_PRIORITY_NORMAL);
}

void bus_stop(Manager *m) {
        m->bus_ready = false;
        m->bus_source = sd_event_source_disable_unref(m->bus_source);
        if (m->bus) {
                sd_bus_close(m->bus);
                m->bus = sd_bus_unref(m->bus);
        }
}

static void (*name_released)(Manager *m);

static int on_released(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        name_released(userdata);
        return 0;
}

void bus_release_name(Manager *m, void (*done)(Manager *m)) {
        name_released = done;
        if (!m->bus_ready || sd_bus_release_name_async(m->bus, NULL, BUS_NAME, on_released, m) < 0)
                done(m);
}

bool bus_takes_signals(const Manager *m) {
        uint64_t n;

        return m->bus_ready && sd_bus_get_n_queued_write(m->bus, &n) >= 0 && n < BUS_QUEUE_MAX;
}
