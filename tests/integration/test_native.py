# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every errno and every result is the kernel's: the same calls, made once by root of a container that borrows and
once by real root of the host in an equivalent directory, print the same."""

import shlex

import pytest

LONG = "./" * 2040

PREPARE = r"""
rm -rf "$D"; mkdir -p "$D"; cd "$D"
mkdir d d/sub ro full setgid acl owned group gone gone2 jail jail/in
touch file; ln -s d link; ln -s loop loop; ln -s nowhere dangling; mkfifo fifo; ln -s file flink; ln -s "$D/d" abslink; ln -s ../../../../../../d jail/up
mount -t tmpfs none ro; touch ro/f; mkdir ro/d; mount -o remount,bind,ro ro
mount -t tmpfs -o nr_inodes=2 none full; touch full/a
mkdir plain; mount -t ramfs none plain; touch plain/f
mkdir nodev; mount -t tmpfs -o nodev none nodev; ln -s /nowhere nodev/l
chgrp 1003 setgid; chmod 2775 setgid
setfacl -d -m u:1001:rw,m::rw acl
chown 1000:1000 owned; chmod 700 owned
chown 1002:1003 group; chmod 770 group
"""

CLEAN = 'umount "$D/ro" "$D/full" "$D/plain" "$D/nodev"; rm -rf "$D"'

# After each call: what was made, and away with it. All that the calls make begins with m or x.
SHOW = r"""
[ ! -e acl/m ] || getfacl -cp acl/m
find . -mindepth 1 \( -name 'm*' -o -name 'x*' \) -printf '  %p %M %U:%G ' -exec stat -c %t:%T {} \; -delete | sort
"""

# name: words for the tool calls; what's made is shown by stat afterwards.
MKNOD = {
    "absolute path": ["mknod", "$D/m-abs", "c", "640", "1:3"],
    "relative path": ["mknod", "m-rel", "c", "640", "1:3"],
    "in a directory": ["mknod", "d/sub/m", "c", "640", "1:3"],
    "through dots": ["mknod", "./d/../d/./sub/../m-dots", "c", "640", "1:3"],
    "through a relative link": ["mknod", "link/m-link", "c", "640", "1:3"],
    "through an absolute link": ["mknod", "abslink/m-abslink", "c", "640", "1:3"],
    "doubled slashes": ["mknod", "d//sub///m-slashes", "c", "640", "1:3"],
    "through /proc/self/cwd": ["mknod", "/proc/self/cwd/m-proc", "c", "640", "1:3"],
    "through /proc/thread-self/cwd": ["mknod", "/proc/thread-self/cwd/m-procthread", "c", "640", "1:3"],
    "through /proc/self/root": ["mknod", "/proc/self/root$D/m-procroot", "c", "640", "1:3"],
    "dirfd": ["mknodat", "r:d", "m-dirfd", "c", "640", "1:3"],
    "dirfd from O_PATH": ["mknodat", "p:d", "m-opath", "c", "640", "1:3"],
    "dirfd and dots": ["mknodat", "r:d", "../m-dirfd-dots", "c", "640", "1:3"],
    "dirfd ignored for an absolute path": ["mknodat", "99", "$D/m-fdabs", "c", "640", "1:3"],
    "AT_FDCWD": ["mknodat", "cwd", "m-cwd", "c", "640", "1:3"],
    "bad dirfd": ["mknodat", "99", "x", "c", "640", "1:3"],
    "negative dirfd": ["mknodat", "-1", "x", "c", "640", "1:3"],
    "dirfd of a file": ["mknodat", "r:file", "x", "c", "640", "1:3"],
    "dirfd of a file, empty path": ["mknodat", "r:file", "@empty", "c", "640", "1:3"],
    "exists": ["mknod", "file", "c", "640", "1:3"],
    "exists as directory": ["mknod", "d", "c", "640", "1:3"],
    "exists as dangling link": ["mknod", "dangling", "c", "640", "1:3"],
    "exists on a read-only mount": ["mknod", "ro/f", "c", "640", "1:3"],
    "slash behind a new name where nodes don't open": ["mknod", "nodev/new/", "c", "640", "1:3"],
    "slash behind a link where nodes don't open": ["mknod", "nodev/l/", "c", "640", "1:3"],
    "dot": ["mknod", ".", "c", "640", "1:3"],
    "dot dot": ["mknod", "..", "c", "640", "1:3"],
    "root": ["mknod", "/", "c", "640", "1:3"],
    "directory with slash": ["mknod", "d/", "c", "640", "1:3"],
    "new name with slash": ["mknod", "new/", "c", "640", "1:3"],
    "dangling link with slash": ["mknod", "dangling/", "c", "640", "1:3"],
    "no such directory": ["mknod", "none/x", "c", "640", "1:3"],
    "file as directory": ["mknod", "file/x", "c", "640", "1:3"],
    "dangling link as directory": ["mknod", "dangling/x", "c", "640", "1:3"],
    "link loop": ["mknod", "loop/x", "c", "640", "1:3"],
    "empty path": ["mknod", "@empty", "c", "640", "1:3"],
    "null path": ["mknod", "@null", "c", "640", "1:3"],
    "unmapped path": ["mknod", "@bad", "c", "640", "1:3"],
    "path cut off by the end of a page": ["mknod", "@cut:cut", "c", "640", "1:3"],
    "path that ends with its page": ["mknod", "@end:m-end", "c", "640", "1:3"],
    "name of 255 bytes": ["mknod", "@long:255", "c", "640", "1:3"],
    "name of 256 bytes": ["mknod", "@long:256", "c", "640", "1:3"],
    "path of 4095 bytes": ["mknod", "@long:4095", "c", "640", "1:3"],
    "path of 4096 bytes": ["mknod", "@long:4096", "c", "640", "1:3"],
    "path of 5000 bytes": ["mknod", "@long:5000", "c", "640", "1:3"],
    "long path that's right": ["mknod", LONG + "m-long", "c", "640", "1:3"],
    "read-only mount": ["mknod", "ro/x", "c", "640", "1:3"],
    "read-only mount, no such directory": ["mknod", "ro/none/x", "c", "640", "1:3"],
    "no inode left": ["mknod", "full/x", "c", "640", "1:3"],
    "all mode bits": ["mknod", "m-mode", "c", "7777", "1:3"],
    "umask": ["--umask=027", "mknod", "m-umask", "c", "666", "1:3"],
    "default ACL": ["--umask=077", "mknod", "acl/m", "c", "666", "1:3"],
    "set-group-ID directory": ["mknod", "setgid/m", "c", "640", "1:3"],
    "group of the caller": ["--gid=1003", "mknod", "m-gid", "c", "640", "1:3"],
    "directory of another user, with DAC override": ["mknod", "owned/m", "c", "640", "1:3"],
    "directory of another user, without": ["--drop=dac", "mknod", "owned/x", "c", "640", "1:3"],
    "directory of a group, member": ["--groups=1003,1004", "--drop=dac", "mknod", "group/m", "c", "640", "1:3"],
    "directory of a group, no member": ["--groups=1005", "--drop=dac", "mknod", "group/x", "c", "640", "1:3"],
    "without CAP_MKNOD": ["--drop=mknod", "mknod", "x", "c", "640", "1:3"],
    "without any capability": ["--drop=all", "mknod", "x", "c", "640", "1:3"],
    "ordinary user": ["--uid=1000", "mknod", "owned/x", "c", "640", "1:3"],
    "other fsuid": ["--fsuid=1000", "mknod", "owned/x", "c", "640", "1:3"],
    "other fsgid": ["--fsgid=1003", "mknod", "m-fsgid", "c", "640", "1:3"],
    "nested user namespace": ["--userns", "mknod", "x", "c", "640", "1:3"],
    "chroot": ["--chroot=jail", "mknod", "/in/m-chroot", "c", "640", "1:3"],
    "chroot, dots at the top": ["--chroot=jail", "mknod", "/../../../in/m-top", "c", "640", "1:3"],
    "chroot, link that climbs": ["--chroot=jail", "mknod", "up/x", "c", "640", "1:3"],
    "removed working directory": ["--chdir=gone", "rmcwd", ",", "mknod", "x", "c", "640", "1:3"],
    "removed working directory, dots": ["--chdir=gone2", "rmcwd", ",", "mknod", "../m-fromgone", "c", "640", "1:3"],
    "thread that isn't the leader": ["--thread=with", "mknod", "m-thread", "c", "640", "1:3"],
    "thread whose leader has ended": ["--thread=alone", "mknod", "m-alone", "c", "640", "1:3"],
    "child": ["--fork", "mknod", "m-child", "c", "640", "1:3"],
    "twice": ["mknod", "m-twice", "c", "640", "1:3", ",", "mknod", "m-twice", "c", "640", "1:3"],
    "FIFO": ["mknod", "m-fifo", "p", "640", "1:3"],
    "regular file": ["mknod", "m-file", "f", "640", "1:3"],
    "type 0": ["mknod", "m-zero", "0", "640", "1:3"],
    "type directory": ["mknod", "m-dir", "d", "640", "1:3"],
    "type link": ["mknod", "m-lnk", "l", "640", "1:3"],
    "whiteout": ["mknod", "m-whiteout", "c", "0", "0:0"],
}

N = "trusted.overlay.t"
XATTR = {
    "set": ["setxattr", "file", N + "1", "y", "0"],
    "set through a link": ["setxattr", "flink", N + "2", "y", "0"],
    "set on a directory": ["setxattr", "d", N + "3", "y", "0"],
    "set on a FIFO": ["setxattr", "fifo", N + "4", "y", "0"],
    "set on a link itself": ["lsetxattr", "flink", N + "5", "y", "0"],
    "set on a dangling link itself": ["lsetxattr", "dangling", N + "5", "y", "0"],
    "lsetxattr on a file": ["lsetxattr", "file", N + "6", "y", "0"],
    "set by descriptor": ["fsetxattr", "r:file", N + "7", "y", "0"],
    "set by writing descriptor": ["fsetxattr", "w:file", N + "8", "y", "0"],
    "set by descriptor of a directory": ["fsetxattr", "r:d", N + "9", "y", "0"],
    "set by O_PATH descriptor": ["fsetxattr", "p:file", N, "y", "0"],
    "set by bad descriptor": ["fsetxattr", "99", N, "y", "0"],
    "set by negative descriptor": ["fsetxattr", "-1", N, "y", "0"],
    "create": ["setxattr", "file", N + "c", "y", "1"],
    "create, exists": ["setxattr", "file", N + "cc", "y", "0", ",", "setxattr", "file", N + "cc", "z", "1"],
    "replace": ["setxattr", "file", N + "r", "y", "0", ",", "setxattr", "file", N + "r", "z", "2"],
    "replace, doesn't exist": ["setxattr", "file", N + "none", "y", "2"],
    "create and replace": ["setxattr", "file", N + "both", "y", "3"],
    "unknown flag": ["setxattr", "file", N, "y", "4"],
    "unknown flag, no such file": ["setxattr", "none", N, "y", "4"],
    "empty value": ["setxattr", "file", N + "e", "@empty", "0"],
    "null value of size 0": ["setxattr", "file", N + "n", "@null", "0"],
    "unmapped value": ["setxattr", "file", N, "@bad", "0"],
    "value that ends with its page": ["setxattr", "file", N + "p", "@end:value", "0"],
    "value of 1000 bytes": ["setxattr", "file", N + "k", "@size:1000", "0"],
    "value of 64 KiB": ["setxattr", "d/sub", N, "@size:65536", "0"],
    "value of 64 KiB and one": ["setxattr", "file", N, "@size:65537", "0"],
    "value of 64 KiB and one, no such file": ["setxattr", "none", N, "@size:65537", "0"],
    "empty name": ["setxattr", "file", "@empty", "y", "0"],
    "null name": ["setxattr", "file", "@null", "y", "0"],
    "unmapped name": ["setxattr", "file", "@bad", "y", "0"],
    "name of 255 bytes": ["setxattr", "file", "trusted.overlay." + "n" * 239, "y", "0"],
    "name of 256 bytes": ["setxattr", "file", "trusted.overlay." + "n" * 240, "y", "0"],
    "name of 300 bytes, no such file": ["setxattr", "none", "@long:300", "y", "0"],
    "name cut off by the end of a page": ["setxattr", "file", "@cut:trusted.overlay.cut", "y", "0"],
    "no such file": ["setxattr", "none", N, "y", "0"],
    "dangling link": ["setxattr", "dangling", N, "y", "0"],
    "file as directory": ["setxattr", "file/x", N, "y", "0"],
    "link loop": ["setxattr", "loop", N, "y", "0"],
    "empty path": ["setxattr", "@empty", N, "y", "0"],
    "null path": ["setxattr", "@null", N, "y", "0"],
    "unmapped path": ["setxattr", "@bad", N, "y", "0"],
    "long path": ["setxattr", "@long:4096", N, "y", "0"],
    "long name in path": ["setxattr", "@long:256", N, "y", "0"],
    "read-only mount": ["setxattr", "ro/f", N, "y", "0"],
    "file system without": ["setxattr", "plain/f", N, "y", "0"],
    "through /proc/self/cwd": ["setxattr", "/proc/self/cwd/file", N + "proc", "y", "0"],
    "file of another user": ["setxattr", "owned", N, "y", "0"],
    "inside a directory that can't be entered": ["--drop=dac", "setxattr", "owned/x", N, "y", "0"],
    "without CAP_SYS_ADMIN": ["--drop=sys_admin", "setxattr", "file", N, "y", "0"],
    "chroot": ["--chroot=jail", "setxattr", "/in", N, "y", "0"],
    "thread": ["--thread=alone", "setxattr", "file", N + "t", "y", "0"],
    "remove": ["setxattr", "file", N + "x", "y", "0", ",", "removexattr", "file", N + "x"],
    "remove, doesn't exist": ["removexattr", "file", N + "none"],
    "remove, no such file": ["removexattr", "none", N],
    "remove by descriptor": ["setxattr", "file", N + "y", "y", "0", ",", "fremovexattr", "r:file", N + "y"],
    "remove by bad descriptor": ["fremovexattr", "99", N],
    "remove from a link itself": ["lsetxattr", "dangling", N + "z", "y", "0", ",", "lremovexattr", "dangling", N + "z"],
    "remove from a link itself, doesn't exist": ["lremovexattr", "dangling", N + "none"],
    "remove, empty name": ["removexattr", "file", "@empty"],
    "remove, long name": ["removexattr", "file", "@long:256"],
    "remove, unmapped name": ["removexattr", "file", "@bad"],
    "remove on a read-only mount": ["removexattr", "ro/f", N],
    "user attribute": ["setxattr", "file", "user.t", "y", "0", ",", "getxattr", "file", "user.t", "100", ",", "removexattr", "file", "user.t"],
    "user attribute on a FIFO": ["setxattr", "fifo", "user.t", "y", "0"],
}


WHERE = {"mknod": MKNOD, "xattr": XATTR}


def script(program, cases, directory):
    """A shell script that makes all calls and prints, after "== N", what each printed and made."""
    lines = [f"D={directory}", "set -e", PREPARE, "set +e"]
    for number, words in enumerate(cases.values()):
        quoted = " ".join('"' + w + '"' if "$D" in w else shlex.quote(w) for w in words)
        lines.append(f"cd $D; echo '== {number}'; timeout 20 {program} {quoted} 2>&1 || echo \"exit status $?\"")
        lines.append(SHOW)
    return "\n".join(lines)


def outcomes(result, cases):
    parts = result.stdout.split("== ")[1:]
    assert len(parts) == len(cases), result
    return {name: part.split("\n", 1)[1].rstrip() for name, part in zip(cases, parts)}


def attributes(host, directory):
    """All trusted attributes below, as the host sees them."""
    return host.run(f"cd {directory}; find . ! -path './ro*' -print0 | sort -z | xargs -0 getfattr -hd -m ^trusted", timeout=60).stdout


@pytest.fixture(scope="module")
def compare(demo):
    """compare(program, family) → (what it printed inside, what it printed natively), by case, and the attributes that it left."""
    host, done = demo.host, {}
    inside_directory, native_directory = "/srv/native", "/var/lib/machines/native"

    def run(program, family):
        if program == "calls-32" and not demo.run(f"test -x /usr/local/bin/{program}", check=False).ok:
            pytest.skip(f"{program} wasn't built: no 32-bit C library")
        if (program, family) not in done:
            done[program, family] = None  # should it fail, it isn't run again for each case
            done[program, family] = run_both(program, family)
        assert done[program, family], "the calls couldn't be run, see the first failure"
        return done[program, family]

    def run_both(program, family):
        cases = WHERE[family]
        inside = demo.run(["sh", "-s"], input=script(program, cases, inside_directory), timeout=120)
        native = host.run(["sh", "-s"], input=script(program, cases, native_directory), timeout=120)
        left = attributes(host, demo.root + inside_directory), attributes(host, native_directory)
        demo.run(f"D={inside_directory}; {CLEAN}")
        host.run(f"D={native_directory}; {CLEAN}")
        return outcomes(inside, cases), outcomes(native, cases), left

    return run


CASES = [(program, family, case) for program in ("calls", "calls-32") for family, cases in WHERE.items() for case in cases]


@pytest.mark.parametrize("program, family, case", CASES, ids=lambda v: v.replace(" ", "-"))
def test_same_as_natively(compare, program, family, case):
    inside, native, _ = compare(program, family)
    assert inside[case] == native[case]


@pytest.mark.parametrize("program", ["calls", "calls-32"])
def test_same_attributes_as_natively(compare, program):
    inside, native = compare(program, "xattr")[2]
    assert inside == native and "trusted.overlay.t1" in native
