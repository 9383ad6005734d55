/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The loop around everything: what it's woken by, what it shares between targets, how it starts, reloads and
 * leaves. Nothing here waits for anybody: not for the bus, not for the journal, not for a target. */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-login.h>
#include <unistd.h>

#include "basic/clock.h"
#include "basic/fd.h"
#include "basic/install-path.h"
#include "basic/journal.h"
#include "basic/log.h"
#include "daemon/bus.h"
#include "daemon/handover.h"
#include "daemon/intake.h"
#include "daemon/limits.h"
#include "daemon/manager-bus.h"
#include "daemon/manager.h"
#include "daemon/store.h"
#include "daemon/target-supervisor.h"
#include "daemon/target.h"
#include "daemon/unit.h"

/* STATUS= is sent at most this often. */
#define STATUS_USEC (250 * USEC_PER_MSEC)

/* So many messages about bad senders are logged in so long a time. */
#define MESSAGES_MAX          10u
#define MESSAGE_INTERVAL_USEC (30 * USEC_PER_SEC)

#ifndef PIDFD_THREAD
#        define PIDFD_THREAD O_EXCL
#endif

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#        define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

uint64_t now_monotonic_usec(void) {
        return now_nsec(CLOCK_MONOTONIC) / NSEC_PER_USEC;
}

bool message_limit_pass(MessageLimit *limit, unsigned *ret_skipped) {
        uint64_t now = now_monotonic_usec();

        *ret_skipped = 0;
        if (limit->begin_usec == 0 || now - limit->begin_usec > MESSAGE_INTERVAL_USEC) {
                if (limit->n > MESSAGES_MAX)
                        *ret_skipped = limit->n - MESSAGES_MAX;
                limit->begin_usec = now;
                limit->n = 0;
        }

        return ++limit->n <= MESSAGES_MAX;
}

UserAccount *manager_user(Manager *m, uid_t uid) {
        UserAccount *user;

        if (uid == 0)
                return NULL;

        user = g_hash_table_lookup(m->users, GUINT_TO_POINTER(uid));
        if (!user) {
                user = g_new0(UserAccount, 1);
                g_hash_table_insert(m->users, GUINT_TO_POINTER(uid), user);
        }

        return user;
}

void manager_user_done(Manager *m, uid_t uid) {
        const UserAccount *user = g_hash_table_lookup(m->users, GUINT_TO_POINTER(uid));

        if (user && user->n_targets == 0 && user->n_handovers == 0)
                g_hash_table_remove(m->users, GUINT_TO_POINTER(uid));
}

int manager_filter(Manager *m, CallSet calls, const Filter **ret) {
        Filter *filter;
        int r;

        filter = g_hash_table_lookup(m->filters, &calls);
        if (!filter) {
                r = filter_new(calls, &filter);
                if (r < 0)
                        return r;

                /* Nobody keeps one for longer than it takes to send it. */
                if (g_hash_table_size(m->filters) >= FILTERS_MAX)
                        g_hash_table_remove_all(m->filters);
                g_hash_table_insert(m->filters, &filter->calls, filter);
        }

        *ret = filter;
        return 0;
}

Target *manager_find_target_by_unit(Manager *m, const char *unit) {
        Target *t, *newest = NULL;
        GHashTableIter i;

        g_hash_table_iter_init(&i, m->targets);
        while (g_hash_table_iter_next(&i, NULL, (gpointer *) &t))
                if (strcmp(t->policy->unit, unit) == 0 &&
                                (!newest || t->timestamp_usec > newest->timestamp_usec))
                        newest = t;

        return newest;
}

Target *manager_find_target_by_pid(Manager *m, pid_t pid) {
        g_autofree char *unit = NULL;
        _cleanup_close_ int pidfd = -1;
        GHashTableIter i;
        Target *t;

        g_hash_table_iter_init(&i, m->targets);
        while (g_hash_table_iter_next(&i, NULL, (gpointer *) &t))
                if (t->leader == pid)
                        return t;

        pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
        if (pidfd < 0 || unit_of_process(pid, pidfd, &unit) < 0)
                return NULL;

        return manager_find_target_by_unit(m, unit);
}

static void send_status(Manager *m) {
        (void) sd_notifyf(0, "STATUS=%u targets, %u active", g_hash_table_size(m->targets),
                        g_hash_table_size(m->active));
        manager_bus_changed(m);
}

static bool is_idle(const Manager *m) {
        return m->exit_on_idle && g_hash_table_size(m->targets) == 0 && g_hash_table_size(m->handovers) == 0;
}

