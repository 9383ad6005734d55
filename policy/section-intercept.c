/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* [Intercept]: which calls, whose, and how they're served. */

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "basic/target-state.h"
#include "policy/section.h"
#include "policy/syntax.h"

/* The errors that a system call may return and that have names; from 512 on they're the kernel's own. */
#define ERRNO_MAX 133

#define USER_NAME_MAX 256

/* "mknod" or "~mknod" */
static int parse_call_word(const char *word, bool *ret_add, CallSet *ret) {
        bool add = word[0] != '~';
        int r;

        r = call_set_from_name(add ? word : word + 1, ret);
        if (r < 0)
                return r;

        *ret_add = add;
        return 0;
}

static void warn_unknown_call(PolicyLoader *loader, const PolicyKey *key, const char *word) {
        g_autoptr(GString) hint = g_string_new(NULL);
        const char *name = word[0] == '~' ? word + 1 : word;
        CallId id = call_from_string(name);

        if (id != _CALL_INVALID && call_set_contains(call_set_read_back(), id)) {
                policy_warn(loader, key, "ReadBack=yes in [Setxattr] does", "%s can't be lent by itself",
                                name);
                return;
        }

        for (size_t i = 0; call_known_name(i); i++)
                g_string_append_printf(hint, "%s%s", i > 0 ? " " : "known: ", call_known_name(i));

        policy_warn(loader, key, hint->str, "\"%s\" is no system call that can be lent", name);
}

static bool changes(CallSet set, bool add, CallSet calls) {
        return (add ? calls & ~set : calls & set) != 0;
}

/* Changes the set by one word. What's recorded stays as short as it can be and gives the same set when it's
 * read again: what the new word undoes is forgotten, and so is each word that then changes nothing. */
static void apply_call_word(PolicyLoader *loader, const PolicyKey *key, const char *word, CallSet *set) {
        GPtrArray *recorded = policy_recorded(loader, key);
        CallSet calls, before = 0;
        bool add;

        if (parse_call_word(word, &add, &calls) < 0) {
                warn_unknown_call(loader, key, word);
                return;
        }

        for (guint i = 0; i < recorded->len;) {
                const PolicyAssignment *a = g_ptr_array_index(recorded, i);
                bool earlier_add = false;
                CallSet earlier = 0;

                (void) parse_call_word(a->value, &earlier_add, &earlier);
                if ((earlier_add != add && (earlier & ~calls) == 0) ||
                                !changes(before, earlier_add, earlier)) {
                        g_ptr_array_remove_index(recorded, i);
                        continue;
                }

                before = earlier_add ? before | earlier : before & ~earlier;
                i++;
        }

        if (changes(before, add, calls))
                (void) policy_record(loader, key, word, NULL);

        *set = add ? before | calls : before & ~calls;
}

static void parse_system_calls(PolicyLoader *loader, const PolicyKey *key, char *value, void *data) {
        CallSet *set = data;

        if (!*value)
                *set = 0;

        for (char *word; (word = syntax_next_word(&value));)
                apply_call_word(loader, key, word, set);
}

static int errno_from_name(const char *name) {
        static const struct {
                const char *name;
                int error;
        } aliases[] = {
                { "EWOULDBLOCK", EWOULDBLOCK },
                { "EDEADLOCK", EDEADLOCK },
                { "ENOTSUP", ENOTSUP },
        };

        for (int i = 1; i <= ERRNO_MAX; i++) {
                const char *known = strerrorname_np(i);

                if (known && strcmp(known, name) == 0)
                        return i;
        }

        for (size_t i = 0; i < G_N_ELEMENTS(aliases); i++)
                if (strcmp(aliases[i].name, name) == 0)
                        return aliases[i].error;

        return -EINVAL;
}

static void parse_on_failure(PolicyLoader *loader, const PolicyKey *key, char *value, void *data) {
        int error = 0;

        if (strcmp(value, "continue") != 0)
                error = errno_from_name(value);
        if (error < 0) {
                policy_warn(loader, key, "write continue or an error name such as EPERM",
                                "\"%s\" is no way to fail", value);
                return;
        }

        if (policy_record(loader, key, value, NULL))
                *(int *) data = error;
}

