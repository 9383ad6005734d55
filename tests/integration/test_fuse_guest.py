# SPDX-License-Identifier: LGPL-2.1-or-later
"""FUSE programs in place of mounts, on the kernel that Debian ships."""

import pytest

import test_fuse


@pytest.fixture(scope="module")
def fuse(guest, tmp_path_factory):
    container = guest.container("fuse")
    test_fuse.install(container, test_fuse.make_images(tmp_path_factory.mktemp("images")))
    yield container
    container.stop()


@pytest.fixture(autouse=True)
def nothing_stays(fuse):
    yield
    fuse.run("umount -l /mnt/f 2>/dev/null || true")
    fuse.host.wait_for(lambda: not test_fuse.servers(fuse.host), 20, "the servers to end")


@pytest.mark.parametrize("kind", test_fuse.IMAGES)
def test_image(fuse, kind):
    test_fuse.mount(fuse, kind, f"/srv/{kind}")
    assert fuse.run("cat /mnt/f/hello").stdout == "hello\n"
    fuse.run("umount /mnt/f")
    assert test_fuse.mounted(fuse) == []


def test_likeness(fuse):
    test_fuse.check_likeness(fuse)


def test_failure(fuse):
    assert test_fuse.mount(fuse, "ext4", "/srv/zero", check=False) == "EINVAL"
    assert test_fuse.mounted(fuse) == []
