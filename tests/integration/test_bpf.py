# SPDX-License-Identifier: LGPL-2.1-or-later
"""bpf: device rules and address lists of units and containers inside of a container."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

CGROUPS = "/sys/fs/cgroup"
DELEGATED = "[Exec]\nSystemCallFilter=bpf @keyring\n"
# What crun before 1.14 takes, of nspawn and of the container's unit: see deputyd.policy(5).
LIMIT = "LimitMEMLOCK=infinity\n"
FUSE_DEVICE = "DeviceAllow=/dev/fuse rwm\n"


def words(result):
    """{"load": "OK", …} of a run of bpf-calls; the last of each counts."""
    return {line.split()[0]: line.split()[-1] for line in result.stdout.splitlines() if not line.startswith(" ")}


def container_with(host, name, settings="", policy=None, profile="nested-containers", unit_settings=""):
    container = host.container(name, settings=DELEGATED + settings)
    if unit_settings:
        host.write(f"/etc/systemd/system/{container.unit}.d/20-test.conf", f"[Service]\n{unit_settings}")
    if policy:
        container.policy(policy)
    container.enable(*([f"--profile={profile}"] if profile else []))
    container.start()
    return container


@pytest.fixture(scope="module")
def nest(host):
    """A container with the profile. It sees the host's cgroups, as one with a careless bind mount does."""
    host.run("mkdir -p /srv/bpf; mount -t bpf bpf /srv/bpf")
    host.run("[ -e /dev/loop-control ] || mknod -m 600 /dev/loop-control c 10 237")
    container = container_with(
        host, "nest", settings=f"{LIMIT}Capability=CAP_NET_ADMIN\n[Files]\nBindReadOnly={CGROUPS}:/host-cgroups\nBind=/srv/bpf:/host-bpf\n",
        unit_settings=LIMIT + FUSE_DEVICE + "DeviceAllow=/dev/loop-control rw\n")
    yield container
    container.remove()
    host.run("umount /srv/bpf")


@pytest.fixture
def cgroup(nest):
    """A fresh cgroup of the container, gone afterwards with all that's in it."""
    path = f"{CGROUPS}/test"
    nest.run(["mkdir", "-p", path])
    yield path
    # Freed a few at a time, by and by.
    nest.run(f"echo 1 >{path}/cgroup.kill; sleep 0.2; rmdir {path}", check=False)


def host_path(nest, path=""):
    """The container's cgroups as the host sees them."""
    return f"{CGROUPS}/machine.slice/{nest.unit}/payload{path}" if nest.host.run(
        ["test", "-d", f"{CGROUPS}/machine.slice/{nest.unit}/payload"], check=False).ok else f"{CGROUPS}/system.slice/{nest.unit}/payload{path}"


# -- what it's for ------------------------------------------------------------------------------------------------

def test_program_denies_a_device(nest, cgroup):
    out = nest.run(f"bpf-calls cgroup {cgroup} , load deny , cloexec , attach 2 , enter {cgroup} , open /dev/zero , detach").stdout
    assert out.splitlines() == ["cgroup 0 OK", "load 0 OK", "cloexec 1", "attach 0 OK", "enter 0 OK", "open -1 EPERM", "detach 0 OK"]


def test_program_can_be_replaced(nest, cgroup):
    out = nest.run(f"bpf-calls cgroup {cgroup} , load deny , attach 2 , keep , load allow , replace 2 , query , enter {cgroup} , open /dev/zero , detach , swap , detach").stdout
    assert "  flags 2 programs 1 current" in out
    assert out.splitlines()[-3:] == ["open 0 OK", "detach 0 OK", "detach -1 ENOENT"]


def test_link_lasts_as_long_as_its_descriptor(nest, cgroup):
    out = nest.run(f"bpf-calls cgroup {cgroup} , load deny , link , enter {cgroup} , open /dev/zero").stdout
    assert out.splitlines()[-3:] == ["link 0 OK", "enter 0 OK", "open -1 EPERM"]
    assert nest.run(f"bpf-calls enter {cgroup} , open /dev/zero").stdout.splitlines()[-1] == "open 0 OK"


def test_unit_with_device_policy(nest):
    def inner(command, *properties):
        options = " ".join(f"-p {p}" for p in properties)
        return nest.run(f"systemd-run --quiet --wait --pipe {options} bpf-calls {command}", check=False).stdout.split()[-1]
    assert inner("open /dev/full") == "OK"
    assert inner("open /dev/full", "DevicePolicy=strict") == "EPERM"
    assert inner("open /dev/null", "DevicePolicy=strict", "DeviceAllow=/dev/null") == "OK"
    assert inner("open /dev/full", "DevicePolicy=strict", "DeviceAllow=/dev/null") == "EPERM"
    assert inner("open /dev/full", "DevicePolicy=closed") == "OK"


