/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* With jumps backward, what a register holds may depend on how often a place was passed. So the instructions
 * are gone through until nothing changes: each has a state that covers all ways to it, and is looked at again
 * whenever that state has become wider. A register's can do so twice (0 or 1, a number, unusable), a byte of
 * the stack once, so it ends soon. A use that's refused once would be refused for any wider state, too. */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "supervisor/bpf/compiled-check.h"
#include "supervisor/bpf/instruction-form.h"

/* Of all maps that such programs look things up in (see type.c). */
#define KEY_SIZE 4

typedef enum Kind {
        KIND_BIT, /* 0 or 1 */
        KIND_NUMBER,
        KIND_CONTEXT,
        KIND_FRAME, /* the frame pointer itself */
        KIND_PLACE, /* on the stack */
        KIND_MAP,
        KIND_ENTRY,    /* what was found in one, or 0 */
        KIND_VALUE,    /* of a map that isn't written to */
        KIND_UNUSABLE, /* nothing yet, or different things on different ways */
} Kind;

typedef struct State {
        bool reached;
        bool waits; /* to be looked at */
        uint8_t registers[N_REGISTERS + 1];
        int8_t places[N_REGISTERS]; /* of those that are one: from the frame pointer */
        uint64_t written;           /* bytes of the stack, of which this is the top; on all ways */
} State;

/* What one set has and the other hasn't. */
typedef struct Features {
        bool numbers; /* arithmetic */
        bool loops;   /* jumps backward */
        bool values;  /* maps that aren't written to */
        size_t n_fields;
        uint8_t fields[4]; /* of the context: offsets */
} Features;

static const Features interface_features = {
        .values = true,
        .n_fields = 1,
        .fields = { offsetof(struct __sk_buff, ifindex) },
};

static const Features sock_addr_features = {
        .numbers = true,
        .loops = true,
        .n_fields = 4,
        .fields = { offsetof(struct bpf_sock_addr, user_family), offsetof(struct bpf_sock_addr, user_port),
                        offsetof(struct bpf_sock_addr, family), offsetof(struct bpf_sock_addr, protocol) },
};

typedef struct Check {
        const Features *features;
        const struct bpf_insn *insns;
        size_t n;
        State states[COMPILED_INSTRUCTIONS_MAX]; /* before each instruction */
} Check;

/* What may follow an instruction. */
typedef struct Next {
        size_t width;  /* of the instruction; 0: it's not allowed */
        bool ends;     /* what's behind it isn't reached by it */
        size_t target; /* of a jump; SIZE_MAX: none */
} Next;

static bool is_number(const State *s, unsigned reg) {
        return s->registers[reg] == KIND_NUMBER || s->registers[reg] == KIND_BIT;
}

static uint8_t join_kinds(uint8_t a, uint8_t b) {
        if (a == b)
                return a;

        return a <= KIND_NUMBER && b <= KIND_NUMBER ? KIND_NUMBER : KIND_UNUSABLE;
}

/* A way leads there, with these things in the registers and on the stack. */
static bool join(Check *c, size_t at, const State *from) {
        State *to;

        if (at >= c->n)
                return false;

        to = c->states + at;
        if (!to->reached) {
                *to = *from;
                to->reached = to->waits = true;
                return true;
        }

        for (size_t i = 0; i <= N_REGISTERS; i++) {
                uint8_t kind = join_kinds(to->registers[i], from->registers[i]);

                if (kind == KIND_PLACE && to->places[i] != from->places[i])
                        kind = KIND_UNUSABLE;
                to->waits |= kind != to->registers[i];
                to->registers[i] = kind;
        }
        to->waits |= (to->written & ~from->written) != 0;
        to->written &= from->written;
        return true;
}

/* Bytes of the stack, from this offset to the frame pointer on. */
static uint64_t bytes_at(int offset, unsigned size) {
        return ((UINT64_C(1) << size) - 1) << (COMPILED_STACK_SIZE + offset);
}

/* At such an offset from its beginning, is it within something of this size, and aligned? */
static bool is_within(const struct bpf_insn *insn, int begin, int end) {
        int size = (int) instruction_size(insn);

        return size <= 4 && insn->off >= begin && insn->off + size <= end && insn->off % size == 0;
}

static bool check_load(const Check *c, const struct bpf_insn *insn, State *s) {
        bool good = false;

        if (BPF_MODE(insn->code) != BPF_MEM || insn->imm != 0 || insn->dst_reg >= N_REGISTERS ||
                        insn->src_reg > FRAME_POINTER)
                return false;

        switch (s->registers[insn->src_reg]) {
        case KIND_CONTEXT:
                for (size_t i = 0; i < c->features->n_fields; i++)
                        good |= BPF_SIZE(insn->code) == BPF_W && insn->off == c->features->fields[i];
                break;
        case KIND_FRAME:
                if (insn->src_reg == FRAME_POINTER && is_within(insn, -COMPILED_STACK_SIZE, 0)) {
                        uint64_t bytes = bytes_at(insn->off, instruction_size(insn));

                        good = (s->written & bytes) == bytes;
                }
                break;
        case KIND_ENTRY:
        case KIND_VALUE:
                good = is_within(insn, 0, BPF_MAP_VALUE_SIZE_MAX);
                break;
        }

        s->registers[insn->dst_reg] = KIND_NUMBER;
        return good;
}

