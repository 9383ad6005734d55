# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs deputyd as a service manager would: with its socket, a store for descriptors and a runtime directory.

So it can be killed and started again as systemd does it, on machines where systemd isn't the manager, and without a
bus. Only what deputyd uses of sd_notify(3) and sd_listen_fds(3) is there.
"""

import fcntl
import os
import socket
import threading
import time

FIRST_FD = 3        # SD_LISTEN_FDS_START
HIGH_FD = 1000      # where ours are kept, away from the numbers that the service gets
MESSAGE_SIZE = 4096
FDS_MAX = 64
START_TIMEOUT_SEC = 10


class Daemon:
    def __init__(self, program, directory, environment):
        self.program = program
        self.directory = directory
        self.path = os.path.join(directory, 'notify')
        self.log = os.path.join(directory, 'deputyd.log')
        self.pid = None
        self.stored = []  # (name, descriptor)
        self.ready = threading.Event()

        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.listening.bind(self.path)
        os.chmod(self.path, 0o666)

        self.manager_path = os.path.join(directory, 'manager')
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(self.manager_path)

        runtime = os.path.join(directory, 'runtime')
        os.mkdir(runtime)
        self.environment = {**os.environ, **environment, 'NOTIFY_SOCKET': self.manager_path,
                            'RUNTIME_DIRECTORY': runtime, 'FDSTORE': '65536'}

        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        """Takes what the daemon tells its service manager."""
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self.manager, MESSAGE_SIZE, FDS_MAX)
            except OSError:
                return
            fields = dict(line.split('=', 1) for line in data.decode().splitlines() if '=' in line)
            if 'FDSTORE' in fields:
                for fd in fds:
                    self.stored.append((fields.get('FDNAME', 'stored'), high(fd)))
                fds = []
            if 'FDSTOREREMOVE' in fields:
                for name, fd in [s for s in self.stored if s[0] == fields.get('FDNAME')]:
                    self.stored.remove((name, fd))
                    os.close(fd)
            if fields.get('READY') == '1':
                self.ready.set()
            for fd in fds:
                os.close(fd)  # of a barrier

    def start(self):
        fds = [('notify', self.listening.fileno()), *self.stored]
        environment = {**self.environment, 'LISTEN_FDS': str(len(fds)),
                       'LISTEN_FDNAMES': ':'.join(name for name, _ in fds)}
        copies = [high(fd, keep=True) for _, fd in fds]
        actions = [(os.POSIX_SPAWN_DUP2, fd, FIRST_FD + i) for i, fd in enumerate(copies)]
        actions += [(os.POSIX_SPAWN_OPEN, 2, self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)]

        # Only the process itself knows its $LISTEN_PID.
        argv = ['sh', '-c', 'LISTEN_PID=$$; export LISTEN_PID; exec "$@"', 'sh', self.program, '--no-bus']
        self.ready.clear()
        self.pid = os.posix_spawn('/bin/sh', argv, environment, file_actions=actions)
        for fd in copies:
            os.close(fd)

    def wait_ready(self):
        if not self.ready.wait(START_TIMEOUT_SEC):
            raise OSError(f'deputyd isn\'t ready after {START_TIMEOUT_SEC} s: {self.last_words()}')

    def last_words(self):
        with open(self.log, encoding='utf-8', errors='replace') as f:
            return f.read()[-1000:].strip() or 'it says nothing'

    def kill(self, number):
        """Ends it and waits for it."""
        os.kill(self.pid, number)
        os.waitpid(self.pid, 0)
        self.pid = None

    def close(self):
        if self.pid is not None:
            self.kill(9)
        self.manager.close()
        self.listening.close()
        for _, fd in self.stored:
            os.close(fd)
        self.stored = []

    def supervisors(self):
        """Process ids of those that run now."""
        try:
            with open(f'/proc/{self.pid}/task/{self.pid}/children', encoding='ascii') as f:
                return [int(p) for p in f.read().split()]
        except OSError:
            return []

    def wait_idle(self, timeout_sec=10):
        deadline = time.monotonic() + timeout_sec
        while self.supervisors():
            if time.monotonic() > deadline:
                raise OSError('The supervisor doesn\'t leave')
            time.sleep(0.005)

    def resident_bytes(self):
        """PSS: what of its memory is its own, with its share of what it shares."""
        with open(f'/proc/{self.pid}/smaps_rollup', encoding='ascii') as f:
            return next(int(line.split()[1]) * 1024 for line in f if line.startswith('Pss:'))

    def cpu_nsec(self):
        with open(f'/proc/{self.pid}/schedstat', encoding='ascii') as f:
            return int(f.read().split()[0])


def high(fd, keep=False):
    """The same descriptor with a number that's out of the way."""
    copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, HIGH_FD)
    if not keep:
        os.close(fd)
    return copy


class MemoryGroup:
    """A control group that counts all memory that its processes use, the kernel's own for them included."""

    def __init__(self, name):
        for directory, usage in ((f'/sys/fs/cgroup/{name}', 'memory.current'),
                                 (f'/sys/fs/cgroup/memory/{name}', 'memory.usage_in_bytes')):
            try:
                os.mkdir(directory)
            except OSError:
                continue
            if os.path.exists(os.path.join(directory, usage)):
                self.directory, self.usage = directory, usage
                return
            os.rmdir(directory)
        self.directory = None

    def add(self, pid):
        with open(os.path.join(self.directory, 'cgroup.procs'), 'w', encoding='ascii') as f:
            f.write(str(pid))

    def bytes(self):
        with open(os.path.join(self.directory, self.usage), encoding='ascii') as f:
            return int(f.read())

    def settled_bytes(self, timeout_sec=3):
        """The same when it no longer changes: what ended processes had is returned a little later."""
        deadline = time.monotonic() + timeout_sec
        before, now = None, self.bytes()
        while now != before and time.monotonic() < deadline:
            time.sleep(0.3)
            before, now = now, self.bytes()
        return now

    def error_bytes(self):
        """By how much the difference of two readings may be wrong: the kernel charges a group for up to 64 pages per CPU
        before they're used."""
        return 64 * os.sysconf('SC_NPROCESSORS_ONLN') * os.sysconf('SC_PAGE_SIZE')

    def close(self):
        """Its processes have to be gone."""
        if self.directory:
            os.rmdir(self.directory)
