# SPDX-License-Identifier: LGPL-2.1-or-later
"""bpf: tokens, and the file system that they're made of."""

import pathlib
import re
import shutil
import struct
import subprocess
import time

import pytest

import machine

SUPPORTED = "Token=delegate_cmds=prog_load:map_create delegate_maps=array:hash delegate_progs=cgroup_device:sched_cls\n" \
            "Token=delegate_attachs=cgroup_device:cgroup_inet_ingress\n"
POLICY = """
[Intercept]
SystemCalls={calls}
LogRateLimitBurst=0
[Mount]
{mount}
[Bpf]
AllowProgram={programs}
{token}
"""
CGROUPS = "/sys/fs/cgroup"
TRIXIE_PACKAGES = ("bpftool", "dbus", "iproute2", "iputils-ping", "mount", "systemd", "systemd-sysv", "util-linux")
ALL = {
    "delegate_cmds": "map_create prog_load btf_load",
    "delegate_maps": "hash array percpu_hash percpu_array lru_hash lru_percpu_hash lpm_trie xskmap reuseport_sockarray queue stack "
                     "ringbuf",
    "delegate_progs": "socket_filter sched_cls sched_act xdp lwt_in lwt_out lwt_xmit cgroup_device lwt_seg6local sk_reuseport",
    "delegate_attachs": "cgroup_inet_ingress cgroup_device xdp sk_reuseport_select sk_reuseport_select_or_migrate",
}


def words(result):
    return {line.split()[0]: line.split()[-1] for line in result.stdout.splitlines() if not line.startswith(" ")}


def policy(token=SUPPORTED, mount="", calls="bpf mount", programs="cgroup-device"):
    return POLICY.format(token=token, mount=mount, calls=calls, programs=programs)


class Lent:
    def __init__(self, host):
        self.host = host
        self.container = host.container("token", settings="[Network]\nPrivate=yes\n")  # with CAP_NET_ADMIN, that is
        self.policy()
        self.container.enable()
        self.container.start()
        self.container.run("mkdir -p /srv/bpf /srv/other")

    def policy(self, **kwargs):
        self.container.policy(policy(**kwargs))

    def change_policy(self, **kwargs):
        self.policy(**kwargs)
        self.host.run(["deputyctl", "reload"])

    def run(self, argv, **kwargs):
        kwargs.setdefault("check", False)
        return self.container.run(argv, **kwargs)

    def explained(self, line):
        """Waits until the journal has it, and returns all that deputyctl says."""
        def explain():
            return self.host.run(["deputyctl", "explain", self.container.unit], check=False).stdout
        try:
            return self.host.wait_for(lambda: line in explain() and explain(), 10, line)
        except AssertionError as e:
            raise AssertionError(f"{line} isn't in what deputyctl explain says:\n{explain()}") from e

    def options(self, where="/srv/bpf"):
        """{"delegate_cmds": {…}, …} of the mount that's there."""
        line = [line for line in self.run("cat /proc/self/mountinfo").stdout.splitlines() if line.split()[4] == where][-1]
        assert " - bpf " in line, line
        found = dict(o.split("=", 1) for o in line.split()[-1].split(",") if o.startswith("delegate_"))
        return {key: set(value.split(":")) for key, value in found.items()}


@pytest.fixture(scope="module")
def lent(host):
    made = Lent(host)
    # A kernel that knows the command says that / is no bpf file system, as one that doesn't: but the first looks for a descriptor.
    if host.run("bpf-calls token /nowhere", check=False).stdout.split()[-1] != "EBADF":
        pytest.skip("this kernel knows no BPF tokens")
    yield made
    made.container.remove()


@pytest.fixture(autouse=True)
def unmounted(lent):
    """All tests begin with the first policy and leave no mount."""
    lent.change_policy()
    yield
    lent.run("for d in /srv/bpf /srv/other /sys/fs/bpf; do while mountpoint -q $d; do umount $d; done; done; rm -f /srv/bpf-link")


@pytest.fixture
def cgroup(lent):
    path = f"{CGROUPS}/test"
    lent.run(["mkdir", "-p", path])
    yield path
    lent.run(f"echo 1 >{path}/cgroup.kill; sleep 0.2; rmdir {path}")


# -- what it's for ------------------------------------------------------------------------------------------------


