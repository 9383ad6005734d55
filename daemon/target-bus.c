/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdlib.h>

#include "basic/log.h"
#include "daemon/bus.h"
#include "daemon/target-bus.h"
#include "daemon/target-supervisor.h"

char *target_bus_path(const Target *t) {
        /* Hex digits: nothing to be escaped but a leading figure, which sd_bus_path_encode(3) does. */
        char *encoded = NULL, *path;

        if (sd_bus_path_encode(BUS_PATH_TARGET, t->id, &encoded) < 0)
                return g_strdup(BUS_PATH_TARGET);

        path = g_strdup(encoded);
        free(encoded);
        return path;
}

static int get_id(sd_bus *bus, const char *path, const char *interface, const char *property,
                sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Target *t = userdata;

        return sd_bus_message_append(reply, "s", t->id);
}

static int get_unit(sd_bus *bus, const char *path, const char *interface, const char *property,
                sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Target *t = userdata;

        return sd_bus_message_append(reply, "s", t->policy->unit);
}

static int get_machine(sd_bus *bus, const char *path, const char *interface, const char *property,
                sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Target *t = userdata;

        return sd_bus_message_append(reply, "s", t->machine ?: "");
}

static int get_state(sd_bus *bus, const char *path, const char *interface, const char *property,
                sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Target *t = userdata;

        return sd_bus_message_append(reply, "s", target_status_to_string(target_status(t)));
}

static int get_system_calls(sd_bus *bus, const char *path, const char *interface, const char *property,
                sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Target *t = userdata;
        int r;

        r = sd_bus_message_open_container(reply, 'a', "s");
        for (CallId id = 0; r >= 0 && id < _CALL_MAX; id++)
                if (call_set_contains(t->calls, id))
                        r = sd_bus_message_append(reply, "s", call_to_string(id));
        if (r < 0)
                return r;

        return sd_bus_message_close_container(reply);
}

static int get_policy_files(sd_bus *bus, const char *path, const char *interface, const char *property,
                sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Target *t = userdata;

        return sd_bus_message_append_strv(reply, t->policy->files);
}

static int get_policy_error(sd_bus *bus, const char *path, const char *interface, const char *property,
                sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        return sd_bus_message_append(reply, "s", target_error(userdata) ?: "");
}

static int get_needs_restart(sd_bus *bus, const char *path, const char *interface, const char *property,
                sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        return sd_bus_message_append(reply, "b", (int) target_needs_restart(userdata));
}

static int get_leader(sd_bus *bus, const char *path, const char *interface, const char *property,
                sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Target *t = userdata;

        return sd_bus_message_append(reply, "u", (uint32_t) t->leader);
}

static int get_timestamp(sd_bus *bus, const char *path, const char *interface, const char *property,
                sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Target *t = userdata;

        return sd_bus_message_append(reply, "t", t->timestamp_usec);
}

static int get_supervisors(sd_bus *bus, const char *path, const char *interface, const char *property,
                sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Target *t = userdata;
        int r;

        r = sd_bus_message_open_container(reply, 'a', "u");
        for (unsigned i = 0; r >= 0 && t->activity && i < TARGET_STATE_SLOTS; i++)
                if (t->activity->supervisors[i] && t->activity->supervisors[i]->pid > 0)
                        r = sd_bus_message_append(reply, "u", (uint32_t) t->activity->supervisors[i]->pid);
        if (r < 0)
                return r;

        return sd_bus_message_close_container(reply);
}

static int get_policy(sd_bus *bus, const char *path, const char *interface, const char *property,
                sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Target *t = userdata;

        return sd_bus_message_append(reply, "s", t->policy->text);
}

static int append_counters(sd_bus_message *reply, CallId id, const CallCounters *c) {
        uint64_t received = atomic_load_explicit(&c->received, memory_order_relaxed);
        uint64_t emulated = atomic_load_explicit(&c->emulated, memory_order_relaxed);
        uint64_t continued = atomic_load_explicit(&c->continued, memory_order_relaxed);
        uint64_t refused = atomic_load_explicit(&c->refused, memory_order_relaxed);
        uint64_t failed = atomic_load_explicit(&c->failed, memory_order_relaxed);

        if ((received | emulated | continued | refused | failed) == 0)
                return 0;

        return sd_bus_message_append(reply, "{s(ttttt)}", call_to_string(id), received, emulated, continued,
                        refused, failed);
}

static int get_counters(sd_bus *bus, const char *path, const char *interface, const char *property,
                sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Target *t = userdata;
        int r;

        r = sd_bus_message_open_container(reply, 'a', "{s(ttttt)}");
        if (r < 0)
                return r;

        if (target_map_state(t) > 0) {
                for (CallId id = 0; r >= 0 && id < _CALL_MAX; id++)
                        r = append_counters(reply, id, &t->activity->state->calls[id]);
                target_unmap_state(t);
        }
        if (r < 0)
                return r;

        return sd_bus_message_close_container(reply);
}

