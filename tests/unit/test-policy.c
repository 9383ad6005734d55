/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What each key means, what's said about mistakes, and what a policy answers when it's asked. */

#include <criterion/criterion.h>
#include <errno.h>
#include <glib.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <syslog.h>

#include "basic/target-state.h"
#include "policy/policy.h"

static Policy *load(const char *text) {
        Policy *policy = NULL;

        cr_assert_eq(policy_load_text(text, strlen(text), "t.conf", &policy), 0);
        return policy;
}

static char *all_problems(const Policy *policy) {
        GString *all = g_string_new(NULL);

        for (guint i = 0; i < policy->problems->len; i++) {
                g_autofree char *problem = policy_problem_to_string(g_ptr_array_index(policy->problems, i));

                g_string_append_printf(all, "%s\n", problem);
        }

        return g_string_free(all, FALSE);
}

static void expect_problems(const char *text, const char *expected) {
        g_autoptr(Policy) policy = load(text);
        g_autofree char *problems = all_problems(policy);

        cr_expect_str_eq(problems, expected, "\"%s\" gave\n%s", text, problems);
}

static void expect_text(const char *text, const char *expected) {
        g_autoptr(Policy) policy = load(text);
        g_autofree char *written = policy_to_text(policy);

        cr_expect_eq(policy->problems->len, 0);
        cr_expect_str_eq(written, expected, "\"%s\" was written as\n%s", text, written);
}

static CallSet set_of(const char *name) {
        CallSet set = 0;

        cr_assert_eq(call_set_from_name(name, &set), 0);
        return set;
}

/* The set that [Intercept] with these lines makes. */
static CallSet calls_of(const char *lines) {
        g_autofree char *text = g_strconcat("[Intercept]\n", lines, NULL);
        g_autoptr(Policy) policy = load(text);

        return policy->system_calls;
}

Test(policy, defaults) {
        g_autoptr(Policy) policy = load("");

        cr_expect_eq(policy->system_calls, 0);
        cr_expect_eq(policy->on_failure, 0);
        cr_expect_eq(policy->allow_users->len, 0);
        cr_expect_eq(policy->max_supervisors, 4);
        cr_expect_eq(policy->idle_usec, 30000000);
        cr_expect_eq(policy->timeout_usec, 10000000);
        cr_expect_eq(policy->log_interval_usec, 30000000);
        cr_expect_eq(policy->log_burst, 200);
        cr_expect_eq(policy->mknod.devices->len, 0);
        cr_expect(policy->mknod.bind_fallback);
        cr_expect_eq(policy->xattr.names->len, 0);
        cr_expect_not(policy->xattr.read_back);

        cr_expect_null(policy->error);
        cr_expect_null(policy->unit);
        cr_expect_eq(policy->problems->len, 0);
        cr_expect_eq(policy->assignments->len, 0);
        cr_expect_eq(policy_intercepted_calls(policy), 0);
}

Test(policy, every_key) {
        g_autoptr(Policy) policy =
                        load("[Intercept]\nSystemCalls=mknod\nOnFailure=ENOSYS\nAllowUsers=root 1000\n"
                             "MaxSupervisors=16\nIdleSec=infinity\nCallTimeoutSec=2.5s\n"
                             "LogRateLimitIntervalSec=1min\nLogRateLimitBurst=7\n"
                             "[Mknod]\nAllowDevice=c 1:3 /dev/null b 7:0-7\nBindFallback=no\n"
                             "[Setxattr]\nAllowName=trusted.overlay.* trusted.x\nReadBack=yes\n");
        const DeviceRule *rules = (const DeviceRule *) policy->mknod.devices->data;

        cr_expect_eq(policy->problems->len, 0);
        cr_expect_eq(policy->system_calls, set_of("mknod"));
        cr_expect_eq(policy->on_failure, ENOSYS);
        cr_expect_eq(policy->allow_users->len, 2);
        cr_expect_eq(g_array_index(policy->allow_users, uid_t, 1), 1000);
        cr_expect_eq(policy->max_supervisors, 16);
        cr_expect_eq(policy->idle_usec, UINT64_MAX);
        cr_expect_eq(policy->timeout_usec, 2500000);
        cr_expect_eq(policy->log_interval_usec, 60000000);
        cr_expect_eq(policy->log_burst, 7);
        cr_expect_not(policy->mknod.bind_fallback);
        cr_expect(policy->xattr.read_back);
        cr_expect_eq(policy->xattr.names->len, 2);

        cr_assert_eq(policy->mknod.devices->len, 3);
        cr_expect_eq(rules[0].type, S_IFCHR);
        cr_expect_eq(rules[0].major, 1);
        cr_expect_eq(rules[0].minor_first, 3);
        cr_expect_eq(rules[0].minor_last, 3);
        cr_expect_eq(rules[1].type, 0);
        cr_expect_str_eq(rules[1].path, "/dev/null");
        cr_expect_eq(rules[2].type, S_IFBLK);
        cr_expect_eq(rules[2].minor_last, 7);
}

