/* fuzz_client.c: any datagrams to a client with everything under way, and what it makes of them.
 *
 * Two clients as they ship: the public library's (a writer with its session, a read and a survey
 * over one client), and a plain one that sends records without a session and asks for a hand-over.
 * An input is a program of one-byte operations: appends, reads, time, frames as they are, and
 * replies to what was asked, with the tokens, sessions and sequences that the client waits for,
 * some of them tweaked. Whatever comes, every record has one fate, in the order of taking; a read
 * hands on each offset once; a step sends no more than its bound; and when time is over, so is
 * everything.
 */
#include "engine/client/thole_internal.h"
#include "tests/fuzz/keep.h"
#include "tests/fuzz/program.h"
#include "tests/support/frames.h"

#include <stddef.h>
#include <string.h>

#define CLUSTER        0x9f3c0a4e5b6d7788ull
#define NODES          3u
#define CLIENTS        2u
#define LIBRARY        0u
#define PLAIN          1u
#define CLIENT_ID      77u /* Of client 0. */
#define RECORDS_MAX    64u
#define PLAIN_MAX      64u
#define OPERATIONS_MAX 256u
#define FRAMES_KEPT    8u
#define KINDS_MAX      64u /* Of frames. */
#define FRAME_MAX      1472u
#define MS             1000000ull
#define TIMEOUT_NS     (2000 * MS)
#define STEP_BIT       0x80u
#define RAW_BIT        0x01u
#define SESSION_NAME   "fuzz"
/* Frames that one step may send: all requests, each as long as a record may be, a question of each
 * kind to every node, and an answer's follow-up for each frame taken. */
#define SENT_MAX (SESSION_REQUESTS_MAX * 48u + 4u * NODES + 2u * RX_BURST_MAX)

enum operation {
    OP_STEP,
    OP_TIME,
    OP_APPEND,
    OP_READ,
    OP_SURVEY,
    OP_SESSION,
    OP_SEND,
    OP_FRAME,
    OP_AGAIN,
    OP_REPLY,
    OP_OPEN_REPLY,
    OP_READ_REPLY,
    OP_STATUS_REPLY,
    OP_TRANSFER_REPLY,
    OP_COUNT
};

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

/* A client's port. What it asked last, by kind, is what replies are made of. */
struct port {
    struct nic nic; /* First: the seam. */
    uint64_t id;
    uint32_t frame_count;
    uint32_t frame_bytes[RX_BURST_MAX];
    uint8_t frames[RX_BURST_MAX][FRAME_BYTES_MAX];
    struct wire_frame asked[KINDS_MAX][FRAMES_KEPT];
    uint32_t asked_count[KINDS_MAX];
    uint32_t sent; /* In this step. */
};

struct room {
    struct port ports[CLIENTS];
    struct thole library;
    struct client *plain;
    struct mem mem;
    uint64_t now_ns;
    uint64_t renewed_id;
    uint64_t told; /* Outcomes of appends. */
    bool reading;
    uint64_t read_next;              /* No lower offset may come. */
    uint64_t plain_first;            /* Sequence of records sent without a session, ... */
    uint64_t plain_fates;            /* ... and how many of them have their fate. */
    bool settled[CLIENT_WINDOW_MIN]; /* By sequence. */
};

struct program {
    uint32_t client; /* To whom frames go. */
    uint8_t last[FRAME_BYTES_MAX];
    uint32_t last_bytes;
};

static struct keep keep;
static struct room *room;
static struct program program;

/* ---- The ports. ---- */

static uint32_t rx_burst(struct nic *nic, struct nic_frame *frames, uint32_t frames_max)
{
    struct port *port = (struct port *)(void *)nic;
    uint32_t count = port->frame_count < frames_max ? port->frame_count : frames_max;
    for (uint32_t i = 0; i < count; i++) {
        /* At the end of its room, so that a byte read past the end is another frame's or none. */
        frames[i] = (struct nic_frame){
            .data = port->frames[i] + FRAME_BYTES_MAX - port->frame_bytes[i],
            .bytes = port->frame_bytes[i],
            .from = {.ipv4 = 0x0a000001u, .port = 7000},
        };
    }
    return count;
}

static void rx_release(struct nic *nic, const struct nic_frame *frames, uint32_t count)
{
    struct port *port = (struct port *)(void *)nic;
    (void)frames;
    ASSERT(count == port->frame_count);
    port->frame_count = 0;
}

