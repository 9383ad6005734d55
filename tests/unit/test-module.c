/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What's read out of a module, and what a broken one gets: see modinfo.h, module-image.h,
 * module-parameters.h. */

#include <criterion/criterion.h>
#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <lzma.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "basic/fd.h"
#include "supervisor/confine.h"
#include "supervisor/handlers/modinfo.h"
#include "supervisor/handlers/module-image.h"
#include "supervisor/handlers/module-parameters.h"
#include "supervisor/worker.h"

#define TIMEOUT (20 * UINT64_C(1000000))

static const char strings[] = "\0.shstrtab\0.modinfo";
#define NAME_SHSTRTAB 1
#define NAME_MODINFO  11

static void put(GByteArray *to, size_t offset, uint64_t n, unsigned width, bool big) {
        if (to->len < offset + width) {
                guint before = to->len;

                g_byte_array_set_size(to, (guint) (offset + width));
                memset(to->data + before, 0, to->len - before);
        }
        for (unsigned i = 0; i < width; i++)
                to->data[offset + i] = (guint8) (n >> 8 * (big ? width - 1 - i : i));
}

/* A relocatable file with three sections: none, the names, and .modinfo with these bytes. */
static GByteArray *module_new(bool is_64, bool big, uint16_t machine, const char *modinfo, size_t size) {
        GByteArray *file = g_byte_array_new();
        unsigned word = is_64 ? 8 : 4, header = is_64 ? 64 : 52, section = is_64 ? 64 : 40;
        size_t names = header, info = names + sizeof(strings), table = (info + size + 7) / 8 * 8;
        static const uint8_t ident[] = { 0x7f, 'E', 'L', 'F' };

        g_byte_array_append(file, ident, sizeof(ident));
        put(file, EI_CLASS, is_64 ? ELFCLASS64 : ELFCLASS32, 1, big);
        put(file, EI_DATA, big ? ELFDATA2MSB : ELFDATA2LSB, 1, big);
        put(file, EI_VERSION, EV_CURRENT, 1, big);
        put(file, 16, ET_REL, 2, big);
        put(file, 18, machine, 2, big);
        put(file, is_64 ? 40 : 32, table, word, big);
        put(file, is_64 ? 58 : 46, section, 2, big);
        put(file, is_64 ? 60 : 48, 3, 2, big);
        put(file, is_64 ? 62 : 50, 1, 2, big);
        g_byte_array_append(file, (const guint8 *) strings, sizeof(strings));
        g_byte_array_append(file, (const guint8 *) modinfo, (guint) size);

        for (unsigned i = 0; i < 3; i++) {
                size_t at = table + i * section;

                put(file, at + section - 1, 0, 1, big);
                if (i == 0)
                        continue;
                put(file, at, i == 1 ? NAME_SHSTRTAB : NAME_MODINFO, 4, big);
                put(file, at + 4, i == 1 ? SHT_STRTAB : SHT_PROGBITS, 4, big);
                put(file, at + 8, i == 1 ? 0 : SHF_ALLOC, word, big);
                put(file, at + (is_64 ? 24 : 16), i == 1 ? names : info, word, big);
                put(file, at + (is_64 ? 32 : 20), i == 1 ? sizeof(strings) : size, word, big);
        }

        return file;
}

#if defined(__aarch64__)
#        define NATIVE EM_AARCH64
#else
#        define NATIVE EM_X86_64
#endif

static GByteArray *native_module(const char *modinfo, size_t size) {
        return module_new(true, false, NATIVE, modinfo, size);
}

static int parse(const GByteArray *file, ModuleInfo *ret) {
        /* At the end of an allocation of its own, so that a sanitizer sees a byte too far. */
        g_autofree void *copy = g_memdup2(file->data, file->len);

        return modinfo_parse(copy, file->len, ret);
}

Test(modinfo, all_classes_and_orders) {
        static const char info[] = "license=GPL\0name=nf-nat_ftp\0depends=nf_nat\0name=other";

        for (int is_64 = 0; is_64 < 2; is_64++)
                for (int big = 0; big < 2; big++) {
                        g_autoptr(GByteArray) file = module_new(is_64, big, 0x1234, info, sizeof(info));
                        ModuleInfo parsed;

                        cr_assert_eq(parse(file, &parsed), 0, "%d %d", is_64, big);
                        cr_expect_str_eq(parsed.name, "nf_nat_ftp");
                        cr_expect_eq(parsed.is_64, is_64);
                        cr_expect_eq(parsed.is_big_endian, big);
                        cr_expect_eq(parsed.machine, 0x1234);
                        cr_expect_not(modinfo_is_native(&parsed));
                }
}

