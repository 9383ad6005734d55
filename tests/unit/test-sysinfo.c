/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* sysinfo(2) as told: from made-up control groups to the bytes that a caller gets. */

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "basic/fd.h"
#include "policy/policy.h"
#include "supervisor/cgroup-memory.h"
#include "supervisor/cgroup.h"
#include "supervisor/load-average.h"
#include "supervisor/sysinfo-numbers.h"

#define MIB        (UINT64_C(1) << 20)
#define GIB        (UINT64_C(1) << 30)
#define TIB        (UINT64_C(1) << 40)
#define HOST_RAM   (8 * GIB)
#define HOST_SWAP  (2 * GIB)
#define V1_NOLIMIT "9223372036854771712\n"

static char *directory;

static void setup(void) {
        directory = g_dir_make_tmp("test-sysinfo-XXXXXX", NULL);
        cr_assert_not_null(directory);
}

static void remove_tree(const char *path) {
        g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);

        for (const char *name; dir && (name = g_dir_read_name(dir));) {
                g_autofree char *below = g_build_filename(path, name, NULL);

                remove_tree(below);
        }
        (void) g_remove(path);
}

static void teardown(void) {
        remove_tree(directory);
        g_free(directory);
}

TestSuite(sysinfo, .init = setup, .fini = teardown);

/* A file of a made-up cgroup, and the cgroup. NULL removes it. */
static void set(const char *cgroup, const char *file, const char *text) {
        g_autofree char *path = g_build_filename(directory, cgroup, NULL),
                        *name = g_build_filename(path, file, NULL);

        if (!text) {
                cr_assert_eq(unlink(name), 0);
                return;
        }

        cr_assert_eq(g_mkdir_with_parents(path, 0755), 0);

        /* In place: files are kept open, as those of a real cgroup are. */
        FILE *f = fopen(name, "we");
        cr_assert_not_null(f);
        cr_assert_geq(fputs(text, f), 0);
        cr_assert_eq(fclose(f), 0);
}

static CgroupHierarchy hierarchy(bool unified) {
        int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);

        cr_assert_geq(fd, 0);
        return (CgroupHierarchy){ .root_fd = fd, .unified = unified };
}

static MemoryNumbers read_once(bool unified, const char *path) {
        CgroupHierarchy h = hierarchy(unified);
        MemoryNumbers numbers;
        MemoryCgroup m;

        cr_assert_eq(memory_cgroup_open(&h, path, &m), 0);
        cr_assert_eq(memory_cgroup_read(&m, HOST_RAM, HOST_SWAP, &numbers), 0);
        memory_cgroup_close(&m);
        close_fd(h.root_fd);
        return numbers;
}

static MemoryOfLxcfs read_as_lxcfs(bool unified, const char *path) {
        CgroupHierarchy h = hierarchy(unified);
        MemoryOfLxcfs numbers;
        MemoryCgroup m;

        cr_assert_eq(memory_cgroup_open(&h, path, &m), 0);
        cr_assert_eq(memory_cgroup_read_as_lxcfs(&m, &numbers), 0);
        memory_cgroup_close(&m);
        close_fd(h.root_fd);
        return numbers;
}

static SysinfoNumbers host_numbers(void) {
        const struct sysinfo host = {
                .uptime = 1000,
                .loads = { 1, 2, 3 },
                .totalram = HOST_RAM,
                .freeram = 5 * GIB,
                .sharedram = 100 * MIB,
                .bufferram = 200 * MIB,
                .totalswap = HOST_SWAP,
                .freeswap = GIB,
                .procs = 500,
                .mem_unit = 1,
        };
        SysinfoNumbers n;

        sysinfo_numbers_of_host(&host, &n);
        return n;
}

static void make_v2(void) {
        set("a", "memory.max", "max\n");
        set("a", "memory.current", "4294967296\n");
        set("a", "memory.swap.max", "max\n");
        set("a", "memory.swap.current", "0\n");
        set("a/b", "memory.max", "1073741824\n");
        set("a/b", "memory.current", "536870912\n");
        set("a/b", "memory.stat",
                        "anon 1\nfile 268435456\nshmem 16777216\ninactive_anon 5\nactive_anon 6\n"
                        "inactive_file 67108864\nactive_file 33554432\nunevictable 0\n");
        set("a/b", "memory.swap.max", "536870912\n");
        set("a/b", "memory.swap.current", "104857600\n");
        set("a/b/c", "memory.max", "2147483648\n");
        set("a/b/c", "memory.current", "1048576\n");
        set("a/b/c", "memory.swap.max", "max\n");
        set("a/b/c", "memory.swap.current", "0\n");
}

