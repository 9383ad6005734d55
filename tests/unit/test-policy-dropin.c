/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Where policies are found. Each test has directories "etc", "run" and "usr" below a temporary one, the
 * higher first. What was applied, and in which order, shows in AllowUsers=, to which each file adds. */

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy/policy.h"

static char base[] = "/tmp/test-policy-dropin-XXXXXX";
static char *trees[4];

static void setup(void) {
        static const char *const names[] = { "etc", "run", "usr" };

        cr_assert_not_null(mkdtemp(base));
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
                trees[i] = g_build_filename(base, names[i], NULL);
}

static void teardown(void) {
        const char *const argv[] = { "rm", "-rf", base, NULL };

        (void) g_spawn_sync(
                        NULL, (char **) argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL);
        for (size_t i = 0; i < 3; i++)
                g_free(trees[i]);
}

TestSuite(dropin, .init = setup, .fini = teardown);

/* "path" is relative to the test's directory; its parents are made. Return: the whole path. */
static char *prepare(const char *path) {
        char *whole = g_build_filename(base, path, NULL);
        g_autofree char *parent = g_path_get_dirname(whole);

        cr_assert_eq(g_mkdir_with_parents(parent, 0755), 0);
        return whole;
}

static void put(const char *path, const char *text) {
        g_autofree char *whole = prepare(path);

        cr_assert(g_file_set_contents(whole, text, -1, NULL));
}

/* A file that adds one number to AllowUsers=. */
static void put_user(const char *path, unsigned uid) {
        g_autofree char *text = g_strdup_printf("[Intercept]\nAllowUsers=%u\n", uid);

        put(path, text);
}

static void put_link(const char *path, const char *target) {
        g_autofree char *whole = prepare(path);

        cr_assert_eq(symlink(target, whole), 0);
}

static Policy *load(const char *unit) {
        Policy *policy = NULL;

        cr_assert_eq(policy_load_unit(unit, (const char *const *) trees, &policy), 0);
        return policy;
}

static char *users_of(const Policy *policy) {
        GString *users = g_string_new(NULL);

        for (guint i = 0; i < policy->allow_users->len; i++)
                g_string_append_printf(users, "%s%u", i > 0 ? " " : "",
                                g_array_index(policy->allow_users, uid_t, i));

        return g_string_free(users, FALSE);
}

static void expect_users(const char *unit, const char *expected) {
        g_autoptr(Policy) policy = load(unit);
        g_autofree char *users = users_of(policy);

        cr_expect_str_eq(users, expected, "%s got %s", unit, users);
}

/* Problems, with the test's directory left out. */
static void expect_problems(const Policy *policy, const char *expected) {
        g_autoptr(GString) all = g_string_new(NULL);

        for (guint i = 0; i < policy->problems->len; i++) {
                g_autofree char *problem = policy_problem_to_string(g_ptr_array_index(policy->problems, i));

                g_string_append_printf(all, "%s\n", problem);
        }

        g_string_replace(all, base, "", 0);
        cr_expect_str_eq(all->str, expected, "got\n%s", all->str);
}

static void expect_names(const char *unit, const char *expected) {
        g_auto(GStrv) names = NULL;
        g_autofree char *joined = NULL;

        cr_assert_eq(policy_unit_directory_names(unit, &names), 0, "%s", unit);
        joined = g_strjoinv(" ", names);
        cr_expect_str_eq(joined, expected, "%s has %s", unit, joined);
}

