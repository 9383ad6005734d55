/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <glib.h>
#include <stdbool.h>

#include "supervisor/bpf/delegated-check.h"
#include "supervisor/bpf/instruction-form.h"

/* Not in all versions of the header. */
#define MODE_SIGN_EXTENDED 0x80
#define MODE_ATOMIC        0xc0
#define OP_MOST            BPF_END /* of arithmetic, the last */
#define JUMP_MOST          BPF_JSLE

/* Helpers that tell and change nothing but what's the caller's: packets and maps.
 *
 * Missing are, of those that a program for packets might well use:
 *   - all about sockets, since a packet that comes from the host has still the host's (get_socket_uid,
 * sk_fullsock, skb_cgroup_id), or since the number of a network namespace is taken, and the host's has one
 * (sk_lookup_tcp);
 *   - redirect_peer, which leaves a mark on what it puts into the host's namespace;
 *   - clone_redirect, by which one packet can become any number; and tail_call, by which a program can become
 * 34, and on older kernels one that was verified for another place;
 *   - set_retval, which takes back what another program of the cgroup, the host's, has denied;
 *   - syncookies, whose secret is the whole host's;
 *   - all about the current task, which in the middle of a packet is anybody's;
 *   - tracing, of which the kernel keeps some from programs without CAP_PERFMON, and some it doesn't. */
static const bool helpers[] = {
        /* maps and memory */
        [BPF_FUNC_map_lookup_elem] = true,
        [BPF_FUNC_map_update_elem] = true,
        [BPF_FUNC_map_delete_elem] = true,
        [BPF_FUNC_map_push_elem] = true,
        [BPF_FUNC_map_pop_elem] = true,
        [BPF_FUNC_map_peek_elem] = true,
        [BPF_FUNC_map_lookup_percpu_elem] = true,
        [BPF_FUNC_spin_lock] = true,
        [BPF_FUNC_spin_unlock] = true,
        [BPF_FUNC_ringbuf_output] = true,
        [BPF_FUNC_ringbuf_reserve] = true,
        [BPF_FUNC_ringbuf_submit] = true,
        [BPF_FUNC_ringbuf_discard] = true,
        [BPF_FUNC_ringbuf_query] = true,
        [BPF_FUNC_ringbuf_reserve_dynptr] = true,
        [BPF_FUNC_ringbuf_submit_dynptr] = true,
        [BPF_FUNC_ringbuf_discard_dynptr] = true,
        [BPF_FUNC_dynptr_from_mem] = true,
        [BPF_FUNC_dynptr_read] = true,
        [BPF_FUNC_dynptr_write] = true,
        [BPF_FUNC_dynptr_data] = true,
        /* time and numbers */
        [BPF_FUNC_ktime_get_ns] = true,
        [BPF_FUNC_ktime_get_boot_ns] = true,
        [BPF_FUNC_ktime_get_coarse_ns] = true,
        [BPF_FUNC_ktime_get_tai_ns] = true,
        [BPF_FUNC_jiffies64] = true,
        [BPF_FUNC_get_prandom_u32] = true,
        [BPF_FUNC_get_smp_processor_id] = true,
        [BPF_FUNC_get_numa_node_id] = true,
        [BPF_FUNC_strtol] = true,
        [BPF_FUNC_strtoul] = true,
        [BPF_FUNC_strncmp] = true,
        /* packets */
        [BPF_FUNC_skb_store_bytes] = true,
        [BPF_FUNC_skb_load_bytes] = true,
        [BPF_FUNC_skb_load_bytes_relative] = true,
        [BPF_FUNC_skb_pull_data] = true,
        [BPF_FUNC_skb_change_proto] = true,
        [BPF_FUNC_skb_change_type] = true,
        [BPF_FUNC_skb_change_tail] = true,
        [BPF_FUNC_skb_change_head] = true,
        [BPF_FUNC_skb_adjust_room] = true,
        [BPF_FUNC_skb_vlan_push] = true,
        [BPF_FUNC_skb_vlan_pop] = true,
        [BPF_FUNC_skb_get_tunnel_key] = true,
        [BPF_FUNC_skb_set_tunnel_key] = true,
        [BPF_FUNC_skb_get_tunnel_opt] = true,
        [BPF_FUNC_skb_set_tunnel_opt] = true,
        [BPF_FUNC_skb_get_xfrm_state] = true,
        [BPF_FUNC_skb_ecn_set_ce] = true,
        [BPF_FUNC_skb_set_tstamp] = true,
        [BPF_FUNC_l3_csum_replace] = true,
        [BPF_FUNC_l4_csum_replace] = true,
        [BPF_FUNC_csum_diff] = true,
        [BPF_FUNC_csum_update] = true,
        [BPF_FUNC_csum_level] = true,
        [BPF_FUNC_get_hash_recalc] = true,
        [BPF_FUNC_set_hash] = true,
        [BPF_FUNC_set_hash_invalid] = true,
        [BPF_FUNC_get_route_realm] = true,
        /* where packets go, in their own network namespace (redirect_map: to a socket, see the kinds of maps)
         */
        [BPF_FUNC_redirect] = true,
        [BPF_FUNC_redirect_map] = true,
        [BPF_FUNC_redirect_neigh] = true,
        [BPF_FUNC_fib_lookup] = true,
        [BPF_FUNC_check_mtu] = true,
        [BPF_FUNC_sk_select_reuseport] = true,
        /* packets before they're such */
        [BPF_FUNC_xdp_adjust_head] = true,
        [BPF_FUNC_xdp_adjust_meta] = true,
        [BPF_FUNC_xdp_adjust_tail] = true,
        [BPF_FUNC_xdp_get_buff_len] = true,
        [BPF_FUNC_xdp_load_bytes] = true,
        [BPF_FUNC_xdp_store_bytes] = true,
        /* routes */
        [BPF_FUNC_lwt_push_encap] = true,
        [BPF_FUNC_lwt_seg6_store_bytes] = true,
        [BPF_FUNC_lwt_seg6_adjust_srh] = true,
        [BPF_FUNC_lwt_seg6_action] = true,
};

