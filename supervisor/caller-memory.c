/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "supervisor/caller.h"
#include "supervisor/procmap.h"
#include "supervisor/thread-entry.h"

int caller_read(const Caller *caller, uint64_t address, void *buffer, size_t size) {
        struct iovec local = { .iov_base = buffer, .iov_len = size };
        struct iovec remote = { .iov_base = (void *) (uintptr_t) address, .iov_len = size };
        ssize_t n;

        if (size == 0)
                return 0;

        n = process_vm_readv(caller->tid, &local, 1, &remote, 1, 0);
        if (n < 0)
                return thread_gone_or(errno);

        return (size_t) n == size ? 0 : -EFAULT;
}

int caller_read_both(const Caller *caller, uint64_t address_a, void *a, size_t size_a, uint64_t address_b,
                void *b, size_t size_b) {
        struct iovec local[] = { { a, size_a }, { b, size_b } };
        struct iovec remote[] = {
                { (void *) (uintptr_t) address_a, size_a },
                { (void *) (uintptr_t) address_b, size_b },
        };
        ssize_t n = process_vm_readv(caller->tid, local, 2, remote, 2, 0);

        if (n < 0)
                return thread_gone_or(errno);

        return (size_t) n == size_a + size_b ? 0 : -EFAULT;
}

size_t caller_page_rest(uint64_t address) {
        static size_t page_size;

        if (page_size == 0)
                page_size = (size_t) sysconf(_SC_PAGESIZE);

        return page_size - (address & (page_size - 1));
}

ssize_t caller_read_string(const Caller *caller, uint64_t address, char *buffer, size_t size) {
        size_t done = 0;

        /* Up to the end of a page at a time: what lies behind the string may not be mapped. */
        while (done < size) {
                size_t step = caller_page_rest(address + done);
                const char *end;
                int r;

                if (step > size - done)
                        step = size - done;

                r = caller_read(caller, address + done, buffer + done, step);
                if (r < 0)
                        return r;

                end = memchr(buffer + done, 0, step);
                if (end)
                        return end - buffer;
                done += step;
        }

        return -ENAMETOOLONG;
}

int caller_open_memory(Caller *caller) {
        int r;

        /* The entry is closed to all but its owner, whose ids needn't be those in force. Our right to write
         * to the process (ptrace access) is checked all the same. */
        r = privilege_raise(CAPABILITY_BIT(CAP_DAC_OVERRIDE));
        if (r < 0)
                return r;

        caller->mem_fd = openat(caller->proc_fd, "mem", O_RDWR | O_CLOEXEC);
        r = caller->mem_fd < 0 ? thread_gone_or(errno) : 0;
        return privilege_raise(0) < 0 ? -EPERM : r;
}

int caller_write(Caller *caller, uint64_t address, const void *data, size_t size) {
        size_t done = 0;
        int r;

        if (size == 0)
                return 0;

        /* /proc/PID/mem writes through read-only mappings, as a debugger may; the caller itself gets EFAULT.
         */
        r = procmap_check_writable(caller->proc_fd, address, size);
        if (r < 0)
                return r;

        while (done < size) {
                ssize_t n = pwrite(caller->mem_fd, (const char *) data + done, size - done,
                                (off_t) (address + done));

                if (n <= 0) /* 0: the memory is gone, and with it the call. */
                        return n < 0 && errno != EIO ? -errno : -EFAULT;
                done += (size_t) n;
        }

        return 0;
}
