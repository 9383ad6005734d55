# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real unprivileged container, enabled with deputyctl: what programs in it can do now, and what they still can't."""

import pytest

# Where a node is made, and what has to be done to have such a place. $D is the directory.
PLACES = {
    "root": "D=/places; mkdir -p $D",
    "dev": "D=/dev/places; mkdir -p $D",
    "tmp": "D=/tmp/places; mkdir -p $D",
    "tmpfs-made-inside": "D=/mnt/tmpfs; mkdir -p $D; mountpoint -q $D || mount -t tmpfs none $D",
    "overlay-made-inside": "D=/mnt/overlay; mkdir -p $D /srv/lower; mountpoint -q /srv/upper || { mkdir -p /srv/upper; mount -t tmpfs none /srv/upper; }; "
                           "mkdir -p /srv/upper/u /srv/upper/w; mountpoint -q $D || mount -t overlay -o lowerdir=/srv/lower,upperdir=/srv/upper/u,workdir=/srv/upper/w none $D",
}

PROGRAMS = {
    "mknod": "mknod $N c 1 3",
    "cp": "cp -a /dev/null $N",
    "tar": "cd /; mkdir -p /tmp/made; [ -e /made.tar ] || { mknod -m 666 /made c 1 3; tar -C / -cf /made.tar made; }; tar -C $D --transform=s,made,${N##*/}, -xf /made.tar",
    "cpio": "cd /; [ -e /made2 ] || mknod -m 666 /made2 c 1 3; mkdir -p $D/cpio; printf 'made2\\n' | cpio -o -H newc >/made.cpio 2>/dev/null; cd $D; cpio -i --quiet </made.cpio; [ -c made2 ]; N=$D/made2",
    "rsync": "mkdir -p /sync; [ -e /sync/made3 ] || mknod -m 666 /sync/made3 c 1 3; rsync -aD /sync/ $D/; N=$D/made3",
}

CHECK = '[ -c $N ]; [ "$(stat -c %t:%T $N)" = 1:3 ]; echo x >$N; [ "$(wc -c <$N)" = 0 ]'


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("place", PLACES)
def test_node_made_by_program_opens(demo, place, program):
    demo.run(f"{PLACES[place]}; N=$D/{program}; {PROGRAMS[program]}; {CHECK}")


def test_enable_shows_in_systemctl_cat(demo):
    shown = demo.host.systemctl("cat", demo.unit).stdout
    assert "deputy-run" in shown and "Requires=deputyd.socket" in shown


def test_target_is_listed_with_unit_and_machine(demo):
    target = demo.host.target(demo.unit)
    assert target["machine"] == demo.name
    assert target["state"] in ("idle", "active")
    assert demo.unit in demo.host.run(["deputyctl", "--no-pager", "list"]).stdout


@pytest.mark.parametrize("what, command", {
    "device-not-lent": "mknod /refused b 8 0",
    "other-minor": "mknod /refused c 1 1",
    "block-for-character": "mknod /refused b 1 3",
    "dropped-capability": "capsh --drop=cap_mknod --inh= -- -c 'mknod /refused c 1 3'",
    "nested-user-namespace": "cd /tmp; unshare -Ur mknod /tmp/refused c 1 3",
    "cleared-effective-capability": "calls --drop=mknod mknod /refused c 600 1:3 | grep -v EPERM",
}.items())
def test_refused(demo, what, command):
    result = demo.run(command, check=False)
    assert not result.ok
    assert "Operation not permitted" in result.stderr or what == "cleared-effective-capability"
    assert not demo.run("test -e /refused || test -e /tmp/refused", check=False).ok


def test_refused_as_ordinary_user(demo):
    result = demo.run("mknod /tmp/user-node c 1 3", uid=1000, check=False)
    assert not result.ok and "Operation not permitted" in result.stderr


def test_node_belongs_to_its_maker(demo):
    demo.run("mknod -m 640 /mine c 1 3; chown 7:8 /mine")
    assert demo.run("stat -c '%u %g %a' /mine").stdout.split() == ["7", "8", "640"]
    demo.run("rm /mine")