Test(policy, keys_are_listed_with_their_defaults) {
        const char *section, *key, *fallback;
        size_t n = 0;

        for (; policy_keys(n, &section, &key, &fallback); n++) {
                g_autofree char *text = g_strdup_printf("[%s]\n%s=%s\n", section, key, fallback);
                g_autoptr(Policy) with = load(text), without = load("");

                cr_expect_eq(with->problems->len, 0, "%s", text);
                cr_expect(policy_equal(with, without), "the default of %s= isn't %s", key, fallback);
        }

        cr_expect_gt(n, 12);
        cr_expect_not(policy_keys(n + 1, &section, &key, &fallback));
}

Test(policy, system_calls) {
        cr_expect_eq(calls_of("SystemCalls=mknod"), set_of("mknod"));
        cr_expect_eq(calls_of("SystemCalls=mknodat"), set_of("mknod"));
        cr_expect_eq(calls_of("SystemCalls=mknod setxattr"), set_of("mknod") | set_of("setxattr"));
        cr_expect_eq(calls_of("SystemCalls=mknod\nSystemCalls=setxattr"),
                        set_of("mknod") | set_of("setxattr"));
        cr_expect_eq(calls_of("SystemCalls=@all ~mknod"), set_of("@all") & ~set_of("mknod"));
        cr_expect_eq(calls_of("SystemCalls=@all\nSystemCalls=~setxattr"),
                        set_of("@all") & ~set_of("setxattr"));
        cr_expect_eq(calls_of("SystemCalls=~mknod mknod"), set_of("mknod"), "from left to right");
        cr_expect_eq(calls_of("SystemCalls=mknod ~@all"), 0);
        cr_expect_eq(calls_of("SystemCalls=mknod\nSystemCalls=\nSystemCalls=setxattr"), set_of("setxattr"));
        cr_expect_eq(calls_of("SystemCalls=mknod open setxattr"), set_of("mknod") | set_of("setxattr"),
                        "one mistake costs one word");
}

/* What's written is as short as can be, and each word comes from where it was said first. */
Test(policy, system_calls_in_force) {
        expect_text("[Intercept]\nSystemCalls=mknod\nSystemCalls=mknodat\n",
                        "[Intercept]\n# t.conf:2\nSystemCalls=mknod\n");
        expect_text("[Intercept]\nSystemCalls=mknod\nSystemCalls=~mknod\n", "");
        expect_text("[Intercept]\nSystemCalls=~mknod\n", "");
        expect_text("[Intercept]\nSystemCalls=@all\nSystemCalls=~mknod\n",
                        "[Intercept]\n# t.conf:2\nSystemCalls=@all\n# t.conf:3\nSystemCalls=~mknod\n");
        expect_text("[Intercept]\nSystemCalls=@all ~mknod mknod\n",
                        "[Intercept]\n# t.conf:2\nSystemCalls=@all\n");
        expect_text("[Intercept]\nSystemCalls=setxattr @all ~mknod ~@all\n", "");
}

Test(policy, read_back_adds_getters) {
        g_autoptr(Policy) a = load("[Intercept]\nSystemCalls=setxattr\n[Setxattr]\nReadBack=yes\n"),
                          b = load("[Intercept]\nSystemCalls=setxattr\n"),
                          c = load("[Intercept]\nSystemCalls=mknod\n[Setxattr]\nReadBack=yes\n");

        cr_expect_eq(policy_intercepted_calls(a), set_of("setxattr") | call_set_read_back());
        cr_expect_eq(policy_intercepted_calls(b), set_of("setxattr"));
        cr_expect_eq(policy_intercepted_calls(c), set_of("mknod"), "there's nothing to read back");
}

static int on_failure_of(const char *value) {
        g_autofree char *text = g_strdup_printf("[Intercept]\nOnFailure=%s\n", value);
        g_autoptr(Policy) policy = load(text);

        return policy->problems->len > 0 ? -1 : policy->on_failure;
}

Test(policy, on_failure) {
        cr_expect_eq(on_failure_of("continue"), 0);
        cr_expect_eq(on_failure_of("EPERM"), EPERM);
        cr_expect_eq(on_failure_of("EHWPOISON"), 133);
        cr_expect_eq(on_failure_of("EAGAIN"), EAGAIN);
        cr_expect_eq(on_failure_of("EWOULDBLOCK"), EAGAIN);
        cr_expect_eq(on_failure_of("EOPNOTSUPP"), EOPNOTSUPP);
        cr_expect_eq(on_failure_of("ENOTSUP"), EOPNOTSUPP);

        cr_expect_eq(on_failure_of("Continue"), -1);
        cr_expect_eq(on_failure_of("ERESTARTSYS"), -1, "512 and more are the kernel's own");
        cr_expect_eq(on_failure_of("1"), -1);
        cr_expect_eq(on_failure_of("EPERM ENOSYS"), -1);
}

