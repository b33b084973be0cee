/* replay.c: power cuts at every point of a recorded run, each recovered and judged.
 *
 * replay --journal FILE --acks FILE --cluster HEX --writer-seed N --retention BYTES --seed N
 *        --images N [--lies] IMAGE...
 *
 * A cut is a point of the journal, the same for all disks. Of what is not certain at it
 * (tests/crash/platter.h) each combination of pages becomes an image, if they are few, and
 * otherwise nothing, all, and combinations drawn from the seed; and images torn below the page.
 * Cuts are left out evenly, so that there are N images in all. Of some images a log is opened as a
 * node does it, a second cut strikes within its writes, and it is opened again. --lies: the disks
 * forget O_DSYNC and flushes, and so losses must be found.
 *
 * Prints one object; exits 1 when something is wrong, with the first few on stderr.
 */
#include "engine/base/entry.h"
#include "storage/segment.h"
#include "storage/wal.h"
#include "tests/crash/platter.h"
#include "tests/crash/verdict.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVERY_PAGES_MAX  3u /* So many pages: all combinations. */
#define SOME_IMAGES      3u
#define TORN_IMAGES      1u
#define MORE_IMAGES      64u /* Of either kind. */
#define OPENED_ONE_IN    8u
#define DEATH_WRITES_MAX 8u
#define TEAR_PPM         400000u
#define TOLD_MAX         5u
#define LOSSES_MAX       50u /* Then it is plain enough. */

struct counts {
    uint64_t images, cuts, torn, kinds[4];
    uint64_t opened, opened_cut_short, violations, losses;
    uint64_t writes, through, flushes, pages_most;
    uint64_t superblock_writes, watermark_writes, state_writes, log_writes;
    uint64_t laps, terms, trimmed, owed;
};

static struct {
    struct platter *platters;
    uint32_t count;
    uint8_t *journal;
    uint64_t journal_bytes;
    uint64_t event_count;
    struct known known;
    struct owed owed;
    struct prng prng;
    uint64_t seed;
    uint64_t images;
    bool lies;
    struct recovery floor[JOURNAL_DISKS_MAX]; /* As recovered from what is certain. */
    struct counts counts;
} rig;

static _Noreturn void die(const char *what, const char *path)
{
    fprintf(stderr, "replay: %s: %s\n", what, path);
    exit(3);
}

static void violated(const char *what, uint64_t cut, const struct platter_image *image)
{
    static const char *const fates[] = {"nothing", "all", "chosen", "some", "torn"};
    rig.counts.losses += what == verdict_lost || what == verdict_electable;
    if (++rig.counts.violations <= TOLD_MAX) {
        fprintf(stderr,
                "violation: cut %" PRIu64 ", image %" PRIu64 " (%s), owed up to %" PRIu64 ": %s\n",
                cut, rig.counts.images, fates[image->fate], rig.owed.offset, what);
    }
}

/* Images. */

static uint8_t node_of(uint32_t disk)
{
    return (uint8_t)(disk + 1);
}

static const char *judge_disk(uint32_t disk, bool plain, struct finding *finding)
{
    struct disk_model *model = &rig.platters[disk].model;
    verdict_disk(model, node_of(disk), plain, &rig.owed, finding);
    return finding->wrong;
}

/* Nothing that was certain is taken back. */
static const char *judge_floor(const struct finding *findings, bool is_floor)
{
    for (uint32_t i = 0; i < rig.count; i++) {
        const struct recovery *found = &findings[i].recovery;
        struct recovery *floor = &rig.floor[i];
        if (found->term < floor->term || found->epoch < floor->epoch || found->boot < floor->boot ||
            found->entry_term < floor->entry_term ||
            (found->term == floor->term && floor->vote != 0 && found->vote != floor->vote)) {
            return "a term, vote, epoch or boot that was durable has gone back";
        }
        if (is_floor) {
            *floor = *found;
        }
    }
    return NULL;
}

/* Open the log as a node does at its start. */
static int open_log(uint32_t disk, struct recovery *found)
{
    static uint8_t *memory;
    uint64_t bytes = wal_memory_bytes();
    memory = memory != NULL ? memory
                            : aligned_alloc(PAGE_BYTES, bytes - bytes % PAGE_BYTES + PAGE_BYTES);
    if (memory == NULL) {
        die("no memory", "wal");
    }
    memset(memory, 0, bytes);
    struct mem mem;
    mem_init(&mem, memory, bytes);
    struct fault fault;
    const struct wal_config config = {
        .cluster = rig.known.cluster,
        .node = node_of(disk),
        .disk = &rig.platters[disk].model.disk,
    };
    return wal_open(wal_create(&mem, &config), WAL_WHOLE, NULL, found, &fault);
}