Test(sysinfo, v2_smallest_limit_and_its_usage) {
        make_v2();

        MemoryNumbers m = read_once(true, "a/b/c");
        cr_expect_eq(m.limit, GIB, "the limit of the cgroup above");
        cr_expect_eq(m.usage, 512 * MIB, "and its usage");
        cr_expect_eq(m.file, 96 * MIB);
        cr_expect_eq(m.shmem, 16 * MIB);
        cr_expect_eq(m.swap_limit, 512 * MIB);
        cr_expect_eq(m.swap_usage, 100 * MIB);

        SysinfoNumbers n = host_numbers();
        sysinfo_numbers_limit(&n, &m);
        cr_expect_eq(n.totalram, GIB);
        cr_expect_eq(n.freeram, (1024 - 512 + 96) * MIB);
        cr_expect_eq(n.sharedram, 16 * MIB);
        cr_expect_eq(n.bufferram, 0);
        cr_expect_eq(n.totalswap, 512 * MIB);
        cr_expect_eq(n.freeswap, 412 * MIB);
        cr_expect_eq(n.procs, 500, "not its business");
}

Test(sysinfo, v2_own_limit) {
        make_v2();
        set("a/b/c", "memory.max", "536870912\n");

        MemoryNumbers m = read_once(true, "a/b/c");
        cr_expect_eq(m.limit, 512 * MIB);
        cr_expect_eq(m.usage, MIB);
        cr_expect_eq(m.file, 0, "no memory.stat: no page cache");
}

Test(sysinfo, v2_equal_limits_topmost_counts) {
        make_v2();
        set("a/b/c", "memory.max", "1073741824\n");
        cr_expect_eq(read_once(true, "a/b/c").usage, 512 * MIB);
}

Test(sysinfo, v2_without_limits) {
        make_v2();
        set("a/b", "memory.max", "max\n");
        set("a/b", "memory.swap.max", "max\n");
        set("a/b/c", "memory.max", "max\n");

        MemoryNumbers m = read_once(true, "a/b/c");
        cr_expect_eq(m.limit, MEMORY_UNLIMITED);
        cr_expect_eq(m.swap_limit, MEMORY_UNLIMITED);

        SysinfoNumbers n = host_numbers(), host = host_numbers();
        uint8_t bytes[SYSINFO_SIZE], host_bytes[SYSINFO_SIZE];
        sysinfo_numbers_limit(&n, &m);
        sysinfo_numbers_format(&n, false, bytes);
        sysinfo_numbers_format(&host, false, host_bytes);
        cr_expect_eq(memcmp(bytes, host_bytes, SYSINFO_SIZE), 0, "as natively");
}

Test(sysinfo, v2_limit_beyond_the_host) {
        make_v2();
        set("a/b", "memory.max", "8589934592\n");
        cr_expect_eq(read_once(true, "a/b").limit, MEMORY_UNLIMITED, "as much as there is");
        set("a/b", "memory.max", "8589930496\n");
        cr_expect_eq(read_once(true, "a/b").limit, HOST_RAM - 4096);
}

Test(sysinfo, v2_missing_files) {
        set("a/b/c", "cgroup.procs", "");
        cr_expect_eq(read_once(true, "a/b/c").limit, MEMORY_UNLIMITED, "no controller");
        cr_expect_eq(read_once(true, "").limit, MEMORY_UNLIMITED, "the root has no limit");
        cr_expect_eq(read_once(true, "none/at/all").limit, MEMORY_UNLIMITED, "removed");

        set("a", "memory.max", "1073741824\n");
        set("a", "memory.current", "1\n");
        MemoryNumbers m = read_once(true, "a/gone/c");
        cr_expect_eq(m.limit, GIB, "what's there counts");
        cr_expect_eq(m.swap_limit, MEMORY_UNLIMITED, "swap isn't accounted for");

        set("a", "memory.current", NULL);
        CgroupHierarchy h = hierarchy(true);
        MemoryCgroup cgroup;
        cr_assert_eq(memory_cgroup_open(&h, "a", &cgroup), 0);
        cr_expect_eq(memory_cgroup_read(&cgroup, HOST_RAM, HOST_SWAP, &m), -ENOENT);
        memory_cgroup_close(&cgroup);
        close_fd(h.root_fd);
}

