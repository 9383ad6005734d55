# SPDX-License-Identifier: LGPL-2.1-or-later
"""mount(2) served by a FUSE program of the container (Fuse= of a policy): it's the container's in all respects, its failures are
told, and it depends on nobody but the container."""

import shutil
import subprocess
import time

import pytest

PROGRAMS = ("fuse2fs", "squashfuse", "ntfs-3g")

IMAGES = {
    "ext4": "truncate -s 16M ext4 && mkfs.ext4 -q -d tree -E root_owner=0:0 ext4",
    "squashfs": "mksquashfs tree squashfs -all-root -quiet -no-progress",
    "ntfs": "truncate -s 16M ntfs && mkntfs -q -F ntfs && ntfscp ntfs tree/hello hello",
}

POLICY = """[Intercept]
SystemCalls=mount mknod
LogRateLimitBurst=0
[Mknod]
AllowDevice=c 10:229 c 1:3
[Mount]
Fuse=ext4:fuse2fs squashfs:squashfuse ntfs:ntfs-3g
Fuse=erofs:erofsfuse xfs:/usr/local/bin/slow-fuse
FuseStartSec=4s
"""

# Plays a server that takes its time: it says so, and ends or is killed before it has mounted anything.
SLOW = "#!/bin/sh\necho starting slowly >&2\nsleep 2.5\nexec fuse2fs \"$@\"\n"


def make_images(directory):
    """Makes the images on this machine. Return: {type: file}."""
    tree = directory / "tree"
    tree.mkdir()
    tree.chmod(0o755)
    (tree / "hello").write_text("hello\n")
    for command in IMAGES.values():
        subprocess.run(["sh", "-ec", f"cd {directory}; {command} >/dev/null 2>&1"], check=True, timeout=60)
    return {kind: directory / kind for kind in IMAGES}


def install(container, images):
    """Gives the container what it needs: the programs of this machine, with the libraries that the small root doesn't have;
    images; policy; the device. Starts it."""
    machine = container.host
    libraries = set()
    for program in PROGRAMS:
        path = shutil.which(program)
        machine.put(path, f"{container.root}/usr/bin/{program}")
        needed = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
        libraries |= {word for word in needed.split() if word.startswith("/")}
    for library in libraries:
        target = f"{container.root}/usr/lib/x86_64-linux-gnu/{library.rsplit('/', 1)[1]}"
        if not machine.run(["test", "-e", target], check=False).ok:
            machine.put(library, target)
    for kind, image in images.items():
        machine.put(image, f"{container.root}/srv/{kind}", "0644")
    machine.write(f"{container.root}/usr/local/bin/slow-fuse", SLOW)
    machine.run(f"head -c 1000000 /dev/zero >{container.root}/srv/zero; chmod 755 {container.root}/usr/local/bin/slow-fuse")
    container.policy(POLICY)
    machine.write(f"/etc/systemd/system/{container.unit}.d/20-fuse.conf", "[Service]\nDeviceAllow=/dev/fuse rwm\nTimeoutStopSec=20\n")
    container.enable()
    container.start()
    container.run("[ -e /dev/fuse ] || mknod -m 666 /dev/fuse c 10 229; mkdir -p /mnt/f /mnt/g; chmod 755 /mnt /mnt/f")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return make_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def disk(host, images):
    """The ext4 image on a loop device of the host. Nothing of it is opened on the container's behalf."""
    host.run("mkdir -p /var/lib/machines/fuse-images")
    host.put(images["ext4"], "/var/lib/machines/fuse-images/disk")
    node = host.loop_device("/var/lib/machines/fuse-images/disk")
    host.run(["chmod", "666", node])
    return node


@pytest.fixture(scope="module")
def fuse(host, disk, images):
    if not host.run("test -c /dev/fuse", check=False).ok:
        pytest.skip("the kernel has no FUSE")
    container = host.container("fuse", settings=f"[Files]\nBind={disk}:/dev/disk\n")
    host.write(f"/etc/systemd/system/{container.unit}.d/30-disk.conf", f"[Service]\nDeviceAllow={disk} rw\n")
    install(container, images)
    yield container
    container.remove()


