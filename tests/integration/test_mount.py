# SPDX-License-Identifier: LGPL-2.1-or-later
"""mount(2) in real containers: what's lent is mounted as root of a host would have it, belongs to the container and can't
be turned against the host; what isn't lent stays out of reach."""

import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest

import machine

IMAGES = "/var/lib/machines/images"
RACES = 10000

MAKE = {
    "ext4": "truncate -s 32M $I; mkfs.ext4 -q -d $S -E root_owner=0:0 $I",
    "xfs": "truncate -s 320M $I; mkfs.xfs -q $I",
    "btrfs": "truncate -s 128M $I; mkfs.btrfs -q -r $S $I",
    "squashfs": "mksquashfs $S $I -quiet -no-progress",
    "erofs": "mkfs.erofs $I $S",
    "iso9660": "xorriso -as mkisofs -quiet -R -o $I $S",
}
WRITABLE = ("ext4", "xfs", "btrfs")


def kernel_has(kind):
    return any(line.split()[-1] == kind for line in Path("/proc/filesystems").read_text().splitlines())


def need(kind):
    if not kernel_has(kind):
        pytest.skip(f"this kernel has no {kind}")


@pytest.fixture(scope="module")
def disks(host):
    """{type: loop device of the host}, each with a file system of known content; "unlisted" is one that no policy names."""
    host.run(f"""
        mkdir -p {IMAGES}/tree/directory; cd {IMAGES}/tree
        echo hello >hello; echo user >user; chown 1000:1000 user; mknod -m 666 null c 1 3; cp /usr/bin/id suid; chmod 4755 suid
        mkdir -p {IMAGES}/secret; echo secret >{IMAGES}/secret/secret""")
    made = {}
    for kind, command in MAKE.items():
        if not kernel_has(kind):
            continue
        host.run(f"I={IMAGES}/{kind}; S={IMAGES}/tree; {command} >/dev/null 2>&1", timeout=120)
        made[kind] = host.loop_device(f"{IMAGES}/{kind}")
        if kind == "xfs":
            host.run(f"mkdir -p /mnt/fill; mount {made[kind]} /mnt/fill; cp -a {IMAGES}/tree/. /mnt/fill; umount /mnt/fill")
    host.run(f"mksquashfs {IMAGES}/secret {IMAGES}/unlisted -quiet -no-progress")
    made["unlisted"] = host.loop_device(f"{IMAGES}/unlisted")
    return made


def policy(disks, extra="", types="ext4 xfs btrfs squashfs erofs iso9660", loop="yes"):
    sources = " ".join(node for kind, node in disks.items() if kind != "unlisted")
    return f"""[Intercept]
SystemCalls=mount mknod
LogRateLimitBurst=0
[Mknod]
AllowDevice=c 1:3 c 10:229
[Mount]
AllowType={types}
AllowSource={sources}
AllowLoop={loop}
{extra}
"""


def block_container(host, disks, name, **kwargs):
    binds = "\n".join(f"Bind={node}:/dev/disk-{kind}" for kind, node in disks.items())
    container = host.container(name, settings=f"[Files]\n{binds}\n")
    container.policy(policy(disks, **kwargs))
    host.write(f"/etc/systemd/system/{container.unit}.d/20-fuse.conf", "[Service]\nDeviceAllow=/dev/fuse rwm\nTimeoutStopSec=20\n")
    container.enable()
    container.start()
    container.run("mkdir -p /mnt/m /mnt/n; chmod 755 /mnt /mnt/m")
    return container


@pytest.fixture(scope="module")
def block(host, disks):
    container = block_container(host, disks, "block")
    yield container
    container.remove()


def set_policy(container, disks, **kwargs):
    container.policy(policy(disks, **kwargs))
    container.host.run(["deputyctl", "reload"])


@pytest.fixture(autouse=True)
def nothing_stays(request):
    """Whatever a test does, nothing that's mounted for a container stays on the host."""
    yield
    if "block" in request.fixturenames:
        block = request.getfixturevalue("block")
        block.run("umount -R /mnt/m /mnt/n /srv/m 2>/dev/null || true", check=False)
        mounted = block.host.run("cat /proc/*/mountinfo 2>/dev/null | grep -E ' - (ext4|xfs|btrfs|squashfs|erofs|iso9660) (/dev/disk-|/srv/img)' || true").stdout
        assert mounted == ""


def mounted(container, path="/mnt/m"):
    """(source, type, mount options, options of the file system) of what's mounted there, or None."""
    for line in reversed(container.run(["cat", "/proc/self/mountinfo"]).stdout.splitlines()):
        left, right = line.split(" - ", 1)
        kind, source, options = right.split(" ", 2)
        if left.split()[4] == path:
            return source, kind, left.split()[5].split(","), options.split(",")
    return None


# -- what's lent ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MAKE)
def test_disk(block, disks, kind):
    need(kind)
    block.run(f"mount -t {kind} -o ro /dev/disk-{kind} /mnt/m")
    source, found, options, _ = mounted(block)
    assert (source, found) == (f"/dev/disk-{kind}", kind)
    assert {"nodev", "nosuid", "ro", "relatime"} <= set(options)
    assert block.run("cat /mnt/m/hello").stdout == "hello\n"
    owners = block.run("stat -c %u:%g /mnt/m /mnt/m/hello /mnt/m/user").stdout.split()
    if kind == "iso9660":
        assert owners[0] == "65534:65534"  # it can't be idmapped
    else:
        assert owners == ["0:0", "0:0", "1000:1000"]
    block.run("umount /mnt/m")
    assert mounted(block) is None


@pytest.mark.parametrize("kind", WRITABLE)
def test_files_that_are_written_have_the_right_owner_on_the_disk(block, disks, kind):
    need(kind)
    block.run(f"mount -t {kind} /dev/disk-{kind} /mnt/m; cd /mnt/m; echo x >root-made; mkdir -p for-all; chmod 777 for-all; "
              "setpriv --reuid=1000 --regid=1001 --clear-groups sh -c 'echo x >for-all/user-made'; chown 5:6 root-made; cd /; umount /mnt/m")
    block.host.run(f"mkdir -p /mnt/check; mount -o ro {disks[kind]} /mnt/check")
    owners = block.host.run("stat -c %u:%g /mnt/check/root-made /mnt/check/for-all/user-made; umount /mnt/check").stdout.split()
    assert owners == ["5:6", "1000:1001"]


def test_only_mount_options_that_were_asked_for(block):
    need("ext4")
    block.run("mount -t ext4 -o noexec,noatime,nodiratime,sync,lazytime,commit=7 /dev/disk-ext4 /mnt/m")
    _, _, options, super_options = mounted(block)
    assert {"nodev", "nosuid", "noexec", "noatime", "nodiratime"} <= set(options) and "ro" not in options
    assert {"rw", "sync", "lazytime", "commit=7", "errors=remount-ro"} <= set(super_options)


