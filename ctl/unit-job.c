/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "basic/log.h"
#include "ctl/bus.h"
#include "ctl/unit-job.h"

typedef struct Job {
        const char *path; /* NULL: not known yet */
        char *result;     /* NULL: it isn't done */
} Job;

static int on_job_removed(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
        const char *path, *unit, *result;
        Job *job = userdata;
        uint32_t id;

        if (sd_bus_message_read(message, "uoss", &id, &path, &unit, &result) < 0)
                return 0;

        if (job->path && strcmp(path, job->path) == 0 && !job->result)
                job->result = g_strdup(result);

        return 0;
}

static int wait_for_job(sd_bus *bus, const Job *job) {
        int r;

        while (!job->result) {
                r = sd_bus_process(bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(bus, UINT64_MAX);
                if (r < 0)
                        return r;
        }

        return 0;
}

int unit_restart(sd_bus *bus, const char *method, const char *unit) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(sd_bus_slot_unrefp) sd_bus_slot *slot = NULL;
        g_autofree char *result = NULL;
        Job job = {};
        int r;

        /* Signals that arrive while we wait for the reply are queued: they're dispatched by sd_bus_process()
         * alone, when the job's path is known. */
        r = sd_bus_match_signal(bus, &slot, SYSTEMD_BUS_NAME, SYSTEMD_BUS_PATH, SYSTEMD_MANAGER, "JobRemoved",
                        on_job_removed, &job);
        if (r >= 0)
                r = sd_bus_call_method(bus, SYSTEMD_BUS_NAME, SYSTEMD_BUS_PATH, SYSTEMD_MANAGER, "Subscribe",
                                &error, NULL, NULL);
        if (r >= 0)
                r = sd_bus_call_method(bus, SYSTEMD_BUS_NAME, SYSTEMD_BUS_PATH, SYSTEMD_MANAGER, method,
                                &error, &reply, "ss", unit, "replace");
        if (r >= 0)
                r = sd_bus_message_read(reply, "o", &job.path);
        if (r >= 0)
                r = wait_for_job(bus, &job);
        result = job.result;
        if (r < 0)
                return bus_log_error(&error, r, "Can't restart the unit");

        if (strcmp(result, "done") != 0 && strcmp(result, "skipped") != 0) {
                log_error("Restarting %s: %s; see systemctl status '%s' and journalctl -u '%s'", unit, result,
                                unit, unit);
                return -EIO;
        }

        return 0;
}