Test(policy, last_good_setting_counts) {
        g_autoptr(Policy) policy = load("[Intercept]\nOnFailure=EPERM\nOnFailure=ENOSYS\nOnFailure=oops\n"
                                        "MaxSupervisors=2\nMaxSupervisors=17\nIdleSec=1s\nIdleSec=\n");

        cr_expect_eq(policy->on_failure, ENOSYS);
        cr_expect_eq(policy->max_supervisors, 2);
        cr_expect_eq(policy->idle_usec, 30000000, "empty is the default");
        cr_expect_eq(policy->problems->len, 2);
}

Test(policy, empty_assignment_empties_lists) {
        g_autoptr(Policy) policy = load("[Intercept]\nSystemCalls=mknod\nAllowUsers=1\nSystemCalls="
                                        "\nAllowUsers=\nAllowUsers=2\n"
                                        "[Mknod]\nAllowDevice=c 1:3 /dev/null\nAllowDevice=\n"
                                        "[Setxattr]\nAllowName=trusted.a\nAllowName=\nAllowName=trusted.b\n");

        cr_expect_eq(policy->system_calls, 0);
        cr_expect_eq(policy->allow_users->len, 1);
        cr_expect_not(policy_allows_user(policy, 1));
        cr_expect(policy_allows_user(policy, 2));
        cr_expect_eq(policy->mknod.devices->len, 0);
        cr_expect_not(policy_allows_xattr(policy, "trusted.a"));
        cr_expect(policy_allows_xattr(policy, "trusted.b"));
        cr_expect_eq(policy->assignments->len, 2, "only what's in force is listed");
}

Test(policy, sections_may_come_again) {
        g_autoptr(Policy) policy = load("[Mknod]\nAllowDevice=c 1:3\n[Intercept]\nSystemCalls=mknod\n"
                                        "[Mknod]\nAllowDevice=c 1:5\n");

        cr_expect_eq(policy->mknod.devices->len, 2);
}

Test(policy, users) {
        g_autoptr(Policy) policy = load("[Intercept]\nAllowUsers=root nobody 1000\nAllowUsers=daemon\n");

        cr_expect_eq(policy->problems->len, 0);
        cr_expect(policy_allows_user(policy, 0));
        cr_expect(policy_allows_user(policy, 65534));
        cr_expect(policy_allows_user(policy, 1000));
        cr_expect(policy_allows_user(policy, 1), "daemon has uid 1 on every Linux");
        cr_expect_not(policy_allows_user(policy, 1001));
        cr_expect_not(policy_allows_user(policy, (uid_t) -1));
}

Test(policy, users_that_cannot_be) {
        expect_problems("[Intercept]\nAllowUsers=no-such-user-here 4294967295 65535 4294967296 1x a:b a/b\n",
                        "t.conf:2: AllowUsers=: there's no user \"no-such-user-here\", skipped "
                        "(name a user of the host, or a number)\n"
                        "t.conf:2: AllowUsers=: \"4294967295\" can't be a user, skipped\n"
                        "t.conf:2: AllowUsers=: \"65535\" can't be a user, skipped\n"
                        "t.conf:2: AllowUsers=: \"4294967296\" can't be a user, skipped\n"
                        "t.conf:2: AllowUsers=: \"1x\" can't be a user, skipped\n"
                        "t.conf:2: AllowUsers=: \"a:b\" can't be a user, skipped\n"
                        "t.conf:2: AllowUsers=: \"a/b\" can't be a user, skipped\n");
}

Test(policy, ranges) {
        expect_problems("[Intercept]\nMaxSupervisors=1\nMaxSupervisors=16\nIdleSec=10ms\nIdleSec=infinity\n"
                        "CallTimeoutSec=100ms\nCallTimeoutSec=5min\nLogRateLimitIntervalSec=0\n"
                        "LogRateLimitBurst=0\nLogRateLimitIntervalSec=1d\nLogRateLimitBurst=1000000\n",
                        "");
        expect_problems("[Intercept]\nMaxSupervisors=0\nMaxSupervisors=17\nMaxSupervisors=-1\n"
                        "IdleSec=9ms\nCallTimeoutSec=99ms\nCallTimeoutSec=301\nCallTimeoutSec=infinity\n"
                        "LogRateLimitBurst=1000001\n",
                        "t.conf:2: MaxSupervisors=: \"0\" is no number in range, skipped (from 1 to 16)\n"
                        "t.conf:3: MaxSupervisors=: \"17\" is no number in range, skipped (from 1 to 16)\n"
                        "t.conf:4: MaxSupervisors=: \"-1\" is no number in range, skipped (from 1 to 16)\n"
                        "t.conf:5: IdleSec=: time span \"9ms\" is out of range, skipped (from 10ms to "
                        "infinity)\n"
                        "t.conf:6: CallTimeoutSec=: time span \"99ms\" is out of range, skipped (from 100ms "
                        "to 5min)\n"
                        "t.conf:7: CallTimeoutSec=: time span \"301\" is out of range, skipped (from 100ms "
                        "to 5min)\n"
                        "t.conf:8: CallTimeoutSec=: time span \"infinity\" is out of range, skipped (from "
                        "100ms to 5min)\n"
                        "t.conf:9: LogRateLimitBurst=: \"1000001\" is no number in range, skipped (from 0 to "
                        "1000000)\n");
        cr_expect_eq(TARGET_STATE_SLOTS, 16, "deputyd.policy(5) says 16");
}

