/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/magic.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "basic/fd.h"
#include "supervisor/kernel-files.h"

/* Longer texts the kernel may show a page at a time. */
#define SHOWN_AT_ONCE 4096u

/* Of fs/configfs/mount.c, fs/fuse/control.c, ipc/mqueue.c, net/sunrpc/rpc_pipe.c, fs/nfsd/nfsctl.c and
 * fs/resctrl/internal.h: not in the kernel's headers for programs. */
#define CONFIGFS_MAGIC   0x62656570
#define FUSECTL_MAGIC    0x65735543
#define MQUEUE_MAGIC     0x19800202
#define RPC_PIPEFS_MAGIC 0x67596969
#define NFSD_MAGIC       0x6e667364
#define RESCTRL_MAGIC    0x7655821

bool is_kernel_file(int fd) {
        static const unsigned long magics[] = { PROC_SUPER_MAGIC, SYSFS_MAGIC, CGROUP_SUPER_MAGIC,
                CGROUP2_SUPER_MAGIC, BPF_FS_MAGIC, BINFMTFS_MAGIC, CONFIGFS_MAGIC, DEBUGFS_MAGIC,
                DEVPTS_SUPER_MAGIC, EFIVARFS_MAGIC, FUSECTL_MAGIC, MQUEUE_MAGIC, NFSD_MAGIC, NSFS_MAGIC,
                PSTOREFS_MAGIC, RESCTRL_MAGIC, RPC_PIPEFS_MAGIC, SECURITYFS_MAGIC, SELINUX_MAGIC, SMACK_MAGIC,
                TRACEFS_MAGIC };
        struct statfs s;

        if (fstatfs(fd, &s) < 0)
                return true;

        for (size_t i = 0; i < G_N_ELEMENTS(magics); i++)
                if ((unsigned long) s.f_type == magics[i])
                        return true;

        return false;
}

static ssize_t read_text(int fd, bool one_piece, char *buffer, size_t size) {
        size_t done = 0;

        while (done < size - 1) {
                ssize_t n = pread(fd, buffer + done, size - 1 - done, (off_t) done);

                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                done += (size_t) n;
                if (one_piece && done < SHOWN_AT_ONCE && buffer[done - 1] == '\n')
                        break;
        }

        buffer[done] = 0;
        return (ssize_t) done;
}

ssize_t read_kernel_file_piece(int fd, char *buffer, size_t size) {
        return read_text(fd, true, buffer, size);
}

ssize_t read_kernel_file_at(int directory_fd, const char *name, char *buffer, size_t size) {
        _cleanup_close_ int fd = -1;

        fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;

        return read_text(fd, false, buffer, size);
}