@pytest.fixture(autouse=True)
def nothing_stays(fuse):
    """No mount and no server is left by a test, and none was ever on the host."""
    yield
    fuse.run("umount -l /mnt/f /mnt/g 2>/dev/null || true")
    # Shown if the test has failed.
    print("\n".join(entry["MESSAGE"] for entry in refusals(fuse.host, fuse.unit)[-5:]))
    fuse.host.wait_for(lambda: not servers(fuse.host), 10, "the servers to end")


def servers(host):
    """Processes of FUSE servers and of what starts them."""
    names = "fuse2fs|squashfuse|ntfs-3g|slow-fuse|fuse-watch|fuse-minder"
    found = host.run(f"grep -l -x -E '{names}' /proc/[0-9]*/comm 2>/dev/null || true").stdout.split()
    return [path.split("/")[2] for path in found]


def mount(container, kind, source, target="/mnt/f", check=True, **kwargs):
    """mount(2), as mount(8) would make a loop device of an image file first. Return: the errno's name, or None."""
    result = container.run(["calls", "mount", source, target, kind, "0", "@null"], check=False, **kwargs)
    words = result.stdout.split()
    assert words[:1] == ["mount"], result
    error = words[2] if words[1] == "-1" else None
    assert error is None or not check, (error, refusals(container.host, container.unit)[-1:])
    return error


def mounted(container, path="/mnt/f"):
    """Types of what's mounted there, the topmost one first."""
    lines = [line.split(" - ") for line in container.run(["cat", "/proc/self/mountinfo"]).stdout.splitlines()]
    return [right.split()[0] for left, right in reversed(lines) if left.split()[4] == path]


def status(host, pid):
    return dict(line.split(":\t", 1) for line in host.read(f"/proc/{pid}/status").splitlines() if ":\t" in line)


def refusals(host, unit):
    return host.journal("DEPUTYD_SYSCALL=mount", f"DEPUTYD_UNIT={unit}")


# -- it works ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", IMAGES)
def test_image_is_mounted_by_the_container_s_own_program(fuse, kind):
    mount(fuse, kind, f"/srv/{kind}")
    found = mounted(fuse)
    assert len(found) == 1 and found[0].startswith("fuse")
    assert fuse.run("cat /mnt/f/hello").stdout == "hello\n"
    assert fuse.run("stat -c %u:%g /mnt/f/hello").stdout.strip() == "0:0"
    fuse.run("umount /mnt/f")
    assert mounted(fuse) == []


def test_device(fuse, disk):
    fuse.run("mount -t ext4 /dev/disk /mnt/f")
    fuse.run("echo new >/mnt/f/new; sync; umount /mnt/f")
    fuse.host.wait_for(lambda: not servers(fuse.host), 10, "the server to end")
    # As root of the container wrote it, root of the disk owns it.
    assert "User:     0" in fuse.host.run(["debugfs", "-R", "stat /new", disk]).stdout


def test_read_only_and_options(fuse):
    fuse.run("mount -t ext4 -o ro /dev/disk /mnt/f")
    assert not fuse.run("touch /mnt/f/x", check=False).ok
    command = fuse.host.run(f"tr '\\0' ' ' </proc/{servers(fuse.host)[0]}/cmdline").stdout
    assert command.startswith("fuse2fs /dev/disk /mnt/f -o ro")


def test_fstab(fuse):
    fuse.run("echo '/dev/disk /mnt/f ext4 defaults 0 0' >/etc/fstab; mount -a; rm /etc/fstab")
    assert fuse.run("cat /mnt/f/hello").stdout == "hello\n"


# -- it's the container's ---------------------------------------------------------------------------------------


