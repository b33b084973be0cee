/* test_storage_crashes.c: the shipped log and recovery through random crash histories.
 *
 *     test_storage_crashes [--mix NAME] [--histories N] [--seed N]
 *
 * One replica's log on a small ring (5 segments of 8 pages), records of 1 to 4 pages, several
 * writes in flight. The environment plays leaders whose logs obey Log Matching and keep what was
 * committed: entries arrive, conflict and are cut, complete in any order, are acknowledged,
 * committed, trimmed. The power goes at any moment, also within a superblock update and within
 * wal_open(); what was in flight is there, absent or torn; pages rot, writes that were reported
 * done are lost. After each crash recovery runs twice and is held against what the environment
 * knows:
 *
 * Check 1: a pure power cut leaves neither a suspect nor damage.
 *
 * Check 2: nothing that was cut or never written stands in the prefix.
 *
 * Check 3: no acknowledged entry is missing from a log that calls itself whole; of one that does
 * not, the true last, the vote bound and every identity it names are right.
 *
 * Check 4: recovery is idempotent, its superblock is never older than one acted on, and a damaged
 * log is refused without a write.
 *
 * Check 5: only a superblock of which both copies of a slot really rotted is refused.
 *
 * A mix that in 1,000 histories never met what it is for proves nothing, and fails.
 *
 * Check 6: a mending ends; at its beginning it changes the boot alone.
 *
 * A healthy log opens and goes on. A damaged one is mended with entries that somebody held, the
 * power going within that too, and what comes of it stands up to the same checks; one that no entry
 * can mend ends its history.
 */
#include "storage/mend.h"
#include "storage/superblock.h"
#include "tests/support/crash_world.h"
#include "tests/support/walk_check.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BOOTS_MAX 40u
#define CRASHES   4u
/* So many histories must show what their mix is for. */
#define PROOF_HISTORIES 1000u

static const struct mix mixes[] = {
    {.name = "power"},
    {.name = "power_forge", .forge = true},
    {.name = "tears", .tear_ppm = 15 * PERCENT},
    {.name = "rot", .rot_ppm = 50 * PERCENT},
    {.name = "rot_multi", .rot_ppm = 60 * PERCENT, .multi = true},
    {.name = "rot_tears", .rot_ppm = 50 * PERCENT, .tear_ppm = 10 * PERCENT},
    {.name = "lost", .lost_ppm = 5 * PERCENT},
    {.name = "sbrot", .superblock_rot_ppm = 30 * PERCENT},
    {.name = "staterot", .state_rot_ppm = 60 * PERCENT},
    {.name = "all",
     .state_rot_ppm = 30 * PERCENT,
     .rot_ppm = 30 * PERCENT,
     .tear_ppm = 10 * PERCENT,
     .multi = true,
     .forge = true},
};
#define MIX_COUNT (sizeof mixes / sizeof mixes[0])

/* The history that runs, as flags that run it again; ready made, for a signal handler may not. */
static char running[128];

static void print_where(int number)
{
    (void)number;
    (void)!write(STDERR_FILENO, "aborted in ", 11);
    (void)!write(STDERR_FILENO, running, strnlen(running, sizeof running));
    (void)!write(STDERR_FILENO, "\n", 1);
    signal(SIGABRT, SIG_DFL);
    raise(SIGABRT);
}

static bool violated(const struct world *world, const char *what)
{
    const struct recovery *found = &world->found;
    fprintf(stderr,
            "VIOLATION %s: %s\n"
            "  %s: T %" PRIu64 " D %" PRIu64 " start %" PRIu64 " cut %" PRIu64 " epoch %" PRIu64
            " prefix to (%" PRIu64 ", %" PRIu64 ") true last (%" PRIu64 ", %" PRIu64
            ") bad %u acked %" PRIu64 " held %u\n  %s\n",
            what, running, recover_kind_name(found->kind), found->end_position / PAGE_BYTES,
            found->durable_position / PAGE_BYTES, found->start.position / PAGE_BYTES,
            found->cut_position / PAGE_BYTES, found->epoch, found->last.term, found->last.index,
            found->true_last.term, found->true_last.index, found->bad_pages, world->acked,
            world->held.count, found->what);
    return false;
}

