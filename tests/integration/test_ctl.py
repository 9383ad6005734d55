# SPDX-License-Identifier: LGPL-2.1-or-later
"""deputyctl: what works without a daemon, and enable/disable with a real PID 1.

Commands are recorded by a shell that prints its own /proc/PID/cmdline, argv[0] included: what a service sees
before it's enabled is what it must see afterwards.
"""

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from host import BUILD

CTL = BUILD / "ctl" / "deputyctl"
UNITS = "/etc/systemd/system"
MARKER = '# Written by "deputyctl enable"'

POLICY = """\
[Intercept]
SystemCalls=mknod setxattr
[Mknod]
AllowDevice=c 1:3
AllowDevice=b 7:*
[Setxattr]
AllowName=trusted.overlay.*
"""


def ctl(*argv, env=None, **kwargs):
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "DEPUTYD_POLICY_PATH": "/nonexistent",
                   "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent", **(env or {})}
    return subprocess.run([CTL, *map(str, argv)], capture_output=True, text=True, timeout=20, env=environment, **kwargs)


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "site.conf"
    path.write_text(POLICY)
    return path


@pytest.fixture
def tree(tmp_path):
    """A policy directory, and the environment that makes it the only one."""
    directory = tmp_path / "policy.d"
    directory.mkdir()
    return directory, {"DEPUTYD_POLICY_PATH": str(directory)}


# -- usage ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [
    ("--nonsense",), ("frobnicate",), ("enable",), ("list", "x"), ("policy",), ("filter",), ("filter", "a", "b"), ("--json=xml",),
    ("status", "--lines=many"), ("filter", "--format=elf", "a"), ("reload", "--now"), ("disable", "--profile=docker", "x"),
])
def test_bad_usage_is_2(argv):
    done = ctl(*argv)
    assert done.returncode == 2
    assert done.stderr and not done.stdout


@pytest.mark.parametrize("typed,meant", [("lst", "list"), ("stauts", "status"), ("polciy", "policy"), ("disabel", "disable"), ("ver", "verify")])
def test_did_you_mean(typed, meant):
    assert f'did you mean "{meant}"?' in ctl(typed).stderr


def test_no_wild_guess():
    assert "did you mean" not in ctl("frobnicate").stderr


def test_version_and_help():
    assert ctl("--version").stdout.startswith("deputyd ")
    assert ctl("--help").returncode == 0


@pytest.mark.parametrize("argv", [(), ("list",), ("status",), ("status", "a.service"), ("reload",), ("enable", "a.service"), ("disable", "a.service")])
def test_no_bus_is_a_sentence(argv):
    done = ctl(*argv)
    assert done.returncode == 1
    assert "no system bus here" in done.stderr


# -- policy ---------------------------------------------------------------------------------------------------


def test_policy_of_a_file_is_policy(policy, tmp_path):
    shown = ctl("policy", policy)
    assert shown.returncode == 0
    assert f"# {policy}:4\nAllowDevice=c 1:3\n" in shown.stdout
    again = tmp_path / "again.conf"
    again.write_text(shown.stdout)
    first, second = (json.loads(ctl("policy", "--json=short", p).stdout)[0] for p in (policy, again))
    assert [(a["section"], a["key"], a["value"]) for a in first["assignments"]] == [(a["section"], a["key"], a["value"]) for a in second["assignments"]]


def test_policy_of_a_unit_merges(tree):
    directory, env = tree
    for unit, name, value in (("a@.service.d", "10-x.conf", "c 1:3"), ("a@b.service.d", "20-y.conf", "c 1:5")):
        (directory / unit).mkdir()
        (directory / unit / name).write_text(f"[Intercept]\nSystemCalls=mknod\n[Mknod]\nAllowDevice={value}\n")
    shown = json.loads(ctl("policy", "--json=pretty", "a@b", env=env).stdout)
    assert len(shown) == 1 and shown[0]["unit"] == "a@b.service"
    assert [(a["value"], Path(a["file"]).name, a["line"]) for a in shown[0]["assignments"] if a["key"] == "AllowDevice"] == [
        ("c 1:3", "10-x.conf", 4), ("c 1:5", "20-y.conf", 4)]


def test_policy_warns_and_fails(tmp_path):
    warned = tmp_path / "warned.conf"
    warned.write_text(POLICY + "Bogus=1\n")
    done = ctl("policy", warned)
    assert done.returncode == 0 and f"{warned}:8: " in done.stderr
    broken = tmp_path / "broken.conf"
    broken.write_text("[Intercept\n")
    done = ctl("policy", broken)
    assert done.returncode == 1 and f"{broken}:1: " in done.stderr


def test_policy_without_any(tree):
    directory, env = tree
    done = ctl("policy", "nothing.service", env=env)
    assert done.returncode == 0 and str(directory) in done.stdout


@pytest.mark.parametrize("argument", ["", "a b", "x.service.d", "é"])
def test_what_is_no_unit(argument):
    done = ctl("policy", argument)
    assert done.returncode in (0, 1)
    if done.returncode:
        assert "neither a unit's name nor a file" in done.stderr


def test_missing_file():
    done = ctl("policy", "/nonexistent/x.conf")
    assert done.returncode == 1 and "/nonexistent/x.conf" in done.stderr


