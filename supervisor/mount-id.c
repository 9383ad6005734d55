/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/stat.h>

#include "supervisor/mount-id.h"

#ifndef STATX_MNT_ID
#        define STATX_MNT_ID 0x1000U
#endif
#ifndef STATX_MNT_ID_UNIQUE
#        define STATX_MNT_ID_UNIQUE 0x4000U
#endif

/* stx_mnt_id, where struct statx of an older libc still has spare room. See statx(2). */
#define STATX_MNT_ID_OFFSET 0x90

static int read_id(int fd, unsigned mask, uint64_t *ret) {
        union {
                struct statx x;
                unsigned char bytes[256];
        } u;

        if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, mask, &u.x) < 0)
                return -errno;
        if (!(u.x.stx_mask & mask))
                return -EOPNOTSUPP;

        *ret = *(const uint64_t *) (u.bytes + STATX_MNT_ID_OFFSET);
        return 0;
}

int mount_id_unique(int fd, uint64_t *ret) {
        return read_id(fd, STATX_MNT_ID_UNIQUE, ret);
}

int mount_id(int fd, uint32_t *ret) {
        uint64_t id;
        int r = read_id(fd, STATX_MNT_ID, &id);

        if (r >= 0)
                *ret = (uint32_t) id;
        return r;
}

int mount_id_living(int fd, uint64_t *ret) {
        int r = mount_id_unique(fd, ret);

        return r >= 0 ? r : read_id(fd, STATX_MNT_ID, ret);
}
