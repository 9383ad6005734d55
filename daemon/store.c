/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* PID 1 hands stored descriptors back in any order, with their names in one environment variable of limited
 * length (daemon-limits.h). So names are a letter and a number in hex, "l3f" for a listener and "s3f" for the
 * state of the same target, and the link RUNTIME_DIRECTORY/targets/ID says which target the number stands for
 * and what else has to be known of it. PID 1 polls listeners itself and drops those whose last task is gone.
 *
 * It leads nowhere: what it says is the text that it would lead to. A file would take a page of memory for
 * each idle target, as the runtime directory is a tmpfs; a link of up to 127 bytes takes just these. */

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "daemon/daemon-limits.h"
#include "daemon/store.h"
#include "daemon/target-supervisor.h"

/* The words of an entry: number, leader, user id, time of its start in µs, calls of the filter as a mask or
 * "-", unit or "-", and why it's pass-through, which may be several words or none. */
enum {
        WORD_NUMBER,
        WORD_LEADER,
        WORD_UID,
        WORD_TIMESTAMP,
        WORD_CALLS,
        WORD_UNIT,
        WORD_REASON,
        _WORD_MAX,
};

static char *entry_path(const Manager *m, const char *id) {
        return g_strdup_printf("%s/targets/%s", m->runtime_directory, id);
}

static int choose_number(Manager *m, uint16_t *ret) {
        for (unsigned i = 0; i < TARGETS_MAX; i++) {
                m->store_number_last = m->store_number_last % TARGETS_MAX + 1;

                if (!g_hash_table_contains(m->store_numbers, GUINT_TO_POINTER(m->store_number_last))) {
                        *ret = (uint16_t) m->store_number_last;
                        return 0;
                }
        }

        return -EUSERS;
}

static int push(char kind, unsigned number, int fd) {
        g_autofree char *message = g_strdup_printf("FDSTORE=1\nFDNAME=%c%x", kind, number);
        int r;

        r = sd_pid_notify_with_fds(0, 0, message, &fd, 1);
        return r < 0 ? r : 0;
}

static void pop(const char *name) {
        (void) sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", name);
}

int store_write_entry(const Target *t) {
        g_autofree char *path = entry_path(t->manager, t->id);
        g_autofree char *text = NULL;
        char calls[sizeof(t->calls) * 2 + 1] = "-";

        if (t->calls_known)
                snprintf(calls, sizeof(calls), "%" G_GINT64_MODIFIER "x", t->calls);

        text = g_strdup_printf("%x %i %u %" G_GUINT64_FORMAT " %s %s%s%s", t->store_number, (int) t->leader,
                        (unsigned) t->uid, t->timestamp_usec, calls,
                        t->policy->unit[0] ? t->policy->unit : "-", t->reason ? " " : "", t->reason ?: "");

        if (symlink(text, path) < 0)
                return log_warning_errno(errno, "Failed to make %s: %m", path);

        return 0;
}

int store_push_listener(Target *t) {
        Manager *m = t->manager;
        int r;

        if (!m->store_works)
                return 0;

        r = choose_number(m, &t->store_number);
        if (r < 0)
                return r;
        g_hash_table_add(m->store_numbers, GUINT_TO_POINTER((guint) t->store_number));

        r = store_write_entry(t);
        if (r < 0)
                return r;

        return push('l', t->store_number, t->listener);
}

int store_push_state(Target *t) {
        if (t->store_number == 0)
                return 0;

        return push('s', t->store_number, t->state_fd);
}

void store_remove(Target *t) {
        g_autofree char *path = NULL;
        char name[8];

        if (t->store_number == 0)
                return;

        path = entry_path(t->manager, t->id);
        (void) unlink(path);

        snprintf(name, sizeof(name), "l%x", t->store_number);
        pop(name);
        if (t->state_fd >= 0) {
                name[0] = 's';
                pop(name);
        }

        g_hash_table_remove(t->manager->store_numbers, GUINT_TO_POINTER((guint) t->store_number));
        t->store_number = 0;
}

