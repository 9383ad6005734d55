/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Odd input for bpf(2): sizes, addresses, logs, fields. */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bpf-calls.h"
#include "caller.h"

/* A page with nothing mapped behind. */
static unsigned char *lonely_page(void) {
        unsigned char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED || munmap(p + PAGE, PAGE) < 0)
                die("mmap");
        return p;
}

static void *at_end(const void *data, size_t size) {
        return memcpy(lonely_page() + PAGE - size, data, size);
}

static void *read_only(const void *data, size_t size) {
        unsigned char *p = lonely_page();

        memcpy(p, data, size);
        if (mprotect(p, PAGE, PROT_READ) < 0)
                die("mprotect");
        return p;
}

#define UNMAPPED ((void *) (uintptr_t) 8)

/* One call with attributes in memory of this kind; what's opened is closed again. */
static void try_at(const char *name, unsigned command, void *attr, size_t size) {
        long r = call_bpf(command, attr, size);

        report(name, r);
        if (r > 0)
                close((int) r);
}

static void try_load(const char *name, BpfAttr attr) {
        try_at(name, BPF_COMMAND_PROG_LOAD, &attr, sizeof(attr));
}

#define TRY_LOAD(name, change)                                                                               \
        do {                                                                                                 \
                BpfAttr a = load_attr(find_kind("deny-zero"));                                               \
                change;                                                                                      \
                try_load(name, a);                                                                           \
        } while (0)

static void odd_sizes(void) {
        static const unsigned sizes[] = { 0, 1, 4, 8, 15, 16, 23, 24, 40, 47, 48, 56, 64, 71, 72, 120, 128,
                143, 144, 152, 167, 168 };
        static unsigned char big[2 * PAGE];
        BpfAttr attr = load_attr(find_kind("deny-zero"));
        char name[64];

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                snprintf(name, sizeof(name), "size-%u", sizes[i]);
                try_at(name, BPF_COMMAND_PROG_LOAD, &attr, sizes[i]);
                snprintf(name, sizeof(name), "size-%u-at-page-end", sizes[i]);
                try_at(name, BPF_COMMAND_PROG_LOAD, at_end(&attr, sizes[i]), sizes[i]);
        }

        memcpy(big, &attr, sizeof(attr));
        try_at("size-200", BPF_COMMAND_PROG_LOAD, big, 200);
        try_at("size-4096", BPF_COMMAND_PROG_LOAD, big, PAGE);
        try_at("size-4097", BPF_COMMAND_PROG_LOAD, big, PAGE + 1);
        try_at("size-4294967295", BPF_COMMAND_PROG_LOAD, big, UINT32_MAX);
        big[190] = 1;
        try_at("size-200-with-tail", BPF_COMMAND_PROG_LOAD, big, 200);
        big[190] = 0;
        big[PAGE - 1] = 1;
        try_at("size-4096-with-tail", BPF_COMMAND_PROG_LOAD, big, PAGE);

        memmove(big + 1, &attr, sizeof(attr));
        try_at("attr-misaligned", BPF_COMMAND_PROG_LOAD, big + 1, sizeof(attr));
        try_at("attr-null", BPF_COMMAND_PROG_LOAD, NULL, sizeof(attr));
        try_at("attr-unmapped", BPF_COMMAND_PROG_LOAD, UNMAPPED, sizeof(attr));
        try_at("attr-cut", BPF_COMMAND_PROG_LOAD, at_end(&attr, 100), sizeof(attr));
        try_at("attr-cut-in-tail", BPF_COMMAND_PROG_LOAD, at_end(&attr, sizeof(attr)), 300);
        try_at("attr-read-only-128", BPF_COMMAND_PROG_LOAD, read_only(&attr, sizeof(attr)), 128);
}