def check_likeness(fuse):
    """Starts a server and compares it with the container's init, and with what its caller had."""
    host = fuse.host
    mount(fuse, "ext4", "/srv/ext4", properties=("LimitNOFILE=500:600", "CapabilityBoundingSet=~CAP_SYS_TIME"))
    (pid,) = servers(host)
    leader = fuse.leader()
    mine, its = status(host, pid), status(host, leader)

    for namespace in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"):
        links = host.run(["readlink", f"/proc/{pid}/ns/{namespace}", f"/proc/{leader}/ns/{namespace}"]).stdout.split()
        assert links[0] == links[1], namespace
    assert mine["Uid"] == its["Uid"] and mine["Gid"] == its["Gid"]
    assert mine["Seccomp_filters"] == its["Seccomp_filters"] and int(its["Seccomp_filters"]) >= 2
    assert int(mine["CapBnd"], 16) == int(its["CapBnd"], 16) & ~(1 << 25)
    assert mine["PPid"] == str(leader)
    assert mine["SigBlk"] == "0" * 16
    assert "500" in host.run(f"grep 'Max open files' /proc/{pid}/limits").stdout
    assert host.read(f"/proc/{pid}/cgroup") == host.read(f"/proc/{leader}/cgroup")
    environment = host.run(f"tr '\\0' '\\n' </proc/{pid}/environ").stdout.split()
    assert environment == ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]
    targets = host.run(f"readlink /proc/{pid}/fd/*").stdout.split()
    assert set(targets) == {"/dev/null", "/dev/fuse", "/srv/ext4"}


def test_server_is_like_any_process_of_the_container(fuse):
    check_likeness(fuse)


def test_server_has_no_higher_priority(fuse):
    caller, result = fuse.run("nice -n 7 nice; exec nice -n 7 calls mount /dev/disk /mnt/f ext4 0 @null").stdout.splitlines()
    assert result == "mount 0 OK"
    for pid in servers(fuse.host):
        assert fuse.host.read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[16] == caller


def test_deputyd_has_no_seccomp_filter(fuse):
    """It couldn't read the container's."""
    assert status(fuse.host, fuse.host.pid_of())["Seccomp"] == "0"


def test_ends_with_the_container(host, fuse):
    mount(fuse, "ext4", "/srv/ext4")
    mount(fuse, "squashfs", "/srv/squashfs", "/mnt/g")
    assert len(servers(host)) == 2
    fuse.stop()
    host.wait_for(lambda: not servers(host), 10, "the servers to end")
    fuse.start()
    fuse.run("test -c /dev/fuse || mknod -m 666 /dev/fuse c 10 229")


def test_outlives_deputyd(fuse):
    host = fuse.host
    mount(fuse, "ext4", "/srv/ext4")
    before = servers(host)
    host.systemctl("restart", "deputyd.service")
    host.systemctl("kill", "--signal=KILL", "deputyd.service")
    host.wait_for(lambda: host.pid_of(), 10, "deputyd to be back")
    assert servers(host) == before
    assert fuse.run("cat /mnt/f/hello").stdout == "hello\n"


# -- failures ---------------------------------------------------------------------------------------------------


def test_missing_program(fuse):
    failed = fuse.run("mount -t erofs /dev/disk /mnt/f", check=False)
    assert not failed.ok and "Package not installed" in failed.stderr
    said = refusals(fuse.host, fuse.unit)[-1]
    assert "install package erofsfuse" in said["MESSAGE"] and said["DEPUTYD_ERRNO"] == "65"


def test_not_such_a_file_system(fuse):
    assert mount(fuse, "ext4", "/srv/zero", check=False) == "EINVAL"
    said = refusals(fuse.host, fuse.unit)[-1]
    assert "fuse2fs has ended with exit status" in said["MESSAGE"] and "it said: " in said["MESSAGE"]
    # And in its own words, with the container's unit. Who wrote them may be gone before the journal has asked for its
    # control group; what we say of it ourselves is there then, too.
    words = [e for e in fuse.host.journal("SYSLOG_IDENTIFIER=fuse2fs", f"OBJECT_SYSTEMD_UNIT={fuse.unit}") if "/srv/zero" in e["MESSAGE"]]
    assert words and all(e.get("_SYSTEMD_UNIT", fuse.unit) == fuse.unit for e in words)


