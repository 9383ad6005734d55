/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "basic/fd.h"
#include "bench/operation.h"
#include "bench/program.h"
#include "bench/round-trip.h"
#include "supervisor/bpf/attr.h"

static long call_getppid(const Place *place) {
        return syscall(SYS_getppid) >= 0 ? 0 : -1;
}

static long call_round_trip(const Place *place) {
        return syscall(SYS_getppid);
}

static long make_node(const char *path, mode_t mode, unsigned major, unsigned minor) {
        return mknod(path, mode | 0666, makedev(major, minor));
}

static long call_mknod_bare(const Place *place) {
        return make_node(place->bare, S_IFCHR, 1, 3);
}

static long call_mknod_relative(const Place *place) {
        return make_node(place->relative, S_IFCHR, 1, 3);
}

static long call_mknod_absolute(const Place *place) {
        return make_node(place->absolute, S_IFCHR, 1, 3);
}

static long call_mknod_own(const Place *place) {
        return make_node(place->own, S_IFCHR, 1, 3);
}

static long call_mknod_block(const Place *place) {
        return make_node(place->absolute, S_IFBLK, 8, 0);
}

static long call_mknod_whiteout(const Place *place) {
        return make_node(place->absolute, S_IFCHR, 0, 0);
}

static long call_mknod_fifo(const Place *place) {
        return make_node(place->absolute, S_IFIFO, 0, 0);
}

static void remove_bare(const Place *place) {
        (void) unlink(place->bare);
}

static void remove_relative(const Place *place) {
        (void) unlink(place->relative);
}

static void remove_absolute(const Place *place) {
        (void) unlink(place->absolute);
}

static void remove_own(const Place *place) {
        (void) umount2(place->own, MNT_DETACH);
        (void) unlink(place->own);
}

static const char opaque[] = "trusted.overlay.opaque";

static long call_setxattr(const Place *place) {
        return setxattr(place->directory, opaque, "y", 1, 0);
}

static long call_lsetxattr(const Place *place) {
        return lsetxattr(place->directory, opaque, "y", 1, 0);
}

static long call_fsetxattr(const Place *place) {
        return fsetxattr(place->directory_fd, opaque, "y", 1, 0);
}

static long call_setxattr_user(const Place *place) {
        return setxattr(place->file, "user.bench", "y", 1, 0);
}

/* The devices are nodes in /bench, which bench/run makes if there's something to mount. */
static long call_mount_ext4(const Place *place) {
        return mount("/bench/ext4", place->mount_point, "ext4", 0, "errors=remount-ro");
}

static long call_mount_squashfs(const Place *place) {
        return mount("/bench/squashfs", place->mount_point, "squashfs", MS_RDONLY, NULL);
}

static long call_mount_tmpfs(const Place *place) {
        return mount("bench", place->mount_point, "tmpfs", 0, "size=1m");
}

/* The same by the new interface: what mount(8) does since util-linux 2.39. */
static long mount_new(const Place *place, const char *type, const char *source, const char *flag) {
        int context = (int) syscall(SYS_fsopen, type, FSOPEN_CLOEXEC), tree;
        long r = -1;

        if (context < 0)
                return -1;

        if (syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "source", source, 0) >= 0 &&
                        syscall(SYS_fsconfig, context, FSCONFIG_SET_FLAG, flag, NULL, 0) >= 0 &&
                        syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) >= 0) {
                tree = (int) syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
                if (tree >= 0) {
                        r = syscall(SYS_move_mount, tree, "", AT_FDCWD, place->mount_point,
                                        MOVE_MOUNT_F_EMPTY_PATH);
                        (void) close(tree);
                }
        }

        (void) close(context);
        return r;
}

static long call_fsopen_ext4(const Place *place) {
        return mount_new(place, "ext4", "/bench/ext4", "rw");
}

static long call_fsopen_squashfs(const Place *place) {
        return mount_new(place, "squashfs", "/bench/squashfs", "ro");
}

static void unmount(const Place *place) {
        (void) umount2(place->mount_point, 0);
}

static long call_mount_fuse(const Place *place) {
        return mount("/bench/fuse", place->mount_point, "ext4", MS_NOSUID | MS_NODEV, NULL);
}

/* What deputyd starts for the above, with the arguments and the environment that it gives. */
static long call_fuse2fs(const Place *place) {
        const char *const argv[] = { "fuse2fs", "/bench/fuse", place->mount_point, "-o", "nosuid,nodev",
                NULL };

        return start_program("/usr/bin/fuse2fs", argv);
}

/* The next one begins when the server and whatever was started with it have ended and were reaped: when
 * nobody but the container's init and we could be sent a signal. */
