# SPDX-License-Identifier: LGPL-2.1-or-later
"""A virtual machine with Debian's own kernel, for what this machine's kernel may lack: modules, memory limits of the
unified cgroup hierarchy, the behaviour of the kernel that Debian ships.

QEMU boots a small Debian, made once and kept in CACHE, with systemd as PID 1. What's written to its disks is thrown away.
QEMU translates every instruction (TCG), so that it works in a virtual machine, too, and boots within
half a minute; DEPUTYD_TEST_ACCEL=kvm is faster where that works. It's of this machine's own release, or of
DEPUTYD_TEST_GUEST_SUITE= (which mustn't be older, as this machine's build runs there).

Commands get there through a serial port of their own and tests/tools/guest-agent.c; the console is only a log. A
Guest is otherwise used like a Host of host.py.
"""

import contextlib
import hashlib
import io
import json
import lzma
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from host import new_record
from machine import CACHE, ROOT_PACKAGES, TOOLS, Machine, TestHostError, apt_mirror, cache_lock, debian_tarball, die_with_parent, root_tarball

# What the host side of the tests needs beyond what containers have.
PACKAGES = ROOT_PACKAGES + ("libglib2.0-bin", "libkmod2", "libmount1", "libseccomp2", "libsmartcols1", "nftables",
                            "procps", "squashfs-tools", "systemd-container", "udev", "xz-utils", "zstd")
# In the initial RAM disk: what it takes to mount the root and to reach the test.
BOOT_MODULES = ("virtio_pci", "virtio_blk", "virtio_console", "crc32c_generic", "ext4")
IMAGE_VERSION = 1  # of what _make_root() does
CONTAINERS = 10    # so many containers get a disk that's ready; further ones are unpacked
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
PORT = "org.deputyd.agent"
BOOT_SECONDS = 240

FRAME = struct.Struct("<III")
FRAME_HELLO, FRAME_START, FRAME_INPUT, FRAME_SIGNAL, FRAME_STDOUT, FRAME_STDERR, FRAME_EXIT = b"hsikoex"
CHUNK = 64 << 10

# Busybox' names are links to itself; its modprobe isn't used, as the order is known.
INIT = """#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /proc /sys /dev /new
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
while read module; do $b insmod /modules/$module; done </modules/order
while ! $b mount -t ext4 /dev/vda /new; do $b sleep 0.1; done
for d in proc sys dev; do $b mount --move /$d /new/$d; done
$b mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /new/run
$b mkdir -p /new/run/systemd/system/sysinit.target.wants
$b cp /guest-agent /new/run/guest-agent
$b cp /guest-agent.service /new/run/systemd/system/
$b ln -s ../guest-agent.service /new/run/systemd/system/sysinit.target.wants/
exec $b switch_root /new /lib/systemd/systemd
"""

AGENT_UNIT = f"""[Unit]
DefaultDependencies=no
IgnoreOnIsolate=yes
[Service]
ExecStart=/run/guest-agent {PORT}
KillMode=process
TasksMax=infinity
OOMPolicy=continue
"""


def missing_requirement():
    """Why this machine can't boot a guest, or None."""
    if os.geteuid() != 0:
        return "the guest's image is made by root"
    for program in ("qemu-system-x86_64", "debootstrap", "mkfs.ext4"):
        if not shutil.which(program):
            return f"{program} isn't installed; run 'make deps'"
    if os.uname().machine != "x86_64":
        return "the guest is an x86-64 machine"
    if not (TOOLS / "guest-agent").exists():
        return "the build has no guest-agent"
    return None


# -- images -------------------------------------------------------------------------------------------------

def guest_suite():
    return os.environ.get("DEPUTYD_TEST_GUEST_SUITE") or apt_mirror()[1]


def _apt_options(suite):
    """What makes apt look at another release's packages: lists of its own, in CACHE."""
    mirror, own_suite = apt_mirror()
    if suite == own_suite:
        return []
    directory = CACHE / f"apt-{suite}"
    options = []
    for name, path in (("Dir::Etc::SourceList", "sources.list"), ("Dir::Etc::SourceParts", "none"), ("Dir::State::Lists", "lists"), ("Dir::Cache", "cache")):
        options += ["-o", f"{name}={directory / path}"]
    with cache_lock():
        if not any(directory.glob("lists/*Packages*")):
            for path in ("none", "lists/partial", "cache/archives/partial"):
                (directory / path).mkdir(parents=True, exist_ok=True)
            (directory / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror} {suite} main\n")
            done = subprocess.run(["apt-get", "update", "-qq", "-o", "APT::Sandbox::User=root", *options], capture_output=True, text=True, timeout=300)
            if done.returncode != 0:
                raise TestHostError(f"apt can't get the lists of {suite}:\n{done.stderr}")
    return options