# -- verify ---------------------------------------------------------------------------------------------------


def test_verify_levels(policy, tmp_path):
    assert ctl("verify", policy).returncode == 0
    warned = tmp_path / "warned.conf"
    warned.write_text(POLICY + "Bogus=1\n")
    done = ctl("verify", warned)
    assert done.returncode == 0 and f"{warned}:8: warning:" in done.stdout
    assert ctl("verify", "--strict", warned).returncode == 1
    assert ctl("verify", "--strict", policy).returncode == 0
    broken = tmp_path / "broken.conf"
    broken.write_text("[Intercept\n")
    done = ctl("verify", broken)
    assert done.returncode == 1 and f"{broken}:1: error:" in done.stdout


def test_verify_everything(tree):
    directory, env = tree
    for unit in ("a.service.d", "a-.service.d", "a@.service.d", "service.d", "scope.d"):
        (directory / unit).mkdir()
        (directory / unit / "x.conf").write_text(POLICY)
    assert ctl("verify", "--strict", env=env).stdout == "5 policy files checked.\n"
    (directory / "a.service.d" / "masked.conf").symlink_to("/dev/null")
    (directory / "a.service.d" / "forgotten").write_text("")
    (directory / "stray.conf").write_text("")
    (directory / "nounit.x.d").mkdir()
    found = json.loads(ctl("verify", "--json=short", env=env).stdout)
    assert sorted(Path(f["where"]).name for f in found) == ["forgotten", "nounit.x.d", "stray.conf"]
    (directory / "service.d" / "x.conf").write_text("[broken\n")
    done = ctl("verify", env=env)
    assert done.returncode == 1 and f"{directory}/service.d/x.conf:1: error:" in done.stdout


def test_verify_unit_without_bus(tree):
    done = ctl("verify", "a.service", env=tree[1])
    assert done.returncode == 0
    assert "aren't checked" in done.stderr and "no policy" in done.stdout


# -- filter ---------------------------------------------------------------------------------------------------


def test_filter_formats(policy):
    assert "mknod" in ctl("filter", policy).stdout
    assert "0x" in ctl("filter", "--format=c", policy).stdout
    program = json.loads(ctl("filter", "--json=short", policy).stdout)
    raw = subprocess.run([CTL, "filter", "--format=bpf", policy], capture_output=True, timeout=20)
    assert raw.returncode == 0 and len(raw.stdout) == 8 * len(program["program"])


def test_filter_keeps_bytes_off_a_terminal(policy):
    master, slave = pty.openpty()
    done = subprocess.run([CTL, "filter", "--format=bpf", policy], stdout=slave, stderr=subprocess.PIPE, text=True, timeout=20)
    os.close(slave)
    os.set_blocking(master, False)
    with pytest.raises((BlockingIOError, OSError)):
        os.read(master, 1)
    os.close(master)
    assert done.returncode == 1 and "terminal" in done.stderr


def test_filter_of_nothing(tmp_path):
    empty = tmp_path / "empty.conf"
    empty.write_text("[Intercept]\n")
    done = ctl("filter", empty)
    assert done.returncode == 1 and "nothing is intercepted" in done.stderr


# -- output ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["short", "pretty"])
@pytest.mark.parametrize("argv", [("policy", "FILE"), ("verify", "FILE"), ("verify",), ("filter", "FILE"), ("explain", "x.service")])
def test_json_is_valid(mode, argv, tmp_path):
    path = tmp_path / "x.conf"
    path.write_bytes(POLICY.encode() + b'AllowName=trusted.\xc3\xa9"\\\x7f\nBo\tgus="\n')
    done = ctl(f"--json={mode}", *(path if a == "FILE" else a for a in argv))
    json.loads(done.stdout)
    assert done.stdout == "[]\n" or (mode == "short") == (done.stdout.count("\n") == 1)


def on_terminal(argv, env):
    """Runs deputyctl with a terminal as stdout; what it writes there."""
    master, slave = pty.openpty()
    child = subprocess.Popen([CTL, *map(str, argv)], stdout=slave, stderr=slave, stdin=subprocess.DEVNULL,
                             env={"PATH": os.environ["PATH"], "TERM": "xterm", "LANG": "C.UTF-8", **env})
    os.close(slave)
    data = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        if not piece:
            break
        data += piece
    os.close(master)
    assert child.wait(timeout=20) == 0
    return data


@pytest.mark.parametrize("env,coloured", [({}, True), ({"NO_COLOR": "1"}, False), ({"SYSTEMD_COLORS": "0"}, False), ({"TERM": "dumb"}, False)])
def test_colours(policy, env, coloured):
    assert (b"\033[" in on_terminal(("policy", "--no-pager", policy), env)) == coloured


def test_no_colours_in_a_pipe(policy):
    assert "\033" not in ctl("policy", policy, env={"TERM": "xterm"}).stdout


