# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tests do with a throwaway machine, however it's made: commands, files, units, journal, deputyd, containers.

host.py makes one of this machine's own root and kernel, guest.py a virtual one with a kernel of Debian.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("DEPUTYD_TEST_BUILD", SOURCE / "build")).resolve()
TOOLS = BUILD / "tests" / "tools"
CACHE = Path(os.environ.get("DEPUTYD_TEST_CACHE", "/var/cache/deputyd-test"))

ROOT_PACKAGES = (
    "acl", "attr", "busybox", "cpio", "dbus", "debootstrap", "e2fsprogs", "kmod", "libcap2-bin", "rsync", "systemd", "systemd-sysv", "util-linux",
)


# Looks that cost next to nothing: in a virtual machine, whoever asks by systemd-run keeps the container from starting.
AWAIT_BUS = """pid=$(machinectl show --value -p Leader "$1")
n=0
while [ ! -S /proc/$pid/root/run/dbus/system_bus_socket ] && [ $n -lt 300 ]; do
    sleep 0.2
    n=$((n + 1))
done
"""


class TestHostError(Exception):
    """The test host itself, not what's tested, doesn't work."""


class Result:
    """What a command printed and how it ended."""

    def __init__(self, argv, returncode, stdout, stderr):
        self.argv, self.returncode, self.stdout, self.stderr = argv, returncode, stdout, stderr

    @property
    def ok(self):
        return self.returncode == 0

    def json(self):
        return json.loads(self.stdout)

    def __repr__(self):
        return f"{shlex.join(map(str, self.argv))}\nexit status {self.returncode}\n--- stdout\n{self.stdout}--- stderr\n{self.stderr}"


class CommandError(AssertionError):
    def __init__(self, result):
        super().__init__(repr(result))
        self.result = result