/* Recovery and its checks. */

static void visit_entry(void *context, const uint8_t *entry)
{
    struct world *world = context;
    const struct entry_header *header = entry_header_of(entry);
    if (world->prefix_count < ENTRIES_MAX) {
        world->prefix[world->prefix_count++] =
            (struct log_id){.term = header->term, .index = header->index};
    }
}

static void
visit_state(void *context, const struct log_start *start, const void *bytes, uint32_t count)
{
    struct world *world = context;
    char expected[64];
    int length = snprintf(expected, sizeof expected, "state at %" PRIu64, start->position);
    bool right = count == (uint32_t)length && memcmp(expected, bytes, count) == 0;
    world->state_calls += right ? 1 : 1000;
}

static void visit_known(void *context, struct log_id id, uint64_t position)
{
    struct world *world = context;
    (void)position;
    for (uint32_t i = 0; i < world->known_count; i++) {
        if (world->known[i].index == id.index) {
            world->known[i] = id;
            return;
        }
    }
    if (world->known_count < ENTRIES_MAX) {
        world->known[world->known_count++] = id;
    }
}

static bool recover_same(const struct recovery *a, const struct recovery *b)
{
    return a->kind == b->kind && a->epoch == b->epoch && a->boot == b->boot && a->term == b->term &&
           a->end_position == b->end_position && a->durable_position == b->durable_position &&
           a->last.index == b->last.index && a->last.term == b->last.term &&
           a->true_last.index == b->true_last.index && a->true_last.term == b->true_last.term &&
           a->vote_bound.index == b->vote_bound.index && a->bad_pages == b->bad_pages &&
           a->bad_position == b->bad_position && a->entry_count == b->entry_count &&
           a->next_offset == b->next_offset && strcmp(a->what, b->what) == 0;
}

/* CHECK_OPEN: go on, the log is open already. */
enum check { CHECK_GO_ON, CHECK_OPEN, CHECK_END, CHECK_VIOLATED };

/* The opening that was under way has happened: the log ends where it cut it. */
static void cut_open(struct world *world)
{
    uint64_t acked = world->acked;
    if (world->opening_bounded && acked > world->opening_last) {
        const struct log_id id = {.term = world->held.entries[acked].term, .index = acked};
        if (log_id_compare(id, world->given_up) > 0) {
            world->given_up = id;
        }
        world->counts.bounded_acked++;
    }
    world_cut(world, world->opening_last);
}

/* Which of the pending updates the crash let through. */
static void resolve_pending(struct world *world)
{
    const struct recovery *found = &world->found;
    bool risen = found->epoch == world->acted.epoch + 1;
    if (world->want_cut && risen && !world->opening) {
        world_cut(world, world->cut_keep);
    }
    if (world->opening && found->epoch == world->opening_epoch) {
        cut_open(world);
    }
    world->want_cut = false;
    world->want_hard = false;
    world->want_start = false;
    world->opening = false;
    world->opening_bounded = false;
    world->acted.epoch = found->epoch;
    world->acted.boot = found->boot;
    world->acted.term = found->term;
    world->acted.vote = found->vote;
    world->acted.start = found->start.position;
}

static const char *check_superblock(const struct world *world)
{
    const struct recovery *found = &world->found;
    if (found->epoch < world->acted.epoch || found->boot < world->acted.boot ||
        found->term < world->acted.term || found->start.position < world->acted.start) {
        return "4 superblock older than one acted on";
    }
    if (found->term == world->acted.term && found->vote != world->acted.vote) {
        return "4 vote changed within a term";
    }
    if (found->epoch > world->acted.epoch + 1) {
        return "4 epoch from nowhere";
    }
    return NULL;
}