Test(sysinfo, v2_nonsense) {
        static const char *const values[] = { "", "\n", "-1\n", "maximum\n", "99999999999999999999999\n",
                "12 13\n", "0x10\n", "12345678901234567890123456789012345678901234567890\n" };

        for (size_t i = 0; i < G_N_ELEMENTS(values); i++) {
                set("a", "memory.max", values[i]);
                cr_expect_eq(read_once(true, "a").limit, MEMORY_UNLIMITED, "\"%s\"", values[i]);
        }
}

Test(sysinfo, kept_files_show_changes) {
        CgroupHierarchy h = hierarchy(true);
        MemoryNumbers m;
        MemoryCgroup cgroup;

        make_v2();
        cr_assert_eq(memory_cgroup_open(&h, "a/b/c", &cgroup), 0);
        cr_assert_eq(memory_cgroup_read(&cgroup, HOST_RAM, HOST_SWAP, &m), 0);
        cr_expect_eq(m.usage, 512 * MIB);

        set("a/b", "memory.current", "1048576\n");
        cr_assert_eq(memory_cgroup_read(&cgroup, HOST_RAM, HOST_SWAP, &m), 0);
        cr_expect_eq(m.usage, MIB);

        set("a", "memory.max", "268435456\n");
        cr_assert_eq(memory_cgroup_read(&cgroup, HOST_RAM, HOST_SWAP, &m), 0);
        cr_expect_eq(m.limit, 256 * MIB, "another cgroup limits it now");
        cr_expect_eq(m.usage, 4 * GIB);

        memory_cgroup_close(&cgroup);
        close_fd(h.root_fd);
}

/* While somebody asks all the time, so that the files aren't opened anew. */
Test(sysinfo, controller_that_is_turned_on_later) {
        CgroupHierarchy h = hierarchy(true);
        MemoryOfLxcfs lxcfs;
        MemoryNumbers m;
        MemoryCgroup cgroup;

        set("a/b", "cgroup.procs", "");
        set("a", "memory.max", "max\n");
        cr_assert_eq(memory_cgroup_open(&h, "a/b", &cgroup), 0);
        cr_assert_eq(memory_cgroup_read(&cgroup, HOST_RAM, HOST_SWAP, &m), 0);
        cr_expect_eq(m.limit, MEMORY_UNLIMITED);

        set("a/b", "memory.max", "1048576\n");
        set("a/b", "memory.current", "4096\n");
        cr_assert_eq(memory_cgroup_read(&cgroup, HOST_RAM, HOST_SWAP, &m), 0);
        cr_expect_eq(m.limit, MIB);
        cr_expect_eq(m.swap_limit, MEMORY_UNLIMITED);

        set("a/b", "memory.swap.max", "8192\n");
        set("a/b", "memory.swap.current", "0\n");
        cr_assert_eq(memory_cgroup_read(&cgroup, HOST_RAM, HOST_SWAP, &m), 0);
        cr_expect_eq(m.swap_limit, 8192u);
        cr_assert_eq(memory_cgroup_read_as_lxcfs(&cgroup, &lxcfs), 0);
        cr_expect_eq(lxcfs.swap_limit, 8192u);

        memory_cgroup_close(&cgroup);
        close_fd(h.root_fd);
}

static unsigned count_descriptors(void) {
        g_autoptr(GDir) dir = g_dir_open("/proc/self/fd", 0, NULL);
        unsigned n = 0;

        while (g_dir_read_name(dir))
                n++;
        return n;
}

