# SPDX-License-Identifier: LGPL-2.1-or-later
"""deputy-run against a server made of this test: every verdict and every way in which a conversation can go
wrong, and that the command can't tell that it wasn't started directly.

$DEPUTYD_BUILD_DIR says where the build is (default: build/ beside tests/)."""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import pathlib
import platform
import pwd
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("DEPUTYD_BUILD_DIR", ROOT / "build")).resolve()
DEPUTY_RUN = BUILD / "launcher" / "deputy-run"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it changes users and loads seccomp filters"),
    pytest.mark.skipif(not DEPUTY_RUN.exists(), reason=f"{DEPUTY_RUN} isn't built"),
    pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="the test has no numbers for it"),
]

# basic/protocol.h
MAGIC = 0x64505544
VERSION = 1
FILTER, PASS, REFUSE = 0, 1, 2
INSNS_MAX = 2048
MESSAGE_MAX = 512

NR = {
    "x86_64": {"mknodat": 259, "seccomp": 317, "socket": 41, "arch": 0xC000003E},
    "aarch64": {"mknodat": 33, "seccomp": 277, "socket": 198, "arch": 0xC00000B7},
}.get(platform.machine(), {})

RET_ALLOW, RET_ERRNO, RET_KILL_PROCESS, RET_USER_NOTIF = 0x7FFF0000, 0x00050000, 0x80000000, 0x7FC00000

NOTIF_RECV, NOTIF_SEND = 0xC0502100, 0xC0182101


def program(nr, verdict):
    """A filter that says "verdict" to one call and allows all others, as (code, jt, jf, k)."""
    return [(0x20, 0, 0, 4), (0x15, 0, 3, NR["arch"]), (0x20, 0, 0, 0), (0x15, 0, 1, nr), (0x06, 0, 0, verdict),
            (0x06, 0, 0, RET_ALLOW)]


def pack_program(insns):
    return b"".join(struct.pack("=HBBI", *insn) for insn in insns)


def offer(verdict, message="", insns=(), magic=MAGIC, version=VERSION, n_insns=None):
    return struct.pack("=IIII512s", magic, version, verdict, len(insns) if n_insns is None else n_insns,
                       message.encode()) + pack_program(insns)


def offer_filter(message=""):
    return offer(FILTER, message, program(NR["mknodat"], RET_USER_NOTIF))


def go(verdict=FILTER, message="", magic=MAGIC):
    return struct.pack("=II512s", magic, verdict, message.encode())