static const char *check_prefix(struct world *world)
{
    const struct recovery *found = &world->found;
    bool healthy = found->kind == RECOVER_CLEAN || found->kind == RECOVER_TORN;
    bool pure = !world->dirty;
    if (pure && world->mix->tear_ppm == 0 && !healthy) {
        return "1 false alarm";
    }
    if (pure && found->kind == RECOVER_DAMAGED) {
        return "1 false damage under tears";
    }
    for (uint32_t i = 0; i < world->prefix_count; i++) {
        uint64_t index = found->start.last.index + 1 + i;
        const struct made *made = &world->held.entries[index];
        bool right = world->prefix[i].index == index && index <= world->held.count &&
                     world->prefix[i].term == made->term;
        if (!right && !healthy && world->mix->lost_ppm > 0) {
            world->counts.lost_unproven++; /* A damaged log's prefix waits for a peer's word. */
            break;
        }
        if (!right && (healthy || found->mismatch_index == 0)) {
            return index <= world->acked ? "2 another entry in place of an ACKED one"
                                         : "2 an entry that is not in force";
        }
    }
    if (found->start.position > 0 && world->state_calls != 1) {
        return "2 the small state at the start was not given, or not that one";
    }
    for (uint32_t copy = 0; copy < STATE_COPIES; copy++) {
        if (found->state_wrong[copy] != NULL && world->rotten_state != 1 + copy) {
            return "2 a copy of the small state at the start is bad, and no rot was there";
        }
    }
    return NULL;
}

static bool id_below(struct log_id a, struct log_id b)
{
    return a.term != b.term ? a.term < b.term : a.index < b.index;
}

/* A log that is not whole: what it says of itself for votes and repair. */
static const char *check_finding(struct world *world)
{
    const struct recovery *found = &world->found;
    const struct leader_log *held = &world->held;
    struct log_id acked = {.term = held->entries[world->acked].term, .index = world->acked};
    if (world->acked > found->start.last.index && id_below(found->true_last, acked)) {
        if (!found->tail_unreadable) {
            return "3 true last below an acked entry";
        }
        if (id_below(found->vote_bound, acked)) {
            return "3 vote bound below an acked entry";
        }
    }
    uint64_t last = found->true_last.index;
    if (last > held->count ||
        (last > found->start.last.index && held->entries[last].term != found->true_last.term)) {
        return "3 true last from a void suffix";
    }
    for (uint32_t i = 0; i < world->known_count; i++) {
        struct log_id id = world->known[i];
        bool right = id.index <= held->count && held->entries[id.index].term == id.term;
        if (!right && world->mix->lost_ppm > 0) {
            world->counts.lost_unproven++;
        } else if (!right && id.index != found->mismatch_index) {
            return "3 a known identity is void";
        }
    }
    return NULL;
}

static int recover_once(struct world *world, struct recovery *found, struct fault *fault)
{
    const struct recover_visitor visitor = {
        .entry = visit_entry, .state = visit_state, .known = visit_known, .context = world};
    static _Alignas(PAGE_BYTES) uint8_t buffer[RECOVER_BUFFER_BYTES];
    const struct recover_config expected = {
        .cluster = CLUSTER, .node = NODE, .buffer = buffer, .visitor = &visitor};
    world->prefix_count = 0;
    world->known_count = 0;
    world->state_calls = 0;
    memset(found, 0, sizeof *found);
    return recover(&world->model.disk, &expected, found, fault);
}

/* A superblock that is refused has a slot without a readable copy. No crash leaves one, so each of
 * them must be as a rot left it. */
static bool refusal_is_right(struct world *world)
{
    static _Alignas(PAGE_BYTES) uint8_t page[PAGE_BYTES];
    struct superblock_set set;
    struct fault fault;
    if (superblock_load(&world->model.disk, page, &set, &fault) == 0) {
        return false;
    }
    for (uint32_t slot = 0; slot < SUPERBLOCK_SLOTS; slot++) {
        if (!set.valid[slot][0] && !set.valid[slot][1]) {
            return world_copy_is_rotten(world, slot, 0) && world_copy_is_rotten(world, slot, 1);
        }
    }
    return false;
}

