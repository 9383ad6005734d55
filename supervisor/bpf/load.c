/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* BPF_PROG_LOAD. */

#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/mman.h>

#include "basic/fd.h"
#include "supervisor/bpf/command.h"
#include "supervisor/bpf/instruction-check.h"
#include "supervisor/bpf/object.h"
#include "supervisor/bpf/type.h"
#include "supervisor/descriptor.h"

/* What the kernel takes from those who may load programs (BPF_COMPLEXITY_LIMIT_INSNS). */
#define KERNEL_INSTRUCTIONS_MAX 1000000u

/* The verifier's log may be that long. Of a larger buffer, so much is used. */
#define LOG_MAX (16u * 1024u * 1024u)

#define LOAD_CAPABILITIES (CAPABILITY_BIT(CAP_BPF) | CAPABILITY_BIT(CAP_NET_ADMIN))

typedef struct Program {
        struct bpf_insn insns[BPF_INSTRUCTIONS_MAX];
        char license[BPF_LICENSE_SIZE];
        int maps[BPF_PROGRAM_MAPS_MAX]; /* copies of the caller's descriptors */
        size_t n_maps;
        int map_numbers[BPF_PROGRAM_MAPS_MAX];   /* the caller's descriptors */
        unsigned map_uses[BPF_PROGRAM_MAPS_MAX]; /* MapUse, how it's named */
} Program;

static void program_done(Program *p) {
        for (size_t i = 0; i < p->n_maps; i++)
                close_fd(p->maps[i]);
        p->n_maps = 0;
}

/* The license, cut where the kernel cuts it. Return: 0 or a negative errno. */
static int read_license(const Caller *caller, uint64_t address, char ret[BPF_LICENSE_SIZE]) {
        ssize_t n = caller_read_string(caller, address, ret, BPF_LICENSE_SIZE - 1);

        ret[n == -ENAMETOOLONG ? BPF_LICENSE_SIZE - 1 : (n < 0 ? 0 : (size_t) n)] = 0;
        return n < 0 && n != -ENAMETOOLONG ? (int) n : 0;
}

/* Reads instructions and license, with one system call if the license ends before its page does. */
static int read_program(const Caller *caller, const BpfLoad *load, Program *p) {
        size_t size = load->n_instructions * sizeof(struct bpf_insn),
               rest = MIN(caller_page_rest(load->license), BPF_LICENSE_SIZE - 1);
        int r;

        if (caller_read_both(caller, load->instructions, p->insns, size, load->license, p->license, rest) >=
                                        0 &&
                        memchr(p->license, 0, rest))
                return 0;

        r = caller_read(caller, load->instructions, p->insns, size);
        return r < 0 ? r : read_license(caller, load->license, p->license);
}

/* Copies the descriptors of the maps that the program names, as it names them. Return: 0; -EBADF or -EINVAL
 * as the kernel; -E2BIG if they are too many; another negative errno. */
static int copy_maps(const Caller *caller, const BpfLoad *load, Program *p) {
        for (size_t i = 0; i < load->n_instructions; i++) {
                struct bpf_insn *insn = p->insns + i;
                size_t k = 0;
                int fd;

                if (insn->code != (BPF_LD | BPF_IMM | BPF_DW) ||
                                (insn->src_reg != BPF_PSEUDO_MAP_FD && insn->src_reg != BPF_PSEUDO_MAP_VALUE))
                        continue;

                while (k < p->n_maps && p->map_numbers[k] != insn->imm)
                        k++;
                if (k == p->n_maps) {
                        if (k == BPF_PROGRAM_MAPS_MAX)
                                return -E2BIG;

                        fd = descriptor_copy(caller, insn->imm, "bpf-map");
                        if (fd < 0)
                                return fd;
                        p->map_numbers[k] = insn->imm;
                        p->map_uses[k] = 0;
                        p->maps[p->n_maps++] = fd;
                }

                p->map_uses[k] |= insn->src_reg == BPF_PSEUDO_MAP_FD ? MAP_USE_LOOKUP : MAP_USE_VALUE;
                insn->imm = p->maps[k]; /* It means something in our own table from here on. */
        }

        return 0;
}

static bool map_is_lent(const Caller *caller, InstructionSet set, unsigned named, const MapInfo *info) {
        if (!bpf_map_is_own(caller, info))
                return false;

        for (unsigned use = MAP_USE_LOOKUP; use <= MAP_USE_VALUE; use <<= 1)
                if ((named & use) && !bpf_map_suits(set, use, info->type, info->flags))
                        return false;

        return true;
}