static void unmount_fuse(const Place *place) {
        for (unsigned i = 0; i < 2000 && umount2(place->mount_point, 0) < 0 && errno == EBUSY; i++)
                (void) usleep(500); /* It may still be looked at by who has mounted it. */
        for (unsigned i = 0; i < 20000 && (kill(-1, 0) >= 0 || errno != ESRCH); i++)
                (void) usleep(500);
}

static long call_sysinfo(const Place *place) {
        struct sysinfo s;

        return sysinfo(&s);
}

static long set_scheduler(pid_t pid, int policy, int priority) {
        return syscall(SYS_sched_setscheduler, pid, policy, &priority);
}

static long call_sched_fifo(const Place *place) {
        return set_scheduler(0, SCHED_FIFO, 3);
}

static long call_sched_rr(const Place *place) {
        return set_scheduler(0, SCHED_RR, 3);
}

/* Not undone before the next: that would be an intercepted call, after which the supervisor is still to be
 * scheduled, and the native call that's measured would pay for it. */
static long call_sched_batch(const Place *place) {
        return set_scheduler(0, SCHED_BATCH, 0);
}

static long call_sched_attr(const Place *place) {
        const struct {
                uint32_t size, policy;
                uint64_t flags;
                int32_t nice;
                uint32_t priority;
                uint64_t runtime, deadline, period;
        } attr = { .size = sizeof(attr), .policy = SCHED_FIFO, .priority = 3 };

        return syscall(SYS_sched_setattr, 0, &attr, 0);
}

static void sched_as_before(const Place *place) {
        (void) set_scheduler(0, SCHED_OTHER, 0);
}

/* A process that sleeps; it dies with us. */
static pid_t other_process(void) {
        static pid_t pid;

        if (pid == 0) {
                pid = fork();
                if (pid == 0) {
                        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                        for (;;)
                                pause();
                }
        }

        return pid;
}

static long call_sched_fifo_other(const Place *place) {
        return set_scheduler(other_process(), SCHED_FIFO, 3);
}

static void sched_as_before_other(const Place *place) {
        (void) set_scheduler(other_process(), SCHED_OTHER, 0);
}

static long call_setpriority(const Place *place) {
        return setpriority(PRIO_PROCESS, 0, -5);
}

static void priority_as_before(const Place *place) {
        (void) setpriority(PRIO_PROCESS, 0, 0);
}

static long call_ioprio(const Place *place) {
        return syscall(SYS_ioprio_set, 1 /* of a process */, 0, 1 << 13 | 4);
}

static void ioprio_as_before(const Place *place) {
        (void) syscall(SYS_ioprio_set, 1, 0, 0);
}

/* "Any device but c 1:5", as container runtimes write it. "token": -1, or a BPF token. */
static int load_program(uint32_t type, int token) {
        static const struct bpf_insn insns[] = {
                { .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 4, .src_reg = 1, .off = 4 },
                { .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 5, .src_reg = 1, .off = 8 },
                { .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 1 },
                { .code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = 4, .imm = 1, .off = 2 },
                { .code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = 5, .imm = 5, .off = 1 },
                { .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0 },
                { .code = BPF_JMP | BPF_EXIT },
        };
        BpfLoad attr = {
                .type = type,
                .instructions = (uintptr_t) insns,
                .n_instructions = sizeof(insns) / sizeof(insns[0]),
                .license = (uintptr_t) "GPL",
        };

        if (token >= 0) {
                attr.flags = BPF_TOKEN_FD;
                attr.token = (uint32_t) token;
                attr.attach_type = BPF_CGROUP_DEVICE;
        }

        return (int) syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
}

static _Thread_local int program = -1;

static long call_bpf_load(const Place *place) {
        program = load_program(BPF_PROG_TYPE_CGROUP_DEVICE, -1);
        return program < 0 ? -1 : 0;
}

static int make_token(const char *path) {
        _cleanup_close_ int directory = -1;
        uint32_t attr[2] = {};

        if (mount("bpf", path, "bpf", 0, NULL) < 0)
                return -1;

        directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        attr[1] = (uint32_t) directory;
        return directory < 0 ? -1 : (int) syscall(SYS_bpf, BPF_COMMAND_TOKEN_CREATE, attr, sizeof(attr));
}

static long call_bpf_load_token(const Place *place) {
        static _Thread_local int token = -1;

        if (token < 0)
                token = make_token(place->mount_point);
        program = token < 0 ? -1 : load_program(BPF_PROG_TYPE_CGROUP_DEVICE, token);
        return program < 0 ? -1 : 0;
}

static void close_program(const Place *place) {
        program = close_fd(program);
}

static long call_bpf_load_kprobe(const Place *place) {
        return load_program(BPF_PROG_TYPE_KPROBE, -1);
}