def test_program_loads_with_a_token(lent, cgroup):
    """It's loaded by us, and counts as the container's own. The token itself is good for maps and nothing else in the kernel."""
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    out = lent.run(f"bpf-calls token /srv/bpf , load deny , cgroup {cgroup} , attach 2 , enter {cgroup} , open /dev/zero , detach , map array , map hash")
    assert words(out) == {"token": "OK", "load": "OK", "cgroup": "OK", "attach": "OK", "enter": "OK", "open": "EPERM", "detach": "OK", "map": "OK"}


def test_only_what_is_delegated(lent):
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    assert lent.options() == {
        "delegate_cmds": {"map_create"}, "delegate_maps": {"array", "hash"},
        "delegate_progs": {"cgroup_device", "sched_cls"}, "delegate_attachs": {"cgroup_device", "cgroup_inet_ingress"}}
    for kind in ("socket", "kprobe", "skb-allow", "skb-constant"):
        assert words(lent.run(f"bpf-calls token /srv/bpf , load {kind}"))["load"] == "EPERM", kind
    assert words(lent.run("bpf-calls token /srv/bpf , map lpm"))["map"] == "EPERM"


def test_the_caller_says_what_it_wants(lent):
    lent.run("mount -t bpf -o delegate_cmds=prog_load,delegate_progs=cgroup_device bpf /srv/bpf", check=True)
    assert lent.options() == {"delegate_progs": {"cgroup_device"}}
    assert words(lent.run("bpf-calls token /srv/bpf , load allow"))["load"] == "EPERM", "no type of attachment was asked for"
    lent.run("mount -t bpf -o delegate_cmds=0x20,delegate_cmds=map_create,mode=0711,uid=5,gid=6 bpf /srv/other", check=True)
    assert lent.options("/srv/other") == {"delegate_cmds": {"map_create"}}
    assert lent.run("stat -c '%a %u %g' /srv/other").stdout == "1711 5 6\n"
    lent.run("umount /srv/other; mount -t bpf -o delegate_cmds=map_create,delegate_progs=cgroup_device,delegate_attachs=cgroup_device bpf /srv/other",
             check=True)
    assert lent.options("/srv/other") == {"delegate_cmds": {"map_create"}}, "nothing is to be loaded"
    assert words(lent.run("bpf-calls token /srv/other , load allow"))["load"] == "EPERM"


@pytest.mark.parametrize("option", [
    "delegate_cmds=any", "delegate_cmds=btf_load", "delegate_progs=kprobe", "delegate_progs=cgroup_device:xdp", "delegate_progs=0xffffffff",
    "delegate_attachs=trace_fentry", "delegate_maps=task_storage", "delegate_cmds=nonsense", "delegate_cmds", "delegate_cmds=",
    "delegate_cmds=prog_load:", "delegate_cmds=-1", "unknown=1"])
def test_no_more_than_lent(lent, option):
    assert not lent.run(f"mount -t bpf -o {option} bpf /srv/bpf").ok
    out = lent.run(f"fsapi open:bpf {'str' if '=' in option else 'flag'}:{option} create").stdout
    # The kernel ignores options that it doesn't know; what isn't lent fails where it's set.
    assert out.splitlines()[1].split()[-1] in ("EPERM", "EINVAL") or (option, out.splitlines()[-1]) == ("unknown=1", "create EPERM"), out
    assert "bpf /srv/bpf" not in lent.run("cat /proc/self/mounts").stdout


def test_all_names_are_the_kernels(lent):
    """Each is given by name to us, as a number to the kernel, and by name by the kernel: but for loading, which the kernel doesn't get."""
    lent.change_policy(token="\n".join(f"Token={key}={names.replace(' ', ':')}" for key, names in ALL.items()))
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    found = lent.options()
    for key, names in ALL.items():
        unknown = {name for name in found[key] if name.startswith("0x")}  # Of a kernel that's older than the table.
        wanted = set(names.split()) - {"prog_load"}
        assert found[key] - unknown <= wanted, key
        assert len(found[key]) == len(wanted) or unknown, key


