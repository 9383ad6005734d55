/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <criterion/criterion.h>
#include <errno.h>
#include <glib.h>
#include <seccomp.h>
#include <string.h>

#include "policy/call.h"

static CallSet set_of(const char *name) {
        CallSet set = 0;

        cr_assert_eq(call_set_from_name(name, &set), 0, "%s isn't known", name);
        return set;
}

static void expect_calls(const char *name, const char *expected) {
        g_autofree char *text = call_set_to_string(set_of(name));

        cr_expect_str_eq(text, expected, "%s is %s", name, text);
}

Test(call, names_go_both_ways) {
        for (int i = 0; i < _CALL_MAX; i++) {
                cr_assert_not_null(call_to_string((CallId) i));
                cr_expect_eq(call_from_string(call_to_string((CallId) i)), (CallId) i);
        }

        cr_expect_str_eq(call_to_string(CALL_MKNODAT), "mknodat");
        cr_expect_null(call_to_string(_CALL_MAX));
        cr_expect_null(call_to_string(_CALL_INVALID));
        cr_expect_eq(call_from_string("open"), _CALL_INVALID);
        cr_expect_eq(call_from_string(""), _CALL_INVALID);
        cr_expect_eq(call_from_string("MKNOD"), _CALL_INVALID);
}

/* libseccomp knows the kernel's names; those that it's too old for have a unified number. */
Test(call, names_are_the_kernels) {
        for (int i = 0; i < _CALL_MAX; i++) {
                int nr = seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86_64, call_to_string((CallId) i));

                if (nr == __NR_SCMP_ERROR)
                        cr_expect_geq(call_unified_number((CallId) i), 403, "%s", call_to_string((CallId) i));
                else if (call_unified_number((CallId) i) >= 0)
                        cr_expect_eq(nr, call_unified_number((CallId) i));
        }
}

Test(call, unified_numbers) {
        cr_expect_eq(call_unified_number(CALL_SETXATTRAT), 463);
        cr_expect_eq(call_unified_number(CALL_GETXATTRAT), 464);
        cr_expect_eq(call_unified_number(CALL_LISTXATTRAT), 465);
        cr_expect_eq(call_unified_number(CALL_REMOVEXATTRAT), 466);
        cr_expect_eq(call_unified_number(CALL_MKNOD), -1);
        cr_expect_eq(call_unified_number(_CALL_INVALID), -1);
}

Test(call, a_name_stands_for_its_family) {
        expect_calls("mknod", "mknod mknodat");
        expect_calls("mknodat", "mknod mknodat");
        expect_calls("setxattr", "setxattr lsetxattr fsetxattr setxattrat "
                                 "removexattr lremovexattr fremovexattr removexattrat");
        expect_calls("fremovexattr", "setxattr lsetxattr fsetxattr setxattrat "
                                     "removexattr lremovexattr fremovexattr removexattrat");
        expect_calls("mount", "mount fsopen fsconfig fsmount move_mount mount_setattr");
        expect_calls("fsopen", "mount fsopen fsconfig fsmount move_mount mount_setattr");
        expect_calls("sysinfo", "sysinfo");
        expect_calls("sched_setscheduler",
                        "sched_setscheduler sched_setparam sched_setattr setpriority ioprio_set");
        expect_calls("ioprio_set", "sched_setscheduler sched_setparam sched_setattr setpriority ioprio_set");
        expect_calls("bpf", "bpf");
        expect_calls("finit_module", "init_module finit_module");
}

Test(call, all_is_what_can_be_named) {
        CallSet all = 0;

        for (size_t i = 0; call_known_name(i); i++)
                if (call_known_name(i)[0] != '@')
                        all |= set_of(call_known_name(i));

        cr_expect_eq(set_of("@all"), all);
        cr_expect_eq(set_of("@all") & set_of("mknod"), set_of("mknod"));
        cr_expect_eq(set_of("@all") & set_of("finit_module"), set_of("finit_module"));
}

/* Trapping reads is dear, so it's asked for by a key of its own. */
Test(call, getters_have_no_name) {
        static const CallId getters[] = { CALL_GETXATTR, CALL_LGETXATTR, CALL_FGETXATTR, CALL_GETXATTRAT,
                CALL_LISTXATTR, CALL_LLISTXATTR, CALL_FLISTXATTR, CALL_LISTXATTRAT };
        CallSet expected = 0, set;

        for (size_t i = 0; i < G_N_ELEMENTS(getters); i++) {
                cr_expect_eq(call_set_from_name(call_to_string(getters[i]), &set), -ENOENT);
                expected |= CALL_BIT(getters[i]);
        }

        cr_expect_eq(call_set_read_back(), expected);
        cr_expect_eq(set_of("@all") & expected, 0);
}

Test(call, unknown_names) {
        static const char *const unknown[] = { "", "@", "@none", "all", "open", "mknod ", "~mknod" };
        CallSet set = 42;

        for (size_t i = 0; i < G_N_ELEMENTS(unknown); i++)
                cr_expect_eq(call_set_from_name(unknown[i], &set), -ENOENT, "%s", unknown[i]);

        cr_expect_eq(set, 42, "the result is written on success only");
}

Test(call, known_names_are_known) {
        size_t n = 0;

        for (; call_known_name(n); n++)
                cr_expect_neq(set_of(call_known_name(n)), 0);

        cr_expect_eq(n, 8);
        cr_expect_null(call_known_name(n + 1));
}

Test(call, empty_set) {
        g_autofree char *text = call_set_to_string(0);

        cr_expect_str_eq(text, "");
}