def test_32_bit_caller(demo):
    if not demo.run("test -x /usr/local/bin/calls-32", check=False).ok:
        pytest.skip("calls-32 wasn't built: no 32-bit C library")
    out = demo.run("calls-32 mknod /n32 c 640 1:3 , mknodat cwd /n32at c 640 1:3 , mknod /n32b b 640 8:0 , "
                   "setxattr / trusted.overlay.from32 y 0 , setxattr / trusted.other y 0; stat -c %t:%T /n32; rm /n32 /n32at").stdout
    assert out.splitlines() == ["mknod 0 OK", "mknodat 0 OK", "mknod -1 EPERM", "setxattr 0 OK", "setxattr -1 EPERM", "1:3"]


# -- extended attributes -----------------------------------------------------------------------------------------


def test_setfattr_is_seen_from_the_host(demo):
    demo.run("mkdir -p /opaque; setfattr -n trusted.overlay.opaque -v y /opaque")
    assert 'trusted.overlay.opaque="y"' in demo.host.run(["getfattr", "--absolute-names", "-d", "-m-", f"{demo.root}/opaque"]).stdout
    demo.run("setfattr -x trusted.overlay.opaque /opaque")
    assert "opaque=" not in demo.host.run(["getfattr", "--absolute-names", "-d", "-m-", f"{demo.root}/opaque"]).stdout


def test_other_trusted_name_is_refused(demo):
    result = demo.run("mkdir -p /opaque; setfattr -n trusted.other -v y /opaque", check=False)
    assert not result.ok and "Operation not permitted" in result.stderr
    assert "trusted.other" not in demo.host.run(["getfattr", "--absolute-names", "-d", "-m-", f"{demo.root}/opaque"]).stdout


@pytest.mark.parametrize("how, command", {
    "dropped-capability": "capsh --drop=cap_sys_admin --inh= -- -c 'setfattr -n trusted.overlay.opaque -v y /etc'",
    "nested-user-namespace": "unshare -Ur setfattr -n trusted.overlay.opaque -v y /tmp",
}.items())
def test_setfattr_without_the_capability_is_refused(demo, how, command):
    result = demo.run(command, check=False)
    assert not result.ok and "Operation not permitted" in result.stderr


def test_setcap_and_user_attributes_are_left_alone(demo):
    before = received(demo)
    demo.run("cp /bin/true /with-cap; setcap cap_net_raw+ep /with-cap; getcap /with-cap | grep -q cap_net_raw; "
             "setfattr -n user.note -v hello /with-cap; getfattr -n user.note /with-cap | grep -q hello; rm /with-cap")
    after = received(demo)
    assert emulated(demo) == after["emulated"]
    assert after["refused"] == before["refused"]


def test_read_back(host):
    """ReadBack=yes: getfattr, rsync -X and tar --xattrs see what was written."""
    container = host.container("readback")
    container.policy("[Intercept]\nSystemCalls=setxattr mknod\n[Mknod]\nAllowDevice=c 1:3\n[Setxattr]\nAllowName=trusted.overlay.*\nReadBack=yes\n")
    container.enable()
    container.start()
    container.run("mkdir -p /d; setfattr -n trusted.overlay.opaque -v y /d; setfattr -n user.plain -v z /d")
    assert container.run(["getfattr", "--only-values", "--absolute-names", "-n", "trusted.overlay.opaque", "/d"]).stdout == "y"
    listed = container.run(["getfattr", "--absolute-names", "-m-", "/d"]).stdout
    assert "trusted.overlay.opaque" in listed and "user.plain" in listed
    container.run("rsync -aX /d/ /synced/")
    assert 'trusted.overlay.opaque="y"' in container.run(["getfattr", "--absolute-names", "-d", "-m-", "/synced"]).stdout
    container.run("tar -C / --xattrs --xattrs-include='*' -cf /d.tar d; mkdir /untarred; tar -C /untarred --xattrs --xattrs-include='*' -xf /d.tar")
    assert 'trusted.overlay.opaque="y"' in host.run(["getfattr", "--absolute-names", "-d", "-m-", f"{container.root}/untarred/d"]).stdout
    # What isn't lent stays unseen, even if the host has put it there.
    host.run(["setfattr", "-n", "trusted.other", "-v", "secret", f"{container.root}/d"])
    assert "trusted.other" not in container.run(["getfattr", "--absolute-names", "-d", "-m-", "/d"]).stdout
    container.stop()