/* What PID 1 kept, by number. */
typedef struct StoredFds {
        int listener;
        int state;
} StoredFds;

static void stored_fds_free(void *p) {
        StoredFds *fds = p;

        close_fd(fds->listener);
        close_fd(fds->state);
        g_free(fds);
}

static void stored_fds_add(GHashTable *stored, char kind, unsigned number, int fd) {
        StoredFds *fds = g_hash_table_lookup(stored, GUINT_TO_POINTER(number));
        int *p;

        if (!fds) {
                fds = g_new(StoredFds, 1);
                *fds = (StoredFds){ -1, -1 };
                g_hash_table_insert(stored, GUINT_TO_POINTER(number), fds);
        }

        p = kind == 'l' ? &fds->listener : &fds->state;
        close_fd(*p);
        *p = fd;
}

/* Sorts out the descriptors that we were started with. Return: 0, or a negative errno. */
static int take_fds(Manager *m, GHashTable *stored) {
        char **names = NULL;
        int n;

        n = sd_listen_fds_with_names(1, &names);
        if (n < 0)
                return log_error_errno(n, "Failed to take the service manager's descriptors: %m");

        for (int i = 0; i < n; i++) {
                int fd = SD_LISTEN_FDS_START + i;
                unsigned number;
                char kind, rest;

                if (strcmp(names[i], "notify") == 0 && m->notify_fd < 0 &&
                                sd_is_socket_unix(fd, SOCK_DGRAM, -1, NULL, 0) > 0)
                        m->notify_fd = fd;
                else if (sscanf(names[i], "%c%x%c", &kind, &number, &rest) == 2 &&
                                (kind == 'l' || kind == 's') && number > 0 && number <= TARGETS_MAX &&
                                (kind != 'l' || fd_is_seccomp_listener(fd) > 0))
                        stored_fds_add(stored, kind, number, fd);
                else {
                        log_warning("The service manager passes the unexpected descriptor '%s', which is "
                                    "dropped",
                                        names[i]);
                        close_fd(fd);
                        pop(names[i]);
                }

                free(names[i]);
        }

        free(names);
        return 0;
}

typedef struct Entry {
        unsigned number;
        int leader;
        unsigned uid;
        uint64_t timestamp_usec;
        bool calls_known;
        CallSet calls;
        const char *unit;
        const char *reason;
} Entry;

/* Return: -EBADMSG if it's none of ours. The entry points to the words. */
static int parse_entry(char **words, Entry *ret) {
        unsigned n = g_strv_length(words);

        if (n < WORD_REASON)
                return -EBADMSG;

        *ret = (Entry){
                .number = (unsigned) strtoul(words[WORD_NUMBER], NULL, 16),
                .leader = (int) strtol(words[WORD_LEADER], NULL, 10),
                .uid = (unsigned) strtoul(words[WORD_UID], NULL, 10),
                .timestamp_usec = g_ascii_strtoull(words[WORD_TIMESTAMP], NULL, 10),
                .calls_known = strcmp(words[WORD_CALLS], "-") != 0,
                .calls = g_ascii_strtoull(words[WORD_CALLS], NULL, 16) & (CALL_BIT(_CALL_MAX) - 1),
                .unit = strcmp(words[WORD_UNIT], "-") != 0 ? words[WORD_UNIT] : "",
                .reason = n > WORD_REASON ? words[WORD_REASON] : NULL,
        };
        return 0;
}

static void adopt_state(Target *t, int state_fd) {
        int r;

        t->state_fd = state_fd;
        r = target_map_state(t);
        if (r > 0)
                (void) supervisor_adopt_slots(t);
        else if (r < 0) {
                (void) log_warning_errno(r,
                                "The state of target %s can't be used, its counters start over: %m", t->id);
                t->state_fd = close_fd(t->state_fd);
        }
}

