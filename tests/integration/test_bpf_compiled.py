# SPDX-License-Identifier: LGPL-2.1-or-later
"""bpf: ports to bind to and interfaces, which service managers have compiled programs for. By hand, and by the one of
Debian 13."""

import re

import machine
import pytest
import test_bpf
from test_bpf import CGROUPS, DELEGATED, container_with, host_path, race, supervisors, words

PRIVATE = "[Network]\nPrivate=yes\n"
INTERCEPT = "[Intercept]\nSystemCalls=bpf\n[Bpf]\nAllowProgram="
PACKAGES = ("dbus", "iproute2", "libbpf1", "systemd", "systemd-sysv")


@pytest.fixture(scope="module")
def nest(host):
    """A container with the profile and a network of its own."""
    container = container_with(host, "bpfbind", settings=PRIVATE)
    yield container
    container.remove()


@pytest.fixture
def cgroup(nest):
    path = f"{CGROUPS}/test"
    nest.run(["mkdir", "-p", path])
    yield path
    nest.run(f"echo 1 >{path}/cgroup.kill; sleep 0.2; rmdir {path}", check=False)


def results(out):
    """[("load", "OK"), …]"""
    return [(line.split()[0], line.split()[-1]) for line in out.splitlines() if not line.startswith(" ")]


def last(out, n):
    return [line.split()[-1] for line in out.splitlines() if not line.startswith(" ")][-n:]


# -- by hand ------------------------------------------------------------------------------------------------------

BINDS = "bind 127.0.0.1 1234 , bind 127.0.0.1 1235 , bind 127.0.0.1 1236 udp , bind ::1 1234 , bind ::1 1235 udp"


def test_ports_of_a_list(nest, cgroup):
    out = nest.run(f"bpf-calls map list , put 0 1234 , put 15 1236 , cgroup {cgroup} , load bind-list , link 8 , query 8 , enter {cgroup} , {BINDS}").stdout
    assert set(word for _, word in results(out)[:-5]) == {"OK"}
    assert "programs 1 current" in out
    assert last(out, 5) == ["EPERM", "OK", "EPERM", "OK", "OK"]
    # The link went with its descriptor.
    assert last(nest.run(f"bpf-calls enter {cgroup} , {BINDS}").stdout, 5) == ["OK"] * 5
    out = nest.run(f"bpf-calls map list , put 0 1234 , cgroup {cgroup} , load bind6-list , link 9 , enter {cgroup} , {BINDS}").stdout
    assert last(out, 5) == ["OK", "OK", "OK", "EPERM", "OK"]


def test_program_can_be_replaced_and_detached(nest, cgroup):
    out = nest.run(f"bpf-calls cgroup {cgroup} , load bind-deny , attach 2 8 , enter {cgroup} , bind 127.0.0.1 1234 , detach 8 , bind 127.0.0.1 1234 , "
                   "attach 2 9 , link 9 , attach 2 6 , attach 2 10 , detach 8 , by-id").stdout
    assert results(out)[2:] == [("attach", "OK"), ("enter", "OK"), ("bind", "EPERM"), ("detach", "OK"), ("bind", "OK"),
                                ("attach", "EINVAL"), ("link", "EINVAL"), ("attach", "EINVAL"), ("attach", "EPERM"), ("detach", "ENOENT"), ("by-id", "OK")]


def interfaces(kind, first, listed=1):
    """A list with one interface (1 is lo), allowed if "first", else denied."""
    return f"map value , put 0 {first} , freeze , value-map , map hash , put {listed} 1 , load {kind}"


def test_interfaces_of_a_list(nest, cgroup):
    for first, listed, expected in ((1, 1, "OK"), (1, 7, "EPERM"), (0, 1, "EPERM"), (0, 7, "OK")):
        out = nest.run(f"bpf-calls {interfaces('interface', first, listed)} , cgroup {cgroup} , link 1 , enter {cgroup} , send 127.0.0.1").stdout
        assert set(word for _, word in results(out)[:-1]) == {"OK"}, out
        assert last(out, 1) == [expected], (first, listed)


