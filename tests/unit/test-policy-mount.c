/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* [Mount] of a policy: what each key means, what's said about mistakes, what's lent and what never is. */

#include <criterion/criterion.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "policy/mount-type.h"
#include "policy/policy.h"

static Policy *load(const char *lines) {
        g_autofree char *text = g_strconcat("[Mount]\n", lines, NULL);
        Policy *policy = NULL;

        cr_assert_eq(policy_load_text(text, strlen(text), "t.conf", &policy), 0);
        return policy;
}

static void expect_problem(const char *lines, const char *expected) {
        g_autoptr(Policy) policy = load(lines);
        g_autofree char *problem = NULL;

        cr_assert_eq(policy->problems->len, 1, "%s: %u problems", lines, policy->problems->len);
        problem = policy_problem_to_string(policy->problems->pdata[0]);
        cr_expect_not_null(strstr(problem, expected), "\"%s\" gave %s", lines, problem);
}

Test(policy_mount, defaults) {
        g_autoptr(Policy) policy = load("");

        cr_expect_not(policy_allows_mount_type(policy, "ext4"));
        cr_expect_not(policy_allows_mount_device(policy, makedev(8, 1)));
        cr_expect_not(policy_allows_mount_name(policy, "tmpfs", NULL));
        cr_expect(policy_allows_mount_target(policy, "/anywhere"));
        cr_expect(policy->mount.no_dev && policy->mount.no_suid && !policy->mount.no_exec);
        cr_expect_not(policy->mount.loop);
        cr_expect_eq(policy->mount.read_only, MOUNT_READ_ONLY_CALLER);
        cr_expect_eq(policy->mount.id_map, MOUNT_ID_MAP_AUTO);
        cr_expect_eq(policy->mount.new_api, MOUNT_NEW_API_EMULATE);
        cr_expect_eq(policy->mount.fuse_start_usec, 10000000);
}

Test(policy_mount, types) {
        g_autoptr(Policy) policy = load("AllowType=ext4 squashfs\nAllowType=erofs\n");

        cr_expect(policy_allows_mount_type(policy, "ext4"));
        cr_expect(policy_allows_mount_type(policy, "erofs"));
        cr_expect_not(policy_allows_mount_type(policy, "ext3"));
        cr_expect_not(policy_allows_mount_type(policy, "ext4.x"));
        cr_expect_not(policy_allows_mount_type(policy, "EXT4"));
        cr_expect_not(policy_allows_mount_type(policy, ""));
}

Test(policy_mount, types_that_are_never_lent) {
        static const char *const never[] = { "proc", "sysfs", "cgroup2", "debugfs", "tracefs", "devtmpfs",
                "overlay", "fuse", "fuseblk", "autofs", "nsfs", "bpf", "securityfs", "binfmt_misc" };

        for (size_t i = 0; i < G_N_ELEMENTS(never); i++) {
                g_autofree char *line = g_strdup_printf("AllowType=ext4 %s\n", never[i]);
                g_autoptr(Policy) policy = load(line);

                cr_expect_not(policy_allows_mount_type(policy, never[i]), "%s", never[i]);
                cr_expect(policy_allows_mount_type(policy, "ext4"));
                expect_problem(line, "is never lent");
        }

        expect_problem("AllowType=a/b\n", "is no type of a file system");
        expect_problem("AllowType=ext4,xfs\n", "is no type of a file system");
        expect_problem("AllowType=fuse.sshfs\n", "is no type of a file system");
}

Test(policy_mount, sources) {
        g_autoptr(Policy) policy = load("AllowSource=b 7:0-7 b 259:* none /dev/disk/by-label/none-such "
                                        "nas:/export/* //nas/share\n");

        cr_expect_eq(policy->problems->len, 0);
        cr_expect(policy_allows_mount_device(policy, makedev(7, 7)));
        cr_expect_not(policy_allows_mount_device(policy, makedev(7, 8)));
        cr_expect(policy_allows_mount_device(policy, makedev(259, 1000)));
        cr_expect_not(policy_allows_mount_device(policy, makedev(8, 0)));
        cr_expect(policy_allows_mount_name(policy, "tmpfs", "anything"));
        cr_expect(policy_allows_mount_name(policy, "nfs", "nas:/export/home"));
        cr_expect_not(policy_allows_mount_name(policy, "nfs", "other:/export/home"));
        cr_expect_not(policy_allows_mount_name(policy, "nfs", "anything"));
        cr_expect_not(policy_allows_mount_name(policy, "nfs", "nas:/export/../etc"));
        cr_expect_not(policy_allows_mount_name(policy, "nfs", "nas:/export/.."));
        cr_expect(policy_allows_mount_name(policy, "nfs", "nas:/export/a..b/..c"));
        cr_expect(policy_allows_mount_name(policy, "cifs", "//nas/share"));
        cr_expect_not(policy_find_device(policy, S_IFBLK, makedev(7, 0)), "[Mknod] is another matter");

        expect_problem("AllowSource=c 1:3\n", "\"c 1:3\" is no source");
        expect_problem("AllowSource=/srv/image\n", "is no source");
        expect_problem("AllowSource=/dev/../etc\n", "is no path of a device");
        expect_problem("AllowSource=b\n", "is no device");
}

