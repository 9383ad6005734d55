/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* init_module(2), finit_module(2): kernel modules.
 *
 * Privilege lent: CAP_SYS_MODULE, for the one loading of a module that AllowModule= names, and of what that
 * module depends on. Nothing of the caller's bytes is ever loaded, and none of its files: they only say a
 * name, and the host's own module of that name is taken from the host's tree, with the host's options,
 * blacklist and dependencies, as modprobe(8) does (module-load.c).
 *
 * What a hostile container may try, and what meets it:
 *   - make up a file that makes its reader do things: the name is read in a process without any privilege and
 * without files, by a bounds-checked reader (module-image.c, confine.c, modinfo.c). The worst it can answer
 * is another name, which the caller could have written into the file.
 *   - change file, buffer or parameters while they're read: each is copied once; the name that was checked is
 * the one that's loaded, the parameters that were checked are written anew (module-parameters.c).
 *   - have us open or read something that hangs (FUSE, userfaultfd, a FIFO), or that's endless (a compressed
 * bomb): only regular files, in a child, with a limit of time and memory.
 *   - have us read a file that it may not: it's opened with the caller's ids, through the descriptor that
 * the caller has it open with.
 *   - pass parameters that turn a harmless module into a tool: none but those of AllowParameters=.
 *   - load a module that the host doesn't want: its blacklist and its install commands count.
 *   - force a module of another kernel: the filter leaves such calls alone, and it would be the host's own
 * anyway.
 *   - ask from a nested user namespace, without CAP_SYS_MODULE, as a user: caller_may_borrow().
 *
 * delete_module(2) is never intercepted: modules are everybody's. */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/capability.h>
#include <linux/module.h>
#include <stdbool.h>
#include <string.h>

#include "basic/fd.h"
#include "supervisor/handlers/handlers.h"
#include "supervisor/handlers/module-image.h"
#include "supervisor/handlers/module-load.h"
#include "supervisor/handlers/module-parameters.h"

#ifndef MODULE_INIT_COMPRESSED_FILE
#        define MODULE_INIT_COMPRESSED_FILE 4
#endif

#define FORCE_FLAGS (MODULE_INIT_IGNORE_MODVERSIONS | MODULE_INIT_IGNORE_VERMAGIC)

/* What the call asks for. */
typedef struct ModuleRequest {
        bool by_fd;
        int fd;
        unsigned flags;
        uint64_t address, size; /* if not by_fd */
        uint64_t parameters_address;
        ModuleInfo info; /* once it's read */
        char parameters[MODULE_PARAMETERS_MAX];
        int parameters_error; /* of reading them: -EFAULT, -ENAMETOOLONG */
} ModuleRequest;

static void module_request(const Request *request, ModuleRequest *m) {
        *m = (ModuleRequest){ .by_fd = request->call == CALL_FINIT_MODULE };

        if (m->by_fd) {
                m->fd = (int) request->args[0];
                m->parameters_address = request->args[1];
                m->flags = (unsigned) request->args[2];
        } else {
                m->address = request->args[0];
                m->size = request->args[1];
                m->parameters_address = request->args[2];
        }
}

static char *describe(const ModuleRequest *m) {
        const char *name = *m->info.name ? m->info.name : "?";

        if (m->parameters_error == 0 && *m->parameters)
                return request_text("%s, parameters \"%s\"", name, m->parameters);

        return request_text("%s", name);
}

static Verdict refuse(Request *request, const ModuleRequest *m, Reason reason, char *hint) {
        if (!hint && reason == REASON_USER_NOT_LENT)
                hint = g_strdup_printf("[Intercept] AllowUsers=%u", (unsigned) request->caller.euid);

        return request_refuse(request, reason, describe(m), hint);
}

static Verdict emulate(Request *request, const ModuleRequest *m, int result, int64_t *ret_result) {
        if (request_wants_description(request))
                request->arguments = describe(m);

        *ret_result = result;
        return VERDICT_EMULATED;
}

/* The name that the caller's module has. Return: 0, and *ret_errno; or a negative errno of our own. */
static int read_info(Request *request, ModuleRequest *m, int *ret_errno) {
        _cleanup_close_ int fd = -1;
        ModuleSource source = {
                .caller = &request->caller,
                .file_fd = -1,
                .compressed = m->flags & MODULE_INIT_COMPRESSED_FILE,
                .address = m->address,
                .size = m->size,
        };
        int flags;

        if (m->by_fd) {
                source.file_fd = fd = caller_open_fd(&request->caller, m->fd, &flags);
                if (fd == -EBADF || (fd >= 0 && ((flags & O_PATH) || (flags & O_ACCMODE) == O_WRONLY))) {
                        *ret_errno = -EBADF;
                        return 0;
                }
                if (fd < 0)
                        return fd;
        }

        return module_image_read(&source, request->policy->timeout_usec, ret_errno, &m->info);
}

static void read_parameters(Request *request, ModuleRequest *m) {
        ssize_t n = caller_read_string(
                        &request->caller, m->parameters_address, m->parameters, sizeof(m->parameters));

        m->parameters_error = n < 0 ? (int) n : 0;
        if (n < 0)
                m->parameters[0] = 0;
}