static enum check check_recovery(struct world *world)
{
    struct fault fault = {0};
    struct recovery again;
    uint64_t writes = world->model.write_count;
    int result = recover_once(world, &again, &fault);
    int second = recover_once(world, &world->found, &fault);
    if (result != second || writes != world->model.write_count) {
        violated(world, "4 recovery wrote, or changed its mind");
        return CHECK_VIOLATED;
    }
    if (result != 0) {
        world->counts.refused++;
        if (refusal_is_right(world)) {
            return CHECK_END;
        }
        fprintf(stderr, "%s\n", fault.text);
        violated(world, "5 refused");
        return CHECK_VIOLATED;
    }
    world->counts.kinds[world->found.kind]++;
    const char *wrong = recover_same(&again, &world->found) ? NULL : "4 not idempotent";
    world_restore(world);
    wrong = wrong != NULL ? wrong : check_superblock(world);
    if (wrong != NULL) {
        violated(world, wrong);
        return CHECK_VIOLATED;
    }
    resolve_pending(world);
    wrong = log_id_compare(world->found.bound, world->given_up) < 0
                ? "7 the bound is below an acked entry that was cut off"
                : check_prefix(world);
    static _Alignas(PAGE_BYTES) uint8_t buffer[RECOVER_BUFFER_BYTES];
    wrong = wrong != NULL ? wrong : walk_check(&world->model.disk, &world->found, buffer);
    bool healthy = world->found.kind == RECOVER_CLEAN || world->found.kind == RECOVER_TORN;
    if (wrong == NULL && !healthy) {
        wrong = check_finding(world);
    }
    if (wrong == NULL && healthy && world->acked > world->found.last.index) {
        uint64_t vouched =
            world->vouched > world->found.cut_position ? world->vouched : world->found.cut_position;
        if (world->mix->lost_ppm > 0 && vouched <= world->found.end_position) {
            world->counts.lost_unwitnessed++; /* One node cannot know: no trace of it is left. */
            return CHECK_END;
        }
        wrong = "3 an acked entry silently dropped";
    }
    if (wrong != NULL) {
        violated(world, wrong);
        return CHECK_VIOLATED;
    }
    return CHECK_GO_ON;
}

static void wal_make(struct world *world)
{
    mem_init(&world->mem, world->mem.base, world->mem.bytes);
    const struct wal_config config = {.cluster = CLUSTER, .node = NODE, .disk = &world->model.disk};
    world->wal = wal_create(&world->mem, &config);
}

/* Writes that an opening needs to make the superblock's copies equal. */
static uint32_t copies_unequal(struct world *world)
{
    static _Alignas(PAGE_BYTES) uint8_t page[PAGE_BYTES];
    struct superblock_set set;
    struct fault fault;
    uint32_t count = 0;
    int result = superblock_load(&world->model.disk, page, &set, &fault);
    ASSERT(result == 0);
    for (uint32_t slot = 0; slot < SUPERBLOCK_SLOTS; slot++) {
        const struct superblock *copies = set.copies[slot];
        count +=
            !set.valid[slot][0] || !set.valid[slot][1] || copies[0].sequence != copies[1].sequence;
    }
    return count;
}

/* A damaged log: the shipped opening must refuse it and write nothing. */
static bool opening_refuses(struct world *world)
{
    struct fault fault = {0};
    struct recovery found;
    uint64_t writes = world->model.write_count;
    wal_make(world);
    int result = wal_open(world->wal, WAL_WHOLE, NULL, &found, &fault);
    if (result == 0 || fault.code != FAULT_FAILED || world->model.write_count != writes) {
        violated(world, "4 a damaged log was opened or written");
        return false;
    }
    return true;
}

