/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Whom a number means, whether that one is still there, and what becomes of one that's met by mistake. */

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/caller.h"
#include "supervisor/target-task.h"
#include "supervisor/task-setting.h"
#include "tests/unit/blocked-caller.h"

/* What the caller of these tests has beside itself, by the numbers that it sees. */
typedef struct Family {
        pid_t child, other;
        volatile pid_t grandchild;
        pid_t thread;
        pid_t self;
        atomic_uint n_sleepers; /* that have their user by now */
} Family;

static Family *family;

static void setup(void) {
        cr_assert_eq(caller_setup(), 0);
        family = mmap(NULL, sizeof(Family), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        cr_assert_neq(family, MAP_FAILED);
}

TestSuite(scheduling, .init = setup, .timeout = 30);

static pid_t sleeper(uid_t uid) {
        pid_t pid = fork();

        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (uid != 0 && setresuid(uid, uid, uid) < 0)
                        _exit(1);
                atomic_fetch_add(&family->n_sleepers, 1);
                for (;;)
                        pause();
        }
        return pid;
}

/* In a pid namespace one further down. Return: its number in ours. */
static pid_t nested_sleeper(void) {
        pid_t pid = fork();

        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (unshare(CLONE_NEWPID) < 0 || setresuid(2000, 2000, 2000) < 0)
                        _exit(1);
                family->grandchild = sleeper(0);
                for (;;)
                        pause();
        }
        while (family->grandchild == 0)
                usleep(100);
        return family->grandchild;
}

static void *sleep_in_thread(void *p) {
        family->thread = (pid_t) syscall(SYS_gettid);
        for (;;)
                pause();
        return NULL;
}

/* In a pid namespace of its own: one more process, which is number 1 there. */
static void prepare(void *userdata) {
        pthread_t thread;
        pid_t pid;

        if (unshare(CLONE_NEWPID) < 0)
                _exit(50);
        pid = fork();
        if (pid < 0)
                _exit(51);
        if (pid > 0) {
                (void) waitpid(pid, NULL, 0);
                _exit(0);
        }
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        family->self = getpid();
        family->child = sleeper(0);
        family->other = sleeper(1000);
        family->grandchild = nested_sleeper();
        (void) setpgid(family->child, family->child);
        (void) setpgid(family->other, family->child);
        if (pthread_create(&thread, NULL, sleep_in_thread, NULL) != 0)
                _exit(52);
        while (family->thread == 0)
                usleep(100);
        while (atomic_load(&family->n_sleepers) < 3)
                usleep(100);
}

static Caller start(BlockedCaller *blocked) {
        BlockedCallerOptions options = { .user_namespace = true, .prepare = prepare };
        Caller c = CALLER_INIT;

        blocked_caller_start(blocked, &options);
        caller_init(&c, blocked->listener, blocked->id, blocked->tid);
        cr_assert_eq(caller_identify(&c), 0);
        return c;
}

static void stop(BlockedCaller *blocked) {
        (void) kill(blocked->tid, SIGKILL);
        blocked_caller_stop(blocked);
}

static pid_t number_inside(pid_t tid) {
        char path[64], line[256];
        pid_t pid = 0;
        FILE *f;

        snprintf(path, sizeof(path), "/proc/%i/status", (int) tid);
        f = fopen(path, "re");
        cr_assert_not_null(f);
        while (fgets(line, sizeof(line), f))
                if (strncmp(line, "NSpid:", 6) == 0)
                        pid = (pid_t) strtol(strrchr(line, '\t'), NULL, 10);
        fclose(f);
        return pid;
}

