/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a kernel module says of itself: its name, out of the .modinfo section of its ELF file. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/policy-module.h"

typedef struct ModuleInfo {
        char name[MODULE_NAME_MAX + 1]; /* normalized; "" if it doesn't say */
        bool is_64;
        bool is_big_endian;
        uint16_t machine; /* EM_* */
} ModuleInfo;

/* Reads a module, of any machine: the bytes are an attacker's. Return: 0; -ENOEXEC for what the kernel would
 * say that of, as it comes to it before it looks at the code. */
int modinfo_parse(const void *bytes, size_t size, ModuleInfo *ret);

/* Could a module for this machine be loaded here? */
bool modinfo_is_native(const ModuleInfo *info);
