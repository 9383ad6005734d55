/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The system bus as deputyctl needs it: a connection, dictionaries of properties read into structs by a
 * table, and errors that become sentences which say what to do. */

#include <stddef.h>
#include <systemd/sd-bus.h>

#include "ctl/ctl.h"

#define DEPUTYD_BUS_NAME "org.deputyd1"
#define DEPUTYD_BUS_PATH "/org/deputyd1"
#define DEPUTYD_MANAGER  "org.deputyd1.Manager"
#define DEPUTYD_TARGET   "org.deputyd1.Target"
#define SYSTEMD_BUS_NAME "org.freedesktop.systemd1"
#define SYSTEMD_BUS_PATH "/org/freedesktop/systemd1"
#define SYSTEMD_MANAGER  "org.freedesktop.systemd1.Manager"
#define PROPERTIES       "org.freedesktop.DBus.Properties"

#define ERROR_NO_SUCH_TARGET     "org.deputyd1.NoSuchTarget"
#define ERROR_NO_TARGET_FOR_PID  "org.deputyd1.NoTargetForPID"
#define ERROR_NO_TARGET_FOR_UNIT "org.deputyd1.NoTargetForUnit"

/* One member of an a{sv} and the field it's stored in. Simple types are read by their signature: "s" into a
 * char *, "b" into a bool, "u" into a uint32_t, "t" into a uint64_t, "as" into a char **; anything else by
 * "read". Members of another type than expected are skipped: an older or newer peer. */
typedef struct BusProperty {
        const char *name;
        const char *signature;
        size_t offset;
        int (*read)(sd_bus_message *message, void *field);
} BusProperty;

/* Reads an a{sv} into "object" by a table that ends with an empty entry. Return: 0, or a negative errno. */
int bus_read_properties(sd_bus_message *message, const BusProperty *table, void *object);

/* org.freedesktop.DBus.Properties.GetAll. Return: 0, or a negative errno and "error". */
int bus_get_all(sd_bus *bus, const char *name, const char *path, const char *interface,
                const BusProperty *table, void *object, sd_bus_error *error);

/* Connects to the system bus. Return: 0, or a negative errno that has been logged. Free with
 * sd_bus_flush_close_unrefp(). */
int bus_connect(sd_bus **ret);

/* As bus_connect(), but what can't be reached is only told with "ret_why" (a sentence, free with g_free()).
 */
int bus_connect_quietly(sd_bus **ret, char **ret_why);

/* The sentence that an error of the bus stands for, with what to do about it. Free with g_free(). */
char *bus_error_sentence(const sd_bus_error *error, int r);

/* Logs "WHAT: SENTENCE". Returns the negative errno. */
int bus_log_error(const sd_bus_error *error, int r, const char *what);
