/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The filter is where most calls end: whatever can be told from registers is told here, in the kernel, so
 * that a call which no policy could ever lend wakes nobody.
 *
 * libseccomp compiles a table of argument tests for all architectures of the machine into one program (a task
 * can have one listener only, so there can't be one program per architecture). Calls that this libseccomp is
 * too old to know by name are added as a prefix of our own instructions in front of its program: all jumps of
 * classic BPF are relative and libseccomp's program loads what it tests, so neither side notices the other.
 *
 * Tests compare at the width that the argument has in the kernel (law 3: act on what the
 * kernel will act on): the upper half of a register is garbage that the caller controls, and a test that
 * read it could be used to slip past interception. That would take something away (law 2), never grant it:
 * the kernel still decides about what isn't intercepted. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/ioprio.h>
#include <linux/seccomp.h>

#include "basic/fd.h"
#include "basic/protocol.h"
#include "filter/architecture.h"
#include "filter/filter.h"

/* More than libseccomp can say about HANDOVER_INSNS_MAX instructions. */
#define PFC_SIZE_MAX (1024 * 1024)

#define ELEMENTSOF(array) (sizeof(array) / sizeof((array)[0]))

/* One way in which a call may concern a policy: all its tests hold. A call with several rules is notified if
 * any of them holds, one without a rule always. */
typedef struct Rule {
        CallId call;
        unsigned n_tests;
        struct scmp_arg_cmp tests[2];
} Rule;

/* "(argument & mask) == value": exact at any width, since what's outside the mask isn't looked at. */
#define TEST_BITS(n, mask, value)                                                                            \
        { .arg = (n), .op = SCMP_CMP_MASKED_EQ, .datum_a = (mask), .datum_b = (value) }

/* libseccomp has no "not equal under a mask", so this one does read the upper half of a 64-bit register. Only
 * use it where that errs towards a notification: garbage up there makes zero look like something else, which
 * costs a wake-up that ends in CONTINUE. */
#define TEST_NOT_ZERO(n)                                                                                     \
        { .arg = (n), .op = SCMP_CMP_NE, .datum_a = 0 }

/* mount: what makes a new superblock, without the flags of the calls that don't: MS_BIND and so on. The upper
 * half of the 32 bits of flags once held a magic number, which old programs still pass. */
#define MOUNT_OTHER (MS_REMOUNT | MS_BIND | MS_MOVE)
#define MOUNT_RULES                                                                                          \
        { CALL_MOUNT, 1,                                                                                     \
                { TEST_BITS(3, MOUNT_OTHER | MS_UNBINDABLE | MS_PRIVATE | MS_SLAVE | MS_SHARED, 0) } },      \
        {                                                                                                    \
                CALL_MOUNT, 1, {                                                                             \
                        TEST_BITS(3, MS_MGC_MSK | MOUNT_OTHER, MS_MGC_VAL)                                   \
                }                                                                                            \
        }

/* fsopen, fsconfig, fsmount: a type is a string and a context is a descriptor, so registers don't tell whose
 * they are. move_mount and mount_setattr: only what takes a mount by its descriptor alone, as everyone does
 * who has it from fsmount(2). */
#define MOUNT_API_RULES                                                                                      \
        { CALL_MOVE_MOUNT, 1, { TEST_BITS(4, MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_F_EMPTY_PATH) } }, {        \
                CALL_MOUNT_SETATTR, 1, {                                                                     \
                        TEST_BITS(2, AT_EMPTY_PATH, AT_EMPTY_PATH)                                           \
                }                                                                                            \
        }

/* bpf: by command, each rule two of them but the last two: MAP_CREATE and PROG_QUERY, PROG_LOAD and
 * PROG_GET_FD_BY_ID, PROG_ATTACH and PROG_DETACH, MAP_FREEZE, LINK_CREATE. The upper half of the 32 bits is
 * looked at by the handler: what may come to be said there mustn't be a way around it, as some of these are
 * never left to the kernel. */
#define BPF_RULES                                                                                            \
        { CALL_BPF, 1, { TEST_BITS(0, 0xffff & ~16, 0) } },                                                  \
                        { CALL_BPF, 1, { TEST_BITS(0, 0xffff & ~8, 5) } },                                   \
                        { CALL_BPF, 1, { TEST_BITS(0, 0xffff & ~1, 8) } },                                   \
                        { CALL_BPF, 1, { TEST_BITS(0, 0xffff, 22) } }, {                                     \
                CALL_BPF, 1, {                                                                               \
                        TEST_BITS(0, 0xffff, 28)                                                             \
                }                                                                                            \
        }

/* finit_module: what's forced upon the kernel is never lent: MODULE_INIT_IGNORE_MODVERSIONS,
 * _IGNORE_VERMAGIC. */
#define MODULE_RULES                                                                                         \
        {                                                                                                    \
                CALL_FINIT_MODULE, 1, {                                                                      \
                        TEST_BITS(2, 1 | 2, 0)                                                               \
                }                                                                                            \
        }

/* mknod: mode is 16 bits wide and S_IFMT within them. Files, FIFOs, sockets and mode 0 are anybody's (law 2:
 * they stay native), and so is the whiteout, character device 0:0, since Linux 5.8. Block device 0:0 isn't a
 * whiteout. */
static const Rule rules[] = {
        { CALL_MKNOD, 2, { TEST_BITS(1, S_IFMT, S_IFCHR), TEST_NOT_ZERO(2) } },
        { CALL_MKNOD, 1, { TEST_BITS(1, S_IFMT, S_IFBLK) } },
        { CALL_MKNODAT, 2, { TEST_BITS(2, S_IFMT, S_IFCHR), TEST_NOT_ZERO(3) } },
        { CALL_MKNODAT, 1, { TEST_BITS(2, S_IFMT, S_IFBLK) } },
        MOUNT_RULES,
        MOUNT_API_RULES,

        /* Scheduling. A real-time policy needs a privilege (SCHED_DEADLINE can't be asked for by
         * sched_setscheduler). SCHED_OTHER does, too, for who gives back SCHED_IDLE or SCHED_RESET_ON_FORK
         * (the bit outside the mask), and an ordinary policy for another's task. sched_setattr has its say in
         * memory, and fails if it has flags. */
        { CALL_SCHED_SETSCHEDULER, 1, { TEST_BITS(1, 0xbfffffff, SCHED_FIFO) } },
        { CALL_SCHED_SETSCHEDULER, 1, { TEST_BITS(1, 0xbfffffff, SCHED_RR) } },
        { CALL_SCHED_SETSCHEDULER, 1, { TEST_BITS(1, 0xbfffffff, SCHED_OTHER) } },
        { CALL_SCHED_SETSCHEDULER, 2, { TEST_BITS(1, 0xbfffffff, SCHED_BATCH), TEST_NOT_ZERO(0) } },
        { CALL_SCHED_SETSCHEDULER, 2, { TEST_BITS(1, 0xbfffffff, SCHED_IDLE), TEST_NOT_ZERO(0) } },
        { CALL_SCHED_SETATTR, 1, { TEST_BITS(2, 0xffffffff, 0) } },

        /* Nice values below 19, the last: negative, 0 to 15, 16 and 17, 18. */
        { CALL_SETPRIORITY, 1, { TEST_BITS(2, 0x80000000, 0x80000000) } },
        { CALL_SETPRIORITY, 1, { TEST_BITS(2, 0xfffffff0, 0) } },
        { CALL_SETPRIORITY, 1, { TEST_BITS(2, 0xfffffffe, 16) } },
        { CALL_SETPRIORITY, 1, { TEST_BITS(2, 0xffffffff, 18) } },

        /* The real-time I/O class (of the three bits above the 13th), and any for others' tasks. */
        { CALL_IOPRIO_SET, 1, { TEST_BITS(2, 0xe000, IOPRIO_CLASS_RT << IOPRIO_CLASS_SHIFT) } },
        { CALL_IOPRIO_SET, 1, { TEST_NOT_ZERO(1) } },
        { CALL_IOPRIO_SET, 1, { TEST_BITS(0, 0xffffffff, IOPRIO_WHO_PGRP) } },

        BPF_RULES,
        MODULE_RULES,
};

static int add_call(scmp_filter_ctx context, CallId call, int nr) {
        unsigned n_rules = 0;
        int r;

        for (size_t i = 0; i < ELEMENTSOF(rules); i++) {
                if (rules[i].call != call)
                        continue;

                r = seccomp_rule_add_array(context, SCMP_ACT_NOTIFY, nr, rules[i].n_tests, rules[i].tests);
                if (r < 0)
                        return r;

                n_rules++;
        }

        return n_rules > 0 ? 0 : seccomp_rule_add_array(context, SCMP_ACT_NOTIFY, nr, 0, NULL);
}

/* Prepares libseccomp's part for the calls that it knows by name; the others are returned. */
static int new_context(CallSet calls, scmp_filter_ctx *ret_context, CallSet *ret_unknown) {
        scmp_filter_ctx context;
        CallSet unknown = 0;
        int r;

        /* Compile, don't ask the running kernel what it can do: seccomp(2) may be forbidden to us, and the
         * result shall not depend on where it was compiled. Level 5 has notifications. */
        r = seccomp_api_set(5);
        if (r < 0)
                return r;

        context = seccomp_init(SCMP_ACT_ALLOW);
        if (!context)
                return -ENOMEM;

        /* Law 2: libseccomp's default would kill binaries of other architectures. */
        r = seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW);

        /* A binary tree of numbers. Those that aren't ours are answered from the kernel's bitmap of constant
         * verdicts, without running the program; but for a call whose arguments are tested it always runs,
         * and in a list such a call would stand behind all that have fewer tests. */
        if (r >= 0)
                r = seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2);

        for (size_t i = 0; r >= 0 && i < ARCHITECTURES_MAX; i++) {
                r = seccomp_arch_add(context, architectures[i].scmp);
                if (r == -EEXIST)
                        r = 0; /* the native one */
        }

        for (CallId id = 0; r >= 0 && id < _CALL_MAX; id++) {
                int nr;

                if (!call_set_contains(calls, id))
                        continue;

                /* A negative number other than this is a call that the native architecture lacks, but
                 * another has. */
                nr = seccomp_syscall_resolve_name(call_to_string(id));
                if (nr == __NR_SCMP_ERROR)
                        unknown |= CALL_BIT(id);
                else
                        r = add_call(context, id, nr);
        }

        if (r < 0) {
                seccomp_release(context);
                return r;
        }

        *ret_context = context;
        *ret_unknown = unknown;
        return 0;
}