static void expect_numbers(void) {
        BlockedCaller blocked;
        Caller c = start(&blocked);
        const struct {
                pid_t inside;
                uid_t uid;
        } tasks[] = { { family->child, 100000 }, { family->other, 101000 }, { family->thread, 100000 } };
        TargetTask t = TARGET_TASK_INIT;

        for (size_t i = 0; i < sizeof(tasks) / sizeof(tasks[0]); i++) {
                cr_assert_eq(target_find(&c, tasks[i].inside, &t), 0, "%i", (int) tasks[i].inside);
                cr_expect_neq(t.tid, tasks[i].inside, "it's another number here");
                cr_expect_eq(number_inside(t.tid), tasks[i].inside);
                cr_expect_eq(t.uid, tasks[i].uid);
                cr_expect(t.is_container);
                cr_expect(target_is_there(&c, &t));
                target_done(&t);
        }

        cr_assert_eq(target_find(&c, family->grandchild, &t), 0);
        cr_expect_eq(number_inside(t.tid), 1);
        cr_expect_eq(t.uid, 102000u);
        target_done(&t);

        for (int self = 0; self < 2; self++) {
                cr_assert_eq(target_find(&c, self ? family->self : 0, &t), 0);
                cr_expect_eq(t.tid, blocked.tid);
                cr_expect_eq(t.proc_fd, -1);
                cr_expect(t.is_container);
                cr_expect(target_is_there(&c, &t));
        }

        cr_expect_eq(target_find(&c, -1, &t), -ESRCH);
        cr_expect_eq(target_find(&c, 29999, &t), -ESRCH);
        cr_expect_eq(target_find(&c, getpid(), &t), -ESRCH, "a number of ours");
        stop(&blocked);
}

Test(scheduling, numbers_by_ioctl) {
        expect_numbers();
}

/* Before Linux 6.11. */
Test(scheduling, numbers_by_search) {
        target_forbid_ioctl(true);
        expect_numbers();
}

/* A caller in our own pid namespace names tasks as we do. */
Test(scheduling, numbers_of_a_service) {
        for (int forbid = 0; forbid < 2; forbid++) {
                TargetTask t = TARGET_TASK_INIT;
                BlockedCaller blocked;
                Caller c = CALLER_INIT;

                target_forbid_ioctl(forbid);
                blocked_caller_start(&blocked, &(BlockedCallerOptions){ .thread = true });
                caller_init(&c, blocked.listener, blocked.id, blocked.tid);
                cr_assert_eq(caller_identify(&c), 0);

                cr_assert_eq(target_find(&c, getpid(), &t), 0);
                cr_expect_eq(t.tid, getpid());
                target_done(&t);
                cr_assert_eq(target_find(&c, blocked.tid, &t), 0);
                cr_expect_eq(t.proc_fd, -1);
                cr_assert_eq(target_find(&c, blocked.child, &t), 0);
                cr_expect_eq(t.tid, blocked.child);
                target_done(&t);
                cr_expect_eq(target_find(&c, 4194303, &t), -ESRCH);
                blocked_caller_stop(&blocked);
        }
}

typedef struct Seen {
        unsigned n, n_container;
        uid_t uids[64];
} Seen;

static int see(const TargetTask *task, void *userdata) {
        Seen *seen = userdata;

        cr_assert_lt(seen->n, 64);
        seen->uids[seen->n++] = task->uid;
        seen->n_container += task->is_container;
        return 0;
}