static bool maps_are_lent(const Caller *caller, InstructionSet set, const Program *p, int *ret_error) {
        *ret_error = 0;
        for (size_t i = 0; i < p->n_maps; i++) {
                MapInfo info;

                *ret_error = bpf_map_info(p->maps[i], &info);
                if (*ret_error < 0)
                        return true; /* The kernel's own answer, then. */
                if (!map_is_lent(caller, set, p->map_uses[i], &info))
                        return false;
        }

        return true;
}

bool bpf_prog_is_lent(const BpfRequest *b) {
        return bpf_program_sets(b->attr.load.type, b->request->policy->bpf.programs) != 0;
}

/* What isn't lent must not be there. */
static bool fields_are_lent(const BpfRequest *b) {
        const BpfLoad *load = &b->attr.load;

        for (size_t i = 0; i < sizeof(load->btf); i++)
                if (load->btf[i] != 0)
                        return false;
        for (size_t i = 0; i < sizeof(load->later); i++)
                if (load->later[i] != 0)
                        return false;

        return load->token == 0 && load->flags == 0 && load->interface == 0 &&
               load->n_instructions <= BPF_INSTRUCTIONS_MAX;
}

/* Of which set of instructions is it? Looks in what's lent first. Return: false if it's of none that's lent;
 * *ret_hint is then what would lend it, or NULL, and *ret_at what's in its way. */
static bool find_set(const BpfRequest *b, const Program *p, InstructionSet *ret, const char **ret_hint,
                size_t *ret_at) {
        const BpfLoad *load = &b->attr.load;
        unsigned lent = bpf_program_sets_for(load->type, load->attach_type, b->request->policy->bpf.programs),
                 others = bpf_program_sets_for(load->type, load->attach_type, UINT_MAX) & ~lent;
        size_t at;

        *ret_hint = NULL;
        *ret_at = 0;
        for (InstructionSet set = 0; set < _INSTRUCTION_SET_MAX; set++) {
                if (!(lent & INSTRUCTION_SET_BIT(set)))
                        continue;
                if (instruction_check(set, p->insns, load->n_instructions, &at) >= 0) {
                        *ret = set;
                        return true;
                }
                *ret_at = MAX(*ret_at, at); /* the set that it comes closest to */
        }

        for (InstructionSet set = 0; set < _INSTRUCTION_SET_MAX && !*ret_hint; set++)
                if ((others & INSTRUCTION_SET_BIT(set)) &&
                                instruction_check(set, p->insns, load->n_instructions, NULL) >= 0)
                        *ret_hint = bpf_set_hint(load->type, set);

        return false;
}

static Verdict refuse_load(BpfRequest *b, Reason reason, const char *hint, const char *why) {
        const BpfLoad *load = &b->attr.load;

        return bpf_refuse(b, reason, hint, "%s (%u), %u instructions%s", bpf_program_name(load->type),
                        load->type, load->n_instructions, why ?: "");
}

static Verdict refuse_instruction(BpfRequest *b, const char *hint, size_t at) {
        const BpfLoad *load = &b->attr.load;

        return bpf_refuse(b, REASON_PROGRAM_NOT_LENT, hint, "%s (%u), %u instructions, number %zu isn't lent",
                        bpf_program_name(load->type), load->type, load->n_instructions, at);
}

/* No character of a log. */
#define LOG_UNTOUCHED ((char) 0xff)

/* The verifier's log: in memory of ours, then in the caller's. */
typedef struct Log {
        char *bytes;
        uint32_t size;
        uint32_t true_size;
} Log;

/* Does it make sense to the kernel? As in bpf_verifier_log_attr_valid(). If not, we needn't have a buffer. */
static bool log_is_wanted(const BpfLoad *load) {
        return load->log_level != 0 && load->log_buffer != 0 && load->log_size != 0 &&
               load->log_size <= UINT32_MAX >> 2;
}

static int log_new(const BpfLoad *load, Log *ret) {
        void *p;

        ret->size = MIN(load->log_size, LOG_MAX);
        p = mmap(NULL, ret->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED)
                return -errno;

        ret->bytes = p;
        ret->bytes[0] = LOG_UNTOUCHED;
        return 0;
}

static void log_free(Log *log) {
        if (log->bytes)
                (void) munmap(log->bytes, log->size);
        log->bytes = NULL;
}

