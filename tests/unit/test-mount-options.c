/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The two arguments of mount(2) that are many things: flags and data. */

#include <criterion/criterion.h>
#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/mount.h>

#include "supervisor/mount-options.h"

static MountRequest *begin(void) {
        static MountRequest m;

        mount_request_init(&m, NULL, NULL, "ext4");
        return &m;
}

/* "name", "name=value", in order. */
static char *options_of(const MountRequest *m) {
        GString *text = g_string_new(NULL);

        for (guint i = 0; i < m->options->len; i++) {
                const MountOption *o = &g_array_index(m->options, MountOption, i);

                g_string_append_printf(text, "%s%s%s%s", i > 0 ? "|" : "", o->name, o->value ? "=" : "",
                                o->value ?: "");
        }

        return g_string_free(text, FALSE);
}

static void expect_options(const char *data, int r, const char *expected, uint64_t sb_flags) {
        MountRequest *m = begin();
        g_autofree char *text = NULL;

        cr_expect_eq(mount_options_parse_data(m, data), r, "\"%s\"", data);
        text = options_of(m);
        if (r >= 0) {
                cr_expect_str_eq(text, expected, "\"%s\" is %s", data, text);
                cr_expect_eq(m->sb_flags, sb_flags, "\"%s\"", data);
        }
        mount_request_done(m);
}

Test(mount_options, data) {
        expect_options("", 0, "", 0);
        expect_options("commit=5", 0, "commit=5", 0);
        expect_options("a,b=c,d", 0, "a|b=c|d", 0);
        expect_options(",,a,,b,", 0, "a|b", 0);
        expect_options("=x,a", 0, "a", 0);
        expect_options("a,=x", 0, "a", 0);
        expect_options("a=", 0, "a=", 0);
        expect_options("a=b=c", 0, "a=b=c", 0);
        expect_options("ro", 0, "", MS_RDONLY);
        expect_options("ro,rw", 0, "", 0);
        expect_options("ro=1", 0, "ro=1", 0);
        expect_options("sync,dirsync,lazytime,mand,ro", 0, "", MOUNT_SB_FLAGS);
        expect_options("sync,async,lazytime,nolazytime,mand,nomand", 0, "", 0);
        expect_options("a\tb", -EBADMSG, NULL, 0);
        expect_options("\1\2\3", -EBADMSG, NULL, 0);
        expect_options("\x7f", -EBADMSG, NULL, 0);
        expect_options("uml=\xc3\xa4", 0, "uml=\xc3\xa4", 0);
}

Test(mount_options, data_without_end) {
        g_autofree char *text = g_strnfill(4095, 'x'), *commas = g_malloc0(4096);
        MountRequest *m = begin();

        cr_expect_eq(mount_options_parse_data(m, text), 0);
        cr_expect_eq(m->options->len, 1);
        mount_request_done(m);

        for (size_t i = 0; i < 4095; i++)
                commas[i] = i % 2 ? ',' : 'a';
        m = begin();
        cr_expect_eq(mount_options_parse_data(m, commas), 0);
        cr_expect_eq(m->options->len, 2048);
        cr_expect_eq(mount_request_add_option(m, "one-more", NULL), -EINVAL);
        mount_request_done(m);
}

static void expect_flags(uint64_t flags, uint64_t sb_flags, uint64_t attributes) {
        MountRequest *m = begin();

        mount_options_set_flags(m, flags);
        cr_expect_eq(m->sb_flags, sb_flags, "%#llx", (unsigned long long) flags);
        cr_expect_eq(m->attributes, attributes, "%#llx gave %#llx", (unsigned long long) flags,
                        (unsigned long long) m->attributes);
        mount_request_done(m);
}

/* None of them has the same value in both interfaces by rule: each is translated. */
Test(mount_options, flags) {
        expect_flags(0, 0, 0);
        expect_flags(MS_RDONLY, MS_RDONLY, MOUNT_ATTR_RDONLY);
        expect_flags(MS_NOSUID | MS_NODEV | MS_NOEXEC, 0,
                        MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
        expect_flags(MS_SYNCHRONOUS, MS_SYNCHRONOUS, 0);
        expect_flags(MS_DIRSYNC, MS_DIRSYNC, 0);
        expect_flags(MS_LAZYTIME, MS_LAZYTIME, 0);
        expect_flags(MS_NOATIME, 0, MOUNT_ATTR_NOATIME);
        expect_flags(MS_NODIRATIME, 0, MOUNT_ATTR_NODIRATIME);
        expect_flags(MS_RELATIME, 0, 0);
        expect_flags(MS_STRICTATIME, 0, MOUNT_ATTR_STRICTATIME);
        expect_flags(MS_STRICTATIME | MS_NOATIME, 0, MOUNT_ATTR_STRICTATIME);
        expect_flags(MS_NOATIME | MS_RELATIME, 0, MOUNT_ATTR_NOATIME);
        expect_flags(256 /* MS_NOSYMFOLLOW */, 0, 0x00200000 /* MOUNT_ATTR_NOSYMFOLLOW */);
        expect_flags(MS_SILENT | MS_POSIXACL | MS_I_VERSION | MS_REC, 0, 0);
        expect_flags(MS_MGC_VAL | MS_RDONLY, MS_RDONLY, MOUNT_ATTR_RDONLY);
}

Test(mount_options, calls_that_make_a_superblock) {
        static const uint64_t others[] = { MS_REMOUNT, MS_BIND, MS_MOVE, MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE,
                MS_SHARED, MS_REMOUNT | MS_BIND, MS_REC | MS_PRIVATE, UINT64_C(1) << 31, UINT64_C(1) << 32,
                UINT64_C(1) << 63, MS_MGC_VAL | MS_BIND };

        cr_expect(mount_flags_make_superblock(0));
        cr_expect(mount_flags_make_superblock(MS_RDONLY | MS_NOSUID | MS_REC));
        cr_expect(mount_flags_make_superblock(MS_MGC_VAL));
        cr_expect(mount_flags_make_superblock(MS_MGC_VAL | MS_RDONLY));
        for (size_t i = 0; i < G_N_ELEMENTS(others); i++)
                cr_expect_not(mount_flags_make_superblock(others[i]), "%#llx",
                                (unsigned long long) others[i]);
}

Test(mount_options, get) {
        MountRequest *m = begin();

        cr_expect_eq(mount_options_parse_data(m, "uid=5,quota,uid=6"), 0);
        cr_expect_str_eq(mount_options_get(m, "uid"), "5");
        cr_expect_str_eq(mount_options_get(m, "quota"), "");
        cr_expect_null(mount_options_get(m, "ui"));
        mount_request_done(m);
}

Test(mount_options, description) {
        MountRequest *m = begin();
        g_autofree char *text = NULL;

        m->source = g_strdup("/dev/vdb");
        mount_options_set_flags(m, MS_RDONLY);
        cr_expect_eq(mount_options_parse_data(m, "commit=5,quota"), 0);
        text = mount_request_describe(m, "/mnt");
        cr_expect_str_eq(text, "ext4 from /dev/vdb on /mnt, read-only, options commit=5,quota");
        mount_request_done(m);
}
