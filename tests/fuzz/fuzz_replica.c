/* fuzz_replica.c: any datagrams to a running replica, at any time, over a disk that takes its time.
 *
 * The first byte chooses how node 2 stands (fuzz_world.h), the second how its disk behaves. The
 * rest is a program of one-byte operations: frames as they are, or sound ones from a peer or a
 * client with the tokens, terms, sessions and boots that node 2 waits for, some of them tweaked;
 * entries of a leader, whole or damaged; time; completions and failures of the disk; a power cut at
 * the end. Checksums are mended as the program runs, for tokens are not known before.
 */
#include "engine/machine.h"
#include "tests/fuzz/fuzz_world.h"
#include "tests/fuzz/program.h"
#include "tests/support/frames.h"

#include <stddef.h>
#include <string.h>

#define OPERATIONS_MAX 192u
#define RECORDS_MAX    32u
#define NUMBER_LIMIT   (1ull << 63)
#define HEAD_BYTES     2u
#define CRASH_BITS     0x1eu /* All of them: the power goes at the end. */
#define POLL_BIT       0x80u
#define RAW_BIT        0x01u /* Of a frame: its checksum stays as it is. */
#define FOREIGN_BIT    0x02u /* ... and its sender. */
#define TOKEN_BIT      0x04u /* ... and its term and token. */

enum operation {
    OP_POLL,
    OP_TIME,
    OP_FRAME,
    OP_AGAIN,
    OP_ANSWER,
    OP_ACK,
    OP_APPEND,
    OP_ENTRY,
    OP_VOTE,
    OP_REQUEST,
    OP_OPEN,
    OP_ASK,
    OP_DISK,
    OP_LOCAL,
    OP_COUNT
};

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

struct program {
    struct fuzz_world *world;
    uint8_t last[FRAME_BYTES_MAX]; /* The frame before, to be sent again. */
    uint32_t last_bytes;
    struct nic_address last_from;
};

static struct program program;

static void put(struct nic_address from, const uint8_t *data, uint32_t bytes)
{
    if (program.last != data) {
        memcpy(program.last, data, bytes);
    }
    program.last_bytes = bytes;
    program.last_from = from;
    if (!fuzz_world_put(program.world, from, data, bytes)) {
        fuzz_world_poll(program.world);
        (void)fuzz_world_put(program.world, from, data, bytes);
    }
}

static uint8_t take_peer(void)
{
    return take(1) % 2 == 0 ? 1 : 3;
}

static struct wire_header header_from(uint8_t peer, enum wire_kind kind)
{
    const struct fuzz_world *world = program.world;
    return (struct wire_header){
        .kind = (uint8_t)kind,
        .from = peer,
        .to = FUZZ_SELF,
        .cluster = FUZZ_CLUSTER,
        .from_store = tweak(world->stores[peer]),
        .from_boot = tweak(world->boots[peer]),
        .to_boot = world->before.boot,
        .term = world->before.term,
    };
}

/* A frame of a peer; a message brings the header's fields with it. */
static void put_from_peer(struct wire_frame *frame)
{
    const struct wire_header *header = &frame->header;
    if (header->kind != WIRE_ENTRY && header->kind != WIRE_ACK) {
        frame->message.from = header->from;
        frame->message.to = header->to;
        frame->message.from_store = header->from_store;
        frame->message.from_boot = header->from_boot;
        frame->message.term = header->term;
        frame->message.token = header->token;
    }
    uint8_t bytes[FRAME_BYTES_MAX];
    uint32_t count = frame_write(frame, bytes);
    put(fuzz_node_address(header->from), bytes, count);
}

static void operation_time(void)
{
    static const uint64_t units_ns[] = {1000,        STREAM_GAP_NS, 200000,       FUZZ_MS,
                                        5 * FUZZ_MS, 20 * FUZZ_MS,  80 * FUZZ_MS, 1000 * FUZZ_MS};
    uint64_t how = take(1);
    program.world->now_ns += units_ns[how & 7] * (1 + (how >> 3 & 7));
    if (how >= 0xc0) { /* As a loop that sleeps until something is due. */
        uint64_t due_ns = replica_deadline_ns(program.world->replica);
        bool soon = due_ns < program.world->now_ns + 1000 * FUZZ_MS;
        program.world->now_ns =
            soon && due_ns > program.world->now_ns ? due_ns : program.world->now_ns;
    }
    fuzz_world_poll(program.world);
}

