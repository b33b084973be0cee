/* scrub_internal.h: what scrub.c and scrub_hole.c do for each other. Nothing else includes it. */
#ifndef ENGINE_SCRUB_INTERNAL_H
#define ENGINE_SCRUB_INTERNAL_H

#include "engine/scrub.h"

#include <string.h>

/* ---- scrub.c ---- */

/* Read [position, end), at most ENTRY_BYTES_MAX of it. */
void scrub_look(struct scrub *scrub, uint64_t position, uint64_t end);

/* Walk on from scrub.at, or look at a suspect first. */
void scrub_go_on(struct scrub *scrub, const struct scrub_context *context);

/* Everything that was to be looked at has been. */
void scrub_finish(struct scrub *scrub, const struct scrub_context *context);

/* The term of an entry of the log; 0: not known. */
uint64_t scrub_term_of(const struct scrub_context *context, uint64_t index);

/* Whether the headers on the page are those of the entry that follows scrub.at, though the page may
 * be bad. */
bool scrub_head_stands(const struct scrub *scrub,
                       const struct scrub_context *context,
                       uint64_t position,
                       const uint8_t *page);

/* ---- scrub_hole.c ---- */

/* The entry at scrub.at does not stand; its pages are in the buffer. */
void scrub_hole_begin(struct scrub *scrub, const struct scrub_context *context);

/* What was read ends where the wanted entry does. */
void scrub_hole_judge(struct scrub *scrub, const struct scrub_context *context);

/* Whether everybody was asked in vain. */
void scrub_hole_asks(struct scrub *scrub, const struct scrub_context *context);

/* A page has been written. */
void scrub_hole_written(struct scrub *scrub, const struct scrub_context *context);

#endif
