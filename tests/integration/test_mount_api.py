# SPDX-License-Identifier: LGPL-2.1-or-later
"""The new mount interface in a container: by the calls themselves, compared with what real root gets, and by util-linux 2.41."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

import machine

POLICY = """
[Intercept]
SystemCalls=mount mknod
[Mknod]
AllowDevice=c 1:3
AllowDevice=c 10:229
[Mount]
AllowType={types}
{sources}
AllowOptions=*
{more}
"""

TRIXIE_PACKAGES = ("dbus", "mount", "systemd", "systemd-sysv", "util-linux", "util-linux-extra")


class Images:
    """Images of file systems and loop devices for them, outside of the test host."""

    MAKERS = {
        "ext4": "mkfs.ext4 -q -d {tree} -E root_owner=0:0 {image} 32M",
        "squashfs": "mksquashfs {tree} {image} -quiet -no-progress -noappend",
        "xfs": "mkfs.xfs -q -d file,name={image},size=320m",
        "btrfs": "mkfs.btrfs -q {image}",
        "erofs": "mkfs.erofs --quiet {image} {tree}",
    }

    def __init__(self, directory, kinds=None):
        """Those of "kinds", or else of the types that this machine's kernel has."""
        self.directory = directory
        self.devices, self.nodes = {}, []
        tree = directory / "tree"
        tree.mkdir()
        (tree / "hello").write_text("hello\n")
        os.chmod(tree, 0o755)
        os.mknod(tree / "null", 0o666 | 0o020000, os.makedev(1, 3))
        known = Path("/proc/filesystems").read_text().split()
        for kind, maker in self.MAKERS.items():
            if kind in (kinds or known) and shutil.which(maker.split()[0]):
                self.add(kind, kind, maker, tree)
        self.add("other", "ext4", self.MAKERS["ext4"], tree)

    def add(self, name, kind, maker, tree):
        image = self.directory / f"{name}.img"
        if kind in ("xfs", "btrfs"):
            image.write_bytes(b"")
            os.truncate(image, 320 << 20)
        subprocess.run(maker.format(tree=tree, image=image).split(), check=True, capture_output=True, timeout=60)
        device = subprocess.run(["losetup", "--find", "--show", image], check=True, capture_output=True, text=True).stdout.strip()
        self.devices[name] = device

    def numbers(self):
        return {name: (os.major(number), os.minor(number)) for name, number in ((name, os.stat(device).st_rdev) for name, device in self.devices.items())}

    def close(self):
        for device in self.devices.values():
            subprocess.run(["losetup", "-d", device], check=False)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    made = Images(tmp_path_factory.mktemp("images"))
    yield made
    made.close()


class Lent:
    """A container that may mount all devices but "other", which it sees as well. "numbers" are theirs."""

    def __init__(self, host, numbers):
        self.host, self.numbers = host, numbers
        self.dev = {name: f"/dev/lent-{name}" for name in numbers}
        for name, (major, minor) in numbers.items():
            host.run(f"test -b {self.dev[name]} || mknod {self.dev[name]} b {major} {minor}")
        self.container = host.container("newapi", settings="[Files]\n" + "".join(f"Bind={node}\n" for node in self.dev.values()))
        self.policy()
        host.write(f"/etc/systemd/system/{self.container.unit}.d/20-fuse.conf", "[Service]\nDeviceAllow=/dev/fuse rwm\nTimeoutStopSec=20\n")
        self.container.enable()
        self.container.start()
        self.container.run("mkdir -p /srv/a /srv/b; touch /srv/file; [ -e /dev/fuse ] || mknod -m 600 /dev/fuse c 10 229")
        # What real root gets on the same images.
        host.run("mkdir -p /srv/a /srv/b; touch /srv/file")

    def policy(self, more="", types=None):
        lent = [name for name in self.numbers if name != "other"]
        sources = "\n".join("AllowSource=b {}:{}".format(*self.numbers[name]) for name in lent)
        self.container.policy(POLICY.format(types=types or " ".join(lent), sources=sources, more=more))

    def change_policy(self, more="", types=None):
        self.policy(more, types)
        self.host.run(["deputyctl", "reload"])

    def run(self, *words, tool="fsapi", **kwargs):
        kwargs.setdefault("check", False)
        return self.container.run([tool, *words], **kwargs)

    def start(self, *words):
        """Starts the steps in the background; they wait at each "pause"."""
        return Steps(self, words)

    def supervisors(self):
        return [int(pid) for pid in self.host.run("pgrep -f '^deputy-supervisor.*newapi' || true").stdout.split()]

    def native(self, *words, tool="fsapi"):
        return self.host.run(["unshare", "-m", tool, *words], check=False)

    def counters(self):
        return self.host.counters(self.container.unit)

    def emulated(self, call):
        return self.counters().get(call, {}).get("emulated", 0)

    def wait_until_free(self):
        """Until the file systems that were mounted are gone."""
        check = ["fsapi", *(f"inuse:{node}" for node in self.dev.values())]
        self.host.wait_for(lambda: set(self.host.run(check).stdout.split()) == {"inuse", "no"}, 10, "the file systems to go")

    def clean(self):
        self.container.run("umount -l /srv/a /srv/b 2>/dev/null || true", check=False)


def in_use(lent, name):
    """Is the device in use by anybody? (An exclusive opening says EBUSY.)"""
    return lent.host.run(["fsapi", f"inuse:{lent.dev[name]}"]).stdout != "inuse no\n"


class Steps:
    def __init__(self, lent, words):
        argv = lent.container._command(["fsapi", *fill(lent, words)], None, (), 120)
        self.lent, self.lines = lent, []
        self.process = lent.host.spawn(argv, 130, stdin=subprocess.PIPE)

    def wait(self):
        """Until the next "pause"; what was printed till then."""
        lines = []
        while True:
            line = self.process.stdout.readline()
            if not line or line == "paused\n":
                return lines
            lines.append(line.rstrip("\n"))

    def go_on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def rest(self):
        self.go_on()
        lines = self.wait()
        self.process.communicate(timeout=60)
        return lines

    def kill(self):
        self.process.kill()
        self.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def lent(host, images):
    made = Lent(host, images.numbers())
    yield made
    made.container.remove()


@pytest.fixture(autouse=True)
def nothing_left(request):
    yield
    if "lent" in request.fixturenames:
        request.getfixturevalue("lent").clean()


