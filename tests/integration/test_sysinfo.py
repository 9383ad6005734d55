# SPDX-License-Identifier: LGPL-2.1-or-later
"""sysinfo(2): a container sees what it has, and only itself.

The memory limits are those of a v1 controller, mounted beside the host's unified hierarchy; test_sysinfo_guest.py has the
others. Where neither is to be had, the tests that need one are skipped.
"""

import os
import re
import shutil
import time
from pathlib import Path

import pytest

MIB = 1 << 20
LIMIT = 512 * MIB
MEMORY = "/run/test-memory"
PROGRAMS = ("calls", "calls-32")


def parse(output):
    """What calls printed: [(errno's name, {field: number})]."""
    found = []
    for line in output.splitlines():
        if line.startswith("sysinfo "):
            found.append((line.split()[2], {}))
        elif line.startswith("  size="):
            found[-1][1].update((key, int(value)) for key, value in (word.split("=") for word in line.split()))
    return found


def ask(machine, program="calls", *options, **arguments):
    """The fields of one sysinfo(), sizes in bytes."""
    result = machine.run([program, *options, "sysinfo", "here"], **arguments)
    error, fields = parse(result.stdout)[0]
    assert error == "OK", result
    assert fields["size"] == (64 if program == "calls-32" else 112), result
    for name in ("totalram", "freeram", "sharedram", "bufferram", "totalswap", "freeswap"):
        fields[name] *= fields["mem_unit"]
    return fields


@pytest.fixture(scope="module")
def memory(host):
    """A directory for memory cgroups."""
    if not host.run(f"mkdir -p {MEMORY} && mount -t cgroup -o memory none {MEMORY}", check=False).ok:
        pytest.skip("there's no v1 memory controller; see test_sysinfo_guest.py")
    group = f"{MEMORY}/deputyd-test-sysinfo-{os.getpid()}"
    host.run(["mkdir", group])
    yield group
    host.wait_for(lambda: host.run(f"find {group} -depth -type d -exec rmdir {{}} \\; 2>/dev/null; test ! -e {group}", check=False).ok, 20, "the cgroup to be empty")
    host.run(["umount", "-l", MEMORY])  # supervisors keep it open


def move_all(host, container, group):
    """What's started in the container by its init is then in the cgroup as well."""
    leader = container.leader()
    host.run(f"for pid in $(ps -eo pid,pidns | awk -v ns=$(readlink /proc/{leader}/ns/pid | tr -dc 0-9) '$2 == ns {{print $1}}'); do echo $pid >{group}/cgroup.procs || true; done")
    assert group.removeprefix(MEMORY) in host.read(f"/proc/{leader}/cgroup")


@pytest.fixture(scope="module")
def sized(host, memory):
    """A container with the profile sysinfo and 512 MiB."""
    container = host.container("sized")
    container.enable("--profile=sysinfo")
    container.start()
    host.run(f"echo {LIMIT} >{memory}/memory.limit_in_bytes")
    move_all(host, container, memory)
    yield container
    container.remove()


@pytest.fixture(scope="module")
def plain(host):
    """A container with the profile and without limits."""
    container = host.container("unlimited")
    container.enable("--profile=sysinfo")
    container.start()
    yield container
    container.remove()


def skip_without(machine, program):
    if not machine.run(f"test -x /usr/local/bin/{program}", check=False).ok:
        pytest.skip(f"{program} wasn't built: no 32-bit C library")


@pytest.mark.parametrize("program", PROGRAMS)
def test_memory_is_what_the_cgroup_may_have(sized, memory, program):
    skip_without(sized, program)
    seen = ask(sized, program)
    assert seen["totalram"] == LIMIT and seen["mem_unit"] == 1
    usage = int(sized.host.read(f"{memory}/memory.usage_in_bytes"))
    stat = dict(line.split() for line in sized.host.read(f"{memory}/memory.stat").splitlines())
    cache = int(stat["total_active_file"]) + int(stat["total_inactive_file"])
    assert abs(seen["freeram"] - (LIMIT - usage + cache)) < 32 * MIB
    assert 0 < seen["freeram"] <= LIMIT
    assert seen["sharedram"] <= LIMIT and seen["bufferram"] == 0


@pytest.mark.parametrize("program", PROGRAMS)
def test_without_a_limit_memory_is_the_hosts(plain, program):
    skip_without(plain, program)
    natively, seen = ask(plain.host, program), ask(plain, program)
    for field in ("totalram", "totalswap", "mem_unit", "totalhigh"):
        assert seen[field] == natively[field], field
    assert abs(seen["freeram"] - natively["freeram"]) < 4096 * MIB