def test_pager(policy):
    assert b"PAGED\r\n" in on_terminal(("policy", policy), {"SYSTEMD_PAGER": "echo PAGED; cat"})
    assert b"PAGED" not in on_terminal(("policy", "--no-pager", policy), {"SYSTEMD_PAGER": "echo PAGED; cat"})
    assert b"PAGED" in on_terminal(("policy", policy), {"PAGER": "echo PAGED; cat"})
    assert b"PAGED" not in on_terminal(("policy", policy), {"SYSTEMD_PAGER": "", "PAGER": "echo PAGED; cat"})


def test_escape_sequences_do_not_reach_the_terminal(tmp_path):
    path = tmp_path / "x.conf"
    path.write_bytes(POLICY.encode() + b"\x1b[2JBogus=1\n")
    done = ctl("verify", path)
    assert "\x1b" not in done.stdout + done.stderr
    assert "\x1b" not in ctl("policy", path).stderr


# -- enable and disable ----------------------------------------------------------------------------------------

RECORD = "/bin/sh -c 'cat /proc/$$$$/cmdline; env | grep ^V; id -u; echo' "
RECORD_RAW = RECORD.replace("$$$$", "$$")

COMMANDS = {
    "quotes": [RECORD + r'''one "two words" 'single "q"' "" '' "a\"b" 'c\'d' mid"dle "x'y z'w'''],
    "escapes": [RECORD + r'''a\x20b \u00e9 \101 "tab\there" new\nline \\ "ends in \\" '''],
    "specifiers": [RECORD + "100%% %%i %n %N %p %H %m %b %v /%t/%S"],
    "variables": [RECORD + "$V ${V} x${V}y $$V $UNSET ${UNSET} $V2"],
    "semicolons": [RECORD + r"a \; ';' b ; " + RECORD + "second"],
    "argv0": ["@/bin/sh my-name" + RECORD.removeprefix("/bin/sh") + "a", "@/bin/sh '-dash name'" + RECORD.removeprefix("/bin/sh") + "b"],
    "argv0-variable": ["@/bin/sh x${V}%p" + RECORD.removeprefix("/bin/sh") + "a"],
    "ignored-failure": ["-" + RECORD.replace("; echo", "; exit 3") + "a", RECORD + "after"],
    "no-expansion": [":" + RECORD_RAW + "$V ${V} $$"],
    "privileged": ["+" + RECORD + "a", "!" + RECORD + "b", RECORD + "c"],
    "three-lines": [RECORD + "1", RECORD + "2", RECORD + "3"],
    "relative": [RECORD.removeprefix("/bin/") + "a"],
    "continued": [RECORD + "a \\\n# a comment\n   b \\\n; another\n  c"],
    "options": [RECORD + "-- --argv0=x -h --help"],
    "odd": [RECORD + r'''# * ? [a] {b} ~ ! | & < > ( ) @ = , a%%b "{\"k\": \"v\"}" '$(x)' `y` '''],
}


def wipe(host, unit):
    host.systemctl("stop", unit, check=False)
    host.run(f"rm -rf {UNITS}/{unit} {UNITS}/{unit}.d /run/systemd/system/{unit}.d /etc/deputyd/policy.d/{unit}.d /run/deputyd/policy.d/{unit}.d /run/argv")
    host.systemctl("daemon-reload")


@pytest.fixture
def service(host, request):
    """Writes a unit file of the host; it's gone after the test."""
    units = []

    def write(text, unit=f"ctl-{request.node.name.split('[')[0].replace('_', '-')}.service"):
        wipe(host, unit)
        units.append(unit)
        host.write(f"{UNITS}/{unit}", text)
        host.systemctl("daemon-reload")
        return unit

    yield write
    for unit in units:
        wipe(host, unit)


def oneshot(commands, settings=""):
    lines = "".join(f"ExecStart={c}\n" for c in commands)
    return f"[Service]\nType=oneshot\nEnvironment='V=a b' V2=\nStandardOutput=append:/run/argv\n{settings}\n{lines}"


def recorded(host, unit):
    """What the unit's commands print of themselves."""
    host.run("rm -f /run/argv")
    host.systemctl("restart", unit)
    return host.run(["cat", "/run/argv"], binary=True).stdout


def drop_in(unit, tree="/etc"):
    return f"{tree}/systemd/system/{unit}.d/50-deputyd.conf"


def exists(host, path):
    return host.run(["test", "-e", path], check=False).ok


@pytest.mark.parametrize("name", COMMANDS)
def test_a_service_sees_the_same(host, service, name):
    unit = service(oneshot(COMMANDS[name], "User=nobody" if name == "privileged" else ""))
    before = recorded(host, unit)
    assert before
    host.run(["deputyctl", "enable", unit])
    text = host.read(drop_in(unit))
    assert text.startswith(MARKER)
    assert text.count("deputy-run") == COMMANDS[name][0].count(" ; ") + len(COMMANDS[name])
    assert "deputy-run" in host.show(unit, "ExecStart")
    assert recorded(host, unit) == before
    host.run(["deputyctl", "enable", unit])
    assert host.read(drop_in(unit)) == text
    host.run(["deputyctl", "disable", unit])
    assert not exists(host, f"{UNITS}/{unit}.d")
    assert "deputy-run" not in host.show(unit, "ExecStart")
    assert recorded(host, unit) == before