def test_unit_with_addresses(nest):
    def inner(*properties):
        options = " ".join(f"-p {p}" for p in properties)
        return nest.run(f"systemd-run --quiet --wait --pipe {options} bpf-calls send 127.0.0.1", check=False).stdout.split()[-1]
    assert inner() == "OK"
    assert inner("IPAddressDeny=any") == "EPERM"
    assert inner("IPAddressDeny=any", "IPAddressAllow=127.0.0.0/8") == "OK"
    assert inner("IPAddressDeny=any", "IPAddressAllow=10.0.0.0/8") == "EPERM"
    assert inner("IPAddressDeny=127.0.0.1") == "EPERM"
    assert inner("IPAddressDeny=127.0.0.2") == "OK"


def test_unit_with_accounting(nest):
    result = nest.run("systemd-run --wait -p IPAccounting=yes bpf-calls send 127.0.0.1", check=False)
    sent = [line for line in result.stderr.splitlines() if line.startswith("IP traffic sent:")]
    assert sent and not sent[0].endswith(" 0B"), result


def test_service_manager_finds_support(nest):
    """What it doesn't have it warns of, and once only."""
    nest.run("systemd-run --quiet --wait -p IPAddressDeny=any true; systemd-run --quiet --wait -p DevicePolicy=closed true")
    log = nest.run("journalctl -b --no-pager -p warning", check=False).stdout
    assert "BPF" not in log and "firewall" not in log, log


# -- other runtimes -----------------------------------------------------------------------------------------------

def copy_program(container, path):
    """A program of this machine with its libraries, if the container's root hasn't got them."""
    listed = subprocess.run(["ldd", path], capture_output=True, text=True).stdout
    for file in [path] + [word for word in listed.split() if word.startswith("/")]:
        if not container.host.run(["test", "-e", container.root + file], check=False).ok:
            container.host.put(os.path.realpath(file), container.root + file)


def make_bundle(nest):
    """An OCI bundle with the node of fuse; returns a function of rules that writes its configuration."""
    nest.run("mkdir -p /srv/bundle/rootfs/bin; cp /usr/local/bin/bpf-calls /srv/bundle/rootfs/bin; cd /srv/bundle/rootfs; mkdir -p proc dev; mknod -m 666 fuse c 10 229")

    def write(rules):
        config = {
            "ociVersion": "1.0.2",
            "process": {"terminal": False, "user": {"uid": 0, "gid": 0}, "cwd": "/", "env": ["PATH=/bin"],
                        "args": ["/bin/bpf-calls", "open", "/fuse"],
                        "capabilities": {k: ["CAP_KILL"] for k in ("bounding", "effective", "permitted")}},
            "root": {"path": "rootfs"},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
                       {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]}],
            "linux": {"namespaces": [{"type": t} for t in ("pid", "ipc", "uts", "mount", "cgroup")],
                      "resources": {"devices": rules}},
        }
        nest.host.write(f"{nest.root}/srv/bundle/config.json", json.dumps(config))
    return write


@pytest.fixture(scope="module")
def bundle(nest):
    return make_bundle(nest)


DENY_ALL = {"allow": False, "access": "rwm"}
FUSE = {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"}


def crun_without_limit(nest, tmp_path):
    """A host that itself has no CAP_SYS_RESOURCE can give nobody the limit that crun wants. Here crun is told that it has it."""
    source, library = tmp_path / "limit.c", tmp_path / "limit.so"
    source.write_text("#include <sys/resource.h>\nint setrlimit(__rlimit_resource_t r, const struct rlimit *l) { return 0; }\n"
                      "int setrlimit64(__rlimit_resource_t r, const struct rlimit64 *l) { return 0; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", library, source], check=True)
    nest.host.put(library, f"{nest.root}/usr/lib/limit.so")
    return "env LD_PRELOAD=/usr/lib/limit.so crun"


def has_limit(nest):
    return nest.run("ulimit -l").stdout == "unlimited\n"


@pytest.mark.parametrize("name", ["runc", "crun"])
def test_runtime(nest, bundle, name, tmp_path):
    command = name
    if name == "crun" and not has_limit(nest):
        assert not nest.host.run("prlimit --memlock=unlimited true", check=False).ok
        command = crun_without_limit(nest, tmp_path)
    check_device_rules(nest, bundle, name, command)


def check_device_rules(nest, bundle, name, command):
    copy_program(nest, f"/usr/sbin/{name}" if os.path.exists(f"/usr/sbin/{name}") else f"/usr/bin/{name}")

    def inner(rules):
        bundle(rules)
        return nest.run(f"cd /srv/bundle; {command} run inner").stdout.split()[2]
    # Only what the outer container may open can be taken away. (runc allows tun whatever the rules are.)
    outside = nest.run("bpf-calls open /srv/bundle/rootfs/fuse").stdout.split()[2]
    assert outside != "EPERM"
    assert inner([DENY_ALL]) == "EPERM"
    assert inner([DENY_ALL, FUSE]) == outside
    assert inner([{"allow": True, "access": "rwm"}, {**FUSE, "allow": False}]) == "EPERM"


