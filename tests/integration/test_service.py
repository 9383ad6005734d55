# SPDX-License-Identifier: LGPL-2.1-or-later
"""Services without a container: a user who's lent one device, and a program that needs nothing of ours but the socket."""

import pytest

UNIT = "plain.service"

SERVICE = """
[Unit]
Description=A service that wants a device node
[Service]
Type=oneshot
RemainAfterExit=yes
User=nobody
NoNewPrivileges=yes
StateDirectory=plain
ExecStart=/bin/sh -c 'cd /var/lib/plain; rm -f null sda; mknod null c 1 3; mknod sda b 8 0; echo done'
"""

POLICY = """
[Intercept]
SystemCalls=mknod
AllowUsers={users}
[Mknod]
AllowDevice=c 1:3
"""


@pytest.fixture()
def plain(host):
    host.write(f"/etc/systemd/system/{UNIT}", SERVICE)
    host.write(f"/etc/deputyd/policy.d/{UNIT}.d/50-test.conf", POLICY.format(users="nobody"))
    host.systemctl("daemon-reload")
    yield UNIT
    host.systemctl("stop", UNIT, check=False)
    host.run(["deputyctl", "disable", UNIT], check=False)
    host.run("rm -rf /var/lib/plain /etc/deputyd/policy.d/plain.service.d /etc/systemd/system/plain.service")
    host.systemctl("daemon-reload")


def kinds(host):
    return host.run("cd /var/lib/plain 2>/dev/null && find . -mindepth 1 -printf '%f:%y:%u ' || true").stdout.split()


def test_without_deputyd_nothing_is_lent(host, plain):
    host.systemctl("restart", plain)
    assert kinds(host) == []


def test_enabled_service_gets_its_device_and_no_other(host, plain):
    host.run(["deputyctl", "enable", plain])
    shown = host.systemctl("cat", plain).stdout
    assert "deputy-run" in shown and "Requires=deputyd.socket" in shown
    host.systemctl("restart", plain)
    assert kinds(host) == ["null:c:nobody"]
    assert host.run("stat -c %t:%T /var/lib/plain/null").stdout.strip() == "1:3"


def test_disabled_service_is_as_before(host, plain):
    before = host.systemctl("cat", plain).stdout
    host.run(["deputyctl", "enable", plain])
    host.systemctl("restart", plain)
    host.run(["deputyctl", "disable", plain])
    assert host.systemctl("cat", plain).stdout == before
    host.run("rm -f /var/lib/plain/null")
    host.systemctl("restart", plain)
    assert kinds(host) == []


def test_user_that_is_not_named(host, plain):
    host.write(f"/etc/deputyd/policy.d/{UNIT}.d/50-test.conf", POLICY.format(users="daemon"))
    host.run(["deputyctl", "enable", plain])
    host.systemctl("restart", plain)
    assert kinds(host) == []
    refused = host.wait_for(lambda: host.journal("DEPUTYD_VERDICT=refused", "DEPUTYD_REASON=user-not-lent", unit=plain), 10, "the entry")
    assert refused[-1]["DEPUTYD_UNIT"] == plain


def test_user_cannot_reach_where_it_could_not(host, plain):
    """Lent is the device, not the directory."""
    host.run(["deputyctl", "enable", plain])
    host.write(f"/etc/systemd/system/{UNIT}.d/90-elsewhere.conf",
               "[Service]\nExecStartPost=/usr/bin/deputy-run -- /bin/sh -c 'mknod /etc/null c 1 3; mknod /var/lib/null c 1 3; true'\n")
    host.systemctl("daemon-reload")
    host.systemctl("restart", plain)
    assert not host.run("test -e /etc/null || test -e /var/lib/null", check=False).ok
    host.run(f"rm -r /etc/systemd/system/{UNIT}.d/90-elsewhere.conf")