Test(sysinfo, deep_tree) {
        g_autoptr(GString) path = g_string_new("d");
        CgroupHierarchy h = hierarchy(true);
        unsigned before = count_descriptors();
        MemoryNumbers m;
        MemoryCgroup cgroup;

        for (unsigned i = 0; i < 200; i++) {
                g_string_append(path, "/d");
                if (i % 10 == 0)
                        set(path->str, "memory.max", "max\n");
        }
        set(path->str, "memory.max", "1048576\n");
        set(path->str, "memory.current", "4096\n");

        cr_assert_eq(memory_cgroup_open(&h, path->str, &cgroup), 0);
        cr_assert_eq(memory_cgroup_read(&cgroup, HOST_RAM, HOST_SWAP, &m), 0);
        cr_expect_eq(m.limit, MIB, "the lowest one counts as well");
        cr_expect_eq(m.usage, 4096);
        cr_expect_leq(count_descriptors() - before, 2 * MEMORY_LEVELS_KEPT + 6);

        memory_cgroup_close(&cgroup);
        cr_expect_eq(count_descriptors(), before);
        close_fd(h.root_fd);
}

static void make_v1(void) {
        set("", "memory.limit_in_bytes", V1_NOLIMIT);
        set("", "memory.memsw.limit_in_bytes", V1_NOLIMIT);
        set("a", "memory.limit_in_bytes", "1073741824\n");
        set("a", "memory.usage_in_bytes", "536870912\n");
        set("a", "memory.memsw.limit_in_bytes", "1610612736\n");
        set("a", "memory.memsw.usage_in_bytes", "641728512\n");
        set("a", "memory.stat",
                        "cache 1\nshmem 2\ninactive_file 3\nactive_file 4\nhierarchical_memory_limit 5\n"
                        "total_shmem 16777216\ntotal_inactive_file 67108864\ntotal_active_file 33554432\n");
        set("a/b", "memory.limit_in_bytes", V1_NOLIMIT);
        set("a/b", "memory.usage_in_bytes", "1048576\n");
        set("a/b", "memory.memsw.limit_in_bytes", V1_NOLIMIT);
        set("a/b", "memory.memsw.usage_in_bytes", "1048576\n");
}

Test(sysinfo, v1) {
        make_v1();

        MemoryNumbers m = read_once(false, "a/b");
        cr_expect_eq(m.limit, GIB);
        cr_expect_eq(m.usage, 512 * MIB);
        cr_expect_eq(m.file, 96 * MIB, "with the cgroups below");
        cr_expect_eq(m.shmem, 16 * MIB);
        cr_expect_eq(m.swap_limit, 512 * MIB, "what RAM leaves of both together");
        cr_expect_eq(m.swap_usage, 100 * MIB);

        set("a", "memory.limit_in_bytes", V1_NOLIMIT);
        set("a", "memory.memsw.limit_in_bytes", V1_NOLIMIT);
        m = read_once(false, "a/b");
        cr_expect_eq(m.limit, MEMORY_UNLIMITED);
        cr_expect_eq(m.swap_limit, MEMORY_UNLIMITED, "not 0, their difference");
}

Test(sysinfo, v1_no_swap_beside_ram) {
        make_v1();
        set("a", "memory.memsw.limit_in_bytes", "1073741824\n");
        set("a", "memory.memsw.usage_in_bytes", "536870912\n");

        MemoryNumbers m = read_once(false, "a/b");
        cr_expect_eq(m.swap_limit, 0);
        cr_expect_eq(m.swap_usage, 0);

        SysinfoNumbers n = host_numbers();
        sysinfo_numbers_limit(&n, &m);
        cr_expect_eq(n.totalswap, 0);
        cr_expect_eq(n.freeswap, 0);
}

/* Usage, page cache and limits are read one after the other, and needn't fit together. */
Test(sysinfo, nothing_wraps_around) {
        SysinfoNumbers n = host_numbers();
        MemoryNumbers m = { .limit = MIB,
                .usage = 5 * MIB,
                .file = MIB,
                .shmem = 9 * MIB,
                .swap_limit = MIB,
                .swap_usage = 2 * MIB };

        sysinfo_numbers_limit(&n, &m);
        cr_expect_eq(n.freeram, 0);
        cr_expect_eq(n.sharedram, MIB);
        cr_expect_eq(n.freeswap, 0);

        n = host_numbers();
        m = (MemoryNumbers){ .limit = MIB, .usage = MIB, .file = 7 * MIB, .swap_limit = GIB + MIB };
        sysinfo_numbers_limit(&n, &m);
        cr_expect_eq(n.freeram, MIB, "no more than there is");
        cr_expect_eq(n.freeswap, GIB, "no more than the host has");

        n = host_numbers();
        MemoryOfLxcfs x = { .unified = true,
                .limit = MIB,
                .usage = 2 * MIB,
                .has_swap = true,
                .swap_limit = MIB,
                .swap_usage = 3 * MIB };
        sysinfo_numbers_limit_as_lxcfs(&n, &x);
        cr_expect_eq(n.freeram, 0);
        cr_expect_eq(n.freeswap, 0);
}

