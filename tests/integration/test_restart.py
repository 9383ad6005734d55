# SPDX-License-Identifier: LGPL-2.1-or-later
"""What happens to deputyd costs its targets a pause, and nothing else: while four threads of a container loop over mknod
and unlink, deputyd and its supervisors are killed and restarted. No call fails, none is made twice."""

import json
import time

import pytest


def kill_daemon(host):
    host.run(["kill", "-9", str(host.wait_for(host.pid_of, 5, "deputyd to kill"))])


def kill_supervisor(host):
    # Its name as the kernel has it, cut off after 15 characters. There may be none for a moment, but not often.
    killed = host.wait_for(lambda: int(host.run(["pkill", "-9", "-c", "-x", "deputy-supervis"], check=False).stdout), 5, "a supervisor to kill")
    assert killed >= 1


def kill_both(host):
    host.systemctl("kill", "--signal=KILL", "deputyd.service", check=False)


def restart(host):
    host.systemctl("restart", "deputyd.service")


def reexec(host):
    host.systemctl("daemon-reexec")


def reload(host):
    host.run(["deputyctl", "reload"])


def run_storm(container, name, seconds, disturb, every):
    """Storms for some seconds while disturb(n) is called every so often."""
    host = container.host
    directory = f"/srv/restart-{name}"
    container.run(["mkdir", "-p", directory])
    begin = time.monotonic()
    storm = container.spawn(["storm", f"--seconds={seconds}", "--threads=4", f"--dir={directory}"], timeout=seconds + 60)
    n = 0
    time.sleep(0.5)
    while time.monotonic() < begin + seconds - 1:
        disturb(n)
        n += 1
        time.sleep(every)
    out, err = storm.communicate(timeout=seconds + 90)
    assert out, err + "".join(e["MESSAGE"] + "\n" for e in host.journal(unit="deputyd.service")[-20:] if isinstance(e["MESSAGE"], str))
    counted = json.loads(out)
    assert n >= 2
    bad = {k: v for k, v in counted.items() if k not in ("calls", "ok", "signals", "last_error", "max_usec") and v}
    assert not bad, counted
    assert counted["ok"] == counted["calls"] > 1000, counted
    return counted


@pytest.fixture(autouse=True)
def fresh_start_limits(host):
    """Killing it on purpose again and again is more than what StartLimitBurst= expects of bugs."""
    host.systemctl("reset-failed", "deputyd.service", "deputyd.socket", check=False)
    yield


@pytest.mark.parametrize("disturb", [restart, reexec, reload], ids=lambda f: f.__name__)
def test_no_call_is_lost(demo, disturb):
    run_storm(demo, disturb.__name__, 8, lambda n: disturb(demo.host), 1.5)


@pytest.mark.parametrize("disturb", [kill_supervisor, kill_daemon, kill_both], ids=lambda f: f.__name__)
def test_no_call_is_lost_by_a_crash(demo, disturb):
    """As often as neither systemd (5 starts in 10 s) nor deputyd give up on something that crashes."""
    run_storm(demo, disturb.__name__, 10, lambda n: disturb(demo.host), 2.5)


def test_everything_at_once_for_30_seconds(demo):
    ways = [kill_supervisor, restart, kill_daemon, reexec, kill_both, restart]

    def disturb(n):
        demo.host.systemctl("reset-failed", "deputyd.service", check=False)
        ways[n % len(ways)](demo.host)

    run_storm(demo, "all", 30, disturb, 1)


def test_idle_target_survives_a_restart(demo):
    host = demo.host
    host.systemctl("restart", "deputyd.service")
    assert host.target(demo.unit), "the target isn't listed after a restart"
    demo.run("mknod /after-restart c 1 3; rm /after-restart")


def test_idle_target_survives_a_crash(demo):
    host = demo.host
    before = host.target(demo.unit)["id"]
    kill_daemon(host)
    demo.run("mknod /after-crash c 1 3; rm /after-crash")
    assert host.wait_for(lambda: host.target(demo.unit), 10, "the target")["id"] == before


def test_counters_survive_a_restart(demo):
    host = demo.host
    demo.run("mknod /counted c 1 3; rm /counted")
    before = host.counters(demo.unit)["mknodat"]["emulated"]
    assert before > 0
    host.systemctl("restart", "deputyd.service")
    assert host.counters(demo.unit)["mknodat"]["emulated"] >= before


def test_stop_ends_the_lending_until_the_container_restarts(host, demo):
    """PID 1 forgets the listeners of a service that's stopped; from version 254 on only if it's told to, and until then calls
    wait for the next deputyd."""
    before = host.target(demo.unit)["id"]
    host.systemctl("stop", "deputyd.service")
    if int(host.show("deputyd.service", "NFileDescriptorStore") or 0) > 0:
        waiting = demo.spawn("mknod /while-stopped c 1 3; rm /while-stopped")
        time.sleep(2)
        assert waiting.poll() is None
        host.systemctl("start", "deputyd.service")
        out, err = waiting.communicate(timeout=60)
        assert waiting.returncode == 0, out + err
        assert host.target(demo.unit)["id"] == before
        host.systemctl("stop", "deputyd.service")
        host.systemctl("clean", "--what=fdstore", "deputyd.service")
    assert not demo.run("mknod /while-stopped c 1 3", check=False).ok
    demo.start()
    demo.run("mknod /after-stop c 1 3; rm /after-stop")