Test(policy, booleans) {
        static const char *const yes[] = { "yes", "true", "on", "1", "y", "t", "YES", "True" };
        static const char *const no[] = { "no", "false", "off", "0", "n", "f" };

        for (size_t i = 0; i < G_N_ELEMENTS(yes); i++) {
                g_autofree char *text = g_strdup_printf("[Setxattr]\nReadBack=%s\n", yes[i]);
                g_autoptr(Policy) policy = load(text);

                cr_expect(policy->xattr.read_back, "%s", yes[i]);
        }

        for (size_t i = 0; i < G_N_ELEMENTS(no); i++) {
                g_autofree char *text = g_strdup_printf("[Mknod]\nBindFallback=%s\n", no[i]);
                g_autoptr(Policy) policy = load(text);

                cr_expect_not(policy->mknod.bind_fallback, "%s", no[i]);
        }

        expect_problems("[Mknod]\nBindFallback=maybe\n", "t.conf:2: BindFallback=: \"maybe\" is neither yes "
                                                         "nor no, skipped (write yes or no)\n");
}

Test(policy, warnings_say_where_and_what_to_do) {
        expect_problems("Stray=1\n"
                        "[Intercept]\n"
                        "SystemCalls=mkond ~open getxattr\n"
                        "OnFailure=512\n"
                        "IdleSec=soon\n"
                        "SystemCall=mknod\n"
                        "AllowDevice=c 1:3\n"
                        "AllowDevices=c 1:3\n"
                        "Whatever=1\n"
                        "nonsense\n"
                        "[mknod]\n"
                        "AllowDevice=c 1:3\n"
                        "[Frobnicate]\n"
                        "[Setxattr]\n"
                        "allowname=trusted.x\n",
                        "t.conf:1: assignment outside of a section, skipped (write a header such as "
                        "\"[Intercept]\" above it)\n"
                        "t.conf:3: SystemCalls=: \"mkond\" is no system call that can be lent, skipped "
                        "(known: mknod setxattr mount sysinfo sched_setscheduler bpf finit_module @all)\n"
                        "t.conf:3: SystemCalls=: \"open\" is no system call that can be lent, skipped "
                        "(known: mknod setxattr mount sysinfo sched_setscheduler bpf finit_module @all)\n"
                        "t.conf:3: SystemCalls=: getxattr can't be lent by itself, skipped (ReadBack=yes in "
                        "[Setxattr] does)\n"
                        "t.conf:4: OnFailure=: \"512\" is no way to fail, skipped (write continue or an "
                        "error name such as EPERM)\n"
                        "t.conf:5: IdleSec=: \"soon\" is no time span, skipped (write one such as 30, 500ms "
                        "or \"1min 30s\")\n"
                        "t.conf:6: unknown key SystemCall= in [Intercept], skipped (did you mean "
                        "SystemCalls=?)\n"
                        "t.conf:7: unknown key AllowDevice= in [Intercept], skipped (it belongs below "
                        "[Mknod])\n"
                        "t.conf:8: unknown key AllowDevices= in [Intercept], skipped (did you mean "
                        "AllowDevice= of [Mknod]?)\n"
                        "t.conf:9: unknown key Whatever= in [Intercept], skipped\n"
                        "t.conf:10: missing \"=\", line skipped (an assignment is \"Key=value\")\n"
                        "t.conf:11: unknown section [mknod], skipped (did you mean [Mknod]?)\n"
                        "t.conf:13: unknown section [Frobnicate], skipped (known: [Intercept] [Mknod] "
                        "[Setxattr] [Mount] [Sysinfo] [Scheduling] [Bpf] [Module])\n"
                        "t.conf:15: unknown key allowname= in [Setxattr], skipped (did you mean "
                        "AllowName=?)\n");
}

Test(policy, warnings_break_nothing) {
        g_autoptr(Policy) policy = load("[Intercept]\nNonsense=1\nSystemCalls=mknod\n");

        cr_expect_null(policy->error);
        cr_expect_eq(((PolicyProblem *) g_ptr_array_index(policy->problems, 0))->level, LOG_WARNING);
        cr_expect_eq(policy_intercepted_calls(policy), set_of("mknod"));
}