def kernel_package(apt):
    """The package that Debian's metapackage of the kernel stands for."""
    depends = subprocess.run(["apt-cache", *apt, "depends", "linux-image-amd64"], capture_output=True, text=True, timeout=60)
    for line in depends.stdout.splitlines():
        name = line.split()[-1]
        if "Depends:" in line and name.startswith("linux-image-"):
            return name
    raise TestHostError(f"apt doesn't know linux-image-amd64: {depends.stderr}")


def _cpio(files):
    """A "newc" archive of {path: (mode, bytes or device)}, what the kernel takes as its initial RAM disk."""
    out = bytearray()

    def add(path, mode, data=b"", device=(0, 0)):
        name = path.encode() + b"\0"
        fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0)
        out.extend(b"070701" + b"".join(b"%08x" % field for field in fields) + name)
        out.extend(bytes(-len(out) % 4))
        out.extend(data)
        out.extend(bytes(-len(out) % 4))

    made = set()
    for path, (mode, content) in files.items():
        for parent in reversed(Path(path).parents):
            if str(parent) not in (".", *made):
                made.add(str(parent))
                add(str(parent), 0o040755)
        add(path, mode, **({"device": content} if isinstance(content, tuple) else {"data": content}))
    add("TRAILER!!!", 0)
    return bytes(out)


def _plain(path):
    return Path(path).name.removesuffix(".xz")


def _boot_files(root, modules):
    """The unchanging part of the initial RAM disk, from an unpacked root."""
    depends = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, needs = line.partition(":")
        depends[path] = needs.split()
    by_name = {Path(path).name.split(".")[0].replace("-", "_"): path for path in depends}
    order = []
    for name in BOOT_MODULES:  # One that isn't there is built in.
        for path in [*reversed(depends[by_name[name]]), by_name[name]] if name in by_name else ():
            if path not in order:
                order.append(path)

    files = {"dev/console": (0o020600, (5, 1)), "init": (0o100755, INIT.encode())}
    for path in order:
        content = (modules / path).read_bytes()
        files[f"modules/{_plain(path)}"] = (0o100644, lzma.decompress(content) if path.endswith(".xz") else content)
    files["modules/order"] = (0o100644, "".join(f"{_plain(path)}\n" for path in order).encode())
    files["bin/busybox"] = (0o100755, (root / "bin/busybox").read_bytes())
    for library in ("lib64/ld-linux-x86-64.so.2", "lib/x86_64-linux-gnu/libc.so.6", "lib/x86_64-linux-gnu/libresolv.so.2"):
        files[library] = (0o100755, (root / library).resolve().read_bytes())
    return files


def _make_root(root, work, package, apt):
    """Completes the guest's root: a kernel's modules without its package's scripts, and the few settings it needs."""
    subprocess.run(["apt-get", *apt, "download", "-qq", "-o", "APT::Sandbox::User=root", package], cwd=work, check=True, timeout=300, capture_output=True)
    unpacked = work / "kernel"
    subprocess.run(["dpkg-deb", "-x", next(work.glob("*.deb")), unpacked], check=True, timeout=120)
    packaged = next(path for path in unpacked.glob("**/lib/modules/*") if path.is_dir())  # /lib or, later, /usr/lib
    release = packaged.name
    modules = root / "lib/modules" / release
    modules.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(packaged, modules)
    shutil.copy(unpacked / f"boot/config-{release}", root / "boot")
    subprocess.run(["chroot", root, "depmod", release], check=True, timeout=120)

    (root / "etc/machine-id").write_text("6465707574796420746573742067756e\n")
    (root / "etc/hostname").write_text("testhost\n")
    (root / "etc/fstab").write_text("")
    for unit in ("e2scrub_reap.service", "systemd-journal-flush.service", "systemd-hwdb-update.service"):
        link = root / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    (root / "var/lib/machines").mkdir(mode=0o700, exist_ok=True)
    return unpacked / f"boot/vmlinuz-{release}", modules


def _make_image(image, root, size):
    with open(image, "wb") as f:
        f.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0", "-d", root, image], check=True, timeout=300)