/* A frame out must be one that a node takes, or refuses for nothing but its numbers. */
static uint32_t tx_burst(struct nic *nic, const struct nic_send *sends, uint32_t count)
{
    struct port *port = (struct port *)(void *)nic;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t bytes[FRAME_BYTES_MAX];
        uint32_t frame_bytes = sends[i].head_bytes + sends[i].body_bytes;
        ASSERT(frame_bytes <= nic->frame_bytes_max);
        memcpy(bytes, sends[i].head, sends[i].head_bytes);
        if (sends[i].body_bytes > 0) {
            memcpy(bytes + sends[i].head_bytes, sends[i].body, sends[i].body_bytes);
        }
        uint8_t node = (uint8_t)(sends[i].to.ipv4 & 0xff);
        ASSERT(node >= 1);
        ASSERT(node <= NODES);
        const struct wire_self self = {.cluster = CLUSTER, .boot = 5, .node = node};
        struct wire_counters counters = {0};
        struct wire_frame frame;
        enum wire_reason reason = wire_decode(&self, bytes, frame_bytes, &frame, &counters);
        port->sent++;
        if (reason == WIRE_DROP_bad_field) {
            continue; /* Numbers that a reply brought close to their limit: nobody answers. */
        }
        ASSERT(reason == WIRE_DROP_ok);
        uint8_t kind = frame.header.kind;
        frame.payload = NULL;
        frame.header.to = node;
        port->asked[kind][port->asked_count[kind]++ % FRAMES_KEPT] = frame;
        port->id = frame.header.from_boot;
    }
    return count;
}

static int wait_fd(const struct nic *nic)
{
    (void)nic;
    return -1;
}

static void close_nic(struct nic *nic)
{
    (void)nic;
}

static const struct nic_ops ops = {.rx_burst = rx_burst,
                                   .rx_release = rx_release,
                                   .tx_burst = tx_burst,
                                   .wait_fd = wait_fd,
                                   .close = close_nic};

/* ---- What the clients tell. ---- */

static void on_completion(void *context, const struct thole_completion *completion)
{
    (void)context;
    ASSERT(completion->tag == room->told);
    room->told++;
    ASSERT(room->told <= writer_taken(room->library.writer));
    ASSERT((completion->outcome == THOLE_COMMITTED) == (completion->reason == THOLE_NONE));
    ASSERT(completion->outcome != THOLE_COMMITTED || completion->sequence != 0);
}

static bool on_record(void *context, const struct thole_record *record)
{
    (void)context;
    ASSERT(room->reading);
    ASSERT(record->offset >= room->read_next);
    ASSERT(record->bytes <= RECORD_BYTES_MAX);
    room->read_next = record->offset + 1;
    uint32_t sum = 0;
    for (uint32_t i = 0; i < record->bytes; i++) {
        sum += ((const uint8_t *)record->data)[i];
    }
    return sum % 16 != 15;
}

static void on_fate(void *context, const struct client_completion *completion)
{
    (void)context;
    ASSERT(completion->count > 0);
    for (uint32_t i = 0; i < completion->count; i++) {
        bool *settled = &room->settled[(completion->first_sequence + i) % CLIENT_WINDOW_MIN];
        ASSERT(!*settled);
        *settled = true;
    }
    room->plain_fates += completion->count;
}

static void ignore(void *context, const struct wire_frame *frame, uint64_t now_ns)
{
    (void)context;
    (void)frame;
    (void)now_ns;
}

static void step(void)
{
    struct thole *library = &room->library;
    room->ports[LIBRARY].sent = 0;
    room->ports[PLAIN].sent = 0;
    (void)thole_step(library, room->now_ns);
    (void)client_poll(room->plain, room->now_ns, on_fate, NULL);
    client_flush(room->plain);
    ASSERT(room->ports[LIBRARY].sent <= SENT_MAX);
    ASSERT(room->ports[PLAIN].sent <= SENT_MAX);
    ASSERT(room->told + writer_pending(library->writer) == writer_taken(library->writer));
    ASSERT(writer_pending(library->writer) == 0 || writer_is_stopped(library->writer) ||
           writer_deadline_ns(library->writer) < UINT64_MAX);
    ASSERT(room->plain_first + room->plain_fates + client_outstanding(room->plain) ==
           client_next_sequence(room->plain));
}

/* ---- Operations. ---- */