def test_missing_device(fuse):
    fuse.run("rm /dev/fuse")
    try:
        assert mount(fuse, "ext4", "/srv/ext4", check=False) == "ENODEV"
    finally:
        fuse.run("mknod -m 666 /dev/fuse c 10 229")
    said = refusals(fuse.host, fuse.unit)[-1]
    assert "--bind=/dev/fuse" in said["MESSAGE"] and said["DEPUTYD_ERRNO"] == "19"


def test_takes_too_long(fuse):
    fuse.run("sed 's/2.5/60/' /usr/local/bin/slow-fuse >/run/never; cp /run/never /usr/local/bin/never-fuse; chmod 755 /usr/local/bin/never-fuse")
    fuse.policy(POLICY.replace("slow-fuse", "never-fuse").replace("FuseStartSec=4s", "FuseStartSec=1s"))
    fuse.host.run(["deputyctl", "reload"])
    try:
        begin = time.monotonic()
        assert mount(fuse, "xfs", "/srv/ext4", check=False) == "ETIMEDOUT"
        took = time.monotonic() - begin
    finally:
        fuse.policy(POLICY)
        fuse.host.run(["deputyctl", "reload"])
    assert 1 <= took < 8
    assert "wasn't ready in time; it said: starting slowly" in refusals(fuse.host, fuse.unit)[-1]["MESSAGE"]
    assert mounted(fuse) == []


def test_only_who_may_mount(fuse):
    count = fuse.host.counters(fuse.unit)["mount"]["emulated"]
    assert mount(fuse, "ext4", "/srv/ext4", check=False, uid=1000) == "EPERM"
    assert mount(fuse, "ext4", "/srv/ext4", check=False, properties=("CapabilityBoundingSet=~CAP_SYS_ADMIN",)) == "EPERM"
    nested = fuse.run(["calls", "--userns", "mount", "/srv/ext4", "/mnt/f", "ext4", "0", "@null"], check=False)
    assert nested.stdout.split()[-1] == "EPERM"
    assert mounted(fuse) == [] and servers(fuse.host) == []
    assert fuse.host.counters(fuse.unit)["mount"]["emulated"] == count


def test_filters_of_a_service_s_own(fuse):
    """Nobody else is known to have them, and the server isn't let out of them."""
    assert mount(fuse, "ext4", "/srv/ext4", check=False, properties=("SystemCallFilter=~sethostname",)) == "EPERM"
    assert mounted(fuse) == [] and servers(fuse.host) == []
    assert "seccomp filters" in refusals(fuse.host, fuse.unit)[-1]["MESSAGE"]


# -- it's in nobody's way ---------------------------------------------------------------------------------------


def test_slow_start_holds_nobody_up(fuse):
    slow = fuse.spawn(["calls", "mount", "/srv/ext4", "/mnt/f", "xfs", "0", "@null"])
    fuse.host.wait_for(lambda: "slow-fuse" in fuse.host.run("ps -eo args").stdout, 10, "the server to start")
    begin = time.monotonic()
    fuse.run("rm -f /run/null; mknod /run/null c 1 3")
    took = time.monotonic() - begin
    assert slow.wait(30) == 0
    assert took < 2
    assert fuse.run("cat /mnt/f/hello").stdout == "hello\n"


def test_supervisor_is_killed_during_the_start(fuse):
    """The call is served again, and there's one server in the end."""
    host = fuse.host
    for delay in (0.0, 0.3, 1.0, 2.3):
        mount = fuse.spawn(["calls", "mount", "/srv/ext4", "/mnt/f", "xfs", "0", "@null"])
        host.wait_for(lambda: "slow-fuse" in host.run("ps -eo args").stdout, 10, "the server to start")
        time.sleep(delay)
        host.run(["pkill", "-9", "-x", "deputy-supervis"], check=False)
        assert mount.wait(40) == 0
        assert len(mounted(fuse)) == 1
        assert fuse.run("cat /mnt/f/hello").stdout == "hello\n"
        host.wait_for(lambda: len(servers(host)) == 1, 10, "the first server to end")
        fuse.run("umount /mnt/f")
        host.wait_for(lambda: not servers(host), 10, "the server to end")
