/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "basic/log.h"
#include "ctl/bus.h"
#include "ctl/terminal.h"

static int read_member(sd_bus_message *message, const BusProperty *property, void *object) {
        void *field = (char *) object + property->offset;
        int r;

        if (property->read)
                return property->read(message, field);

        if (strcmp(property->signature, "s") == 0) {
                const char *s;

                r = sd_bus_message_read(message, "s", &s);
                if (r < 0)
                        return r;

                g_free(*(char **) field);
                *(char **) field = g_strdup(s);
        } else if (strcmp(property->signature, "b") == 0) {
                int b;

                r = sd_bus_message_read(message, "b", &b);
                if (r < 0)
                        return r;

                *(bool *) field = b;
        } else if (strcmp(property->signature, "as") == 0) {
                char **strv = NULL;

                r = sd_bus_message_read_strv(message, &strv);
                if (r < 0)
                        return r;

                g_strfreev(*(char ***) field);
                *(char ***) field = strv ?: g_new0(char *, 1);
        } else
                return sd_bus_message_read_basic(message, property->signature[0], field);

        return 0;
}

int bus_read_properties(sd_bus_message *message, const BusProperty *table, void *object) {
        int r;

        r = sd_bus_message_enter_container(message, 'a', "{sv}");
        if (r < 0)
                return r;

        while ((r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
                const BusProperty *property = NULL;
                const char *name, *contents;

                r = sd_bus_message_read(message, "s", &name);
                if (r < 0)
                        return r;

                r = sd_bus_message_peek_type(message, NULL, &contents);
                if (r < 0)
                        return r;

                for (const BusProperty *p = table; p->name; p++)
                        if (strcmp(p->name, name) == 0 && strcmp(p->signature, contents) == 0)
                                property = p;

                if (property) {
                        r = sd_bus_message_enter_container(message, 'v', contents);
                        if (r >= 0)
                                r = read_member(message, property, object);
                        if (r >= 0)
                                r = sd_bus_message_exit_container(message);
                } else
                        r = sd_bus_message_skip(message, "v");
                if (r < 0)
                        return r;

                r = sd_bus_message_exit_container(message);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;

        return sd_bus_message_exit_container(message);
}

int bus_get_all(sd_bus *bus, const char *name, const char *path, const char *interface,
                const BusProperty *table, void *object, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = sd_bus_call_method(bus, name, path, PROPERTIES, "GetAll", error, &reply, "s", interface);
        if (r < 0)
                return r;

        return bus_read_properties(reply, table, object);
}

int bus_connect_quietly(sd_bus **ret, char **ret_why) {
        int r;

        r = sd_bus_open_system(ret);
        if (r >= 0)
                return 0;

        if (r == -ENOENT || r == -ECONNREFUSED)
                *ret_why = g_strdup("there's no system bus here; is this a running systemd host, and "
                                    "dbus.socket started?");
        else
                *ret_why = g_strdup_printf("the system bus can't be reached: %s", g_strerror(-r));

        return r;
}

int bus_connect(sd_bus **ret) {
        g_autofree char *why = NULL;
        int r;

        r = bus_connect_quietly(ret, &why);
        if (r < 0)
                log_error("Can't ask deputyd: %s", why);

        return r;
}

char *bus_error_sentence(const sd_bus_error *error, int r) {
        static const struct {
                const char *name;
                const char *sentence;
        } sentences[] = {
                { "org.freedesktop.DBus.Error.ServiceUnknown",
                                "deputyd isn't running: systemctl start deputyd.socket deputyd.service" },
                { "org.freedesktop.DBus.Error.NameHasNoOwner",
                                "deputyd isn't running: systemctl start deputyd.socket deputyd.service" },
                { "org.freedesktop.systemd1.NoSuchUnit",
                                "deputyd isn't installed or systemd doesn't know it yet: systemctl "
                                "daemon-reload, then systemctl start deputyd.socket" },
                { "org.freedesktop.systemd1.LoadFailed",
                                "deputyd.service can't be loaded: see systemctl status deputyd.service" },
                { "org.freedesktop.DBus.Error.TimedOut",
                                "deputyd didn't start in time: see journalctl -u deputyd.service" },
                { "org.freedesktop.DBus.Error.NoReply",
                                "deputyd didn't answer: see systemctl status deputyd.service" },
                { "org.freedesktop.DBus.Error.AccessDenied",
                                "access is denied: ask as root, or let polkit allow it" },
                { "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
                                "this needs authentication, and there's no agent to ask for it: ask as "
                                "root" },
        };

        if (error && error->name)
                for (size_t i = 0; i < G_N_ELEMENTS(sentences); i++)
                        if (strcmp(sentences[i].name, error->name) == 0)
                                return g_strdup(sentences[i].sentence);

        if (error && error->message)
                return terminal_escape(error->message);

        return g_strdup(g_strerror(-r));
}

int bus_log_error(const sd_bus_error *error, int r, const char *what) {
        g_autofree char *sentence = bus_error_sentence(error, r);

        log_error("%s: %s", what, sentence);
        return r;
}