# -- what must not be noticed ------------------------------------------------------------------------------------


def received(container):
    total = {}
    for row in container.host.counters(container.unit).values():
        for key, value in row.items():
            total[key] = total.get(key, 0) + value
    return total


def emulated(container):
    return received(container)["emulated"]


ORDINARY = ("mkdir -p /ordinary; cd /ordinary; mkfifo fifo; touch file; mknod pipe p; mknod whiteout c 0 0; cp -a /etc .; useradd ordinary; "
            "userdel ordinary; tar -cf - etc | tar -tf - >/dev/null; dpkg --verify adduser || true; rm -rf /ordinary")


def test_ordinary_work_is_left_to_the_kernel(demo):
    """Attributes and ACLs that cp -a and others set come along (a filter can't read names), and go on to the kernel."""
    before = received(demo)
    mknods = demo.host.counters(demo.unit)["mknodat"]["received"]
    demo.run(ORDINARY)
    after = received(demo)
    assert demo.host.counters(demo.unit)["mknodat"]["received"] == mknods
    assert (after["emulated"], after["refused"], after["failed"]) == (before["emulated"], before["refused"], before["failed"])


def test_ordinary_work_wakes_nobody_if_only_mknod_is_lent(host):
    container = host.container("quiet")
    container.enable("--profile=image-build")
    container.start()
    before = received(container)
    container.run(ORDINARY)
    assert received(container) == before
    container.stop()


def test_the_containers_own_start_is_not_reported_as_refused(host, demo):
    """systemd-nspawn makes its devices itself, as the host's root: nothing that anyone has to be told."""
    assert not [e for e in host.journal("DEPUTYD_VERDICT=refused", unit=demo.unit) if e.get("_COMM") == "systemd-nspawn" or "/var/lib/machines" in e.get("DEPUTYD_ARGUMENTS", "")]


# -- what one can see of it --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def watched(host):
    container = host.container("watched")
    container.enable("--profile=docker")
    container.start()
    yield container
    container.remove()


def test_refused_call_is_in_the_journal_of_the_unit(watched):
    watched.run("mknod /sda b 8 0", check=False)
    entries = watched.host.wait_for(lambda: watched.host.journal("DEPUTYD_VERDICT=refused", "DEPUTYD_REASON=device-not-lent", unit=watched.unit), 10, "the entry")
    entry = entries[-1]
    assert entry["DEPUTYD_SYSCALL"] in ("mknod", "mknodat")
    assert entry["DEPUTYD_UNIT"] == watched.unit
    assert entry["DEPUTYD_TARGET"] == watched.host.target(watched.unit)["id"]
    assert "8:0" in entry["DEPUTYD_ARGUMENTS"] and "/sda" in entry["DEPUTYD_ARGUMENTS"]
    assert entry["DEPUTYD_HINT"] == "[Mknod] AllowDevice=b 8:0"
    assert entry["MESSAGE_ID"] == "1010a284a947488ab40872fef80eef56"
    assert entry["OBJECT_PID"].isdigit() and entry["SYSLOG_IDENTIFIER"] == "deputyd"


def test_control_characters_in_a_path_stay_out_of_the_journal_line(watched):
    name = "/srv/line\nDEPUTYD_VERDICT=emulated\nMESSAGE=forged\x1b[31m"
    watched.run(["calls", "mknod", name, "b", "600", "8:0"])
    entries = watched.host.wait_for(lambda: [e for e in watched.host.journal("DEPUTYD_VERDICT=refused", unit=watched.unit) if "line" in str(e.get("DEPUTYD_ARGUMENTS"))], 20, "the entry")
    assert entries[-1]["DEPUTYD_SYSCALL"] == "mknod"
    assert entries[-1]["MESSAGE"] != "forged"
    assert all(isinstance(entries[-1][k], str) for k in ("MESSAGE", "DEPUTYD_ARGUMENTS")), "unprintable bytes weren't escaped"