# -- the calls ----------------------------------------------------------------------------------------------

WHOLE = ["open:{type}", "str:source={dev}", "flag:ro", "create", "mount", "move:/srv/a", "closemount", "closectx"]


def steps(lent, kind, words):
    return [word.format(type=kind, dev=lent.dev[kind]) for word in words]


@pytest.mark.parametrize("kind", ["ext4", "squashfs", "xfs", "btrfs", "erofs"])
def test_every_type(lent, kind):
    if kind not in lent.dev:
        pytest.skip(f"no {kind} here")
    before = {call: lent.emulated(call) for call in ("fsopen", "fsconfig", "fsmount", "move_mount")}
    out = lent.run(*steps(lent, kind, WHOLE), "statfs:/srv/a", "stat:/srv/a", "umount:/srv/a").stdout
    assert out.splitlines() == ["open OK", "str OK", "flag OK", "create OK", "mount OK", "move OK", "closemount OK", "closectx OK",
                                "statfs ro nosuid nodev relatime", "stat 0:0 755", "umount OK"], out
    after = {call: lent.emulated(call) for call in before}
    assert {call: after[call] - before[call] for call in before} == {"fsopen": 1, "fsconfig": 3, "fsmount": 1, "move_mount": 1}


# What's asked for, step by step. The same is done by real root of the host, on the same images, with the same result.
SAME = {
    "whole": ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "move:/srv/a", "stat:/srv/a", "read:/srv/a/hello", "touch:/srv/a/x",
              "closemount", "umount:/srv/a"],
    "writable": ["open:ext4", "str:source={ext4}", "create", "mount", "move:/srv/a", "touch:/srv/a/new", "stat:/srv/a/new", "closemount", "umount:/srv/a"],
    "no type": ["open:@null", "open:@bad", "open:@cut:ext4", "open:", "open:nosuchtype", "open:@long:5000"],
    "flags of fsopen": ["open:ext4,0x80", "open:ext4,2", "open:ext4,0", "cloexec", "open:ext4,1", "cloexec"],
    "cloexec of fsmount": ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount:0", "cloexec", "closemount",
                           "open:ext4", "str:source={ext4}", "flag:ro", "create", "mount:1", "cloexec"],
    "unknown option": ["open:ext4", "str:bogus=1", "flag:bogus", "str:data=bogus", "str:commit=x", "log", "str:source={ext4}", "flag:ro", "create", "mount"],
    "unknown option of squashfs": ["open:squashfs", "str:bogus=1", "str:errors=panic2", "log"],
    "source twice": ["open:ext4", "str:source={ext4}", "str:source={ext4}", "log", "flag:ro", "create"],
    "source without value": ["open:ext4", "flag:source", "log"],
    "no source": ["open:ext4", "create", "str:source={ext4}", "create", "mount"],
    "source that isn't there": ["open:ext4", "str:source=/dev/nosuch", "create", "flag:ro", "create", "mount"],
    "source that's a file": ["open:ext4", "str:source=/srv/file", "create"],
    "source that's a directory": ["open:ext4", "str:source=/srv", "create"],
    "source below a file": ["open:ext4", "str:source=/srv/file/x", "create"],
    "source that's a character device": ["open:ext4", "str:source=/dev/null", "create"],
    "source by a link": ["symlink:{ext4},/srv/link", "open:ext4", "str:source=/srv/link", "flag:ro", "create", "mount", "unlink:/srv/link"],
    "empty source": ["open:ext4", "str:source=", "create"],
    "relative source": ["chdir:/dev", "open:ext4", "str:source={ext4_name}", "flag:ro", "create", "mount"],
    "wrong type": ["open:squashfs", "str:source={ext4}", "create", "flag:ro", "create", "mount"],
    "created twice": ["open:ext4", "str:source={ext4}", "flag:ro", "create", "create", "flag:ro", "str:errors=continue", "mount", "create", "mount"],
    "mounted before it's created": ["open:ext4", "str:source={ext4}", "mount", "flag:ro", "create", "mount"],
    "mounted twice": ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "mount"],
    "set after it's mounted": ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "flag:ro", "str:bogus=1", "create"],
    "flags of fsmount": ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount:2", "mount:1,0x40", "mount:1,0x30", "mount:1,0x70", "mount:1,0x100000",
                         "mount:0x80000000", "mount:1,0x80000000", "mount:1,0"],
    "attributes": ["open:ext4", "str:source={ext4}", "create", "mount:1,0x9f", "move:/srv/a", "statfs:/srv/a", "touch:/srv/a/y"],
    "strict access times": ["open:ext4", "str:source={ext4}", "create", "mount:1,0x26", "move:/srv/a", "statfs:/srv/a"],
    "malformed parameters": ["open:ext4", "raw:0,@null,@null,0", "raw:0,ro,x,0", "raw:0,ro,@null,1", "raw:1,@null,x,0", "raw:1,x,@null,0", "raw:1,x,y,1",
                             "raw:2,x,y,0", "raw:2,x,y,-1", "raw:3,x,y,-1", "raw:5,x,y,0", "raw:6,x,@null,0", "raw:6,@null,x,0", "raw:6,@null,@null,1",
                             "raw:7,x,@null,0", "raw:9,@null,@null,0", "raw:99,@null,@null,0", "raw:8,@null,x,0", "log"],
    "addresses of parameters": ["open:ext4", "raw:0,@bad,@null,0", "raw:1,x,@bad,0", "raw:1,@bad,x,0", "raw:0,@cut:xy,@null,0", "raw:1,x,@cut:xy,0"],
    "long parameters": ["open:ext4", "raw:0,@long:255,@null,0", "raw:0,@long:256,@null,0", "raw:1,x,@long:255,0", "raw:1,x,@long:256,0", "raw:1,@long:300,x,0"],
    "empty parameters": ["open:ext4", "raw:0,,@null,0", "raw:1,,x,0", "raw:1,data,,0", "log"],
    "blobs, paths, descriptors": ["open:ext4", "bin:x=y", "path:x=/", "raw:4,x,@null,0", "raw:4,x,,0", "fd:x=0", "fd:x=99", "log"],
    "no context": ["ctx:-1", "flag:ro", "create", "mount", "ctx:0", "flag:ro", "create", "mount", "ctx:999", "flag:ro", "create", "mount"],
    "wrong targets": ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "move:/srv/nosuch", "move:/srv/file", "move:/srv/file/x", "move:@null",
                      "move:@bad", "move:", "move:/srv/nosuch/x", "move:/srv/a,0x80000000", "move:/srv/a"],
    "target by a link": ["symlink:/srv/a,/srv/l", "open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "move:/srv/l", "move:/srv/l,0x10",
                         "statfs:/srv/a", "unlink:/srv/l"],
    "relative target": ["chdir:/srv", "open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "move:a", "statfs:/srv/a"],
    "target by a descriptor": ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "movedir:/srv/a", "statfs:/srv/a"],
    "moved by a path": ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "movefd:/srv/a", "statfs:/srv/a"],
    "attributes of a detached mount": ["open:ext4", "str:source={ext4}", "create", "mount", "setattr:0x9,0", "setattr:0x80000000,0", "move:/srv/a", "statfs:/srv/a"],
    "attributes taken off a detached mount": ["open:ext4", "str:source={ext4}", "create", "mount:1,0x9", "setattr:0,0x1", "cloexec", "setattr:0x200000,0",
                                              "setattr:0x1,0x200009", "statmount", "setattr:0,0x80000001", "setattr:0,0x1", "move:/srv/a", "statfs:/srv/a",
                                              "touch:/srv/a/x", "closemount", "umount:/srv/a"],
    "read-only superblock": ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "setattr:0x10,0x70", "setattr:0,1", "move:/srv/a", "statfs:/srv/a",
                             "remount:/srv/a,0x1426", "closemount", "umount:/srv/a"],
    "read-only mount": ["open:ext4", "str:source={ext4}", "create", "mount", "setattr:0x1,0", "setattr:0x10,0x70", "move:/srv/a", "statfs:/srv/a",
                        "remount:/srv/a,0x1427", "closemount", "umount:/srv/a"],
    "access times of a detached mount": ["open:ext4", "str:source={ext4}", "create", "mount:0", "setattr:0x10,0x70", "cloexec", "setattr:0x80,0", "setattr:0x9,0",
                                         "setattr:0x30,0x70", "setattr:0x10,0x10", "setattr:0x10,0", "setattr:0x10000010,0x70", "statmount", "move:/srv/a", "statfs:/srv/a",
                                         "touch:/srv/a/x", "closemount", "umount:/srv/a"],
    "strict times of a detached mount": ["open:ext4", "str:source={ext4}", "create", "mount:1", "setattr:0x20,0x70", "cloexec", "closectx", "move:/srv/a", "statfs:/srv/a"],
    "a copy of a detached mount": ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "move:/srv/a", "clone", "move:/srv/b", "statfs:/srv/b"],
    "other descriptors": ["open:ext4", "dup", "str:source={ext4}", "flag:ro", "create", "dup", "mount", "dupmount", "move:/srv/a", "statfs:/srv/a"],
    "exclusive": ["open:ext4", "str:source={ext4}", "flag:ro", "excl", "excl", "mount", "move:/srv/a", "closectx",
                  "open:ext4", "str:source={ext4}", "flag:ro", "excl", "create", "mount"],
    "exclusive tmpfs": ["open:tmpfs", "excl", "mount", "move:/srv/a", "statfs:/srv/a"],
    "read-only and not": ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "move:/srv/a", "open:ext4", "str:source={ext4}", "flag:rw", "create"],
    "of others": ["open:tmpfs", "str:size=1m", "str:bogus=1", "log", "create", "mount", "move:/srv/a", "statfs:/srv/a"],
    "parts of the mount": ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "statmount", "readat:hello", "readat:nosuch", "move:/srv/a", "readat:hello"],
    "in a child": ["open:ext4", "fork", "str:source={ext4}", "fork", "flag:ro", "create", "fork", "mount", "fork", "move:/srv/a", "statfs:/srv/a"],
    "passed on": ["open:ext4", "str:source={ext4}", "pass", "flag:ro", "create", "pass", "mount", "pass", "move:/srv/a", "statfs:/srv/a"],
    "busy": ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "move:/srv/a", "umount:/srv/a", "closemount", "umount:/srv/a"],
    "in a chroot": ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "chroot:/srv", "move:/a", "statfs:/a"],
}

