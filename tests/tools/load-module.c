/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* finit_module(2) and init_module(2) exactly as told: prints what each returned, "0 OK" or "-1 EEXIST". With
 * "race", one thread changes what the call refers to while another makes it. */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct Buffer {
        char *bytes;
        size_t size;
} Buffer;

static atomic_bool stop;
static Buffer shared, variants[2];

static void die(const char *what) {
        fprintf(stderr, "load-module: %s: %s\n", what, strerror(errno));
        exit(125);
}

static void usage(FILE *stream) {
        fputs("Usage: load-module finit FILE FLAGS PARAMETERS\n"
              "       load-module init FILE SIZE PARAMETERS\n"
              "       load-module race-image N FILE FILE     init_module of a buffer that's now one, now the "
              "other\n"
              "       load-module race-parameters N FILE TEXT TEXT\n"
              "FILE: a path, w:PATH (write-only), p:PATH (O_PATH), a number; for init also @bad, @null.\n"
              "SIZE: 0 for the file's. PARAMETERS: a text, @bad, @null, @long:N.\n",
                        stream);
}

static Buffer contents(const char *path) {
        Buffer buffer = {};
        struct stat st;
        int fd;

        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0)
                die(path);
        buffer.size = (size_t) st.st_size;
        buffer.bytes = mmap(
                        NULL, buffer.size + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (buffer.bytes == MAP_FAILED || read(fd, buffer.bytes, buffer.size) != st.st_size)
                die(path);
        close(fd);
        return buffer;
}

static const char *text(const char *word) {
        if (strcmp(word, "@bad") == 0)
                return (const char *) (uintptr_t) 8;
        if (strcmp(word, "@null") == 0)
                return NULL;
        if (strncmp(word, "@long:", 6) == 0) {
                size_t size = strtoul(word + 6, NULL, 0);
                char *p = calloc(1, size + 1);

                if (!p)
                        die("calloc");
                memset(p, ' ', size);
                return p;
        }
        return word;
}

static int descriptor(const char *word) {
        int fd, flags = O_RDONLY;

        if (word[0] == '-' || (word[0] >= '0' && word[0] <= '9'))
                return atoi(word);
        if (word[0] && word[1] == ':') {
                flags = word[0] == 'w' ? O_WRONLY : O_PATH;
                word += 2;
        }
        fd = open(word, flags | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
                die(word);
        return fd;
}

static const char *name_of(long r) {
        const char *name = r >= 0 ? "OK" : strerrorname_np(errno);

        return name ? name : "?";
}

static long init(const char *file, size_t size, const char *parameters) {
        Buffer buffer = {};

        if (file[0] == '@')
                buffer.bytes = (char *) (uintptr_t) text(file);
        else
                buffer = contents(file);
        return syscall(SYS_init_module, buffer.bytes, size ? size : buffer.size, parameters);
}

static void *flip(void *p) {
        for (unsigned i = 0; !atomic_load(&stop); i++) {
                memcpy(shared.bytes, variants[i & 1].bytes, variants[i & 1].size);
                for (volatile unsigned k = 0; k < 2000; k++)
                        ;
        }
        return NULL;
}

/* Prints how often each result came. */
static void race(unsigned n, const char *file) {
        unsigned counts[4096] = {};
        pthread_t thread;

        shared.size = variants[0].size > variants[1].size ? variants[0].size : variants[1].size;
        shared.bytes = calloc(1, shared.size + 1);
        if (!shared.bytes)
                die("calloc");
        memcpy(shared.bytes, variants[0].bytes, variants[0].size);
        errno = pthread_create(&thread, NULL, flip, NULL);
        if (errno)
                die("pthread_create");
        for (unsigned i = 0; i < n; i++) {
                int fd = file ? descriptor(file) : -1;
                long r = file ? syscall(SYS_finit_module, fd, shared.bytes, 0)
                              : syscall(SYS_init_module, shared.bytes, shared.size, "");

                counts[r < 0 ? errno : 0]++;
                if (fd >= 0)
                        close(fd);
        }
        atomic_store(&stop, true);
        pthread_join(thread, NULL);
        for (int i = 0; i < 4096; i++)
                if (counts[i] > 0)
                        printf("%s %u\n", i ? strerrorname_np(i) : "OK", counts[i]);
}

int main(int argc, char *argv[]) {
        long r;

        if (argc == 2 && strcmp(argv[1], "--help") == 0) {
                usage(stdout);
                return 0;
        }
        if (argc == 5 && strcmp(argv[1], "finit") == 0)
                r = syscall(SYS_finit_module, descriptor(argv[2]), text(argv[4]), strtol(argv[3], NULL, 0));
        else if (argc == 5 && strcmp(argv[1], "init") == 0)
                r = init(argv[2], strtoul(argv[3], NULL, 0), text(argv[4]));
        else if (argc == 5 && strcmp(argv[1], "race-image") == 0) {
                variants[0] = contents(argv[3]);
                variants[1] = contents(argv[4]);
                race((unsigned) atoi(argv[2]), NULL);
                return 0;
        } else if (argc == 6 && strcmp(argv[1], "race-parameters") == 0) {
                variants[0] = (Buffer){ argv[4], strlen(argv[4]) + 1 };
                variants[1] = (Buffer){ argv[5], strlen(argv[5]) + 1 };
                race((unsigned) atoi(argv[2]), argv[3]);
                return 0;
        } else {
                usage(stderr);
                return 125;
        }

        printf("%ld %s\n", r, name_of(r));
        return 0;
}