def test_nested_nspawn(nest):
    """systemd-nspawn asks the container's service manager for a scope with DevicePolicy=closed."""
    copy_program(nest, "/usr/bin/systemd-nspawn")
    nest.run("mkdir -p /srv/inner/usr/bin /srv/inner/bin /srv/inner/etc /srv/inner/proc /srv/inner/sys /srv/inner/dev /srv/inner/run /srv/inner/tmp; "
             "cp /usr/local/bin/bpf-calls /srv/inner/bin; cp /usr/local/bin/bpf-calls /srv/inner/usr/bin; touch /srv/inner/etc/os-release")
    # A device that's open to the container, and that systemd-nspawn doesn't open to its own by itself.
    nest.host.run(f"mknod -m 666 {nest.root}/srv/inner/loop c 10 237")
    outside = nest.run("bpf-calls open /srv/inner/loop").stdout.split()[-1]
    assert outside != "EPERM"
    # It remounts what it makes there, which the locked flags of the container's own /run would forbid.
    nest.run("mkdir -p /run/systemd/nspawn; mount -t tmpfs tmpfs /run/systemd/nspawn")
    # A newer one leaves nothing of the old root, and whoever sees no procfs and no sysfs may mount none.
    command = ("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --register=no --private-network --pipe --directory=/srv/inner "
               "--bind=/proc:/run/outer-proc --bind=/sys:/run/outer-sys {} bpf-calls open /dev/null , open /loop")
    result = nest.run(command.format(""), check=False)
    assert [line.split()[-1] for line in result.stdout.splitlines()] == ["OK", "EPERM"], result
    result = nest.run(command.format("'--property=DeviceAllow=char-misc rw'"), check=False)
    assert [line.split()[-1] for line in result.stdout.splitlines()] == ["OK", outside], result


# -- the kernel's answers -----------------------------------------------------------------------------------------

# What isn't lent, and then the kernel says EPERM, whatever it says to the host's root.
NOT_LENT = {"size-0", "size-0-at-page-end", "flags-1", "flags-4294967295", "interface", "attach-type-7"} | {f"btf-{i}" for i in range(17)} | {f"later-{i}" for i in range(6)}
# A program that leaves the set of instructions: a jump beyond the end, seen before the verifier sees it.
REFUSED = {"instructions-6"}
# Places that programs of this type aren't lent for: the rest of the kernel's, and what isn't any.
NOT_LENT |= {f"bind-for-{place}" for place in (0, 1, 2, 6, 11, 14, 20, 31, 32, 64, 4294967295)}


def compare_odd_input(container, cgroup, tool="bpf-calls"):
    """Natively, as the host's root, and in the container, side by side."""
    container.host.run(["mkdir", "-p", f"{CGROUPS}/odd"])
    native = container.host.run([tool, "odd", f"{CGROUPS}/odd"]).stdout.splitlines()
    served = container.run([tool, "odd", cgroup]).stdout.splitlines()
    container.host.run(["rmdir", f"{CGROUPS}/odd"])
    assert len(native) == len(served) > 170
    different = {}
    for theirs, ours in zip(native, served):
        name = theirs.split()[0]
        if name in NOT_LENT | REFUSED:
            # Beyond what the kernel knows, all is too much, whoever asks.
            assert ours.split()[1:] == ["-1", "EPERM"] or ours == theirs, ours
            assert not ours.endswith(" OK"), ours
        elif theirs != ours:
            different[theirs] = ours
    assert different == {}


@pytest.mark.parametrize("tool", ["bpf-calls", "bpf-calls-32"])
def test_odd_input(nest, cgroup, tool):
    if nest.host.run(["test", "-e", f"/usr/local/bin/{tool}"], check=False).returncode:
        pytest.skip("no 32-bit C library")
    compare_odd_input(nest, cgroup, tool)


def test_thread_that_is_not_the_leader(nest, cgroup):
    out = nest.run(f"bpf-calls --thread cgroup {cgroup} , load deny , attach 2 , by-id , detach").stdout
    assert set(line.split()[-1] for line in out.splitlines()) == {"OK"}


def test_cgroup_as_path_descriptor(nest, cgroup):
    assert words(nest.run(f"bpf-calls cgroup-path {cgroup} , load deny , attach 2 , detach"))["attach"] == "OK"


def test_removed_cgroup(nest, cgroup):
    native = nest.host.run(f"bpf-calls mkdir {CGROUPS}/gone , cgroup {CGROUPS}/gone , load deny , rmdir {CGROUPS}/gone , attach 2 , query").stdout
    served = nest.run(f"bpf-calls mkdir {cgroup}/gone , cgroup {cgroup}/gone , load deny , rmdir {cgroup}/gone , attach 2 , query").stdout
    assert native == served