def test_smaller_limit_further_down_counts(sized, memory):
    """And so does a change of a limit, at once: the answer is a tenth of a second old at most."""
    host = sized.host
    inner = f"{memory}/inner"
    host.run(f"mkdir -p {inner}; echo {64 * MIB} >{inner}/memory.limit_in_bytes")
    script = "for i in $(seq 200); do read -r n </srv/go && break; sleep 0.05; done; calls sysinfo here; sleep 0.3; calls sysinfo here"
    sized.run("rm -f /srv/go")
    process = sized.spawn(["sh", "-c", "echo $$ >/srv/pid; " + script])
    inside = host.wait_for(lambda: host.run(f"cat {sized.root}/srv/pid", check=False).stdout.strip(), 20, "the shell")
    pid = host.wait_for(lambda: host.run(["sh", "-c", f"grep -lE '^NSpid:.*[[:space:]]{inside}$' /proc/[0-9]*/status | cut -d/ -f3 | xargs -I@ sh -c 'readlink /proc/@/ns/pid | grep -q $(readlink /proc/{sized.leader()}/ns/pid | tr -dc 0-9) && echo @'"], check=False).stdout.split(), 20, "its pid")[0]
    host.run(f"echo {pid} >{inner}/cgroup.procs; echo go >{sized.root}/srv/go")
    out = parse(process.communicate(timeout=60)[0])
    assert [fields["totalram"] for _, fields in out] == [64 * MIB] * 2
    host.run(f"echo {2 * LIMIT} >{inner}/memory.limit_in_bytes; rmdir {inner}", check=False)


def test_limit_that_changes(sized, memory):
    host = sized.host
    try:
        assert ask(sized)["totalram"] == LIMIT
        host.run(f"echo {LIMIT // 2} >{memory}/memory.limit_in_bytes")
        time.sleep(0.15)
        assert ask(sized)["totalram"] == LIMIT // 2
    finally:
        host.run(f"echo {LIMIT} >{memory}/memory.limit_in_bytes")
        time.sleep(0.15)


def test_shared_memory_and_page_cache(sized):
    """tmpfs is used and shared, page cache is free."""
    sized.run("mkdir -p /mnt/shm; mount -t tmpfs none /mnt/shm")
    before = ask(sized)
    sized.run("head -c 64M /dev/zero >/mnt/shm/file")
    # The kernel adds up what control groups use every two seconds.
    sized.host.wait_for(lambda: ask(sized)["sharedram"] - before["sharedram"] >= 60 * MIB, 10, "the file to be counted")
    assert before["freeram"] - ask(sized)["freeram"] >= 40 * MIB
    sized.run("umount /mnt/shm; head -c 64M /dev/zero >/srv/file; sync; cat /srv/file >/dev/null")
    sized.host.wait_for(lambda: ask(sized)["freeram"] >= before["freeram"] - 32 * MIB, 10, "the memory to be free again")
    sized.run("rm /srv/file")


def test_uptime_tasks_and_loads_are_the_containers(sized):
    host, leader = sized.host, sized.leader()
    age = int(host.run(["ps", "-o", "etimes=", "-p", str(leader)]).stdout)
    seen, natively = ask(sized), ask(host)
    assert age <= seen["uptime"] <= age + 5
    assert natively["uptime"] > seen["uptime"]

    unit = host.show(sized.unit, "ControlGroup")
    tasks = int(host.run(f"find /sys/fs/cgroup{unit}/payload -name cgroup.threads -exec cat {{}} + | wc -l").stdout)
    assert abs(seen["procs"] - tasks) <= 4
    assert 0 < seen["procs"] < natively["procs"]


def test_loads_follow_what_the_container_does(plain):
    """One task that runs all the time makes a load of one, as it approaches it."""
    before = ask(plain)
    process = plain.spawn(["timeout", "20", "sh", "-c", "while :; do :; done"])
    time.sleep(12)
    after = ask(plain)
    process.kill()
    process.wait()
    gained = (after["load1"] - before["load1"]) / 65536
    # 12 s of a load of 1 are 1 - exp(-12/60) = 0.18; some more while others wait, some less on a busy machine.
    assert 0.04 < gained < 1, (before, after)
    assert after["load1"] - before["load1"] > after["load15"] - before["load15"]