/* A cut within an opening, then an opening to its end. Nothing owed may be gone by that. */
static const char *judge_opening(uint32_t disk, bool plain, struct finding *findings)
{
    struct disk_model *model = &rig.platters[disk].model;
    struct log_id last = findings[disk].recovery.last;
    struct recovery found;
    model->writes_until_death = (uint32_t)prng_below(&rig.prng, DEATH_WRITES_MAX);
    int result = open_log(disk, &found);
    rig.counts.opened_cut_short += result != 0;
    disk_model_crash(model, &rig.prng, plain ? 0 : TEAR_PPM);
    const char *wrong = judge_disk(disk, plain, &findings[disk]);
    if (wrong == NULL && !recover_is_whole(&findings[disk].recovery)) {
        wrong = "a cut within an opening left a log that is not whole";
    }
    if (wrong == NULL && open_log(disk, &found) != 0) {
        wrong = "the log cannot be opened";
    }
    rig.counts.opened++;
    wrong = wrong != NULL ? wrong : judge_disk(disk, true, &findings[disk]);
    const struct recovery *now = &findings[disk].recovery;
    if (wrong == NULL && (now->last.index != last.index || now->last.term != last.term)) {
        wrong = "an opening has changed the log";
    }
    return wrong;
}

static void count_image(const struct finding *findings)
{
    for (uint32_t i = 0; i < rig.count; i++) {
        const struct recovery *found = &findings[i].recovery;
        uint64_t laps = found->ring_bytes > 0 ? found->end_position / found->ring_bytes : 0;
        rig.counts.kinds[found->kind]++;
        rig.counts.laps = laps > rig.counts.laps ? laps : rig.counts.laps;
        rig.counts.terms = found->term > rig.counts.terms ? found->term : rig.counts.terms;
        rig.counts.trimmed =
            found->start.offset > rig.counts.trimmed ? found->start.offset : rig.counts.trimmed;
    }
}

static const char *judge(const struct platter_image *image)
{
    static struct finding findings[JOURNAL_DISKS_MAX];
    bool plain = image->fate != PLATTER_TORN;
    const char *wrong = NULL;
    for (uint32_t i = 0; i < rig.count && wrong == NULL; i++) {
        wrong = judge_disk(i, plain, &findings[i]);
    }
    if (wrong != NULL) {
        return wrong;
    }
    count_image(findings);
    wrong = verdict_cluster(findings, rig.count, &rig.owed);
    wrong = wrong != NULL ? wrong : judge_floor(findings, image->fate == PLATTER_NOTHING);
    uint32_t disk = (uint32_t)(rig.counts.images % rig.count);
    bool opens =
        rig.counts.images % OPENED_ONE_IN == 0 && recover_is_whole(&findings[disk].recovery);
    if (wrong == NULL && opens) {
        wrong = judge_opening(disk, plain, findings);
        wrong = wrong != NULL ? wrong : verdict_cluster(findings, rig.count, &rig.owed);
    }
    return wrong;
}

static void image_try(uint64_t cut, const struct platter_image *image)
{
    uint32_t pages_before = 0;
    rig.counts.images++;
    rig.counts.torn += image->fate == PLATTER_TORN;
    for (uint32_t i = 0; i < rig.count; i++) {
        struct platter_image part = *image;
        part.chosen = pages_before < 64 ? part.chosen >> pages_before : 0;
        platter_cut(&rig.platters[i], &part, &rig.prng);
        pages_before += (uint32_t)rig.platters[i].pending_pages;
    }
    const char *wrong = judge(image);
    if (wrong != NULL) {
        violated(wrong, cut, image);
    }
    for (uint32_t i = 0; i < rig.count; i++) {
        platter_restore(&rig.platters[i]);
    }
}

