/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "basic/fd.h"
#include "basic/journal.h"
#include "basic/log.h"
#include "basic/protocol.h"
#include "supervisor/caller.h"
#include "supervisor/privilege.h"
#include "supervisor/supervisor.h"

static int arg_embedded_fd = -1;
static unsigned arg_slot = 0;
static CallSet arg_calls = 0;
static const char *arg_target = "embedded";
static const char *arg_unit = NULL;
static const char *arg_machine = NULL;
static bool arg_verbose = false;
static GPtrArray *arg_policies;

static int help(void) {
        printf("deputy-supervisor [OPTIONS...]\n\n"
               "Serves the intercepted system calls of one target. Started by deputyd, or by deputy-run\n"
               "in its embedded mode; there's no use in starting it by hand.\n\n"
               "  -h --help             Show this help\n"
               "     --version          Show the version\n"
               "     --slot=N           Slot of the shared state to work in\n"
               "     --calls=MASK       Calls that the target's filter is known to intercept, in hex\n"
               "     --target=ID        Id of the target, for messages\n"
               "     --unit=UNIT        Unit of the target, for messages; in the embedded mode also\n"
               "                        the unit whose policy applies if none is given\n"
               "     --machine=NAME     Machine of the target, for messages\n"
               "     --embedded=FD      Hand over filter and listener on this socket\n"
               "     --policy=PATH      A policy file, or a directory of them (embedded mode)\n"
               "     --profile=NAME     A shipped profile (embedded mode)\n"
               "     --verbose          Say on stderr what happens to each call\n\n"
               "Started by deputyd it inherits: 3 the listener, 4 the control socket, 5 the policy,\n"
               "6 the shared state.\n");
        return 0;
}

static int parse_number(const char *text, unsigned long max, unsigned long *ret) {
        char *end;

        errno = 0;
        *ret = strtoul(text, &end, 10);
        return errno || *end || end == text || *ret > max ? -EINVAL : 0;
}

static int parse_argv(int argc, char *argv[]) {
        enum {
                ARG_VERSION = 0x100,
                ARG_SLOT,
                ARG_CALLS,
                ARG_TARGET,
                ARG_UNIT,
                ARG_MACHINE,
                ARG_EMBEDDED,
                ARG_POLICY,
                ARG_PROFILE,
                ARG_VERBOSE
        };
        static const struct option options[] = {
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, ARG_VERSION },
                { "slot", required_argument, NULL, ARG_SLOT },
                { "calls", required_argument, NULL, ARG_CALLS },
                { "target", required_argument, NULL, ARG_TARGET },
                { "unit", required_argument, NULL, ARG_UNIT },
                { "machine", required_argument, NULL, ARG_MACHINE },
                { "embedded", required_argument, NULL, ARG_EMBEDDED },
                { "policy", required_argument, NULL, ARG_POLICY },
                { "profile", required_argument, NULL, ARG_PROFILE },
                { "verbose", no_argument, NULL, ARG_VERBOSE },
                {},
        };
        unsigned long number;
        char *path;
        int c, r;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                switch (c) {
                case 'h':
                        return help();
                case ARG_VERSION:
                        printf("deputy-supervisor %s\n", PROJECT_VERSION);
                        return 0;
                case ARG_SLOT:
                        if (parse_number(optarg, TARGET_STATE_SLOTS - 1, &number) < 0)
                                return log_error_errno(EINVAL, "--slot= takes a number below %u, not \"%s\"",
                                                TARGET_STATE_SLOTS, optarg);
                        arg_slot = (unsigned) number;
                        break;
                case ARG_CALLS:
                        arg_calls = g_ascii_strtoull(optarg, NULL, 16);
                        break;
                case ARG_TARGET:
                        arg_target = optarg;
                        break;
                case ARG_UNIT:
                        arg_unit = optarg;
                        break;
                case ARG_MACHINE:
                        arg_machine = optarg;
                        break;
                case ARG_EMBEDDED:
                        if (parse_number(optarg, INT_MAX, &number) < 0)
                                return log_error_errno(
                                                EINVAL, "--embedded= takes a descriptor, not \"%s\"", optarg);
                        arg_embedded_fd = (int) number;
                        break;
                case ARG_POLICY:
                        g_ptr_array_add(arg_policies, g_strdup(optarg));
                        break;
                case ARG_PROFILE:
                        r = policy_find_profile(optarg, &path);
                        if (r < 0)
                                return log_error_errno(r,
                                                "There is no profile \"%s\". See deputyd.policy(5) for the "
                                                "shipped ones.",
                                                optarg);
                        g_ptr_array_add(arg_policies, path);
                        break;
                case ARG_VERBOSE:
                        arg_verbose = true;
                        break;
                default:
                        return -EINVAL;
                }

        if (optind < argc)
                return log_error_errno(EINVAL, "Unexpected argument \"%s\"", argv[optind]);

        return 1;
}

