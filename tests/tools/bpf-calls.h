/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the parts of bpf-calls share: the current objects, and the calls that are made with them. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "supervisor/bpf/attr.h"

#include "bpf-programs.h"

#define PAGE 4096u

/* Descriptors; -1: none. "other" is the program put aside. */
extern int program, other, cgroup, map, value_map, token;

/* bpf(2): negative and errno, or what it returns. */
long call_bpf(unsigned command, void *attr, size_t size);
const char *error_name(int error);
/* Prints one line: the name, 0 or -1, and errno's name. */
void report(const char *name, long r);
/* What a load of this kind is told, with the token and the maps that there are. */
BpfAttr load_attr(Kind *kind);
/* Return: a descriptor, or -1 and errno. */
int load(Kind *kind);
uint32_t program_id(int fd);
/* It becomes the current map. */
long make_map(const char *kind);
/* The current program to the current cgroup; in place of the one aside, if "replace". */
long attach(unsigned flags, unsigned type, bool replace);
long detach(unsigned type, bool with_program);
uint32_t type_of(int fd);
long put(uint32_t key, uint64_t value);
long freeze(int fd);

/* All kinds of odd attributes, a line for each. "path" is of a cgroup to attach to. */
void odd(const char *path);
/* Of loads with a token. */
void odd_with_token(void);

/* Loads or attaches "n" times what another thread exchanges for something else meanwhile. Return: false if
 * there's no such race. */
bool race_by_name(const char *name, unsigned long n);