/* Open a log that is to end with entry `last`; the power may go within. */
static bool log_open(struct world *world, enum wal_accept accept, const struct log_id *last)
{
    struct fault fault = {0};
    struct recovery found;
    wal_make(world);
    uint32_t unequal = copies_unequal(world);
    uint32_t death = world_percent(world, 20) ? (uint32_t)world_below(world, 5) : DISK_MODEL_ALIVE;
    world->model.writes_until_death = death;
    if (death >= unequal) { /* The update that was found is in both copies: it counts. */
        world->opening = true;
        world->opening_bounded = accept == WAL_BOUNDED;
        world->opening_epoch = world->found.epoch + 1;
        world->opening_last = last->index;
        world_keep(world);
    }
    if (wal_open(world->wal, accept, NULL, &found, &fault) != 0) {
        world->counts.opens_cut_short++;
        world_crash(world);
        return false;
    }
    world->counts.opens++;
    world->counts.bounded += accept == WAL_BOUNDED;
    world->counts.states_mended += wal_counters(world->wal)->states_mended;
    world->rotten_state = 0;
    world->model.writes_until_death = DISK_MODEL_ALIVE;
    world->model.automatic = false;
    cut_open(world);
    world->opening = false;
    world->opening_bounded = false;
    world->submitted = world->held.count;
    world->acted.epoch = wal_epoch(world->wal);
    world->acted.boot = wal_boot(world->wal);
    world->hard = wal_hard_durable(world->wal);
    return true;
}

/* What nobody can bring back is cut off, and bounds the votes from then on. */
static enum check open_bounded(struct world *world, struct mend *mend)
{
    struct fault fault = {0};
    world->model.writes_until_death = DISK_MODEL_ALIVE;
    int result = mend_look(mend, &fault); /* What was mended so far counts. */
    ASSERT(result == 0);
    if (mend->state == MEND_WHOLE) {
        return CHECK_GO_ON;
    }
    world->counts.mends_lost++;
    if (!log_open(world, WAL_BOUNDED, &mend->found.last)) {
        return CHECK_GO_ON;
    }
    if (log_id_compare(world->hard.vote_bound, world->given_up) < 0) {
        violated(world, "7 opened with a bound below an acked entry");
        return CHECK_VIOLATED;
    }
    return CHECK_OPEN;
}

/* Bring it what it asks for, as long as somebody has it. */
static enum check mend_entries(struct world *world, struct mend *mend)
{
    static _Alignas(PAGE_BYTES) uint8_t entry[ENTRY_BYTES_MAX];
    struct fault fault = {0};
    for (uint32_t i = 0; i < 4 * ENTRIES_MAX && mend->state == MEND_ASKS; i++) {
        if (world->mix->lost_ppm == 0 && world_percent(world, 5)) {
            mend_give_up(mend); /* Right or not: the bound must hold. */
            break;
        }
        if (!world_entry(world, mend->want.id, entry)) {
            world->counts.mends_unanswered++;
            return CHECK_END;
        }
        int result = mend_take(mend, entry, &fault);
        if (result == -EINVAL) { /* Another place: a lost write has left what names it so. */
            world->counts.mends_unanswered++;
            return CHECK_END;
        }
        if (result != 0) {
            world->counts.mends_cut_short++;
            world_crash(world);
            return CHECK_GO_ON;
        }
    }
    if (mend->state == MEND_ASKS) {
        violated(world, "6 mending asks without end");
        return CHECK_VIOLATED;
    }
    world->counts.entries_mended += mend->entries_mended;
    world->counts.mends += mend->state == MEND_WHOLE;
    if (mend->state == MEND_LOST) {
        return world->mix->lost_ppm > 0 ? CHECK_END : open_bounded(world, mend);
    }
    return CHECK_GO_ON;
}

/* Mend a damaged log from whoever holds its entries; the power may go within. */
static enum check mend(struct world *world)
{
    static _Alignas(PAGE_BYTES) uint8_t buffer[RECOVER_BUFFER_BYTES];
    static struct mend mend;
    struct fault fault = {0};
    const struct mend_config config = {
        .disk = &world->model.disk, .cluster = CLUSTER, .node = NODE, .buffer = buffer};
    uint32_t unequal = copies_unequal(world);
    uint32_t death = world_percent(world, 40) ? (uint32_t)world_below(world, 9) : DISK_MODEL_ALIVE;
    world->model.writes_until_death = death;
    if (death >= unequal) {
        world_keep(world);
    }
    if (mend_begin(&mend, &config, &fault) != 0) {
        world->counts.mends_cut_short++;
        world_crash(world);
        return CHECK_GO_ON;
    }
    world->acted.boot = mend.boot;
    world_keep(world);
    bool same = mend.found.epoch == world->found.epoch && mend.found.kind == world->found.kind &&
                mend.found.cut_position == world->found.cut_position;
    if (!same) {
        violated(world, "6 the beginning of a mending changed more than the boot");
        return CHECK_VIOLATED;
    }
    enum check check = mend_entries(world, &mend);
    world->model.writes_until_death = DISK_MODEL_ALIVE;
    return check;
}