static void odd_memory(void) {
        static char long_license[300];
        static struct bpf_insn many[5000];
        Kind *kind = find_kind("deny-zero");
        size_t size = kind->n * sizeof(struct bpf_insn);
        unsigned char *misaligned = lonely_page() + 3;

        memset(long_license, 'x', sizeof(long_license) - 1);
        memcpy(misaligned, kind->insns, size);
        for (size_t i = 0; i < ELEMENTSOF(many); i++)
                many[i] = (struct bpf_insn) MOV(0, 1);
        many[ELEMENTSOF(many) - 1] = many[4095] = (struct bpf_insn) EXIT;

        TRY_LOAD("instructions-null", a.load.instructions = 0);
        TRY_LOAD("instructions-unmapped", a.load.instructions = 8);
        TRY_LOAD("instructions-kernel", a.load.instructions = UINT64_C(0xffffffff81000000));
        TRY_LOAD("instructions-cut", a.load.instructions = (uintptr_t) at_end(kind->insns, size - 8));
        TRY_LOAD("instructions-at-page-end", a.load.instructions = (uintptr_t) at_end(kind->insns, size));
        TRY_LOAD("instructions-misaligned", a.load.instructions = (uintptr_t) misaligned);
        TRY_LOAD("instructions-read-only", a.load.instructions = (uintptr_t) read_only(kind->insns, size));
        TRY_LOAD("instructions-0", a.load.n_instructions = 0);
        TRY_LOAD("instructions-6", a.load.n_instructions = 6);
        TRY_LOAD("instructions-4096", (a.load.instructions = (uintptr_t) many, a.load.n_instructions = 4096));
        TRY_LOAD("instructions-1000001", a.load.n_instructions = 1000001);
        TRY_LOAD("instructions-4294967295", a.load.n_instructions = UINT32_MAX);
        TRY_LOAD("license-null", a.load.license = 0);
        TRY_LOAD("license-unmapped", a.load.license = 8);
        TRY_LOAD("license-cut", a.load.license = (uintptr_t) at_end("GPL", 3));
        TRY_LOAD("license-at-page-end", a.load.license = (uintptr_t) at_end("GPL", 4));
        TRY_LOAD("license-empty", a.load.license = (uintptr_t) "");
        TRY_LOAD("license-long", a.load.license = (uintptr_t) long_license);
        TRY_LOAD("name", strcpy(a.load.name, "sd_devices"));
        TRY_LOAD("name-15", strcpy(a.load.name, "abcdefghij.__.9"));
        TRY_LOAD("name-16", memset(a.load.name, 'x', 16));
        TRY_LOAD("name-blank", strcpy(a.load.name, "a b"));
        TRY_LOAD("name-escape", strcpy(a.load.name, "\033[2J"));
        TRY_LOAD("attach-type-6", a.load.attach_type = 6);
        TRY_LOAD("kernel-version", a.load.kernel_version = 0x060100);
}

static void odd_log(void) {
        static char buffer[65536];
        char *log = buffer;

#define TRY_LOG(name, level, address, length)                                                                \
        TRY_LOAD(name, (a.load.log_level = (level), a.load.log_buffer = (uintptr_t) (address),               \
                                       a.load.log_size = (uint32_t) (length)))
        TRY_LOG("log", 1, log, 65536);
        TRY_LOG("log-2", 2, log, 65536);
        printf("  %s\n", strstr(log, "exit") ? "has instructions" : "has no instructions");
        TRY_LOG("log-stats", 4, log, 65536);
        TRY_LOG("log-level-0", 0, log, 65536);
        TRY_LOG("log-level-bad", 0x100, log, 65536);
        TRY_LOG("log-null", 1, 0, 65536);
        TRY_LOG("log-size-0", 1, log, 0);
        TRY_LOG("log-level-alone", 1, 0, 0);
        TRY_LOG("log-size-huge", 1, log, UINT32_MAX);
        TRY_LOG("log-size-1GiB", 1, log, (UINT32_MAX >> 2) + 1);
        TRY_LOG("log-size-beyond-memory", 1, log, 64u << 20);
        TRY_LOG("log-small", 2, log, 128);
        printf("  %zu bytes\n", strnlen(log, 128));
        TRY_LOG("log-tiny-fixed", 2 | 8, log, 1);
        TRY_LOG("log-unmapped", 2, UNMAPPED, 4096);
        TRY_LOG("log-read-only", 2, read_only("", 1), 4096);
        TRY_LOG("log-cut", 2, (uintptr_t) lonely_page() + PAGE - 40, 4096);
        TRY_LOG("log-kernel", 2, UINT64_C(0xffffffff81000000), 4096);
#undef TRY_LOG

        BpfAttr attr = load_attr(find_kind("deny-zero"));
        attr.load.log_true_size = 77;
        long r = call_bpf(BPF_COMMAND_PROG_LOAD, &attr, sizeof(attr));
        report("log-true-size", r);
        printf("  %u\n", attr.load.log_true_size);
        if (r > 0)
                close((int) r);

        /* A program that the verifier refuses, whose log says why. */
        struct bpf_insn no_result[] = { EXIT };
        attr = load_attr(find_kind("deny-zero"));
        attr.load.instructions = (uintptr_t) no_result;
        attr.load.n_instructions = 1;
        attr.load.log_level = 1;
        attr.load.log_buffer = (uintptr_t) log;
        attr.load.log_size = 65536;
        try_at("verifier-refuses", BPF_COMMAND_PROG_LOAD, &attr, sizeof(attr));
        printf("  %s, %u\n", strstr(log, "!read_ok") ? "says why" : "doesn't say why",
                        attr.load.log_true_size);
}