/* As PID 1 of systemd 252 has them, found out by giving each of them a file of the same name. */
Test(names, order) {
        expect_names("foo.service", "foo.service service");
        expect_names("foo-bar.service", "foo-bar.service foo-.service service");
        expect_names("a-b-c.scope", "a-b-c.scope a-b-.scope a-.scope scope");
        expect_names("foo@x.service", "foo@x.service foo@.service service");
        expect_names("foo-bar@x.service", "foo-bar@x.service foo-bar@.service foo-.service foo-@x.service "
                                          "foo-@.service service");
        expect_names("a-b-c@x.service",
                        "a-b-c@x.service a-b-c@.service a-b-.service a-.service a-b-@x.service "
                        "a-b-@.service a-@x.service a-@.service service");
        expect_names("foo-bar@.service", "foo-bar@.service foo-.service service");
        expect_names("systemd-nspawn@demo.service",
                        "systemd-nspawn@demo.service systemd-nspawn@.service systemd-.service "
                        "systemd-@demo.service systemd-@.service service");
        expect_names("machine-demo.scope", "machine-demo.scope machine-.scope scope");
        expect_names("user-1000.slice", "user-1000.slice user-.slice slice");
}

Test(names, dashes_at_the_ends) {
        expect_names("foo-.service", "foo-.service service");
        expect_names("foo--.service", "foo--.service foo-.service service");
        expect_names("a--b.service", "a--b.service a--.service a-.service service");
        expect_names("-foo.service", "-foo.service service");
        expect_names("-.slice", "-.slice slice");
        expect_names("a@-b-.service", "a@-b-.service a@.service service");
}

Test(names, instances_keep_their_characters) {
        expect_names("a@b@c.service", "a@b@c.service a@.service service");
        expect_names("a@b.c.service", "a@b.c.service a@.service service");
        expect_names("dev-disk\\x2dby.swap", "dev-disk\\x2dby.swap dev-.swap swap");
}

Test(names, validity) {
        static const char *const invalid[] = { "", ".", "..", "foo", ".service", "@.service", "@x.service",
                "foo.service/..", "../foo.service", "a/b.service", "/foo.service", "foo.txt", "foo.service ",
                "foo bar.service", "foo.service.d", "foo\n.service", "foo*.service", "fäß.service",
                "foo.Service", "foo@x", "service" };
        static const char *const valid[] = { "foo.service", "a:b_c.d\\x2d-e.mount", "foo@.service", "0.scope",
                "a.socket", "a.target", "a.device", "a.automount", "a.timer", "a.path", "a.slice", "a.swap" };
        g_autofree char *fill = g_strnfill(255 - strlen(".service"), 'x'),
                        *longest = g_strconcat(fill, ".service", NULL),
                        *longer = g_strconcat("x", longest, NULL);
        g_autoptr(Policy) policy = NULL;
        char **names = NULL;

        for (size_t i = 0; i < G_N_ELEMENTS(invalid); i++) {
                cr_expect_not(policy_unit_name_is_valid(invalid[i]), "\"%s\"", invalid[i]);
                cr_expect_eq(policy_unit_directory_names(invalid[i], &names), -EINVAL);
                cr_expect_eq(policy_load_unit(invalid[i], NULL, &policy), -EINVAL);
        }

        for (size_t i = 0; i < G_N_ELEMENTS(valid); i++)
                cr_expect(policy_unit_name_is_valid(valid[i]), "\"%s\"", valid[i]);

        cr_expect(policy_unit_name_is_valid(longest));
        cr_expect_not(policy_unit_name_is_valid(longer));
        cr_expect_null(names);
        cr_expect_null(policy);
}

Test(dropin, no_directories) {
        g_autoptr(Policy) policy = load("foo.service");

        cr_expect_not(policy->has_files);
        cr_expect_null(policy->error);
        cr_expect_eq(policy->problems->len, 0);
        cr_expect_str_eq(policy->unit, "foo.service");
}

Test(dropin, files_apply_in_the_order_of_their_names) {
        put_user("etc/foo.service.d/30-c.conf", 3);
        put_user("usr/foo.service.d/10-a.conf", 1);
        put_user("run/service.d/20-b.conf", 2);
        put_user("usr/foo.service.d/9.conf", 9);
        put_user("etc/foo.service.d/B.conf", 4);
        put_user("etc/foo.service.d/a.conf", 5);
        expect_users("foo.service", "1 2 3 9 4 5");
}