def test_strictatime(block):
    need("ext4")
    block.run("mount -t ext4 -o strictatime /dev/disk-ext4 /mnt/m")
    assert not {"relatime", "noatime", "noexec"} & set(mounted(block)[2])


def test_panic_is_never_lent(block):
    need("ext4")
    result = block.run("mount -t ext4 -o errors=panic /dev/disk-ext4 /mnt/m", check=False)
    assert not result.ok and mounted(block) is None


def test_image_that_asks_for_a_panic_doesnt_get_it(block):
    need("ext4")
    block.run("truncate -s 8M /srv/img-panic; mkfs.ext4 -q -e panic /srv/img-panic 2>/dev/null || { mkfs.ext4 -q /srv/img-panic; tune2fs -e panic /srv/img-panic; }; "
              "calls mount /srv/img-panic /mnt/m ext4 0 @null")
    assert "errors=remount-ro" in mounted(block)[3]


def test_flags_cant_be_taken_back(block):
    need("ext4")
    block.run("mount -t ext4 /dev/disk-ext4 /mnt/m")
    for option in ("dev", "suid", "dev,suid"):
        result = block.run(f"mount -o remount,bind,{option} /mnt/m", check=False)
        assert not result.ok and "permission denied" in result.stderr
    assert {"nodev", "nosuid"} <= set(mounted(block)[2])
    assert "Permission denied" in block.run("cat /mnt/m/null", check=False).stderr
    # Nor by a detour over another mount or another namespace.
    result = block.run("mount --bind /mnt/m /mnt/n; mount -o remount,bind,dev,suid /mnt/n", check=False)
    assert not result.ok
    assert "Permission denied" in block.run("cat /mnt/n/null", check=False).stderr
    assert not block.run("unshare --mount sh -c 'mount -o remount,bind,dev /mnt/m && cat /mnt/m/null'", check=False).ok
    assert not block.run("unshare --user --map-root-user --mount sh -c 'mount -o remount,bind,dev /mnt/m && cat /mnt/m/null'", check=False).ok
    # A set-user-ID program stays an ordinary one.
    assert block.run(["/mnt/m/suid", "-u"], uid=1000).stdout == "1000\n"


def test_nothing_to_find_in_the_namespaces_of_the_lock(block):
    """Some kernels (6.11 to 6.17) let a container find all mount namespaces of its user namespace: it gains nothing."""
    need("squashfs")
    host = block.host
    block.run("calls mount /dev/disk-squashfs /mnt/m squashfs 1 @null , umount /mnt/m")
    user = f"/proc/{block.leader()}/ns/user"
    # Two of the three that a supervisor holds: its own, the outer and the inner one.
    namespaces = host.run("for p in $(pgrep -x deputy-supervis); do for f in /proc/$p/fd/*; do case $(readlink $f) in mnt:*) echo $f;; esac; done; done").stdout.split()
    found = {namespace: host.run(["enter-namespace", user, namespace]).stdout.strip() for namespace in namespaces}
    assert sorted(found.values())[:2] == ["EPERM", "EPERM"] and "spot EROFS" in found.values(), found
    assert set(found.values()) == {"EPERM", "spot EROFS"}, found
    inner = next(namespace for namespace, what in found.items() if what == "spot EROFS")
    # Whoever puts something in the way gets no mount, and the next one is on a new way.
    assert host.run(["enter-namespace", "--cover", user, inner]).stdout == "spot covered EROFS\n"
    assert block.run("calls mount /dev/disk-squashfs /mnt/m squashfs 1 @null").stdout == "mount -1 EPERM\n"
    assert block.run("calls mount /dev/disk-squashfs /mnt/m squashfs 1 @null").stdout == "mount 0 OK\n"
    assert "nodev" in mounted(block)[2] and block.run("cat /mnt/m/hello").stdout == "hello\n"


def test_mount_belongs_to_the_container(block):
    """Nothing else keeps it: umount, bind, move, propagation, other namespaces are as natively."""
    need("squashfs")
    block.run("mount --make-shared /; mkdir -p /srv/m /srv/o; mount -t squashfs /dev/disk-squashfs /mnt/m; mount --bind /mnt/m /srv/m; umount /mnt/m; cat /srv/m/hello; umount /srv/m")
    out = block.run("unshare --mount --propagation=slave sh -c 'sleep 1; cat /mnt/m/hello' & sleep 0.3; mount -t squashfs /dev/disk-squashfs /mnt/m; wait %1").stdout
    assert out == "hello\n"
    assert "master:" not in block.run("grep /mnt/m /proc/self/mountinfo").stdout


@pytest.mark.parametrize("kind", MAKE)
def test_image_file(block, kind):
    need(kind)
    block.host.run(f"cp --sparse=always {IMAGES}/{kind} {block.root}/srv/img-{kind}; chown --reference={block.root}/srv {block.root}/srv/img-{kind}")
    before = block.host.run("losetup -a | wc -l").stdout
    assert block.run(f"cd /srv; calls mount ./img-{kind} /mnt/m {kind} 0 @null").stdout == "mount 0 OK\n"
    assert mounted(block)[0] == f"./img-{kind}"
    assert block.run("cat /mnt/m/hello").stdout == "hello\n"
    block.run(f"umount /mnt/m; rm /srv/img-{kind}")
    block.host.wait_for(lambda: block.host.run("losetup -a | wc -l").stdout == before, 5, "the loop device to be free")


@pytest.mark.parametrize("name", ["mtd0", "mtd:boot", "ubi0", "UUID=1", "a:b"])
def test_source_that_could_be_something_else_than_a_path(block, name):
    """romfs and cramfs would take "mtd0" for a device of the host, and not look at the file of that name."""
    need("squashfs")
    block.run(["ln", "-sfn", "/dev/disk-squashfs", f"/srv/{name}"])
    assert block.run(f"cd /srv; calls mount {name} /mnt/m squashfs 1 @null; rm {name}").stdout == "mount 0 OK\n"
    assert mounted(block)[0] == f"./{name}"


def test_image_that_the_caller_may_only_read(block):
    need("squashfs")
    need("ext4")
    block.host.run(f"cp {IMAGES}/ext4 {block.root}/srv/img-ro; cp {IMAGES}/squashfs {block.root}/srv/img-none; "
                   f"chown 200000:200000 {block.root}/srv/img-ro {block.root}/srv/img-none; chmod 644 {block.root}/srv/img-ro; chmod 600 {block.root}/srv/img-none")
    assert block.run("calls mount /srv/img-ro /mnt/m ext4 0 @null").stdout == "mount -1 EACCES\n"
    assert block.run("calls mount /srv/img-ro /mnt/m ext4 1 @null , umount /mnt/m").stdout == "mount 0 OK\numount 0 OK\n"
    assert block.run("calls mount /srv/img-none /mnt/m squashfs 1 @null").stdout == "mount -1 EACCES\n"


