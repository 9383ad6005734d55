/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The daemon as an object: its event loop, its targets and what they share. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "daemon/closer.h"
#include "filter/filter.h"

typedef struct Target Target;

typedef struct ManagerOptions {
        const char *socket_path; /* NULL: only what the service manager passes, or NOTIFY_SOCKET_PATH */
        bool no_bus;
} ManagerOptions;

/* What an untrusted user has of us. */
typedef struct UserAccount {
        unsigned n_targets;
        unsigned n_handovers;
} UserAccount;

/* Lets a message through now and then, and counts what it doesn't. */
typedef struct MessageLimit {
        uint64_t begin_usec;
        unsigned n;
} MessageLimit;

typedef struct Manager {
        sd_event *event;

        int notify_fd;
        sd_event_source *notify_source;
        char *bound_path; /* the socket's path if we made it ourselves */
        MessageLimit intake_limit;
        Closer closer;

        GHashTable *targets;       /* id → Target */
        GPtrArray *listeners;      /* Target, those with a listener, in the order of kcmp(2) */
        GHashTable *active;        /* Target, those with a supervisor */
        GHashTable *unit_policies; /* unit → UnitPolicy, referenced by targets and handovers */
        GHashTable *filters;       /* CallSet → Filter */
        GHashTable *handovers;     /* Handover */
        GHashTable *users;         /* uid → UserAccount, untrusted ones only */
        unsigned n_untrusted;
        bool kcmp_works;

        sd_event_source *tick_source;
        sd_event_source *status_source;
        sd_event_source *idle_source;
        sd_event_source *leave_source;
        bool stopping;
        bool leaving_idle; /* stopping since there's nothing to do */
        bool exit_on_idle;

        char *own_unit;
        char *runtime_directory;
        bool store_works; /* there's a service manager that keeps descriptors */
        GHashTable *store_numbers;
        unsigned store_number_last;

        char *supervisor_path;
        char **supervisor_environment;
        int journal_fd;

        sd_bus *bus;
        sd_event_source *bus_source;
        bool bus_ready; /* connected, and our name asked for */
        unsigned n_polkit_queries;
        uint32_t n_targets_shown; /* what NTargets was when it last changed on the bus */
        char **features;
} Manager;

/* Makes the manager with its event loop, sockets, restored targets and signal handling; doesn't run it.
 * Return: 0, or a negative errno (logged). */
int manager_new(const ManagerOptions *options, Manager **ret);

/* Runs until SIGTERM, SIGINT or idleness. Return: the exit status. */
int manager_run(Manager *m);

/* Reads all policies again and applies them. */
void manager_reload(Manager *m);

/* Something that STATUS= tells of has changed. Cheap; the news is sent a little later, for many at once. */
void manager_status_changed(Manager *m);

/* Sets the level of our own messages and of those of all supervisors. */
void manager_set_log_level(Manager *m, int level);

/* The account of an untrusted user; NULL for uid 0, which has no limits of its own. */
UserAccount *manager_user(Manager *m, uid_t uid);

/* The account may be dropped if it's empty. */
void manager_user_done(Manager *m, uid_t uid);

/* The compiled filter of a set of calls; the manager keeps it. Return: 0, or filter_new()'s error. */
int manager_filter(Manager *m, CallSet calls, const Filter **ret);

/* Finds the target of a process: the one that it leads, else the newest of its unit. NULL if there's none. */
Target *manager_find_target_by_pid(Manager *m, pid_t pid);

/* Finds the newest target of a unit. NULL if there's none. */
Target *manager_find_target_by_unit(Manager *m, const char *unit);

/* May a message be logged now? "*ret_skipped" is how many weren't since the last one. */
bool message_limit_pass(MessageLimit *limit, unsigned *ret_skipped);

uint64_t now_monotonic_usec(void);

Manager *manager_free(Manager *m);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Manager, manager_free)
