# SPDX-License-Identifier: LGPL-2.1-or-later
"""deputyd in the foreground, without systemd and bus: abused senders, limits, supervisors that crash or hang,
and a restart with a service manager that's played by the test."""

import array
import ctypes
import os
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

import host as testhost

BUILD = testhost.BUILD
DEPUTYD = BUILD / "daemon" / "deputyd"
SUPERVISOR = BUILD / "supervisor" / "deputy-supervisor"
NOBODY = 65534

libc = ctypes.CDLL(None, use_errno=True)
SYS_SECCOMP, SYS_MKNODAT = (317, 259) if os.uname().machine == "x86_64" else (277, 33)
PR_SET_NO_NEW_PRIVS = 38
SET_MODE_FILTER, NEW_LISTENER, WAIT_KILLABLE = 1, 1 << 3, 1 << 5
HANDOVER_MAGIC, HANDOVER_FILTER, HANDOVER_PASS, HANDOVER_REFUSE = 0x64505544, 0, 1, 2
OFFER_HEAD = struct.Struct("=IIII512s")
GO = struct.Struct("=II512s")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="deputyd needs root")


class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def load_filter(insns, flags=NEW_LISTENER):
    """Loads a BPF program in this process and returns the listener."""
    buffer = ctypes.create_string_buffer(insns, len(insns))
    program = Program(len(insns) // 8, ctypes.addressof(buffer))
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    fd = libc.syscall(SYS_SECCOMP, SET_MODE_FILTER, flags, ctypes.byref(program))
    if fd < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    os.set_inheritable(fd, False)
    return fd


def readable(fd, seconds):
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


MKNODAT_FILTER = b"".join(struct.pack("=HBBI", *i) for i in (
    (0x20, 0, 0, 0), (0x15, 0, 1, SYS_MKNODAT), (0x06, 0, 0, 0x7FC00000), (0x06, 0, 0, 0x7FFF0000)))


def mknodat(path, device=os.makedev(1, 3)):
    """Return: 0 or more, or a negative errno."""
    r = libc.mknodat(-100, os.fsencode(path), 0o20600, device)
    return r if r >= 0 else -ctypes.get_errno()


class Child:
    """A forked process that runs prepare() and then mknodat(2) when it's told to."""

    def __init__(self, prepare, uid=None):
        self.commands, commands = os.pipe()[::-1]
        results, self.results = os.pipe()
        results, self.results = self.results, results
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.commands)
                os.close(self.results)
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                if uid is not None:
                    os.setgroups([])
                    os.setresgid(uid, uid, uid)
                    os.setresuid(uid, uid, uid)
                os.write(results, struct.pack("=q", prepare() or 0))
                while True:
                    line = os.read(commands, 4096)
                    if not line:
                        break
                    path, device = line.split(b"\0")
                    os.write(results, struct.pack("=q", mknodat(path, int(device))))
            except BaseException as e:  # noqa: BLE001: nothing of pytest may run in the child
                os.write(2, f"child: {e!r}\n".encode())
            os._exit(0)
        os.close(commands)
        os.close(results)

    def wait(self, timeout=10):
        if not readable(self.results, timeout):
            return None
        data = os.read(self.results, 8)
        return struct.unpack("=q", data)[0] if data else EOFError

    def start(self, path, device=os.makedev(1, 3)):
        os.write(self.commands, os.fsencode(path) + b"\0%i" % device)

    def mknod(self, path, device=os.makedev(1, 3), timeout=10):
        self.start(path, device)
        return self.wait(timeout)

    def end(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            os.close(self.commands)
            os.close(self.results)
            self.pid = 0


class Daemon:
    def __init__(self, directory):
        self.directory = directory
        self.socket = directory / "notify"
        self.policies = directory / "policy"
        self.log = directory / "log"
        self.process = None
        self.children = []
        self.environment = {"DEPUTYD_SUPERVISOR": str(SUPERVISOR)}

    def policy(self, unit, text):
        path = self.policies / f"{unit}.d"
        path.mkdir(parents=True, exist_ok=True)
        (path / "50-test.conf").write_text(textwrap.dedent(text))

    def start(self, pass_fds=(), names=(), **environment):
        self.policies.mkdir(exist_ok=True)
        env = {"PATH": os.environ["PATH"], "DEPUTYD_POLICY_PATH": str(self.policies), "RUNTIME_DIRECTORY": str(self.directory),
               "ASAN_OPTIONS": "detect_leaks=0"} | self.environment | environment

        def set_up():
            if names:
                # The descriptors must follow each other from 3 on.
                copies = [os.dup(fd) for fd in pass_fds]
                high = [libc.fcntl(fd, 1030, 500) for fd in copies]
                for i, fd in enumerate(high):
                    os.dup2(fd, 3 + i)
                os.environ["LISTEN_PID"] = str(os.getpid())

        argv = [str(DEPUTYD), "--no-bus", "--log-level=debug", f"--socket={self.socket}"]
        with open(self.log, "ab") as log:
            if names:
                # $LISTEN_PID must be deputyd's own: exec from a child that we fork by hand.
                pid = os.fork()
                if pid == 0:
                    try:
                        os.dup2(log.fileno(), 2)
                        set_up()
                        os.execve(argv[0], argv, env | {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(names)),
                                                        "LISTEN_FDNAMES": ":".join(names)})
                    finally:
                        os._exit(99)
                self.pid, self.process = pid, None
            else:
                self.process = subprocess.Popen(argv, env=env, stderr=log, stdin=subprocess.DEVNULL)
                self.pid = self.process.pid
        self.wait_until(lambda: self.socket.exists() or names, "the socket")
        self.barrier()

    def wait_until(self, condition, what, seconds=10):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited in vain for {what}:\n{self.log.read_text()[-3000:]}"
            time.sleep(0.01)

    def logged(self, text):
        return text in self.log.read_text(errors="replace")

    def connect(self):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        s.connect(str(self.socket))
        s.settimeout(10)
        return s

    def send(self, data, fds=(), ancillary=()):
        with self.connect() as s:
            ancillary = list(ancillary)
            if fds:
                ancillary.append((socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds)))
            return s.sendmsg([data], ancillary)

    def barrier(self, timeout=10):
        """All that was sent before is done when this returns. Return: seconds it took."""
        begin = time.monotonic()
        r, w = os.pipe()
        try:
            self.send(b"BARRIER=1", [w])
            os.close(w)
            assert readable(r, timeout), f"deputyd doesn't answer:\n{self.log.read_text()[-3000:]}"
            assert os.read(r, 1) == b""
        finally:
            os.close(r)
        return time.monotonic() - begin

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def listeners(self):
        n = 0
        for entry in os.scandir(f"/proc/{self.pid}/fd"):
            try:
                n += "seccomp" in os.readlink(entry.path)
            except FileNotFoundError:
                pass
        return n

    def rss(self):
        """Its own memory in bytes: what other processes don't share."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))) * 1024

    def supervisors(self):
        out = []
        for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            try:
                if b"--slot=" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    out.append(int(pid))
            except (FileNotFoundError, ProcessLookupError):
                pass
        return out

    def third_party(self, uid=None):
        """A child whose listener deputyd has, handed over as sd_notify(3) does it."""
        def prepare():
            fd = load_filter(MKNODAT_FILTER)
            self.send(b"FDSTORE=1\nFDNAME=test", [fd])
            self.barrier()
            os.close(fd)

        child = Child(prepare, uid)
        self.children.append(child)
        assert child.wait() == 0
        return child

    def run(self, unit, uid=None, answer=None):
        """A child that takes its filter from deputyd, as deputy-run does. Return: the child and the verdict."""
        def prepare():
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.send(f"DEPUTY_RUN=1\nUNIT={unit}\n".encode(), [theirs.fileno()])
            theirs.close()
            offer = ours.recv(65536)
            magic, version, verdict, n, message = OFFER_HEAD.unpack_from(offer)
            assert (magic, version) == (HANDOVER_MAGIC, 1)
            if verdict != HANDOVER_FILTER:
                return verdict
            assert len(offer) == OFFER_HEAD.size + 8 * n
            if answer:
                return answer(ours)
            fd = load_filter(offer[OFFER_HEAD.size:], NEW_LISTENER | WAIT_KILLABLE)
            socket.send_fds(ours, [struct.pack("=IiI", HANDOVER_MAGIC, 0, 1)], [fd])
            os.close(fd)
            magic, verdict, message = GO.unpack(ours.recv(65536))
            return verdict

        child = Child(prepare, uid)
        self.children.append(child)
        return child, child.wait()

    def stop(self):
        """SIGTERM. Return: the exit status."""
        os.kill(self.pid, signal.SIGTERM)
        return self.reap(10)

    def reap(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid, self.process = 0, None
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        raise AssertionError(f"deputyd doesn't end:\n{self.log.read_text()[-3000:]}")

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        self.reap(10)

    def end(self):
        if getattr(self, "pid", 0):
            supervisors = self.supervisors()
            self.kill()
            for pid in supervisors:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        for child in self.children:
            child.end()


@pytest.fixture
def daemon():
    # Not tmp_path: other users must reach the socket.
    directory = Path(tempfile.mkdtemp(prefix="deputyd-test-"))
    directory.chmod(0o755)
    d = Daemon(directory)
    try:
        yield d
    finally:
        d.end()
        shutil.rmtree(directory)


@pytest.fixture
def shared(daemon):
    """A directory that everybody may write to."""
    path = daemon.directory / "shared"
    path.mkdir()
    path.chmod(0o777)
    return path


LEND_NULL = """\
    [Intercept]
    SystemCalls=mknod
    AllowUsers=root nobody
    [Mknod]
    AllowDevice=c 1:3
    """


# What senders can do


def test_options():
    text = subprocess.run([DEPUTYD, "--help"], capture_output=True, text=True, timeout=10, check=True).stdout
    for option in ("--help", "--version", "--log-level", "--socket", "--no-bus"):
        assert option in text
    assert subprocess.run([DEPUTYD, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout.startswith("deputyd ")
    for bad in (["--nonsense"], ["argument"], ["--log-level=loud"], ["--socket=relative"]):
        r = subprocess.run([DEPUTYD, *bad], capture_output=True, text=True, timeout=10)
        assert r.returncode == 2 and r.stderr


@pytest.mark.parametrize("uid", [0, NOBODY])
def test_malformed_datagrams(daemon, uid):
    daemon.start()
    before = daemon.fds()

    def prepare():
        null = os.open("/dev/null", os.O_RDONLY)
        r, w = os.pipe()
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stream, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        seq = a.fileno()
        pidfd = os.pidfd_open(os.getpid())
        for data, fds in (
                (b"", []), (b"", [null]), (b"\0", []), (b"\n\n\n", [null]), (b"READY=1", []), (b"READY=1", [null, w]),
                (os.urandom(4096), []), (os.urandom(4096), [null]), (b"x" * 4097, [null]), (b"x" * 100000, [null, w]),
                (b"FDSTORE=1", []), (b"FDSTORE=1", [null]), (b"FDSTORE=1", [seq]), (b"FDSTORE=1", [w]), (b"FDSTORE=1", [null, w]),
                (b"FDSTORE=1\0", [null]), (b"FDSTORE=1\n\0FDNAME=x", [null]), (b"FDSTORE=1\nFDNAME=" + b"x" * 4000, [null]),
                (b"FDSTORE=1\nDEPUTY_RUN=1", [seq]), (b"FDSTORE=1", [null] * 253), (b"x", [null] * 253),
                (b"DEPUTY_RUN=1", []), (b"DEPUTY_RUN=1", [null]), (b"DEPUTY_RUN=1", [w]), (b"DEPUTY_RUN=1", [stream.fileno()]),
                (b"DEPUTY_RUN=1", [seq, null, w]), (b"DEPUTY_RUN=1", [null, seq]), (b"DEPUTY_RUN=1\nUNIT=", [seq]),
                (b"DEPUTY_RUN=1\nUNIT=../../etc", [seq]), (b"DEPUTY_RUN=1\nUNIT=" + b"x" * 300, [seq]),
                (b"DEPUTY_RUN=1\nUNIT=a.service\nUNIT=b.service", [seq]), (b"DEPUTY_RUN=1\nBARRIER=1", [seq, pidfd]),
                (b"BARRIER=1", []), (b"BARRIER=1", [w, w]), (b"BARRIER=1\nREADY=1", [w])):
            try:
                daemon.send(data, fds)
            except OSError as e:
                if e.errno not in (90,):  # EMSGSIZE
                    raise
        # A handover whose peer is gone, or never answers, or answers nonsense.
        for answer in (None, b"", b"nonsense", b"x" * 4096):
            c, d = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            daemon.send(b"DEPUTY_RUN=1\nUNIT=test.service", [d.fileno()])
            d.close()
            if answer is not None:
                try:
                    c.send(answer)
                except BrokenPipeError:
                    pass  # It has been told that there's no policy already.
            c.close()

    child = Child(prepare, uid)
    daemon.children.append(child)
    assert child.wait() == 0
    daemon.barrier()
    child.end()
    daemon.wait_until(lambda: daemon.fds() <= before, f"{daemon.fds()} descriptors to become {before}")
    assert daemon.listeners() == 0


def test_no_credentials_needed_from_senders_but_barrier_order_holds(daemon):
    daemon.policy("test.service", LEND_NULL)
    daemon.start()
    # By the time that the barrier is through, the listener is a target: nothing is polled for.
    for n in range(1, 6):
        daemon.third_party()
        assert daemon.listeners() == n


def test_burst(daemon):
    daemon.start()
    before = daemon.fds()
    null = os.open("/dev/null", os.O_RDONLY)
    worst = 0
    with daemon.connect() as s:
        for i in range(10000):
            s.sendmsg([b"FDSTORE=1" if i % 2 else os.urandom(200)],
                      [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null]))])
            if i % 1000 == 0:
                worst = max(worst, daemon.barrier())
    os.close(null)
    assert worst < 2
    daemon.barrier()
    daemon.wait_until(lambda: daemon.fds() <= before, "all descriptors to be closed")
    assert daemon.log.read_text(errors="replace").count("on the notify socket") < 30


def test_burst_from_a_user_closes_all_descriptors(daemon):
    daemon.start()
    before = daemon.fds()

    def prepare():
        null = os.open("/dev/null", os.O_RDONLY)
        with daemon.connect() as s:
            for _ in range(2000):
                s.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null] * 5))])

    child = Child(prepare, NOBODY)
    daemon.children.append(child)
    assert child.wait(60) == 0
    daemon.barrier()
    daemon.wait_until(lambda: daemon.fds() <= before, f"{daemon.fds()} descriptors to become {before}")


def test_close_that_blocks(daemon):
    """A TCP socket that lingers blocks its last close(2); deputyd isn't the one that waits for it."""
    daemon.start()
    daemon.barrier()
    before = daemon.fds()

    def prepare():
        server = socket.create_server(("127.0.0.1", 0))
        peers = []
        for _ in range(8):  # The notify socket has room for ten messages.
            s = socket.create_connection(server.getsockname())
            peers.append(server.accept()[0])
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
            s.setblocking(False)
            try:
                while True:
                    s.send(b"x" * 65536)
            except BlockingIOError:
                pass
            daemon.send(b"x", [s.fileno()])
            s.close()
        globals()["keep"] = (server, peers)

    # Whoever closes last waits. That's to be deputyd, so it may go on when the others have closed.
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        child = Child(prepare, NOBODY)
        daemon.children.append(child)
        assert child.wait(30) == 0
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    assert daemon.barrier() < 2
    child.end()
    daemon.wait_until(lambda: daemon.fds() <= before, "the sockets to be closed when their peer is gone")