def load_filter(insns):
    """Loads a filter without a listener into this process (for preexec_fn, as root)."""
    code = ctypes.create_string_buffer(pack_program(insns))
    prog = struct.pack("@HP", len(insns), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(22, 2, prog, 0, 0) < 0:  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        raise OSError(ctypes.get_errno(), "prctl")


class Conversation:
    """The server's side of one handover."""

    def __init__(self, sock, pidfd, text):
        self.sock, self.pidfd, self.text = sock, pidfd, text
        self.listener = -1

    def send(self, data):
        self.sock.send(data)

    def receive_listener(self):
        """Return: error, wait_killable; the listener is kept."""
        data, fds, _, _ = socket.recv_fds(self.sock, 4096, 4, socket.MSG_CMSG_CLOEXEC)
        if not data:
            raise EOFError
        magic, error, wait_killable = struct.unpack("=IiI", data)
        assert magic == MAGIC
        assert len(fds) == (1 if error == 0 else 0)
        if fds:
            self.listener = fds[0]
        return error, wait_killable

    def close(self):
        self.sock.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
        if self.listener >= 0:
            os.close(self.listener)
            self.listener = -1
        self.pidfd = -1


class Server:
    """A notify socket whose conversations are held by a function of the test."""

    def __init__(self, directory, serve):
        self.path = str(directory / "notify")
        self.serve = serve
        self.error = None
        self.requests = []
        self.stored = []
        self.barriers = 0
        self.seen = []  # numbers of the calls that were notified
        self.kept = []
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        os.chmod(self.path, 0o666)
        self.stop_r, self.stop_w = os.pipe()
        self.threads = [threading.Thread(target=self.main)]
        self.threads[0].start()

    def main(self):
        try:
            while True:
                ready, _, _ = select.select([self.sock, self.stop_r], [], [])
                if self.stop_r in ready:
                    return
                self.dispatch()
        except BaseException as e:  # reported by close()
            self.error = e

    def dispatch(self):
        data, fds, flags, _ = socket.recv_fds(self.sock, 4096, 8, socket.MSG_CMSG_CLOEXEC)
        assert not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
        text = data.decode()
        lines = text.splitlines()
        if text == "BARRIER=1":
            assert len(fds) == 1
            self.barriers += 1
            os.close(fds[0])
        elif "FDSTORE=1" in lines:
            assert len(fds) == 1
            assert os.readlink(f"/proc/self/fd/{fds[0]}") == "anon_inode:seccomp notify"
            self.stored.append(text)
            self.answer_calls(fds[0])
        else:
            assert lines[0] == "DEPUTY_RUN=1"
            assert len(fds) in (1, 2)
            conversation = Conversation(socket.socket(fileno=fds[0]), fds[1] if len(fds) > 1 else -1, text)
            self.requests.append(text)
            self.kept.append(conversation)
            try:
                self.serve(self, conversation)
            except (BrokenPipeError, EOFError, ConnectionResetError):
                pass

    def answer_calls(self, listener):
        """Answers each call that's notified with success, from now on, in a thread."""
        thread = threading.Thread(target=self.answer_calls_main, args=(listener,))
        self.threads.append(thread)
        thread.start()

    def answer_calls_main(self, listener):
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.register(self.stop_r, select.POLLIN)
        while True:
            events = dict(poll.poll())
            if not events.get(listener, 0) & select.POLLIN:
                break
            request = bytearray(80)
            try:
                fcntl.ioctl(listener, NOTIF_RECV, request)
            except OSError:
                continue
            call_id, _, _, nr = struct.unpack_from("=QIIi", request)
            self.seen.append(nr)
            with contextlib.suppress(OSError):
                fcntl.ioctl(listener, NOTIF_SEND, bytearray(struct.pack("=QqiI", call_id, 0, 0, 0)))
        os.close(listener)

    def close(self):
        os.write(self.stop_w, b"x")
        for thread in self.threads:
            thread.join(10)
            assert not thread.is_alive()
        self.sock.close()
        os.close(self.stop_r)
        os.close(self.stop_w)
        for conversation in self.kept:
            conversation.close()
        if self.error:
            raise self.error


def serve_pass(server, conversation):
    conversation.send(offer(PASS))
    conversation.sock.close()


def serve_filter(server, conversation):
    """A complete handover; mknodat is answered with success from then on."""
    conversation.send(offer_filter())
    error, _ = conversation.receive_listener()
    assert error == 0
    server.answer_calls(os.dup(conversation.listener))
    conversation.send(go())


@pytest.fixture
def serve(tmp_path_factory):
    """serve(function) → Server"""
    servers = []

    def start(function):
        directory = tmp_path_factory.mktemp("run")
        for d in (directory, *directory.parents[:2]):
            os.chmod(d, 0o755)
        servers.append(Server(directory, function))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def run(server, *command, options=(), env=None, timeout=30, **kwargs):
    """Runs a command through deputy-run and returns its CompletedProcess (stderr and stdout as text)."""
    environment = dict(os.environ if env is None else env)
    if server:
        environment["DEPUTYD_NOTIFY_SOCKET"] = server.path
    kwargs.setdefault("stdout", subprocess.PIPE)
    kwargs.setdefault("stderr", subprocess.PIPE)
    return subprocess.run([DEPUTY_RUN, *options, "--", *map(str, command)], env=environment, text=True,
                          timeout=timeout, check=False, **kwargs)


# --- Verdicts ---


def test_filter(serve, tmp_path):
    """The filter is in force in the command, and the listener is its."""
    server = serve(serve_filter)
    result = run(server, "mkfifo", tmp_path / "fifo")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert server.seen == [NR["mknodat"]]
    assert not (tmp_path / "fifo").exists()  # the answer was ours
    assert server.requests == ["DEPUTY_RUN=1\n"]


def test_pass_quietly(serve, tmp_path):
    server = serve(serve_pass)
    result = run(server, "mkfifo", tmp_path / "fifo")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


def test_pass_with_a_warning(serve):
    server = serve(lambda _, c: c.send(offer(PASS, "a.conf:3: no such key")))
    result = run(server, "grep", "Seccomp:", "/proc/self/status")
    assert result.returncode == 0
    assert result.stdout.split() == ["Seccomp:", "0"]
    assert "a.conf:3: no such key" in result.stderr
    assert result.stderr.count("\n") == 1


def test_refuse(serve):
    server = serve(lambda _, c: c.send(offer(REFUSE, "the policy is broken")))
    result = run(server, "echo", "ran")
    assert (result.returncode, result.stdout) == (125, "")
    assert "the policy is broken" in result.stderr


@pytest.mark.parametrize("verdict,code", [(FILTER, 0), (PASS, 0), (REFUSE, 125)])
def test_go_verdicts(serve, verdict, code):
    def function(server, conversation):
        conversation.send(offer_filter())
        conversation.receive_listener()
        conversation.send(go(verdict, "about the target"))

    result = run(serve(function), "echo", "ran")
    assert result.returncode == code
    assert result.stdout == ("ran\n" if code == 0 else "")
    assert "about the target" in result.stderr


def test_messages_are_defused(serve):
    """No control character of a server reaches a terminal."""
    server = serve(lambda _, c: c.send(offer(PASS, "\x1b]0;title\x07 line\nline")))
    result = run(server, "true")
    assert result.returncode == 0
    assert "title" in result.stderr
    assert not set(result.stderr[:-1]) & {chr(c) for c in [*range(32), 127]}


def test_request(serve):
    """What the server is told: the unit if it's named, and who asks."""
    pids = []

    def function(server, conversation):
        with open(f"/proc/self/fdinfo/{conversation.pidfd}", encoding="ascii") as f:
            pids.extend(int(line.split()[1]) for line in f if line.startswith("Pid:"))
        serve_pass(server, conversation)

    server = serve(function)
    result = run(server, "sh", "-c", "echo $$", options=["--unit=foo@bar.service"])
    assert server.requests == ["DEPUTY_RUN=1\nUNIT=foo@bar.service\n"]
    assert pids == [int(result.stdout)]  # the command has the pid that asked


@pytest.mark.parametrize("unit", ["", "a b", "a\nFDSTORE=1", "x" * 256])
def test_bad_unit(serve, unit):
    server = serve(serve_pass)
    result = run(server, "true", options=[f"--unit={unit}"])
    assert result.returncode == 125
    assert server.requests == []


# --- Servers that are broken, or worse ---


@pytest.mark.parametrize("data", [
    b"x",
    b"\0" * 528,
    offer(PASS, magic=1),
    offer(PASS)[:-1],
    offer(PASS) + b"x",
    offer(7),
    offer(0xFFFFFFFF),
    offer(FILTER),  # of nothing
    offer(PASS, insns=program(1, RET_ALLOW)),
    offer(FILTER, insns=program(1, RET_ALLOW), n_insns=7),
    offer(FILTER, insns=program(1, RET_ALLOW), n_insns=5),
    offer(FILTER, insns=program(1, RET_ALLOW), n_insns=0x20000006),
    offer(FILTER, insns=program(1, RET_ALLOW), n_insns=0xFFFFFFFF),
    offer(FILTER, insns=[(0x06, 0, 0, RET_ALLOW)] * (INSNS_MAX + 1)),
    offer(FILTER, insns=[(0x06, 0, 0, RET_ALLOW)] * 8000),
    struct.pack("=IIII", MAGIC, VERSION, PASS, 0) + b"x" * 512,  # no NUL
], ids=lambda d: f"{len(d)}-bytes")
def test_malformed_offer(serve, data):
    result = run(serve(lambda _, c: c.send(data)), "echo", "ran")
    assert (result.returncode, result.stdout) == (125, "")
    assert "offer" in result.stderr


def test_other_version(serve):
    result = run(serve(lambda _, c: c.send(offer(PASS, version=2))), "true")
    assert result.returncode == 125
    assert "version 2" in result.stderr


def test_longest_program(serve):
    """HANDOVER_INSNS_MAX instructions are fine, for us and the kernel."""
    def function(server, conversation):
        insns = [(0x20, 0, 0, 0)] * (INSNS_MAX - 1) + [(0x06, 0, 0, RET_ALLOW)]
        conversation.send(offer(FILTER, insns=insns))
        assert conversation.receive_listener()[0] == 0
        conversation.send(go())

    assert run(serve(function), "true").returncode == 0


def test_uninvited_descriptors(serve):
    """Descriptors that come with an offer don't stay, neither here nor in the command."""
    def function(server, conversation):
        with open("/dev/null", "rb") as f:
            socket.send_fds(conversation.sock, [offer(PASS)], [f.fileno()] * 20)

    result = run(serve(function), "ls", "-l", "/proc/self/fd")
    assert result.returncode == 0
    assert [line for line in result.stdout.splitlines() if "/dev/null" in line and " 0 -> " not in line] == []


@pytest.mark.parametrize("data", [
    b"x", go()[:-1], go() + b"x", go(magic=1), go(3), struct.pack("=II", MAGIC, PASS) + b"x" * 512
], ids=lambda d: f"{len(d)}-bytes")
def test_malformed_go(serve, data):
    def function(server, conversation):
        conversation.send(offer_filter())
        conversation.receive_listener()
        conversation.send(data)

    result = run(serve(function), "echo", "ran")
    assert (result.returncode, result.stdout) == (125, "")
    assert "malformed" in result.stderr


def test_program_that_the_kernel_refuses(serve):
    """The server learns the errno and has the last word."""
    seen = []

    def function(server, conversation):
        conversation.send(offer(FILTER, insns=[(0x20, 0, 0, 0)]))  # no return
        seen.append(conversation.receive_listener()[0])
        conversation.send(go(PASS, "unintercepted, then"))

    result = run(serve(function), "echo", "ran")
    assert seen == [errno.EINVAL]
    assert (result.returncode, result.stdout) == (0, "ran\n")
    assert "The kernel doesn't take the filter" in result.stderr
    assert "unintercepted, then" in result.stderr


def test_served_without_a_listener_is_a_lie(serve):
    def function(server, conversation):
        conversation.send(offer(FILTER, insns=[(0x20, 0, 0, 0)]))
        conversation.receive_listener()
        conversation.send(go(FILTER))

    assert run(serve(function), "true").returncode == 125


@pytest.mark.parametrize("answered", [False, True], ids=["offer", "go"])
def test_timeout(serve, answered):
    def function(server, conversation):
        if answered:
            conversation.send(offer_filter())
            conversation.receive_listener()

    server = serve(function)
    start = time.monotonic()
    result = run(server, "true", env=dict(os.environ, DEPUTYD_TIMEOUT_SEC="1"))
    assert 0.9 < time.monotonic() - start < 10
    assert result.returncode == 125
    assert "within 1 s" in result.stderr


@pytest.mark.parametrize("value", ["", "0", "-1", "1s", "3601", "99999999999999999999"])
def test_bad_timeout(serve, value):
    result = run(serve(serve_pass), "true", env=dict(os.environ, DEPUTYD_TIMEOUT_SEC=value))
    assert result.returncode == 125
    assert "DEPUTYD_TIMEOUT_SEC" in result.stderr


# --- Servers that go away ---


def test_no_server(tmp_path):
    for path in (tmp_path / "nothing", tmp_path / "stale"):
        if path.name == "stale":
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).bind(str(path))
        result = run(None, "true", env=dict(os.environ, DEPUTYD_NOTIFY_SOCKET=str(path)))
        assert result.returncode == 125
        for word in ("deputyd.socket", "--policy=", "--profile=", str(path)):
            assert word in result.stderr