Test(scheduling, groups_and_users) {
        BlockedCaller blocked;
        Caller c = start(&blocked);
        Seen seen = {};
        uid_t uid;

        cr_expect_eq(target_each_of_group(&c, family->child, see, &seen), 0);
        cr_expect_eq(seen.n, 2u);
        cr_expect_eq(seen.n_container, 2u);

        seen = (Seen){};
        cr_expect_eq(target_each_of_group(&c, family->other, see, &seen), -ESRCH, "no leader of a group");
        cr_expect_eq(target_each_of_group(&c, -5, see, &seen), -ESRCH);
        cr_expect_eq(seen.n, 0u);

        cr_assert_eq(target_map_uid(&c, 1000, &uid), 0);
        cr_expect_eq(uid, 101000u);
        cr_expect_eq(target_each_of_user(&c, uid, see, &seen), 0);
        cr_expect_eq(seen.n, 1u);
        cr_expect_eq(target_map_uid(&c, 65536, &uid), -EINVAL);

        /* The caller, its thread and its child; its parent isn't in its pid namespace. */
        seen = (Seen){};
        cr_assert_eq(target_caller_uid(&c, &uid), 0);
        cr_expect_eq(uid, 100000u);
        cr_expect_eq(target_each_of_user(&c, uid, see, &seen), 0);
        cr_expect_eq(seen.n, 3u);

        /* The caller's own group: ours, too, and we aren't the container's. */
        seen = (Seen){};
        cr_expect_eq(target_each_of_group(&c, 0, see, &seen), 0);
        cr_expect_gt(seen.n, seen.n_container);
        cr_expect_geq(seen.n_container, 3u);

        /* Without regard to numbers: also the parent. */
        seen = (Seen){};
        cr_expect_eq(target_each_of_container(&c, see, &seen), 0);
        cr_expect_geq(seen.n, 5u);
        cr_expect_eq(seen.n, seen.n_container);
        stop(&blocked);
}

Test(scheduling, what_the_host_has_is_not_the_containers) {
        BlockedCaller blocked;
        Caller c = start(&blocked);

        cr_expect_not(target_is_containers(&c, getpid()));
        cr_expect_not(target_is_containers(&c, 1));
        cr_expect(target_is_containers(&c, blocked.tid));
        stop(&blocked);
}

/* A process of this number, as soon as it's free: it may have been a process group's as well. */
static pid_t fork_as(pid_t pid) {
        struct clone_args args = { .exit_signal = SIGCHLD, .set_tid = (uintptr_t) &pid, .set_tid_size = 1 };
        pid_t child = -1;

        for (unsigned i = 0; child < 0 && i < 500; i++) {
                child = (pid_t) syscall(SYS_clone3, &args, sizeof(args));
                if (child < 0)
                        usleep(10000);
        }
        if (child == 0)
                for (;;)
                        pause();
        return child;
}

/* The target dies after it was found, and its number is another's at once. */
Test(scheduling, number_that_changed_hands) {
        Setting fifo = { .kind = SETTING_SCHEDULER, .attr = { .policy = SCHED_FIFO, .priority = 3 } };
        TargetTask t = TARGET_TASK_INIT;
        BlockedCaller blocked;
        SchedAttr attr;
        pid_t stranger;
        Caller c = start(&blocked);

        cr_assert_eq(target_find(&c, family->child, &t), 0);
        cr_assert_eq(kill(t.tid, SIGKILL), 0);

        /* Its parent is blocked and doesn't reap it: the number is still its own. */
        usleep(20000);
        cr_expect(target_is_there(&c, &t));

        (void) kill(blocked.tid, SIGKILL); /* and with it, as it's the namespace's init, the whole family */
        for (unsigned i = 0; target_is_there(&c, &t) && i < 500; i++)
                usleep(10000);
        cr_expect_not(target_is_there(&c, &t));

        stranger = fork_as(t.tid);
        cr_assert_eq(stranger, t.tid, "%m");
        cr_expect_not(target_is_there(&c, &t), "it's another one");
        cr_expect_eq(task_setting_apply(&c, &t, &fifo), -ESRCH);
        cr_assert_eq(task_setting_get_attr(stranger, &attr), 0);
        cr_expect_eq(attr.policy, (uint32_t) SCHED_NORMAL);

        (void) kill(stranger, SIGKILL);
        (void) waitpid(stranger, NULL, 0);
        target_done(&t);
        blocked_caller_stop(&blocked);
}