/* The names that mean the same on every system are known without asking: the user database may be slow. */
static int resolve_user(const char *name, uid_t *ret) {
        g_autofree char *buffer = NULL;
        struct passwd passwd, *found = NULL;
        uint64_t n;
        int r;

        if (strcmp(name, "root") == 0)
                n = 0;
        else if (strcmp(name, "nobody") == 0)
                n = 65534;
        else if (g_ascii_isdigit(name[0])) {
                r = parse_number(name, UINT32_MAX, &n);
                if (r < 0)
                        return r;

                /* (uid_t) -1 in 32 and in 16 bits mean "don't change" to chown(2) and its like. */
                if (n == UINT32_MAX || n == UINT16_MAX)
                        return -ERANGE;
        } else {
                if (strlen(name) > USER_NAME_MAX || strpbrk(name, ":/"))
                        return -EINVAL;

                for (size_t size = 1024; size <= 256 * 1024; size *= 4) {
                        g_free(buffer);
                        buffer = g_malloc(size);
                        r = getpwnam_r(name, &passwd, buffer, size, &found);
                        if (r != ERANGE)
                                break;
                }
                if (!found)
                        return -ESRCH;

                n = passwd.pw_uid;
        }

        *ret = (uid_t) n;
        return 0;
}

static void parse_allow_users(PolicyLoader *loader, const PolicyKey *key, char *value, void *data) {
        GArray *users = *(GArray **) data;

        if (!*value)
                g_array_set_size(users, 0);

        for (char *word; (word = syntax_next_word(&value));) {
                char resolved[sizeof("4294967295")];
                uid_t uid;
                int r;

                r = resolve_user(word, &uid);
                if (r == -ESRCH) {
                        policy_warn(loader, key, "name a user of the host, or a number",
                                        "there's no user \"%s\"", word);
                        continue;
                }
                if (r < 0) {
                        policy_warn(loader, key, NULL, "\"%s\" can't be a user", word);
                        continue;
                }

                snprintf(resolved, sizeof(resolved), "%" PRIu32, (uint32_t) uid);
                if (policy_record(loader, key, word, resolved))
                        g_array_append_val(users, uid);
        }
}

#define OFFSET(field) offsetof(Policy, field)
#define MSEC          UINT64_C(1000)
#define MINUTE        UINT64_C(60000000)

static const PolicyKey keys[] = {
        { "SystemCalls", parse_system_calls, OFFSET(system_calls), "", .is_list = true },
        { "OnFailure", parse_on_failure, OFFSET(on_failure), "continue" },
        { "AllowUsers", parse_allow_users, OFFSET(allow_users), "", .is_list = true },
        { "MaxSupervisors", policy_parse_unsigned, OFFSET(max_supervisors), "4", .min = 1,
                        .max = TARGET_STATE_SLOTS },
        { "IdleSec", policy_parse_timespan, OFFSET(idle_usec), "30s", .min = 10 * MSEC, .max = UINT64_MAX },
        { "CallTimeoutSec", policy_parse_timespan, OFFSET(timeout_usec), "10s", .min = 100 * MSEC,
                        .max = 5 * MINUTE },
        { "LogRateLimitIntervalSec", policy_parse_timespan, OFFSET(log_interval_usec), "30s",
                        .max = 24 * 60 * MINUTE },
        { "LogRateLimitBurst", policy_parse_unsigned, OFFSET(log_burst), "200", .max = 1000000 },
};

static void intercept_init(Policy *policy) {
        policy->allow_users = g_array_new(FALSE, FALSE, sizeof(uid_t));
}

static void intercept_clear(Policy *policy) {
        g_clear_pointer(&policy->allow_users, g_array_unref);
}

static bool intercept_equal(const Policy *a, const Policy *b) {
        return a->system_calls == b->system_calls && a->on_failure == b->on_failure &&
               a->allow_users->len == b->allow_users->len &&
               (a->allow_users->len == 0 || memcmp(a->allow_users->data, b->allow_users->data,
                                                            a->allow_users->len * sizeof(uid_t)) == 0) &&
               a->max_supervisors == b->max_supervisors && a->idle_usec == b->idle_usec &&
               a->timeout_usec == b->timeout_usec && a->log_interval_usec == b->log_interval_usec &&
               a->log_burst == b->log_burst;
}

extern const PolicySection policy_section_intercept;
const PolicySection policy_section_intercept = {
        .name = "Intercept",
        .keys = keys,
        .n_keys = G_N_ELEMENTS(keys),
        .init = intercept_init,
        .clear = intercept_clear,
        .equal = intercept_equal,
};

CallSet policy_intercepted_calls(const Policy *policy) {
        CallSet getters = call_set_read_back(), setters = 0, calls;

        g_assert(policy);

        if (policy->error)
                return 0;

        calls = policy->system_calls;

        /* What isn't lent for writing there's nothing of to read back. */
        (void) call_set_from_name("setxattr", &setters);
        if (policy->xattr.read_back && (calls & setters))
                calls |= getters;

        if (policy->mount.new_api == MOUNT_NEW_API_NATIVE)
                calls &= ~call_set_new_mount_api();

        return calls;
}

bool policy_allows_user(const Policy *policy, uid_t uid) {
        g_assert(policy);

        if (policy->error)
                return false;

        for (guint i = 0; i < policy->allow_users->len; i++)
                if (g_array_index(policy->allow_users, uid_t, i) == uid)
                        return true;

        return false;
}
