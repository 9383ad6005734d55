/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* All event sources have the same priority, so sd-event serves them in the order in which they became ready,
 * and each handler does a bounded amount of work: a flood on one socket delays the others, but stops none. */

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-login.h>
#include <unistd.h>

#include "basic/clock.h"
#include "basic/fd.h"
#include "basic/install-path.h"
#include "basic/log.h"
#include "basic/protocol.h"
#include "daemon/bus.h"
#include "daemon/exit-status.h"
#include "daemon/kernel-features.h"
#include "daemon/handover.h"
#include "daemon/intake.h"
#include "daemon/daemon-limits.h"
#include "daemon/manager-bus.h"
#include "daemon/manager.h"
#include "daemon/store.h"
#include "daemon/target-supervisor.h"
#include "daemon/target.h"
#include "daemon/unit.h"

/* How soon STATUS= and NTargets tell what has changed. */
#define STATUS_USEC (500 * USEC_PER_MSEC)

#define INTAKE_MESSAGES_MAX      10u
#define INTAKE_MESSAGES_INTERVAL (10 * USEC_PER_SEC)

uint64_t now_monotonic_usec(void) {
        return now_nsec(CLOCK_MONOTONIC) / NSEC_PER_USEC;
}

bool message_limit_pass(MessageLimit *limit, unsigned *ret_skipped) {
        uint64_t now = now_monotonic_usec();

        *ret_skipped = 0;
        if (limit->begin_usec == 0 || now - limit->begin_usec > INTAKE_MESSAGES_INTERVAL) {
                *ret_skipped = limit->n > INTAKE_MESSAGES_MAX ? limit->n - INTAKE_MESSAGES_MAX : 0;
                *limit = (MessageLimit){ .begin_usec = now };
        }

        return ++limit->n <= INTAKE_MESSAGES_MAX;
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

static void filter_destroy(void *p) {
        filter_free(p);
}

int manager_filter(Manager *m, CallSet calls, const Filter **ret) {
        Filter *filter;
        CallSet *key;
        int r;

        filter = g_hash_table_lookup(m->filters, &calls);
        if (!filter) {
                r = filter_new(calls, &filter);
                if (r < 0)
                        return r;

                if (g_hash_table_size(m->filters) >= FILTERS_MAX)
                        g_hash_table_remove_all(m->filters);

                key = g_new(CallSet, 1);
                *key = calls;
                g_hash_table_insert(m->filters, key, filter);
        }

        *ret = filter;
        return 0;
}

Target *manager_find_target_by_unit(Manager *m, const char *unit) {
        Target *newest = NULL;
        GHashTableIter i;
        gpointer p;

        g_hash_table_iter_init(&i, m->targets);
        while (g_hash_table_iter_next(&i, NULL, &p)) {
                Target *t = p;

                if (strcmp(t->policy->unit, unit) == 0 &&
                                (!newest || t->timestamp_usec > newest->timestamp_usec))
                        newest = t;
        }

        return newest;
}

Target *manager_find_target_by_pid(Manager *m, pid_t pid) {
        _cleanup_close_ int pidfd = -1;
        g_autofree char *unit = NULL;
        GHashTableIter i;
        gpointer p;

        if (pid <= 0)
                return NULL;

        g_hash_table_iter_init(&i, m->targets);
        while (g_hash_table_iter_next(&i, NULL, &p))
                if (((Target *) p)->leader == pid)
                        return p;

        pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
        if (unit_of_process(pid, pidfd, &unit) < 0)
                return NULL;

        return manager_find_target_by_unit(m, unit);
}

void manager_reload(Manager *m) {
        g_autoptr(GHashTable) changed = g_hash_table_new(NULL, NULL);
        GHashTableIter i;
        gpointer p;

        (void) sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, now_monotonic_usec());
        g_hash_table_iter_init(&i, m->unit_policies);
        while (g_hash_table_iter_next(&i, NULL, &p)) {
                int r = unit_policy_reload(p);

                if (r < 0)
                        (void) log_error_errno(r,
                                        "Failed to reload the policy of %s, the old one stays in force: %m",
                                        ((UnitPolicy *) p)->unit);
                else if (r > 0)
                        g_hash_table_add(changed, p);
        }

        g_hash_table_iter_init(&i, m->targets);
        while (g_hash_table_iter_next(&i, NULL, &p))
                target_policy_reloaded(p, g_hash_table_contains(changed, ((Target *) p)->policy));

        (void) sd_notify(0, "READY=1");
        log_info("Reloaded the policies of %u units, %u of them changed", g_hash_table_size(m->unit_policies),
                        g_hash_table_size(changed));
}