/* Had it been met all the same, it gets back what it was born with. */
Test(scheduling, what_was_met_by_mistake_is_undone) {
        Setting settings[] = {
                { .kind = SETTING_SCHEDULER, .attr = { .policy = SCHED_FIFO, .priority = 3 } },
                { .kind = SETTING_ATTR, .attr = { .size = 48, .policy = SCHED_RR, .priority = 4 } },
                { .kind = SETTING_NICE, .value = -7 },
                { .kind = SETTING_IO, .value = IOPRIO_PRIO_VALUE(IOPRIO_CLASS_RT, 2) },
        };
        SchedAttr attr;
        pid_t child;
        int nice;

        /* What we have ourselves, children are born with. */
        cr_assert_eq(setpriority(PRIO_PROCESS, 0, 3), 0);
        child = sleeper(0);
        cr_assert_gt(child, 0);

        for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
                TargetTask t = { .tid = child, .proc_fd = -1 };
                BlockedCaller blocked;
                Caller c;

                cr_expect_eq(task_setting_undo(child, settings + i), 0, "nothing to undo");

                blocked_caller_start(&blocked, &(BlockedCallerOptions){ .user_namespace = true });
                c = (Caller) CALLER_INIT;
                caller_init(&c, blocked.listener, blocked.id, blocked.tid);
                cr_assert_eq(caller_identify(&c), 0);
                cr_assert_eq(task_setting_apply(&c, &t, settings + i), 0, "%zu", i);
                blocked_caller_stop(&blocked);

                cr_expect_eq(task_setting_undo(child, settings + i), 1, "%zu", i);
                cr_assert_eq(task_setting_get_attr(child, &attr), 0);
                cr_expect_eq(attr.policy, (uint32_t) SCHED_NORMAL);
                cr_assert_eq(task_setting_get_nice(child, &nice), 0);
                cr_expect_eq(nice, 3);
                cr_expect_eq(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, child),
                                syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0));
        }

        cr_expect_eq(task_setting_undo(29998, settings), 0);
        (void) kill(child, SIGKILL);
        (void) waitpid(child, NULL, 0);
}

/* The caller dies while it's served: its own number, too, may be another's. */
Test(scheduling, caller_that_died) {
        Setting nice = { .kind = SETTING_NICE, .value = -4 };
        TargetTask t = TARGET_TASK_INIT;
        BlockedCaller blocked;
        pid_t stranger;
        Caller c;
        int now;

        blocked_caller_start(&blocked, &(BlockedCallerOptions){ .user_namespace = true });
        c = (Caller) CALLER_INIT;
        caller_init(&c, blocked.listener, blocked.id, blocked.tid);
        cr_assert_eq(caller_identify(&c), 0);
        cr_assert_eq(target_find(&c, 0, &t), 0);

        (void) kill(blocked.child, SIGKILL);
        (void) waitpid(blocked.child, NULL, 0);
        stranger = fork_as(t.tid);
        cr_assert_eq(stranger, t.tid, "%m");

        cr_expect_eq(task_setting_apply(&c, &t, &nice), -ESRCH);
        cr_assert_eq(task_setting_get_nice(stranger, &now), 0);
        cr_expect_eq(now, 0);
        (void) kill(stranger, SIGKILL);
        (void) waitpid(stranger, NULL, 0);
        close(blocked.listener);
}

Test(scheduling, limits) {
        struct rlimit cpu = { 12345, 12346 };
        TargetTask t = { .proc_fd = -1 };
        BlockedCaller blocked;
        uint64_t limit = 0;
        Caller c;

        cr_assert_eq(setrlimit(RLIMIT_CPU, &cpu), 0);
        blocked_caller_start(&blocked, &(BlockedCallerOptions){});
        c = (Caller) CALLER_INIT;
        caller_init(&c, blocked.listener, blocked.id, blocked.tid);
        cr_assert_eq(caller_identify(&c), 0);

        cr_expect_eq(target_limit(&c, &t, "Max cpu time", &limit), 0);
        cr_expect_eq(limit, 12345u);
        cr_expect_eq(target_limit(&c, &t, "Max nice priority", &limit), 0);
        cr_expect_eq(target_limit(&c, &t, "Max file locks", &limit), 0);
        cr_expect_eq(limit, UINT64_MAX);
        cr_expect_eq(target_limit(&c, &t, "Max nonsense", &limit), -EBADMSG);
        blocked_caller_stop(&blocked);
}