static void arm(sd_event_source *source, bool on, uint64_t usec) {
        int enabled = SD_EVENT_OFF;

        if (!source)
                return;

        (void) sd_event_source_get_enabled(source, &enabled);
        if (on == (enabled != SD_EVENT_OFF))
                return;

        if (on)
                (void) sd_event_source_set_time_relative(source, usec);
        (void) sd_event_source_set_enabled(source, on ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

void manager_status_changed(Manager *m) {
        if (m->stopping) {
                if (g_hash_table_size(m->active) == 0)
                        (void) sd_event_exit(m->event, EXIT_SUCCESS);
                return;
        }

        arm(m->status_source, true, STATUS_USEC);
        arm(m->tick_source, g_hash_table_size(m->active) > 0, TICK_USEC);
        arm(m->idle_source, is_idle(m), IDLE_EXIT_USEC);
}

static int on_status(sd_event_source *source, uint64_t usec, void *userdata) {
        send_status(userdata);
        return 0;
}

/* Looks at all targets that have supervisors; see target-supervisor.c. */
static int on_tick(sd_event_source *source, uint64_t usec, void *userdata) {
        Manager *m = userdata;
        g_autofree gpointer *targets = NULL;
        uint64_t now = now_monotonic_usec();
        guint n;

        targets = g_hash_table_get_keys_as_array(m->active, &n);
        for (guint i = 0; i < n; i++)
                if (g_hash_table_contains(m->active, targets[i]))
                        supervisor_check(targets[i], now);

        arm(m->tick_source, g_hash_table_size(m->active) > 0, TICK_USEC);
        return 0;
}

static void idle_name_released(Manager *m) {
        /* What came in the meantime is served. What comes from now on starts our successor. */
        if (!is_idle(m)) {
                bus_stop(m);
                if (bus_start(m) < 0)
                        log_warning("Failed to connect to the message bus again");
                return;
        }

        m->stopping = true;
        (void) sd_notify(0, "STOPPING=1\nSTATUS=Nothing to do");
        (void) sd_event_exit(m->event, EXIT_SUCCESS);
}

static int on_idle(sd_event_source *source, uint64_t usec, void *userdata) {
        Manager *m = userdata;

        if (is_idle(m)) {
                log_debug("Leaving, as there are no targets");
                bus_release_name(m, idle_name_released);
        }

        return 0;
}

static int on_leave_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        Manager *m = userdata;

        log_info("%u targets still have supervisors at work, which are left to the successor",
                        g_hash_table_size(m->active));
        return sd_event_exit(m->event, EXIT_SUCCESS);
}

/* Leaves behind nothing in flight: supervisors finish what they have in hand. The listeners stay in the
 * store. */
static int on_terminate(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        Manager *m = userdata;
        GHashTableIter i;
        Target *t;

        if (m->stopping)
                return 0;

        m->stopping = true;
        (void) sd_notify(0, "STOPPING=1\nSTATUS=Leaving");
        m->notify_source = sd_event_source_disable_unref(m->notify_source);
        handover_end_all(m);

        g_hash_table_iter_init(&i, m->targets);
        while (g_hash_table_iter_next(&i, NULL, (gpointer *) &t)) {
                (void) sd_event_source_set_enabled(t->source, SD_EVENT_OFF);
                supervisor_tell(t, CONTROL_LEAVE, 0, -1);
        }

        if (sd_event_add_time_relative(m->event, &m->leave_source, CLOCK_MONOTONIC, LEAVE_TIMEOUT_USEC, 0,
                            on_leave_timeout, m) < 0)
                return sd_event_exit(m->event, EXIT_SUCCESS);

        manager_status_changed(m);
        return 0;
}

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        manager_reload(userdata);
        return 0;
}

void manager_reload(Manager *m) {
        g_autoptr(GHashTable) changed = g_hash_table_new(NULL, NULL);
        GHashTableIter i;
        UnitPolicy *p;
        Target *t;

        (void) sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" G_GUINT64_FORMAT "\nSTATUS=Reloading",
                        now_monotonic_usec());

        g_hash_table_iter_init(&i, m->unit_policies);
        while (g_hash_table_iter_next(&i, NULL, (gpointer *) &p))
                if (unit_policy_reload(p) > 0)
                        g_hash_table_add(changed, p);

        g_hash_table_iter_init(&i, m->targets);
        while (g_hash_table_iter_next(&i, NULL, (gpointer *) &t))
                target_policy_reloaded(t, g_hash_table_contains(changed, t->policy));

        (void) sd_notify(0, "READY=1");
        send_status(m);
        log_info("Reloaded the policies of %u units, %u of them changed", g_hash_table_size(m->unit_policies),
                        g_hash_table_size(changed));
}

