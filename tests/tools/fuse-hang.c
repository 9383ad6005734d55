/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A FUSE file system that mounts itself and stops answering where one likes to hang: at the lookup of any
 * name ("lookup"), at the read of its one file ("read"), which makes memory mapped from it hang whoever reads
 * it, or when that file is closed ("flush"). Speaks the protocol itself: libfuse would need fusermount. Then,
 * with --call, a child calls mknod with a path through it, or bpf with descriptors of the file and of the
 * server's device. */

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/fuse.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <signal.h>
#include <unistd.h>

static void die(const char *what) {
        fprintf(stderr, "fuse-hang: %s: %s\n", what, strerror(errno));
        exit(125);
}

static void reply(int fd, uint64_t unique, int error, const void *data, size_t size) {
        char buffer[1024];
        struct fuse_out_header header = {
                .unique = unique, .error = -error, .len = (uint32_t) (sizeof(header) + size)
        };

        memcpy(buffer, &header, sizeof(header));
        if (size > 0)
                memcpy(buffer + sizeof(header), data, size);
        if (write(fd, buffer, sizeof(header) + size) < 0 && errno != ENOENT)
                die("write");
}

static struct fuse_attr attributes(uint64_t inode) {
        return (struct fuse_attr){
                .ino = inode,
                .size = inode == 1 ? 0 : 4096,
                .mode = inode == 1 ? S_IFDIR | 0755 : S_IFREG | 0644,
                .nlink = 1,
                .blksize = 4096,
        };
}

static void serve(int fd, char hang_at) {
        static char request[FUSE_MIN_READ_BUFFER + 65536];

        for (;;) {
                ssize_t n = read(fd, request, sizeof(request));
                struct fuse_in_header in;

                if (n < 0) {
                        if (errno == EINTR || errno == ENOENT)
                                continue;
                        return; /* unmounted */
                }
                memcpy(&in, request, sizeof(in));
                switch (in.opcode) {
                case FUSE_INIT: {
                        struct fuse_init_out out = { .major = FUSE_KERNEL_VERSION,
                                .minor = FUSE_KERNEL_MINOR_VERSION,
                                .max_write = 65536 };

                        reply(fd, in.unique, 0, &out, sizeof(out));
                        break;
                }
                case FUSE_GETATTR: {
                        struct fuse_attr_out out = { .attr = attributes(in.nodeid) };

                        reply(fd, in.unique, 0, &out, sizeof(out));
                        break;
                }
                case FUSE_LOOKUP:
                        if (hang_at != 'l') {
                                struct fuse_entry_out out = { .nodeid = 2, .attr = attributes(2) };

                                reply(fd, in.unique, 0, &out, sizeof(out));
                        }
                        break;
                case FUSE_OPEN:
                case FUSE_OPENDIR: {
                        struct fuse_open_out out = {};

                        reply(fd, in.unique, 0, &out, sizeof(out));
                        break;
                }
                case FUSE_FLUSH:
                        if (hang_at != 'f')
                                reply(fd, in.unique, ENOSYS, NULL, 0);
                        break;
                case FUSE_READ: /* never */
                case FUSE_FORGET:
                case FUSE_BATCH_FORGET:
                case FUSE_INTERRUPT:
                        break;
                default:
                        reply(fd, in.unique, ENOSYS, NULL, 0);
                }
        }
}

static int mount_at(const char *directory) {
        char options[128];
        int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

        if (fd < 0)
                die("/dev/fuse");
        snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd);
        if (mount("fuse-hang", directory, "fuse", MS_NOSUID, options) < 0)
                die(directory);
        return fd;
}

/* A program that names both as maps: who copies them and closes the file waits for the server, and keeps it
 * from going away. */
static void call_bpf(int fuse_fd, const char *path) {
        struct bpf_insn insns[6] = {};
        union bpf_attr attr = { .prog_type = BPF_PROG_TYPE_CGROUP_SKB, .insn_cnt = 6 };
        int file = open(path, O_RDONLY | O_CLOEXEC), r;

        if (file < 0)
                die(path);
        for (int i = 0; i < 2; i++)
                insns[2 * i] = (struct bpf_insn){ .code = BPF_LD | BPF_IMM | BPF_DW,
                        .dst_reg = 1,
                        .src_reg = BPF_PSEUDO_MAP_FD,
                        .imm = i == 0 ? file : fuse_fd };
        insns[4] = (struct bpf_insn){ .code = BPF_ALU64 | BPF_MOV | BPF_K };
        insns[5] = (struct bpf_insn){ .code = BPF_JMP | BPF_EXIT };
        attr.insns = (uintptr_t) insns;
        attr.license = (uintptr_t) "GPL";
        puts("calling");
        fflush(stdout);
        r = (int) syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
        printf("bpf %d %s\n", r, r < 0 ? strerrorname_np(errno) : "OK");
        fflush(stdout);
        _exit(0);
}

/* In a child: one call whose path, or whose memory, hangs. The child doesn't keep the device open: it would
 * then wait for itself for ever, since a file system goes when nobody has its device open any more. */
static void call(int fuse_fd, const char *directory, char hang_at) {
        char path[4096];
        const char *pointer = path;
        int r;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        snprintf(path, sizeof(path), "%s/file%s", directory, hang_at == 'l' ? "/node" : "");
        if (hang_at == 'f')
                call_bpf(fuse_fd, path);
        close(fuse_fd);
        if (hang_at == 'r') {
                int fd = open(path, O_RDONLY | O_CLOEXEC);

                if (fd < 0)
                        die(path);
                pointer = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
                if (pointer == MAP_FAILED)
                        die("mmap");
        }
        puts("calling");
        fflush(stdout);
        r = (int) syscall(SYS_mknod, pointer, S_IFCHR | 0600, makedev(1, 3));
        printf("mknod %d %s\n", r, r < 0 ? strerrorname_np(errno) : "OK");
        fflush(stdout);
        _exit(0);
}

int main(int argc, char *argv[]) {
        bool with_call = argc == 4 && strcmp(argv[3], "--call") == 0;
        int fd;

        if ((argc != 3 && !with_call) || (strcmp(argv[1], "lookup") != 0 && strcmp(argv[1], "read") != 0 &&
                                                         strcmp(argv[1], "flush") != 0)) {
                puts("Usage: fuse-hang lookup|read|flush DIRECTORY [--call]\n"
                     "Mounts a file system on DIRECTORY that never answers lookups, or reads or the closing "
                     "of "
                     "DIRECTORY/file. --call: also calls mknod with a path\n"
                     "through it, or with a path in memory mapped from it, or bpf with its descriptors.");
                return argc == 2 && strcmp(argv[1], "--help") == 0 ? 0 : 125;
        }
        fd = mount_at(argv[2]);
        if (with_call && fork() == 0)
                call(fd, argv[2], argv[1][0]);
        serve(fd, argv[1][0]);
        return 0;
}