/* Bytes of the input as a frame. */
static void operation_frame(void)
{
    uint8_t bytes[FRAME_BYTES_MAX];
    uint64_t flags = take(1);
    uint8_t sender = (uint8_t)(take(1) % (FUZZ_NODES + FUZZ_CLIENTS + 2));
    uint32_t count = take_bytes(bytes, (uint32_t)take(2) % FRAME_BYTES_MAX);
    struct nic_address from = fuzz_node_address(sender);
    if (count < WIRE_HEADER_BYTES || (flags & RAW_BIT) != 0) {
        put(from, bytes, count);
        return;
    }
    const struct fuzz_world *world = program.world;
    frame_mend_identity(bytes, FUZZ_CLUSTER);
    bool from_peer = bytes[6] < WIRE_REQUEST;
    if ((flags & FOREIGN_BIT) == 0) {
        uint8_t peer = sender % 2 == 0 ? 1 : 3;
        uint64_t store = from_peer ? world->stores[peer] : FUZZ_CLIENT_ID;
        uint64_t boot = from_peer ? world->boots[peer] : FUZZ_CLIENT_ID;
        bytes[8] = from_peer ? peer : 0;
        bytes[9] = FUZZ_SELF;
        memcpy(bytes + 32, &store, sizeof store);
        memcpy(bytes + 40, &boot, sizeof boot);
        memcpy(bytes + 48, &world->before.boot, sizeof boot);
        from = from_peer ? fuzz_node_address(peer) : fuzz_client_address(0);
        if ((flags & TOKEN_BIT) == 0 && from_peer && bytes[6] <= WIRE_TIMEOUT_NOW) {
            const struct wire_frame *sent = &world->sent[peer][WIRE_APPEND];
            uint64_t token = sent->header.kind == 0 ? 1 : sent->header.token;
            memcpy(bytes + 56, &world->before.term, sizeof world->before.term);
            memcpy(bytes + 64, &token, sizeof token);
        }
    }
    frame_mend(bytes, count);
    put(from, bytes, count);
}

/* The reply that node 2 waits for to its last question of a kind. */
static void operation_answer(void)
{
    uint8_t peer = take_peer();
    uint64_t how = take(1);
    enum wire_kind asked = (how & 1) != 0 ? WIRE_VOTE : WIRE_PRE_VOTE;
    const struct wire_frame *question = &program.world->sent[peer][asked];
    struct wire_frame frame = {.header = header_from(peer, asked + 1)};
    frame.header.term = tweak(question->header.term);
    frame.header.token = tweak(question->header.token);
    frame.message.kind = asked == WIRE_VOTE ? RAFT_VOTE_REPLY : RAFT_PRE_VOTE_REPLY;
    frame.message.vote_reply.granted = (how & 2) == 0;
    put_from_peer(&frame);
}

static void operation_ack(void)
{
    uint8_t peer = take_peer();
    uint64_t how = take(1);
    const struct fuzz_world *world = program.world;
    const struct wire_frame *append = &world->sent[peer][WIRE_APPEND];
    const struct wire_frame *entry = &world->sent[peer][WIRE_ENTRY];
    struct wire_frame frame = {.header = header_from(peer, WIRE_ACK)};
    frame.header.term = tweak(world->before.term);
    frame.header.token = tweak(append->header.token);
    struct wire_ack *ack = &frame.ack;
    ack->session =
        (uint32_t)tweak((how & 8) != 0 && entry->header.kind != 0 ? entry->entry.session
                                                                  : append->message.append.session);
    ack->matched = (how & 1) == 0;
    ack->bootstrapped = (how & 2) != 0;
    ack->has_missing = (how & 4) != 0;
    ack->verified_index = tweak(world->before.last_index);
    ack->durable_index = tweak(ack->verified_index);
    ack->durable_index =
        ack->durable_index < ack->verified_index ? ack->durable_index : ack->verified_index;
    ack->received_index = tweak(ack->verified_index);
    uint64_t space = world->before.log_start_position + (uint64_t)4 * SEGMENT_BYTES_MIN;
    ack->credit_position = tweak(space / PAGE_BYTES) * PAGE_BYTES;
    ack->space_position = tweak(space / PAGE_BYTES) * PAGE_BYTES;
    if (!ack->matched) {
        ack->hint.index = tweak(world->before.commit_index);
        ack->hint.term = ack->hint.index == 0 ? 0 : tweak(frame.header.term);
    }
    if (ack->has_missing) {
        ack->missing_index = tweak(ack->received_index + 1);
        ack->missing_bitmap = tweak(1);
    }
    put_from_peer(&frame);
}

