# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures of the integration tests: one throwaway host per session, see host.py, and one virtual machine, see guest.py."""

import os
import signal

import pytest

import guest as testguest
import host as testhost

# For tests that need the programs but no host.
os.environ.setdefault("DEPUTYD_BUILD_DIR", str(testhost.BUILD))


def pytest_configure():
    """Who has taken too long says where it was and undoes what it has made, as by Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--lane", choices=("host", "guest"), help="only the tests that need the virtual machine, or only the others")


def pytest_collection_modifyitems(config, items):
    lane = config.getoption("--lane")
    if not lane:
        return
    mine, others = [], []
    for item in items:
        (mine if ("bare_guest" in item.fixturenames) == (lane == "guest") else others).append(item)
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