static bool check_store(const struct bpf_insn *insn, State *s) {
        bool by_register = BPF_CLASS(insn->code) == BPF_STX;

        if (BPF_MODE(insn->code) != BPF_MEM || insn->dst_reg != FRAME_POINTER ||
                        !is_within(insn, -COMPILED_STACK_SIZE, 0))
                return false;

        s->written |= bytes_at(insn->off, instruction_size(insn));
        return by_register ? insn->imm == 0 && insn->src_reg < N_REGISTERS && is_number(s, insn->src_reg)
                           : insn->src_reg == 0;
}

static bool check_move(const struct bpf_insn *insn, State *s) {
        uint8_t *to = s->registers + insn->dst_reg;

        if (!instruction_is_by_register(insn)) {
                *to = insn->imm == 0 || insn->imm == 1 ? KIND_BIT : KIND_NUMBER;
                return true;
        }
        if (insn->src_reg > FRAME_POINTER || s->registers[insn->src_reg] == KIND_UNUSABLE)
                return false;
        /* Half of a pointer is none. */
        if (BPF_CLASS(insn->code) == BPF_ALU && !is_number(s, insn->src_reg))
                return false;

        *to = s->registers[insn->src_reg];
        if (*to == KIND_PLACE)
                s->places[insn->dst_reg] = s->places[insn->src_reg];
        return true;
}

/* A constant added to a copy of the frame pointer. */
static bool check_place(const struct bpf_insn *insn, State *s) {
        if (insn->code != (BPF_ALU64 | BPF_ADD | BPF_K) || insn->imm < -COMPILED_STACK_SIZE ||
                        insn->imm > -KEY_SIZE)
                return false;

        s->registers[insn->dst_reg] = KIND_PLACE;
        s->places[insn->dst_reg] = (int8_t) insn->imm;
        return true;
}

static bool check_arithmetic(const Check *c, const struct bpf_insn *insn, State *s) {
        if (insn->off != 0 || insn->dst_reg >= N_REGISTERS)
                return false;

        /* The order of bytes in a port. What's the operand for others says which order. */
        if (insn->code == (BPF_ALU | BPF_END | BPF_TO_BE)) {
                bool good = c->features->numbers && insn->src_reg == 0 && insn->imm == 16 &&
                            is_number(s, insn->dst_reg);

                s->registers[insn->dst_reg] = KIND_NUMBER;
                return good;
        }

        if (!instruction_has_one_operand(insn))
                return false;
        if (BPF_OP(insn->code) == BPF_MOV)
                return check_move(insn, s);
        if (s->registers[insn->dst_reg] == KIND_FRAME)
                return check_place(insn, s);
        if (!c->features->numbers || !is_number(s, insn->dst_reg))
                return false;

        s->registers[insn->dst_reg] = KIND_NUMBER;
        switch (BPF_OP(insn->code)) {
        case BPF_ADD:
                return !instruction_is_by_register(insn) ||
                       (insn->src_reg < N_REGISTERS && is_number(s, insn->src_reg));
        case BPF_AND:
        case BPF_LSH:
        case BPF_RSH:
                return !instruction_is_by_register(insn);
        default:
                return false;
        }
}

static bool check_call(const struct bpf_insn *insn, State *s) {
        uint64_t key;

        if (!instruction_is_helper_call(insn) || insn->imm != HELPER_MAP_LOOKUP_ELEM ||
                        s->registers[BPF_REG_1] != KIND_MAP || s->registers[BPF_REG_2] != KIND_PLACE)
                return false;

        key = bytes_at(s->places[BPF_REG_2], KEY_SIZE);
        if ((s->written & key) != key)
                return false;

        s->registers[BPF_REG_0] = KIND_ENTRY;
        for (unsigned reg = BPF_REG_1; reg <= BPF_REG_5; reg++)
                s->registers[reg] = KIND_UNUSABLE;
        return true;
}

/* What's compared: numbers, or what was found with nothing. */
static bool check_comparison(const struct bpf_insn *insn, const State *s) {
        bool equality = BPF_OP(insn->code) == BPF_JEQ || BPF_OP(insn->code) == BPF_JNE;

        if (insn->dst_reg >= N_REGISTERS || !instruction_has_one_operand(insn))
                return false;
        if (s->registers[insn->dst_reg] == KIND_ENTRY)
                return BPF_CLASS(insn->code) == BPF_JMP && equality && !instruction_is_by_register(insn) &&
                       insn->imm == 0;
        if (!is_number(s, insn->dst_reg))
                return false;

        return !instruction_is_by_register(insn) ||
               (insn->src_reg < N_REGISTERS && is_number(s, insn->src_reg));
}

