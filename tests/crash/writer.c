/* writer.c: appends records and notes when each was acknowledged, by the recorder's clock.
 *
 * writer --config FILE --clock FILE --acks FILE --seed N --records N
 *
 * Bursts of 1 to 12 records of all lengths, with pauses of a few milliseconds between some of them,
 * in which a node writes its watermark page, until N are acknowledged. The clock is read after the
 * acknowledgement has come, so what it says may be late and is never early. While the log is full,
 * because a node is away, records are refused and others sent. Exits 1 for any other refusal.
 */
#include "engine/client/thole.h"
#include "tests/crash/journal.h"
#include "tests/crash/payload.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define BURST_MAX     12u
#define UNDER_WAY_MAX 64u
#define ALL_ONE_IN    6u /* So often all that is under way is awaited. */
#define PAUSE_PERCENT 20u
#define PAUSE_US_MIN  1500u
#define PAUSE_US_MAX  4000u
#define FULL_PAUSE_MS 20
#define NS_PER_US     1000u
#define NS_PER_MS     1000000

static const _Atomic uint64_t *event_clock;
static FILE *acks;
static uint64_t acked;

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "writer: %s: %s\n", what, why);
    exit(1);
}

static void take_outcome(void *context, const struct thole_completion *done)
{
    (void)context;
    const struct journal_ack ack = {
        .sequence = done->tag, .offset = done->offset, .clock = atomic_load(event_clock)};
    if (done->outcome == THOLE_REFUSED && done->reason == THOLE_FULL) {
        return;
    }
    if (done->outcome != THOLE_COMMITTED) {
        die(thole_outcome_name(done->outcome), thole_reason_name(done->reason));
    }
    if (fwrite(&ack, sizeof ack, 1, acks) != 1 || fflush(acks) != 0) {
        die("cannot write an acknowledgement down", "the file");
    }
    acked++;
}

static void clock_open(const char *path)
{
    int fd = open(path, O_RDONLY);
    void *page = MAP_FAILED;
    if (fd >= 0) {
        page = mmap(NULL, JOURNAL_CLOCK_BYTES, PROT_READ, MAP_SHARED, fd, 0);
        (void)close(fd);
    }
    if (page == MAP_FAILED) {
        die("cannot map the clock", path);
    }
    event_clock = page;
}

static void pause_some(struct prng *prng)
{
    if (prng_below(prng, 100) < PAUSE_PERCENT) {
        const struct timespec pause = {
            .tv_nsec = (long)prng_between(prng, PAUSE_US_MIN, PAUSE_US_MAX) * NS_PER_US};
        (void)nanosleep(&pause, NULL);
    }
}

/* The session has stopped because the log is full: go on in a new epoch of it. */
static void go_on(struct thole *client)
{
    if (thole_flush(client) != 0 || thole_reopen(client) != 0) {
        die("reopen", thole_error_text(client));
    }
    const struct timespec pause = {.tv_nsec = FULL_PAUSE_MS * NS_PER_MS};
    (void)nanosleep(&pause, NULL);
}

/* Until at most `pending_max` records are under way. */
static void await(struct thole *client, uint32_t pending_max)
{
    while (thole_pending(client) > pending_max) {
        if (thole_poll(client, -1) < 0) {
            die("poll", thole_error_text(client));
        }
    }
}

static void append_all(struct thole *client, uint64_t seed, uint64_t records)
{
    static uint64_t words[PAYLOAD_BYTES_MAX / PAYLOAD_WORD_BYTES + 1];
    struct prng prng;
    prng_init(&prng, seed);
    uint64_t sequence = 1;
    while (acked < records) {
        uint64_t end = sequence + prng_between(&prng, 1, BURST_MAX);
        for (; sequence < end && acked + thole_pending(client) < records; sequence++) {
            uint32_t bytes = payload_make(seed, sequence, words);
            int result = thole_append(client, words, bytes, sequence);
            if (result == -ESHUTDOWN) {
                go_on(client);
            } else if (result != 0) {
                die("append", thole_error_text(client));
            }
        }
        bool all = acked + thole_pending(client) == records || prng_below(&prng, ALL_ONE_IN) == 0;
        await(client, all ? 0 : UNDER_WAY_MAX);
        pause_some(&prng);
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},  {"clock", required_argument, NULL, 'k'},
        {"acks", required_argument, NULL, 'a'},    {"seed", required_argument, NULL, 's'},
        {"records", required_argument, NULL, 'n'}, {NULL, 0, NULL, 0},
    };
    struct thole_options wanted = {.on_completion = take_outcome};
    uint64_t seed = 1;
    uint64_t records = 0;
    for (int c = 0; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'c':
            wanted.config_path = optarg;
            break;
        case 'k':
            clock_open(optarg);
            break;
        case 'a':
            acks = fopen(optarg, "wb");
            break;
        case 's':
            seed = strtoull(optarg, NULL, 10);
            break;
        case 'n':
            records = strtoull(optarg, NULL, 10);
            break;
        default:
            return 2;
        }
    }
    if (acks == NULL || event_clock == NULL || records == 0) {
        fprintf(stderr, "writer: --config, --clock, --acks and --records are needed\n");
        return 2;
    }
    struct thole_error error;
    struct thole *client = thole_open(&wanted, &error);
    if (client == NULL) {
        die("open", error.text);
    }
    append_all(client, seed, records);
    thole_close(client);
    return 0;
}