static void put(const uint8_t *data, uint32_t bytes)
{
    struct port *port = &room->ports[program.client];
    if (port->frame_count == RX_BURST_MAX) {
        step();
    }
    if (data != program.last) {
        memcpy(program.last, data, bytes);
    }
    program.last_bytes = bytes;
    port->frame_bytes[port->frame_count] = bytes;
    memcpy(port->frames[port->frame_count++] + FRAME_BYTES_MAX - bytes, data, bytes);
}

static void put_reply(struct wire_frame *frame, const struct wire_frame *asked)
{
    const struct port *port = &room->ports[program.client];
    frame->header.from =
        (uint8_t)(tweak(asked->header.to == 0 ? 1 : asked->header.to) & NODE_ID_MAX);
    frame->header.cluster = CLUSTER;
    frame->header.from_store = 1000;
    frame->header.from_boot = 5;
    frame->header.to_boot = tweak(port->id);
    frame->header.token = tweak(asked->header.token);
    uint8_t bytes[FRAME_BYTES_MAX];
    put(bytes, frame_write(frame, bytes));
}

/* The last question of this kind, or the one before, ... */
static const struct wire_frame *asked(enum wire_kind kind)
{
    const struct port *port = &room->ports[program.client];
    uint32_t back = 1 + (uint32_t)tweak(0) % FRAMES_KEPT;
    uint32_t count = port->asked_count[kind];
    return &port->asked[kind][(count < back ? 0 : count - back) % FRAMES_KEPT];
}

static void operation_time(void)
{
    static const uint64_t units_ns[] = {1000,    20000,   MS / 5,   MS,
                                        10 * MS, 50 * MS, 150 * MS, 500 * MS};
    uint64_t how = take(1);
    room->now_ns += units_ns[how & 7] * (1 + (how >> 3 & 7));
    step();
}

static void operation_append(void)
{
    static uint8_t payload[RECORD_BYTES_MAX];
    struct thole *library = &room->library;
    uint64_t how = take(1);
    uint32_t count = 1 + (uint32_t)(how & 15);
    struct client_record records[16];
    uint32_t bytes = how >= 0xf0 ? (uint32_t)take(2) % RECORD_BYTES_MAX : (uint32_t)take(1) / 4;
    for (uint32_t i = 0; i < count; i++) {
        records[i] = (struct client_record){.payload = payload, .bytes = bytes};
    }
    uint64_t number = writer_taken(library->writer);
    uint64_t room_left = library->records_max - (number - library->done_head);
    count = count < room_left ? count : (uint32_t)room_left;
    uint32_t taken = 0;
    if (count > 0 && !writer_is_stopped(library->writer)) {
        taken = (how & 0x40) == 0
                    ? writer_append(library->writer, room->now_ns, records, count)
                    : writer_append_expecting(library->writer, room->now_ns, records, count,
                                              tweak(number) % (CLIENT_OFFSET_MAX - 16));
    }
    for (uint32_t i = 0; i < taken; i++) {
        library->tags[(number + i) & library->mask] = number + i;
    }
}

static void operation_read(void)
{
    uint64_t how = take(1);
    if (how >= 0xf0) {
        thole_read_stop(&room->library);
        return;
    }
    struct thole_read read = {
        .from = (how & 3) == 0   ? THOLE_START
                : (how & 3) == 1 ? THOLE_END
                                 : tweak(how) % CLIENT_OFFSET_MAX,
        .last = (how & 4) != 0 ? tweak(10) : 0,
        .count = (how & 8) != 0 ? tweak(5) : 0,
        .follow = (how & 16) != 0,
        .linearizable = (how & 32) != 0,
        .node = (how & 64) != 0 ? (uint8_t)(take(1) % (NODES + 1)) : 0,
        .on_record = on_record,
    };
    if (thole_read_begin(&room->library, &read) == 0) {
        room->reading = true;
        room->read_next = 0;
    }
}

static void operation_session(void)
{
    struct thole *library = &room->library;
    uint64_t how = take(1);
    bool all_told = library->done_head == writer_taken(library->writer);
    if (how % 3 == 0 && all_told) {
        writer_reopen(library->writer, ++room->renewed_id);
    } else if (how % 3 == 1 && writer_state(library->writer) == WRITER_IDLE) {
        writer_open(library->writer, room->now_ns);
    } else if (how % 3 == 2 && writer_state(library->writer) == WRITER_IDLE) {
        writer_set_first(library->writer, 1 + take(1));
    }
}

