# SPDX-License-Identifier: LGPL-2.1-or-later
"""On the kernel and the systemd that Debian ships: what's on this machine's kernel elsewhere works there, too."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import test_native

X32 = {
    "mknod": ["absolute path", "dirfd", "exists", "no such directory", "null path", "unmapped path", "umask", "without CAP_MKNOD", "ordinary user",
              "thread that isn't the leader", "FIFO", "whiteout"],
    "xattr": ["set", "set by descriptor", "create, exists", "replace, doesn't exist", "unknown flag", "null value of size 0"],
}


def test_the_kernel_is_another_one(guest):
    """What the tests on the guest are for: modules, memory limits, the unified hierarchy, and systemd as PID 1."""
    assert guest.run("uname -r").stdout.strip() in [p.strip() for p in guest.run("ls /lib/modules").stdout.split()]
    assert "memory" in guest.read("/sys/fs/cgroup/cgroup.controllers").split()
    assert guest.read("/proc/1/comm") == "systemd\n"
    guest.run("modprobe dummy && grep -q ^dummy /proc/modules && modprobe -r dummy")


def test_commands(guest):
    """The guest's own way of running commands: status, streams, input, background, signals."""
    result = guest.run(["sh", "-c", "cat; echo err >&2; exit 7"], check=False, input="in\n")
    assert (result.returncode, result.stdout, result.stderr) == (7, "in\n", "err\n")
    data = bytes(range(256)) * 4096
    assert guest.run(["cat"], input=data, binary=True).stdout == data
    process = guest.spawn(["sh", "-c", "read line; echo got $line; exec sleep 60"], stdin=-1)
    process.stdin.write("hello\n")
    process.stdin.flush()
    assert process.stdout.readline() == "got hello\n"
    assert process.poll() is None
    process.kill()
    assert process.wait(30) != 0
    assert not guest.run(["/nonexistent"], check=False).ok


def test_disks(guest, tmp_path):
    """An image of this machine as a disk, and one of the guest's own as a loop device; both written to."""
    image = tmp_path / "image"
    image.write_bytes(bytes(16 << 20))
    device = guest.attach(image)
    guest.run(f"mkfs.ext4 -q {device} && mount {device} /mnt && echo there >/mnt/file && umount /mnt")
    guest.detach(device)
    assert b"there" in image.read_bytes()
    guest.run("truncate -s 16M /tmp/loop.img && mkfs.ext4 -q /tmp/loop.img && mount -o loop /tmp/loop.img /mnt && umount /mnt && rm /tmp/loop.img", timeout=120)


def test_calls_are_counted_as_served(guest_demo):
    before = guest_demo.host.counters(guest_demo.unit)
    guest_demo.run("rm -f /srv/null && mknod /srv/null c 1 3 && echo x >/srv/null && touch /srv/f && setfattr -n trusted.overlay.opaque -v y /srv/f")
    after = guest_demo.host.counters(guest_demo.unit)
    assert after["mknodat"]["emulated"] == before["mknodat"]["emulated"] + 1
    assert after["setxattr"]["emulated"] == before["setxattr"]["emulated"] + 1
    assert "y" in guest_demo.host.run(["getfattr", "--absolute-names", "-n", "trusted.overlay.opaque", f"{guest_demo.root}/srv/f"]).stdout


def compare(guest_demo, program, cases):
    """Cases of test_native.py, inside and natively side by side."""
    inside, native = "/srv/native", "/var/lib/machines/native"

    def run(machine, directory):
        return test_native.outcomes(machine.run(["sh", "-s"], input=test_native.script(program, cases, directory), timeout=500), cases)

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(run, guest_demo, inside), pool.submit(run, guest_demo.host, native)]
    ours, kernels = [future.result() for future in futures]
    left = [test_native.attributes(guest_demo.host, directory) for directory in (guest_demo.root + inside, native)]
    guest_demo.run(f"D={inside}; {test_native.CLEAN}")
    guest_demo.host.run(f"D={native}; {test_native.CLEAN}")
    assert not {case: (ours[case], kernels[case]) for case in cases if ours[case] != kernels[case]}
    assert left[0] == left[1]
    return kernels


@pytest.mark.parametrize("family", test_native.WHERE)
def test_same_as_natively(guest_demo, family):
    compare(guest_demo, "calls", test_native.WHERE[family])


def test_same_as_natively_by_x32_numbers(guest_demo):
    """Debian's kernel knows them, if it's told to."""
    before = guest_demo.host.counters(guest_demo.unit)
    kernels = {}
    for family, names in X32.items():
        kernels |= compare(guest_demo, "calls-x32", {name: test_native.WHERE[family][name] for name in names})
    assert "OK" in kernels["absolute path"] and "OK" in kernels["set"]
    after = guest_demo.host.counters(guest_demo.unit)
    assert after["mknod"]["emulated"] > before["mknod"]["emulated"] and after["fsetxattr"]["emulated"] > before["fsetxattr"]["emulated"]


def test_descriptor_survives_a_restart(guest_demo):
    """PID 1 of systemd 252 gives the listeners back."""
    guest_demo.host.systemctl("restart", "deputyd.service")
    guest_demo.run("rm -f /srv/again && mknod /srv/again c 1 3 && test -c /srv/again")
