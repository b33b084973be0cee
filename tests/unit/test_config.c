/* test_config.c: the configuration file: what it means, and every way to write it wrong.
 */
#include "engine/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* The README's. */
#define EXAMPLE                                                                                    \
    "[cluster]\n"                                                                                  \
    "id = 9f3c0a4e5b6d7788\n"                                                                      \
    "[node 1]\n"                                                                                   \
    "address = 127.0.0.1:7001\n"                                                                   \
    "data = n1\n"                                                                                  \
    "[node 2]\n"                                                                                   \
    "address = 127.0.0.1:7002\n"                                                                   \
    "data = n2\n"                                                                                  \
    "[node 3]\n"                                                                                   \
    "address = 127.0.0.1:7003\n"                                                                   \
    "data = n3\n"                                                                                  \
    "[net]\n"                                                                                      \
    "spec = udp\n"                                                                                 \
    "[storage]\n"                                                                                  \
    "size = 256MiB\n"                                                                              \
    "durability = dsync\n"                                                                         \
    "[raft]\n"                                                                                     \
    "election = 150ms-300ms\n"                                                                     \
    "heartbeat = 15ms\n"

#define SHORTEST "[cluster]\nid = 1\n[node 7]\naddress = 10.0.0.1:7000\n"

static struct config parsed(const char *text)
{
    struct config config;
    struct fault fault = {0};
    int result = config_parse(&config, "/etc/thole/c.ini", text, (uint32_t)strlen(text), &fault);
    if (result != 0) {
        print_error("%s\n", fault.text);
    }
    assert_int_equal(result, 0);
    return config;
}

/* The text is refused, at this line, with these words. */
static void refused(const char *text, uint32_t line, const char *words)
{
    struct config config;
    struct fault fault = {0};
    char place[32];
    assert_int_equal(config_parse(&config, "c.ini", text, (uint32_t)strlen(text), &fault), -EINVAL);
    assert_int_equal(fault.code, FAULT_USAGE);
    snprintf(place, sizeof place, "c.ini:%u: ", line);
    if (strncmp(fault.text, place, strlen(place)) != 0 || strstr(fault.text, words) == NULL) {
        print_error("expected %s...%s\nfound    %s\n", place, words, fault.text);
        fail();
    }
    assert_int_equal(config.node_count, 0);
}

static void example_loads_as_it_stands(void **state)
{
    (void)state;
    struct config config = parsed(EXAMPLE);
    assert_true(config.cluster == 0x9f3c0a4e5b6d7788);
    assert_int_equal(config.node_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        char data[32];
        snprintf(data, sizeof data, "/etc/thole/n%u", i + 1);
        assert_int_equal(config.nodes[i].id, i + 1);
        assert_int_equal(config.nodes[i].address.ipv4, 0x7f000001);
        assert_int_equal(config.nodes[i].address.port, 7001 + i);
        assert_string_equal(config.nodes[i].data, data);
        assert_string_equal(config.nodes[i].spec, "udp");
    }
    assert_int_equal(config.size_bytes, 256u << 20);
    assert_int_equal(config.segment_bytes, SEGMENT_BYTES_DEFAULT);
    assert_int_equal(config.retention_bytes, 0);
    assert_int_equal(config.durability, CONFIG_DSYNC);
    assert_int_equal(config.election_min_ns, 150000000);
    assert_int_equal(config.election_max_ns, 300000000);
    assert_int_equal(config.heartbeat_ns, 15000000);
    assert_int_equal(config.disk_stall_ns, 1000000000);
}

static void example_loads_indented_with_windows_line_ends_and_comments(void **state)
{
    (void)state;
    char text[4096] = "\xef\xbb\xbf; a comment\r\n# another\r\n\r\n";
    size_t at = strlen(text);
    at += (size_t)snprintf(text + at, sizeof text - at, "    ");
    for (const char *c = EXAMPLE; *c != '\0'; c++) {
        bool ends = *c == '\n';
        at += (size_t)snprintf(text + at, sizeof text - at, ends ? " ; why\r\n \t " : "%c", *c);
    }
    struct config config = parsed(text);
    assert_int_equal(config.node_count, 3);
    assert_string_equal(config.nodes[2].data, "/etc/thole/n3");
}

