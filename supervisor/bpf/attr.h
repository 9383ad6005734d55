/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What bpf(2) is told and tells, as far as we understand it: the kernel's union bpf_attr, which grows from
 * version to version, in fixed words. The installed linux/bpf.h may be older than the kernel or than the
 * caller, so its sizes say nothing. */

#include <stddef.h>
#include <stdint.h>

/* Commands. */
enum {
        BPF_COMMAND_MAP_CREATE = 0,
        BPF_COMMAND_PROG_LOAD = 5,
        BPF_COMMAND_PROG_ATTACH = 8,
        BPF_COMMAND_PROG_DETACH = 9,
        BPF_COMMAND_PROG_GET_NEXT_ID = 11,
        BPF_COMMAND_MAP_GET_NEXT_ID = 12,
        BPF_COMMAND_PROG_GET_FD_BY_ID = 13,
        BPF_COMMAND_MAP_GET_FD_BY_ID = 14,
        BPF_COMMAND_OBJ_GET_INFO_BY_FD = 15,
        BPF_COMMAND_PROG_QUERY = 16,
        BPF_COMMAND_MAP_FREEZE = 22,
        BPF_COMMAND_LINK_CREATE = 28,
        BPF_COMMAND_TOKEN_CREATE = 36,
};

/* Types of programs, of places to attach them, and of maps. */
enum {
        BPF_PROGRAM_SOCKET_FILTER = 1,
        BPF_PROGRAM_CGROUP_SKB = 8,
        BPF_PROGRAM_CGROUP_DEVICE = 15,
        BPF_PROGRAM_CGROUP_SOCK_ADDR = 18,
        BPF_PROGRAM_SK_REUSEPORT = 21,

        BPF_ATTACH_CGROUP_INET_INGRESS = 0,
        BPF_ATTACH_CGROUP_INET_EGRESS = 1,
        BPF_ATTACH_CGROUP_DEVICE = 6,
        BPF_ATTACH_CGROUP_INET4_BIND = 8,
        BPF_ATTACH_CGROUP_INET6_BIND = 9,
        BPF_ATTACH_CGROUP_INET4_CONNECT = 10,
        BPF_ATTACH_SK_REUSEPORT_SELECT = 39,

        BPF_MAP_HASH = 1,
        BPF_MAP_ARRAY = 2,
        BPF_MAP_LPM_TRIE = 11,
        BPF_MAP_RINGBUF = 27,
};

#define BPF_ATTACH_OVERRIDE  (1u << 0)
#define BPF_ATTACH_MULTI     (1u << 1)
#define BPF_ATTACH_REPLACE   (1u << 2)
#define BPF_QUERY_EFFECTIVE  (1u << 0)
#define BPF_MAP_NO_PREALLOC  (1u << 0)
#define BPF_MAP_READ_ONLY    (1u << 7)  /* for programs: BPF_F_RDONLY_PROG */
#define BPF_TOKEN_FD         (1u << 16) /* of loads and maps */
#define BPF_STRICT_ALIGNMENT (1u << 0)  /* of loads, as the next two */
#define BPF_ANY_ALIGNMENT    (1u << 1)
#define BPF_XDP_HAS_FRAGS    (1u << 5)

#define BPF_NAME_SIZE    16u
#define BPF_LICENSE_SIZE 128u

typedef struct BpfLoad {
        uint32_t type;
        uint32_t n_instructions;
        uint64_t instructions;
        uint64_t license;
        uint32_t log_level;
        uint32_t log_size;
        uint64_t log_buffer;
        uint32_t kernel_version; /* means nothing since 5.0 */
        uint32_t flags;
        char name[BPF_NAME_SIZE];
        uint32_t interface;
        uint32_t attach_type;
        uint32_t btf; /* type information: a descriptor, and where it has what */
        uint32_t function_size;
        uint64_t functions;
        uint32_t n_functions;
        uint32_t line_size;
        uint64_t lines;
        uint32_t n_lines;
        uint32_t attach_function;
        uint32_t attach_object; /* descriptor of a program, or of type information */
        uint32_t n_relocations;
        uint64_t descriptors; /* an array, for instructions that name one by its place there */
        uint64_t relocations;
        uint32_t relocation_size;
        uint32_t log_true_size; /* told by the kernel since 6.4 */
        uint32_t token;         /* since 6.9, with BPF_TOKEN_FD */
        uint32_t n_descriptors; /* since 6.14 */
        uint64_t signature;     /* since 6.18 */
        uint32_t signature_size;
        uint32_t keyring;
} BpfLoad;

