/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "basic/log.h"
#include "basic/target-state.h"
#include "daemon/daemon-limits.h"
#include "daemon/manager.h"
#include "daemon/unit-policy.h"
#include "daemon/unit.h"
#include "policy/policy.h"

#define TIMEOUT_DEFAULT_USEC (30 * USEC_PER_SEC)

static void log_problems(const Policy *policy) {
        for (unsigned i = 0; i < policy->problems->len; i++) {
                const PolicyProblem *problem = policy->problems->pdata[i];
                g_autofree char *text = policy_problem_to_string(problem);

                (void) log_internal(problem->level, 0, "%s", text);
        }
}

/* Takes over what the daemon needs of the policy. "refused" is why the unit can't have one, or NULL. */
static void summarise(UnitPolicy *p, const Policy *policy, const char *refused) {
        CallSet calls = 0;

        g_clear_pointer(&p->error, g_free);
        g_clear_pointer(&p->text, g_free);
        g_clear_pointer(&p->files, g_strfreev);

        if (policy->has_files && refused)
                p->error = g_strdup(refused);
        else if (policy->error)
                p->error = g_strdup(policy->error);
        else if (policy->has_files)
                calls = policy_intercepted_calls(policy);

        p->calls = calls;
        p->on_failure = policy->on_failure;
        p->max_supervisors = CLAMP(policy->max_supervisors, 1, TARGET_STATE_SLOTS);
        p->timeout_usec = policy->timeout_usec > 0 ? policy->timeout_usec : TIMEOUT_DEFAULT_USEC;
        p->text = calls != 0 ? policy_to_text(policy) : g_strdup("");
        p->files = g_new0(char *, policy->files->len + 1);
        for (unsigned i = 0; i < policy->files->len; i++)
                p->files[i] = g_strdup(policy->files->pdata[i]);
}

static int load(UnitPolicy *p) {
        g_autoptr(Policy) policy = NULL;
        int r;

        if (p->unit[0])
                r = policy_load_unit(p->unit, NULL, &policy);
        else
                r = policy_load_text("", 0, "", &policy);
        if (r < 0)
                return r;

        log_problems(policy);
        summarise(p, policy, unit_refused(p->unit, p->manager->own_unit));
        return 0;
}

int unit_policy_get(Manager *m, const char *unit, UnitPolicy **ret) {
        g_autoptr(UnitPolicy) p = NULL;
        int r;

        assert(m);
        assert(unit);
        assert(ret);

        p = g_hash_table_lookup(m->unit_policies, unit);
        if (p) {
                *ret = unit_policy_ref(g_steal_pointer(&p));
                return 0;
        }

        p = g_new0(UnitPolicy, 1);
        p->n_ref = 1;
        p->unit = g_strdup(unit);
        p->manager = m;

        r = load(p);
        if (r < 0) {
                p->manager = NULL;
                return r;
        }

        g_hash_table_insert(m->unit_policies, p->unit, p);
        *ret = g_steal_pointer(&p);
        return 0;
}

int unit_policy_reload(UnitPolicy *p) {
        g_autofree char *old_text = g_strdup(p->text), *old_error = g_strdup(p->error);
        g_auto(GStrv) old_files = g_strdupv(p->files);
        CallSet old_calls = p->calls;
        int r;

        r = load(p);
        if (r < 0)
                return r;

        return old_calls != p->calls || strcmp(old_text, p->text) != 0 ||
               g_strcmp0(old_error, p->error) != 0 ||
               !g_strv_equal((const char *const *) old_files, (const char *const *) p->files);
}

UnitPolicy *unit_policy_ref(UnitPolicy *p) {
        p->n_ref++;
        return p;
}

UnitPolicy *unit_policy_unref(UnitPolicy *p) {
        if (!p || --p->n_ref > 0)
                return NULL;

        if (p->manager)
                g_hash_table_remove(p->manager->unit_policies, p->unit);

        g_free(p->unit);
        g_free(p->error);
        g_free(p->text);
        g_strfreev(p->files);
        g_free(p);
        return NULL;
}
