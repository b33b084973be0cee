/* fuzz_config.c: any text as a configuration: it is refused with a message, or keeps its promises.
 */
#include "engine/config.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_config(const struct config *config)
{
    ASSERT(config->cluster != 0);
    ASSERT(config->node_count >= 1);
    ASSERT(config->node_count <= VOTERS_MAX);
    ASSERT(config->size_bytes >= SEGMENTS_MIN * config->segment_bytes);
    ASSERT(config->segment_bytes >= SEGMENT_BYTES_MIN);
    ASSERT((config->segment_bytes & (config->segment_bytes - 1)) == 0);
    ASSERT(config->heartbeat_ns > 0);
    ASSERT(config->heartbeat_ns <= config->election_min_ns / 10);
    ASSERT(config->election_min_ns < config->election_max_ns);
    ASSERT(config->disk_stall_ns >= config->election_max_ns);
    for (uint32_t i = 0; i < config->node_count; i++) {
        const struct config_node *node = &config->nodes[i];
        ASSERT(node->id >= 1);
        ASSERT(node->id <= NODE_ID_MAX);
        ASSERT(i == 0 || config->nodes[i - 1].id < node->id);
        ASSERT(node->address.port != 0);
        ASSERT(memchr(node->data, '\0', sizeof node->data) != NULL);
        ASSERT(node->spec[0] != '\0');
        ASSERT(memchr(node->spec, '\0', sizeof node->spec) != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > CONFIG_FILE_BYTES_MAX) {
        return 0;
    }
    struct config config;
    struct fault fault = {0};
    int result = config_parse(&config, "dir/c.ini", (const char *)data, (uint32_t)size, &fault);
    if (result == 0) {
        ASSERT(fault.code == 0);
        check_config(&config);
    } else {
        ASSERT(fault.code == FAULT_USAGE);
        ASSERT(strncmp(fault.text, "dir/c.ini:", strlen("dir/c.ini:")) == 0);
        ASSERT(config.node_count == 0 || memchr(data, '\0', size) != NULL);
    }
    return 0;
}