def test_dead_sender(daemon):
    """Its listener is taken as long as somebody has the filter, but nothing is lent: its unit isn't known."""
    daemon.start()
    before = daemon.fds()
    for _ in range(50):
        if (pid := os.fork()) == 0:
            try:
                fd = load_filter(MKNODAT_FILTER)
                daemon.send(b"FDSTORE=1", [fd])
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
    daemon.barrier()
    daemon.wait_until(lambda: daemon.fds() <= before, "listeners without tasks to go")


def test_same_listener_twice(daemon):
    daemon.start()

    def prepare():
        fd = load_filter(MKNODAT_FILTER)
        copy = os.dup(fd)
        for f in (fd, copy, fd):
            daemon.send(b"FDSTORE=1", [f])
        daemon.barrier()
        os.close(fd)
        os.close(copy)

    for n in range(1, 4):
        child = Child(prepare)
        daemon.children.append(child)
        assert child.wait() == 0
        assert daemon.listeners() == n
    for child in daemon.children:
        child.end()
    daemon.wait_until(lambda: daemon.listeners() == 0, "the targets to go")


def test_limits_of_a_user(daemon):
    """A user may have as many handovers and targets as its limit says, and is no hindrance to others."""
    daemon.policy("test.service", LEND_NULL)
    daemon.start()
    before = daemon.fds()

    def hold():
        keep = []
        for _ in range(100):
            a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            daemon.send(b"DEPUTY_RUN=1", [b.fileno()])
            keep.append(a)
        daemon.barrier()
        globals()["keep"] = keep

    child = Child(hold, NOBODY)
    daemon.children.append(child)
    assert child.wait() == 0
    assert daemon.run("test.service")[1] == HANDOVER_FILTER
    child.end()
    for c in daemon.children:
        c.end()
    daemon.wait_until(lambda: daemon.fds() <= before, "all to be closed")

    many = [daemon.third_party(NOBODY) for _ in range(260)]
    assert daemon.listeners() == 256
    for c in many:
        c.end()