def images():
    """(kernel, initial RAM disk, root image, container image), made once and kept in CACHE by what's in them."""
    suite = guest_suite()
    apt = _apt_options(suite)
    package = kernel_package(apt)
    tarball, container_tarball = debian_tarball(PACKAGES, suite), root_tarball(suite)
    key = hashlib.sha256(f"{tarball.name} {package} {IMAGE_VERSION} {INIT} {BOOT_MODULES}".encode()).hexdigest()[:12]
    directory, container = CACHE / f"guest-{key}", container_tarball.with_suffix(".ext4")
    with cache_lock():
        for finished, make in ((directory, _make_guest), (container, _make_container)):
            if finished.exists():
                continue
            with tempfile.TemporaryDirectory(prefix="guest.", dir=CACHE) as work:
                partial = make(Path(work), package, apt, container_tarball if make is _make_container else tarball)
                partial.rename(finished)
    return directory / "vmlinuz", directory / "initrd", directory / "root.ext4", container


def _unpack(tarball, root):
    root.mkdir()
    subprocess.run(["tar", "-C", root, "--xattrs", "--numeric-owner", "-xf", tarball], check=True, timeout=120)


def _make_guest(work, package, apt, tarball):
    root, result = work / "root", work / "result"
    _unpack(tarball, root)
    result.mkdir()
    kernel, modules = _make_root(root, work, package, apt)
    shutil.copy(kernel, result / "vmlinuz")
    (result / "initrd").write_bytes(_cpio(_boot_files(root, modules)))
    _make_image(result / "root.ext4", root, 8 << 30)
    return result


def _make_container(work, _package, _apt, tarball):
    _unpack(tarball, work / "root")
    _make_image(work / "image", work / "root", 4 << 30)
    return work / "image"


# -- commands -----------------------------------------------------------------------------------------------

