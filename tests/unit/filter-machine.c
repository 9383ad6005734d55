/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <criterion/criterion.h>
#include <string.h>

#include "tests/unit/filter-machine.h"

uint32_t filter_machine_run(const Filter *filter, const struct seccomp_data *data, unsigned *ret_executed) {
        unsigned executed = 0;
        uint32_t a = 0;

        /* Criterion's own comparisons would take far longer than what they look at. */
        for (size_t pc = 0;; pc++) {
                const struct sock_filter *insn;
                bool jump;

                if (pc >= filter->n_insns)
                        cr_assert_fail("The program runs past its end");
                insn = filter->insns + pc;
                executed++;

                switch (insn->code) {
                case BPF_LD | BPF_W | BPF_ABS:
                        if (insn->k % 4 != 0 || insn->k > sizeof(*data) - 4)
                                cr_assert_fail("A load of %u at %zu", insn->k, pc);
                        memcpy(&a, (const char *) data + insn->k, 4);
                        continue;
                case BPF_ALU | BPF_AND | BPF_K:
                        a &= insn->k;
                        continue;
                case BPF_RET | BPF_K:
                        if (ret_executed)
                                *ret_executed = executed;
                        return insn->k;
                case BPF_JMP | BPF_JA:
                        pc += insn->k;
                        continue;
                case BPF_JMP | BPF_JEQ | BPF_K:
                        jump = a == insn->k;
                        break;
                case BPF_JMP | BPF_JGT | BPF_K:
                        jump = a > insn->k;
                        break;
                case BPF_JMP | BPF_JGE | BPF_K:
                        jump = a >= insn->k;
                        break;
                case BPF_JMP | BPF_JSET | BPF_K:
                        jump = a & insn->k;
                        break;
                default:
                        cr_assert_fail("Unexpected instruction 0x%x at %zu", insn->code, pc);
                        return 0;
                }

                pc += jump ? insn->jt : insn->jf;
        }
}
