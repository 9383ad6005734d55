# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kernel modules, on the virtual machine: what a container loads is the host's, if it's lent, and what it gets is what
root of the host gets."""

import time

import pytest

POLICY = """\
[Intercept]
SystemCalls=finit_module mknod
[Mknod]
AllowDevice=c 10:229
[Module]
AllowModule=dummy nf-nat-ftp vcan vxcan nlmon
# ifb by an alias of it
AllowModule=rtnl-link-ifb
AllowParameters=dummy.numdummies nlmon.lent=[0-9]
"""

MODPROBE = """\
blacklist vcan
install vxcan /bin/false
options ifb numifbs=3
softdep nf_nat_ftp post: team
softdep nlmon pre: vxcan
"""

CLEAN = "for m in dummy ifb nf_nat_ftp vcan vxcan nlmon team; do [ ! -e /sys/module/$m ] || modprobe -qr $m; done"


@pytest.fixture(scope="module")
def box(guest):
    """A container with what deputyctl enable gives it, the modules' tree, and some files to try."""
    guest.write("/etc/modprobe.d/test.conf", MODPROBE)
    container = guest.container("modules", settings="[Files]\nBindReadOnly=/lib/modules\n")
    container.policy(POLICY)
    guest.write(f"/etc/systemd/system/{container.unit}.d/20-fuse.conf", "[Service]\nDeviceAllow=/dev/fuse rwm\nTimeoutStopSec=20\n")
    container.enable()
    container.start()
    release = guest.run("uname -r").stdout.strip()
    # Root of the image is root of the container: its file system is mounted with mapped ids.
    guest.run(f"""
        mkdir -p {container.root}/srv/m; cd {container.root}/srv/m
        for m in dummy ifb nlmon macsec vcan vxcan nf_nat_ftp; do
            f=$(find /lib/modules/{release} -name "$m.ko*")
            case $f in *.xz) xz -dc $f >$m.ko;; *) cp $f .;; esac
        done
        xz -k --check=crc32 dummy.ko; zstd -q dummy.ko; gzip -k dummy.ko
        : >empty; echo '#!/bin/sh' >text; head -c 3000 dummy.ko >short; mkfifo fifo; mkdir directory
        sed 's/name=dummy/name=duuuy/' dummy.ko >renamed.ko
        chmod 600 *.ko""")
    yield container
    container.stop()
    guest.run("rm /etc/modprobe.d/test.conf")


@pytest.fixture(autouse=True)
def none_loaded(guest):
    yield
    guest.run(CLEAN)


def loaded(guest):
    return {line.split()[0] for line in guest.read("/proc/modules").splitlines()}


def test_insmod_of_a_listed_module(box, guest):
    box.run("insmod /srv/m/dummy.ko")
    assert "dummy" in loaded(guest)
    entry = guest.journal("DEPUTYD_SYSCALL=finit_module", "DEPUTYD_VERDICT=emulated")[-1]
    assert entry["DEPUTYD_ARGUMENTS"] == "dummy" and entry["DEPUTYD_ERRNO"] == "0"


def test_insmod_of_an_unlisted_module(box, guest):
    result = box.run("insmod /srv/m/macsec.ko", check=False)
    assert not result.ok and "Operation not permitted" in result.stderr
    assert "macsec" not in loaded(guest)
    entry = guest.journal("DEPUTYD_SYSCALL=finit_module", "DEPUTYD_VERDICT=refused")[-1]
    assert (entry["DEPUTYD_REASON"], entry["DEPUTYD_HINT"]) == ("module-not-lent", "[Module] AllowModule=macsec")


def test_modprobe_with_dependencies(box, guest):
    """The container's modprobe loads each dependency itself, and those aren't listed: what it's lent brings its own."""
    assert not box.run("modprobe nf_nat_ftp", check=False).ok
    assert "nf_nat_ftp" not in loaded(guest)
    box.run("insmod /srv/m/nf_nat_ftp.ko")
    assert {"nf_nat_ftp", "nf_conntrack_ftp", "nf_nat", "nf_conntrack", "team"} <= loaded(guest)


def test_modprobe(box, guest):
    box.run("modprobe dummy && modprobe dummy")
    assert "dummy" in loaded(guest)