/* What a container doesn't get. */
static void odd_fields(void) {
        TRY_LOAD("flags-1", a.load.flags = 1);
        TRY_LOAD("flags-4294967295", a.load.flags = UINT32_MAX);
        TRY_LOAD("interface", a.load.interface = 1);
        TRY_LOAD("attach-type-7", a.load.attach_type = 7);
        for (unsigned i = 0; i < 17; i++) {
                char name[32];

                snprintf(name, sizeof(name), "btf-%u", i);
                TRY_LOAD(name, memset(a.bytes + offsetof(BpfLoad, btf) + 4 * i, 1, 4));
        }
        for (unsigned i = 0; i < 5; i++) {
                char name[32];

                snprintf(name, sizeof(name), "later-%u", i);
                TRY_LOAD(name, memset(a.bytes + offsetof(BpfLoad, n_descriptors) + 4 * i, 1, 4));
        }
}

/* What a load with a token doesn't get, and what makes no difference to it. */
void odd_with_token(void) {
        static const unsigned refused[] = { 64, 108, 112, 116, 152, 160, 164 },
                              ignored[] = { 72, 76, 80, 88, 92, 96, 104, 136, 148 };
        static const struct bpf_insn jump = JUMP(0), end[] = { MOV(0, 0), EXIT };
        static struct bpf_insn many[5000];

        for (unsigned i = 0; i < 19; i++) {
                char name[32];

                snprintf(name, sizeof(name), "flag-%u", i);
                TRY_LOAD(name, a.load.flags |= 1u << i);
        }
        for (size_t i = 0; i < ELEMENTSOF(refused); i++) {
                char name[32];

                snprintf(name, sizeof(name), "refused-%u", refused[i]);
                TRY_LOAD(name, a.bytes[refused[i]] = 1);
        }
        for (size_t i = 0; i < ELEMENTSOF(ignored); i++) {
                char name[32];

                snprintf(name, sizeof(name), "ignored-%u", ignored[i]);
                TRY_LOAD(name, memset(a.bytes + ignored[i], 1, 4));
        }
        for (size_t i = 0; i < ELEMENTSOF(many); i++)
                many[i] = jump;
        for (unsigned n = 4095; n <= 4097; n++) {
                char name[32];

                memcpy(many + n - 2, end, sizeof(end));
                snprintf(name, sizeof(name), "instructions-%u", n);
                TRY_LOAD(name, (a.load.instructions = (uintptr_t) many, a.load.n_instructions = n));
                many[n - 2] = many[n - 1] = jump;
        }
        TRY_LOAD("instructions-0", a.load.n_instructions = 0);
        TRY_LOAD("instructions-1000001", a.load.n_instructions = 1000001);
        TRY_LOAD("instructions-none", a.load.instructions = 0);
        TRY_LOAD("token-none", a.load.token = 1000);
        TRY_LOAD("token-other", a.load.token = (uint32_t) open("/dev/null", O_RDONLY | O_CLOEXEC));
        TRY_LOAD("type-1000", a.load.type = 1000);
        TRY_LOAD("type-63", a.load.type = 63);
        TRY_LOAD("attach-type-64", a.load.attach_type = 64);
        TRY_LOAD("attach-type-4294967295", a.load.attach_type = UINT32_MAX);
        TRY_LOAD("license-none", a.load.license = 0);
        TRY_LOAD("name-bad", a.load.name[0] = '/');
        for (unsigned i = 0; i < 2; i++) { /* How many maps a program may name. */
                struct bpf_insn *p = many;

                for (unsigned k = 0; k < 64 + i; k++) {
                        *p++ = (struct bpf_insn){ .code = BPF_LD | BPF_IMM | BPF_DW,
                                .dst_reg = 1,
                                .src_reg = BPF_PSEUDO_MAP_FD,
                                .imm = (int) make_map("array") };
                        *p++ = (struct bpf_insn){};
                }
                memcpy(p, end, sizeof(end));
                TRY_LOAD(i ? "maps-65" : "maps-64",
                                (a.load.instructions = (uintptr_t) many,
                                                a.load.n_instructions = (uint32_t) (p + 2 - many)));
        }
}

