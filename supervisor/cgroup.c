/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "basic/fd.h"
#include "supervisor/cgroup.h"
#include "supervisor/kernel-files.h"

/* A container that nests deeper, or has more cgroups, is counted only in part. */
#define COUNT_DEPTH_MAX   64u
#define COUNT_CGROUPS_MAX 4096u

static const char *const v1_names[_CGROUP_CONTROLLER_MAX] = {
        [CGROUP_MEMORY] = "memory",
        [CGROUP_PIDS] = "pids",
        [CGROUP_CPU] = "cpuacct",
};

/* Is this word in a list that's separated by commas? */
static bool list_contains(const char *list, size_t length, const char *word) {
        size_t n = strlen(word);

        for (const char *p = list, *end = list + length; p < end;) {
                const char *comma = memchr(p, ',', (size_t) (end - p)) ?: end;

                if ((size_t) (comma - p) == n && memcmp(p, word, n) == 0)
                        return true;
                p = comma + 1;
        }

        return false;
}

/* Takes over a mount for a hierarchy, unless there's one already that shows more of it. */
static void take_mount(CgroupHierarchy *h, bool unified, const char *root, const char *point) {
        g_autofree char *path = g_strcompress(point); /* octal escapes of blanks and their like */
        int fd;

        if (h->root_fd >= 0 && strlen(h->mount_root) <= strlen(root))
                return;

        fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return;

        close_fd(h->root_fd);
        g_free(h->mount_root);
        *h = (CgroupHierarchy){ .root_fd = fd, .unified = unified, .mount_root = g_strcompress(root) };
}

/* One line of proc_pid_mountinfo(5): "36 35 98:0 ROOT POINT rw,noatime master:1 - TYPE SOURCE OPTIONS". */
static void take_line(CgroupTree *tree, char *line) {
        char *words[5] = {}, *state = NULL, *type, *source, *options, *tail;

        tail = strstr(line, " - ");
        if (!tail)
                return;
        *tail = 0;

        for (size_t i = 0; i < 5; i++) {
                words[i] = strtok_r(i == 0 ? line : NULL, " ", &state);
                if (!words[i])
                        return;
        }

        type = strtok_r(tail + 3, " ", &state);
        source = strtok_r(NULL, " ", &state);
        options = strtok_r(NULL, " ", &state);
        if (!type || !source || !options)
                return;

        if (strcmp(type, "cgroup2") == 0)
                take_mount(&tree->unified, true, words[3], words[4]);
        else if (strcmp(type, "cgroup") == 0)
                for (size_t i = 0; i < _CGROUP_CONTROLLER_MAX; i++)
                        if (list_contains(options, strlen(options), v1_names[i]))
                                take_mount(&tree->own[i], false, words[3], words[4]);
}

int cgroup_tree_open(const char *mountinfo, CgroupTree *ret) {
        g_auto(GStrv) lines = g_strsplit(mountinfo, "\n", -1);
        CgroupTree tree = { .unified = { .root_fd = -1 } };

        for (size_t i = 0; i < _CGROUP_CONTROLLER_MAX; i++)
                tree.own[i].root_fd = -1;

        for (char **line = lines; *line; line++)
                take_line(&tree, *line);

        *ret = tree;
        return 0;
}

static void close_hierarchy(CgroupHierarchy *h) {
        close_fd(h->root_fd);
        g_free(h->mount_root);
        *h = (CgroupHierarchy){ .root_fd = -1 };
}

void cgroup_tree_close(CgroupTree *tree) {
        close_hierarchy(&tree->unified);
        for (size_t i = 0; i < _CGROUP_CONTROLLER_MAX; i++)
                close_hierarchy(&tree->own[i]);
}

/* From a path in the hierarchy to one below the mount point. */
static int below_mount(const CgroupHierarchy *h, const char *path, size_t length,
                char ret[static CGROUP_PATH_SIZE]) {
        size_t skip = strcmp(h->mount_root, "/") == 0 ? 0 : strlen(h->mount_root);

        if (length < skip || memcmp(path, h->mount_root, skip) != 0 || (length > skip && path[skip] != '/'))
                return -EXDEV;

        path += skip;
        length -= skip;
        while (length > 0 && *path == '/') {
                path++;
                length--;
        }

        /* Outside of our cgroup namespace. No cgroup has such a name. */
        if (length >= CGROUP_PATH_SIZE ||
                        (length >= 2 && memcmp(path, "..", 2) == 0 && (length == 2 || path[2] == '/')))
                return -EXDEV;

        memcpy(ret, path, length);
        ret[length] = 0;
        return 0;
}

