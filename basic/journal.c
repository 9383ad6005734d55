/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <endian.h>
#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "basic/fd.h"
#include "basic/journal.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

int journal_open(void) {
        static const struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET };
        _cleanup_close_ int fd = -1;

        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;

        if (connect(fd, (const struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;

        return TAKE_FD(fd);
}

int journal_send(int fd, const char *const *fields, size_t n) {
        g_autoptr(GString) datagram = g_string_sized_new(1024);

        for (size_t i = 0; i < n; i++) {
                const char *equals = strchr(fields[i], '=');
                uint64_t size;

                if (!equals)
                        return -EINVAL;

                if (!strchr(equals + 1, '\n'))
                        g_string_append(datagram, fields[i]);
                else {
                        /* A value with newlines: name, newline, its length as 64 bit little endian, the
                         * value. */
                        g_string_append_len(datagram, fields[i], equals - fields[i]);
                        g_string_append_c(datagram, '\n');
                        size = htole64(strlen(equals + 1));
                        g_string_append_len(datagram, (const char *) &size, sizeof(size));
                        g_string_append(datagram, equals + 1);
                }

                g_string_append_c(datagram, '\n');
        }

        if (send(fd, datagram->str, datagram->len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                return -errno;

        return 0;
}
