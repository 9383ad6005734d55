# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures of the integration tests: one throwaway host per session, see host.py."""

import os

import pytest

import host as testhost

# For tests that need the programs but no host.
os.environ.setdefault("DEPUTYD_BUILD_DIR", str(testhost.BUILD))


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