def test_handover_times_out(daemon):
    daemon.policy("test.service", LEND_NULL)
    daemon.start()
    before = daemon.fds()
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with a:
        daemon.send(b"DEPUTY_RUN=1\nUNIT=test.service", [b.fileno()])
        b.close()
        assert OFFER_HEAD.unpack_from(a.recv(65536))[2] == HANDOVER_FILTER
        a.settimeout(15)
        assert a.recv(1) == b""
    daemon.wait_until(lambda: daemon.fds() <= before, "all to be closed")


# What the policy says


def test_verdicts(daemon):
    daemon.policy("lent.service", LEND_NULL)
    daemon.policy("broken.service", "[Intercept\nSystemCalls=mknod\n")
    daemon.policy("empty.service", "[Intercept]\nSystemCalls=\n")
    daemon.policy("init.scope", LEND_NULL)
    daemon.policy("dbus.service", LEND_NULL)
    daemon.start()
    assert daemon.run("lent.service")[1] == HANDOVER_FILTER
    for unit in ("broken.service", "empty.service", "none.service", "init.scope", "dbus.service", "deputyd.service"):
        assert daemon.run(unit)[1] == HANDOVER_PASS, unit
    assert daemon.logged("broken.service.d/50-test.conf:1:")
    assert daemon.logged("(dbus.service) is pass-through")


