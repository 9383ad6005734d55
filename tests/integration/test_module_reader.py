# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kernel modules: who reads what a container passes for one, and for whom nothing is read. It doesn't take a kernel that has
modules."""

import pytest

POLICY = "[Intercept]\nSystemCalls=finit_module\nAllowUsers=nobody\n[Module]\nAllowModule=dummy\n"
CONFIG = "/bus/pci/devices/0000:00:00.0/config"


@pytest.fixture(scope="module")
def box(host):
    container = host.container("modreader", settings="[Files]\nBindReadOnly=/sys:/host-sys\n")
    container.policy(POLICY)
    container.enable()
    container.start()
    yield container
    container.remove()


def test_reader_has_no_privilege(box, host):
    """Of a PCI device's configuration everyone may read the first 64 bytes; reading the rest, which some devices take badly, is
    for CAP_SYS_ADMIN, and mustn't be done for a container. The size says 256 or more: too short a file is EIO."""
    if not host.run(["test", "-e", f"/sys{CONFIG}"], check=False).ok:
        pytest.skip("no PCI device")
    assert box.run(["load-module", "finit", f"/host-sys{CONFIG}", "0", ""]).stdout == "-1 EIO\n"


def test_who_may_load_modules_anyway(host):
    """A service with the capability itself gets what it gets without us, though the policy would lend it something."""
    unit = "modnative.service"
    host.write(f"/etc/systemd/system/{unit}", """
[Service]
Type=oneshot
User=nobody
AmbientCapabilities=CAP_SYS_MODULE
StandardOutput=truncate:/run/modnative.out
ExecStart=/usr/local/bin/load-module finit /etc/hostname 0 ""
""")

    def outcome():
        host.systemctl("daemon-reload")
        host.systemctl("start", unit)
        return host.read("/run/modnative.out")
    try:
        natively = outcome()
        host.write(f"/etc/deputyd/policy.d/{unit}.d/50-test.conf", POLICY)
        host.run(["deputyctl", "enable", unit])
        assert outcome() == natively
        assert not [e for e in host.journal("DEPUTYD_SYSCALL=finit_module", unit=unit) if e["DEPUTYD_VERDICT"] == "emulated"]
    finally:
        host.run(["deputyctl", "disable", unit], check=False)
        host.run(f"rm -rf /etc/systemd/system/{unit} /etc/deputyd/policy.d/{unit}.d")


def test_reader_without_the_daemon(host):
    """A supervisor that has compiled its target's filter itself confines its children all the same."""
    host.write("/run/modembedded.conf", POLICY)
    command = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "load-module", "finit", "/etc/hostname", "0", ""]
    assert host.run(["deputy-run", "--policy=/run/modembedded.conf", "--", *command]).stdout == "-1 ENOEXEC\n"