@pytest.mark.parametrize("path", ["", "relative", "@", "/" + "x" * 120])
def test_bad_socket_path(path):
    result = run(None, "true", env=dict(os.environ, DEPUTYD_NOTIFY_SOCKET=path))
    assert result.returncode == 125
    assert "DEPUTYD_NOTIFY_SOCKET" in result.stderr


def test_break_before_the_offer_is_asked_again(serve):
    def function(server, conversation):
        if len(server.requests) < 3:
            conversation.sock.close()
        else:
            serve_filter(server, conversation)

    server = serve(function)
    assert run(server, "true").returncode == 0
    assert len(server.requests) == 3


def test_break_before_the_offer_for_ever(serve):
    server = serve(lambda _, c: c.sock.close())
    result = run(server, "true")
    assert result.returncode == 125
    assert len(server.requests) == 3
    assert "deputyd.service" in result.stderr


@pytest.mark.parametrize("taken", [True, False], ids=["after-the-listener", "before-the-listener"])
def test_break_before_go(serve, tmp_path, taken):
    """The listener is handed over again, and the command's calls are served by the next one."""
    def function(server, conversation):
        conversation.send(offer_filter())
        if taken:
            conversation.receive_listener()
        conversation.close()

    server = serve(function)
    result = run(server, "mkfifo", tmp_path / "fifo", options=["--unit=a.service"])
    if not taken and not server.stored:
        pytest.fail("the offer was lost with the connection")
    assert (result.returncode, result.stderr) == (0, "")
    assert server.stored == ["FDSTORE=1\nFDNAME=deputy-run\nUNIT=a.service\n"]
    assert server.barriers == 1
    assert server.seen == [NR["mknodat"]]


