/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Newline-separated NAME=value assignments of which three decide the kind and one is an argument. The kinds
 * exclude each other, and a barrier must stand alone: it asks whether everything *before* it was processed.
 */

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "daemon/intake-message.h"

static const struct {
        const char *line;
        IntakeKind kind;
        size_t fds_min, fds_max;
} kinds[] = {
        { "DEPUTY_RUN=1", INTAKE_RUN, 1, 2 },
        { "FDSTORE=1", INTAKE_LISTENER, 1, 1 },
        { "BARRIER=1", INTAKE_BARRIER, 1, 1 },
};

#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static int copy_unit(const char *value, size_t size, IntakeMessage *message) {
        if (message->unit[0] || size == 0 || size > UNIT_NAME_MAX)
                return -EINVAL;

        for (size_t i = 0; i < size; i++)
                if (value[i] <= ' ' || value[i] == '/' || value[i] >= 0x7f)
                        return -EINVAL;

        memcpy(message->unit, value, size);
        message->unit[size] = 0;
        return 0;
}

int intake_message_parse(const char *data, size_t size, size_t n_fds, IntakeMessage *ret) {
        IntakeMessage message = {};
        size_t n_lines = 0, kind = N_KINDS;

        if (size > 0 && data[size - 1] == 0)
                size--;
        if (memchr(data, 0, size))
                return -EBADMSG;

        for (const char *p = data, *end = data + size; p < end;) {
                const char *newline = memchr(p, '\n', (size_t) (end - p));
                size_t n = (size_t) ((newline ?: end) - p);
                int r = 0;

                for (size_t i = 0; i < N_KINDS; i++)
                        if (n == strlen(kinds[i].line) && memcmp(p, kinds[i].line, n) == 0) {
                                if (kind != N_KINDS && kind != i)
                                        return -EINVAL;
                                kind = i;
                        }

                if (n >= strlen("UNIT=") && memcmp(p, "UNIT=", strlen("UNIT=")) == 0)
                        r = copy_unit(p + strlen("UNIT="), n - strlen("UNIT="), &message);
                if (r < 0)
                        return r;

                n_lines += n > 0;
                p += n + 1;
        }

        if (kind == N_KINDS)
                return -ENOMSG;
        if (kinds[kind].kind == INTAKE_BARRIER && n_lines != 1)
                return -EINVAL;
        if (n_fds < kinds[kind].fds_min || n_fds > kinds[kind].fds_max)
                return -EBADF;

        message.kind = kinds[kind].kind;
        *ret = message;
        return 0;
}
