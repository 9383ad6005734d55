/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "basic/fd.h"
#include "supervisor/attach.h"
#include "supervisor/loop-device.h"

/* How often another process may take the free device first. */
#define ATTEMPTS_MAX 64u

static const char control_name[] = "loop-control", device_name[] = "loop";

/* Opens a device by its number, through a node of ours: the host's /dev needn't have one, and its name could
 * be anything. */
static int open_number(const char *name, mode_t type, dev_t number) {
        unsigned encoded = (minor(number) & 0xff) | (major(number) << 8) | ((minor(number) & ~0xffu) << 12);
        mode_t mask;
        int fd;

        mask = umask(0);
        fd = (int) syscall(SYS_mknodat, attach_staging_fd(), name, type | 0666, encoded);
        (void) umask(mask);
        if (fd < 0 && errno != EEXIST)
                return -errno;

        fd = openat(attach_staging_fd(), name, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                fd = -errno;
        (void) unlinkat(attach_staging_fd(), name, 0);
        return fd;
}

/* How many minors apart loop devices are depends on a parameter of the module. */
static int find_number(int index, dev_t *ret) {
        char path[64], text[32];
        _cleanup_close_ int fd = -1;
        unsigned major_number, minor_number;
        ssize_t n;

        snprintf(path, sizeof(path), "/sys/block/loop%i/dev", index);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;

        n = read(fd, text, sizeof(text) - 1);
        if (n < 0)
                return -errno;
        text[n] = 0;

        if (sscanf(text, "%u:%u", &major_number, &minor_number) != 2)
                return -EBADMSG;
        *ret = makedev(major_number, minor_number);
        return 0;
}

int loop_device_attach(int file_fd, bool read_only, int *ret_fd) {
        struct loop_config config = {
                .fd = (uint32_t) file_fd,
                .info.lo_flags = LO_FLAGS_AUTOCLEAR | (read_only ? LO_FLAGS_READ_ONLY : 0),
        };
        _cleanup_close_ int control = -1;
        int r;

        r = attach_setup();
        if (r < 0)
                return r;

        control = open_number(control_name, S_IFCHR, makedev(10, 237));
        if (control < 0)
                return control;

        for (unsigned i = 0; i < ATTEMPTS_MAX; i++) {
                _cleanup_close_ int device = -1;
                dev_t number = 0;
                int n;

                n = ioctl(control, LOOP_CTL_GET_FREE);
                if (n < 0)
                        return -errno;

                r = find_number(n, &number);
                if (r < 0)
                        return r;
                device = open_number(device_name, S_IFBLK, number);
                if (device < 0)
                        return device;

                if (ioctl(device, LOOP_CONFIGURE, &config) >= 0) {
                        *ret_fd = TAKE_FD(device);
                        return 0;
                }
                if (errno != EBUSY)
                        return -errno;
        }

        return -EBUSY;
}