/* The term in which a peer may lead: the present one, or a later one. */
static uint64_t take_term(void)
{
    uint64_t term = tweak(program.world->before.term);
    return term == 0 ? 1 : term;
}

static uint32_t stream_session(uint8_t peer)
{
    const struct wire_frame *ack = &program.world->sent[peer][WIRE_ACK];
    return ack->header.kind == 0 ? 1 : ack->ack.session;
}

static void operation_append(void)
{
    uint8_t peer = take_peer();
    struct wire_frame frame = {.header = header_from(peer, WIRE_APPEND)};
    frame.header.term = take_term();
    frame.message.kind = RAFT_APPEND;
    frame.header.token = tweak(program.world->sent[peer][WIRE_ACK].header.token + 1);
    frame.message.append.session = (uint32_t)tweak(stream_session(peer));
    uint64_t index = tweak(program.world->before.last_index);
    uint64_t term = fuzz_world_entry(program.world, index).term;
    frame.message.append.prev.index = index;
    frame.message.append.prev.term = index == 0 ? 0 : tweak(term == 0 ? 1 : term);
    frame.message.append.commit_index = tweak(index);
    put_from_peer(&frame);
}

/* A record with the body of its kind; returns its bytes. */
static uint32_t record_put(uint8_t *entry, uint32_t at, struct record_header *record)
{
    static uint8_t body[RECORD_BYTES_MAX + 8];
    uint32_t known_bytes = 0;
    if (record->kind == RECORD_REGISTER) {
        const struct session_register opened = {.session = record->session,
                                                .owner = tweak(FUZZ_CLIENT_ID),
                                                .epoch = (uint32_t)tweak(1),
                                                .name_bytes = 1,
                                                .name = {(uint8_t)take(1)}};
        known_bytes = sizeof opened;
        memcpy(body, &opened, sizeof opened);
    } else if (record->kind == RECORD_REFUSED) {
        const struct session_refused refused = {.tail_offset =
                                                    tweak(program.world->before.log_end_offset),
                                                .count = (uint32_t)tweak(1)};
        known_bytes = sizeof refused;
        memcpy(body, &refused, sizeof refused);
    }
    record->bytes = known_bytes > 0 ? known_bytes : record->bytes;
    entry_body_write(entry, at, record, sizeof *record);
    entry_body_write(entry, at + RECORD_HEADER_BYTES, body,
                     record_body_bytes(record->bytes) - RECORD_HEADER_BYTES);
    memset(body, 0, known_bytes);
    return record_body_bytes(record->bytes);
}

/* The body of an entry; returns its bytes. */
static uint32_t entry_body(struct entry_header *header, uint8_t *entry)
{
    struct fuzz_world *world = program.world;
    uint64_t what = take(1);
    if (what % 8 == 0) {
        header->kind = ENTRY_NOOP;
        return 0;
    }
    if (what % 8 == 1) {
        struct raft_configuration configuration = {.voters = tweak(0xe)};
        for (uint8_t id = 1; id <= FUZZ_NODES; id++) {
            configuration.members[configuration.member_count++] =
                (struct raft_member){.id = id, .store = tweak(world->stores[id])};
        }
        uint8_t body[CONFIGURATION_BODY_BYTES];
        configuration_encode(&configuration, body);
        entry_body_write(entry, 0, body, sizeof body);
        header->kind = ENTRY_CONFIGURATION;
        return sizeof body;
    }
    if (what % 8 == 2) {
        const struct log_start *boundary = &world->boundary;
        const struct log_start start = {
            .position = tweak(boundary->position / PAGE_BYTES) % (1ull << 40) * PAGE_BYTES,
            .last = {.term = tweak(boundary->last.term), .index = tweak(boundary->last.index)},
            .offset = tweak(boundary->offset)};
        uint8_t body[TRIM_BODY_BYTES];
        trim_encode(&start, body);
        entry_body_write(entry, 0, body, sizeof body);
        header->kind = ENTRY_TRIM;
        return sizeof body;
    }
    header->kind = ENTRY_CLIENT;
    bool of_session = what % 2 == 0;
    bool large = what >= 0xe0;
    uint32_t count = large ? 1 : 1 + (uint32_t)take(1) % RECORDS_MAX;
    uint32_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct record_header record = {
            .bytes = large ? (uint32_t)take(2) % (RECORD_BYTES_MAX + 1) : (uint32_t)(what >> 3),
            .kind = (uint8_t)(of_session ? tweak(RECORD_APPEND) % RECORD_KIND_COUNT : 0),
            .session = of_session ? tweak(world->session) : 0,
            .sequence = tweak(world->next_sequence + i)};
        at += record_put(entry, at, &record);
        header->record_count += record.kind == RECORD_APPEND;
        header->session_record_count += record.session != 0;
    }
    return at;
}

