# SPDX-License-Identifier: LGPL-2.1-or-later
"""A throwaway systemd host for tests, booted from this machine's own root.

systemd-nspawn boots a bind mount of / with a volatile overlay, with all capabilities and without a user
namespace: what runs in it sees a real PID 1, journal, D-Bus and device cgroups, and every write is gone
afterwards. Containers of the host (systemd-nspawn -U) live on an ext4 image, since idmapped mounts of an
overlay file system work on new kernels only.

All processes of the host are in cgroups named after the test runner, all its mounts in a mount namespace of their
own: killing those processes undoes everything. A record in /run/deputyd-test says which runners are alive, so that
the next run can remove what a killed one has left behind.
"""

import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("DEPUTYD_TEST_BUILD", SOURCE / "build")).resolve()
TOOLS = BUILD / "tests" / "tools"
RECORDS = Path("/run/deputyd-test")
CACHE = Path(os.environ.get("DEPUTYD_TEST_CACHE", "/var/cache/deputyd-test"))

ROOT_PACKAGES = (
    "acl", "attr", "busybox", "cpio", "dbus", "debootstrap", "libcap2-bin", "rsync", "systemd", "systemd-sysv", "util-linux",
)


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


def missing_requirement():
    """Why this machine can't boot the test host, or None."""
    if os.geteuid() != 0:
        return "the integration tests boot a systemd host and need root"
    for program in ("systemd-nspawn", "nsenter", "unshare", "mkfs.ext4", "debootstrap"):
        if not shutil.which(program):
            return f"{program} isn't installed; run 'make deps'"
    return None


def _start_time(pid):
    """When the process started, in clock ticks: with the pid it names a process for good. None: it's gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rsplit(")", 1)[1].split()
    return None if fields[0] in "ZX" else int(fields[19])


def _children(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


def _own_cgroups():
    """Our cgroup directories in the hierarchies that systemd-nspawn manages: cgroup2, and name=systemd on hybrid systems."""
    paths = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        paths[controllers] = path
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ", 1)
        mount_root, mount_point = left.split()[3:5]
        kind, _, options = right.split(" ", 2)
        key = "" if kind == "cgroup2" else "name=systemd" if kind == "cgroup" and "name=systemd" in options else None
        if key is not None and key in paths and mount_root == "/":
            found.append(Path(mount_point) / paths[key].lstrip("/"))
    return found


def _processes(cgroup):
    pids = []
    for procs in cgroup.rglob("cgroup.procs"):
        try:
            pids += [int(pid) for pid in procs.read_text().split()]
        except (OSError, ValueError):
            pass
    return [pid for pid in pids if pid != 0]


def _remove_cgroup(path, seconds=10):
    """Kills whatever is in a cgroup that we have made, and removes it. It's busy until the last process is reaped."""
    end = time.monotonic() + seconds
    while path.is_dir() and time.monotonic() < end:
        for pid in _processes(path):
            _kill(pid)
        for child in sorted((p for p in path.rglob("*") if p.is_dir()), key=lambda p: len(p.parts), reverse=True):
            _try_rmdir(child)
        if not _try_rmdir(path):
            time.sleep(0.05)


def _try_rmdir(path):
    try:
        path.rmdir()
        return True
    except OSError:
        return False