def test_unit_is_claimed_by_root_only(daemon):
    daemon.policy("lent.service", LEND_NULL)
    daemon.start()
    assert daemon.run("lent.service", NOBODY)[1] == HANDOVER_PASS


def test_failed_load_is_answered_by_on_failure(daemon):
    daemon.policy("c.service", LEND_NULL)
    daemon.policy("e.service", LEND_NULL.replace("[Intercept]", "[Intercept]\n    OnFailure=EIO"))
    daemon.start()

    def answer(ours):
        ours.send(struct.pack("=IiI", HANDOVER_MAGIC, 16, 0))
        return GO.unpack(ours.recv(65536))[1]

    assert daemon.run("c.service", answer=answer)[1] == HANDOVER_PASS
    assert daemon.run("e.service", answer=answer)[1] == HANDOVER_REFUSE


def test_not_a_listener(daemon):
    daemon.policy("c.service", LEND_NULL)
    daemon.start()

    def answer(ours):
        null = os.open("/dev/null", os.O_RDONLY)
        socket.send_fds(ours, [struct.pack("=IiI", HANDOVER_MAGIC, 0, 0)], [null])
        return GO.unpack(ours.recv(65536))[1]

    assert daemon.run("c.service", answer=answer)[1] == HANDOVER_REFUSE


