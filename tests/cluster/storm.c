/* storm.c: datagrams that nobody wants, as fast as one thread can send them.
 *
 * storm --to A:P[,A:P..] --cluster HEX --kinds K[,K..] --seed N [--from A] [--bytes-max N]
 *       [--count N | --seconds S] [--listen S]
 *
 * The kinds:
 *     random   any bytes, of any length
 *     tiny     the begin of a sound frame, shorter than a header
 *     long     any bytes behind the right magic, of the largest length
 *     cluster  sound frames of every kind, of another cluster
 *     crc      a client's sound frames of this cluster, but for the checksum
 *     forged   sound frames of this cluster that claim to come from a node of it
 *
 * A pool of them is made before the first one leaves, from the seed, and sent round and round. What
 * comes back to the sender's port is counted, for `--listen` seconds after the last one too. Prints
 * {"sent": N, "unsent": N, "replies": N, "seconds": S}; SIGTERM ends the sending.
 */
#define _GNU_SOURCE /* sendmmsg */
#include "tests/support/frames.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define POOL_FRAMES  2048u
#define BURST        64u
#define TARGETS_MAX  8u
#define NODES        3u
#define NS_PER_S     1000000000ull
#define BYTES_USUAL  1472u
#define BUFFER_BYTES (4 << 20)

enum kind { KIND_RANDOM, KIND_TINY, KIND_LONG, KIND_CLUSTER, KIND_CRC, KIND_FORGED, KIND_COUNT };
static const char *const kind_names[] = {"random", "tiny", "long", "cluster", "crc", "forged"};

struct options {
    struct sockaddr_in from;
    struct sockaddr_in to[TARGETS_MAX];
    uint32_t to_count;
    enum kind kinds[KIND_COUNT];
    uint32_t kind_count;
    uint64_t cluster;
    uint64_t seed;
    uint64_t count;
    uint32_t bytes_max;
    double seconds;
    double listen;
};

struct datagram {
    uint32_t bytes;
    uint8_t data[FRAME_BYTES_MAX];
};

static struct datagram pool[POOL_FRAMES];
static volatile sig_atomic_t stopped;

static void stop(int signal_number)
{
    (void)signal_number;
    stopped = 1;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void bytes_random(struct prng *prng, uint8_t *bytes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        bytes[i] = (uint8_t)prng_next(prng);
    }
}

/* A sound frame that fits the port. `number`: which of the targets it is for. */
static uint32_t frame_make(struct prng *prng,
                           const struct options *options,
                           enum kind kind,
                           uint32_t number,
                           uint8_t *bytes)
{
    static uint8_t payload[FRAME_BYTES_MAX];
    struct wire_frame frame;
    uint32_t frame_bytes;
    do {
        bool question;
        do {
            frame_random(prng, frame_kinds[prng_below(prng, frame_kind_count)], &frame, payload);
            question = frame.header.from == 0;
        } while ((kind == KIND_CRC && !question) ||
                 (kind == KIND_FORGED && frame.header.kind >= WIRE_REQUEST));
        frame.header.cluster = kind == KIND_CLUSTER ? options->cluster ^ 1 : options->cluster;
        frame.header.group = 0;
        frame.header.to_boot = 0;
        frame.header.to = question ? 0 : (uint8_t)(number + 1);
        if (kind == KIND_FORGED) {
            frame.header.from = (uint8_t)((number + prng_between(prng, 1, NODES - 1)) % NODES + 1);
        }
        bool message = frame.header.kind <= WIRE_APPEND || frame.header.kind == WIRE_TIMEOUT_NOW;
        if (message) {
            frame.message.to = frame.header.to;
            frame.message.from = frame.header.from;
        }
        frame_bytes = frame_write(&frame, bytes);
    } while (frame_bytes > options->bytes_max);
    return frame_bytes;
}

