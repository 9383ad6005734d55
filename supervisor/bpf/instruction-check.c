/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The sets that a program is written in by hand, or put together by another one (for those that a compiler
 * makes see compiled-check.c).
 *
 * One pass from the first instruction to the last, as there are forward jumps only. Beside the form of each
 * instruction, one thing is followed on the way: which registers may hold the pointer to the context, and
 * which may hold something else. Such a pointer may be copied, loaded from, and passed to a helper, and
 * nothing else: no arithmetic, no comparison, no store, no return value. */

#include <errno.h>
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "supervisor/bpf/compiled-check.h"
#include "supervisor/bpf/instruction-check.h"
#include "supervisor/bpf/instruction-form.h"

/* Not in all versions of the header. */
#define MODE_ATOMIC 0xc0

typedef struct State {
        bool reached;
        uint16_t context; /* registers that may hold the context */
        uint16_t other;   /* registers that may hold something else */
} State;

typedef struct Check {
        InstructionSet set;
        const struct bpf_insn *insns;
        size_t n;
        State *states; /* before each instruction */
} Check;

static void join(State *to, const State *from) {
        to->reached = true;
        to->context |= from->context;
        to->other |= from->other;
}

static bool may_be_context(const State *s, unsigned reg) {
        return s->context & (1u << reg);
}

static bool is_context(const State *s, unsigned reg) {
        return may_be_context(s, reg) && !(s->other & (1u << reg));
}

static void set_other(State *s, unsigned reg) {
        s->context &= (uint16_t) ~(1u << reg);
        s->other |= (uint16_t) (1u << reg);
}

static void copy(State *s, unsigned to, unsigned from) {
        uint16_t bit = (uint16_t) (1u << to);

        s->context = (uint16_t) ((s->context & ~bit) | (may_be_context(s, from) ? bit : 0));
        s->other = (uint16_t) ((s->other & ~bit) | (s->other & (1u << from) ? bit : 0));
}

/* A register that may be read: the frame pointer only where there's a use for the stack. */
static bool is_source(const Check *c, unsigned reg) {
        return reg < N_REGISTERS || (reg == FRAME_POINTER && c->set == INSTRUCTIONS_SKB);
}

static bool check_load(const Check *c, const struct bpf_insn *insn, State *s) {
        unsigned size = instruction_size(insn);

        if (c->set == INSTRUCTIONS_CONSTANT || BPF_MODE(insn->code) != BPF_MEM || insn->imm != 0 ||
                        insn->dst_reg >= N_REGISTERS || insn->src_reg >= N_REGISTERS)
                return false;
        if (s->reached && !is_context(s, insn->src_reg))
                return false;

        if (c->set == INSTRUCTIONS_DEVICE) {
                /* struct bpf_cgroup_dev_ctx: access type, major, minor */
                if (size > 4 || insn->off < 0 || (unsigned) insn->off % size != 0 ||
                                (unsigned) insn->off + size > 12)
                        return false;
        } else if (size != 4 || (insn->off != offsetof(struct __sk_buff, len) &&
                                                insn->off != offsetof(struct __sk_buff, protocol)))
                return false;

        set_other(s, insn->dst_reg);
        return true;
}

static bool check_arithmetic(const Check *c, const struct bpf_insn *insn, State *s) {
        bool wide = BPF_CLASS(insn->code) == BPF_ALU64, by_register = instruction_is_by_register(insn);

        if (insn->off != 0 || insn->dst_reg >= N_REGISTERS || !instruction_has_one_operand(insn))
                return false;
        if (by_register && !is_source(c, insn->src_reg))
                return false;

        switch (BPF_OP(insn->code)) {
        case BPF_MOV:
                if (!by_register)
                        set_other(s, insn->dst_reg);
                else if (wide)
                        copy(s, insn->dst_reg, insn->src_reg);
                else if (may_be_context(s, insn->src_reg) || insn->src_reg == FRAME_POINTER)
                        return false;
                else
                        set_other(s, insn->dst_reg);
                return true;
        case BPF_NEG:
                if (by_register || insn->imm != 0)
                        return false;
                break;
        case BPF_ADD:
        case BPF_SUB:
        case BPF_MUL:
        case BPF_OR:
        case BPF_AND:
        case BPF_LSH:
        case BPF_RSH:
        case BPF_XOR:
        case BPF_ARSH:
                break;
        default:
                return false;
        }

        if (by_register && (insn->src_reg == FRAME_POINTER || may_be_context(s, insn->src_reg)))
                return false;
        return !may_be_context(s, insn->dst_reg);
}

/* Places on the stack, and the counters of a map. */
static bool check_store(const Check *c, const struct bpf_insn *insn, const State *s) {
        bool by_register = BPF_CLASS(insn->code) == BPF_STX;

        if (c->set != INSTRUCTIONS_SKB || !is_source(c, insn->dst_reg) || insn->src_reg >= N_REGISTERS ||
                        may_be_context(s, insn->dst_reg) || insn->off < -STACK_SIZE || insn->off > 0)
                return false;
        if (by_register ? may_be_context(s, insn->src_reg) : insn->src_reg != 0)
                return false;

        if (by_register && BPF_MODE(insn->code) == MODE_ATOMIC) /* imm 0 is "add" */
                return instruction_size(insn) == 8 && insn->imm == 0 && insn->off == 0;

        return BPF_MODE(insn->code) == BPF_MEM && (!by_register || insn->imm == 0);
}

static bool check_call(const Check *c, const struct bpf_insn *insn, State *s) {
        if (c->set != INSTRUCTIONS_SKB || !instruction_is_helper_call(insn))
                return false;
        if (insn->imm != HELPER_MAP_LOOKUP_ELEM && insn->imm != HELPER_SKB_LOAD_BYTES)
                return false;

        for (unsigned reg = 0; reg <= 5; reg++)
                set_other(s, reg);
        return true;
}