/* Recover, check, open; a crash may come before or within the opening, again and again. */
static enum check boot(struct world *world)
{
    for (uint32_t attempt = 0; attempt < BOOTS_MAX; attempt++) {
        enum check check = check_recovery(world);
        if (check != CHECK_GO_ON) {
            return check;
        }
        world->verified = 0;
        if (world_percent(world, 15)) {
            world_crash(world);
            continue;
        }
        if (world->found.kind == RECOVER_DAMAGED || world->found.kind == RECOVER_SUSPECT) {
            check = opening_refuses(world) ? mend(world) : CHECK_VIOLATED;
            if (check != CHECK_GO_ON) {
                return check == CHECK_OPEN ? CHECK_GO_ON : check;
            }
            continue;
        }
        if (log_open(world, WAL_WHOLE, &world->found.last)) {
            return CHECK_GO_ON;
        }
    }
    return CHECK_END;
}

static bool history(struct world *world, uint64_t seed)
{
    snprintf(running, sizeof running, "--mix %s --seed %" PRIu64, world->mix->name, seed);
    world_reset(world, seed);
    world->counts.histories++;
    enum check check = boot(world);
    for (uint32_t i = 0; i < CRASHES && check == CHECK_GO_ON; i++) {
        uint64_t steps = prng_between(&world->prng, 10, 120);
        for (uint64_t k = 0; k < steps; k++) {
            world_step(world);
        }
        world->acted.boot = wal_boot(world->wal);
        world->counts.watermark_pages += wal_counters(world->wal)->watermark_pages;
        world_keep(world);
        world_crash(world);
        check = boot(world);
    }
    return check != CHECK_VIOLATED;
}

static uint64_t zero_tell(const struct mix *mix, const char *what, uint64_t count)
{
    if (count == 0) {
        fprintf(stderr, "VIOLATION mix %s never met: %s\n", mix->name, what);
    }
    return count == 0;
}

/* What a mix is for must have happened. Returns how much of it did not. */
static uint64_t proof_missing(const struct world *world, uint64_t torn_pages, uint64_t lost_pages)
{
    const struct mix *mix = world->mix;
    const struct counts *counts = &world->counts;
    uint64_t found = counts->kinds[RECOVER_DAMAGED] + counts->kinds[RECOVER_SUSPECT];
    uint64_t zeros = zero_tell(mix, "crashes with writes in flight", counts->in_flight);
    zeros += zero_tell(mix, "a clean end", counts->kinds[RECOVER_CLEAN]);
    zeros += zero_tell(mix, "a torn end", counts->kinds[RECOVER_TORN]);
    zeros += zero_tell(mix, "cuts", counts->cuts);
    zeros += zero_tell(mix, "trims", counts->trims);
    zeros += zero_tell(mix, "wraps", counts->wraps);
    if (mix->tear_ppm > 0) {
        zeros += zero_tell(mix, "pages torn at 512 bytes", torn_pages);
        zeros += zero_tell(mix, "a suspect tail", counts->kinds[RECOVER_SUSPECT]);
    }
    if (mix->rot_ppm > 0) {
        zeros += zero_tell(mix, "rotten pages", counts->rotten_pages);
        zeros += zero_tell(mix, "damage in the middle", counts->kinds[RECOVER_DAMAGED]);
        zeros += zero_tell(mix, "a log mended", counts->mends);
        zeros += zero_tell(mix, "a crash while mending", counts->mends_cut_short);
        zeros += zero_tell(mix, "a log opened bounded", counts->bounded);
        zeros += zero_tell(mix, "an acked entry below a bound", counts->bounded_acked);
    }
    if (mix->lost_ppm > 0) {
        zeros += zero_tell(mix, "lost pages", lost_pages);
        zeros += zero_tell(mix, "damage or a suspect tail", found);
    }
    if (mix->forge) {
        zeros += zero_tell(mix, "forged pages", counts->forged_pages);
    }
    if (mix->superblock_rot_ppm > 0) {
        zeros += zero_tell(mix, "rotten copies", counts->rotten_copies);
        zeros += zero_tell(mix, "a refusal", counts->refused);
    }
    if (mix->state_rot_ppm > 0) {
        zeros += zero_tell(mix, "rotten copies of a small state", counts->rotten_states);
        zeros += zero_tell(mix, "a copy put back", counts->states_mended);
    }
    return zeros;
}

