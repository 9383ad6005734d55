/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What "deputyctl verify" has found: in a policy file, or in a unit's settings. */

#include "ctl/json.h"
#include "ctl/unit-settings.h"

typedef struct Finding {
        int level; /* LOG_ERR: doesn't work; LOG_WARNING: probably not what's meant; LOG_INFO: good to know */
        char *where; /* "FILE:LINE", "FILE" or a unit */
        char *message;
        char *hint; /* may be NULL */
} Finding;

GPtrArray *findings_new(void);

/* Adds one; "message" and "hint" become the array's. */
void findings_add(GPtrArray *findings, int level, const char *where, char *message, char *hint);

/* Adds the problems of a policy. */
void findings_add_policy(GPtrArray *findings, const Policy *policy);

/* Adds what of a unit's settings defeats its policy, and what the policy lacks for it. */
void findings_add_unit(GPtrArray *findings, const UnitSettings *settings, const Policy *policy);

/* The same of a command line of systemd-nspawn. */
void findings_add_nspawn(GPtrArray *findings, const UnitSettings *settings, const ExecCommand *command,
                const Policy *policy);

/* Prints them as "WHERE: MESSAGE (HINT)". */
void findings_print(const GPtrArray *findings);
void findings_to_json(const GPtrArray *findings, Json *json, const char *name);

/* The worst level of them; LOG_DEBUG if there are none. */
int findings_worst(const GPtrArray *findings);

/* What nspawn has to be told, so that the calls of these families come as far as to our filter and their
 * callers hold the capabilities that lending asks for: "--capability=…", "--system-call-filter=…". "tokens":
 * the policy lends BPF tokens. Free with g_strfreev(). */
char **nspawn_options(CallSet calls, bool tokens);

/* Does this command line of nspawn, or the settings file that beats it, give the container a user namespace?
 * Without one, those options would be true privileges of its root: nobody is to be told them then. */
bool nspawn_has_private_users(const ExecCommand *command);
