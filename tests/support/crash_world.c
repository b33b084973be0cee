/* crash_world.c: see crash_world.h. */
#include "tests/support/crash_world.h"

#include "engine/base/crc.h"
#include "storage/format.h"
#include "storage/small_state.h"
#include "storage/superblock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

uint64_t world_below(struct world *world, uint64_t bound)
{
    return prng_below(&world->prng, bound);
}

bool world_percent(struct world *world, uint32_t chance)
{
    return prng_chance(&world->prng, chance * PERCENT);
}

static uint64_t end_of(const struct leader_log *log, uint64_t index)
{
    const struct made *made = &log->entries[index];
    return index == 0 ? 0 : made->position + (uint64_t)made->pages * PAGE_BYTES;
}

static bool same_entry(const struct made *a, const struct made *b)
{
    return a->term == b->term && a->previous_term == b->previous_term && a->position == b->position;
}

/* Leaders. */

static void leader_append(struct world *world)
{
    static const uint32_t sizes[] = {1, 1, 2, 3, RECORD_PAGES};
    struct leader_log *log = world->leader;
    if (log->count == ENTRIES_MAX - 1) {
        return;
    }
    uint64_t index = ++log->count;
    log->entries[index] = (struct made){
        .term = world->leader_term,
        .previous_term = log->entries[index - 1].term,
        .position = end_of(log, index - 1),
        .pages = sizes[world_below(world, 5)],
        .forged = world->mix->forge && world_percent(world, 50),
    };
}

static void elect(struct world *world)
{
    const struct leader_log *bases[LOGS_MAX];
    uint32_t base_count = 0;
    for (uint32_t i = 0; i < world->log_count; i++) {
        const struct leader_log *log = &world->logs[i];
        bool keeps = log->count >= world->commit;
        for (uint64_t k = 1; keeps && k <= world->commit; k++) {
            keeps = same_entry(&log->entries[k], &world->leader->entries[k]);
        }
        if (keeps) {
            bases[base_count++] = log;
        }
    }
    if (world->log_count == LOGS_MAX) {
        return;
    }
    const struct leader_log *base = bases[world_below(world, base_count)];
    uint32_t keep = (uint32_t)prng_between(&world->prng, world->commit, base->count);
    struct leader_log *log = &world->logs[world->log_count++];
    log->count = keep;
    memcpy(log->entries, base->entries, (keep + 1) * sizeof log->entries[0]);
    world->leader = log;
    world->leader_term += prng_between(&world->prng, 1, 2);
    world->verified = 0;
    leader_append(world);
}

/* The replica's side. */

static void receive(struct world *world)
{
    if (world->want_hard || world->want_cut) {
        return;
    }
    if (world->hard.term < world->leader_term) {
        world->hard.term = world->leader_term;
        world->hard.entry_term = world->leader_term;
        world->hard.vote = (uint8_t)world_below(world, 4);
        if (world->hard.vote_bound.index != 0 && world_percent(world, 20)) {
            world->hard.vote_bound =
                (struct log_id){0, 0}; /* A leader's word: all is there again. */
            world->given_up = (struct log_id){0, 0};
        }
        world->want_hard = true;
        wal_set_hard(world->wal, &world->hard);
        return;
    }
    struct leader_log *held = &world->held;
    uint64_t index = (world->verified < held->count ? world->verified : held->count) + 1;
    for (; index <= world->leader->count; index++) {
        const struct made *made = &world->leader->entries[index];
        if (index > held->count) {
            held->entries[index] = *made;
            held->count = (uint32_t)index;
            world->verified = index;
            return;
        }
        if (!same_entry(&held->entries[index], made)) {
            struct log_id keep = {.term = held->entries[index - 1].term, .index = index - 1};
            world->want_cut = true;
            world->cut_keep = keep.index;
            world->cut_epoch = wal_epoch(world->wal) + 1;
            wal_cut(world->wal, keep, end_of(held, keep.index));
            return;
        }
        world->verified = index;
    }
}