/* The plain client's: records, a read, a hand-over. */
static void operation_send(void)
{
    uint64_t how = take(1);
    if (how >= 0xe0) {
        struct wire_frame frame = {
            .header = {.kind = WIRE_TRANSFER, .token = client_new_token(room->plain)},
            .transfer = {.to = (uint8_t)(how % (NODES + 1))}};
        (void)client_post(room->plain, &frame, (uint8_t)(take(1) % (NODES + 1)));
        return;
    }
    struct client_record records[16];
    uint32_t count = 1 + (uint32_t)(how & 15);
    for (uint32_t i = 0; i < count; i++) {
        records[i] = (struct client_record){
            .bytes = (uint32_t)(how >= 0xd0 ? take(2) % 20000 : how), .intended_ns = room->now_ns};
    }
    uint64_t first = client_next_sequence(room->plain);
    uint32_t taken = client_send(room->plain, room->now_ns, records, count);
    for (uint32_t i = 0; i < taken; i++) {
        room->settled[(first + i) % CLIENT_WINDOW_MIN] = false;
    }
}

static void operation_frame(void)
{
    uint8_t bytes[FRAME_BYTES_MAX];
    uint64_t flags = take(1);
    uint32_t count = take_bytes(bytes, (uint32_t)take(2) % FRAME_BYTES_MAX);
    if (count >= WIRE_HEADER_BYTES && (flags & RAW_BIT) == 0) {
        const struct port *port = &room->ports[program.client];
        frame_mend_identity(bytes, CLUSTER);
        bytes[9] = 0;
        memcpy(bytes + 48, &port->id, sizeof port->id);
        memset(bytes + 56, 0, 8);
        enum wire_kind kind = bytes[6] > WIRE_REQUEST && bytes[6] < KINDS_MAX
                                  ? (enum wire_kind)(bytes[6] - 1)
                                  : WIRE_REQUEST;
        if ((flags & 2) == 0) {
            memcpy(bytes + 64, &asked(kind)->header.token, 8);
        }
        frame_mend(bytes, count);
    }
    put(bytes, count);
}

static enum wire_status take_status(void)
{
    uint64_t how = take(1);
    return how < 0xa0 ? WIRE_OK : (enum wire_status)(how % WIRE_STATUS_COUNT);
}

static void operation_reply(void)
{
    const struct wire_frame *request = asked(WIRE_REQUEST);
    struct wire_frame frame = {.header = {.kind = WIRE_REPLY}};
    frame.reply = (struct wire_reply){
        .session = tweak(request->request.session),
        .first_sequence = tweak(request->request.first_sequence) % CLIENT_OFFSET_MAX,
        .first_offset = tweak(room->told) % CLIENT_OFFSET_MAX,
        .record_count = (uint32_t)tweak(request->request.record_count) % ENTRY_RECORDS_MAX,
        .status = (uint8_t)take_status(),
        .leader = (uint8_t)(tweak(request->header.to) & NODE_ID_MAX),
    };
    frame.reply.record_count += frame.reply.record_count == 0;
    if (frame.reply.status == WIRE_GAP || frame.reply.status == WIRE_CONDITION ||
        frame.reply.status == WIRE_FENCED) {
        frame.reply.detail = tweak(request->request.first_sequence) % CLIENT_OFFSET_MAX;
    }
    put_reply(&frame, request);
}

static void operation_open_reply(void)
{
    static const uint8_t statuses[] = {WIRE_OK, WIRE_BUSY, WIRE_FULL, WIRE_NOT_LEADER, WIRE_FENCED};
    const struct wire_frame *open = asked(WIRE_OPEN);
    uint64_t how = take(1);
    struct wire_frame frame = {.header = {.kind = WIRE_OPEN_REPLY}};
    struct wire_open_reply *reply = &frame.open_reply;
    reply->status = how < 0xc0 ? WIRE_OK : statuses[how % sizeof statuses];
    reply->leader = (uint8_t)(tweak(open->header.to) & NODE_ID_MAX);
    if (reply->status == WIRE_OK || reply->status == WIRE_FENCED) {
        reply->epoch = (uint32_t)tweak(open->open.epoch + 1);
        reply->epoch += reply->epoch == 0;
    }
    if (reply->status == WIRE_OK) {
        reply->session = 1 + tweak(40) % CLIENT_OFFSET_MAX;
        reply->next_sequence = 1 + tweak(0) % CLIENT_OFFSET_MAX;
    }
    put_reply(&frame, open);
}