# -- who may ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("option, error", [
    ("--uid=1000", "EPERM"), ("--userns", "EPERM"), ("--drop=sys_admin,bpf", "EPERM"), ("--drop=sys_admin,net_admin", "EPERM"), ("--drop=bpf,net_admin", "OK"),
])
def test_capability_law(nest, cgroup, option, error):
    assert words(nest.run(f"bpf-calls {option} load deny"))["load"] == error


def test_attaching_takes_a_capability(nest, cgroup):
    """The kernel wants none; what a user of the container could do with a program that root has passed on is root's to do."""
    for option in ("--uid=1000", "--userns"):
        assert words(nest.run(f"bpf-calls {option} cgroup {cgroup} , attach 2 , detach , detach-none , query , by-id 1 , link , map array")) == {
            "cgroup": "OK", **{k: "EPERM" for k in ("attach", "detach", "detach-none", "query", "by-id", "link", "map")}}


def test_kernel_that_lets_users_load_programs(nest, cgroup):
    """unprivileged_bpf_disabled=0: what anyone may do there is left to the kernel; what's lent is served all the same."""
    setting = Path("/proc/sys/kernel/unprivileged_bpf_disabled")
    before = setting.read_text()
    if before.strip() == "1":
        pytest.skip("it can't be changed until the next boot")
    command = f"bpf-calls cgroup {cgroup} , load socket , load kprobe , load call , load skb-deny , load deny , attach 2 , enter {cgroup} , open /dev/zero , detach"
    expected = ["OK", "EPERM", "EPERM", "EPERM", "OK", "OK", "OK", "OK", "EPERM", "OK"]
    assert [line.split()[-1] for line in nest.run(command).stdout.splitlines()] == expected
    setting.write_text("0")
    try:
        expected[1] = "OK"
        assert [line.split()[-1] for line in nest.run(command).stdout.splitlines()] == expected
    finally:
        setting.write_text(before)


@pytest.mark.parametrize("kind", ["call", "loop", "set-retval", "socket", "kprobe"])
def test_other_programs_are_not_lent(nest, kind):
    assert words(nest.run(f"bpf-calls load {kind}"))["load"] == "EPERM"


@pytest.mark.parametrize("kind, error", [("lpm", "OK"), ("lpm6", "OK"), ("array", "OK"), ("hash", "OK"), ("value", "OK"), ("list", "OK"),
                                         *((kind, "EPERM") for kind in ("big", "wide", "hash-wide-key", "hash-no-prealloc", "mapped", "write-only",
                                                                       "programs", "maps", "ring", "storage"))])
def test_maps(nest, kind, error):
    assert words(nest.run(f"bpf-calls map {kind}"))["map"] == error


def test_map_in_a_program(nest):
    assert words(nest.run("bpf-calls map array , load skb-map")) == {"map": "OK", "load": "OK"}
    # No descriptor at all.
    assert words(nest.run("bpf-calls load skb-map"))["load"] == "EBADF"


def test_map_of_the_host_is_not_lent(nest):
    """A program may only use maps that were made for the container, whatever descriptors it comes by."""
    nest.host.run("bpf-calls map array , pin-map /srv/bpf/map; chmod 777 /srv/bpf; chmod 666 /srv/bpf/map")
    assert words(nest.run("bpf-calls get-map /host-bpf/map , load skb-map")) == {"get-map": "OK", "load": "EPERM"}
    # The container's own may come from there, too.
    assert words(nest.run("bpf-calls map array , pin-map /host-bpf/own"))["pin-map"] == "OK"
    assert words(nest.run("bpf-calls get-map /host-bpf/own , load skb-map; rm /host-bpf/own")) == {"get-map": "OK", "load": "OK"}


@pytest.fixture(scope="module")
def plain(host):
    """A container whose policy intercepts bpf and lends nothing of it."""
    container = container_with(host, "bpfplain", policy="[Intercept]\nSystemCalls=bpf\n", profile=None)
    yield container
    container.remove()


def test_nothing_lent(plain):
    out = words(plain.run(f"bpf-calls cgroup {CGROUPS}/init.scope , load allow , load skb-constant , map array , attach 2 , detach , detach-none , query , by-id 1 , link"))
    assert out.pop("cgroup") == "OK" and set(out.values()) == {"EPERM"}, out


def test_device_programs_alone(host):
    """Libraries load a program for packets to find out about attaching: one that does nothing, and it can't be attached."""
    container = container_with(host, "bpfdevice", policy="[Intercept]\nSystemCalls=bpf\n[Bpf]\nAllowProgram=cgroup-device\n", profile=None)
    try:
        out = container.run(f"bpf-calls cgroup {CGROUPS}/init.scope , load skb-deny , load skb-constant , attach 2 1 , map array").stdout
        assert [line.split()[-1] for line in out.splitlines()] == ["OK", "EPERM", "OK", "EPERM", "EPERM"]
        entry = [e for e in host.journal("DEPUTYD_SYSCALL=bpf", "DEPUTYD_VERDICT=refused", unit=container.unit) if "PROG_LOAD" in e["DEPUTYD_ARGUMENTS"]][-1]
        assert entry["DEPUTYD_REASON"] == "program-not-lent"
    finally:
        container.stop()


