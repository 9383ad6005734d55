/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The drop-in of "deputyctl enable": what's written, and that nothing else is touched. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ctl/drop-in.h"

static char directory[] = "/tmp/deputyd-test-drop-in.XXXXXX";

static void setup(void) {
        cr_assert(ne(ptr, mkdtemp(directory), NULL));
}

static void teardown(void) {
        g_autofree char *command = g_strdup_printf("rm -r %s", directory);

        cr_assert(eq(int, system(command), 0));
}

TestSuite(drop_in, .init = setup, .fini = teardown);

static char *in_directory(const char *name) {
        return g_build_filename(directory, name, NULL);
}

Test(drop_in, is_as_documented) {
        g_autoptr(GPtrArray) lines = g_ptr_array_new(), links = drop_in_links_new();
        g_autofree char *text = NULL;
        bool ends_so;

        g_ptr_array_add(lines, "/usr/bin/deputy-run -- /bin/a");
        g_ptr_array_add(lines, "-/usr/bin/deputy-run -- /bin/b");
        text = drop_in_compose(lines, links);
        /* Not within cr_assert(): newer GLib makes a macro of g_str_has_suffix(), and criterion pastes what
         * comes first. */
        ends_so = g_str_has_suffix(text,
                        "\n[Unit]\nRequires=deputyd.socket\nAfter=deputyd.socket deputyd.service\n"
                        "\n[Service]\nExecStart=\nExecStart=/usr/bin/deputy-run -- /bin/a\n"
                        "ExecStart=-/usr/bin/deputy-run -- /bin/b\n");
        cr_assert(ends_so, "%s", text);
}

Test(drop_in, remembers_its_links) {
        g_autofree char *path = in_directory("x.d/50-deputyd.conf"), *text = NULL;
        g_autoptr(GPtrArray) lines = g_ptr_array_new(), links = drop_in_links_new(), read = NULL;
        const DropInLink *link;

        drop_in_links_add(links, "/etc/a.conf", "/usr/a.conf");
        text = drop_in_compose(lines, links);
        cr_assert(eq(int, write_file_atomically(path, text), 0));
        cr_assert(eq(int, drop_in_read(path, &read), 1));
        cr_assert(eq(uint, read->len, 1));
        link = read->pdata[0];
        cr_assert(eq(str, link->path, "/etc/a.conf"));
        cr_assert(eq(str, link->target, "/usr/a.conf"));
        cr_assert(drop_in_links_contain(read, "/etc/a.conf"));
        cr_assert(drop_in_is_ours(path));
}

Test(drop_in, knows_what_is_not_ours) {
        g_autofree char *foreign = in_directory("foreign"), *link = in_directory("link"),
                        *none = in_directory("none");
        GPtrArray *links;

        cr_assert(g_file_set_contents(foreign, "[Service]\nExecStart=\n", -1, NULL));
        cr_assert(eq(int, symlink("/dev/null", link), 0));
        cr_assert(eq(int, drop_in_read(foreign, &links), -EEXIST));
        cr_assert(eq(int, drop_in_read(link, &links), -EEXIST));
        cr_assert(eq(int, drop_in_read(none, &links), 0));
        cr_assert(not(drop_in_is_ours(foreign)));
}

Test(drop_in, makes_links_once) {
        g_autofree char *path = in_directory("policy.d/a.service.d/docker.conf");

        cr_assert(eq(int, make_link(path, "/usr/docker.conf"), 1));
        cr_assert(eq(int, make_link(path, "/usr/docker.conf"), 0));
        cr_assert(eq(int, make_link(path, "/usr/other.conf"), -EEXIST));
}

Test(drop_in, writes_all_or_nothing) {
        g_autofree char *path = in_directory("file"), *text = NULL;
        g_autoptr(GDir) dir = NULL;
        unsigned n = 0;

        cr_assert(eq(int, write_file_atomically(path, "one\n"), 0));
        cr_assert(eq(int, write_file_atomically(path, "two\n"), 0));
        cr_assert(g_file_get_contents(path, &text, NULL, NULL));
        cr_assert(eq(str, text, "two\n"));
        dir = g_dir_open(directory, 0, NULL);
        while (g_dir_read_name(dir))
                n++;
        cr_assert(eq(uint, n, 1));
        cr_assert(lt(int, write_file_atomically("/proc/nowhere/file", "x"), 0));
}