def test_specifiers_stay(host, service):
    unit = service(oneshot([RECORD + "%H 100%%"]))
    host.run(["deputyctl", "enable", unit])
    assert " %H 100%%\n" in host.read(drop_in(unit))


def test_template_and_instance(host, service):
    service(oneshot([RECORD + "%i %I %f %n"]), "ctl-template@.service")
    instance = r"ctl-template@a\x2db-c.service"
    before = recorded(host, instance)
    assert host.run(["deputyctl", "enable", "--now", "ctl-template@.service"], check=False).returncode == 1
    host.run(["deputyctl", "enable", "ctl-template@"])
    assert "%i %I %f %n" in host.read(drop_in("ctl-template@.service"))
    assert "deputy-run" in host.show(instance, "ExecStart")
    assert recorded(host, instance) == before
    # An instance may be enabled beside its template: it's still wrapped once.
    host.run(["deputyctl", "enable", instance])
    assert host.read(drop_in(instance)).count("deputy-run") == 1
    assert recorded(host, instance) == before
    host.run(["deputyctl", "disable", instance])
    host.run(["deputyctl", "disable", "ctl-template@.service"])
    assert "deputy-run" not in host.show(instance, "ExecStart")


def test_nspawn_is_as_documented(host):
    unit = "systemd-nspawn@ctl-demo.service"
    try:
        host.run(["deputyctl", "enable", unit, "--profile=docker"])
        text = host.read(drop_in(unit))
        assert "[Unit]\nRequires=deputyd.socket\nAfter=deputyd.socket deputyd.service\n\n[Service]\nExecStart=\nExecStart=/usr/bin/deputy-run -- systemd-nspawn " in text
        assert text.endswith("--machine=%i\n")
        link = f"/etc/deputyd/policy.d/{unit}.d/10-docker.conf"
        assert host.run(["readlink", link]).stdout == "/usr/lib/deputyd/profiles/docker.conf\n"
        assert json.loads(host.run(["deputyctl", "policy", "--json=short", unit]).stdout)[0]["files"]
    finally:
        host.run(["deputyctl", "disable", unit], check=False)
    assert not exists(host, f"/etc/deputyd/policy.d/{unit}.d") and not exists(host, f"{UNITS}/{unit}.d")


def test_profiles_add_up_and_go(host, service):
    unit = service(oneshot([RECORD]))
    directory = f"/etc/deputyd/policy.d/{unit}.d"
    host.write(f"{directory}/50-site.conf", POLICY)
    host.run(["ln", "-s", "/usr/lib/deputyd/profiles/image-build.conf", f"{directory}/image-build.conf"])
    host.run(["deputyctl", "enable", unit, "--profile=docker"])
    host.run(["deputyctl", "enable", unit])
    host.run(["deputyctl", "enable", unit, "--profile=image-build"])
    assert exists(host, f"{directory}/10-docker.conf")
    done = host.run(["deputyctl", "disable", unit])
    # The admin's own file and link stay.
    assert host.run(["ls", directory]).stdout.split() == ["50-site.conf", "image-build.conf"]
    assert f"{directory}/50-site.conf" in done.stdout
    assert "nothing to undo" in host.run(["deputyctl", "disable", unit]).stdout


def test_unknown_profile_lists_the_known(host, service):
    unit = service(oneshot([RECORD]))
    done = host.run(["deputyctl", "enable", unit, "--profile=doker"], check=False)
    assert done.returncode == 1 and all(name in done.stderr for name in ("docker", "image-build", "block-mount", "fuse-mount"))
    assert not exists(host, drop_in(unit))


def test_dry_run_and_runtime(host, service):
    unit = service(oneshot([RECORD]))
    plan = host.run(["deputyctl", "enable", "--dry-run", "--profile=docker", unit]).stdout
    assert drop_in(unit) in plan and "deputy-run -- /bin/sh" in plan and "10-docker.conf" in plan
    assert not exists(host, f"{UNITS}/{unit}.d") and not exists(host, f"/etc/deputyd/policy.d/{unit}.d")
    host.run(["deputyctl", "enable", "--runtime", "--profile=docker", unit])
    assert exists(host, drop_in(unit, "/run")) and exists(host, f"/run/deputyd/policy.d/{unit}.d/10-docker.conf")
    host.run(["deputyctl", "disable", "--dry-run", unit])
    assert exists(host, drop_in(unit, "/run"))
    host.run(["deputyctl", "disable", unit])
    assert not exists(host, drop_in(unit, "/run")) and not exists(host, f"/run/deputyd/policy.d/{unit}.d")


def test_changes_upstream_are_taken_up(host, service):
    unit = service(oneshot([RECORD + "old"]))
    host.run(["deputyctl", "enable", unit])
    host.write(f"{UNITS}/{unit}", oneshot([RECORD + "new"]))
    host.run(["deputyctl", "enable", unit])  # without a daemon-reload by hand
    text = host.read(drop_in(unit))
    assert " new\n" in text and " old\n" not in text