@pytest.mark.parametrize("kind", ["squashfs", "erofs"])
def test_image_of_another_user_of_the_container(block, kind):
    """Root of the container may read it by CAP_DAC_OVERRIDE, whoever opens it in the end."""
    need(kind)
    block.host.run(f"cp {IMAGES}/{kind} {block.root}/srv/img-closed; chown --reference={block.root}/srv {block.root}/srv/img-closed")
    block.run("chown 1000 /srv/img-closed; chmod 600 /srv/img-closed")
    assert block.run(["calls", "mount", "/srv/img-closed", "/mnt/m", kind, "1", "@null"]).stdout == "mount 0 OK\n"
    assert block.run("cat /mnt/m/hello; umount /mnt/m; rm /srv/img-closed").stdout == "hello\n"


def test_read_only_writes_nothing(block):
    """A journal that would be replayed stays as it is."""
    need("ext4")
    image = f"{block.root}/srv/img-dirty"
    host = block.host
    host.run(f"truncate -s 16M {image}; mkfs.ext4 -q {image}; mkdir -p /mnt/dirty")
    host.run(f"mount {host.loop_device(image)} /mnt/dirty; touch /mnt/dirty/a; sync; cp {image} {image}.copy; umount /mnt/dirty; "
             f"mv {image}.copy {image}; chown --reference={block.root}/srv {image}")
    assert "needs_recovery" in block.host.run(["dumpe2fs", "-h", image]).stdout
    before = block.host.run(["sha256sum", image]).stdout
    assert block.run("calls mount /srv/img-dirty /mnt/m ext4 1 commit=5,data=ordered").stdout == "mount 0 OK\n"
    block.run("ls /mnt/m; umount /mnt/m")
    assert block.host.run(["sha256sum", image]).stdout == before


@pytest.mark.parametrize("how, arguments", [
    ("thread", "--thread=with mount /dev/disk-squashfs /mnt/m squashfs 1 @null"),
    ("thread alone", "--thread=alone mount /dev/disk-squashfs /mnt/m squashfs 1 @null"),
    ("relative", "--chdir=/mnt mount ../dev/disk-squashfs m squashfs 1 @null"),
    ("working directory", "--chdir=/mnt/m mount /dev/disk-squashfs . squashfs 1 @null"),
    ("link", "mount /srv/disk-link /srv/m-link squashfs 1 @null"),
    ("descriptor", "mount /dev/disk-squashfs /proc/self/fd/9 squashfs 1 @null"),
    ("source by descriptor", "mount /proc/self/fd/8 /mnt/m squashfs 1 @null"),
    ("magic number", "mount /dev/disk-squashfs /mnt/m squashfs 0xc0ed0001 @null"),
    ("empty options", "mount /dev/disk-squashfs /mnt/m squashfs 1 @empty"),
    ("strings at the end of pages", "mount @end:/dev/disk-squashfs @end:/mnt/m @end:squashfs 1 @end:errors=continue"),
], ids=lambda v: v.replace(" ", "-") if " " not in v[:12] or "-" not in v else "")
@pytest.mark.parametrize("program", ["calls", "calls-32"])
def test_all_ways_to_call(block, program, how, arguments):
    need("squashfs")
    if not block.run(f"test -x /usr/local/bin/{program}", check=False).ok:
        pytest.skip(f"{program} wasn't built: no 32-bit C library")
    if program == "calls-32" and "thread" in how:
        pytest.skip("the 32-bit program has no threads")
    block.host.run(f"cp {IMAGES}/squashfs {block.root}/srv/img-descriptor; chown --reference={block.root}/srv {block.root}/srv/img-descriptor")
    block.run("ln -sfn /mnt/m /srv/m-link; ln -sfn ../dev/disk-squashfs /srv/disk-link")
    out = block.run(f"exec 9</mnt/m 8</srv/img-descriptor; exec {program} {arguments}", check=False).stdout
    assert out == "mount 0 OK\n"
    assert mounted(block)[1] == "squashfs"


@pytest.mark.parametrize("name", [
    "/.deputyd/1/root/tmp/mount-name", "/.deputyd/self/root/tmp/mount-dir/x", "/srv/../.deputyd/1/root/tmp/mount-name", "/.deputyd", "//srv//.//x/../y/img", "/srv/z/../z/z/img",
    "/srv/" + "d/" * 40 + "img", "/srv/" + "n" * 250 + "/img",
])
def test_name_of_the_source_is_only_a_name(block, name):
    """Where it's looked up there's a way to the host; no name goes it."""
    need("squashfs")
    host = block.host
    image = f"{block.root}/srv/img-name"
    host.run(f"cp {IMAGES}/squashfs {image}; chown --reference={block.root}/srv {image}")
    block.run(["sh", "-ec", 'rm -rf /.deputyd; mkdir -p "$(dirname "$1")"; ln -f /srv/img-name "$1"', "sh", name])
    out = block.run(["calls", "mount", name, "/mnt/m", "squashfs", "1", "@null"]).stdout
    assert out == "mount 0 OK\n"
    source = mounted(block)[0]
    assert source in (name, "/source")
    assert source == name or ".deputyd" in name or len(name) > 255 or name.count("/") > 32
    assert block.run("cat /mnt/m/hello").stdout == "hello\n"
    block.run(["sh", "-c", 'umount /mnt/m; rm -f "$1"', "sh", name])
    assert not host.run("ls -d /tmp/mount-name* /tmp/mount-dir* /var/tmp/mount-* 2>/dev/null", check=False).stdout


def test_chroot(block):
    need("squashfs")
    block.run("mkdir -p /srv/jail/m /srv/jail/dev; cp -a /usr/local/bin/calls /srv/jail/; touch /srv/jail/dev/disk; mount --bind /dev/disk-squashfs /srv/jail/dev/disk; "
              "calls --chroot=/srv/jail mount /dev/disk /m squashfs 1 @null; cat /srv/jail/m/hello; umount /srv/jail/m /srv/jail/dev/disk")


# -- what policy forces -------------------------------------------------------------------------------------------


@pytest.fixture
def with_policy(block, disks):
    """with_policy(lines): further lines of [Mount] for one test."""
    yield lambda lines, types="ext2 ext4 squashfs tmpfs hugetlbfs": set_policy(block, disks, extra=lines, types=types)
    block.run("umount /mnt/m 2>/dev/null || true", check=False)
    set_policy(block, disks)


def owners(container):
    return container.run("stat -c %u:%g /mnt/m /mnt/m/hello").stdout.split()