def test_lent_and_reload(daemon, tmp_path):
    daemon.policy("lent.service", LEND_NULL.replace("[Intercept]", "[Intercept]\n    IdleSec=1"))
    daemon.start()
    child, verdict = daemon.run("lent.service", None)
    assert verdict == HANDOVER_FILTER
    assert child.mknod(tmp_path / "null") == 0
    assert os.stat(tmp_path / "null").st_rdev == os.makedev(1, 3)
    assert len(daemon.supervisors()) == 1

    daemon.policy("lent.service", "[Intercept]\nSystemCalls=mknod\nIdleSec=1\n")
    os.kill(daemon.pid, signal.SIGHUP)
    daemon.wait_until(lambda: daemon.logged("1 of them changed"), "the reload")
    daemon.wait_until(lambda: not daemon.supervisors(), "the idle supervisor to leave")
    assert daemon.listeners() == 1

    # Wakes the next one.
    assert child.mknod(tmp_path / "again") == 0
    assert len(daemon.supervisors()) == 1

    child.end()
    daemon.wait_until(lambda: daemon.listeners() == 0, "the target to go")


def test_pass_through_is_served(daemon, shared):
    """A third party's filter exists whatever the policy says: its calls are continued, not refused."""
    daemon.start()
    child = daemon.third_party()
    assert child.mknod(shared / "node") == 0  # by itself: it's root
    user = daemon.third_party(NOBODY)
    assert user.mknod(shared / "node2") == -1


