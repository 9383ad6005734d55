# SPDX-License-Identifier: LGPL-2.1-or-later
"""A bench-target (target.c), and what's been measured of it."""

import array
import statistics
import subprocess


class Failure(Exception):
    """Something that the user should read, without a traceback."""


class Target:
    """One bench-target, see bench/target.c."""

    def __init__(self, argv, environment=None, popen=subprocess.Popen):
        self.argv = argv
        self.process = popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self._answer('start')

    def _answer(self, command):
        line = self.process.stdout.readline().decode().split()
        if not line or line[0] != 'ok':
            raise Failure(f'"{command}" of {" ".join(self.argv)}: {" ".join(line[1:]) or "it ended"}')
        return line[1:]

    def ask(self, command):
        self.process.stdin.write(command.encode() + b'\n')
        self.process.stdin.flush()
        return self._answer(command)

    def samples(self, command):
        """Durations in µs."""
        size = int(self.ask(command)[0])
        values = array.array('I')
        values.frombytes(self.process.stdout.read(size * values.itemsize))
        return [v / 1000 for v in values]

    def measure(self, operation, expected, warm_up, n):
        return self.samples(f'measure {operation} {expected} {warm_up} {n}')

    def load(self, operation, msec, threads):
        """How many calls were made, how many per second, and the longest in µs."""
        calls, per_second, longest = self.ask(f'load {operation} 0 {msec} {threads}')
        return int(calls), float(per_second), int(longest) / 1000

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


class Series:
    """What was measured of one thing, round by round."""

    def __init__(self):
        self.rounds = []

    def add(self, samples):
        self.rounds.append(samples)

    def all(self):
        return [v for r in self.rounds for v in r]

    def median(self):
        return statistics.median(self.all())

    def p99(self):
        return percentile(self.all(), 0.99)

    def difference(self, other):
        """Median over the rounds of the difference of the medians."""
        return statistics.median(statistics.median(mine) - statistics.median(theirs)
                                 for mine, theirs in zip(self.rounds, other.rounds))

    def ratio(self, other):
        """Median over the rounds of the ratio of the medians."""
        return statistics.median(
            statistics.median(mine) / max(statistics.median(theirs), 0.001)
            for mine, theirs in zip(self.rounds, other.rounds))