def test_alias_and_options_of_the_host(box, guest):
    box.run("insmod /srv/m/ifb.ko")
    assert guest.run("ls -d /sys/class/net/ifb*").stdout.split() == [f"/sys/class/net/ifb{i}" for i in range(3)]


@pytest.mark.parametrize("module", ["vcan", "vxcan"])
def test_blacklist_and_install_commands_of_the_host(box, guest, module):
    assert not box.run(f"insmod /srv/m/{module}.ko", check=False).ok
    assert module not in loaded(guest)
    assert guest.journal("DEPUTYD_VERDICT=refused")[-1]["DEPUTYD_HINT"].startswith("the host's modprobe.d ")


def test_what_is_loaded_beside_it_may_have_an_install_command(box, guest):
    """Of the host's; such a module is left out, and its absence is no failure, as modprobe has it."""
    assert box.run(["load-module", "finit", "/srv/m/nlmon.ko", "0", ""]).stdout == "0 OK\n"
    assert "nlmon" in loaded(guest) and "vxcan" not in loaded(guest)


@pytest.mark.parametrize("suffix", ["xz", "zst", "gz"])
def test_compressed(box, guest, suffix):
    assert box.run(["load-module", "finit", f"/srv/m/dummy.ko.{suffix}", "4", ""]).stdout == "0 OK\n"
    assert "dummy" in loaded(guest)


def test_insmod_of_a_compressed_module(box, guest):
    """kmod unpacks it and passes a buffer, init_module; or, a newer one, leaves that to a kernel that can."""
    box.run("insmod /srv/m/dummy.ko.xz")
    entry = guest.journal("DEPUTYD_VERDICT=emulated")[-1]
    assert entry["DEPUTYD_SYSCALL"] in ("init_module", "finit_module") and entry["DEPUTYD_ERRNO"] == "0", entry
    assert "dummy" in loaded(guest)


def test_parameters(box, guest):
    box.run("insmod /srv/m/dummy.ko numdummies=2")
    assert guest.run("ls -d /sys/class/net/dummy*").stdout.split() == ["/sys/class/net/dummy0", "/sys/class/net/dummy1"]
    assert not box.run("insmod /srv/m/nlmon.ko lent=12", check=False).ok
    assert not box.run("insmod /srv/m/nlmon.ko lent=1 other=1", check=False).ok
    assert "nlmon" not in loaded(guest)
    assert guest.journal("DEPUTYD_VERDICT=refused")[-1]["DEPUTYD_REASON"] == "parameters-not-lent"
    box.run("insmod /srv/m/nlmon.ko lent=1")
    assert "nlmon" in loaded(guest)


def test_only_the_hosts_bytes_are_loaded(box, guest):
    """A file that only says that it's dummy is dummy: the host's."""
    box.run("""cd /srv/m; tail -c +1 dummy.ko | sed 's/Rtnl link driver/XXXXXXXXXXXXXXXX/g; s/dummy_setup/xxxxx_setup/g' >evil.ko
               cmp -s evil.ko dummy.ko && exit 1; insmod evil.ko""")
    assert "dummy" in loaded(guest)
    assert "dummy_setup" in guest.read("/proc/kallsyms") and "xxxxx_setup" not in guest.read("/proc/kallsyms")


def test_a_module_that_the_host_does_not_have(box, guest):
    box.policy("[Module]\nAllowModule=duuuy\n", "60-test.conf")
    guest.run(["deputyctl", "reload"])
    try:
        assert box.run(["load-module", "finit", "/srv/m/renamed.ko", "0", ""]).stdout == "-1 ENOEXEC\n"
    finally:
        guest.run(f"rm /etc/deputyd/policy.d/{box.unit}.d/60-test.conf; deputyctl reload")


def test_delete_module_is_never_lent(box, guest):
    box.run("insmod /srv/m/dummy.ko")
    result = box.run("rmmod dummy", check=False)
    assert not result.ok and "Operation not permitted" in result.stderr
    assert "dummy" in loaded(guest)