Test(sysinfo, lxcfs_v2) {
        make_v2();

        /* The cgroup itself tells the usage; page cache is used. */
        MemoryOfLxcfs x = read_as_lxcfs(true, "a/b");
        SysinfoNumbers n = host_numbers();
        sysinfo_numbers_limit_as_lxcfs(&n, &x);
        cr_expect_eq(n.totalram, GIB);
        cr_expect_eq(n.freeram, 512 * MIB);
        cr_expect_eq(n.sharedram, 16 * MIB);
        cr_expect_eq(n.bufferram, 0);
        cr_expect_eq(n.totalswap, 512 * MIB);
        cr_expect_eq(n.freeswap, 412 * MIB);

        /* A limit above counts, but of swap only if there's one here as well. */
        x = read_as_lxcfs(true, "a/b/c");
        cr_expect_eq(x.limit, GIB);
        cr_expect_eq(x.usage, MIB);
        cr_expect_eq(x.swap_limit, 0);

        n = host_numbers();
        sysinfo_numbers_limit_as_lxcfs(&n, &x);
        cr_expect_eq(n.totalram, GIB);
        cr_expect_eq(n.freeram, 1023 * MIB);
        cr_expect_eq(n.totalswap, 0);

        set("a/b/c", "memory.max", "max\n");
        x = read_as_lxcfs(true, "a/b/c");
        n = host_numbers();
        sysinfo_numbers_limit_as_lxcfs(&n, &x);
        cr_expect_eq(n.totalram, GIB);

        set("a/b", "memory.max", "max\n");
        x = read_as_lxcfs(true, "a/b/c");
        n = host_numbers();
        sysinfo_numbers_limit_as_lxcfs(&n, &x);
        cr_expect_eq(n.totalram, HOST_RAM);
}

Test(sysinfo, lxcfs_v1) {
        make_v1();

        MemoryOfLxcfs x = read_as_lxcfs(false, "a");
        SysinfoNumbers n = host_numbers();
        sysinfo_numbers_limit_as_lxcfs(&n, &x);
        cr_expect_eq(n.totalram, GIB);
        cr_expect_eq(n.freeram, 512 * MIB);
        cr_expect_eq(n.totalswap, 1536 * MIB, "RAM and swap together");
        cr_expect_eq(n.freeswap, 1436 * MIB);

        set("a", "memory.swappiness", "0\n");
        x = read_as_lxcfs(false, "a");
        n = host_numbers();
        sysinfo_numbers_limit_as_lxcfs(&n, &x);
        cr_expect_eq(n.totalswap, 100 * MIB, "it seems that it can't swap");
        cr_expect_eq(n.freeswap, 0);

        set("a", "memory.memsw.usage_in_bytes", NULL);
        x = read_as_lxcfs(false, "a");
        n = host_numbers();
        sysinfo_numbers_limit_as_lxcfs(&n, &x);
        cr_expect_eq(n.totalswap, 0);
}

Test(sysinfo, lxcfs_counts_kib) {
        SysinfoNumbers n = host_numbers();
        MemoryOfLxcfs x = { .unified = true, .limit = MIB + 1023, .usage = 1023, .shmem = 2047 };

        sysinfo_numbers_limit_as_lxcfs(&n, &x);
        cr_expect_eq(n.totalram, MIB);
        cr_expect_eq(n.freeram, MIB);
        cr_expect_eq(n.sharedram, 1024);
}

/* Layouts. The kernel's own struct is the reference. */

