/* trace.c: replay scripts of cluster events and compare what the cores did with what is written.
 *
 * A script is a list of blocks: one command, a line `----`, the expected output, a blank line.
 * Lines that begin with # and blank lines between blocks are kept as they are. `trace FILE...`
 * compares, `trace --rewrite FILE...` writes the output found into the files: read the difference
 * before committing it. Exit code 0, 1 when an output differs, 2 when a script cannot be read. The
 * commands are in commands.c.
 */
#include "tests/trace/trace.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_BYTES_MAX (256u * 1024u)

struct text {
    char bytes[TEXT_BYTES_MAX];
    size_t used;
};

static struct text script; /* The file as read. */
static struct text output; /* Of the command under way. */
static struct text result; /* The file as it should be. */
static const char *file_name;

_Noreturn void trace_stop(const char *why, const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", file_name, why, what);
    exit(2);
}

static void text_add(struct text *text, const char *format, va_list arguments)
{
    size_t room = TEXT_BYTES_MAX - text->used;
    int written = vsnprintf(text->bytes + text->used, room, format, arguments);

    if (written < 0 || (size_t)written >= room) {
        trace_stop("too much text", "TEXT_BYTES_MAX");
    }
    text->used += (size_t)written;
}

void trace_print(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    text_add(&output, format, arguments);
    va_end(arguments);
}

__attribute__((format(printf, 1, 2))) static void result_print(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    text_add(&result, format, arguments);
    va_end(arguments);
}

/* One line of the script without its end; NULL after the last. */
static char *next_line(char **at)
{
    char *line = *at;

    if (*line == '\0') {
        return NULL;
    }
    char *end = strchr(line, '\n');
    if (end == NULL) {
        trace_stop("a line does not end", line);
    }
    *end = '\0';
    *at = end + 1;
    return line;
}

static void run_script(void)
{
    enum raft_role roles[TRACE_NODES_MAX] = {0};
    uint64_t terms[TRACE_NODES_MAX] = {0};
    char *at = script.bytes;

    result.used = 0;
    for (char *line = next_line(&at); line != NULL; line = next_line(&at)) {
        result_print("%s\n", line);
        if (line[0] == '#' || line[0] == '\0') {
            continue;
        }
        output.used = 0;
        output.bytes[0] = '\0';
        commands_run(line);
        commands_print_roles(roles, terms);
        /* A block ends with a blank line; in a new script the output may be missing altogether. */
        char *peek = at;
        if (strncmp(peek, "----\n", 5) == 0) {
            for (line = next_line(&at); line != NULL && line[0] != '\0'; line = next_line(&at)) {
            }
        } else if (*peek == '\n') {
            (void)next_line(&at);
        }
        result_print("----\n%s\n", output.bytes);
    }
    commands_check();
}

static void read_script(void)
{
    FILE *file = fopen(file_name, "r");

    if (file == NULL) {
        trace_stop("cannot be opened", "check the path");
    }
    script.used = fread(script.bytes, 1, TEXT_BYTES_MAX - 1, file);
    script.bytes[script.used] = '\0';
    fclose(file);
}

static bool compare_script(const char *expected)
{
    if (strcmp(expected, result.bytes) == 0) {
        return true;
    }
    uint32_t line = 1;
    size_t i = 0;
    size_t begin = 0;
    for (; expected[i] != '\0' && expected[i] == result.bytes[i]; i++) {
        if (expected[i] == '\n') {
            line++;
            begin = i + 1;
        }
    }
    fprintf(stderr, "%s:%u: differs\nexpected: %.*s\nfound:    %.*s\n", file_name, line,
            (int)strcspn(expected + begin, "\n"), expected + begin,
            (int)strcspn(result.bytes + begin, "\n"), result.bytes + begin);
    return false;
}

int main(int argc, char **argv)
{
    static char expected[TEXT_BYTES_MAX];
    bool rewrite = argc > 1 && strcmp(argv[1], "--rewrite") == 0;
    bool same = true;

    for (int i = rewrite ? 2 : 1; i < argc; i++) {
        file_name = argv[i];
        read_script();
        memcpy(expected, script.bytes, script.used + 1);
        run_script();
        if (!rewrite) {
            same = compare_script(expected) && same;
            continue;
        }
        FILE *file = fopen(file_name, "w");
        if (file == NULL || fwrite(result.bytes, 1, result.used, file) != result.used ||
            fclose(file) != 0) {
            trace_stop("cannot be written", "check the path");
        }
    }
    commands_fini();
    return same ? 0 : 1;
}
