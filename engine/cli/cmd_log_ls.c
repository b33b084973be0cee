/* cmd_log_ls.c: `thole log ls`: what a log file holds, at a glance: its superblock, where it starts
 * and ends, its segments, and the state beside it. */
#include "engine/cli/command.h"
#include "engine/cli/offline.h"

#include "engine/base/units.h"
#include "engine/machine.h"
#include "engine/session.h"
#include "storage/small_state.h"
#include "storage/superblock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What the entries tell of the state beside the log, as a replica derives it at its start. */
struct ls_state {
    struct machine machine;
    struct offline *offline;
    bool begun;
    bool odd; /* Something in it is of no leader's making: no more is derived. */
};

#define LS_STATE_BYTES 64u

/* One segment of what is kept: the entries that begin in it. */
struct ls_segment {
    uint64_t number;
    uint64_t entries;
    uint64_t records;
    uint64_t damage;
    bool in_range;       /* Something in it is. */
    struct log_id first; /* index 0: none whose headers can be read. */
    struct log_id last;
    uint64_t first_offset;
    uint64_t next_offset;
    char state[LS_STATE_BYTES]; /* Of its boundary. */
};

struct ls {
    struct offline_options options; /* First: the parser's input. */
    struct offline offline;
    struct offline_totals totals;
    struct ls_state state;
    struct superblock_set superblocks;
    uint8_t *pages; /* STATE_COPIES * STATE_BYTES, page aligned. */
    json_t *segments;
};

