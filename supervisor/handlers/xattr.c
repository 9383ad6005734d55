/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* setxattr(2), removexattr(2) and, with ReadBack=, getxattr(2), listxattr(2), in all their forms: extended
 * attributes that only the host's root may set, such as trusted.overlay.opaque.
 *
 * Privilege lent: CAP_SYS_ADMIN in the initial user namespace, for the one call on an attribute that
 * AllowName= names, on an object whose owner and group are the container's own (for a service: one that it
 * may write to). The kernel itself asks for no more than the capability, so this keeps a container from
 * marking files of the host that were only lent to it.
 *
 * What a hostile container may try, and what meets it:
 *   - change the name, the value or the path while they're read: each is copied once, the name is checked and
 * used from the copy, the object is opened once (O_PATH: a FIFO, a device, a link never blocks and is never
 * followed by the l-forms) and acted on by that descriptor.
 *   - reach security.capability, user.* or system.*: policy_allows_xattr() never says yes to them, and
 * they're left to the kernel.
 *   - sizes: a name is at most XATTR_NAME_MAX, a value XATTR_SIZE_MAX; the buffers have that size and there's
 * one of each.
 *   - make us write into memory that isn't its own (by execve of another thread, by address): caller_write()
 * goes to the memory of the time of the call, and only where the caller itself may write. */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/limits.h>
#include <linux/xattr.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "basic/fd.h"
#include "supervisor/handlers/handlers.h"
#include "supervisor/lookup.h"

typedef enum Operation { OPERATION_SET, OPERATION_REMOVE, OPERATION_GET, OPERATION_LIST } Operation;

/* How a form of a call names its object and where its further arguments are. */
typedef enum Form { FORM_PATH, FORM_LINK, FORM_FD, FORM_AT } Form;

static const struct {
        Operation operation;
        Form form;
} call_table[_CALL_MAX] = {
        [CALL_SETXATTR] = { OPERATION_SET, FORM_PATH },
        [CALL_LSETXATTR] = { OPERATION_SET, FORM_LINK },
        [CALL_FSETXATTR] = { OPERATION_SET, FORM_FD },
        [CALL_SETXATTRAT] = { OPERATION_SET, FORM_AT },
        [CALL_REMOVEXATTR] = { OPERATION_REMOVE, FORM_PATH },
        [CALL_LREMOVEXATTR] = { OPERATION_REMOVE, FORM_LINK },
        [CALL_FREMOVEXATTR] = { OPERATION_REMOVE, FORM_FD },
        [CALL_REMOVEXATTRAT] = { OPERATION_REMOVE, FORM_AT },
        [CALL_GETXATTR] = { OPERATION_GET, FORM_PATH },
        [CALL_LGETXATTR] = { OPERATION_GET, FORM_LINK },
        [CALL_FGETXATTR] = { OPERATION_GET, FORM_FD },
        [CALL_GETXATTRAT] = { OPERATION_GET, FORM_AT },
        [CALL_LISTXATTR] = { OPERATION_LIST, FORM_PATH },
        [CALL_LLISTXATTR] = { OPERATION_LIST, FORM_LINK },
        [CALL_FLISTXATTR] = { OPERATION_LIST, FORM_FD },
        [CALL_LISTXATTRAT] = { OPERATION_LIST, FORM_AT },
};

/* struct xattr_args of the *xattrat() calls (6.13). */
typedef struct XattrArgs {
        uint64_t value __attribute__((aligned(8)));
        uint32_t size;
        uint32_t flags;
} XattrArgs;

/* One call, its arguments read. The buffers are as large as the kernel allows and serve one call after the
 * other. */
typedef struct XattrRequest {
        Operation operation;
        Form form;
        int fd; /* FORM_FD: the descriptor; FORM_AT: dirfd */
        unsigned lookup_flags;
        uint64_t path_address;
        uint64_t name_address;
        uint64_t value_address; /* of the value, or of the list */
        uint64_t size;
        int flags; /* XATTR_CREATE, XATTR_REPLACE */
        bool value_read;
        char name[XATTR_NAME_MAX + 1];
} XattrRequest;