/* Problems of policy files that somebody names on a command line are said there. */
static void say_problems(const Policy *policy) {
        for (guint i = 0; i < policy->problems->len; i++) {
                const PolicyProblem *problem = policy->problems->pdata[i];
                g_autofree char *text = policy_problem_to_string(problem);

                (void) log_internal(problem->level, 0, "%s", text);
        }
}

static int start_embedded(Supervisor *s) {
        _cleanup_close_ int socket_fd = arg_embedded_fd;
        const char *bad_path = NULL;
        int r;

        if (arg_policies->len > 0) {
                g_ptr_array_add(arg_policies, NULL);
                r = policy_load_files(
                                (const char *const *) arg_policies->pdata, arg_unit, &s->policy, &bad_path);
                if (r < 0)
                        return log_error_errno(r, "Failed to read %s: %m", bad_path ?: "the policy");
        } else {
                r = policy_load_unit(arg_unit ?: "", NULL, &s->policy);
                if (r < 0)
                        return log_error_errno(
                                        r, "Failed to load the policy of unit \"%s\": %m", arg_unit ?: "");
        }
        say_problems(s->policy);

        r = target_state_new(&s->state_fd);
        if (r >= 0)
                r = target_state_map(s->state_fd, &s->state);
        if (r < 0)
                return log_error_errno(r, "Failed to set up the target's state: %m");

        return supervisor_handover(s, socket_fd);
}

static int start_for_daemon(Supervisor *s) {
        g_autofree char *text = NULL;
        size_t size;
        int r;

        s->listener_fd = SUPERVISOR_FD_LISTENER;
        s->control_fd = SUPERVISOR_FD_CONTROL;
        s->state_fd = SUPERVISOR_FD_STATE;

        r = fcntl(s->state_fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : target_state_map(s->state_fd, &s->state);
        if (r < 0)
                return log_error_errno(r, "Failed to map the target's state: %m");

        r = read_fd_full(SUPERVISOR_FD_POLICY, POLICY_TEXT_MAX, &text, &size);
        if (r >= 0)
                r = policy_load_text(text, size, "deputyd", &s->policy);
        if (r < 0)
                return log_error_errno(r, "Failed to read the target's policy: %m");

        /* The filter is as old as the target, and the policy is newer: see policy_allows_bpf_token(). */
        if (!call_set_contains(arg_calls, CALL_BPF))
                s->policy->bpf.token = (BpfDelegation){};

        close_fd(SUPERVISOR_FD_POLICY);

        s->slot_index = arg_slot;
        return 1;
}

static int run(void) {
        __attribute__((cleanup(supervisor_done))) Supervisor s = SUPERVISOR_INIT;
        sigset_t mask;
        int r;

        /* From deputyd it's a request, taken by the event loop. An embedded supervisor outlives it: a unit
         * that's being stopped still makes calls, and they must be answered until its last process is gone.
         */
        sigemptyset(&mask);
        sigaddset(&mask, SIGTERM);
        if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
                return log_error_errno(errno, "Failed to block signals: %m");

        r = caller_setup();
        if (r == -EXDEV)
                return log_error_errno(r, "/proc is of another pid namespace, and there may be no other");
        if (r < 0)
                return log_error_errno(r, "Failed to open /proc: %m");

        r = arg_embedded_fd >= 0 ? start_embedded(&s) : start_for_daemon(&s);
        if (r <= 0)
                return r;

        s.target = arg_target;
        s.report = (Report){
                .journal_fd = journal_open(),
                .verbose = arg_verbose,
                .target = arg_target,
                .unit = arg_unit,
                .machine = arg_machine,
                .state = s.state,
        };
        atomic_store(&s.state->slots[s.slot_index].owner, (int32_t) getpid());

        /* Held from here on: see privilege.h. */
        s.capabilities = supervisor_capabilities(s.policy);
        r = privilege_drop(privilege_base | s.capabilities);
        if (r < 0)
                return log_error_errno(r, "Failed to drop privileges: %m");

        r = supervisor_serve(&s);
        if (r < 0)
                return log_error_errno(r, "Failed to serve: %m");

        return 0;
}

int main(int argc, char *argv[]) {
        int r;

        log_setup("deputy-supervisor");
        (void) signal(SIGCHLD, SIG_DFL); /* We wait for children of ours. */
        arg_policies = g_ptr_array_new_with_free_func(g_free);

        r = parse_argv(argc, argv);
        if (r > 0)
                r = run();

        g_ptr_array_unref(arg_policies);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
