/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The profiles that we ship, as they're found in the build tree. */

#include <criterion/criterion.h>
#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "policy/policy.h"

/* A test is BUILD/tests/unit/test-NAME, the profiles are BUILD/policy.d/profiles. */
static void setup(void) {
        g_autofree char *self = g_file_read_link("/proc/self/exe", NULL), *directory = NULL;

        cr_assert_not_null(self);
        *strrchr(self, '/') = 0;
        directory = g_build_filename(self, "../../policy.d/profiles", NULL);

        if (access(directory, F_OK) >= 0)
                g_setenv("DEPUTYD_PROFILE_PATH", directory, FALSE);
}

TestSuite(profile, .init = setup);

static Policy *load(const char *name) {
        g_autofree char *path = NULL;
        Policy *policy = NULL;

        cr_assert_eq(policy_find_profile(name, &path), 0, "no profile %s", name);
        cr_assert_eq(policy_load_files((const char *const[]){ path, NULL }, NULL, &policy, NULL), 0);
        cr_expect_eq(policy->problems->len, 0);
        return policy;
}

/* null zero full random urandom tty console ptmx, and no disk */
static void expect_minimal_devices(const Policy *policy) {
        static const unsigned devices[][2] = { { 1, 3 }, { 1, 5 }, { 1, 7 }, { 1, 8 }, { 1, 9 }, { 5, 0 },
                { 5, 1 }, { 5, 2 } };

        for (size_t i = 0; i < G_N_ELEMENTS(devices); i++)
                cr_expect_not_null(
                                policy_find_device(policy, S_IFCHR, makedev(devices[i][0], devices[i][1])));

        cr_expect_null(policy_find_device(policy, S_IFCHR, makedev(1, 1)), "/dev/mem isn't lent");
        cr_expect_null(policy_find_device(policy, S_IFCHR, makedev(1, 4)), "/dev/port isn't lent");
        cr_expect_null(policy_find_device(policy, S_IFCHR, makedev(1, 11)), "/dev/kmsg isn't lent");

        for (unsigned major = 0; major < 512; major++)
                cr_expect_null(policy_find_device(policy, S_IFBLK, makedev(major, 0)));
}

Test(profile, docker) {
        g_autoptr(Policy) policy = load("docker");
        CallSet mknod = 0, setxattr = 0;

        cr_assert_eq(call_set_from_name("mknod", &mknod), 0);
        cr_assert_eq(call_set_from_name("setxattr", &setxattr), 0);
        cr_expect_eq(policy_intercepted_calls(policy), mknod | setxattr, "reads aren't trapped");
        expect_minimal_devices(policy);
        cr_expect(policy_allows_xattr(policy, "trusted.overlay.opaque"));
        cr_expect_not(policy_allows_xattr(policy, "trusted.other"));
        cr_expect_not(policy_allows_xattr(policy, "security.selinux"));
        cr_expect(policy->mknod.bind_fallback);
        cr_expect_eq(policy->on_failure, 0);
}

Test(profile, image_build) {
        g_autoptr(Policy) policy = load("image-build");
        CallSet mknod = 0;

        cr_assert_eq(call_set_from_name("mknod", &mknod), 0);
        cr_expect_eq(policy_intercepted_calls(policy), mknod);
        expect_minimal_devices(policy);
        cr_expect_not(policy_allows_xattr(policy, "trusted.overlay.opaque"));
}

Test(profile, block_mount) {
        static const char *const types[] = { "ext4", "xfs", "squashfs", "erofs", "iso9660", "vfat" };
        g_autoptr(Policy) policy = load("block-mount");
        CallSet mount = 0;

        cr_assert_eq(call_set_from_name("mount", &mount), 0);
        cr_expect_eq(policy_intercepted_calls(policy), mount);
        for (size_t i = 0; i < G_N_ELEMENTS(types); i++)
                cr_expect(policy_allows_mount_type(policy, types[i]), "%s", types[i]);
        cr_expect_not(policy_allows_mount_type(policy, "btrfs"));
        cr_expect_not(policy->mount.loop);
        cr_expect(policy->mount.no_dev && policy->mount.no_suid);
        cr_expect_not(policy_allows_mount_name(policy, "tmpfs", "none"));

        for (unsigned major = 0; major < 512; major++)
                cr_expect_not(policy_allows_mount_device(policy, makedev(major, 0)),
                                "which devices is the site's to say");
}

