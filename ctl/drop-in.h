/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The drop-in that "deputyctl enable" writes and "deputyctl disable" removes. Its first line says whose it
 * is; a file without it is never touched. The links to profiles that came with it stand in it too, so that
 * just those are removed with it. */

#include <glib.h>
#include <stdbool.h>

#define DROP_IN_NAME "50-deputyd.conf"

typedef struct DropInLink {
        char *path;
        char *target;
} DropInLink;

/* An array of DropInLink. */
GPtrArray *drop_in_links_new(void);
void drop_in_links_add(GPtrArray *links, const char *path, const char *target);
bool drop_in_links_contain(const GPtrArray *links, const char *path);

/* Below /etc, or below /run. Free with g_free(). */
char *drop_in_path(const char *unit, bool runtime);
char *drop_in_link_path(const char *unit, const char *profile, bool runtime);

/* Reads one. Return: 1 and the links that came with it, 0 if there's no such file, -EEXIST if it isn't ours,
 * another negative errno. */
int drop_in_read(const char *path, GPtrArray **ret_links);

/* Is the file one of ours? */
bool drop_in_is_ours(const char *path);

/* The text. "lines" are values of ExecStart=; if there are none, the unit's own stay. Free with g_free(). */
char *drop_in_compose(const GPtrArray *lines, const GPtrArray *links);

/* Writes a file as a whole or not at all, making its directory. Return: 0, or a negative errno. */
int write_file_atomically(const char *path, const char *text);

/* Makes a link, and its directory. Return: 1 if it was made, 0 if it was there already, -EEXIST if something
 * else is there, another negative errno. */
int make_link(const char *path, const char *target);
