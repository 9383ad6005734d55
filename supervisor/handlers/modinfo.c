/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* An ELF reader for one purpose: the string "name=…" in .modinfo. Nothing in the file is trusted: each number
 * is read by load(), which knows where the file ends, and there's no arithmetic on numbers of the file that
 * isn't checked. It runs in a process that can do nothing else, see module-image.c; and it's fuzzed.
 *
 * The checks are those of the kernel's elf_validity_check() as far as they concern headers and sections, so
 * that broken input gets the same answer. */

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "supervisor/handlers/modinfo.h"

typedef struct File {
        const uint8_t *bytes;
        size_t size;
        bool is_64, is_big_endian;
} File;

typedef struct Section {
        uint32_t name, type;
        uint64_t flags, offset, size;
} Section;

/* Where the fields are, in files of both classes. */
typedef struct Layout {
        unsigned word; /* size of an address, offset or size */
        unsigned header_size, shoff, shentsize, shnum, shstrndx;
        unsigned section_size, sh_flags, sh_offset, sh_size;
} Layout;

static const Layout layouts[] = {
        [false] = { 4, sizeof(Elf32_Ehdr), offsetof(Elf32_Ehdr, e_shoff), offsetof(Elf32_Ehdr, e_shentsize),
                        offsetof(Elf32_Ehdr, e_shnum), offsetof(Elf32_Ehdr, e_shstrndx), sizeof(Elf32_Shdr),
                        offsetof(Elf32_Shdr, sh_flags), offsetof(Elf32_Shdr, sh_offset),
                        offsetof(Elf32_Shdr, sh_size) },
        [true] = { 8, sizeof(Elf64_Ehdr), offsetof(Elf64_Ehdr, e_shoff), offsetof(Elf64_Ehdr, e_shentsize),
                        offsetof(Elf64_Ehdr, e_shnum), offsetof(Elf64_Ehdr, e_shstrndx), sizeof(Elf64_Shdr),
                        offsetof(Elf64_Shdr, sh_flags), offsetof(Elf64_Shdr, sh_offset),
                        offsetof(Elf64_Shdr, sh_size) },
};

/* An unsigned number of 2, 4 or 8 bytes; 0 beyond the end, where callers look only by mistake. */
static uint64_t load(const File *file, uint64_t offset, unsigned width) {
        uint64_t n = 0;

        if (offset > file->size || width > file->size - offset)
                return 0;

        for (unsigned i = 0; i < width; i++)
                n |= (uint64_t) file->bytes[offset + i] << 8 * (file->is_big_endian ? width - 1 - i : i);

        return n;
}

static bool is_inside(const File *file, uint64_t offset, uint64_t size) {
        return offset <= file->size && size <= file->size - offset;
}

static Section load_section(const File *file, uint64_t shoff, uint64_t index) {
        const Layout *l = &layouts[file->is_64];
        uint64_t at = shoff + index * l->section_size; /* inside, as the whole table is */

        return (Section){
                .name = (uint32_t) load(file, at, 4),
                .type = (uint32_t) load(file, at + 4, 4),
                .flags = load(file, at + l->sh_flags, l->word),
                .offset = load(file, at + l->sh_offset, l->word),
                .size = load(file, at + l->sh_size, l->word),
        };
}

static bool section_is_called(
                const File *file, const Section *strings, const Section *section, const char *name) {
        size_t length = strlen(name) + 1; /* with its NUL */

        return section->name < strings->size && length <= strings->size - section->name &&
               memcmp(file->bytes + strings->offset + section->name, name, length) == 0;
}

/* The first "name=" among the NUL-terminated strings. */
static int read_name(const File *file, const Section *modinfo, char ret[static MODULE_NAME_MAX + 1]) {
        const char *p = (const char *) file->bytes + modinfo->offset, *end = p + modinfo->size;

        while (p < end) {
                const char *nul = memchr(p, 0, (size_t) (end - p));
                char name[MODULE_NAME_MAX + 1];
                size_t length;

                if (!nul)
                        break; /* A last string without an end isn't one. */

                length = (size_t) (nul - p);
                if (length < strlen("name=") || memcmp(p, "name=", strlen("name=")) != 0) {
                        p = nul + 1;
                        continue;
                }

                p += strlen("name=");
                length -= strlen("name=");
                if (length > MODULE_NAME_MAX)
                        return -ENOEXEC;

                memcpy(name, p, length + 1);
                if (!module_name_is_valid(name))
                        return -ENOEXEC;

                module_name_normalize(name);
                memcpy(ret, name, length + 1);
                return 0;
        }

        ret[0] = 0;
        return 0;
}