def test_frozen_map_stays(nest):
    assert words(nest.run("bpf-calls map value , put 0 1 , freeze , put 0 0"))["put"] == "EPERM"
    # The second time the kernel has something to say: EBUSY or, later, EPERM.
    twice = "bpf-calls map value , freeze , freeze"
    assert nest.run(twice).stdout == nest.host.run(twice).stdout


def test_what_libraries_ask(nest):
    """Programs that do nothing, one that writes to a map, and a link to nothing: by these they know what the kernel can do."""
    out = nest.run("bpf-calls load socket-constant , load skb-constant , load bind-connect , load bind-deny , link 8").stdout
    assert last(out, 5) == ["OK", "OK", "OK", "OK", "EBADF"]
    # 32 bytes, of which the last 16 are written to.
    assert words(nest.run("bpf-calls map global , value-map , load socket-global"))["load"] == "OK"
    # The kernel has a look at the size: nothing is written beyond the end.
    assert words(nest.run("bpf-calls map array , value-map , load socket-global"))["load"] not in ("OK", "EPERM")


# -- what isn't lent ----------------------------------------------------------------------------------------------

HOSTILE = [
    "bind-privileged", "bind-privileged-2", "bind-privileged-3", "bind-privileged-4", "bind-rewrite", "bind-rewrite-copy", "bind-rewrite-add",
    "bind-arithmetic", "bind-variable", "bind-address", "bind-socket", "bind-helper", "bind-bind", "bind-function", "bind-kernel-function",
    "bind-delete", "bind-map-write", "bind-map-offset", "bind-map-twice", "bind-endless", "bind-may-goto", "bind-spill", "bind-value",
    "bind-connect-privileged", "bind-sendmsg", "interface-backward", "interface-number", "interface-mark", "interface-write", "interface-count",
    "interface-result", "socket", "socket-global-43",
]


def trace_of(host, container, work):
    """What the container's supervisor has asked of bpf(2) during that."""
    container.run("bpf-calls load allow")
    target = host.target(container.unit)["id"]
    pid = host.run(["pgrep", "-f", f"deputy-supervisor.*--target={target}"]).stdout.split()[0]
    tracer = host.spawn(["strace", "-o", "/tmp/trace", "-p", pid, "-e", "trace=bpf"])
    try:
        assert "attached" in tracer.stderr.readline()
        work()
    finally:
        host.run(["pkill", "-INT", "-x", "strace"], check=False)
        tracer.communicate(timeout=10)
    return host.read("/tmp/trace")


def test_hostile_programs_never_get_to_the_verifier(nest, host):
    """The container's root offers them; the kernel isn't asked."""
    prepare = "map value , value-map , map list"
    # As a check of the check: this one goes through.
    assert "BPF_PROG_LOAD" in trace_of(host, nest, lambda: nest.run(f"bpf-calls {prepare} , load bind-list"))

    def work():
        out = nest.run(f"bpf-calls {prepare} , {' , '.join('load ' + kind for kind in HOSTILE)}").stdout
        assert results(out) == [("map", "OK"), ("map", "OK")] + [("load", "EPERM")] * len(HOSTILE)
    trace = trace_of(host, nest, work)
    assert "BPF_MAP_CREATE" in trace and "BPF_PROG_LOAD" not in trace


@pytest.mark.parametrize("kind", ["bind-unbounded", "bind-unchecked"])
def test_programs_that_the_verifier_refuses(nest, kind):
    """Of instructions that are lent; the kernel sees that it doesn't end, or that nothing may have been found."""
    command = f"bpf-calls map list , load {kind}"
    assert words(nest.run(command))["load"] not in ("OK", "EPERM")
    assert nest.run(command).stdout == nest.host.run(command).stdout


@pytest.mark.parametrize("kind", ["bind-list", "bind-unchecked", "bind-unbounded-list"])
def test_log_tells_no_addresses(nest, kind):
    """The last one is tried with CAP_PERFMON too, and who has that is told where in the kernel its maps are."""
    command = f"bpf-calls map list , load-log {kind}"
    assert "tells addresses" in nest.host.run(command).stdout, "as a check of the check"
    assert "tells no addresses" in nest.run(command).stdout


