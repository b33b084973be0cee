/* config.c: see config.h.
 *
 * libinih splits keys from values; lines and section headers are seen by the reader that feeds it,
 * so that every message has a line and an empty or doubled section does not pass unseen. Keys are a
 * table: a name, where it belongs, who reads its value, and what to say when that fails.
 */
#include "engine/config.h"

#include "engine/base/units.h"
#include "net/spec.h"
#include "storage/segment.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALLOWED_SECTIONS "[cluster], [node 1] to [node 63], [net], [storage], [raft]"
enum section {
    SECTION_NONE,
    SECTION_CLUSTER,
    SECTION_NODE,
    SECTION_NET,
    SECTION_STORAGE,
    SECTION_RAFT
};

enum key {
    KEY_ID,
    KEY_ADDRESS,
    KEY_DATA,
    KEY_NODE_SPEC,
    KEY_NET_SPEC,
    KEY_SIZE,
    KEY_SEGMENT,
    KEY_RETENTION,
    KEY_DURABILITY,
    KEY_ELECTION,
    KEY_HEARTBEAT,
    KEY_DISK_STALL,
    KEY_CATCHUP,
    KEY_SCRUB,
    KEY_SCRUB_EVERY,
    KEY_COUNT
};

struct parse {
    struct config *config;
    struct fault *fault;
    const char *path;
    const char *text;
    uint32_t text_bytes;
    uint32_t at;
    uint32_t line;       /* Of what the handler is given. */
    uint32_t fault_line; /* 0: none told yet. */
    enum section section;
    struct config_node *node;                  /* Of SECTION_NODE. */
    uint32_t section_lines[SECTION_RAFT + 1];  /* 0: not seen. */
    uint32_t node_lines[VOTERS_MAX];           /* Of the section. */
    uint32_t key_lines[VOTERS_MAX][KEY_COUNT]; /* [0] for keys of other sections. */
};

