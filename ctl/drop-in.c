/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/fd.h"
#include "ctl/drop-in.h"

#define MARKER "# Written by \"deputyctl enable\", removed by \"deputyctl disable\"."
#define LINK   "# Link: "
#define ARROW  " -> "

#define DROP_IN_SIZE_MAX (4u * 1024u * 1024u)

static void link_free(void *p) {
        DropInLink *link = p;

        g_free(link->path);
        g_free(link->target);
        g_free(link);
}

GPtrArray *drop_in_links_new(void) {
        return g_ptr_array_new_with_free_func(link_free);
}

void drop_in_links_add(GPtrArray *links, const char *path, const char *target) {
        DropInLink *link = g_new0(DropInLink, 1);

        link->path = g_strdup(path);
        link->target = g_strdup(target);
        g_ptr_array_add(links, link);
}

bool drop_in_links_contain(const GPtrArray *links, const char *path) {
        for (guint i = 0; i < links->len; i++)
                if (strcmp(((const DropInLink *) links->pdata[i])->path, path) == 0)
                        return true;

        return false;
}

char *drop_in_path(const char *unit, bool runtime) {
        return g_strdup_printf("%s/systemd/system/%s.d/" DROP_IN_NAME, runtime ? "/run" : SYSCONFDIR, unit);
}

/* A name that sorts before what people write, so that their files may take away from the profile. */
char *drop_in_link_path(const char *unit, const char *profile, bool runtime) {
        return g_strdup_printf(
                        "%s/deputyd/policy.d/%s.d/10-%s.conf", runtime ? "/run" : SYSCONFDIR, unit, profile);
}

static void read_link_line(const char *line, GPtrArray *links) {
        const char *arrow = strstr(line, ARROW);
        g_autofree char *path = NULL;

        if (!g_str_has_prefix(line, LINK) || !arrow)
                return;

        line += strlen(LINK);
        path = g_strndup(line, arrow - line);
        drop_in_links_add(links, path, arrow + strlen(ARROW));
}

int drop_in_read(const char *path, GPtrArray **ret_links) {
        g_autoptr(GPtrArray) links = drop_in_links_new();
        _cleanup_close_ int fd = -1;
        g_autofree char *text = NULL;
        g_auto(GStrv) lines = NULL;
        int r;

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
        if (fd < 0)
                return errno == ENOENT ? 0 : errno == ELOOP ? -EEXIST : -errno;

        r = read_fd_full(fd, DROP_IN_SIZE_MAX, &text, NULL);
        if (r < 0)
                return r;

        if (!g_str_has_prefix(text, MARKER "\n"))
                return -EEXIST;

        lines = g_strsplit(text, "\n", -1);
        for (char **l = lines; *l; l++)
                read_link_line(*l, links);

        *ret_links = g_steal_pointer(&links);
        return 1;
}

bool drop_in_is_ours(const char *path) {
        g_autoptr(GPtrArray) links = NULL;

        return drop_in_read(path, &links) > 0;
}

char *drop_in_compose(const GPtrArray *lines, const GPtrArray *links) {
        GString *text = g_string_new(
                        MARKER "\n"
                               "# Don't edit it: settings of your own belong into another drop-in.\n");

        for (guint i = 0; i < links->len; i++) {
                const DropInLink *link = links->pdata[i];

                g_string_append_printf(text, LINK "%s" ARROW "%s\n", link->path, link->target);
        }

        /* After the service too: at shutdown the unit then stops first, while its calls are still answered.
         */
        g_string_append(text, "[Unit]\nRequires=deputyd.socket\nAfter=deputyd.socket deputyd.service\n");
        if (lines->len > 0)
                g_string_append(text, "\n[Service]\nExecStart=\n");
        for (guint i = 0; i < lines->len; i++)
                g_string_append_printf(text, "ExecStart=%s\n", (char *) lines->pdata[i]);

        return g_string_free(text, FALSE);
}

static int make_directory_of(const char *path) {
        g_autofree char *directory = g_path_get_dirname(path);

        return g_mkdir_with_parents(directory, 0755) < 0 ? -errno : 0;
}

static int write_all(int fd, const char *text) {
        size_t size = strlen(text);

        while (size > 0) {
                ssize_t n = write(fd, text, size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;

                text += n;
                size -= n;
        }

        return fchmod(fd, 0644) < 0 || fsync(fd) < 0 ? -errno : 0;
}

int write_file_atomically(const char *path, const char *text) {
        g_autofree char *temporary = g_strdup_printf("%s.XXXXXX", path);
        _cleanup_close_ int fd = -1;
        int r;

        r = make_directory_of(path);
        if (r < 0)
                return r;

        fd = mkostemp(temporary, O_CLOEXEC);
        if (fd < 0)
                return -errno;

        r = write_all(fd, text);
        if (r >= 0 && rename(temporary, path) < 0)
                r = -errno;
        if (r < 0)
                (void) unlink(temporary);

        return r;
}

int make_link(const char *path, const char *target) {
        g_autofree char *present = NULL;
        int r;

        r = make_directory_of(path);
        if (r < 0)
                return r;

        if (symlink(target, path) >= 0)
                return 1;
        if (errno != EEXIST)
                return -errno;

        present = g_file_read_link(path, NULL);
        return g_strcmp0(present, target) == 0 ? 0 : -EEXIST;
}