/* Fragments of a sealed entry, as a leader sends them. */
static void put_entry(uint8_t peer, uint64_t term, const uint8_t *entry)
{
    const struct entry_header *header = entry_header_of(entry);
    uint32_t used_bytes = entry_used_bytes(header->body_bytes);
    uint32_t part = wire_fragment_bytes(program.world->nic.frame_bytes_max);
    struct wire_frame frame = {.header = header_from(peer, WIRE_ENTRY)};
    frame.header.term = term;
    frame.entry = (struct wire_entry){
        .session = (uint32_t)tweak(stream_session(peer)),
        .fragment_bytes = (uint16_t)part,
        .pages = header->pages,
        .used_bytes = used_bytes,
        .id = {.term = header->term, .index = header->index},
        .previous_term = header->previous_term,
        .position = header->position,
        .commit_index = tweak(program.world->before.commit_index),
    };
    memcpy(&frame.entry.last_mark, entry + (uint64_t)header->pages * PAGE_BYTES - PAGE_MARK_BYTES,
           PAGE_MARK_BYTES);
    uint64_t lost = take(1) < 0xe0 ? 0 : take(8);
    for (uint32_t at = 0; NODE_HEADER_BYTES + at < used_bytes; at += part) {
        uint32_t rest = used_bytes - NODE_HEADER_BYTES - at;
        frame.entry.offset = at;
        frame.payload = entry + NODE_HEADER_BYTES + at;
        frame.payload_bytes = rest < part ? rest : part;
        if ((lost >> (at / part) & 1) == 0) {
            put_from_peer(&frame);
        }
    }
}

static void operation_entry(void)
{
    static _Alignas(PAGE_BYTES) uint8_t entry[2 * ENTRY_BYTES_MAX];
    uint8_t peer = take_peer();
    uint64_t term = take_term();
    uint64_t index = tweak(program.world->before.last_index + 1);
    struct fuzz_entry before = fuzz_world_entry(program.world, index - 1);
    struct entry_header header = {
        .cluster = FUZZ_CLUSTER,
        .term = tweak(term) % NUMBER_LIMIT,
        .index = index % NUMBER_LIMIT == 0 ? 1 : index % NUMBER_LIMIT,
        .previous_term = tweak(before.term),
        .position = tweak(before.end_position / PAGE_BYTES) % (1ull << 40) * PAGE_BYTES,
        .first_offset = tweak(before.end_offset) % NUMBER_LIMIT,
        .commit_index = tweak(program.world->before.commit_index),
    };
    header.commit_index =
        header.commit_index < header.index ? header.commit_index : header.index - 1;
    header.body_bytes = entry_body(&header, entry);
    if (header.body_bytes > entry_body_bytes_max(ENTRY_PAGES_MAX)) {
        return;
    }
    entry_seal(entry, &header);
    const struct fuzz_entry known = {
        .index = header.index,
        .term = header.term,
        .end_position = header.position + (uint64_t)entry_pages(header.body_bytes) * PAGE_BYTES,
        .end_offset = header.first_offset + header.record_count,
    };
    fuzz_world_know(program.world, &known);
    if (take(1) >= 0xe0) {
        entry[take(2) % (entry_pages(header.body_bytes) * PAGE_BYTES)] ^= (uint8_t)take(1);
    }
    if (entry_header_of(entry)->pages == entry_pages(header.body_bytes) &&
        entry_header_of(entry)->body_bytes == header.body_bytes &&
        entry_header_of(entry)->index > 0) {
        put_entry(peer, term, entry);
    }
}