static void every_key_is_read(void **state)
{
    (void)state;
    struct config config = parsed("[raft]\nelection=10ms-20ms\nheartbeat=1ms\ndisk_stall=2s\n"
                                  "catchup=5MiB\nscrub=0\nscrub_every=2min\n"
                                  "[storage]\nsize=8MiB\nsegment=1MiB\nretention=3MiB\n"
                                  "durability=memory\n[net]\nspec=af_packet:veth0\n"
                                  "[node 63]\naddress=10.1.2.3:65535\nspec=af_xdp:veth1,q=2\n"
                                  "[node 2]\naddress=10.1.2.4:1\ndata=/dev/sdb\n"
                                  "[cluster]\nid=ABCdef\n");
    assert_int_equal(config.cluster, 0xabcdef);
    assert_int_equal(config.nodes[0].id, 2); /* In their order. */
    assert_int_equal(config.nodes[1].id, 63);
    assert_int_equal(config.nodes[1].address.ipv4, 0x0a010203);
    assert_int_equal(config.nodes[1].address.port, 65535);
    assert_string_equal(config.nodes[0].spec, "af_packet:veth0");
    assert_string_equal(config.nodes[1].spec, "af_xdp:veth1,q=2");
    assert_string_equal(config.nodes[0].data, "/dev/sdb");
    assert_string_equal(config.nodes[1].data, "");
    assert_int_equal(config.size_bytes, 8u << 20);
    assert_int_equal(config.segment_bytes, 1u << 20);
    assert_int_equal(config.retention_bytes, 3u << 20);
    assert_int_equal(config.durability, CONFIG_MEMORY);
    assert_int_equal(config.heartbeat_ns, 1000000);
    assert_int_equal(config.disk_stall_ns, 2000000000);
    assert_int_equal(config.catchup_bytes_per_s, 5u << 20);
    assert_int_equal(parsed(EXAMPLE).catchup_bytes_per_s, CATCHUP_BYTES_PER_S);
    assert_int_equal(config.scrub_bytes_per_s, 0);
    assert_int_equal(config.scrub_every_ns, 120000000000);
    assert_int_equal(parsed(EXAMPLE).scrub_bytes_per_s, SCRUB_BYTES_PER_S);
    assert_int_equal(parsed(EXAMPLE).scrub_every_ns, SCRUB_EVERY_NS);
}

static void unknown_keys_and_sections_are_refused_with_what_is_allowed(void **state)
{
    (void)state;
    refused(SHORTEST "[storage]\nsise = 1MiB\n", 6,
            "allowed are size, segment, retention, durability");
    refused(SHORTEST "data = n\nid = 2\n", 6, "allowed are address, data, spec");
    refused(SHORTEST "[disk]\n", 5, "unknown section [disk]; allowed are [cluster]");
    refused(SHORTEST "[node]\n", 5, "unknown section");
    refused(SHORTEST "[Raft]\n", 5, "unknown section");
    refused(SHORTEST "[raft\n", 5, "closing ]");
    refused(SHORTEST "[raft] x = 1\n", 5, "behind the ]");
    refused("size = 1MiB\n" SHORTEST, 1, "before the first section");
    refused(SHORTEST "[raft]\nHeartbeat = 1ms\n", 6, "unknown key");
    refused(SHORTEST "[raft]\n= 1ms\n", 6, "unknown key");
}

static void doubled_keys_and_sections_are_refused_with_the_first_line(void **state)
{
    (void)state;
    refused(SHORTEST "address = 10.0.0.1:7000\n", 5,
            "`address` stands here a second time, first in line 4");
    refused(SHORTEST "[cluster]\n", 5, "[cluster] stands here a second time, first in line 1");
    refused(SHORTEST "\n[node 7]\n", 6, "[node 7] stands here a second time, first in line 3");
    refused(SHORTEST "[raft]\n[net]\n[raft]\n", 7, "first in line 5");
    refused(SHORTEST "[raft]\nheartbeat = 1ms\n   heartbeat = 2ms\n", 7, "first in line 6");
}

static void malformed_lines_are_refused(void **state)
{
    (void)state;
    char text[1024] = SHORTEST "data = ";
    refused(SHORTEST "data\n", 5, "neither");
    refused(SHORTEST "data\n[what]\n", 5, "neither");
    refused(SHORTEST "[what]\ndata\n", 5, "unknown section");
    refused(SHORTEST "data = n1 # mine\n", 5, "begins with ;");
    memset(text + strlen(text), 'x', 300);
    refused(text, 5, "a line longer than");
    struct config config;
    struct fault fault = {0};
    assert_int_equal(config_parse(&config, "c.ini", "\0\0", 2, &fault), -EINVAL);
    assert_non_null(strstr(fault.text, "not a text file"));
}