static void odd_attach(const char *path) {
        char procs[4096];
        uint32_t ids[4];
        BpfAttr a;
        int file, null = open("/dev/null", O_RDWR | O_CLOEXEC);

        cgroup = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        snprintf(procs, sizeof(procs), "%s/cgroup.procs", path);
        file = open(procs, O_RDONLY | O_CLOEXEC);
        program = load(find_kind("allow"));
        other = load(find_kind("allow"));
        if (cgroup < 0 || file < 0 || program < 0 || other < 0)
                die("odd");

#define TRY(name, command, size, ...)                                                                        \
        do {                                                                                                 \
                memset(&a, 0, sizeof(a));                                                                    \
                a.attach.target = (uint32_t) cgroup;                                                         \
                a.attach.program = (uint32_t) program;                                                       \
                a.attach.attach_type = 6;                                                                    \
                __VA_ARGS__;                                                                                 \
                try_at(name, command, &a, size);                                                             \
        } while (0)
        TRY("attach-flags-256", 8, 32, a.attach.flags = 0x100);
        TRY("attach-flags-override-multi", 8, 32, a.attach.flags = 3);
        TRY("attach-flags-replace-alone", 8, 32, (a.attach.flags = 4, a.attach.replace = (uint32_t) other));
        TRY("attach-program-minus-1", 8, 32, (a.attach.flags = 2, a.attach.program = UINT32_MAX));
        TRY("attach-program-99999", 8, 32, (a.attach.flags = 2, a.attach.program = 99999));
        TRY("attach-program-cgroup", 8, 32, (a.attach.flags = 2, a.attach.program = (uint32_t) cgroup));
        TRY("attach-program-null-device", 8, 32, (a.attach.flags = 2, a.attach.program = (uint32_t) null));
        TRY("attach-target-minus-1", 8, 32, (a.attach.flags = 2, a.attach.target = UINT32_MAX));
        TRY("attach-target-null-device", 8, 32, (a.attach.flags = 2, a.attach.target = (uint32_t) null));
        TRY("attach-target-file", 8, 32, (a.attach.flags = 2, a.attach.target = (uint32_t) file));
        TRY("attach-target-program", 8, 32, (a.attach.flags = 2, a.attach.target = (uint32_t) program));
        TRY("attach-replace-0", 8, 20, (a.attach.flags = 6, a.attach.target = (uint32_t) null));
        TRY("attach-replace-minus-1", 8, 32, (a.attach.flags = 6, a.attach.replace = UINT32_MAX));
        TRY("attach-replace-cgroup", 8, 32, (a.attach.flags = 6, a.attach.replace = (uint32_t) cgroup));
        TRY("attach-replace-not-attached", 8, 32, (a.attach.flags = 6, a.attach.replace = (uint32_t) other));
        TRY("attach-size-12", 8, 12, );
        TRY("detach-size-12", 9, 12, );
        TRY("attach-size-16", 8, 16, a.attach.flags = 2);
        TRY("attach-twice", 8, 16, a.attach.flags = 2);
        TRY("attach-other-flags", 8, 16, (a.attach.flags = 1, a.attach.program = (uint32_t) other));
        TRY("attach-tail", 8, 64, (a.attach.flags = 2, a.bytes[40] = 1));
        TRY("detach-without-program", 9, 16, a.attach.program = 0);
        TRY("detach-other", 9, 16, a.attach.program = (uint32_t) other);
        TRY("detach-flags", 9, 16, a.attach.flags = 2);
        TRY("detach-target-null-device", 9, 16, a.attach.target = (uint32_t) null);

#define QUERY(name, size, ...)                                                                               \
        do {                                                                                                 \
                memset(&a, 0, sizeof(a));                                                                    \
                a.query.target = (uint32_t) cgroup;                                                          \
                a.query.attach_type = 6;                                                                     \
                a.query.programs = (uintptr_t) ids;                                                          \
                a.query.n_programs = 4;                                                                      \
                __VA_ARGS__;                                                                                 \
                try_at(name, 16, &a, size);                                                                  \
                printf("  %u %u %i\n", a.query.flags, a.query.n_programs, ids[0] == program_id(program));    \
                memset(ids, 0, sizeof(ids));                                                                 \
        } while (0)
        QUERY("query", 64, );
        QUERY("query-size-28", 28, );
        QUERY("query-size-32", 32, );
        QUERY("query-count", 64, a.query.n_programs = 0);
        QUERY("query-no-array", 64, a.query.programs = 0);
        QUERY("query-array-unmapped", 64, a.query.programs = 8);
        QUERY("query-array-read-only", 64, a.query.programs = (uintptr_t) read_only("", 1));
        QUERY("query-flags-2", 64, a.query.query_flags = 2);
        QUERY("query-flags-array", 64, a.query.program_flags = (uintptr_t) (ids + 2));
        QUERY("query-flags-array-unmapped", 64, a.query.program_flags = 8);
        QUERY("query-target-null-device", 64, a.query.target = (uint32_t) null);
        QUERY("query-target-minus-1", 64, a.query.target = UINT32_MAX);
        memset(&a, 0, sizeof(a));
        a.query.target = (uint32_t) cgroup;
        a.query.attach_type = 6;
        try_at("query-attr-read-only", 16, read_only(&a, sizeof(a)), 64);

        TRY("attach-second", 8, 32, (a.attach.flags = 2, a.attach.program = (uint32_t) other));
        QUERY("query-two-in-one", 64, a.query.n_programs = 1);
        TRY("detach-second", 9, 16, a.attach.program = (uint32_t) other);
        TRY("detach", 9, 16, );
        TRY("detach-again", 9, 16, );

        memset(&a, 0, sizeof(a));
        a.by_id.id = UINT32_MAX;
        try_at("by-id-huge", 13, &a, sizeof(a.by_id));
        a.by_id.id = program_id(program);
        try_at("by-id", 13, &a, sizeof(a.by_id));
        try_at("by-id-size-4", 13, &a, 4);
        a.by_id.next_id = 1;
        try_at("by-id-next", 13, &a, sizeof(a.by_id));

        memset(&a, 0, sizeof(a));
        a.link.program = (uint32_t) program;
        a.link.target = (uint32_t) cgroup;
        a.link.attach_type = 6;
        try_at("link", 28, &a, sizeof(a.link));
        a.link.program = (uint32_t) cgroup;
        try_at("link-program-cgroup", 28, &a, sizeof(a.link));
        a.link.program = (uint32_t) program;
        a.link.target = (uint32_t) null;
        try_at("link-target-null-device", 28, &a, sizeof(a.link));
}

