/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Makes bpf(2) calls as told and prints what each returned, one line per call: "attach 0 OK", "load -1
 * EPERM". Run as the host's root, whom the kernel serves, and in a container, it shows any difference. */

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/bpf.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/bpf/attr.h"

#include "bpf-programs.h"
#include "caller.h"

#define PAGE 4096u

static int program = -1, other = -1, cgroup = -1, map = -1, value_map = -1, token = -1;
static char gpl[] = "GPL";

static void usage(FILE *stream) {
        fputs("Usage: bpf-calls [OPTION]… COMMAND [ARGUMENT]… [, COMMAND…]…\n"
              "Makes bpf(2) calls and prints what they return.\n\n"
              "  --uid=N             as this user\n"
              "  --drop=NAME,…       drop capabilities (sys_admin, bpf, net_admin, perfmon) from the "
              "effective set\n"
              "  --userns            as root of a new, nested user namespace\n"
              "  --thread            in a thread that isn't the leader\n\n"
              "Commands:\n"
              "  load KIND           a program of bpf-programs.c, which becomes the current one\n"
              "  load-log KIND       the same with a log: does that tell a map's address?\n"
              "  map KIND            a map of bpf-programs.c, likewise\n"
              "  value-map           the current map becomes the one whose value programs read\n"
              "  put KEY VALUE       numbers, into the current map\n"
              "  freeze              the current map\n"
              "  token PATH          of the bpf file system mounted there, for all that's loaded and made "
              "from here on\n"
              "  kill PID FIND SEND RELEASE    any process of the host, with these functions of the kernel\n"
              "  pin-map PATH | get-map PATH    in a bpf file system\n"
              "  keep | forget | swap    put the program aside; close it; exchange it with the one aside\n"
              "  cgroup PATH | cgroup-path PATH    open it, the second with O_PATH\n"
              "  mkdir PATH | rmdir PATH | enter PATH    cgroups: make, remove, move there\n"
              "  attach FLAGS [TYPE] | replace FLAGS    the current program; in place of the one aside\n"
              "  detach [TYPE] | detach-none [TYPE] | link [TYPE]\n"
              "  query [TYPE [FLAGS]]    prints flags, number, and whether the current program is among "
              "them\n"
              "  by-id [ID]          the current program's id if none is given; closes what it gets\n"
              "  fill N KIND         load until that fails, at most N\n"
              "  open PATH           a device\n"
              "  send ADDRESS        a datagram to port 9\n"
              "  bind ADDRESS PORT [tcp|udp]    a new socket\n"
              "  cloexec             is the current program's descriptor O_CLOEXEC?\n"
              "  has-call ID…        as the host's root: does the program call a helper, or move the number "
              "3?\n"
              "  command N           attributes of a detach for another command\n"
              "  hang N              the same with attributes in memory that never comes (userfaultfd)\n"
              "  storm N             load N times, one after the other; prints failures and leaked "
              "descriptors\n"
              "  drop NAME,…         as --drop, from here on\n"
              "  sleep MSEC\n"
              "  odd | odd-with-token    all kinds of odd attributes, one line each\n"
              "  race-attr N | race-instructions N | race-bind N | race-fd N    change what's loaded while "
              "it's "
              "loaded\n",
                        stream);
}

static long call_bpf(unsigned command, void *attr, size_t size) {
        return syscall(SYS_bpf, command, attr, size);
}

static const char *error_name(int error) {
        const char *name = error == 0 ? "OK" : strerrorname_np(error);

        return name ? name : "?";
}

static void report(const char *name, long r) {
        int error = errno;

        printf("%s %ld %s\n", name, r < 0 ? -1L : 0L, error_name(r < 0 ? error : 0));
        fflush(stdout);
}

/* -- programs
 * ------------------------------------------------------------------------------------------------ */

/* For programs that name their maps by the place in an array. */
static int by_index[2];