/* Return: 0, or -EFAULT as the kernel. */
static int log_write(const BpfRequest *b, const Log *log) {
        size_t n;

        if (log->bytes[0] == LOG_UNTOUCHED)
                return 0; /* The verifier wasn't reached. */

        n = log->true_size != 0 ? MIN(log->true_size, log->size)
                                : MIN(strnlen(log->bytes, log->size) + 1, log->size);

        return caller_write(&b->request->caller, b->attr.load.log_buffer, log->bytes, n);
}

/* Tells how long the log would have been, where caller and kernel know of it (6.4). What's there already
 * isn't written again: mostly both are 0. */
static int write_true_size(const BpfRequest *b, uint32_t true_size) {
        if (b->size < offsetof(BpfLoad, log_true_size) + sizeof(uint32_t) ||
                        bpf_kernel_attr_size() < offsetof(BpfLoad, log_true_size) + sizeof(uint32_t) ||
                        b->attr.load.log_true_size == true_size)
                return 0;

        return caller_write(&b->request->caller, b->address + offsetof(BpfLoad, log_true_size), &true_size,
                        sizeof(true_size));
}

/* Before 6.17 the verifier also follows what a processor may guess wrong, which has no end in a loop. With
 * CAP_PERFMON it doesn't, nor does it see to it that a program tells no addresses: for programs of this set
 * we do that ourselves (see compiled-check.h). It's lent only where it's needed. */
static bool may_try_again(const BpfRequest *b, InstructionSet set, int error) {
        return set == INSTRUCTIONS_SOCK_ADDR && (error == -EINVAL || error == -EFAULT || error == -E2BIG) &&
               bpf_may_borrow(b, CAP_PERFMON) == REASON_NONE;
}

/* The second attempt, without a log: who has CAP_PERFMON is told in it where in the kernel the maps are. So
 * the caller has the log of the first one, if that's why, and an empty one if it's been loaded. */
static int try_again(const BpfRequest *b, BpfAttr *attr, Log *log) {
        BpfAttr again = *attr;
        int fd;

        again.load.log_level = again.load.log_size = 0;
        again.load.log_buffer = 0;
        again.load.log_true_size = b->attr.load.log_true_size;

        fd = bpf_call_as(&b->request->caller, BPF_COMMAND_PROG_LOAD, &again, sizeof(again.load),
                        LOAD_CAPABILITIES | CAPABILITY_BIT(CAP_PERFMON));
        if (fd >= 0) {
                attr->load.log_true_size = again.load.log_true_size;
                if (log->bytes)
                        log->bytes[0] = 0;
        }
        return fd;
}

/* Loads it. Return: a new fd; or the negative errno that the caller would see. */
static int load_program(BpfRequest *b, InstructionSet set, Program *p) {
        const BpfLoad *asked = &b->attr.load;
        BpfAttr attr = { .load = {
                                         .type = asked->type,
                                         .n_instructions = asked->n_instructions,
                                         .instructions = (uintptr_t) p->insns,
                                         .license = (uintptr_t) p->license,
                                         .log_level = asked->log_level,
                                         .log_size = asked->log_size,
                                         .attach_type = asked->attach_type,
                                         .log_true_size = asked->log_true_size,
                         } };
        Log log = {};
        int fd, r;

        memcpy(attr.load.name, asked->name, sizeof(attr.load.name));

        if (log_is_wanted(asked)) {
                r = log_new(asked, &log);
                if (r < 0)
                        return r;
                attr.load.log_size = log.size;
                attr.load.log_buffer = (uintptr_t) log.bytes;
        } else if (asked->log_buffer != 0)
                return -EINVAL; /* As all kernels do, before they write anything. */

        fd = bpf_call_as(&b->request->caller, BPF_COMMAND_PROG_LOAD, &attr, sizeof(attr.load),
                        LOAD_CAPABILITIES);
        if (fd < 0 && may_try_again(b, set, fd))
                fd = try_again(b, &attr, &log);

        log.true_size = attr.load.log_true_size != asked->log_true_size ? attr.load.log_true_size : 0;
        r = log.bytes ? log_write(b, &log) : 0;
        log_free(&log);
        if (r >= 0)
                r = write_true_size(b, attr.load.log_true_size);
        if (r < 0) {
                close_fd(fd);
                return r;
        }

        return fd;
}

static int load_and_give(BpfRequest *b, InstructionSet set, Program *p) {
        _cleanup_close_ int fd = -1;
        int r;

        r = bpf_given(b, "prog_id");
        if (r >= 0)
                return r;

        r = bpf_room_for_program(
                        &b->request->caller, b->request->policy->bpf.max_programs, bpf_calls_emulated(b));
        if (r < 0)
                return r;

        fd = load_program(b, set, p);
        return fd < 0 ? fd : bpf_give(b, fd);
}