static char value_buffer[XATTR_SIZE_MAX];
static char list_buffer[XATTR_LIST_MAX];

/* Reads struct xattr_args as copy_struct_from_user() does: a larger one is fine if what we don't know is
 * zero. */
static int read_xattr_args(const Caller *caller, uint64_t address, uint64_t size, XattrRequest *x) {
        char bytes[4096] = {};
        XattrArgs args;
        int r;

        if (size < sizeof(args))
                return -EINVAL;
        if (size > sizeof(bytes))
                return -E2BIG;

        r = caller_read(caller, address, bytes, size);
        if (r < 0)
                return r;
        for (size_t i = sizeof(args); i < size; i++)
                if (bytes[i])
                        return -E2BIG;

        memcpy(&args, bytes, sizeof(args));
        x->value_address = args.value;
        x->size = args.size;
        x->flags = (int) args.flags;
        return 0;
}

/* Takes the call's registers apart. Return: 0 or the negative errno of a bad argument. */
static int read_arguments(const Request *request, XattrRequest *x) {
        const uint64_t *args = request->args;
        unsigned shift = 0;

        x->operation = call_table[request->call].operation;
        x->form = call_table[request->call].form;

        if (x->form == FORM_AT) {
                const int known = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH;

                x->fd = (int) args[0];
                x->path_address = args[1];
                if ((unsigned) args[2] & ~(unsigned) known)
                        return -EINVAL;
                if (args[2] & AT_SYMLINK_NOFOLLOW)
                        x->lookup_flags |= LOOKUP_NOFOLLOW;
                if (args[2] & AT_EMPTY_PATH)
                        x->lookup_flags |= LOOKUP_EMPTY_PATH;

                if (x->operation == OPERATION_LIST) {
                        x->value_address = args[3];
                        x->size = args[4];
                        return 0;
                }

                x->name_address = args[3];
                return x->operation == OPERATION_REMOVE
                                       ? 0
                                       : read_xattr_args(&request->caller, args[4], args[5], x);
        }

        if (x->form == FORM_FD)
                x->fd = (int) args[0];
        else {
                x->fd = AT_FDCWD;
                x->path_address = args[0];
                if (x->form == FORM_LINK)
                        x->lookup_flags |= LOOKUP_NOFOLLOW;
        }

        if (x->operation == OPERATION_LIST)
                shift = 1;
        else
                x->name_address = args[1];

        x->value_address = args[2 - shift];
        x->size = request->compat ? (uint32_t) args[3 - shift] : args[3 - shift];
        if (x->operation == OPERATION_SET)
                x->flags = (int) args[4];
        return 0;
}

/* The usual case, a short name and a short value, in one go. Return: did it work? */
static bool read_small(const Request *request, XattrRequest *x) {
        size_t name_size = MIN(sizeof(x->name), caller_page_rest(x->name_address));

        if (x->operation != OPERATION_SET || x->size == 0 || x->size > 256)
                return false;
        if (caller_read_both(&request->caller, x->name_address, x->name, name_size, x->value_address,
                            value_buffer, x->size) < 0)
                return false;

        x->value_read = memchr(x->name, 0, name_size);
        return x->value_read;
}

/* Reads the name, and for a change whatever the kernel checks before it looks for the object. Return: 0 or
 * the caller's errno. */
static int read_name(const Request *request, XattrRequest *x) {
        ssize_t n;

        if (x->operation == OPERATION_LIST)
                return 0;
        if (x->operation == OPERATION_SET && (x->flags & ~(XATTR_CREATE | XATTR_REPLACE)))
                return -EINVAL;

        if (read_small(request, x))
                return x->name[0] ? 0 : -ERANGE;

        n = caller_read_string(&request->caller, x->name_address, x->name, sizeof(x->name));
        if (n == -ENAMETOOLONG || n == 0)
                return -ERANGE;

        return n < 0 ? (int) n : 0;
}

