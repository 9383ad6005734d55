/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Points at which a test kills the process, to see what's left behind. Not in programs that are installed. */

#ifdef FAULT_INJECTION
/* Dies at once if the file /run/deputyd-fault names this point; takes the file away first. */
void fault_point(const char *name);
#else
static inline void fault_point(const char *name) {
        (void) name;
}
#endif
