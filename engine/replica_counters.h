/* replica_counters.h: what a replica and its parts count, apart from replica.h so that the parts
 * need not know the whole. */
#ifndef ENGINE_REPLICA_COUNTERS_H
#define ENGINE_REPLICA_COUNTERS_H

#include "engine/base/counter.h"

/* clang-format off */
#define REPLICA_COUNTERS(X) \
    X(entries_sealed) X(entries_taken) X(entries_applied) X(records_applied) X(requests) \
    X(request_records) X(replies) X(busy) X(full) X(not_leader) X(reads) X(cuts) \
    X(fragments_sent) X(fragments_repaired) X(fragments_received) X(fragments_known) \
    X(fragments_refused) X(pages_bad) X(polls_sent) X(acks_sent) X(disk_fetches) X(staged) \
    X(fetches_failed) X(trims) X(states_written) X(time_lost) X(disk_stalls) X(frames_dropped) \
    X(frames_foreign) \
    X(sessions_registered) X(sessions_unknown) X(repeated_records) X(conditions_failed) X(fenced) \
    X(gaps) X(reads_confirmed) X(reads_lost) X(reads_refused) X(reads_held) \
    X(slots_pinned) X(pins_paused) X(probes_sent) X(frames_grown) \
    X(frames_shrunk) X(entries_unfit) \
    X(mend_questions) X(mend_refusals) X(mend_answers) X(mend_answers_faulty) X(mend_denials) \
    X(mend_dropped) X(entries_mended) X(mends_given_up) \
    X(scrub_passes) X(scrub_bytes) X(scrub_bad) X(scrub_pages) X(scrub_waiting) \
    X(states_bad) X(states_mended)
/* clang-format on */
COUNTERS_DECLARE(replica, REPLICA_COUNTERS);

#endif