typedef struct BpfAttach {
        uint32_t target; /* descriptor of a cgroup */
        uint32_t program;
        uint32_t attach_type;
        uint32_t flags;
        uint32_t replace;
        uint32_t relative;
        uint64_t revision;
} BpfAttach;

typedef struct BpfQuery {
        uint32_t target;
        uint32_t attach_type;
        uint32_t query_flags;
        uint32_t flags;
        uint64_t programs; /* array of ids */
        uint32_t n_programs;
        uint32_t padding;
        uint64_t program_flags;
        uint64_t links;
        uint64_t link_flags;
        uint64_t revision;
} BpfQuery;

typedef struct BpfById {
        uint32_t id;
        uint32_t next_id;
        uint32_t flags;
        uint32_t token;
} BpfById;

typedef struct BpfLinkCreate {
        uint32_t program;
        uint32_t target;
        uint32_t attach_type;
        uint32_t flags;
} BpfLinkCreate;

typedef struct BpfMapCreate {
        uint32_t type;
        uint32_t key_size;
        uint32_t value_size;
        uint32_t max_entries;
        uint32_t flags;
        uint32_t inner_map;
        uint32_t numa_node;
        char name[BPF_NAME_SIZE];
        uint32_t later[8]; /* interface, BTF: nothing that we lend */
        uint32_t token;
} BpfMapCreate;

typedef struct BpfMapFreeze {
        uint32_t fd;
} BpfMapFreeze;

typedef struct BpfInfoByFd {
        uint32_t fd;
        uint32_t size;
        uint64_t info;
} BpfInfoByFd;

/* As large as the kernel's in 6.18. */
#define BPF_ATTR_SIZE 168u

typedef union BpfAttr {
        unsigned char bytes[BPF_ATTR_SIZE];
        BpfLoad load;
        BpfAttach attach;
        BpfQuery query;
        BpfById by_id;
        BpfLinkCreate link;
        BpfMapCreate map;
        BpfMapFreeze freeze;
        BpfInfoByFd info;
} BpfAttr;

_Static_assert(offsetof(BpfLoad, name) == 48 && offsetof(BpfLoad, btf) == 72 &&
                                offsetof(BpfLoad, attach_function) == 108 &&
                                offsetof(BpfLoad, descriptors) == 120 &&
                                offsetof(BpfLoad, log_true_size) == 140 &&
                                offsetof(BpfLoad, n_descriptors) == 148 && sizeof(BpfLoad) == BPF_ATTR_SIZE,
                "struct of BPF_PROG_LOAD");
_Static_assert(sizeof(BpfAttach) == 32 && offsetof(BpfAttach, revision) == 24, "struct of BPF_PROG_ATTACH");
_Static_assert(sizeof(BpfQuery) == 64 && offsetof(BpfQuery, n_programs) == 24, "struct of BPF_PROG_QUERY");
_Static_assert(offsetof(BpfMapCreate, name) == 28 && sizeof(BpfMapCreate) == 80, "struct of BPF_MAP_CREATE");
_Static_assert(sizeof(BpfAttr) == BPF_ATTR_SIZE, "union bpf_attr");

/* struct bpf_prog_info and bpf_map_info, as far as they're of use. */
typedef struct ProgramInfo {
        uint32_t type;
        uint32_t id;
        unsigned char skipped[32];
        uint64_t load_time;
        uint32_t created_by_uid;
        uint32_t n_maps;
} ProgramInfo;

typedef struct MapInfo {
        uint32_t type;
        uint32_t id;
        uint32_t key_size;
        uint32_t value_size;
        uint32_t max_entries;
        uint32_t flags;
        char name[BPF_NAME_SIZE];
} MapInfo;

_Static_assert(offsetof(ProgramInfo, load_time) == 40 && offsetof(ProgramInfo, created_by_uid) == 48,
                "struct bpf_prog_info");
_Static_assert(offsetof(MapInfo, name) == 24, "struct bpf_map_info");