static void datagram_make(struct prng *prng,
                          const struct options *options,
                          enum kind kind,
                          uint32_t number,
                          struct datagram *datagram)
{
    static const uint32_t magic = WIRE_MAGIC;
    uint8_t *data = datagram->data;
    switch (kind) {
    case KIND_RANDOM:
        datagram->bytes = (uint32_t)prng_between(prng, 1, options->bytes_max);
        bytes_random(prng, data, datagram->bytes);
        return;
    case KIND_TINY:
        (void)frame_make(prng, options, KIND_CRC, number, data);
        datagram->bytes = (uint32_t)prng_below(prng, WIRE_HEADER_BYTES);
        return;
    case KIND_LONG:
        datagram->bytes = options->bytes_max;
        bytes_random(prng, data, datagram->bytes);
        memcpy(data, &magic, sizeof magic);
        return;
    case KIND_CLUSTER:
    case KIND_FORGED:
        datagram->bytes = frame_make(prng, options, kind, number, data);
        return;
    case KIND_CRC:
        datagram->bytes = frame_make(prng, options, kind, number, data);
        data[16] ^= (uint8_t)prng_between(prng, 1, 255); /* Its checksum. */
        return;
    case KIND_COUNT:
        break;
    }
    abort();
}

/* ---- The command line. ---- */

static bool address_parse(const char *text, struct sockaddr_in *address)
{
    char host[32];
    const char *colon = strchr(text, ':');
    size_t host_bytes = colon == NULL ? strlen(text) : (size_t)(colon - text);
    if (host_bytes >= sizeof host) {
        return false;
    }
    memcpy(host, text, host_bytes);
    host[host_bytes] = '\0';
    *address = (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_port = htons(colon == NULL ? 0 : (uint16_t)strtoul(colon + 1, NULL, 10)),
    };
    return inet_pton(AF_INET, host, &address->sin_addr) == 1;
}

static bool targets_parse(char *text, struct options *options)
{
    char *rest = NULL;
    for (char *word = strtok_r(text, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest)) {
        if (options->to_count == TARGETS_MAX ||
            !address_parse(word, &options->to[options->to_count++])) {
            return false;
        }
    }
    return options->to_count > 0;
}

static bool kinds_parse(char *text, struct options *options)
{
    char *rest = NULL;
    for (char *word = strtok_r(text, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest)) {
        uint32_t kind = 0;
        while (kind < KIND_COUNT && strcmp(word, kind_names[kind]) != 0) {
            kind++;
        }
        if (kind == KIND_COUNT || options->kind_count == KIND_COUNT) {
            return false;
        }
        options->kinds[options->kind_count++] = (enum kind)kind;
    }
    return options->kind_count > 0;
}

static bool option_parse(const char *name, char *value, struct options *options)
{
    if (strcmp(name, "--to") == 0) {
        return targets_parse(value, options);
    }
    if (strcmp(name, "--kinds") == 0) {
        return kinds_parse(value, options);
    }
    if (strcmp(name, "--from") == 0) {
        return address_parse(value, &options->from);
    }
    if (strcmp(name, "--cluster") == 0) {
        options->cluster = strtoull(value, NULL, 16);
    } else if (strcmp(name, "--seed") == 0) {
        options->seed = strtoull(value, NULL, 10);
    } else if (strcmp(name, "--count") == 0) {
        options->count = strtoull(value, NULL, 10);
    } else if (strcmp(name, "--seconds") == 0) {
        options->seconds = strtod(value, NULL);
    } else if (strcmp(name, "--listen") == 0) {
        options->listen = strtod(value, NULL);
    } else if (strcmp(name, "--bytes-max") == 0) {
        options->bytes_max = (uint32_t)strtoul(value, NULL, 10);
    } else {
        return false;
    }
    return options->bytes_max >= FRAME_BYTES_MIN && options->bytes_max <= FRAME_BYTES_MAX;
}

