/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From a set of calls to one seccomp program for all architectures of the machine (x86_64, i386, x32;
 * aarch64, arm), which answers SECCOMP_RET_USER_NOTIF to what a policy might lend and SECCOMP_RET_ALLOW to
 * all else. What can be told from registers alone is told here, so that it wakes nobody: mknod of regular
 * files, FIFOs, sockets and whiteouts. */

#include <glib.h>
#include <linux/filter.h>
#include <stddef.h>

#include "policy/call.h"

typedef struct Filter {
        CallSet calls;
        size_t n_insns;
        struct sock_filter *insns;
} Filter;

/* Compiles. Return: 0; -ENODATA if the set is empty; -E2BIG beyond HANDOVER_INSNS_MAX; another negative
 * errno. */
int filter_new(CallSet calls, Filter **ret);

/* Writes the program for people ("pseudo filter code"), as a C array, or as bytes, to a descriptor. Return:
 * 0 or a negative errno. */
typedef enum FilterFormat {
        FILTER_FORMAT_PFC,
        FILTER_FORMAT_BPF,
        FILTER_FORMAT_C,
        _FILTER_FORMAT_INVALID = -22
} FilterFormat;
FilterFormat filter_format_from_string(const char *name);
int filter_export(const Filter *filter, FilterFormat format, int fd);

Filter *filter_free(Filter *filter);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Filter, filter_free)

/* Which call is this? "arch" is an AUDIT_ARCH_* of struct seccomp_data, "nr" its number (x32 has bit 30 set).
 * A table lookup, for the hot path; tables are built by filter_resolver_init() (call it once).
 * Return: the call, or _CALL_INVALID. */
void filter_resolver_init(void);
CallId filter_resolve(unsigned arch, int nr);