/* A continued assignment is where it begins. */
Test(policy, line_of_a_continued_assignment) {
        expect_problems("[Intercept]\n\nSystemCalls=mknod \\\n# comment\n  open\n",
                        "t.conf:3: SystemCalls=: \"open\" is no system call that can be lent, skipped "
                        "(known: mknod setxattr mount sysinfo sched_setscheduler bpf finit_module @all)\n");
}

Test(policy, x_is_for_others) {
        g_autoptr(Policy) policy =
                        load("[Intercept]\nX-Owner=me\nSystemCalls=mknod\n[X-Site]\nanything=goes\n");

        cr_expect_eq(policy->problems->len, 0);
        cr_expect_eq(policy->system_calls, set_of("mknod"));
}

Test(policy, a_broken_file_lends_nothing) {
        g_autoptr(Policy) policy =
                        load("[Intercept]\nSystemCalls=@all\nOnFailure=EPERM\nAllowUsers=root\n"
                             "[Mknod]\nAllowDevice=c 1:3\n[Setxattr]\nAllowName=trusted.*\n[Oops\n");

        cr_expect_str_eq(policy->error, "t.conf:9: section header without closing bracket");
        cr_expect(policy->has_files);
        cr_expect_eq(policy_intercepted_calls(policy), 0);
        cr_expect_null(policy_find_device(policy, S_IFCHR, makedev(1, 3)));
        cr_expect_not(policy_allows_xattr(policy, "trusted.x"));
        cr_expect_not(policy_allows_user(policy, 0));
        cr_expect_eq(policy->on_failure, EPERM, "what was read so far can be shown");
}

Test(policy, devices_by_number) {
        g_autoptr(Policy) policy = load("[Mknod]\nAllowDevice=c 1:3 c 4:64-67 c 10:* b 7:0\n");
        const DeviceRule *rules = (const DeviceRule *) policy->mknod.devices->data;

        cr_expect_eq(policy_find_device(policy, S_IFCHR, makedev(1, 3)), &rules[0]);
        cr_expect_eq(policy_find_device(policy, S_IFCHR | 0666, makedev(1, 3)), &rules[0]);
        cr_expect_null(policy_find_device(policy, S_IFBLK, makedev(1, 3)));
        cr_expect_null(policy_find_device(policy, S_IFCHR, makedev(1, 4)));
        cr_expect_null(policy_find_device(policy, S_IFCHR, makedev(2, 3)));

        cr_expect_null(policy_find_device(policy, S_IFCHR, makedev(4, 63)));
        cr_expect_eq(policy_find_device(policy, S_IFCHR, makedev(4, 64)), &rules[1]);
        cr_expect_eq(policy_find_device(policy, S_IFCHR, makedev(4, 67)), &rules[1]);
        cr_expect_null(policy_find_device(policy, S_IFCHR, makedev(4, 68)));

        cr_expect_eq(policy_find_device(policy, S_IFCHR, makedev(10, 0)), &rules[2]);
        cr_expect_eq(policy_find_device(policy, S_IFCHR, makedev(10, 0xfffff)), &rules[2]);
        cr_expect_eq(policy_find_device(policy, S_IFBLK, makedev(7, 0)), &rules[3]);
        cr_expect_null(policy_find_device(policy, S_IFCHR, makedev(7, 0)));

        cr_expect_null(policy_find_device(policy, S_IFREG, makedev(1, 3)));
        cr_expect_null(policy_find_device(policy, S_IFIFO, makedev(1, 3)));
        cr_expect_null(policy_find_device(policy, 0, makedev(1, 3)));
}

Test(policy, devices_by_path) {
        g_autoptr(Policy) policy = load("[Mknod]\nAllowDevice=/dev/no-such-node /dev/null\n");
        const DeviceRule *rule;

        rule = policy_find_device(policy, S_IFCHR, makedev(1, 3));
        cr_assert_not_null(rule);
        cr_expect_str_eq(rule->path, "/dev/null");
        cr_expect_null(policy_find_device(policy, S_IFBLK, makedev(1, 3)), "the type counts");
        cr_expect_null(policy_find_device(policy, S_IFCHR, makedev(1, 5)));
}

/* A directory or a socket below /dev is no device whatever its number. */
Test(policy, device_paths_lead_to_devices) {
        g_autoptr(Policy) policy = load("[Mknod]\nAllowDevice=/dev/shm\n");
        struct stat st;

        if (stat("/dev/shm", &st) < 0)
                cr_skip_test("no /dev/shm");

        cr_expect_null(policy_find_device(policy, S_IFCHR, st.st_rdev));
        cr_expect_null(policy_find_device(policy, S_IFBLK, st.st_rdev));
        cr_expect_null(policy_find_device(policy, S_IFBLK, makedev(0, 0)));
}

Test(policy, numbers_come_before_paths) {
        g_autoptr(Policy) policy = load("[Mknod]\nAllowDevice=/dev/null c 1:3\n");

        cr_expect_null(policy_find_device(policy, S_IFCHR, makedev(1, 3))->path);
}