static void operation_read_reply(void)
{
    static uint8_t records[FRAME_BYTES_MAX];
    const struct wire_frame *read = asked(WIRE_READ);
    struct wire_frame frame = {.header = {.kind = WIRE_READ_REPLY}, .payload = records};
    struct wire_read_reply *reply = &frame.read_reply;
    reply->status = (uint8_t)take_status();
    reply->leader = (uint8_t)(tweak(read->header.to) & NODE_ID_MAX);
    reply->offset = tweak(read->read.offset) % CLIENT_OFFSET_MAX;
    reply->start_offset = tweak(0) % CLIENT_OFFSET_MAX;
    reply->committed_offset = tweak(20) % CLIENT_OFFSET_MAX;
    uint64_t how = take(1);
    uint32_t count = reply->status == WIRE_OK ? (uint32_t)(how & 7) : 0;
    bool partial = count == 1 && (how & 8) != 0;
    for (uint32_t i = 0; i < count; i++) {
        struct record_header record = {
            .bytes = (uint32_t)(partial ? take(2) % (RECORD_BYTES_MAX + 1) : how >> 2),
            .session = tweak(40),
            .sequence = tweak(reply->offset)};
        uint32_t bytes = partial ? RECORD_HEADER_BYTES + ((uint32_t)tweak(1024) % 1200 & ~7u)
                                 : record_body_bytes(record.bytes);
        memset(records + frame.payload_bytes, 0, bytes);
        memcpy(records + frame.payload_bytes, &record, sizeof record);
        frame.payload_bytes += bytes;
    }
    reply->partial = partial;
    reply->record_count = count;
    reply->skip = partial ? (uint32_t)tweak(read->read.skip) : 0;
    reply->term = count > 0 ? 1 + tweak(1) % CLIENT_OFFSET_MAX : 0;
    put_reply(&frame, read);
}

static void operation_status_reply(void)
{
    const struct wire_frame *status = asked(WIRE_STATUS);
    uint64_t how = take(1);
    struct wire_frame frame = {.header = {.kind = WIRE_STATUS_REPLY}};
    frame.status_reply = (struct wire_status_reply){
        .role = (uint8_t)(how % WIRE_ROLE_COUNT),
        .leader = (uint8_t)(tweak(status->header.to) & NODE_ID_MAX),
        .durable = (how & 16) != 0,
        .term = tweak(1) % CLIENT_OFFSET_MAX,
        .commit_index = tweak(1) % CLIENT_OFFSET_MAX,
        .voters = 0xe,
    };
    put_reply(&frame, status);
}

static void operation_transfer_reply(void)
{
    const struct wire_frame *transfer = asked(WIRE_TRANSFER);
    uint64_t how = take(1);
    struct wire_frame frame = {.header = {.kind = WIRE_TRANSFER_REPLY}};
    frame.transfer_reply = (struct wire_transfer_reply){
        .outcome = (uint8_t)(how % (RAFT_TRANSFER_NOBODY_HEARD + 1)),
        .leader = (uint8_t)(how >> 4 & 3),
        .to = (uint8_t)(how >> 6),
    };
    put_reply(&frame, transfer);
}

static void operation(enum operation what)
{
    switch (what) {
    case OP_STEP:
        step();
        break;
    case OP_TIME:
        operation_time();
        break;
    case OP_APPEND:
        operation_append();
        break;
    case OP_READ:
        operation_read();
        break;
    case OP_SURVEY:
        survey_begin(&room->library.survey, room->now_ns);
        break;
    case OP_SESSION:
        operation_session();
        break;
    case OP_SEND:
        operation_send();
        break;
    case OP_FRAME:
        operation_frame();
        break;
    case OP_AGAIN:
        put(program.last, program.last_bytes);
        break;
    case OP_REPLY:
        operation_reply();
        break;
    case OP_OPEN_REPLY:
        operation_open_reply();
        break;
    case OP_READ_REPLY:
        operation_read_reply();
        break;
    case OP_STATUS_REPLY:
        operation_status_reply();
        break;
    case OP_TRANSFER_REPLY:
        operation_transfer_reply();
        break;
    case OP_COUNT:
        break;
    }
}

/* ---- The clients, made once. ---- */