def test_refusal_says_what_would_lend_it(plain, host):
    plain.run("bpf-calls load deny", check=False)
    entry = host.journal("DEPUTYD_SYSCALL=bpf", "DEPUTYD_VERDICT=refused", unit=plain.unit)[-1]
    assert entry["DEPUTYD_REASON"] == "program-not-lent"
    assert entry["DEPUTYD_HINT"] == "[Bpf] AllowProgram=cgroup-device"
    assert "PROG_LOAD cgroup_device" in entry["DEPUTYD_ARGUMENTS"]


SERVICE = """
[Service]
Type=oneshot
User=nobody
Delegate=yes
StandardOutput=truncate:/run/bpfservice.out
ExecStart=/usr/local/bin/bpf-calls load deny , cgroup /sys/fs/cgroup/system.slice/bpfservice.service , attach 2 , query , detach , attach 0 , cgroup /sys/fs/cgroup/system.slice , attach 2 , detach-none , link
"""


def test_service_with_a_named_user(host):
    """No user namespace: AllowUsers= says who may, and its cgroup is the one that was delegated to that user."""
    unit = "bpfservice.service"
    host.write(f"/etc/systemd/system/{unit}", SERVICE)

    def outcome(policy):
        host.write(f"/etc/deputyd/policy.d/{unit}.d/50-test.conf", "[Intercept]\nSystemCalls=bpf\n" + policy)
        host.systemctl("daemon-reload")
        host.run(["deputyctl", "enable", unit])
        host.systemctl("start", unit, check=False)
        return [line.split()[-1] for line in host.read("/run/bpfservice.out").splitlines() if not line.startswith(" ")]
    try:
        lent = "[Bpf]\nAllowProgram=cgroup-device\n"
        assert outcome(f"AllowUsers=nobody\n{lent}") == ["OK", "OK", "OK", "OK", "OK", "EPERM", "OK", "EPERM", "EPERM", "EPERM"]
        assert set(outcome(f"AllowUsers=daemon\n{lent}")) == {"OK", "EPERM"}
        assert outcome(f"AllowUsers=daemon\n{lent}").count("OK") == 2  # the cgroups are opened
    finally:
        host.run(["deputyctl", "disable", unit], check=False)
        host.run(f"rm -rf /etc/systemd/system/{unit} /etc/deputyd/policy.d/{unit}.d")


# -- what's the host's stays the host's ---------------------------------------------------------------------------

@pytest.fixture
def host_program(nest):
    """Attaches a program of the host's that denies all devices; calls for others to take off. Yields a function."""
    attached = []

    def attach(path, flags):
        nest.host.run(f"bpf-calls cgroup {path} , load deny , attach {flags}")
        attached.append(path)
        assert words(nest.host.run(f"bpf-calls cgroup {path} , query"))["query"] == "OK"
    yield attach
    for path in attached:
        # With flags 0 or 1 no program has to be named.
        if nest.host.run(f"bpf-calls cgroup {path} , detach-none", check=False).stdout.split()[-1] != "OK":
            detach_all(nest.host, path)


def detach_all(host, path):
    host.run(["sh", "-ec", f"""for id in $(bpftool cgroup show {path} 2>/dev/null | awk '$2 ~ /device/ {{print $1}}'); do bpftool cgroup detach {path} device id $id; done"""], check=False)


@pytest.mark.parametrize("flags", [0, 1])
def test_host_program_cannot_be_put_out_of_force(nest, cgroup, host_program, flags):
    """Where the kernel itself would let anyone take it off, or give way to one below."""
    below = f"{cgroup}/below"
    nest.run(["mkdir", "-p", below])
    try:
        host_program(host_path(nest, "/test"), flags)
        for path in (cgroup, below):
            out = words(nest.run(f"bpf-calls cgroup {path} , load allow , attach {flags} , attach 2 , detach , detach-none , link , command {9 + 0x10000} , query"))
            assert {k: out[k] for k in ("attach", "detach", "detach-none", "link", "command")} == {k: "EPERM" for k in ("attach", "detach", "detach-none", "link", "command")}
            assert nest.run(f"bpf-calls enter {path} , open /dev/zero").stdout.split()[-1] == "EPERM"
    finally:
        nest.run(["rmdir", below], check=False)


def test_host_attaches_while_the_container_detaches(nest, cgroup):
    """A container that takes off what isn't there, again and again, mustn't take off what the host attaches just then, in a
    way that lets anyone take it off."""
    path = host_path(nest, "/test")
    loop = nest.spawn(["timeout", "200", "sh", "-c", f"while [ ! -e /run/race-is-over ]; do bpf-calls cgroup {cgroup} , {'detach-none , ' * 500} sleep 0 >/dev/null; done"])
    try:
        lost = 0
        for _ in range(40):
            out = nest.host.run(f"bpf-calls cgroup {path} , load deny , attach 1 , sleep 20 , query , detach-none").stdout
            lost += "programs 1 current" not in out
        assert loop.poll() is None, "it ended too early"
        assert lost == 0
    finally:
        nest.run("touch /run/race-is-over", check=False)
        loop.communicate(timeout=60)
        nest.run("rm /run/race-is-over", check=False)