static Next check_jump(const Check *c, size_t i, State *s) {
        static const Next bad = { .target = SIZE_MAX };
        const struct bpf_insn *insn = c->insns + i;
        Next next = { .width = 1, .target = SIZE_MAX };
        int64_t target;

        switch (BPF_OP(insn->code)) {
        case BPF_EXIT:
                next.ends = true;
                return instruction_is_exit(insn) && s->registers[BPF_REG_0] == KIND_BIT ? next : bad;
        case BPF_CALL:
                return check_call(insn, s) ? next : bad;
        case BPF_JA:
                if (!instruction_is_goto(insn))
                        return bad;
                next.ends = true;
                break;
        case BPF_JEQ:
        case BPF_JNE:
        case BPF_JGT:
        case BPF_JGE:
        case BPF_JLT:
        case BPF_JLE:
                if (!check_comparison(insn, s))
                        return bad;
                break;
        default:
                return bad;
        }

        target = (int64_t) i + 1 + insn->off;
        if (target < 0 || (insn->off < 0 && !c->features->loops))
                return bad;

        next.target = (size_t) target;
        return next;
}

static bool check_wide(const Check *c, size_t i, State *s) {
        const struct bpf_insn *insn = c->insns + i, *second = insn + 1;
        Kind kind;

        if (!instruction_is_wide(insn) || i + 1 >= c->n || !instruction_is_second_half(second))
                return false;

        switch (insn->src_reg) {
        case 0:
                kind = KIND_NUMBER;
                break;
        case BPF_PSEUDO_MAP_FD:
                if (second->imm != 0)
                        return false;
                kind = KIND_MAP;
                break;
        case BPF_PSEUDO_MAP_VALUE: /* and an offset into it */
                if (!c->features->values || second->imm < 0 || second->imm >= BPF_MAP_VALUE_SIZE_MAX)
                        return false;
                kind = KIND_VALUE;
                break;
        default:
                return false;
        }

        s->registers[insn->dst_reg] = kind;
        return true;
}

static Next check_one(const Check *c, size_t i, State *s) {
        const struct bpf_insn *insn = c->insns + i;
        Next next = { .width = 1, .target = SIZE_MAX };
        bool good;

        switch (BPF_CLASS(insn->code)) {
        case BPF_LDX:
                good = check_load(c, insn, s);
                break;
        case BPF_ALU:
        case BPF_ALU64:
                good = check_arithmetic(c, insn, s);
                break;
        case BPF_ST:
        case BPF_STX:
                good = check_store(insn, s);
                break;
        case BPF_JMP:
        case BPF_JMP32:
                return check_jump(c, i, s);
        default: /* BPF_LD */
                good = check_wide(c, i, s);
                next.width = 2;
        }

        if (!good)
                next.width = 0;
        return next;
}

/* Looks at what waits, until nothing does. Return: false if something isn't allowed, *ret_index is which. */
static bool settle(Check *c, size_t *ret_index) {
        for (bool again = true; again;) {
                again = false;
                for (size_t i = 0; i < c->n; i++) {
                        State s = c->states[i];
                        Next next;

                        if (!s.waits)
                                continue;

                        c->states[i].waits = false;
                        again = true;
                        next = check_one(c, i, &s);
                        if (next.width == 0 || (!next.ends && !join(c, i + next.width, &s)) ||
                                        (next.target != SIZE_MAX && !join(c, next.target, &s))) {
                                *ret_index = i;
                                return false;
                        }
                }
        }

        return true;
}

int compiled_check(InstructionSet set, const struct bpf_insn *insns, size_t n, size_t *ret_index) {
        static Check c;

        if (n == 0 || n > COMPILED_INSTRUCTIONS_MAX) {
                *ret_index = n;
                return -EPERM;
        }

        memset(&c, 0, sizeof(c));
        c.features = set == INSTRUCTIONS_INTERFACE ? &interface_features : &sock_addr_features;
        c.insns = insns;
        c.n = n;
        c.states[0].reached = c.states[0].waits = true;
        memset(c.states[0].registers, KIND_UNUSABLE, sizeof(c.states[0].registers));
        c.states[0].registers[BPF_REG_1] = KIND_CONTEXT;
        c.states[0].registers[FRAME_POINTER] = KIND_FRAME;

        if (!settle(&c, ret_index))
                return -EPERM;

        /* What no way leads to. */
        for (size_t i = 0; i < n; i += BPF_CLASS(insns[i].code) == BPF_LD ? 2 : 1)
                if (!c.states[i].reached) {
                        *ret_index = i;
                        return -EPERM;
                }

        return 0;
}