def test_maps_of_the_wrong_kind(nest):
    """Each program has its kinds of maps."""
    assert words(nest.run("bpf-calls map hash , load bind-list"))["load"] == "EPERM"
    assert words(nest.run("bpf-calls map value , load bind-list"))["load"] == "EPERM"
    assert words(nest.run("bpf-calls map value , value-map , map list , load interface"))["load"] == "EPERM"
    assert words(nest.run("bpf-calls map list , value-map , map hash , load interface"))["load"] == "EPERM"
    assert words(nest.run("bpf-calls map hash , load skb-map"))["load"] == "EPERM"
    assert words(nest.run("bpf-calls map value , load skb-map"))["load"] == "EPERM"


def test_instructions_that_change(nest):
    """A result that would let anybody bind to a privileged port comes and goes while the program is loaded."""
    counted, programs = race(nest, "race-bind 2000")
    assert counted["bad"] == 0 and counted["OK"] > 0 and counted.get("EPERM", 0) > 0, counted
    assert programs and "three" not in programs, programs


EVERYTHING = ("map value , freeze , value-map , map hash , load interface , map list , load bind-list , load bind-connect , load socket-constant , "
              "attach 2 8 , detach 8 , link 8 , link 9 , query 8 , load skb-allow , attach 2 1")


@pytest.mark.parametrize("lent, served", [
    ("cgroup-device", []),
    ("cgroup-skb", ["map list", "load skb-allow", "attach 2 1"]),
    ("cgroup-sock-addr", ["map list", "load bind-list", "load bind-connect", "load socket-constant", "query 8"]),
    ("cgroup-skb-interface", ["map value", "freeze", "map hash", "load interface", "map list", "load socket-constant"]),
])
def test_each_word_lends_its_own(host, lent, served):
    """Off unless it's said, and no word lends what another one does."""
    container = container_with(host, "bpfword", policy=f"{INTERCEPT}{lent}\n", profile=None)
    try:
        out = container.run(f"bpf-calls cgroup {CGROUPS}/init.scope , {EVERYTHING}").stdout
        asked = [command for command in EVERYTHING.split(" , ") if command != "value-map"]
        got = dict(zip(asked, (word for _, word in results(out)[1:])))
        # Nothing is attached, since the program before wasn't loaded or is for another place.
        assert [command for command in asked if got[command] == "OK"] == served, got
        # Not lent, or lent and there's nothing to attach.
        assert {got[command] for command in asked if command not in served} <= {"EPERM", "EBADF", "EINVAL", "ENOENT"}, got
        if lent == "cgroup-device":
            assert got["load bind-list"] == got["map list"] == got["attach 2 8"] == got["link 8"] == got["detach 8"] == got["query 8"] == "EPERM"
    finally:
        container.remove()


def test_refusal_says_what_would_lend_it(host):
    container = container_with(host, "bpfhint", policy=f"{INTERCEPT}cgroup-skb\n", profile=None)
    try:
        def hint(command):
            container.run(f"bpf-calls {command}", check=False)
            return host.journal("DEPUTYD_SYSCALL=bpf", "DEPUTYD_VERDICT=refused", unit=container.unit)[-1].get("DEPUTYD_HINT")
        assert hint("load bind-deny") == "[Bpf] AllowProgram=cgroup-sock-addr"
        assert hint("map hash") == "[Bpf] AllowProgram=cgroup-skb-interface"
        assert hint("load skb-allow , attach 2 8") == "[Bpf] AllowProgram=cgroup-sock-addr"
        # It's seen from the instructions.
        assert hint("load interface-plain") == "[Bpf] AllowProgram=cgroup-skb-interface"
        assert hint("map array , load interface-number") is None
    finally:
        container.remove()


# -- what's the host's stays the host's ---------------------------------------------------------------------------

