# SPDX-License-Identifier: LGPL-2.1-or-later
"""sysinfo(2) where memory is limited as it's done today: MemoryMax= of a unit, the unified hierarchy, Debian's kernel; and beside a
real lxcfs."""

import re
import subprocess
import tempfile
import time

import pytest
from machine import CACHE, cache_lock
from test_sysinfo import MIB, ask, parse

GIB = 1 << 30


@pytest.fixture(scope="module")
def guest_sized(guest):
    """A container with the profile sysinfo, MemoryMax=1G, and 96 MiB of the guest's 256 MiB of swap."""
    guest.run("fallocate -l 256M /swap && chmod 600 /swap && mkswap -q /swap && swapon /swap")
    container = guest.container("sized", settings="[Files]\nBind=/var/lib/lxcfs\n")
    guest.run(["mkdir", "-p", "/var/lib/lxcfs"])
    guest.write(f"/etc/systemd/system/{container.unit}.d/60-memory.conf", "[Service]\nMemoryMax=1G\nMemorySwapMax=96M\n")
    container.enable("--profile=sysinfo")
    container.start()
    yield container
    container.stop()
    guest.run("swapoff /swap; rm /swap")


def test_free_says_what_the_unit_may_use(guest_sized):
    # Only totals: what's used it reckons with the page cache in /proc/meminfo, which is the host's.
    _, memory, swap = guest_sized.run("busybox free -m").stdout.splitlines()
    assert re.match(r"Mem: +1024", memory), memory
    assert re.match(r"Swap: +96 ", swap), swap
    assert guest_sized.run("getconf _PHYS_PAGES").stdout.strip() == str(GIB // 4096)


def test_numbers(guest_sized):
    guest, unit = guest_sized.host, f"/sys/fs/cgroup{guest_sized.host.show(guest_sized.unit, 'ControlGroup')}"
    age = int(guest.run(["ps", "-o", "etimes=", "-p", str(guest_sized.leader())]).stdout)
    seen = ask(guest_sized)
    usage = int(guest.read(f"{unit}/memory.current"))
    stat = dict(line.split() for line in guest.read(f"{unit}/memory.stat").splitlines())
    cache = int(stat["active_file"]) + int(stat["inactive_file"])
    assert seen["totalram"] == GIB and seen["bufferram"] == 0
    assert abs(seen["freeram"] - (GIB - usage + cache)) < 32 * MIB
    assert abs(seen["sharedram"] - int(stat["shmem"])) < 4 * MIB
    assert seen["totalswap"] == 96 * MIB and 0 < seen["freeswap"] <= 96 * MIB

    # The pids controller's number, which is the payload's without the manager's.
    assert abs(seen["procs"] - int(guest.read(f"{unit}/payload/pids.current"))) <= 4
    assert age <= seen["uptime"] <= age + 10


def test_x32_has_the_layout_of_64_bits(guest_sized):
    ours, wide = ask(guest_sized, "calls-x32"), ask(guest_sized)
    assert ours["totalram"] == wide["totalram"] == GIB and ours["totalswap"] == wide["totalswap"] and ours["mem_unit"] == wide["mem_unit"]
    assert ask(guest_sized.host, "calls-x32")["totalram"] == ask(guest_sized.host)["totalram"] != GIB


def test_limit_of_a_service_in_the_container(guest_sized):
    """The smallest one of all counts, for those whom it binds."""
    service = parse(guest_sized.run(["calls", "sysinfo", "here"], properties=["MemoryMax=128M", "MemorySwapMax=0"]).stdout)[0][1]
    assert service["totalram"] == 128 * MIB
    assert service["totalswap"] == service["freeswap"] == 0
    assert ask(guest_sized)["totalram"] == GIB


def test_limit_that_changes(guest_sized):
    guest = guest_sized.host
    guest.systemctl("set-property", "--runtime", guest_sized.unit, "MemoryMax=512M")
    time.sleep(0.2)
    assert ask(guest_sized)["totalram"] == 512 * MIB
    guest.systemctl("set-property", "--runtime", guest_sized.unit, "MemoryMax=infinity")
    time.sleep(0.2)
    assert ask(guest_sized)["totalram"] == ask(guest)["totalram"]
    guest.systemctl("set-property", "--runtime", guest_sized.unit, "MemoryMax=1G")
    time.sleep(0.2)


def test_controllers_that_are_turned_off_and_on(guest_sized):
    """While somebody asks all the time, so that files are kept."""
    guest, unit = guest_sized.host, f"/sys/fs/cgroup{guest_sized.host.show(guest_sized.unit, 'ControlGroup')}"
    poll = guest_sized.spawn(["sh", "-c", "while :; do calls sysinfo here >/srv/new; mv /srv/new /srv/poll; sleep 0.05; done"])

    def polled():
        time.sleep(0.5)
        (error, fields), = parse(guest.read(f"{guest_sized.root}/srv/poll"))
        assert error == "OK"
        return fields

    try:
        guest.wait_for(lambda: guest.run(f"test -e {guest_sized.root}/srv/poll", check=False).ok, 20, "the first answer")
        guest.run(f"echo 256M >{unit}/payload/memory.max")
        before = polled()
        assert before["totalram"] == 256 * MIB
        guest.run(f"find {unit} -name cgroup.subtree_control -printf '%d %p\\n' | sort -rn | while read depth file; do echo '-memory -pids' >$file; done")
        seen = polled()
        assert seen["totalram"] == GIB
        assert abs(seen["procs"] - before["procs"]) <= 8
        guest.run(f"echo '+memory +pids' >{unit}/cgroup.subtree_control; echo 256M >{unit}/payload/memory.max")
        seen = polled()
        assert seen["totalram"] == 256 * MIB
        assert abs(seen["procs"] - before["procs"]) <= 8
    finally:
        poll.kill()
        poll.wait()
        guest.run(f"echo '+memory +pids' >{unit}/cgroup.subtree_control; echo max >{unit}/payload/memory.max")
        guest_sized.run("rm -f /srv/poll /srv/new")
        guest_sized.stop()
        guest_sized.start()  # its service manager hasn't been told


def test_memory_that_cannot_be_written(guest_sized):
    """The kernel has no quick way yet to ask what's writable."""
    out = guest_sized.run("calls sysinfo @readonly , sysinfo @cut:50 , sysinfo @bad , sysinfo here").stdout
    assert [(error, fields.get("size", 0)) for error, fields in parse(out)] == [("EFAULT", 0), ("EFAULT", 50), ("EFAULT", 0), ("OK", 112)]


def test_service_without_a_container(guest):
    seen = parse(guest.unit_run("exec deputy-run --profile=sysinfo -- calls sysinfo here", properties=["MemoryMax=64M", "User=nobody"], check=False).stdout
                 or guest.unit_run("exec deputy-run --profile=sysinfo -- setpriv --reuid=1000 --clear-groups calls sysinfo here", properties=["MemoryMax=64M"]).stdout)
    assert seen[0][1]["totalram"] == 64 * MIB


@pytest.fixture(scope="module")
def lxcfs(guest_sized):
    """lxcfs itself, as Debian packages it, over the container's /proc/meminfo and /proc/uptime."""
    guest = guest_sized.host
    with cache_lock():
        packages = sorted(CACHE.glob("lxcfs_*.deb")) + sorted(CACHE.glob("libfuse3-*.deb"))
        if len(packages) < 2:
            depends = subprocess.run(["apt-cache", "depends", "lxcfs"], capture_output=True, text=True, timeout=60).stdout
            library = re.search(r"libfuse3-\d+", depends).group()
            with tempfile.TemporaryDirectory(dir=CACHE) as work:
                subprocess.run(["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", "lxcfs", library], cwd=work, check=True, timeout=300, capture_output=True)
                subprocess.run(f"mv {work}/*.deb {CACHE}", shell=True, check=True)
            packages = sorted(CACHE.glob("lxcfs_*.deb")) + sorted(CACHE.glob("libfuse3-*.deb"))
    for package in packages:
        tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], capture_output=True, check=True).stdout
        guest.run(["tar", "-C", "/", "-x", "--keep-directory-symlink", "--no-overwrite-dir"], input=tar, binary=True)
    guest.run("ldconfig; modprobe fuse || true; systemd-run --quiet --unit=test-lxcfs --property=Delegate=yes lxcfs /var/lib/lxcfs")
    guest.wait_for(lambda: guest.run("test -e /var/lib/lxcfs/proc/meminfo", check=False).ok, 30, "lxcfs")
    guest_sized.stop()
    guest_sized.start()
    guest_sized.run("for f in meminfo uptime; do mount --bind /var/lib/lxcfs/proc/$f /proc/$f; done")
    yield guest_sized
    guest_sized.stop()
    guest.run("systemctl stop test-lxcfs; umount -l /var/lib/lxcfs", check=False)