static int read_value(const Request *request, const XattrRequest *x) {
        if (x->operation != OPERATION_SET || x->value_read)
                return 0;
        if (x->size > XATTR_SIZE_MAX)
                return -E2BIG;

        return caller_read(&request->caller, x->value_address, value_buffer, x->size);
}

/* May this caller change or see lent attributes of this object? For a container: it's one of its own. For a
 * service: it may write to it. */
static bool object_is_callers(const Caller *caller, int object, const char *self) {
        struct stat st;

        if (caller->userns->kind == USERNS_CONTAINER)
                return fstat(object, &st) >= 0 && caller_maps_owner(caller, st.st_uid, st.st_gid);

        return faccessat(AT_FDCWD, self, W_OK, AT_EACCESS) >= 0;
}

/* A successor asks whether what it meets is its predecessor's work. */
static bool was_done(const Request *request, const XattrRequest *x, const char *self, int error) {
        static char present[XATTR_SIZE_MAX];
        ssize_t n;

        if (!request->retry || request->slot->stage != SLOT_ACTING || request->slot->before != error)
                return false;
        if (x->operation == OPERATION_REMOVE)
                return error == -ENODATA;

        n = getxattr(self, x->name, present, sizeof(present));
        return n >= 0 && (uint64_t) n == x->size && memcmp(present, value_buffer, x->size) == 0;
}

/* Both XATTR_CREATE and removing fail the second time. What they'd fail with is noted before the first, if
 * they don't fail by then. */
static int act_change(Request *request, const XattrRequest *x, const char *self) {
        bool once = x->operation == OPERATION_REMOVE || (x->flags & XATTR_CREATE);
        int second = x->operation == OPERATION_REMOVE ? -ENODATA : -EEXIST, r;

        if (once && request->slot->stage == SLOT_RECEIVED) {
                bool there = getxattr(self, x->name, NULL, 0) >= 0;

                if (there == (x->operation == OPERATION_REMOVE))
                        request_acting(request, SLOT_ACTING, second);
        }

        if (x->operation == OPERATION_SET)
                r = setxattr(self, x->name, value_buffer, x->size, x->flags) < 0 ? -errno : 0;
        else
                r = removexattr(self, x->name) < 0 ? -errno : 0;

        return r == second && once && was_done(request, x, self, second) ? 0 : r;
}

static ssize_t act_get(Request *request, const XattrRequest *x, const char *self) {
        size_t size = x->size > sizeof(value_buffer) ? sizeof(value_buffer) : x->size;
        ssize_t n;
        int r;

        n = getxattr(self, x->name, value_buffer, size);
        if (n < 0)
                return -errno;
        if (size == 0)
                return n;

        r = caller_write(&request->caller, x->value_address, value_buffer, (size_t) n);
        return r < 0 ? r : n;
}

/* What the caller would see natively (all but trusted.*), and the lent names. */
static ssize_t act_list(Request *request, const XattrRequest *x, const char *self) {
        size_t kept = 0;
        ssize_t n;
        int r;

        n = listxattr(self, list_buffer, sizeof(list_buffer));
        if (n < 0)
                return -errno;

        for (size_t i = 0, length; i < (size_t) n; i += length) {
                length = strlen(list_buffer + i) + 1;
                if (strncmp(list_buffer + i, XATTR_TRUSTED_PREFIX, strlen(XATTR_TRUSTED_PREFIX)) == 0 &&
                                !policy_allows_xattr(request->policy, list_buffer + i))
                        continue;
                memmove(list_buffer + kept, list_buffer + i, length);
                kept += length;
        }

        if (x->size == 0)
                return (ssize_t) kept;
        if (kept > x->size)
                return -ERANGE;

        r = caller_write(&request->caller, x->value_address, list_buffer, kept);
        return r < 0 ? r : (ssize_t) kept;
}

