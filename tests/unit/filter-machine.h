/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A classic BPF machine, as far as the kernel allows it in seccomp programs that load, mask, jump, return.
 * Any other instruction, a jump out of the program or a load outside of seccomp_data fails the test. */

#include <linux/seccomp.h>
#include <stdint.h>

#include "filter/filter.h"

/* Return: the verdict; and, unless NULL, how many instructions it took. */
uint32_t filter_machine_run(const Filter *filter, const struct seccomp_data *data, unsigned *ret_executed);