def test_break_before_go_and_nobody_comes(serve):
    def function(server, conversation):
        conversation.send(offer_filter())
        conversation.receive_listener()
        os.unlink(server.path)
        conversation.close()

    result = run(serve(function), "echo", "ran", env=dict(os.environ, DEPUTYD_TIMEOUT_SEC="1"))
    assert (result.returncode, result.stdout) == (125, "")
    assert "deputyd.socket" in result.stderr


# --- Transparency ---

# What a program can know of how it was started.
SELF = """
import json, os, resource, signal, sys
status = dict(line.rstrip("\\n").split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
mask = os.umask(0o77)
fds = {}
for fd in os.listdir("/proc/self/fd"):
    try:
        fds[fd] = os.readlink("/proc/self/fd/" + fd)
    except OSError:
        pass
children = open("/proc/thread-self/children").read() if os.path.exists("/proc/thread-self/children") else ""
json.dump({
    "argv": [a.decode("latin1") for a in open("/proc/self/cmdline", "rb").read().split(b"\\0")],
    "env": [e.decode("latin1") for e in open("/proc/self/environ", "rb").read().split(b"\\0")],
    "cwd": os.getcwd(), "umask": mask, "fds": fds, "children": children, "sid": os.getsid(0), "pgid": os.getpgid(0),
    "limits": [resource.getrlimit(i) for i in range(16)], "nice": os.nice(0),
    "status": {k: status[k] for k in ("SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "Uid", "Gid", "Groups", "CapInh",
                                      "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "TracerPid", "PPid")},
}, sys.stdout)
"""


