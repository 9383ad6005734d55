/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/fd.h"
#include "basic/target-state.h"

int target_state_new(int *ret_fd) {
        _cleanup_close_ int fd = -1;
        TargetState *state;
        uint32_t secret;

        if (getrandom(&secret, sizeof(secret), 0) != sizeof(secret))
                return -EIO;

        fd = memfd_create("deputyd-target-state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0)
                return -errno;

        if (ftruncate(fd, sizeof(TargetState)) < 0)
                return -errno;

        /* Whoever maps it must be able to rely on its size. */
        if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW) < 0)
                return -errno;

        state = mmap(NULL, sizeof(TargetState), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (state == MAP_FAILED)
                return -errno;

        state->magic = TARGET_STATE_MAGIC;
        state->version = TARGET_STATE_VERSION;
        state->secret = secret;
        target_state_unmap(state);

        *ret_fd = TAKE_FD(fd);
        return 0;
}

int target_state_map(int fd, TargetState **ret) {
        TargetState *state;
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_size != sizeof(TargetState))
                return -EBADMSG;

        state = mmap(NULL, sizeof(TargetState), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (state == MAP_FAILED)
                return -errno;

        if (state->magic != TARGET_STATE_MAGIC || state->version != TARGET_STATE_VERSION) {
                target_state_unmap(state);
                return -EBADMSG;
        }

        *ret = state;
        return 0;
}

TargetState *target_state_unmap(TargetState *state) {
        if (state)
                (void) munmap(state, sizeof(TargetState));

        return NULL;
}

uint64_t target_state_latency_quantile(const TargetState *state, double quantile) {
        uint64_t total = 0, below = 0;

        for (unsigned i = 0; i < TARGET_STATE_LATENCY_BUCKETS; i++)
                total += atomic_load_explicit(&state->latency[i], memory_order_relaxed);

        if (total == 0)
                return 0;

        for (unsigned i = 0; i < TARGET_STATE_LATENCY_BUCKETS; i++) {
                uint64_t n = atomic_load_explicit(&state->latency[i], memory_order_relaxed);

                /* Within a bucket the calls are taken as spread evenly. */
                if (n > 0 && (double) (below + n) >= quantile * (double) total) {
                        double share = (quantile * (double) total - (double) below) / (double) n;

                        return (uint64_t) ((double) (UINT64_C(1) << i) * (1 + (share > 0 ? share : 0)));
                }

                below += n;
        }

        return UINT64_C(1) << TARGET_STATE_LATENCY_BUCKETS;
}
