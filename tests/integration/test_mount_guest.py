# SPDX-License-Identifier: LGPL-2.1-or-later
"""mount(2) on the kernel that Debian ships, which knows less of idmapped mounts and has file systems as modules."""

import subprocess

import pytest

IMAGES = {
    "ext4": "truncate -s 16M $I; mkfs.ext4 -q -d $S -E root_owner=0:0 $I",
    "xfs": "truncate -s 320M $I; mkfs.xfs -q $I",
    "btrfs": "truncate -s 128M $I; mkfs.btrfs -q -r $S $I",
    "squashfs": "mksquashfs $S $I -quiet -no-progress",
    "erofs": "mkfs.erofs $I $S",
    "iso9660": "xorriso -as mkisofs -quiet -R -o $I $S",
    "vfat": "truncate -s 16M $I; mkfs.vfat $I",
}
WITHOUT_FILES = ("xfs", "vfat")


@pytest.fixture(scope="module")
def disks(guest, tmp_path_factory):
    directory = tmp_path_factory.mktemp("images")
    tree = directory / "tree"
    tree.mkdir()
    tree.chmod(0o755)
    (tree / "hello").write_text("hello\n")
    subprocess.run(["mknod", "-m", "666", tree / "null", "c", "1", "3"], check=True)
    made = {}
    for kind, command in IMAGES.items():
        image = directory / kind
        subprocess.run(["sh", "-ec", f"I={image}; S={tree}; {command} >/dev/null 2>&1"], check=True, timeout=120)
        made[kind] = guest.attach(image)
    yield made
    for device in made.values():
        guest.detach(device)


@pytest.fixture(scope="module")
def block(guest, disks):
    binds = "\n".join(f"Bind={node}:/dev/disk-{kind}" for kind, node in disks.items())
    container = guest.container("block", settings=f"[Files]\n{binds}\n")
    container.policy(f"[Intercept]\nSystemCalls=mount bpf\nLogRateLimitBurst=0\nCallTimeoutSec=3min\n[Mount]\nAllowType={' '.join(disks)} tmpfs hugetlbfs\n"
                     f"AllowSource=none {' '.join(disks.values())}\nAllowLoop=yes\n"
                     "[Bpf]\nToken=delegate_cmds=prog_load delegate_progs=xdp delegate_attachs=xdp\n")
    container.enable()
    container.start()
    container.run("mkdir -p /mnt/m")
    yield container
    container.stop()


def options(container):
    line = [line for line in container.run("cat /proc/self/mountinfo").stdout.splitlines() if " /mnt/m " in line][-1]
    return line.split(" - ")[0].split()[5].split(",")


@pytest.mark.parametrize("kind", IMAGES)
def test_disk(block, kind):
    block.run(f"mount -t {kind} -o ro /dev/disk-{kind} /mnt/m")
    try:
        owner = block.run("stat -c %u:%g /mnt/m").stdout.strip()
        assert owner == ("0:0" if kind in block.host.idmapped() else "65534:65534")
        assert {"nodev", "nosuid", "ro"} <= set(options(block))
        assert not block.run("mount -o remount,bind,dev /mnt/m", check=False).ok
        assert "nodev" in options(block)
        if kind not in WITHOUT_FILES:
            assert block.run("cat /mnt/m/hello").stdout == "hello\n"
            assert "ermission denied" in block.run("cat /mnt/m/null", check=False).stderr
    finally:
        block.run("umount /mnt/m")
    assert "/mnt/m" not in block.run("cat /proc/self/mountinfo").stdout


def test_image_file(block, disks):
    block.host.run(f"dd if={disks['squashfs']} of={block.root}/srv/image bs=64k status=none; chown --reference={block.root}/srv {block.root}/srv/image")
    assert block.run("calls mount /srv/image /mnt/m squashfs 0 @null , umount /mnt/m").stdout == "mount 0 OK\numount 0 OK\n"
    block.host.wait_for(lambda: not block.host.run("losetup -a").stdout, 10, "the loop device to be free")


@pytest.mark.parametrize("kind", ["tmpfs", "hugetlbfs"])
@pytest.mark.parametrize("asked, owner", [("mode=700", "0:0"), ("uid=5,gid=6", "5:6")])
def test_owner_of_what_has_no_disk(block, kind, asked, owner):
    """tmpfs can't be idmapped before 6.3: ids are the host's in the superblock, and the container's to the container."""
    block.run(f"calls mount none /mnt/m {kind} 0 {asked}")
    try:
        assert block.run("stat -c %u:%g /mnt/m").stdout.strip() == owner
        block.run("setpriv --reuid=5 --regid=6 --clear-groups mkdir /mnt/m/made || mkdir /mnt/m/made")
    finally:
        block.run("umount /mnt/m")


def test_ids_out_of_range(block):
    assert block.run("calls mount none /mnt/m tmpfs 0 uid=3000000").stdout == "mount -1 EINVAL\n"


def test_unlisted(block, guest):
    assert block.run("calls --userns mount /dev/disk-ext4 /mnt/m ext4 1 @null").stdout == "mount -1 EPERM\n"
    assert block.run("calls --drop=sys_admin mount /dev/disk-ext4 /mnt/m ext4 1 @null").stdout == "mount -1 EPERM\n"


@pytest.mark.parametrize("option", ["", "-o delegate_cmds=prog_load"])
def test_bpf_tokens_on_a_kernel_without(block, guest, option):
    """It would take the options of the file system, and ignore them."""
    if guest.run("bpf-calls token /nowhere", check=False).stdout.split()[-1] == "EBADF":
        pytest.skip("this kernel has BPF tokens")
    result = block.run(f"mount -t bpf {option} bpf /mnt/m", check=False)
    assert not result.ok and "permission denied" in result.stderr, result
    assert block.run(f"fsapi open:bpf str:delegate_cmds={'prog_load' if option else 0} create", check=False).stdout.splitlines()[-1] == "create EPERM"
    assert " /mnt/m " not in block.run("cat /proc/self/mountinfo").stdout
    assert any("this kernel knows no BPF tokens" in str(e) for e in guest.journal("DEPUTYD_REASON=type-not-lent"))