# The container's mounts have these besides: policy forces them.
FORCED = re.compile(r" (nosuid|nodev)")


def fill(lent, words):
    return [word.format(ext4_name=lent.dev["ext4"].removeprefix("/dev/"), **lent.dev) for word in words]


@pytest.mark.parametrize("tool", ["fsapi", "fsapi-32"])
@pytest.mark.parametrize("name", SAME)
def test_same_as_real_root(lent, name, tool):
    words = fill(lent, SAME[name])
    lent.wait_until_free()
    ours = lent.run(*words, tool=tool)
    lent.clean()
    lent.wait_until_free()
    native = lent.native(*words, tool=tool)
    assert FORCED.sub("", ours.stdout) == FORCED.sub("", native.stdout), f"{ours}\n{native}"
    assert ours.stdout


@pytest.mark.parametrize("tool", ["fsapi", "fsapi-32"])
def test_a_thread_that_is_not_the_leader(lent, tool):
    out = lent.run("--thread", *fill(lent, SAME["whole"]), tool=tool).stdout
    assert "create OK\nmount OK\nmove OK\nstat 0:0 755\nread hello\n" in out, out


def test_mount_that_moves_on(lent):
    words = fill(lent, ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "move:/srv/a", "move:/srv/b", "statfs:/srv/b", "closemount",
                        "umount:/srv/a", "umount:/srv/b"])
    ours, native = lent.run("-m", "fsapi", *words, tool="unshare"), lent.native(*words)
    assert FORCED.sub("", ours.stdout) == native.stdout
    assert "umount EINVAL\numount OK\n" in native.stdout


def test_unmounted_at_once(lent):
    """Nothing of ours keeps a mount busy that the caller has attached."""
    words = fill(lent, ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "move:/srv/a", "closemount", "umount:/srv/a", "closectx"])
    out = lent.run("--repeat=200", *words, timeout=120).stdout
    assert out == "open OK\nstr OK\nflag OK\ncreate OK\nmount OK\nmove OK\nclosemount OK\numount OK\nclosectx OK\n", out


def test_attached_by_another_way(lent, msec=500):
    """By /proc/self/fd: it's noticed soon, and then the mount isn't busy."""
    out = lent.run(*fill(lent, ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "movefd:/srv/a", "closemount", f"sleep:{msec}", "umount:/srv/a"])).stdout
    assert out.endswith("movefd OK\nclosemount OK\numount OK\n"), out


