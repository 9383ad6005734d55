# SPDX-License-Identifier: LGPL-2.1-or-later
"""bpf: tokens, and the file system that they're made of."""

import os
import pathlib
import shutil
import signal
import struct
import subprocess

import pytest

import machine

SUPPORTED = "Token=delegate_cmds=prog_load:map_create delegate_maps=array:hash delegate_progs=cgroup_device:sched_cls\n" \
            "Token=delegate_attachs=cgroup_device:cgroup_inet_ingress\n"
POLICY = """
[Intercept]
SystemCalls={calls}
[Mount]
{mount}
[Bpf]
AllowProgram=cgroup-device
{token}
"""
CGROUPS = "/sys/fs/cgroup"
TRIXIE_PACKAGES = ("bpftool", "dbus", "mount", "systemd", "systemd-sysv", "util-linux")
ALL = {
    "delegate_cmds": "map_create prog_load btf_load",
    "delegate_maps": "hash array prog_array percpu_hash percpu_array cgroup_array lru_hash lru_percpu_hash lpm_trie array_of_maps hash_of_maps "
                     "devmap sockmap xskmap sockhash reuseport_sockarray queue stack sk_storage devmap_hash ringbuf bloom_filter cgrp_storage",
    "delegate_progs": "socket_filter sched_cls sched_act xdp cgroup_skb cgroup_sock lwt_in lwt_out lwt_xmit sock_ops sk_skb cgroup_device sk_msg "
                      "cgroup_sock_addr lwt_seg6local sk_reuseport flow_dissector cgroup_sysctl cgroup_sockopt sk_lookup netfilter",
    "delegate_attachs": "cgroup_inet_ingress cgroup_inet_egress cgroup_inet_sock_create cgroup_sock_ops sk_skb_stream_parser "
                        "sk_skb_stream_verdict cgroup_device sk_msg_verdict cgroup_inet4_bind cgroup_inet6_bind cgroup_inet4_connect "
                        "cgroup_inet6_connect cgroup_inet4_post_bind cgroup_inet6_post_bind cgroup_udp4_sendmsg cgroup_udp6_sendmsg "
                        "flow_dissector cgroup_sysctl cgroup_udp4_recvmsg cgroup_udp6_recvmsg cgroup_getsockopt cgroup_setsockopt "
                        "cgroup_inet4_getpeername cgroup_inet6_getpeername cgroup_inet4_getsockname cgroup_inet6_getsockname xdp_devmap "
                        "cgroup_inet_sock_release sk_lookup xdp sk_skb_verdict sk_reuseport_select sk_reuseport_select_or_migrate netfilter "
                        "tcx_ingress tcx_egress cgroup_unix_connect cgroup_unix_sendmsg cgroup_unix_recvmsg cgroup_unix_getpeername "
                        "cgroup_unix_getsockname netkit_primary netkit_peer",
}


def words(result):
    return {line.split()[0]: line.split()[-1] for line in result.stdout.splitlines() if not line.startswith(" ")}


class Lent:
    def __init__(self, host):
        self.host = host
        self.container = host.container("token")
        self.policy()
        self.container.enable()
        self.container.start()
        self.container.run("mkdir -p /srv/bpf /srv/other")

    def policy(self, token=SUPPORTED, mount="", calls="bpf mount"):
        self.container.policy(POLICY.format(token=token, mount=mount, calls=calls))

    def change_policy(self, **kwargs):
        self.policy(**kwargs)
        self.host.run(["deputyctl", "reload"])

    def run(self, argv, **kwargs):
        kwargs.setdefault("check", False)
        return self.container.run(argv, **kwargs)

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
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    out = lent.run(f"bpf-calls token /srv/bpf , load deny , cgroup {cgroup} , attach 2 , enter {cgroup} , open /dev/zero , detach , map array , map hash")
    assert words(out) == {"token": "OK", "load": "OK", "cgroup": "OK", "attach": "OK", "enter": "OK", "open": "EPERM", "detach": "OK", "map": "OK"}


def test_only_what_is_delegated(lent):
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    assert lent.options() == {
        "delegate_cmds": {"prog_load", "map_create"}, "delegate_maps": {"array", "hash"},
        "delegate_progs": {"cgroup_device", "sched_cls"}, "delegate_attachs": {"cgroup_device", "cgroup_inet_ingress"}}
    for kind in ("socket", "kprobe", "skb-allow", "skb-constant"):
        assert words(lent.run(f"bpf-calls token /srv/bpf , load {kind}"))["load"] == "EPERM", kind
    assert words(lent.run("bpf-calls token /srv/bpf , map lpm"))["map"] == "EPERM"


