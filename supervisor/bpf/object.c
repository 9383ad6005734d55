/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/fd.h"
#include "supervisor/bpf/object.h"
#include "supervisor/descriptor.h"
#include "supervisor/supervisor.h"

/* Attributes end with the last field that's used, so that kernels of all ages know what's there. */
#define SIZE_BY_ID (offsetof(BpfById, flags) + sizeof(uint32_t))

static int bpf(unsigned command, BpfAttr *attr, size_t size) {
        int r = (int) syscall(SYS_bpf, command, attr, size);

        return r < 0 ? -errno : r;
}

int bpf_call(unsigned command, BpfAttr *attr, size_t size, CapabilitySet capabilities) {
        int r;

        r = privilege_limit(capabilities);
        if (r >= 0)
                r = bpf(command, attr, size);
        if (privilege_raise(0) < 0 && r >= 0)
                r = -EPERM;
        return r;
}

int bpf_call_as(const Caller *caller, unsigned command, BpfAttr *attr, size_t size,
                CapabilitySet capabilities) {
        int r;

        /* Who hasn't an id of its own would be noted as the host's root. */
        if (!caller_owns_uid(caller, caller->euid))
                return -EPERM;

        r = privilege_take_real_uid(caller->euid);
        if (r >= 0)
                r = bpf_call(command, attr, size, capabilities);
        if (privilege_return_real_uid() < 0 && r >= 0) {
                close_fd(r);
                r = -EPERM;
        }
        return r;
}

size_t bpf_kernel_attr_size(void) {
        static size_t known;
        static unsigned char bytes[4096];
        size_t low = 48, high = sizeof(bytes);

        /* An unknown command, and a last byte that isn't zero: E2BIG if that's beyond the struct. */
        while (known == 0 && low < high) {
                size_t middle = (low + high + 1) / 2;

                bytes[middle - 1] = 1;
                if (syscall(SYS_bpf, 0x7fff, bytes, middle) < 0 && errno == E2BIG)
                        high = middle - 1;
                else
                        low = middle;
                bytes[middle - 1] = 0;
        }
        if (known == 0)
                known = low;

        return known;
}

static int info_by_fd(int fd, void *ret, size_t size) {
        BpfAttr attr = { .info = { .fd = (uint32_t) fd, .size = (uint32_t) size, .info = (uintptr_t) ret } };

        memset(ret, 0, size);
        return bpf(BPF_COMMAND_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr.info));
}

int bpf_program_info(int fd, ProgramInfo *ret) {
        return descriptor_is(fd, "bpf-prog") ? info_by_fd(fd, ret, sizeof(*ret)) : -EINVAL;
}

int bpf_map_info(int fd, MapInfo *ret) {
        return descriptor_is(fd, "bpf-map") ? info_by_fd(fd, ret, sizeof(*ret)) : -EINVAL;
}

int bpf_object_id(int fd, uint32_t *ret) {
        struct {
                uint32_t type;
                uint32_t id;
        } info;
        int r;

        r = info_by_fd(fd, &info, sizeof(info));
        if (r >= 0)
                *ret = info.id;
        return r;
}

int bpf_open_program(uint32_t id) {
        BpfAttr attr = { .by_id.id = id };

        return bpf(BPF_COMMAND_PROG_GET_FD_BY_ID, &attr, SIZE_BY_ID);
}

bool bpf_program_is_own(const Caller *caller, const ProgramInfo *info) {
        return caller_owns_uid(caller, info->created_by_uid);
}

int bpf_program_id_is_own(const Caller *caller, uint32_t id) {
        _cleanup_close_ int fd = -1;
        ProgramInfo info;
        int r;

        fd = bpf_open_program(id);
        r = fd < 0 ? fd : bpf_program_info(fd, &info);
        return r < 0 ? r : bpf_program_is_own(caller, &info);
}

void bpf_map_own_name(const Request *request, char ret[BPF_NAME_SIZE]) {
        static const char prefix[] = "deputyd",
                          symbols[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_.";
        uint64_t bits = (uint64_t) request->supervisor->state->secret << 16 |
                        (caller_base_uid(&request->caller) >> 16 & 0xffff);

        _Static_assert(sizeof(prefix) - 1 + 48 / 6 == BPF_NAME_SIZE - 1, "48 bits, 6 in a symbol");

        memset(ret, 0, BPF_NAME_SIZE);
        memcpy(ret, prefix, sizeof(prefix) - 1);
        for (size_t i = sizeof(prefix) - 1; i < BPF_NAME_SIZE - 1; i++, bits >>= 6)
                ret[i] = symbols[bits & 63];
}

bool bpf_map_is_own(const Request *request, const MapInfo *info) {
        char name[BPF_NAME_SIZE];

        bpf_map_own_name(request, name);
        return memcmp(name, info->name, BPF_NAME_SIZE) == 0;
}

static bool own_program(const Request *request, int fd) {
        ProgramInfo info;

        return info_by_fd(fd, &info, sizeof(info)) >= 0 && bpf_program_is_own(&request->caller, &info);
}

static bool own_map(const Request *request, int fd) {
        MapInfo info;

        return info_by_fd(fd, &info, sizeof(info)) >= 0 && bpf_map_is_own(request, &info);
}

/* How many calls supervisors of the target have emulated. */
static uint64_t calls_emulated(const Request *request) {
        return atomic_load_explicit(
                        &request->supervisor->state->calls[CALL_BPF].emulated, memory_order_relaxed);
}

/* What was counted, and how far the calls were then. */
typedef struct Count {
        uid_t base;
        uint64_t n;
        uint64_t n_calls;
        bool known;
} Count;

/* Goes through all objects of the kernel. */
static int count(const Request *request, unsigned next, unsigned open,
                bool (*is_own)(const Request *, int fd), uint64_t *ret) {
        BpfAttr attr = {};
        uint64_t n = 0;
        int r;

        for (;;) {
                _cleanup_close_ int fd = -1;
                BpfAttr by_id = {};

                r = bpf(next, &attr, SIZE_BY_ID);
                if (r == -ENOENT)
                        break;
                if (r < 0)
                        return r;

                attr.by_id.id = by_id.by_id.id = attr.by_id.next_id;
                attr.by_id.next_id = 0;
                fd = bpf(open, &by_id, SIZE_BY_ID);
                if (fd >= 0 && is_own(request, fd))
                        n++;
        }

        *ret = n;
        return 0;
}

/* As each call that was emulated since may have made at most one object, there's seldom need to count again.
 */
static int room(const Request *request, Count *c, unsigned max, unsigned next, unsigned open,
                bool (*is_own)(const Request *, int fd)) {
        uid_t base = caller_base_uid(&request->caller);
        uint64_t n_calls = calls_emulated(request);
        int r;

        if (c->known && c->base == base && c->n + (n_calls - c->n_calls) < max)
                return 0;

        r = count(request, next, open, is_own, &c->n);
        if (r < 0)
                return r;

        c->n_calls = n_calls;
        c->base = base;
        c->known = true;
        return c->n < max ? 0 : -EMFILE;
}

int bpf_room_for_program(const Request *request) {
        static Count programs;

        return room(request, &programs, request->policy->bpf.max_programs, BPF_COMMAND_PROG_GET_NEXT_ID,
                        BPF_COMMAND_PROG_GET_FD_BY_ID, own_program);
}

int bpf_room_for_map(const Request *request) {
        static Count maps;

        return room(request, &maps, request->policy->bpf.max_maps, BPF_COMMAND_MAP_GET_NEXT_ID,
                        BPF_COMMAND_MAP_GET_FD_BY_ID, own_map);
}