static bool may_load(const BpfRequest *b, Reason *ret) {
        *ret = bpf_may_borrow(b, CAP_BPF);
        if (*ret == REASON_NONE)
                *ret = bpf_may_borrow(b, CAP_NET_ADMIN);
        return *ret == REASON_NONE;
}

/* Reads all that the program is made of. Return: 0, or a negative errno as the kernel's. */
static int prepare(BpfRequest *b, unsigned sets, Program *p) {
        const unsigned without_maps =
                        INSTRUCTION_SET_BIT(INSTRUCTIONS_CONSTANT) | INSTRUCTION_SET_BIT(INSTRUCTIONS_DEVICE);
        const BpfLoad *load = &b->attr.load;
        Caller *caller = &b->request->caller;
        int r;

        r = read_program(caller, load, p);
        if (r >= 0 && (sets & ~without_maps))
                r = copy_maps(caller, load, p);
        /* Results go through memory that was opened while the caller was still there. */
        if (r >= 0 && (load->log_level != 0 || load->log_true_size != 0))
                r = caller_open_memory(caller);
        return r;
}

static Verdict load_checked(BpfRequest *b, unsigned sets, Program *p, int64_t *ret_result) {
        const BpfLoad *load = &b->attr.load;
        InstructionSet set;
        const char *hint;
        size_t at;
        int r;

        r = prepare(b, sets, p);
        if (caller_verify(&b->request->caller) < 0)
                return VERDICT_CONTINUED;
        if (r == -E2BIG)
                return refuse_load(b, REASON_PROGRAM_NOT_LENT, NULL, ", too many maps");
        if (r == -EFAULT || r == -EBADF || r == -EINVAL)
                return bpf_answer(b, r, ret_result, "%s", bpf_program_name(load->type));
        if (r < 0)
                return request_fail(b->request, r, ret_result);

        if (!find_set(b, p, &set, &hint, &at))
                return refuse_instruction(b, hint, at);
        if (!maps_are_lent(&b->request->caller, set, p, &r))
                return refuse_load(b, REASON_PROGRAM_NOT_LENT, NULL,
                                ", a map that isn't the container's, or of another kind");

        if (r >= 0)
                r = load_and_give(b, set, p);
        return bpf_answer(b, r, ret_result, "%s, %u instructions", bpf_program_name(load->type),
                        load->n_instructions);
}

/* A number of instructions that no kernel takes. Whether it says so before it looks at the license depends on
 * its version, so it's asked; it doesn't come as far as the instructions. */
static Verdict load_impossible(BpfRequest *b, Program *p, int64_t *ret_result) {
        const BpfLoad *load = &b->attr.load;
        BpfAttr attr = { .load = { .type = load->type, .n_instructions = load->n_instructions } };
        int r;

        r = read_license(&b->request->caller, load->license, p->license);
        if (caller_verify(&b->request->caller) < 0)
                return VERDICT_CONTINUED;

        attr.load.license = r < 0 ? 0 : (uintptr_t) p->license;
        r = bpf_call(BPF_COMMAND_PROG_LOAD, &attr, sizeof(attr.load), LOAD_CAPABILITIES);
        if (r >= 0) { /* It can't be. */
                close_fd(r);
                r = -E2BIG;
        }

        return bpf_answer(b, r, ret_result, "%s", bpf_program_name(load->type));
}

Verdict bpf_prog_load(BpfRequest *b, int64_t *ret_result) {
        static Program p;
        const BpfLoad *load = &b->attr.load;
        unsigned sets;
        Reason reason;
        Verdict v;

        if (!bpf_prog_is_lent(b))
                return refuse_load(
                                b, REASON_PROGRAM_NOT_LENT, bpf_hint(bpf_program_policy(load->type)), NULL);
        if (!may_load(b, &reason))
                return refuse_load(b, reason, NULL, NULL);

        if (load->n_instructions == 0 || load->n_instructions > KERNEL_INSTRUCTIONS_MAX)
                return load_impossible(b, &p, ret_result);

        sets = bpf_program_sets_for(load->type, load->attach_type, b->request->policy->bpf.programs);
        if (sets == 0 || !fields_are_lent(b))
                return refuse_load(b, REASON_PROGRAM_NOT_LENT, NULL, ", attributes that aren't lent");

        v = load_checked(b, sets, &p, ret_result);
        program_done(&p);
        return v;
}