static void append(GArray *program, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf) {
        struct sock_filter instruction = { .code = code, .jt = jt, .jf = jf, .k = k };

        g_array_append_val(program, instruction);
}

/* Bits of the number that tell apart architectures that share this AUDIT_ARCH_*. */
static uint32_t shared_nr_bit(uint32_t audit) {
        uint32_t bits = 0;

        for (size_t i = 0; i < ARCHITECTURES_MAX; i++)
                if (architectures[i].audit == audit)
                        bits |= architectures[i].nr_bit;

        return bits;
}

/* Writes, for each AUDIT_ARCH_*, "is it this architecture, and one of these numbers? then notify". */
static int append_prefix(GArray *program, CallSet unknown) {
        uint8_t n_calls = (uint8_t) __builtin_popcountll(unknown);

        for (size_t i = 0; i < ARCHITECTURES_MAX && n_calls > 0; i++) {
                const Architecture *a = architectures + i;
                uint32_t bits = shared_nr_bit(a->audit);
                uint8_t n_left = n_calls;

                if (a->nr_bit != 0)
                        continue; /* done together with the one that it shares AUDIT_ARCH_* with */

                append(program, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch), 0, 0);
                append(program, BPF_JMP | BPF_JEQ | BPF_K, a->audit, 0,
                                (uint8_t) (1 + (bits ? 1 : 0) + n_calls + 1));
                append(program, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
                if (bits)
                        append(program, BPF_ALU | BPF_AND | BPF_K, ~bits, 0, 0);

                for (CallId id = 0; id < _CALL_MAX; id++) {
                        int nr;

                        if (!call_set_contains(unknown, id))
                                continue;

                        nr = call_unified_number(id);
                        if (nr < 0)
                                return -EOPNOTSUPP;

                        /* What matches goes to the return, the last that doesn't goes past it. */
                        n_left--;
                        append(program, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t) nr, n_left,
                                        n_left == 0 ? 1 : 0);
                }

                append(program, BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF, 0, 0);
        }

        return 0;
}