def test_new_mount_interface(lent):
    out = lent.run("fsapi open:bpf str:delegate_cmds=prog_load str:delegate_progs=cgroup_device str:mode=0700 create mount move:/srv/bpf").stdout
    assert [line.split()[-1] for line in out.splitlines()] == ["OK"] * 7, out
    lent.run("fsapi open:bpf create mount setattr:0x8,0 move:/srv/other", check=True)
    assert lent.options("/srv/other")["delegate_progs"] == {"cgroup_device", "sched_cls"}
    assert words(lent.run("bpf-calls token /srv/other , load allow"))["load"] == "OK"


def test_fsapi_descriptor_serves_for_a_token(lent):
    """libbpf and others needn't attach the mount: its root directory is what fsmount() gives."""
    out = lent.run("fsapi open:bpf create mount statfs:/proc/self/fd/4").stdout
    assert "mount OK" in out


def test_nothing_is_delegated_if_that_is_asked_for(lent):
    lent.run("mount -t bpf -o delegate_cmds=0 bpf /srv/bpf", check=True)
    assert lent.options() == {}
    assert words(lent.run("bpf-calls token /srv/bpf"))["token"] == "ENOENT"


def test_the_container_changes_the_mount_as_it_likes(lent):
    """It's its own superblock: nothing of it is locked."""
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    lent.run("mount -o remount,bind,noatime,exec /srv/bpf", check=True)
    lent.run("mkdir /srv/bpf/d; umount /srv/bpf", check=True)


def test_unmounting_ends_nothing_that_was_given(lent):
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    out = lent.run("sh -c 'bpf-calls token /srv/bpf , sleep 1500 , load allow & sleep 0.5; umount /srv/bpf; wait'")
    assert words(out)["load"] == "OK"


# -- what it isn't for --------------------------------------------------------------------------------------------


def test_without_the_key_there_is_none(lent):
    lent.change_policy(token="")
    assert not lent.run("mount -t bpf bpf /srv/bpf").ok
    assert lent.run("fsapi open:bpf create").stdout.splitlines()[-1] == "create EPERM"
    lent.change_policy(token="", mount="AllowType=bpf\nAllowSource=none\nAllowOptions=*")
    assert not lent.run("mount -t bpf -o delegate_cmds=any bpf /srv/bpf").ok
    lent.change_policy(mount="AllowOptions=*")
    assert not lent.run("mount -t bpf -o delegate_cmds=any bpf /srv/bpf").ok


def test_denied_options_are_not_delegated_unasked(lent):
    lent.change_policy(mount="DenyOptions=delegate_progs=*")
    assert not lent.run("mount -t bpf -o delegate_progs=sched_cls bpf /srv/bpf").ok
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    assert set(lent.options()) == {"delegate_cmds", "delegate_maps", "delegate_attachs"}


def test_programs_are_attached_by_us_only(lent):
    """The kernel attaches to any cgroup, whoever asks. So nothing can be loaded where bpf(2) isn't intercepted."""
    cgroup = f"{CGROUPS}/test"
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    assert words(lent.run(f"mkdir {cgroup}; bpf-calls token /srv/bpf , load deny , cgroup {cgroup} , attach 2 1; rmdir {cgroup}"))["attach"] == "EPERM"
    lent.run("umount /srv/bpf", check=True)
    lent.change_policy(calls="mount")
    assert not lent.run("mount -t bpf bpf /srv/bpf").ok
    assert lent.run("fsapi open:bpf create").stdout.splitlines()[-1] == "create EPERM"


def test_filter_that_is_older_than_the_policy(host):
    """A container whose filter doesn't intercept bpf(2) gets no token, whatever the policy says by now."""
    container = host.container("tokenlate")
    try:
        container.policy(policy(mount="AllowType=tmpfs\nAllowSource=none", calls="mount"))
        container.enable()
        container.start()
        container.run("mkdir -p /srv/bpf")
        container.policy(policy(mount="AllowType=tmpfs\nAllowSource=none"))
        host.run(["deputyctl", "reload"])
        container.run("mount -t tmpfs none /srv/bpf; umount /srv/bpf")
        assert not container.run("mount -t bpf bpf /srv/bpf", check=False).ok
        container.stop()
        container.start()
        container.run("mount -t bpf bpf /srv/bpf")
    finally:
        container.remove()