# Each made in the container and by root of the machine: the same answer.
ERRORS = {
    "unknown flag": "finit dummy.ko 8 ''",
    "unknown flag, bad descriptor": "finit 99 8 ''",
    "bad descriptor": "finit 99 0 ''",
    "negative descriptor": "finit -1 0 ''",
    "write-only": "finit w:text 0 ''",
    "O_PATH": "finit p:dummy.ko 0 ''",
    "directory": "finit directory 0 ''",
    "FIFO": "finit fifo 0 ''",
    "device": "finit /dev/null 0 ''",
    "empty file": "finit empty 0 ''",
    "text": "finit text 0 ''",
    "cut off": "finit short 0 ''",
    "unmapped parameters": "finit dummy.ko 0 @bad",
    "null parameters": "finit dummy.ko 0 @null",
    "bad value": "finit dummy.ko 0 numdummies=many",
    "good": "finit dummy.ko 0 ''",
    "blanks": "finit dummy.ko 0 @long:10",
    "buffer": "init dummy.ko 0 ''",
    "buffer, unmapped": "init @bad 1000 ''",
    "buffer, null": "init @null 1000 ''",
    "buffer, null of size 0": "init @null 0 ''",
    "buffer, too small": "init dummy.ko 10 ''",
    "buffer, cut off": "init dummy.ko 3000 ''",
    "buffer, text": "init text 0 ''",
    "buffer, of more than it has": "init dummy.ko 1000000 ''",
    "buffer, huge": "init dummy.ko 0x7fffffffffff ''",
    "buffer, unmapped parameters": "init dummy.ko 0 @bad",
}


def outcomes(machine, directory, program, prepare):
    lines = [f"cd {directory}"]
    for case, words in ERRORS.items():
        lines.append(f"{prepare}; {program} {words} || echo failed")
    return dict(zip(ERRORS, machine.run("\n".join(lines), timeout=300).stdout.splitlines()))


@pytest.mark.parametrize("program, when", [("load-module", "not loaded"), ("load-module", "loaded"), ("load-module-32", "not loaded"), ("load-module-x32", "not loaded")])
def test_same_as_natively(box, guest, program, when):
    if not guest.run(["test", "-x", f"/usr/local/bin/{program}"], check=False).ok:
        pytest.skip(f"{program} wasn't built: no 32-bit C library")
    guest.run(f"rm -rf /srv/m; cp -a {box.root}/srv/m /srv/m")
    if when == "loaded":
        guest.run("modprobe dummy")
        inside, native = outcomes(box, "/srv/m", program, ":"), outcomes(guest, "/srv/m", program, ":")
    else:
        # The container can't unload: someone on the machine does it.
        box.run("mkdir /srv/ask; mkfifo /srv/ask/want /srv/ask/done")
        helper = guest.spawn(["sh", "-c", f"cd {box.root}/srv/ask; while read _ <want; do rmmod dummy; echo >done; done"], timeout=600)
        try:
            inside = outcomes(box, "/srv/m", program, "[ ! -e /sys/module/dummy ] || { echo >/srv/ask/want; read _ </srv/ask/done; }")
        finally:
            helper.kill()
            box.run("rm -r /srv/ask")
        native = outcomes(guest, "/srv/m", program, "[ ! -e /sys/module/dummy ] || rmmod dummy")
    assert len(inside) == len(ERRORS)
    assert not {case: (inside[case], native[case]) for case in ERRORS if inside[case] != native[case]}
    assert native["good"] == ("0 OK" if when == "not loaded" else "-1 EEXIST")


def test_force_is_never_lent(box, guest):
    for flags in 1, 2, 3:
        assert box.run(["load-module", "finit", "/srv/m/dummy.ko", str(flags), ""]).stdout == "-1 EPERM\n"
    assert "dummy" not in loaded(guest)


def test_who_may_not(box, guest):
    """Law 1: neither users, nor those without the capability, nor root of a namespace further inside."""
    box.run("chmod 644 /srv/m/*.ko")
    call = "load-module finit /srv/m/dummy.ko 0 ''"
    assert box.run(call, uid=1000).stdout == "-1 EPERM\n"
    assert box.run(call, properties=["CapabilityBoundingSet=~CAP_SYS_MODULE"]).stdout == "-1 EPERM\n"
    assert box.run(f"unshare --user --map-root-user {call}").stdout == "-1 EPERM\n"
    assert "dummy" not in loaded(guest)
    reasons = {entry.get("DEPUTYD_REASON") for entry in guest.journal("DEPUTYD_SYSCALL=finit_module", "DEPUTYD_VERDICT=refused")}
    assert {"no-capability", "nested-userns"} <= reasons
    assert box.run(call).stdout == "0 OK\n"