/* A supervisor logs as we do, and needs nothing else of our environment. */
static void make_supervisor_environment(Manager *m) {
        const char *stream = getenv("JOURNAL_STREAM");
        char **e = NULL;

        e = g_environ_setenv(e, "SYSTEMD_LOG_LEVEL", log_level_to_string(log_get_level()), TRUE);
        if (stream)
                e = g_environ_setenv(e, "JOURNAL_STREAM", stream, TRUE);

        g_strfreev(m->supervisor_environment);
        m->supervisor_environment = e;
}

void manager_set_log_level(Manager *m, int level) {
        GHashTableIter i;
        gpointer p;

        log_set_level(level);
        make_supervisor_environment(m);

        g_hash_table_iter_init(&i, m->active);
        while (g_hash_table_iter_next(&i, &p, NULL))
                supervisor_tell(p, CONTROL_LOG_LEVEL, (uint32_t) level, -1);
}

/* ---- Timers ---- */

static int add_timer(Manager *m, sd_event_source **source, sd_event_time_handler_t handler) {
        int r;

        r = sd_event_add_time(m->event, source, CLOCK_MONOTONIC, UINT64_MAX, 0, handler, m);
        return r < 0 ? r : sd_event_source_set_enabled(*source, SD_EVENT_OFF);
}

/* Lets the timer fire once, in "usec" from now, unless it's waiting already. */
static void arm(sd_event_source *timer, uint64_t usec) {
        if (sd_event_source_get_enabled(timer, NULL) > 0)
                return;

        if (sd_event_source_set_time_relative(timer, usec) < 0 ||
                        sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT) < 0)
                log_error("Failed to arm a timer");
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata) {
        Manager *m = userdata;
        g_autoptr(GList) targets =
                        g_hash_table_get_keys(m->active); /* checking one may take it off the set */
        uint64_t now = now_monotonic_usec();

        for (GList *i = targets; i; i = i->next)
                if (g_hash_table_contains(m->active, i->data))
                        supervisor_check(i->data, now);

        if (g_hash_table_size(m->active) > 0)
                arm(source, TICK_USEC);
        return 0;
}

static bool is_idle(const Manager *m) {
        return m->exit_on_idle && g_hash_table_size(m->targets) == 0 && g_hash_table_size(m->handovers) == 0;
}

static void exit_idle(Manager *m) {
        (void) sd_event_exit(m->event, EXIT_STATUS_IDLE);
}

static int on_leave_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        Manager *m = userdata;
        GHashTableIter i;
        gpointer p;

        g_hash_table_iter_init(&i, m->active);
        while (g_hash_table_iter_next(&i, &p, NULL))
                log_warning("Target %s (%s) still has a call in hand, it will be served again",
                                ((Target *) p)->id, ((Target *) p)->policy->unit);

        return sd_event_exit(m->event, m->leaving_idle ? EXIT_STATUS_IDLE : EXIT_SUCCESS);
}

/* Without targets there's nothing to lose. New senders wake us again through the socket, the bus by our name.
 */
static int on_idle(sd_event_source *source, uint64_t usec, void *userdata) {
        Manager *m = userdata;

        if (m->stopping || !is_idle(m))
                return 0;

        log_debug("Nothing to do, exiting");
        m->stopping = m->leaving_idle = true;
        m->notify_source = sd_event_source_disable_unref(m->notify_source);
        (void) sd_notify(0, "STOPPING=1\nSTATUS=Idle, leaving.");
        arm(m->leave_source, LEAVE_TIMEOUT_USEC);
        bus_release_name(m, exit_idle);
        return 0;
}

static int on_status(sd_event_source *source, uint64_t usec, void *userdata) {
        Manager *m = userdata;

        if (!m->stopping)
                (void) sd_notifyf(0, "STATUS=%u targets, %u active", g_hash_table_size(m->targets),
                                g_hash_table_size(m->active));
        manager_bus_changed(m);
        return 0;
}