static void refuse(struct parse *parse, uint32_t line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The first fault is the one told. */
static void refuse(struct parse *parse, uint32_t line, const char *format, ...)
{
    ASSERT(line > 0);
    if (parse->fault_line != 0) {
        return;
    }
    char why[FAULT_TEXT_BYTES / 2];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    parse->fault_line = line;
    fault_set(parse->fault, FAULT_USAGE, "%.200s:%u: %s", parse->path, line, why);
}

/* ---- Values. ---- */

static bool set_id(struct parse *parse, const char *value)
{
    uint64_t id = 0;
    size_t digits = strspn(value, "0123456789abcdefABCDEF");
    if (digits == 0 || digits > 16 || value[digits] != '\0') {
        return false;
    }
    for (size_t i = 0; i < digits; i++) {
        uint32_t c = (uint32_t)value[i];
        id = id << 4 | (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    parse->config->cluster = id;
    return id != 0;
}

/* A decimal number of at most `most`, without needless zeros; moves *text behind it. */
static bool take_number(const char **text, uint32_t most, uint32_t *number)
{
    const char *c = *text;
    uint32_t value = 0;
    if (*c < '0' || *c > '9' || (*c == '0' && c[1] >= '0' && c[1] <= '9')) {
        return false;
    }
    for (; *c >= '0' && *c <= '9'; c++) {
        value = value * 10 + (uint32_t)(*c - '0');
        if (value > most) {
            return false;
        }
    }
    *text = c;
    *number = value;
    return true;
}

bool config_parse_address(const char *text, struct nic_address *address)
{
    uint32_t ipv4 = 0;
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t byte = 0;
        if (!take_number(&text, 255, &byte) || *text++ != (i < 3 ? '.' : ':')) {
            return false;
        }
        ipv4 = ipv4 << 8 | byte;
    }
    uint32_t port = 0;
    if (!take_number(&text, 65535, &port) || *text != '\0' || port == 0 || ipv4 == 0) {
        return false;
    }
    *address = (struct nic_address){.ipv4 = ipv4, .port = (uint16_t)port};
    return true;
}

static bool set_address(struct parse *parse, const char *value)
{
    ASSERT(parse->node != NULL);
    return config_parse_address(value, &parse->node->address);
}

/* A relative path begins where the file is. */
static bool set_data(struct parse *parse, const char *value)
{
    const char *slash = strrchr(parse->path, '/');
    int folder_bytes = value[0] == '/' || slash == NULL ? 0 : (int)(slash - parse->path) + 1;
    ASSERT(parse->node != NULL);
    int bytes =
        snprintf(parse->node->data, CONFIG_PATH_BYTES, "%.*s%s", folder_bytes, parse->path, value);
    return value[0] != '\0' && bytes > 0 && (uint32_t)bytes < CONFIG_PATH_BYTES;
}

static bool spec_is_sound(const char *value)
{
    struct nic_spec spec;
    return nic_spec_parse(value, &spec);
}

static bool set_node_spec(struct parse *parse, const char *value)
{
    ASSERT(parse->node != NULL);
    snprintf(parse->node->spec, CONFIG_SPEC_BYTES, "%s", value);
    return spec_is_sound(value);
}

static bool set_net_spec(struct parse *parse, const char *value)
{
    snprintf(parse->config->spec, CONFIG_SPEC_BYTES, "%s", value);
    return spec_is_sound(value);
}

static bool set_size(struct parse *parse, const char *value)
{
    return units_parse_size(value, &parse->config->size_bytes) &&
           parse->config->size_bytes % PAGE_BYTES == 0;
}

static bool set_segment(struct parse *parse, const char *value)
{
    uint64_t bytes = 0;
    bool sound = units_parse_size(value, &bytes) && bytes >= SEGMENT_BYTES_MIN &&
                 bytes <= SEGMENT_BYTES_MAX && (bytes & (bytes - 1)) == 0;
    parse->config->segment_bytes = bytes;
    return sound;
}

static bool set_retention(struct parse *parse, const char *value)
{
    return units_parse_size(value, &parse->config->retention_bytes);
}

static bool set_durability(struct parse *parse, const char *value)
{
    bool memory = strcmp(value, "memory") == 0;
    parse->config->durability = memory ? CONFIG_MEMORY : CONFIG_DSYNC;
    return memory || strcmp(value, "dsync") == 0;
}

static bool set_election(struct parse *parse, const char *value)
{
    return units_parse_range(value, &parse->config->election_min_ns,
                             &parse->config->election_max_ns);
}

static bool set_heartbeat(struct parse *parse, const char *value)
{
    return units_parse_duration(value, &parse->config->heartbeat_ns) &&
           parse->config->heartbeat_ns > 0;
}

static bool set_disk_stall(struct parse *parse, const char *value)
{
    return units_parse_duration(value, &parse->config->disk_stall_ns);
}

static bool set_catchup(struct parse *parse, const char *value)
{
    uint64_t bytes = 0;
    bool sound = units_parse_size(value, &bytes) && bytes >= CATCHUP_BYTES_PER_S_MIN &&
                 bytes <= CATCHUP_BYTES_PER_S_MAX;
    parse->config->catchup_bytes_per_s = bytes;
    return sound;
}

static bool set_scrub(struct parse *parse, const char *value)
{
    uint64_t bytes = 0;
    bool sound = units_parse_size(value, &bytes) &&
                 (bytes == 0 || bytes >= SCRUB_BYTES_PER_S_MIN) && bytes <= SCRUB_BYTES_PER_S_MAX;
    parse->config->scrub_bytes_per_s = bytes;
    return sound;
}

static bool set_scrub_every(struct parse *parse, const char *value)
{
    uint64_t every_ns = 0;
    bool sound = units_parse_duration(value, &every_ns) && every_ns >= SCRUB_EVERY_NS_MIN &&
                 every_ns <= SCRUB_EVERY_NS_MAX;
    parse->config->scrub_every_ns = every_ns;
    return sound;
}

static const struct {
    enum section section;
    const char *name;
    bool (*set)(struct parse *parse, const char *value);
    const char *form;
} keys[KEY_COUNT] = {
    [KEY_ID] = {SECTION_CLUSTER, "id", set_id, "1 to 16 hexadecimal digits, not 0"},
    [KEY_ADDRESS] = {SECTION_NODE, "address", set_address, "IPV4:PORT, e.g. 127.0.0.1:7001"},
    [KEY_DATA] = {SECTION_NODE, "data", set_data, "a path shorter than 512 bytes"},
    [KEY_NODE_SPEC] = {SECTION_NODE, "spec", set_node_spec, NIC_SPEC_FORM},
    [KEY_NET_SPEC] = {SECTION_NET, "spec", set_net_spec, NIC_SPEC_FORM},
    [KEY_SIZE] = {SECTION_STORAGE, "size", set_size, UNITS_SIZE_FORM ", in whole pages of 4KiB"},
    [KEY_SEGMENT] = {SECTION_STORAGE, "segment", set_segment, "a power of two, 256KiB to 1TiB"},
    [KEY_RETENTION] = {SECTION_STORAGE, "retention", set_retention, UNITS_SIZE_FORM},
    [KEY_DURABILITY] = {SECTION_STORAGE, "durability", set_durability, "dsync or memory"},
    [KEY_ELECTION] = {SECTION_RAFT, "election", set_election, UNITS_RANGE_FORM},
    [KEY_HEARTBEAT] = {SECTION_RAFT, "heartbeat", set_heartbeat, UNITS_DURATION_FORM},
    [KEY_DISK_STALL] = {SECTION_RAFT, "disk_stall", set_disk_stall, UNITS_DURATION_FORM},
    [KEY_CATCHUP] = {SECTION_RAFT, "catchup", set_catchup,
                     "a size a second from 1MiB to 1TiB, e.g. 64MiB"},
    [KEY_SCRUB] = {SECTION_RAFT, "scrub", set_scrub,
                   "0, or a size a second from 64KiB to 1TiB, e.g. 4MiB"},
    [KEY_SCRUB_EVERY] = {SECTION_RAFT, "scrub_every", set_scrub_every,
                         "a duration from 10ms to 8760h, e.g. 1h"},
};

_Static_assert(SEGMENT_BYTES_MIN == 256 * 1024, "the form of `segment` names it");
_Static_assert(CATCHUP_BYTES_PER_S_MIN == 1ull << 20, "the form of `catchup` names it");
_Static_assert(CATCHUP_BYTES_PER_S_MAX == 1ull << 40, "the form of `catchup` names it");
_Static_assert(SCRUB_BYTES_PER_S_MIN == 64u << 10, "the form of `scrub` names it");
_Static_assert(SCRUB_BYTES_PER_S_MAX == 1ull << 40, "the form of `scrub` names it");
_Static_assert(SCRUB_EVERY_NS_MIN == 10000000, "the form of `scrub_every` names it");
_Static_assert(SCRUB_EVERY_NS_MAX / 3600000000000ull == 8760, "the form of `scrub_every` names it");
_Static_assert(NODE_ID_MAX == 63, "the allowed sections name it");

static const char *section_name(enum section section)
{
    static const char *const names[] = {"", "cluster", "node", "net", "storage", "raft"};
    return names[section];
}

/* ---- Lines. ---- */

/* [node N]: a new node. */
static void begin_node(struct parse *parse, const char *name)
{
    struct config *config = parse->config;
    const char *digits = name + strlen("node ");
    uint32_t id = 0;
    if (!take_number(&digits, NODE_ID_MAX, &id) || *digits != '\0' || id == 0) {
        refuse(parse, parse->line, "[%.40s]: a node's number is 1 to %u", name, NODE_ID_MAX);
        return;
    }
    for (uint32_t i = 0; i < config->node_count; i++) {
        if (config->nodes[i].id == id) {
            refuse(parse, parse->line, "[node %u] stands here a second time, first in line %u", id,
                   parse->node_lines[i]);
            return;
        }
    }
    if (config->node_count == VOTERS_MAX) {
        refuse(parse, parse->line, "more than %u nodes", VOTERS_MAX);
        return;
    }
    parse->node_lines[config->node_count] = parse->line;
    parse->section = SECTION_NODE;
    parse->node = &config->nodes[config->node_count++];
    parse->node->id = (uint8_t)id;
}

static void begin_section(struct parse *parse, const char *name)
{
    if (strncmp(name, "node ", strlen("node ")) == 0) {
        begin_node(parse, name);
        return;
    }
    for (enum section section = SECTION_CLUSTER; section <= SECTION_RAFT; section++) {
        if (section == SECTION_NODE || strcmp(name, section_name(section)) != 0) {
            continue;
        }
        if (parse->section_lines[section] != 0) {
            refuse(parse, parse->line, "[%s] stands here a second time, first in line %u", name,
                   parse->section_lines[section]);
        }
        parse->section_lines[section] = parse->line;
        parse->section = section;
        return;
    }
    refuse(parse, parse->line, "unknown section [%.40s]; allowed are " ALLOWED_SECTIONS, name);
}

/* A line that begins with a bracket. */
static void see_section(struct parse *parse, const char *line)
{
    char name[64];
    const char *close = strchr(line, ']');
    if (close == NULL) {
        refuse(parse, parse->line, "a section without its closing ]");
        return;
    }
    const char *rest = close + 1 + strspn(close + 1, " \t\r\n");
    if (*rest != '\0' && *rest != ';' && *rest != '#') {
        refuse(parse, parse->line, "something stands behind the ] of a section");
        return;
    }
    snprintf(name, sizeof name, "%.*s", (int)(close - line - 1), line + 1);
    begin_section(parse, name);
}

/* libinih's reader: the next line, without the blanks before it (they would make it a continuation
 * of the line above). NULL at the end, and after a fault. */
static char *read_line(char *to, int to_bytes, void *context)
{
    struct parse *parse = context;
    if (parse->at >= parse->text_bytes || parse->fault_line != 0) {
        return NULL;
    }
    const char *from = parse->text + parse->at;
    uint32_t rest_bytes = parse->text_bytes - parse->at;
    const char *newline = memchr(from, '\n', rest_bytes);
    uint32_t bytes = newline == NULL ? rest_bytes : (uint32_t)(newline - from) + 1;
    parse->at += bytes;
    parse->line++;
    if (parse->line == 1 && bytes >= 3 && memcmp(from, "\xef\xbb\xbf", 3) == 0) {
        from += 3; /* A byte order mark. */
        bytes -= 3;
    }
    while (bytes > 0 && (*from == ' ' || *from == '\t')) {
        from++;
        bytes--;
    }
    if (bytes + 1 > (uint32_t)to_bytes) {
        refuse(parse, parse->line, "a line longer than %d bytes", to_bytes - 2);
        return NULL;
    }
    memcpy(to, from, bytes);
    to[bytes] = '\0';
    if (to[0] == '[') {
        see_section(parse, to);
    }
    return parse->fault_line == 0 ? to : NULL;
}

/* The keys of a section, for a message. */
static void list_keys(enum section section, char *text, uint32_t text_bytes)
{
    uint32_t at = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < KEY_COUNT; i++) {
        if (keys[i].section == section && at < text_bytes) {
            at += (uint32_t)snprintf(text + at, text_bytes - at, "%s%s", at == 0 ? "" : ", ",
                                     keys[i].name);
        }
    }
}

/* libinih's handler: a key and its value. 0: refused. */
static int take_key(void *context, const char *section, const char *name, const char *value)
{
    (void)section; /* The reader knows it. */
    struct parse *parse = context;
    if (parse->section == SECTION_NONE) {
        refuse(parse, parse->line, "`%.40s` before the first section", name);
        return 0;
    }
    uint32_t key = 0;
    while (key < KEY_COUNT &&
           (keys[key].section != parse->section || strcmp(keys[key].name, name) != 0)) {
        key++;
    }
    if (key == KEY_COUNT) {
        char allowed[128];
        list_keys(parse->section, allowed, sizeof allowed);
        refuse(parse, parse->line, "unknown key `%.40s` in [%s]; allowed are %s", name,
               section_name(parse->section), allowed);
        return 0;
    }
    uint32_t place =
        parse->section == SECTION_NODE ? (uint32_t)(parse->node - parse->config->nodes) : 0;
    uint32_t *line = &parse->key_lines[place][key];
    if (*line != 0) {
        refuse(parse, parse->line, "`%s` stands here a second time, first in line %u", name, *line);
        return 0;
    }
    *line = parse->line;
    if (strstr(value, " #") != NULL || strstr(value, "\t#") != NULL) {
        refuse(parse, parse->line, "`%s`: a comment behind a value begins with ;", name);
        return 0;
    }
    if (!keys[key].set(parse, value)) {
        refuse(parse, parse->line, "`%s = %.60s`: must be %s", name, value, keys[key].form);
        return 0;
    }
    return 1;
}

/* ---- The whole. ---- */

/* The line to blame for a value: its own, or that of its section, or the last one. */
static uint32_t line_of(const struct parse *parse, enum key key)
{
    uint32_t line = parse->key_lines[0][key];
    line = line != 0 ? line : parse->section_lines[keys[key].section];
    return line != 0 ? line : parse->line;
}

static void check_nodes(struct parse *parse)
{
    struct config *config = parse->config;
    if (parse->key_lines[0][KEY_ID] == 0) {
        refuse(parse, line_of(parse, KEY_ID), "`id` is missing in [cluster]: %s",
               keys[KEY_ID].form);
    }
    if (config->node_count == 0) {
        refuse(parse, parse->line, "no [node N]: a cluster has 1 to %u", VOTERS_MAX);
    }
    for (uint32_t i = 0; i < config->node_count; i++) {
        const struct config_node *node = &config->nodes[i];
        if (parse->key_lines[i][KEY_ADDRESS] == 0) {
            refuse(parse, parse->node_lines[i], "`address` is missing in [node %u]: %s", node->id,
                   keys[KEY_ADDRESS].form);
            return;
        }
        for (uint32_t j = 0; j < i; j++) {
            const struct config_node *other = &config->nodes[j];
            if (nic_address_equal(node->address, other->address)) {
                refuse(parse, parse->key_lines[i][KEY_ADDRESS],
                       "[node %u] has the address of [node %u]", node->id, other->id);
            }
            if (node->data[0] != '\0' && strcmp(node->data, other->data) == 0) {
                refuse(parse, parse->key_lines[i][KEY_DATA], "[node %u] has the data of [node %u]",
                       node->id, other->id);
            }
        }
    }
}

static void check_storage(struct parse *parse)
{
    const struct config *config = parse->config;
    uint64_t bytes_min = geometry_file_bytes_min(config->segment_bytes);
    char least[UNITS_TEXT_BYTES];
    char most[UNITS_TEXT_BYTES];
    if (config->size_bytes < bytes_min ||
        config->size_bytes / config->segment_bytes > SEGMENTS_MAX) {
        units_format_size(bytes_min, least);
        units_format_size(config->segment_bytes * SEGMENTS_MAX, most);
        uint32_t line = line_of(parse, parse->key_lines[0][KEY_SIZE] != 0 ? KEY_SIZE : KEY_SEGMENT);
        refuse(parse, line,
               "`size` must be %u to %u segments and what stands beside them: %s to %s; `segment` "
               "sets how large one is",
               SEGMENTS_MIN, SEGMENTS_MAX, least, most);
        return;
    }
    struct geometry geometry;
    bool fits =
        geometry_fit(&geometry, config->size_bytes, config->segment_bytes, WRITE_WINDOW_BYTES);
    ASSERT(fits); /* It is at least the smallest. */
    uint64_t retention_max = geometry_retention_max(&geometry);
    if (parse->key_lines[0][KEY_RETENTION] != 0 &&
        (config->retention_bytes < config->segment_bytes ||
         config->retention_bytes > retention_max)) {
        units_format_size(config->segment_bytes, least);
        units_format_size(retention_max, most);
        refuse(
            parse, line_of(parse, KEY_RETENTION),
            "`retention` must be at least one segment, and leave room in `size` for two more and a "
            "reserve: %s to %s",
            least, most);
    }
}

static void check_raft(struct parse *parse)
{
    const struct config *config = parse->config;
    char text[UNITS_TEXT_BYTES];
    if (config->election_max_ns == config->election_min_ns) {
        refuse(parse, line_of(parse, KEY_ELECTION),
               "`election` must leave room for chance: its second duration above its first");
    }
    if (config->heartbeat_ns > config->election_min_ns / 10) {
        units_format_duration(config->election_min_ns / 10, text);
        bool given = parse->key_lines[0][KEY_HEARTBEAT] != 0;
        refuse(parse, line_of(parse, given ? KEY_HEARTBEAT : KEY_ELECTION),
               "`heartbeat` must be at most a tenth of the shortest election timeout: %s", text);
    }
    if (config->disk_stall_ns < config->election_max_ns) {
        units_format_duration(config->election_max_ns, text);
        bool given = parse->key_lines[0][KEY_DISK_STALL] != 0;
        refuse(parse, line_of(parse, given ? KEY_DISK_STALL : KEY_ELECTION),
               "`disk_stall` must be at least the longest election timeout: %s", text);
    }
    if (config->disk_stall_ns > DISK_DEAD_NS / 2) { /* With it, the longest sleep of a loop. */
        units_format_duration(DISK_DEAD_NS / 2, text);
        refuse(parse, line_of(parse, KEY_DISK_STALL),
               "`disk_stall` must be at most %s: a disk is given up after twice that", text);
    }
}

static void set_defaults(struct config *config)
{
    *config = (struct config){
        .spec = "udp",
        .durability = CONFIG_DSYNC,
        .size_bytes = 256ull << 20,
        .segment_bytes = SEGMENT_BYTES_DEFAULT,
        .election_min_ns = 150000000,
        .election_max_ns = 300000000,
        .heartbeat_ns = 15000000,
        .disk_stall_ns = 1000000000,
        .catchup_bytes_per_s = CATCHUP_BYTES_PER_S,
        .scrub_bytes_per_s = SCRUB_BYTES_PER_S,
        .scrub_every_ns = SCRUB_EVERY_NS,
    };
}

static void finish_nodes(struct config *config)
{
    for (uint32_t i = 0; i < config->node_count; i++) {
        struct config_node node = config->nodes[i];
        if (node.spec[0] == '\0') {
            memcpy(node.spec, config->spec, sizeof node.spec);
        }
        uint32_t place = i;
        for (; place > 0 && config->nodes[place - 1].id > node.id; place--) {
            config->nodes[place] = config->nodes[place - 1];
        }
        config->nodes[place] = node;
    }
}

int config_parse(struct config *config,
                 const char *path,
                 const char *text,
                 uint32_t text_bytes,
                 struct fault *fault)
{
    ASSERT(path != NULL);
    ASSERT(text_bytes <= CONFIG_FILE_BYTES_MAX);
    struct parse parse = {
        .config = config,
        .fault = fault,
        .path = path,
        .text = text,
        .text_bytes = text_bytes,
    };
    set_defaults(config);
    if (text_bytes > 0 && memchr(text, '\0', text_bytes) != NULL) {
        fault_set(fault, FAULT_USAGE, "%.200s: not a text file", path);
        return -EINVAL;
    }
    int syntax_line = ini_parse_stream(read_line, &parse, take_key, &parse);
    parse.line = parse.line == 0 ? 1 : parse.line;
    if (syntax_line > 0 && (parse.fault_line == 0 || (uint32_t)syntax_line < parse.fault_line)) {
        parse.fault_line = 0;
        refuse(&parse, (uint32_t)syntax_line, "neither `key = value` nor [section] nor ; comment");
    }
    if (parse.fault_line == 0) {
        check_nodes(&parse);
        check_storage(&parse);
        check_raft(&parse);
    }
    if (parse.fault_line != 0) {
        *config = (struct config){0};
        return -EINVAL;
    }
    finish_nodes(config);
    return 0;
}

/* The whole of a file into `text`, of CONFIG_FILE_BYTES_MAX + 1 bytes: how many, or -errno. */
static int64_t read_file(const char *path, char *text, struct fault *fault)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        int error = errno;
        fault_set(fault, FAULT_USAGE, "cannot read the configuration %.200s: %s", path,
                  strerror(error));
        return -error;
    }
    errno = 0;
    size_t bytes = fread(text, 1, CONFIG_FILE_BYTES_MAX + 1, file);
    int error = ferror(file) != 0 ? (errno != 0 ? errno : EIO) : 0;
    fclose(file);
    if (error != 0) {
        fault_set(fault, FAULT_USAGE, "cannot read the configuration %.200s: %s", path,
                  strerror(error));
        return -error;
    }
    if (bytes > CONFIG_FILE_BYTES_MAX) {
        fault_set(fault, FAULT_USAGE, "%.200s: longer than %u bytes: not a configuration", path,
                  CONFIG_FILE_BYTES_MAX);
        return -EINVAL;
    }
    return (int64_t)bytes;
}