/* libseccomp 2.5 can only write its program to a descriptor. */
static int append_exported(GArray *program, scmp_filter_ctx context) {
        _cleanup_close_ int fd = -1;
        g_autofree char *bytes = NULL;
        size_t size;
        int r;

        fd = memfd_create("deputyd-filter", MFD_CLOEXEC);
        if (fd < 0)
                return -errno;

        r = seccomp_export_bpf(context, fd);
        if (r < 0)
                return r;

        r = read_fd_full(fd, HANDOVER_INSNS_MAX * sizeof(struct sock_filter), &bytes, &size);
        if (r < 0)
                return r;
        if (size == 0 || size % sizeof(struct sock_filter) != 0)
                return -EIO;

        g_array_append_vals(program, bytes, (guint) (size / sizeof(struct sock_filter)));
        return 0;
}

int filter_new(CallSet calls, Filter **ret) {
        g_autoptr(GArray) program = g_array_new(FALSE, TRUE, sizeof(struct sock_filter));
        scmp_filter_ctx context;
        CallSet unknown;
        Filter *filter;
        int r;

        g_assert(ret);

        if (calls == 0)
                return -ENODATA;
        if (calls & ~(CALL_BIT(_CALL_MAX) - 1))
                return -EINVAL;

        r = new_context(calls, &context, &unknown);
        if (r < 0)
                return r;

        r = append_prefix(program, unknown);
        if (r >= 0)
                r = append_exported(program, context);
        seccomp_release(context);
        if (r < 0)
                return r;
        if (program->len > HANDOVER_INSNS_MAX)
                return -E2BIG;

        filter = g_new(Filter, 1);
        *filter = (Filter){
                .calls = calls,
                .n_insns = program->len,
        };
        filter->insns = (struct sock_filter *) (void *) g_array_free(g_steal_pointer(&program), FALSE);

        *ret = filter;
        return 0;
}