static BpfAttr load_attr(Kind *kind) {
        BpfAttr attr = {};

        attr.load.type = kind->type;
        attr.load.attach_type = kind->attach_type;
        attr.load.n_instructions = (uint32_t) kind->n;
        attr.load.instructions = (uintptr_t) kind->insns;
        attr.load.license = (uintptr_t) gpl;
        if (token >= 0) {
                attr.load.flags = BPF_TOKEN_FD;
                attr.load.token = (uint32_t) token;
                if (kind->type == BPF_PROGRAM_CGROUP_DEVICE)
                        attr.load.attach_type = BPF_ATTACH_CGROUP_DEVICE; /* Tokens take no other for it. */
        }
        for (size_t i = 0; i < kind->n; i++) {
                struct bpf_insn *insn = kind->insns + i;

                if (insn->code != (BPF_LD | BPF_IMM | BPF_DW))
                        continue;
                if (insn->src_reg == BPF_PSEUDO_MAP_VALUE)
                        insn->imm = value_map;
                else if (insn->src_reg == BPF_PSEUDO_MAP_FD)
                        insn->imm = map;
                else if (insn->src_reg == BPF_PSEUDO_MAP_IDX || insn->src_reg == BPF_PSEUDO_MAP_IDX_VALUE) {
                        by_index[0] = value_map;
                        by_index[1] = map;
                        attr.load.descriptors = (uintptr_t) by_index;
                }
        }
        return attr;
}

static int load(Kind *kind) {
        BpfAttr attr = load_attr(kind);

        return (int) call_bpf(BPF_COMMAND_PROG_LOAD, &attr, sizeof(attr));
}

/* With all that the verifier says. In it the kernel shows a map as the address that it put in place of the
 * descriptor: "(18) r1 = 0xffff…", or 0x0 to whom that isn't told. */
static void load_with_log(Kind *kind) {
        static char log[1 << 20];
        BpfAttr attr = load_attr(kind);
        bool named = false, told = false;

        attr.load.log_level = 2;
        attr.load.log_buffer = (uintptr_t) log;
        attr.load.log_size = sizeof(log);
        report("load-log", call_bpf(BPF_COMMAND_PROG_LOAD, &attr, sizeof(attr)));

        for (const char *p = log; (p = strstr(p, "(18) r")); p++) {
                const char *address = strstr(p, " = 0x");

                named = true;
                told |= address && strtoull(address + 3, NULL, 0) > 0;
        }
        printf("  %s\n", told ? "tells addresses" : named ? "tells no addresses" : "names no map");
}

static uint32_t program_id(int fd) {
        uint32_t info[2] = {};
        BpfAttr attr = { .info = { .fd = (uint32_t) fd, .size = sizeof(info), .info = (uintptr_t) info } };

        if (call_bpf(BPF_COMMAND_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr.info)) < 0)
                die("id");
        return info[1];
}

/* -- commands
 * ------------------------------------------------------------------------------------------------ */

static unsigned long number(const char *word) {
        return word ? strtoul(word, NULL, 0) : 0;
}

static unsigned type_or_device(const char *word) {
        return word ? (unsigned) number(word) : BPF_ATTACH_CGROUP_DEVICE;
}

static long make_map(const char *name) {
        const MapKind *kind = find_map_kind(name);
        BpfAttr attr = { .map = { .type = kind->type,
                                         .key_size = kind->key_size,
                                         .value_size = kind->value_size,
                                         .max_entries = kind->max_entries,
                                         .flags = kind->flags } };

        if (token >= 0) {
                attr.map.flags |= BPF_TOKEN_FD;
                attr.map.token = (uint32_t) token;
        }
        return map = (int) call_bpf(BPF_COMMAND_MAP_CREATE, &attr, sizeof(attr));
}

/* BPF_MAP_UPDATE_ELEM: both are numbers in the map's first bytes. */
static long put(uint32_t key, uint64_t value) {
        BpfAttr attr = {};

        memcpy(attr.bytes, &map, sizeof(map));
        memcpy(attr.bytes + 8, &(uint64_t){ (uintptr_t) &key }, sizeof(uint64_t));
        memcpy(attr.bytes + 16, &(uint64_t){ (uintptr_t) &value }, sizeof(uint64_t));
        return call_bpf(2, &attr, 32);
}

static long freeze(int fd) {
        BpfAttr attr = { .freeze.fd = (uint32_t) fd };

        return call_bpf(BPF_COMMAND_MAP_FREEZE, &attr, sizeof(attr.freeze));
}

