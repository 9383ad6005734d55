# SPDX-License-Identifier: LGPL-2.1-or-later
"""bpf on Debian's kernel, which knows less of it than this machine's: smaller attributes, no pidfds of threads."""

import pytest
import test_bpf
import test_bpf_compiled
from test_bpf import CGROUPS, FUSE_DEVICE, LIMIT, words
from test_bpf_compiled import PRIVATE

OWN = f"{CGROUPS}/test"


@pytest.fixture(scope="module")
def nest(guest):
    """A container with the profile."""
    container = test_bpf.container_with(
        guest, "nest", settings=f"{LIMIT}Capability=CAP_BPF\n{PRIVATE}", unit_settings=LIMIT + FUSE_DEVICE)
    container.run(["mkdir", "-p", OWN])
    yield container
    container.stop()


@pytest.fixture(scope="module")
def bundle(nest):
    return test_bpf.make_bundle(nest)


def test_program_denies_a_device(nest):
    test_bpf.test_program_denies_a_device(nest, OWN)
    test_bpf.test_program_can_be_replaced(nest, OWN)
    test_bpf.test_link_lasts_as_long_as_its_descriptor(nest, OWN)


def test_units(nest):
    test_bpf.test_unit_with_device_policy(nest)
    test_bpf.test_unit_with_addresses(nest)


def test_ports_and_interfaces(nest):
    """Until 6.5 the kernel asks for a capability before it freezes a map, without which there's no list of interfaces."""
    test_bpf_compiled.test_ports_of_a_list(nest, OWN)
    test_bpf_compiled.test_program_can_be_replaced_and_detached(nest, OWN)
    test_bpf_compiled.test_interfaces_of_a_list(nest, OWN)
    test_bpf_compiled.test_frozen_map_stays(nest)
    test_bpf_compiled.test_what_libraries_ask(nest)


def test_loops_take_a_capability(nest):
    """The verifier of kernels before 6.17 finds no end in a loop, but for those with CAP_PERFMON. It's lent to who has it, and for
    programs of that set only."""
    load = "map list , load bind-list"
    natively = words(nest.host.run(f"bpf-calls --drop=sys_admin,perfmon {load}"))
    assert natively["load"] != "OK"
    assert words(nest.host.run(f"bpf-calls --drop=sys_admin {load}")) == words(nest.run(f"bpf-calls {load}")) == {"map": "OK", "load": "OK"}
    assert words(nest.run(f"bpf-calls --drop=sys_admin {load}")) == natively
    # With that capability the log would tell where in the kernel the map is.
    assert nest.run("bpf-calls map list , load-log bind-list").stdout == "map 0 OK\nload-log 0 OK\n  names no map\n"


def test_hostile_programs(nest):
    out = nest.run(f"bpf-calls map value , value-map , map list , {' , '.join('load ' + kind for kind in test_bpf_compiled.HOSTILE)}").stdout
    assert test_bpf_compiled.results(out)[2:] == [("load", "EPERM")] * len(test_bpf_compiled.HOSTILE)


@pytest.mark.parametrize("name", ["runc", "crun"])
def test_runtime(nest, bundle, name):
    """Debian's crun does without device rules, and says nothing, where it may not raise its limit of locked memory."""
    assert test_bpf.has_limit(nest)
    test_bpf.check_device_rules(nest, bundle, name, name)


@pytest.mark.parametrize("tool", ["bpf-calls", "bpf-calls-32", "bpf-calls-x32"])
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
