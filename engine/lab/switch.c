/* switch.c: see switch.h. Made with ip(8) and bridge(8), broken with nft(8). */
#define _GNU_SOURCE
#include "engine/lab/switch.h"

#include "engine/base/clock.h"
#include "engine/lab/place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PATIENCE_NS 30000000000ull /* Of a port that does not begin to forward. */
#define LOOK_NS     20000000
#define ALL_PPM     1000000u

/* One command has one text at a time, in and out. */
static char text_in[LAB_TEXT_BYTES];
static char text_out[LAB_TEXT_BYTES];

static struct lab_text fresh_text(void)
{
    return (struct lab_text){.bytes = text_in, .max = sizeof text_in};
}

static int
ip(const struct lab *lab, uint32_t host, const struct lab_text *text, struct fault *fault)
{
    static const char *const command[] = {"ip", "-batch", "-", NULL};
    const struct lab_tool tool = {.words = command, .input = text->bytes};
    return lab_run(lab, host, &tool, fault);
}

static int nft(const struct lab *lab, const struct lab_text *text, struct fault *fault)
{
    static const char *const command[] = {"nft", "-f", "-", NULL};
    const struct lab_tool tool = {.words = command, .input = text->bytes};
    return lab_run(lab, LAB_SWITCH, &tool, fault);
}

static void nap(uint64_t ns)
{
    struct timespec time = {.tv_sec = (time_t)(ns / CLOCK_NS_PER_S),
                            .tv_nsec = (long)(ns % CLOCK_NS_PER_S)};
    while (nanosleep(&time, &time) != 0 && errno == EINTR) {
    }
}

/* ---- How it is made. ---- */

static int make_bridge(const struct lab *lab, struct fault *fault)
{
    struct lab_text text = fresh_text();
    lab_text_add(&text, "link add name br0 type bridge stp_state 0 mcast_snooping 0\n"
                        "link set br0 addrgenmode none\nlink set br0 up\n");
    for (uint32_t i = 0; i < lab->host_count; i++) {
        const char *name = lab->hosts[i].name;
        char path[LAB_NAMESPACE_BYTES];
        lab_namespace(lab, i, path);
        lab_text_add(&text,
                     "link add name %s type veth peer name eth0 netns %s\n"
                     "link set dev %s addrgenmode none\n"
                     "link set dev %s master br0\nlink set dev %s up\n",
                     name, path, name, name, name);
    }
    return ip(lab, LAB_SWITCH, &text, fault);
}

static int make_host(const struct lab *lab, uint32_t number, bool with_address, struct fault *fault)
{
    struct lab_text text = fresh_text();
    lab_text_add(&text, "link set lo up\nlink set eth0 addrgenmode none\n");
    if (with_address) {
        lab_text_add(&text, "addr add %s/24 dev eth0\n", lab->hosts[number].address);
    }
    lab_text_add(&text, "link set eth0 up\n");
    return ip(lab, number, &text, fault);
}

static int make_faults(const struct lab *lab, struct fault *fault)
{
    struct lab_text text = fresh_text();
    lab_text_add(&text, "table bridge faults {\n"
                        "counter cut { }\ncounter one_way_cut { }\ncounter lost { }\n"
                        "set cuts { type ifname . ifname; }\n"
                        "set one_way_cuts { type ifname . ifname; }\n"
                        "chain loss { }\n"
                        "chain forward {\n"
                        "type filter hook forward priority 0; policy accept;\n"
                        "iifname . oifname @cuts counter name cut drop\n"
                        "ether type ip iifname . oifname @one_way_cuts counter name one_way_cut "
                        "drop\n"
                        "ether type ip jump loss\n}\n}\n"
                        "table netdev copies {\ncounter repeated { }\n");
    for (uint32_t i = 0; i < lab->host_count; i++) {
        const char *name = lab->hosts[i].name;
        lab_text_add(&text, "chain %s {\ntype filter hook egress device \"%s\" priority 0;\n}\n",
                     name, name);
    }
    lab_text_add(&text, "}\n");
    return nft(lab, &text, fault);
}

/* Whether `bridge link` says so of a host's port: there may be others beside those of the hosts. */
static bool forwards(const char *links, const char *name)
{
    char port[LAB_NAME_BYTES + 8];
    (void)snprintf(port, sizeof port, ": %s@", name);
    const char *line = strstr(links, port);
    const char *state = line != NULL ? strstr(line, "state forwarding") : NULL;
    return state != NULL && state < line + strcspn(line, "\n");
}