def test_host_program_beside_ours(nest, cgroup):
    """BPF_F_ALLOW_MULTI: both count. The container can't see the host's, nor name it."""
    path = host_path(nest, "/test")
    holder = nest.host.spawn(f"bpf-calls cgroup {path} , load deny , id , attach 2 , sleep 60000 , detach")
    try:
        holder.stdout.readline(), holder.stdout.readline()
        number = holder.stdout.readline().split()[1]
        assert holder.stdout.readline() == "attach 0 OK\n"
        out = nest.run(f"bpf-calls cgroup {cgroup} , load allow , attach 2 , query , query 6 1 , by-id {number} , detach-none , enter {cgroup} , open /dev/zero , detach").stdout
        assert out.count("programs 1 current") == 2
        # No more than of an id that nobody has.
        assert words(nest.run(f"bpf-calls by-id {number}")) == words(nest.run("bpf-calls by-id 0xfffffffe")) == {"by-id": "ENOENT"}
        assert [line for line in out.splitlines() if line.startswith(("by-id", "detach-none", "open"))] == ["by-id -1 ENOENT", "detach-none -1 EINVAL", "open -1 EPERM"]
    finally:
        nest.host.run(["pkill", "-x", "bpf-calls"], check=False)
        holder.communicate(timeout=10)
    nest.run(f"bpf-calls enter {cgroup} , open /dev/zero", check=False)


def test_top_of_the_container_wants_multi(nest):
    """The host may attach something there at any time."""
    out = nest.run(f"bpf-calls cgroup {CGROUPS} , load allow , attach 0 , attach 1 , attach 2 , detach").stdout
    assert [line.split()[-1] for line in out.splitlines()] == ["OK", "OK", "EPERM", "EPERM", "OK", "OK"]


def test_other_cgroups_are_out_of_reach(nest, host):
    own = host_path(nest).removeprefix(CGROUPS)
    others = ["", os.path.dirname(os.path.dirname(own)), os.path.dirname(own), os.path.dirname(own) + "/supervisor", "/init.scope"]
    for path in others:
        out = words(nest.run(f"bpf-calls cgroup /host-cgroups{path} , load deny , attach 2 , detach , detach-none , link , query", check=False))
        assert out.pop("cgroup") == "OK" and out.pop("load") == "OK" and set(out.values()) == {"EPERM"}, path
    # It isn't the path that counts.
    assert words(nest.run(f"bpf-calls cgroup /host-cgroups{own}/init.scope , load allow , attach 2 , detach"))["attach"] == "OK"


def test_sibling_container_is_out_of_reach(nest, plain, host):
    path = host_path(plain).removeprefix(CGROUPS)
    out = words(nest.run(f"bpf-calls cgroup /host-cgroups{path} , load deny , attach 2 , query"))
    assert out["attach"] == out["query"] == "EPERM"


def test_program_of_another_container(nest, host):
    other = container_with(host, "bpfother")
    try:
        holder = other.spawn("bpf-calls load deny , id , sleep 30000")
        holder.stdout.readline()
        number = holder.stdout.readline().split()[1]
        assert words(nest.run(f"bpf-calls by-id {number}"))["by-id"] == "ENOENT"
        assert words(other.run(f"bpf-calls by-id {number}"))["by-id"] == "OK"
    finally:
        # systemd-run would wait for ever for a container that's gone.
        other.run("kill $(pidof bpf-calls)", check=False)
        holder.communicate(timeout=30)
        other.stop()


def test_broken_policy_guards_all_the_same(host):
    """A target whose policy is broken is pass-through; that would give the kernel's hole to the container."""
    container = container_with(host, "bpfbroken")
    try:
        path = host_path(container, "/init.scope")
        host.run(f"bpf-calls cgroup {path} , load allow , attach 1")
        container.policy("[Bpf\n", name="90-broken.conf")
        host.run(["deputyctl", "reload"])
        out = words(container.run(f"bpf-calls cgroup {CGROUPS}/init.scope , load deny , detach-none , attach 1 , link"))
        assert out == {"cgroup": "OK", "load": "EPERM", "detach-none": "EPERM", "attach": "EPERM", "link": "EPERM"}
        assert host.run(f"bpf-calls cgroup {path} , detach-none").stdout.split()[-1] == "OK"
    finally:
        container.stop()


