# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures of the integration tests: one throwaway host per session, see host.py."""

import pytest

import host as testhost


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
