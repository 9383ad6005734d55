# SPDX-License-Identifier: LGPL-2.1-or-later
"""debootstrap in an unprivileged container, to its end, with the profile image-build."""

import pytest

import host as testhost


def reachable(host, mirror, suite):
    return host.run(["python3", "-c", "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=15).read(1)", f"{mirror}/dists/{suite}/Release"],
                    check=False, timeout=30).ok


def test_debootstrap_minbase(host):
    mirror, suite = testhost.apt_mirror()
    if not reachable(host, mirror, suite):
        pytest.skip(f"no network: {mirror} can't be reached")
    container = host.container("builder")
    container.enable("--profile=image-build")
    container.start()
    # The network is the host's, and so is who resolves names.
    host.run(["sh", "-c", f"cat /etc/resolv.conf >{container.root}/etc/resolv.conf"])
    result = container.run(["debootstrap", "--variant=minbase", suite, "/srv/image", mirror], check=False, timeout=400)
    tail = "\n".join(result.stdout.splitlines()[-20:])
    assert result.ok, tail + result.stderr
    assert "Base system installed successfully" in result.stdout
    container.run("test -c /srv/image/dev/null; echo x >/srv/image/dev/null; chroot /srv/image dpkg --audit")
    assert container.run(["stat", "-c", "%t:%T %u %g %a", "/srv/image/dev/null"]).stdout.split() == ["1:3", "0", "0", "666"]
    container.stop()