def test_time_namespace_tells_the_uptime(sized):
    out = sized.run("unshare -UrT --boottime 1000000 -f sh -c 'cut -d. -f1 /proc/uptime; calls sysinfo here'").stdout
    assert 0 <= parse(out)[0][1]["uptime"] - int(out.split()[0]) <= 2

    # Between unshare(2) and fork(2) it counts for children only.
    seen = ask(sized, "calls", "--userns", "--timens")
    assert seen["uptime"] < 500000
    out = sized.run("unshare -UrT --boottime 5000000 -f sh -c 'cut -d. -f1 /proc/uptime; calls --userns --timens sysinfo here'").stdout
    assert 0 <= parse(out)[0][1]["uptime"] - int(out.split()[0]) <= 2
    out = sized.run("unshare -UrT --boottime 5000000 -f calls --userns --timens --fork sysinfo here").stdout
    assert 1000000 < parse(out)[0][1]["uptime"] < 5000000


def test_busybox(sized):
    out = sized.run("busybox free -m; busybox free -b").stdout.splitlines()
    # Only the total: what's used it reckons with the page cache in /proc/meminfo, which is the host's and may be more
    # than there is here.
    megabytes, in_bytes = [line for line in out if line.startswith("Mem:")]
    assert re.match(r"Mem: +512", megabytes) and re.match(rf"Mem: +{LIMIT}", in_bytes)
    assert re.search(r"\bup 0 min|\bup [1-9] min", sized.run("busybox uptime").stdout)