/* Files of modules in /bench, which bench/run puts there where it measures them. Each is opened once. */
static long load_module(int *fd, const char *path) {
        if (*fd < 0)
                *fd = open(path, O_RDONLY | O_CLOEXEC);

        return syscall(SYS_finit_module, *fd, "", 0);
}

static long call_module_lent(const Place *place) {
        static int fd = -1;

        return load_module(&fd, "/bench/lent.ko");
}

static long call_module_other(const Place *place) {
        static int fd = -1;

        return load_module(&fd, "/bench/other.ko");
}

static const Operation operations[] = {
        { "getppid", call_getppid, NULL, 0 },
        { "round-trip", call_round_trip, NULL, ROUND_TRIP_RESULT },
        { "mknod", call_mknod_absolute, remove_absolute, 0 },
        { "mknod-relative", call_mknod_relative, remove_relative, 0 },
        { "mknod-bare", call_mknod_bare, remove_bare, 0 },
        { "mknod-own", call_mknod_own, remove_own, 0 },
        { "mknod-block", call_mknod_block, remove_absolute, 0 },
        { "mknod-whiteout", call_mknod_whiteout, remove_absolute, 0 },
        { "mknod-fifo", call_mknod_fifo, remove_absolute, 0 },
        { "setxattr", call_setxattr, NULL, 0 },
        { "lsetxattr", call_lsetxattr, NULL, 0 },
        { "fsetxattr", call_fsetxattr, NULL, 0 },
        { "setxattr-user", call_setxattr_user, NULL, 0 },
        { "bpf-load", call_bpf_load, close_program, 0 },
        { "bpf-load-token", call_bpf_load_token, close_program, 0 },
        { "bpf-load-kprobe", call_bpf_load_kprobe, NULL, 0 },
        { "mount-ext4", call_mount_ext4, unmount, 0 },
        { "mount-squashfs", call_mount_squashfs, unmount, 0 },
        { "mount-tmpfs", call_mount_tmpfs, unmount, 0 },
        { "fsopen-ext4", call_fsopen_ext4, unmount, 0 },
        { "fsopen-squashfs", call_fsopen_squashfs, unmount, 0 },
        { "mount-fuse", call_mount_fuse, unmount_fuse, 0 },
        { "fuse2fs", call_fuse2fs, unmount_fuse, 0 },
        { "sysinfo", call_sysinfo, NULL, 0 },
        { "sched-fifo", call_sched_fifo, sched_as_before, 0 },
        { "sched-fifo-other", call_sched_fifo_other, sched_as_before_other, 0 },
        { "sched-attr", call_sched_attr, sched_as_before, 0 },
        { .name = "sched-batch", .call = call_sched_batch, .finish = sched_as_before },
        { "sched-rr", call_sched_rr, sched_as_before, 0 },
        { "setpriority", call_setpriority, priority_as_before, 0 },
        { "ioprio", call_ioprio, ioprio_as_before, 0 },
        { "module-lent", call_module_lent, NULL, 0 },
        { "module-other", call_module_other, NULL, 0 },
};

const Operation *operation_find(const char *name) {
        for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
                if (strcmp(operations[i].name, name) == 0)
                        return operations + i;

        return NULL;
}

static int make_directory(const char *path) {
        return mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

int place_prepare_all(int mount_own) {
        int r;

        if (chdir("/bench") < 0)
                return -errno;

        r = make_directory("w");
        if (r >= 0)
                r = make_directory("own");
        if (r >= 0 && mount_own && mount("bench", "own", "tmpfs", 0, NULL) < 0)
                r = -errno;
        return r;
}

int place_prepare(Place *ret, unsigned number) {
        _cleanup_close_ int file = -1;
        Place p = { .directory_fd = -1 };
        int r;

        snprintf(p.bare, sizeof(p.bare), "node-%u", number);
        snprintf(p.relative, sizeof(p.relative), "w/node-%u", number);
        snprintf(p.absolute, sizeof(p.absolute), "/bench/w/node-%u", number);
        snprintf(p.own, sizeof(p.own), "/bench/own/node-%u", number);
        snprintf(p.file, sizeof(p.file), "/bench/w/file-%u", number);
        snprintf(p.directory, sizeof(p.directory), "/bench/w/directory-%u", number);

        snprintf(p.mount_point, sizeof(p.mount_point), "/bench/w/mount-%u", number);

        r = make_directory(p.directory);
        if (r >= 0)
                r = make_directory(p.mount_point);
        if (r < 0)
                return r;

        file = open(p.file, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
        if (file < 0)
                return -errno;

        p.directory_fd = open(p.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (p.directory_fd < 0)
                return -errno;

        *ret = p;
        return 0;
}
