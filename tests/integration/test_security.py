# SPDX-License-Identifier: LGPL-2.1-or-later
"""A container that attacks: what it changes while its call is served, and what it tells that isn't so."""

import pytest

RACES = 10000


def counted(result):
    return {word: int(n) for word, n in (line.split() for line in result.stdout.splitlines())}


@pytest.fixture(scope="module")
def evil(host):
    """A container that sees a directory of the host's root, which nobody in it may write to."""
    container = host.container("evil", settings="[Files]\nBind=/srv/hosts:/hosts\n")
    host.run("mkdir -p /srv/hosts && chmod 755 /srv/hosts")
    container.enable("--profile=docker")
    container.start()
    yield container
    container.remove()


@pytest.fixture(autouse=True)
def nothing_got_out(request, evil):
    yield
    host = evil.host
    assert host.run("find /srv/hosts -mindepth 1").stdout == ""
    # Whatever was made, it's a device that's lent.
    made = host.run(f"find {evil.root}/srv {evil.root}/tmp -xdev \\( -type b -o -type c \\) -exec stat -c %t:%T {{}} +", check=False).stdout.split()
    assert set(made) <= {"1:3"}
    assert host.run("find / /tmp /run -maxdepth 1 -name escaped").stdout == ""


def test_directory_of_the_host_is_out_of_reach(evil):
    result = evil.run("mknod /hosts/n c 1 3", check=False)
    assert not result.ok and "Permission denied" in result.stderr


def test_path_that_changes_in_memory(evil):
    evil.run("mkdir -p /srv/memory")
    out = counted(evil.run(["race", "memory", RACES, "/srv/memory/a", "/hosts/memory"[:13]], timeout=120))
    assert sum(out.values()) == RACES


def test_link_that_is_swapped(evil):
    evil.run("mkdir -p /srv/link/good")
    out = counted(evil.run(f"cd /srv/link; race link {RACES} good /hosts", timeout=120))
    assert sum(out.values()) == RACES and out["OK"] > 0


def test_directory_that_becomes_a_link(evil):
    evil.run("mkdir -p /srv/swap/swap-a; ln -sfn /hosts /srv/swap/swap-b")
    out = counted(evil.run(f"cd /srv/swap; race swap {RACES} x x", timeout=120))
    assert sum(out.values()) == RACES and out["OK"] > 0


def test_directory_that_moves_out_of_a_chroot(evil):
    """Natively ".." of a directory that left the chroot may lead out; never farther than the container's own root, though."""
    evil.run("mkdir -p /srv/deep/jail/deep/a/b; cd /srv/deep; race deep 3000 jail x", timeout=120)
    assert evil.run("find / -xdev -name escaped", check=False).stdout.strip() in ("", "/srv/deep/jail/escaped", "/escaped", "/escaped\n/srv/deep/jail/escaped")
    evil.run("rm -f /escaped")


def test_attribute_name_that_changes(evil):
    evil.run("mkdir -p /srv/name; touch /srv/name/file")
    out = counted(evil.run(f"cd /srv/name; race name {RACES} trusted.overlay.opaque trusted.otherthing.opa", timeout=120))
    assert sum(out.values()) == RACES
    attributes = evil.host.run(["getfattr", "--absolute-names", "-m-", f"{evil.root}/srv/name/file"]).stdout
    names = [line for line in attributes.splitlines() if line.startswith("trusted.")]
    assert all(name.startswith("trusted.overlay.") for name in names), attributes


def test_sibling_executes_a_set_user_id_program(evil):
    """The leader's id goes to the privileged program that a sibling executes: what the leader asked for isn't done with that authority."""
    evil.run("cp /bin/sleep /srv/suid-sleep; chmod 4755 /srv/suid-sleep; mkdir -p /srv/exec; chmod 777 /srv/exec")
    out = counted(evil.run(["race", "exec", 300, "/srv/exec/node", "/srv/suid-sleep"], timeout=120))
    assert out["OK"] == 0


def test_id_of_a_killed_caller_is_reused(evil):
    evil.run("mkdir -p /srv/pid; chmod 777 /srv/pid")
    out = counted(evil.run(["race", "pid", 300, "/srv/pid/node", "x"], timeout=120))
    assert out["OK"] == 0