Filter *filter_free(Filter *filter) {
        if (!filter)
                return NULL;

        g_free(filter->insns);
        g_free(filter);
        return NULL;
}

FilterFormat filter_format_from_string(const char *name) {
        static const char *const names[] = {
                [FILTER_FORMAT_PFC] = "pfc",
                [FILTER_FORMAT_BPF] = "bpf",
                [FILTER_FORMAT_C] = "c",
        };

        for (size_t i = 0; name && i < ELEMENTSOF(names); i++)
                if (strcmp(names[i], name) == 0)
                        return (FilterFormat) i;

        return _FILTER_FORMAT_INVALID;
}

static int write_all(int fd, const void *data, size_t size) {
        const char *p = data;

        while (size > 0) {
                ssize_t n = write(fd, p, size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;

                p += n;
                size -= (size_t) n;
        }

        return 0;
}

/* The prefix in the words of libseccomp's pseudo filter code. */
static void append_prefix_pfc(GString *text, CallSet unknown) {
        g_string_append(text, "#\n# calls that libseccomp doesn't know by name\n#\n");

        for (size_t i = 0; i < ARCHITECTURES_MAX; i++) {
                const Architecture *a = architectures + i;
                uint32_t bits = shared_nr_bit(a->audit);

                if (a->nr_bit != 0)
                        continue;

                g_string_append_printf(text, "if ($arch == %" PRIu32 ")\n", a->audit);
                for (CallId id = 0; id < _CALL_MAX; id++) {
                        if (!call_set_contains(unknown, id))
                                continue;

                        g_string_append_printf(text, "  # filter for syscall \"%s\" (%i)\n",
                                        call_to_string(id), call_unified_number(id));
                        if (bits)
                                g_string_append_printf(text, "  if ($syscall & 0x%08" PRIx32 " == %i)\n",
                                                ~bits, call_unified_number(id));
                        else
                                g_string_append_printf(
                                                text, "  if ($syscall == %i)\n", call_unified_number(id));
                        g_string_append(text, "    action NOTIFY;\n");
                }
        }
}

/* libseccomp 2.5 prints the number of an action that its PFC writer has no name for. */
static int append_pfc(GString *text, scmp_filter_ctx context) {
        _cleanup_close_ int fd = -1;
        g_autofree char *pfc = NULL, *named = NULL;
        g_auto(GStrv) parts = NULL;
        int r;

        fd = memfd_create("deputyd-filter", MFD_CLOEXEC);
        if (fd < 0)
                return -errno;

        r = seccomp_export_pfc(context, fd);
        if (r < 0)
                return r;

        r = read_fd_full(fd, PFC_SIZE_MAX, &pfc, NULL);
        if (r < 0)
                return r;

        parts = g_strsplit(pfc, "action 0x7fc00000;", -1);
        named = g_strjoinv("action NOTIFY;", parts);
        g_string_append(text, named);
        return 0;
}

static int export_pfc(const Filter *filter, int fd) {
        g_autoptr(GString) text = g_string_new(NULL);
        scmp_filter_ctx context;
        CallSet unknown;
        int r;

        r = new_context(filter->calls, &context, &unknown);
        if (r < 0)
                return r;

        if (unknown != 0)
                append_prefix_pfc(text, unknown);
        r = append_pfc(text, context);
        seccomp_release(context);
        if (r < 0)
                return r;

        return write_all(fd, text->str, text->len);
}

/* One instruction in the notation of bpf_asm, jump targets as absolute indices. */
static char *instruction_to_string(const struct sock_filter *insn, size_t index) {
        static const char *const fields[] = {
                [0] = "nr", [1] = "arch", [2] = "ip.low", [3] = "ip.high" /* then arguments */
        };
        const char *jump = NULL;

        switch (insn->code) {
        case BPF_LD | BPF_W | BPF_ABS:
                if (insn->k / 4 < ELEMENTSOF(fields))
                        return g_strdup_printf("load %s", fields[insn->k / 4]);
                return g_strdup_printf("load argument %" PRIu32 ".%s", (insn->k - 16) / 8,
                                (insn->k & 4) == (G_BYTE_ORDER == G_LITTLE_ENDIAN ? 4 : 0) ? "high" : "low");
        case BPF_ALU | BPF_AND | BPF_K:
                return g_strdup_printf("and 0x%08" PRIx32, insn->k);
        case BPF_JMP | BPF_JA:
                return g_strdup_printf("goto %zu", index + 1 + insn->k);
        case BPF_RET | BPF_K:
                if (insn->k == SECCOMP_RET_ALLOW)
                        return g_strdup("return ALLOW");
                if (insn->k == SECCOMP_RET_USER_NOTIF)
                        return g_strdup("return USER_NOTIF");
                return g_strdup_printf("return 0x%08" PRIx32, insn->k);
        case BPF_JMP | BPF_JEQ | BPF_K:
                jump = "==";
                break;
        case BPF_JMP | BPF_JGT | BPF_K:
                jump = ">";
                break;
        case BPF_JMP | BPF_JGE | BPF_K:
                jump = ">=";
                break;
        case BPF_JMP | BPF_JSET | BPF_K:
                jump = "&";
                break;
        default:
                return g_strdup("other");
        }

        return g_strdup_printf("if %s 0x%" PRIx32 " goto %zu else %zu", jump, insn->k, index + 1 + insn->jt,
                        index + 1 + insn->jf);
}

static int export_c(const Filter *filter, int fd) {
        g_autofree char *names = call_set_to_string(filter->calls);
        g_autoptr(GString) text = g_string_new(NULL);

        g_string_append_printf(text,
                        "/* Made by deputyd " PROJECT_VERSION ": a seccomp program that answers\n"
                        " * SECCOMP_RET_USER_NOTIF to what a supervisor may act on of\n"
                        " *     %s\n"
                        " * and SECCOMP_RET_ALLOW to all else. Load it with "
                        "seccomp(SECCOMP_SET_MODE_FILTER,\n"
                        " * SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, ...). "
                        "*/\n"
                        "\n"
                        "#include <linux/filter.h>\n"
                        "\n"
                        "#define DEPUTYD_FILTER_INSNS %zu\n"
                        "\n"
                        "static const struct sock_filter deputyd_filter[DEPUTYD_FILTER_INSNS] = {\n",
                        names, filter->n_insns);

        for (size_t i = 0; i < filter->n_insns; i++) {
                const struct sock_filter *insn = filter->insns + i;
                g_autofree char *comment = instruction_to_string(insn, i);

                g_string_append_printf(text, "        { 0x%02x, %u, %u, 0x%08" PRIx32 " }, /* %zu: %s */\n",
                                insn->code, insn->jt, insn->jf, insn->k, i, comment);
        }

        g_string_append(text, "};\n");
        return write_all(fd, text->str, text->len);
}

int filter_export(const Filter *filter, FilterFormat format, int fd) {
        g_assert(filter);

        switch (format) {
        case FILTER_FORMAT_PFC:
                return export_pfc(filter, fd);
        case FILTER_FORMAT_BPF:
                return write_all(fd, filter->insns, filter->n_insns * sizeof(struct sock_filter));
        case FILTER_FORMAT_C:
                return export_c(filter, fd);
        default:
                return -EINVAL;
        }
}
