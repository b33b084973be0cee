/* filter.c: see filter.h.
 *
 * Every condition jumps to the last instruction, which drops, when it does not hold. A load beyond
 * the packet's end drops it too.
 *
 * Source: Linux, Documentation/networking/filter.rst.
 */
#define _GNU_SOURCE /* SO_ATTACH_FILTER */
#include "net/filter.h"

#include "net/bytes.h"
#include "net/headers.h"

#include <errno.h>
#include <sys/socket.h>

#define TO_DROP            UINT8_MAX /* Until the place of the last instruction is known. */
#define ETHERNET_TYPE_AT   12u
#define IPV4_AT            14u
#define IPV4_FLAGS_AT      20u
#define IPV4_PROTOCOL_AT   23u
#define IPV4_TO_AT         30u
#define UDP_TO_AT          36u
#define UDP_LENGTH_AT      38u
#define IPV4_WITHOUT_MORE  0x45u   /* Version 4, no options. */
#define IPV4_FRAGMENT_MASK 0x3fffu /* More fragments, or an offset. */

_Static_assert(FILTER_CODE_MAX >= 20 + 2 * NIC_ACCEPT_WORDS, "both programs fit");

static void emit(struct filter *filter, struct sock_filter instruction)
{
    ASSERT(filter->count < FILTER_CODE_MAX);
    filter->code[filter->count++] = instruction;
}

static void load(struct filter *filter, uint16_t width, uint32_t offset)
{
    emit(filter, (struct sock_filter)BPF_STMT(BPF_LD | width | BPF_ABS, offset));
}

/* Go on if what was loaded is `value`. */
static void need(struct filter *filter, uint16_t comparison, uint32_t value)
{
    emit(filter, (struct sock_filter)BPF_JUMP(BPF_JMP | comparison | BPF_K, value, 0, TO_DROP));
}

static void take(struct filter *filter)
{
    emit(filter, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, UINT32_MAX));
}

/* The payload, which begins at `payload_at` of what the filter sees. */
static void need_words(struct filter *filter, const struct nic_accept *accept, uint32_t payload_at)
{
    ASSERT(accept->word_count > 0);
    ASSERT(accept->word_count <= NIC_ACCEPT_WORDS);
    for (uint32_t i = 0; i < accept->word_count; i++) {
        load(filter, BPF_W, payload_at + accept->words[i].offset);
        need(filter, BPF_JEQ, bytes_load32(accept->words[i].bytes));
    }
}

/* Take what came so far, and let every open condition drop. */
static void finish(struct filter *filter)
{
    take(filter);
    uint16_t drop = filter->count;
    emit(filter, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0));
    for (uint16_t i = 0; i < drop; i++) {
        struct sock_filter *code = &filter->code[i];
        code->jf = code->jf == TO_DROP ? (uint8_t)(drop - i - 1) : code->jf;
        code->jt = code->jt == TO_DROP ? (uint8_t)(drop - i - 1) : code->jt;
    }
}

void filter_datagrams(struct filter *filter, const struct nic_accept *accept)
{
    *filter = (struct filter){.count = 0};
    emit(filter, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0));
    need(filter, BPF_JGE, UDP_BYTES + accept->bytes_min); /* It sees the UDP header too. */
    need_words(filter, accept, UDP_BYTES);
    finish(filter);
}

void filter_packets(struct filter *filter, const struct nic_accept *accept, struct nic_address self)
{
    *filter = (struct filter){.count = 0};
    load(filter, BPF_H, ETHERNET_TYPE_AT);
    emit(filter, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETHERTYPE_ARP, 0, 1));
    take(filter);
    need(filter, BPF_JEQ, ETHERTYPE_IPV4);
    load(filter, BPF_B, IPV4_AT);
    need(filter, BPF_JEQ, IPV4_WITHOUT_MORE);
    load(filter, BPF_W, IPV4_TO_AT);
    need(filter, BPF_JEQ, self.ipv4);
    load(filter, BPF_H, IPV4_FLAGS_AT);
    emit(filter,
         (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, IPV4_FRAGMENT_MASK, TO_DROP, 0));
    load(filter, BPF_B, IPV4_PROTOCOL_AT);
    emit(filter, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PROTOCOL_ICMP, 0, 1));
    take(filter);
    need(filter, BPF_JEQ, PROTOCOL_UDP);
    load(filter, BPF_H, UDP_TO_AT);
    need(filter, BPF_JEQ, self.port);
    load(filter, BPF_H, UDP_LENGTH_AT);
    need(filter, BPF_JGE, UDP_BYTES + accept->bytes_min);
    need_words(filter, accept, HEADERS_BYTES);
    finish(filter);
}

int filter_attach(int fd, const struct filter *filter)
{
    ASSERT(filter->count > 0);
    struct sock_fprog program = {
        .len = filter->count,
        /* The kernel only reads it; struct sock_fprog has no const. */
        .filter = (struct sock_filter *)(uintptr_t)filter->code,
    };
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0 ? 0 : -errno;
}
