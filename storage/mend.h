/* mend.h: make a damaged log whole again, entry by entry, before it is opened.
 *
 * Says which entry is gone, by (term, index) and where it ends, and writes it in its place when the
 * caller brings it. (term, index) names one entry for ever and its marks prove its bytes, so it
 * matters not who had it. What is asked for is always known exactly: the lowest record above the
 * proven prefix names its predecessor's term, and a cut or a watermark page the last entry below
 * it; from there it goes down, entry by entry, each naming the one below, until the prefix is met
 * or an entry stands as it should. Then on with the next hole. docs/STORAGE.md, "Mending".
 *
 * Invariant: a page that stands as it should is never written again, so that no crash within a
 * mending finds less than was known before it. Epoch and cut stay: it is the log that it was, and
 * takes nothing new.
 *
 * Blocks on the disk, a bounded number of pages a call, but for mend_look(), which reads the log:
 * for a node that does not take part. Must not know peers.
 */
#ifndef STORAGE_MEND_H
#define STORAGE_MEND_H

#include "storage/recover.h"
#include "storage/scan.h"

#include <stdbool.h>
#include <stdint.h>

enum mend_state {
    MEND_ASKS,  /* The entry `want` is gone. */
    MEND_LOST,  /* No entry of another node makes it whole: which one is gone cannot be told, or it
                   was none that counts. wal_open() takes it with WAL_BOUNDED. */
    MEND_WHOLE, /* wal_open() takes it. */
};

struct mend_want {
    struct log_id id;
    uint64_t end_position; /* Behind its last page. */
};

struct mend {
    struct disk *disk;
    uint64_t cluster;
    uint8_t node;
    uint8_t *buffer;       /* RECOVER_BUFFER_BYTES */
    struct recovery found; /* By the last look; end_position and last rise with what is mended. */
    struct scan scan;
    enum mend_state state;
    struct mend_want want;
    uint64_t boot;
    uint64_t entries_mended;
    uint64_t pages_written;
};

struct mend_config {
    struct disk *disk; /* Borrowed; nothing else uses it meanwhile. */
    uint64_t cluster;
    uint8_t node;
    uint8_t *buffer; /* RECOVER_BUFFER_BYTES, page aligned; borrowed. */
};

/* Begin with a log that recovery found damaged or suspect: make the superblock's copies equal and
 * raise the boot alone, durably, then look. 0, or a negative errno with the fault told. */
MUST_USE int mend_begin(struct mend *mend, const struct mend_config *config, struct fault *fault);

/* Recover anew and set `state` and `want`. Costs what the log keeps. */
MUST_USE int mend_look(struct mend *mend, struct fault *fault);

/* Put an entry where it belongs, if it is the one wanted, and go on to the next. `entry` passed
 * entry_check(); its node header is stamped here. 0; -EINVAL: not the wanted one, nothing was
 * written; or the errno of a failed write, which is fatal, with the fault told. */
MUST_USE int mend_take(struct mend *mend, uint8_t *entry, struct fault *fault);

/* The entry wanted was never committed: what is left of it and above is not worth asking for. */
void mend_give_up(struct mend *mend);

/* Read the entry `id` that ends at `end_position` into `entry` (ENTRY_BYTES_MAX, page aligned), if
 * all of its pages are here and intact. */
MUST_USE bool mend_read(struct mend *mend, const struct mend_want *asked, uint8_t *entry);

/* The first byte of the entry `asked` in `bytes`, which were read from the ring and end with its
 * last page; NULL: it is not there, or not intact. */
const uint8_t *
mend_find(const struct mend_want *asked, uint64_t cluster, const uint8_t *bytes, uint32_t count);

#endif