Test(sysinfo, native_layout) {
        uint8_t bytes[SYSINFO_SIZE];
        SysinfoNumbers n = host_numbers();
        struct sysinfo s;

        n.totalhigh = 7;
        n.freehigh = 6;
        n.procs = 70000;
        cr_assert_eq(sysinfo_numbers_format(&n, false, bytes), sizeof(s));
        memcpy(&s, bytes, sizeof(s));
        cr_expect_eq(s.uptime, 1000);
        cr_expect_eq(s.loads[0], 1);
        cr_expect_eq(s.loads[2], 3);
        cr_expect_eq(s.totalram, HOST_RAM);
        cr_expect_eq(s.freeram, 5 * GIB);
        cr_expect_eq(s.sharedram, 100 * MIB);
        cr_expect_eq(s.bufferram, 200 * MIB);
        cr_expect_eq(s.totalswap, HOST_SWAP);
        cr_expect_eq(s.freeswap, GIB);
        cr_expect_eq(s.procs, 65535, "not 70000 modulo 65536");
        cr_expect_eq(s.totalhigh, 7);
        cr_expect_eq(s.freehigh, 6);
        cr_expect_eq(s.mem_unit, 1);
}

/* struct sysinfo of a 32-bit program, as 32-bit words: uptime, 3 loads, 6 sizes, procs, 2 sizes, unit. */
static void format_compat(const SysinfoNumbers *n, uint32_t ret[16]) {
        uint8_t bytes[SYSINFO_SIZE];

        memset(bytes, 0xa5, sizeof(bytes));
        cr_assert_eq(sysinfo_numbers_format(n, true, bytes), 64);
        memcpy(ret, bytes, 64);
        cr_expect_eq(bytes[64], 0xa5, "no byte more");
        cr_expect_eq(ret[14], 0);
        cr_expect_eq(ret[15], 0);
}

Test(sysinfo, compat_layout) {
        SysinfoNumbers n = host_numbers();
        uint32_t w[16];

        n.totalram = GIB;
        n.freeram = MIB;
        n.procs = 3;
        format_compat(&n, w);
        cr_expect_eq(w[0], 1000);
        cr_expect_eq(w[3], 3);
        cr_expect_eq(w[4], GIB, "bytes, as they fit");
        cr_expect_eq(w[5], MIB);
        cr_expect_eq(w[8], HOST_SWAP);
        cr_expect_eq(w[9], GIB);
        cr_expect_eq(w[10], 3);
        cr_expect_eq(w[13], 1);
}

Test(sysinfo, compat_units) {
        SysinfoNumbers n = host_numbers();
        uint32_t w[16];

        format_compat(&n, w);
        cr_expect_eq(w[13], 4096, "pages, as the kernel does it");
        cr_expect_eq(w[4], HOST_RAM / 4096);
        cr_expect_eq(w[5], 5 * GIB / 4096);
        cr_expect_eq(w[8], HOST_SWAP / 4096);

        n.totalram = UINT32_MAX;
        format_compat(&n, w);
        cr_expect_eq(w[13], 1);
        cr_expect_eq(w[4], UINT32_MAX);

        n.totalram = UINT64_C(1) << 32;
        format_compat(&n, w);
        cr_expect_eq(w[13], 4096);

        n.totalram = 48 * TIB;
        format_compat(&n, w);
        cr_expect_eq((uint64_t) w[4] * w[13], 48 * TIB,
                        "larger units than pages, rather than a wrong number");

        n = host_numbers();
        n.totalram = GIB;
        n.totalswap = 5 * GIB;
        format_compat(&n, w);
        cr_expect_eq(w[13], 4096, "swap has to fit, too");
}

/* Where control groups are. */

static CgroupTree tree_of(const char *mountinfo) {
        CgroupTree tree;

        cr_assert_eq(cgroup_tree_open(mountinfo, &tree), 0);
        return tree;
}

static const char *found(const CgroupTree *tree, CgroupController controller, const char *text,
                const CgroupHierarchy **ret) {
        static char path[CGROUP_PATH_SIZE];

        *ret = cgroup_find(tree, controller, text, path);
        return *ret ? path : NULL;
}

