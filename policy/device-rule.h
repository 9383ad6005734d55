/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Devices as policies name them: by number ("c 1:3", "b 8:0-15", "c 10:*") or by a path of the host's /dev,
 * links of udev included. */

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct DeviceRule {
        mode_t type; /* S_IFCHR or S_IFBLK; 0 if path is set */
        unsigned major;
        unsigned minor_first; /* "c 10:*" is 0 to UINT_MAX, "c 4:64-67" is 64 to 67 */
        unsigned minor_last;
        char *path; /* a node of the host's /dev, looked up when it's needed: it may come later or move */
} DeviceRule;

/* A new array of DeviceRule that frees what they have. */
GArray *device_rules_new(void);

bool device_rules_equal(const GArray *a, const GArray *b);

/* Which rule names this device? Numbers are looked at first, then host paths, with stat(2), relative to the
 * process' root. "type" is S_IFCHR or S_IFBLK. NULL if none does. */
const DeviceRule *device_rules_find(const GArray *rules, mode_t type, dev_t device);
