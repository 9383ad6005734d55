# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two containers with different policies. One hangs its supervisor wherever it can: the other, and the rest of itself,
don't notice."""

import json
import time
from pathlib import Path

import pytest

QUICK = 10  # seconds; a call that isn't held up takes a millisecond, a supervisor that's stuck is noticed within seconds


def container_with_fuse(host, name):
    """The device node is lent; the device cgroup of the container's unit has to admit it, too."""
    if not host.run("test -c /dev/fuse", check=False).ok:
        pytest.skip("the kernel has no FUSE")
    container = host.container(name)
    container.enable("--profile=docker")
    host.write(f"/etc/systemd/system/{container.unit}.d/20-fuse.conf", "[Service]\nDeviceAllow=/dev/fuse rwm\nTimeoutStopSec=20\n")
    host.systemctl("daemon-reload")
    container.start()
    container.run("[ -e /dev/fuse ] || mknod -m 600 /dev/fuse c 10 229")
    return container


@pytest.fixture(scope="module")
def hanging(host):
    container = container_with_fuse(host, "hanging")
    yield container
    container.remove()


@pytest.fixture(scope="module")
def other(host):
    container = host.container("other")
    container.policy("[Intercept]\nSystemCalls=mknod\n[Mknod]\nAllowDevice=b 7:0\n")
    container.enable()
    container.start()
    yield container
    container.remove()


def test_each_has_its_own_policy(hanging, other):
    assert hanging.run("mknod /n c 1 3; rm /n").ok
    assert not other.run("mknod /n c 1 3", check=False).ok
    assert other.run("mknod /b b 7 0; rm /b").ok
    assert not hanging.run("mknod /b b 7 0", check=False).ok
    assert not other.run("setfattr -n trusted.overlay.opaque -v y /srv", check=False).ok


def start_hang(container, command):
    """Starts a program that hangs in a call; waits until it's in it."""
    container.run("mkdir -p /mnt/hang")
    process = container.spawn(command, timeout=120)
    line = process.stdout.readline()
    assert line.strip() == "calling", line + process.stderr.read()
    time.sleep(0.3)
    return process


def end_hang(container, process):
    container.host.run(["pkill", "-9", "-x", "fuse-hang|uffd-hang"], check=False)
    process.communicate(timeout=30)
    container.run("umount -l /mnt/hang*", check=False)


def assert_others_go_on(hanging, other):
    begin = time.monotonic()
    other.run("mknod /b b 7 0; rm /b", timeout=QUICK)
    assert time.monotonic() - begin < 3, "the other container was held up"
    for _ in range(3):
        hanging.run("mknod /n c 1 3; rm /n", timeout=QUICK)
    hanging.run("mkdir -p /srv/storm")
    counted = json.loads(hanging.run("storm --seconds=2 --dir=/srv/storm", timeout=30).stdout)
    assert counted["ok"] == counted["calls"] > 10, counted


def test_path_on_a_fuse_file_system_that_never_answers(hanging, other):
    process = start_hang(hanging, ["fuse-hang", "lookup", "/mnt/hang", "--call"])
    try:
        assert_others_go_on(hanging, other)
    finally:
        end_hang(hanging, process)
    hanging.run("mknod /n c 1 3; rm /n")


def test_path_in_memory_of_a_fuse_file_that_never_comes(hanging, other):
    process = start_hang(hanging, ["fuse-hang", "read", "/mnt/hang", "--call"])
    try:
        assert_others_go_on(hanging, other)
    finally:
        end_hang(hanging, process)
    hanging.run("mknod /n c 1 3; rm /n")


def test_path_in_userfaultfd_memory_that_never_comes(hanging, other):
    setting = Path("/proc/sys/vm/unprivileged_userfaultfd")
    if not setting.exists():
        pytest.skip("the kernel has no userfaultfd")
    before = setting.read_text()
    setting.write_text("1")
    try:
        process = start_hang(hanging, ["uffd-hang"])
    finally:
        setting.write_text(before)
    try:
        assert_others_go_on(hanging, other)
    finally:
        end_hang(hanging, process)
    hanging.run("mknod /n c 1 3; rm /n")


def test_several_hangs_at_once(hanging, other):
    processes = [start_hang(hanging, ["sh", "-c", f"mkdir -p /mnt/hang{i}; exec fuse-hang read /mnt/hang{i} --call"]) for i in range(3)]
    try:
        assert_others_go_on(hanging, other)
    finally:
        for process in processes:
            end_hang(hanging, process)
    hanging.run("mknod /n c 1 3; rm /n")


def test_fuse_server_that_makes_calls_itself(hanging):
    """The server of the file system that a supervisor waits for is in the same container, and its own calls are served."""
    process = start_hang(hanging, ["sh", "-c", "fuse-hang lookup /mnt/hang --call & sleep 0.5; calls mknod /from-server c 600 1:3 >&2; wait"])
    try:
        hanging.host.wait_for(lambda: hanging.run("test -c /from-server", check=False).ok, QUICK, "the server's own call")
    finally:
        end_hang(hanging, process)


def test_stopping_a_container_with_a_hung_call(host):
    container = container_with_fuse(host, "stopping")
    process = start_hang(container, ["fuse-hang", "read", "/mnt/hang", "--call"])
    begin = time.monotonic()
    host.systemctl("stop", container.unit)
    assert time.monotonic() - begin < 40
    process.communicate(timeout=30)
    host.wait_for(lambda: not host.target(container.unit), 15, "the target to go")