def test_hardened_service(host, plain):
    host.write(f"/etc/systemd/system/{UNIT}.d/60-hard.conf",
               "[Service]\nProtectSystem=strict\nProtectHome=yes\nPrivateTmp=yes\nProtectKernelModules=yes\nRestrictRealtime=yes\nCapabilityBoundingSet=\n"
               "RestrictAddressFamilies=AF_UNIX AF_INET\nSystemCallFilter=@system-service mknod mknodat seccomp\n")
    host.run(["deputyctl", "enable", plain])
    host.systemctl("daemon-reload")
    host.systemctl("restart", plain)
    assert kinds(host) == ["null:c:nobody"]
    host.run(f"rm -r /etc/systemd/system/{UNIT}.d")


# -- a program that knows only sd_notify(3) ---------------------------------------------------------------------


def test_third_party_sender(host):
    unit = "third-party.service"
    host.write(f"/etc/deputyd/policy.d/{unit}.d/50-test.conf", POLICY.format(users="nobody"))
    host.run("mkdir -p /var/lib/third-party; chown nobody /var/lib/third-party")
    result = host.unit_run(["notify-sender", "calls", "mknodat", "cwd", "/var/lib/third-party/null", "c", "640", "1:3", ",",
                            "mknodat", "cwd", "/var/lib/third-party/sda", "b", "640", "8:0", ",", "mknodat", "cwd", "/etc/x", "c", "640", "1:3"],
                           unit=unit, properties=["User=nobody", "Environment=NOTIFY_SOCKET=/run/deputyd/notify"])
    assert result.stdout.splitlines() == ["mknodat 0 OK", "mknodat -1 EPERM", "mknodat -1 EACCES"]
    assert host.run("stat -c '%t:%T %U %a' /var/lib/third-party/null").stdout.split() == ["1:3", "nobody", "640"]
    host.run("rm -rf /var/lib/third-party /etc/deputyd/policy.d/third-party.service.d")
    host.wait_for(lambda: not host.target(unit), 10, "the target to go")


def test_third_party_sender_without_a_policy_is_pass_through(host):
    result = host.unit_run(["notify-sender", "calls", "mknodat", "cwd", "/tmp/no-policy", "c", "640", "1:3"], unit="no-policy.service",
                           properties=["User=nobody", "Environment=NOTIFY_SOCKET=/run/deputyd/notify"])
    assert result.stdout.splitlines() == ["mknodat -1 EPERM"]


@pytest.fixture
def policy(host):
    path = "/run/embedded.conf"
    host.write(path, "[Intercept]\nSystemCalls=sysinfo mknod\nAllowUsers=nobody\n[Mknod]\nAllowDevice=c 1:3\n")
    yield path
    host.run(["rm", path])


def test_supervisor_in_a_pid_namespace_of_its_own(host, policy):
    """Numbers of processes are those of its namespace, whatever /proc is there: here it's still the host's."""
    run = f"unshare --pid --fork deputy-run --policy={policy} --"
    out = host.run(f"{run} unshare --pid --fork --mount-proc sh -c 'sleep 1.2; calls sysinfo here'").stdout
    host_uptime = float(host.read("/proc/uptime").split()[0])
    assert int(out.split("uptime=")[1].split()[0]) < host_uptime / 2, out


def test_supervisor_that_would_take_callers_for_others(host, policy):
    """The same, where it may not mount a procfs: nothing is run."""
    without = "setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin"
    result = host.run(f"unshare --pid --fork {without} deputy-run --policy={policy} -- echo run", check=False)
    assert result.returncode == 125 and result.stdout == "" and "another pid namespace" in result.stderr, result
    node = "sh -c 'd=$(mktemp -d); chown nobody $d; setpriv --reuid=nobody --clear-groups mknod $d/null c 1 3; stat -c %F $d/null; rm -r $d'"
    result = host.run(f"unshare --pid --fork --mount-proc {without} deputy-run --policy={policy} -- {node}", check=False)
    assert result.stdout == "character special file\n", result
