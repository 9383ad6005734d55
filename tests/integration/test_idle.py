# SPDX-License-Identifier: LGPL-2.1-or-later
"""What idle targets cost.

No more of them than a kernel survives whose BPF code deadlocks when a thousand filters are freed at once (see
docs/architecture.md): the whole host may be killed while they live. bench/run measures 1,000 and 10,000.
"""

import os
import subprocess
import time

TARGETS = int(os.environ.get("DEPUTYD_TEST_IDLE_TARGETS", "500"))
UNIT = "idle.service"
POLICY = """
[Intercept]
SystemCalls=mknod
AllowUsers=root
IdleSec=1
[Mknod]
AllowDevice=c 1:3
"""


def memory(host, pid):
    """Private memory of the process in KiB."""
    rollup = host.read(f"/proc/{pid}/smaps_rollup")
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith(("Private_Clean:", "Private_Dirty:")))


def processor_ticks(host, pid):
    fields = host.read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def supervisors(host):
    return len(host.run(["pgrep", "-x", "deputy-supervis"], check=False).stdout.split())


def kept_pages(host, pid):
    """How many descriptors the process has, and the pages of memory that each of those to memory has."""
    links = host.run(f"readlink /proc/{pid}/fd/*").stdout.splitlines()
    blocks = host.run(f"stat -L -c %b /proc/{pid}/fd/*").stdout.split()
    return len(links), [int(b) * 512 // 4096 for link, b in zip(links, blocks, strict=True) if link.startswith("/memfd:")]


def test_many_idle_targets(host):
    host.write(f"/etc/deputyd/policy.d/{UNIT}.d/50-test.conf", POLICY)
    host.systemctl("start", "deputyd.service")
    pid = host.pid_of()
    before = memory(host, pid)
    n_before = len(host.targets())
    process = host.unit_spawn(["idle-targets", str(TARGETS)], UNIT, stdin=subprocess.PIPE,
                              properties=["CapabilityBoundingSet=~CAP_MKNOD", "Environment=NOTIFY_SOCKET=/run/deputyd/notify", "TasksMax=infinity", "LimitNOFILE=8192"])
    try:
        begin = time.monotonic()
        line = process.stdout.readline()
        assert line == "ready\n", line + process.stderr.read()
        assert time.monotonic() - begin < 60
        assert len(host.targets()) == n_before + TARGETS
        assert host.pid_of() == pid

        each = (memory(host, pid) - before) / TARGETS
        assert each <= 16, f"{each:.1f} KiB for each idle target"
        entries = host.run("find /run/deputyd/targets -mindepth 1 -printf '%y %b\\n'").stdout.split("\n")[:-1]
        assert entries == ["l 0"] * (n_before + TARGETS), "what has to be known after a restart takes pages of its own"

        host.wait_for(lambda: supervisors(host) == 0, 60, "supervisors to leave")
        ticks = processor_ticks(host, pid)
        time.sleep(5)
        assert processor_ticks(host, pid) - ticks <= 2, "deputyd is busy although nobody calls"

        n_descriptors, pages = kept_pages(host, pid)
        busy = (0, 1, TARGETS // 2, TARGETS - 1)
        for target in busy:
            process.stdin.write(f"{target}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "+\n"

        # Idle again, each keeps its counters and the table of calls in flight, in one page.
        host.wait_for(lambda: supervisors(host) == 0, 60, "supervisors to leave again")
        n_descriptors_then, pages_then = kept_pages(host, pid)
        assert n_descriptors_then == n_descriptors + len(busy)
        assert sorted(pages_then) == sorted(pages + [1] * len(busy))

        host.systemctl("restart", "deputyd.service", timeout=120)
        assert len(host.targets()) == n_before + TARGETS
        process.stdin.write("7\n")
        process.stdin.flush()
        assert process.stdout.readline() == "+\n"
    finally:
        process.stdin.close()
        process.wait(60)
    host.wait_for(lambda: len(host.targets()) == n_before, 60, "the targets to go")
    host.run("rm -r /etc/deputyd/policy.d/idle.service.d")
