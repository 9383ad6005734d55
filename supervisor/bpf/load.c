/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>

#include "basic/fd.h"
#include "supervisor/bpf/load.h"
#include "supervisor/bpf/object.h"
#include "supervisor/bpf/type.h"
#include "supervisor/supervisor.h"

/* The verifier's log may be that long. Of a larger buffer, so much is used. */
#define LOG_MAX (16u * 1024u * 1024u)

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

/* Return: a new fd, or a negative errno. */
static int load_again(const BpfRequest *b, CapabilitySet capabilities, BpfAttr *attr, Log *log) {
        BpfAttr again = *attr;
        int fd;

        again.load.log_level = again.load.log_size = 0;
        again.load.log_buffer = 0;
        again.load.log_true_size = b->attr.load.log_true_size;

        fd = bpf_call_as(
                        &b->request->caller, BPF_COMMAND_PROG_LOAD, &again, sizeof(again.load), capabilities);
        if (fd >= 0) {
                attr->load.log_true_size = again.load.log_true_size;
                if (log->bytes)
                        log->bytes[0] = 0;
        }
        return fd;
}

static bool verifier_said_no(int error) {
        return error == -EINVAL || error == -EFAULT || error == -E2BIG;
}

/* Return: a new fd, or a negative errno. */
static int verify(const BpfRequest *b, const LoadMode *mode, BpfAttr *attr) {
        const Supervisor *s = b->request->supervisor;
        int r;

        r = mode->long_lasting ? supervisor_lock(s) : 0;
        if (r < 0)
                return r;

        /* It may have been long until it was our turn. */
        r = mode->long_lasting ? caller_verify(&b->request->caller) : 0;
        if (r >= 0)
                r = bpf_call_as(&b->request->caller, BPF_COMMAND_PROG_LOAD, attr, sizeof(attr->load),
                                mode->capabilities);
        if (mode->long_lasting)
                supervisor_unlock(s);
        return r;
}

/* Return: a new fd; or the negative errno that the caller would see. */
static int load_program(BpfRequest *b, const LoadMode *mode, const Program *p) {
        const BpfLoad *asked = &b->attr.load;
        BpfAttr attr = { .load = {
                                         .type = asked->type,
                                         .n_instructions = (uint32_t) p->n,
                                         .instructions = (uintptr_t) p->insns,
                                         .license = (uintptr_t) p->license,
                                         .log_level = asked->log_level,
                                         .log_size = asked->log_size,
                                         .flags = mode->flags,
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

        fd = verify(b, mode, &attr);
        if (mode->second != 0 && verifier_said_no(fd))
                fd = load_again(b, mode->second, &attr, &log);

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

int bpf_load_prepare(BpfRequest *b, size_t max_maps, Program *p) {
        const BpfLoad *load = &b->attr.load;
        Caller *caller = &b->request->caller;
        int r;

        r = program_read(caller, load, p);
        if (r >= 0 && max_maps > 0)
                r = program_copy_maps(caller, load, max_maps, p);
        if (r >= 0 && (load->log_level != 0 || load->log_true_size != 0))
                r = caller_open_memory(caller);
        return r;
}

int bpf_load_and_give(BpfRequest *b, const LoadMode *mode, const Program *p) {
        _cleanup_close_ int fd = -1;
        int r;

        r = bpf_given(b, "prog_id");
        if (r >= 0)
                return r;

        r = bpf_room_for_program(b->request);
        if (r < 0)
                return r;

        fd = load_program(b, mode, p);
        return fd < 0 ? fd : bpf_give(b, fd);
}

bool bpf_load_is_impossible(const BpfLoad *load) {
        return load->n_instructions == 0 || load->n_instructions > PROGRAM_INSTRUCTIONS_MAX;
}

Verdict bpf_load_impossible(BpfRequest *b, CapabilitySet capabilities, int64_t *ret_result) {
        const BpfLoad *load = &b->attr.load;
        BpfAttr attr = { .load = { .type = load->type, .n_instructions = load->n_instructions } };
        char license[BPF_LICENSE_SIZE];
        int r;

        r = program_read_license(&b->request->caller, load->license, license);
        if (caller_verify(&b->request->caller) < 0)
                return VERDICT_CONTINUED;

        attr.load.license = r < 0 ? 0 : (uintptr_t) license;
        r = bpf_call(BPF_COMMAND_PROG_LOAD, &attr, sizeof(attr.load), capabilities);
        if (r >= 0) { /* It can't be. */
                close_fd(r);
                r = -E2BIG;
        }

        return bpf_answer(b, r, ret_result, "%s", bpf_program_name(load->type));
}

Verdict bpf_refuse_load(BpfRequest *b, Reason reason, const char *hint, const char *why) {
        const BpfLoad *load = &b->attr.load;

        return bpf_refuse(b, reason, hint, "%s (%u), %u instructions%s", bpf_program_name(load->type),
                        load->type, load->n_instructions, why ?: "");
}

Verdict bpf_refuse_instruction(BpfRequest *b, const char *hint, size_t at) {
        const BpfLoad *load = &b->attr.load;

        return bpf_refuse(b, REASON_PROGRAM_NOT_LENT, hint, "%s (%u), %u instructions, number %zu isn't lent",
                        bpf_program_name(load->type), load->type, load->n_instructions, at);
}