def test_timeout_guards_all_the_same(host):
    """Attributes that never come: deputyd answers by itself after a while, and doesn't leave it to the kernel."""
    setting = Path("/proc/sys/vm/unprivileged_userfaultfd")
    if not setting.exists():
        pytest.skip("the kernel has no userfaultfd")
    container = container_with(host, "bpfhang", policy="[Intercept]\nCallTimeoutSec=1s\n")
    before = setting.read_text()
    setting.write_text("1")
    try:
        out = container.run("bpf-calls hang 9 & bpf-calls hang 8; wait", timeout=60).stdout.splitlines()
        assert sorted(out) == ["calling", "calling", "hang -1 EPERM", "hang -1 EPERM"]
    finally:
        setting.write_text(before)
        container.stop()


# -- races --------------------------------------------------------------------------------------------------------

def race(container, command, timeout=120):
    """(what was counted, ids of some of the programs that were loaded)"""
    process = container.spawn(f"bpf-calls {command} , sleep 3000", timeout=timeout)
    counted, ids = {}, []
    for line in process.stdout:
        word, number = line.split()[0], line.split()[-1]
        ids += [number] if word == "id" else []
        if word not in ("id", "cgroup", "load"):
            counted[word] = int(number)
        if "bad" in counted and sum(v for k, v in counted.items() if k != "bad") >= int(command.split()[-1]):
            break
    # While they're held.
    calls = container.host.run(["bpf-calls", "has-call", *ids]).stdout if ids else ""
    process.communicate(timeout=30)
    return counted, calls


def test_attributes_that_change(nest):
    counted, _ = race(nest, "race-attr 2000")
    assert counted["bad"] == 0 and counted["OK"] > 0 and counted.get("EPERM", 0) > 0, counted


def test_instructions_that_change(nest):
    """What's loaded is what was checked: no program with a call gets through, however it's timed."""
    counted, calls = race(nest, "race-instructions 2000")
    assert counted["bad"] == 0 and counted["OK"] > 0 and counted.get("EPERM", 0) > 0, counted
    assert calls and "call of 7" not in calls.replace("no-call", ""), calls


def test_descriptor_that_changes(nest, cgroup):
    counted, _ = race(nest, f"cgroup {cgroup} , load allow , race-fd 2000")
    assert counted["bad"] == 0 and set(counted) <= {"OK", "bad", "EINVAL", "EBADF"}, counted


def test_descriptors_that_would_hold_a_supervisor_for_ever(host):
    """A file whose closing waits for its FUSE server, together with the device by which that server lives: no supervisor
    may hold the one while it closes the other, or nothing but a reboot ends it."""
    container = container_with(host, "bpfflush", policy="[Intercept]\nCallTimeoutSec=2s\n")
    try:
        host.systemctl("set-property", "--runtime", container.unit, "DeviceAllow=/dev/fuse rwm")
        container.run("mkdir -p /mnt/f; test -e /dev/fuse || mknod /dev/fuse c 10 229")
        process = container.spawn("fuse-hang flush /mnt/f --call")
        assert process.stdout.readline() == "calling\n"
        time.sleep(4)  # deputyd has given up on the call
        assert container.run("kill -9 $(pidof fuse-hang)").ok
        time.sleep(2)
        left = host.run("for p in $(pgrep -x deputy-supervis); do grep -H '^State:.D' /proc/$p/status; done", check=False).stdout
        assert left == ""
    finally:
        container.stop()


# -- limits, and deaths -------------------------------------------------------------------------------------------

def test_limits(host):
    container = container_with(host, "bpflimit", policy="[Bpf]\nMaxPrograms=60\nMaxMaps=4\n")
    try:
        def filled():
            return container.run("bpf-calls fill 70 allow").stdout.split()
        number, error = filled()[1:]
        assert error == "EMFILE" and 10 < int(number) <= 60
        # What's closed makes room.
        host.wait_for(lambda: filled()[1:] == [number, "EMFILE"], 10, "the programs to go")
        maps = [line.split()[-1] for line in container.run("bpf-calls map array , map array , map lpm , map lpm6 , map array , map array").stdout.splitlines()]
        assert maps.count("EMFILE") >= 2 and maps[-1] == "EMFILE" and maps[0] == "OK"
    finally:
        container.stop()


def test_maps_are_known_by_a_secret(host):
    """Who makes maps with a token names them: by what it can know it mustn't use up another's number."""
    container = container_with(host, "bpfname")

    def name():
        made = [line.split() for line in container.run("bpf-calls map array , map-name").stdout.splitlines()]
        assert made[0][-1] == "OK" and len(made[1][1]) == 15, made
        return made[1][1]
    try:
        first = name()
        assert first.startswith("deputyd")
        host.run(["pkill", "-9", "-x", "deputy-supervis"], check=False)
        host.systemctl("restart", "deputyd.service")
        assert name() == first, "its maps aren't known any more"
        container.stop()
        container.start()
        assert name() != first, "the name follows from what's the same in both"
    finally:
        container.stop()


def supervisors(host):
    return host.run(["pgrep", "-x", "deputy-supervis"], check=False).stdout.split()