static void malformed_values_are_refused_with_their_form(void **state)
{
    (void)state;
    const struct {
        const char *section;
        const char *line;
        const char *form;
    } bad[] = {
        {"[net]", "spec = dpdk", "must be ring, udp, af_packet:IF"},
        {"[net]", "spec = af_xdp:", "must be ring"},
        {"[net]", "spec =", "must be ring"},
        {"[storage]", "size = big", "MiB"},
        {"[storage]", "size = 256MB", "MiB"},
        {"[storage]", "size = 100000001", "whole pages"},
        {"[storage]", "segment = 3MiB", "power of two"},
        {"[storage]", "segment = 128KiB", "256KiB to 1TiB"},
        {"[storage]", "segment = 2TiB", "256KiB to 1TiB"},
        {"[storage]", "retention = all", "MiB"},
        {"[storage]", "durability = fsync", "dsync or memory"},
        {"[raft]", "election = 150ms", "two durations"},
        {"[raft]", "election = 300ms-150ms", "shorter one first"},
        {"[raft]", "heartbeat = 15", "ms"},
        {"[raft]", "heartbeat = 0", "ms"},
        {"[raft]", "disk_stall = never", "ms"},
        {"[raft]", "catchup = 1023KiB", "from 1MiB to 1TiB"},
        {"[raft]", "catchup = 1025GiB", "from 1MiB to 1TiB"},
        {"[raft]", "catchup = 0", "from 1MiB to 1TiB"},
        {"[raft]", "catchup = max", "from 1MiB to 1TiB"},
        {"[raft]", "scrub = 1KiB", "0, or a size a second from 64KiB to 1TiB"},
        {"[raft]", "scrub = 1025GiB", "from 64KiB to 1TiB"},
        {"[raft]", "scrub = never", "from 64KiB to 1TiB"},
        {"[raft]", "scrub_every = 0s", "from 10ms to 8760h"},
        {"[raft]", "scrub_every = 8761h", "from 10ms to 8760h"},
        {"[raft]", "scrub_every = 60", "from 10ms to 8760h"},
    };
    for (uint32_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, SHORTEST "%s\n%s\n", bad[i].section, bad[i].line);
        refused(text, 6, bad[i].form);
    }
    const char *const ids[] = {"", "0", "x1", "0x1", "12345678901234567", "1 2", "-1"};
    for (uint32_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        char text[256];
        snprintf(text, sizeof text, "[cluster]\nid = %s\n", ids[i]);
        refused(text, 2, "hexadecimal");
    }
    const char *const addresses[] = {
        "",          "localhost:1",  "10.0.0.1",       "10.0.0.1:",      "10.0.0.1:0",
        "10.0.0:1",  "10.0.0.256:1", "10.0.0.1:65536", "10.0.0.01:7000", "10.0.0.1:7000x",
        "0.0.0.0:1", "10.0.0.1.2:1", "10.0.0.1 :1",    "[::1]:7000",     "10.0.0.1:99999999999",
    };
    for (uint32_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        char text[256];
        snprintf(text, sizeof text, "[cluster]\nid = 1\n[node 1]\naddress = %s\n", addresses[i]);
        refused(text, 4, "IPV4:PORT");
    }
    refused("[node 0]\n", 1, "a node's number is 1 to 63");
    refused("[node 64]\n", 1, "a node's number is 1 to 63");
    refused("[node 01]\n", 1, "a node's number is 1 to 63");
    refused("[node 1x]\n", 1, "a node's number is 1 to 63");
    refused("[node one]\n", 1, "a node's number is 1 to 63");
}

static void missing_things_are_refused_by_name(void **state)
{
    (void)state;
    refused("", 1, "`id` is missing in [cluster]");
    refused("[cluster]\n[node 1]\naddress = 10.0.0.1:1\n", 1, "`id` is missing");
    refused("[cluster]\nid = 1\n", 2, "no [node N]");
    refused("[cluster]\nid = 1\n[node 1]\ndata = n\n", 3, "`address` is missing in [node 1]");
    refused("[cluster]\nid = 1\n[node 1]\n[node 2]\n", 3, "`address` is missing in [node 1]");
}

static void clusters_that_cannot_work_are_refused(void **state)
{
    (void)state;
    refused(SHORTEST "[node 8]\naddress = 10.0.0.1:7000\n", 6,
            "[node 8] has the address of [node 7]");
    refused(SHORTEST "data = n\n[node 8]\naddress = 10.0.0.1:7001\ndata = n\n", 8,
            "[node 8] has the data of [node 7]");
    char text[1024] = "[cluster]\nid = 1\n";
    for (uint32_t i = 1; i <= 8; i++) {
        size_t at = strlen(text);
        snprintf(text + at, sizeof text - at, "[node %u]\naddress = 10.0.0.%u:1\n", i, i);
    }
    refused(text, 17, "more than 7 nodes");
    refused(SHORTEST "[storage]\nsize = 32MiB\n", 6, "4 to 65536 segments and what stands beside");
    refused(SHORTEST "[storage]\nsize = 64MiB\n", 6, "66 MiB"); /* What format would refuse. */
    refused(SHORTEST "[storage]\nsize = 1MiB\nsegment = 512KiB\n", 6, "4 MiB");
    refused(SHORTEST "[storage]\nsegment = 128MiB\n", 6, "514 MiB");
    refused(SHORTEST "[storage]\nretention = 1MiB\n", 6, "at least one segment");
    refused(SHORTEST "[storage]\nretention = 256MiB\n", 6, "at least one segment");
    refused(SHORTEST "[raft]\nelection = 150ms-150ms\n", 6, "leave room");
    refused(SHORTEST "[raft]\nheartbeat = 16ms\n", 6, "at most a tenth");
    refused(SHORTEST "[raft]\nelection = 10ms-20ms\n", 6,
            "at most a tenth of the shortest election timeout: 1 ms");
    refused(SHORTEST "[raft]\ndisk_stall = 200ms\n", 6,
            "at least the longest election timeout: 300 ms");
    refused(SHORTEST "[raft]\ndisk_stall = 6s\n", 6, "`disk_stall` must be at most 5 s");
}