Test(sysinfo, tree_v2) {
        g_autofree char *mountinfo = g_strdup_printf("30 24 0:26 / %s rw,nosuid shared:9 - cgroup2 cgroup2 "
                                                     "rw,nsdelegate\n",
                        directory);
        CgroupTree tree = tree_of(mountinfo);
        const CgroupHierarchy *h;

        cr_expect_str_eq(found(&tree, CGROUP_MEMORY, "0::/machine.slice/x.service/payload\n", &h),
                        "machine.slice/x.service/payload");
        cr_expect(h->unified);
        cr_expect_str_eq(found(&tree, CGROUP_PIDS, "1:name=systemd:/q\n0::/\n", &h), "");
        cr_expect_str_eq(found(&tree, CGROUP_PIDS, "0::/a:b\n", &h), "a:b");
        cr_expect_str_eq(found(&tree, CGROUP_PIDS, "0::/a", &h), "a", "a last line without its end");
        cr_expect_null(found(&tree, CGROUP_MEMORY, "0::/../outside\n", &h));
        cr_expect_null(found(&tree, CGROUP_MEMORY, "0::/..\n", &h));
        cr_expect_not_null(found(&tree, CGROUP_MEMORY, "0::/..a\n", &h));
        cr_expect_null(found(&tree, CGROUP_MEMORY, "4:memory:/a\n", &h), "no such hierarchy is mounted");
        cr_expect_null(found(&tree, CGROUP_MEMORY, "", &h));
        cr_expect_null(found(&tree, CGROUP_MEMORY, "nonsense", &h));
        cgroup_tree_close(&tree);
}

Test(sysinfo, tree_hybrid) {
        g_autofree char *mountinfo =
                        g_strdup_printf("30 24 0:26 / %s/with\\040blank rw - cgroup2 cgroup2 rw\n"
                                        "31 24 0:27 /inner %s/v1 rw - cgroup cgroup rw,cpu,cpuacct\n"
                                        "32 24 0:28 /lower %s/v1 rw - cgroup cgroup rw,memory\n"
                                        "33 24 0:28 / %s rw - cgroup cgroup rw,memory\n"
                                        "34 24 0:29 / /nonexistent/pids rw - cgroup cgroup rw,pids\n"
                                        "35 24 0:30 / %s/v1 rw - tmpfs pids rw,pids\n"
                                        "garbage\n",
                                        directory, directory, directory, directory, directory);
        static const char text[] = "12:cpu,cpuacct:/inner/a\n4:memory:/b\n2:pids:/c\n0::/d\n";
        const CgroupHierarchy *h;

        char path[CGROUP_PATH_SIZE];

        set("with blank", "x", "");
        set("v1", "x", "");

        CgroupTree tree = tree_of(mountinfo);
        cr_expect_str_eq(found(&tree, CGROUP_MEMORY, text, &h), "b");
        cr_expect_not(h->unified);
        cr_expect_str_eq(h->mount_root, "/", "the mount that shows more");
        cr_expect_str_eq(found(&tree, CGROUP_CPU, text, &h), "a", "relative to what's mounted");
        cr_expect_null(found(&tree, CGROUP_CPU, "12:cpu,cpuacct:/innermost/a\n", &h));
        cr_expect_null(found(&tree, CGROUP_CPU, "12:cpu,cpuacct:/other\n", &h));
        cr_expect_not_null(cgroup_find_unified(&tree, text, path));
        cr_expect_str_eq(path, "d");
        cr_expect_str_eq(found(&tree, CGROUP_PIDS, text, &h), "d", "what can't be opened isn't there");
        cr_expect(h->unified);
        cgroup_tree_close(&tree);
}

Test(sysinfo, counts_tasks) {
        CgroupHierarchy h = hierarchy(true);
        unsigned n = 0;

        set("a", "cgroup.threads", "1\n2\n3\n");
        set("a/b", "cgroup.threads", "");
        set("a/b/c", "cgroup.threads", "4\n5\n");
        set("other", "cgroup.threads", "6\n");
        cr_expect_eq(cgroup_count_tasks(&h, "a", 100, &n), 0);
        cr_expect_eq(n, 5);
        cr_expect_eq(cgroup_count_tasks(&h, "a", 4, &n), 0);
        cr_expect_eq(n, 4, "no more than asked for");
        cr_expect_eq(cgroup_count_tasks(&h, "", 100, &n), 0);
        cr_expect_eq(n, 6);
        cr_expect_eq(cgroup_count_tasks(&h, "none", 100, &n), -ENOENT);
        close_fd(h.root_fd);
}

/* Loads */

#define SEC UINT64_C(1000000000)

static double load_of(const LoadAverage *load, unsigned i) {
        uint64_t loads[3];

        load_average_get(load, loads);
        return (double) loads[i] / 65536;
}

