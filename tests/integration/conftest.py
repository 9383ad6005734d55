# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures of the integration tests: one throwaway host per session, see host.py, and one virtual machine, see guest.py."""

import os
import signal

import pytest

import guest as testguest
import host as testhost

# Tests that run beside each other: those that need the virtual machine; of the others, those of the families that take longest;
# and the rest. Each lane has a host of its own.
LANES = ("guest", "mount-bpf", "host")
MOUNT_BPF = {"test_bpf", "test_bpf_compiled", "test_bpf_token", "test_fuse", "test_mount", "test_mount_api"}

# For tests that need the programs but no host.
os.environ.setdefault("DEPUTYD_BUILD_DIR", str(testhost.BUILD))


def pytest_configure():
    """Who has taken too long says where it was and undoes what it has made, as by Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--lane", choices=LANES, help="only the tests of this lane; without it all, one after the other")


def lane_of(item):
    if "bare_guest" in item.fixturenames:
        return "guest"
    return "mount-bpf" if item.path.stem in MOUNT_BPF else "host"


def pytest_collection_modifyitems(config, items):
    lane = config.getoption("--lane")
    if not lane:
        return
    mine, others = [], []
    for item in items:
        (mine if lane_of(item) == lane else others).append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = mine


@pytest.fixture(scope="session")
def bare_host():
    """A booted host without deputyd."""
    why = testhost.missing_requirement()
    if why:
        pytest.skip(why)
    with testhost.Host() as booted:
        yield booted


@pytest.fixture(scope="session")
def host(bare_host):
    """The booted host with the build installed and deputyd.socket listening."""
    bare_host.install()
    return bare_host


@pytest.fixture(scope="session")
def demo(host):
    """The container of the README's first steps: enabled with the profile docker, and running."""
    container = host.container("demo")
    container.enable("--profile=docker")
    container.start()
    return container


@pytest.fixture(scope="session")
def bare_guest():
    """A booted virtual machine without deputyd."""
    why = testguest.missing_requirement()
    if why:
        pytest.skip(why)
    with testguest.Guest() as booted:
        yield booted


@pytest.fixture(scope="session")
def guest(bare_guest):
    """The virtual machine with the build installed and deputyd.socket listening."""
    bare_guest.install()
    return bare_guest


@pytest.fixture(scope="session")
def guest_demo(guest):
    """As demo, on the virtual machine."""
    container = guest.container("demo")
    container.enable("--profile=docker")
    container.start()
    return container
