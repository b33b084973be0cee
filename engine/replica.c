/* replica.c: the life of a replica, and its loop. See replica.h; replica_mend.c has its life while
 * its log is damaged.
 *
 * Invariant: the core, the log in memory and the wal name the same last entry between iterations,
 * and the core is told of the disk only here, in tell_durable() and follow_trim().
 */
#include "engine/replica_state.h"

#include <errno.h>
#include <string.h>

_Static_assert(WIRE_COMMIT_LIMIT <= LAYOUT_POSITION_LIMIT, "a superblock holds any vote bound");

COUNTERS_DEFINE(replica, REPLICA_COUNTERS);

static uint32_t peers_of(const struct replica_config *config)
{
    ASSERT(config->node_count >= 1);
    ASSERT(config->node_count <= VOTERS_MAX);
    return config->node_count - 1;
}

uint64_t replica_memory_bytes(const struct replica_config *config)
{
    uint64_t bytes = sizeof(struct replica) + raft_size_bytes() + wal_memory_bytes() +
                     log_memory_bytes(config->log_memory_bytes) + machine_memory_bytes() +
                     intake_memory_bytes() + reader_memory_bytes() +
                     stream_memory_bytes(peers_of(config)) + mender_memory_bytes() +
                     scrub_memory_bytes() + TERM_RUNS_MAX * sizeof(struct raft_run) +
                     STAGE_COUNT * sizeof(struct histogram) + 64ull * PAGE_BYTES;
    return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

struct replica *replica_create(struct mem *mem,
                               const struct replica_config *config,
                               struct nic *nic,
                               struct disk *disk)
{
    ASSERT(config->heartbeat_ns > 0);
    ASSERT(config->election_max_ns >= config->election_min_ns);
    struct replica *r = mem_take(mem, "replica", 1, sizeof *r, 64);
    r->config = *config;
    r->nic = nic;
    r->disk = disk;
    r->outbox.nic = nic;
    r->raft = mem_take(mem, "raft core", 1, raft_size_bytes(), 64);
    struct wal_config wal = {.cluster = config->cluster, .node = config->self, .disk = disk};
    r->wal = wal_create(mem, &wal);
    log_init(&r->log, mem, config->log_memory_bytes);
    machine_init(&r->machine, mem);
    intake_init(&r->intake, mem);
    reader_init(&r->reader, mem);
    stream_in_init(&r->in, mem);
    mender_init(&r->mender, mem);
    scrub_init(&r->scrub, mem);
    for (uint32_t i = 0; i < config->node_count; i++) {
        const struct replica_node *node = &config->nodes[i];
        if (node->id != config->self) {
            r->mend_peers[r->peer_count] = (struct asker_peer){node->id, node->address};
            stream_out_init(&r->outs[r->peer_count++], mem, node->id, node->address);
            r->self.peers |= 1ull << node->id;
        }
    }
    ASSERT(r->peer_count == peers_of(config));
    r->recovered_runs = mem_take(mem, "recovered runs", TERM_RUNS_MAX, sizeof(struct raft_run), 64);
    r->stages = mem_take(mem, "stage histograms", STAGE_COUNT, sizeof(struct histogram), 64);
    r->hold_trim_position = UINT64_MAX;
    return r;
}

/* The configuration of the file: every voter, no store but the own one known. */
static struct raft_configuration file_configuration(const struct replica *r)
{
    struct raft_configuration configuration = {0};
    for (uint32_t id = 1; id <= NODE_ID_MAX; id++) {
        for (uint32_t i = 0; i < r->config.node_count; i++) {
            if (r->config.nodes[i].id == id) {
                configuration.voters |= 1ull << id;
                configuration.members[configuration.member_count++] = (struct raft_member){
                    .id = (uint8_t)id, .store = id == r->config.self ? r->found.store : 0};
            }
        }
    }
    ASSERT(configuration.member_count == r->config.node_count);
    return configuration;
}

/* Where the log begins; the configuration is the file's. */
static struct machine_origin begin(struct replica *r)
{
    log_begin(&r->log, &r->found.start, r->found.ring_bytes);
    r->commit_position = r->found.start.position;
    r->committed_offset = r->found.start.offset;
    r->begun = true;
    return (struct machine_origin){
        .start = r->found.start,
        .configuration = file_configuration(r),
        .ring_bytes = r->found.ring_bytes,
        .segment_bytes = r->found.segment_bytes,
    };
}

/* Nothing has been trimmed. */
static void begin_empty(struct replica *r)
{
    struct machine_origin origin = begin(r);
    machine_begin(&r->machine, &origin);
}

static void
visit_state(void *context, const struct log_start *start, const void *bytes, uint32_t count)
{
    struct replica *r = context;
    ASSERT(start->position == r->found.start.position);
    struct machine_origin origin = begin(r);
    bool good = machine_begin_state(&r->machine, &origin, bytes, count);
    ASSERT(good); /* Its checksum held, so this program wrote it. */
}

static void visit_entry(void *context, const uint8_t *entry)
{
    struct replica *r = context;
    const struct entry_header *header = entry_header_of(entry);
    if (!r->begun) {
        begin_empty(r);
    }
    log_take(&r->log, header, false);
    machine_append(&r->machine, entry);
    if (header->commit_index > r->machine.applied_index) {
        replica_apply(r, header->commit_index);
    }
    uint32_t count = r->recovered_run_count;
    if (count > 0 && r->recovered_runs[count - 1].term == header->term) {
        return;
    }
    if (count == TERM_RUNS_MAX) {
        r->recovered_floor = (struct raft_entry_id){.term = r->recovered_runs[0].term,
                                                    .index = r->recovered_runs[1].first_index - 1};
        memmove(r->recovered_runs, r->recovered_runs + 1, (count - 1) * sizeof(struct raft_run));
        count--;
    }
    r->recovered_runs[count] =
        (struct raft_run){.term = header->term, .first_index = header->index};
    r->recovered_run_count = count + 1;
}

static void start_core(struct replica *r, uint64_t now_ns)
{
    struct wal_hard hard = wal_hard_durable(r->wal);
    struct raft_config config = {
        .self = r->config.self,
        .store = wal_store(r->wal),
        .boot = wal_boot(r->wal),
        .election_min_ns = r->config.election_min_ns,
        .election_max_ns = r->config.election_max_ns,
        .heartbeat_ns = r->config.heartbeat_ns,
        .seed = r->config.seed ^ wal_boot(r->wal) << 32 ^ r->config.self,
    };
    struct raft_recovered recovered = {
        .term = hard.term,
        .vote = hard.vote,
        .entry_term = hard.entry_term,
        .epoch = wal_epoch(r->wal),
        .bootstrapped = hard.bootstrapped,
        .vote_bound = {.term = hard.vote_bound.term, .index = hard.vote_bound.index},
        .start = {.term = r->log.start.last.term, .index = r->log.start.last.index},
        .last = {.term = r->log.last.term, .index = r->log.last.index},
        .commit_index = r->machine.applied_index,
        .runs = r->recovered_runs,
        .run_count = r->recovered_run_count,
        .floor = r->recovered_floor,
        .configuration = *machine_configuration(&r->machine),
    };
    raft_init(r->raft, &config, &recovered, now_ns);
    r->told_hard = hard;
    r->told_durable = wal_durable(r->wal);
    r->told_start = wal_start_durable(r->wal);
    r->write_first = r->log.last.index + 1;
    r->write_last = r->log.last.index;
    machine_opened(&r->machine, r->log.end_position);
}

/* The log's configuration rules; the file must say where its members are. */
static bool members_have_addresses(const struct replica *r, struct fault *fault)
{
    const struct raft_configuration *configuration = machine_configuration(&r->machine);
    for (uint32_t i = 0; i < configuration->member_count; i++) {
        uint8_t id = configuration->members[i].id;
        bool named = false;
        for (uint32_t k = 0; k < r->config.node_count; k++) {
            named = named || r->config.nodes[k].id == id;
        }
        if (!named) {
            fault_set(fault, FAULT_USAGE,
                      "node %u is a member of this log's cluster, and the configuration has no "
                      "address for it: add its [node %u] section",
                      id, id);
            return false;
        }
    }
    return true;
}

void replica_name(struct replica *r, uint64_t store, uint64_t boot)
{
    r->self.cluster = r->config.cluster;
    r->self.group = r->config.group;
    r->self.node = r->config.self;
    r->self.boot = boot;
    r->header = (struct wire_header){
        .from = r->config.self,
        .group = r->config.group,
        .cluster = r->config.cluster,
        .from_store = store,
        .from_boot = boot,
    };
}

int replica_log_open(struct replica *r, enum wal_accept accept, struct fault *fault)
{
    ASSERT(!r->opened);
    r->begun = false; /* A log that was mended since is read anew. */
    r->recovered_run_count = 0;
    r->recovered_floor = (struct raft_entry_id){0};
    struct recover_visitor visitor = {.entry = visit_entry, .state = visit_state, .context = r};
    int result = wal_open(r->wal, accept, &visitor, &r->found, fault);
    if (result != 0) {
        return result;
    }
    if (!r->begun) {
        begin_empty(r);
    }
    ASSERT(r->log.last.index == r->found.last.index);
    ASSERT(r->log.end_position == r->found.end_position);
    if (!members_have_addresses(r, fault)) {
        return -EINVAL;
    }
    start_core(r, r->now_ns);
    replica_name(r, wal_store(r->wal), wal_boot(r->wal));
    r->expected_ns = r->now_ns;
    replica_count_states(r);
    if (r->config.scrub_bytes_per_s > 0) {
        scrub_begin(&r->scrub, r->now_ns, r->config.scrub_every_ns);
    }
    r->opened = true;
    return 0;
}

int replica_open(struct replica *r, uint64_t now_ns, struct fault *fault)
{
    r->now_ns = now_ns;
    int result = replica_log_open(r, r->config.accept, fault);
    if (result == -EBADMSG && replica_may_mend(r)) {
        *fault = (struct fault){0};
        result = replica_mend_begin(r, fault);
    }
    return result;
}

/* Slots below may be used again: their entries are durable, and the states of the boundaries among
 * them will find room. */
static uint64_t firm_position(const struct replica *r)
{
    uint64_t durable = wal_durable(r->wal).position;
    uint64_t room = machine_room_position(&r->machine);
    uint64_t firm = room > r->log.ring_bytes ? room - r->log.ring_bytes : 0;
    return firm < durable ? firm : durable;
}

/* Something is to be committed, and for a while nothing was. */
static bool commits_wait(const struct replica *r)
{
    return raft_is_leader(r->raft) && raft_last(r->raft).index > raft_commit_index(r->raft) &&
           r->now_ns - r->commit_moved_ns >= CATCHUP_HURRY_NS;
}

struct stream_context replica_stream_context(struct replica *r)
{
    struct stream_context context = {
        .raft = r->raft,
        .log = &r->log,
        .outbox = &r->outbox,
        .counters = &r->counters,
        .suspects = &r->scrub.suspects,
        .header = r->header,
        .cluster = r->config.cluster,
        .now_ns = r->now_ns,
        .durable_position = firm_position(r),
        .space_position = replica_own_space(r),
        .catchup_bytes_per_s = r->config.catchup_bytes_per_s,
        .pins = r->now_ns >= r->pins_paused_ns,
        .commits_wait = commits_wait(r),
        .taker = r,
        .take = replica_take,
    };
    context.header.term = raft_term(r->raft);
    return context;
}

static bool trims(const struct replica *r)
{
    return r->config.retention_bytes != 0;
}

uint64_t replica_own_space(const struct replica *r)
{
    return wal_start_durable(r->wal).position + wal_ring_bytes(r->wal);
}

uint64_t replica_peer_space(const struct replica *r, const struct stream_out *out)
{
    uint64_t patience_ns = r->config.election_max_ns;
    uint64_t silent_ns = r->now_ns > patience_ns ? r->now_ns - patience_ns : 0;
    return stream_out_space(out, silent_ns, r->log.last.index);
}

struct intake_context replica_intake_context(struct replica *r)
{
    uint64_t own_space = replica_own_space(r);
    uint64_t space = own_space;
    for (uint32_t i = 0; i < r->peer_count; i++) {
        uint64_t peer_space = replica_peer_space(r, &r->outs[i]);
        space = peer_space < space ? peer_space : space;
    }
    return (struct intake_context){
        .raft = r->raft,
        .log = &r->log,
        .outbox = &r->outbox,
        .counters = &r->counters,
        .header = r->header,
        .cluster = r->config.cluster,
        .now_ns = r->now_ns,
        .durable_position = firm_position(r),
        .sessions = &r->machine.sessions,
        .space_position = space,
        .make_position = own_space - (trims(r) ? 0 : LOG_TRIM_RESERVE_BYTES),
        .trims = trims(r),
        .closed = r->stopping,
    };
}

struct reader_context replica_reader_context(struct replica *r)
{
    return (struct reader_context){
        .log = &r->log,
        .outbox = &r->outbox,
        .counters = &r->counters,
        .suspects = &r->scrub.suspects,
        .header = r->header,
        .cluster = r->config.cluster,
        .committed_offset = r->committed_offset,
        .committed_index = raft_commit_index(r->raft),
        .leader = raft_leader(r->raft),
    };
}

struct waiting_context replica_waiting_context(struct replica *r)
{
    return (struct waiting_context){
        .reader = &r->reader,
        .answers = replica_reader_context(r),
        .raft = r->raft,
        .applied_index = r->machine.applied_index,
        .now_ns = r->now_ns,
        .closed = r->stopping,
    };
}

enum raft_taken replica_step(struct replica *r, struct raft_event *event)
{
    event->now_ns = r->now_ns;
    return raft_step(r->raft, event);
}

/* Tell the core something that no entry hangs on. */
static void tell(struct replica *r, struct raft_event event)
{
    enum raft_taken taken = replica_step(r, &event);
    ASSERT(taken == RAFT_REFUSED);
}

static void tell_durable(struct replica *r)
{
    /* The cut first: what is durable from now on is so in its epoch. */
    if (r->cut_asked && wal_epoch(r->wal) == r->cut_epoch) {
        r->cut_asked = false;
        tell(r, (struct raft_event){.kind = RAFT_EVENT_CUT_DURABLE,
                                    .cut_durable = {.epoch = r->cut_epoch}});
    }
    struct wal_durable durable = wal_durable(r->wal);
    if (durable.index != r->told_durable.index || durable.epoch != r->told_durable.epoch) {
        r->told_durable = durable;
        tell(r,
             (struct raft_event){.kind = RAFT_EVENT_LOG_DURABLE,
                                 .log_durable = {.epoch = durable.epoch, .index = durable.index}});
        replica_time_until(r, STAGE_LOCAL_DURABLE, durable.index);
    }
    struct wal_hard hard = wal_hard_durable(r->wal);
    if (hard.term != r->told_hard.term || hard.vote != r->told_hard.vote ||
        hard.entry_term != r->told_hard.entry_term ||
        hard.bootstrapped != r->told_hard.bootstrapped ||
        log_id_compare(hard.vote_bound, r->told_hard.vote_bound) != 0) {
        r->told_hard = hard;
        tell(r, (struct raft_event){.kind = RAFT_EVENT_STATE_DURABLE,
                                    .state_durable = {.term = hard.term,
                                                      .vote = hard.vote,
                                                      .entry_term = hard.entry_term,
                                                      .bootstrapped = hard.bootstrapped,
                                                      .vote_bound = {hard.vote_bound.term,
                                                                     hard.vote_bound.index}}});
    }
}

/* Move the start where an applied trim wants it, once everything below it is durable here. */
static void follow_trim(struct replica *r)
{
    const struct log_start *wanted = &r->machine.wanted_start;
    bool has_state = r->machine.written_segment >= wanted->position / r->machine.segment_bytes;
    if (wanted->position > r->log.start.position && has_state &&
        wal_durable(r->wal).position >= wanted->position) {
        wal_set_start(r->wal, wanted);
    }
    struct log_start start = wal_start_durable(r->wal);
    if (start.position > r->told_start.position) {
        r->told_start = start;
        log_trim(&r->log, &start);
        r->counters.trims++;
        tell(r, (struct raft_event){
                    .kind = RAFT_EVENT_TRIMMED,
                    .trimmed = {.start = {.term = start.last.term, .index = start.last.index}}});
    }
}

/* Finished reads: cookies number the streams first, then the reader's jobs, the mender's, and the
 * scrubber. */
static uint32_t reap_reads(struct replica *r)
{
    uint32_t count = 0;
    uint32_t cookie;
    while (wal_read_done(r->wal, &cookie)) {
        count++;
        if (cookie < r->peer_count) {
            r->outs[cookie].fetch.state = FETCH_READY;
            continue;
        }
        uint32_t number = cookie - r->peer_count;
        if (number < READER_BUFFERS) {
            r->reader.jobs[number].state = READER_READY;
            continue;
        }
        number -= READER_BUFFERS;
        if (number < MEND_JOBS) {
            r->mender.jobs[number].state = MENDER_READY;
            continue;
        }
        ASSERT(number == MEND_JOBS);
        scrub_read(&r->scrub);
    }
    return count;
}

/* Bytes to read at `position`: what the buffer holds, up to `end` and to what is durable. */
static uint32_t
read_bytes(const struct replica *r, uint64_t position, uint64_t end, uint32_t buffer_bytes)
{
    uint64_t durable = wal_durable(r->wal).position;
    end = end < durable ? end : durable;
    uint64_t bytes = position < end ? end - position : 0;
    return bytes < buffer_bytes ? (uint32_t)bytes : buffer_bytes;
}

static void start_reads(struct replica *r)
{
    struct stream_context context = replica_stream_context(r);
    for (uint32_t i = 0; i < r->peer_count; i++) {
        struct stream_fetch *fetch = &r->outs[i].fetch;
        if (fetch->state != FETCH_WANTED || !stream_out_may_fetch(&r->outs[i], &context)) {
            continue;
        }
        fetch->bytes = read_bytes(r, fetch->position, UINT64_MAX, STREAM_FETCH_BYTES);
        if (fetch->bytes == 0) {
            fetch->state = FETCH_NONE;
        } else if (wal_read(r->wal, fetch->position, fetch->bytes, fetch->buffer, i)) {
            stream_out_fetching(&r->outs[i], &context);
        }
    }
    for (uint32_t i = 0; i < READER_BUFFERS; i++) {
        struct reader_job *job = &r->reader.jobs[i];
        if (job->state != READER_WANTED) {
            continue;
        }
        /* Beyond what is committed the log may be cut and written anew under the read. */
        job->bytes = read_bytes(r, job->position, r->commit_position, READER_BUFFER_BYTES);
        ASSERT(job->bytes > 0); /* What is committed and not in memory is durable here. */
        if (wal_read(r->wal, job->position, job->bytes, job->buffer, r->peer_count + i)) {
            job->state = READER_READING;
        }
    }
}

/* What other nodes ask for to mend their logs, one read at a time at the rate of the catch-up. */
static void start_mender_reads(struct replica *r)
{
    struct mender_context context = replica_mender_context(r);
    for (uint32_t i = 0; i < MEND_JOBS; i++) {
        struct mender_job *job = &r->mender.jobs[i];
        if (job->state != MENDER_WANTED || !mender_may_read(&r->mender, &context)) {
            continue;
        }
        if (job->position < r->log.start.position ||
            job->position + job->bytes > context.durable_position) {
            job->state = MENDER_FREE; /* Trimmed or cut since. */
        } else if (wal_read(r->wal, job->position, job->bytes, job->buffer,
                            r->peer_count + READER_BUFFERS + i)) {
            mender_reading(&r->mender, &context, job);
        }
    }
}

static uint32_t reap(struct replica *r)
{
    uint32_t work = wal_poll(r->wal, r->now_ns);
    tell_durable(r);
    follow_trim(r);
    work += reap_reads(r);
    struct reader_context context = replica_reader_context(r);
    work += reader_serve(&r->reader, &context);
    struct mender_context mender = replica_mender_context(r);
    work += mender_serve(&r->mender, &mender);
    return work;
}

/* A leader that hands over proposes nothing more: what clients have sent so far goes now. */
static void seal_before_transfer(struct replica *r)
{
    if (raft_takes_proposals(r->raft) && intake_is_open(&r->intake)) {
        replica_seal_open(r);
    }
}

/* The own disk's health, and time that was lost (design D11). */
static void watch(struct replica *r)
{
    uint64_t lost_ns = r->now_ns > r->expected_ns ? r->now_ns - r->expected_ns : 0;
    if (lost_ns > r->config.election_min_ns / 2) {
        r->counters.time_lost++;
        stall_time_lost(&r->stall, r->now_ns, lost_ns);
        tell(r, (struct raft_event){.kind = RAFT_EVENT_TIME_LOST});
    }
    uint64_t oldest = wal_oldest_write_ns(r->wal);
    uint64_t oldest_read = wal_oldest_read_ns(r->wal);
    oldest = oldest_read < oldest ? oldest_read : oldest;
    uint64_t age = stall_age_ns(&r->stall, r->now_ns, oldest);
    bool stalled = age > r->config.disk_stall_ns;
    if (raft_is_leader(r->raft)) {
        uint64_t waiting = r->log.end_position - wal_durable(r->wal).position;
        stalled = stalled || waiting > r->log.ring_bytes / 2;
    }
    if (stalled != r->unhealthy) {
        r->unhealthy = stalled;
        if (stalled) {
            seal_before_transfer(r);
        }
        r->counters.disk_stalls += stalled;
        tell(r, (struct raft_event){.kind = stalled ? RAFT_EVENT_UNHEALTHY : RAFT_EVENT_HEALTHY});
    }
    if (age > DISK_DEAD_NS) {
        r->failed = -ETIMEDOUT;
    }
    if (wal_failed(r->wal) != 0) {
        r->failed = wal_failed(r->wal);
    }
}

/* A slot is wanted and a nic still reads it. It is never taken away from it; but nothing new is
 * lent to a nic that is late, so that it ends with what it has. */
static void watch_pins(struct replica *r)
{
    if (UNLIKELY(r->log.pinned_waits != r->counters.slots_pinned)) {
        r->counters.slots_pinned = r->log.pinned_waits;
        r->counters.pins_paused += r->now_ns >= r->pins_paused_ns;
        r->pins_paused_ns = r->now_ns + LOG_PIN_PAUSE_NS;
    }
}

static void watch_commits(struct replica *r)
{
    uint64_t commit_index = raft_commit_index(r->raft);
    bool waits = raft_is_leader(r->raft) && raft_last(r->raft).index > commit_index;
    if (!waits || commit_index != r->commit_seen) {
        r->commit_seen = commit_index;
        r->commit_moved_ns = r->now_ns;
    }
}

/* A leader that stops waits until another one is known, and not for long. */
static void stop_disk(struct replica *r)
{
    if (!r->opened) {
        return; /* Nothing was begun. */
    }
    uint8_t leader = raft_leader(r->raft);
    bool handed_over = leader != RAFT_NOBODY && leader != r->config.self;
    if (r->stopping && !r->disk_stopping && (handed_over || r->now_ns >= r->stop_due_ns)) {
        r->disk_stopping = true;
        wal_stop(r->wal);
    }
}

uint32_t replica_poll(struct replica *r, uint64_t now_ns)
{
    ASSERT(r->opened || r->mender.active);
    ASSERT(now_ns >= r->now_ns);
    if (r->failed != 0) {
        return 0;
    }
    r->now_ns = now_ns;
    if (r->mender.active) {
        return replica_mend_poll(r);
    }
    r->working = false;
    replica_time_iteration(r);
    uint32_t work = replica_receive(r);
    work += reap(r);
    watch(r);
    if (r->failed != 0) {
        return work;
    }
    work += replica_seal(r);
    if (now_ns >= raft_deadline_ns(r->raft)) {
        tell(r, (struct raft_event){.kind = RAFT_EVENT_TICK});
        work++;
    }
    work += replica_drain(r);
    stop_disk(r);
    watch_commits(r);
    watch_pins(r);
    start_reads(r);
    start_mender_reads(r);
    work += replica_scrub(r);
    uint64_t deadline_ns = replica_deadline_ns(r);
    /* An idle loop may sleep till then. */
    r->expected_ns = deadline_ns > now_ns ? deadline_ns : now_ns;
    r->working = r->working || wal_oldest_write_ns(r->wal) != UINT64_MAX;
    return work;
}

uint64_t replica_deadline_ns(const struct replica *r)
{
    if (r->mender.active) {
        return mender_deadline_ns(&r->mender);
    }
    uint64_t deadline = raft_deadline_ns(r->raft);
    uint64_t other = wal_deadline_ns(r->wal);
    deadline = other < deadline ? other : deadline;
    other = mender_read_deadline_ns(&r->mender);
    deadline = other < deadline ? other : deadline;
    other = r->stopping ? UINT64_MAX : scrub_deadline_ns(&r->scrub);
    deadline = other < deadline ? other : deadline;
    other = waiting_deadline_ns(&r->waiting);
    deadline = other < deadline ? other : deadline;
    if (!raft_is_leader(r->raft)) { /* What the other role left behind is nobody's business. */
        other = stream_in_deadline_ns(&r->in);
        return other < deadline ? other : deadline;
    }
    for (uint32_t i = 0; i < r->peer_count; i++) {
        other = stream_out_deadline_ns(&r->outs[i]);
        deadline = other < deadline ? other : deadline;
    }
    return deadline;
}

bool replica_is_working(const struct replica *r)
{
    return r->working;
}

enum raft_transfer replica_transfer(struct replica *r, uint8_t to)
{
    ASSERT(r->opened);
    enum raft_transfer outcome = raft_transfer_check(r->raft, to);
    if (outcome != RAFT_TRANSFER_OK) {
        return outcome;
    }
    seal_before_transfer(r);
    tell(r, (struct raft_event){.kind = RAFT_EVENT_TRANSFER, .transfer = {.to = to}});
    /* The check was made at the time of the core's last event: the best one may have fallen silent
     * since. */
    bool begun = raft_transfer_target(r->raft) != RAFT_NOBODY;
    return begun ? RAFT_TRANSFER_OK : RAFT_TRANSFER_NOBODY_HEARD;
}

void replica_stop(struct replica *r)
{
    if (r->stopping) {
        return;
    }
    r->stopping = true;
    enum raft_transfer outcome =
        r->opened && r->failed == 0 ? replica_transfer(r, RAFT_NOBODY) : RAFT_TRANSFER_NOT_LEADER;
    bool hands_over = outcome == RAFT_TRANSFER_OK || outcome == RAFT_TRANSFER_UNDER_WAY;
    r->stop_due_ns = r->now_ns + (hands_over ? r->config.election_max_ns : 0);
    stop_disk(r);
}

bool replica_is_stopped(const struct replica *r)
{
    bool mends = r->stopping && !r->opened;
    return r->failed != 0 || mends || (r->disk_stopping && wal_is_idle(r->wal));
}

void replica_trace_stages(struct replica *r, bool on)
{
    r->tracing = on;
}

void replica_hold_trim(struct replica *r, uint64_t position)
{
    r->hold_trim_position = position;
}

void replica_on_apply(struct replica *r, replica_apply_hook hook, void *context)
{
    r->apply_hook = hook;
    r->apply_context = context;
}