def describe(command, **kwargs):
    result = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=30, **kwargs)
    found = json.loads(result.stdout)
    found["fds"] = {fd: target for fd, target in found["fds"].items() if "/proc/" not in target}
    for fd in "1":
        found["fds"].pop(fd)  # a pipe of its own
    return found


def odd_start():
    os.umask(0o31)
    os.chdir("/usr")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGCHLD, signal.SIGTERM])
    os.setgroups([1, 2, 3])


@pytest.mark.parametrize("function", [serve_pass, serve_filter], ids=["pass", "filter"])
@pytest.mark.parametrize("odd", [False, True], ids=["plain", "odd"])
def test_transparent(serve, function, odd):
    """The command finds all as if it had been started directly."""
    server = serve(function)
    env = {"DEPUTYD_NOTIFY_SOCKET": server.path, "A": "1", "B": "two words", "C": "é", "NOTIFY_SOCKET": "/x",
           "PATH": os.environ["PATH"], "EMPTY": ""}
    command = [sys.executable, "-ESs", "-c", SELF, "", "a b", "--policy=x", "-v", "--", "\\", "é"]
    with open("/etc/passwd", "rb") as f:
        kwargs = {"env": env, "stdin": subprocess.DEVNULL, "pass_fds": [f.fileno()],
                  "preexec_fn": odd_start if odd else None}
        direct = describe(command, **kwargs)
        through = describe([DEPUTY_RUN, *command], **kwargs)
    assert through == direct


def test_exit_status(serve):
    server = serve(serve_filter)
    for code in range(256):
        result = run(server, "sh", "-c", f"exit {code}")
        assert (result.returncode, result.stderr) == (code, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGHUP])
def test_signals(serve, number):
    result = run(serve(serve_filter), "sh", "-c", f"ulimit -c 0; kill -{int(number)} $$")
    assert result.returncode == -number


def test_stdio(serve):
    result = run(serve(serve_filter), "sh", "-c", "cat; echo to-stderr >&2", input="from-stdin\n")
    assert (result.returncode, result.stdout, result.stderr) == (0, "from-stdin\n", "to-stderr\n")


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_standard_descriptors(serve, closed, tmp_path):
    """What's closed stays closed, and messages don't go to whatever took its number."""
    server = serve(serve_filter)

    def close():
        for fd in closed:
            os.close(fd)

    out = tmp_path / "out"
    result = run(server, "sh", "-c", f"for i in 0 1 2; do [ -e /proc/$$/fd/$i ] && echo $i; done > {out}; true",
                 options=["--verbose"], preexec_fn=close)
    assert result.returncode == 0
    # The shell's own redirection of 1 shows while it's in force.
    assert {int(i) for i in out.read_text().split()} - {1} == {0, 1, 2} - {1} - set(closed)
    assert server.error is None


def test_argv0(serve):
    server = serve(serve_pass)
    result = run(server, "/bin/cat", "/proc/self/cmdline", options=["--argv0=dog"])
    assert result.stdout == "dog\0/proc/self/cmdline\0"
    result = run(server, "cat", "/proc/self/cmdline", options=["--argv0="])
    assert result.stdout == "\0/proc/self/cmdline\0"


def test_options_stop_at_the_command(serve):
    server = serve(serve_pass)
    result = subprocess.run([DEPUTY_RUN, "echo", "--help", "-v", "--", "--unit=x"], text=True, check=True,
                            stdout=subprocess.PIPE, env=dict(os.environ, DEPUTYD_NOTIFY_SOCKET=server.path))
    assert result.stdout == "--help -v -- --unit=x\n"
    assert server.requests == ["DEPUTY_RUN=1\n"]


def test_path_search(serve, tmp_path):
    server = serve(serve_pass)
    script = tmp_path / "deputy-test-command"
    script.write_text("#!/bin/sh\necho found\n")
    env = dict(os.environ, PATH=f"/nonexistent:{tmp_path}:{os.environ['PATH']}")
    script.chmod(0o755)
    assert run(server, script.name, env=env).stdout == "found\n"
    script.chmod(0o644)
    result = run(server, script.name, env=env)
    assert result.returncode == 126
    assert script.name in result.stderr
    assert run(server, tmp_path).returncode == 126
    for missing in ("deputy-no-such-command", "/nonexistent/x", "./x", ""):
        result = run(server, missing, cwd=tmp_path)
        assert result.returncode == 127
        assert "No such file" in result.stderr