static long make_token(const char *path) {
        uint32_t attr[2] = { 0, (uint32_t) open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) };

        token = (int) call_bpf(BPF_COMMAND_TOKEN_CREATE, attr, sizeof(attr));
        if ((int) attr[1] >= 0) {
                int error = errno;

                close((int) attr[1]);
                errno = error;
        }
        return token;
}

/* What a program with a token may do: bpf_task_from_pid(), bpf_send_signal_task(), bpf_task_release(), which
 * are called by their numbers in the kernel's type information. It's run once, with no need to attach it
 * (BPF_PROG_TEST_RUN). */
static void kill_by_program(int pid, int find, int send, int release) {
        const int signal_number = 9, whole_process = 1; /* SIGKILL, PIDTYPE_TGID */
        struct bpf_insn insns[] = {
                MOV(1, pid),
                KERNEL_CALL(find),
                JNE(0, 0, 2),
                MOV(0, 0),
                EXIT,
                COPY(6, 0),
                COPY(1, 6),
                MOV(2, signal_number),
                MOV(3, whole_process),
                MOV(4, 0),
                KERNEL_CALL(send),
                COPY(1, 6),
                KERNEL_CALL(release),
                MOV(0, 1),
                EXIT,
        };
        Kind kind = { "kill", BPF_PROGRAM_CGROUP_SKB, BPF_ATTACH_CGROUP_INET_INGRESS, ELEMENTSOF(insns),
                insns };
        unsigned char packet[64] = {};
        struct {
                uint32_t program, result, size, size_out;
                uint64_t data, data_out;
                uint32_t repeat, duration;
        } run = { .size = sizeof(packet), .data = (uintptr_t) packet };
        BpfAttr attr = {};

        program = load(&kind);
        report("load", program);
        if (program < 0)
                return;
        run.program = (uint32_t) program;
        memcpy(attr.bytes, &run, sizeof(run));
        report("kill", call_bpf(10, &attr, sizeof(run)));
}

/* BPF_OBJ_PIN, BPF_OBJ_GET */
static long pin(unsigned command, const char *path, int fd) {
        BpfAttr attr = {};

        memcpy(attr.bytes, &(uint64_t){ (uintptr_t) path }, sizeof(uint64_t));
        memcpy(attr.bytes + 8, &fd, sizeof(fd));
        return call_bpf(command, &attr, 16);
}

static long attach(unsigned flags, unsigned type, bool replace) {
        BpfAttr attr = {};

        attr.attach.target = (uint32_t) cgroup;
        attr.attach.program = (uint32_t) program;
        attr.attach.attach_type = type;
        attr.attach.flags = flags | (replace ? BPF_ATTACH_REPLACE : 0);
        attr.attach.replace = replace ? (uint32_t) other : 0;
        return call_bpf(BPF_COMMAND_PROG_ATTACH, &attr, sizeof(attr.attach));
}

static long detach(unsigned type, bool with_program) {
        BpfAttr attr = {};

        attr.attach.target = (uint32_t) cgroup;
        attr.attach.program = with_program ? (uint32_t) program : 0;
        attr.attach.attach_type = type;
        return call_bpf(BPF_COMMAND_PROG_DETACH, &attr, sizeof(attr.attach));
}

static long make_link(unsigned type) {
        BpfAttr attr = {};

        attr.link.program = (uint32_t) program;
        attr.link.target = (uint32_t) cgroup;
        attr.link.attach_type = type;
        return call_bpf(BPF_COMMAND_LINK_CREATE, &attr, sizeof(attr.link));
}

static long query(unsigned type, unsigned flags) {
        uint32_t ids[64] = {};
        BpfAttr attr = {};
        bool found = false;
        long r;

        attr.query.target = (uint32_t) cgroup;
        attr.query.attach_type = type;
        attr.query.query_flags = flags;
        attr.query.programs = (uintptr_t) ids;
        attr.query.n_programs = 64;
        r = call_bpf(BPF_COMMAND_PROG_QUERY, &attr, sizeof(attr.query));
        report("query", r);
        if (r < 0)
                return r;

        for (uint32_t i = 0; program >= 0 && i < attr.query.n_programs; i++)
                found |= ids[i] == program_id(program);
        printf("  flags %u programs %u%s\n", attr.query.flags, attr.query.n_programs,
                        found ? " current" : "");
        return r;
}