Test(modinfo, names) {
        static const struct {
                const char *info;
                size_t size;
                int result;
                const char *name;
        } cases[] = {
#define CASE(text, result, name) { text, sizeof(text), result, name }
                CASE("name=a", 0, "a"),
                CASE("\0\0name=a\0", 0, "a"),
                CASE("xname=a", 0, ""),
                CASE("license=GPL", 0, ""),
                CASE("name=", -ENOEXEC, NULL),
                CASE("name=a/b", -ENOEXEC, NULL),
                CASE("name=a b", -ENOEXEC, NULL),
                CASE("name=..", -ENOEXEC, NULL),
                CASE("name=0123456789012345678901234567890123456789012345678901234", 0,
                                "0123456789012345678901234567890123456789012345678901234"),
                CASE("name=01234567890123456789012345678901234567890123456789012345", -ENOEXEC, NULL),
                { "name=a", 6, 0, "" }, /* without its NUL */
                { "", 0, 0, "" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(GByteArray) file = native_module(cases[i].info, cases[i].size);
                ModuleInfo info;

                cr_expect_eq(parse(file, &info), cases[i].result, "case %zu", i);
                if (cases[i].result == 0)
                        cr_expect_str_eq(info.name, cases[i].name, "case %zu", i);
        }
}

/* However much of it is missing, it's an error and nothing worse. */
Test(modinfo, cut_off) {
        static const char info[] = "name=whole";
        g_autoptr(GByteArray) file = native_module(info, sizeof(info));
        ModuleInfo parsed;

        cr_assert_eq(parse(file, &parsed), 0);
        while (file->len > 0) {
                g_byte_array_set_size(file, file->len - 1);
                cr_expect_eq(parse(file, &parsed), -ENOEXEC, "%u bytes", file->len);
        }
}

/* Every field of the headers at its extremes. */
Test(modinfo, extreme_numbers) {
        static const uint64_t extremes[] = { 0, 1, 0x7f, 0x7fff, 0xffff, 0x7fffffff, 0xffffffff,
                UINT64_MAX / 2, UINT64_MAX, UINT64_MAX - 63 };
        static const char info[] = "name=m";

        for (int is_64 = 0; is_64 < 2; is_64++) {
                g_autoptr(GByteArray) file = module_new(is_64, false, NATIVE, info, sizeof(info));

                for (guint at = 16; at < file->len; at++)
                        for (unsigned width = 1; width <= 8 && at + width <= file->len; width *= 2)
                                for (size_t e = 0; e < G_N_ELEMENTS(extremes); e++) {
                                        g_autoptr(GByteArray) copy = g_byte_array_new();
                                        ModuleInfo parsed;
                                        int r;

                                        g_byte_array_append(copy, file->data, file->len);
                                        put(copy, at, extremes[e], width, false);
                                        r = parse(copy, &parsed);
                                        cr_assert(r == 0 || r == -ENOEXEC);
                                        if (r == 0)
                                                cr_assert(!*parsed.name || module_name_is_valid(parsed.name));
                                }
        }
}

Test(modinfo, not_a_module) {
        static const char info[] = "name=m";
        static const struct {
                guint offset;
                uint64_t value;
                unsigned width;
        } changes[] = {
                { 0, 'e', 1 }, /* no ELF */
                { EI_CLASS, 3, 1 },
                { EI_DATA, 0, 1 },
                { 16, ET_EXEC, 2 },
                { 58, 63, 2 }, /* e_shentsize */
                { 60, 0, 2 },  /* e_shnum */
                { 60, 4, 2 },
                { 62, 0, 2 }, /* e_shstrndx */
                { 62, 3, 2 },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(changes); i++) {
                g_autoptr(GByteArray) file = native_module(info, sizeof(info));
                ModuleInfo parsed;

                put(file, changes[i].offset, changes[i].value, changes[i].width, false);
                cr_expect_eq(parse(file, &parsed), -ENOEXEC, "change %zu", i);
        }
}

/* -- unpacking ------------------------------------------------------------------------------------------ */

static GByteArray *pack(ModuleCompression how, const void *bytes, size_t size) {
        size_t room = compressBound((uLong) size) + 1024, n = 0;
        g_autofree uint8_t *out = g_malloc(room);
        GByteArray *result = g_byte_array_new();

        switch (how) {
        case MODULE_GZIP: {
                z_stream z = { .next_in = (Bytef *) (uintptr_t) bytes,
                        .avail_in = (uInt) size,
                        .next_out = out,
                        .avail_out = (uInt) room };

                cr_assert_eq(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
                cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
                n = z.total_out;
                deflateEnd(&z);
                break;
        }
        case MODULE_XZ:
                cr_assert_eq(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC32, NULL, bytes, size, out, &n, room),
                                LZMA_OK);
                break;
        case MODULE_ZSTD:
                n = ZSTD_compress(out, room, bytes, size, 3);
                cr_assert_not(ZSTD_isError(n));
                break;
        case MODULE_PLAIN:
        default:
                break;
        }

        g_byte_array_append(result, out, (guint) n);
        return result;
}

static const ModuleCompression compressions[] = { MODULE_GZIP, MODULE_XZ, MODULE_ZSTD };

Test(module_image, unpacks) {
        g_autofree uint8_t *bytes = g_malloc(5000000);

        for (size_t i = 0; i < 5000000; i++)
                bytes[i] = (uint8_t) (i * i >> 7);
        for (size_t c = 0; c < G_N_ELEMENTS(compressions); c++) {
                g_autoptr(GByteArray) packed = pack(compressions[c], bytes, 5000000);
                void *unpacked = NULL;
                size_t size = 0;

                cr_assert_eq(module_image_compression(packed->data, packed->len), compressions[c]);
                cr_assert_eq(module_decompressor_open(compressions[c]), 0);
                cr_assert_eq(module_decompress(compressions[c], packed->data, packed->len, &unpacked, &size),
                                0);
                cr_expect_eq(size, 5000000);
                cr_expect_eq(memcmp(unpacked, bytes, size), 0);
                free(unpacked);
        }
}

Test(module_image, unpacks_nothing_broken) {
        static const char text[] = "name=something that is long enough to be packed, packed, packed, packed";

        for (size_t c = 0; c < G_N_ELEMENTS(compressions); c++) {
                g_autoptr(GByteArray) packed = pack(compressions[c], text, sizeof(text));
                void *unpacked;
                size_t size;

                cr_assert_eq(module_decompressor_open(compressions[c]), 0);
                for (guint length = 0; length < packed->len; length++) {
                        g_autofree void *copy = g_memdup2(packed->data, length);

                        cr_expect_eq(module_decompress(compressions[c], copy, length, &unpacked, &size),
                                        -EINVAL, "%u of %u bytes of kind %zu", length, packed->len, c);
                }
        }
}

/* A few hundred KiB that would become more than is allowed. */
Test(module_image, unpacks_no_bomb, .timeout = 60) {
        size_t much = (size_t) MODULE_IMAGE_MAX + 1;
        void *zeros = mmap(NULL, much, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        cr_assert_neq(zeros, MAP_FAILED);
        for (size_t c = 0; c < G_N_ELEMENTS(compressions); c++) {
                g_autoptr(GByteArray) packed = NULL;
                void *unpacked;
                size_t size;

                if (compressions[c] == MODULE_XZ)
                        continue; /* takes half a minute to make */
                packed = pack(compressions[c], zeros, much);
                cr_assert_eq(module_decompressor_open(compressions[c]), 0);
                cr_expect_eq(module_decompress(compressions[c], packed->data, packed->len, &unpacked, &size),
                                -EFBIG);
        }
        munmap(zeros, much);
}

/* -- reading, in the child ------------------------------------------------------------------------------ */

static int file_with(const void *bytes, size_t size) {
        int fd = memfd_create("module", MFD_CLOEXEC);

        cr_assert_geq(fd, 0);
        cr_assert_eq(write(fd, bytes, size), (ssize_t) size);
        return fd;
}

static int read_file(int fd, bool compressed, ModuleInfo *ret) {
        const ModuleSource source = { .file_fd = fd, .compressed = compressed };
        int error = 1, r;

        r = module_image_read(&source, TIMEOUT, &error, ret);
        cr_assert_eq(r, 0, "module_image_read(): %s", strerror(-r));
        return error;
}

Test(module_image, reads_files) {
        static const char info[] = "name=some-module";
        g_autoptr(GByteArray) file = native_module(info, sizeof(info));
        ModuleInfo read;

        for (size_t c = 0; c <= G_N_ELEMENTS(compressions); c++) {
                bool plain = c == G_N_ELEMENTS(compressions);
                g_autoptr(GByteArray) packed =
                                plain ? g_byte_array_ref(file) : pack(compressions[c], file->data, file->len);
                _cleanup_close_ int fd = file_with(packed->data, packed->len);

                cr_expect_eq(read_file(fd, false, &read), 0, "kind %zu", c);
                cr_expect_str_eq(read.name, "some_module");
                cr_expect_eq(read_file(fd, true, &read), plain ? -EINVAL : 0, "kind %zu", c);
        }
}

Test(module_image, errors_of_files) {
        _cleanup_close_ int empty = file_with("", 0), text = file_with("#!/bin/sh\n", 10), directory = -1,
                            pipe_out = -1, pipe_in = -1;
        g_autoptr(GByteArray) foreign = module_new(true, true, EM_S390, "name=m", 7);
        _cleanup_close_ int other = file_with(foreign->data, foreign->len);
        ModuleInfo read;
        int pipes[2];

        directory = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
        pipe_out = pipes[0];
        pipe_in = pipes[1];
        cr_expect_eq(read_file(empty, false, &read), -EINVAL);
        cr_expect_eq(read_file(text, false, &read), -ENOEXEC);
        cr_expect_eq(read_file(directory, false, &read), -EINVAL);
        cr_expect_eq(read_file(pipe_out, false, &read), -EINVAL);
        cr_expect_eq(read_file(other, false, &read), -ENOEXEC);
        cr_assert_eq(ftruncate(text, (off_t) MODULE_IMAGE_MAX + 1), 0);
        cr_expect_eq(read_file(text, false, &read), -ENOMEM);
        cr_assert_eq(ftruncate(text, (off_t) 1 << 31), 0);
        cr_expect_eq(read_file(text, false, &read), -EFBIG);
}

/* -- the child's confinement ---------------------------------------------------------------------------- */

static int try_everything(void *userdata, void *ret, int *ret_fd) {
        int *failed = ret, fd = *(int *) userdata, r;
        void *memory;

        r = confine_worker(64u * 1024 * 1024);
        if (r < 0)
                return r;

        /* Each of these must fail; a bit says which didn't. */
        *failed |= fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
        *failed |= open("/dev/null", O_RDONLY) >= 0 ? 2 : 0;
        *failed |= kill(getppid(), 0) >= 0 ? 4 : 0;
        *failed |= write(2, "x", 1) >= 0 ? 8 : 0;
        *failed |= mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED
                                   ? 16
                                   : 0;
        *failed |= mmap(NULL, 128u * 1024 * 1024, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED
                                   ? 32
                                   : 0;
        memory = malloc(8u * 1024 * 1024);
        *failed |= memory ? 0 : 64;
        free(memory);
        return 7;
}

Test(module_image, confinement) {
        _cleanup_close_ int fd = file_with("x", 1);
        int failed = 0;

        cr_expect_eq(worker_run(try_everything, &fd, TIMEOUT, &failed, sizeof(failed), NULL), 7);
        cr_expect_eq(failed, 0, "0x%x", (unsigned) failed);
        cr_expect_geq(fcntl(fd, F_GETFD), 0, "it's the child's copy that's closed");
}

/* -- parameters ----------------------------------------------------------------------------------------- */

Test(module_parameters, are_written_anew) {
        static const struct {
                const char *text, *result, *refused;
        } cases[] = {
                { "", "", NULL },
                { "  \t\n ", "", NULL },
                { "a=1", "a=1", NULL },
                { " a=1   b ", "a=1 b", NULL },
                { "a=\"x y\"", "a=\"x y\"", NULL },
                { "\"a=x y\" b", "a=\"x y\" b", NULL },
                { "a=\"\"", "a=", NULL },
                { "a=", "a=", NULL },
                { "a==", "a==", NULL },
                { "c=1", NULL, "m.c" },
                { "a=1 c=1", NULL, "m.c" },
                { "a=1\nc=1", NULL, "m.c" },
                { "a=\"1 c=2", NULL, "" },
                { "a=1\"", NULL, "" },
                { "a=\"1\"c=2", NULL, "" },
                { "a\"b\"=1", NULL, "" },
                { "\"a\" b", "a b", NULL },
                { "--", NULL, "" },
                { "a=1 -- c=1", NULL, "" },
                { "=1", NULL, "" },
                { "\"\"", NULL, "" },
                { "m.a=1", NULL, "m.m.a" },
        };
        static const char text[] = "[Module]\nAllowModule=m\nAllowParameters=m.a m.b\n";
        g_autoptr(Policy) policy = NULL;

        cr_assert_eq(policy_load_text(text, strlen(text), "t", &policy), 0);
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *copy = g_strdup(cases[i].text), *fresh = NULL, *refused = NULL;
                int r;

                r = module_parameters_check(policy, "m", copy, &fresh, &refused);
                cr_expect_eq(r, cases[i].result ? 0 : -EPERM, "\"%s\"", cases[i].text);
                cr_expect_eq(g_strcmp0(fresh, cases[i].result), 0, "\"%s\" is \"%s\"", cases[i].text,
                                fresh ?: "NULL");
                cr_expect_str_eq(refused ?: "", cases[i].refused ?: "", "\"%s\"", cases[i].text);
        }
}
