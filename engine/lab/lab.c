/* lab.c: the lab's file and its lock. See lab.h. */
#define _GNU_SOURCE /* realpath, O_DIRECTORY */
#include "engine/lab/lab.h"

#include "engine/base/units.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LAB_FILE      "lab.json"
#define LAB_VERSION   1
#define KEEPER_END_MS 30000
#define BOOT_BYTES    40u

static void read_boot(char boot[BOOT_BYTES])
{
    boot[0] = '\0';
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file != NULL) {
        (void)!fgets(boot, BOOT_BYTES, file);
        boot[strcspn(boot, "\n")] = '\0';
        (void)fclose(file);
    }
}

void lab_path(const struct lab *lab, const char *name, uint32_t number, char path[PATH_MAX])
{
    char file[NAME_MAX];
    const char *hole = strstr(name, "%u");
    if (hole != NULL) {
        (void)snprintf(file, sizeof file, "%.*s%u%s", (int)(hole - name), name, number, hole + 2);
    } else {
        (void)snprintf(file, sizeof file, "%s", name);
    }
    int bytes = snprintf(path, PATH_MAX, "%s/%s", lab->dir, file);
    ASSERT(bytes > 0);
    ASSERT(bytes < PATH_MAX); /* lab_open() leaves room. */
}

void lab_namespace(const struct lab *lab, uint32_t host, char path[LAB_NAMESPACE_BYTES])
{
    ASSERT(host == LAB_SWITCH || host < lab->host_count);
    if (host == LAB_SWITCH) {
        (void)snprintf(path, LAB_NAMESPACE_BYTES, "/proc/%" PRId64 "/ns/net", lab->keeper.pid);
    } else {
        (void)snprintf(path, LAB_NAMESPACE_BYTES, "/proc/%" PRId64 "/fd/%u", lab->keeper.pid,
                       LAB_KEEPER_FD + host);
    }
}

/* ---- The file, written. ---- */

static json_t *namespace_object(const struct lab *lab, uint32_t host, uint64_t inode)
{
    char path[LAB_NAMESPACE_BYTES];
    lab_namespace(lab, host, path);
    return json_pack("{s:s, s:I}", "namespace", path, "inode", (json_int_t)inode);
}

static json_t *host_object(const struct lab *lab, uint32_t number)
{
    const struct lab_host *host = &lab->hosts[number];
    json_t *object = namespace_object(lab, number, host->inode);
    json_object_set_new(object, "name", json_string(host->name));
    json_object_set_new(object, "address", json_string(host->address));
    json_object_set_new(object, "node",
                        host->node != 0 ? json_integer((json_int_t)host->node) : json_null());
    return object;
}

static json_t *node_object(const struct lab *lab, uint32_t number)
{
    char said[NAME_MAX];
    (void)snprintf(said, sizeof said, "n%u.err", number + 1);
    return json_pack("{s:i, s:I, s:I, s:s}", "id", (int)number + 1, "pid",
                     (json_int_t)lab->nodes[number].pid, "start",
                     (json_int_t)lab->nodes[number].start, "said", said);
}

static json_t *lab_object(const struct lab *lab)
{
    char boot[BOOT_BYTES];
    read_boot(boot);
    json_t *hosts = json_array();
    json_t *nodes = json_array();
    for (uint32_t i = 0; i < lab->host_count; i++) {
        json_array_append_new(hosts, host_object(lab, i));
    }
    for (uint32_t i = 0; i < lab->node_count; i++) {
        json_array_append_new(nodes, node_object(lab, i));
    }
    return json_pack("{s:i, s:s, s:b, s:s, s:s, s:{s:I, s:I}, s:o, s:o, s:o}", "version",
                     LAB_VERSION, "boot", boot, "user_namespace", (int)lab->user_namespace, "spec",
                     lab->spec, "idle", lab->idle, "keeper", "pid", (json_int_t)lab->keeper.pid,
                     "start", (json_int_t)lab->keeper.start, "switch",
                     namespace_object(lab, LAB_SWITCH, lab->switch_inode), "hosts", hosts, "nodes",
                     nodes);
}