/* Client bytes that look like a record of their own at the start of every later page. */
static void forge_body(struct world *world,
                       const struct made *made,
                       uint8_t *entry,
                       const struct entry_header *header)
{
    for (uint32_t page = 1; page < header->pages; page++) {
        uint64_t position = header->position + (uint64_t)page * PAGE_BYTES;
        uint8_t *at = entry + (size_t)page * PAGE_BYTES;
        _Alignas(8) static uint8_t forged[PAGE_BYTES];
        struct entry_header false_header = {
            .kind = ENTRY_NOOP,
            .cluster = CLUSTER,
            .term = header->term,
            .index = header->index + made->forged_ahead,
            .previous_term = header->term,
            .position = position,
        };
        entry_seal(forged, &false_header);
        const struct node_header node = {
            .node = NODE,
            .store = STORE,
            .epoch = made->forged_epoch,
            .durable_position = position,
            .position = position,
        };
        node_header_seal(forged, &node);
        memcpy(at, forged, ENTRY_BODY_OFFSET);
        world->counts.forged_pages++;
    }
}

/* The bytes are a function of (term, index), as those of one leader are. */
static void entry_make(struct world *world, const struct made *made, uint64_t index, uint8_t *entry)
{
    struct entry_header header = {
        .kind = ENTRY_CLIENT,
        .pages = (uint8_t)made->pages,
        .cluster = CLUSTER,
        .term = made->term,
        .index = index,
        .previous_term = made->previous_term,
        .position = made->position,
        .first_offset = index - 1,
        .record_count = 1,
        .body_bytes = entry_body_bytes_max(made->pages) - 48,
    };
    header.body_bytes &= ~7u;
    uint64_t word = made->term << 32 | index;
    for (uint32_t at = 0; at < made->pages * PAGE_BYTES; at += 8) {
        word = word * 6364136223846793005ull + 1442695040888963407ull;
        memcpy(entry + at, &word, 8);
    }
    if (made->forged) {
        forge_body(world, made, entry, &header);
    }
    struct record_header record = {.bytes = header.body_bytes - RECORD_HEADER_BYTES};
    entry_body_write(entry, 0, &record, sizeof record);
    entry_seal(entry, &header);
}

bool world_entry(struct world *world, struct log_id id, uint8_t *entry)
{
    const struct leader_log *log = &world->held;
    for (uint32_t i = 0; i <= world->log_count; i++) {
        if (id.index >= 1 && id.index <= log->count && log->entries[id.index].term == id.term) {
            entry_make(world, &log->entries[id.index], id.index, entry);
            return true;
        }
        log = &world->logs[i];
    }
    return false;
}

static void submit(struct world *world)
{
    uint64_t until = world->want_cut ? world->cut_keep : world->held.count;
    if (world->want_hard || world->submitted >= until) {
        return;
    }
    uint8_t *bytes =
        world->write_slots + (size_t)(world->write_number % WRITE_SLOTS) * WRITE_PAGES * PAGE_BYTES;
    uint64_t first = world->submitted + 1;
    uint64_t last = first + world_below(world, 3);
    struct wal_write write = {.bytes = bytes, .position = world->held.entries[first].position};
    last = last > until ? until : last;
    while (end_of(&world->held, last) - write.position > WINDOW_PAGES * PAGE_BYTES) {
        last--;
    }
    for (uint64_t index = first; index <= last; index++) {
        struct made *made = &world->held.entries[index];
        if (made->forged && made->forged_ahead == 0) {
            made->forged_epoch = wal_epoch(world->wal);
            made->forged_ahead = 1 + (uint32_t)world_below(world, 3);
        }
        entry_make(world, made, index, bytes + (made->position - write.position));
    }
    write.byte_count = (uint32_t)(end_of(&world->held, last) - write.position);
    write.first = (struct log_id){.term = world->held.entries[first].term, .index = first};
    write.last = (struct log_id){.term = world->held.entries[last].term, .index = last};
    if (wal_write(world->wal, &write)) {
        world->submitted = last;
        world->write_number++;
        world->counts.wraps += write.position % world->geometry.ring_bytes + write.byte_count >
                               world->geometry.ring_bytes;
    }
}