def test_programs_that_size_themselves(sized, memory):
    assert sized.run("getconf _PHYS_PAGES").stdout.strip() == str(LIMIT // 4096)
    host = sized.host
    # As services of the host, where such programs are.
    run = f"echo 0 >{memory}/cgroup.procs; exec deputy-run --profile=sysinfo -- "
    assert host.run(run + """python3 -c 'import os; print(os.sysconf("SC_PHYS_PAGES"))'""").stdout.strip() == str(LIMIT // 4096)
    if shutil.which("java"):
        # Its own reading of cgroups turned off: a quarter of what sysconf() says.
        out = host.run(run + "java -XX:-UseContainerSupport -XX:+PrintFlagsFinal -version 2>&1").stdout
        assert int(re.search(r"\bMaxHeapSize\s*=\s*(\d+)", out).group(1)) == LIMIT // 4


def test_service_without_a_container(host, memory):
    """Its own limits, whoever it runs as, without AllowUsers=; all else is the host's."""
    host.run(f"echo {LIMIT} >{memory}/memory.limit_in_bytes")
    run = f"echo 0 >{memory}/cgroup.procs; exec deputy-run --profile=sysinfo -- setpriv --reuid=1000 --clear-groups calls sysinfo here"
    seen = parse(host.run(run).stdout)[0][1]
    natively = ask(host)
    assert seen["totalram"] == LIMIT
    assert abs(seen["uptime"] - natively["uptime"]) <= 2
    assert abs(seen["procs"] - natively["procs"]) < 200


CALLERS = {
    "user": ["--uid=1000"], "no capability": ["--drop=all"], "nested user namespace": ["--userns"],
    "user's user namespace": ["--uid=1000", "--userns"], "thread": ["--thread=with"], "thread whose leader has ended": ["--thread=alone"],
    "child": ["--fork"], "chroot": ["--chroot=/srv"],
}


@pytest.mark.parametrize("options", CALLERS.values(), ids=CALLERS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_everyone_is_answered(sized, program, options):
    skip_without(sized, program)
    assert ask(sized, program, *options)["totalram"] == LIMIT


def test_nested_pid_namespace(sized):
    """Its own init, tasks of the same cgroup, the same limits."""
    out = parse(sized.run("unshare -pf --mount-proc sh -c 'sleep 1.2; calls sysinfo here'").stdout)[0][1]
    assert out["totalram"] == LIMIT
    assert out["uptime"] in (2, 3)
    # (A procfs of its own it may not have where parts of the container's are covered.)
    out = parse(sized.run("unshare -Urpf calls sysinfo here", uid=1000).stdout)[0][1]
    assert out["totalram"] == LIMIT and out["uptime"] == 1


WHERE = ("@null", "@bad", "@readonly", "@cut:0", "@cut:1", "@cut:50", "@cut:63", "@cut:64", "@cut:65", "@cut:111", "@cut:112")


@pytest.mark.parametrize("program", PROGRAMS)
def test_unwritable_memory_as_natively(sized, program):
    skip_without(sized, program)
    words = " , ".join(f"sysinfo {where}" for where in WHERE)

    def outcomes(machine):
        # Whatever the numbers: what was returned, and how many bytes were written. (A byte of the
        # answer may happen to be the filler.)
        return [(error, fields.get("size", 0)) for error, fields in parse(machine.run(f"{program} {words}").stdout)]

    assert outcomes(sized) == outcomes(sized.host)


@pytest.mark.parametrize("program", PROGRAMS)
def test_memory_that_only_the_caller_can_write(host, program):
    """Nobody else can write to it, so the kernel answers. (In a container memfd_secret() isn't allowed.)"""
    skip_without(host, program)
    if not host.run("calls sysinfo @secret", check=False).ok:
        pytest.skip("the kernel has no memfd_secret(2)")
    (error, fields), = parse(host.run(["deputy-run", "--profile=sysinfo", "--", program, "sysinfo", "@secret"]).stdout)
    assert (error, fields["size"]) == ("OK", 64 if program == "calls-32" else 112)


def counted(result):
    return {word: int(n) for word, n in (line.split() for line in result.stdout.splitlines())}


def test_memory_that_is_unmapped_meanwhile(sized):
    out = counted(sized.run(["sysinfo-race", "unmap", 30000], timeout=120))
    assert out["OK"] + out["EFAULT"] == 30000 and out["OK"] > 0 and out["EFAULT"] > 0


def test_file_in_the_place_of_memory_is_not_written(sized):
    out = counted(sized.run(["sysinfo-race", "file", 30000], timeout=120))
    assert out["OK"] + out["EFAULT"] == 30000 and out["broken"] == 0


def test_memory_that_is_filled_late(sized):
    """By userfaultfd(2), as that of a process that's restored lazily: the caller waits, and nobody else does."""
    setting = Path("/proc/sys/vm/unprivileged_userfaultfd")
    if not setting.exists():
        pytest.skip("the kernel has no userfaultfd")
    before = setting.read_text()
    setting.write_text("1")
    try:
        out = counted(sized.run(["sysinfo-race", "late", 20]))
    finally:
        setting.write_text(before)
    assert out == {"OK": 20, "EFAULT": 0, "other": 0, "broken": 0}


def test_many_threads(sized):
    """More than there are places for threads, which is slower and still right."""
    out = counted(sized.run(["sysinfo-race", "threads", 3000, 48], timeout=200))
    assert out["OK"] == 3000 * 48 and out["broken"] == 0


def test_sibling_executes_a_set_user_id_program(sized):
    sized.run("cp /usr/local/bin/sysinfo-race /srv/suid-victim; chmod 4755 /srv/suid-victim")
    out = counted(sized.run(["sysinfo-race", "exec", 300, "/srv/suid-victim"], timeout=120))
    assert out == {"OK": 300, "EFAULT": 0, "other": 0, "broken": 0}


def test_id_of_a_killed_caller_is_reused(sized):
    out = counted(sized.run(["sysinfo-race", "pid", 300], timeout=120))
    assert out == {"OK": 300, "EFAULT": 0, "other": 0, "broken": 0}


def test_many_namespaces_and_processes(sized):
    """What's kept of them is bounded, and none is kept for ever."""
    host = sized.host

    def descriptors():
        pids = host.run(["pgrep", "-x", "deputy-supervis"], check=False).stdout.split()
        return max(int(host.run(f"ls /proc/{p}/fd | wc -l", check=False).stdout or 0) for p in pids)

    sized.run("for i in $(seq 60); do unshare -pf calls sysinfo here; calls sysinfo here; done", timeout=120)
    assert descriptors() < 600
    time.sleep(11)
    ask(sized)
    assert descriptors() < 250


def test_calls_are_counted_and_not_journalled(sized):
    host = sized.host
    before = host.counters(sized.unit)["sysinfo"]
    sized.run("calls sysinfo here , sysinfo @null")
    after = host.counters(sized.unit)["sysinfo"]
    assert after["emulated"] >= before["emulated"] + 2
    assert after["failed"] == before["failed"] and after["refused"] == before["refused"] == 0
    assert not host.journal("DEPUTYD_SYSCALL=sysinfo", unit=sized.unit)


def test_what_is_set_takes_effect_with_a_reload(sized):
    """With lxcfs' formula, page cache is used."""
    host = sized.host
    sized.run("head -c 100M /dev/zero >/srv/cached; sync; cat /srv/cached >/dev/null")
    kernel = ask(sized)
    sized.policy("[Sysinfo]\nFormula=lxcfs\nCacheMSec=0\n")
    try:
        host.run(["deputyctl", "reload"])
        time.sleep(0.5)
        lxcfs = ask(sized)
    finally:
        sized.policy("")
        host.run(["deputyctl", "reload"])
        sized.run("rm -f /srv/cached")
    assert lxcfs["totalram"] == LIMIT
    assert kernel["freeram"] - lxcfs["freeram"] > 80 * MIB