static error_t ls_parse(int key, char *value, struct argp_state *state)
{
    (void)value;
    struct ls *ls = state->input;
    if (key == ARGP_KEY_INIT) {
        offline_begin(state, &ls->options, 1);
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

static const struct argp ls_argp = {
    .parser = ls_parse,
    .children = offline_flags,
    .args_doc = "DATA",
    .doc =
        "Show what the log of a stopped node holds: whose it is, its superblock, where it starts "
        "and ends and up to where it is durable, its members and sessions, and one line for each "
        "segment that has entries of the range. Damage does not stop it: it says what it found. "
        "For single entries: `thole log dump --headers`."
        "\vExit codes: 0 printed, whatever is damaged (`thole log verify` judges); 1 no copy of "
        "the superblock can be read; 3 not a log, of another version, or "
        "open in a running node.\n\n"
        "Example:\n  thole log ls n1",
};

/* Nothing was trimmed, or the small state of the start is gone: no configuration is known yet. */
static struct machine_origin origin_of(const struct recovery *found)
{
    return (struct machine_origin){.start = found->start,
                                   .ring_bytes = found->ring_bytes,
                                   .segment_bytes = found->segment_bytes};
}

static void
state_visit(void *context, const struct log_start *start, const void *bytes, uint32_t count)
{
    struct ls_state *state = context;
    (void)start;
    struct machine_origin origin = origin_of(&state->offline->found);
    state->begun = true;
    state->odd = !machine_begin_state(&state->machine, &origin, bytes, count);
}

static void state_begin(struct ls_state *state)
{
    if (!state->begun) {
        struct machine_origin origin = origin_of(&state->offline->found);
        machine_begin(&state->machine, &origin);
        state->odd = state->offline->found.start.position > 0;
        state->begun = true;
    }
}

static void entry_visit(void *context, const uint8_t *entry)
{
    struct ls_state *state = context;
    state_begin(state);
    const struct sessions *sessions = &state->machine.sessions;
    /* Within these bounds every leader stays; what else a file holds must not bring this down. */
    bool crowded = sessions->note_tail - sessions->note_head >
                   UNCOMMITTED_CLIENT_MAX * ENTRY_SESSION_RECORDS_MAX;
    if (state->odd || crowded || machine_check(entry) != NULL) {
        state->odd = true;
        return;
    }
    machine_append(&state->machine, entry);
    uint64_t commit_index = entry_header_of(entry)->commit_index;
    if (commit_index > state->machine.applied_index) {
        (void)!machine_apply(&state->machine, commit_index);
    }
}

/* How the small state at the boundary stands at which this entry is the first. */
static void state_look(struct ls *ls,
                       const struct walk *walk,
                       const struct walk_item *item,
                       char text[LS_STATE_BYTES])
{
    const struct recovery *found = &ls->offline.found;
    const struct geometry *geometry = &walk->scan.log.geometry;
    const struct state_owner owner = {
        .cluster = found->cluster,
        .store = found->store,
        .segment = segment_number(geometry, item->position),
    };
    const struct log_start boundary = {
        .position = item->position,
        .last = {.term = item->header.previous_term, .index = item->header.index - 1},
        .offset = item->header.first_offset,
    };
    if (owner.segment == 0) {
        (void)snprintf(text, LS_STATE_BYTES, "none needed");
        return;
    }
    const struct state_place place = {ls->offline.disk, geometry};
    const struct state_copies copies = state_read(&place, &owner, &boundary, ls->pages);
    uint32_t bad = copies.wrong[0] != NULL ? 0 : 1;
    if (copies.wrong[bad] == NULL) {
        (void)snprintf(text, LS_STATE_BYTES, "ok");
    } else if (copies.pages != NULL) {
        (void)snprintf(text, LS_STATE_BYTES, "copy %u %s", bad, copies.wrong[bad]);
    } else {
        (void)snprintf(text, LS_STATE_BYTES, "%s", copies.wrong[0]);
    }
}

static void segment_tell(const struct ls *ls, const struct ls_segment *segment)
{
    if (segment->entries + segment->damage == 0 || !segment->in_range) {
        return;
    }
    if (!ls->options.json) {
        printf("%-8" PRIu64 " %-13" PRIu64 " %7" PRIu64 " entries %" PRIu64 " to %" PRIu64
               ", terms %" PRIu64 " to %" PRIu64 ", offsets %" PRIu64 " to before %" PRIu64
               ", state %s",
               segment->number, segment->number * ls->offline.found.segment_bytes, segment->entries,
               segment->first.index, segment->last.index, segment->first.term, segment->last.term,
               segment->first_offset, segment->next_offset, segment->state);
        if (segment->damage > 0) {
            printf(", DAMAGED in %" PRIu64 " places", segment->damage);
        }
        putchar('\n');
        return;
    }
    uint64_t position = segment->number * ls->offline.found.segment_bytes;
    json_t *object = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "segment",
        (json_int_t)segment->number, "position", (json_int_t)position, "entries",
        (json_int_t)segment->entries, "records", (json_int_t)segment->records, "first_index",
        (json_int_t)segment->first.index, "last_index", (json_int_t)segment->last.index,
        "first_term", (json_int_t)segment->first.term, "last_term", (json_int_t)segment->last.term,
        "first_offset", (json_int_t)segment->first_offset, "next_offset",
        (json_int_t)segment->next_offset, "damaged", (json_int_t)segment->damage, "state",
        segment->state);
    ASSERT(object != NULL);
    json_array_append_new(ls->segments, object);
}

static void segment_begin(struct ls_segment *segment, uint64_t number)
{
    *segment = (struct ls_segment){.number = number};
    (void)snprintf(segment->state, sizeof segment->state, "not known");
}

static void segment_add(struct ls *ls,
                        const struct walk *walk,
                        struct ls_segment *segment,
                        const struct walk_item *item)
{
    segment->damage += item->damage;
    segment->in_range = segment->in_range || offline_in_range(&ls->options, item);
    if (!walk_is_entry(item) || item->status == WALK_STALE) {
        return;
    }
    bool first = segment->first.index == 0;
    struct log_id id = {.term = item->header.term, .index = item->header.index};
    if (first) {
        segment->first = id;
        segment->first_offset = item->header.first_offset;
        state_look(ls, walk, item, segment->state);
    }
    segment->last = id;
    segment->next_offset = item->header.first_offset + item->header.record_count;
    segment->entries++;
    segment->records += item->header.record_count;
}

static void segments_read(struct ls *ls)
{
    struct walk walk;
    struct walk_item item;
    struct ls_segment segment;
    uint64_t segment_bytes = ls->offline.found.segment_bytes;
    segment_begin(&segment, ls->offline.found.start.position / segment_bytes);
    walk_init(&walk, ls->offline.disk, &ls->offline.found, ls->offline.buffer);
    while (walk_next(&walk, &item)) {
        offline_count(&ls->totals, &item);
        uint64_t number = item.position / segment_bytes;
        if (number != segment.number) {
            segment_tell(ls, &segment);
            segment_begin(&segment, number);
        }
        segment_add(ls, &walk, &segment, &item);
    }
    segment_tell(ls, &segment);
}

static json_t *place_json(uint64_t position, struct log_id last)
{
    return json_pack("{s:I, s:I, s:I}", "position", (json_int_t)position, "index",
                     (json_int_t)last.index, "term", (json_int_t)last.term);
}

static json_t *bound_json(const struct superblock *superblock)
{
    if (superblock->bound_index == 0) {
        return json_null();
    }
    return json_pack("{s:I, s:I}", "index", (json_int_t)superblock->bound_index, "term",
                     (json_int_t)superblock->bound_term);
}

static json_t *superblock_json(const struct ls *ls)
{
    const struct superblock_set *set = &ls->superblocks;
    const struct superblock *newest = &set->newest;
    json_t *copies = json_array();
    for (uint32_t i = 0; i < SUPERBLOCK_SLOTS * SUPERBLOCK_COPIES; i++) {
        bool valid = set->valid[i / 2][i % 2];
        json_array_append_new(
            copies, json_pack("{s:i, s:i, s:b, s:o}", "slot", (int)(i / 2), "copy", (int)(i % 2),
                              "valid", valid, "update",
                              valid ? json_integer((json_int_t)set->copies[i / 2][i % 2].sequence)
                                    : json_null()));
    }
    return json_pack("{s:I, s:I, s:I, s:o, s:I, s:I, s:b, s:o, s:o, s:o}", "update",
                     (json_int_t)newest->sequence, "boot", (json_int_t)newest->boot, "term",
                     (json_int_t)newest->term, "vote",
                     newest->vote != 0 ? json_integer((json_int_t)newest->vote) : json_null(),
                     "entry_term", (json_int_t)newest->entry_term, "epoch",
                     (json_int_t)newest->epoch, "bootstrapped", newest->bootstrapped != 0, "cut",
                     place_json(newest->cut_position, ls->offline.found.cut_last), "vote_bound",
                     bound_json(newest), "copies", copies);
}

/* How a watermark page stands; `mark` is filled when it can be read. */
static const char *watermark_look(struct ls *ls, uint32_t number, struct watermark *mark)
{
    const struct recovery *found = &ls->offline.found;
    uint8_t *page = ls->pages;
    *mark = (struct watermark){0};
    if (disk_read(ls->offline.disk, layout_watermark_at(number), PAGE_BYTES, page) != 0) {
        return "unreadable";
    }
    if (page[0] == 0 && memcmp(page, page + 1, PAGE_BYTES - 1) == 0) {
        return "never written";
    }
    if (!watermark_decode(page, found->cluster, found->store, mark)) {
        *mark = (struct watermark){0};
        return "damaged";
    }
    if (mark->epoch == found->epoch) {
        return "counts";
    }
    return mark->epoch < found->epoch ? "of an earlier epoch" : "of an epoch not known";
}

static json_t *watermarks_json(struct ls *ls)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < WATERMARK_PAGES; i++) {
        struct watermark mark;
        const char *status = watermark_look(ls, i, &mark);
        const struct log_id last = {.term = mark.last_term, .index = mark.last_index};
        json_t *object = place_json(mark.position, last);
        json_object_set_new(object, "epoch", json_integer((json_int_t)mark.epoch));
        json_object_set_new(object, "status", json_string(status));
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *ls_json(struct ls *ls)
{
    const struct recovery *found = &ls->offline.found;
    bool known = !ls->state.odd;
    const struct raft_configuration *configuration =
        known ? machine_configuration(&ls->state.machine) : NULL;
    bool configured = known && configuration->member_count > 0;
    json_t *object = json_pack(
        "{s:s, s:s, s:s?, s:o, s:I, s:o, s:I, s:I, s:I, s:I}", "path", ls->offline.path, "state",
        recover_kind_name(found->kind), "what", found->what[0] != '\0' ? found->what : NULL,
        "cluster", offline_hex(found->cluster), "node", (json_int_t)found->node, "store",
        offline_hex(found->store), "file_bytes", (json_int_t)ls->offline.disk->bytes, "ring_bytes",
        (json_int_t)found->ring_bytes, "segment_bytes", (json_int_t)found->segment_bytes,
        "window_bytes", (json_int_t)found->window_bytes);
    json_t *more = json_pack(
        "{s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "superblock",
        superblock_json(ls), "start", place_json(found->start.position, found->start.last), "end",
        place_json(found->end_position, found->last), "start_offset",
        (json_int_t)found->start.offset, "next_offset", (json_int_t)found->next_offset,
        "durable_position", (json_int_t)found->durable_position, "committed_index",
        (json_int_t)ls->offline.commit_index, "watermarks", watermarks_json(ls), "configuration",
        configured ? offline_configuration_json(configuration) : json_null(), "sessions",
        known ? json_integer(ls->state.machine.sessions.committed->count) : json_null(), "counts",
        offline_totals_json(&ls->totals), "segments", json_incref(ls->segments));
    ASSERT(object != NULL);
    ASSERT(more != NULL);
    json_object_update(object, more);
    json_decref(more);
    return object;
}

static void print_superblock(const struct ls *ls)
{
    const struct superblock_set *set = &ls->superblocks;
    const struct superblock *newest = &set->newest;
    printf("superblock     update %" PRIu64 ", boot %" PRIu64 ", term %" PRIu64 ", vote %" PRIu64
           ", entry term %" PRIu64 ", epoch %" PRIu64 "; valid copies:",
           newest->sequence, newest->boot, newest->term, newest->vote, newest->entry_term,
           newest->epoch);
    for (uint32_t slot = 0; slot < SUPERBLOCK_SLOTS; slot++) {
        printf(" slot %u: %d of %u%s", slot, set->valid[slot][0] + set->valid[slot][1],
               SUPERBLOCK_COPIES, slot + 1 < SUPERBLOCK_SLOTS ? "," : "\n");
    }
    if (newest->bound_index != 0) {
        printf("vote bound     entry %" PRIu64 " of term %" PRIu64 ": an end of this log is lost\n",
               newest->bound_index, newest->bound_term);
    }
}

static void print_place(const char *name, uint64_t position, struct log_id last)
{
    printf("%-14s position %" PRIu64 ", behind entry %" PRIu64 " of term %" PRIu64, name, position,
           last.index, last.term);
}

static void print_members(const struct ls *ls)
{
    const struct machine *machine = &ls->state.machine;
    if (ls->state.odd) {
        puts("members        not known: the state beside the log cannot be read");
        return;
    }
    const struct raft_configuration *configuration = machine_configuration(machine);
    printf("members        ");
    if (configuration->member_count == 0) {
        printf("none: nothing is in the log yet");
    }
    offline_print_configuration(configuration);
    printf("\nsessions       %u\n", machine->sessions.committed->count);
}

static void print_head(struct ls *ls)
{
    const struct recovery *found = &ls->offline.found;
    char ring[UNITS_TEXT_BYTES];
    char segment[UNITS_TEXT_BYTES];
    char window[UNITS_TEXT_BYTES];
    printf("%s: %s, node %u of cluster %016" PRIx64 ", store %016" PRIx64 "\n", ls->offline.path,
           recover_kind_name(found->kind), found->node, found->cluster, found->store);
    if (found->what[0] != '\0') {
        printf("found          %s\n", found->what);
    }
    print_superblock(ls);
    printf("geometry       ring %s, segments of %s, window %s\n",
           units_format_size(found->ring_bytes, ring),
           units_format_size(found->segment_bytes, segment),
           units_format_size(found->window_bytes, window));
    print_place("start", found->start.position, found->start.last);
    printf(", offset %" PRIu64 "\n", found->start.offset);
    print_place("cut", found->cut_position, found->cut_last);
    putchar('\n');
    print_place("end", found->end_position, found->last);
    printf(", next offset %" PRIu64 "\n", found->next_offset);
    printf("durable        position %" PRIu64 "\n", found->durable_position);
    printf("committed      at least entry %" PRIu64 "\n", ls->offline.commit_index);
    for (uint32_t i = 0; i < WATERMARK_PAGES; i++) {
        struct watermark mark;
        const char *status = watermark_look(ls, i, &mark);
        printf("watermark %u    %s", i, status);
        if (mark.magic != 0) {
            printf(": position %" PRIu64 ", entry %" PRIu64 " of term %" PRIu64 ", epoch %" PRIu64,
                   mark.position, mark.last_index, mark.last_term, mark.epoch);
        }
        putchar('\n');
    }
    print_members(ls);
    puts("segment  position      what begins in it");
}

static int ls_log(struct ls *ls, struct fault *fault)
{
    struct fault told = {0}; /* recover() has judged the superblock. */
    (void)!superblock_load(ls->offline.disk, ls->pages, &ls->superblocks, &told);
    state_begin(&ls->state);
    int result = 0;
    if (ls->options.json) {
        ls->segments = json_array();
        segments_read(ls);
        result = offline_print_json(ls_json(ls), false);
        json_decref(ls->segments);
    } else {
        print_head(ls);
        segments_read(ls);
    }
    if (result != 0 || fflush(stdout) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot write to stdout: is it full?");
    }
    return fault->code;
}

static int ls_run(int argc, char **argv)
{
    static struct ls ls; /* Large, and one a process. */
    if (argp_parse(&ls_argp, argc, argv, 0, NULL, &ls) != 0) {
        return FAULT_USAGE;
    }
    struct fault fault = {0};
    struct mem mem;
    if (mem_open(&mem, machine_memory_bytes() + STATE_COPIES * STATE_BYTES + 2 * PAGE_BYTES) != 0) {
        fault_set(&fault, FAULT_ENVIRONMENT, "no memory for the state beside a log");
        return command_fail(&fault);
    }
    machine_init(&ls.state.machine, &mem);
    ls.pages = mem_take(&mem, "small state", STATE_COPIES, STATE_BYTES, PAGE_BYTES);
    ls.state.offline = &ls.offline;
    const struct recover_visitor visitor = {
        .entry = entry_visit, .state = state_visit, .context = &ls.state};
    int code = offline_open(&ls.offline, ls.options.data[0], &visitor, 0, &fault);
    if (code == 0) {
        code = offline_close(&ls.offline, ls_log(&ls, &fault), &fault);
    }
    mem_close(&mem);
    return code != 0 ? command_fail(&fault) : 0;
}

const struct command command_log_ls = {
    .name = "log ls",
    .summary = "What a log on disk holds, at a glance (offline)",
    .argp = &ls_argp,
    .run = ls_run,
};