@pytest.mark.parametrize("words", [
    ["closemount"], ["closectx", "closemount"], [], ["clone", "closemount"], ["dupmount", "fork", "closemount"],
], ids=str)
def test_mount_that_nobody_attaches(lent, words):
    """Its last descriptor closed, the file system is gone, as natively."""
    out = lent.run(*fill(lent, ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", *words])).stdout
    assert "mount OK" in out
    lent.host.wait_for(lambda: not in_use(lent, "ext4"), 5, "the file system to go")


def test_mount_is_gone_while_its_process_lives(lent):
    run = lent.start("open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "closectx", "pause", "closemount", "pause")
    assert "mount OK" in run.wait()
    time.sleep(0.5)
    assert in_use(lent, "ext4")
    run.go_on()
    run.wait()
    lent.host.wait_for(lambda: not in_use(lent, "ext4"), 5, "the file system to go")
    run.rest()


# -- nothing is lent ----------------------------------------------------------------------------------------

NOT_CREATED = ["create EPERM", "mount EINVAL"]


def test_device_that_is_not_lent(lent):
    out = lent.run(*fill(lent, ["open:ext4", "str:source={other}", "flag:ro", "create", "log", "mount"])).stdout
    assert out.splitlines()[3] == "create EPERM" and out.splitlines()[-1] == "mount EINVAL", out
    assert lent.run(*fill(lent, ["open:ext4", "str:source={ext4}", "flag:ro", "create"])).stdout.splitlines()[-1] == "create OK"


def test_options_that_are_never_lent(lent):
    out = lent.run(*fill(lent, ["open:ext4", "str:source={ext4}", "flag:ro", "str:journal_dev=0x701", "create", "mount"])).stdout
    assert out.splitlines()[-2:] == NOT_CREATED, out


def test_path_in_an_option_is_the_callers(lent):
    """ext4 looks this one up when it's set: from the caller's root, with its rights."""
    lent.host.run("mkdir -p /srv/of-the-host; mknod /srv/of-the-host/device b 7 200 || true; chmod 755 /srv/of-the-host")
    out = lent.run("open:ext4", "str:journal_path=/srv/of-the-host/device", "log").stdout
    assert out.startswith("open OK\nstr EINVAL\n") and "Lookup failure" in out, out


@pytest.mark.parametrize("options", [["--uid=1000"], ["--drop"]], ids=str)
def test_without_the_capability(lent, options):
    assert lent.run(*options, "open:ext4").stdout == "open EPERM\n"


@pytest.mark.parametrize("step", ["drop", "uid:1000", "userns"])
def test_capability_given_up_on_the_way(lent, step):
    """Who creates and who mounts needs it, whoever has opened the context."""
    out = lent.run(*fill(lent, ["open:ext4", "str:source={ext4}", "flag:ro", step, "create", "mount"])).stdout.splitlines()
    assert out[-2] == "create EPERM" and out[-1] in ("mount EPERM", "mount EINVAL"), out
    out = lent.run(*fill(lent, ["open:ext4", "str:source={ext4}", "flag:ro", "create", step, "mount"])).stdout.splitlines()
    assert out[-1] in ("mount EPERM", "mount EINVAL"), out
    out = lent.run(*fill(lent, ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", step, "move:/srv/a"])).stdout.splitlines()
    # Root of a user namespace may attach a detached mount in a mount namespace of its own, as natively.
    assert out[-1] == ("move OK" if step == "userns" else "move EPERM"), out


def test_nested_user_namespace(lent):
    out = lent.run("--userns", *fill(lent, ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount"])).stdout.splitlines()
    assert out == ["open OK", "str OK", "flag OK", *NOT_CREATED]
    out = lent.run("--userns", "open:tmpfs", "create", "mount", "move:/srv/a").stdout
    assert out == "open OK\ncreate OK\nmount OK\nmove OK\n"


def test_parameters_set_by_one_who_may_not_create(lent):
    """The kernel sets them in the context; a creation by us doesn't know of them, so there is none."""
    out = lent.run(*fill(lent, ["open:ext4", "str:source={ext4}", "inuserns:flag:ro", "create"])).stdout.splitlines()
    assert out[-2:] == ["flag OK", "create EPERM"], out


def test_device_nodes_of_the_image_stay_closed(lent):
    out = lent.run(*fill(lent, ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "setattr:0,0x4", "setattr:0,0x2", "move:/srv/a", "device:/srv/a/null",
                                "remount:/srv/a,0x1020", "remount:/srv/a,0x1022", "remount:/srv/a,0x1024", "remount:/srv/a,0x1026", "setattr:0,0x4",
                                "clone", "setattr:0,0x4", "move:/srv/b", "remount:/srv/b,0x1020", "device:/srv/b/null", "closemount", "umount:/srv/b", "umount:/srv/a"])).stdout
    # Taken off before it's attached, they're put on again; from then on the kernel says no.
    assert out.splitlines()[5:] == ["setattr OK", "setattr OK", "move OK", "device EACCES", "remount EPERM", "remount EPERM", "remount EPERM", "remount OK",
                                    "setattr EPERM", "clone OK", "setattr EPERM", "move OK", "remount EPERM", "device EACCES", "closemount OK", "umount OK", "umount OK"], out


def test_superblock_stays_the_hosts(lent):
    out = lent.run(*fill(lent, ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "move:/srv/a", "flag:rw", "reconf", "pick", "flag:rw", "reconf",
                                "remount:/srv/a,0x20"])).stdout
    assert out.splitlines()[6:] == ["flag OK", "reconf EPERM", "pick OK", "flag OK", "reconf EPERM", "remount EPERM"], out


def test_closed_root_directory_is_not_given_away(lent, images):
    """What can't be read as the caller isn't opened for it."""
    tree = images.directory / "closed"
    tree.mkdir(mode=0o700)
    os.chown(tree, 200000, 200000)
    subprocess.run(["mksquashfs", tree, images.directory / "closed.img", "-quiet", "-no-progress", "-noappend"], check=True)
    subprocess.run(["dd", f"if={images.directory}/closed.img", f"of={images.devices['squashfs']}", "conv=fsync", "status=none"], check=True)
    try:
        out = lent.run(*fill(lent, ["open:squashfs", "str:source={squashfs}", "create", "mount"])).stdout
        assert out.splitlines()[-2:] == ["create OK", "mount EACCES"], out
    finally:
        subprocess.run([*images.MAKERS["squashfs"].format(tree=images.directory / "tree", image=images.directory / "again.img").split()], check=True)
        subprocess.run(["dd", f"if={images.directory}/again.img", f"of={images.devices['squashfs']}", "conv=fsync", "status=none"], check=True)


# -- attacks ------------------------------------------------------------------------------------------------


def test_forged_context(lent):
    """A context of the container's own in place of ours is what it is, and ours under another number is ours."""
    out = lent.run(*fill(lent, ["open:ext4", "str:source={ext4}", "flag:ro", "forge:tmpfs", "create", "mount", "move:/srv/a", "touch:/srv/a/x"])).stdout
    assert out.splitlines()[-5:] == ["forge OK", "create OK", "mount OK", "move OK", "touch OK"], out
    out = lent.run(*fill(lent, ["open:ext4", "str:source={ext4}", "forge:ext4", "create", "log"])).stdout
    assert out.splitlines()[-1].endswith("create EINVAL"), out  # It's one of ours, and has no source.


def test_source_that_changes_in_memory(lent):
    lent.container.run(["ln", "-sf", lent.dev["squashfs"], "/srv/source-a"])
    lent.container.run(["ln", "-sf", lent.dev["other"], "/srv/source-b"])
    result = lent.run("race-source", "squashfs", "/srv/source-a", "/srv/source-b", "10000", timeout=300)
    counted = dict(zip(result.stdout.split()[::2], map(int, result.stdout.split()[1::2])))
    assert result.ok and counted["wrong"] == 0 and counted["odd"] == 0 and counted["created"] > 0 and counted["refused"] > 0, result


def test_context_that_changes_places(lent):
    result = lent.run(*fill(lent, ["race-dup", "squashfs", "{squashfs}", "100"]), timeout=300)
    assert result.ok, result
    assert lent.run(*fill(lent, ["open:ext4", "str:source={ext4}", "flag:ro", "create"])).stdout.endswith("create OK\n")


def test_hoarder(lent):
    """Contexts beyond the limit push out the oldest, which then is the caller's own and no more."""
    out = lent.run(*fill(lent, ["open:ext4", "str:source={ext4}", "flag:ro", "many:100", "create"]), timeout=120).stdout
    assert out.splitlines()[-1] == "create EPERM", out
    out = lent.run(*fill(lent, ["open:ext4", "str:source={ext4}", "flag:ro", "many:20", "create"]), timeout=120).stdout
    assert out.splitlines()[-1] == "create OK", out


def test_more_parameters_than_anybody_needs(lent):
    words = fill(lent, ["open:ext4", "str:source={ext4}"]) + ["str:data=ordered"] * 700 + ["create"]
    out = lent.run(*words, timeout=120).stdout
    assert out.splitlines()[-1] == "create EPERM", out


# -- supervisors come and go --------------------------------------------------------------------------------

STEPS = ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "move:/srv/a"]


def kill_supervisors(lent):
    pids = lent.supervisors()
    lent.host.run(["kill", "-9", *map(str, pids)], check=False)
    return pids


@pytest.mark.parametrize("n", range(1, len(STEPS)))
def test_supervisor_killed_between_two_calls(lent, n):
    """The kernel answers the rest, by itself: a clean errno, nothing left."""
    run = lent.start(*STEPS[:n], "pause", *STEPS[n:], "statfs:/srv/a")
    done = run.wait()
    assert all(line.endswith(" OK") for line in done), done
    assert kill_supervisors(lent)
    rest = run.rest()
    clean = {"str": ["OK"], "flag": ["OK"], "create": ["EPERM"], "mount": ["EINVAL"], "move": ["EINVAL", "EBADF"]}
    assert [line.split()[0] for line in rest] == [step.split(":")[0] for step in STEPS[n:]] + ["statfs"]
    for line in rest[:-1]:
        assert line.split()[1] in clean[line.split()[0]], rest
    assert rest[-1] == "statfs rw relatime"
    lent.host.wait_for(lambda: not in_use(lent, "ext4"), 5, "the file system to go")
    assert lent.run(*fill(lent, STEPS)).stdout.endswith("move OK\n")


def test_supervisor_killed_when_all_is_done(lent):
    run = lent.start(*STEPS, "closectx", "closemount", "pause", "statfs:/srv/a", "umount:/srv/a")
    run.wait()
    kill_supervisors(lent)
    assert run.rest() == ["statfs ro nosuid nodev relatime", "umount OK"]


def test_supervisor_leaves_when_nobody_comes_back(lent):
    """It has nothing to keep once contexts and mounts are closed, and IdleSec= counts."""
    lent.change_policy(more="[Intercept]\nIdleSec=1")
    try:
        run = lent.start(*STEPS[:5], "pause", "closemount", "closectx", "pause", "sleep:1")
        run.wait()
        first = lent.supervisors()
        time.sleep(3)
        assert lent.supervisors() == first, "it left while it had a mount to keep"
        run.rest()
        run.process.wait()
        lent.host.wait_for(lambda: not lent.supervisors(), 60, "the supervisor to leave")
    finally:
        lent.change_policy()


def hang_supervisor(lent):
    """A supervisor that's stuck in a call, on a file system that the container serves itself."""
    lent.container.run("mkdir -p /mnt/hang")
    process = lent.container.spawn(["fuse-hang", "lookup", "/mnt/hang", "--call"], timeout=120)
    assert process.stdout.readline() == "calling\n"
    time.sleep(0.3)
    return process


def end_hang(lent, process):
    lent.host.run(["pkill", "-9", "-x", "fuse-hang"], check=False)
    process.communicate(timeout=30)
    lent.container.run("umount -l /mnt/hang", check=False)


@pytest.mark.parametrize("n", range(1, len(STEPS)))
def test_another_supervisor_takes_over(lent, n):
    """One that's stuck has our context, or mount: the next one gets it from it."""
    run = lent.start(*STEPS[:n], "pause", *STEPS[n:], "statfs:/srv/a")
    run.wait()
    process = hang_supervisor(lent)
    try:
        rest = run.rest()
    finally:
        end_hang(lent, process)
    assert rest[:-1] == [step.split(":")[0] + " OK" for step in STEPS[n:]], rest
    assert rest[-1] == "statfs ro nosuid nodev relatime"


def test_supervisor_that_was_long_in_one_call_passes_its_context_on(lent):
    """It isn't the one that receives the next call, but it stays until that one has come for what it has."""
    kill_supervisors(lent)
    lent.container.run("mkdir -p /mnt/hang")
    process = lent.container.spawn(["fuse-hang", "lookup", "/mnt/hang"], timeout=120)
    lent.host.wait_for(lambda: lent.container.run(["findmnt", "/mnt/hang"], check=False).ok, 10, "the file system that hangs")
    run = lent.start("open:ext4", "str:source=/mnt/hang/x", "pause", "create", "flag:ro")
    run.wait()
    run.go_on()
    time.sleep(0.5)
    lent.container.run("mknod /n c 1 3; rm /n", timeout=20)
    assert len(lent.supervisors()) >= 2
    end_hang(lent, process)
    out = run.wait()
    # The state of the context is known to the other supervisor: natively, it would be open for parameters.
    assert len(out) == 2 and out[0] not in ("create OK", "create EPERM") and out[1] == "flag EBUSY", out
    run.process.communicate(timeout=30)
    lent.host.wait_for(lambda: len(lent.supervisors()) == 1, 30, "the old supervisor to leave")


# -- policy -------------------------------------------------------------------------------------------------


def test_not_there(lent):
    lent.change_policy("NewMountAPI=enosys")
    try:
        assert lent.run("open:ext4", "open:tmpfs", "open:@null").stdout == "open ENOSYS\n" * 3
        assert lent.run("--uid=1000", "open:ext4").stdout == "open EPERM\n"
    finally:
        lent.change_policy()
    assert lent.run("open:ext4", "open:tmpfs").stdout == "open OK\n" * 2


def test_types_redirected_to_fuse(lent):
    """A FUSE program mounts on a path: only mount(2) has one. Programs that see ENOSYS use it."""
    lent.change_policy("Fuse=xfs:nosuchprogram", types="ext4")
    try:
        assert lent.run("open:xfs", "open:@null", "open:ext4", "open:tmpfs").stdout == "open ENOSYS\nopen ENOSYS\nopen OK\nopen OK\n"
        assert lent.run("--uid=1000", "open:xfs", "open:@null").stdout == "open EPERM\n" * 2
    finally:
        lent.change_policy()


def test_forced_attributes(lent):
    lent.change_policy("NoExec=yes\nReadOnly=yes")
    try:
        out = lent.run(*fill(lent, ["open:ext4", "str:source={ext4}", "create", "mount", "setattr:0,1", "move:/srv/a", "statfs:/srv/a", "remount:/srv/a,0x102e"])).stdout
        assert out.splitlines()[4:] == ["setattr OK", "move OK", "statfs ro nosuid nodev noexec relatime", "remount EPERM"], out
    finally:
        lent.change_policy()


def test_target_that_is_not_lent(lent):
    lent.change_policy("AllowTarget=/srv/b")
    try:
        out = lent.run(*fill(lent, ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "move:/srv/a", "move:/srv/b"])).stdout
        assert out.splitlines()[-2:] == ["move EPERM", "move OK"], out
    finally:
        lent.change_policy()


def test_policy_that_changes_on_the_way(lent):
    run = lent.start("open:ext4", "str:source={ext4}", "flag:ro", "pause", "create")
    run.wait()
    lent.change_policy(types="squashfs")
    try:
        assert run.rest() == ["create EPERM"]
    finally:
        lent.change_policy()


# -- a supervisor that dies in the middle of a call ---------------------------------------------------------


@pytest.fixture(scope="module")
def faulty(lent):
    """Supervisors that die where /run/deputyd-fault of the host says. Undone afterwards."""
    host, installed = lent.host, "/usr/lib/deputyd/deputy-supervisor"
    host.run(f"cp -p {installed} {installed}.good")
    host.put(machine.BUILD / "tests/fault/deputy-supervisor-faulty", f"{installed}.faulty")
    host.run(f"mv {installed}.faulty {installed}; : >/run/deputyd-fault; chmod 666 /run/deputyd-fault")
    kill_supervisors(lent)
    yield lent
    host.run(f"mv {installed}.good {installed}; rm -f /run/deputyd-fault")
    kill_supervisors(lent)


@pytest.mark.parametrize("point, results", [
    ("context-injected", ["open OK", "str OK", "flag OK", "create OK", "mount OK", "move OK"]),
    ("context", ["open OK", "str OK", "flag OK", "create EPERM", "mount EINVAL", "move EBADF"]),
    ("superblock", ["open OK", "str OK", "flag OK", "create EPERM", "mount EINVAL", "move EBADF"]),
    ("mount", ["open OK", "str OK", "flag OK", "create OK", "mount EINVAL", "move EBADF"]),
    ("locking", ["open OK", "str OK", "flag OK", "create OK", "mount EINVAL", "move EBADF"]),
    ("cloned", ["open OK", "str OK", "flag OK", "create OK", "mount EINVAL", "move EBADF"]),
    ("mount-injected", ["open OK", "str OK", "flag OK", "create OK", "mount EINVAL", "move EBADF"]),
    ("moved", ["open OK", "str OK", "flag OK", "create OK", "mount OK", "move OK"]),
])
def test_supervisor_dies_in_the_middle(faulty, point, results):
    host = faulty.host
    faulty.wait_until_free()
    before = host.run("wc -l </proc/self/mountinfo").stdout
    host.run(f"echo {point} >/run/deputyd-fault")
    out = faulty.run(*fill(faulty, [*STEPS, "closectx", "closemount", "statfs:/srv/a"])).stdout.splitlines()
    assert host.read("/run/deputyd-fault") == "", "it hasn't come to this point"
    assert out[:len(STEPS)] == results, out
    attached = faulty.container.run("grep -c ' /srv/a ' /proc/self/mountinfo || true").stdout.strip()
    assert attached == ("1" if results[-1] == "move OK" else "0")
    if attached == "1":
        assert faulty.container.run(["umount", "/srv/a"]).ok
    faulty.wait_until_free()
    assert host.run("wc -l </proc/self/mountinfo").stdout == before


def test_nothing_leaks(lent):
    """Descriptors of the supervisor, after hundreds of mounts that were made, given up, and failed."""
    words = fill(lent, ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "move:/srv/a", "closemount", "umount:/srv/a", "closectx",
                        "open:ext4", "str:source={ext4}", "create", "mount", "closemount", "closectx", "open:ext4", "str:source={other}", "create", "closectx",
                        "open:squashfs", "str:source={ext4}", "create", "closectx"])

    def descriptors():
        return max(int(lent.host.run(f"ls /proc/{pid}/fd | wc -l").stdout) for pid in lent.supervisors())

    lent.run("--repeat=40", *words, timeout=120)  # As many contexts as are kept, and threads as are remembered.
    lent.wait_until_free()
    before = descriptors()
    assert "at repetition" not in lent.run("--repeat=100", *words, timeout=120).stdout
    lent.wait_until_free()
    assert descriptors() <= before + 4


# -- util-linux 2.41 ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trixie(host, images, lent):
    """A booted Debian 13."""
    try:
        tarball = machine.debian_tarball(TRIXIE_PACKAGES, "trixie")
    except machine.TestHostError as e:
        pytest.skip(f"no Debian 13: {str(e)[-500:]}")
    binds = "".join(f"Bind={node}\n" for node in lent.dev.values())
    container = host.container("trixie", settings=f"[Files]\n{binds}", tarball=tarball)
    container.policy(host.read(f"/etc/deputyd/policy.d/{lent.container.unit}.d/50-test.conf"))
    container.enable()
    container.start()
    container.run("mkdir -p /srv/a /srv/b /srv/c")
    yield container
    container.remove()


def calls_of(host, container):
    return {call: count["emulated"] for call, count in host.counters(container.unit).items()}


def newly(host, container, before):
    after = calls_of(host, container)
    return {call: after[call] - before.get(call, 0) for call in after if after[call] != before.get(call, 0)}


def test_mount_is_2_41_or_later(trixie):
    version = trixie.run("mount --version").stdout
    assert tuple(map(int, re.search(r"util-linux (\d+)\.(\d+)", version).groups())) >= (2, 41), version


@pytest.mark.parametrize("kind", ["ext4", "squashfs", "xfs", "btrfs", "erofs"])
def test_mount_of_debian_13(host, lent, trixie, kind):
    if kind not in lent.dev:
        pytest.skip(f"no {kind} here")
    before = calls_of(host, trixie)
    trixie.run(f"mount -t {kind} {lent.dev[kind]} /srv/a")
    new = newly(host, trixie, before)
    assert new.get("fsopen") == 1 and new["fsconfig"] >= 2 and new["fsmount"] == 1 and new["move_mount"] == 1 and "mount" not in new, new
    assert trixie.run("stat -c %u:%g /srv/a").stdout == "0:0\n"
    found = trixie.run("findmnt -no SOURCE,FSTYPE,OPTIONS /srv/a").stdout.split()
    assert found[:2] == [lent.dev[kind], kind] and {"nosuid", "nodev"} <= set(found[2].split(",")), found
    trixie.run("umount /srv/a")


@pytest.mark.parametrize("options, visible", [
    ("ro", {"ro"}), ("ro,noexec,noatime", {"ro", "noexec", "noatime"}), ("errors=remount-ro,data=journal", {"rw"}), ("nodiratime,sync", {"nodiratime", "sync"}),
    ("X-mount.mkdir,ro", {"ro"}), ("nosuid,nodev,strictatime", {"nosuid"}), ("rw,suid,dev,exec", {"rw", "nosuid", "nodev"}),
    ("defaults,noexec,exec,diratime", {"rw"}),
])
def test_options_of_mount(host, lent, trixie, options, visible):
    before = calls_of(host, trixie)
    trixie.run(f"mount -t ext4 -o {options} {lent.dev['ext4']} /srv/a")
    assert newly(host, trixie, before).get("fsmount") == 1
    found = set(trixie.run("findmnt -no OPTIONS /srv/a").stdout.strip().split(","))
    assert visible <= found, found
    trixie.run("umount /srv/a")


def test_read_only_by_policy_and_written_by_option(host, lent, trixie):
    path = f"/etc/deputyd/policy.d/{trixie.unit}.d/50-test.conf"
    policy = host.read(path)
    trixie.policy(policy + "\nReadOnly=yes\n")
    try:
        host.run(["deputyctl", "reload"])
        trixie.run(f"mount -t ext4 -o rw {lent.dev['ext4']} /srv/a")
        assert {"ro", "nosuid", "nodev"} <= set(trixie.run("findmnt -no OPTIONS /srv/a").stdout.strip().split(","))
        assert not trixie.run("mount -o remount,bind,rw /srv/a", check=False).ok
        trixie.run("umount /srv/a")
    finally:
        trixie.policy(policy)
        host.run(["deputyctl", "reload"])


def test_without_a_type(host, lent, trixie):
    """mount(8) finds out the type by itself, or tries those that the kernel knows."""
    trixie.run(f"mount -r {lent.dev['ext4']} /srv/a; umount /srv/a")
    trixie.run(f"mount -r -t xfs,ext4 {lent.dev['ext4']} /srv/a; findmnt /srv/a; umount /srv/a")


def test_read_only_and_written(lent, images, trixie):
    trixie.run(f"mount {lent.dev['ext4']} /srv/a; echo x >/srv/a/trixie; chown 33:33 /srv/a/trixie; umount /srv/a")
    # On the disk it belongs to whom the container says it does.
    listed = subprocess.run(["debugfs", "-R", "stat /trixie", images.devices["ext4"]], capture_output=True, text=True).stdout
    assert re.search(r"User:\s+33\s+Group:\s+33", listed), listed


def test_messages_of_failures(lent, trixie):
    for command, expected in [
            (f"mount -t ext4 -o bogus {lent.dev['ext4']} /srv/a", "Unknown parameter 'bogus'"),
            (f"mount -t ext4 {lent.dev['squashfs']} /srv/a", "wrong fs type, bad option, bad superblock"),
            (f"mount -t ext4 {lent.dev['other']} /srv/a", "permission denied|must be superuser"),
            ("mount -t ext4 /dev/nosuch /srv/a", "does not exist"),
            (f"mount -t ext4 -r {lent.dev['ext4']} /srv/nosuch", "mount point does not exist")]:
        result = trixie.run(command, check=False)
        assert not result.ok and re.search(expected, result.stderr), result


def test_fstab(host, lent, trixie):
    trixie.run(["sh", "-ec", "cat >/etc/fstab"], input=f"{lent.dev['ext4']} /srv/a ext4 ro 0 0\n{lent.dev['squashfs']} /srv/b auto defaults 0 0\nnone /srv/c tmpfs size=1m 0 0\n")
    before = calls_of(host, trixie)
    trixie.run("mount -a; findmnt /srv/a; findmnt /srv/b; findmnt /srv/c")
    assert newly(host, trixie, before)["fsmount"] == 2
    trixie.run("mount -a; test $(grep -c ' /srv/[abc] ' /proc/self/mountinfo) = 3")
    trixie.run("umount /srv/a /srv/b /srv/c; : >/etc/fstab")


def test_mount_unit(host, lent, trixie):
    trixie.run(["sh", "-ec", "cat >/etc/systemd/system/srv-a.mount"], input=f"[Mount]\nWhat={lent.dev['ext4']}\nWhere=/srv/a\nType=ext4\nOptions=ro\n")
    before = calls_of(host, trixie)
    trixie.run("systemctl daemon-reload; systemctl start srv-a.mount; findmnt /srv/a; cat /srv/a/hello; systemctl stop srv-a.mount; ! findmnt /srv/a")
    assert newly(host, trixie, before)["fsmount"] == 1
    trixie.run("rm /etc/systemd/system/srv-a.mount; systemctl daemon-reload")


def test_old_interface_of_the_same_program(host, lent, trixie):
    before = calls_of(host, trixie)
    trixie.run(f"LIBMOUNT_FORCE_MOUNT2=always mount -t ext4 -r {lent.dev['ext4']} /srv/a; umount /srv/a")
    assert newly(host, trixie, before) == {"mount": 1}
    before = calls_of(host, trixie)
    trixie.run(f"LIBMOUNT_FORCE_MOUNT2=never mount -t ext4 -r {lent.dev['ext4']} /srv/a; umount /srv/a")
    assert newly(host, trixie, before).get("fsmount") == 1


def test_falls_back_if_the_interface_is_not_there(host, lent, trixie):
    policy = host.read(f"/etc/deputyd/policy.d/{trixie.unit}.d/50-test.conf")
    trixie.policy(policy + "\nNewMountAPI=enosys\n")
    host.run(["deputyctl", "reload"])
    try:
        before = calls_of(host, trixie)
        trixie.run(f"mount -t ext4 -r {lent.dev['ext4']} /srv/a; umount /srv/a; mount -t tmpfs none /srv/a; umount /srv/a")
        new = newly(host, trixie, before)
        assert new.pop("fsopen") == 2 and new == {"mount": 1}, new
    finally:
        trixie.policy(policy)
        host.run(["deputyctl", "reload"])


def test_bind_mounts_and_remounts_are_native(host, trixie):
    before = calls_of(host, trixie)
    trixie.run("mount --bind /srv/b /srv/a; mount -o remount,bind,ro /srv/a; umount /srv/a; mount -t tmpfs -o size=1m,noatime none /srv/a; mount --bind /srv/a /srv/b; "
               "mount --make-private /srv/b; umount /srv/b; umount /srv/a")
    assert newly(host, trixie, before) == {}


def test_interface_that_is_not_intercepted(host, lent, trixie):
    """Last: it takes a restart."""
    policy = host.read(f"/etc/deputyd/policy.d/{trixie.unit}.d/50-test.conf")
    trixie.policy(policy + "\nNewMountAPI=native\n")
    trixie.start()
    assert not trixie.run(f"mount -t ext4 -r {lent.dev['ext4']} /srv/a", check=False).ok
    assert trixie.run(f"LIBMOUNT_FORCE_MOUNT2=always mount -t ext4 -r {lent.dev['ext4']} /srv/a; umount /srv/a").ok
    counted = host.counters(trixie.unit)
    assert set(counted) & {"fsopen", "fsconfig", "fsmount", "move_mount"} == set(), counted


# -- a user without a container -----------------------------------------------------------------------------


def test_user_without_a_container(lent):
    """AllowUsers= lends it to a user, on directories of its own."""
    host = lent.host
    sources = "AllowSource=b {}:{}".format(*lent.numbers["ext4"])
    host.write("/etc/deputyd-user.policy", f"[Intercept]\nSystemCalls=mount\nAllowUsers=1000\n[Mount]\nAllowType=ext4\n{sources}\n")
    host.run("mkdir -p /srv/own /srv/roots; chown 1000 /srv/own")
    steps = " ".join(fill(lent, ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "move:/srv/roots", "move:/srv/own", "statfs:/srv/own", "device:/srv/own/null"]))
    out = host.run(["unshare", "-m", "deputy-run", "--policy=/etc/deputyd-user.policy", "--", "sh", "-c",
                    f"setpriv --reuid=1000 --regid=1000 --clear-groups fsapi {steps}; setpriv --reuid=1001 --regid=1001 --clear-groups fsapi open:ext4"]).stdout
    assert out.splitlines() == ["open OK", "str OK", "flag OK", "create OK", "mount OK", "move EPERM", "move OK", "statfs ro nosuid nodev relatime", "device EACCES",
                                "open EPERM"], out


def test_mount_of_a_container_passed_to_a_user_without_one(lent):
    """Outside of the container its device nodes and set-user-ID programs would be real."""
    host = lent.host
    sources = "AllowSource=b {}:{}".format(*lent.numbers["ext4"])
    host.write("/etc/deputyd-passed.policy", f"[Intercept]\nSystemCalls=mount\nAllowUsers=1000\n[Mount]\nAllowType=ext4\nNoDev=no\nNoSUID=no\n{sources}\n")
    host.run("mkdir -p /srv/passed; chown 1000 /srv/passed")
    steps = " ".join(fill(lent, ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "sleep:2000"]))
    script = (f"unshare --user --map-root-user --mount fsapi {steps} >/tmp/passed & sleep 1; for fd in /proc/$!/fd/*; do [ -e $fd/null ] && exec 7<$fd; done; "
              "setpriv --reuid=1000 --regid=1000 --clear-groups fsapi mnt:7 move:/srv/passed device:/srv/passed/null; wait; cat /tmp/passed; rm /tmp/passed")
    out = host.run(["unshare", "-m", "deputy-run", "--policy=/etc/deputyd-passed.policy", "--", "bash", "-c", script]).stdout
    assert out.splitlines() == ["move EPERM", "device ENOENT", "open OK", "str OK", "flag OK", "create OK", "mount OK"], out