def test_without_idmap(block, with_policy):
    need("ext4")
    with_policy("IDMap=no")
    block.run("mount -t ext4 /dev/disk-ext4 /mnt/m")
    assert owners(block) == ["65534:65534", "65534:65534"]
    assert "Permission denied" in block.run("echo x >/mnt/m/hello", check=False).stderr
    assert not block.run(["/mnt/m/suid", "-u"], uid=1000).stdout == "0\n"


def test_only_idmapped(block, with_policy):
    need("ext2")
    need("ext4")
    block.host.run(f"truncate -s 4M {block.root}/srv/img-ext2; mkfs.ext2 -q {block.root}/srv/img-ext2; chown --reference={block.root}/srv {block.root}/srv/img-ext2")
    if block.run("calls mount /srv/img-ext2 /mnt/m ext2 0 @null").stdout != "mount -1 EPERM\n":
        pytest.fail("ext2 isn't lent as yet")
    with_policy("IDMap=auto")
    assert block.run("calls mount /srv/img-ext2 /mnt/m ext2 0 @null").stdout == "mount 0 OK\n"
    idmapped = "idmapped" in mounted(block)[2]
    block.run("umount /mnt/m")
    with_policy("IDMap=yes")
    assert block.run("calls mount /srv/img-ext2 /mnt/m ext2 0 @null").stdout == ("mount 0 OK\n" if idmapped else "mount -1 EPERM\n")
    block.run("umount /mnt/m 2>/dev/null || true")
    assert block.run("calls mount /dev/disk-ext4 /mnt/m ext4 0 @null").stdout == "mount 0 OK\n"


def test_read_only_by_policy(block, with_policy):
    need("ext4")
    with_policy("ReadOnly=yes")
    block.run("mount -t ext4 -o rw /dev/disk-ext4 /mnt/m")
    _, _, options, super_options = mounted(block)
    assert "ro" in options and "ro" in super_options
    assert not block.run("mount -o remount,bind,rw /mnt/m", check=False).ok
    block.run("umount /mnt/m")
    with_policy("ReadOnly=no")
    assert block.run("calls mount /dev/disk-ext4 /mnt/m ext4 1 @null").stdout == "mount -1 EPERM\n"
    assert block.run("calls mount /dev/disk-ext4 /mnt/m ext4 0 ro").stdout == "mount -1 EPERM\n"
    assert block.run("calls mount /dev/disk-ext4 /mnt/m ext4 0 @null").stdout == "mount 0 OK\n"


def test_attributes_by_policy(block, with_policy):
    need("ext4")
    with_policy("NoDev=no\nNoSUID=no\nNoExec=yes")
    block.run("mount -t ext4 /dev/disk-ext4 /mnt/m")
    options = mounted(block)[2]
    assert "noexec" in options and not {"nodev", "nosuid"} & set(options)
    assert not block.run("mount -o remount,bind,exec /mnt/m", check=False).ok
    assert block.run("cat /mnt/m/null").stdout == ""  # lent as it is: this one's a null device
    block.run("umount /mnt/m")
    with_policy("NoSUID=no")
    block.run("mount -t ext4 /dev/disk-ext4 /mnt/m")
    assert block.run(["/mnt/m/suid", "-u"], uid=1000).stdout == "0\n"  # root of the container, no more


def test_targets_by_policy(block, with_policy):
    need("squashfs")
    with_policy("AllowTarget=/mnt/m /srv/only/*")
    block.run("mkdir -p /srv/only/a /srv/m; ln -sfn /srv/m /srv/only/out; ln -sfn /mnt/m /srv/in")
    for target, result in (("/mnt/m", "0 OK"), ("/srv/only/a", "0 OK"), ("/srv/in", "0 OK"), ("/srv/m", "-1 EPERM"), ("/srv/only/out", "-1 EPERM"), ("/mnt/m/../m", "0 OK"),
                           ("/srv/only/../m", "-1 EPERM")):
        assert block.run(f"calls mount /dev/disk-squashfs {target} squashfs 1 @null; umount {target} 2>/dev/null || true").stdout == f"mount {result}\n", target
    assert block.run("mkdir -p /srv/only/mnt/m; calls --chroot=/srv/only mount /x /mnt/m squashfs 1 @null", check=False).stdout == "mount -1 ENOENT\n"


def test_options_by_policy(block, with_policy):
    need("ext4")
    with_policy("AllowOptions=usrquota\nDenyOptions=commit=*")
    assert block.run("calls mount /dev/disk-ext4 /mnt/m ext4 0 commit=9").stdout == "mount -1 EPERM\n"
    assert block.run("calls mount /dev/disk-ext4 /mnt/m ext4 0 usrquota,nobarrier , umount /mnt/m").stdout.split()[1] == "0"


@pytest.mark.parametrize("kind", ["tmpfs", "hugetlbfs"])
@pytest.mark.parametrize("asked, owner", [("mode=700", "0:0"), ("uid=5,gid=6", "5:6")])
def test_owner_of_what_has_no_disk(block, disks, with_policy, kind, asked, owner):
    need(kind)
    for idmap in ("auto", "no"):
        set_policy(block, disks, types="tmpfs hugetlbfs", extra=f"AllowSource=none\nIDMap={idmap}")
        assert block.run(f"calls mount none /mnt/m {kind} 0 {asked}").stdout == "mount 0 OK\n"
        assert "nodev" in mounted(block)[2]
        assert block.run("stat -c %u:%g /mnt/m").stdout.strip() == owner
        block.run("mkdir /mnt/m/made; umount /mnt/m")
        # Idmapped or not, a user that the container hasn't got is none, as natively.
        assert block.run(f"calls mount none /mnt/m {kind} 0 uid=3000000").stdout == "mount -1 EINVAL\n"


def test_program_in_the_kernels_place(block, disks):
    """Fuse=: nothing of the kernel's ext4 is lent, and yet it's mounted."""
    need("fuse")
    program = shutil.which("fuse2fs")
    if not program:
        pytest.skip("fuse2fs isn't installed")
    host = block.host
    libraries = [word for line in host.run(["ldd", program]).stdout.splitlines() for word in line.split() if word.startswith("/")]
    host.run(["sh", "-ec", 'root=$1; shift; for f; do mkdir -p "$root$(dirname "$f")"; [ -e "$root$f" ] || cp -L "$f" "$root$f"; done', "sh", block.root, program, *libraries])
    set_policy(block, disks, types="squashfs", extra="Fuse=ext4:fuse2fs")
    block.run("[ -e /dev/fuse ] || mknod -m 600 /dev/fuse c 10 229; truncate -s 8M /srv/img-fuse")
    host.run(f"mkfs.ext4 -q {block.root}/srv/img-fuse")
    result = block.run("calls mount /srv/img-fuse /mnt/m ext4 0 @null")
    assert result.stdout == "mount 0 OK\n", block.host.journal("DEPUTYD_SYSCALL=mount")[-1]["MESSAGE"]
    assert mounted(block)[1].startswith("fuse")
    block.run("echo x >/mnt/m/written; cat /mnt/m/written; umount /mnt/m")
    assert block.run("calls mount /srv/img-fuse /mnt/m ext4 0 @null , umount /mnt/m").stdout == "mount 0 OK\numount 0 OK\n"
    assert block.run("calls mount /usr/bin/id /mnt/m ext4 0 @null").stdout == "mount -1 EINVAL\n"
    set_policy(block, disks, types="squashfs", extra="Fuse=ext4:no-such-program")
    assert block.run("calls mount /srv/img-fuse /mnt/m ext4 0 @null").stdout == "mount -1 ENOPKG\n"
    set_policy(block, disks)