def meminfo(text):
    return {name: int(kib) * 1024 for name, kib in re.findall(r"^(\w+): +(\d+) kB$", text, re.M)}


@pytest.mark.parametrize("limit, total", [("max", GIB), ("800M", 800 * MIB)])
def test_same_numbers_as_lxcfs(lxcfs, limit, total):
    """Formula=auto sees that it's there. Both are read at about the same time; page cache is there to tell the formulas apart."""
    payload = f"/sys/fs/cgroup{lxcfs.host.show(lxcfs.unit, 'ControlGroup')}/payload"
    swap = "max" if limit == "max" else "64M"
    lxcfs.host.run(f"echo {limit} >{payload}/memory.max; echo {swap} >{payload}/memory.swap.max")
    lxcfs.run("head -c 150M /dev/zero >/srv/cached; cat /srv/cached >/dev/null")
    time.sleep(2.1)  # for so long a mount table is believed
    out = lxcfs.run("cat /proc/meminfo; cut -d. -f1 /proc/uptime; calls sysinfo here; cut -d. -f1 /proc/uptime").stdout
    theirs, ours = meminfo(out), parse(out)[0][1]
    assert ours["totalram"] == theirs["MemTotal"]
    assert theirs["MemTotal"] == total
    assert abs(ours["freeram"] - theirs["MemFree"]) < 8 * MIB
    assert theirs["Cached"] > 100 * MIB
    assert ours["bufferram"] == theirs["Buffers"] == 0
    assert abs(ours["sharedram"] - theirs["Shmem"]) < MIB
    assert ours["totalswap"] == (0 if limit == "max" else 64 * MIB)
    if theirs["SwapTotal"] or limit == "max":  # lxcfs 5 never has any where the unified hierarchy is used
        assert ours["totalswap"] == theirs["SwapTotal"]
        assert abs(ours["freeswap"] - theirs["SwapFree"]) < MIB
    before, after = re.findall(r"^(\d+)$", out, re.M)
    assert int(before) <= ours["uptime"] <= int(after)

    # What mixes both is right then.
    words = [line.split() for line in lxcfs.run("busybox free -b").stdout.splitlines()][1]
    size, used, free, _, cache = map(int, words[1:6])
    assert size == total and 0 <= used < total and abs(total - used - free - cache) < 16 * MIB
    lxcfs.run("rm /srv/cached")


def test_kernels_formula_where_lxcfs_is(lxcfs):
    guest = lxcfs.host
    lxcfs.policy("[Sysinfo]\nFormula=kernel\n")
    guest.run(["deputyctl", "reload"])
    time.sleep(0.5)
    lxcfs.run("head -c 150M /dev/zero >/srv/cached; cat /srv/cached >/dev/null")
    out = lxcfs.run("cat /proc/meminfo; calls sysinfo here").stdout
    lxcfs.policy("")
    guest.run(["deputyctl", "reload"])
    assert parse(out)[0][1]["freeram"] - meminfo(out)["MemFree"] > 100 * MIB