Test(dropin, only_conf_files_count) {
        put_user("etc/foo.service.d/a", 1);
        put_user("etc/foo.service.d/a.conf~", 2);
        put_user("etc/foo.service.d/a.conf.dpkg-old", 3);
        put_user("etc/foo.service.d/.a.conf", 4);
        put_user("etc/foo.service.d/a.CONF", 5);
        put_user("etc/foo.service/a.conf", 6);
        put_user("etc/foo.service.d/sub/a.conf", 7);
        put_user("etc/a.conf", 8);
        expect_users("foo.service", "");
}

Test(dropin, higher_tree_wins) {
        put_user("usr/foo.service.d/a.conf", 3);
        expect_users("foo.service", "3");
        put_user("run/foo.service.d/a.conf", 2);
        expect_users("foo.service", "2");
        put_user("etc/foo.service.d/a.conf", 1);
        expect_users("foo.service", "1");
}

Test(dropin, more_specific_name_wins_within_a_tree) {
        put_user("etc/service.d/a.conf", 6);
        expect_users("foo-bar@x.service", "6");
        put_user("etc/foo-@.service.d/a.conf", 5);
        expect_users("foo-bar@x.service", "5");
        put_user("etc/foo-@x.service.d/a.conf", 4);
        expect_users("foo-bar@x.service", "4");
        put_user("etc/foo-.service.d/a.conf", 3);
        expect_users("foo-bar@x.service", "3");
        put_user("etc/foo-bar@.service.d/a.conf", 2);
        expect_users("foo-bar@x.service", "2");
        put_user("etc/foo-bar@x.service.d/a.conf", 1);
        expect_users("foo-bar@x.service", "1");
        expect_users("foo-bar@y.service", "2");
        expect_users("foo.service", "6");
}

/* The tree is the outer loop, the name the inner one. */
Test(dropin, higher_tree_wins_over_more_specific_name) {
        put_user("etc/foo-.service.d/a.conf", 1);
        put_user("run/foo-bar.service.d/a.conf", 2);
        expect_users("foo-bar.service", "1");
}

/* But what's for a whole type is the last resort, as it is for PID 1. */
Test(dropin, type_comes_after_all_trees) {
        put_user("etc/service.d/a.conf", 1);
        put_user("usr/foo.service.d/a.conf", 2);
        expect_users("foo.service", "2");
        put_user("run/service.d/b.conf", 3);
        put_user("usr/service.d/b.conf", 4);
        expect_users("foo.service", "2 3");
}

Test(dropin, types_are_apart) {
        put_user("etc/service.d/a.conf", 1);
        put_user("etc/scope.d/a.conf", 2);
        put_user("etc/machine-.scope.d/b.conf", 3);
        expect_users("machine-demo.scope", "2 3");
        expect_users("machine-demo.service", "1");
}

/* All rules at once. */
Test(dropin, the_example) {
        put_user("usr/foo-bar@x.service.d/30-usr.conf", 30);
        put_link("etc/foo-bar@x.service.d/30-usr.conf", "/dev/null");
        put_user("run/foo-bar@x.service.d/40-run.conf", 40);
        put_user("etc/foo-.service.d/50-foo-.conf", 51);
        put_user("etc/foo-bar@.service.d/50-foo-bar@.conf", 52);
        put_user("etc/foo-bar@x.service.d/50-foo-bar@x.conf", 53);
        put_user("etc/service.d/50-same.conf", 1);
        put_user("etc/foo-bar@.service.d/50-same.conf", 2);
        put_user("etc/foo-bar@x.service.d/50-same.conf", 54);
        put_user("usr/service.d/50-service.conf", 55);
        expect_users("foo-bar@x.service", "40 51 52 53 54 55");
}

Test(dropin, masks) {
        put_user("usr/foo.service.d/a.conf", 1);
        put_user("usr/foo.service.d/b.conf", 2);
        put_user("usr/foo.service.d/c.conf", 3);
        put_link("etc/foo.service.d/a.conf", "/dev/null");
        put("run/foo.service.d/b.conf", "");
        expect_users("foo.service", "3");
}