/* Opens what fsetxattr() and the like name, which must not be an O_PATH descriptor. Return: an O_PATH fd or
 * the caller's errno. */
static int open_descriptor(Request *request, const XattrRequest *x) {
        int flags, fd;

        fd = caller_open_fd(&request->caller, x->fd, &flags);
        if (fd >= 0 && (flags & O_PATH)) {
                close_fd(fd);
                return -EBADF;
        }

        return fd;
}

static void describe(Request *request, const XattrRequest *x, const char *path) {
        char buffer[PATH_MAX];

        if (!request_wants_description(request) || request->arguments)
                return;

        if (x->form == FORM_FD)
                request->arguments = request_text("descriptor %i, %s", x->fd, x->name);
        else {
                if (!path && caller_read_string(&request->caller, x->path_address, buffer, sizeof(buffer)) >=
                                                0)
                        path = buffer;
                request->arguments = request_text("%s, %s%s", path ?: "?", x->name,
                                x->operation == OPERATION_SET ? "" : " (remove)");
        }
}

static Verdict refuse(Request *request, const XattrRequest *x, Reason reason, const char *path) {
        char *hint = NULL;

        if (caller_has_natively(&request->caller, CAP_SYS_ADMIN))
                return VERDICT_CONTINUED;

        describe(request, x, path);
        /* What was read is the caller's only if it's still there (law 3); the journal is no place for others'
         * memory. */
        if (request->arguments && caller_verify(&request->caller) < 0)
                return VERDICT_CONTINUED;

        if (reason == REASON_NAME_NOT_LENT)
                hint = request_text("[Setxattr] AllowName=%s", x->name);
        else if (reason == REASON_USER_NOT_LENT)
                hint = g_strdup_printf("[Intercept] AllowUsers=%u", (unsigned) request->caller.euid);

        return request_refuse(request, reason, g_steal_pointer(&request->arguments), hint);
}

/* The object is at hand and everything is checked but whose it is. */
static Verdict act(
                Request *request, const XattrRequest *x, int object, const char *path, int64_t *ret_result) {
        char self[64];

        /* The descriptor stands for the object: this name leads to it and nowhere else, and isn't followed
         * further if it's a link. */
        snprintf(self, sizeof(self), "/proc/self/fd/%i", object);

        if (!object_is_callers(&request->caller, object, self))
                return x->operation == OPERATION_LIST || x->operation == OPERATION_GET
                                       ? VERDICT_CONTINUED
                                       : refuse(request, x, REASON_OWNER_NOT_MAPPED, path);

        switch (x->operation) {
        case OPERATION_SET:
        case OPERATION_REMOVE:
                *ret_result = act_change(request, x, self);
                describe(request, x, path);
                break;
        case OPERATION_GET:
                *ret_result = act_get(request, x, self);
                break;
        case OPERATION_LIST:
                *ret_result = act_list(request, x, self);
                break;
        }

        return VERDICT_EMULATED;
}

/* Whatever isn't lent and isn't privileged natively is none of our business. Neither is what a service
 * manager tries on each cgroup that it makes and can do without: as refusals these would bury the ones that
 * someone wants to hear of. */
static bool name_is_asked_for(const char *name) {
        static const char *const tried[] = {
                "trusted.delegate",
                "trusted.invocation_id",
                "trusted.oomd_avoid",
                "trusted.oomd_omit",
                "trusted.survive_final_kill_signal",
        };

        if (strncmp(name, XATTR_TRUSTED_PREFIX, strlen(XATTR_TRUSTED_PREFIX)) != 0)
                return strncmp(name, XATTR_SECURITY_PREFIX, strlen(XATTR_SECURITY_PREFIX)) == 0 &&
                       strcmp(name, "security.capability") != 0;

        for (size_t i = 0; i < G_N_ELEMENTS(tried); i++)
                if (strcmp(name, tried[i]) == 0)
                        return false;

        return true;
}

