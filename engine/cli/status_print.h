/* status_print.h: how a cluster stands, as a table for people and as the object of `--json`.
 *
 * What it shows was asked by ask.h and judged by health.h; the object's fields are a contract with
 * outside tools (tests/cli/test_contract.py).
 */
#ifndef ENGINE_CLI_STATUS_PRINT_H
#define ENGINE_CLI_STATUS_PRINT_H

#include "engine/cli/ask.h"
#include "engine/cli/health.h"

#include <jansson.h>
#include <stdio.h>

/* On stdout, with what is wrong below. answers[i] is of config->nodes[i]. */
void status_print_table(const struct config *config,
                        const struct ask_answer *answers,
                        const struct health *health);

/* What is wrong, one line each. */
void status_print_notes(const struct health *health, FILE *out);

/* The caller owns it; NULL: no memory. */
json_t *status_object(const struct config *config,
                      const struct ask_answer *answers,
                      const struct health *health);

#endif