def test_user_without_a_container(host, tmp_path):
    """AllowUsers=: a user of the host mounts on directories of its own, and nowhere else."""
    need("squashfs")
    host.run("mkdir -p /srv/user/own /srv/user/roots; chown 1234 /srv/user/own; mkdir -p /srv/user/tree; echo hello >/srv/user/tree/hello; mknod -m 666 /srv/user/tree/null c 1 3; "
             "rm -f /srv/user/img; mksquashfs /srv/user/tree /srv/user/img -quiet -no-progress; chmod 644 /srv/user/img")
    host.write("/srv/user/policy.conf", "[Intercept]\nSystemCalls=mount\nAllowUsers=1234\n[Mount]\nAllowType=squashfs\nAllowLoop=yes\nNoDev=no\nNoSUID=no\n")
    script = ("for d in own roots; do setpriv --reuid=1234 --regid=1234 --clear-groups calls mount /srv/user/img /srv/user/$d squashfs 1 @null; done; "
              "setpriv --reuid=1235 --regid=1234 --clear-groups calls mount /srv/user/img /srv/user/own squashfs 1 @null; "
              "cat /srv/user/own/hello; cat /srv/user/own/null; grep /srv/user/own /proc/self/mountinfo; umount /srv/user/own")
    result = host.run(["unshare", "--mount", "deputy-run", "--policy=/srv/user/policy.conf", "--", "sh", "-c", script], check=False)
    lines = result.stdout.splitlines()
    assert lines[:4] == ["mount 0 OK", "mount -1 EPERM", "mount -1 EPERM", "hello"], result
    assert "nodev" in lines[4] and "nosuid" in lines[4]
    assert "Permission denied" in result.stderr


def test_users_own_directories_of_the_kernel(host):
    """A user owns /proc/PID of its processes, and maybe a cgroup: what's mounted there would deceive the host."""
    need("squashfs")
    host.run("rm -rf /srv/user-proc; mkdir -p /srv/user-proc/tree /srv/user-proc/own; echo 'Uid: 0 0 0 0' >/srv/user-proc/tree/status; chown 1234 /srv/user-proc/own; "
             "mksquashfs /srv/user-proc/tree /srv/user-proc/img -quiet -no-progress; chmod 644 /srv/user-proc/img")
    host.write("/srv/user-proc/policy.conf", "[Intercept]\nSystemCalls=mount\nAllowUsers=1234\n[Mount]\nAllowType=squashfs\nAllowLoop=yes\n")
    script = ("cd /srv/user-proc; mkdir /sys/fs/cgroup/users-own; chown 1234 /sys/fs/cgroup/users-own; setpriv --reuid=1234 --regid=1234 --clear-groups sh -c '"
              "calls mount img own squashfs 1 @null; sleep 60 & calls mount img /proc/$! squashfs 1 @null; cat /proc/$!/status; calls mount img /sys/fs/cgroup/users-own squashfs 1 @null; kill $!'; "
              "umount /sys/fs/cgroup/users-own; rmdir /sys/fs/cgroup/users-own")
    result = host.run(["unshare", "--mount", "deputy-run", "--policy=/srv/user-proc/policy.conf", "--", "sh", "-c", script], check=False)
    assert [line for line in result.stdout.splitlines() if line.startswith("mount")] == ["mount 0 OK", "mount -1 EPERM", "mount -1 EPERM"], result
    assert "sleep" in result.stdout


def test_files_of_the_kernel_are_no_images(block):
    """Some are closed to whoever opens them without privilege, and so looks the opener up: that would be us."""
    need("squashfs")
    for path in ("/proc/sys/kernel/hostname", "/proc/cmdline", "/sys/kernel/uevent_seqnum"):
        assert block.run(["calls", "mount", path, "/mnt/m", "squashfs", "1", "@null"], check=False).stdout == "mount -1 EPERM\n", path


def test_source_name_doesnt_reach_the_host(block):
    """The kernel is told the name that the caller uses, in a directory of ours: nothing of it is made elsewhere."""
    need("squashfs")
    block.host.run("rm -rf /srv/open; mkdir -p /srv/open; chmod 777 /srv/open")
    for n, way in enumerate(("/.deputyd/self/root", "/.deputyd/self/cwd", "/.deputyd/1/root", "/.deputyd/self/fd/4")):
        directory = f"{way}/srv/open/made-{n}"
        block.run(f"mkdir -p {directory}; ln -sfn /dev/disk-squashfs {directory}/disk")
        result = block.run(["calls", "mount", f"{directory}/disk", "/mnt/m", "squashfs", "1", "@null"]).stdout
        left = block.host.run("ls -l /srv/open").stdout
        block.run("umount /mnt/m; rm -rf /.deputyd", check=False)
        assert (left, result) == ("total 0\n", "mount 0 OK\n"), way


# -- every errno is the kernel's ---------------------------------------------------------------------------------