def test_drop_ins_of_others(host, service):
    unit = service(oneshot([RECORD + "main"]))
    host.write(f"{UNITS}/{unit}.d/40-admin.conf", f"[Service]\nExecStart=\nExecStart={RECORD}admin\n")
    host.systemctl("daemon-reload")
    host.run(["deputyctl", "enable", unit])
    assert " admin\n" in host.read(drop_in(unit)) and b"admin" in recorded(host, unit)
    host.run(["deputyctl", "disable", unit])
    host.run(["mv", f"{UNITS}/{unit}.d/40-admin.conf", f"{UNITS}/{unit}.d/90-admin.conf"])
    done = host.run(["deputyctl", "enable", unit], check=False)
    assert done.returncode == 1 and "90-admin.conf" in done.stderr and not exists(host, drop_in(unit))


def test_a_foreign_file_is_never_touched(host, service):
    unit = service(oneshot([RECORD]))
    host.write(drop_in(unit), "[Unit]\nDescription=Mine\n")
    for verb in ("enable", "disable"):
        done = host.run(["deputyctl", verb, unit], check=False)
        assert "wasn't written by deputyctl" in done.stderr
        assert host.read(drop_in(unit)) == "[Unit]\nDescription=Mine\n"


def test_wrapped_by_hand(host, service):
    unit = service(oneshot(["/usr/bin/deputy-run -- " + RECORD]))
    host.run(["deputyctl", "enable", unit])
    assert "ExecStart" not in host.read(drop_in(unit))
    host.run(["deputyctl", "disable", unit])


@pytest.mark.parametrize("unit,words", [
    ("user.slice", "slice"), ("init.scope", "scope"), ("basic.target", "only services"), ("no-such-unit.service", "There's no unit"),
    ("dbus.service", "can't be a target"), ("a b", "no unit's name"),
])
def test_what_cannot_be_enabled(host, unit, words):
    done = host.run(["deputyctl", "enable", unit], check=False)
    assert done.returncode == 1 and words in done.stderr, done
    assert not exists(host, f"{UNITS}/{unit}.d")


def test_now_restarts(host, service):
    unit = service("[Service]\nExecStart=/bin/sleep infinity\n")
    host.run(["deputyctl", "enable", "--now", unit])
    first = host.pid_of(unit)
    assert first
    host.wait_for(lambda: host.run(["cat", f"/proc/{first}/cmdline"]).stdout == "/bin/sleep\0infinity\0", 20, "deputy-run to execute it")
    host.run(["deputyctl", "disable", "--now", unit])
    assert host.pid_of(unit) not in (0, first)


# -- verify with a real PID 1 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("settings,where,words", [
    ("SystemCallFilter=@system-service\nSystemCallFilter=~seccomp", "error", "seccomp"),
    ("SystemCallFilter=~mknod", "warning", "before deputyd is asked: mknod"),
    ("RestrictAddressFamilies=AF_INET", "error", "RestrictAddressFamilies="),
    ("RestrictSUIDSGID=yes", "note", "RestrictSUIDSGID"),
    ("DevicePolicy=closed", "warning", "b 7:*"),
    ("PrivateDevices=yes", "warning", "PrivateDevices=yes lets it make, but not open"),
    ("DeviceAllow=/dev/full rw", "warning", "b 7:*"),
    ("User=nobody", "warning", "AllowUsers="),
    ("RootDirectory=/srv", "warning", "RootDirectory="),
])
def test_verify_finds_what_defeats_a_policy(host, service, settings, where, words):
    unit = service(oneshot([RECORD], settings))
    host.write(f"/etc/deputyd/policy.d/{unit}.d/50-site.conf", POLICY)
    found = json.loads(host.run(["deputyctl", "verify", "--json=short", unit], check=False).stdout)
    assert any(words in f["message"] and f["level"] == where for f in found), found


def test_verify_of_a_good_unit_is_silent(host, service):
    unit = service(oneshot([RECORD], "User=nobody\nNoNewPrivileges=yes\nDevicePolicy=closed\nDeviceAllow=block-loop rw"))
    host.write(f"/etc/deputyd/policy.d/{unit}.d/50-site.conf", POLICY + "[Intercept]\nAllowUsers=nobody\n")
    host.run(["deputyctl", "enable", unit])
    assert host.run(["deputyctl", "verify", "--strict", "--json=short", unit]).json() == []


def test_verify_says_what_is_not_wrapped(host, service):
    unit = service(oneshot([RECORD]))
    host.write(f"/etc/deputyd/policy.d/{unit}.d/50-site.conf", POLICY)
    assert f"deputyctl enable '{unit}'" in host.run(["deputyctl", "verify", unit]).stdout


def test_verify_nspawn_without_a_user_namespace(host, service):
    unit = service("[Service]\nExecStart=systemd-nspawn --boot --machine=ctl-x\n")
    host.write(f"/etc/deputyd/policy.d/{unit}.d/50-site.conf", POLICY)
    assert "has no user namespace" in host.run(["deputyctl", "verify", unit]).stdout
    host.write("/etc/systemd/nspawn/ctl-x.nspawn", "[Exec]\nPrivateUsers=pick\n")
    try:
        assert "has no user namespace" not in host.run(["deputyctl", "verify", unit]).stdout
    finally:
        host.run("rm /etc/systemd/nspawn/ctl-x.nspawn")


MODULES = "[Intercept]\nSystemCalls=finit_module\n[Module]\nAllowModule=dummy\n"