Test(dropin, masked_files_are_no_files) {
        g_autoptr(Policy) policy = NULL;

        put_user("usr/foo.service.d/a.conf", 1);
        put_link("etc/foo.service.d/a.conf", "/dev/null");
        put("etc/foo.service.d/b.conf", "");

        policy = load("foo.service");
        cr_expect_not(policy->has_files);
        cr_expect_eq(policy->files->len, 0);
        cr_expect_eq(policy->problems->len, 0);
}

/* A mask in a lower tree masks nothing above it. */
Test(dropin, masks_work_downwards) {
        put_user("etc/foo.service.d/a.conf", 1);
        put_link("run/foo.service.d/a.conf", "/dev/null");
        expect_users("foo.service", "1");
}

Test(dropin, links_are_followed) {
        put_user("profiles/p.conf", 1);
        put_link("etc/foo.service.d/p.conf", "../../profiles/p.conf");
        put_link("etc/bar.service.d", "foo.service.d");
        expect_users("foo.service", "1");
        expect_users("bar.service", "1");
}

Test(dropin, files_are_listed_in_order) {
        g_autofree char *b = g_build_filename(base, "usr/foo.service.d/b.conf", NULL);
        g_autoptr(Policy) policy = NULL;

        put_user("usr/foo.service.d/b.conf", 2);
        put_user("etc/foo.service.d/a.conf", 1);

        policy = load("foo.service");
        cr_expect(policy->has_files);
        cr_assert_eq(policy->files->len, 2);
        cr_expect(g_str_has_suffix(g_ptr_array_index(policy->files, 0), "/etc/foo.service.d/a.conf"));
        cr_expect_str_eq(g_ptr_array_index(policy->files, 1), b);
        cr_expect_str_eq(((PolicyAssignment *) g_ptr_array_index(policy->assignments, 1))->file, b);
}

Test(dropin, later_files_reset) {
        put("usr/foo.service.d/10.conf", "[Intercept]\nAllowUsers=1 2\nSystemCalls=@all\n");
        put("etc/foo.service.d/20.conf", "[Intercept]\nAllowUsers=\nAllowUsers=3\nSystemCalls=~mknod\n");
        expect_users("foo.service", "3");
}

/* A section doesn't reach into the next file. */
Test(dropin, sections_end_with_their_file) {
        g_autoptr(Policy) policy = NULL;

        put("etc/foo.service.d/10.conf", "[Intercept]\n");
        put("etc/foo.service.d/20.conf", "AllowUsers=1\n");

        policy = load("foo.service");
        expect_problems(policy, "/etc/foo.service.d/20.conf:1: assignment outside of a section, skipped "
                                "(write a header such as \"[Intercept]\" above it)\n");
}

Test(dropin, a_broken_file_breaks_the_policy) {
        g_autoptr(Policy) policy = NULL;

        put("etc/foo.service.d/10.conf", "[Intercept]\nSystemCalls=mknod\n");
        put("etc/foo.service.d/20.conf", "[Intercept\nAllowUsers=1\n");
        put("etc/foo.service.d/30.conf", "[Inter\n");

        policy = load("foo.service");
        expect_problems(policy, "/etc/foo.service.d/20.conf:1: section header without closing bracket "
                                "(write \"[Section]\" on a line of its own)\n"
                                "/etc/foo.service.d/30.conf:1: section header without closing bracket "
                                "(write \"[Section]\" on a line of its own)\n");
        cr_expect(g_str_has_suffix(policy->error, "/20.conf:1: section header without closing bracket"));
        cr_expect_eq(policy_intercepted_calls(policy), 0);
        cr_expect_eq(policy->files->len, 3);
}

