/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One table row per call: its name, the family that SystemCalls= lends as a whole, and its number if it was
 * born after the kernel unified the tables of its architectures. A group is a set of families; adding a call
 * is adding its row, adding a family is adding its entry and naming it in the groups it belongs to. */

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "policy/call.h"

typedef enum Family {
        FAMILY_MKNOD,
        FAMILY_SETXATTR,
        FAMILY_GETXATTR, /* has no name of its own: lent by ReadBack= */
        FAMILY_MOUNT,
        FAMILY_SYSINFO,
        FAMILY_SCHEDULING,
        FAMILY_BPF,
        FAMILY_MODULE,
} Family;

#define FAMILY_BIT(family) (1u << (family))

static const struct {
        const char *name;
        Family family;
        int unified_number;
} calls[_CALL_MAX] = {
        [CALL_MKNOD] = { "mknod", FAMILY_MKNOD, -1 },
        [CALL_MKNODAT] = { "mknodat", FAMILY_MKNOD, -1 },
        [CALL_SETXATTR] = { "setxattr", FAMILY_SETXATTR, -1 },
        [CALL_LSETXATTR] = { "lsetxattr", FAMILY_SETXATTR, -1 },
        [CALL_FSETXATTR] = { "fsetxattr", FAMILY_SETXATTR, -1 },
        [CALL_SETXATTRAT] = { "setxattrat", FAMILY_SETXATTR, 463 },
        [CALL_REMOVEXATTR] = { "removexattr", FAMILY_SETXATTR, -1 },
        [CALL_LREMOVEXATTR] = { "lremovexattr", FAMILY_SETXATTR, -1 },
        [CALL_FREMOVEXATTR] = { "fremovexattr", FAMILY_SETXATTR, -1 },
        [CALL_REMOVEXATTRAT] = { "removexattrat", FAMILY_SETXATTR, 466 },
        [CALL_GETXATTR] = { "getxattr", FAMILY_GETXATTR, -1 },
        [CALL_LGETXATTR] = { "lgetxattr", FAMILY_GETXATTR, -1 },
        [CALL_FGETXATTR] = { "fgetxattr", FAMILY_GETXATTR, -1 },
        [CALL_GETXATTRAT] = { "getxattrat", FAMILY_GETXATTR, 464 },
        [CALL_LISTXATTR] = { "listxattr", FAMILY_GETXATTR, -1 },
        [CALL_LLISTXATTR] = { "llistxattr", FAMILY_GETXATTR, -1 },
        [CALL_FLISTXATTR] = { "flistxattr", FAMILY_GETXATTR, -1 },
        [CALL_LISTXATTRAT] = { "listxattrat", FAMILY_GETXATTR, 465 },
        [CALL_MOUNT] = { "mount", FAMILY_MOUNT, -1 },
        [CALL_FSOPEN] = { "fsopen", FAMILY_MOUNT, 430 },
        [CALL_FSCONFIG] = { "fsconfig", FAMILY_MOUNT, 431 },
        [CALL_FSMOUNT] = { "fsmount", FAMILY_MOUNT, 432 },
        [CALL_MOVE_MOUNT] = { "move_mount", FAMILY_MOUNT, 429 },
        [CALL_MOUNT_SETATTR] = { "mount_setattr", FAMILY_MOUNT, 442 },
        [CALL_SYSINFO] = { "sysinfo", FAMILY_SYSINFO, -1 },
        [CALL_SCHED_SETSCHEDULER] = { "sched_setscheduler", FAMILY_SCHEDULING, -1 },
        [CALL_SCHED_SETPARAM] = { "sched_setparam", FAMILY_SCHEDULING, -1 },
        [CALL_SCHED_SETATTR] = { "sched_setattr", FAMILY_SCHEDULING, -1 },
        [CALL_SETPRIORITY] = { "setpriority", FAMILY_SCHEDULING, -1 },
        [CALL_IOPRIO_SET] = { "ioprio_set", FAMILY_SCHEDULING, -1 },
        [CALL_BPF] = { "bpf", FAMILY_BPF, -1 },
        [CALL_INIT_MODULE] = { "init_module", FAMILY_MODULE, -1 },
        [CALL_FINIT_MODULE] = { "finit_module", FAMILY_MODULE, -1 },
};

/* What people are told to write in SystemCalls=: the families by their plainest call, then the groups. */
static const struct {
        const char *name;
        unsigned families;
} names[] = {
        { "mknod", FAMILY_BIT(FAMILY_MKNOD) },
        { "setxattr", FAMILY_BIT(FAMILY_SETXATTR) },
        { "mount", FAMILY_BIT(FAMILY_MOUNT) },
        { "sysinfo", FAMILY_BIT(FAMILY_SYSINFO) },
        { "sched_setscheduler", FAMILY_BIT(FAMILY_SCHEDULING) },
        { "bpf", FAMILY_BIT(FAMILY_BPF) },
        { "finit_module", FAMILY_BIT(FAMILY_MODULE) },
        { "@all", ~FAMILY_BIT(FAMILY_GETXATTR) },
};

const char *call_to_string(CallId id) {
        return (int) id >= 0 && id < _CALL_MAX ? calls[id].name : NULL;
}

CallId call_from_string(const char *name) {
        g_assert(name);

        for (int i = 0; i < _CALL_MAX; i++)
                if (strcmp(calls[i].name, name) == 0)
                        return (CallId) i;

        return _CALL_INVALID;
}

static CallSet calls_of_families(unsigned families) {
        CallSet set = 0;

        for (int i = 0; i < _CALL_MAX; i++)
                if (families & FAMILY_BIT(calls[i].family))
                        set |= CALL_BIT(i);

        return set;
}

int call_set_from_name(const char *name, CallSet *ret) {
        unsigned families = 0;
        CallId id;

        g_assert(name);
        g_assert(ret);

        for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
                if (strcmp(names[i].name, name) == 0)
                        families = names[i].families;

        if (families == 0) {
                id = call_from_string(name);
                if (id == _CALL_INVALID || calls[id].family == FAMILY_GETXATTR)
                        return -ENOENT;

                families = FAMILY_BIT(calls[id].family);
        }

        *ret = calls_of_families(families);
        return 0;
}

const char *call_known_name(size_t i) {
        return i < G_N_ELEMENTS(names) ? names[i].name : NULL;
}

CallSet call_set_read_back(void) {
        return calls_of_families(FAMILY_BIT(FAMILY_GETXATTR));
}

CallSet call_set_new_mount_api(void) {
        return CALL_BIT(CALL_FSOPEN) | CALL_BIT(CALL_FSCONFIG) | CALL_BIT(CALL_FSMOUNT) |
               CALL_BIT(CALL_MOVE_MOUNT) | CALL_BIT(CALL_MOUNT_SETATTR);
}

char *call_set_to_string(CallSet set) {
        GString *text = g_string_new(NULL);

        for (int i = 0; i < _CALL_MAX; i++)
                if (call_set_contains(set, (CallId) i))
                        g_string_append_printf(text, "%s%s", text->len > 0 ? " " : "", calls[i].name);

        return g_string_free(text, FALSE);
}

int call_unified_number(CallId id) {
        return (int) id >= 0 && id < _CALL_MAX ? calls[id].unified_number : -1;
}

bool call_is_guarded(CallId id, const uint64_t args[6]) {
        if (id != CALL_BPF)
                return false;

        switch (args[0] & 0xffff) {
        case 8:  /* BPF_PROG_ATTACH */
        case 9:  /* BPF_PROG_DETACH */
        case 28: /* BPF_LINK_CREATE */
                return true;
        default:
                return false;
        }
}
