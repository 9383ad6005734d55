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

import fcntl
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

from machine import (BUILD, CACHE, ROOT_PACKAGES, SOURCE, TOOLS, CommandError, Container, Machine, Result, TestHostError,  # noqa: F401
                     apt_mirror, die_with_parent, root_tarball, tools)

RECORDS = Path("/run/deputyd-test")


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


def new_record(name):
    """A directory of this test runner, below RECORDS. Removes those of dead ones first."""
    RECORDS.mkdir(parents=True, exist_ok=True)
    with open(RECORDS / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # Another runner mustn't take a record without its state for a dead one's.
        clean_leftovers()
        record = RECORDS / name
        shutil.rmtree(record, ignore_errors=True)
        record.mkdir()
        (record / "state.json").write_text(json.dumps({"owner": [os.getpid(), _start_time(os.getpid())]}))
    return record


def _records():
    return [record for record in RECORDS.iterdir() if record.is_dir()] if RECORDS.is_dir() else []


def clean_leftovers():
    """Removes what earlier runs have left whose test runner is dead; leaves those alone that still run."""
    running = set()
    for record in _records():
        if _is_running(record):
            running.add(record.name)
    for parent in _own_cgroups():
        for cgroup in parent.glob("deputyd-test-*"):
            if cgroup.name.removeprefix("deputyd-test-") not in running:
                _remove_cgroup(cgroup)
    for record in _records():
        if record.name not in running:
            shutil.rmtree(record, ignore_errors=True)


class Host(Machine):
    """The booted host. Use as a context manager, or call close()."""

    def __init__(self, build=BUILD):
        super().__init__(build)
        self.nspawn = None
        self.init = None
        self._cgroups = []
        self._record = None
        self._log = None

    # -- life -----------------------------------------------------------------------------------------------

    def boot(self):
        self._record = new_record(str(os.getpid()))
        (self._record / "root").mkdir()
        (self._record / "machines").mkdir()
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
            f.truncate(16 << 30)
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
        die_with_parent()
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

    def _popen(self, argv, **kwargs):
        return subprocess.Popen(["nsenter", "--target", str(self.init), "--all", *argv], **kwargs)