def test_who_may_not(lent):
    assert not lent.run("mount -t bpf bpf /srv/bpf", uid=1000).ok
    assert lent.run("fsapi --uid=1000 open:bpf create").stdout.splitlines()[-1] != "create OK"
    assert lent.run("fsapi --drop open:bpf create").stdout.splitlines()[-1] != "create OK"
    assert lent.run("fsapi --userns open:bpf create").stdout.splitlines()[-1] == "create EPERM"
    assert not lent.run("unshare -Urm mount -t bpf bpf /srv/bpf").ok
    # Opened with the capability, created without it, and the other way round by a child in another user namespace.
    assert lent.run("fsapi open:bpf drop create").stdout.splitlines()[-1] == "create EPERM"
    assert lent.run("fsapi open:bpf inuserns:create").stdout.splitlines()[-1] == "create EPERM"


def test_tokens_are_the_containers_alone(lent):
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    assert words(lent.run("bpf-calls --userns token /srv/bpf"))["token"] in ("EPERM", "EACCES")
    assert words(lent.run("bpf-calls token /srv/bpf", uid=1000))["token"] in ("EPERM", "EACCES", "EBADF")
    assert words(lent.run("bpf-calls --drop=bpf token /srv/bpf"))["token"] == "EPERM"
    leader = lent.container.leader()
    assert words(lent.host.run(f"bpf-calls token /proc/{leader}/root/srv/bpf", check=False))["token"] != "OK"


def test_context_cannot_be_exchanged(lent):
    """A context of another type in place of the known one isn't created with our capabilities."""
    assert lent.run("fsapi open:bpf forge:ext4 create").stdout.splitlines()[-1] == "create EPERM"


def test_target_must_be_lent(lent):
    lent.change_policy(mount="AllowTarget=/srv/other")
    assert not lent.run("mount -t bpf bpf /srv/bpf").ok
    assert lent.run("mount -t bpf bpf /srv/other").ok


def test_refusal_says_what_would_lend_it(lent):
    lent.run("mount -t bpf -o delegate_progs=xdp bpf /srv/bpf")
    lent.explained("[Bpf] Token=delegate_progs=xdp\n")
    # An option of that name has no such meaning elsewhere. (The newer calls ask the file system itself what it knows.)
    lent.change_policy(mount="AllowType=tmpfs\nAllowSource=none")
    lent.run(["calls", "mount", "none", "/srv/other", "tmpfs", "0", "delegate_maps=hash"])
    assert "Token=delegate_maps" not in lent.explained("[Mount] AllowOptions=delegate_maps=*\n")


def test_what_the_kernel_judges_is_no_refusal(lent):
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    before = lent.host.counters(lent.container.unit).get("bpf", {})
    lent.run("bpf-calls token /srv/bpf , load allow , load socket , map array")
    after = lent.host.counters(lent.container.unit)["bpf"]
    assert {key: after[key] - before.get(key, 0) for key in ("refused", "emulated", "continued")} == {"refused": 0, "emulated": 1, "continued": 2}


def test_nobody_loads_but_us(lent):
    """Not even who has the token and all capabilities in its user namespace, and whose bpf(2) isn't intercepted."""
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    enter = f"nsenter --target {lent.container.leader()} --user --mount --net --setuid=0 --setgid=0 -- bpf-calls token /srv/bpf"
    for kind in ("allow", "cls"):
        assert words(lent.run(f"bpf-calls token /srv/bpf , load {kind}"))["load"] == "OK"
        out = lent.host.run(f"{enter} , map array , load {kind}")
        assert words(out) == {"token": "OK", "map": "OK", "load": "EPERM"}, out


def test_nothing_of_the_kernels_memory(lent):
    """CAP_PERFMON isn't lent, though CAP_SYS_ADMIN in the token's user namespace would count as that: no pointer leaves the program, and no stack or
    packet is read beyond what's there."""
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    for kind in ("cls-pointer", "cls-pointer-in-map", "cls-pointer-compared", "cls-stack", "cls-packet"):
        assert words(lent.run(f"bpf-calls token /srv/bpf , map array , load {kind}"))["load"] in ("EACCES", "EINVAL"), kind
    assert "tells no addresses" in lent.run("bpf-calls token /srv/bpf , map array , load-log cls-map").stdout
    assert words(lent.run("bpf-calls token /srv/bpf , load read-kernel"))["load"] == "EPERM"