int config_load(struct config *config, const char *path, struct fault *fault)
{
    ASSERT(config != NULL);
    ASSERT(path != NULL);
    char *text =
        malloc(CONFIG_FILE_BYTES_MAX + 1); /* Too much for the stack of a caller's thread. */
    if (text == NULL) {
        fault_set(fault, FAULT_ENVIRONMENT, "no memory to read the configuration %.200s", path);
        return -ENOMEM;
    }
    int64_t bytes = read_file(path, text, fault);
    int result = bytes < 0 ? (int)bytes : config_parse(config, path, text, (uint32_t)bytes, fault);
    free(text);
    return result;
}

const struct config_node *
config_node_of(const struct config *config, uint32_t id, struct fault *fault)
{
    ASSERT(config->node_count >= 1);
    ASSERT(config->node_count <= VOTERS_MAX);
    for (uint32_t i = 0; i < config->node_count; i++) {
        const struct config_node *node = &config->nodes[i];
        if (node->id != id) {
            continue;
        }
        if (config->durability == CONFIG_DSYNC && node->data[0] == '\0') {
            fault_set(fault, FAULT_USAGE, "`data` is missing in [node %u]: where its log stands",
                      id);
            return NULL;
        }
        return node;
    }
    char ids[64] = "";
    uint32_t at = 0;
    for (uint32_t i = 0; i < config->node_count; i++) {
        at += (uint32_t)snprintf(ids + at, sizeof ids - at, " %u", config->nodes[i].id);
    }
    fault_set(fault, FAULT_USAGE, "no [node %u] in the configuration; there are:%s", id, ids);
    return NULL;
}

void config_default_local(struct config *config, uint32_t node_count)
{
    ASSERT(node_count >= 1);
    ASSERT(node_count <= VOTERS_MAX);
    set_defaults(config);
    config->cluster = 1;
    config->node_count = node_count;
    memcpy(config->spec, "ring", sizeof "ring");
    for (uint32_t i = 0; i < node_count; i++) {
        struct config_node *node = &config->nodes[i];
        node->id = (uint8_t)(i + 1);
        node->address = (struct nic_address){.ipv4 = 0x0a6f0001u + i, .port = 7000};
        memcpy(node->spec, "ring", sizeof "ring");
        snprintf(node->data, CONFIG_PATH_BYTES, "n%u", i + 1);
    }
}