/* Return: 1 if the policy lends it, by its name or by an alias of it; 0 if not; or a negative errno. */
static int is_lent(const Request *request, const ModuleRequest *m) {
        if (!*m->info.name)
                return 0;
        if (policy_allows_module(request->policy, m->info.name))
                return 1;
        if (request->policy->error)
                return 0;

        return module_is_meant(request->policy->module.modules, m->info.name, request->policy->timeout_usec);
}

static Verdict refuse_module(Request *request, const ModuleRequest *m) {
        char *hint = *m->info.name ? g_strdup_printf("[Module] AllowModule=%s", m->info.name) : NULL;

        return refuse(request, m, REASON_MODULE_NOT_LENT, hint);
}

/* "again": a former supervisor died on this call when it may have begun to load. */
static Verdict load(Request *request, const ModuleRequest *m, const char *parameters, bool again,
                int64_t *ret_result) {
        ModuleOutcome outcome;
        bool failed;
        int r;

        request_acting(request, SLOT_ACTING, 0);
        r = module_load(m->info.name, parameters, request->policy->timeout_usec, &outcome, &failed);
        if (failed) {
                request->arguments = describe(m);
                return request_fail(request, r, ret_result);
        }

        switch (outcome) {
        case MODULE_BLACKLISTED:
                return refuse(request, m, REASON_MODULE_NOT_LENT,
                                g_strdup_printf("the host's modprobe.d blacklists %s", m->info.name));
        case MODULE_INSTALL_COMMAND:
                return refuse(request, m, REASON_MODULE_NOT_LENT,
                                g_strdup_printf("the host's modprobe.d has an install command for %s or for "
                                                "what it depends on",
                                                m->info.name));
        case MODULE_NOT_FOUND:
                /* What the caller has is for another kernel, and that's what the kernel would say. */
                return emulate(request, m, -ENOEXEC, ret_result);
        case MODULE_TRIED:
        default:
                return emulate(request, m, r == -EEXIST && again ? 0 : r, ret_result);
        }
}

/* The kernel's order: the image, whether it's there already, the parameters. */
static Verdict act(Request *request, ModuleRequest *m, int64_t *ret_result) {
        bool again = request->retry && request->slot->stage == SLOT_ACTING;
        g_autofree char *parameters = NULL, *refused = NULL, *text = NULL;
        int r;

        r = is_lent(request, m);
        if (r < 0)
                return request_fail(request, r, ret_result);
        if (r == 0)
                return refuse_module(request, m);

        if (module_is_live(m->info.name)) /* By the former supervisor's doing, if it came so far. */
                return emulate(request, m, again ? 0 : -EEXIST, ret_result);

        if (m->parameters_error == -EFAULT)
                return emulate(request, m, -EFAULT, ret_result);
        if (m->parameters_error < 0)
                return refuse(request, m, REASON_PARAMETERS_NOT_LENT, NULL);

        text = g_strdup(m->parameters);
        r = module_parameters_check(request->policy, m->info.name, text, &parameters, &refused);
        if (r < 0)
                return refuse(request, m, REASON_PARAMETERS_NOT_LENT,
                                refused ? g_strdup_printf("[Module] AllowParameters=%s", refused) : NULL);

        return load(request, m, parameters, again, ret_result);
}

static Verdict module_handle(Request *request, int64_t *ret_result) {
        g_autofree ModuleRequest *m = g_new(ModuleRequest, 1);
        Reason reason;
        int r, error = 0;

        module_request(request, m);
        if (m->flags & FORCE_FLAGS)
                return VERDICT_CONTINUED; /* The filter lets them pass; a third party's needn't. */
        if (caller_has_natively(&request->caller, CAP_SYS_MODULE))
                return VERDICT_CONTINUED; /* It may load what it likes, not just what the host has. */

        r = caller_identify(&request->caller);
        if (r < 0)
                return request_fail(request, r, ret_result);

        reason = caller_may_borrow(&request->caller, CAP_SYS_MODULE,
                        policy_allows_user(request->policy, request->caller.euid));
        if (reason != REASON_NONE)
                return refuse(request, m, reason, NULL);

        if (m->flags & ~(unsigned) MODULE_INIT_COMPRESSED_FILE)
                return emulate(request, m, -EINVAL, ret_result);

        r = caller_impersonate(&request->caller);
        if (r < 0)
                return request_fail(request, r, ret_result);

        r = read_info(request, m, &error);
        if (r >= 0 && error >= 0)
                read_parameters(request, m);
        if (caller_verify(&request->caller) < 0)
                return VERDICT_CONTINUED; /* Gone: nobody waits for an answer. */
        if (r < 0)
                return request_fail(request, r, ret_result);
        if (error == -EACCES || error == -EPERM) /* It holds a file open that it couldn't open itself. */
                return refuse(request, m, REASON_PATH_NOT_REACHABLE, NULL);
        if (error < 0)
                return emulate(request, m, error, ret_result);

        return act(request, m, ret_result);
}

const Handler module_handler = {
        .name = "module",
        .calls = CALL_BIT(CALL_INIT_MODULE) | CALL_BIT(CALL_FINIT_MODULE),
        .capabilities = CAPABILITY_BIT(CAP_SYS_MODULE) | CAPABILITY_BIT(CAP_DAC_READ_SEARCH),
        .handle = module_handle,
};