static int get_latency(sd_bus *bus, const char *path, const char *interface, const char *property,
                sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Target *t = userdata;
        uint64_t nsec = 0;

        if (target_map_state(t) > 0) {
                const TargetState *state = t->activity->state;

                if (g_str_equal(property, "LatencyMedianNSec"))
                        nsec = target_state_latency_quantile(state, 0.5);
                else if (g_str_equal(property, "LatencyP99NSec"))
                        nsec = target_state_latency_quantile(state, 0.99);
                else
                        for (CallId id = 0; id < _CALL_MAX; id++) {
                                uint64_t max = atomic_load_explicit(
                                                &state->calls[id].nsec_max, memory_order_relaxed);

                                nsec = MAX(nsec, max);
                        }
                target_unmap_state(t);
        }

        return sd_bus_message_append(reply, "t", nsec);
}

static int get_entries_dropped(sd_bus *bus, const char *path, const char *interface, const char *property,
                sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Target *t = userdata;
        uint64_t n = 0;

        if (target_map_state(t) > 0) {
                n = atomic_load_explicit(&t->activity->state->entries_dropped, memory_order_relaxed);
                target_unmap_state(t);
        }

        return sd_bus_message_append(reply, "t", n);
}

static const sd_bus_vtable target_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Id", "s", get_id, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Unit", "s", get_unit, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Machine", "s", get_machine, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("State", "s", get_state, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("SystemCalls", "as", get_system_calls, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("PolicyFiles", "as", get_policy_files, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("PolicyError", "s", get_policy_error, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("NeedsRestart", "b", get_needs_restart, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Leader", "u", get_leader, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("TimestampUSec", "t", get_timestamp, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Supervisors", "au", get_supervisors, 0, 0),
        SD_BUS_PROPERTY("Policy", "s", get_policy, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Counters", "a{s(ttttt)}", get_counters, 0, 0),
        SD_BUS_PROPERTY("LatencyMedianNSec", "t", get_latency, 0, 0),
        SD_BUS_PROPERTY("LatencyP99NSec", "t", get_latency, 0, 0),
        SD_BUS_PROPERTY("LatencyMaxNSec", "t", get_latency, 0, 0),
        SD_BUS_PROPERTY("EntriesDropped", "t", get_entries_dropped, 0, 0),
        SD_BUS_VTABLE_END,
};

static int find_object(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret_found,
                sd_bus_error *error) {
        Manager *m = userdata;
        char *id = NULL;
        Target *t;
        int r;

        r = sd_bus_path_decode(path, BUS_PATH_TARGET, &id);
        if (r <= 0)
                return r;

        t = g_hash_table_lookup(m->targets, id);
        free(id);
        if (!t)
                return 0;

        *ret_found = t;
        return 1;
}

/* sd-bus frees the array and the strings with free(3). */
static int enumerate(
                sd_bus *bus, const char *prefix, void *userdata, char ***ret_nodes, sd_bus_error *error) {
        Manager *m = userdata;
        char **nodes;
        GHashTableIter i;
        gpointer t;
        size_t n = 0;

        nodes = calloc(g_hash_table_size(m->targets) + 1, sizeof(char *));
        if (!nodes)
                return -ENOMEM;

        g_hash_table_iter_init(&i, m->targets);
        while (g_hash_table_iter_next(&i, NULL, &t))
                if (sd_bus_path_encode(BUS_PATH_TARGET, ((const Target *) t)->id, &nodes[n]) >= 0)
                        n++;

        *ret_nodes = nodes;
        return 1;
}

int target_bus_add(Manager *m) {
        int r;

        r = sd_bus_add_fallback_vtable(
                        m->bus, NULL, BUS_PATH_TARGET, TARGET_INTERFACE, target_vtable, find_object, m);
        if (r < 0)
                return r;

        return sd_bus_add_node_enumerator(m->bus, NULL, BUS_PATH_TARGET, enumerate, m);
}

static void emit(Target *t, const char *signal_name, int (*objects)(sd_bus *bus, const char *path)) {
        g_autofree char *path = target_bus_path(t);
        Manager *m = t->manager;
        int r;

        if (!bus_takes_signals(m))
                return;

        r = objects(m->bus, path);
        if (r >= 0)
                r = sd_bus_emit_signal(m->bus, BUS_PATH, MANAGER_INTERFACE, signal_name, "so", t->id, path);
        if (r < 0)
                (void) log_debug_errno(r, "Failed to send signal %s: %m", signal_name);
}

void target_bus_added(Target *t) {
        emit(t, "TargetNew", sd_bus_emit_object_added);
}

void target_bus_removed(Target *t) {
        emit(t, "TargetRemoved", sd_bus_emit_object_removed);
}

static void emit_changed(Target *t, const char *const *properties) {
        g_autofree char *path = NULL;

        if (!t->announced || !bus_takes_signals(t->manager))
                return;

        path = target_bus_path(t);
        (void) sd_bus_emit_properties_changed_strv(
                        t->manager->bus, path, TARGET_INTERFACE, (char **) properties);
}

void target_bus_changed(Target *t, const char *property) {
        emit_changed(t, (const char *const[]){ property, NULL });
}

void target_bus_policy_changed(Target *t) {
        emit_changed(t, (const char *const[]){
                                        "PolicyFiles", "PolicyError", "NeedsRestart", "Policy", NULL });
}