void manager_status_changed(Manager *m) {
        /* The last supervisor has left. */
        if (m->stopping) {
                if (g_hash_table_size(m->active) == 0 && !m->leaving_idle)
                        (void) sd_event_exit(m->event, EXIT_SUCCESS);
                return;
        }

        if (g_hash_table_size(m->active) > 0)
                arm(m->tick_source, TICK_USEC);

        arm(m->status_source, STATUS_USEC);

        if (is_idle(m))
                arm(m->idle_source, IDLE_EXIT_USEC);
        else
                (void) sd_event_source_set_enabled(m->idle_source, SD_EVENT_OFF);
}

/* ---- Signals ---- */

static int on_reload_signal(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        manager_reload(userdata);
        return 0;
}

/* Calls in hand are finished, those that wait go on waiting: the listeners stay with the service manager, and
 * our successor goes on. */
static int on_stop_signal(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        Manager *m = userdata;
        GHashTableIter i;
        gpointer p;

        if (m->stopping)
                return 0;

        m->stopping = true;
        (void) sd_notify(0, "STOPPING=1\nSTATUS=Shutting down.");

        m->notify_source = sd_event_source_disable_unref(m->notify_source);
        handover_end_all(m);

        g_hash_table_iter_init(&i, m->targets);
        while (g_hash_table_iter_next(&i, NULL, &p)) {
                if (((Target *) p)->source)
                        (void) sd_event_source_set_enabled(((Target *) p)->source, SD_EVENT_OFF);
                supervisor_tell(p, CONTROL_LEAVE, 0, -1);
        }

        arm(m->leave_source, LEAVE_TIMEOUT_USEC);
        manager_status_changed(m);
        return 0;
}

static void on_alarm(int signal_number) {
        /* Only there to interrupt: see answer_one() in target.c. */
}

static int setup_signals(Manager *m) {
        struct sigaction alarm_action = { .sa_handler = on_alarm }; /* without SA_RESTART */
        struct sigaction ignore = { .sa_handler = SIG_IGN };
        sigset_t mask;
        int r;

        sigemptyset(&mask);
        sigaddset(&mask, SIGCHLD);
        sigaddset(&mask, SIGTERM);
        sigaddset(&mask, SIGINT);
        sigaddset(&mask, SIGHUP);
        if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0 || sigaction(SIGALRM, &alarm_action, NULL) < 0 ||
                        sigaction(SIGPIPE, &ignore, NULL) < 0)
                return -errno;

        r = sd_event_add_signal(m->event, NULL, SIGTERM, on_stop_signal, m);
        if (r >= 0)
                r = sd_event_add_signal(m->event, NULL, SIGINT, on_stop_signal, m);
        if (r >= 0)
                r = sd_event_add_signal(m->event, NULL, SIGHUP, on_reload_signal, m);
        return r;
}

/* ---- Life ---- */

static void raise_file_limit(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return;

        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
                (void) log_debug_errno(errno, "Failed to raise the limit of open files: %m");
}

static int find_supervisor(Manager *m) {
        const char *path = getenv("DEPUTYD_SUPERVISOR");
        int r;

        if (path)
                m->supervisor_path = strdup(path);
        else {
                r = install_path("deputy-supervisor", &m->supervisor_path);
                if (r < 0)
                        return r;
        }

        if (access(m->supervisor_path, X_OK) < 0)
                (void) log_error_errno(errno, "%s can't be run, calls will be answered by OnFailure=: %m",
                                m->supervisor_path);

        make_supervisor_environment(m);
        return 0;
}

static int find_runtime_directory(Manager *m, const ManagerOptions *options) {
        const char *e = getenv("RUNTIME_DIRECTORY");

        if (e && e[0] == '/')
                m->runtime_directory = g_strndup(e, strcspn(e, ":"));
        else
                m->runtime_directory = g_path_get_dirname(options->socket_path ?: NOTIFY_SOCKET_PATH);

        if (g_mkdir_with_parents(m->runtime_directory, 0755) < 0)
                return log_error_errno(errno, "Failed to make %s: %m", m->runtime_directory);

        return 0;
}

