/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/stat.h>

#include "supervisor/mount-id.h"

#ifndef STATX_MNT_ID_UNIQUE
#        define STATX_MNT_ID_UNIQUE 0x4000U
#endif

/* stx_mnt_id, where struct statx of an older libc still has spare room. See statx(2). */
#define STATX_MNT_ID_OFFSET 0x90

int mount_id_unique(int fd, uint64_t *ret) {
        union {
                struct statx x;
                unsigned char bytes[256];
        } u;

        if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID_UNIQUE, &u.x) < 0)
                return -errno;
        if (!(u.x.stx_mask & STATX_MNT_ID_UNIQUE))
                return -EOPNOTSUPP;

        *ret = *(const uint64_t *) (u.bytes + STATX_MNT_ID_OFFSET);
        return 0;
}