@pytest.mark.parametrize("flags", [0, 1])
def test_host_program_cannot_be_put_out_of_force(nest, cgroup, flags):
    path = host_path(nest, "/test")
    nest.host.run(f"bpf-calls cgroup {path} , load bind-deny , attach {flags} 8")
    try:
        out = words(nest.run(f"bpf-calls cgroup {cgroup} , load bind-allow , attach {flags} 8 , attach 2 8 , detach 8 , detach-none 8 , link 8"))
        assert {k: out[k] for k in ("attach", "detach", "detach-none", "link")} == dict.fromkeys(("attach", "detach", "detach-none", "link"), "EPERM")
        assert last(nest.run(f"bpf-calls enter {cgroup} , bind 127.0.0.1 1234").stdout, 1) == ["EPERM"]
    finally:
        nest.host.run(f"bpf-calls cgroup {path} , detach-none 8")


def test_host_program_beside_ours(nest, cgroup):
    """Both count, and the container can't see the host's."""
    path = host_path(nest, "/test")
    holder = nest.host.spawn(f"bpf-calls map list , put 0 1234 , cgroup {path} , load bind-list , id , attach 2 8 , sleep 60000 , detach 8")
    try:
        said = [holder.stdout.readline().split() for _ in range(6)]
        number = said[4][1]
        assert said[4][0] == "id" and said[5] == ["attach", "0", "OK"]
        out = nest.run(f"bpf-calls cgroup {cgroup} , load bind-allow , attach 2 8 , query 8 , by-id {number} , detach-none 8 , enter {cgroup} , "
                       "bind 127.0.0.1 1234 , bind 127.0.0.1 1235 , detach 8").stdout
        assert "programs 1 current" in out
        assert results(out)[4:] == [("by-id", "ENOENT"), ("detach-none", "EINVAL"), ("enter", "OK"), ("bind", "EPERM"), ("bind", "OK"), ("detach", "OK")]
    finally:
        nest.host.run(["pkill", "-x", "bpf-calls"], check=False)
        holder.communicate(timeout=10)


def test_top_of_the_container_wants_multi(nest):
    out = nest.run(f"bpf-calls cgroup {CGROUPS} , load bind-allow , attach 0 8 , attach 1 8 , attach 2 8 , detach 8").stdout
    assert last(out, 6) == ["OK", "OK", "EPERM", "EPERM", "OK", "OK"]


# -- the service manager of Debian 13 -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trixie(host):
    """A booted Debian 13 with the profile, a network of its own, and a pair of interfaces in it."""
    try:
        tarball = machine.debian_tarball(PACKAGES, "trixie")
    except machine.TestHostError as e:
        pytest.skip(f"no Debian 13: {str(e)[-500:]}")
    container = host.container("bpftrixie", settings=DELEGATED + PRIVATE, tarball=tarball)
    container.enable("--profile=nested-containers")
    start(container)
    yield container
    container.remove()


def start(container):
    container.start()
    container.run("ip link add one type veth peer name two; ip address add 10.9.9.1/24 dev one; ip link set one up; ip link set two up")


def inner(container, command, *properties):
    """Results of bpf-calls in a unit of the container's."""
    options = " ".join(f"-p {p}" for p in properties)
    return last(container.run(f"systemd-run --quiet --wait --pipe {options} bpf-calls {command}", check=False).stdout, 99)


def test_service_manager_is_built_with_libbpf(trixie):
    assert "+BPF_FRAMEWORK" in trixie.run("systemctl --version").stdout


def test_unit_with_ports(trixie):
    assert inner(trixie, BINDS) == ["OK"] * 5
    assert inner(trixie, BINDS, "SocketBindDeny=any") == ["EPERM"] * 5
    assert inner(trixie, BINDS, "SocketBindDeny=1234") == ["EPERM", "OK", "OK", "EPERM", "OK"]
    assert inner(trixie, BINDS, "SocketBindDeny=ipv4:1234") == ["EPERM", "OK", "OK", "OK", "OK"]
    assert inner(trixie, BINDS, "SocketBindDeny=ipv6:1234") == ["OK", "OK", "OK", "EPERM", "OK"]
    assert inner(trixie, BINDS, "SocketBindDeny=udp:1235-1240") == ["OK", "OK", "EPERM", "OK", "EPERM"]
    assert inner(trixie, BINDS, "SocketBindDeny=any", "SocketBindAllow=ipv4:tcp:1235", "SocketBindAllow=ipv6:udp") == ["EPERM", "OK", "EPERM", "EPERM", "OK"]


