/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/log.h"

static const char *const level_names[] = {
        [LOG_EMERG] = "emerg",
        [LOG_ALERT] = "alert",
        [LOG_CRIT] = "crit",
        [LOG_ERR] = "err",
        [LOG_WARNING] = "warning",
        [LOG_NOTICE] = "notice",
        [LOG_INFO] = "info",
        [LOG_DEBUG] = "debug",
};

static const char *log_program = "";
static int log_max_level = LOG_INFO;
static bool log_to_journal = false;

/* Is stderr the stream that $JOURNAL_STREAM ("DEVICE:INODE", systemd.exec(5)) names? */
static bool stderr_is_journal(void) {
        const char *e = getenv("JOURNAL_STREAM");
        unsigned long long device, inode;
        struct stat st;

        return e && sscanf(e, "%llu:%llu", &device, &inode) == 2 && fstat(STDERR_FILENO, &st) >= 0 &&
               st.st_dev == device && st.st_ino == inode;
}

void log_setup(const char *program_name) {
        const char *e = getenv("SYSTEMD_LOG_LEVEL");

        log_program = program_name;
        log_to_journal = stderr_is_journal();

        if (e) {
                int level = log_level_from_string(e);

                if (level >= 0)
                        log_max_level = level;
        }
}

void log_set_level(int level) {
        log_max_level = level;
}

int log_get_level(void) {
        return log_max_level;
}

int log_level_from_string(const char *name) {
        if (name[0] >= '0' && name[0] <= '7' && !name[1])
                return name[0] - '0';

        for (int i = LOG_EMERG; i <= LOG_DEBUG; i++)
                if (strcasecmp(name, level_names[i]) == 0)
                        return i;

        return -EINVAL;
}

const char *log_level_to_string(int level) {
        return level >= LOG_EMERG && level <= LOG_DEBUG ? level_names[level] : NULL;
}

int log_internal(int level, int error, const char *format, ...) {
        int saved = errno;

        if (level <= log_max_level) {
                char line[2048];
                va_list ap;
                int n = 0;

                if (log_to_journal)
                        n = snprintf(line, sizeof(line), "<%i>", level);
                else if (log_program[0])
                        n = snprintf(line, sizeof(line), "%s: ", log_program);

                errno = abs(error);
                va_start(ap, format);
                n += vsnprintf(line + n, sizeof(line) - (size_t) n - 1, format, ap);
                va_end(ap);

                if (n > (int) sizeof(line) - 2)
                        n = (int) sizeof(line) - 2;
                line[n++] = '\n';

                /* One write per line, so that lines of several processes don't mix. */
                (void) !write(STDERR_FILENO, line, (size_t) n);
        }

        errno = saved;
        return -abs(error);
}