/* The images of one cut. The floor is the first one: the others are held against it. */
static void cut_try(uint64_t cut)
{
    /* A short journal is cut into more of them: those missing so far, half of either kind. */
    uint64_t wanted = rig.images * cut / rig.event_count;
    uint64_t more = wanted > rig.counts.images ? (wanted - rig.counts.images) / 2 : 0;
    more = more < MORE_IMAGES ? more : MORE_IMAGES;
    uint64_t pages = 0;
    for (uint32_t i = 0; i < rig.count; i++) {
        pages += rig.platters[i].pending_pages;
    }
    rig.counts.cuts++;
    rig.counts.pages_most = pages > rig.counts.pages_most ? pages : rig.counts.pages_most;
    image_try(cut, &(struct platter_image){.fate = PLATTER_NOTHING});
    if (pages == 0) {
        return;
    }
    bool every = pages <= EVERY_PAGES_MAX;
    for (uint64_t chosen = 1; every && chosen < 1ull << pages; chosen++) {
        image_try(cut, &(struct platter_image){.fate = PLATTER_CHOSEN, .chosen = chosen});
    }
    if (!every) {
        image_try(cut, &(struct platter_image){.fate = PLATTER_ALL});
    }
    for (uint32_t i = 0; i < SOME_IMAGES + more && !every; i++) {
        image_try(cut, &(struct platter_image){.fate = PLATTER_SOME});
    }
    for (uint32_t i = 0; i < TORN_IMAGES + more; i++) {
        image_try(cut, &(struct platter_image){.fate = PLATTER_TORN});
    }
}

/* The journal. */

static void journal_load(const char *path)
{
    FILE *in = fopen(path, "rb");
    if (in == NULL || fseek(in, 0, SEEK_END) != 0) {
        die("cannot read", path);
    }
    long bytes = ftell(in);
    rewind(in);
    rig.journal = bytes > 0 ? malloc((size_t)bytes) : NULL;
    if (rig.journal == NULL || fread(rig.journal, 1, (size_t)bytes, in) != (size_t)bytes) {
        die("cannot read", path);
    }
    rig.journal_bytes = (uint64_t)bytes;
    (void)fclose(in);
}

/* The next event and its data; false at the end. */
static bool journal_next(uint64_t *at, struct journal_event *event, const uint8_t **data)
{
    if (*at == rig.journal_bytes) {
        return false;
    }
    if (rig.journal_bytes - *at < sizeof *event) {
        die("the journal ends within an event", "--journal");
    }
    memcpy(event, rig.journal + *at, sizeof *event);
    *at += sizeof *event;
    *data = rig.journal + *at;
    uint32_t data_bytes = event->kind == JOURNAL_WRITE ? event->bytes : 0;
    if (event->disk >= rig.count || rig.journal_bytes - *at < data_bytes) {
        die("an event of another disk, or without its data", "--journal");
    }
    *at += data_bytes;
    return true;
}

static void count_write(const struct journal_event *event)
{
    struct counts *counts = &rig.counts;
    struct geometry geometry;
    const struct recovery *floor = &rig.floor[event->disk];
    bool known =
        geometry_init(&geometry, floor->ring_bytes, floor->segment_bytes, floor->window_bytes);
    counts->writes++;
    counts->through += event->through;
    counts->superblock_writes += event->offset < LAYOUT_WATERMARKS_AT;
    counts->watermark_writes +=
        event->offset >= LAYOUT_WATERMARKS_AT && event->offset < LAYOUT_STATES_AT;
    counts->state_writes +=
        known && event->offset >= LAYOUT_STATES_AT && event->offset < geometry.ring_offset;
    counts->log_writes += known && event->offset >= geometry.ring_offset;
}

static void journal_learn(void)
{
    struct journal_event event;
    const uint8_t *data;
    for (uint64_t at = 0; journal_next(&at, &event, &data);) {
        rig.event_count++;
        if (event.kind == JOURNAL_WRITE) {
            known_learn(&rig.known, data, event.bytes);
        }
    }
}

/* Whether other images are possible after this event than before it. */
static bool changes_images(const struct journal_event *event)
{
    return event->kind == JOURNAL_WRITE || event->kind == JOURNAL_FLUSHED ||
           (event->kind == JOURNAL_WRITTEN && event->through != 0);
}

