/* assembly.h: an entry cut into fragments, and put together again (docs/PROTOCOL.md, ENTRY).
 *
 * Sending: describe the entry, then put its fragments one by one. Receiving: keep fragments in any
 * order where the entry's bytes are to stand; when the last one is in, every byte is checked, and a
 * page whose mark fails forgets its fragments.
 *
 * Must not know streams, sessions or who asks.
 */
#ifndef ENGINE_ASSEMBLY_H
#define ENGINE_ASSEMBLY_H

#include "engine/wire.h"

#include <stdbool.h>
#include <stdint.h>

/* One entry half received. */
struct assembly {
    uint64_t index; /* 0: free. */
    uint64_t term;
    uint64_t previous_term;
    uint64_t position;
    uint64_t bitmap; /* Fragments held. */
    uint32_t used_bytes;
    uint16_t fragment_bytes;
    uint8_t pages;
    bool staged;   /* Its bytes are in the staging slot. */
    bool complete; /* Checked. */
    struct page_mark last_mark;
};

/* A bitmap of the first `count` fragments. */
uint64_t assembly_bits(uint32_t count);

/* A bitmap of all fragments of it. */
uint64_t assembly_all(const struct assembly *assembly);

/* Without a fragment yet. */
struct assembly assembly_of(const struct wire_entry *entry);

/* Whether a fragment is of this entry, and of the same cut. */
bool assembly_fits(const struct assembly *assembly, const struct wire_entry *entry);

/* Keep a fragment that fits and is new; `bytes` is the entry's first page. True: all are in. */
MUST_USE bool
assembly_put(struct assembly *assembly, uint8_t *bytes, const struct wire_frame *frame);

/* All are in: finish the last page and check every byte. False: something is wrong; the fragments
 * of pages that are have left the bitmap, all of them if it names no entry. */
MUST_USE bool assembly_finish(struct assembly *assembly, uint8_t *bytes, uint64_t cluster);

/* What every fragment of an entry says, cut in so many bytes. */
struct wire_entry assembly_describe(const uint8_t *entry, uint32_t fragment_bytes);

/* Make `frame`, which describes the entry, its fragment at `offset`; returns where the next one
 * begins: entry_used_bytes less NODE_HEADER_BYTES after the last. */
uint32_t assembly_cut(struct wire_frame *frame, const uint8_t *entry, uint32_t offset);

#endif