static void node_is_found_by_its_number(void **state)
{
    (void)state;
    struct fault fault = {0};
    struct config config = parsed(EXAMPLE);
    const struct config_node *node = config_node_of(&config, 2, &fault);
    assert_non_null(node);
    assert_int_equal(node->id, 2);
    assert_null(config_node_of(&config, 4, &fault));
    assert_int_equal(fault.code, FAULT_USAGE);
    assert_non_null(strstr(fault.text, "no [node 4] in the configuration; there are: 1 2 3"));
    assert_null(config_node_of(&config, 257 + 1, &fault));
    config = parsed(SHORTEST); /* Enough for a client. */
    assert_null(config_node_of(&config, 7, &fault));
    assert_non_null(strstr(fault.text, "`data` is missing in [node 7]"));
    config.durability = CONFIG_MEMORY;
    assert_non_null(config_node_of(&config, 7, &fault));
}

static void file_is_read_and_its_absence_told(void **state)
{
    (void)state;
    char path[] = "/tmp/test_config_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, EXAMPLE, strlen(EXAMPLE)), strlen(EXAMPLE));
    close(fd);
    struct config config;
    struct fault fault = {0};
    assert_int_equal(config_load(&config, path, &fault), 0);
    assert_string_equal(config.nodes[0].data, "/tmp/n1");
    unlink(path);
    assert_int_equal(config_load(&config, path, &fault), -ENOENT);
    assert_int_equal(fault.code, FAULT_USAGE);
    assert_non_null(strstr(fault.text, path));
    assert_int_equal(config_load(&config, "/", &fault), -EISDIR);
    assert_int_equal(config_load(&config, "/dev/zero", &fault), -EINVAL);
    assert_non_null(strstr(fault.text, "longer than 65536 bytes"));
}

static void relative_paths_begin_where_the_file_is(void **state)
{
    (void)state;
    struct config config;
    struct fault fault = {0};
    const char text[] = SHORTEST "data = d/n1\n";
    assert_int_equal(config_parse(&config, "c.ini", text, sizeof text - 1, &fault), 0);
    assert_string_equal(config.nodes[0].data, "d/n1");
    assert_int_equal(config_parse(&config, "../x/c.ini", text, sizeof text - 1, &fault), 0);
    assert_string_equal(config.nodes[0].data, "../x/d/n1");
}

static void local_configuration_is_sound(void **state)
{
    (void)state;
    for (uint32_t count = 1; count <= VOTERS_MAX; count++) {
        struct config config;
        config_default_local(&config, count);
        assert_int_equal(config.node_count, count);
        assert_int_not_equal(config.cluster, 0);
        assert_string_equal(config.nodes[count - 1].spec, "ring");
        assert_int_equal(config.nodes[count - 1].id, count);
        for (uint32_t i = 1; i < count; i++) {
            assert_int_not_equal(config.nodes[i].address.ipv4, config.nodes[i - 1].address.ipv4);
        }
        assert_true(config.heartbeat_ns * 10 <= config.election_min_ns);
    }
    struct config config;
    expect_assert_failure(config_default_local(&config, 0));
    expect_assert_failure(config_default_local(&config, VOTERS_MAX + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(example_loads_as_it_stands),
        cmocka_unit_test(example_loads_indented_with_windows_line_ends_and_comments),
        cmocka_unit_test(every_key_is_read),
        cmocka_unit_test(unknown_keys_and_sections_are_refused_with_what_is_allowed),
        cmocka_unit_test(doubled_keys_and_sections_are_refused_with_the_first_line),
        cmocka_unit_test(malformed_lines_are_refused),
        cmocka_unit_test(malformed_values_are_refused_with_their_form),
        cmocka_unit_test(missing_things_are_refused_by_name),
        cmocka_unit_test(clusters_that_cannot_work_are_refused),
        cmocka_unit_test(node_is_found_by_its_number),
        cmocka_unit_test(file_is_read_and_its_absence_told),
        cmocka_unit_test(relative_paths_begin_where_the_file_is),
        cmocka_unit_test(local_configuration_is_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