/* The whiteout is made natively; who asks for it gets no help, whatever the rules. */
Test(policy, whiteout_is_never_found) {
        g_autoptr(Policy) policy = load("[Mknod]\nAllowDevice=c 0:* b 0:0\n");

        cr_expect_eq(policy->problems->len, 0);
        cr_expect_null(policy_find_device(policy, S_IFCHR, makedev(0, 0)));
        cr_expect_not_null(policy_find_device(policy, S_IFCHR, makedev(0, 1)));
        cr_expect_not_null(policy_find_device(policy, S_IFBLK, makedev(0, 0)));

        expect_problems("[Mknod]\nAllowDevice=c 0:0\n",
                        "t.conf:2: AllowDevice=: \"c 0:0\" is a whiteout, which needs no lending, skipped "
                        "(anyone may make one)\n");
}

Test(policy, one_bad_device_costs_one_item) {
        static const char *const bad[] = { "x 1:3", "c", "b", "1:3", "c 1:", "c :3", "c 1", "c *:3",
                "c 1:3:4", "c 1:-3", "c 1:3-", "c -1:3", "c 0x1:3", "c 1:5-3", "c 4096:0", "c 1:1048576", "/",
                "/dev", "/dev/", "/etc/passwd", "/dev/../etc/passwd", "/dev/./null", "/dev//null",
                "/dev/null/", "/dev/..", "/device/x", "char-tty", "/dev/x\\" };

        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_autofree char *text =
                                g_strdup_printf("[Mknod]\nAllowDevice=c 1:5 %s /dev/zero c 1:7\n", bad[i]);
                g_autoptr(Policy) policy = load(text);

                cr_expect_eq(policy->problems->len, 1, "%s", bad[i]);
                cr_expect_eq(policy->mknod.devices->len, 3, "%s", bad[i]);
        }
}

Test(policy, bad_devices_are_quoted_whole) {
        expect_problems("[Mknod]\nAllowDevice=x 1:3 c 5000:1 c /dev/../x\n",
                        "t.conf:2: AllowDevice=: \"x 1:3\" is no device, skipped "
                        "(write \"c\" or \"b\" and MAJOR:MINOR, or a path below /dev)\n"
                        "t.conf:2: AllowDevice=: device \"c 5000:1\" is out of range, skipped "
                        "(majors go up to 4095, minors up to 1048575)\n"
                        "t.conf:2: AllowDevice=: \"c\" is no device, skipped "
                        "(write TYPE MAJOR:MINOR, such as \"c 1:3\", \"c 4:64-67\", \"c 10:*\")\n"
                        "t.conf:2: AllowDevice=: \"/dev/../x\" is no path of a device, skipped "
                        "(write a path below /dev without \"..\", such as /dev/null)\n");
}

Test(policy, xattr_names) {
        g_autoptr(Policy) policy = load("[Setxattr]\nAllowName=trusted.overlay.* trusted.one security.[ab]? "
                                        "trusted.lit\\*\n");

        cr_expect_eq(policy->problems->len, 0);
        cr_expect(policy_allows_xattr(policy, "trusted.overlay.opaque"));
        cr_expect(policy_allows_xattr(policy, "trusted.overlay."));
        cr_expect(policy_allows_xattr(policy, "trusted.overlay.a.b/c"), "a star stands for anything");
        cr_expect_not(policy_allows_xattr(policy, "trusted.overlay"));
        cr_expect(policy_allows_xattr(policy, "trusted.one"));
        cr_expect_not(policy_allows_xattr(policy, "trusted.one2"));
        cr_expect_not(policy_allows_xattr(policy, "Trusted.one"));
        cr_expect(policy_allows_xattr(policy, "security.ax"));
        cr_expect_not(policy_allows_xattr(policy, "security.cx"));
        cr_expect(policy_allows_xattr(policy, "trusted.lit*"));
        cr_expect_not(policy_allows_xattr(policy, "trusted.literal"));
        cr_expect_not(policy_allows_xattr(policy, ""));
}

Test(policy, some_xattrs_are_never_lent) {
        g_autoptr(Policy) policy = load("[Setxattr]\nAllowName=*\n");

        cr_expect_eq(policy->problems->len, 0);
        cr_expect(policy_allows_xattr(policy, "trusted.x"));
        cr_expect(policy_allows_xattr(policy, "security.selinux"));
        cr_expect_not(policy_allows_xattr(policy, "security.capability"));
        cr_expect_not(policy_allows_xattr(policy, "user.x"));
        cr_expect_not(policy_allows_xattr(policy, "system.posix_acl_access"));

        expect_problems("[Setxattr]\nAllowName=user.* system.posix_acl_access security.capability\n",
                        "t.conf:2: AllowName=: \"user.*\" is never lent, skipped "
                        "(user.*, system.* and security.capability need no lending)\n"
                        "t.conf:2: AllowName=: \"system.posix_acl_access\" is never lent, skipped "
                        "(user.*, system.* and security.capability need no lending)\n"
                        "t.conf:2: AllowName=: \"security.capability\" is never lent, skipped "
                        "(user.*, system.* and security.capability need no lending)\n");
}