def test_emulated_call_is_in_the_journal_of_the_unit(watched):
    watched.run("mknod /journal-node c 1 3")
    entries = watched.host.wait_for(lambda: watched.host.journal("DEPUTYD_VERDICT=emulated", unit=watched.unit), 10, "the entry")
    assert "journal-node" in entries[-1]["DEPUTYD_ARGUMENTS"]


def test_counters_on_dbus(watched):
    def total(key):
        return received(watched).get(key, 0)
    emulated_before, refused_before = total("emulated"), total("refused")
    watched.run("mknod /counted c 1 3; mknod /counted2 b 8 0 || true; mknod /counted2 b 8 0 || true")
    assert total("emulated") == emulated_before + 1
    assert total("refused") == refused_before + 2


def test_explain_names_the_line_that_would_lend_it(watched):
    watched.run("mknod /loop0 b 7 0", check=False)
    watched.host.run(["journalctl", "--sync"])
    assert "AllowDevice=b 7:0" in watched.host.run(["deputyctl", "--no-pager", "explain", watched.unit]).stdout


def test_reload_applies_to_a_running_container(watched):
    assert not watched.run("mknod /late b 7 0", check=False).ok
    watched.policy("[Mknod]\nAllowDevice=b 7:0\n")
    watched.host.run(["deputyctl", "reload"])
    watched.run("mknod /late b 7 0")
    watched.host.run(["rm", f"/etc/deputyd/policy.d/{watched.unit}.d/50-test.conf"])
    watched.host.run(["deputyctl", "reload"])
    assert not watched.run("mknod /later b 7 0", check=False).ok


def test_reload_says_when_a_restart_is_needed(watched):
    watched.policy("[Intercept]\nSystemCalls=\nSystemCalls=mknod\n", "zz-test.conf")  # after docker.conf
    watched.host.run(["deputyctl", "reload"])
    assert watched.host.target_property(watched.unit, "NeedsRestart") is True
    watched.host.run(["rm", f"/etc/deputyd/policy.d/{watched.unit}.d/zz-test.conf"])
    watched.host.run(["deputyctl", "reload"])
    assert watched.host.target_property(watched.unit, "NeedsRestart") is False


def test_broken_policy_is_pass_through(host):
    container = host.container("broken")
    container.policy("[Intercept]\nSystemCalls=mknod\n[Mknod\nAllowDevice=c 1:3\n")
    enabled = host.run(["deputyctl", "enable", container.unit], check=False)
    assert not enabled.ok and "50-test.conf:3" in enabled.stdout + enabled.stderr
    container.start()
    target = host.target(container.unit)
    if target:
        assert target["state"] == "pass-through"
        assert "50-test.conf:3" in host.target_property(container.unit, "PolicyError")
    assert not container.run("mknod /n c 1 3", check=False).ok
    assert any("50-test.conf" in e["MESSAGE"] for e in host.journal("SYSLOG_IDENTIFIER=deputyd") if isinstance(e["MESSAGE"], str))
    container.stop()


def test_target_goes_with_its_container(host):
    container = host.container("shortlived")
    container.enable("--profile=docker")
    container.start()
    container.run("mknod /n c 1 3")
    container.stop()
    host.wait_for(lambda: not host.target(container.unit), 10, "the target to go")
    host.run(["deputyctl", "disable", container.unit])
    assert "deputy-run" not in host.systemctl("cat", container.unit).stdout
    container.start()
    assert not container.run("mknod /n2 c 1 3", check=False).ok
    assert not host.target(container.unit)
    container.stop()


def test_reboot_of_the_container(host):
    container = host.container("rebooting")
    container.enable("--profile=docker")
    container.start()
    first = host.target(container.unit)["id"]
    container.run("systemctl reboot", check=False)
    host.wait_for(lambda: (host.target(container.unit) or {}).get("id") not in (None, first), 30, "the new target")
    host.wait_for(lambda: container.run(["true"], check=False).ok, 30, "the container's bus")
    container.run("mknod /n c 1 3")
    container.stop()