/* Of helpers only: no parts of the program, or the verifier's states become 75 KiB each, with eight stacks.
 */
static bool call_is_lent(const struct bpf_insn *insn) {
        return insn->src_reg == 0 && insn->imm >= 0 && (size_t) insn->imm < G_N_ELEMENTS(helpers) &&
               helpers[insn->imm];
}

static bool load_is_lent(const struct bpf_insn *insn) {
        switch (BPF_MODE(insn->code)) {
        case BPF_IMM:
                return insn->code == (BPF_LD | BPF_IMM | BPF_DW) &&
                       (insn->src_reg == 0 || insn->src_reg == BPF_PSEUDO_MAP_FD ||
                                       insn->src_reg == BPF_PSEUDO_MAP_VALUE);
        case BPF_ABS:
        case BPF_IND:
                return BPF_SIZE(insn->code) != BPF_DW;
        default:
                return false;
        }
}

/* With an offset, which is the number of bits that are copied: others have other meanings. */
static bool move_is_lent(const struct bpf_insn *insn) {
        return insn->off == 0 ||
               (instruction_is_by_register(insn) && (insn->off == 8 || insn->off == 16 || insn->off == 32));
}

static bool arithmetic_is_lent(const struct bpf_insn *insn) {
        return BPF_OP(insn->code) == BPF_MOV ? move_is_lent(insn) : BPF_OP(insn->code) <= OP_MOST;
}

static bool jump_is_lent(const struct bpf_insn *insn) {
        switch (BPF_OP(insn->code)) {
        case BPF_CALL:
                return insn->code == (BPF_JMP | BPF_CALL) && call_is_lent(insn);
        case BPF_EXIT:
                return insn->code == (BPF_JMP | BPF_EXIT);
        case BPF_JA:
                return !instruction_is_by_register(insn);
        default:
                return BPF_OP(insn->code) <= JUMP_MOST;
        }
}

static bool is_lent(const struct bpf_insn *insn) {
        switch (BPF_CLASS(insn->code)) {
        case BPF_LD:
                return load_is_lent(insn);
        case BPF_LDX:
                return BPF_MODE(insn->code) == BPF_MEM || BPF_MODE(insn->code) == MODE_SIGN_EXTENDED;
        case BPF_ST:
                return BPF_MODE(insn->code) == BPF_MEM;
        case BPF_STX:
                return BPF_MODE(insn->code) == BPF_MEM || BPF_MODE(insn->code) == MODE_ATOMIC;
        case BPF_ALU:
        case BPF_ALU64:
                return arithmetic_is_lent(insn);
        default: /* BPF_JMP, BPF_JMP32 */
                return jump_is_lent(insn);
        }
}

/* A packet's socket, by which one that comes from the host tells its addresses there. The kernel takes such a
 * load from the context as it was given, so it looks like this. (Another may look the same.) */
static bool is_load_of_socket(const struct bpf_insn *insn) {
        return insn->code == (BPF_LDX | BPF_MEM | BPF_DW) && insn->off == offsetof(struct __sk_buff, sk);
}

static bool has_packets(uint32_t type) {
        switch (type) {
        case BPF_PROG_TYPE_CGROUP_DEVICE:
        case BPF_PROG_TYPE_XDP:
        case BPF_PROG_TYPE_SK_REUSEPORT:
                return false;
        default:
                return true;
        }
}

int delegated_check(uint32_t type, const struct bpf_insn *insns, size_t n, size_t *ret_index) {
        bool packets = has_packets(type);

        for (size_t i = 0; i < n; i++) {
                bool wide = BPF_CLASS(insns[i].code) == BPF_LD && BPF_MODE(insns[i].code) == BPF_IMM;

                if (!is_lent(insns + i) || (packets && is_load_of_socket(insns + i)) ||
                                (wide && (i + 1 == n || !instruction_is_second_half(insns + i + 1)))) {
                        if (ret_index)
                                *ret_index = i;
                        return -EPERM;
                }
                i += wide;
        }

        return 0;
}
