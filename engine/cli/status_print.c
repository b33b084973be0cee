/* status_print.c: see status_print.h. */
#include "engine/cli/status_print.h"

#include <inttypes.h>

#define STATUS_ADDRESS_BYTES 24u

static const char *address_text(struct nic_address address, char text[STATUS_ADDRESS_BYTES])
{
    (void)snprintf(text, STATUS_ADDRESS_BYTES, "%u.%u.%u.%u:%u", address.ipv4 >> 24,
                   address.ipv4 >> 16 & 255u, address.ipv4 >> 8 & 255u, address.ipv4 & 255u,
                   address.port);
    return text;
}

static void print_node(const struct config_node *node,
                       const struct ask_answer *answer,
                       const struct health *health)
{
    bool behind = (health->behind >> node->id & 1) != 0;
    char address[STATUS_ADDRESS_BYTES];
    address_text(node->address, address);
    if (!answer->reachable) {
        printf("%4u  %-21s  no answer\n", node->id, address);
        return;
    }
    const struct wire_status_reply *status = &answer->status;
    printf(
        "%4u  %-21s  %-9s %6" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64
        " %8" PRIu64 "  %s%s%s%s%s%s%s\n",
        node->id, address, status->faulty ? "faulty" : wire_role_name((enum wire_role)status->role),
        status->term, status->commit_index, status->durable_index, status->start_offset,
        status->end_offset, status->frames_dropped, status->durable ? "dsync" : "memory",
        status->slowed ? "  SLOW DISK" : "", status->posix ? "  DEGRADED: no io_uring" : "",
        behind ? "  behind" : "", status->bounded ? "  bounded" : "", status->full ? "  full" : "",
        (health->diverged >> node->id & 1) != 0 ? "  diverged" : "");
}

void status_print_notes(const struct health *health, FILE *out)
{
    for (uint32_t i = 0; i < health->note_count; i++) {
        fprintf(out, "%s\n", health->notes[i]);
    }
}

void status_print_table(const struct config *config,
                        const struct ask_answer *answers,
                        const struct health *health)
{
    printf("cluster %016" PRIx64 ": %s, ", config->cluster,
           health->healthy     ? "healthy"
           : health->available ? "available, not healthy"
                               : "not available");
    if (health->leader != 0) {
        printf("node %u leads in term %" PRIu64 "\n", health->leader, health->term);
    } else {
        printf(health->reachable_count == 0 ? "no node answers\n" : "nobody leads\n");
    }
    printf("node  address                role        term     commit    durable  log start    log "
           "end  dropped  durability\n");
    for (uint32_t i = 0; i < config->node_count; i++) {
        print_node(&config->nodes[i], &answers[i], health);
    }
    status_print_notes(health, stdout);
}

/* A number that only a node which answered can say. */
static json_t *number_or_null(const struct ask_answer *answer, uint64_t value)
{
    return answer->reachable ? json_integer((json_int_t)value) : json_null();
}

static json_t *node_object(const struct config_node *node,
                           const struct ask_answer *answer,
                           const struct health *health)
{
    bool behind = (health->behind >> node->id & 1) != 0;
    json_t *behind_or_null = health->leader != 0 ? json_boolean(behind) : json_null();
    char address[STATUS_ADDRESS_BYTES];
    const struct wire_status_reply *status = &answer->status;
    const char *role = wire_role_name((enum wire_role)status->role);
    return json_pack(
        "{s:i, s:s, s:b, s:s?, s:o, s:o, s:o, s:o, s:o, s:s?, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
        "s:o}",
        "id", (int)node->id, "address", address_text(node->address, address), "reachable",
        (int)answer->reachable, "role", answer->reachable && !status->faulty ? role : NULL, "term",
        number_or_null(answer, status->term), "commit_index",
        number_or_null(answer, status->commit_index), "durable_index",
        number_or_null(answer, status->durable_index), "log_start_offset",
        number_or_null(answer, status->start_offset), "log_end_offset",
        number_or_null(answer, status->end_offset), "durability",
        !answer->reachable ? NULL
        : status->durable  ? "dsync"
                           : "memory",
        "slow_disk", answer->reachable ? json_boolean(status->slowed) : json_null(), "posix_disk",
        answer->reachable ? json_boolean(status->posix) : json_null(), "behind", behind_or_null,
        "faulty", answer->reachable ? json_boolean(status->faulty) : json_null(), "bounded",
        answer->reachable ? json_boolean(status->bounded) : json_null(), "unmended",
        answer->reachable ? json_boolean(status->unmended) : json_null(), "full",
        answer->reachable ? json_boolean(status->full) : json_null(), "diverged",
        answer->reachable ? json_boolean(health->diverged >> node->id & 1) : json_null());
}

json_t *status_object(const struct config *config,
                      const struct ask_answer *answers,
                      const struct health *health)
{
    char cluster[17];
    (void)snprintf(cluster, sizeof cluster, "%016" PRIx64, config->cluster);
    json_t *nodes = json_array();
    for (uint32_t i = 0; i < config->node_count; i++) {
        (void)json_array_append_new(nodes, node_object(&config->nodes[i], &answers[i], health));
    }
    return json_pack("{s:s, s:o, s:b, s:b, s:o}", "cluster", cluster, "leader",
                     health->leader != 0 ? json_integer(health->leader) : json_null(), "available",
                     (int)health->available, "healthy", (int)health->healthy, "nodes", nodes);
}
