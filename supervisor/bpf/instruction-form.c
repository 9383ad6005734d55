/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "supervisor/bpf/instruction-form.h"

unsigned instruction_size(const struct bpf_insn *insn) {
        switch (BPF_SIZE(insn->code)) {
        case BPF_B:
                return 1;
        case BPF_H:
                return 2;
        case BPF_W:
                return 4;
        default:
                return 8;
        }
}

bool instruction_is_by_register(const struct bpf_insn *insn) {
        return BPF_SRC(insn->code) == BPF_X;
}

bool instruction_has_one_operand(const struct bpf_insn *insn) {
        return instruction_is_by_register(insn) ? insn->imm == 0 : insn->src_reg == 0;
}

bool instruction_is_exit(const struct bpf_insn *insn) {
        return insn->code == (BPF_JMP | BPF_EXIT) && insn->dst_reg == 0 && insn->src_reg == 0 &&
               insn->off == 0 && insn->imm == 0;
}

bool instruction_is_goto(const struct bpf_insn *insn) {
        return insn->code == (BPF_JMP | BPF_JA) && insn->dst_reg == 0 && insn->src_reg == 0 && insn->imm == 0;
}

bool instruction_is_helper_call(const struct bpf_insn *insn) {
        return insn->code == (BPF_JMP | BPF_CALL) && insn->dst_reg == 0 && insn->src_reg == 0 &&
               insn->off == 0;
}

bool instruction_is_wide(const struct bpf_insn *insn) {
        return insn->code == (BPF_LD | BPF_IMM | BPF_DW) && insn->dst_reg < N_REGISTERS && insn->off == 0;
}

bool instruction_is_second_half(const struct bpf_insn *insn) {
        return insn->code == 0 && insn->dst_reg == 0 && insn->src_reg == 0 && insn->off == 0;
}