# Supervisors that misbehave

STUB = '''\
#!{python}
"""Serves a target in a bad way: what it does depends on the device's minor number."""
import ctypes, fcntl, mmap, os, select, signal, struct, sys, time
RECV, SEND = 0xC0502100, 0xC0182101
SLOT, SIZE = 160, 120
slot = int([a for a in sys.argv if a.startswith("--slot=")][0][7:])
state = mmap.mmap(6, 0)
base = SLOT + SIZE * slot
assert struct.unpack_from("=i", state, base + 80)[0] == os.getpid(), "the slot isn't mine"
libc = ctypes.CDLL(None, use_errno=True)
notification = ctypes.c_char.from_buffer(state, base)

def answer(at, value):
    id = struct.unpack_from("=Q", state, at)[0]
    response = ctypes.create_string_buffer(struct.pack("=QqiI", id, value, 0, 0), 24)
    libc.ioctl(3, SEND, response)
    struct.pack_into("=Q", state, at, 0)

for i in range(16):
    at = SLOT + SIZE * i
    if struct.unpack_from("=i", state, at + 80)[0] == -1:
        answer(at, 1000)
        struct.pack_into("=i", state, at + 80, 0)

poll = select.poll()
poll.register(3, select.POLLIN)
poll.register(4, select.POLLIN)
while True:
    events = dict(poll.poll())
    if 4 in events or events.get(3, 0) & select.POLLHUP:
        sys.exit(0)
    if struct.unpack_from("=I", state, 8)[0] != slot:
        sys.exit(0)
    state[base:base + 80] = bytes(80)
    struct.pack_into("=Q", state, base + 88, 0)
    if libc.ioctl(3, ctypes.c_ulong(RECV), ctypes.byref(notification)) < 0:
        continue
    struct.pack_into("=Q", state, base + 88, time.monotonic_ns())
    struct.pack_into("=Q", state, 16, time.monotonic_ns())
    minor = struct.unpack_from("=Q", state, base + 16 + 16 + 24)[0] & 0xff
    if minor == 66:
        os.kill(os.getpid(), signal.SIGKILL)
    if minor == 77:
        time.sleep(1000)
    answer(base, os.getpid())
'''

FAST, CRASH, HANG = (os.makedev(1, i) for i in (3, 66, 77))


@pytest.fixture
def stub(daemon):
    path = daemon.directory / "stub"
    path.write_text(STUB.format(python=sys.executable))
    path.chmod(0o755)
    daemon.environment["DEPUTYD_SUPERVISOR"] = str(path)
    return path


def test_crash_in_a_call(daemon, stub, tmp_path):
    """The call that was in hand is served by the next supervisor."""
    daemon.policy("t.service", LEND_NULL)
    daemon.start()
    child, _ = daemon.run("t.service")
    assert child.mknod("x", FAST) > 0
    for _ in range(3):
        assert child.mknod("x", CRASH) == 1000
    assert child.mknod("x", FAST) > 0


@pytest.mark.parametrize("on_failure, result", [("continue", 0), ("EIO", -5)])
def test_supervisors_that_only_crash(daemon, tmp_path, on_failure, result):
    daemon.environment["DEPUTYD_SUPERVISOR"] = "/bin/false"
    daemon.policy("t.service", LEND_NULL.replace("[Intercept]", f"[Intercept]\n    OnFailure={on_failure}"))
    daemon.start()
    child, _ = daemon.run("t.service")
    for i in range(20):
        assert child.mknod(tmp_path / str(i), FAST) == result
    assert daemon.logged("crashed 5 times")
    assert not daemon.supervisors()


def test_stuck_supervisor_gets_company(daemon, stub):
    daemon.policy("t.service", LEND_NULL.replace("[Intercept]", "[Intercept]\n    MaxSupervisors=3"))
    daemon.start()
    child, _ = daemon.run("t.service")
    second = Family(daemon, "t.service", 4)
    for i in range(2):
        second.start(i, HANG)
    time.sleep(0.05)
    begin = time.monotonic()
    assert second.call(2, FAST, 5) > 0
    assert time.monotonic() - begin < 3
    assert second.call(3, FAST, 5) > 0
    # The limit: all that may be are stuck, further calls wait, and other targets go on.
    second.start(2, HANG)
    daemon.wait_until(lambda: len(daemon.supervisors()) >= 3, "the third supervisor")
    time.sleep(0.3)
    second.start(3, FAST)
    assert second.wait(3, 0.5) is None
    assert len(daemon.supervisors()) == 3
    assert child.mknod("x", FAST) > 0