def test_image_that_changes(box, guest):
    """Now a module that's lent, now one that isn't."""
    out = box.run(["load-module", "race-image", "40", "/srv/m/dummy.ko", "/srv/m/macsec.ko"], timeout=200).stdout
    assert sum(int(line.split()[1]) for line in out.splitlines()) == 40
    assert "macsec" not in loaded(guest)


def test_parameters_that_change(box, guest):
    box.policy("[Module]\nAllowParameters=\nAllowParameters=dummy.numdummies=1\n", "60-test.conf")
    guest.run(["deputyctl", "reload"])
    watcher = guest.spawn("while :; do if [ -e /sys/module/dummy ]; then ls /sys/class/net; rmmod dummy || true; fi; sleep 0.01; done", timeout=250)
    try:
        out = box.run(["load-module", "race-parameters", "40", "/srv/m/dummy.ko", "numdummies=1", "numdummies=7"], timeout=200).stdout
    finally:
        guest.run(f"rm /etc/deputyd/policy.d/{box.unit}.d/60-test.conf; deputyctl reload")
        watcher.kill()
    assert sum(int(line.split()[1]) for line in out.splitlines()) == 40
    assert "dummy6" not in watcher.stdout.read().split()


def test_file_that_hangs(box, guest):
    """A file of the container's that doesn't come holds up the call that names it, not for ever, and no other."""
    box.policy("[Intercept]\nCallTimeoutSec=5\n", "60-test.conf")
    guest.run(["deputyctl", "reload"])
    box.run("mkdir -p /srv/hang; [ -e /dev/fuse ] || mknod -m 600 /dev/fuse c 10 229")
    server = box.spawn(["fuse-hang", "read", "/srv/hang"], timeout=120)
    try:
        guest.wait_for(lambda: box.run("grep -q ' /srv/hang fuse' /proc/mounts", check=False).ok, 20, "the mount")
        hanging = box.spawn("load-module finit /srv/hang/file 0 ''", timeout=60)
        time.sleep(1)
        assert box.run("load-module finit /srv/m/dummy.ko 0 ''", timeout=15).stdout == "0 OK\n"
        assert hanging.wait(40) == 0
        assert hanging.stdout.read() == "-1 EPERM\n"
    finally:
        server.kill()
        guest.run(["pkill", "-9", "-x", "fuse-hang"], check=False)
        guest.run(f"rm /etc/deputyd/policy.d/{box.unit}.d/60-test.conf; deputyctl reload")


def test_netfilter_needs_no_lending(guest):
    """As the manual says: the kernel itself loads what root of a user namespace's rules need."""
    guest.run("modprobe -qr nft_masq nft_chain_nat nft_ct nf_tables || true")
    assert "nf_tables" not in loaded(guest)
    guest.run("""setpriv --reuid=1000 --regid=1000 --clear-groups unshare --user --map-root-user --net sh -ec '
        nft add table ip t
        nft "add chain ip t c { type nat hook postrouting priority 100; }"
        nft add rule ip t c ct state new masquerade'""")
    assert {"nf_tables", "nft_chain_nat", "nft_masq", "nft_ct"} <= loaded(guest)


def test_supervisors_that_die(box, guest):
    """Whenever that is, the call is made to its end by the next one, and its answer is the first load's."""
    killer = guest.spawn("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do pkill -9 -x deputy-supervis || true; sleep 0.3; done", timeout=60)
    for _ in range(3):
        assert box.run("load-module finit /srv/m/dummy.ko 0 ''", timeout=40).stdout == "0 OK\n"
        guest.run("rmmod dummy")
    killer.wait(60)
    assert guest.run("pgrep -c deputy-supervis", check=False).stdout.strip() in ("0", "1", "2")