def test_enable_gives_nspawn_what_modules_take(host, service):
    unit = service("[Service]\nExecStart=systemd-nspawn -U --boot --machine=ctl-x\n")
    host.write(f"/etc/deputyd/policy.d/{unit}.d/50-site.conf", MODULES)
    found = host.run(["deputyctl", "verify", unit]).stdout
    assert "the container has no CAP_SYS_MODULE" in found
    assert "denies what the policy lends: init_module finit_module" in found
    host.run(["deputyctl", "enable", unit])
    assert 'deputy-run -- systemd-nspawn --capability=CAP_SYS_MODULE "--system-call-filter=init_module finit_module" -U ' in host.read(drop_in(unit))
    assert host.run(["deputyctl", "verify", "--strict", "--json=short", unit]).json() == []


TOKEN = "[Intercept]\nSystemCalls=bpf mount\n[Bpf]\nToken=delegate_cmds=prog_load delegate_progs=xdp delegate_attachs=xdp\n"


def test_bpf_tokens(host, service):
    """What nspawn has to give for them, and what whoever lends them should know."""
    unit = service("[Service]\nExecStart=systemd-nspawn -U --boot --machine=ctl-x\n")
    host.write(f"/etc/deputyd/policy.d/{unit}.d/50-site.conf", TOKEN)
    found = host.run(["deputyctl", "verify", unit]).stdout
    assert "50-site.conf:4: " in found and "have all of the kernel's verifier to try" in found
    assert "the container has no CAP_BPF" in found and "isn't intercepted" not in found
    host.run(["deputyctl", "enable", unit])
    assert "deputy-run -- systemd-nspawn --capability=CAP_BPF --system-call-filter=bpf -U " in host.read(drop_in(unit))
    left = host.run(["deputyctl", "verify", "--json=short", unit]).json()
    assert [f["level"] for f in left] == ["note"], left
    host.write(f"/etc/deputyd/policy.d/{unit}.d/50-site.conf", TOKEN.replace("bpf mount", "bpf"))
    assert "tokens are made of a file system, and mount isn't intercepted ([Intercept] SystemCalls=mount bpf)" in host.run(
        ["deputyctl", "verify", unit]).stdout
    host.write(f"/etc/deputyd/policy.d/{unit}.d/50-site.conf", TOKEN.replace("bpf mount", "mount"))
    assert "no token is lent, since bpf isn't intercepted ([Intercept] SystemCalls=mount bpf)" in host.run(["deputyctl", "verify", unit]).stdout


def test_bpf_alone_takes_no_capability(host, service):
    unit = service("[Service]\nExecStart=systemd-nspawn -U --boot --machine=ctl-x\n")
    host.write(f"/etc/deputyd/policy.d/{unit}.d/50-site.conf", "[Intercept]\nSystemCalls=bpf\n[Bpf]\nAllowProgram=cgroup-device\n")
    assert "CAP_BPF" not in host.run(["deputyctl", "verify", unit]).stdout
    host.run(["deputyctl", "enable", unit])
    assert "--capability" not in host.read(drop_in(unit))


@pytest.mark.parametrize("options, settings", [("", None), ("--private-users=no", None), ("-U --settings=override", "no"), ("-DU /x", None)])
def test_enable_gives_nothing_to_the_hosts_root(host, service, options, settings):
    """Without a user namespace the capability would be the host's, and the container could load what it likes."""
    unit = service(f"[Service]\nExecStart=systemd-nspawn {options} --boot --machine=ctl-x\n")
    host.write(f"/etc/deputyd/policy.d/{unit}.d/50-site.conf", MODULES)
    if settings:
        host.write("/etc/systemd/nspawn/ctl-x.nspawn", f"[Exec]\nPrivateUsers={settings}\n")
    try:
        found = host.run(["deputyctl", "verify", unit]).stdout
        assert "has no user namespace" in found and "adds --" not in found
        result = host.run(["deputyctl", "enable", unit])
        assert "without a user namespace" in result.stderr
        text = host.read(drop_in(unit))
        assert "deputy-run -- systemd-nspawn " in text and "--capability" not in text and "--system-call-filter" not in text
    finally:
        host.run("rm -f /etc/systemd/nspawn/ctl-x.nspawn")


@pytest.mark.parametrize("options, missing", [
    ("--capability=CAP_SYS_MODULE", False),
    ("--capability=CAP_SYS_TIME,CAP_SYS_MODULE", False),
    ("--capability CAP_SYS_MODULE", False),
    ("--capability=all", False),
    ("--capability=all --drop-capability=CAP_SYS_MODULE", True),
    ("--system-call-filter=@module", True),
])
def test_verify_reads_nspawns_capabilities(host, service, options, missing):
    unit = service(f"[Service]\nExecStart=/usr/bin/deputy-run -- systemd-nspawn -U {options} --boot --machine=ctl-x\n")
    host.write(f"/etc/deputyd/policy.d/{unit}.d/50-site.conf", MODULES)
    found = host.run(["deputyctl", "verify", unit]).stdout
    assert ("has no CAP_SYS_MODULE" in found) == missing
    assert "denies what the policy lends" not in found or "drop-capability" in options