def test_call_times_out(daemon, stub):
    daemon.policy("t.service", LEND_NULL.replace("[Intercept]", "[Intercept]\n    CallTimeoutSec=1\n    OnFailure=EIO"))
    daemon.start()
    child, _ = daemon.run("t.service")
    begin = time.monotonic()
    assert child.mknod("x", HANG, 10) == -5
    assert 0.9 < time.monotonic() - begin < 3
    daemon.wait_until(lambda: daemon.logged("took longer than 1 s"), "its word about that")
    assert child.mknod("x", FAST) > 0


class Family:
    """Several tasks with one filter: the first loads it, the others are its children."""

    def __init__(self, daemon, unit, n):
        self.pipes = [(os.pipe(), os.pipe()) for _ in range(n)]

        def prepare():
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            daemon.send(f"DEPUTY_RUN=1\nUNIT={unit}\n".encode(), [theirs.fileno()])
            offer = ours.recv(65536)
            fd = load_filter(offer[OFFER_HEAD.size:], NEW_LISTENER | WAIT_KILLABLE)
            socket.send_fds(ours, [struct.pack("=IiI", HANDOVER_MAGIC, 0, 1)], [fd])
            os.close(fd)
            verdict = GO.unpack(ours.recv(65536))[1]
            for (commands, _), (_, results) in self.pipes:
                if os.fork() == 0:
                    libc.prctl(1, signal.SIGKILL, 0, 0, 0)
                    while line := os.read(commands, 64):
                        os.write(results, struct.pack("=q", mknodat(b"x", int(line))))
                    os._exit(0)
            return verdict

        self.child = Child(prepare)
        daemon.children.append(self.child)
        assert self.child.wait() == HANDOVER_FILTER

    def start(self, i, device):
        os.write(self.pipes[i][0][1], b"%i" % device)

    def wait(self, i, timeout):
        fd = self.pipes[i][1][0]
        return struct.unpack("=q", os.read(fd, 8))[0] if readable(fd, timeout) else None

    def call(self, i, device, timeout):
        self.start(i, device)
        return self.wait(i, timeout)


# Restart


class ServiceManager:
    """The part of PID 1 that keeps descriptors."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self.stored = {}
        self.messages = []

    def work(self):
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self.socket, 4096, 16)
            except BlockingIOError:
                return self
            fields = dict(line.split("=", 1) for line in data.decode().splitlines() if "=" in line)
            self.messages.append(fields)
            if "FDSTORE" in fields:
                os.set_inheritable(fds[0], False)
                self.stored[fields["FDNAME"]] = fds[0]
            elif "FDSTOREREMOVE" in fields:
                fd = self.stored.pop(fields["FDNAME"], None)
                if fd is not None:
                    os.close(fd)

    def end(self):
        for fd in self.stored.values():
            os.close(fd)
        self.socket.close()


@pytest.fixture
def service_manager(daemon):
    s = ServiceManager(daemon.directory / "pid1")
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(daemon.socket))
    notify.setsockopt(socket.SOL_SOCKET, 16, 1)  # SO_PASSCRED

    def start():
        s.work()
        daemon.start([notify.fileno(), *s.stored.values()], ["notify", *s.stored], NOTIFY_SOCKET=str(s.path))

    s.start_daemon = start
    yield s
    s.end()
    notify.close()


def test_notifications(daemon, service_manager):
    service_manager.start_daemon()
    os.kill(daemon.pid, signal.SIGHUP)
    daemon.wait_until(lambda: daemon.logged("Reloaded"), "the reload")
    assert daemon.stop() == 0
    messages = service_manager.work().messages
    for name in ("READY", "RELOADING", "MONOTONIC_USEC", "STATUS", "STOPPING"):
        assert any(name in m for m in messages), name
    assert [m for m in messages if "RELOADING" in m or "READY" in m][-1].get("READY") == "1"


def test_restart_keeps_targets(daemon, service_manager, tmp_path):
    daemon.policy("t.service", LEND_NULL)
    service_manager.start_daemon()
    a, _ = daemon.run("t.service")
    b, _ = daemon.run("t.service")
    assert a.mknod(tmp_path / "before") == 0
    assert len(list((daemon.directory / "targets").iterdir())) == 2
    stored = service_manager.work().stored
    assert sorted(name[0] for name in stored) == ["l", "l", "s"]

    for end in (daemon.kill, daemon.stop):
        supervisors = daemon.supervisors()
        end()
        daemon.wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in supervisors), "supervisors to leave")
        a.start(tmp_path / f"{end.__name__}-a")
        b.start(tmp_path / f"{end.__name__}-b")
        assert a.wait(0.2) is None, "nobody is there to answer"
        service_manager.start_daemon()
        assert a.wait() == 0 and b.wait() == 0
        assert daemon.listeners() == 2

    # What's gone meanwhile isn't restored for long, and its file goes.
    b.end()
    daemon.wait_until(lambda: daemon.listeners() == 1, "the target to go")
    daemon.wait_until(lambda: len(list((daemon.directory / "targets").iterdir())) == 1, "its file to go")
    assert sorted(name[0] for name in service_manager.work().stored) == ["l", "s"]


def test_restart_with_a_call_in_hand(daemon, service_manager, stub):
    """Received and not answered, the supervisor and deputyd killed: the kernel doesn't offer it again."""
    daemon.policy("t.service", LEND_NULL)
    service_manager.start_daemon()
    child, _ = daemon.run("t.service")
    child.start("x", HANG)
    daemon.wait_until(lambda: daemon.supervisors(), "the supervisor")
    time.sleep(0.5)
    supervisors = daemon.supervisors()
    daemon.kill()
    for pid in supervisors:
        os.kill(pid, signal.SIGKILL)
    service_manager.start_daemon()
    assert child.wait() == 1000, "served from the slot"
    assert child.mknod("x", FAST) > 0