/* What a completed write now vouches for, and completing it. */
static void complete_one(struct world *world, uint32_t number)
{
    const struct disk_io io = world->model.flights[number];
    bool log_write = io.offset >= world->geometry.ring_offset;
    uint32_t lost_ppm = 0;
    if (log_write && world->mix->lost_ppm > 0 && world->faults == 0 &&
        prng_chance(&world->prng, world->mix->lost_ppm)) {
        lost_ppm = 70 * PERCENT;
        world->faults++;
        world->dirty = true;
    }
    struct watermark mark;
    if (watermark_decode(io.buffer, CLUSTER, STORE, &mark) && mark.position > world->vouched) {
        world->vouched = mark.position;
    }
    disk_model_complete(&world->model, number, &world->prng, lost_ppm);
    for (uint32_t at = 0; log_write && at < io.bytes; at += PAGE_BYTES) {
        struct node_header node;
        const uint8_t *page = disk_model_page(&world->model, io.offset + at);
        memcpy(&node, page, sizeof node);
        bool there = memcmp(page, (const uint8_t *)io.buffer + at, PAGE_BYTES) == 0;
        bool head = page_mark_of(page).position % PAGE_BYTES == 0;
        if (there && head && node.durable_position > world->vouched) {
            world->vouched = node.durable_position;
        }
    }
}

static bool is_log_write(const struct world *world, uint32_t number)
{
    return world->model.flights[number].offset >= world->geometry.ring_offset;
}

static void complete_random(struct world *world, bool log_write)
{
    uint32_t candidates[DISK_QUEUE_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < world->model.flight_count; i++) {
        if (is_log_write(world, i) == log_write) {
            candidates[count++] = i;
        }
    }
    if (count > 0) {
        complete_one(world, candidates[world_below(world, count)]);
    }
}

void world_cut(struct world *world, uint64_t keep)
{
    struct leader_log *held = &world->held;
    uint64_t end = end_of(held, keep);
    world->vouched = world->vouched > end ? end : world->vouched;
    held->count = (uint32_t)keep;
    world->acked = world->acked > keep ? keep : world->acked;
    world->submitted = world->submitted > keep ? keep : world->submitted;
    world->verified = world->verified > keep ? keep : world->verified;
}

/* Read off what has become durable, as the replica does after every poll. */
static void settle(struct world *world)
{
    world->now_ns += STEP_NS;
    wal_poll(world->wal, world->now_ns);
    const struct wal_hard hard = wal_hard_durable(world->wal);
    if (world->want_hard && hard.term == world->hard.term && hard.vote == world->hard.vote) {
        world->want_hard = false;
    }
    if (world->want_cut && wal_epoch(world->wal) == world->cut_epoch) {
        world->want_cut = false;
        world->counts.cuts++;
        world_cut(world, world->cut_keep);
    }
    if (world->want_start && wal_start_durable(world->wal).position == world->start.position) {
        world->want_start = false;
        world->counts.trims++;
    }
    world->acted.epoch = wal_epoch(world->wal);
    world->acted.term = hard.term;
    world->acted.vote = hard.vote;
    world->acted.start = wal_start_durable(world->wal).position;
}

static void ack(struct world *world)
{
    uint64_t durable = wal_durable(world->wal).index;
    uint64_t most = durable < world->verified ? durable : world->verified;
    if (!world->want_hard && most > world->acked) {
        world->acked = most;
    }
}

static void commit(struct world *world)
{
    uint64_t index = prng_between(&world->prng, world->commit, world->leader->count);
    if (index > world->commit && world->leader->entries[index].term == world->leader_term) {
        world->commit = index;
    }
}

/* Trim to a segment boundary: its small state first, then the start. */
static void trim(struct world *world)
{
    if (world->want_start || world->want_hard || world->want_cut) {
        return;
    }
    uint64_t most = wal_durable(world->wal).index;
    most = most < world->commit ? most : world->commit;
    most = most < world->verified ? most : world->verified;
    const struct leader_log *held = &world->held;
    uint64_t choices[ENTRIES_MAX];
    uint32_t choice_count = 0;
    uint64_t segment_bytes = world->geometry.segment_bytes;
    for (uint64_t i = wal_start_durable(world->wal).last.index + 2; i + 1 <= most; i++) {
        uint64_t before = held->entries[i - 1].position;
        if (held->entries[i].position / segment_bytes != before / segment_bytes) {
            choices[choice_count++] = i;
        }
    }
    if (choice_count == 0) {
        return;
    }
    uint64_t first = choices[world_below(world, choice_count)];
    world->start = (struct log_start){
        .position = held->entries[first].position,
        .last = {.term = held->entries[first - 1].term, .index = first - 1},
        .offset = first - 1,
    };
    char bytes[64];
    int count = snprintf(bytes, sizeof bytes, "state at %" PRIu64, world->start.position);
    if (wal_put_state(world->wal, &world->start, bytes, (uint32_t)count)) {
        world->want_start = true;
        wal_set_start(world->wal, &world->start);
    }
}

