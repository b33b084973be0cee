/* lab_arguments.c: see lab_arguments.h. */
#include "engine/cli/lab_arguments.h"

#include "engine/base/units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD_BYTES 512u

error_t lab_arguments_parse(int key, char *value, struct argp_state *state)
{
    struct lab_arguments *arguments = state->input;
    switch (key) {
    case LAB_KEY_DIR:
        arguments->dir = value;
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->word_count == LAB_HOSTS_MAX) {
            argp_error(state, "`%s`: too many words", value);
        }
        arguments->words[arguments->word_count++] = value;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

error_t lab_arguments_parse_alone(int key, char *value, struct argp_state *state)
{
    if (key == ARGP_KEY_ARG) {
        argp_error(state, "`%s`: no argument is expected", value);
    }
    return lab_arguments_parse(key, value, state);
}

const char *lab_arguments_dir(const struct lab_arguments *arguments)
{
    const char *meant = getenv("THOLE_LAB");
    if (arguments->dir != NULL) {
        return arguments->dir;
    }
    return meant != NULL && meant[0] != '\0' ? meant : "thole-lab";
}

bool lab_arguments_hosts(const struct lab *lab,
                         const char *word,
                         uint64_t *hosts,
                         struct fault *fault)
{
    char words[WORD_BYTES];
    char *rest = NULL;
    *hosts = 0;
    (void)snprintf(words, sizeof words, "%s", word);
    for (char *one = strtok_r(words, ",", &rest); one != NULL; one = strtok_r(NULL, ",", &rest)) {
        uint32_t host = lab_find_host(lab, one, fault);
        if (host == LAB_SWITCH) {
            return false;
        }
        *hosts |= 1ull << host;
    }
    if (*hosts == 0) {
        fault_set(fault, FAULT_USAGE, "`%.32s` names no host", word);
    }
    return *hosts != 0;
}

uint32_t lab_arguments_node(const struct lab *lab, const char *word, struct fault *fault)
{
    uint64_t node = 0;
    const char *number = word[0] == 'n' ? word + 1 : word;
    if (lab->node_count == 0) {
        fault_set(fault, FAULT_USAGE, "this lab has no nodes: it was made with --no-nodes");
    } else if (!units_parse_number(number, 1, lab->node_count, &node)) {
        fault_set(fault, FAULT_USAGE, "no node `%.32s` in this lab; its nodes are 1 to %u", word,
                  lab->node_count);
        node = 0;
    }
    return (uint32_t)node;
}
