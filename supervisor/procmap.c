/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "basic/fd.h"
#include "supervisor/procmap.h"

/* From linux/fs.h of 6.11, for older headers. */
#define PROCMAP_QUERY_COVERING_OR_NEXT 0x10u
#define PROCMAP_VMA_WRITABLE           0x02u

struct procmap_query_v1 {
        __u64 size;
        __u64 query_flags;
        __u64 query_addr;
        __u64 vma_start;
        __u64 vma_end;
        __u64 vma_flags;
        __u64 vma_page_size;
        __u64 vma_offset;
        __u64 inode;
        __u32 dev_major;
        __u32 dev_minor;
        __u32 vma_name_size;
        __u32 build_id_size;
        __u64 vma_name_addr;
        __u64 build_id_addr;
};

#define PROCMAP_QUERY_IOCTL _IOWR('f', 17, struct procmap_query_v1)

/* Return: as the public function; -ENOTTY if the kernel doesn't have the ioctl. */
static int check_by_query(int maps_fd, uint64_t address, uint64_t end) {
        while (address < end) {
                struct procmap_query_v1 query = {
                        .size = sizeof(query),
                        .query_flags = PROCMAP_QUERY_COVERING_OR_NEXT,
                        .query_addr = address,
                };

                if (ioctl(maps_fd, PROCMAP_QUERY_IOCTL, &query) < 0)
                        return errno == ENOENT ? -EFAULT : errno == ESRCH ? -ENOENT : -errno;

                if (query.vma_start > address || !(query.vma_flags & PROCMAP_VMA_WRITABLE))
                        return -EFAULT;

                address = query.vma_end;
        }

        return 0;
}

static int check_by_text(int maps_fd, uint64_t address, uint64_t end) {
        FILE *f;
        char line[8192];
        int r = -EFAULT;

        f = fdopen(maps_fd, "re");
        if (!f) {
                close_fd(maps_fd);
                return -errno;
        }

        while (fgets(line, sizeof(line), f)) {
                unsigned long long first, last;
                char permissions[5];

                if (sscanf(line, "%llx-%llx %4s", &first, &last, permissions) != 3)
                        continue;
                if (last <= address)
                        continue;
                if (first > address || permissions[1] != 'w')
                        break;

                address = last;
                if (address >= end) {
                        r = 0;
                        break;
                }
        }

        (void) fclose(f);
        return r;
}

int procmap_check_writable(int proc_fd, uint64_t address, size_t size) {
        _cleanup_close_ int fd = -1;
        uint64_t end;
        int r;

        if (__builtin_add_overflow(address, size, &end))
                return -EFAULT;

        fd = openat(proc_fd, "maps", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return errno == ESRCH ? -ENOENT : -errno;

        r = check_by_query(fd, address, end);
        if (r != -ENOTTY)
                return r;

        return check_by_text(TAKE_FD(fd), address, end);
}