/* A supervisor logs as we do, and needs nothing else of our environment. */
static void make_supervisor_environment(Manager *m) {
        const char *stream = getenv("JOURNAL_STREAM");
        GPtrArray *environment = g_ptr_array_new();

        g_ptr_array_add(environment,
                        g_strdup_printf("SYSTEMD_LOG_LEVEL=%s", log_level_to_string(log_get_level())));
        if (stream)
                g_ptr_array_add(environment, g_strdup_printf("JOURNAL_STREAM=%s", stream));
        g_ptr_array_add(environment, NULL);

        g_strfreev(m->supervisor_environment);
        m->supervisor_environment = (char **) g_ptr_array_free(environment, FALSE);
}

void manager_set_log_level(Manager *m, int level) {
        GHashTableIter i;
        Target *t;

        log_set_level(level);
        make_supervisor_environment(m);

        g_hash_table_iter_init(&i, m->active);
        while (g_hash_table_iter_next(&i, (gpointer *) &t, NULL))
                supervisor_tell(t, CONTROL_LOG_LEVEL, (uint32_t) level, -1);
}

/* What of the newer features this kernel has, for people who wonder. Nothing is decided by it. */
static char **probe_features(void) {
        const unsigned long listener = SECCOMP_FILTER_FLAG_NEW_LISTENER;
        GPtrArray *features = g_ptr_array_new();
        _cleanup_close_ int pidfd = -1;
        struct utsname u;
        unsigned major = 0, minor = 0;
        uint32_t action = SECCOMP_RET_USER_NOTIF;

        if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) >= 0)
                g_ptr_array_add(features, g_strdup("notify"));

        /* A known flag gets as far as the missing program. */
        if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, listener | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
                            NULL) < 0 &&
                        errno == EFAULT)
                g_ptr_array_add(features, g_strdup("wait-killable"));

        pidfd = (int) syscall(SYS_pidfd_open, getpid(), PIDFD_THREAD);
        if (pidfd >= 0)
                g_ptr_array_add(features, g_strdup("pidfd-thread"));

        /* These can't be asked for without a listener. */
        if (uname(&u) >= 0 && sscanf(u.release, "%u.%u", &major, &minor) == 2) {
                if (major > 5 || (major == 5 && minor >= 14))
                        g_ptr_array_add(features, g_strdup("addfd"));
                if (major > 6 || (major == 6 && minor >= 6))
                        g_ptr_array_add(features, g_strdup("sync-wake-up"));
        }

        g_ptr_array_add(features, NULL);
        return (char **) g_ptr_array_free(features, FALSE);
}

static void interrupt(int sig) {
}

static int setup_signals(Manager *m) {
        /* Without SA_RESTART: it's there to end a receive that waits, see target.c. */
        const struct sigaction guard = { .sa_handler = interrupt };
        static const int blocked[] = { SIGCHLD, SIGTERM, SIGINT, SIGHUP };
        sigset_t mask;
        int r;

        sigemptyset(&mask);
        for (size_t i = 0; i < G_N_ELEMENTS(blocked); i++)
                sigaddset(&mask, blocked[i]);
        if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0 || sigaction(SIGALRM, &guard, NULL) < 0)
                return -errno;
        (void) signal(SIGPIPE, SIG_IGN);

        r = sd_event_add_signal(m->event, NULL, SIGTERM, on_terminate, m);
        if (r >= 0)
                r = sd_event_add_signal(m->event, NULL, SIGINT, on_terminate, m);
        if (r >= 0)
                r = sd_event_add_signal(m->event, NULL, SIGHUP, on_hangup, m);
        return r;
}

static int add_timer(Manager *m, sd_event_source **ret, sd_event_time_handler_t handler, int64_t priority) {
        int r;

        r = sd_event_add_time_relative(m->event, ret, CLOCK_MONOTONIC, 0, 10 * USEC_PER_MSEC, handler, m);
        if (r < 0)
                return r;

        r = sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
        return r < 0 ? r : sd_event_source_set_priority(*ret, priority);
}

static int setup_loop(Manager *m) {
        int r;

        r = sd_event_new(&m->event);
        if (r >= 0)
                r = setup_signals(m);
        if (r >= 0)
                r = sd_event_set_watchdog(m->event, true);
        if (r >= 0)
                r = add_timer(m, &m->tick_source, on_tick, SD_EVENT_PRIORITY_IMPORTANT);
        if (r >= 0)
                r = add_timer(m, &m->status_source, on_status, SD_EVENT_PRIORITY_IDLE);
        if (r >= 0)
                r = add_timer(m, &m->idle_source, on_idle, SD_EVENT_PRIORITY_IDLE);
        if (r >= 0)
                r = closer_init(&m->closer, m->event);

        return r < 0 ? log_error_errno(r, "Failed to set up the event loop: %m") : 0;
}