int lab_save(const struct lab *lab, struct fault *fault)
{
    char path[PATH_MAX];
    char beside[PATH_MAX];
    lab_path(lab, LAB_FILE, 0, path);
    lab_path(lab, LAB_FILE ".new", 0, beside);
    json_t *object = lab_object(lab);
    bool written = object != NULL && json_dump_file(object, beside, JSON_INDENT(2)) == 0 &&
                   rename(beside, path) == 0;
    json_decref(object);
    if (!written) {
        fault_set(fault, FAULT_ENVIRONMENT, "cannot write %.300s: %s", path, strerror(errno));
        return -EIO;
    }
    return 0;
}

/* ---- The file, read. ---- */

static bool read_process(json_t *object, struct process_id *process)
{
    json_int_t pid = 0;
    json_int_t start = 0;
    if (json_unpack(object, "{s:I, s:I}", "pid", &pid, "start", &start) != 0 || pid < 0 ||
        pid > INT_MAX || start < 0) {
        return false;
    }
    *process = (struct process_id){.pid = pid, .start = (uint64_t)start};
    return true;
}

static bool copy_word(char *to, size_t bytes, const char *word)
{
    int length = snprintf(to, bytes, "%s", word);
    return length >= 0 && (size_t)length < bytes;
}

static bool read_host(json_t *object, struct lab_host *host)
{
    const char *name = NULL;
    const char *address = NULL;
    json_int_t inode = 0;
    json_t *node = NULL;
    if (json_unpack(object, "{s:s, s:s, s:I, s:o}", "name", &name, "address", &address, "inode",
                    &inode, "node", &node) != 0) {
        return false;
    }
    host->inode = (uint64_t)inode;
    host->node = (uint32_t)json_integer_value(node);
    return copy_word(host->name, sizeof host->name, name) && host->node <= VOTERS_MAX &&
           copy_word(host->address, sizeof host->address, address);
}

static bool read_lists(struct lab *lab, json_t *hosts, json_t *nodes)
{
    if (json_array_size(hosts) > LAB_HOSTS_MAX || json_array_size(nodes) > VOTERS_MAX) {
        return false;
    }
    lab->host_count = (uint32_t)json_array_size(hosts);
    lab->node_count = (uint32_t)json_array_size(nodes);
    bool good = true;
    for (uint32_t i = 0; i < lab->host_count; i++) {
        good = good && read_host(json_array_get(hosts, i), &lab->hosts[i]);
    }
    for (uint32_t i = 0; i < lab->node_count; i++) {
        good = good && read_process(json_array_get(nodes, i), &lab->nodes[i]);
    }
    return good;
}

/* Whether the keeper lives. One that is dying has let go of its namespaces and waits for the nodes:
 * then so does this, so that nothing of them is left when the lab is called dead. */
static bool keeps(const struct lab *lab)
{
    char path[LAB_NAMESPACE_BYTES];
    struct stat status;
    lab_namespace(lab, LAB_SWITCH, path);
    if (!process_is_alive(lab->keeper)) {
        return false;
    }
    return stat(path, &status) == 0 || errno != ENOENT ||
           !process_wait_end(lab->keeper, KEEPER_END_MS);
}

static bool read_object(struct lab *lab, json_t *object)
{
    int version = 0;
    int user_namespace = 0;
    const char *boot = "";
    const char *spec = "";
    const char *idle = "";
    json_t *keeper = NULL;
    json_t *hosts = NULL;
    json_t *nodes = NULL;
    json_int_t inode = 0;
    if (json_unpack(object, "{s:i, s:s, s:b, s:s, s:s, s:o, s:{s:I}, s:o, s:o}", "version",
                    &version, "boot", &boot, "user_namespace", &user_namespace, "spec", &spec,
                    "idle", &idle, "keeper", &keeper, "switch", "inode", &inode, "hosts", &hosts,
                    "nodes", &nodes) != 0 ||
        version != LAB_VERSION || !read_process(keeper, &lab->keeper) ||
        !copy_word(lab->spec, sizeof lab->spec, spec) ||
        !copy_word(lab->idle, sizeof lab->idle, idle) || !read_lists(lab, hosts, nodes)) {
        return false;
    }
    char now[BOOT_BYTES];
    read_boot(now);
    lab->user_namespace = user_namespace != 0;
    lab->switch_inode = (uint64_t)inode;
    lab->life = strcmp(boot, now) == 0 && keeps(lab) ? LAB_ALIVE : LAB_DEAD;
    return true;
}

