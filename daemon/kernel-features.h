/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the running kernel can do of what deputyd makes use of, found out by asking it. Return: names, free
 * with g_strfreev(). */
char **features_probe(void);
