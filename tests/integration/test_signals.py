# SPDX-License-Identifier: LGPL-2.1-or-later
"""Signals that hit a caller while its call is served: the call is made once, and isn't interrupted."""

import json

import pytest


def storm(container, directory, *options, seconds=5):
    """Runs the storm in an empty directory of the container; returns what it counted."""
    container.run(["mkdir", "-p", directory])
    result = container.run(["storm", f"--seconds={seconds}", f"--dir={directory}", *options], check=False, timeout=seconds + 60)
    assert result.stdout, result
    return json.loads(result.stdout)


def assert_each_made_once(counted):
    bad = {k: counted[k] for k in ("eexist", "eperm", "enosys", "other", "wrong_node", "unlink_failed", "acted_though_failed", "leftovers") if counted[k]}
    assert not bad, counted
    assert counted["calls"] > 100, counted


def test_calm(demo):
    counted = storm(demo, "/srv/calm", seconds=3)
    assert_each_made_once(counted)
    assert counted["ok"] == counted["calls"]


@pytest.mark.parametrize("threads", [1, 4])
def test_signals_with_restarting_handlers(demo, threads):
    counted = storm(demo, f"/srv/signals-{threads}", "--signals", f"--threads={threads}")
    assert counted["signals"] > 1000
    assert_each_made_once(counted)
    assert counted["eintr"] == 0 and counted["ok"] == counted["calls"]


def test_signals_without_restarting_handlers(demo):
    """A signal before deputyd has received the call may interrupt it, as the kernel has it: then nothing was done."""
    counted = storm(demo, "/srv/signals-plain", "--signals", "--no-restart")
    assert_each_made_once(counted)
    assert counted["ok"] + counted["eintr"] == counted["calls"]


def test_killed_callers_leave_no_trouble(demo):
    demo.run("mkdir -p /srv/killed; cd /srv/killed; for i in $(seq 100); do storm --seconds=100 --threads=2 --dir=/srv/killed & p=$!; sleep 0.0$((i % 5)); kill -9 $p; wait $p || true; done 2>/dev/null",
             timeout=120)
    demo.run("mknod /after-killed c 1 3; rm /after-killed")
