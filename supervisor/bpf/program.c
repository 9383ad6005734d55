/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "basic/fd.h"
#include "supervisor/bpf/program.h"
#include "supervisor/bpf/type.h"
#include "supervisor/descriptor.h"

int program_read_license(const Caller *caller, uint64_t address, char ret[BPF_LICENSE_SIZE]) {
        ssize_t n = caller_read_string(caller, address, ret, BPF_LICENSE_SIZE - 1);

        ret[n == -ENAMETOOLONG ? BPF_LICENSE_SIZE - 1 : (n < 0 ? 0 : (size_t) n)] = 0;
        return n < 0 && n != -ENAMETOOLONG ? (int) n : 0;
}

int program_read(const Caller *caller, const BpfLoad *load, Program *ret) {
        size_t size = load->n_instructions * sizeof(struct bpf_insn),
               rest = MIN(caller_page_rest(load->license), BPF_LICENSE_SIZE - 1);
        int r;

        ret->insns = g_try_malloc(size);
        if (!ret->insns)
                return -ENOMEM;
        ret->n = load->n_instructions;

        /* One system call does if the license ends before its page does. */
        if (caller_read_both(caller, load->instructions, ret->insns, size, load->license, ret->license,
                            rest) >= 0 &&
                        memchr(ret->license, 0, rest))
                return 0;

        r = caller_read(caller, load->instructions, ret->insns, size);
        return r < 0 ? r : program_read_license(caller, load->license, ret->license);
}

/* Is the instruction about a map, by which number of the caller's? Return: 1, 0, or a negative errno. */
static int map_number(const Caller *caller, const BpfLoad *load, const struct bpf_insn *insn, int *ret) {
        int r;

        if (insn->code != (BPF_LD | BPF_IMM | BPF_DW))
                return 0;

        switch (insn->src_reg) {
        case BPF_PSEUDO_MAP_FD:
        case BPF_PSEUDO_MAP_VALUE:
                *ret = insn->imm;
                return 1;
        case BPF_PSEUDO_MAP_IDX:
        case BPF_PSEUDO_MAP_IDX_VALUE:
                if (load->descriptors == 0)
                        return 0;
                r = caller_read(caller, load->descriptors + (uint64_t) (uint32_t) insn->imm * sizeof(*ret),
                                ret, sizeof(*ret));
                return r < 0 ? r : 1;
        default:
                return 0;
        }
}

/* Return: its place in "maps", or a negative errno. */
static int find_map(const Caller *caller, int number, size_t max, Program *p) {
        int fd;

        for (size_t i = 0; i < p->n_maps; i++)
                if (p->maps[i].number == number)
                        return (int) i;

        if (p->n_maps >= max)
                return -E2BIG;

        fd = descriptor_copy(caller, number, "bpf-map");
        if (fd < 0)
                return fd;

        p->maps[p->n_maps] = (ProgramMap){ .fd = fd, .number = number };
        return (int) p->n_maps++;
}

int program_copy_maps(const Caller *caller, const BpfLoad *load, size_t max, Program *p) {
        for (size_t i = 0; i < p->n; i++) {
                struct bpf_insn *insn = p->insns + i;
                bool value = insn->src_reg == BPF_PSEUDO_MAP_VALUE ||
                             insn->src_reg == BPF_PSEUDO_MAP_IDX_VALUE;
                int number, k;

                k = map_number(caller, load, insn, &number);
                if (k > 0)
                        k = find_map(caller, number, MIN(max, PROGRAM_MAPS_MAX), p);
                else if (k == 0)
                        continue;
                if (k < 0)
                        return k;

                p->maps[k].uses |= value ? MAP_USE_VALUE : MAP_USE_LOOKUP;
                insn->src_reg = value ? BPF_PSEUDO_MAP_VALUE : BPF_PSEUDO_MAP_FD;
                insn->imm = p->maps[k].fd; /* It means something in our own table from here on. */
        }

        return 0;
}

void program_done(Program *p) {
        for (size_t i = 0; i < p->n_maps; i++)
                close_fd(p->maps[i].fd);
        p->n_maps = 0;
        g_free(p->insns);
        p->insns = NULL;
}
