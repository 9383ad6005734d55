/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fnmatch.h>
#include <string.h>

#include "policy/mount-type.h"

/* Types that no policy lends. A superblock that's made on behalf of a container belongs to the host, not to
 * the container: what such a file system shows or obeys would be the host's. */
static const struct {
        const char *name;
        const char *why;
} never_lent[] = {
        /* A container mounts these by itself, in its own namespaces; ours would show the host's. */
        { "binfmt_misc", "it would change how the host runs programs" },
        { "cgroup", "it would show the host's cgroups" },
        { "cgroup2", "it would show the host's cgroups" },
        { "cpuset", "it would show the host's cgroups" },
        { "devpts", "a container mounts its own" },
        { "mqueue", "it would show the host's message queues" },
        { "overlay", "a container mounts its own; its layers would be opened with the host's rights" },
        { "proc", "it would show the host's processes" },
        { "ramfs", "a container mounts its own; it has no limit of size" },
        { "sysfs", "it would show the host's devices and network" },

        /* These take descriptors, which would be looked up in the wrong process. */
        { "autofs", "it takes a descriptor of the caller" },
        { "fuse", "a container mounts its own; it takes a descriptor of the caller" },
        { "fuseblk", "it takes a descriptor of the caller" },

        /* These are the kernel's own controls: whoever has them has the host. */
        { "bpf", "it gives access to the kernel; [Bpf] Token= lends one to make tokens of" },
        { "configfs", "it configures the kernel" },
        { "debugfs", "it gives access to the kernel" },
        { "devtmpfs", "it has all of the host's devices" },
        { "efivarfs", "it changes the host's firmware" },
        { "functionfs", "it controls a USB device of the host" },
        { "fusectl", "it controls the FUSE mounts of the host" },
        { "gadgetfs", "it controls a USB device of the host" },
        { "ibmasmfs", "it controls the host's hardware" },
        { "nfsd", "it configures the host's NFS server" },
        { "ocfs2_dlmfs", "it controls the host's cluster" },
        { "oprofilefs", "it gives access to the kernel" },
        { "pstore", "it shows the host's crash logs" },
        { "resctrl", "it controls the host's processors" },
        { "rpc_pipefs", "it talks to the host's NFS services" },
        { "s390_hypfs", "it shows the host's hypervisor" },
        { "securityfs", "it configures the host's security modules" },
        { "selinuxfs", "it configures the host's security modules" },
        { "smackfs", "it configures the host's security modules" },
        { "spufs", "it controls the host's processors" },
        { "tracefs", "it gives access to the kernel" },
        { "usbfs", "it gives access to the host's USB devices" },
        { "xenfs", "it controls the host's hypervisor" },

        /* These would reach files of the host, or take the caller's word for where they are. */
        { "aufs", "its layers would be opened with the host's rights" },
        { "ecryptfs", "its lower directory would be opened with the host's rights" },
        { "shiftfs", "its lower directory would be opened with the host's rights" },

        /* Nobody can mount these. */
        { "aio", "it's internal to the kernel" },
        { "anon_inodefs", "it's internal to the kernel" },
        { "bdev", "it's internal to the kernel" },
        { "dax", "it's internal to the kernel" },
        { "nsfs", "it's internal to the kernel" },
        { "pidfs", "it's internal to the kernel" },
        { "pipefs", "it's internal to the kernel" },
        { "secretmem", "it's internal to the kernel" },
        { "sockfs", "it's internal to the kernel" },
};

#define STRINGS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* Not among them: what names another device or file, what's for the host's administrator (quotas, DAX,
 * priorities of kernel threads), what's for debugging. */
static const char *const ext_options[] = { "acl", "noacl", "auto_da_alloc", "auto_da_alloc=*",
        "noauto_da_alloc", "barrier", "barrier=*", "nobarrier", "block_validity", "noblock_validity", "bsddf",
        "minixdf", "commit=*", "data=journal", "data=ordered", "data=writeback", "data_err=abort",
        "data_err=ignore", "delalloc", "nodelalloc", "dioread_lock", "dioread_nolock", "discard", "nodiscard",
        "errors=continue", "errors=remount-ro", "grpid", "nogrpid", "bsdgroups", "sysvgroups", "i_version",
        "init_itable", "init_itable=*", "noinit_itable", "inode_readahead_blks=*", "journal_async_commit",
        "journal_checksum", "nojournal_checksum", "max_batch_time=*", "min_batch_time=*", "max_dir_size_kb=*",
        "noload", "norecovery", "noquota", "nouid32", "resgid=*", "resuid=*", "stripe=*", "user_xattr",
        "nouser_xattr", NULL };