static long by_id(uint32_t id) {
        BpfAttr attr = {};
        long r;

        attr.by_id.id = id;
        r = call_bpf(BPF_COMMAND_PROG_GET_FD_BY_ID, &attr, sizeof(attr.by_id));
        if (r >= 0 && program_id((int) r) != id) {
                errno = EILSEQ;
                return -1;
        }
        if (r >= 0)
                close((int) r);
        return r;
}

static void fill(unsigned long n, Kind *kind) {
        unsigned long i;
        int r = 0;

        for (i = 0; i < n && (r = load(kind)) >= 0; i++)
                ;
        if (r < 0)
                printf("fill %lu %s\n", i, error_name(errno));
        else
                printf("fill %lu OK\n", i);
}

static long open_device(const char *path) {
        int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

        if (fd >= 0)
                close(fd);
        return fd;
}

static long enter(const char *path) {
        char file[4096];
        int fd;
        long r;

        snprintf(file, sizeof(file), "%s/cgroup.procs", path);
        fd = open(file, O_WRONLY | O_CLOEXEC);
        r = fd < 0 ? -1 : write(fd, "0", 1);
        if (fd >= 0)
                close(fd);
        return r;
}

static long send_datagram(const char *address) {
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), error;
        long r;

        if (fd < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1)
                die(address);
        r = sendto(fd, "x", 1, 0, (struct sockaddr *) &to, sizeof(to));
        error = errno;
        close(fd);
        errno = error;
        return r;
}

/* tcp or udp, over either version. */
static long bind_to(const char *address, unsigned long port, const char *protocol) {
        int family = strchr(address, ':') ? AF_INET6 : AF_INET;
        struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t) port) };
        struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t) port) };
        int fd = socket(family,
                            (protocol && strcmp(protocol, "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM) |
                                            SOCK_CLOEXEC,
                            0),
            error;
        long r;

        if (fd < 0 || inet_pton(family, address,
                                      family == AF_INET ? (void *) &in.sin_addr : (void *) &in6.sin6_addr) !=
                                        1)
                die(address);
        r = family == AF_INET ? bind(fd, (struct sockaddr *) &in, sizeof(in))
                              : bind(fd, (struct sockaddr *) &in6, sizeof(in6));
        error = errno;
        close(fd);
        errno = error;
        return r;
}

static unsigned count_descriptors(void) {
        DIR *directory = opendir("/proc/self/fd");
        unsigned n = 0;

        if (!directory)
                die("/proc/self/fd");
        while (readdir(directory))
                n++;
        closedir(directory);
        return n;
}

static uint32_t type_of(int fd) {
        uint32_t info[2] = {};
        BpfAttr attr = { .info = { .fd = (uint32_t) fd, .size = sizeof(info), .info = (uintptr_t) info } };

        return call_bpf(BPF_COMMAND_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr.info)) < 0 ? 0 : info[0];
}

static void storm(unsigned long n) {
        unsigned before = count_descriptors(), failed = 0, wrong = 0;

        for (unsigned long i = 0; i < n; i++) {
                int fd = load(find_kind("allow"));

                if (fd < 0)
                        printf("load -1 %s\n", error_name(errno));
                failed += fd < 0;
                wrong += fd >= 0 && (fd <= 2 || type_of(fd) != BPF_PROGRAM_CGROUP_DEVICE);
                if (fd > 2)
                        close(fd);
        }
        printf("failed %u wrong %u leaked %i\n", failed, wrong, (int) count_descriptors() - (int) before);
}

