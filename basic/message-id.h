/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* MESSAGE_ID= of our journal entries; explained to people in units/deputyd.catalog. Never change one. */

#define MESSAGE_CALL_EMULATED    "6e9ad96ed3e143259025422fbe380e65"
#define MESSAGE_CALL_REFUSED     "1010a284a947488ab40872fef80eef56"
#define MESSAGE_CALL_FAILED      "5557af1f72ad465fb989f7ffed6ec87b"
#define MESSAGE_ENTRIES_DROPPED  "8b19f7268d4d4bd9a79b11f5e01ba6e9"
#define MESSAGE_TARGET_NEW       "97a5778d001b44b19f9595afa17ebe4d"
#define MESSAGE_TARGET_GONE      "718e3e694e5246d8872ce34b2e5fd70a"
#define MESSAGE_PASS_THROUGH     "8a57ed07dfbd49f2bef337c1c3d2afeb"
#define MESSAGE_SUPERVISOR_STUCK "242ebca6858249d3af86d513e6e30094"