/* Return: false if it isn't allowed. *ret_next: execution may go on behind it. */
static bool check_jump(Check *c, size_t i, State *s, bool *ret_next) {
        const struct bpf_insn *insn = c->insns + i;
        size_t target;

        if (instruction_is_exit(insn)) {
                *ret_next = false;
                return !may_be_context(s, 0);
        }
        if (BPF_OP(insn->code) == BPF_CALL)
                return check_call(c, insn, s);

        if (insn->off < 0)
                return false;
        target = i + 1 + (size_t) insn->off;
        if (target >= c->n)
                return false;

        switch (BPF_OP(insn->code)) {
        case BPF_JA:
                if (!instruction_is_goto(insn))
                        return false;
                *ret_next = false;
                break;
        case BPF_JEQ:
        case BPF_JGT:
        case BPF_JGE:
        case BPF_JSET:
        case BPF_JNE:
        case BPF_JSGT:
        case BPF_JSGE:
        case BPF_JLT:
        case BPF_JLE:
        case BPF_JSLT:
        case BPF_JSLE:
                if (insn->dst_reg >= N_REGISTERS || may_be_context(s, insn->dst_reg) ||
                                !instruction_has_one_operand(insn))
                        return false;
                if (instruction_is_by_register(insn) &&
                                (insn->src_reg >= N_REGISTERS || may_be_context(s, insn->src_reg)))
                        return false;
                break;
        default:
                return false;
        }

        if (s->reached)
                join(c->states + target, s);
        return true;
}

/* The address of a map takes two instructions, and none may jump between them. */
static bool check_map(const Check *c, size_t i, State *s) {
        const struct bpf_insn *insn = c->insns + i, *second = insn + 1;

        if (c->set != INSTRUCTIONS_SKB || !instruction_is_wide(insn) || insn->src_reg != BPF_PSEUDO_MAP_FD ||
                        i + 1 >= c->n)
                return false;
        if (!instruction_is_second_half(second) || second->imm != 0 || c->states[i + 1].reached)
                return false;

        set_other(s, insn->dst_reg);
        return true;
}

/* Return: how many instructions it is, 0 if it isn't allowed. */
static size_t check_one(Check *c, size_t i) {
        State s = c->states[i];
        bool next = true, good;
        size_t width = 1;

        switch (BPF_CLASS(c->insns[i].code)) {
        case BPF_LDX:
                good = check_load(c, c->insns + i, &s);
                break;
        case BPF_ALU:
        case BPF_ALU64:
                good = check_arithmetic(c, c->insns + i, &s);
                break;
        case BPF_ST:
        case BPF_STX:
                good = check_store(c, c->insns + i, &s);
                break;
        case BPF_JMP:
        case BPF_JMP32:
                good = check_jump(c, i, &s, &next);
                break;
        default: /* BPF_LD */
                good = check_map(c, i, &s);
                width = 2;
        }

        if (!good || (next && i + width >= c->n))
                return 0;
        if (next && s.reached)
                join(c->states + i + width, &s);
        return width;
}

static int simple_check(InstructionSet set, const struct bpf_insn *insns, size_t n, size_t *ret_index) {
        static State states[BPF_INSTRUCTIONS_MAX];
        Check c = { .set = set, .insns = insns, .n = n, .states = states };

        for (size_t i = 0; i < n; i++)
                states[i] = (State){};
        states[0] = (State){
                .reached = true, .context = 1u << BPF_REG_1, .other = 0x7ff & ~(1u << BPF_REG_1)
        };

        for (size_t i = 0, width; i < n; i += width) {
                width = check_one(&c, i);
                if (width == 0) {
                        *ret_index = i;
                        return -EPERM;
                }
        }

        return 0;
}

/* The very program by which a library asks whether the kernel lets programs have global data: it writes a
 * number into a map's only value. */
static int probe_check(const struct bpf_insn *insns, size_t n, size_t *ret_index) {
        static const struct bpf_insn probe[] = {
                { .code = BPF_LD | BPF_IMM | BPF_DW, .dst_reg = 1, .src_reg = BPF_PSEUDO_MAP_VALUE },
                { .imm = 16 },
                { .code = BPF_ST | BPF_MEM | BPF_DW, .dst_reg = 1, .imm = 42 },
                { .code = BPF_ALU64 | BPF_MOV | BPF_K },
                { .code = BPF_JMP | BPF_EXIT },
        };

        for (size_t i = 0; i < n; i++) {
                struct bpf_insn insn = insns[i];

                if (i == 0)
                        insn.imm = 0; /* the map's descriptor */
                if (i >= G_N_ELEMENTS(probe) || memcmp(&insn, probe + i, sizeof(insn)) != 0) {
                        *ret_index = i;
                        return -EPERM;
                }
        }

        *ret_index = n;
        return n == G_N_ELEMENTS(probe) ? 0 : -EPERM;
}

int instruction_check(InstructionSet set, const struct bpf_insn *insns, size_t n, size_t *ret_index) {
        size_t index = n;
        int r = -EPERM;

        if (n > 0 && n <= BPF_INSTRUCTIONS_MAX)
                r = set == INSTRUCTIONS_PROBE ? probe_check(insns, n, &index)
                    : set == INSTRUCTIONS_INTERFACE || set == INSTRUCTIONS_SOCK_ADDR
                                    ? compiled_check(set, insns, n, &index)
                                    : simple_check(set, insns, n, &index);
        if (r < 0 && ret_index)
                *ret_index = index;
        return r;
}