LENT = ("cls-context", "cls-time", "cls-map", "cls-value", "cls-by-index")
NOT_LENT = ("function", "kernel-function", "kernel-variable", "callback", "callback-unused", "may-goto", "jump-to-register", "call-register", "other-memory",
            "unknown", "half", "read-kernel", "signal", "task", "process", "print", "format", "socket-of-others", "to-peer", "timer",
            "set-result", "tail-call", "clone", "socket", "socket-of-packet", "cookie", "helper-of-tomorrow", "helper-none")


def test_which_instructions_are_lent(lent):
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    for kind in LENT:
        out = lent.run(f"bpf-calls token /srv/bpf , map global , value-map , map hash , load {kind}")
        assert words(out)["load"] == "OK", (kind, out)
    # A map whose value has no address of its own: an error of the kernel's that has no name.
    assert words(lent.run("bpf-calls token /srv/bpf , map array , value-map , load cls-value"))["load"] == "?"
    # Descriptors that are none, or something else.
    assert words(lent.run("bpf-calls token /srv/bpf , load cls-map"))["load"] == "EBADF"
    assert words(lent.run("bpf-calls token /srv/bpf , map array , load cls-by-index"))["load"] == "EBADF"
    assert words(lent.run("bpf-calls token /srv/bpf , load cls-endless"))["load"] in ("EINVAL", "E2BIG")


@pytest.mark.parametrize("options", ["bpf-calls-32", "bpf-calls --thread", "bpf-calls-32 --thread"])
def test_callers_of_other_kinds(lent, options):
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    out = lent.run(f"{options} token /srv/bpf , map global , value-map , map hash , load cls-by-index , load cls-signal")
    assert [line.split()[-1] for line in out.stdout.splitlines()] == ["OK"] * 4 + ["EPERM"], out


def test_supervisors_die_all_the_time(lent, host):
    """No load is lost, none is made twice."""
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    process = lent.container.spawn("bpf-calls token /srv/bpf , storm 10000", timeout=120)
    kills, end = 0, time.monotonic() + 6
    while time.monotonic() < end and process.poll() is None:
        kills += host.run(["pkill", "-9", "-x", "deputy-supervis"], check=False).ok
        time.sleep(0.1)
    assert process.communicate(timeout=100)[0] == "token 0 OK\nfailed 0 wrong 0 leaked 0\n"
    assert kills > 0


def test_verifier_works_for_a_target_once_at_a_time(lent, host):
    """It's our processor time, whatever the container's CPUQuota= is. Other calls of the container go on."""
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    callers = [lent.container.spawn("bpf-calls token /srv/bpf , load-long") for _ in range(3)]
    seen = set()
    try:
        while any(p.poll() is None for p in callers):
            locks = [line.split() for line in host.read("/proc/locks").splitlines() if "POSIX" in line]
            ours = [line for line in locks if host.run(["cat", f"/proc/{line[line.index('POSIX') + 3]}/comm"], check=False).stdout == "deputy-supervis\n"]
            waiting = sum("->" in line for line in ours)
            assert len(ours) - waiting <= 1, ours
            seen.add(waiting)
            assert words(lent.run("bpf-calls load deny"))["load"] == "OK"
        assert max(seen) >= 1, "none had to wait"
    finally:
        outputs = [p.communicate(timeout=60)[0].splitlines()[-1] for p in callers]
    assert "load-long -1 E2BIG" in outputs and set(outputs) <= {"load-long -1 E2BIG", "load-long -1 EPERM"}  # which is what CallTimeoutSec= makes of it
    # Who's killed takes the lock along.
    caller = lent.container.spawn("bpf-calls token /srv/bpf , load-long")
    time.sleep(1)
    host.run(["pkill", "-9", "-x", "deputy-supervis"], check=False)
    assert words(lent.run("bpf-calls token /srv/bpf , load cls"))["load"] == "OK"
    caller.communicate(timeout=60)


def test_name_alone_makes_no_map_ours(lent):
    """A container can read what its own maps are called. What has that name without being of a kind that we make isn't loaded."""
    lent.change_policy(programs="cgroup-device cgroup-skb")
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    name = words(lent.run("bpf-calls map array , map-name"))["map-name"]
    for kind, called, outcome in ("array", name, "OK"), ("array", "other", "EPERM"), ("wide", name, "EPERM"), ("hash", name, "EPERM"), ("write-only", name, "EPERM"):
        out = words(lent.run(f"bpf-calls token /srv/bpf , map {kind} {called} , no-token , load skb-map"))
        assert out == {"token": "OK", "map": "OK", "load": outcome}, (kind, called)