def test_root_of_a_nested_user_namespace(evil):
    out = evil.run("mkdir -p /tmp/nested; chmod 777 /tmp/nested; calls --userns mknod /tmp/nested/n c 600 1:3 , setxattr /tmp/nested trusted.overlay.opaque y 0", check=False).stdout
    assert out.splitlines() == ["mknod -1 EPERM", "setxattr -1 EPERM"]


def test_nested_user_namespace_of_an_ordinary_user(evil):
    out = evil.run("cd /tmp; calls --uid=1000 --userns mknod /tmp/n c 600 1:3 , setxattr /tmp trusted.overlay.opaque y 0", check=False).stdout
    assert out.splitlines() == ["mknod -1 EPERM", "setxattr -1 EPERM"]


def test_nested_container_with_full_range_is_not_the_container(evil):
    """A user namespace that maps all ids of the container's, made by its root, isn't the container's own."""
    result = evil.run("unshare --user --map-users=0,0,60000 --map-groups=0,0,60000 calls mknod /srv/fullmap c 600 1:3", check=False)
    assert "OK" not in result.stdout


@pytest.mark.parametrize("what, call, error", [
    ("path-of-PATH_MAX", "mknod @long:4096 c 600 1:3", "ENAMETOOLONG"),
    ("path-of-a-megabyte", "mknod @long:1048576 c 600 1:3", "ENAMETOOLONG"),
    ("path-null", "mknod @null c 600 1:3", "EFAULT"),
    ("path-unmapped", "mknod @bad c 600 1:3", "EFAULT"),
    ("path-cut", "mknod @cut:abc c 600 1:3", "EFAULT"),
    ("path-empty", "mknod @empty c 600 1:3", "ENOENT"),
    ("value-64KiB-and-1", "setxattr /srv trusted.overlay.x @size:65537 0", "E2BIG"),
    ("value-1MiB", "setxattr /srv trusted.overlay.x @size:1048576 0", "E2BIG"),
    ("name-256", "setxattr /srv @long:256 y 0", "ERANGE"),
    ("name-1MiB", "setxattr /srv @long:1048576 y 0", "ERANGE"),
    ("name-empty", "setxattr /srv @empty y 0", "ERANGE"),
    ("name-null", "setxattr /srv @null y 0", "EFAULT"),
    ("name-cut", "setxattr /srv @cut:trusted.overlay.x y 0", "EFAULT"),
    ("value-unmapped", "setxattr /srv trusted.overlay.x @bad 0", "EFAULT"),
], ids=lambda v: v if isinstance(v, str) and " " not in v else "")
def test_odd_input(evil, what, call, error):
    assert evil.run(f"calls {call}").stdout.split()[-1] == error


def test_supervisor_keeps_no_descriptors_of_its_callers(evil):
    """A leak of one descriptor per call would show after thousands of calls."""
    def descriptors():
        pids = evil.host.run(["pgrep", "-x", "deputy-supervis"], check=False).stdout.split()
        return sum(int(evil.host.run(f"ls /proc/{p}/fd | wc -l", check=False).stdout or 0) for p in pids)
    # The entries of 32 threads are kept; they're to be there before, whatever ran before this.
    evil.run("mkdir -p /srv/leak; for i in $(seq 40); do calls mknod @null c 600 1:3; done >/dev/null")
    evil.run("mkdir -p /srv/leak; storm --seconds=1 --dir=/srv/leak; calls setxattr /srv trusted.overlay.x y 0 , mknod @null c 600 1:3 , mknod /none/x c 600 1:3")
    before = descriptors()
    evil.run("storm --seconds=3 --dir=/srv/leak; for i in $(seq 100); do calls setxattr /srv trusted.overlay.x y 0 , mknod @null c 600 1:3 , mknod /none/x c 600 1:3 , mknod /srv/leak c 600 8:0; done >/dev/null",
             timeout=120)
    assert descriptors() <= before + 8


def test_many_nodes_by_bind_mount(evil):
    """Where a node can't be opened, a mount takes its place; there may be more of them than a few."""
    out = evil.run("mkdir -p /mnt/many; mount -t tmpfs none /mnt/many; cd /mnt/many; for i in $(seq 300); do calls mknod n$i c 666 1:3; done | sort | uniq -c; echo x >n300; cd /; umount -R /mnt/many", timeout=120).stdout
    assert out.split() == ["300", "mknod", "0", "OK"]