static void odd_maps(void) {
        static const char *const lent[] = { "array", "lpm", "lpm6", "hash", "value", "list" };
        int frozen;

#define TRY_MAP(name, kind, size, ...)                                                                       \
        do {                                                                                                 \
                const MapKind *k = find_map_kind(kind);                                                      \
                BpfAttr a = { .map = { k->type, k->key_size, k->value_size, k->max_entries, k->flags } };    \
                __VA_ARGS__;                                                                                 \
                try_at(name, BPF_COMMAND_MAP_CREATE, &a, size);                                              \
        } while (0)
        for (size_t i = 0; i < ELEMENTSOF(lent); i++) {
                char name[64];

                snprintf(name, sizeof(name), "map-%s", lent[i]);
                TRY_MAP(name, lent[i], sizeof(a), );
                snprintf(name, sizeof(name), "map-%s-entries-0", lent[i]);
                TRY_MAP(name, lent[i], sizeof(a), a.map.max_entries = 0);
                snprintf(name, sizeof(name), "map-%s-value-0", lent[i]);
                TRY_MAP(name, lent[i], sizeof(a), a.map.value_size = 0);
        }
        TRY_MAP("map-array-key-8", "array", sizeof(a), a.map.key_size = 8);
        TRY_MAP("map-array-key-0", "array", sizeof(a), a.map.key_size = 0);
        TRY_MAP("map-size-16", "array", 16, );
        TRY_MAP("map-size-20", "hash", 20, );
        TRY_MAP("map-name", "array", sizeof(a), strcpy(a.map.name, "sd.list_1"));
        TRY_MAP("map-name-blank", "array", sizeof(a), strcpy(a.map.name, "a b"));
        TRY_MAP("map-name-16", "array", sizeof(a), memset(a.map.name, 'x', 16));
#undef TRY_MAP

        make_map("value");
        frozen = map;
        report("put", put(0, 7));
        report("freeze", freeze(frozen));
        report("freeze-again", freeze(frozen));
        report("put-frozen", put(0, 8));
        report("freeze-minus-1", freeze(-1));
        report("freeze-99999", freeze(99999));
        report("freeze-standard-input", freeze(0));
        BpfAttr a = { .freeze.fd = (uint32_t) frozen };
        a.bytes[4] = 1;
        try_at("freeze-tail", BPF_COMMAND_MAP_FREEZE, &a, sizeof(a));
        try_at("freeze-size-4", BPF_COMMAND_MAP_FREEZE, &a, 4);
        try_at("freeze-size-0", BPF_COMMAND_MAP_FREEZE, &a, 0);
        try_at("freeze-unmapped", BPF_COMMAND_MAP_FREEZE, UNMAPPED, 4);
}

