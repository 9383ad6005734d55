/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the kernel shows as files: procfs, sysfs, cgroups and their like. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Is what the descriptor refers to part of a file system by which the kernel shows and takes what it's told?
 * Whether such a file opens, and what's in it, may depend on who opens it beyond its mode, and programs of
 * the host believe what they read there. Yes if it can't be told. */
bool is_kernel_file(int fd);

/* Opens such a file by its name in a directory and reads it, as a text that ends with NUL and is cut off
 * where the buffer ends. Return: the length of the text, or a negative errno. */
ssize_t read_kernel_file_at(int directory_fd, const char *name, char *buffer, size_t size);

/* Reads an open one from its start, if it's of one piece as those of cgroups and most of /proc/TID are, and
 * not with a line for each of many things: it does without the read that would only say that there's no more.
 * Return: as above. */
ssize_t read_kernel_file_piece(int fd, char *buffer, size_t size);
