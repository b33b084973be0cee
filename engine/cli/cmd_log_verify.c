/* cmd_log_verify.c: `thole log verify`: whether a log is whole, by the rules of recovery, and if it
 * is not, what of it is damaged. */
#include "engine/cli/command.h"
#include "engine/cli/offline.h"

#include "engine/base/entry.h"

#include <inttypes.h>
#include <stdio.h>

#define DAMAGE_TOLD_MAX 32u /* Items; `thole log dump` shows them all. */

/* What of the range was met in the proven prefix. */
struct verify_range {
    uint64_t from;
    uint64_t to;
    uint64_t entries;
    uint64_t records;
};

struct verify {
    struct offline_options options;
    struct offline offline;
    struct verify_range range;
    struct offline_totals totals;
    json_t *damage; /* With --json: the first items. */
};

static error_t verify_parse(int key, char *value, struct argp_state *state)
{
    (void)value;
    if (key == ARGP_KEY_INIT) {
        offline_begin(state, state->input, 1);
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

static const struct argp verify_argp = {
    .parser = verify_parse,
    .children = offline_flags,
    .args_doc = "DATA",
    .doc =
        "Read the log of a stopped node and tell whether it is whole, as `thole start` would "
        "judge it, and what of it is damaged: the entries, or the bytes in which no entry can "
        "be recognised. A bad copy of the state at its start counts, though the next start puts it "
        "back from the other one. With --from or --to, damage above the range does not count; "
        "damage below it does, for what follows cannot be proven then."
        "\vExit codes: 0 clean, or torn by a power cut where nothing was acknowledged; 1 "
        "corrupt; 3 not a log, of another version, or open in a running node.\n\n"
        "Example:\n  thole log verify n1",
};

static void count_entry(void *context, const uint8_t *entry)
{
    struct verify_range *range = context;
    const struct entry_header *header = entry_header_of(entry);
    if (header->index >= range->from && header->index <= range->to) {
        range->entries++;
        range->records += header->record_count;
    }
}

/* Clean, torn, or damaged only above the range: in the proven prefix every entry chains, but for
 * one that was written again later. Not with one copy of the state at the start, though a node
 * would start with it: no power cut takes one. */
static bool is_whole(const struct recovery *found, const struct verify_range *range)
{
    if (recover_state_is_bad(found)) {
        return false;
    }
    if (recover_is_whole(found)) {
        return true;
    }
    bool rewritten = found->mismatch_index != 0 && found->mismatch_index <= range->to;
    return found->refused == 0 && range->to <= found->last.index && !rewritten;
}

static json_t *state_json(const struct recovery *found)
{
    json_t *list = json_array();
    for (uint32_t copy = 0; copy < STATE_COPIES; copy++) {
        if (found->state_wrong[copy] != NULL) {
            json_array_append_new(
                list, json_pack("{s:i, s:s}", "copy", (int)copy, "why", found->state_wrong[copy]));
        }
    }
    return list;
}

static int print_json(struct verify *verify)
{
    const struct recovery *found = &verify->offline.found;
    const struct verify_range *range = &verify->range;
    json_t *object =
        json_pack("{s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "path",
                  verify->offline.path, "state", recover_kind_name(found->kind), "whole",
                  is_whole(found, range), "node", (json_int_t)found->node, "entries",
                  (json_int_t)found->entry_count, "last_index", (json_int_t)found->last.index,
                  "last_term", (json_int_t)found->last.term, "start_offset",
                  (json_int_t)found->start.offset, "next_offset", (json_int_t)found->next_offset,
                  "end_position", (json_int_t)found->end_position, "durable_position",
                  (json_int_t)found->durable_position, "bad_pages", (json_int_t)found->bad_pages);
    ASSERT(object != NULL);
    json_object_set_new(object, "cluster", offline_hex(found->cluster));
    json_object_set_new(object, "bad_position",
                        found->bad_pages > 0 ? json_integer((json_int_t)found->bad_position)
                                             : json_null());
    json_object_set_new(object, "what",
                        found->what[0] != '\0' ? json_string(found->what) : json_null());
    json_object_set_new(object, "bad_state_copies", state_json(found));
    json_object_set_new(object, "range",
                        !verify->options.ranged
                            ? json_null()
                            : json_pack("{s:I, s:I, s:I, s:I}", "from", (json_int_t)range->from,
                                        "to", (json_int_t)range->to, "entries",
                                        (json_int_t)range->entries, "records",
                                        (json_int_t)range->records));
    json_object_set_new(object, "damage_count", json_integer((json_int_t)verify->totals.damage));
    json_object_set_new(object, "damage", verify->damage);
    json_object_set_new(object, "counts", offline_totals_json(&verify->totals));
    return offline_print_json(object, false);
}

/* Each copy of the small state at the start that is bad, and what is to be done about it. */
static void print_state(const struct recovery *found)
{
    for (uint32_t copy = 0; copy < STATE_COPIES; copy++) {
        bool other = found->state_wrong[1 - copy] == NULL;
        if (found->state_wrong[copy] != NULL) {
            printf("damaged   copy %u of the small state at the log start: %s%s\n", copy,
                   found->state_wrong[copy],
                   other ? "; the next start puts it back from the other copy" : "");
        }
    }
}

static void print_head(const struct verify *verify)
{
    const struct recovery *found = &verify->offline.found;
    const struct verify_range *range = &verify->range;
    printf("%s: %s, node %u of cluster %016" PRIx64 "\n", verify->offline.path,
           recover_kind_name(found->kind), found->node, found->cluster);
    printf("entries   %" PRIu64 ", last index %" PRIu64 " of term %" PRIu64 "\n",
           found->entry_count, found->last.index, found->last.term);
    printf("records   offsets %" PRIu64 " to before %" PRIu64 "\n", found->start.offset,
           found->next_offset);
    printf("bytes     positions %" PRIu64 " to %" PRIu64 ", durable %" PRIu64 "\n",
           found->start.position, found->end_position, found->durable_position);
    if (verify->options.ranged) {
        printf("range     indexes %" PRIu64 " to %" PRIu64 ": %" PRIu64 " entries, %" PRIu64
               " records, %s\n",
               range->from, range->to, range->entries, range->records,
               is_whole(found, range) ? "whole" : "NOT WHOLE");
    }
    if (found->what[0] != '\0') {
        printf("found     %s\n", found->what);
    }
    print_state(found);
}

/* Name what is damaged. */
static void damage_tell(struct verify *verify)
{
    struct walk walk;
    struct walk_item item;
    walk_init(&walk, verify->offline.disk, &verify->offline.found, verify->offline.buffer);
    while (walk_next(&walk, &item)) {
        offline_count(&verify->totals, &item);
        if (!item.damage || verify->totals.damage > DAMAGE_TOLD_MAX) {
            continue;
        }
        if (verify->options.json) {
            json_array_append_new(verify->damage, offline_item_json(&item));
        } else {
            printf("damaged   ");
            offline_print_item(&item);
        }
    }
}

static void print_totals(const struct verify *verify)
{
    const struct offline_totals *totals = &verify->totals;
    if (totals->damage > DAMAGE_TOLD_MAX) {
        printf("damaged   %" PRIu64 " more: thole log dump --headers %s\n",
               totals->damage - DAMAGE_TOLD_MAX, verify->options.data[0]);
    }
    if (totals->damage > 0) {
        printf("in all    %" PRIu64 " damaged places, %" PRIu64 " bytes; %" PRIu64
               " entries are whole\n",
               totals->damage, totals->damaged_bytes,
               totals->items[WALK_OK] + totals->items[WALK_APART]);
    }
}

static int verify_log(struct verify *verify)
{
    int result = 0;
    if (verify->options.json) {
        verify->damage = json_array();
        damage_tell(verify);
        result = print_json(verify);
    } else {
        print_head(verify);
        if (!recover_is_whole(&verify->offline.found)) {
            damage_tell(verify);
            print_totals(verify);
        }
    }
    const struct recovery *found = &verify->offline.found;
    int verdict = is_whole(found, &verify->range) ? 0 : FAULT_FAILED;
    return result != 0 ? result : verdict;
}

static int verify_run(int argc, char **argv)
{
    static struct verify verify; /* One a process. */
    if (argp_parse(&verify_argp, argc, argv, 0, NULL, &verify.options) != 0) {
        return FAULT_USAGE;
    }
    verify.range = (struct verify_range){.from = verify.options.from, .to = verify.options.to};
    struct fault fault = {0};
    const struct recover_visitor visitor = {.entry = count_entry, .context = &verify.range};
    if (offline_open(&verify.offline, verify.options.data[0], &visitor, 0, &fault) != 0) {
        return command_fail(&fault);
    }
    const struct recovery *found = &verify.offline.found;
    int code = 0;
    if (found->refused == FAULT_ENVIRONMENT) {
        fault_set(&fault, FAULT_ENVIRONMENT, "%s", found->what); /* As a node's start says it. */
    } else {
        code = verify_log(&verify);
    }
    code = offline_close(&verify.offline, code, &fault);
    return fault.code != 0 ? command_fail(&fault) : code;
}

const struct command command_log_verify = {
    .name = "log verify",
    .summary = "Whether a log on disk is whole (offline)",
    .argp = &verify_argp,
    .run = verify_run,
};