/* Finds .modinfo, and checks the table of sections on the way. Return: 0, also if there's none (size 0). */
static int find_modinfo(const File *file, Section *ret) {
        const Layout *l = &layouts[file->is_64];
        uint64_t shoff = load(file, l->shoff, l->word), shnum = load(file, l->shnum, 2),
                 shstrndx = load(file, l->shstrndx, 2);
        Section strings, found = {};

        if (load(file, l->shentsize, 2) != l->section_size ||
                        !is_inside(file, shoff, shnum * l->section_size) || shoff >= file->size)
                return -ENOEXEC;
        if (shstrndx == SHN_UNDEF || shstrndx >= shnum)
                return -ENOEXEC;

        strings = load_section(file, shoff, shstrndx);
        if (!is_inside(file, strings.offset, strings.size) || strings.size == 0 ||
                        file->bytes[strings.offset + strings.size - 1] != 0)
                return -ENOEXEC;

        for (uint64_t i = 0; i < shnum; i++) {
                Section section = load_section(file, shoff, i);

                if (i == 0) {
                        if (section.type != SHT_NULL || section.size != 0)
                                return -ENOEXEC;
                        continue;
                }
                if (section.type == SHT_NULL || section.type == SHT_NOBITS)
                        continue;
                if (!is_inside(file, section.offset, section.size) ||
                                ((section.flags & SHF_ALLOC) && section.name >= strings.size))
                        return -ENOEXEC;

                /* What isn't allocated isn't there, for the kernel. */
                if (found.size == 0 && (section.flags & SHF_ALLOC) &&
                                section_is_called(file, &strings, &section, ".modinfo"))
                        found = section;
        }

        *ret = found;
        return 0;
}

int modinfo_parse(const void *bytes, size_t size, ModuleInfo *ret) {
        File file = { .bytes = bytes, .size = size };
        ModuleInfo info = {};
        Section modinfo;
        int r;

        if (size < EI_NIDENT || memcmp(bytes, ELFMAG, SELFMAG) != 0)
                return -ENOEXEC;
        if ((file.bytes[EI_CLASS] != ELFCLASS32 && file.bytes[EI_CLASS] != ELFCLASS64) ||
                        (file.bytes[EI_DATA] != ELFDATA2LSB && file.bytes[EI_DATA] != ELFDATA2MSB))
                return -ENOEXEC;

        info.is_64 = file.is_64 = file.bytes[EI_CLASS] == ELFCLASS64;
        info.is_big_endian = file.is_big_endian = file.bytes[EI_DATA] == ELFDATA2MSB;
        if (size < layouts[file.is_64].header_size)
                return -ENOEXEC;

        /* e_type and e_machine are at the same place in both. */
        if (load(&file, offsetof(Elf64_Ehdr, e_type), 2) != ET_REL)
                return -ENOEXEC;
        info.machine = (uint16_t) load(&file, offsetof(Elf64_Ehdr, e_machine), 2);

        r = find_modinfo(&file, &modinfo);
        if (r < 0)
                return r;
        r = read_name(&file, &modinfo, info.name);
        if (r < 0)
                return r;

        *ret = info;
        return 0;
}

bool modinfo_is_native(const ModuleInfo *info) {
#if defined(__x86_64__)
        uint16_t machine = EM_X86_64;
#elif defined(__aarch64__)
        uint16_t machine = EM_AARCH64;
#else
        uint16_t machine = info->machine; /* The host's own module is what's loaded; this is but an errno. */
#endif

        return info->machine == machine && info->is_64 == (sizeof(void *) == 8) &&
               info->is_big_endian == (BYTE_ORDER == BIG_ENDIAN);
}