@pytest.mark.parametrize("line, denied", [
    ("SystemCallFilter=bpf", "init_module finit_module"),
    ("SystemCallFilter=finit_module", "init_module"),
    ("SystemCallFilter=finit_module init_module", None),
    ("SystemCallFilter=@module", None),
    ("Capability=CAP_SYS_MODULE", None),
])
def test_verify_reads_nspawns_settings_file(host, service, line, denied):
    unit = service("[Service]\nExecStart=/usr/bin/deputy-run -- systemd-nspawn -U --boot --machine=ctl-x\n")
    host.write(f"/etc/deputyd/policy.d/{unit}.d/50-site.conf", MODULES)
    host.write("/etc/systemd/nspawn/ctl-x.nspawn", f"[Exec]\n{line}\n")
    try:
        found = host.run(["deputyctl", "verify", unit]).stdout
        assert (f"denies what the policy lends: {denied} (" in found) if denied else ("denies what" not in found)
        assert ("no CAP_SYS_MODULE" in found) == (not line.startswith("Capability"))
    finally:
        host.run("rm /etc/systemd/nspawn/ctl-x.nspawn")


@pytest.mark.parametrize("unit_has, options, line, level, hint", [
    (False, "", "", "note", "LimitMEMLOCK=infinity in [Service] of the unit and in [Exec] of its .nspawn file"),
    (True, "", "", "note", "LimitMEMLOCK=infinity in [Exec] of its .nspawn file"),
    (True, "", "LimitMEMLOCK=infinity", None, None),
    (True, "", "LimitMEMLOCK=8M:infinity", None, None),
    (True, "--rlimit=RLIMIT_NOFILE=9 --rlimit=RLIMIT_MEMLOCK=infinity --rlimit=RLIMIT_NPROC=9", "", None, None),
    (True, "--rlimit=RLIMIT_MEMLOCK=8M", "LimitMEMLOCK=infinity", "note", "[Exec]"),
    (True, "--rlimit=RLIMIT_MEMLOCK=8M --settings=override", "LimitMEMLOCK=infinity", None, None),
    (False, "", "LimitMEMLOCK=infinity", "warning", "[Service] LimitMEMLOCK=infinity"),
])
def test_verify_says_what_an_old_crun_takes(host, service, unit_has, options, line, level, hint):
    """It takes two settings; with one of them it looks as if all were well."""
    unit = service(f"[Service]\nLimitMEMLOCK={'infinity' if unit_has else '8M'}\n"
                   f"ExecStart=/usr/bin/deputy-run -- systemd-nspawn -U {options} --system-call-filter=bpf --boot --machine=ctl-x\n")
    host.write(f"/etc/deputyd/policy.d/{unit}.d/50-site.conf", "[Intercept]\nSystemCalls=bpf\n[Bpf]\nAllowProgram=cgroup-device\n")
    host.write("/etc/systemd/nspawn/ctl-x.nspawn", f"[Exec]\n{line}\n")
    try:
        findings = host.run(["deputyctl", "verify", "--json=short", unit]).json()
        assert [f["level"] for f in findings] == ([level] if level else []), findings
        assert not hint or ("RLIMIT_MEMLOCK" in findings[0]["message"] and hint in findings[0]["hint"]), findings
        # Addresses take no such limit.
        host.write(f"/etc/deputyd/policy.d/{unit}.d/50-site.conf", "[Intercept]\nSystemCalls=bpf\n[Bpf]\nAllowProgram=cgroup-skb\n")
        assert host.run(["deputyctl", "verify", "--json=short", unit]).json() == []
    finally:
        host.run("rm /etc/systemd/nspawn/ctl-x.nspawn")


@pytest.mark.parametrize("fuse, level, words", [("", "note", "mount(8) needs -t"), ("Fuse=xfs:fusexfs\n", "warning", "the programs of Fuse= need to")])
def test_verify_says_which_sources_stay_closed(host, service, fuse, level, words):
    policy = f"[Intercept]\nSystemCalls=mount\nAllowUsers=nobody\n[Mount]\nAllowType=ext4\nAllowSource=b 7:*\n{fuse}"
    for settings, found in ("DevicePolicy=closed", True), ("DevicePolicy=closed\nDeviceAllow=block-loop r", False), ("DevicePolicy=auto", False):
        unit = service(oneshot([RECORD], f"User=nobody\nNoNewPrivileges=yes\n{settings}"))
        host.write(f"/etc/deputyd/policy.d/{unit}.d/50-site.conf", policy)
        host.run(["deputyctl", "enable", unit])
        findings = host.run(["deputyctl", "verify", "--json=short", unit], check=False).json()
        assert [f["level"] for f in findings if words in f["message"] and "b 7:*" in f["message"]] == ([level] if found else []), findings


# -- explain ---------------------------------------------------------------------------------------------------

REFUSED = "1010a284a947488ab40872fef80eef56"