Test(policy_mount, an_empty_value_resets) {
        g_autoptr(Policy) policy =
                        load("AllowType=ext4\nAllowType=\nAllowSource=b 7:0 none a:b\nAllowSource=\n"
                             "AllowTarget=/mnt\nAllowTarget=\nAllowOptions=x\nAllowOptions=\n"
                             "Fuse=ext4:fuse2fs\nFuse=\nReadOnly=yes\nReadOnly=\nNoDev=no\nNoDev=\n");

        cr_expect_eq(policy->problems->len, 0);
        cr_expect_not(policy_allows_mount_type(policy, "ext4"));
        cr_expect_not(policy_allows_mount_device(policy, makedev(7, 0)));
        cr_expect_not(policy_allows_mount_name(policy, "tmpfs", NULL));
        cr_expect_not(policy_allows_mount_name(policy, "nfs", "a:b"));
        cr_expect(policy_allows_mount_target(policy, "/srv"));
        cr_expect_not(policy_allows_mount_option(policy, "ext4", "x", NULL));
        cr_expect_null(policy_mount_fuse(policy, "ext4"));
        cr_expect_eq(policy->mount.read_only, MOUNT_READ_ONLY_CALLER);
        cr_expect(policy->mount.no_dev);
}

Test(policy_mount, targets) {
        g_autoptr(Policy) policy = load("AllowTarget=/mnt/* /media\n");

        cr_expect(policy_allows_mount_target(policy, "/mnt/a"));
        cr_expect(policy_allows_mount_target(policy, "/mnt/a/b"));
        cr_expect(policy_allows_mount_target(policy, "/media"));
        cr_expect_not(policy_allows_mount_target(policy, "/mnt"));
        cr_expect_not(policy_allows_mount_target(policy, "/media/x"));
        expect_problem("AllowTarget=mnt\n", "is no path");
}

Test(policy_mount, options) {
        g_autoptr(Policy) policy =
                        load("AllowOptions=usrquota journal_ioprio=* errors=* *\nDenyOptions=commit=*\n");
        g_autoptr(Policy) plain = load("");

        cr_expect(policy_allows_mount_option(policy, "ext4", "usrquota", NULL));
        cr_expect(policy_allows_mount_option(policy, "ext4", "journal_ioprio", "3"));
        cr_expect_not(policy_allows_mount_option(policy, "ext4", "commit", "5"));
        cr_expect(policy_allows_mount_option(policy, "ext4", "errors", "continue"));

        cr_expect(policy_allows_mount_option(plain, "ext4", "commit", "5"));
        cr_expect(policy_allows_mount_option(plain, "ext4", "noload", NULL));
        cr_expect_not(policy_allows_mount_option(plain, "ext4", "noload", "1"));
        cr_expect_not(policy_allows_mount_option(plain, "ext4", "usrquota", NULL));
        cr_expect_not(policy_allows_mount_option(plain, "squashfs", "commit", "5"));
        cr_expect_not(policy_allows_mount_option(plain, "unknownfs", "commit", "5"));
        cr_expect(policy_allows_mount_option(plain, "tmpfs", "size", "1m"));
}

/* What stops the host, or names what would be looked up with the host's eyes. */
Test(policy_mount, options_that_are_never_lent) {
        static const char *const never[][2] = { { "errors", "panic" }, { "journal_dev", "2049" },
                { "journal_path", "/dev/sda1" }, { "logdev", "/dev/sda1" }, { "rtdev", "/dev/sda1" },
                { "device", "/dev/sda1" }, { "fd", "3" }, { "rootcontext", "x" }, { "context", "x" },
                { "usrjquota", "x" }, { "fatal_errors", "panic" }, { "lowerdir", "/" }, { "lowerdir+", "/" },
                { "source", "/dev/sda1" }, { "rfdno", "3" }, { "jdev", "/dev/sda1" }, { "onerror", "panic" },
                { "trans", "unix" } };
        g_autoptr(Policy) policy = load("AllowOptions=*\n");

        for (size_t i = 0; i < G_N_ELEMENTS(never); i++)
                cr_expect_not(policy_allows_mount_option(policy, "ext4", never[i][0], never[i][1]), "%s=%s",
                                never[i][0], never[i][1]);
}