def test_which_maps_are_lent(lent):
    """They're made natively, as large as the token's owner likes: what a program may have to copy in one call is bounded."""
    lent.change_policy(token="Token=delegate_cmds=prog_load:map_create delegate_maps=hash:array:lpm_trie:ringbuf delegate_progs=sched_cls\n"
                             "Token=delegate_attachs=cgroup_inet_ingress")
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    for kind, error in (("hash", "OK"), ("lpm", "OK"), ("ring", "OK"), ("ring-large", "EPERM"), ("huge", "EPERM"), ("hash-long-key", "EPERM"), ("lpm-long-key", "EPERM"),
                        # The kernel lets a program write to what its loader may only read.
                        ("read-only", "EPERM"), ("write-only-descriptor", "EPERM")):
        out = words(lent.run(f"bpf-calls token /srv/bpf , map {kind} , load cls-map-only"))
        assert (out["map"], out["load"]) == ("OK", error), kind
    for kind in ("programs", "maps", "storage"):
        assert words(lent.run(f"bpf-calls token /srv/bpf , map {kind}"))["map"] in ("EPERM", "EINVAL"), kind


def test_which_instructions_are_not(lent):
    """Of those the verifier hears nothing."""
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    before = lent.host.counters(lent.container.unit)["bpf"]
    out = lent.run("bpf-calls token /srv/bpf , " + " , ".join(f"load cls-{kind}" for kind in NOT_LENT))
    assert [line for line in out.stdout.splitlines()] == ["token 0 OK"] + ["load -1 EPERM"] * len(NOT_LENT)
    after = lent.host.counters(lent.container.unit)["bpf"]
    assert after["refused"] - before["refused"] == len(NOT_LENT) and after["emulated"] == before["emulated"]
    entry = lent.host.journal("DEPUTYD_SYSCALL=bpf", "DEPUTYD_VERDICT=refused", f"DEPUTYD_UNIT={lent.container.unit}")[-1]
    assert re.fullmatch(r"PROG_LOAD sched_cls \(3\), \d instructions, number \d isn't lent", entry["DEPUTYD_ARGUMENTS"]), entry


def test_odd_loads(lent):
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    found = words(lent.run("bpf-calls token /srv/bpf , odd-with-token", check=True))
    for name, error in found.items():
        if name.startswith("flag-"):
            wanted = {"OK"} if name in ("flag-0", "flag-1", "flag-5", "flag-16") else {"EPERM", "EINVAL"}  # which the kernel knows or doesn't
        elif name.startswith("refused-"):
            wanted = {"EPERM"}
        elif name.startswith("ignored-"):
            wanted = {"OK"}
        else:
            wanted = {"token": {"OK"}, "instructions-4095": {"OK"}, "instructions-4096": {"OK"}, "instructions-4097": {"EPERM"},
                      "instructions-0": {"E2BIG"}, "instructions-1000001": {"E2BIG"}, "instructions-none": {"EFAULT"},
                      "token-none": {"EBADF"}, "token-other": {"EINVAL"}, "type-1000": {"EPERM", "EINVAL"}, "type-63": {"EPERM", "EINVAL"},
                      "attach-type-64": {"EPERM", "EINVAL"}, "attach-type-4294967295": {"EPERM", "EINVAL"}, "license-none": {"EFAULT"},
                      "name-bad": {"EINVAL"}, "maps-64": {"OK"}, "maps-65": {"E2BIG"}}[name]
        assert error in wanted, (name, error)
    assert len(found) == 52


def test_policy_that_changes_counts_at_once(lent):
    """What a token was good for when the file system was mounted isn't what's lent now."""
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    lent.change_policy(token="Token=delegate_cmds=prog_load delegate_progs=cgroup_device delegate_attachs=cgroup_device:cgroup_inet_ingress")
    assert words(lent.run("bpf-calls token /srv/bpf , load allow"))["load"] == "OK"
    assert words(lent.run("bpf-calls token /srv/bpf , load cls"))["load"] == "EPERM"
    lent.explained("[Bpf] Token=delegate_progs=sched_cls\n")
    lent.change_policy(token="")
    assert words(lent.run("bpf-calls token /srv/bpf , load allow"))["load"] == "EPERM"