def test_exec_failure_releases_the_listener(serve):
    """The server sees the end of a target whose command can't be executed."""
    hung_up = []

    def function(server, conversation):
        serve_filter(server, conversation)
        poll = select.poll()
        poll.register(conversation.listener, 0)
        hung_up.extend(poll.poll(10000))

    assert run(serve(function), "/nonexistent/x").returncode == 127
    deadline = time.monotonic() + 10
    while not hung_up and time.monotonic() < deadline:
        time.sleep(0.01)
    assert hung_up and hung_up[0][1] & select.POLLHUP


@pytest.mark.parametrize("arguments", [[], ["--"], ["--bad", "true"], ["-x", "true"], ["--unit"], ["--policy=", "true"],
                                       ["--profile=", "true"], ["--help=x"], ["-vx", "true"]])
def test_bad_usage(arguments):
    result = subprocess.run([DEPUTY_RUN, *arguments], text=True, capture_output=True, check=False, timeout=10)
    assert (result.returncode, result.stdout) == (125, "")
    assert "--help" in result.stderr


def test_help_and_version():
    for option in ("--help", "-h"):
        result = subprocess.run([DEPUTY_RUN, option], text=True, capture_output=True, check=True, timeout=10)
        for word in ("--policy=", "--profile=", "--unit=", "--argv0=", "--verbose", "--version", "125", "126", "127"):
            assert word in result.stdout
    result = subprocess.run([DEPUTY_RUN, "--version"], text=True, capture_output=True, check=True, timeout=10)
    assert result.stdout.startswith("deputyd ")
    with open("/dev/full", "w", encoding="ascii") as full:
        result = subprocess.run([DEPUTY_RUN, "--help"], stdout=full, stderr=subprocess.PIPE, check=False, timeout=10)
    assert result.returncode == 125


def test_man_page_has_every_option_and_variable():
    text = (ROOT / "man" / "deputy-run.1.scd").read_text(encoding="utf-8").replace("\\", "")
    usage = subprocess.run([DEPUTY_RUN, "--help"], text=True, capture_output=True, check=True, timeout=10).stdout
    words = {word.split("=")[0] for word in usage.split() if word.startswith("--") and len(word) > 2}
    assert len(words) >= 7
    for word in words | {"$DEPUTYD_NOTIFY_SOCKET", "$DEPUTYD_TIMEOUT_SEC"}:
        assert word in text, word


def test_verbose(serve):
    server = serve(serve_filter)
    result = run(server, "true", options=["--verbose"])
    assert result.returncode == 0
    lines = result.stderr.splitlines()
    assert all(line.startswith("deputy-run: ") for line in lines)
    for word in (server.path, "filter", "listener", "Executing true"):
        assert any(word in line for line in lines), word


def test_static():
    """No interpreter, no library: it runs in any container."""
    headers = subprocess.run(["readelf", "-lhd", DEPUTY_RUN], text=True, capture_output=True, check=True).stdout
    assert "DYN" in headers
    assert "INTERP" not in headers and "NEEDED" not in headers


# --- Nesting, users, foreign filters ---


def test_nested(serve):
    """One listener per task: the inner one is told why, the server decides."""
    server = serve(lambda s, c: nested_or_outer(s, c))
    errors = []

    def nested_or_outer(server, conversation):
        conversation.send(offer_filter())
        error, _ = conversation.receive_listener()
        if error:
            errors.append(error)
            conversation.send(go(REFUSE, "nested"))
        else:
            conversation.send(go())

    result = run(server, DEPUTY_RUN, "echo", "ran")
    assert errors == [errno.EBUSY]
    assert (result.returncode, result.stdout) == (125, "")
    assert "Nesting" in result.stderr


def copy_for_everybody(directory):
    path = directory / "deputy-run"
    shutil.copy(DEPUTY_RUN, path)
    path.chmod(0o755)
    return path


def test_as_nobody(serve):
    """Without CAP_SYS_ADMIN the filter needs no_new_privs, and only then it's set."""
    server = serve(serve_filter)
    program_path = copy_for_everybody(pathlib.Path(server.path).parent)
    nobody = pwd.getpwnam("nobody")
    env = dict(os.environ, DEPUTYD_NOTIFY_SOCKET=server.path)

    def status(**kwargs):
        result = subprocess.run([program_path, "--", "grep", "-E", "NoNewPrivs|Seccomp:", "/proc/self/status"], env=env,
                                text=True, capture_output=True, check=True, timeout=30, **kwargs)
        assert result.stderr == ""
        return result.stdout.split()

    assert status() == ["NoNewPrivs:", "0", "Seccomp:", "2"]
    as_nobody = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    assert status(**as_nobody) == ["NoNewPrivs:", "1", "Seccomp:", "2"]
    assert status(**as_nobody, preexec_fn=lambda: ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)) == [
        "NoNewPrivs:", "1", "Seccomp:", "2"]
    server.serve = serve_pass
    assert status(**as_nobody) == ["NoNewPrivs:", "0", "Seccomp:", "0"]