@contextlib.contextmanager
def cache_lock():
    """One at a time makes what's missing in CACHE."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def die_with_parent():
    """For preexec_fn: what's started doesn't outlive a killed test run."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def apt_mirror():
    """(mirror, suite) as this machine's apt has them for its own release."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    suite = release.get("VERSION_CODENAME", "bookworm").strip('"')
    plan = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(REPO_URI)", "Created-By: Packages"],
                          capture_output=True, text=True, timeout=60)
    for line in plan.stdout.splitlines():
        words = line.split()
        if len(words) == 3 and words[1] == suite and "debian" in words[2]:
            return words[2].rstrip("/"), suite
    return "http://deb.debian.org/debian", suite


def debian_tarball(packages, suite=None):
    """A small Debian root file system (of this machine's own release, if none is named) as a tar file, made once and kept in CACHE;
    its name says what's in it."""
    mirror, own_suite = apt_mirror()
    suite = suite or own_suite
    key = hashlib.sha256(" ".join((suite,) + tuple(packages)).encode()).hexdigest()[:12]
    tarball = CACHE / f"{key}.tar"
    with cache_lock():
        if tarball.exists():
            return tarball
        work = CACHE / f"{key}.{os.getpid()}"
        try:
            made = subprocess.run(["timeout", "600", "debootstrap", "--variant=minbase", "--include=" + ",".join(packages), suite, work, mirror],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if made.returncode != 0:
                raise TestHostError(f"debootstrap can't make a root file system from {mirror}:\n{made.stdout[-3000:]}")
            shutil.rmtree(work / "var/cache/apt/archives", ignore_errors=True)
            partial = tarball.with_suffix(f".{os.getpid()}.partial")
            subprocess.run(["tar", "-C", work, "--xattrs", "-cf", partial, "."], check=True, timeout=120)
            partial.rename(tarball)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return tarball


def root_tarball(suite=None):
    """The root file system of containers."""
    return debian_tarball(ROOT_PACKAGES, suite)


class Machine:
    """A booted systemd with what tests need of it. Subclasses say how a command gets there."""

    suite = None  # of Debian, for containers; None: as this machine's

    def __init__(self, build=BUILD):
        self.build = Path(build)
        self.containers = {}
        self.loops = {}
        self._has_tools = False

    def __enter__(self):
        try:
            self.boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def boot(self):
        raise NotImplementedError

    def close(self):
        raise NotImplementedError

    # -- commands -------------------------------------------------------------------------------------------

    def _argv(self, argv, timeout):
        """The command with the environment that all have, and its limit of time."""
        if isinstance(argv, str):
            argv = ["sh", "-ec", argv]
        env = ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0"]
        return [*env, "timeout", "-k", "5", str(timeout), *map(str, argv)]

    def _popen(self, argv, **kwargs):
        """subprocess.Popen(), or what behaves like it, for a command of the machine."""
        raise NotImplementedError

    def run(self, argv, check=True, input=None, timeout=60, binary=False):
        """Runs a command (a list, or a string for sh -e) as root of the machine. It isn't in a unit of its own: see unit_run()."""
        encoding = {} if binary else {"text": True, "errors": "replace"}
        with self._popen(self._argv(argv, timeout), stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, **encoding) as process:
            try:
                stdout, stderr = process.communicate(input, timeout + 15)
            except BaseException:
                process.kill()
                raise
        result = Result(argv if isinstance(argv, list) else [argv], process.returncode, stdout, stderr)
        if check and not result.ok:
            raise CommandError(result)
        return result

    def spawn(self, argv, timeout=300, **kwargs):
        """Starts a command in the background; its stdout and stderr are pipes, of text unless text=False."""
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        kwargs.setdefault("stdout", subprocess.PIPE)
        kwargs.setdefault("stderr", subprocess.PIPE)
        kwargs.setdefault("text", True)
        return self._popen(self._argv(argv, timeout), **kwargs)

    def unit_run(self, argv, unit=None, properties=(), check=True, timeout=60, input=None):
        """Runs a command as a transient service of the machine and waits for it."""
        return self.run(self._systemd_run(argv, unit, properties, timeout), check, input, timeout + 10)

    def unit_spawn(self, argv, unit=None, properties=(), timeout=300, **kwargs):
        """Starts a command as a transient service of the machine; its standard streams are pipes."""
        return self.spawn(self._systemd_run(argv, unit, properties, timeout), timeout + 10, **kwargs)

    def _systemd_run(self, argv, unit, properties, timeout, extra=()):
        if isinstance(argv, str):
            argv = ["sh", "-ec", argv]
        prefix = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--service-type=exec", f"--property=RuntimeMaxSec={timeout}", *extra]
        prefix += [f"--unit={unit}"] if unit else []
        # PID 1 replaces $ in commands.
        return prefix + [f"--property={p}" for p in properties] + ["--", *(str(word).replace("$", "$$") for word in argv)]

    def write(self, path, text):
        self.run(["sh", "-c", 'mkdir -p "$(dirname "$1")" && cat >"$1"', "sh", path], input=text)

    def read(self, path):
        return self.run(["cat", path]).stdout

    def put(self, source, path, mode="0755"):
        """Copies a file of this machine into the machine."""
        self.run(["sh", "-c", 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"', "sh", path, mode],
                 input=Path(source).read_bytes(), binary=True)

    def systemctl(self, *argv, check=True, timeout=90):
        return self.run(["systemctl", *argv], check=check, timeout=timeout)

    def show(self, unit, name):
        return self.systemctl("show", "--value", "-p", name, unit).stdout.strip()

    def pid_of(self, unit="deputyd.service"):
        return int(self.show(unit, "MainPID") or 0)

    def journal(self, *matches, unit=None):
        """Entries of the journal as dictionaries, oldest first."""
        self.run(["journalctl", "--sync"], check=False)
        argv = ["journalctl", "--no-pager", "--output=json", "--all"] + (["-u", unit] if unit else []) + list(matches)
        return [json.loads(line) for line in self.run(argv, check=False).stdout.splitlines()]

    def wait_for(self, condition, seconds, what):
        """Polls until condition() is true and returns its value."""
        end = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f"waited {seconds} s in vain for {what}")
            time.sleep(0.1)

    # -- deputyd --------------------------------------------------------------------------------------------

    def install(self):
        """Installs the build and starts the socket."""
        with tempfile.TemporaryDirectory(prefix="deputyd-test-") as stage:
            env = dict(os.environ, DESTDIR=stage)
            done = subprocess.run(["meson", "install", "-C", self.build, "--no-rebuild", "--quiet"], env=env, capture_output=True, text=True, timeout=120)
            if done.returncode != 0:
                raise TestHostError(f"meson install has failed:\n{done.stdout}{done.stderr}")
            tar = subprocess.run(["tar", "-C", stage, "-c", "."], capture_output=True, check=True, timeout=60)
        self.run(["tar", "-C", "/", "-x", "--keep-directory-symlink", "--no-overwrite-dir", "--no-same-owner"], input=tar.stdout, binary=True)
        self._put_tools()
        self.systemctl("daemon-reload")
        self.run("systemctl try-reload-or-restart dbus.service polkit.service", check=False)
        self.systemctl("enable", "--now", "deputyd.socket")

    def _put_tools(self):
        """The test programs, once: they take seconds into a virtual machine."""
        if not self._has_tools:
            tar = subprocess.run(["tar", "-C", TOOLS, "-c", *(tool.name for tool in tools())], capture_output=True, check=True, timeout=60)
            self.run("mkdir -p /usr/local/bin")
            self.run(["tar", "-C", "/usr/local/bin", "-x", "--no-same-owner"], input=tar.stdout, binary=True)
            self._has_tools = True

    def targets(self):
        """What deputyd lists: dictionaries with id, unit, machine, state, object."""
        answer = self.run(["busctl", "--json=short", "call", "org.deputyd1", "/org/deputyd1", "org.deputyd1.Manager", "ListTargets"]).json()
        return [dict(zip(("id", "unit", "machine", "state", "object"), row)) for row in answer["data"][0]]

    def target(self, unit):
        """The newest target of a unit, or None."""
        found = [t for t in self.targets() if t["unit"] == unit]
        return found[-1] if found else None

    def target_property(self, unit, name):
        target = self.target(unit)
        assert target, f"deputyd has no target of {unit}"
        return self.run(["busctl", "--json=short", "get-property", "org.deputyd1", target["object"], "org.deputyd1.Target", name]).json()["data"]

    def counters(self, unit):
        """{call: {received, emulated, continued, refused, failed}} of a unit's newest target."""
        names = ("received", "emulated", "continued", "refused", "failed")
        return {call: dict(zip(names, row)) for call, row in self.target_property(unit, "Counters").items()}

    # -- block devices --------------------------------------------------------------------------------------

    def loop_device(self, image):
        """A loop device of an image file of the host; its node's path. It goes when the host does."""
        self.run("[ -e /dev/loop-control ] || mknod -m 600 /dev/loop-control c 10 237")
        for _ in range(100):
            free = self.run(["losetup", "-f"], check=False)
            number = free.stdout.partition(" ")[0].strip().removeprefix("/dev/loop")
            if not number.isdigit():
                raise TestHostError(f"no loop device is free: {free}")
            node = f"/dev/loop{number}"
            major, minor = self.read(f"/sys/block/loop{number}/dev").strip().split(":")
            self.run(f"[ -e {node} ] || mknod -m 600 {node} b {major} {minor}")
            if self.run(["losetup", node, image], check=False).ok:
                break
        else:
            raise TestHostError("others take all loop devices first")
        # Detaching is put off until the last user has closed it, who ends with the host.
        holder = self.spawn(["sh", "-c", f'exec sleep infinity <{node} >/dev/null 2>&1'], timeout=7200)
        self.wait_for(lambda: node in self.run("ls -l /proc/[0-9]*/fd/0 2>/dev/null || true").stdout, 10, f"{node} to be held")
        self.run(["losetup", "-d", node])
        self.loops[node] = holder
        return node

    # -- containers -----------------------------------------------------------------------------------------

    def _fill_root(self, container, path):
        """Unpacks a root file system into the container's directory."""
        with open(path, "rb") as tarball:
            process = self._popen(self._argv(["tar", "-C", container.root, "--xattrs", "-x"], 300), stdin=tarball,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            output, _ = process.communicate(timeout=320)
        if process.returncode != 0:
            raise TestHostError(f"The root of {container.name} can't be unpacked: {output}")

    def container(self, name, settings="", boot=True, tarball=None):
        """A container "systemd-nspawn@NAME.service" with its own copy of the small root, or another; not started yet."""
        container = Container(self, name)
        self.run(["mkdir", "-p", container.root])
        self._fill_root(container, tarball or root_tarball(self.suite))
        self._put_tools()
        self.run(["install", "-D", "-m", "0755", "-t", f"{container.root}/usr/local/bin", *(f"/usr/local/bin/{tool.name}" for tool in tools())])
        self.write(f"{container.root}/etc/hostname", f"{name}\n")
        # The test host shares this machine's network: containers have no link of their own, so that two runs on
        # one machine can't collide.
        self.write(f"/etc/systemd/nspawn/{name}.nspawn", f"[Network]\nPrivate=no\nVirtualEthernet=no\n{settings}")
        self.containers[name] = container
        return container


class Container:
    """systemd-nspawn@NAME.service of the machine, with -U."""

    def __init__(self, host, name):
        self.host, self.name = host, name
        self.unit = f"systemd-nspawn@{name}.service"
        self.root = f"/var/lib/machines/{name}"

    def policy(self, text, name="50-test.conf"):
        """Writes a drop-in of the unit's policy; takes effect at the next start, or with deputyctl reload."""
        self.host.write(f"/etc/deputyd/policy.d/{self.unit}.d/{name}", text)

    def enable(self, *arguments):
        self.host.run(["deputyctl", "enable", self.unit, *arguments])

    def start(self):
        self.host.systemctl("restart", self.unit)
        self.host.run(["sh", "-c", AWAIT_BUS, "sh", self.name], check=False, timeout=100)
        self.host.wait_for(lambda: self.run(["true"], check=False).ok, 60, f"the bus of container {self.name}")

    def stop(self):
        self.host.systemctl("stop", self.unit, check=False)

    def remove(self):
        """Stops it for good: the room that its files take is needed by others."""
        self.stop()
        self.host.run(["rm", "-rf", "--one-file-system", self.root], check=False, timeout=120)

    def _command(self, argv, uid, properties, timeout):
        if isinstance(argv, str):
            argv = ["sh", "-ec", argv]
        if uid is not None:
            argv = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *argv]
        return self.host._systemd_run(argv, None, properties, timeout, [f"--machine={self.name}"])

    def run(self, argv, check=True, uid=None, properties=(), timeout=60, input=None):
        """Runs a command by the container's own service manager: it has the filter that the container has."""
        return self.host.run(self._command(argv, uid, properties, timeout), check, input, timeout + 10)

    def spawn(self, argv, uid=None, properties=(), timeout=300):
        return self.host.spawn(self._command(argv, uid, properties, timeout), timeout + 10)

    def leader(self):
        """The container's init, as a pid of the machine."""
        return int(self.host.run(["machinectl", "show", "--value", "-p", "Leader", self.name]).stdout)

    def host_run(self, argv, **kwargs):
        """Runs a command in the container's mount namespace as root of the machine, without the filter."""
        if isinstance(argv, str):
            argv = ["sh", "-ec", argv]
        return self.host.run(["nsenter", "--target", str(self.leader()), "--mount", "--", *argv], **kwargs)


def tools():
    """The test programs that the build has made."""
    return sorted(p for p in TOOLS.iterdir() if p.is_file() and os.access(p, os.X_OK)) if TOOLS.is_dir() else []
