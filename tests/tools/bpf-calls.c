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

#include "bpf-calls.h"
#include "caller.h"

int program = -1, other = -1, cgroup = -1, map = -1, value_map = -1, token = -1;
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
              "  load-long           one that the verifier gives up after seconds\n"
              "  map KIND [NAME]     a map of bpf-programs.c, likewise\n"
              "  value-map           the current map becomes the one whose value programs read\n"
              "  map-name            of the current map\n"
              "  put KEY VALUE       numbers, into the current map\n"
              "  freeze              the current map\n"
              "  token PATH          of the bpf file system mounted there, for all that's loaded and made "
              "from here on\n"
              "  no-token            without it from here on\n"
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

long call_bpf(unsigned command, void *attr, size_t size) {
        return syscall(SYS_bpf, command, attr, size);
}

const char *error_name(int error) {
        const char *name = error == 0 ? "OK" : strerrorname_np(error);

        return name ? name : "?";
}

void report(const char *name, long r) {
        int error = errno;

        printf("%s %ld %s\n", name, r < 0 ? -1L : 0L, error_name(r < 0 ? error : 0));
        fflush(stdout);
}

/* -- programs
 * ------------------------------------------------------------------------------------------------ */

/* For programs that name their maps by the place in an array. */
static int by_index[2];

BpfAttr load_attr(Kind *kind) {
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

int load(Kind *kind) {
        BpfAttr attr = load_attr(kind);

        return (int) call_bpf(BPF_COMMAND_PROG_LOAD, &attr, sizeof(attr));
}

/* A program that keeps the verifier busy until it gives up, which takes seconds: all ways through it differ
 * in what's on the stack at the end, where that's looked at. */
static long load_long(void) {
        enum { SLOTS = 20, SIZE = 4000 };
        static struct bpf_insn insns[SIZE];
        BpfAttr attr = load_attr(find_kind("cls"));
        size_t n = 0;

        insns[n++] = (struct bpf_insn) COPY(6, 1);
        for (int i = 1; i <= SLOTS; i++)
                insns[n++] = (struct bpf_insn) INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, (short) (-8 * i), 0);
        for (int i = 0; n + 3 + 2 * SLOTS + 2 <= SIZE; i++) {
                insns[n++] = (struct bpf_insn) LOAD(BPF_W, 2, 6, 8);
                insns[n++] = (struct bpf_insn) JNE(2, i, 1);
                insns[n++] = (struct bpf_insn) INSN(
                                BPF_ST | BPF_MEM | BPF_DW, 10, 0, (short) (-8 * (1 + i % SLOTS)), i + 1);
        }
        for (int i = 1; i <= SLOTS; i++) {
                insns[n++] = (struct bpf_insn) LOAD(BPF_DW, 3, 10, (short) (-8 * i));
                insns[n++] = (struct bpf_insn) JEQ(3, 123456, 0);
        }
        insns[n++] = (struct bpf_insn) MOV(0, 0);
        insns[n++] = (struct bpf_insn) EXIT;

        attr.load.instructions = (uintptr_t) insns;
        attr.load.n_instructions = (uint32_t) n;
        return call_bpf(BPF_COMMAND_PROG_LOAD, &attr, sizeof(attr));
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

uint32_t program_id(int fd) {
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

static long make_map_as(const char *kind_name, const char *name) {
        const MapKind *kind = find_map_kind(kind_name);
        BpfAttr attr = { .map = { .type = kind->type,
                                         .key_size = kind->key_size,
                                         .value_size = kind->value_size,
                                         .max_entries = kind->max_entries,
                                         .flags = kind->flags } };

        if (token >= 0) {
                attr.map.flags |= BPF_TOKEN_FD;
                attr.map.token = (uint32_t) token;
        }
        strncpy(attr.map.name, name, sizeof(attr.map.name) - 1);
        return map = (int) call_bpf(BPF_COMMAND_MAP_CREATE, &attr, sizeof(attr));
}

long make_map(const char *kind) {
        return make_map_as(kind, "");
}

/* BPF_MAP_UPDATE_ELEM: both are numbers in the map's first bytes. */
long put(uint32_t key, uint64_t value) {
        BpfAttr attr = {};

        memcpy(attr.bytes, &map, sizeof(map));
        memcpy(attr.bytes + 8, &(uint64_t){ (uintptr_t) &key }, sizeof(uint64_t));
        memcpy(attr.bytes + 16, &(uint64_t){ (uintptr_t) &value }, sizeof(uint64_t));
        return call_bpf(2, &attr, 32);
}

long freeze(int fd) {
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
        Kind kind = { "kill", 3, 0, ELEMENTSOF(insns), insns }; /* sched_cls */
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

long attach(unsigned flags, unsigned type, bool replace) {
        BpfAttr attr = {};

        attr.attach.target = (uint32_t) cgroup;
        attr.attach.program = (uint32_t) program;
        attr.attach.attach_type = type;
        attr.attach.flags = flags | (replace ? BPF_ATTACH_REPLACE : 0);
        attr.attach.replace = replace ? (uint32_t) other : 0;
        return call_bpf(BPF_COMMAND_PROG_ATTACH, &attr, sizeof(attr.attach));
}

long detach(unsigned type, bool with_program) {
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

static void map_name(void) {
        MapInfo info = {};
        BpfAttr attr = { .info = { .fd = (uint32_t) map, .size = sizeof(info), .info = (uintptr_t) &info } };

        if (call_bpf(BPF_COMMAND_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr.info)) < 0)
                report("map-name", -1);
        else
                printf("map-name %.*s\n", (int) sizeof(info.name), info.name);
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

uint32_t type_of(int fd) {
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

/* -- the command line
 * ---------------------------------------------------------------------------------------- */

static void perform(int argc, char **argv) {
        const char *name = argv[0], *first = argc > 1 ? argv[1] : NULL, *second = argc > 2 ? argv[2] : NULL;

        errno = 0;
        if (strcmp(name, "load") == 0)
                report(name, program = load(find_kind(first)));
        else if (strcmp(name, "load-log") == 0)
                load_with_log(find_kind(first));
        else if (strcmp(name, "load-long") == 0)
                report(name, load_long());
        else if (strcmp(name, "map") == 0)
                report(name, make_map_as(first, second ?: ""));
        else if (strcmp(name, "value-map") == 0)
                value_map = map;
        else if (strcmp(name, "map-name") == 0)
                map_name();
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
        else if (strcmp(name, "no-token") == 0) {
                close(token);
                token = -1;
        } else if (strcmp(name, "kill") == 0 && argc == 5)
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
        else if (!race_by_name(name, number(first))) {
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
