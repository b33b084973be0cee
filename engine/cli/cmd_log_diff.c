/* cmd_log_diff.c: `thole log diff`: the first entry in which the logs of two replicas differ.
 *
 * An entry stands at the same position in every log that holds it, with the same bytes but for the
 * node's own header. So both logs are walked side by side, and compared wherever both have an entry
 * that can be read; where one is damaged, or does not reach, there is nothing to compare.
 */
#include "engine/cli/command.h"
#include "engine/cli/offline.h"

#include "engine/base/entry.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DAMAGE_TOLD_MAX 32u

/* One of the two. */
struct side {
    struct offline offline;
    struct walk walk;
    struct walk_item item;
    bool ended;
    bool adrift; /* Something that is no sound entry lies directly before `item`. */
    uint64_t damage;
};

struct diff {
    struct offline_options options; /* First: the parser's input. */
    struct side sides[2];
    uint64_t compared;
    /* The first difference. */
    bool differs;
    uint64_t index;
    uint64_t position;
    uint32_t byte; /* Of the entry; 0: identities or places differ. */
    json_t *damage;
};

static error_t diff_parse(int key, char *value, struct argp_state *state)
{
    (void)value;
    struct diff *diff = state->input;
    if (key == ARGP_KEY_INIT) {
        offline_begin(state, &diff->options, 2);
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

static const struct argp diff_argp = {
    .parser = diff_parse,
    .children = offline_flags,
    .args_doc = "A B",
    .doc =
        "Show the first entry in which the logs of two stopped replicas differ: byte for byte, but "
        "for the node's own header. Committed entries never may; the last ones of a log need not "
        "be committed, and then a leader settles it. What only one of them has, because the other "
        "is shorter or was trimmed, is told and no difference, and neither is a damaged entry."
        "\vExit codes: 0 equal wherever both have an entry; 1 they differ, or a superblock cannot "
        "be read at all; 3 not a log, of another cluster or version, or open in a running node.\n\n"
        "Example:\n  thole log diff n1 n2",
};

/* Whether the item is an entry of its log: in a whole log, one of the proven prefix. */
static bool is_entry(const struct side *side, const struct walk_item *item)
{
    bool inside = item->proven || !recover_is_whole(&side->offline.found);
    return inside && walk_is_entry(item) && item->status != WALK_STALE;
}

static void damage_tell(struct diff *diff, struct side *side, uint32_t number)
{
    side->damage++;
    if (diff->sides[0].damage + diff->sides[1].damage > DAMAGE_TOLD_MAX) {
        return;
    }
    if (diff->options.json) {
        json_t *object = offline_item_json(&side->item);
        json_object_set_new(object, "log", json_string(number == 0 ? "a" : "b"));
        json_array_append_new(diff->damage, object);
    } else {
        printf("%s: damaged: ", side->offline.path);
        offline_print_item(&side->item);
    }
}

/* Go to the next entry of one log, past what is none. */
static void side_next(struct diff *diff, uint32_t number)
{
    struct side *side = &diff->sides[number];
    ASSERT(!side->ended);
    side->adrift = false;
    while (walk_next(&side->walk, &side->item)) {
        if (side->item.damage) {
            damage_tell(diff, side, number);
        }
        if (is_entry(side, &side->item)) {
            return;
        }
        side->adrift = true;
    }
    side->ended = true;
}

static void difference(struct diff *diff, const struct side *side, uint32_t byte)
{
    diff->differs = true;
    diff->index = side->item.header.index;
    diff->position = side->item.position;
    diff->byte = byte;
}

/* Both have an entry at the same position whose headers can be read. */
static void entries_compare(struct diff *diff)
{
    const struct walk_item *a = &diff->sides[0].item;
    const struct walk_item *b = &diff->sides[1].item;
    ASSERT(a->position == b->position);
    if (a->header.index < diff->options.from && b->header.index < diff->options.from) {
        return;
    }
    if (!walk_is_whole(a) || !walk_is_whole(b)) {
        /* Damaged here or there: only what its header names can be compared. */
        if (a->header.index != b->header.index || a->header.term != b->header.term) {
            difference(diff, &diff->sides[0], 0);
        }
        return;
    }
    diff->compared++;
    uint64_t bytes = a->bytes < b->bytes ? a->bytes : b->bytes;
    uint64_t at = NODE_HEADER_BYTES;
    if (memcmp(a->entry + at, b->entry + at, bytes - at) == 0) {
        ASSERT(a->bytes == b->bytes); /* Their headers are the same. */
        return;
    }
    while (a->entry[at] == b->entry[at]) {
        at++;
    }
    ASSERT(at < bytes);
    difference(diff, &diff->sides[0], (uint32_t)at);
}

/* One log has an entry where the other's next one lies further on. If the other is damaged there,
 * or was trimmed, it may have held the same; otherwise they part here. */
static void place_compare(struct diff *diff, uint32_t behind)
{
    const struct side *side = &diff->sides[behind];
    const struct side *other = &diff->sides[1 - behind];
    bool kept = side->item.position >= other->offline.found.start.position;
    if (kept && !other->adrift && side->item.header.index >= diff->options.from) {
        difference(diff, side, 0);
    }
}

static void logs_compare(struct diff *diff)
{
    side_next(diff, 0);
    side_next(diff, 1);
    struct side *a = &diff->sides[0];
    struct side *b = &diff->sides[1];
    while (!a->ended && !b->ended && !diff->differs) {
        uint32_t behind = a->item.position <= b->item.position ? 0 : 1;
        if (diff->sides[behind].item.header.index > diff->options.to) {
            break;
        }
        if (a->item.position != b->item.position) {
            place_compare(diff, behind);
            side_next(diff, behind);
            continue;
        }
        entries_compare(diff);
        if (!diff->differs) {
            side_next(diff, 0);
            side_next(diff, 1);
        }
    }
}

/* What is left of both, for its damage. */
static void logs_finish(struct diff *diff)
{
    for (uint32_t number = 0; number < 2; number++) {
        while (!diff->sides[number].ended) {
            side_next(diff, number);
        }
    }
}

static json_t *side_json(const struct side *side)
{
    const struct recovery *found = &side->offline.found;
    return json_pack("{s:s, s:I, s:s, s:s?, s:I, s:I, s:I, s:I}", "path", side->offline.path,
                     "node", (json_int_t)found->node, "state", recover_kind_name(found->kind),
                     "what", found->what[0] != '\0' ? found->what : NULL, "first_index",
                     (json_int_t)found->start.last.index + 1, "last_index",
                     (json_int_t)found->true_last.index, "last_term",
                     (json_int_t)found->true_last.term, "damaged", (json_int_t)side->damage);
}

/* Whether that log's entry at the difference was committed, by its own word. */
static bool is_committed(const struct diff *diff, uint32_t number)
{
    return diff->index <= diff->sides[number].offline.commit_index;
}

/* What stands in one log where they differ. */
static json_t *found_json(const struct diff *diff, uint32_t number)
{
    const struct side *side = &diff->sides[number];
    if (side->ended) {
        return json_null();
    }
    json_t *object = offline_item_json(&side->item);
    json_object_set_new(object, "committed", json_boolean(is_committed(diff, number)));
    return object;
}

static int print_json(struct diff *diff)
{
    json_t *byte = diff->byte != 0 ? json_integer(diff->byte) : json_null();
    json_t *place = json_pack("{s:I, s:I, s:o, s:o, s:o}", "index", (json_int_t)diff->index,
                              "position", (json_int_t)diff->position, "byte", byte, "a",
                              found_json(diff, 0), "b", found_json(diff, 1));
    json_t *object = json_pack("{s:b, s:I, s:o, s:o, s:o, s:O}", "equal", !diff->differs,
                               "compared", (json_int_t)diff->compared, "difference",
                               diff->differs ? place : json_null(), "a", side_json(&diff->sides[0]),
                               "b", side_json(&diff->sides[1]), "damage", diff->damage);
    ASSERT(object != NULL);
    if (!diff->differs) {
        json_decref(place);
    }
    return offline_print_json(object, false);
}

static void print_side(const struct side *side)
{
    const struct recovery *found = &side->offline.found;
    printf("%s: %s, node %u, ", side->offline.path, recover_kind_name(found->kind), found->node);
    if (found->true_last.index > found->start.last.index) {
        printf("entries %" PRIu64 " to %" PRIu64 "\n", found->start.last.index + 1,
               found->true_last.index);
    } else {
        puts("no entries");
    }
    if (found->what[0] != '\0') {
        printf("  %s\n", found->what);
    }
}

/* Where one begins later or ends earlier than the other. */
static void print_reach(const struct diff *diff)
{
    for (uint32_t i = 0; i < 2; i++) {
        const struct recovery *found = &diff->sides[i].offline.found;
        const struct recovery *other = &diff->sides[1 - i].offline.found;
        if (found->start.last.index > other->start.last.index) {
            printf("%s was trimmed further: it begins at entry %" PRIu64 "\n",
                   diff->sides[i].offline.path, found->start.last.index + 1);
        }
        if (found->true_last.index < other->true_last.index) {
            printf("%s is shorter: entries %" PRIu64 " to %" PRIu64 " are in the other alone\n",
                   diff->sides[i].offline.path, found->true_last.index + 1, other->true_last.index);
        }
    }
}

/* What a difference means. A log knows of its own entries which were committed. */
static const char *verdict(const struct diff *diff)
{
    bool a = is_committed(diff, 0);
    bool b = is_committed(diff, 1);
    if (a && b) {
        return "COMMITTED in both, which no two replicas may hold differently";
    }
    if (!a && !b) {
        return "not known to be committed in either; the next leader settles it";
    }
    return a ? "committed in the first; the second gives way when it follows a leader"
             : "committed in the second; the first gives way when it follows a leader";
}

static void print_text(const struct diff *diff)
{
    print_side(&diff->sides[0]);
    print_side(&diff->sides[1]);
    print_reach(diff);
    if (!diff->differs) {
        printf("equal: %" PRIu64 " entries that both have%s\n", diff->compared,
               diff->sides[0].damage + diff->sides[1].damage > 0 ? ", where both can be read" : "");
        return;
    }
    printf("DIFFERENT from entry %" PRIu64 " on, position %" PRIu64, diff->index, diff->position);
    if (diff->byte != 0) {
        printf(", byte %" PRIu32 " of the entry", diff->byte);
    }
    printf(": %s\n", verdict(diff));
    for (uint32_t i = 0; i < 2; i++) {
        if (!diff->sides[i].ended) {
            printf("%s: ", diff->sides[i].offline.path);
            offline_print_item(&diff->sides[i].item);
        }
    }
}

static int diff_logs(struct diff *diff, struct fault *fault)
{
    struct side *sides = diff->sides;
    if (sides[0].offline.found.cluster != sides[1].offline.found.cluster) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "%.150s is of cluster %016" PRIx64 " and %.150s of cluster %016" PRIx64
                  ": only replicas of one cluster can be compared",
                  sides[0].offline.path, sides[0].offline.found.cluster, sides[1].offline.path,
                  sides[1].offline.found.cluster);
        return fault->code;
    }
    diff->damage = json_array();
    for (uint32_t i = 0; i < 2; i++) {
        const struct offline *offline = &sides[i].offline;
        walk_init(&sides[i].walk, offline->disk, &offline->found, offline->buffer);
    }
    logs_compare(diff);
    int result = 0;
    if (!diff->differs) {
        logs_finish(diff);
    }
    if (diff->options.json) {
        result = print_json(diff);
    } else {
        print_text(diff);
    }
    json_decref(diff->damage);
    if (result != 0 || fflush(stdout) != 0) {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot write to stdout: is it full?");
        return fault->code;
    }
    return diff->differs ? FAULT_FAILED : 0;
}

static int diff_run(int argc, char **argv)
{
    static struct diff diff; /* One a process. */
    if (argp_parse(&diff_argp, argc, argv, 0, NULL, &diff) != 0) {
        return FAULT_USAGE;
    }
    struct fault fault = {0};
    struct side *sides = diff.sides;
    int code = offline_open(&sides[0].offline, diff.options.data[0], NULL, 0, &fault);
    if (code != 0) {
        return command_fail(&fault);
    }
    code = offline_open(&sides[1].offline, diff.options.data[1], NULL, 0, &fault);
    if (code == 0) {
        code = diff_logs(&diff, &fault);
        code = offline_close(&sides[1].offline, code, &fault);
    }
    code = offline_close(&sides[0].offline, code, &fault);
    return fault.code != 0 ? command_fail(&fault) : code;
}

const struct command command_log_diff = {
    .name = "log diff",
    .summary = "Where the logs of two replicas differ (offline)",
    .argp = &diff_argp,
    .run = diff_run,
};