class Process:
    """A command of the guest, with the part of subprocess.Popen's interface that tests use."""

    def __init__(self, agent, argv, stdin=None, stdout=None, stderr=None, text=False, errors="strict"):
        self.args, self.pid, self.returncode = argv, None, None
        self._agent = agent
        self._exited = threading.Event()
        self._sinks, self._pumps = {}, []
        self._text = {"encoding": "utf-8", "errors": errors} if text else None
        self.stdout, self.stderr = self._output(FRAME_STDOUT, stdout), None
        if stderr == subprocess.STDOUT:
            self._sinks[FRAME_STDERR] = FRAME_STDOUT
        else:
            self.stderr = self._output(FRAME_STDERR, stderr)
        self._id = agent.start(self, argv)
        self.stdin = None
        if stdin == subprocess.PIPE:
            raw = io.BufferedWriter(_Input(self), CHUNK)
            self.stdin = io.TextIOWrapper(raw, write_through=False, **self._text) if text else raw
        else:
            if hasattr(stdin, "read"):
                while data := stdin.read(CHUNK):
                    self._input(data)
            self._input(b"")

    def _output(self, stream, where):
        """A pipe that a thread fills from an unbounded list: the agent's reader must never wait for a test."""
        if where != subprocess.PIPE:
            return None
        reading, writing = os.pipe()
        sink = _Sink(writing)
        self._sinks[stream] = sink
        self._pumps.append(sink)
        return open(reading, **self._text) if self._text else open(reading, "rb")

    def _input(self, data):
        self._agent.send(self._id, FRAME_INPUT, data)

    def _received(self, kind, data):
        if kind == FRAME_EXIT:
            self.returncode = struct.unpack("<i", data)[0]
            self._exited.set()
            return
        merged = self._sinks.get(kind) == FRAME_STDOUT
        sink = self._sinks.get(FRAME_STDOUT if merged else kind)
        if sink and (data or not merged):
            sink.put(data)

    def _lost(self):
        """The guest is gone."""
        if self.returncode is None:
            self.returncode = -signal.SIGKILL
        for sink in self._pumps:
            sink.put(b"")
        self._exited.set()

    def poll(self):
        return self.returncode if self._exited.is_set() else None

    def wait(self, timeout=None):
        if not self._exited.wait(timeout):
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def communicate(self, input=None, timeout=None):
        end = None if timeout is None else time.monotonic() + timeout
        results = {}

        def read(name, stream):
            results[name] = stream.read()

        readers = [threading.Thread(target=read, args=(name, stream), daemon=True)
                   for name, stream in (("stdout", self.stdout), ("stderr", self.stderr)) if stream]
        for reader in readers:
            reader.start()
        if self.stdin:
            with contextlib.suppress(BrokenPipeError):
                if input:
                    self.stdin.write(input)
                self.stdin.close()
        for reader in readers:
            reader.join(None if end is None else max(0, end - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout)
        self.wait(None if end is None else max(0.1, end - time.monotonic()))
        return results.get("stdout"), results.get("stderr")

    def send_signal(self, number):
        if self.poll() is None:
            self._agent.send(self._id, FRAME_SIGNAL, bytes([number]))

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self.wait(60)


class _Input(io.RawIOBase):
    """stdin of a command."""

    def __init__(self, process):
        self._process = process

    def writable(self):
        return True

    def write(self, data):
        if self._process.poll() is not None:
            raise BrokenPipeError
        data = bytes(data[:CHUNK])
        self._process._input(data)
        return len(data)

    def close(self):
        if not self.closed:
            self._process._input(b"")
        super().close()


class _Sink:
    """Bytes on their way into a pipe that may be full."""

    def __init__(self, fd):
        self._fd, self._chunks, self._more = fd, [], threading.Condition()
        threading.Thread(target=self._run, daemon=True).start()

    def put(self, data):
        with self._more:
            self._chunks.append(data)
            self._more.notify()

    def _run(self):
        try:
            while True:
                with self._more:
                    while not self._chunks:
                        self._more.wait()
                    data = self._chunks.pop(0)
                if not data:
                    break
                while data:
                    data = data[os.write(self._fd, data):]
        except BrokenPipeError:
            pass
        finally:
            os.close(self._fd)


class Agent:
    """Our side of guest-agent."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._lock = threading.Lock()
        self._processes, self._next = {}, 1
        self.ready = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, number, kind, data=b""):
        with self._lock, contextlib.suppress(OSError):
            for i in range(0, max(len(data), 1), CHUNK):
                part = data[i:i + CHUNK]
                self._socket.sendall(FRAME.pack(number, kind, len(part)) + part)

    def start(self, process, argv):
        with self._lock:
            number, self._next = self._next, self._next + 1
            self._processes[number] = process
        command = b"".join(os.fsencode(str(word)) + b"\0" for word in argv)
        if len(command) > CHUNK:
            raise ValueError("the command is too long for a frame")
        self.send(number, FRAME_START, command)
        return number

    def _receive(self, size):
        data = bytearray()
        while len(data) < size:
            part = self._socket.recv(min(size - len(data), 1 << 20))
            if not part:
                raise EOFError
            data += part
        return bytes(data)

    def _read(self):
        try:
            while True:
                number, kind, size = FRAME.unpack(self._receive(FRAME.size))
                data = self._receive(size)
                if kind == FRAME_HELLO:
                    self.ready.set()
                elif number in self._processes:
                    self._processes[number]._received(kind, data)
        except (EOFError, OSError):
            for process in list(self._processes.values()):
                process._lost()

    def close(self):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Monitor:
    """QEMU's own control socket: JSON lines."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._socket.settimeout(30)
        self._lines = self._socket.makefile("rw")
        self._lines.readline()
        self.execute("qmp_capabilities")

    def execute(self, command, **arguments):
        self._lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._lines.flush()
        while True:
            answer = json.loads(self._lines.readline())
            if "error" in answer:
                raise TestHostError(f"QEMU, {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]


# -- the machine --------------------------------------------------------------------------------------------

class Guest(Machine):
    """The virtual machine. Use as a context manager, or call close()."""

    def __init__(self, build=None, **kwargs):
        super().__init__(**({"build": build} if build else {}), **kwargs)
        self.accel = None
        self.suite = guest_suite()
        self._qemu = self._agent = self._monitor = self._record = None
        self._disks = 0
        self._spare = list(range(CONTAINERS))

    def boot(self):
        self._record = new_record(f"{os.getpid()}-guest")
        kernel, initrd, root, container = images()
        agent = {"guest-agent": (0o100755, (TOOLS / "guest-agent").read_bytes()), "guest-agent.service": (0o100644, AGENT_UNIT.encode())}
        # The kernel takes several archives one after another.
        (self._record / "initrd").write_bytes(initrd.read_bytes() + _cpio(agent))

        self.accel = os.environ.get("DEPUTYD_TEST_ACCEL", "tcg")
        self._start(kernel, root, container)
        if not (self._agent and self._agent.ready.wait(BOOT_SECONDS)):
            raise TestHostError(f"The guest doesn't boot with {self.accel}:\n{self.console()[-6000:]}")
        self.wait_for(lambda: self.run(["systemctl", "is-system-running"], check=False).stdout.strip() in ("running", "degraded"),
                      BOOT_SECONDS, "the guest to boot")

    def _start(self, kernel, root, container):
        record = self._record
        # It takes longer than all that runs beside it.
        argv = ["nice", "-n", "-5", "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-machine", "pc,graphics=off,vmport=off,usb=off",
                "-accel", self.accel + (",thread=multi" if self.accel == "tcg" else ""), "-cpu", "max", "-m", "2048", "-smp", "2",
                "-kernel", kernel, "-initrd", record / "initrd",
                "-append", "syscall.x32=y console=ttyS0 panic=-1 quiet loglevel=4 net.ifnames=0 systemd.unit=basic.target systemd.log_target=journal systemd.show_status=no",
                "-chardev", f"file,id=console,path={record}/console", "-serial", "chardev:console",
                "-qmp", f"unix:{record}/qmp,server=on,wait=off",
                "-device", "virtio-serial-pci", "-chardev", f"socket,id=agent,path={record}/agent,server=on,wait=off",
                "-device", f"virtserialport,chardev=agent,name={PORT}", "-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng"]
        for number, (image, serial) in enumerate([(root, "root")] + [(container, f"container{i}") for i in range(CONTAINERS)]):
            argv += ["-drive", f"file={image},if=none,id=disk{number},format=raw,snapshot=on", "-device", f"virtio-blk-pci,drive=disk{number},serial={serial}"]
        self._qemu = subprocess.Popen([str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                      preexec_fn=die_with_parent, env=dict(os.environ, TMPDIR=str(CACHE)))
        end = time.monotonic() + 20
        while time.monotonic() < end and self._qemu.poll() is None:
            try:
                self._agent, self._monitor = Agent(record / "agent"), Monitor(record / "qmp")
                return
            except OSError:
                time.sleep(0.05)

    def _stop(self):
        if self._agent:
            self._agent.close()
        if self._qemu:
            self._qemu.kill()
            self._qemu.wait()
        self._qemu = self._agent = self._monitor = None

    def close(self):
        self._stop()
        if self._record:
            shutil.rmtree(self._record, ignore_errors=True)

    def console(self):
        """What the kernel said, and QEMU if it has ended."""
        path = self._record / "console"
        said = path.read_text(errors="replace") if path.exists() else ""
        if self._qemu and self._qemu.poll() is not None:
            said += self._qemu.stdout.read().decode(errors="replace")
        return said

    def _popen(self, argv, **kwargs):
        return Process(self._agent, argv, **kwargs)

    def disk(self, serial, seconds=30):
        """The device /dev/vdX of an attached disk."""
        script = 'for d in /sys/block/vd*; do read s <$d/serial; [ "$s" != "$1" ] || echo /dev/${d##*/}; done'
        return self.wait_for(lambda: self.run(["sh", "-c", script, "sh", serial]).stdout.strip(), seconds, f"disk {serial}")

    def attach(self, image, read_only=False):
        """Attaches an image file as a disk, which is written to. Returns its device."""
        self._disks += 1
        name = f"extra{self._disks}"
        self._monitor.execute("blockdev-add", **{"driver": "raw", "node-name": name, "read-only": read_only,
                                                 "file": {"driver": "file", "filename": str(image), "read-only": read_only}})
        self._monitor.execute("device_add", driver="virtio-blk-pci", id=name, drive=name, serial=name)
        return self.disk(name)

    def detach(self, device):
        """Takes away what attach() has returned; it must be unmounted."""
        name = self.read(f"/sys/block/{Path(device).name}/serial").strip()
        self._monitor.execute("device_del", id=name)

        def let_go():
            try:
                self._monitor.execute("blockdev-del", **{"node-name": name})
                return True
            except TestHostError:  # The guest hasn't let go of it yet.
                return False

        self.wait_for(let_go, 30, f"{device} to go")

    def idmapped(self):
        """The types of file systems of which its kernel can make idmapped mounts."""
        kernel = tuple(int(number) for number in self.run("uname -r").stdout.split("-")[0].split(".")[:2])
        return {"ext4", "xfs", "btrfs", "erofs", "vfat"} | ({"squashfs"} if kernel >= (6, 2) else set())

    def _fill_root(self, container, path):
        if not self._spare:
            super()._fill_root(container, path)
            return
        self.run(["mount", "-o", "discard", self.disk(f"container{self._spare.pop(0)}"), container.root])