def test_who_may_not_load(lent):
    lent.run("mount -t bpf bpf /srv/bpf; chmod 755 /srv/bpf", check=True)
    for kind, drop, error in (("cls", "bpf,sys_admin", "EPERM"), ("cls", "net_admin,sys_admin", "EPERM"), ("cls", "bpf,net_admin", "OK"),
                              ("cls", "sys_admin", "OK"), ("allow", "sys_admin,perfmon", "OK")):
        # The token is made with all capabilities, and what's dropped is dropped then.
        out = lent.run(f"bpf-calls token /srv/bpf , drop {drop} , load {kind}")
        assert words(out)["load"] == error, (kind, drop, out)


def kernel_functions(*names):
    """The numbers of these functions in the kernel's type information (see linux/btf.h), or None."""
    extra = {1: 4, 3: 12, 14: 4, 17: 4}  # what follows a type, by its kind, beside what follows for each member
    member = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}
    try:
        data = pathlib.Path("/sys/kernel/btf/vmlinux").read_bytes()
    except FileNotFoundError:
        return None
    header, types, _, strings, _ = struct.unpack_from("<4xIIIII", data)
    at, end, found, number = header + types, header + strings, {}, 1
    while at < end:
        name, info, _ = struct.unpack_from("<III", data, at)
        kind = info >> 24 & 31
        if kind == 12:
            start = header + strings + name
            found[data[start:data.index(b"\0", start)].decode()] = number
        at += 12 + extra.get(kind, 0) + member.get(kind, 0) * (info & 0xffff)
        number += 1
    return [found[name] for name in names] if set(names) <= set(found) else None


def test_functions_of_the_kernel(lent, host):
    """By some of them (6.13) a program ends any process of the host, and takes no capability but those for loading."""
    functions = kernel_functions("bpf_task_from_pid", "bpf_send_signal_task", "bpf_task_release")
    if not functions:
        pytest.skip("this kernel has no such functions")
    lent.change_policy(token="Token=delegate_cmds=prog_load delegate_progs=sched_cls delegate_attachs=cgroup_inet_ingress")
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    victim = subprocess.Popen(["sleep", "300"])
    command = f"kill {victim.pid} {' '.join(map(str, functions))}"
    try:
        for options in ("", "--drop=sys_admin,perfmon"):
            assert words(lent.run(f"bpf-calls {options} token /srv/bpf , {command}")) == {"token": "OK", "load": "EPERM"}
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


def test_race_on_the_options(lent):
    """Options change from what's lent to what isn't while they're read: never is there more than what's lent."""
    lent.run("mkdir -p /srv/race/mnt")
    out = lent.run("cd /srv/race; race bpf-options 3000 delegate_maps=array delegate_maps=stack", timeout=200).stdout
    counted = {word: int(n) for word, n in (line.split() for line in out.splitlines())}
    assert "BAD" not in counted and counted["OK"] > 0 and sum(counted.values()) == 3000, counted


# -- whole programs -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trixie(host, lent):
    """A booted Debian 13: its libbpf makes tokens by itself."""
    try:
        tarball = machine.debian_tarball(TRIXIE_PACKAGES, "trixie")
    except machine.TestHostError as e:
        pytest.skip(f"no Debian 13: {str(e)[-500:]}")
    container = host.container("tokentrixie", settings="[Network]\nPrivate=yes\n", tarball=tarball)
    container.policy(policy(
        token="Token=delegate_cmds=prog_load:map_create:btf_load delegate_maps=array:hash delegate_progs=socket_filter:cgroup_device:xdp\n"
              "Token=delegate_attachs=cgroup_inet_ingress:cgroup_device:xdp"))
    container.enable()
    container.start()
    yield container
    container.remove()