Test(sysinfo, load_of_a_busy_container) {
        LoadAverage load = {};

        /* Two tasks that always run, looked at now and then. */
        for (uint64_t t = 0, step = 1; t < 4000; t += step, step = step % 17 + 1)
                load_average_update(&load, 0, t * SEC + 1, 2 * (t * SEC + 1), 10);
        cr_expect_float_eq(load_of(&load, 0), 2, 0.01);
        cr_expect_float_eq(load_of(&load, 1), 2, 0.01);
        cr_expect_float_eq(load_of(&load, 2), 2, 0.05);

        /* A minute of idleness takes 1 - 1/e of the first. */
        uint64_t last = load.looked_nsec, active = load.active_nsec;
        load_average_update(&load, 0, last + 60 * SEC, active, 10);
        cr_expect_float_eq(load_of(&load, 0), 2 * 0.3679, 0.01);
        cr_expect_float_eq(load_of(&load, 1), 2 * 0.8187, 0.01);

        /* How often it's looked at doesn't matter. */
        LoadAverage other = load;
        load_average_update(&load, 0, last + 120 * SEC, active + 30 * SEC, 10);
        load_average_update(&other, 0, last + 90 * SEC, active + 15 * SEC, 10);
        load_average_update(&other, 0, last + 120 * SEC, active + 30 * SEC, 10);
        for (unsigned i = 0; i < 3; i++)
                cr_expect_float_eq(load_of(&load, i), load_of(&other, i), 0.001);
}

Test(sysinfo, load_at_first_sight) {
        LoadAverage load = {};

        load_average_update(&load, 100 * SEC, 160 * SEC, 60 * SEC, 10);
        cr_expect_float_eq(load_of(&load, 0), 0.6321, 0.001, "it has run for a minute");

        load = (LoadAverage){};
        load_average_update(&load, 100 * SEC, 160 * SEC, 100000 * SEC, 3);
        cr_expect_leq(load_of(&load, 0), 3, "the cgroup is older than the container");

        load = (LoadAverage){};
        load_average_update(&load, 100 * SEC, 100 * SEC, 0, 3);
        load_average_update(&load, 100 * SEC, 50 * SEC, 0, 3);
        cr_expect_eq(load_of(&load, 0), 0, "no time has passed");
}

Test(sysinfo, load_when_the_sum_shrinks) {
        LoadAverage load = {};

        load_average_update(&load, 0, 100 * SEC, 100 * SEC, 10);
        load_average_update(&load, 0, 200 * SEC, 50 * SEC, 10);
        cr_expect_leq(load_of(&load, 0), 1);
        cr_expect_geq(load_of(&load, 0), 0);
}

/* The section of the policy. */

static Policy *load_policy(const char *text) {
        Policy *policy = NULL;

        cr_assert_eq(policy_load_text(text, strlen(text), "t.conf", &policy), 0);
        return policy;
}

Test(sysinfo, policy) {
        g_autoptr(Policy) defaults = load_policy(""),
                          a = load_policy("[Sysinfo]\nFormula=lxcfs\nCacheMSec=0\n"),
                          b = load_policy("[Sysinfo]\nFormula=kernel\nCacheMSec=60000\n"),
                          bad = load_policy("[Sysinfo]\nFormula=lxcfs\nFormula=LXCFS\nCacheMSec=60001\n"
                                            "CacheMSec=1s\n");
        g_autofree char *text = policy_to_text(a);
        g_autoptr(Policy) again = load_policy(text);

        cr_expect_eq(defaults->sysinfo.formula, SYSINFO_FORMULA_AUTO);
        cr_expect_eq(defaults->sysinfo.cache_msec, 100);
        cr_expect_eq(a->sysinfo.formula, SYSINFO_FORMULA_LXCFS);
        cr_expect_eq(a->sysinfo.cache_msec, 0);
        cr_expect_eq(b->sysinfo.formula, SYSINFO_FORMULA_KERNEL);
        cr_expect_eq(b->sysinfo.cache_msec, 60000);
        cr_expect_eq(bad->problems->len, 3);
        cr_expect_eq(bad->sysinfo.formula, SYSINFO_FORMULA_LXCFS);
        cr_expect_eq(bad->sysinfo.cache_msec, 100);
        cr_expect(policy_equal(a, again));
        cr_expect_not(policy_equal(a, b));
        cr_expect_not(policy_equal(a, defaults));
}
