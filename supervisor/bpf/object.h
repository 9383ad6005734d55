/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Programs and maps in the kernel, and whose they are.
 *
 * The kernel remembers which user loaded a program. We load as the caller (its id as the host knows it), so
 * it's the kernel that tells programs of one container from the host's and from those of other containers, at
 * any time, whichever supervisor loaded them. It doesn't remember that of maps: those that we make have a
 * name of ours, which says the same. Other containers may give their maps any name, if they've a token for
 * it, so there's a secret of the target in it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/policy.h"
#include "supervisor/bpf/attr.h"
#include "supervisor/request.h"

/* bpf(2) with just these capabilities in effect. Return: 0 or more, or a negative errno. */
int bpf_call(unsigned command, BpfAttr *attr, size_t size, CapabilitySet capabilities);

/* The same as the caller, who is noted as the owner of what's made. */
int bpf_call_as(const Caller *caller, unsigned command, BpfAttr *attr, size_t size,
                CapabilitySet capabilities);

/* How large the running kernel's union bpf_attr is. */
size_t bpf_kernel_attr_size(void);

/* What "fd" is. Return: 0; -EINVAL if it's something else than a program (or map); another negative errno. */
int bpf_program_info(int fd, ProgramInfo *ret);
int bpf_map_info(int fd, MapInfo *ret);

/* The id of a program, map or link that's known to be one. Return: 0 or a negative errno. */
int bpf_object_id(int fd, uint32_t *ret);

/* Opens a program by its id. Return: a new fd, -ENOENT if there's none, or another negative errno. */
int bpf_open_program(uint32_t id);

/* Is this program (or map) one of the caller's container? */
bool bpf_program_is_own(const Caller *caller, const ProgramInfo *info);
/* The same of a program's id. Return: 1, 0, -ENOENT if there's none, or another negative errno. */
int bpf_program_id_is_own(const Caller *caller, uint32_t id);
bool bpf_map_is_own(const Request *request, const MapInfo *info);

/* Writes the name that maps of the caller's container have. */
void bpf_map_own_name(const Request *request, char ret[BPF_NAME_SIZE]);

/* Is there room for one more in the container (MaxPrograms=, MaxMaps=)? Return: 0, -EMFILE if there's none,
 * or another negative errno. */
int bpf_room_for_program(const Request *request);
int bpf_room_for_map(const Request *request);