@pytest.mark.parametrize("verdict", [RET_ERRNO | errno.EPERM, RET_ERRNO | errno.ENOSYS, RET_KILL_PROCESS],
                         ids=["EPERM", "ENOSYS", "kill"])
@pytest.mark.parametrize("last_word,code", [(PASS, 0), (REFUSE, 125)], ids=["pass", "refuse"])
def test_seccomp_forbidden(serve, verdict, last_word, code):
    """SystemCallFilter= without seccomp: an explanation, even where the filter kills, and OnFailure= decides."""
    errors = []

    def function(server, conversation):
        conversation.send(offer_filter())
        errors.append(conversation.receive_listener()[0])
        conversation.send(go(last_word))

    server = serve(function)
    result = run(server, "echo", "ran", preexec_fn=lambda: load_filter(program(NR["seccomp"], verdict)))
    assert errors in ([errno.EPERM], [errno.ENOSYS])
    assert "SystemCallFilter=seccomp" in result.stderr
    assert (result.returncode, result.stdout) == (code, "ran\n" if code == 0 else "")


def test_sockets_forbidden(serve):
    """RestrictAddressFamilies= without AF_UNIX."""
    result = run(serve(serve_pass), "true",
                 preexec_fn=lambda: load_filter(program(NR["socket"], RET_ERRNO | errno.EAFNOSUPPORT)))
    assert result.returncode == 125
    assert "RestrictAddressFamilies=AF_UNIX" in result.stderr


def test_environment_is_ignored_if_privileges_were_raised(serve):
    """Set-user-ID, for whatever reason: the caller can't choose the server."""
    server = serve(serve_pass)
    program_path = copy_for_everybody(pathlib.Path(server.path).parent)
    program_path.chmod(0o4755)
    result = subprocess.run([program_path, "true"], env=dict(os.environ, DEPUTYD_NOTIFY_SOCKET=server.path,
                                                             DEPUTYD_TIMEOUT_SEC="1"),
                            user="nobody", group="nogroup", extra_groups=[], check=False, timeout=60,
                            capture_output=True)
    assert server.requests == []
    assert server.path.encode() not in result.stderr


def test_abstract_socket():
    name = f"@deputyd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name[1:])

        def answer():
            _, fds, _, _ = socket.recv_fds(sock, 4096, 4)
            with socket.socket(fileno=fds[0]) as peer:
                peer.send(offer(PASS))
            for fd in fds[1:]:
                os.close(fd)

        thread = threading.Thread(target=answer)
        thread.start()
        result = run(None, "echo", "ran", env=dict(os.environ, DEPUTYD_NOTIFY_SOCKET=name))
        thread.join(10)
    assert (result.returncode, result.stdout) == (0, "ran\n")


def test_wait_killable(serve):
    """The flag is asked for, and the server learns whether the kernel has it (5.19 and newer)."""
    flags = []

    def function(server, conversation):
        conversation.send(offer_filter())
        flags.append(conversation.receive_listener()[1])
        conversation.send(go())

    assert run(serve(function), "true").returncode == 0
    release = tuple(int(x) for x in os.uname().release.split("-")[0].split(".")[:2])
    assert flags == [1 if release >= (5, 19) else 0]


# --- Embedded: the supervisor is a script here, found beside the program ---

SUPERVISOR = """#!{python} -ESs
import json, os, socket, sys
out = {out!r}
fds = {{fd: os.readlink("/proc/self/fd/" + fd) for fd in os.listdir("/proc/self/fd")
       if os.path.exists("/proc/self/fd/" + fd)}}
status = dict(line.rstrip("\\n").split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
json.dump({{"argv": sys.argv[1:], "env": dict(os.environ), "fds": fds, "sid": os.getsid(0), "pid": os.getpid(),
           "ppid": os.getppid(), "blocked": status["SigBlk"], "cwd": os.getcwd()}}, open(out, "w"))
{body}
"""

SUPERVISOR_SERVE = """
sock = socket.socket(fileno=3)
sock.send({offer!r})
data, fds, _, _ = socket.recv_fds(sock, 4096, 4)
sock.send({go!r})
sock.close()
import select
poll = select.poll()
poll.register(fds[0], 0)
poll.poll(20000)
open(out + ".done", "w").close()
"""


