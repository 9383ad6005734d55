/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A module as the caller has it, in a file or in its memory, looked at by a child that can do nothing else.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "supervisor/caller.h"
#include "supervisor/handlers/modinfo.h"

/* Neither what the caller has nor what it unpacks to may be larger. The largest modules are some 30 MiB. */
#define MODULE_IMAGE_MAX (128u * 1024u * 1024u)

typedef struct ModuleSource {
        const Caller *caller;
        int file_fd;     /* O_PATH; -1: in memory */
        bool compressed; /* MODULE_INIT_COMPRESSED_FILE */
        uint64_t address, size;
} ModuleSource;

typedef enum ModuleCompression {
        MODULE_PLAIN,
        MODULE_GZIP,
        MODULE_XZ,
        MODULE_ZSTD,
} ModuleCompression;

/* Copies the image and reads what it says of itself, the former as the caller (whose file system ids must be
 * in force), the latter without any privilege. Return: 0, and *ret_errno is 0 or the negative errno that the
 * kernel has for such an image (*ret is written if it's 0); or a negative errno if it couldn't be done, such
 * as -ETIMEDOUT. */
int module_image_read(const ModuleSource *source, uint64_t timeout_usec, int *ret_errno, ModuleInfo *ret);

/* For the child, and for tests of its parts. By its first bytes. */
ModuleCompression module_image_compression(const void *bytes, size_t size);
/* Opens the library. Return: 0 or -EOPNOTSUPP. */
int module_decompressor_open(ModuleCompression compression);
/* Unpacks up to MODULE_IMAGE_MAX bytes. Return: 0, and memory to be freed with free(); -EINVAL for what isn't
 * well-formed, -EFBIG for what's too long, -ENOMEM. */
int module_decompress(
                ModuleCompression compression, const void *bytes, size_t size, void **ret, size_t *ret_size);