static const char *const xfs_options[] = { "allocsize=*", "attr2", "noattr2", "discard", "nodiscard", "grpid",
        "nogrpid", "bsdgroups", "sysvgroups", "ikeep", "noikeep", "inode32", "inode64", "largeio",
        "nolargeio", "logbsize=*", "logbufs=*", "noalign", "norecovery", "nouuid", "noquota", "sunit=*",
        "swidth=*", "swalloc", "wsync", NULL };
static const char *const btrfs_options[] = { "acl", "noacl", "autodefrag", "noautodefrag", "barrier",
        "nobarrier", "clear_cache", "commit=*", "compress", "compress=*", "compress-force",
        "compress-force=*", "datacow", "nodatacow", "datasum", "nodatasum", "discard", "discard=*",
        "nodiscard", "flushoncommit", "noflushoncommit", "max_inline=*", "metadata_ratio=*", "nologreplay",
        "rescue=*", "space_cache", "space_cache=*", "nospace_cache", "ssd", "ssd_spread", "nossd",
        "nossd_spread", "subvol=*", "subvolid=*", "treelog", "notreelog", "usebackuproot",
        "user_subvol_rm_allowed", NULL };
static const char *const fat_options[] = { "allow_utime=*", "check=*", "codepage=*", "discard", "dmask=*",
        "errors=continue", "errors=remount-ro", "flush", "fmask=*", "gid=*", "iocharset=*", "nonumtail",
        "nonumtail=*", "quiet", "rodir", "shortname=*", "showexec", "sys_immutable", "time_offset=*",
        "tz=UTC", "uid=*", "umask=*", "uni_xlate", "uni_xlate=*", "usefree", "utf8", "utf8=*", NULL };

static const MountType types[] = {
        { "bpf", MOUNT_TYPE_NO_SOURCE | MOUNT_TYPE_CALLERS, NULL, STRINGS("gid=*", "mode=*", "uid=*") },
        { "btrfs", 0, "rescue=nologreplay", btrfs_options },
        { "erofs", MOUNT_TYPE_READ_ONLY | MOUNT_TYPE_FILES, NULL,
                        STRINGS("acl", "noacl", "cache_strategy=*", "user_xattr", "nouser_xattr") },
        { "exfat", MOUNT_TYPE_OWNED, NULL,
                        STRINGS("allow_utime=*", "discard", "dmask=*", "errors=continue", "errors=remount-ro",
                                        "fmask=*", "gid=*", "iocharset=*", "keep_last_dots", "sys_tz",
                                        "time_offset=*", "uid=*", "umask=*", "zero_size_dir") },
        { "ext2", MOUNT_TYPE_ERRORS, NULL, ext_options },
        { "ext3", MOUNT_TYPE_ERRORS, "noload", ext_options },
        { "ext4", MOUNT_TYPE_ERRORS, "noload", ext_options },
        { "f2fs", 0, "disable_roll_forward",
                        STRINGS("acl", "noacl", "active_logs=*", "background_gc=*", "discard", "nodiscard",
                                        "disable_roll_forward", "extent_cache", "noextent_cache",
                                        "flush_merge", "inline_data", "noinline_data", "inline_dentry",
                                        "noinline_dentry", "inline_xattr", "noinline_xattr", "mode=*",
                                        "user_xattr", "nouser_xattr") },
        { "hugetlbfs", MOUNT_TYPE_NO_SOURCE | MOUNT_TYPE_OWNED, NULL,
                        STRINGS("gid=*", "min_size=*", "mode=*", "nr_inodes=*", "pagesize=*", "size=*",
                                        "uid=*") },
        { "iso9660", MOUNT_TYPE_READ_ONLY, NULL,
                        STRINGS("block=*", "check=*", "cruft", "dmode=*", "gid=*", "hide", "iocharset=*",
                                        "map=*", "mode=*", "nocompress", "nojoliet", "norock",
                                        "overriderockperm", "sbsector=*", "session=*", "showassoc", "uid=*",
                                        "unhide", "utf8") },
        { "msdos", MOUNT_TYPE_OWNED, NULL, fat_options },
        { "nfs", MOUNT_TYPE_NETWORK, NULL, NULL },
        { "nfs4", MOUNT_TYPE_NETWORK, NULL, NULL },
        { "9p", MOUNT_TYPE_NETWORK, NULL, NULL },
        { "afs", MOUNT_TYPE_NETWORK, NULL, NULL },
        { "ceph", MOUNT_TYPE_NETWORK, NULL, NULL },
        { "cifs", MOUNT_TYPE_NETWORK, NULL, NULL },
        { "smb3", MOUNT_TYPE_NETWORK, NULL, NULL },
        { "ntfs3", MOUNT_TYPE_OWNED, NULL,
                        STRINGS("acl", "noacl", "discard", "dmask=*", "fmask=*", "gid=*", "hidden",
                                        "hide_dot_files", "iocharset=*", "nohidden", "noprealloc", "prealloc",
                                        "showmeta", "sparse", "sys_immutable", "uid=*", "umask=*",
                                        "windows_names") },
        { "squashfs", MOUNT_TYPE_READ_ONLY, NULL,
                        STRINGS("errors=continue", "threads=multi", "threads=percpu", "threads=single") },
        { "tmpfs", MOUNT_TYPE_NO_SOURCE | MOUNT_TYPE_OWNED, NULL,
                        STRINGS("gid=*", "huge=*", "inode32", "inode64", "mode=*", "nr_blocks=*",
                                        "nr_inodes=*", "size=*", "uid=*") },
        { "udf", 0, NULL,
                        STRINGS("adinicb", "noadinicb", "anchor=*", "bs=*", "dmode=*", "gid=*", "iocharset=*",
                                        "lastblock=*", "longad", "mode=*", "nostrict", "session=*", "shortad",
                                        "uid=*", "umask=*", "undelete", "unhide", "utf8") },
        { "vfat", MOUNT_TYPE_OWNED, NULL, fat_options },
        { "xfs", 0, "norecovery", xfs_options },
};