/* Of struct bpf_prog_info up to the translated program. */
static void has_call(uint32_t id) {
        struct {
                uint32_t words[5];
                uint32_t translated_size;
                uint64_t compiled;
                uint64_t translated;
        } info = {};
        static struct bpf_insn insns[64];
        BpfAttr by_id = { .by_id.id = id }, attr;
        bool found = false, three = false;
        int fd;

        fd = (int) call_bpf(BPF_COMMAND_PROG_GET_FD_BY_ID, &by_id, sizeof(by_id.by_id));
        if (fd < 0)
                die("has-call");
        info.translated_size = sizeof(insns);
        info.translated = (uintptr_t) insns;
        attr = (BpfAttr){ .info = { .fd = (uint32_t) fd, .size = sizeof(info), .info = (uintptr_t) &info } };
        if (call_bpf(BPF_COMMAND_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr.info)) < 0)
                die("info");
        for (size_t i = 0; i < info.translated_size / sizeof(insns[0]); i++) {
                found |= insns[i].code == (BPF_JMP | BPF_CALL);
                three |= BPF_OP(insns[i].code) == BPF_MOV && insns[i].imm == 3;
        }
        printf("%s%s of %u\n", found ? "call" : "no-call", three ? " three" : "",
                        (unsigned) (info.translated_size / sizeof(insns[0])));
        close(fd);
}

static void *memory_that_never_comes(void) {
        struct uffdio_api api = { .api = UFFD_API };
        struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
        int fd = (int) syscall(SYS_userfaultfd, O_CLOEXEC);
        void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (fd < 0 || p == MAP_FAILED || ioctl(fd, UFFDIO_API, &api) < 0)
                die("userfaultfd");
        range.range.start = (uintptr_t) p;
        range.range.len = PAGE;
        if (ioctl(fd, UFFDIO_REGISTER, &range) < 0)
                die("UFFDIO_REGISTER");
        return p;
}

