/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/intake-message.h"
#include "daemon/unit.h"

static int parse(const char *text, size_t n_fds, IntakeMessage *ret) {
        return intake_message_parse(text, strlen(text), n_fds, ret);
}

Test(intake, kinds) {
        IntakeMessage m;

        cr_assert_eq(parse("DEPUTY_RUN=1", 1, &m), 0);
        cr_assert_eq(m.kind, INTAKE_RUN);
        cr_assert_str_empty(m.unit);

        cr_assert_eq(parse("DEPUTY_RUN=1\nUNIT=systemd-nspawn@a\\x2db.service\n", 2, &m), 0);
        cr_assert_eq(m.kind, INTAKE_RUN);
        cr_assert_str_eq(m.unit, "systemd-nspawn@a\\x2db.service");

        cr_assert_eq(parse("FDSTORE=1\nFDNAME=anything: at all", 1, &m), 0);
        cr_assert_eq(m.kind, INTAKE_LISTENER);

        cr_assert_eq(parse("BARRIER=1", 1, &m), 0);
        cr_assert_eq(m.kind, INTAKE_BARRIER);
}

Test(intake, order_and_unknown_assignments_do_not_matter) {
        IntakeMessage m;

        cr_assert_eq(parse("READY=1\nX_Y=z\n\nnonsense\nUNIT=a.service\nDEPUTY_RUN=1", 1, &m), 0);
        cr_assert_eq(m.kind, INTAKE_RUN);
        cr_assert_str_eq(m.unit, "a.service");

        cr_assert_eq(parse("FDSTORE=1\nFDSTORE=1", 1, &m), 0, "said twice is said");
}

Test(intake, nothing_for_us) {
        IntakeMessage m;

        cr_assert_eq(parse("", 0, &m), -ENOMSG);
        cr_assert_eq(parse("\n\n\n", 1, &m), -ENOMSG);
        cr_assert_eq(parse("READY=1", 1, &m), -ENOMSG);
        cr_assert_eq(parse("FDSTORE=2", 1, &m), -ENOMSG);
        cr_assert_eq(parse("FDSTORE=11", 1, &m), -ENOMSG);
        cr_assert_eq(parse(" FDSTORE=1", 1, &m), -ENOMSG);
        cr_assert_eq(parse("UNIT=a.service", 1, &m), -ENOMSG);
        cr_assert_eq(parse("FDSTOREREMOVE=1", 1, &m), -ENOMSG);
}

Test(intake, contradictions) {
        IntakeMessage m;

        cr_assert_eq(parse("DEPUTY_RUN=1\nFDSTORE=1", 1, &m), -EINVAL);
        cr_assert_eq(parse("BARRIER=1\nFDSTORE=1", 1, &m), -EINVAL);
        cr_assert_eq(parse("BARRIER=1\nREADY=1", 1, &m), -EINVAL, "a barrier stands alone");
        cr_assert_eq(parse("DEPUTY_RUN=1\nUNIT=a.service\nUNIT=b.service", 1, &m), -EINVAL);
}

Test(intake, descriptors) {
        IntakeMessage m;

        cr_assert_eq(parse("DEPUTY_RUN=1", 0, &m), -EBADF);
        cr_assert_eq(parse("DEPUTY_RUN=1", 3, &m), -EBADF);
        cr_assert_eq(parse("FDSTORE=1", 0, &m), -EBADF);
        cr_assert_eq(parse("FDSTORE=1", 2, &m), -EBADF);
        cr_assert_eq(parse("BARRIER=1", 0, &m), -EBADF);
        cr_assert_eq(parse("BARRIER=1", 2, &m), -EBADF);
}

Test(intake, units) {
        char text[sizeof("DEPUTY_RUN=1\nUNIT=") + UNIT_NAME_MAX + 1] = "DEPUTY_RUN=1\nUNIT=";
        IntakeMessage m;

        cr_assert_eq(parse("DEPUTY_RUN=1\nUNIT=", 1, &m), -EINVAL);
        cr_assert_eq(parse("DEPUTY_RUN=1\nUNIT=../x.service", 1, &m), -EINVAL);
        cr_assert_eq(parse("DEPUTY_RUN=1\nUNIT=a b.service", 1, &m), -EINVAL);
        cr_assert_eq(parse("DEPUTY_RUN=1\nUNIT=\tx", 1, &m), -EINVAL);
        cr_assert_eq(parse("DEPUTY_RUN=1\nUNIT=\xc3\xa4.service", 1, &m), -EINVAL);

        memset(text + strlen(text), 'x', UNIT_NAME_MAX);
        cr_assert_eq(parse(text, 1, &m), 0);
        cr_assert_eq(strlen(m.unit), UNIT_NAME_MAX);
        text[strlen(text)] = 'x';
        cr_assert_eq(parse(text, 1, &m), -EINVAL);
}

Test(intake, nul) {
        IntakeMessage m;

        cr_assert_eq(intake_message_parse("FDSTORE=1", sizeof("FDSTORE=1"), 1, &m), 0,
                        "one at the end may be");
        cr_assert_eq(intake_message_parse("FDSTORE=1\0", sizeof("FDSTORE=1\0"), 1, &m), -EBADMSG);
        cr_assert_eq(intake_message_parse("FDSTORE=1\0\nREADY=1", 18, 1, &m), -EBADMSG);
        cr_assert_eq(intake_message_parse("\0", 1, 0, &m), -ENOMSG);
}

Test(intake, garbage_is_no_message) {
        srand(1);

        for (unsigned i = 0; i < 10000; i++) {
                IntakeMessage m;
                char data[64];

                for (unsigned j = 0; j < sizeof(data); j++)
                        data[j] = (char) (rand() >> 7);

                cr_assert_lt(intake_message_parse(data, (size_t) rand() % (sizeof(data) + 1), 1, &m), 0);
        }
}

Test(unit, refused) {
        cr_assert_not_null(unit_refused("init.scope", NULL));
        cr_assert_not_null(unit_refused("dbus.service", NULL));
        cr_assert_not_null(unit_refused("dbus-broker.service", NULL));
        cr_assert_not_null(unit_refused("systemd-journald.service", NULL));
        cr_assert_not_null(unit_refused("deputyd.service", NULL));
        cr_assert_not_null(unit_refused("other-name.service", "other-name.service"));
        cr_assert_null(unit_refused("systemd-nspawn@demo.service", "deputyd.service"));
        cr_assert_null(unit_refused("my-dbus.service", "deputyd.service"));
}

Test(unit, machine) {
        char *machine = unit_machine("systemd-nspawn@no-such.machine.service");

        cr_assert_str_eq(machine, "no-such.machine");
        free(machine);
        cr_assert_null(unit_machine("systemd-nspawn@.service"));
        cr_assert_null(unit_machine("no-such-unit.service"));
}
