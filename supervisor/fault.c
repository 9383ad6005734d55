/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "supervisor/fault.h"

#ifdef FAULT_INJECTION

#        include <fcntl.h>
#        include <signal.h>
#        include <string.h>
#        include <unistd.h>

#        define FAULT_FILE "/run/deputyd-fault"

void fault_point(const char *name) {
        static int fd = -1; /* kept, since the file can't be reached from everywhere */
        char text[64];
        ssize_t n;

        if (fd < 0)
                fd = open(FAULT_FILE, O_RDWR | O_CLOEXEC);
        if (fd < 0)
                return;

        n = pread(fd, text, sizeof(text) - 1, 0);
        if (n < 0)
                return;
        text[n] = 0;
        text[strcspn(text, "\n")] = 0;

        if (strcmp(text, name) == 0) {
                /* Emptied rather than removed: /run isn't writable with the caller's ids. */
                (void) ftruncate(fd, 0);
                (void) kill(getpid(), SIGKILL);
        }
}

#endif