def _kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _is_running(record):
    """Does the test runner live that has written this record?"""
    try:
        pid, start_time = json.loads((record / "state.json").read_text())["owner"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return _start_time(pid) == start_time


def clean_leftovers():
    """Removes what earlier runs have left whose test runner is dead; leaves those alone that still run."""
    running = set()
    for record in RECORDS.iterdir() if RECORDS.is_dir() else ():
        if _is_running(record):
            running.add(record.name)
    for parent in _own_cgroups():
        for cgroup in parent.glob("deputyd-test-*"):
            if cgroup.name.removeprefix("deputyd-test-") not in running:
                _remove_cgroup(cgroup)
    for record in RECORDS.iterdir() if RECORDS.is_dir() else ():
        if record.name not in running:
            shutil.rmtree(record, ignore_errors=True)


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


def root_tarball():
    """A small Debian root file system as a tar file, made once and kept in CACHE; its name says what's in it."""
    mirror, suite = apt_mirror()
    key = hashlib.sha256(" ".join((suite,) + ROOT_PACKAGES).encode()).hexdigest()[:12]
    tarball = CACHE / f"{key}.tar"
    if tarball.exists():
        return tarball
    CACHE.mkdir(parents=True, exist_ok=True)
    work = CACHE / f"{key}.{os.getpid()}"
    try:
        made = subprocess.run(["timeout", "600", "debootstrap", "--variant=minbase", "--include=" + ",".join(ROOT_PACKAGES), suite, work, mirror],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if made.returncode != 0:
            raise TestHostError(f"debootstrap can't make the containers' root from {mirror}:\n{made.stdout[-3000:]}")
        shutil.rmtree(work / "var/cache/apt/archives", ignore_errors=True)
        partial = tarball.with_suffix(f".{os.getpid()}.partial")
        subprocess.run(["tar", "-C", work, "--xattrs", "-cf", partial, "."], check=True, timeout=120)
        partial.rename(tarball)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return tarball


class Host:
    """The booted host. Use as a context manager, or call close()."""

    def __init__(self, build=BUILD):
        self.build = Path(build)
        self.nspawn = None
        self.init = None
        self.containers = {}
        self._cgroups = []
        self._record = None
        self._log = None

    def __enter__(self):
        try:
            self.boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    # -- life -----------------------------------------------------------------------------------------------

    def boot(self):
        clean_leftovers()
        self._record = RECORDS / str(os.getpid())
        shutil.rmtree(self._record, ignore_errors=True)
        (self._record / "root").mkdir(parents=True)
        (self._record / "machines").mkdir()
        (self._record / "state.json").write_text(json.dumps({"owner": [os.getpid(), _start_time(os.getpid())]}))
        self._make_image()
        self._cgroups = [cgroup / f"deputyd-test-{os.getpid()}" for cgroup in _own_cgroups()]
        for cgroup in self._cgroups:
            cgroup.mkdir(exist_ok=True)
        self._start_nspawn()
        self._find_init()
        self._wait_until_running()

    def _make_image(self):
        image = self._record / "machines.ext4"
        with open(image, "wb") as f:
            f.truncate(8 << 30)
        subprocess.run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0", image], check=True, timeout=60)

    def _start_nspawn(self):
        record = self._record
        script = (
            f"mount --bind / {record}/root && mount -o loop {record}/machines.ext4 {record}/machines && rm {record}/machines.ext4 && "
            'exec systemd-nspawn "$@"'
        )
        argv = ["setsid", "unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh",
                "--quiet", f"--directory={record}/root", "--volatile=overlay", "--register=no", "--keep-unit", "--capability=all",
                "--hostname=testhost", f"--bind={record}/machines:/var/lib/machines"]
        argv += [f"--bind={node}" for node in ("/dev/fuse", "/dev/loop0") if os.path.exists(node)]
        argv += ["--boot", "systemd.unit=basic.target", "systemd.log_target=journal", "systemd.show_status=no"]
        master, slave = os.openpty()
        self.nspawn = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, preexec_fn=self._enter_cgroups_and_die_with_parent,
                                       env=dict(os.environ, SYSTEMD_SECCOMP="0", SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1"))
        os.close(slave)
        self._log = bytearray()
        threading.Thread(target=self._drain, args=(master,), daemon=True).start()

    def _enter_cgroups_and_die_with_parent(self):
        import ctypes
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        for cgroup in self._cgroups:
            (cgroup / "cgroup.procs").write_text("0")

    def _drain(self, master):
        """The console's buffer is small, and a full one stops the host."""
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:
                break
            if not data:
                break
            self._log += data
        os.close(master)

    def _find_init(self):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if self.nspawn.poll() is not None:
                raise TestHostError(f"systemd-nspawn has ended with {self.nspawn.returncode}:\n{self.console()}")
            for child in _children(self.nspawn.pid):
                try:
                    ids = next(line for line in Path(f"/proc/{child}/status").read_text().splitlines() if line.startswith("NSpid:"))
                    name = Path(f"/proc/{child}/comm").read_text().strip()
                except (FileNotFoundError, ProcessLookupError, StopIteration):
                    continue
                if ids.split()[-1] == "1" and name == "systemd":
                    self.init = child
                    return
            time.sleep(0.05)
        raise TestHostError(f"The host's init hasn't started:\n{self.console()}")

    def _wait_until_running(self):
        self.wait_for(lambda: self.run(["systemctl", "is-system-running"], check=False).stdout.strip() in ("running", "degraded"),
                      60, "the host to boot")

    def console(self):
        return self._log.decode(errors="replace") if self._log else ""

    def close(self):
        if self.init:
            _kill(self.init)  # and its PID namespace with it
        if self.nspawn:
            self.nspawn.kill()
            self.nspawn.wait()
            self.nspawn = self.init = None
        for cgroup in self._cgroups:
            _remove_cgroup(cgroup)
        if self._record:
            shutil.rmtree(self._record, ignore_errors=True)

    # -- commands -------------------------------------------------------------------------------------------

    def _argv(self, argv, timeout):
        if isinstance(argv, str):
            argv = ["sh", "-ec", argv]
        env = ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0"]
        return ["nsenter", "--target", str(self.init), "--all", *env, "timeout", "-k", "5", str(timeout), *map(str, argv)]

    def run(self, argv, check=True, input=None, timeout=60, binary=False):
        """Runs a command (a list, or a string for sh -e) as root of the host. It isn't in a unit: see unit_run()."""
        encoding = {} if binary else {"text": True, "errors": "replace"}
        done = subprocess.run(self._argv(argv, timeout), input=input, capture_output=True, timeout=timeout + 15,
                              stdin=subprocess.DEVNULL if input is None else None, **encoding)
        result = Result(argv if isinstance(argv, list) else [argv], done.returncode, done.stdout, done.stderr)
        if check and not result.ok:
            raise CommandError(result)
        return result

    def spawn(self, argv, timeout=300, **kwargs):
        """Starts a command in the background; its stdout and stderr are pipes."""
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        kwargs.setdefault("stdout", subprocess.PIPE)
        kwargs.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen(self._argv(argv, timeout), text=True, **kwargs)

    def unit_run(self, argv, unit=None, properties=(), check=True, timeout=60, input=None):
        """Runs a command as a transient service of the host and waits for it."""
        return self.run(self._systemd_run(argv, unit, properties, timeout), check, input, timeout + 10)

    def unit_spawn(self, argv, unit=None, properties=(), timeout=300, **kwargs):
        """Starts a command as a transient service of the host; its standard streams are pipes."""
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
        """Copies a file of this machine into the host."""
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
        stage = self._record / "stage"
        env = dict(os.environ, DESTDIR=str(stage))
        done = subprocess.run(["meson", "install", "-C", self.build, "--no-rebuild", "--quiet"], env=env, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise TestHostError(f"meson install has failed:\n{done.stdout}{done.stderr}")
        tar = subprocess.run(["tar", "-C", stage, "-c", "."], capture_output=True, check=True, timeout=60)
        shutil.rmtree(stage)
        self.run(["tar", "-C", "/", "-x", "--keep-directory-symlink", "--no-overwrite-dir", "--no-same-owner"], input=tar.stdout, binary=True)
        for tool in tools():
            self.put(tool, f"/usr/local/bin/{tool.name}")
        self.systemctl("daemon-reload")
        self.run("systemctl try-reload-or-restart dbus.service polkit.service", check=False)
        self.systemctl("enable", "--now", "deputyd.socket")

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

    # -- containers -----------------------------------------------------------------------------------------

    def container(self, name, settings="", boot=True):
        """A container "systemd-nspawn@NAME.service" with its own copy of the small root; not started yet."""
        container = Container(self, name)
        self.run(["mkdir", "-p", container.root])
        with open(root_tarball(), "rb") as tarball:
            done = subprocess.run(self._argv(["tar", "-C", container.root, "--xattrs", "-x"], 120), stdin=tarball, capture_output=True, text=True)
        if done.returncode != 0:
            raise TestHostError(f"The root of {name} can't be unpacked: {done.stderr}")
        for tool in tools():
            self.put(tool, f"{container.root}/usr/local/bin/{tool.name}")
        self.write(f"{container.root}/etc/hostname", f"{name}\n")
        # The host shares the machine's network: containers have no link of their own, so that two runs on one
        # machine can't collide.
        self.write(f"/etc/systemd/nspawn/{name}.nspawn", f"[Network]\nPrivate=no\nVirtualEthernet=no\n{settings}")
        self.containers[name] = container
        return container


class Container:
    """systemd-nspawn@NAME.service of the test host, with -U."""

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
        self.host.wait_for(lambda: self.run(["true"], check=False).ok, 60, f"the bus of container {self.name}")

    def stop(self):
        self.host.systemctl("stop", self.unit, check=False)

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
        """The container's init, as a pid of the host."""
        return int(self.host.run(["machinectl", "show", "--value", "-p", "Leader", self.name]).stdout)

    def host_run(self, argv, **kwargs):
        """Runs a command in the container's mount namespace as root of the host, without the filter."""
        if isinstance(argv, str):
            argv = ["sh", "-ec", argv]
        return self.host.run(["nsenter", "--target", str(self.leader()), "--mount", "--", *argv], **kwargs)


def tools():
    """The test programs that the build has made."""
    return sorted(p for p in TOOLS.iterdir() if p.is_file() and os.access(p, os.X_OK)) if TOOLS.is_dir() else []