/* Whoever put it there meant to take the place of what's below; so that isn't read either. */
Test(dropin, dangling_links_are_said) {
        g_autoptr(Policy) policy = NULL;

        put_user("usr/foo.service.d/a.conf", 1);
        put_link("etc/foo.service.d/a.conf", "/nonexistent/profile.conf");

        policy = load("foo.service");
        expect_problems(policy, "/etc/foo.service.d/a.conf: link to nothing, skipped "
                                "(remove it, or bring back what it links to)\n");
        cr_expect_not(policy->has_files);
        cr_expect_null(policy->error);
}

Test(dropin, fifos_and_directories_are_said, .timeout = 10) {
        g_autofree char *fifo = prepare("etc/foo.service.d/a.conf"),
                        *directory = prepare("etc/foo.service.d/b.conf");
        g_autoptr(Policy) policy = NULL;

        cr_assert_eq(mkfifo(fifo, 0600), 0);
        cr_assert_eq(mkdir(directory, 0755), 0);
        put_link("etc/foo.service.d/c.conf", "/dev/zero");

        policy = load("foo.service");
        expect_problems(policy, "/etc/foo.service.d/a.conf: not a regular file, skipped\n"
                                "/etc/foo.service.d/b.conf: not a regular file, skipped\n"
                                "/etc/foo.service.d/c.conf: not a regular file, skipped\n");
}

Test(dropin, files_that_cannot_be_read_break_the_policy) {
        g_autoptr(Policy) policy = NULL;

        put_link("etc/foo.service.d/a.conf", "a.conf");

        policy = load("foo.service");
        expect_problems(policy,
                        "/etc/foo.service.d/a.conf: can't be read: Too many levels of symbolic links\n");
        cr_expect_not_null(policy->error);
}

Test(dropin, odd_directories_are_skipped) {
        put_user("usr/foo.service.d/a.conf", 1);
        put("etc/foo.service.d", "a file");
        put_link("run", "run");
        expect_users("foo.service", "1");
}

Test(dropin, files_that_anyone_may_write) {
        g_autofree char *path = g_build_filename(base, "etc/foo.service.d/a.conf", NULL);
        g_autoptr(Policy) policy = NULL;

        put_user("etc/foo.service.d/a.conf", 1);
        cr_assert_eq(chmod(path, 0666), 0);

        policy = load("foo.service");
        expect_problems(policy, "/etc/foo.service.d/a.conf: anyone may change this file (chmod o-w)\n");
        cr_expect_null(policy->error);
}

Test(dropin, size_limit) {
        g_autofree char *line = g_strnfill(1000, '#'), *whole = prepare("etc/foo.service.d/a.conf");
        g_autoptr(GString) text = g_string_new(NULL);
        g_autoptr(Policy) policy = NULL, too_large = NULL;

        while (text->len + 1001 <= POLICY_SIZE_MAX)
                g_string_append_printf(text, "%s\n", line);
        while (text->len < POLICY_SIZE_MAX)
                g_string_append_c(text, '\n');

        cr_assert(g_file_set_contents(whole, text->str, (gssize) text->len, NULL));
        policy = load("foo.service");
        cr_expect_eq(policy->problems->len, 0);

        /* All files together. */
        put_user("etc/foo.service.d/b.conf", 1);
        too_large = load("foo.service");
        expect_problems(too_large,
                        "/etc/foo.service.d/b.conf: the policy's files are larger than 4 MiB together\n");
        cr_expect_not_null(too_large->error);
}

Test(dropin, number_of_files_limit) {
        g_autoptr(Policy) policy = NULL;

        for (unsigned i = 0; i < POLICY_FILES_MAX + 1; i++) {
                g_autofree char *path = g_strdup_printf("etc/foo.service.d/%04u.conf", i);

                put_user(path, i);
        }

        policy = load("foo.service");
        expect_problems(policy, "/etc/foo.service.d/1024.conf: more than 1024 drop-in files\n");
        cr_expect_eq(policy->files->len, POLICY_FILES_MAX);
}