def test_the_caller_says_what_it_wants(lent):
    lent.run("mount -t bpf -o delegate_cmds=prog_load,delegate_progs=cgroup_device bpf /srv/bpf", check=True)
    assert lent.options() == {"delegate_cmds": {"prog_load"}, "delegate_progs": {"cgroup_device"}}
    assert words(lent.run("bpf-calls token /srv/bpf , load allow"))["load"] == "EPERM", "no type of attachment was asked for"
    lent.run("mount -t bpf -o delegate_cmds=0x20,delegate_cmds=map_create,mode=0711,uid=5,gid=6 bpf /srv/other", check=True)
    assert lent.options("/srv/other") == {"delegate_cmds": {"prog_load", "map_create"}}
    assert lent.run("stat -c '%a %u %g' /srv/other").stdout == "1711 5 6\n"


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
    """Each is given by name to us, as a number to the kernel, and by name by the kernel."""
    lent.change_policy(token="\n".join(f"Token={key}={names.replace(' ', ':')}" for key, names in ALL.items()))
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    found = lent.options()
    for key, names in ALL.items():
        unknown = {name for name in found[key] if name.startswith("0x")}  # Of a kernel that's older than the table.
        assert found[key] - unknown <= set(names.split()), key
        assert len(found[key]) == len(names.split()) or unknown, key


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
        container.policy(POLICY.format(token=SUPPORTED, mount="AllowType=tmpfs\nAllowSource=none", calls="mount"))
        container.enable()
        container.start()
        container.run("mkdir -p /srv/bpf")
        container.policy(POLICY.format(token=SUPPORTED, mount="AllowType=tmpfs\nAllowSource=none", calls="bpf mount"))
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
    out = lent.host.run(["deputyctl", "explain", lent.container.unit], check=False).stdout
    assert "[Bpf] Token=delegate_progs=xdp" in out, out


def test_loads_with_a_token_are_no_refusals(lent):
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    before = lent.host.counters(lent.container.unit).get("bpf", {})
    lent.run("bpf-calls token /srv/bpf , load allow , load socket , map array")
    after = lent.host.counters(lent.container.unit)["bpf"]
    assert after["refused"] == before.get("refused", 0) and after["continued"] >= before.get("continued", 0) + 3, (before, after)


def test_what_the_manual_warns_of(lent):
    """Whoever has a token and CAP_SYS_ADMIN in its namespace may use the helpers that read the kernel's memory. That's why the key is what it is."""
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    assert words(lent.run("bpf-calls token /srv/bpf , load read-kernel"))["load"] == "OK"
    assert words(lent.run("bpf-calls load read-kernel"))["load"] == "EPERM"


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


def test_what_else_the_manual_warns_of(lent, host):
    """Such a program may call functions of the kernel (6.13): that's the end of any process of the host. It takes no capability but those for loading."""
    functions = kernel_functions("bpf_task_from_pid", "bpf_send_signal_task", "bpf_task_release")
    if not functions:
        pytest.skip("this kernel has no such functions")
    if os.readlink("/proc/self/ns/pid") != "pid:[4026531836]":
        pytest.skip("the program takes numbers of the first pid namespace: ours could be anybody's there")
    lent.change_policy(token="Token=delegate_cmds=prog_load delegate_progs=cgroup_skb delegate_attachs=cgroup_inet_ingress")
    lent.run("mount -t bpf bpf /srv/bpf", check=True)
    victim = subprocess.Popen(["sleep", "300"])
    command = f"kill {victim.pid} {' '.join(map(str, functions))}"
    try:
        assert words(lent.run(f"bpf-calls {command}"))["load"] == "EPERM"
        assert victim.poll() is None
        out = words(lent.run(f"bpf-calls --drop=sys_admin,perfmon token /srv/bpf , {command}"))
        assert out == {"token": "OK", "load": "OK", "kill": "OK"}
        assert victim.wait(timeout=10) == -signal.SIGKILL
    finally:
        victim.kill()
        victim.wait()


def test_race_on_the_options(lent):
    """Options change from what's lent to what isn't while they're read: never is there more than what's lent."""
    lent.run("mkdir -p /srv/race/mnt")
    out = lent.run("cd /srv/race; race bpf-options 3000 delegate_progs=sched_cls delegate_progs=sk_lookup", timeout=200).stdout
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
    container = host.container("tokentrixie", tarball=tarball)
    container.policy(POLICY.format(
        calls="bpf mount", mount="",
        token="Token=delegate_cmds=prog_load:map_create:btf_load delegate_maps=array:hash delegate_progs=socket_filter:cgroup_device\n"
              "Token=delegate_attachs=cgroup_inet_ingress:cgroup_device"))
    container.enable()
    container.start()
    yield container
    container.remove()


def test_libbpf_makes_a_token_by_itself(trixie, host, tmp_path):
    clang = shutil.which("clang") or shutil.which("clang-14")
    if not clang:
        pytest.skip("no clang to make a program with")
    source = tmp_path / "device.c"
    source.write_text('__attribute__((section("license"), used)) char license_of_all[] = "GPL";\n'
                      'struct context { unsigned access, major, minor; };\n'
                      '__attribute__((section("cgroup/dev"), used)) int no_full(struct context *c) { return !(c->major == 1 && c->minor == 7); }\n')
    subprocess.run([clang, "-target", "bpf", "-O2", "-c", "-o", tmp_path / "device.o", source], check=True, timeout=60)
    host.put(tmp_path / "device.o", f"{trixie.root}/srv/device.o")
    trixie.run("mkdir -p /sys/fs/bpf; mount -t bpf bpf /sys/fs/bpf")
    load = "bpftool -d prog load /srv/device.o /sys/fs/bpf/no_full"
    result = trixie.run(load, check=False)
    assert result.ok, result
    cgroup = f"{CGROUPS}/test"
    trixie.run(f"mkdir {cgroup}; bpftool cgroup attach {cgroup} device pinned /sys/fs/bpf/no_full multi")
    inside = f"echo 0 >{cgroup}/cgroup.procs; cat /dev/null; head -c1 /dev/full"
    result = trixie.run(inside, check=False)
    assert not result.ok and "Operation not permitted" in result.stderr, result
    trixie.run("rm /sys/fs/bpf/no_full; umount /sys/fs/bpf")
    assert not trixie.run(load, check=False).ok