PREPARE = r"""
set -e; mkdir -p $D; cd $D; mkdir -p d d2 locked; touch file; ln -sfn loop loop; ln -sfn nowhere dangling; ln -sfn d link; mkfifo -m 600 fifo 2>/dev/null || true
ln -sfn $DISK disk; ln -sfn /dev/null null
"""
ERRNOS = {
    "all right": ["disk", "d", "squashfs", "1", "@null", ",", "umount", "d"],
    "twice on the same spot": ["disk", "d", "squashfs", "1", "@null", ",", "mount", "disk", "d", "squashfs", "1", "@null", ",", "umount", "d"],
    "twice elsewhere": ["disk", "d", "squashfs", "1", "@null", ",", "mount", "disk", "d2", "squashfs", "1", "@null", ",", "umount", "d", ",", "umount", "d2"],
    "null type": ["disk", "d", "@null", "1", "@null"],
    "null source": ["@null", "d", "squashfs", "1", "@null"],
    "empty source": ["@empty", "d", "squashfs", "1", "@null"],
    "unmapped source": ["@bad", "d", "squashfs", "1", "@null"],
    "unmapped target": ["disk", "@bad", "squashfs", "1", "@null"],
    "unmapped type": ["disk", "d", "@bad", "1", "@null"],
    "unmapped data": ["disk", "d", "squashfs", "1", "@bad"],
    "unmapped source, no such target": ["@bad", "none", "squashfs", "1", "@null"],
    "unmapped data, no such target": ["disk", "none", "squashfs", "1", "@bad"],
    "source cut off by the end of a page": ["@cut:disk", "d", "squashfs", "1", "@null"],
    "target cut off by the end of a page": ["disk", "@cut:d", "squashfs", "1", "@null"],
    "data up to the end of a page": ["disk", "d", "squashfs", "1", "@cut:errors=continue", ",", "umount", "d"],
    "source of 4095 bytes": ["@long:4095", "d", "squashfs", "1", "@null"],
    "source of 4096 bytes": ["@long:4096", "d", "squashfs", "1", "@null"],
    "source of 300 bytes": ["@long:300", "d", "squashfs", "1", "@null"],
    "type of 5000 bytes": ["disk", "d", "@long:5000", "1", "@null"],
    "target of 4095 bytes": ["disk", "@long:4095", "squashfs", "1", "@null"],
    "target of 4096 bytes": ["disk", "@long:4096", "squashfs", "1", "@null"],
    "target of 256 bytes": ["disk", "@long:256", "squashfs", "1", "@null"],
    "data of 4095 bytes": ["disk", "d", "squashfs", "1", "@long:4095"],
    "data of 8000 bytes": ["disk", "d", "squashfs", "1", "@long:8000"],
    "empty target": ["disk", "@empty", "squashfs", "1", "@null"],
    "no such target": ["disk", "none", "squashfs", "1", "@null"],
    "dangling target": ["disk", "dangling", "squashfs", "1", "@null"],
    "target is a file": ["disk", "file", "squashfs", "1", "@null"],
    "target is a FIFO": ["disk", "fifo", "squashfs", "1", "@null"],
    "target below a file": ["disk", "file/x", "squashfs", "1", "@null"],
    "target with slash": ["disk", "d/", "squashfs", "1", "@null", ",", "umount", "d"],
    "file with slash": ["disk", "file/", "squashfs", "1", "@null"],
    "target by link": ["disk", "link", "squashfs", "1", "@null", ",", "umount", "d"],
    "link loop": ["disk", "loop", "squashfs", "1", "@null"],
    "link loop on the way": ["disk", "loop/x", "squashfs", "1", "@null"],
    "no such source": ["none", "d", "squashfs", "1", "@null"],
    "source below a file": ["file/x", "d", "squashfs", "1", "@null"],
    "source is a directory": ["d", "d", "squashfs", "1", "@null"],
    "source is a character device": ["null", "d", "squashfs", "1", "@null"],
    "source is a file": ["file", "d", "squashfs", "1", "@null"],
    "source is a FIFO": ["fifo", "d", "squashfs", "1", "@null"],
    "no such source, no such target": ["none", "none", "squashfs", "1", "@null"],
    "no such source, unknown option": ["none", "d", "squashfs", "1", "nosuchoption"],
    "no such source, target is a file": ["none", "file", "squashfs", "1", "@null"],
    "unknown option": ["disk", "d", "squashfs", "1", "nosuchoption"],
    "unknown option, target is a file": ["disk", "file", "squashfs", "1", "nosuchoption"],
    "unknown value": ["disk", "d", "squashfs", "1", "threads=nosuch"],
    "value missing": ["disk", "d", "squashfs", "1", "errors="],
    "two sources": ["disk", "d", "squashfs", "1", "source=disk"],
    "commas": ["disk", "d", "squashfs", "1", ",,errors=continue,", ",", "umount", "d"],
    "no name": ["disk", "d", "squashfs", "1", "=x", ",", "umount", "d"],
    "flags by word": ["disk", "d", "squashfs", "0", "ro,sync,dirsync,lazytime", ",", "umount", "d"],
    "another file system on it": ["disk", "d", "ext4", "1", "@null"],
    "another file system on it, writable": ["disk", "d", "ext4", "0", "@null"],
    "xfs that isn't": ["disk", "d", "xfs", "1", "@null"],
    "erofs that isn't": ["disk", "d", "erofs", "1", "@null"],
    "type with a dot": ["disk", "d", "squashfs.x", "1", "@null"],
    "type that the kernel hasn't": ["disk", "d", "iso9660", "1", "@null"],
    "user flag": ["disk", "d", "squashfs", "0x80000001", "@null"],
    "upper half of the flags": ["disk", "d", "squashfs", "0x100000001", "@null"],
}


@pytest.fixture(scope="module")
def compare(block, disks):
    """(inside, natively) of each case: what the calls printed."""
    need("squashfs")
    set_policy(block, disks, loop="no", types="ext4 xfs btrfs squashfs erofs iso9660")
    cases = "\n".join(f"echo '== {i}'; timeout 20 $P mount {' '.join(shlex.quote(w) for w in words)} 2>&1; umount d d2 2>/dev/null; true"
                      for i, words in enumerate(ERRNOS.values()))
    block.host.run(f"ln -sfn {disks['squashfs']} /dev/disk-squashfs")
    results = {}
    for program in ("calls", "calls-32"):
        script = f"P={program}; D=/srv/errnos; DISK=/dev/disk-squashfs\n{PREPARE}\nset +e\n{cases}\n"
        if not block.run(f"test -x /usr/local/bin/{program}", check=False).ok:
            continue
        inside = block.run(["sh", "-s"], input=script, timeout=120).stdout
        native = block.host.run(["unshare", "--mount", "sh", "-s"], input=script, timeout=120).stdout
        results[program] = [dict(zip(ERRNOS, (part.split("\n", 1)[1].strip() for part in out.split("== ")[1:]))) for out in (inside, native)]
    set_policy(block, disks)
    return results


@pytest.mark.parametrize("case", ERRNOS, ids=lambda v: v.replace(" ", "-"))
@pytest.mark.parametrize("program", ["calls", "calls-32"])
def test_same_errno_as_natively(compare, program, case):
    if program not in compare:
        pytest.skip(f"{program} wasn't built: no 32-bit C library")
    inside, native = compare[program]
    assert native[case].startswith("mount ")
    assert inside[case] == native[case]


# -- systemd ------------------------------------------------------------------------------------------------------