static void replay(void)
{
    struct journal_event event;
    const uint8_t *data;
    uint64_t number = 0;
    cut_try(0);
    for (uint64_t at = 0; rig.counts.losses < LOSSES_MAX && journal_next(&at, &event, &data);) {
        number++;
        const char *wrong = platter_take(&rig.platters[event.disk], &event, data, number);
        if (wrong != NULL) {
            violated(wrong, number, &(struct platter_image){0});
        }
        if (event.kind == JOURNAL_WRITE) {
            count_write(&event);
        }
        rig.counts.flushes += event.kind == JOURNAL_FLUSH;
        uint64_t owed_before = rig.owed.offset;
        owed_raise(&rig.owed, number);
        bool due = rig.counts.images * rig.event_count < rig.images * number;
        if (due && changes_images(&event)) {
            cut_try(number);
        } else if (rig.owed.offset > owed_before) {
            image_try(number, &(struct platter_image){.fate = PLATTER_NOTHING});
        }
    }
    rig.counts.owed = rig.owed.offset;
}

static void print_counts(void)
{
    const struct counts *c = &rig.counts;
    printf("{\"seed\": %" PRIu64 ", \"images\": %" PRIu64 ", \"images_torn\": %" PRIu64
           ", \"cuts\": %" PRIu64 ", \"events\": %" PRIu64 ", \"violations\": %" PRIu64
           ", \"losses\": %" PRIu64 ", \"opened\": %" PRIu64 ", \"opened_cut_short\": %" PRIu64,
           rig.seed, c->images, c->torn, c->cuts, rig.event_count, c->violations, c->losses,
           c->opened, c->opened_cut_short);
    for (uint32_t kind = 0; kind < 4; kind++) {
        printf(", \"%s\": %" PRIu64, recover_kind_name((enum recover_kind)kind), c->kinds[kind]);
    }
    printf(", \"writes\": %" PRIu64 ", \"through\": %" PRIu64 ", \"flushes\": %" PRIu64
           ", \"superblock_writes\": %" PRIu64 ", \"watermark_writes\": %" PRIu64
           ", \"state_writes\": %" PRIu64 ", \"log_writes\": %" PRIu64,
           c->writes, c->through, c->flushes, c->superblock_writes, c->watermark_writes,
           c->state_writes, c->log_writes);
    printf(", \"acks\": %" PRIu64 ", \"owed\": %" PRIu64 ", \"pages_most\": %" PRIu64
           ", \"laps\": %" PRIu64 ", \"terms\": %" PRIu64 ", \"trimmed\": %" PRIu64 "}\n",
           rig.known.ack_count, c->owed, c->pages_most, c->laps, c->terms, c->trimmed);
}

static void options_parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"journal", required_argument, NULL, 'j'},
        {"acks", required_argument, NULL, 'a'},
        {"cluster", required_argument, NULL, 'c'},
        {"seed", required_argument, NULL, 's'},
        {"writer-seed", required_argument, NULL, 'w'},
        {"images", required_argument, NULL, 'n'},
        {"retention", required_argument, NULL, 'r'},
        {"lies", no_argument, NULL, 'l'},
        {NULL, 0, NULL, 0},
    };
    for (int c = 0; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'j':
            journal_load(optarg);
            break;
        case 'a':
            known_load(&rig.known, optarg);
            break;
        case 'c':
            rig.known.cluster = strtoull(optarg, NULL, 16);
            break;
        case 's':
            rig.seed = strtoull(optarg, NULL, 10);
            break;
        case 'w':
            rig.known.seed = strtoull(optarg, NULL, 10);
            break;
        case 'n':
            rig.images = strtoull(optarg, NULL, 10);
            break;
        case 'r':
            rig.known.retention_bytes = strtoull(optarg, NULL, 10);
            break;
        case 'l':
            rig.lies = true;
            break;
        default:
            exit(2);
        }
    }
    rig.count = (uint32_t)(argc - optind);
    if (rig.journal == NULL || rig.known.acks == NULL || rig.count == 0 ||
        rig.count > JOURNAL_DISKS_MAX) {
        die("needed are a journal, acknowledgements and images", "--help");
    }
}

int main(int argc, char **argv)
{
    options_parse(argc, argv);
    prng_init(&rig.prng, rig.seed);
    rig.owed.known = &rig.known;
    rig.platters = calloc(rig.count, sizeof rig.platters[0]);
    if (rig.platters == NULL) {
        die("no memory", "disks");
    }
    for (uint32_t i = 0; i < rig.count; i++) {
        platter_open(&rig.platters[i], argv[optind + (int)i]);
        rig.platters[i].lies = rig.lies;
    }
    journal_learn();
    replay();
    print_counts();
    return rig.counts.violations > 0 ? 1 : 0;
}