static bool options_parse(int count, char **texts, struct options *options)
{
    *options = (struct options){
        .from = {.sin_family = AF_INET},
        .bytes_max = BYTES_USUAL,
        .count = UINT64_MAX,
        .seconds = 1e9,
    };
    for (int i = 1; i < count; i += 2) {
        if (i + 1 == count || !option_parse(texts[i], texts[i + 1], options)) {
            fprintf(stderr, "storm: bad or incomplete option `%s`\n", texts[i]);
            return false;
        }
    }
    return options->to_count > 0 && options->kind_count > 0;
}

/* ---- Sending and hearing. ---- */

/* What came back to this port by now. */
static uint64_t hear(int fd)
{
    uint64_t count = 0;
    uint8_t byte;
    while (recv(fd, &byte, sizeof byte, MSG_DONTWAIT | MSG_TRUNC) >= 0) {
        count++;
    }
    return count;
}

struct tally {
    uint64_t sent;
    uint64_t unsent;
    uint64_t replies;
};

static void send_all(int fd, struct options *options, struct tally *tally)
{
    struct mmsghdr messages[BURST];
    struct iovec parts[BURST];
    uint64_t begin_ns = now_ns();
    uint64_t limit_ns = (uint64_t)(options->seconds * 1e9);
    uint64_t made = 0;
    while (stopped == 0 && made < options->count && now_ns() - begin_ns < limit_ns) {
        uint64_t left = options->count - made;
        uint32_t burst = left < BURST ? (uint32_t)left : BURST;
        for (uint32_t i = 0; i < burst; i++, made++) {
            struct datagram *datagram = &pool[made % POOL_FRAMES];
            parts[i] = (struct iovec){datagram->data, datagram->bytes};
            messages[i].msg_hdr = (struct msghdr){
                .msg_name = &options->to[made % options->to_count],
                .msg_namelen = sizeof options->to[0],
                .msg_iov = &parts[i],
                .msg_iovlen = 1,
            };
        }
        for (uint32_t at = 0; at < burst;) {
            int taken = sendmmsg(fd, messages + at, burst - at, 0);
            tally->sent += taken > 0 ? (uint32_t)taken : 0;
            tally->unsent += taken > 0 ? 0 : 1;
            at += taken > 0 ? (uint32_t)taken : 1;
        }
        tally->replies += hear(fd);
    }
}

int main(int count, char **texts)
{
    struct options options;
    if (!options_parse(count, texts, &options)) {
        fprintf(stderr, "usage: see the head of tests/cluster/storm.c\n");
        return 2;
    }
    struct prng prng;
    prng_init(&prng, options.seed);
    for (uint32_t i = 0; i < POOL_FRAMES; i++) {
        enum kind kind = options.kinds[prng_below(&prng, options.kind_count)];
        datagram_make(&prng, &options, kind, i % options.to_count, &pool[i]);
    }
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int bytes = BUFFER_BYTES;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes) != 0 ||
        bind(fd, (const struct sockaddr *)&options.from, sizeof options.from) != 0) {
        perror("storm");
        return 1;
    }
    struct sigaction action = {.sa_handler = stop};
    (void)sigaction(SIGTERM, &action, NULL);
    struct tally tally = {0};
    uint64_t begin_ns = now_ns();
    send_all(fd, &options, &tally);
    uint64_t end_ns = now_ns();
    uint64_t until_ns = end_ns + (uint64_t)(options.listen * 1e9);
    while (now_ns() < until_ns) {
        struct timespec nap = {.tv_nsec = 1000000};
        (void)nanosleep(&nap, NULL);
        tally.replies += hear(fd);
    }
    printf("{\"sent\": %" PRIu64 ", \"unsent\": %" PRIu64 ", \"replies\": %" PRIu64
           ", \"seconds\": %.3f}\n",
           tally.sent, tally.unsent, tally.replies, (double)(end_ns - begin_ns) / 1e9);
    (void)close(fd);
    return 0;
}
