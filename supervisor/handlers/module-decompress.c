/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* .ko.gz, .ko.xz, .ko.zst: by the libraries for them. What they need of memory is bounded: the result by
 * MODULE_IMAGE_MAX, the rest by what modules are packed with. */

#include <errno.h>
#include <glib.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "supervisor/handlers/module-image.h"
#include "supervisor/library.h"

#define CHUNK_MIN       (1024u * 1024u)
#define XZ_MEMORY_MAX   (256u * 1024u * 1024u)
#define ZSTD_WINDOW_LOG 27 /* 128 MiB */

static struct {
        int (*inflateInit2_)(z_stream *stream, int bits, const char *version, int size);
        int (*inflate)(z_stream *stream, int flush);
        int (*inflateEnd)(z_stream *stream);
} gzip;

static struct {
        lzma_ret (*lzma_stream_decoder)(lzma_stream *stream, uint64_t memory, uint32_t flags);
        lzma_ret (*lzma_code)(lzma_stream *stream, lzma_action action);
        void (*lzma_end)(lzma_stream *stream);
} xz;

static struct {
        ZSTD_DCtx *(*ZSTD_createDCtx)(void);
        size_t (*ZSTD_DCtx_setParameter)(ZSTD_DCtx *context, ZSTD_dParameter parameter, int value);
        size_t (*ZSTD_decompressStream)(ZSTD_DCtx *context, ZSTD_outBuffer *out, ZSTD_inBuffer *in);
        size_t (*ZSTD_freeDCtx)(ZSTD_DCtx *context);
        unsigned (*ZSTD_isError)(size_t code);
} zstd;

