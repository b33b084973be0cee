/* netlink.c: see netlink.h. */
#define _GNU_SOURCE /* SOCK_CLOEXEC */
#include "net/netlink.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define ATTRIBUTES_MAX 512u
#define ATTRIBUTE_HEAD ((uint32_t)sizeof(struct nlattr))
#define WAIT_S         2

static uint32_t padded(uint32_t bytes)
{
    return (bytes + NLA_ALIGNTO - 1) / NLA_ALIGNTO * NLA_ALIGNTO;
}

void netlink_add(struct netlink_question *question,
                 uint16_t type,
                 const void *value,
                 uint32_t bytes)
{
    struct nlattr attribute = {.nla_len = (uint16_t)(ATTRIBUTE_HEAD + bytes), .nla_type = type};
    ASSERT(question->bytes % NLA_ALIGNTO == 0);
    ASSERT(question->bytes + ATTRIBUTE_HEAD + padded(bytes) <= NETLINK_ASK_BYTES);
    memcpy(question->body + question->bytes, &attribute, sizeof(attribute));
    memcpy(question->body + question->bytes + ATTRIBUTE_HEAD, value, bytes);
    question->bytes += ATTRIBUTE_HEAD + padded(bytes);
}

/* The body of the first message in `bytes` bytes of what the kernel sent. */
static int body_take(uint8_t answer[NETLINK_ANSWER_BYTES], uint32_t bytes)
{
    struct nlmsghdr header;
    if (bytes < sizeof(header)) {
        return -EBADMSG;
    }
    memcpy(&header, answer, sizeof(header));
    if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > bytes) {
        return -EBADMSG;
    }
    uint32_t body_bytes = header.nlmsg_len - (uint32_t)sizeof(header);
    memmove(answer, answer + sizeof(header), body_bytes);
    if (header.nlmsg_type == NLMSG_ERROR) {
        int error = 0;
        memcpy(&error, answer, body_bytes < sizeof(error) ? 0 : sizeof(error));
        return error < 0 ? error : -EBADMSG;
    }
    return (int)body_bytes;
}

int netlink_ask(const struct netlink_question *question, uint8_t answer[NETLINK_ANSWER_BYTES])
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, question->protocol);
    if (fd < 0) {
        return -errno;
    }
    struct timeval wait = {.tv_sec = WAIT_S};
    uint8_t message[sizeof(struct nlmsghdr) + NETLINK_ASK_BYTES] = {0};
    struct nlmsghdr header = {
        .nlmsg_len = (uint32_t)sizeof(header) + question->bytes,
        .nlmsg_type = question->type,
        .nlmsg_flags = NLM_F_REQUEST,
        .nlmsg_seq = 1,
    };
    memcpy(message, &header, sizeof(header));
    memcpy(message + sizeof(header), question->body, question->bytes);
    int result = setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) == 0 ? 0 : -errno;
    if (result == 0 && send(fd, message, header.nlmsg_len, 0) != (ssize_t)header.nlmsg_len) {
        result = -errno;
    }
    ssize_t bytes = result == 0 ? recv(fd, answer, NETLINK_ANSWER_BYTES, 0) : 0;
    if (bytes < 0) {
        result = -errno;
    }
    (void)close(fd);
    return result != 0 ? result : body_take(answer, (uint32_t)bytes);
}

const struct nlattr *netlink_find(const uint8_t *attributes, uint32_t bytes, uint16_t type)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < ATTRIBUTES_MAX && at + ATTRIBUTE_HEAD <= bytes; i++) {
        const struct nlattr *attribute = (const struct nlattr *)(const void *)(attributes + at);
        if (attribute->nla_len < ATTRIBUTE_HEAD || attribute->nla_len > bytes - at) {
            return NULL;
        }
        if ((attribute->nla_type & NLA_TYPE_MASK) == type) {
            return attribute;
        }
        at += padded(attribute->nla_len);
    }
    return NULL;
}

const void *netlink_value(const struct nlattr *attribute, uint32_t bytes)
{
    if (attribute == NULL || attribute->nla_len < ATTRIBUTE_HEAD + bytes) {
        return NULL;
    }
    return (const uint8_t *)(const void *)attribute + ATTRIBUTE_HEAD;
}