@pytest.fixture
def embedded(tmp_path):
    """embedded(body) → (deputy-run with that supervisor, where it writes)"""
    def make(body):
        shutil.copy(DEPUTY_RUN, tmp_path / "deputy-run")
        script = tmp_path / "deputy-supervisor"
        script.write_text(SUPERVISOR.format(python=sys.executable, out=str(tmp_path / "out"), body=body))
        script.chmod(0o755)
        return tmp_path / "deputy-run", tmp_path / "out"

    return make


def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_embedded(embedded):
    program_path, out = embedded(SUPERVISOR_SERVE.format(offer=offer_filter(), go=go()))
    env = dict(os.environ, NOTIFY_SOCKET="/x", WATCHDOG_USEC="1", LISTEN_FDS="1", KEPT="yes")
    with open("/etc/passwd", "rb") as f:
        result = subprocess.run(
            [program_path, "--profile=a", "--policy=b", "-v", "--profile=c", "--unit=u.service", "sh", "-c",
             "echo $NOTIFY_SOCKET; cat /proc/$$/task/*/children; echo; grep Seccomp: /proc/self/status"],
            env=env, pass_fds=[f.fileno()], text=True, capture_output=True, timeout=30, check=True, cwd="/usr",
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]))
    lines = result.stdout.splitlines()
    assert lines[0] == "/x"
    assert lines[-1].split() == ["Seccomp:", "2"]
    found = json.loads(out.read_text())
    assert str(found["pid"]) not in lines[1].split()  # no child of the command's
    assert found["argv"] == ["--embedded=3", "--profile=a", "--policy=b", "--profile=c", "--unit=u.service", "--verbose"]
    assert found["env"]["KEPT"] == "yes"
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS"} & set(found["env"])
    assert found["sid"] not in (os.getsid(0), 0)
    assert int(found["blocked"], 16) == 0
    assert found["cwd"] == "/usr"  # relative paths of policies
    fds = {fd: target for fd, target in found["fds"].items() if "/proc/" not in target}
    assert set(fds) == {"0", "1", "2", "3"}
    assert fds["0"] == fds["1"] == "/dev/null"
    assert fds["2"].startswith("pipe:")
    assert fds["3"].startswith("socket:")
    wait_until((out.parent / "out.done").exists)  # it saw the command's end


@pytest.mark.parametrize("body,words", [
    ("sys.exit('deputy-supervisor: b:1: no such policy')", "no such policy"),
    ("socket.socket(fileno=3).send({!r})".format(offer(REFUSE, "broken: b")), "broken: b"),
    ("socket.socket(fileno=3).send({!r})".format(offer_filter()), "supervisor has ended"),
    ("socket.socket(fileno=3).send(b'x')", "offer"),
], ids=["exit", "refuse", "break-before-go", "garbage"])
def test_embedded_failures(embedded, body, words):
    program_path, _ = embedded(body)
    result = subprocess.run([program_path, "--policy=b", "--", "echo", "ran"], text=True, capture_output=True, timeout=30,
                            check=False)
    assert (result.returncode, result.stdout) == (125, "")
    assert words in result.stderr


def test_embedded_without_supervisor(tmp_path):
    shutil.copy(DEPUTY_RUN, tmp_path / "deputy-run")
    (tmp_path / "deputy-supervisor").write_text("not a program")
    result = subprocess.run([tmp_path / "deputy-run", "--policy=b", "true"], text=True, capture_output=True, timeout=30,
                            check=False)
    assert result.returncode == 125
    assert str(tmp_path / "deputy-supervisor") in result.stderr


def test_embedded_pass(embedded):
    program_path, _ = embedded("socket.socket(fileno=3).send({!r})".format(offer(PASS, "nothing is lent")))
    result = subprocess.run([program_path, "--policy=b", "--", "echo", "ran"], text=True, capture_output=True, timeout=30,
                            check=True)
    assert result.stdout == "ran\n"
    assert "nothing is lent" in result.stderr


@pytest.mark.parametrize("odd", [False, True], ids=["plain", "odd"])
def test_embedded_is_transparent(embedded, odd):
    """Starting a supervisor leaves no trace either, no pending SIGCHLD for one."""
    program_path, _ = embedded("socket.socket(fileno=3).send({!r})".format(offer(PASS)))
    command = [sys.executable, "-ESs", "-c", SELF, "a b"]
    with open("/etc/passwd", "rb") as f:
        kwargs = {"stdin": subprocess.DEVNULL, "pass_fds": [f.fileno()], "preexec_fn": odd_start if odd else None}
        direct = describe(command, **kwargs)
        through = describe([program_path, "--policy=/x", "--", *command], **kwargs)
    assert through == direct
