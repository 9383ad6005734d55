/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* "I left because there was nothing to do": after any other end, even a clean one, there may be targets
 * waiting, and the service manager starts us again (RestartPreventExitStatus= in deputyd.service). */
#define EXIT_STATUS_IDLE 77