#define SYMBOL(library, name)                                                                                \
        { #name, &library.name }

/* A result that grows. */
typedef struct Output {
        unsigned char *bytes;
        size_t size, allocated;
} Output;

static int output_grow(Output *output) {
        size_t wanted = output->allocated > 0 ? output->allocated * 2 : CHUNK_MIN;
        unsigned char *bytes;

        if (output->allocated >= MODULE_IMAGE_MAX)
                return -EFBIG;

        bytes = realloc(output->bytes, MIN(wanted, MODULE_IMAGE_MAX));
        if (!bytes)
                return -ENOMEM;

        output->bytes = bytes;
        output->allocated = MIN(wanted, MODULE_IMAGE_MAX);
        return 0;
}

ModuleCompression module_image_compression(const void *bytes, size_t size) {
        static const struct {
                ModuleCompression compression;
                unsigned length;
                unsigned char magic[6];
        } known[] = {
                { MODULE_GZIP, 2, { 0x1f, 0x8b } },
                { MODULE_XZ, 6, { 0xfd, '7', 'z', 'X', 'Z', 0 } },
                { MODULE_ZSTD, 4, { 0x28, 0xb5, 0x2f, 0xfd } },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(known); i++)
                if (size >= known[i].length && memcmp(bytes, known[i].magic, known[i].length) == 0)
                        return known[i].compression;

        return MODULE_PLAIN;
}

int module_decompressor_open(ModuleCompression compression) {
        static const LibrarySymbol gzip_symbols[] = {
                SYMBOL(gzip, inflateInit2_),
                SYMBOL(gzip, inflate),
                SYMBOL(gzip, inflateEnd),
        };
        static const LibrarySymbol xz_symbols[] = {
                SYMBOL(xz, lzma_stream_decoder),
                SYMBOL(xz, lzma_code),
                SYMBOL(xz, lzma_end),
        };
        static const LibrarySymbol zstd_symbols[] = {
                SYMBOL(zstd, ZSTD_createDCtx),
                SYMBOL(zstd, ZSTD_DCtx_setParameter),
                SYMBOL(zstd, ZSTD_decompressStream),
                SYMBOL(zstd, ZSTD_freeDCtx),
                SYMBOL(zstd, ZSTD_isError),
        };

        switch (compression) {
        case MODULE_GZIP:
                return library_open("libz.so.1", gzip_symbols, G_N_ELEMENTS(gzip_symbols));
        case MODULE_XZ:
                return library_open("liblzma.so.5", xz_symbols, G_N_ELEMENTS(xz_symbols));
        case MODULE_ZSTD:
                return library_open("libzstd.so.1", zstd_symbols, G_N_ELEMENTS(zstd_symbols));
        case MODULE_PLAIN:
        default:
                return 0;
        }
}

static int decompress_gzip(const void *bytes, size_t size, Output *output) {
        z_stream stream = { .next_in = (unsigned char *) (uintptr_t) bytes, .avail_in = (unsigned) size };
        int r, z;

        if (gzip.inflateInit2_(&stream, 16 + MAX_WBITS, ZLIB_VERSION, (int) sizeof(stream)) != Z_OK)
                return -ENOMEM;

        do {
                r = output->size == output->allocated ? output_grow(output) : 0;
                if (r < 0)
                        break;

                stream.next_out = output->bytes + output->size;
                stream.avail_out = (unsigned) (output->allocated - output->size);
                z = gzip.inflate(&stream, Z_NO_FLUSH);
                output->size = output->allocated - stream.avail_out;
                /* Without an end it could go on for ever, or wait for more input for ever. */
                if (z != Z_OK && z != Z_STREAM_END)
                        r = -EINVAL;
        } while (r >= 0 && z != Z_STREAM_END);

        (void) gzip.inflateEnd(&stream);
        return r;
}

static int decompress_xz(const void *bytes, size_t size, Output *output) {
        lzma_stream stream = LZMA_STREAM_INIT;
        lzma_ret z;
        int r;

        if (xz.lzma_stream_decoder(&stream, XZ_MEMORY_MAX, 0) != LZMA_OK)
                return -ENOMEM;

        stream.next_in = bytes;
        stream.avail_in = size;
        do {
                r = output->size == output->allocated ? output_grow(output) : 0;
                if (r < 0)
                        break;

                stream.next_out = output->bytes + output->size;
                stream.avail_out = output->allocated - output->size;
                z = xz.lzma_code(&stream, LZMA_FINISH);
                output->size = output->allocated - stream.avail_out;
                if (z == LZMA_MEM_ERROR || z == LZMA_MEMLIMIT_ERROR)
                        r = -ENOMEM;
                else if (z != LZMA_OK && z != LZMA_STREAM_END)
                        r = -EINVAL;
        } while (r >= 0 && z != LZMA_STREAM_END);

        xz.lzma_end(&stream);
        return r;
}

static int decompress_zstd(const void *bytes, size_t size, Output *output) {
        ZSTD_inBuffer in = { bytes, size, 0 };
        ZSTD_DCtx *context;
        size_t left;
        int r = 0;

        context = zstd.ZSTD_createDCtx();
        if (!context)
                return -ENOMEM;
        if (zstd.ZSTD_isError(zstd.ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG)))
                r = -EINVAL;

        while (r >= 0) {
                ZSTD_outBuffer out;

                r = output->size == output->allocated ? output_grow(output) : 0;
                if (r < 0)
                        break;

                out = (ZSTD_outBuffer){ output->bytes, output->allocated, output->size };
                left = zstd.ZSTD_decompressStream(context, &out, &in);
                output->size = out.pos;
                if (zstd.ZSTD_isError(left))
                        r = -EINVAL;
                else if (left == 0)
                        break; /* The end of the frame. */
                else if (in.pos == in.size && out.pos < out.size)
                        r = -EINVAL; /* It's cut off. */
        }

        (void) zstd.ZSTD_freeDCtx(context);
        return r;
}

int module_decompress(
                ModuleCompression compression, const void *bytes, size_t size, void **ret, size_t *ret_size) {
        Output output = {};
        int r;

        switch (compression) {
        case MODULE_GZIP:
                r = decompress_gzip(bytes, size, &output);
                break;
        case MODULE_XZ:
                r = decompress_xz(bytes, size, &output);
                break;
        case MODULE_ZSTD:
                r = decompress_zstd(bytes, size, &output);
                break;
        case MODULE_PLAIN:
        default:
                r = -EINVAL;
        }

        if (r < 0) {
                free(output.bytes);
                return r;
        }

        *ret = output.bytes;
        *ret_size = output.size;
        return 0;
}