static struct client_config client_config_of(uint32_t number)
{
    struct client_config config = {
        .cluster = CLUSTER,
        .id = CLIENT_ID + number,
        .node_count = NODES,
        .outstanding_max = number == PLAIN ? PLAIN_MAX : 1,
        .timeout_ns = TIMEOUT_NS,
        .read_timeout_ns = CLIENT_READ_TIMEOUT_NS,
        .seed = 3,
    };
    for (uint32_t i = 0; i < NODES; i++) {
        config.nodes[i] = (struct client_node){.id = (uint8_t)(i + 1),
                                               .address = {.ipv4 = 0x0a000001u + i, .port = 7000}};
    }
    return config;
}

/* Of thole_open.c, which is not here: its socket is not. */
uint64_t thole_random(void)
{
    return ++room->renewed_id;
}

/* As thole_open() does it. */
static void library_make(struct thole *library, struct mem *mem)
{
    const struct client_config config = client_config_of(LIBRARY);
    struct writer_config writer = {.name = (const uint8_t *)SESSION_NAME,
                                   .name_bytes = sizeof SESSION_NAME - 1,
                                   .timeout_ns = TIMEOUT_NS,
                                   .records_max = RECORDS_MAX,
                                   .bytes_max = 2 * WRITER_BYTES_MIN};
    uint8_t nodes[NODES] = {1, 2, 3};
    library->nic = &room->ports[LIBRARY].nic;
    library->timeout_ns = TIMEOUT_NS;
    library->on_completion = on_completion;
    library->mask = RECORDS_MAX - 1;
    library->records_max = RECORDS_MAX;
    library->config.node_count = NODES;
    library->tags = mem_take(mem, "tags", RECORDS_MAX, sizeof(uint64_t), 64);
    library->done = mem_take(mem, "outcomes", RECORDS_MAX, sizeof(struct thole_completion), 64);
    library->reader.pages =
        mem_take(mem, "reader", 1, (fetch_memory_bytes() + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1ull),
                 PAGE_BYTES);
    library->core = client_init(mem, &config, library->nic);
    writer.client = library->core;
    library->writer = writer_init(mem, &writer);
    survey_init(&library->survey, library->core, nodes, NODES);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    uint64_t head_bytes = (sizeof(struct room) + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    const struct client_config plain = client_config_of(PLAIN);
    const uint64_t mem_bytes = 4ull << 20;
    keep_open(&keep, head_bytes + mem_bytes);
    room = (struct room *)(void *)keep.base;
    room->now_ns = 1000 * MS;
    room->renewed_id = CLIENT_ID + CLIENTS;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        room->ports[i].id = CLIENT_ID + i;
        room->ports[i].nic = (struct nic){.ops = &ops,
                                          .self = {.ipv4 = 0x0a000010u + i, .port = 7000},
                                          .frame_bytes_max = FRAME_MAX};
    }
    mem_init(&room->mem, keep.base + head_bytes, mem_bytes);
    library_make(&room->library, &room->mem);
    room->plain = client_init(&room->mem, &plain, &room->ports[PLAIN].nic);
    client_listen(room->plain, WIRE_TRANSFER_REPLY, ignore, NULL);
    room->plain_first = client_next_sequence(room->plain);
    mem_seal(&room->mem);
    keep_save(&keep);
    return 0;
}

/* Nobody answers any more: everything is over in its time. */
static void end_of_time(void)
{
    for (uint32_t i = 0; i < 8; i++) {
        room->now_ns += TIMEOUT_NS / 2;
        step();
    }
    ASSERT(writer_pending(room->library.writer) == 0);
    ASSERT(client_outstanding(room->plain) == 0);
    ASSERT(room->library.reader.state == READING_NOTHING);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    keep_back(&keep);
    program_begin(data, size);
    program = (struct program){.client = LIBRARY};
    for (uint32_t i = 0; i < OPERATIONS_MAX && !program_is_over(); i++) {
        uint8_t what = (uint8_t)take(1);
        program.client = (what & ~STEP_BIT) / OP_COUNT % 4 == 3 ? PLAIN : LIBRARY;
        operation((enum operation)((what & ~STEP_BIT) % OP_COUNT));
        if ((what & STEP_BIT) != 0) {
            step();
        }
    }
    step();
    end_of_time();
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
    const struct program_shape shape = {.operation_count = OP_COUNT,
                                        .frame_operation = OP_FRAME,
                                        .frame_arguments = 1,
                                        .flag = STEP_BIT};
    return program_mutate(&shape, data, size, max_size, seed);
}
