/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The bytes of a module are copied once (law 3), into a child, which then gives up everything and reads the
 * name out of them. Opening and reading a file can hang (it may be a FUSE server's), as can reading memory
 * (userfaultfd): that's the child's affair, too, and it can be killed in it. */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/fd.h"
#include "supervisor/confine.h"
#include "supervisor/handlers/module-image.h"
#include "supervisor/privilege.h"
#include "supervisor/worker.h"

/* The caller's file (O_PATH), in the child. */
#define FILE_FD STDIN_FILENO

typedef struct Answer {
        int error; /* the caller's errno, negative; 0 */
        ModuleInfo info;
} Answer;

static void *allocate(size_t size) {
        void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        return bytes == MAP_FAILED ? NULL : bytes;
}

/* As kernel_read_file() does it. The file is opened anew, with the caller's ids: its own descriptor could
 * be moved about by the caller meanwhile. No capability is left by then: some files tell, or do, more for who
 * has one (a PCI device's "config" in /sys). */
static int copy_file(void **ret, size_t *ret_size) {
        _cleanup_close_ int fd = -1;
        struct stat st;
        char path[64];
        size_t done = 0;
        void *bytes;

        if (fstat(FILE_FD, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EINVAL;

        snprintf(path, sizeof(path), "/proc/self/fd/%i", FILE_FD);
        fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd < 0)
                return -errno;

        if (st.st_size <= 0)
                return -EINVAL;
        if (st.st_size > INT_MAX)
                return -EFBIG;
        bytes = st.st_size <= MODULE_IMAGE_MAX ? allocate((size_t) st.st_size) : NULL;
        if (!bytes)
                return -ENOMEM;

        while (done < (size_t) st.st_size) {
                ssize_t n = pread(fd, (char *) bytes + done, (size_t) st.st_size - done, (off_t) done);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        return -EIO; /* It has become shorter. */
                done += (size_t) n;
        }

        *ret = bytes;
        *ret_size = done;
        return 0;
}

static int copy_memory(const ModuleSource *source, void **ret, size_t *ret_size) {
        void *bytes;
        int r;

        if (source->size < 64) /* sizeof(Elf64_Ehdr) */
                return -ENOEXEC;
        bytes = source->size <= MODULE_IMAGE_MAX ? allocate((size_t) source->size) : NULL;
        if (!bytes)
                return -ENOMEM;

        r = caller_read(source->caller, source->address, bytes, (size_t) source->size);
        if (r < 0)
                return r;

        *ret = bytes;
        *ret_size = (size_t) source->size;
        return 0;
}

static int read_info(const ModuleSource *source, ModuleCompression compression, void *bytes, size_t size,
                ModuleInfo *ret) {
        int r;

        /* The kernel asks for the flag, but there's no harm in a compressed file without. */
        if (source->file_fd >= 0 && compression != MODULE_PLAIN) {
                r = module_decompress(compression, bytes, size, &bytes, &size);
                if (r < 0)
                        return r;
        } else if (source->compressed)
                return -EINVAL;

        r = modinfo_parse(bytes, size, ret);
        if (r < 0)
                return r;

        return modinfo_is_native(ret) ? 0 : -ENOEXEC;
}

/* What the child may hang in, it may hang in for ever: none of our descriptors is in its hands by then. The
 * listener would keep callers waiting after our end, others keep alive what it waits for. The file becomes
 * FILE_FD. */
static int give_up(const ModuleSource *source) {
        CapabilitySet keep = 0;
        int r;

        if (source->file_fd < 0)
                keep = CAPABILITY_BIT(CAP_SYS_PTRACE); /* For the caller's memory. */
        else if (dup2(source->file_fd, FILE_FD) < 0)
                return -errno;

        r = worker_close_files(STDERR_FILENO + 1);
        if (r < 0)
                return r;

        confine_offer_to_oom_killer();
        r = privilege_keep_only(keep);
        return r < 0 ? r : worker_end_with_parent();
}

/* In the child. */
static int copy_and_read(void *userdata, void *ret, int *ret_fd) {
        const ModuleSource *source = userdata;
        bool by_file = source->file_fd >= 0;
        ModuleCompression compression;
        Answer *answer = ret;
        void *bytes = NULL;
        size_t size = 0;
        int r;

        r = give_up(source);
        if (r < 0)
                return r;

        answer->error = by_file ? copy_file(&bytes, &size) : copy_memory(source, &bytes, &size);
        if (answer->error < 0)
                return 0;

        compression = by_file ? module_image_compression(bytes, size) : MODULE_PLAIN;
        r = module_decompressor_open(compression);
        if (r < 0)
                return r;

        /* What it unpacks to while that grows, and what unpacking takes. */
        r = confine_worker(4 * (size_t) MODULE_IMAGE_MAX);
        if (r < 0)
                return r;

        answer->error = read_info(source, compression, bytes, size, &answer->info);
        return 0;
}

int module_image_read(const ModuleSource *source, uint64_t timeout_usec, int *ret_errno, ModuleInfo *ret) {
        Answer answer;
        int r;

        _Static_assert(sizeof(Answer) <= WORKER_ANSWER_MAX, "the answer fits");

        r = worker_run(copy_and_read, (void *) (uintptr_t) source, timeout_usec, &answer, sizeof(answer),
                        NULL);
        if (r < 0)
                return r;

        /* It may have been taken over by what it read: its word counts as the caller's own would. */
        if (answer.error > 0 || answer.error < -4095)
                return -EBADMSG;
        answer.info.name[MODULE_NAME_MAX] = 0;
        if (answer.error == 0 && *answer.info.name && !module_name_is_valid(answer.info.name))
                return -EBADMSG;

        *ret_errno = answer.error;
        if (answer.error == 0)
                *ret = answer.info;
        return 0;
}