static void make_tables(Manager *m) {
        m->targets = g_hash_table_new(g_str_hash, g_str_equal);
        m->listeners = g_ptr_array_new();
        m->active = g_hash_table_new(NULL, NULL);
        m->unit_policies = g_hash_table_new(g_str_hash, g_str_equal);
        m->filters = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, filter_destroy);
        m->handovers = g_hash_table_new(NULL, NULL);
        m->users = g_hash_table_new_full(NULL, NULL, NULL, g_free);
        m->store_numbers = g_hash_table_new(NULL, NULL);
}

static int setup_loop(Manager *m) {
        int r;

        r = sd_event_new(&m->event);
        if (r >= 0)
                r = setup_signals(m);
        if (r >= 0)
                r = add_timer(m, &m->tick_source, on_tick);
        if (r >= 0)
                r = add_timer(m, &m->status_source, on_status);
        if (r >= 0)
                r = add_timer(m, &m->idle_source, on_idle);
        if (r >= 0)
                r = add_timer(m, &m->leave_source, on_leave_timeout);
        if (r >= 0)
                r = closer_init(&m->closer, m->event);
        if (r >= 0)
                r = sd_event_set_watchdog(m->event, true);
        if (r < 0)
                return log_error_errno(r, "Failed to set the event loop up: %m");

        return 0;
}

int manager_new(const ManagerOptions *options, Manager **ret) {
        g_autoptr(Manager) m = g_new(Manager, 1);
        int r;

        assert(options);
        assert(ret);

        *m = (Manager){
                .notify_fd = -1, .journal_fd = -1, .kcmp_works = true, .store_works = getenv("NOTIFY_SOCKET")
        };
        make_tables(m);

        raise_file_limit();
        filter_resolver_init();
        m->features = features_probe();

        r = setup_loop(m);
        if (r < 0)
                return r;

        if (sd_pid_get_unit(0, &m->own_unit) < 0)
                m->own_unit = NULL;

        r = find_runtime_directory(m, options);
        if (r < 0)
                return r;
        r = find_supervisor(m);
        if (r < 0)
                return r;
        r = store_restore(m);
        if (r < 0)
                return r;

        m->exit_on_idle = m->notify_fd >= 0;
        r = intake_start(m, options->socket_path ?: NOTIFY_SOCKET_PATH);
        if (r < 0)
                return r;

        if (!options->no_bus) {
                r = bus_start(m);
                if (r < 0)
                        (void) log_warning_errno(
                                        r, "Failed to connect to the message bus, going on without it: %m");
        }

        manager_status_changed(m);
        *ret = g_steal_pointer(&m);
        return 0;
}

int manager_run(Manager *m) {
        int r;

        (void) sd_notifyf(0, "READY=1\nSTATUS=%u targets, %u active", g_hash_table_size(m->targets),
                        g_hash_table_size(m->active));

        r = sd_event_loop(m->event);
        if (r < 0)
                return log_error_errno(r, "The event loop failed: %m");

        return r;
}

Manager *manager_free(Manager *m) {
        GHashTableIter i;
        gpointer p;

        if (!m)
                return NULL;

        m->stopping = true;
        handover_end_all(m);
        bus_stop(m);
        for (;;) {
                g_hash_table_iter_init(&i, m->targets);
                if (!g_hash_table_iter_next(&i, NULL, &p))
                        break;
                target_free(p);
        }

        closer_done(&m->closer);
        sd_event_source_disable_unref(m->notify_source);
        sd_event_source_disable_unref(m->tick_source);
        sd_event_source_disable_unref(m->status_source);
        sd_event_source_disable_unref(m->idle_source);
        sd_event_source_disable_unref(m->leave_source);
        sd_event_unref(m->event);
        close_fd(m->notify_fd);
        close_fd(m->journal_fd);
        if (m->bound_path)
                (void) unlink(m->bound_path);

        g_hash_table_unref(m->targets);
        g_ptr_array_unref(m->listeners);
        g_hash_table_unref(m->active);
        g_hash_table_unref(m->unit_policies);
        g_hash_table_unref(m->filters);
        g_hash_table_unref(m->handovers);
        g_hash_table_unref(m->users);
        g_hash_table_unref(m->store_numbers);
        g_free(m->bound_path);
        g_free(m->runtime_directory);
        free(m->own_unit);
        free(m->supervisor_path);
        g_strfreev(m->supervisor_environment);
        g_strfreev(m->features);
        g_free(m);
        return NULL;
}
