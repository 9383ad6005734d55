/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What one target may borrow: the merged drop-in files of its unit. See deputyd.policy(5).
 *
 * A Policy always exists, even if no file was found (has_files is then false) or one is broken (error is then
 * set): the target is pass-through in both cases and whoever loaded the policy says so. It's immutable once
 * loaded. */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "policy/call.h"
#include "policy/device-rule.h"
#include "policy/policy-mount.h"
#include "policy/policy-sysinfo.h"
#include "policy/policy-scheduling.h"
#include "policy/policy-bpf.h"
#include "policy/policy-module.h"

/* No file may be larger, nor all files of one policy together; nor may a policy have more list items or more
 * files, nor keep more problems. */
#define POLICY_SIZE_MAX     (4u * 1024u * 1024u)
#define POLICY_ITEMS_MAX    16384u
#define POLICY_FILES_MAX    1024u
#define POLICY_PROBLEMS_MAX 200u

/* What a reader of policy_to_text() should be ready to take: see read_fd_full(). */
#define POLICY_TEXT_MAX (16u * 1024u * 1024u)

/* One effective "Key=value" and where it came from. Lists have one entry per item that is in force after
 * resets. */
typedef struct PolicyAssignment {
        const char *section; /* static */
        const char *key;     /* static */
        char *value;         /* as it was written */
        char *resolved;      /* users as numbers, times in microseconds; NULL: the same as value */
        const char *file;    /* an element of the policy's files */
        unsigned line;
} PolicyAssignment;

/* Something that a person should know about a policy file. */
typedef struct PolicyProblem {
        int level; /* LOG_ERR: makes the target pass-through; LOG_WARNING: the line was skipped */
        char *file;
        unsigned line; /* 0: the file as a whole */
        char *message;
        char *hint; /* may be NULL: what to do about it */
} PolicyProblem;

typedef struct MknodPolicy {
        GArray *devices; /* DeviceRule */
        bool bind_fallback;
} MknodPolicy;

typedef struct XattrPolicy {
        GPtrArray *names; /* globs, fnmatch(3) without flags */
        bool read_back;
} XattrPolicy;

struct Policy {
        char *unit;             /* the unit it was looked up for; NULL if it was loaded from named files */
        GPtrArray *files;       /* char *: the files read, in the order in which they apply */
        GPtrArray *problems;    /* PolicyProblem */
        GPtrArray *assignments; /* PolicyAssignment; all of a key beside each other, keys in table order */
        bool has_files;
        char *error; /* first problem of level LOG_ERR as "file:line: message", else NULL */

        /* [Intercept] */
        CallSet system_calls;
        int on_failure;      /* 0: continue; else the positive errno for the caller */
        GArray *allow_users; /* uid_t, of the host */
        unsigned max_supervisors;
        uint64_t idle_usec;         /* IdleSec=: a supervisor leaves after so long without a call */
        uint64_t timeout_usec;      /* CallTimeoutSec=: no call is held longer */
        uint64_t log_interval_usec; /* LogRateLimitIntervalSec=, LogRateLimitBurst=: entries per target */
        unsigned log_burst;         /* 0 in either of them: no limit */

        MknodPolicy mknod;           /* [Mknod] */
        XattrPolicy xattr;           /* [Setxattr] */
        MountPolicy mount;           /* [Mount] */
        SysinfoPolicy sysinfo;       /* [Sysinfo] */
        SchedulingPolicy scheduling; /* [Scheduling] */
        BpfPolicy bpf;               /* [Bpf] */
        ModulePolicy module;         /* [Module] */
};

/* Loads the policy of a unit from the drop-in directories below "dirs" (NULL-terminated, highest priority
 * first; NULL means $DEPUTYD_POLICY_PATH, colon-separated, or else policy.d in /etc/deputyd, /run/deputyd,
 * /usr/local/lib/deputyd and the vendor's tree), by the rules of systemd.unit(5). Return: 0 and a policy
 * (look at has_files and error), -EINVAL if "unit" is no unit name, -ENOMEM. */
int policy_load_unit(const char *unit, const char *const *dirs, Policy **ret);

/* The directories that policy_load_unit() searches if it's given none, highest priority first. Free with
 * g_strfreev(). */
char **policy_directories(void);

/* Loads the named files and, of named directories, their *.conf in order, each after the one before it.
 * "unit" may be NULL. Return: 0 and a policy, or a negative errno for a path that can't be read (*ret_path,
 * if not NULL, then points to it). */
int policy_load_files(const char *const *paths, const char *unit, Policy **ret, const char **ret_path);

/* Loads what policy_to_text() wrote, or any other text in policy syntax. "name" stands for the file in
 * problems. Return: 0 and a policy, or -ENOMEM. */
int policy_load_text(const char *text, size_t size, const char *name, Policy **ret);

/* Writes the merged policy in its own syntax, users and times resolved, each assignment after a "# file:line"
 * comment; what policy_load_text() reads back as an equal policy. Free with g_free(). */
char *policy_to_text(const Policy *policy);

/* Do both lend the same in the same way? (Where it was written doesn't matter.) */
bool policy_equal(const Policy *a, const Policy *b);

/* The calls that the filter has to intercept for this policy: SystemCalls= and what ReadBack= adds. None if
 * the policy is broken: such a policy lends nothing, and the questions below all say no. */
CallSet policy_intercepted_calls(const Policy *policy);

/* Which AllowDevice= rule lends this device? (For [Mknod].) NULL if none does. Looks at numbers first, then
 * at host paths, with stat(2), relative to the process' root. "type" is S_IFCHR or S_IFBLK (further bits of a
 * mode are ignored). The whiteout, c 0:0, is no device and never found. */
const DeviceRule *policy_find_device(const Policy *policy, mode_t type, dev_t device);

/* Is this extended attribute lent? user.*, security.capability and system.* never are, whatever AllowName=
 * says. */
bool policy_allows_xattr(const Policy *policy, const char *name);

bool policy_allows_user(const Policy *policy, uid_t uid);

/* "file:line: message (hint)". Free with g_free(). */
char *policy_problem_to_string(const PolicyProblem *problem);

Policy *policy_free(Policy *policy);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Policy, policy_free)

/* The directory of the shipped profiles ("NAME.conf"), found relative to the running program, or
 * $DEPUTYD_PROFILE_PATH. Free with g_free(). */
char *policy_profile_directory(void);
/* The path of a profile. Return: 0, -ENOENT if there's none of that name, -EINVAL if it's no valid name. */
int policy_find_profile(const char *name, char **ret_path);

/* Is this the name of a unit (systemd.unit(5)), one that fits into a path? */
bool policy_unit_name_is_valid(const char *unit);

/* The names of the directories (without ".d") whose drop-ins apply to a unit, most specific first:
 * foo-bar@x.service, foo-bar@.service, foo-.service, foo-@x.service, foo-@.service, and at last the type,
 * "service", which is less than all the others even if it's in a higher directory. Free with g_strfreev().
 * Return: 0 or -EINVAL. */
int policy_unit_directory_names(const char *unit, char ***ret);

/* Lists all keys that a policy may have, for completion and for tests: the i-th key, its section and its
 * default ("" for lists, which start empty). Return: false beyond the last. */
bool policy_keys(size_t i, const char **ret_section, const char **ret_key, const char **ret_default);