def test_descriptors_without_files_and_files_without_descriptors(daemon, service_manager, tmp_path):
    daemon.policy("t.service", LEND_NULL)
    service_manager.start_daemon()
    child, _ = daemon.run("t.service")
    daemon.kill()
    for path in (daemon.directory / "targets").iterdir():
        path.unlink()
    (daemon.directory / "targets" / "0123456789abcdef").write_text("NUMBER=77\nUNIT=t.service\n")
    (daemon.directory / "targets" / "fedcba9876543210").write_bytes(os.urandom(3000))
    null = os.open("/dev/null", os.O_RDONLY)
    service_manager.work().stored |= {"l9": null, "nonsense": os.dup(null), "s5": os.dup(null)}
    service_manager.start_daemon()
    # Served without a policy: root's mknod goes on, by the kernel.
    assert child.mknod(tmp_path / "node") == 0
    assert daemon.listeners() == 1
    daemon.wait_until(lambda: set(service_manager.work().stored) == {"l1", "s1"}, "the rest to be dropped")
    assert not (daemon.directory / "targets" / "0123456789abcdef").exists()
    assert not (daemon.directory / "targets" / "fedcba9876543210").exists()

    # Why it's served so is kept, too.
    entry, = (daemon.directory / "targets").iterdir()
    reason = "What said which unit it belongs to is lost"
    assert os.readlink(entry).endswith(f" - {reason}")
    daemon.kill()
    service_manager.start_daemon()
    assert os.readlink(entry).endswith(f" - {reason}")
    assert child.mknod(tmp_path / "again") == 0
    assert daemon.listeners() == 1


# Figures


def test_idle_targets_are_cheap(daemon):
    daemon.policy("t@.service", LEND_NULL)
    daemon.start()
    first = [daemon.run(f"t@w{i}.service") for i in range(20)]
    assert all(v == HANDOVER_FILTER for _, v in first)
    daemon.barrier()
    time.sleep(1)
    before, fds = daemon.rss(), daemon.fds()
    children = [daemon.run(f"t@{i}.service")[0] for i in range(1000)]
    daemon.barrier()
    time.sleep(1)
    each = (daemon.rss() - before) / 1000
    print(f"\n{each:.0f} bytes of memory per idle target, each of another unit")
    assert daemon.fds() - fds == 1000, "one descriptor each"
    assert each <= 4096

    def ticks():
        fields = Path(f"/proc/{daemon.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    before = ticks()
    time.sleep(1)
    assert ticks() == before, "idle targets cost no time"
    for child in children:
        child.end()
    daemon.wait_until(lambda: daemon.listeners() == 20, "the targets to go")