def test_unit_with_interfaces(trixie):
    sends = "send 127.0.0.1 , send 10.9.9.2"
    assert inner(trixie, sends) == ["OK", "OK"]
    assert inner(trixie, sends, "RestrictNetworkInterfaces=lo") == ["OK", "EPERM"]
    assert inner(trixie, sends, "RestrictNetworkInterfaces=one") == ["EPERM", "OK"]
    assert inner(trixie, sends, "RestrictNetworkInterfaces='one lo'") == ["OK", "OK"]
    assert inner(trixie, sends, "RestrictNetworkInterfaces=~one") == ["OK", "EPERM"]
    assert inner(trixie, sends, "RestrictNetworkInterfaces=~lo") == ["EPERM", "OK"]


def test_settings_hold_together(trixie):
    """Those that other programs of the same places are for, too."""
    assert inner(trixie, "send 127.0.0.1 , send 10.9.9.2 , bind 127.0.0.1 1234 , open /dev/full , open /dev/null",
                 "RestrictNetworkInterfaces=lo", "IPAddressDeny=127.0.0.1", "SocketBindDeny=1234", "DevicePolicy=strict", "DeviceAllow=/dev/null") == [
        "EPERM", "EPERM", "EPERM", "EPERM", "OK"]


def test_service_manager_that_begins_anew(trixie):
    """It asks all over again what the kernel can do, and has forgotten its maps and programs. (For units that run meanwhile,
    this version takes ports off the list, natively too.)"""
    for command in ("daemon-reload", "daemon-reexec"):
        trixie.run(f"systemctl {command}")
        assert inner(trixie, f"{BINDS} , send 127.0.0.1 , send 10.9.9.2", "SocketBindDeny=1234", "RestrictNetworkInterfaces=one") == [
            "EPERM", "OK", "OK", "EPERM", "OK", "EPERM", "OK"]


def test_service_manager_finds_support(trixie):
    """What it doesn't have it warns of."""
    trixie.run("systemd-run --quiet --wait -p SocketBindDeny=1 -p RestrictNetworkInterfaces=lo true")
    log = trixie.run("journalctl -b --no-pager -o cat -p warning", check=False).stdout
    assert not re.search("bpf|firewall|SocketBind|RestrictNetwork|interface", log, re.IGNORECASE), log


def test_nothing_holds_without_the_lending(trixie, host):
    """The container as it is with addresses and devices alone: such settings are skipped."""
    path = f"/etc/deputyd/policy.d/{trixie.unit}.d/90-less.conf"
    trixie.policy("[Bpf]\nAllowProgram=\nAllowProgram=cgroup-device cgroup-skb\n", name="90-less.conf")
    start(trixie)
    try:
        assert inner(trixie, BINDS, "SocketBindDeny=any") == ["OK"] * 5
        assert inner(trixie, "send 10.9.9.2", "RestrictNetworkInterfaces=lo") == ["OK"]
        assert inner(trixie, "send 10.9.9.2", "IPAddressDeny=any") == ["EPERM"]
    finally:
        host.run(["rm", path])
        start(trixie)
    assert inner(trixie, BINDS, "SocketBindDeny=any") == ["EPERM"] * 5


def test_supervisor_keeps_nothing(trixie):
    def descriptors():
        return sum(int(trixie.host.run(f"ls /proc/{p}/fd | wc -l", check=False).stdout or 0) for p in supervisors(trixie.host))

    def work():
        inner(trixie, "bind 127.0.0.1 1234", "SocketBindDeny=1234", "RestrictNetworkInterfaces=lo")
    for _ in range(5):
        work()
    before = descriptors()
    for _ in range(15):
        work()
    assert descriptors() <= before + 4