Test(policy, bad_xattr_names) {
        g_autofree char *longest = g_strnfill(255, 'x'), *longer = g_strnfill(256, 'x');
        g_autofree char *text = g_strdup_printf("[Setxattr]\nAllowName=%s %s a\\ b\\\\\n", longest, longer);
        g_autoptr(Policy) policy = load(text);

        cr_expect_eq(policy->xattr.names->len, 2);
        cr_expect_str_eq(g_ptr_array_index(policy->xattr.names, 1), "b\\\\");
        cr_expect_eq(policy->problems->len, 2);
}

static void expect_round_trip(const char *text) {
        g_autoptr(Policy) policy = load(text), copy = NULL;
        g_autofree char *written = policy_to_text(policy);

        cr_assert_eq(policy_load_text(written, strlen(written), "copy", &copy), 0);
        cr_expect_eq(copy->problems->len, 0, "%s", written);
        cr_expect(policy_equal(policy, copy), "%s", written);
}

Test(policy, round_trip) {
        expect_round_trip("");
        expect_round_trip("[Intercept]\nSystemCalls=@all ~mknod\nOnFailure=EWOULDBLOCK\nAllowUsers=daemon 5\n"
                          "IdleSec=1.5h\nCallTimeoutSec=100ms\nMaxSupervisors=1\nLogRateLimitIntervalSec=0\n"
                          "LogRateLimitBurst=0\n[Mknod]\nAllowDevice=c 1:3 c 10:* b 4:1-2 /dev/a\\x20b\n"
                          "BindFallback=n\n[Setxattr]\nAllowName=trusted.ä\\\\ [a-z]*\nReadBack=on\n");
        expect_round_trip("[Intercept]\nIdleSec=infinity\n[Setxattr]\nAllowName=a \vb c\f #d ;e =f [g]\n");
}

Test(policy, text_resolves_users_and_times) {
        expect_text("[Setxattr]\nReadBack=yes\n[Intercept]\nAllowUsers=root nobody\n\nIdleSec=1min 30s\n",
                        "[Intercept]\n# t.conf:4\nAllowUsers=0\nAllowUsers=65534\n# t.conf:6\n"
                        "IdleSec=90000000us\n\n[Setxattr]\n# t.conf:2\nReadBack=yes\n");
}

Test(policy, assignments_keep_what_was_written) {
        g_autoptr(Policy) policy = load("[Intercept]\nAllowUsers=root\nIdleSec=1min 30s\n");
        const PolicyAssignment *user = g_ptr_array_index(policy->assignments, 0),
                               *idle = g_ptr_array_index(policy->assignments, 1);

        cr_expect_str_eq(user->section, "Intercept");
        cr_expect_str_eq(user->key, "AllowUsers");
        cr_expect_str_eq(user->value, "root");
        cr_expect_str_eq(user->resolved, "0");
        cr_expect_str_eq(user->file, "t.conf");
        cr_expect_eq(user->line, 2);
        cr_expect_str_eq(idle->value, "1min 30s");
        cr_expect_eq(idle->line, 3);
}

/* A file's name could hold a newline and what looks like an assignment. */
Test(policy, file_names_cannot_speak) {
        const char text[] = "[Intercept]\nSystemCalls=setxattr\n";
        g_autoptr(Policy) policy = NULL, copy = NULL;
        g_autofree char *written = NULL;

        cr_assert_eq(policy_load_text(text, strlen(text), "a\nSystemCalls=mknod", &policy), 0);
        written = policy_to_text(policy);
        cr_assert_eq(policy_load_text(written, strlen(written), "copy", &copy), 0);
        cr_expect(policy_equal(policy, copy), "%s", written);
}

Test(policy, equality) {
        g_autoptr(Policy) base = load("[Intercept]\nSystemCalls=mknod\n[Mknod]\nAllowDevice=c 1:3 /dev/null\n"
                                      "[Setxattr]\nAllowName=trusted.a\n");
        static const char *const different[] = {
                "",
                "[Intercept]\nSystemCalls=setxattr\n",
                "[Intercept]\nOnFailure=EPERM\n",
                "[Intercept]\nAllowUsers=1\n",
                "[Intercept]\nMaxSupervisors=1\n",
                "[Intercept]\nIdleSec=1\n",
                "[Intercept]\nCallTimeoutSec=1\n",
                "[Intercept]\nLogRateLimitIntervalSec=1\n",
                "[Intercept]\nLogRateLimitBurst=1\n",
                "[Mknod]\nAllowDevice=b 1:3\n",
                "[Mknod]\nAllowDevice=\n",
                "[Mknod]\nBindFallback=no\n",
                "[Setxattr]\nAllowName=trusted.b\n",
                "[Setxattr]\nReadBack=yes\n",
                "[\n",
        };

        for (size_t i = 0; i < G_N_ELEMENTS(different); i++) {
                g_autofree char *text = g_strconcat(
                                "[Intercept]\nSystemCalls=mknod\n[Mknod]\nAllowDevice=c 1:3 /dev/null\n"
                                "[Setxattr]\nAllowName=trusted.a\n",
                                different[i], NULL);
                g_autoptr(Policy) other = load(text);

                cr_expect_eq(policy_equal(base, other), i == 0, "%s", different[i]);
                cr_expect_eq(policy_equal(other, base), i == 0, "%s", different[i]);
        }
}

