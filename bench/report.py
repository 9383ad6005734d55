# SPDX-License-Identifier: LGPL-2.1-or-later
"""From rows, what was measured and what it's meant to hold, to judgements, tables and RESULTS.md."""

import re

NATIVE = 1.25
AS_MUCH = 0.95  # × 1 caller, judged like 1: the measured ratio of two equal things falls on either side of it


class Over(float):
    """So many µs more than the native call."""


def judge(row):
    """'aim', 'must', 'missed', or None where there's no figure to hold."""
    if row['must'] is None:
        return None
    if row['must'] == 'native':
        return 'aim' if row['times_native'] <= NATIVE else 'missed'
    if isinstance(row['must'], Over):
        value, must, aim = row['over_native'], row['must'], row['aim']
    elif 'times_one' in row:
        value, must, aim = -row['times_one'], -row['must'] * AS_MUCH, -row['aim'] * AS_MUCH
    else:
        value, must, aim = row['value'], row['must'], row['aim']
        if row.get('at_least'):
            value, must, aim = -value, -must, -aim
    return 'aim' if value <= aim else 'must' if value <= must else 'missed'


def figure(value):
    if value is None:
        return ''
    if isinstance(value, str):
        return value
    size = abs(value)
    if size >= 1000:
        return f'{value:,.0f}'.replace(',', ' ')
    return f'{value:.0f}' if size >= 100 else f'{value:.1f}' if size >= 10 else f'{value:.2f}'


def bound(value, at_least=False):
    if value is None:
        return ''
    if isinstance(value, Over):
        return f'native + {value:g}'
    return value if isinstance(value, str) else f'{"≥" if at_least else "≤"} {value:g}'


MODULES_TITLE = 'Kernel modules, in a virtual machine'
WORDS = {'aim': 'aim met', 'must': 'met', 'missed': 'missed', None: ''}


def tables(rows):
    """Titles, header and cells of each table."""
    groups = {
        'calls': ('Calls, one caller, warm',
                  ['', 'median µs', 'p99 µs', '× notification', '× native', 'must', 'aim', ''],
                  lambda r: [r['title'], figure(r['value']), figure(r['p99']), figure(r['times_notification']),
                             figure(r['times_native']), bound(r['must']), bound(r['aim']), WORDS[r['met']]]),
        'throughput': ('Throughput',
                       ['', 'calls/s', '× 1 caller', 'must', 'aim', ''],
                       lambda r: [r['title'], figure(r['value']), figure(r['times_one']),
                                  bound(r['must'], True), bound(r['aim'], True), WORDS[r['met']]]),
        'start': ('Starting a program',
                  ['', 'median µs', 'p99 µs', '× native'],
                  lambda r: [r['title'], figure(r['value']), figure(r['p99']), figure(r['times_native'])]),
        'modules': (MODULES_TITLE,
                    ['', 'median µs', 'p99 µs', '× notification', '× native'],
                    lambda r: [r['title'], figure(r['value']), figure(r['p99']), figure(r['times_notification']),
                               figure(r['times_native'])]),
        'daemon': ('The daemon',
                   ['', 'measured', 'unit', 'must', 'aim', ''],
                   lambda r: [r['title'], figure(r['value']), r['unit'], bound(r['must'], r.get('at_least')),
                              bound(r['aim'], r.get('at_least')), WORDS[r['met']]]),
    }
    for group, (title, header, cells) in groups.items():
        mine = [cells(r) for r in rows if r['group'] == group]
        if mine:
            yield title, header, mine


def show(rows):
    for title, header, cells in tables(rows):
        widths = [max(len(line[i]) for line in [header, *cells]) for i in range(len(header))]
        print(f'\n{title}')
        for line in [header, *cells]:
            print('  ' + '  '.join(c.ljust(w) if i == 0 else c.rjust(w)
                                   for i, (c, w) in enumerate(zip(line, widths))).rstrip())


HOW_TO_READ = '''\
## How to read it

Times are what the caller sees, from its system call to the return. Wherever a machine is busy with other things, the
ratios are what counts: each is formed within one round, in which all configurations were visited in turn, and the
median over the rounds is shown.

- *× notification*: against a notification that a supervisor receives and answers at once with a value and that does
  nothing else. It's the floor: two context switches. A supervisor that runs on another CPU than its caller costs many
  times that, which is what a high 99th percentile shows.
- *× native*: against the same call made natively in an equivalent directory of the same file system: by the host's
  root; for calls that are refused, by the root of a container without a filter. For the mount that starts a FUSE
  server, against the same program with the same arguments, started by a process of such a container.
- *× 1 caller*: calls per second against those of one caller in one container.
- *must*, *aim*: what deputyd is to hold and what it strives for; "native" means that the call isn't intercepted, and
  is judged met up to {native} times the native call. A throughput is judged met from {as_much} times the figure on.
- *±* is how exact a figure of memory is: it's the difference of two readings of a control group, in which the kernel
  counts what it keeps ready for each CPU, too. With few targets it says little, may be below zero and isn't judged.
- "Not lent" means that the call is intercepted and then left to the kernel.

`bench/run --write` writes this file, but for the section on modules: that's `bench/run --modules --write`. `--json` prints
the same figures for programs.
'''


def table_lines(title, header, cells):
    return ['', f'## {title}', '', '| ' + ' | '.join(header) + ' |', '|---|' + '---:|' * (len(header) - 2) + '---|',
            *('| ' + ' | '.join(c) + ' |' for c in cells)]


def results_text(machine, rows, modules):
    """The file; "modules" is its section on modules, which isn't measured in the same run."""
    lines = [
        '# Results of bench/run',
        '',
        f'{machine["date"]}, {machine["cpus"]} × {machine["cpu"]}, {machine["memory_mib"]} MiB, {machine["kernel"]}. '
        f'Load average {machine["load_before"]:.2f} before and {machine["load_after"]:.2f} after the run. '
        f'{machine["rounds"]} rounds of {machine["calls_per_round"]} calls or {machine["mounts_per_round"]} mounts, on {machine["file_system"]} '
        'unless said otherwise.',
    ]
    for table in tables(rows):
        lines += table_lines(*table)
    lines += ['', modules + HOW_TO_READ.format(native=NATIVE, as_much=AS_MUCH)]
    return '\n'.join(lines)


def modules_text(machine, rows):
    """The section on modules."""
    lines = [line for table in tables(rows) for line in table_lines(*table)]
    how = ('TCG, which translates: the times are no machine\'s, and the ratios are rough' if machine['accelerator'] == 'tcg'
           else machine['accelerator'])
    lines += ['', f'{machine["date"]}, {machine["kernel"]} in QEMU on {machine["cpus"]} × {machine["cpu"]}, by {how}. '
              f'{machine["rounds"]} rounds of {machine["mounts_per_round"]} calls, all on one processor. The module is one of {machine["module_size"]} bytes, not compressed. '
              'Natively the kernel reads a module that\'s loaded already, too, before it says EEXIST to the host\'s root; root of a container without a '
              'filter gets its EPERM before anything is read.', '']
    return '\n'.join(lines[1:]) + '\n'


def written_modules(text):
    """That section of the file, where it begins, and where it ends."""
    found = re.search(rf'^## {MODULES_TITLE}\n.*?(?=^## )', text, re.M | re.S)
    if found:
        return found[0], found.start(), found.end()
    at = text.index('## How to read it')
    return '', at, at