Test(dropin, long_unit_names_have_no_directory) {
        g_autofree char *fill = g_strnfill(247, 'x'), *unit = g_strconcat(fill, ".service", NULL);

        put_user("etc/service.d/a.conf", 1);
        expect_users(unit, "1");
}

Test(dropin, environment) {
        g_autofree char *path = g_strdup_printf("%s::%s", trees[1], trees[2]);
        g_autoptr(Policy) policy = NULL;
        g_autofree char *users = NULL;

        put_user("etc/foo.service.d/a.conf", 1);
        put_user("run/foo.service.d/b.conf", 2);
        put_user("usr/foo.service.d/b.conf", 3);
        put_user("usr/foo.service.d/c.conf", 4);

        g_setenv("DEPUTYD_POLICY_PATH", path, TRUE);
        cr_assert_eq(policy_load_unit("foo.service", NULL, &policy), 0);
        users = users_of(policy);
        cr_expect_str_eq(users, "2 4");
}

Test(dropin, no_descriptor_is_left_open) {
        int before = dup(0), after;

        put_user("etc/foo.service.d/a.conf", 1);
        put("etc/foo.service.d/b.conf", "[oops");
        put_link("etc/foo.service.d/c.conf", "/nonexistent");
        expect_users("foo.service", "1");
        expect_users("bar.service", "");

        close(before);
        after = dup(0);
        cr_expect_eq(before, after);
        close(after);
}

static int load_files(const char *a, const char *b, Policy **ret, const char **ret_path) {
        const char *const paths[] = { a, b, NULL };

        return policy_load_files(paths, "foo.service", ret, ret_path);
}

Test(dropin, named_files_and_directories) {
        g_autofree char *file = g_build_filename(base, "z.conf", NULL),
                        *directory = g_build_filename(base, "dir", NULL), *users = NULL;
        g_autoptr(Policy) policy = NULL;

        put_user("z.conf", 1);
        put_user("dir/b.conf", 3);
        put_user("dir/a.conf", 2);
        put_user("dir/c.txt", 4);
        put_user("dir/sub.d/a.conf", 5);

        cr_assert_eq(load_files(file, directory, &policy, NULL), 0);
        users = users_of(policy);
        cr_expect_str_eq(users, "1 2 3");
        cr_expect_str_eq(policy->unit, "foo.service");
        cr_expect(policy->has_files);
}

/* Order is what's asked for, and nothing overrides by its name. */
Test(dropin, named_files_need_no_suffix_and_may_come_twice) {
        g_autofree char *file = g_build_filename(base, "policy", NULL), *users = NULL;
        g_autoptr(Policy) policy = NULL;

        put_user("policy", 1);
        cr_assert_eq(load_files(file, file, &policy, NULL), 0);
        users = users_of(policy);
        cr_expect_str_eq(users, "1 1");
}

Test(dropin, named_files_that_are_missing) {
        g_autofree char *file = g_build_filename(base, "a.conf", NULL);
        const char *path = NULL;
        Policy *policy = NULL;

        put_user("a.conf", 1);
        cr_expect_eq(load_files(file, "/nonexistent", &policy, &path), -ENOENT);
        cr_expect_str_eq(path, "/nonexistent");
        cr_expect_null(policy);
        cr_expect_eq(load_files("/nonexistent", file, &policy, NULL), -ENOENT);
}

Test(dropin, named_fifos, .timeout = 10) {
        g_autofree char *fifo = prepare("fifo");
        const char *path = NULL;
        Policy *policy = NULL;

        cr_assert_eq(mkfifo(fifo, 0600), 0);
        cr_expect_eq(load_files(fifo, NULL, &policy, &path), -ENOTSUP);
        cr_expect_eq(path, fifo);
}

Test(dropin, named_nothing) {
        g_autoptr(Policy) policy = NULL;

        cr_assert_eq(load_files("/dev/null", NULL, &policy, NULL), 0);
        cr_expect_not(policy->has_files);
}
