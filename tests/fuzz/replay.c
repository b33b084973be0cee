/* replay.c: a fuzz target without libFuzzer: every file of a corpus, and seeded mutations of it.
 *
 *     replay_NAME [--rounds N] [--seed N] FILE-OR-FOLDER...
 *
 * So the corpus is run by every compiler and in every test run. A failure names its input; the same
 * seed gives the same mutations.
 */
#define _DEFAULT_SOURCE
#include "engine/base/assert.h"
#include "engine/base/prng.h"

#include <dirent.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_BYTES_MAX (1u << 20)
#define ROUNDS_DEFAULT  2000u
#define CHANGES_MAX     4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);
__attribute__((weak)) size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

static struct prng prng;
static uint8_t input[INPUT_BYTES_MAX];
static uint8_t mutated[INPUT_BYTES_MAX];
static uint64_t rounds = ROUNDS_DEFAULT;
static uint64_t inputs;

/* What a target's own mutator calls: here, a few bytes changed, cut off or repeated. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size)
{
    uint64_t changes = prng_between(&prng, 1, CHANGES_MAX);
    for (uint64_t i = 0; i < changes && size > 0; i++) {
        uint64_t at = prng_below(&prng, size);
        switch (prng_below(&prng, 8)) {
        case 0:
            size = at;
            break;
        case 1:
            if (size * 2 - at <= max_size) {
                memmove(data + size, data + at, size - at);
                size = size * 2 - at;
            }
            break;
        case 2:
            data[at] ^= (uint8_t)(1u << prng_below(&prng, 8));
            break;
        case 3:
            data[at] = prng_chance(&prng, 500000) ? 0 : 0xff;
            break;
        default:
            data[at] = (uint8_t)prng_next(&prng);
            break;
        }
    }
    return size;
}

static bool replay_file(const char *path)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        perror(path);
        return false;
    }
    size_t size = fread(input, 1, sizeof input, file);
    fclose(file);
    inputs++;
    LLVMFuzzerTestOneInput(input, size);
    for (uint64_t round = 0; round < rounds; round++) {
        memcpy(mutated, input, size);
        size_t bytes = size;
        unsigned int seed = (unsigned int)prng_next(&prng);
        if (LLVMFuzzerCustomMutator != NULL) {
            bytes = LLVMFuzzerCustomMutator(mutated, bytes, sizeof mutated, seed);
        } else {
            bytes = LLVMFuzzerMutate(mutated, bytes, sizeof mutated);
        }
        LLVMFuzzerTestOneInput(mutated, bytes);
    }
    return true;
}

static bool replay_folder(const char *path)
{
    struct dirent **names;
    int count = scandir(path, &names, NULL, alphasort);
    if (count < 0) {
        perror(path);
        return false;
    }
    bool sound = true;
    for (int i = 0; i < count; i++) {
        char name[PATH_MAX];
        snprintf(name, sizeof name, "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.') {
            sound = replay_file(name) && sound;
        }
        free(names[i]);
    }
    free(names);
    return sound;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    bool sound = true;
    int first = 1;
    for (; first + 1 < argc && strncmp(argv[first], "--", 2) == 0; first += 2) {
        uint64_t value = strtoull(argv[first + 1], NULL, 10);
        if (strcmp(argv[first], "--rounds") == 0) {
            rounds = value;
        } else if (strcmp(argv[first], "--seed") == 0) {
            seed = value;
        } else {
            fprintf(stderr, "unknown flag %s\n", argv[first]);
            return 2;
        }
    }
    prng_init(&prng, seed);
    if (LLVMFuzzerInitialize != NULL) {
        (void)LLVMFuzzerInitialize(&argc, &argv);
    }
    for (int i = first; i < argc; i++) {
        struct stat status;
        bool folder = stat(argv[i], &status) == 0 && S_ISDIR(status.st_mode);
        sound = (folder ? replay_folder(argv[i]) : replay_file(argv[i])) && sound;
    }
    printf("seed %llu: %llu inputs, %llu mutations of each\n", (unsigned long long)seed,
           (unsigned long long)inputs, (unsigned long long)rounds);
    return sound && inputs > 0 ? 0 : 1;
}