/* A peer stands for election, or is told to, or tells node 2 to. */
static void operation_vote(void)
{
    uint8_t peer = take_peer();
    uint64_t how = take(1);
    const struct fuzz_world *world = program.world;
    struct wire_frame frame = {0};
    if (how % 4 == 3) {
        frame.header = header_from(peer, WIRE_TIMEOUT_NOW);
        frame.message.kind = RAFT_TIMEOUT_NOW;
    } else {
        frame.header = header_from(peer, how % 2 == 0 ? WIRE_VOTE : WIRE_PRE_VOTE);
        frame.message.kind = how % 2 == 0 ? RAFT_VOTE : RAFT_PRE_VOTE;
    }
    frame.header.term = tweak(world->before.term + (how % 4 == 3 ? 0 : 1));
    frame.header.token = tweak(1);
    uint64_t index = tweak(world->before.last_index);
    struct raft_entry_id last = {.index = index,
                                 .term = index == 0 ? 0 : tweak(world->before.term)};
    if (how % 4 == 3) {
        frame.message.timeout_now.last = last;
    } else {
        frame.message.vote.last = last;
        frame.message.vote.transfer = frame.message.kind == RAFT_VOTE && (how & 4) != 0;
    }
    put_from_peer(&frame);
}

static void put_from_client(struct wire_frame *frame)
{
    uint32_t client = (uint32_t)take(1) % FUZZ_CLIENTS;
    frame->header.to = take(1) < 0xe0 ? FUZZ_SELF : 0;
    frame->header.cluster = FUZZ_CLUSTER;
    frame->header.from_store = tweak(FUZZ_CLIENT_ID + client);
    frame->header.from_boot = frame->header.from_store;
    uint8_t bytes[FRAME_BYTES_MAX];
    uint32_t count = frame_write(frame, bytes);
    put(fuzz_client_address(client), bytes, count);
}

static void operation_request(void)
{
    static uint8_t records[(RECORDS_MAX + 1) * 4096];
    struct fuzz_world *world = program.world;
    uint64_t how = take(1);
    bool ours = (how & 1) == 0;
    struct wire_frame frame = {.header = {.kind = WIRE_REQUEST, .token = tweak(how)}};
    struct wire_request *request = &frame.request;
    request->session = ours ? tweak(world->session) : 0;
    request->epoch = request->session != 0 ? (uint32_t)tweak(world->epoch) | 1 : 0;
    request->first_sequence = tweak(world->next_sequence);
    request->conditional = (how & 2) != 0;
    request->expected_offset = request->conditional ? tweak(world->before.log_end_offset) : 0;
    bool large = (how & 0x1c) == 0x1c;
    request->record_count = large ? 1 : 1 + (uint32_t)take(1) % RECORDS_MAX;
    uint32_t bytes = large ? (uint32_t)take(2) % RECORD_BYTES_MAX : (uint32_t)(how >> 3);
    for (uint32_t i = 0; i < request->record_count; i++) {
        const struct record_header record = {
            .bytes = bytes, .session = request->session, .sequence = request->first_sequence + i};
        memset(records + request->request_bytes, 0, record_body_bytes(bytes));
        memcpy(records + request->request_bytes, &record, sizeof record);
        request->request_bytes += record_body_bytes(bytes);
    }
    if (take(1) < 0xc0 && ours) {
        world->next_sequence = request->first_sequence + request->record_count;
    }
    uint32_t part = wire_request_bytes(world->nic.frame_bytes_max);
    for (uint32_t at = 0; at < request->request_bytes; at += part) {
        uint32_t rest = request->request_bytes - at;
        request->offset = at;
        frame.payload = records + at;
        frame.payload_bytes = rest < part ? rest : part;
        put_from_client(&frame);
    }
}