@pytest.fixture
def compiled(tmp_path):
    """Compiles a program with its type information, as people do."""
    clang = shutil.which("clang") or shutil.which("clang-14")
    if not clang:
        pytest.skip("no clang to make a program with")

    def compile_(text):
        source = tmp_path / "program.c"
        source.write_text('__attribute__((section("license"), used)) char license_of_all[] = "GPL";\n' + text)
        subprocess.run([clang, "-target", "bpf", "-O2", "-g", "-c", "-o", tmp_path / "program.o", source], check=True, timeout=60)
        return tmp_path / "program.o"

    return compile_


# libbpf looks for the file system there, or where this variable says.
BPFTOOL = "env LIBBPF_BPF_TOKEN_PATH=/srv/bpf bpftool"

DEVICE = """
struct context { unsigned access, major, minor; };
__attribute__((section("cgroup/dev"), used)) int no_full(struct context *c) { return !(c->major == 1 && c->minor == 7); }
"""
# Counts packets by their protocol, in a map of the kind that's written with type information, and drops ICMP while a global variable says so.
PACKETS = """
typedef unsigned u32;
typedef unsigned char u8;
struct context { u32 data, data_end; };
struct {
        int (*type)[1];
        int (*max_entries)[16];
        u32 *key;
        u32 *value;
} counters __attribute__((section(".maps"), used));
volatile u32 drops = 1;
static u32 *(*look_up)(void *map, const void *key) = (void *) 1;
static long (*update)(void *map, const void *key, const void *value, unsigned long long flags) = (void *) 2;

static inline __attribute__((always_inline)) u32 protocol_of(struct context *c) {
        u8 *data = (u8 *) (long) c->data, *end = (u8 *) (long) c->data_end;

        return data + 34 > end || data[12] != 8 || data[13] != 0 ? 0 : data[23];
}

__attribute__((section("xdp"), used)) int packets(struct context *c) {
        u32 protocol = protocol_of(c), one = 1, *n = look_up(&counters, &protocol);

        if (n)
                __sync_fetch_and_add(n, 1);
        else
                update(&counters, &protocol, &one, 0);
        return protocol == 1 && drops ? 1 : 2;
}
"""


@pytest.fixture
def mounted(trixie):
    trixie.run("mkdir -p /srv/bpf; mount -t bpf bpf /srv/bpf")
    yield
    trixie.run("umount /srv/bpf; umount -l /srv/bpf", check=False)


def test_libbpf_makes_a_token_by_itself(trixie, host, compiled, mounted):
    host.put(compiled(DEVICE), f"{trixie.root}/srv/device.o")
    load = f"{BPFTOOL} -d prog load /srv/device.o /srv/bpf/no_full"
    result = trixie.run(load, check=False)
    assert result.ok, result
    cgroup = f"{CGROUPS}/test"
    trixie.run(f"mkdir {cgroup}; bpftool cgroup attach {cgroup} device pinned /srv/bpf/no_full multi")
    inside = f"echo 0 >{cgroup}/cgroup.procs; cat /dev/null; head -c1 /dev/full"
    result = trixie.run(inside, check=False)
    assert not result.ok and "Operation not permitted" in result.stderr, result
    trixie.run("rm /srv/bpf/no_full; umount /srv/bpf")
    assert not trixie.run(load, check=False).ok


def test_packets_are_counted_and_dropped(trixie, host, compiled, mounted):
    """A program for packets as a compiler makes it, with type information, a map, a global variable and an inline function."""
    host.put(compiled(PACKETS), f"{trixie.root}/srv/packets.o")
    result = trixie.run(f"{BPFTOOL} prog load /srv/packets.o /srv/bpf/packets", check=False)
    assert result.ok, result
    ping = "ip link set lo up; ping -c3 -i0.2 -W1 127.0.0.1 || true"
    assert " 0% packet loss" in trixie.run(ping).stdout
    trixie.run("ip link set dev lo xdpgeneric pinned /srv/bpf/packets")
    assert "100% packet loss" in trixie.run(ping).stdout
    listed = trixie.run("bpftool -j prog show pinned /srv/bpf/packets", check=False).json()
    counters = [m for m in (trixie.run(f"bpftool -j map show id {i}", check=False).json() for i in listed.get("map_ids", [])) if m.get("name") == "counters"]
    assert listed["type"] == "xdp", listed
    trixie.run("ip link set dev lo xdpgeneric off")
    assert " 0% packet loss" in trixie.run(ping).stdout
    assert not counters or counters[0]["max_entries"] == 16