/* Programs for addresses and interfaces. */
static void odd_bind(const char *path) {
        static const unsigned places[] = { 0, 1, 2, 6, 8, 9, 10, 11, 14, 20, 31, 32, 64, UINT32_MAX };
        uint32_t ids[4];
        BpfAttr a;

        cgroup = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        make_map("value");
        value_map = map;
        report("value-freeze", freeze(map));
        make_map("hash");
        try_load("interface-program", load_attr(find_kind("interface")));
        make_map("list");
        report("freeze-program", freeze(program));
        report("freeze-cgroup", freeze(cgroup));

        for (size_t i = 0; i < ELEMENTSOF(places); i++) {
                char name[64];

                snprintf(name, sizeof(name), "bind-for-%u", places[i]);
                a = load_attr(find_kind("bind-list"));
                a.load.attach_type = places[i];
                try_load(name, a);
        }
        a = load_attr(find_kind("bind-list"));
        a.load.license = (uintptr_t) "LGPL-2.1-or-later";
        try_load("bind-license", a);
        map = 99999;
        try_load("bind-map-99999", load_attr(find_kind("bind-list")));
        map = cgroup;
        try_load("bind-map-cgroup", load_attr(find_kind("bind-list")));
        make_map("list");

        program = load(find_kind("bind-list"));
        for (size_t i = 0; i < ELEMENTSOF(places); i++)
                if (places[i] == 8 || places[i] == 9 || places[i] == 6 || places[i] == 0) {
                        char name[64];

                        snprintf(name, sizeof(name), "bind-attach-%u", places[i]);
                        report(name, attach(BPF_ATTACH_MULTI, places[i], false));
                        snprintf(name, sizeof(name), "bind-link-%u", places[i]);
                        a = (BpfAttr){ .link = { (uint32_t) program, (uint32_t) cgroup, places[i] } };
                        try_at(name, BPF_COMMAND_LINK_CREATE, &a, sizeof(a.link));
                        snprintf(name, sizeof(name), "bind-link-%u-minus-1", places[i]);
                        a.link.target = UINT32_MAX;
                        try_at(name, BPF_COMMAND_LINK_CREATE, &a, 64);
                        a.link.flags = 1;
                        try_at(name, BPF_COMMAND_LINK_CREATE, &a, 64);
                }
        QUERY("bind-query", 64, a.query.attach_type = 8);
        QUERY("bind-query-9", 64, a.query.attach_type = 9);
        report("bind-detach-9", detach(9, true));
        report("bind-detach-without-program", detach(8, false));
        report("bind-detach", detach(8, true));
        report("bind-detach-again", detach(8, true));
}

void odd(const char *path) {
        odd_sizes();
        odd_memory();
        odd_log();
        odd_fields();
        odd_attach(path);
        odd_maps();
        odd_bind(path);
}
