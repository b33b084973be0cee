/* slow_disk.c: see slow_disk.h. */
#include "engine/cli/slow_disk.h"

#include "engine/base/units.h"
#include "engine/cli/make_log.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static bool parse_option(const char *word, struct slow_disk *slow)
{
    if (strncmp(word, "share=", 6) == 0) {
        return units_parse_percent(word + 6, &slow->share);
    }
    if (strncmp(word, "seed=", 5) == 0) {
        return units_parse_number(word + 5, 1, UINT64_MAX, &slow->seed);
    }
    if (strncmp(word, "file=", 5) == 0) {
        int bytes = snprintf(slow->path, sizeof slow->path, "%s", word + 5);
        return bytes > 0 && (size_t)bytes < sizeof slow->path;
    }
    return false;
}

bool slow_disk_parse(const char *text, struct slow_disk *slow)
{
    char words[2 * SLOW_DISK_PATH_BYTES];
    struct slow_disk made = {.wanted = true, .share = DISK_SLOW_ALL};
    if (strlen(text) >= sizeof words) {
        return false;
    }
    (void)snprintf(words, sizeof words, "%s", text);
    char *rest = NULL;
    const char *word = strtok_r(words, ",", &rest);
    if (word == NULL || !units_parse_duration(word, &made.delay_ns) ||
        made.delay_ns > DISK_SLOW_NS_MAX) {
        return false;
    }
    while ((word = strtok_r(NULL, ",", &rest)) != NULL) {
        if (!parse_option(word, &made)) {
            return false;
        }
    }
    *slow = made;
    return true;
}

int slow_disk_numbers(const struct slow_disk *slow,
                      struct disk_slow_numbers **numbers,
                      struct fault *fault)
{
    static struct disk_slow_numbers own;
    struct stat status;
    ASSERT(slow->wanted);
    bool is_there = slow->path[0] != '\0' && stat(slow->path, &status) == 0;
    *numbers = &own;
    int result = slow->path[0] != '\0' ? disk_slow_map(slow->path, numbers, fault) : 0;
    if (result == 0 && !is_there) {
        disk_slow_set(*numbers, slow->delay_ns, slow->share,
                      slow->seed != 0 ? slow->seed : make_log_random_id());
    }
    return result;
}

void slow_disk_print(const struct disk_slow_numbers *numbers, FILE *out)
{
    char text[UNITS_TEXT_BYTES];
    uint64_t delay_ns = atomic_load(&numbers->delay_ns);
    if (delay_ns == 0) {
        fprintf(out, "not slowed now");
        return;
    }
    fprintf(out, "%s before %.4g %% of its writes, seed %" PRIu64,
            units_format_duration(delay_ns, text), (double)atomic_load(&numbers->share) / 10000.0,
            (uint64_t)atomic_load(&numbers->seed));
}