Test(policy_mount, fuse) {
        g_autoptr(Policy) policy = load("Fuse=ext4:fuse2fs squashfs:/usr/bin/squashfuse\n");

        cr_expect_str_eq(policy_mount_fuse(policy, "ext4"), "fuse2fs");
        cr_expect_str_eq(policy_mount_fuse(policy, "squashfs"), "/usr/bin/squashfuse");
        cr_expect_null(policy_mount_fuse(policy, "xfs"));
        cr_expect_not(policy_allows_mount_type(policy, "ext4"));

        expect_problem("Fuse=ext4\n", "is no redirection");
        expect_problem("Fuse=ext4:\n", "is no redirection");
        expect_problem("Fuse=ext4:bin/fuse2fs\n", "is no redirection");
        expect_problem("Fuse=proc:x\n", "is never lent");
        expect_problem("FuseStartSec=0\n", "out of range");
}

/* A type that the kernel and a program should mount makes the whole policy unusable, with file and line. */
Test(policy_mount, contradiction) {
        g_autoptr(Policy) policy =
                        load("AllowType=xfs ext4\n\nFuse=squashfs:squashfuse\nFuse=ext4:fuse2fs\n");
        g_autoptr(Policy) twice = load("Fuse=ext4:a\nFuse=ext4:b\n");

        cr_assert_not_null(policy->error);
        cr_expect_eq(strncmp(policy->error, "t.conf:5: Fuse=: ext4", strlen("t.conf:5: Fuse=: ext4")), 0,
                        "%s", policy->error);
        cr_expect_not(policy_allows_mount_type(policy, "xfs"), "a broken policy lends nothing");
        cr_expect_null(policy_mount_fuse(policy, "squashfs"));
        cr_expect_eq(policy_intercepted_calls(policy), 0);
        cr_expect_not_null(twice->error);
}

Test(policy_mount, written_and_read_again) {
        static const char text[] =
                        "AllowType=ext4 tmpfs\nAllowSource=b 7:0-3 /dev/vdb none nas:/x\nAllowLoop=yes\n"
                        "AllowTarget=/mnt/*\nAllowOptions=usrquota\nDenyOptions=commit=*\nNoDev=no\n"
                        "NoSUID=no\nNoExec=yes\nReadOnly=yes\nIDMap=no\nFuse=xfs:fusexfs\n"
                        "FuseStartSec=3s\nNewMountAPI=enosys\n";
        g_autoptr(Policy) policy = load(text), again = NULL;
        g_autofree char *written = policy_to_text(policy);

        cr_expect_eq(policy->problems->len, 0);
        cr_assert_eq(policy_load_text(written, strlen(written), "again", &again), 0);
        cr_expect_eq(again->problems->len, 0);
        cr_expect(policy_equal(policy, again));

        for (const char *line = text; *line;) {
                const char *end = strchr(line, '\n') + 1;
                g_autofree char *less = g_strconcat(end, NULL),
                                *before = g_strndup(text, (gsize) (line - text)),
                                *rest = g_strconcat(before, less, NULL);
                g_autoptr(Policy) other = load(rest);

                cr_expect_not(policy_equal(policy, other), "%.*s makes no difference", (int) (end - line),
                                line);
                line = end;
        }
}

Test(policy_mount, native_api_isnt_intercepted) {
        static const char text[] = "[Intercept]\nSystemCalls=mount\n[Mount]\nNewMountAPI=native\n";
        Policy *policy = NULL;

        cr_assert_eq(policy_load_text(text, strlen(text), "t", &policy), 0);
        cr_expect_eq(policy_intercepted_calls(policy), CALL_BIT(CALL_MOUNT));
        policy_free(policy);
}

Test(policy_mount, no_default_option_is_one_that_is_never_lent) {
        static const char *const types[] = { "btrfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs",
                "hugetlbfs", "iso9660", "msdos", "ntfs3", "squashfs", "tmpfs", "udf", "vfat", "xfs" };

        for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
                const MountType *type = mount_type_find(types[i]);

                cr_assert_not_null(type);
                cr_expect_null(mount_type_never_lent(types[i]));
                for (const char *const *o = type->options; o && *o; o++) {
                        g_auto(GStrv) words = g_strsplit(*o, "=", 2);

                        cr_expect_not(mount_option_never_lent(words[0], words[1]), "%s of %s", *o, types[i]);
                }
        }
}