/* Makes the target again that the predecessor had. Takes the descriptors out of "fds" that it uses. */
static int restore_target(Manager *m, const char *id, const Entry *entry, StoredFds *fds, Target **ret) {
        g_autoptr(UnitPolicy) policy = NULL;
        TargetParameters parameters;
        Target *t;
        int r;

        r = unit_policy_get(m, entry->unit, &policy);
        if (r < 0)
                return r;

        parameters = (TargetParameters){
                .id = id,
                .policy = policy,
                .listener = fds->listener,
                .leader_pidfd = -1,
                .leader = entry->leader,
                .uid = entry->uid,
                .restored = true,
                .calls_known = entry->calls_known,
                .calls = entry->calls,
                .reason = entry->reason,
                .timestamp_usec = entry->timestamp_usec,
        };

        r = target_new(m, &parameters, &t);
        if (r < 0)
                return r;

        fds->listener = -1;
        t->store_number = (uint16_t) entry->number;
        g_hash_table_add(m->store_numbers, GUINT_TO_POINTER(entry->number));
        if (fds->state >= 0)
                adopt_state(t, TAKE_FD(fds->state));
        t->announced = true;
        t->status_shown = (uint8_t) target_status(t);

        target_serve_orphans(t);
        target_update(t);

        *ret = t;
        return 0;
}

static bool is_target_id(const char *name) {
        return strlen(name) == TARGET_ID_SIZE - 1 && strspn(name, "0123456789abcdef") == TARGET_ID_SIZE - 1;
}

static int restore_entry(Manager *m, const char *id, GHashTable *stored) {
        g_autofree char *path = entry_path(m, id), *text = NULL;
        g_auto(GStrv) words = NULL;
        StoredFds *fds = NULL;
        Entry entry;
        Target *t;
        int r;

        text = g_file_read_link(path, NULL);
        words = g_strsplit(text ?: "", " ", _WORD_MAX);
        if (parse_entry(words, &entry) >= 0)
                fds = g_hash_table_lookup(stored, GUINT_TO_POINTER(entry.number));
        if (!fds || fds->listener < 0) {
                (void) unlink(path);
                return 0;
        }

        r = restore_target(m, id, &entry, fds, &t);
        if (r >= 0)
                g_hash_table_remove(stored, GUINT_TO_POINTER(entry.number));

        return r;
}

/* A listener of which we know nothing: it's served, since its callers wait, but nothing is lent. */
static void restore_unknown(Manager *m, GHashTable *stored) {
        GHashTableIter i;
        gpointer key, value;

        g_hash_table_iter_init(&i, stored);
        while (g_hash_table_iter_next(&i, &key, &value)) {
                const Entry entry = {
                        .number = GPOINTER_TO_UINT(key),
                        .unit = "",
                        .reason = "What said which unit it belongs to is lost",
                };
                StoredFds *fds = value;
                Target *t;

                if (fds->listener < 0) {
                        g_autofree char *name = g_strdup_printf("s%x", entry.number);

                        pop(name);
                        continue;
                }

                if (restore_target(m, NULL, &entry, fds, &t) >= 0)
                        (void) store_write_entry(t);
        }
}

int store_restore(Manager *m) {
        g_autoptr(GHashTable) stored = g_hash_table_new_full(NULL, NULL, NULL, stored_fds_free);
        g_autofree char *directory = g_strdup_printf("%s/targets", m->runtime_directory);
        unsigned n;
        DIR *d;
        int r;

        r = take_fds(m, stored);
        if (r < 0)
                return r;

        if (!m->store_works)
                return 0;

        if (mkdir(directory, 0755) < 0 && errno != EEXIST)
                return log_error_errno(errno, "Failed to make %s: %m", directory);

        d = opendir(directory);
        if (!d)
                return log_error_errno(errno, "Failed to read %s: %m", directory);

        for (struct dirent *entry; (entry = readdir(d));)
                if (is_target_id(entry->d_name)) {
                        r = restore_entry(m, entry->d_name, stored);
                        if (r < 0)
                                (void) log_warning_errno(r, "Failed to restore target %s: %m", entry->d_name);
                }
        (void) closedir(d);

        restore_unknown(m, stored);

        n = g_hash_table_size(m->targets);
        if (n > 0)
                log_info("Took over %u targets", n);

        return 0;
}