def log_refusal(host, unit, user=None, **fields):
    """An entry as a supervisor writes it; only root's count."""
    entry = {"MESSAGE": "mknod refused", "MESSAGE_ID": REFUSED, "PRIORITY": "5", "DEPUTYD_UNIT": unit, "DEPUTYD_TARGET": "1",
             "DEPUTYD_SYSCALL": "mknod", "DEPUTYD_VERDICT": "refused", "DEPUTYD_ERRNO": "1", "DEPUTYD_REASON": "device-not-lent",
             "DEPUTYD_ARGUMENTS": "/dev/sda block 8:0 mode 0660", "DEPUTYD_HINT": "[Mknod] AllowDevice=b 8:0", **fields}
    argv = ["logger", "--journald"] if not user else ["setpriv", f"--reuid={user}", "--clear-groups", "logger", "--journald"]
    host.run(argv, input="".join(f"{k}={v}\n" for k, v in entry.items() if v is not None))
    host.run(["journalctl", "--sync"])


def test_explain(host):
    unit = "ctl-explain.service"
    assert "knows of no call" in host.run(["deputyctl", "explain", unit]).stdout
    for _ in range(3):
        log_refusal(host, unit)
    log_refusal(host, unit, DEPUTYD_SYSCALL="setxattr", DEPUTYD_REASON="name-not-lent", DEPUTYD_ARGUMENTS="trusted.x \x1b[2J",
                DEPUTYD_HINT="[Setxattr] AllowName=trusted.x")
    log_refusal(host, unit, DEPUTYD_REASON="no-capability", DEPUTYD_HINT=None)
    log_refusal(host, unit, user="nobody", DEPUTYD_HINT="[Mknod] AllowDevice=b 66:6")
    log_refusal(host, "ctl-explain-other.service", DEPUTYD_HINT="[Mknod] AllowDevice=b 77:7")
    text = host.run(["deputyctl", "explain", unit]).stdout
    assert "refused (Operation not permitted), 3 times" in text
    assert "doesn't lend this device" in text and "never the authority" in text
    assert f"write to /etc/deputyd/policy.d/{unit}.d/50-site.conf" in text
    assert "    [Mknod]\n    AllowDevice=b 8:0\n" in text and "    [Setxattr]\n    AllowName=trusted.x\n" in text
    assert "\x1b" not in text and "66:6" not in text and "77:7" not in text

    explained = host.run(["deputyctl", "explain", "--json=short", unit]).json()
    assert [g["times"] for g in explained["refusals"]] == [3, 1, 1]
    # What it proposes is policy, and lends it.
    host.write("/run/ctl-explain/x.conf", "[Intercept]\nSystemCalls=mknod setxattr\n" + explained["policy"])
    assert host.run(["deputyctl", "verify", "--strict", "--json=short", "/run/ctl-explain/x.conf"]).json() == []
    assert host.run(["deputyctl", "explain", "--json=short", "--lines=1", unit]).json()["policy"] is None


# -- with deputyd ----------------------------------------------------------------------------------------------


def test_list_status_and_reload(host, service):
    unit = service("[Service]\nUser=nobody\nExecStart=/bin/sh -c 'cd /tmp; mknod ctl-null c 1 3; mknod ctl-disk b 8 0; sleep infinity'\n"
                   "ExecStartPost=+/bin/sleep 1\nExecStopPost=+/bin/rm -f /tmp/ctl-null\n")
    host.write(f"/etc/deputyd/policy.d/{unit}.d/50-site.conf", "[Intercept]\nSystemCalls=mknod\nAllowUsers=nobody\n[Mknod]\nAllowDevice=c 1:3\n")
    host.run(["deputyctl", "enable", "--now", unit])

    listed = [t for t in host.run(["deputyctl", "list", "--json=short"]).json() if t["unit"] == unit]
    assert len(listed) == 1
    target = listed[0]
    assert target["total"]["received"] == 2 and target["total"]["emulated"] == 1 and target["total"]["refused"] == 1
    text = host.run(["deputyctl"]).stdout
    assert text.startswith("UNIT ") and unit in text and text.rstrip().endswith("listed.")
    assert host.run(["deputyctl", "list", "--no-legend"]).stdout.splitlines()[0].split()[0] != "UNIT"

    for name in (unit, unit.removesuffix(".service"), target["id"], str(host.pid_of(unit))):
        shown = host.run(["deputyctl", "status", "--json=short", name]).json()
        assert [s["target"]["id"] for s in shown] == [target["id"]]
    host.wait_for(lambda: "8:0" in host.run(["deputyctl", "status", unit]).stdout, 10, "the refused call in the journal")
    assert "AllowDevice=b 8:0" in host.run(["deputyctl", "explain", unit]).stdout
    manager = host.run(["deputyctl", "status", "--json=pretty"]).json()
    assert manager["version"] and manager["n_targets"] >= 1

    host.write(f"/etc/deputyd/policy.d/{unit}.d/60-more.conf", "[Intercept]\nSystemCalls=setxattr\n")
    assert f"systemctl restart '{unit}'" in host.run(["deputyctl", "reload"]).stderr
    assert host.run(["deputyctl", "status", "--json=short", unit]).json()[0]["target"]["needs_restart"]


def test_status_of_what_is_no_target(host):
    done = host.run(["deputyctl", "status", "systemd-logind.service", "999999"], check=False)
    assert done.returncode == 1
    assert "deputyctl enable systemd-logind.service" in done.stderr and "Process 999999 belongs to no target" in done.stderr