static Verdict xattr_handle(Request *request, int64_t *ret_result) {
        XattrRequest x = {};
        _cleanup_close_ int object = -1;
        Lookup lookup = LOOKUP_INIT;
        Reason reason;
        Verdict v;
        int r, prepared = 0;

        if (call_table[request->call].operation >= OPERATION_GET && !request->policy->xattr.read_back)
                return VERDICT_CONTINUED;

        /* Arguments that the kernel refuses at once, it may refuse itself: it has them all. */
        r = read_arguments(request, &x);
        if (r >= 0)
                r = read_name(request, &x);
        if (r < 0)
                return VERDICT_CONTINUED;

        if (x.operation != OPERATION_LIST && !policy_allows_xattr(request->policy, x.name)) {
                if (x.operation == OPERATION_GET || !name_is_asked_for(x.name))
                        return VERDICT_CONTINUED;

                return refuse(request, &x, REASON_NAME_NOT_LENT, NULL);
        }

        r = caller_identify(&request->caller);
        if (r < 0)
                return request_fail(request, r, ret_result);

        reason = caller_may_borrow(&request->caller, CAP_SYS_ADMIN,
                        policy_allows_user(request->policy, request->caller.euid));
        if (reason != REASON_NONE)
                return x.operation >= OPERATION_GET ? VERDICT_CONTINUED : refuse(request, &x, reason, NULL);

        r = read_value(request, &x);
        if (r < 0)
                return VERDICT_CONTINUED;

        if (x.operation >= OPERATION_GET) {
                r = caller_open_memory(&request->caller);
                if (r < 0)
                        return request_fail(request, r, ret_result);
        }

        r = caller_impersonate(&request->caller);
        if (r < 0)
                return request_fail(request, r, ret_result);

        if (x.form == FORM_FD)
                prepared = object = open_descriptor(request, &x);
        else
                prepared = lookup_prepare(&lookup, &request->caller, x.fd, x.path_address, x.lookup_flags);

        if (caller_verify(&request->caller) < 0) {
                lookup_done(&lookup);
                return VERDICT_CONTINUED; /* Gone: nobody waits for an answer. */
        }

        if (x.form != FORM_FD)
                object = prepared < 0 ? prepared : lookup_object(&lookup, x.lookup_flags);
        if (object < 0) {
                /* The kernel comes to the same answer by itself, also where a magic link keeps us from
                 * finding out (ELOOP). */
                v = VERDICT_CONTINUED;
                if (object == -ELOOP && x.operation < OPERATION_GET)
                        v = refuse(request, &x, REASON_PATH_NOT_REACHABLE, lookup.path);
        } else
                v = act(request, &x, object, x.form == FORM_FD ? NULL : lookup.path, ret_result);

        lookup_done(&lookup);
        return v;
}

const Handler xattr_handler = {
        .name = "setxattr",
        .calls = CALL_BIT(CALL_SETXATTR) | CALL_BIT(CALL_LSETXATTR) | CALL_BIT(CALL_FSETXATTR) |
                 CALL_BIT(CALL_SETXATTRAT) | CALL_BIT(CALL_REMOVEXATTR) | CALL_BIT(CALL_LREMOVEXATTR) |
                 CALL_BIT(CALL_FREMOVEXATTR) | CALL_BIT(CALL_REMOVEXATTRAT) | CALL_BIT(CALL_GETXATTR) |
                 CALL_BIT(CALL_LGETXATTR) | CALL_BIT(CALL_FGETXATTR) | CALL_BIT(CALL_GETXATTRAT) |
                 CALL_BIT(CALL_LISTXATTR) | CALL_BIT(CALL_LLISTXATTR) | CALL_BIT(CALL_FLISTXATTR) |
                 CALL_BIT(CALL_LISTXATTRAT),
        .capabilities = CAPABILITY_BIT(CAP_DAC_OVERRIDE) | CAPABILITY_BIT(CAP_DAC_READ_SEARCH),
        .handle = xattr_handle,
};