Test(policy, ten_thousand_items) {
        g_autoptr(GString) text = g_string_new("[Mknod]\nAllowDevice=");
        g_autoptr(Policy) policy = NULL;

        for (unsigned i = 0; i < 10000; i++)
                g_string_append_printf(text, "c %u:%u ", 1 + i % 4000, i);
        g_string_append(text, "\n[Setxattr]\n");
        for (unsigned i = 0; i < 10000; i++)
                g_string_append_printf(text, "AllowName=trusted.%u\n", i);
        g_string_append(text, "[Intercept]\nAllowUsers=");
        for (unsigned i = 0; i < 10000; i++)
                g_string_append_printf(text, "%u ", 100000 + i);

        policy = load(text->str);
        cr_expect_eq(policy->problems->len, 0);
        cr_expect_eq(policy->assignments->len, 30000);
        cr_expect_not_null(policy_find_device(policy, S_IFCHR, makedev(1 + 9999 % 4000, 9999)));
        cr_expect(policy_allows_xattr(policy, "trusted.9999"));
        cr_expect(policy_allows_user(policy, 109999));
        expect_round_trip(text->str);
}

Test(policy, lists_have_an_end) {
        g_autoptr(GString) text = g_string_new("[Setxattr]\nAllowName=");
        g_autoptr(Policy) policy = NULL;
        g_autofree char *problems = NULL;

        for (unsigned i = 0; i < POLICY_ITEMS_MAX + 1; i++)
                g_string_append(text, "a ");

        policy = load(text->str);
        problems = all_problems(policy);
        cr_expect_eq(policy->xattr.names->len, POLICY_ITEMS_MAX);
        cr_expect_str_eq(problems,
                        "t.conf:2: AllowName=: more than 16384 items, skipped (use patterns or ranges)\n");
        cr_expect_null(policy->error);
}

Test(policy, problems_have_an_end) {
        g_autoptr(GString) text = g_string_new("[Intercept]\n");
        g_autoptr(Policy) policy = NULL;
        const PolicyProblem *last;

        for (unsigned i = 0; i < 100000; i++)
                g_string_append(text, "nonsense\n");

        policy = load(text->str);
        cr_assert_eq(policy->problems->len, POLICY_PROBLEMS_MAX + 1);
        last = g_ptr_array_index(policy->problems, POLICY_PROBLEMS_MAX);
        cr_expect_str_eq(last->message, "too many problems, further ones aren't shown");

        /* But an error is never lost. */
        g_string_append(text, "[oops\n");
        g_clear_pointer(&policy, policy_free);
        policy = load(text->str);
        cr_expect_str_eq(policy->error, "t.conf:100002: section header without closing bracket");
}

/* A message repeats only as much of a file as one can read, and nothing that a terminal would obey. */
Test(policy, messages_are_short_and_printable) {
        g_autofree char *name = g_strnfill(100000, 'k'), *text = NULL, *problem = NULL;
        g_autoptr(Policy) policy = NULL;

        text = g_strdup_printf("[Intercept]\n%s=1\n[%s]\n[Intercept]\nOnFailure=%s\nOnFailure=\x1b[31m\n",
                        name, name, name);
        policy = load(text);
        cr_assert_eq(policy->problems->len, 4);

        for (guint i = 0; i < 4; i++) {
                g_autofree char *s = policy_problem_to_string(g_ptr_array_index(policy->problems, i));

                cr_expect_lt(strlen(s), 400);
                cr_expect_null(strchr(s, '\x1b'));
        }

        problem = policy_problem_to_string(g_ptr_array_index(policy->problems, 3));
        cr_expect_str_eq(problem, "t.conf:6: OnFailure=: \"?[31m\" is no way to fail, skipped "
                                  "(write continue or an error name such as EPERM)");
}

Test(policy, problem_without_line_or_hint) {
        PolicyProblem problem = { .level = LOG_ERR, .file = (char *) "f", .message = (char *) "m" };
        g_autofree char *text = policy_problem_to_string(&problem);

        cr_expect_str_eq(text, "f: m");
}

Test(policy, free_takes_nothing) {
        cr_expect_null(policy_free(NULL));
}