void world_step(struct world *world)
{
    uint64_t drawn = world_below(world, 1000);
    bool pending = world->model.flight_count > 0;
    if (pending && world_percent(world, 25)) {
        complete_random(world, false);
    } else if (drawn < 250) {
        leader_append(world);
    } else if (drawn < 500) {
        receive(world);
    } else if (drawn < 650) {
        submit(world);
    } else if (drawn < 800) {
        complete_random(world, true);
    } else if (drawn < 860) {
        ack(world);
    } else if (drawn < 890) {
        commit(world);
    } else if (drawn < 930) {
        elect(world);
    } else if (drawn < 960) {
        trim(world);
    } else {
        world->now_ns += IDLE_STEP_NS;
    }
    settle(world);
}

/* Crashes and faults. */

void world_keep(struct world *world)
{
    world->before = (struct before){
        .count = world->held.count,
        .submitted = world->submitted,
        .acked = world->acked,
        .verified = world->verified,
        .vouched = world->vouched,
        .opening_epoch = world->opening_epoch,
        .opening_last = world->opening_last,
        .want_hard = world->want_hard,
        .want_cut = world->want_cut,
        .want_start = world->want_start,
        .opening = world->opening,
        .opening_bounded = world->opening_bounded,
        .given_up = world->given_up,
        .acted = world->acted,
    };
}

void world_restore(struct world *world)
{
    const struct before *before = &world->before;
    world->held.count = before->count;
    world->submitted = before->submitted;
    world->acked = before->acked;
    world->verified = before->verified;
    world->vouched = before->vouched;
    world->opening_epoch = before->opening_epoch;
    world->opening_last = before->opening_last;
    world->want_hard = before->want_hard;
    world->want_cut = before->want_cut;
    world->want_start = before->want_start;
    world->opening = before->opening;
    world->opening_bounded = before->opening_bounded;
    world->given_up = before->given_up;
    world->acted = before->acted;
}

static void rot_page(struct world *world, uint64_t position)
{
    struct ring_part parts[2];
    (void)ring_split(&world->geometry, position, PAGE_BYTES, parts);
    uint8_t *page = disk_model_page(&world->model, parts[0].offset);
    uint64_t drawn = world_below(world, 10);
    if (drawn < 3) { /* The mark fails, the headers can be read. */
        page[NODE_HEADER_BYTES + ENTRY_HEADER_BYTES + world_below(world, 3900)] ^= 0x10;
    } else if (drawn < 5) { /* The node header alone. */
        page[world_below(world, NODE_HEADER_BYTES)] ^= (uint8_t)(1u << world_below(world, 8));
    } else if (drawn < 7) {
        disk_model_unreadable(&world->model, parts[0].offset);
    } else if (drawn < 9) { /* One bit anywhere. */
        page[world_below(world, PAGE_BYTES)] ^= (uint8_t)(1u << world_below(world, 8));
    } else {
        for (uint32_t i = 0; i < PAGE_BYTES; i += 8) {
            uint64_t word = prng_next(&world->prng);
            memcpy(page + i, &word, 8);
        }
    }
    world->faults++;
    world->dirty = true;
    world->counts.rotten_pages++;
}

static void rot(struct world *world)
{
    uint64_t acked_end = end_of(&world->held, world->acked) / PAGE_BYTES;
    uint64_t start = world->acted.start / PAGE_BYTES;
    uint64_t count = world->mix->multi ? prng_between(&world->prng, 1, 3) : 1;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t page = start + world_below(world, SEGMENTS * SEGMENT_PAGES);
        if (acked_end > start && world_percent(world, 70)) {
            page = start + world_below(world, acked_end - start);
        }
        if (acked_end > start && world_percent(world, 30)) {
            uint64_t reach = acked_end - start < 4 ? acked_end - start : 4;
            page = acked_end - 1 - world_below(world, reach);
        }
        rot_page(world, page * PAGE_BYTES);
    }
    if (world_percent(world, 10)) {
        disk_model_page(&world->model, layout_watermark_at((uint32_t)world_below(world, 2)))[9] ^=
            1;
    }
}

