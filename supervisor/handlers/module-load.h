/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The host's own modules, by libkmod, in a child: of the caller nothing but a name that the policy has comes
 * here. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum ModuleOutcome {
        MODULE_TRIED,           /* the kernel's answer is the result */
        MODULE_NOT_FOUND,       /* the host has no such module */
        MODULE_BLACKLISTED,     /* by the host's modprobe.d(5) */
        MODULE_INSTALL_COMMAND, /* modprobe.d(5) has a command in place of the module or of one it needs */
} ModuleOutcome;

/* Is the module (a normalized name) in the kernel already, and running? */
bool module_is_live(const char *name);

/* Does one of the words mean this module, as an alias does on this host? Return: 1 yes, 0 no, or a negative
 * errno. */
int module_is_meant(const GPtrArray *words, const char *name, uint64_t timeout_usec);

/* Loads the host's module of that (normalized) name and what it depends on, with the host's options and after
 * those the given parameters. Return: the kernel's answer, 0 or a negative errno (-EEXIST: it's there) if
 * *ret_outcome is MODULE_TRIED; 0 with another outcome; or the negative errno of our own failure and
 * *ret_failed. */
int module_load(const char *name, const char *parameters, uint64_t timeout_usec, ModuleOutcome *ret_outcome,
                bool *ret_failed);
