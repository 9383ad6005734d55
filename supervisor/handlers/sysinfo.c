/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* sysinfo(2): what a container has of the machine, in place of the machine.
 *
 * Privilege lent: none over anything. sysinfo() needs no privilege and anybody may call it, so law 1(b) has
 * nothing to ask: each thread of a unit with SystemCalls=sysinfo is answered, of whatever user namespace and
 * user. What the supervisor's rights are used for is to look where the caller belongs (its /proc/TID) and to
 * write the answer to its memory. The answer tells limits, usage and tasks of the caller's own cgroups, or of
 * one above them that limits it, where natively it tells those of the whole host.
 *
 * What a hostile container may try, and what meets it:
 *   - name memory that it can't write to (unmapped, read-only, the kernel's), or take it away meanwhile:
 *     caller_write(), EFAULT as natively. What only the caller itself can write to is left to the kernel.
 *   - exec a set-user-ID program meanwhile, to have us write to its memory: the descriptor of the memory is
 *     opened before caller_verify() and is the old memory's for ever.
 *   - have its thread's id reused: all is read through the pinned /proc/TID, see caller.h.
 *   - nest cgroups a thousand deep, make and remove them all the time, call from hundreds of threads or
 *     namespaces: open files and what's kept are bounded, see sysinfo-view.c. It only makes its own calls
 *     slower.
 *   - mount something called lxcfs: it chooses between two sets of numbers, both its own.
 *   - lie by its cgroup's name or its init's name: paths are cut at line ends, which no name of a cgroup has;
 *     the name in /proc/PID/stat is passed over from the end.
 *   - memory that's filled late or never (userfaultfd): deputyd starts another supervisor.
 *
 * Programs ask again and again, so a call leaves no entry in the journal, only counts. */

#include <errno.h>
#include <linux/capability.h>
#include <string.h>

#include "supervisor/handlers/handlers.h"
#include "supervisor/procmap.h"
#include "supervisor/sysinfo-numbers.h"
#include "supervisor/sysinfo-view.h"

/* Memory that's there but must be made first by userfaultfd(2): the kernel waits for that when a process is
 * read, and not when its memory is written to by a descriptor. Return: 0, or -EFAULT if it isn't that. */
static int wait_for_memory(Request *request, uint64_t address, size_t size) {
        const uint64_t ends[] = { address, address + size - 1 };
        uint8_t byte;

        for (size_t i = 0; i < 2; i++)
                if (caller_read(&request->caller, ends[i], &byte, 1) < 0)
                        return -EFAULT;

        return caller_verify(&request->caller);
}

/* Return: 0; -EFAULT if the caller couldn't write there either; -EOPNOTSUPP if perhaps it could: to memory of
 * a device, for instance, or of memfd_secret(2), nobody else can write. */
static int write_answer(Request *request, uint64_t address, const uint8_t *answer, size_t size) {
        size_t first = caller_page_rest(address);
        int r;

        r = caller_write(&request->caller, address, answer, size);
        if (r != -EFAULT)
                return r;

        if (procmap_check_writable(request->caller.proc_fd, address, size) < 0) {
                /* Of memory that only begins writable the kernel writes the beginning, and then says EFAULT.
                 */
                if (first < size)
                        (void) caller_write(&request->caller, address, answer, first);
                return -EFAULT;
        }

        r = wait_for_memory(request, address, size);
        if (r >= 0)
                r = caller_write(&request->caller, address, answer, size);
        return r == -EFAULT ? -EOPNOTSUPP : r;
}

static Verdict sysinfo_handle(Request *request, int64_t *ret_result) {
        uint64_t address = request->compat ? (uint32_t) request->args[0] : request->args[0], thread;
        uint8_t answer[SYSINFO_SIZE];
        SysinfoNumbers numbers;
        size_t size;
        int r;

        r = caller_pin_memory(&request->caller, &thread);
        if (r >= 0)
                r = sysinfo_view(&request->caller, thread, &request->policy->sysinfo, &numbers);
        if (caller_verify(&request->caller) < 0)
                return VERDICT_CONTINUED; /* Gone: nobody waits for an answer, and what failed did so since.
                                           */
        if (r < 0)
                return request_fail(request, r, ret_result);

        size = sysinfo_numbers_format(&numbers, request->compat, answer);
        r = write_answer(request, address, answer, size);
        if (r == -EOPNOTSUPP)
                return VERDICT_CONTINUED; /* Better the host's numbers than an error (law 2). */
        if (r < 0 && r != -EFAULT)
                return request_fail(request, r, ret_result);

        *ret_result = r;
        return VERDICT_EMULATED;
}

const Handler sysinfo_handler = {
        .name = "sysinfo",
        .calls = CALL_BIT(CALL_SYSINFO),
        .capabilities = CAPABILITY_BIT(CAP_DAC_OVERRIDE),
        .quiet = true,
        .handle = sysinfo_handle,
};