static int read_file(struct lab *lab, struct fault *fault)
{
    char path[PATH_MAX];
    lab_path(lab, LAB_FILE, 0, path);
    if (access(path, F_OK) != 0) {
        lab->life = LAB_NONE;
        return 0;
    }
    json_t *object = json_load_file(path, 0, NULL);
    bool good = object != NULL && read_object(lab, object);
    json_decref(object);
    if (!good) {
        fault_set(
            fault, FAULT_ENVIRONMENT,
            "%.300s is not what `thole lab` writes: take it away, or name another folder with "
            "--dir",
            path);
        return -EINVAL;
    }
    return 0;
}

int lab_open(struct lab *lab, const char *dir, struct fault *fault)
{
    memset(lab, 0, sizeof *lab);
    lab->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lab->dir_fd < 0 || realpath(dir, lab->dir) == NULL || flock(lab->dir_fd, LOCK_EX) != 0) {
        int error = errno;
        fault_set(fault, FAULT_ENVIRONMENT,
                  "no lab in %.200s (%s): make one with `thole lab up --dir %.200s`", dir,
                  strerror(error), dir);
        lab_close(lab);
        return -error;
    }
    int result = strlen(lab->dir) < PATH_MAX - NAME_MAX ? read_file(lab, fault) : -ENAMETOOLONG;
    if (result == -ENAMETOOLONG) {
        fault_set(fault, FAULT_ENVIRONMENT, "the name of %.100s... is too long", lab->dir);
    }
    if (result != 0) {
        lab_close(lab);
    }
    return result;
}

int lab_need(struct lab *lab, const char *dir, struct fault *fault)
{
    int result = lab_open(lab, dir, fault);
    if (result != 0 || lab->life == LAB_ALIVE) {
        return result;
    }
    if (lab->life == LAB_NONE) {
        fault_set(fault, FAULT_ENVIRONMENT,
                  "no lab in %.200s: make one with `thole lab up --dir %.200s`", dir, dir);
    } else {
        fault_set(
            fault, FAULT_ENVIRONMENT,
            "the lab in %.200s has ended without `thole lab down`: its keeper, process %" PRId64
            ", is gone, and all that ran in it. `thole lab up --dir %.200s` brings it back",
            dir, lab->keeper.pid, dir);
    }
    lab_close(lab);
    return -ESRCH;
}

void lab_close(struct lab *lab)
{
    if (lab->dir_fd >= 0) {
        (void)close(lab->dir_fd);
    }
    lab->dir_fd = -1;
}

uint32_t lab_find_host(const struct lab *lab, const char *word, struct fault *fault)
{
    uint64_t node = 0;
    bool is_number = units_parse_number(word, 1, NODE_ID_MAX, &node);
    for (uint32_t i = 0; i < lab->host_count; i++) {
        const struct lab_host *host = &lab->hosts[i];
        if (strcmp(host->name, word) == 0 || (is_number && host->node == node)) {
            return i;
        }
    }
    char names[FAULT_TEXT_BYTES / 2] = "";
    size_t at = 0;
    for (uint32_t i = 0; i < lab->host_count && at < sizeof names - 1; i++) {
        at += (size_t)snprintf(names + at, sizeof names - at, " %s", lab->hosts[i].name);
    }
    fault_set(fault, FAULT_USAGE, "no node or host `%.32s` in this lab; its hosts are:%s", word,
              names);
    return LAB_SWITCH;
}