/* Looks in lines "NUMBER:CONTROLLERS:PATH", without controllers in v2. */
static const CgroupHierarchy *find_in(const CgroupHierarchy *h, const char *controller, const char *text,
                char path[static CGROUP_PATH_SIZE]) {
        if (h->root_fd < 0)
                return NULL;

        for (const char *line = text; *line;) {
                const char *end = strchrnul(line, '\n'), *list = strchr(line, ':'), *p;

                if (!list || list > end)
                        return NULL;
                list++;
                p = strchr(list, ':');
                if (!p || p > end)
                        return NULL;

                if (h->unified ? p == list : list_contains(list, (size_t) (p - list), controller))
                        return below_mount(h, p + 1, (size_t) (end - p - 1), path) < 0 ? NULL : h;

                line = *end ? end + 1 : end;
        }

        return NULL;
}

const CgroupHierarchy *cgroup_find(const CgroupTree *tree, CgroupController controller, const char *text,
                char path[static CGROUP_PATH_SIZE]) {
        const CgroupHierarchy *own = &tree->own[controller];

        return find_in(own->root_fd >= 0 ? own : &tree->unified, v1_names[controller], text, path);
}

const CgroupHierarchy *cgroup_find_unified(
                const CgroupTree *tree, const char *text, char path[static CGROUP_PATH_SIZE]) {
        return find_in(&tree->unified, NULL, text, path);
}

int cgroup_open_file(const CgroupHierarchy *hierarchy, const char *path, size_t length, const char *file) {
        char name[CGROUP_PATH_SIZE + 64];
        int fd;

        g_assert(length < CGROUP_PATH_SIZE);

        snprintf(name, sizeof(name), "%.*s%s%s", (int) length, path, length > 0 ? "/" : "", file);
        fd = openat(hierarchy->root_fd, name, O_RDONLY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

int cgroup_read_number(int fd, uint64_t *ret) {
        char text[32], *end;
        ssize_t n;
        uint64_t v;

        n = read_kernel_file_piece(fd, text, sizeof(text));
        if (n < 0)
                return (int) n;

        if (strcmp(text, "max\n") == 0 || strcmp(text, "max") == 0) {
                *ret = UINT64_MAX;
                return 0;
        }

        if (!g_ascii_isdigit(text[0]))
                return -EBADMSG;
        errno = 0;
        v = strtoull(text, &end, 10);
        if (errno != 0 || (*end != '\n' && *end != 0))
                return -EBADMSG;

        *ret = v;
        return 0;
}

int cgroup_parse_field(const char *text, const char *name, uint64_t *ret) {
        size_t n = strlen(name);

        for (const char *line = text; *line;) {
                if (strncmp(line, name, n) == 0 && line[n] == ' ' && g_ascii_isdigit(line[n + 1])) {
                        *ret = strtoull(line + n + 1, NULL, 10);
                        return 0;
                }

                line = strchrnul(line, '\n');
                if (*line)
                        line++;
        }

        return -ENODATA;
}

static int count_list(int dir_fd, const char *file, unsigned max, unsigned *count) {
        _cleanup_close_ int fd = -1;
        char buffer[16384];

        fd = openat(dir_fd, file, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;

        while (*count < max) {
                ssize_t n = read(fd, buffer, sizeof(buffer));

                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                for (const char *p = buffer; p < buffer + n && *count < max; p++)
                        *count += *p == '\n';
        }

        return 0;
}

typedef struct Count {
        const char *file;
        unsigned tasks, cgroups, max;
} Count;

/* Takes over the descriptor of the directory. */
static void count_below(int dir_fd, unsigned depth, Count *count) {
        DIR *dir;

        (void) count_list(dir_fd, count->file, count->max, &count->tasks);

        dir = fdopendir(dir_fd);
        if (!dir) {
                close_fd(dir_fd);
                return;
        }

        for (struct dirent *d; depth < COUNT_DEPTH_MAX && count->tasks < count->max && (d = readdir(dir));) {
                int fd;

                if (d->d_type != DT_DIR || d->d_name[0] == '.' || ++count->cgroups > COUNT_CGROUPS_MAX)
                        continue;

                fd = openat(dirfd(dir), d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (fd >= 0)
                        count_below(fd, depth + 1, count);
        }

        (void) closedir(dir);
}

int cgroup_count_tasks(const CgroupHierarchy *hierarchy, const char *path, unsigned max, unsigned *ret) {
        Count count = { .file = hierarchy->unified ? "cgroup.threads" : "tasks", .max = max };
        int fd;

        fd = openat(hierarchy->root_fd, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;

        count_below(fd, 0, &count);
        *ret = count.tasks;
        return 0;
}
