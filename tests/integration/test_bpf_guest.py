# SPDX-License-Identifier: LGPL-2.1-or-later
"""bpf on Debian's kernel, which knows less of it than this machine's: smaller attributes, no pidfds of threads."""

import pytest
import test_bpf
from test_bpf import CGROUPS, DELEGATED, words

OWN = f"{CGROUPS}/test"


@pytest.fixture(scope="module")
def nest(guest):
    """A container with the profile."""
    container = guest.container("nest", settings=DELEGATED)
    container.enable("--profile=nested-containers")
    container.start()
    container.run(["mkdir", "-p", OWN])
    yield container
    container.stop()


def test_program_denies_a_device(nest):
    test_bpf.test_program_denies_a_device(nest, OWN)
    test_bpf.test_program_can_be_replaced(nest, OWN)
    test_bpf.test_link_lasts_as_long_as_its_descriptor(nest, OWN)


def test_units(nest):
    test_bpf.test_unit_with_device_policy(nest)
    test_bpf.test_unit_with_addresses(nest)


@pytest.mark.parametrize("tool", ["bpf-calls", "bpf-calls-32"])
def test_odd_input(nest, tool):
    test_bpf.compare_odd_input(nest, OWN, tool)


def test_thread_that_is_not_the_leader(nest):
    """Its descriptors are those of the leader."""
    test_bpf.test_thread_that_is_not_the_leader(nest, OWN)


def test_host_program_stays(nest):
    path = test_bpf.host_path(nest, "/test")
    nest.host.run(f"bpf-calls cgroup {path} , load deny , attach 1")
    try:
        out = words(nest.run(f"bpf-calls cgroup {OWN} , load allow , attach 1 , attach 2 , detach , detach-none , link"))
        assert {k: v for k, v in out.items() if k not in ("cgroup", "load")} == dict.fromkeys(("attach", "detach", "detach-none", "link"), "EPERM")
        assert nest.run(f"bpf-calls enter {OWN} , open /dev/zero").stdout.split()[-1] == "EPERM"
    finally:
        nest.host.run(f"bpf-calls cgroup {path} , detach-none")