/* The kernel may take a second to believe that a port has a carrier. */
static int wait_forwarding(const struct lab *lab, struct fault *fault)
{
    static const char *const command[] = {"bridge", "link", "show", NULL};
    uint64_t begin_ns = clock_now_ns();
    for (;;) {
        struct lab_text found = {.bytes = text_out, .max = sizeof text_out};
        const struct lab_tool tool = {.words = command, .output = &found};
        int result = lab_run(lab, LAB_SWITCH, &tool, fault);
        uint32_t ready = 0;
        for (uint32_t i = 0; i < lab->host_count && result == 0; i++) {
            ready += forwards(text_out, lab->hosts[i].name);
        }
        if (result != 0 || ready == lab->host_count) {
            return result;
        }
        if (clock_now_ns() - begin_ns > PATIENCE_NS) {
            fault_set(fault, FAULT_ENVIRONMENT,
                      "only %u of the %u hosts' ports forward; see `bridge link` and the "
                      "kernel's log (`dmesg`)",
                      ready, lab->host_count);
            return -ETIMEDOUT;
        }
        nap(LOOK_NS);
    }
}

int switch_make(const struct lab *lab, uint64_t without_address, struct fault *fault)
{
    int result = make_bridge(lab, fault);
    for (uint32_t i = 0; i < lab->host_count && result == 0; i++) {
        result = make_host(lab, i, (without_address >> i & 1) == 0, fault);
    }
    if (result == 0) {
        result = make_faults(lab, fault);
    }
    return result == 0 ? wait_forwarding(lab, fault) : result;
}

/* ---- Faults. ---- */

/* All pairs of one of these and one of those. */
static void
add_pairs(const struct lab *lab, struct lab_text *text, uint64_t sources, uint64_t targets)
{
    for (uint32_t i = 0; i < lab->host_count; i++) {
        for (uint32_t j = 0; j < lab->host_count; j++) {
            if (i != j && (sources >> i & 1) != 0 && (targets >> j & 1) != 0) {
                lab_text_add(text, "\"%s\" . \"%s\", ", lab->hosts[i].name, lab->hosts[j].name);
            }
        }
    }
}

int switch_cut(const struct lab *lab, uint64_t ones, uint64_t others, struct fault *fault)
{
    struct lab_text text = fresh_text();
    lab_text_add(&text, "add element bridge faults cuts { ");
    add_pairs(lab, &text, ones, others);
    add_pairs(lab, &text, others, ones);
    lab_text_add(&text, "}\n");
    return nft(lab, &text, fault);
}

int switch_cut_one_way(const struct lab *lab,
                       uint64_t sources,
                       uint64_t targets,
                       struct fault *fault)
{
    struct lab_text text = fresh_text();
    lab_text_add(&text, "add element bridge faults one_way_cuts { ");
    add_pairs(lab, &text, sources, targets);
    lab_text_add(&text, "}\n");
    return nft(lab, &text, fault);
}

int switch_heal(const struct lab *lab, struct fault *fault)
{
    struct lab_text text = fresh_text();
    lab_text_add(&text, "flush set bridge faults cuts\nflush set bridge faults one_way_cuts\n");
    return nft(lab, &text, fault);
}

/* The condition that holds for so many IP packets of a million. */
static void add_chance(struct lab_text *text, uint64_t ppm)
{
    lab_text_add(text, "ether type ip");
    if (ppm < ALL_PPM) {
        lab_text_add(text, " numgen random mod 1000000 < %llu", (unsigned long long)ppm);
    }
}

int switch_lose(const struct lab *lab, uint64_t ppm, struct fault *fault)
{
    struct lab_text text = fresh_text();
    lab_text_add(&text, "flush chain bridge faults loss\n");
    if (ppm > 0) {
        lab_text_add(&text, "add rule bridge faults loss ");
        add_chance(&text, ppm);
        lab_text_add(&text, " counter name lost drop comment \"%llu\"\n", (unsigned long long)ppm);
    }
    return nft(lab, &text, fault);
}

int switch_repeat(const struct lab *lab, uint64_t ppm, struct fault *fault)
{
    struct lab_text text = fresh_text();
    for (uint32_t i = 0; i < lab->host_count; i++) {
        const char *name = lab->hosts[i].name;
        lab_text_add(&text, "flush chain netdev copies %s\n", name);
        if (ppm > 0) {
            lab_text_add(&text, "add rule netdev copies %s ", name);
            add_chance(&text, ppm);
            lab_text_add(&text, " counter name repeated dup to \"%s\" comment \"%llu\"\n", name,
                         (unsigned long long)ppm);
        }
    }
    return nft(lab, &text, fault);
}

