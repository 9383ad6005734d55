/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Calls mknod(2) with a path in memory that userfaultfd(2) was told to fill and never does: whoever reads the
 * caller's memory waits for as long as this process lives. Prints "calling" before the call, and the call's
 * result if it ever returns. */

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static void die(const char *what) {
        fprintf(stderr, "uffd-hang: %s: %s\n", what, strerror(errno));
        exit(125);
}

int main(int argc, char *argv[]) {
        size_t page = (size_t) sysconf(_SC_PAGESIZE);
        struct uffdio_api api = { .api = UFFD_API };
        struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
        char *p;
        int fd, r;

        if (argc > 1) {
                puts("Usage: uffd-hang\nCalls mknod with a path in memory that never comes. Needs "
                     "vm.unprivileged_userfaultfd=1 or CAP_SYS_PTRACE.");
                return strcmp(argv[1], "--help") == 0 ? 0 : 125;
        }

        fd = (int) syscall(SYS_userfaultfd, O_CLOEXEC);
        if (fd < 0)
                die("userfaultfd");
        if (ioctl(fd, UFFDIO_API, &api) < 0)
                die("UFFDIO_API");
        p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
                die("mmap");
        range.range.start = (uintptr_t) p;
        range.range.len = page;
        if (ioctl(fd, UFFDIO_REGISTER, &range) < 0)
                die("UFFDIO_REGISTER");

        puts("calling");
        fflush(stdout);
        r = (int) syscall(SYS_mknod, p, S_IFCHR | 0600, makedev(1, 3));
        printf("mknod %d %s\n", r, r < 0 ? strerrorname_np(errno) : "OK");
        return 0;
}