/* Options that stop the host, or name what the caller needn't be allowed to reach: other devices, files and
 * descriptors, which would be looked up with our eyes; and labels of the host's security modules. */
static const char *const never_lent_options[] = { "assert=panic", "context=*", "defcontext=*", "device=*",
        "domain_id=*", "errors=panic", "fatal_errors=*", "fd=*", "fscontext=*", "fsid=*", "group_id=*",
        "jdev=*", "journal_dev=*", "journal_path=*", "logdev=*", "lowerdir*", "datadir*", "onerror=panic",
        "panic", "rfdno=*", "rootcontext=*", "rootmode=*", "rtdev=*", "source=*", "smackfs*", "trans=unix",
        "upperdir=*", "user_id=*", "usrjquota=*", "grpjquota=*", "wfdno=*", "workdir=*" };

const MountType *mount_type_find(const char *name) {
        for (size_t i = 0; i < G_N_ELEMENTS(types); i++)
                if (strcmp(types[i].name, name) == 0)
                        return &types[i];

        return NULL;
}

bool mount_type_is_callers(const char *name) {
        const MountType *type = mount_type_find(name);

        return type && (type->flags & MOUNT_TYPE_CALLERS);
}

const char *mount_type_never_lent(const char *name) {
        for (size_t i = 0; i < G_N_ELEMENTS(never_lent); i++)
                if (strcmp(never_lent[i].name, name) == 0)
                        return never_lent[i].why;

        return NULL;
}

bool mount_type_name_is_valid(const char *name) {
        /* A dot would begin a subtype, which only FUSE has. */
        return *name && strlen(name) < 64 &&
               !name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")];
}

bool mount_option_matches(const char *const *globs, size_t n, const char *name, const char *value) {
        g_autofree char *both = value ? g_strdup_printf("%s=%s", name, value) : NULL;

        for (size_t i = 0; i < n; i++)
                if (fnmatch(globs[i], both ?: name, 0) == 0)
                        return true;

        return false;
}

bool mount_option_never_lent(const char *name, const char *value) {
        return mount_option_matches(never_lent_options, G_N_ELEMENTS(never_lent_options), name, value);
}
