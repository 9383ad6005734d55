/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What's loaded or attached changes meanwhile. */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf-calls.h"
#include "caller.h"

static atomic_bool stop;
static BpfAttr shared;
static struct bpf_insn shared_insns[32];
static int shared_fd;
static uint32_t expected_type = BPF_PROGRAM_CGROUP_DEVICE;

/* What a program may be when it's loaded: "good" is lent, "bad" isn't. */
static void *flip_attr(void *unused) {
        BpfAttr good = load_attr(find_kind("allow")), bad = load_attr(find_kind("socket"));

        bad.load.flags = 0;
        for (unsigned i = 0; !atomic_load(&stop); i++)
                memcpy(&shared, i & 1 ? &bad : &good, sizeof(shared));
        return NULL;
}

static void *flip_instructions(void *unused) {
        struct bpf_insn good = MOV(0, 0), bad = CALL(5);

        for (unsigned i = 0; !atomic_load(&stop); i++)
                shared_insns[5] = i & 1 ? bad : good;
        return NULL;
}

/* A result that isn't lent. */
static void *flip_result(void *unused) {
        struct bpf_insn good = MOV(0, 1), bad = MOV(0, 3);
        size_t i = 0;

        while (shared_insns[i].code != good.code || shared_insns[i].imm != 1 || shared_insns[i].dst_reg != 0)
                i++;
        for (unsigned k = 0; !atomic_load(&stop); k++)
                shared_insns[i] = k & 1 ? bad : good;
        return NULL;
}

/* A program's descriptor becomes a cgroup's and back. */
static void *flip_fd(void *unused) {
        while (!atomic_load(&stop)) {
                dup2(program, shared_fd);
                dup2(cgroup, shared_fd);
        }
        return NULL;
}

static void race(unsigned long n, void *(*flip)(void *), long (*call)(void)) {
        unsigned counts[4096] = {}, ok = 0, bad = 0;
        pthread_t thread;

        if (pthread_create(&thread, NULL, flip, NULL) != 0)
                die("pthread_create");
        for (unsigned long i = 0; i < n; i++) {
                long r = call();

                if (r < 0)
                        counts[errno]++;
                else
                        ok++;
                if (r > 0) {
                        bad += type_of((int) r) != expected_type;
                        /* Some stay, to be looked at by whoever may. */
                        if (ok % 8 == 0 && ok < 8 * 32)
                                printf("id %u\n", program_id((int) r));
                        else
                                close((int) r);
                }
        }
        atomic_store(&stop, true);
        pthread_join(thread, NULL);

        printf("OK %u\nbad %u\n", ok, bad);
        for (int i = 0; i < 4096; i++)
                if (counts[i] > 0)
                        printf("%s %u\n", error_name(i), counts[i]);
}

static void share(const char *name) {
        Kind *kind = find_kind(name);

        shared = load_attr(kind);
        memcpy(shared_insns, kind->insns, kind->n * sizeof(kind->insns[0]));
        shared.load.instructions = (uintptr_t) shared_insns;
}

static long call_shared(void) {
        return call_bpf(BPF_COMMAND_PROG_LOAD, &shared, sizeof(shared));
}

static long call_attach_shared(void) {
        BpfAttr attr = {};
        long r;

        attr.attach.target = (uint32_t) cgroup;
        attr.attach.program = (uint32_t) shared_fd;
        attr.attach.attach_type = 6;
        attr.attach.flags = 2;
        r = call_bpf(BPF_COMMAND_PROG_ATTACH, &attr, sizeof(attr.attach));
        if (r >= 0 && detach(6, true) < 0)
                die("detach");
        return r;
}

bool race_by_name(const char *name, unsigned long n) {
        if (strcmp(name, "race-attr") == 0) {
                shared = load_attr(find_kind("allow"));
                race(n, flip_attr, call_shared);
        } else if (strcmp(name, "race-instructions") == 0) {
                share("deny-zero");
                race(n, flip_instructions, call_shared);
        } else if (strcmp(name, "race-bind") == 0) {
                make_map("list");
                share("bind-list");
                expected_type = BPF_PROGRAM_CGROUP_SOCK_ADDR;
                race(n, flip_result, call_shared);
        } else if (strcmp(name, "race-fd") == 0) {
                shared_fd = dup(cgroup);
                race(n, flip_fd, call_attach_shared);
        } else
                return false;
        return true;
}