static uint32_t copy_crc(struct world *world, uint32_t slot, uint32_t copy)
{
    return crc32c(0, disk_model_page(&world->model, layout_superblock_at(slot, copy)), PAGE_BYTES);
}

static void rot_superblock(struct world *world)
{
    uint32_t slot = (uint32_t)world_below(world, SUPERBLOCK_SLOTS);
    uint32_t copy = (uint32_t)world_below(world, SUPERBLOCK_COPIES);
    uint8_t *page = disk_model_page(&world->model, layout_superblock_at(slot, copy));
    page[world_below(world, sizeof(struct superblock))] ^= (uint8_t)(1u << world_below(world, 8));
    world->rotten_crc[slot][copy] = copy_crc(world, slot, copy);
    world->counts.rotten_copies++;
}

/* One copy of the small state at the start, and until the next opening no other one. */
static void rot_state(struct world *world)
{
    if (world->acted.start == 0) {
        return;
    }
    if (world->rotten_state == 0) {
        world->rotten_state = 1 + (uint32_t)world_below(world, STATE_COPIES);
    }
    uint64_t segment = segment_number(&world->geometry, world->acted.start);
    uint64_t at = state_at(&world->geometry, segment, world->rotten_state - 1);
    uint64_t page = world_below(world, 2) * PAGE_BYTES; /* The header's, or that of the bytes. */
    if (world_percent(world, 30)) {
        disk_model_unreadable(&world->model, at + page);
    } else {
        disk_model_page(&world->model, at + page)[world_below(world, 14)] ^= 0x10;
    }
    world->counts.rotten_states++;
}

bool world_copy_is_rotten(struct world *world, uint32_t slot, uint32_t copy)
{
    uint32_t crc = world->rotten_crc[slot][copy];
    return crc != 0 && crc == copy_crc(world, slot, copy);
}

void world_crash(struct world *world)
{
    const struct mix *mix = world->mix;
    world->counts.crashes++;
    world->counts.in_flight += world->model.flight_count > 0;
    disk_model_crash(&world->model, &world->prng, mix->tear_ppm);
    if (mix->rot_ppm > 0 && prng_chance(&world->prng, mix->rot_ppm) &&
        (mix->multi || world->faults == 0)) {
        rot(world);
    }
    if (mix->superblock_rot_ppm > 0 && prng_chance(&world->prng, mix->superblock_rot_ppm)) {
        rot_superblock(world);
    }
    if (mix->state_rot_ppm > 0 && prng_chance(&world->prng, mix->state_rot_ppm)) {
        rot_state(world);
    }
}

void world_reset(struct world *world, uint64_t seed)
{
    prng_init(&world->prng, seed);
    disk_model_reset(&world->model);
    world->now_ns = 0;
    world->log_count = 1;
    world->leader = &world->logs[0];
    world->leader->count = 0;
    world->leader->entries[0] = (struct made){0};
    world->leader_term = 1;
    world->held.count = 0;
    world->held.entries[0] = (struct made){0};
    world->commit = world->submitted = world->acked = world->verified = 0;
    world->want_hard = world->want_cut = world->want_start = world->opening = world->dirty = false;
    world->opening_bounded = false;
    world->given_up = (struct log_id){0, 0};
    world->vouched = world->faults = 0;
    memset(world->rotten_crc, 0, sizeof world->rotten_crc);
    world->rotten_state = 0;
    world->acted = (struct acted){.epoch = 1};
    world_keep(world);
    const struct format_config config = {
        .cluster = CLUSTER,
        .store = STORE,
        .node = NODE,
        .segment_bytes = SEGMENT_PAGES * PAGE_BYTES,
        .window_bytes = WINDOW_PAGES * PAGE_BYTES,
        .small = true,
    };
    static _Alignas(PAGE_BYTES) uint8_t page[PAGE_BYTES];
    struct fault fault = {0};
    int result = storage_format(&world->model.disk, &config, page, &world->geometry, &fault);
    ASSERT(result == 0);
    ASSERT(world->geometry.segment_count == SEGMENTS);
}
