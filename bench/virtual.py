# SPDX-License-Identifier: LGPL-2.1-or-later
"""The virtual machine of the tests as a place for bench-target: for what takes a kernel that loads modules."""

import os
import subprocess
import sys

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DIRECTORY = '/run/bench'
LENT, OTHER = 'dummy', 'ifb'  # both small and without dependencies
POLICY = f'''\
[Intercept]
SystemCalls=finit_module
LogRateLimitBurst=1
[Module]
AllowModule={LENT}
'''


class Unavailable(Exception):
    """Why there can be none here."""


class VirtualMachine:
    """Booted, with the build installed, a module loaded, and a policy that lends it."""

    def __init__(self, build_dir):
        os.environ['DEPUTYD_TEST_BUILD'] = build_dir
        sys.path.insert(0, os.path.join(SOURCE, 'tests', 'integration'))
        import guest

        why = guest.missing_requirement()
        if why:
            raise Unavailable(why)
        self._guest = guest.Guest()
        try:
            self._guest.boot()
            self._guest.install()
            self._guest.put(os.path.join(build_dir, 'bench', 'bench-target'), self.program('bench-target'))
            self._guest.write(f'{DIRECTORY}/policy.conf', POLICY)
            self._guest.run(['modprobe', LENT])
        except BaseException:
            self.close()
            raise

    def close(self):
        self._guest.close()

    @staticmethod
    def program(name):
        return f'/usr/local/bin/{name}' if name == 'bench-target' else f'/usr/bin/{name}'

    def describe(self):
        return {
            'kernel': self._guest.run(['uname', '-srm']).stdout.strip(),
            'accelerator': self._guest.accel,
            'module_size': int(self._guest.run(f'stat -c %s "$(modinfo -n {LENT})"').stdout),
        }

    def make_root(self, name, uid):
        """The root directory of one target, with the modules' files."""
        root = f'{DIRECTORY}/{name}'
        self._guest.run(f'''mkdir -p {root}/bench
            for m in {LENT}:lent {OTHER}:other; do cp "$(modinfo -n ${{m%:*}})" {root}/bench/${{m#*:}}.ko; done
            chown -R {uid}:{uid} {root}''')
        return root

    def deputy_run(self):
        return [self.program('deputy-run'), f'--policy={DIRECTORY}/policy.conf', '--']

    def popen(self, argv, stdin, stdout, env=None):
        """For Target; the environment there is always the same."""
        return self._guest.spawn(argv, timeout=3600, stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL, text=False)
