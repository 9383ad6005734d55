# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each option and verb is in --help, in the manual page and in the completion, and nothing else is."""

import os
import re
import subprocess

import pytest

from host import BUILD, SOURCE

PROGRAMS = {
    "deputyctl": (BUILD / "ctl" / "deputyctl", SOURCE / "man" / "deputyctl.1.scd", SOURCE / "ctl" / "completion" / "deputyctl"),
    "deputy-run": (BUILD / "launcher" / "deputy-run", SOURCE / "man" / "deputy-run.1.scd", SOURCE / "ctl" / "completion" / "deputy-run"),
    "deputyd": (BUILD / "daemon" / "deputyd", SOURCE / "man" / "deputyd.8.scd", None),
}

LONG = r"--[a-z0-9][a-z0-9-]*"


def help_of(name):
    program = PROGRAMS[name][0]
    assert program.exists(), f"{program} isn't built"
    return subprocess.run([program, "--help"], capture_output=True, text=True, check=True, timeout=20).stdout


def help_options(name):
    """The long options that begin a line of --help, and the short ones before them."""
    options = set()
    for line in help_of(name).splitlines():
        if re.match(rf"\s+(-[a-zA-Z][ ,]+)?{LONG}", line):
            options |= set(re.findall(rf"{LONG}|(?<![\w-])-[a-zA-Z]\b", line.split("   ")[0] if line.startswith("  -") else line.lstrip().split("  ")[0]))
    assert options, f"{name} --help shows no option"
    return options


def manual_options(name):
    """The options that are terms of a section OPTIONS of the manual page."""
    page = PROGRAMS[name][1]
    assert page.exists(), f"{page} is missing"
    options, inside = set(), False
    for line in page.read_text().splitlines():
        if line.startswith("# "):
            inside = "OPTIONS" in line
        elif inside and line.startswith("*-"):
            options |= set(re.findall(rf"{LONG}|(?<![\w-])-[a-zA-Z]\b", line))
    return options


def completed(name, words):
    """What bash offers for the last of the words."""
    script = (
        'source "$1"; shift; program=$1; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); compopt() { :; }; '
        'function=$(complete -p "$program" | sed "s/.*-F \\([^ ]*\\) .*/\\1/"); "$function"; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    env = dict(os.environ, DEPUTYD_PROFILE_PATH=str(SOURCE / "policy.d" / "profiles"))
    done = subprocess.run(["bash", "-c", script, "bash", PROGRAMS[name][2], *words], capture_output=True, text=True, timeout=20, env=env)
    assert not done.stderr, done.stderr
    return set(done.stdout.split())


def help_verbs():
    return set(re.findall(r"^  ([a-z]+) ", help_of("deputyctl"), re.MULTILINE))


@pytest.mark.parametrize("name", PROGRAMS)
def test_manual_has_the_options_of_help(name):
    assert manual_options(name) == help_options(name)


@pytest.mark.parametrize("name", PROGRAMS)
def test_lines_of_help_fit(name):
    assert [line for line in help_of(name).splitlines() if len(line) > 80] == []


def test_completion_has_the_options_of_help():
    offered = set()
    for verb in help_verbs():
        offered |= completed("deputyctl", ["deputyctl", verb, "-"])
    assert {o.rstrip("=") for o in offered} == help_options("deputyctl")
    assert {o.rstrip("=") for o in completed("deputy-run", ["deputy-run", "-"])} == help_options("deputy-run")


def test_completion_offers_no_option_that_a_verb_refuses():
    for verb in help_verbs():
        for option in completed("deputyctl", ["deputyctl", verb, "--"]):
            if option in ("--help", "--version", "--now", "--runtime", "--json=", "--lines=", "--profile=", "--format="):
                continue
            done = subprocess.run([PROGRAMS["deputyctl"][0], verb, option], capture_output=True, text=True, timeout=20,
                                  env={"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent"})
            assert "no option" not in done.stderr and "unrecognized" not in done.stderr


def test_verbs():
    manual = set(re.findall(r"^\*([a-z]+)\*", re.sub(r"\n# OPTIONS\n.*", "", PROGRAMS["deputyctl"][1].read_text(), flags=re.DOTALL), re.MULTILINE))
    assert manual - {"deputyctl"} == help_verbs()
    assert completed("deputyctl", ["deputyctl", ""]) == help_verbs()


def test_each_verb_of_help_exists():
    for verb in help_verbs():
        done = subprocess.run([PROGRAMS["deputyctl"][0], verb, "--help"], capture_output=True, text=True, timeout=20)
        assert done.returncode == 0
        done = subprocess.run([PROGRAMS["deputyctl"][0], verb, "--lines=x"], capture_output=True, text=True, timeout=20)
        assert "Unknown verb" not in done.stderr


def test_completion_of_values():
    assert completed("deputyctl", ["deputyctl", "--json", "=", "p"]) == {"pretty"}
    assert completed("deputyctl", ["deputyctl", "filter", "--format", "="]) == {"pfc", "bpf", "c"}
    profiles = {p.stem for p in (SOURCE / "policy.d" / "profiles").glob("*.conf")}
    assert completed("deputyctl", ["deputyctl", "enable", "x", "--profile", "=", ""]) == profiles
    assert completed("deputy-run", ["deputy-run", "--profile", "=", "d"]) == {p for p in profiles if p.startswith("d")}
