/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Runs a program with nothing on its standard input and outputs and the environment that deputyd gives to the
 * programs that it starts, and waits until that process has ended (which, of one that becomes a daemon, is
 * when it's ready). Return: 0; or -1 and errno, ECHILD if it has failed. */
long start_program(const char *path, const char *const argv[]);