Test(profile, fuse_mount) {
        static const char *const types[] = { "ext4", "squashfs", "erofs", "ntfs" };
        g_autoptr(Policy) policy = load("fuse-mount");

        for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
                cr_expect_not_null(policy_mount_fuse(policy, types[i]), "%s", types[i]);
                cr_expect_not(policy_allows_mount_type(policy, types[i]), "the kernel mounts nothing");
        }
        cr_expect_not_null(policy_find_device(policy, S_IFCHR, makedev(10, 229)));
        cr_expect_null(policy_find_device(policy, S_IFCHR, makedev(1, 3)));
        for (unsigned major = 0; major < 512; major++)
                cr_expect_not(policy_allows_mount_device(policy, makedev(major, 0)));
}

Test(profile, realtime) {
        g_autoptr(Policy) policy = load("realtime");
        CallSet scheduling = 0;

        cr_assert_eq(call_set_from_name("sched_setscheduler", &scheduling), 0);
        cr_expect_eq(policy_intercepted_calls(policy), scheduling);
        cr_expect(scheduling_lends_policy(&policy->scheduling, 1 /* SCHED_FIFO */));
        cr_expect_not(scheduling_lends_policy(&policy->scheduling, 6 /* SCHED_DEADLINE */));
        cr_expect_lt(policy->scheduling.max_realtime_priority, 20u, "below rtkit's and the interrupts'");
        cr_expect_eq(policy->scheduling.min_nice, -11);
        cr_expect_eq(policy->scheduling.io_classes, 0u);
}

Test(profile, nested_containers) {
        g_autoptr(Policy) policy = load("nested-containers");
        CallSet bpf = 0, mknod = 0;

        cr_assert_eq(call_set_from_name("bpf", &bpf), 0);
        cr_assert_eq(call_set_from_name("mknod", &mknod), 0);
        cr_expect_eq(policy_intercepted_calls(policy), bpf | mknod);
        cr_expect_eq(policy->bpf.programs, POLICY_BPF_CGROUP_DEVICE | POLICY_BPF_CGROUP_SKB |
                                                           POLICY_BPF_CGROUP_SKB_INTERFACE |
                                                           POLICY_BPF_CGROUP_SOCK_ADDR);
        cr_expect_eq(policy->bpf.max_programs, 256);

        /* Those of docker, and the block device that is none. */
        cr_expect_not_null(policy_find_device(policy, S_IFCHR, makedev(1, 3)));
        cr_expect_not_null(policy_find_device(policy, S_IFCHR, makedev(10, 229)));
        cr_expect_not_null(policy_find_device(policy, S_IFBLK, makedev(0, 0)));
        cr_expect_null(policy_find_device(policy, S_IFCHR, makedev(1, 1)));
        cr_expect_null(policy_find_device(policy, S_IFBLK, makedev(8, 0)));
        cr_expect_not(policy_allows_xattr(policy, "trusted.overlay.opaque"));
}

Test(profile, sysinfo) {
        g_autoptr(Policy) policy = load("sysinfo");
        CallSet sysinfo = 0;

        cr_assert_eq(call_set_from_name("sysinfo", &sysinfo), 0);
        cr_expect_eq(policy_intercepted_calls(policy), sysinfo);
        cr_expect_eq(policy->sysinfo.formula, SYSINFO_FORMULA_AUTO);
        cr_expect_eq(policy->sysinfo.cache_msec, 100);
}

/* Profiles are for containers: who may borrow without a user namespace is the administrator's word. */
Test(profile, no_profile_names_users) {
        g_autofree char *directory = policy_profile_directory();
        g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
        unsigned n = 0;

        cr_assert_not_null(dir, "no directory %s", directory);

        for (const char *file; (file = g_dir_read_name(dir));) {
                g_autofree char *name = g_strndup(file, strcspn(file, "."));
                g_autoptr(Policy) policy = NULL;

                if (!g_str_has_suffix(file, ".conf"))
                        continue;

                policy = load(name);
                cr_expect_eq(policy->allow_users->len, 0, "%s", file);
                n++;
        }

        cr_expect_geq(n, 2);
}

Test(profile, names) {
        static const char *const invalid[] = { "", ".", "..", ".docker", "../docker", "a/b", "docker ",
                "a\nb", "ä" };
        g_autofree char *long_name = g_strnfill(65, 'x');
        char *path = NULL;

        for (size_t i = 0; i < G_N_ELEMENTS(invalid); i++)
                cr_expect_eq(policy_find_profile(invalid[i], &path), -EINVAL, "\"%s\"", invalid[i]);

        cr_expect_eq(policy_find_profile(long_name, &path), -EINVAL);
        cr_expect_eq(policy_find_profile("no-such-profile", &path), -ENOENT);
        cr_expect_null(path);
}

Test(profile, directory_from_the_environment) {
        g_autofree char *directory = NULL;

        g_setenv("DEPUTYD_PROFILE_PATH", "/some/where", TRUE);
        directory = policy_profile_directory();
        cr_expect_str_eq(directory, "/some/where");
}