def test_fstab(block):
    need("ext4")
    block.run("mkdir -p /mnt/fstab; echo '/dev/disk-ext4 /mnt/fstab ext4 noauto,x-test,ro 0 0' >/etc/fstab; mount /mnt/fstab; cat /mnt/fstab/hello; umount /mnt/fstab; "
              "sed -i s/noauto,// /etc/fstab; mount -a; mount -a; findmnt -n /mnt/fstab; umount /mnt/fstab; rm /etc/fstab")


def test_mount_unit_and_automount(block):
    need("squashfs")
    block.run(["sh", "-c", "cat >/etc/systemd/system/mnt-unit.mount"], input="[Mount]\nWhat=/dev/disk-squashfs\nWhere=/mnt/unit\nType=squashfs\nOptions=ro\n")
    block.run(["sh", "-c", "cat >/etc/systemd/system/mnt-unit.automount"], input="[Automount]\nWhere=/mnt/unit\n")
    block.run("systemctl daemon-reload; systemctl start mnt-unit.mount; cat /mnt/unit/hello; systemctl stop mnt-unit.mount")
    assert block.run("systemctl is-active mnt-unit.mount", check=False).stdout == "inactive\n"
    if block.run("systemctl start mnt-unit.automount", check=False).ok:
        assert block.run("cat /mnt/unit/hello").stdout == "hello\n"
        block.run("systemctl stop mnt-unit.automount mnt-unit.mount")


# -- what isn't lent ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [
    "--uid=1000 mount /dev/disk-squashfs /mnt/m squashfs 1 @null",
    "--drop=sys_admin mount /dev/disk-squashfs /mnt/m squashfs 1 @null",
    "--drop=all mount /dev/disk-squashfs /mnt/m squashfs 1 @null",
    "--userns mount /dev/disk-squashfs /mnt/m squashfs 1 @null",
    "mount /dev/disk-unlisted /mnt/m squashfs 1 @null",
    "mount /dev/disk-squashfs /mnt/m debugfs 1 @null",
    "mount none /mnt/m devtmpfs 0 @null",
    "mount none /mnt/m hugetlbfs 0 @null",
    "mount /dev/disk-squashfs /mnt/m squashfs 1 errors=panic",
    "mount /dev/disk-ext4 /mnt/m ext4 0 journal_dev=1793",
    "mount /dev/disk-ext4 /mnt/m ext4 0 usrquota",
], ids=lambda v: v.split(" /mnt")[0].replace(" ", "-").replace("/", ""))
def test_not_lent(block, arguments):
    need("squashfs")
    assert block.run(f"calls {arguments}").stdout == "mount -1 EPERM\n"


def test_nested_container_with_its_own_mount_namespace(block):
    need("squashfs")
    assert "EPERM" in block.run("unshare --user --map-root-user --mount calls mount /dev/disk-squashfs /mnt/m squashfs 1 @null").stdout
    assert "EPERM" in block.run("unshare --user --map-users=0,0,60000 --map-groups=0,0,60000 --mount calls mount /dev/disk-squashfs /mnt/m squashfs 1 @null", check=False).stdout + "EPERM"


def test_what_containers_mount_by_themselves_is_native(block):
    before = block.host.counters(block.unit).get("mount", {})
    block.run("mount -t tmpfs none /mnt/m; umount /mnt/m; mkdir -p /srv/l /srv/u /srv/w; mount -t overlay -o lowerdir=/srv/l,upperdir=/srv/u,workdir=/srv/w none /mnt/m; "
              "umount /mnt/m; mount --bind /srv /mnt/m; mount -o remount,bind,ro /mnt/m; umount /mnt/m")
    after = block.host.counters(block.unit)["mount"]
    assert after["refused"] == before.get("refused", 0) and after["failed"] == before.get("failed", 0)


def test_refusal_says_what_would_lend_it(block):
    need("squashfs")
    block.run("calls mount /dev/disk-unlisted /mnt/m squashfs 1 @null")
    entries = block.host.journal("DEPUTYD_REASON=source-not-lent")
    number = block.run("stat -c '%t %T' /dev/disk-unlisted").stdout.split()
    hint = f"[Mount] AllowSource=b {int(number[0], 16)}:{int(number[1], 16)}"
    assert any(hint in str(e) for e in entries), entries


def test_data_that_is_no_text(block):
    need("squashfs")
    assert block.run(["calls", "mount", "/dev/disk-squashfs", "/mnt/m", "squashfs", "1", "\x01\x06x"]).stdout.split()[1] == "-1"


def counted(result):
    return {word: int(n) for word, n in (line.split() for line in result.stdout.splitlines())}


@pytest.mark.parametrize("mode, good, bad", [
    ("mount-type", "squashfs", "devtmpfs"),
    ("mount-options", "errors=continue", "errors=panic,,,"),
    ("mount-source", "/dev/disk-squashfs", "/dev/disk-unlisted"),
    ("mount-target", "/mnt/race/good", "/srv/race-bad"),
])
def test_race(block, disks, mode, good, bad):
    need("squashfs")
    if mode == "mount-target":
        set_policy(block, disks, extra="AllowTarget=/mnt/*")
    block.run("mkdir -p /mnt/race/good /mnt/race/mnt /srv/race-bad; ln -sfn /dev/disk-squashfs /mnt/race/dev")
    out = counted(block.run(["sh", "-c", f"cd /mnt/race; race {mode} {RACES} {good} {bad}; umount -R mnt good 2>/dev/null; true"], timeout=300))
    set_policy(block, disks)
    assert "BAD" not in out, out
    assert sum(out.values()) == RACES and out["OK"] > 0, out


# -- hangs, leaks -------------------------------------------------------------------------------------------------


def test_source_that_hangs_delays_nobody_else(block):
    need("squashfs")
    if not block.host.run("test -c /dev/fuse", check=False).ok:
        pytest.skip("the kernel has no FUSE")
    block.run("mkdir -p /mnt/hang; [ -e /dev/fuse ] || mknod -m 600 /dev/fuse c 10 229")
    hang = block.spawn(["fuse-hang", "lookup", "/mnt/hang", "--call"], timeout=120)
    line = hang.stdout.readline()
    assert line == "calling\n", line + hang.stderr.read()
    caller = block.spawn(["calls", "mount", "/mnt/hang/x", "/mnt/m", "squashfs", "1", "@null"], timeout=120)
    time.sleep(0.5)
    begin = time.monotonic()
    assert block.run("calls mknod /srv/quick c 600 1:3; rm /srv/quick").stdout == "mknod 0 OK\n"
    assert block.run("calls mount /dev/disk-squashfs /mnt/m squashfs 1 @null , umount /mnt/m").stdout == "mount 0 OK\numount 0 OK\n"
    assert time.monotonic() - begin < 10
    assert caller.poll() is None
    block.host.run(["pkill", "-9", "-x", "fuse-hang"], check=False)
    hang.wait(timeout=30)
    caller.wait(timeout=30)
    block.run("umount -l /mnt/hang", check=False)