/* -- odd input
 * ----------------------------------------------------------------------------------------------- */

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
static void odd_with_token(void) {
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

static void odd(const char *path) {
        odd_sizes();
        odd_memory();
        odd_log();
        odd_fields();
        odd_attach(path);
        odd_maps();
        odd_bind(path);
}

/* -- races
 * --------------------------------------------------------------------------------------------------- */

static atomic_bool stop;
static BpfAttr shared;
static struct bpf_insn shared_insns[32];
static int shared_fd;
static uint32_t expected_type = BPF_PROGRAM_CGROUP_DEVICE;

/* What a program may be when it's loaded: "good" is lent, "bad" isn't. */
static void *flip_attr(void *unused) {
        BpfAttr good = load_attr(find_kind("allow")), bad = load_attr(find_kind("socket"));

        bad.load.flags = 0;
        for (unsigned i = 0; !atomic_load(&stop); i++)
                memcpy(&shared, i & 1 ? &bad : &good, sizeof(shared));
        return NULL;
}

static void *flip_instructions(void *unused) {
        struct bpf_insn good = MOV(0, 0), bad = CALL(5);

        for (unsigned i = 0; !atomic_load(&stop); i++)
                shared_insns[5] = i & 1 ? bad : good;
        return NULL;
}

/* A result that isn't lent. */
static void *flip_result(void *unused) {
        struct bpf_insn good = MOV(0, 1), bad = MOV(0, 3);
        size_t i = 0;

        while (shared_insns[i].code != good.code || shared_insns[i].imm != 1 || shared_insns[i].dst_reg != 0)
                i++;
        for (unsigned k = 0; !atomic_load(&stop); k++)
                shared_insns[i] = k & 1 ? bad : good;
        return NULL;
}

/* A program's descriptor becomes a cgroup's and back. */
static void *flip_fd(void *unused) {
        while (!atomic_load(&stop)) {
                dup2(program, shared_fd);
                dup2(cgroup, shared_fd);
        }
        return NULL;
}

static void race(unsigned long n, void *(*flip)(void *), long (*call)(void)) {
        unsigned counts[4096] = {}, ok = 0, bad = 0;
        pthread_t thread;

        if (pthread_create(&thread, NULL, flip, NULL) != 0)
                die("pthread_create");
        for (unsigned long i = 0; i < n; i++) {
                long r = call();

                if (r < 0)
                        counts[errno]++;
                else
                        ok++;
                if (r > 0) {
                        bad += type_of((int) r) != expected_type;
                        /* Some stay, to be looked at by whoever may. */
                        if (ok % 8 == 0 && ok < 8 * 32)
                                printf("id %u\n", program_id((int) r));
                        else
                                close((int) r);
                }
        }
        atomic_store(&stop, true);
        pthread_join(thread, NULL);

        printf("OK %u\nbad %u\n", ok, bad);
        for (int i = 0; i < 4096; i++)
                if (counts[i] > 0)
                        printf("%s %u\n", error_name(i), counts[i]);
}

static void share(const char *name) {
        Kind *kind = find_kind(name);

        shared = load_attr(kind);
        memcpy(shared_insns, kind->insns, kind->n * sizeof(kind->insns[0]));
        shared.load.instructions = (uintptr_t) shared_insns;
}

static long call_shared(void) {
        return call_bpf(BPF_COMMAND_PROG_LOAD, &shared, sizeof(shared));
}

static long call_attach_shared(void) {
        BpfAttr attr = {};
        long r;

        attr.attach.target = (uint32_t) cgroup;
        attr.attach.program = (uint32_t) shared_fd;
        attr.attach.attach_type = 6;
        attr.attach.flags = 2;
        r = call_bpf(BPF_COMMAND_PROG_ATTACH, &attr, sizeof(attr.attach));
        if (r >= 0 && detach(6, true) < 0)
                die("detach");
        return r;
}

/* -- who
 * ----------------------------------------------------------------------------------------------------- */

/* -- the command line
 * ---------------------------------------------------------------------------------------- */

static void perform(int argc, char **argv) {
        const char *name = argv[0], *first = argc > 1 ? argv[1] : NULL, *second = argc > 2 ? argv[2] : NULL;

        errno = 0;
        if (strcmp(name, "load") == 0)
                report(name, program = load(find_kind(first)));
        else if (strcmp(name, "load-log") == 0)
                load_with_log(find_kind(first));
        else if (strcmp(name, "map") == 0)
                report(name, make_map(first));
        else if (strcmp(name, "value-map") == 0)
                value_map = map;
        else if (strcmp(name, "put") == 0)
                report(name, put((uint32_t) number(first), number(second)));
        else if (strcmp(name, "freeze") == 0)
                report(name, freeze(map));
        else if (strcmp(name, "pin-map") == 0)
                report(name, pin(6, first, map));
        else if (strcmp(name, "get-map") == 0)
                report(name, map = (int) pin(7, first, 0));
        else if (strcmp(name, "keep") == 0) {
                other = program;
                program = -1;
        } else if (strcmp(name, "forget") == 0) {
                close(program);
                program = -1;
        } else if (strcmp(name, "swap") == 0) {
                int fd = program;

                program = other;
                other = fd;
        } else if (strcmp(name, "cgroup") == 0)
                report(name, cgroup = open(first, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        else if (strcmp(name, "cgroup-path") == 0)
                report(name, cgroup = open(first, O_PATH | O_DIRECTORY | O_CLOEXEC));
        else if (strcmp(name, "token") == 0)
                report(name, make_token(first));
        else if (strcmp(name, "kill") == 0 && argc == 5)
                kill_by_program((int) number(first), (int) number(second), (int) number(argv[3]),
                                (int) number(argv[4]));
        else if (strcmp(name, "mkdir") == 0)
                report(name, mkdir(first, 0755));
        else if (strcmp(name, "rmdir") == 0)
                report(name, rmdir(first));
        else if (strcmp(name, "enter") == 0)
                report(name, enter(first));
        else if (strcmp(name, "attach") == 0)
                report(name, attach((unsigned) number(first), type_or_device(second), false));
        else if (strcmp(name, "replace") == 0)
                report(name, attach((unsigned) number(first), type_or_device(second), true));
        else if (strcmp(name, "detach") == 0)
                report(name, detach(type_or_device(first), true));
        else if (strcmp(name, "detach-none") == 0)
                report(name, detach(type_or_device(first), false));
        else if (strcmp(name, "link") == 0)
                report(name, make_link(type_or_device(first)));
        else if (strcmp(name, "query") == 0)
                query(type_or_device(first), (unsigned) number(second));
        else if (strcmp(name, "by-id") == 0)
                report(name, by_id(first ? (uint32_t) number(first) : program_id(program)));
        else if (strcmp(name, "id") == 0)
                printf("id %u\n", program_id(program));
        else if (strcmp(name, "fill") == 0)
                fill(number(first), find_kind(second));
        else if (strcmp(name, "open") == 0)
                report(name, open_device(first));
        else if (strcmp(name, "send") == 0)
                report(name, send_datagram(first));
        else if (strcmp(name, "bind") == 0)
                report(name, bind_to(first, number(second), argc > 3 ? argv[3] : NULL));
        else if (strcmp(name, "storm") == 0)
                storm(number(first));
        else if (strcmp(name, "has-call") == 0)
                for (int i = 1; i < argc; i++)
                        has_call((uint32_t) number(argv[i]));
        else if (strcmp(name, "hang") == 0) {
                void *p = memory_that_never_comes();

                puts("calling");
                fflush(stdout);
                report(name, call_bpf((unsigned) number(first), p, 16));
        } else if (strcmp(name, "cloexec") == 0)
                printf("cloexec %i\n", fcntl(program, F_GETFD) & FD_CLOEXEC ? 1 : 0);
        else if (strcmp(name, "command") == 0) {
                BpfAttr attr = {};

                attr.attach = (BpfAttach){ .target = (uint32_t) cgroup,
                        .program = (uint32_t) program,
                        .attach_type = BPF_ATTACH_CGROUP_DEVICE };
                report(name, call_bpf((unsigned) number(first), &attr, 16));
        } else if (strcmp(name, "sleep") == 0)
                usleep((useconds_t) number(first) * 1000);
        else if (strcmp(name, "odd") == 0)
                odd(first);
        else if (strcmp(name, "drop") == 0)
                drop_capabilities(argv[1]);
        else if (strcmp(name, "odd-with-token") == 0)
                odd_with_token();
        else if (strcmp(name, "race-attr") == 0) {
                shared = load_attr(find_kind("allow"));
                race(number(first), flip_attr, call_shared);
        } else if (strcmp(name, "race-instructions") == 0) {
                share("deny-zero");
                race(number(first), flip_instructions, call_shared);
        } else if (strcmp(name, "race-bind") == 0) {
                make_map("list");
                share("bind-list");
                expected_type = BPF_PROGRAM_CGROUP_SOCK_ADDR;
                race(number(first), flip_result, call_shared);
        } else if (strcmp(name, "race-fd") == 0) {
                shared_fd = dup(cgroup);
                race(number(first), flip_fd, call_attach_shared);
        } else {
                fprintf(stderr, "bpf-calls: no such command: %s\n", name);
                exit(125);
        }
        fflush(stdout);
}

static void *perform_all(void *p) {
        for_each_call(p, perform);
        return NULL;
}

int main(int argc, char *argv[]) {
        enum { UID_ = 256, DROP, USERNS, THREAD, HELP };
        static const struct option options[] = { { "uid", required_argument, NULL, UID_ },
                { "drop", required_argument, NULL, DROP }, { "userns", no_argument, NULL, USERNS },
                { "thread", no_argument, NULL, THREAD }, { "help", no_argument, NULL, HELP }, {} };
        bool thread = false;
        int c;

        while ((c = getopt_long(argc, argv, "+", options, NULL)) >= 0)
                switch (c) {
                case UID_:
                        if (setresuid((uid_t) number(optarg), (uid_t) number(optarg),
                                            (uid_t) number(optarg)) < 0)
                                die("setresuid");
                        break;
                case DROP:
                        drop_capabilities(optarg);
                        break;
                case USERNS:
                        enter_user_namespace();
                        break;
                case THREAD:
                        thread = true;
                        break;
                case HELP:
                        usage(stdout);
                        return 0;
                default:
                        usage(stderr);
                        return 125;
                }

        if (optind >= argc) {
                usage(stderr);
                return 125;
        }
        if (thread) {
                pthread_t t;

                if (pthread_create(&t, NULL, perform_all, argv + optind) != 0)
                        die("pthread_create");
                pthread_join(t, NULL);
        } else
                perform_all(argv + optind);
        return 0;
}