int switch_flap(const struct lab *lab, uint32_t host, uint64_t down_ns, struct fault *fault)
{
    struct lab_text text = fresh_text();
    lab_text_add(&text, "link set dev %s down\n", lab->hosts[host].name);
    int result = ip(lab, LAB_SWITCH, &text, fault);
    if (result != 0) {
        return result;
    }
    nap(down_ns);
    text = fresh_text();
    lab_text_add(&text, "link set dev %s up\n", lab->hosts[host].name);
    result = ip(lab, LAB_SWITCH, &text, fault);
    return result == 0 ? wait_forwarding(lab, fault) : result;
}

/* ---- What is in force. ---- */

/* nft's list of a table, as it prints it. */
static json_t *
list_table(const struct lab *lab, const char *family, const char *name, struct fault *fault)
{
    const char *const command[] = {"nft", "-j", "list", "table", family, name, NULL};
    struct lab_text found = {.bytes = text_out, .max = sizeof text_out};
    const struct lab_tool tool = {.words = command, .output = &found};
    if (lab_run(lab, LAB_SWITCH, &tool, fault) != 0) {
        return NULL;
    }
    json_t *object = json_loads(text_out, 0, NULL);
    if (object == NULL) {
        fault_set(fault, FAULT_ENVIRONMENT, "`nft -j list table %s %s` prints no JSON", family,
                  name);
    }
    return object;
}

/* Which pairs a set holds; of a pair that is there both ways, `both` wants one. */
static json_t *pairs_of(const json_t *set, bool both)
{
    json_t *pairs = json_array();
    size_t i = 0;
    json_t *element = NULL;
    json_array_foreach(json_object_get(set, "elem"), i, element)
    {
        json_t *pair = json_object_get(element, "concat");
        const char *one = json_string_value(json_array_get(pair, 0));
        const char *other = json_string_value(json_array_get(pair, 1));
        if (one != NULL && other != NULL && (!both || strcmp(one, other) < 0)) {
            json_array_append(pairs, pair);
        }
    }
    return pairs;
}

static void take_rule(json_t *faults, const json_t *rule)
{
    const char *comment = json_string_value(json_object_get(rule, "comment"));
    const char *table = json_string_value(json_object_get(rule, "table"));
    if (comment != NULL && table != NULL) {
        bool is_loss = strcmp(table, "faults") == 0;
        json_object_set_new(faults, is_loss ? "lose_percent" : "repeat_percent",
                            json_real(strtod(comment, NULL) / 10000.0));
    }
}

static void take_set(json_t *faults, const json_t *set)
{
    const char *name = json_string_value(json_object_get(set, "name"));
    if (name != NULL) {
        json_object_set_new(faults, name, pairs_of(set, strcmp(name, "cuts") == 0));
    }
}

/* Everything of one table into `faults`. */
static void take_table(json_t *faults, const json_t *table)
{
    size_t i = 0;
    json_t *item = NULL;
    json_array_foreach(json_object_get(table, "nftables"), i, item)
    {
        const json_t *counter = json_object_get(item, "counter");
        const json_t *set = json_object_get(item, "set");
        const json_t *rule = json_object_get(item, "rule");
        if (counter != NULL) {
            json_object_set(json_object_get(faults, "counted"),
                            json_string_value(json_object_get(counter, "name")),
                            json_object_get(counter, "packets"));
        } else if (set != NULL) {
            take_set(faults, set);
        } else if (rule != NULL) {
            take_rule(faults, rule);
        }
    }
}

json_t *switch_faults(const struct lab *lab, struct fault *fault)
{
    json_t *faults = json_pack("{s:[], s:[], s:f, s:f, s:{}}", "cuts", "one_way_cuts",
                               "lose_percent", 0.0, "repeat_percent", 0.0, "counted");
    static const char *const tables[][2] = {{"bridge", "faults"}, {"netdev", "copies"}};
    for (uint32_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        json_t *table = list_table(lab, tables[i][0], tables[i][1], fault);
        if (table == NULL) {
            json_decref(faults);
            return NULL;
        }
        take_table(faults, table);
        json_decref(table);
    }
    return faults;
}