def test_supervisor_dies_between_descriptor_and_answer(host):
    """Its successor finds the descriptor that was given, and doesn't give another."""
    container = container_with(host, "bpfdeath")
    tracer = process = None
    try:
        container.run("bpf-calls load allow")
        target = host.target(container.unit)["id"]
        pid = host.run(["pgrep", "-f", f"deputy-supervisor.*--target={target}"]).stdout.split()[0]
        # Right after it has given the descriptor it closes its own: there it's stopped, and killed once nobody traces it.
        tracer = host.spawn(["strace", "-o", "/tmp/trace", "-p", pid, "-e", "trace=ioctl,close", "-e", "inject=close:signal=STOP:when=1"])
        assert "attached" in tracer.stderr.readline()
        process = container.spawn("bpf-calls storm 1")
        host.wait_for(lambda: "SIGSTOP" in host.read("/tmp/trace"), 10, "the supervisor to stop")
        host.run(["pkill", "-INT", "-x", "strace"])
        tracer.communicate(timeout=10)
        host.run(["kill", "-9", pid])
        assert process.communicate(timeout=30)[0] == "failed 0 wrong 0 leaked 0\n"
        trace = host.read("/tmp/trace").splitlines()
        assert len([line for line in trace if "ADDFD" in line or "0xc0182103" in line.lower()]) == 1, trace
        assert not [line for line in trace if "NOTIF_SEND" in line], trace
    finally:
        for p in (tracer, process):
            if p and p.poll() is None:
                p.kill()
                p.wait()
        container.stop()


@pytest.mark.parametrize("command", ["attach 2", "detach", "freeze"])
def test_supervisor_dies_between_attaching_and_answer(host, command):
    """Its successor sees that it's done: attaching once more would be EINVAL, detaching ENOENT, freezing a map EBUSY."""
    container = container_with(host, "bpfdeath2")
    tracer = process = None
    prepare = f"cgroup {CGROUPS}/init.scope , map value , load allow" + (" , attach 2" if command == "detach" else "")

    def trace(*options):
        return host.spawn(["strace", "-o", "/tmp/trace", "-p", pid, "-e", "trace=ioctl,bpf", *options])
    try:
        container.run(f"bpf-calls {prepare}")
        target = host.target(container.unit)["id"]
        pid = host.run(["pgrep", "-f", f"deputy-supervisor.*--target={target}"]).stdout.split()[0]
        # How many calls of bpf it takes, from the first to the one that acts.
        tracer = trace()
        assert "attached" in tracer.stderr.readline()
        container.run(f"bpf-calls {prepare} , {command}")
        host.run(["pkill", "-INT", "-x", "strace"])
        tracer.communicate(timeout=10)
        calls = [line.split("(")[1].split(",")[0] for line in host.read("/tmp/trace").splitlines() if line.startswith("bpf(")]
        acting = {"attach": "BPF_PROG_ATTACH", "detach": "BPF_PROG_DETACH", "freeze": "BPF_MAP_FREEZE"}[command.split()[0]]
        number = len(calls) - calls[::-1].index(acting)
        tracer = trace("-e", f"inject=bpf:signal=STOP:when={number}")
        assert "attached" in tracer.stderr.readline()
        process = container.spawn(f"bpf-calls {prepare} , {command} , query , detach")
        host.wait_for(lambda: "SIGSTOP" in host.read("/tmp/trace"), 10, "the supervisor to stop")
        assert [line for line in host.read("/tmp/trace").splitlines() if line.startswith("bpf(")][-1].startswith(f"bpf({acting}")
        host.run(["pkill", "-INT", "-x", "strace"])
        tracer.communicate(timeout=10)
        host.run(["kill", "-9", pid])
        out = process.communicate(timeout=30)[0].splitlines()
        assert out[-4:-2] == [f"{command.split()[0]} 0 OK", "query 0 OK"], out
        assert ("current" in out[-2]) == command.startswith("attach"), out
    finally:
        for p in (tracer, process):
            if p and p.poll() is None:
                p.kill()
                p.wait()
        container.stop()


def test_supervisors_die_all_the_time(nest):
    process = nest.spawn("bpf-calls storm 2000", timeout=120)
    end = time.monotonic() + 6
    while time.monotonic() < end and process.poll() is None:
        nest.host.run(["pkill", "-9", "-x", "deputy-supervis"], check=False)
        time.sleep(0.1)
    out, _ = process.communicate(timeout=100)
    assert out == "failed 0 wrong 0 leaked 0\n"


def test_supervisor_keeps_nothing(nest, cgroup):
    def descriptors():
        return sum(int(nest.host.run(f"ls /proc/{p}/fd | wc -l", check=False).stdout or 0) for p in supervisors(nest.host))
    work = f"bpf-calls storm 200; bpf-calls cgroup {cgroup} , load deny , attach 2 , keep , load allow , replace 2 , query , by-id , detach , link , map array , load skb-map"
    for _ in range(20):
        nest.run(work)  # Entries of the threads that asked lately are kept, up to a limit.
    before = descriptors()
    for _ in range(10):
        nest.run(work)
    assert descriptors() <= before + 4
