/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the sections of a policy file are made of. A section is one table of keys in one file
 * (section-NAME.c); it becomes known by its line in the table of sections.c. */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/policy.h"

/* The state of one load. Key functions use it for policy_warn() and policy_record() only. */
typedef struct PolicyLoader PolicyLoader;

typedef struct PolicyKey PolicyKey;
struct PolicyKey {
        const char *name;

        /* Reads "value" (changing it as it likes) into "data", which is at "offset" in the Policy. Says
         * policy_record() for each setting or item that's good, before it's stored, and policy_warn() for
         * what's not; what was there before then stays. An empty value arrives only if the fallback is empty:
         * it empties the list. */
        void (*parse)(PolicyLoader *loader, const PolicyKey *key, char *value, void *data);

        size_t offset;        /* of "data" in Policy */
        const char *fallback; /* the default, in the syntax of a value; "" for lists */
        bool is_list;

        /* For parse functions that serve several keys. */
        uint64_t min;
        uint64_t max;
};

typedef struct PolicySection {
        const char *name;
        const PolicyKey *keys;
        size_t n_keys;

        /* Allocates and frees what the section has in a Policy, and compares two. All may be NULL. */
        void (*init)(Policy *policy);
        void (*clear)(Policy *policy);
        bool (*equal)(const Policy *a, const Policy *b);

        /* Looks at the section as a whole, after the last file: for keys that contradict each other. May be
         * NULL. */
        void (*check)(PolicyLoader *loader, const Policy *policy);
} PolicySection;

/* All sections, in the order in which policy_to_text() writes them; NULL-terminated. */
extern const PolicySection *const policy_sections[];

/* Notes that a value was skipped. "hint" may be NULL. */
__attribute__((format(printf, 4, 5))) void policy_warn(
                PolicyLoader *loader, const PolicyKey *key, const char *hint, const char *format, ...);

/* Notes that "value" is in force, and how policy_to_text() shall write it (NULL: the same way). An item is
 * added to those of its list; a setting takes the place of the one before it. Return: true; or false, with a
 * warning, if the list has no room for another item. */
bool policy_record(PolicyLoader *loader, const PolicyKey *key, const char *value, const char *resolved);

/* Notes that this assignment makes the whole policy unusable: the target is pass-through. "hint" may be NULL.
 */
__attribute__((format(printf, 4, 5))) void policy_refuse(
                PolicyLoader *loader, const PolicyAssignment *a, const char *hint, const char *format, ...);

/* The PolicyAssignments of the key that are in force so far; removing one frees it. */
GPtrArray *policy_recorded(PolicyLoader *loader, const PolicyKey *key);

/* Parse functions for the common types. min and max of the key are the range. */
void policy_parse_bool(PolicyLoader *loader, const PolicyKey *key, char *value, void *data); /* bool */
void policy_parse_unsigned(
                PolicyLoader *loader, const PolicyKey *key, char *value, void *data); /* unsigned */
/* uint64_t, in microseconds; "infinity" is UINT64_MAX. */
void policy_parse_timespan(PolicyLoader *loader, const PolicyKey *key, char *value, void *data);

/* Adds what one item names to "rules", an array of DeviceRule: a path below /dev; or a type ("c" or "b") and
 * the numbers that follow it, which are taken off the value. */
void device_rules_add_path(PolicyLoader *loader, const PolicyKey *key, const char *word, GArray *rules);
void device_rules_add_numbers(
                PolicyLoader *loader, const PolicyKey *key, const char *type, char **value, GArray *rules);
/* The numbers that follow a type, or NULL if there are none. */
char *device_rules_take_numbers(char **value);

/* Reads a time span of systemd.time(7) ("5min 20s", "500ms", "1.5h", "30": seconds, "infinity").
 * Return: 0 and microseconds (UINT64_MAX for infinity), -EINVAL, or -ERANGE. */
int parse_timespan(const char *text, uint64_t *ret_usec);

/* Reads a number that's made of decimal digits only. Return: 0, -EINVAL, or -ERANGE beyond max. */
int parse_number(const char *text, uint64_t max, uint64_t *ret);

/* Does the word end in a backslash that isn't escaped? It would join the next line, see policy_to_text(). */
bool policy_joins_next_line(const char *word);

/* Are these the same strings in the same order? */
bool policy_strings_equal(const GPtrArray *a, const GPtrArray *b);