static uint64_t
run_mix(struct world *world, const struct mix *mix, uint64_t histories, uint64_t seed)
{
    uint64_t violations = 0;
    uint64_t torn_before = world->model.torn_count;
    uint64_t lost_before = world->model.lost_count;
    world->mix = mix;
    memset(&world->counts, 0, sizeof world->counts);
    for (uint64_t i = 0; i < histories; i++) {
        violations += !history(world, seed + i);
        if (violations == 10) {
            break;
        }
    }
    const struct counts *counts = &world->counts;
    printf("%-12s seeds %" PRIu64 ":%" PRIu64 " crashes %" PRIu64 " (%" PRIu64
           " in flight) clean %" PRIu64 " torn %" PRIu64 " damaged %" PRIu64 " suspect %" PRIu64
           " refused %" PRIu64 " unwitnessed %" PRIu64 " unproven %" PRIu64 " opens %" PRIu64
           " (%" PRIu64 " cut short) cuts %" PRIu64 " trims %" PRIu64 " watermarks %" PRIu64
           " wraps %" PRIu64 " mended %" PRIu64 " (%" PRIu64 " entries, %" PRIu64
           " cut short, %" PRIu64 " lost, %" PRIu64 " unanswered) bounded %" PRIu64 " (%" PRIu64
           " below an ack) violations %" PRIu64 "\n",
           mix->name, seed, counts->histories, counts->crashes, counts->in_flight,
           counts->kinds[RECOVER_CLEAN], counts->kinds[RECOVER_TORN],
           counts->kinds[RECOVER_DAMAGED], counts->kinds[RECOVER_SUSPECT], counts->refused,
           counts->lost_unwitnessed, counts->lost_unproven, counts->opens, counts->opens_cut_short,
           counts->cuts, counts->trims, counts->watermark_pages, counts->wraps, counts->mends,
           counts->entries_mended, counts->mends_cut_short, counts->mends_lost,
           counts->mends_unanswered, counts->bounded, counts->bounded_acked, violations);
    fflush(stdout);
    if (violations == 0 && histories >= PROOF_HISTORIES) {
        violations = proof_missing(world, world->model.torn_count - torn_before,
                                   world->model.lost_count - lost_before);
    }
    return violations;
}

int main(int argc, char **argv)
{
    uint64_t histories = 1500;
    uint64_t seed = 1;
    const char *only = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--histories") == 0) {
            histories = strtoull(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--seed") == 0) {
            seed = strtoull(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--mix") == 0) {
            only = argv[i + 1];
        } else {
            fprintf(stderr, "unknown flag %s\n", argv[i]);
            return 2;
        }
    }
    static struct world world;
    signal(SIGABRT, print_where);
    if (disk_model_open(&world.model, DISK_BYTES) != 0 ||
        mem_open(&world.mem, wal_memory_bytes()) != 0) {
        return 5;
    }
    world.write_slots = aligned_alloc(PAGE_BYTES, (size_t)WRITE_SLOTS * WRITE_PAGES * PAGE_BYTES);
    uint64_t violations = 0;
    uint64_t run = 0;
    for (uint32_t i = 0; i < MIX_COUNT; i++) {
        if (only == NULL || strcmp(only, mixes[i].name) == 0) {
            violations += run_mix(&world, &mixes[i], histories, seed);
            run++;
        }
    }
    free(world.write_slots);
    disk_model_free(&world.model);
    if (run == 0) {
        fprintf(stderr, "no mix is called %s\n", only);
        return 2;
    }
    return violations == 0 ? 0 : 1;
}
