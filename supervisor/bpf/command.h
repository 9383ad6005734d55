/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The commands of bpf(2) that are served, one function each. Which privilege each lends, and what's done
 * against whoever wants more, is said in handlers/bpf.c. */

#include "supervisor/bpf/attr.h"
#include "supervisor/request.h"

/* A call, with its attributes as they were copied. */
typedef struct BpfRequest {
        Request *request;
        unsigned command;
        uint64_t address; /* of the attributes, for results */
        size_t size;      /* of what the caller has there; what's beyond is zero in "attr" */
        BpfAttr attr;
} BpfRequest;

/* The handler's side of each: called after the caller was identified, unless it's a program or a map that
 * isn't lent to anyone; they verify it. */
typedef Verdict (*BpfCommandFunc)(BpfRequest *b, int64_t *ret_result);

Verdict bpf_prog_load(BpfRequest *b, int64_t *ret_result);
Verdict bpf_prog_load_delegated(BpfRequest *b, int64_t *ret_result);
Verdict bpf_map_create(BpfRequest *b, int64_t *ret_result);
Verdict bpf_map_freeze(BpfRequest *b, int64_t *ret_result);
Verdict bpf_prog_attach(BpfRequest *b, int64_t *ret_result);
Verdict bpf_prog_detach(BpfRequest *b, int64_t *ret_result);
Verdict bpf_link_create(BpfRequest *b, int64_t *ret_result);
Verdict bpf_prog_query(BpfRequest *b, int64_t *ret_result);
Verdict bpf_prog_get_fd_by_id(BpfRequest *b, int64_t *ret_result);

/* Does the policy lend this program, or maps at all? (To whom is another question.) */
bool bpf_prog_is_lent(const BpfRequest *b);
/* A load with a token, by a policy that lends such? */
bool bpf_prog_is_delegated(const BpfRequest *b);
bool bpf_map_is_lent(const BpfRequest *b);
bool bpf_map_freeze_is_lent(const BpfRequest *b);

/* Refuses, and says what was asked ("format", NULL for just the command) and by which policy line it could be
 * had
 * ("hint", may be NULL, static). */
__attribute__((format(printf, 4, 5))) Verdict bpf_refuse(
                BpfRequest *b, Reason reason, const char *hint, const char *format, ...);

/* Answers with a result. The text as above. */
__attribute__((format(printf, 4, 5))) Verdict bpf_answer(
                BpfRequest *b, int64_t result, int64_t *ret_result, const char *format, ...);

/* May the caller borrow "capability", for which the kernel also takes CAP_SYS_ADMIN? */
Reason bpf_may_borrow(const BpfRequest *b, int capability);

/* Are programs lent that are attached there, and to this caller? *ret_hint is the policy's line for it, or
 * NULL. */
Reason bpf_may_act(const BpfRequest *b, uint32_t attach_type, const char **ret_hint);

/* Are these bytes of the attributes zero, "to" excluded? */
bool bpf_is_zero(const BpfRequest *b, size_t from, size_t to);
/* All from this byte on? */
bool bpf_rest_is_zero(const BpfRequest *b, size_t from);

/* Gives the caller a descriptor for what was made, whose id is "id" and whose fdinfo has it as "field". A
 * predecessor may have done so already: ask bpf_given() first. Return: the caller's descriptor or a negative
 * errno. */
int bpf_give(BpfRequest *b, int fd);
/* Return: the descriptor that a predecessor gave the caller for this call, or a negative errno. */
int bpf_given(BpfRequest *b, const char *field);