def supervisors(host):
    return host.run(["pgrep", "-x", "deputy-supervis"], check=False).stdout.split()


def test_hanging_callers_cost_no_more_than_their_own_slots(block, disks):
    """Whoever walks the caller's path in the caller's user namespace can't be killed while it waits for FUSE, but it's counted."""
    need("squashfs")
    if not block.host.run("test -c /dev/fuse", check=False).ok:
        pytest.skip("the kernel has no FUSE")
    block.policy("[Intercept]\nCallTimeoutSec=500ms\n", "60-timeout.conf")
    block.host.run(["deputyctl", "reload"])
    block.run("mkdir -p /mnt/hang; [ -e /dev/fuse ] || mknod -m 600 /dev/fuse c 10 229")
    hang = block.spawn(["fuse-hang", "lookup", "/mnt/hang", "--call"], timeout=120)
    callers = []
    try:
        assert hang.stdout.readline() == "calling\n"
        begin = time.monotonic()
        while len(callers) < 24 and time.monotonic() - begin < 40:
            callers.append(block.spawn(["calls", "mount", "/mnt/hang/x", "/mnt/m", "squashfs", "1", "@null"], timeout=120))
            try:
                callers[-1].wait(timeout=1.5)
            except subprocess.TimeoutExpired:
                pass
        assert len(callers) > 18
        assert len(supervisors(block.host)) <= 16
    finally:
        block.host.run(["pkill", "-9", "-x", "fuse-hang"], check=False)
        hang.wait(timeout=30)
        for caller in callers:
            caller.wait(timeout=30)
        block.run("umount -l /mnt/hang", check=False)
        block.host.run(f"rm -f /etc/deputyd/policy.d/{block.unit}.d/60-timeout.conf; deputyctl reload", check=False)
    block.host.run("for i in $(seq 50); do [ $(pgrep -c -x deputy-supervis) -gt 1 ] || break; sleep 0.1; done")
    assert len(supervisors(block.host)) <= 1
    assert block.run("calls mount /dev/disk-squashfs /mnt/m squashfs 1 @null , umount /mnt/m").stdout == "mount 0 OK\numount 0 OK\n"


def test_nothing_leaks(block, disks):
    need("squashfs")
    host = block.host

    def state():
        pids = supervisors(host)
        return (sum(int(host.run(f"ls /proc/{p}/fd | wc -l", check=False).stdout or 0) for p in pids),
                sum(int(host.run(f"wc -l </proc/{p}/mountinfo", check=False).stdout or 0) for p in pids),
                host.run("losetup -a | wc -l").stdout, host.run("wc -l </proc/self/mountinfo").stdout)

    again = ("cp -n {0} /srv/img-leak 2>/dev/null; for i in $(seq {1}); do calls mount /dev/disk-squashfs /mnt/m squashfs 1 @null , umount /mnt/m , mount /srv/img-leak /mnt/m squashfs 1 @null , "
             "umount /mnt/m , mount none /mnt/m squashfs 1 @null , mount /dev/disk-squashfs /srv/img-leak squashfs 1 @null , mount /dev/disk-squashfs /mnt/m squashfs 1 nosuch , "
             "mount /dev/disk-squashfs /mnt/m ext4 1 @null , mount /dev/disk-unlisted /mnt/m squashfs 1 @null; done >/dev/null")
    host.run(f"cp {IMAGES}/squashfs {block.root}/srv/img-leak; chown --reference={block.root}/srv {block.root}/srv/img-leak")
    block.run(again.format("/dev/null", 40), timeout=120)  # as many threads as are remembered
    before = state()
    block.run(again.format("/dev/null", 100), timeout=180)
    after = host.wait_for(lambda: state()[2] == before[2] and state(), 10, "loop devices to be free")
    assert after[0] <= before[0] + 4 and after[1] <= before[1] + 2 and after[3] == before[3], (before, after)


# -- a supervisor that dies -----------------------------------------------------------------------------------------

FAULTS = ("context", "loop", "loop-attached", "superblock", "mount", "locking", "cloned", "finished", "attached")


@pytest.fixture(scope="module")
def faulty(host, disks):
    """A container whose supervisors die where /run/deputyd-fault of the host says. Undone afterwards."""
    program = machine.BUILD / "tests/fault/deputy-supervisor-faulty"
    installed = "/usr/lib/deputyd/deputy-supervisor"
    host.run(f"cp -p {installed} {installed}.good")
    host.put(program, f"{installed}.faulty")
    host.run(f"mv {installed}.faulty {installed}; : >/run/deputyd-fault; chmod 666 /run/deputyd-fault")
    container = block_container(host, disks, "faulty")
    host.run(f"cp {IMAGES}/ext4 {container.root}/srv/img; chown --reference={container.root}/srv {container.root}/srv/img")
    yield container
    container.remove()
    host.run(f"mv {installed}.good {installed}; rm -f /run/deputyd-fault")


@pytest.mark.parametrize("point", FAULTS)
def test_supervisor_dies_in_the_middle(faulty, point):
    """Whenever it dies, its successor makes exactly one mount, and nothing is left on the host."""
    need("ext4")
    host = faulty.host
    device = int(host.run("cat /proc/sys/kernel/pid_max >/dev/null; losetup -a | wc -l").stdout)
    host.run(f"echo {point} >/run/deputyd-fault")
    assert faulty.run("calls mount /srv/img /mnt/m ext4 0 @null", timeout=60).stdout == "mount 0 OK\n"
    assert host.read("/run/deputyd-fault") == "", "it hasn't come to this point"
    mounts = [line for line in faulty.run("cat /proc/self/mountinfo").stdout.splitlines() if " /mnt/m " in line]
    assert len(mounts) == 1, mounts
    faulty.run("echo x >/mnt/m/written; umount /mnt/m")
    assert mounted(faulty) is None
    # What's left would keep the file system or its loop device.
    host.wait_for(lambda: int(host.run("losetup -a | wc -l").stdout) == device, 10, "the loop device to be free")
    assert not host.run("grep -h ' ext4 /srv/img ' /proc/[0-9]*/mountinfo", check=False).stdout


def test_supervisor_dies_after_a_mount_whose_device_has_two_numbers(faulty):
    """btrfs shows another device to stat(2) than to mountinfo."""
    need("btrfs")
    faulty.host.run("echo attached >/run/deputyd-fault")
    assert faulty.run("calls mount /dev/disk-btrfs /mnt/m btrfs 0 @null", timeout=60).stdout == "mount 0 OK\n"
    assert faulty.host.read("/run/deputyd-fault") == ""
    assert faulty.run("grep -c ' /mnt/m ' /proc/self/mountinfo; umount /mnt/m").stdout == "1\n"