static int setup_supervisors(Manager *m) {
        const char *path = getenv("DEPUTYD_SUPERVISOR");
        int r;

        if (path)
                m->supervisor_path = strdup(path);
        else {
                r = install_path("deputy-supervisor", &m->supervisor_path);
                if (r < 0)
                        return log_oom();
        }

        if (access(m->supervisor_path, X_OK) < 0)
                return log_error_errno(errno, "Can't execute %s: %m", m->supervisor_path);

        make_supervisor_environment(m);
        return 0;
}

/* One descriptor per target, and some more while it's active. */
static void raise_limits(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return;

        limit.rlim_cur = limit.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &limit);
}

static void free_filter(void *filter) {
        filter_free(filter);
}

static Manager *manager_alloc(void) {
        const char *directory = getenv("RUNTIME_DIRECTORY");
        Manager *m = g_new(Manager, 1);
        char *unit = NULL;

        *m = (Manager){
                .notify_fd = -1,
                .journal_fd = journal_open(),
                .targets = g_hash_table_new(g_str_hash, g_str_equal),
                .listeners = g_ptr_array_new(),
                .active = g_hash_table_new(NULL, NULL),
                .unit_policies = g_hash_table_new(g_str_hash, g_str_equal),
                .filters = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, free_filter),
                .handovers = g_hash_table_new(NULL, NULL),
                .users = g_hash_table_new_full(NULL, NULL, NULL, g_free),
                .kcmp_works = true,
                .store_numbers = g_hash_table_new(NULL, NULL),
                .store_works = getenv("NOTIFY_SOCKET"),
                .runtime_directory = g_strdup(directory ?: "/run/deputyd"),
                .features = probe_features(),
        };

        if (sd_pid_get_unit(0, &unit) >= 0)
                m->own_unit = g_strdup(unit);
        free(unit);
        return m;
}

int manager_new(const ManagerOptions *options, Manager **ret) {
        g_autoptr(Manager) m = NULL;
        bool activated;
        int r;

        assert(options);
        assert(ret);

        raise_limits();
        filter_resolver_init();

        m = manager_alloc();
        r = setup_loop(m);
        if (r < 0)
                return r;

        r = setup_supervisors(m);
        if (r < 0)
                return r;

        r = store_restore(m);
        if (r < 0)
                return r;

        activated = m->notify_fd >= 0;
        r = intake_start(m, options->socket_path ?: NOTIFY_SOCKET_PATH);
        if (r < 0)
                return r;

        if (!options->no_bus) {
                r = bus_start(m);
                if (r < 0)
                        (void) log_warning_errno(
                                        r, "Failed to connect to the message bus, going on without it: %m");
        }

        m->exit_on_idle = activated;
        *ret = g_steal_pointer(&m);
        return 0;
}

int manager_run(Manager *m) {
        int r;

        (void) sd_notify(0, "READY=1");
        send_status(m);
        manager_status_changed(m);

        r = sd_event_loop(m->event);
        if (r < 0)
                (void) log_error_errno(r, "Failed to run the event loop: %m");

        return r < 0 ? EXIT_FAILURE : r;
}

Manager *manager_free(Manager *m) {
        if (!m)
                return NULL;

        m->stopping = true;
        handover_end_all(m);

        while (g_hash_table_size(m->targets) > 0) {
                GHashTableIter i;
                Target *t;

                g_hash_table_iter_init(&i, m->targets);
                (void) g_hash_table_iter_next(&i, NULL, (gpointer *) &t);
                target_free(t);
        }

        bus_stop(m);
        sd_event_source_disable_unref(m->notify_source);
        sd_event_source_disable_unref(m->tick_source);
        sd_event_source_disable_unref(m->status_source);
        sd_event_source_disable_unref(m->idle_source);
        sd_event_source_disable_unref(m->leave_source);
        closer_done(&m->closer);
        sd_event_unref(m->event);

        if (m->bound_path)
                (void) unlink(m->bound_path);
        close_fd(m->notify_fd);
        close_fd(m->journal_fd);

        g_hash_table_unref(m->targets);
        g_ptr_array_unref(m->listeners);
        g_hash_table_unref(m->active);
        g_hash_table_unref(m->unit_policies);
        g_hash_table_unref(m->filters);
        g_hash_table_unref(m->handovers);
        g_hash_table_unref(m->users);
        g_hash_table_unref(m->store_numbers);
        g_strfreev(m->supervisor_environment);
        g_strfreev(m->features);
        free(m->supervisor_path);
        g_free(m->bound_path);
        g_free(m->own_unit);
        g_free(m->runtime_directory);
        g_free(m);
        return NULL;
}
