/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <glib.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <stddef.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <grp.h>

#include "basic/log.h"
#include "supervisor/privilege.h"

const CapabilitySet privilege_base = CAPABILITY_BIT(CAP_SYS_PTRACE) | CAPABILITY_BIT(CAP_SYS_ADMIN) |
                                     CAPABILITY_BIT(CAP_SYS_CHROOT) | CAPABILITY_BIT(CAP_SETUID) |
                                     CAPABILITY_BIT(CAP_SETGID);

const CapabilitySet privilege_dac = CAPABILITY_BIT(CAP_DAC_OVERRIDE) | CAPABILITY_BIT(CAP_DAC_READ_SEARCH) |
                                    CAPABILITY_BIT(CAP_FOWNER) | CAPABILITY_BIT(CAP_FSETID);

/* Effective only while something is done that needs them: privilege_raise(). */
#define PRIVILEGE_SLEEPING (privilege_dac | CAPABILITY_BIT(CAP_SYS_NICE))

/* What's in force, so that the usual call changes nothing. */
static struct {
        CapabilitySet permitted;
        CapabilitySet effective;
        uid_t uid;
        gid_t gid;
        gid_t groups[256];
        size_t n_groups;
        bool groups_known;
        mode_t mask;
        bool mask_known;
} current;

/* capget(2) and capset(2) themselves: libcap's cap_set_proc() allocates and makes several calls, and this is
 * on the hot path. */
static int capabilities_get(struct __user_cap_data_struct data[2]) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };

        return syscall(SYS_capget, &header, data) < 0 ? -errno : 0;
}

static int capabilities_set(CapabilitySet effective, CapabilitySet permitted) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        const struct __user_cap_data_struct data[2] = {
                { .effective = (uint32_t) effective, .permitted = (uint32_t) permitted },
                { .effective = (uint32_t) (effective >> 32), .permitted = (uint32_t) (permitted >> 32) },
        };

        if (syscall(SYS_capset, &header, data) < 0)
                return -errno;

        current.permitted = permitted;
        current.effective = effective;
        return 0;
}

int privilege_drop(CapabilitySet keep) {
        struct __user_cap_data_struct data[2];
        CapabilitySet permitted;
        int r, n;

        r = capabilities_get(data);
        if (r < 0)
                return r;

        permitted = ((CapabilitySet) data[1].permitted << 32 | data[0].permitted) & keep;

        (void) prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);

        /* Without SETPCAP (an unprivileged embedded supervisor) there's nothing in the bounding set worth
         * dropping, as no_new_privs below keeps every exec from gaining. */
        for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
                if (cap >= 64 || !(keep & CAPABILITY_BIT(cap)))
                        (void) prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);

        /* The file system ids will be the caller's: that mustn't cost us CAP_MKNOD and the like. Needs
         * SETPCAP, so it's done before. Only root loses capabilities that way. */
        if (geteuid() == 0 && prctl(PR_SET_SECUREBITS,
                                              SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
                                                              SECBIT_NOROOT | SECBIT_NOROOT_LOCKED,
                                              0, 0, 0) < 0)
                return -errno;

        r = capabilities_set(permitted & ~PRIVILEGE_SLEEPING, permitted);
        if (r < 0)
                return r;

        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
                return -errno;

        current.uid = geteuid();
        current.gid = getegid();

        /* Who may not change its groups needn't, as long as they're the caller's. */
        n = getgroups((int) G_N_ELEMENTS(current.groups), current.groups);
        current.groups_known = n >= 0;
        current.n_groups = n >= 0 ? (size_t) n : 0;
        return 0;
}

int privilege_keep_only(CapabilitySet keep) {
        struct __user_cap_data_struct data[2];
        CapabilitySet permitted;
        int r;

        r = capabilities_get(data);
        if (r < 0)
                return r;

        permitted = ((CapabilitySet) data[1].permitted << 32 | data[0].permitted) & keep;
        return capabilities_set(permitted, permitted);
}

int privilege_raise(CapabilitySet set) {
        CapabilitySet wanted = (current.permitted & ~PRIVILEGE_SLEEPING) | (current.permitted & set);

        return wanted == current.effective ? 0 : capabilities_set(wanted, current.permitted);
}

int privilege_limit(CapabilitySet set) {
        CapabilitySet wanted = current.permitted & set;

        return wanted == current.effective ? 0 : capabilities_set(wanted, current.permitted);
}

/* What it was before. */
static uid_t resting_uid, resting_fsuid;

int privilege_take_real_uid(uid_t uid) {
        resting_uid = getuid();
        resting_fsuid = current.uid;

        if (syscall(SYS_setresuid, uid, (uid_t) -1, (uid_t) -1) < 0)
                return -errno;

        current.uid = geteuid(); /* It makes that the file system uid. */
        return 0;
}

int privilege_return_real_uid(void) {
        if (syscall(SYS_setresuid, resting_uid, (uid_t) -1, (uid_t) -1) < 0)
                return -errno;

        current.uid = geteuid();
        if (current.uid == resting_fsuid)
                return 0;

        setfsuid(resting_fsuid);
        if (setfsuid((uid_t) -1) != (int) resting_fsuid)
                return -EPERM;
        current.uid = resting_fsuid;
        return 0;
}

static bool groups_are_current(const gid_t *groups, size_t n) {
        return current.groups_known && current.n_groups == n &&
               (n == 0 || memcmp(current.groups, groups, n * sizeof(gid_t)) == 0);
}

int privilege_take_ids(uid_t uid, gid_t gid, const gid_t *groups, size_t n_groups, mode_t mask) {
        if (!groups_are_current(groups, n_groups)) {
                if (setgroups(n_groups, groups) < 0)
                        return -errno;

                current.groups_known = n_groups <= G_N_ELEMENTS(current.groups);
                current.n_groups = n_groups;
                if (current.groups_known && n_groups > 0)
                        memcpy(current.groups, groups, n_groups * sizeof(gid_t));
        }

        if (current.gid != gid) {
                setfsgid(gid);
                /* setfsgid(2) doesn't report errors; asking for an impossible id tells which one is in force.
                 */
                if (setfsgid((gid_t) -1) != (int) gid)
                        return -EPERM;
                current.gid = gid;
        }

        if (current.uid != uid) {
                setfsuid(uid);
                if (setfsuid((uid_t) -1) != (int) uid)
                        return -EPERM;
                current.uid = uid;
        }

        if (!current.mask_known || current.mask != mask) {
                (void) umask(mask);
                current.mask = mask;
                current.mask_known = true;
        }

        return 0;
}