static void operation_open(void)
{
    static const char names[][SESSION_NAME_MAX] = {"", "fuzz", "other", "a much longer name"};
    uint64_t how = take(1);
    struct wire_frame frame = {.header = {.kind = WIRE_OPEN, .token = tweak(how)}};
    const char *name = names[how & 3];
    frame.open.name_bytes = (uint8_t)strlen(name);
    memcpy(frame.open.name, name, frame.open.name_bytes);
    if ((how & 4) != 0 && frame.open.name_bytes > 0) {
        frame.open.name[0] = (uint8_t)take(1);
    }
    frame.open.epoch = (uint32_t)tweak((how & 3) == 1 ? program.world->epoch : 0);
    put_from_client(&frame);
}

static void operation_ask(void)
{
    uint64_t how = take(1);
    struct wire_frame frame = {.header = {.token = tweak(how)}};
    switch (how % 4) {
    case 0:
        frame.header.kind = WIRE_STATUS;
        break;
    case 1:
        frame.header.kind = WIRE_TRANSFER;
        frame.transfer.to = (uint8_t)(take(1) % (FUZZ_NODES + 2));
        break;
    default:
        frame.header.kind = WIRE_READ;
        frame.read.offset = tweak((how & 4) != 0 ? program.world->before.log_end_offset : 0);
        frame.read.skip = (uint32_t)tweak(0);
        frame.read.linearizable = (how & 8) != 0;
        frame.read.waits = (how & 16) != 0;
        break;
    }
    put_from_client(&frame);
}

static void operation_disk(void)
{
    struct disk_model *disk = &program.world->disk;
    uint64_t how = take(1);
    if (how >= 0xf8) {
        disk->writes_until_death = how == 0xff ? 0 : DISK_MODEL_ALIVE;
        disk->automatic = disk->automatic || how == 0xff;
    } else if (how >= 0xf0) {
        disk->automatic = (how & 1) != 0;
    } else if (!disk->automatic && disk->flight_count > 0) {
        disk_model_complete(disk, (uint32_t)how % disk->flight_count, NULL, 0);
    }
    fuzz_world_poll(program.world);
}

static void operation_local(void)
{
    uint64_t how = take(1);
    if (how >= 0xf0) {
        replica_stop(program.world->replica);
    } else {
        fuzz_hand_over(program.world->replica, (uint8_t)(how % (FUZZ_NODES + 1)));
    }
    fuzz_world_poll(program.world);
}

static void operation(enum operation what)
{
    switch (what) {
    case OP_POLL:
        fuzz_world_poll(program.world);
        break;
    case OP_TIME:
        operation_time();
        break;
    case OP_FRAME:
        operation_frame();
        break;
    case OP_AGAIN:
        put(program.last_from, program.last, program.last_bytes);
        break;
    case OP_ANSWER:
        operation_answer();
        break;
    case OP_ACK:
        operation_ack();
        break;
    case OP_APPEND:
        operation_append();
        break;
    case OP_ENTRY:
        operation_entry();
        break;
    case OP_VOTE:
        operation_vote();
        break;
    case OP_REQUEST:
        operation_request();
        break;
    case OP_OPEN:
        operation_open();
        break;
    case OP_ASK:
        operation_ask();
        break;
    case OP_DISK:
        operation_disk();
        break;
    case OP_LOCAL:
        operation_local();
        break;
    case OP_COUNT:
        break;
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    fuzz_worlds_open();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD_BYTES) {
        return 0;
    }
    program_begin(data, size);
    struct fuzz_world *world = fuzz_world_back((enum fuzz_stage)(take(1) % FUZZ_STAGE_COUNT));
    uint64_t mode = take(1);
    program = (struct program){.world = world};
    world->disk.automatic = (mode & 1) == 0;
    for (uint32_t i = 0; i < OPERATIONS_MAX && !program_is_over(); i++) {
        uint8_t what = (uint8_t)take(1);
        operation((enum operation)((what & ~POLL_BIT) % OP_COUNT));
        if ((what & POLL_BIT) != 0) {
            fuzz_world_poll(world);
        }
        if (world->before.failed != 0) {
            break;
        }
    }
    if (world->before.failed == 0) {
        fuzz_world_poll(world);
    }
    fuzz_world_end(world, (mode & CRASH_BITS) == CRASH_BITS);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
    const struct program_shape shape = {.operation_count = OP_COUNT,
                                        .frame_operation = OP_FRAME,
                                        .frame_arguments = 2,
                                        .head_bytes = HEAD_BYTES,
                                        .flag = POLL_BIT};
    return program_mutate(&shape, data, size, max_size, seed);
}
