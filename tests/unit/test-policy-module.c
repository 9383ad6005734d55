/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* [Module]: what the keys take, and what's lent by them. */

#include <criterion/criterion.h>
#include <glib.h>
#include <string.h>

#include "policy/policy.h"

static Policy *load(const char *lines) {
        g_autofree char *text = g_strconcat("[Module]\n", lines, NULL);
        Policy *policy = NULL;

        cr_assert_eq(policy_load_text(text, strlen(text), "t.conf", &policy), 0);
        return policy;
}

Test(policy_module, names) {
        g_autoptr(Policy) policy = load("AllowModule=nf_nat xt-mark\nAllowModule=net-pf-10\n");

        cr_expect_eq(policy->problems->len, 0);
        cr_expect(policy_allows_module(policy, "nf_nat"));
        cr_expect(policy_allows_module(policy, "xt_mark"), "- and _ are the same");
        cr_expect_not(policy_allows_module(policy, "nf_nat_ftp"));
        cr_expect_not(policy_allows_module(policy, "nf_na"));
        cr_expect_not(policy_allows_module(policy, ""));
}

Test(policy_module, nothing_by_default) {
        g_autoptr(Policy) policy = load("AllowModule=a b\nAllowModule=\n");
        g_autoptr(Policy) broken = load("AllowModule=a\n[Module\n");

        cr_expect_not(policy_allows_module(policy, "a"));
        cr_expect_not(policy_allows_module_parameter(policy, "a", "p", "1"));
        cr_expect_not_null(broken->error);
        cr_expect_not(policy_allows_module(broken, "a"));
}

Test(policy_module, mistakes) {
        static const char *const lines[] = { "AllowModule=nf_*\n", "AllowModule=../x\n",
                "AllowModule=/lib/a.ko\n", "AllowModule=a?\n", "AllowModule=[a]\n", "AllowParameters=yes\n",
                "AllowParameters=.p\n", "AllowParameters=m.\n", "AllowParameters=m=p.x\n",
                "AllowParameters=m.=1\n", "AllowParameters=m.p\\\\\n" };

        for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
                g_autoptr(Policy) policy = load(lines[i]);

                cr_expect_eq(policy->problems->len, 1, "%s", lines[i]);
                cr_expect_null(policy->error);
                cr_expect_eq(policy->module.modules->len + policy->module.parameters->len, 0);
        }
}

Test(policy_module, parameters) {
        g_autoptr(Policy) policy = load("AllowParameters=nf-conntrack.hash-size dummy.numdummies=[1-4]\n"
                                        "AllowParameters=loop.*\n");

        cr_expect_eq(policy->problems->len, 0);
        cr_expect(policy_allows_module_parameter(policy, "nf_conntrack", "hash_size", "1"));
        cr_expect(policy_allows_module_parameter(policy, "nf_conntrack", "hash-size", NULL));
        cr_expect_not(policy_allows_module_parameter(policy, "nf_conntrack", "hash", "1"));
        cr_expect(policy_allows_module_parameter(policy, "dummy", "numdummies", "4"));
        cr_expect_not(policy_allows_module_parameter(policy, "dummy", "numdummies", "5"));
        cr_expect_not(policy_allows_module_parameter(policy, "dummy", "numdummies", "44"));
        cr_expect_not(policy_allows_module_parameter(policy, "dummy", "numdummies", NULL));
        cr_expect(policy_allows_module_parameter(policy, "loop", "max_loop", "9"));
        cr_expect_not(policy_allows_module_parameter(policy, "loopy", "max_loop", "9"));
}

Test(policy_module, wildcards_stay_on_their_side) {
        g_autoptr(Policy) policy = load("AllowParameters=m.a*=1\n");

        cr_expect(policy_allows_module_parameter(policy, "m", "ab", "1"));
        cr_expect_not(policy_allows_module_parameter(policy, "m", "ab", "2"));
        cr_expect_not(policy_allows_module_parameter(policy, "m", "ab", "2=1"));
}

Test(policy_module, survives_the_way_to_a_supervisor) {
        g_autoptr(Policy) policy = load("AllowModule=xt-mark net-pf-10\nAllowParameters=a-b.c=x-*\n");
        g_autofree char *text = policy_to_text(policy);
        g_autoptr(Policy) copy = NULL;

        cr_assert_eq(policy_load_text(text, strlen(text), "copy", &copy), 0);
        cr_expect(policy_equal(policy, copy));
        cr_expect(policy_allows_module(copy, "xt_mark"));
        cr_expect(policy_allows_module_parameter(copy, "a_b", "c", "x-1"));
}

Test(policy_module, valid_names) {
        g_autofree char *longest = g_strnfill(MODULE_NAME_MAX, 'm'),
                        *longer = g_strnfill(MODULE_NAME_MAX + 1, 'm');

        cr_expect(module_name_is_valid("snd-hda_intel2"));
        cr_expect(module_name_is_valid("8021q"));
        cr_expect(module_name_is_valid(longest));
        cr_expect_not(module_name_is_valid(longer));
        cr_expect_not(module_name_is_valid(""));
        cr_expect_not(module_name_is_valid("a/b"));
        cr_expect_not(module_name_is_valid(".."));
        cr_expect_not(module_name_is_valid("a b"));
        cr_expect_not(module_name_is_valid("a\xc3\xa4"));
}
