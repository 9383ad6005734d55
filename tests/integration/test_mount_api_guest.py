# SPDX-License-Identifier: LGPL-2.1-or-later
"""The new mount interface on the kernel that Debian ships, which knows less of mounts that aren't attached."""

import shlex

import pytest
import test_mount_api
from test_mount_api import FORCED, SAME, STEPS, Images, Lent, fill, in_use

KINDS = ("ext4", "squashfs", "xfs", "btrfs", "erofs")


@pytest.fixture(scope="module")
def lent(guest, tmp_path_factory):
    images = Images(tmp_path_factory.mktemp("images"), KINDS)
    images.close()  # The guest has them as disks.
    disks = {name: guest.attach(images.directory / f"{name}.img") for name in images.devices}
    numbers = {name: tuple(int(n, 16) for n in guest.run(["stat", "-c", "%t %T", node]).stdout.split()) for name, node in disks.items()}
    made = Lent(guest, numbers)
    yield made
    made.container.stop()
    for node in disks.values():
        guest.detach(node)


@pytest.fixture(autouse=True)
def nothing_left(lent):
    yield
    lent.clean()


@pytest.mark.parametrize("kind", KINDS)
def test_every_type(lent, kind):
    out = lent.run(*test_mount_api.steps(lent, kind, test_mount_api.WHOLE), "statfs:/srv/a", "stat:/srv/a", "umount:/srv/a").stdout
    owner = "0:0" if kind in lent.host.idmapped() else "65534:65534"
    assert out.splitlines()[-3:] == ["statfs ro nosuid nodev relatime", f"stat {owner} 755", "umount OK"], out


def outcomes(result):
    """What a script has printed, by case."""
    return {part.splitlines()[0]: FORCED.sub("", part.split("\n", 1)[1]) for part in result.stdout.split("=== ")[1:]}


def test_same_as_real_root(lent):
    """The cases of test_mount_api.py, inside and natively: all in one go, since this machine is slow."""
    def script(after):
        return "".join(f"echo '=== '{shlex.quote(name)}; fsapi {shlex.join(fill(lent, words))}; cd /; umount -l /srv/a /srv/b 2>/dev/null; {after}\n"
                       for name, words in SAME.items())

    ours = outcomes(lent.container.run(["sh", "-s"], input=script("sleep 0.5"), timeout=400))  # for supervisors to let go of the disk
    lent.wait_until_free()
    native = outcomes(lent.host.run(["unshare", "-m", "sh", "-s"], input=script(":"), timeout=400))
    assert len(ours) == len(SAME) and all(ours.values())
    assert not {name: (ours[name], native[name]) for name in SAME if ours[name] != native[name]}


def test_same_as_real_root_by_x32_numbers(lent):
    for name in ("whole", "no type", "source twice"):
        words = fill(lent, SAME[name])
        ours = lent.run(*words, tool="fsapi-x32").stdout
        lent.clean()
        lent.wait_until_free()
        native = lent.native(*words, tool="fsapi-x32").stdout
        lent.wait_until_free()
        assert ours and FORCED.sub("", ours) == FORCED.sub("", native), name
        assert name != "whole" or "read hello" in ours


def test_unmounted_at_once(lent):
    words = fill(lent, ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", "move:/srv/a", "closemount", "umount:/srv/a", "closectx"])
    assert "at repetition" not in lent.run("--repeat=20", *words, timeout=300).stdout


def test_device_nodes_of_the_image_stay_closed(lent):
    test_mount_api.test_device_nodes_of_the_image_stay_closed(lent)


def test_mount_that_nobody_attaches(lent):
    for words in ["closemount"], [], ["dupmount", "fork", "closemount"]:
        assert "mount OK" in lent.run(*fill(lent, ["open:ext4", "str:source={ext4}", "flag:ro", "create", "mount", *words])).stdout
        lent.host.wait_for(lambda: not in_use(lent, "ext4"), 5, "the file system to go")


def test_attached_by_another_way(lent):
    test_mount_api.test_attached_by_another_way(lent, 5000)


@pytest.mark.parametrize("n", range(1, len(STEPS)))
def test_supervisor_killed_between_two_calls(lent, n):
    test_mount_api.test_supervisor_killed_between_two_calls(lent, n)
