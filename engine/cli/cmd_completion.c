/* cmd_completion.c: `thole completion`: a shell's completion script, made from the options.
 *
 * Commands and options come from the tables that the program itself parses with, so that nothing
 * typed by hand can fall behind. What a value may be is told by the table's word for it: FILE and
 * DIR are names of files, of anything else nothing is known.
 */
#include "engine/cli/command.h"

#include "engine/base/assert.h"

#include <stdio.h>
#include <string.h>

#define OPTIONS_MAX 64u

enum shell { SHELL_NONE, SHELL_BASH, SHELL_ZSH, SHELL_FISH };

struct completion_arguments {
    enum shell shell;
};

/* One option of a command, as a shell wants it. */
struct offer {
    const char *name; /* Long, without dashes. */
    char letter;      /* 0: none. */
    const char *value;
    const char *doc;
};

struct offers {
    uint32_t count;
    struct offer list[OPTIONS_MAX];
};

static error_t completion_parse(int key, char *value, struct argp_state *state)
{
    struct completion_arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_ARG:
        if (arguments->shell != SHELL_NONE) {
            argp_error(state, "one shell only, `%s` is too many", value);
        } else if (strcmp(value, "bash") == 0) {
            arguments->shell = SHELL_BASH;
        } else if (strcmp(value, "zsh") == 0) {
            arguments->shell = SHELL_ZSH;
        } else if (strcmp(value, "fish") == 0) {
            arguments->shell = SHELL_FISH;
        } else {
            argp_error(state, "`%s` is not bash, zsh or fish", value);
        }
        return 0;
    case ARGP_KEY_END:
        if (arguments->shell == SHELL_NONE) {
            argp_error(state, "a shell is needed: bash, zsh or fish");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp completion_argp = {
    .parser = completion_parse,
    .args_doc = "bash|zsh|fish",
    .doc = "Print the script that completes commands and options in a shell. An installed thole "
           "has put it in its place already."
           "\vExample:\n  thole completion bash > ~/.local/share/bash-completion/completions/thole",
};

/* ---- What there is to offer. ---- */

static void offer_add(struct offers *offers, const struct offer *offer)
{
    ASSERT(offers->count < OPTIONS_MAX);
    ASSERT(offer->name != NULL);
    offers->list[offers->count++] = *offer;
}

static void offer_table(struct offers *offers, const struct argp *argp)
{
    const struct argp_option *option = argp->options;
    for (; option != NULL && (option->name != NULL || option->key != 0); option++) {
        if (option->name == NULL || (option->flags & (OPTION_DOC | OPTION_HIDDEN)) != 0) {
            continue;
        }
        bool lettered = option->key > ' ' && option->key <= '~';
        offer_add(offers, &(struct offer){
                              .name = option->name,
                              .letter = lettered ? (char)option->key : '\0',
                              .value = option->arg,
                              .doc = option->doc == NULL ? "" : option->doc,
                          });
    }
}

/* All options of a command: its own, those of the tables it includes, and those argp adds. */
static void offers_of(const struct command *command, struct offers *offers)
{
    static const struct offer added[] = {
        {.name = "help", .doc = "Give this help list"},
        {.name = "usage", .doc = "Give a short usage message"},
    };
    offers->count = 0;
    if (command->argp != NULL) {
        offer_table(offers, command->argp);
        const struct argp_child *child = command->argp->children;
        for (; child != NULL && child->argp != NULL; child++) {
            offer_table(offers, child->argp);
        }
    }
    offer_add(offers, &added[0]);
    offer_add(offers, &added[1]);
}

static bool is_file(const struct offer *offer)
{
    return offer->value != NULL &&
           (strcmp(offer->value, "FILE") == 0 || strcmp(offer->value, "DIR") == 0);
}

/* Words of a command's name. */
static uint32_t words_of(const char *name)
{
    uint32_t words = 1;
    for (; *name != '\0'; name++) {
        words += *name == ' ';
    }
    return words;
}

/* ---- The scripts. A name of a command or an option needs no quoting; a sentence does. ---- */

/* A sentence within single quotes, with a backslash before each of `escaped`. */
static void print_quoted(const char *text, const char *escaped, const char *quote)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            printf("%s", quote);
        } else if (strchr(escaped, *text) != NULL) {
            printf("\\%c", *text);
        } else {
            putchar(*text);
        }
    }
}

static void print_bash_command(const struct command *command)
{
    static const char *const titles[] = {"options", "files", "values"};
    struct offers offers;
    offers_of(command, &offers);
    printf("    '%s')\n", command->name);
    for (uint32_t title = 0; title < 3; title++) {
        printf("        %s='", titles[title]);
        const char *space = "";
        for (uint32_t i = 0; i < offers.count; i++) {
            const struct offer *offer = &offers.list[i];
            if (title > 0 && (offer->value == NULL || is_file(offer) != (title == 1))) {
                continue;
            }
            printf("%s--%s", space, offer->name);
            space = " ";
            if (offer->letter != '\0') {
                printf(" -%c", offer->letter);
            }
        }
        printf("'\n");
    }
    printf("        ;;\n");
}

static void print_bash(void)
{
    printf("# bash completion of thole, made by `thole completion bash`.\n"
           "_thole()\n{\n"
           "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}\n"
           "    local typed=\"${COMP_WORDS[*]:1:COMP_CWORD - 1}\"\n"
           "    local name rest command='' next='' options='' files='' values=''\n"
           "    COMPREPLY=()\n"
           "    for name in");
    for (uint32_t i = 0; i < command_count; i++) {
        printf(" '%s'", command_list[i]->name);
    }
    printf("; do\n"
           "        if [[ $typed == \"$name\" || $typed == \"$name \"* ]]; then\n"
           "            command=$name\n"
           "        elif [[ -z $typed || $name == \"$typed \"* ]]; then\n"
           "            rest=${name#\"$typed\"}\n"
           "            rest=${rest# }\n"
           "            next+=\" ${rest%%%% *}\"\n"
           "        fi\n"
           "    done\n"
           "    case $command in\n"
           "    '') options=\"$next --help\" ;;\n");
    for (uint32_t i = 0; i < command_count; i++) {
        print_bash_command(command_list[i]);
    }
    printf("    esac\n"
           "    # A file's name is what the shell offers by itself when nothing else is.\n"
           "    if [[ \" $files \" == *\" $previous \"* ]]; then\n"
           "        return\n"
           "    elif [[ \" $values \" == *\" $previous \"* ]]; then\n"
           "        compopt +o default 2>/dev/null\n"
           "    elif [[ -z $command || $current == -* ]]; then\n"
           "        COMPREPLY=($(compgen -W \"$options\" -- \"$current\"))\n"
           "    fi\n"
           "}\n"
           "complete -o default -F _thole thole\n");
}

/* One spec of zsh's _arguments. */
static void
print_zsh_spec(const char *dashes, const char *name, char tie, const struct offer *offer)
{
    printf(" \\\n            '%s%s", dashes, name);
    if (offer->value != NULL) {
        putchar(tie);
    }
    putchar('[');
    print_quoted(offer->doc, "[]:\\", "'\\''");
    putchar(']');
    if (offer->value != NULL) {
        putchar(':');
        print_quoted(offer->value, ":\\", "'\\''");
        printf(":%s", is_file(offer) ? "_files" : "");
    }
    putchar('\'');
}

static void print_zsh_command(const struct command *command)
{
    struct offers offers;
    offers_of(command, &offers);
    uint32_t words = words_of(command->name);
    printf("    '%s')\n"
           "        shift %u words\n"
           "        (( CURRENT -= %u ))\n"
           "        _arguments",
           command->name, words, words);
    for (uint32_t i = 0; i < offers.count; i++) {
        const struct offer *offer = &offers.list[i];
        print_zsh_spec("--", offer->name, '=', offer);
        if (offer->letter != '\0') {
            print_zsh_spec("-", (const char[]){offer->letter, '\0'}, '+', offer);
        }
    }
    printf(" \\\n            '*:argument:_files'\n        ;;\n");
}

static void print_zsh(void)
{
    printf("#compdef thole\n"
           "# zsh completion of thole, made by `thole completion zsh`.\n"
           "_thole()\n{\n"
           "    local typed=\"${(j: :)words[2,CURRENT - 1]}\" name rest command=''\n"
           "    local -a next\n"
           "    for name in");
    for (uint32_t i = 0; i < command_count; i++) {
        printf(" '%s'", command_list[i]->name);
    }
    printf("; do\n"
           "        if [[ $typed == \"$name\" || $typed == \"$name \"* ]]; then\n"
           "            command=$name\n"
           "        elif [[ -z $typed || $name == \"$typed \"* ]]; then\n"
           "            rest=${name#\"$typed\"}\n"
           "            rest=${rest# }\n"
           "            next+=(${rest%%%% *})\n"
           "        fi\n"
           "    done\n"
           "    case $command in\n"
           "    '')\n"
           "        compadd -- ${(u)next} --help\n"
           "        ;;\n");
    for (uint32_t i = 0; i < command_count; i++) {
        print_zsh_command(command_list[i]);
    }
    printf("    esac\n"
           "}\n"
           "_thole \"$@\"\n");
}

static void print_fish_command(const struct command *command)
{
    struct offers offers;
    offers_of(command, &offers);
    const char *last = strrchr(command->name, ' ');
    printf("complete -c thole -n '__thole_before \"%s\"' -f -a %s -d '", command->name,
           last == NULL ? command->name : last + 1);
    print_quoted(command->summary, "\\", "\\'");
    printf("'\n");
    for (uint32_t i = 0; i < offers.count; i++) {
        const struct offer *offer = &offers.list[i];
        printf("complete -c thole -n '__thole_within \"%s\"' -l %s", command->name, offer->name);
        if (offer->letter != '\0') {
            printf(" -s '%c'", offer->letter);
        }
        printf("%s -d '", offer->value == NULL ? "" : is_file(offer) ? " -r -F" : " -x");
        print_quoted(offer->doc, "\\", "\\'");
        printf("'\n");
    }
}

static void print_fish(void)
{
    printf("# fish completion of thole, made by `thole completion fish`.\n"
           "function __thole_typed\n"
           "    set -l words (commandline -opc)\n"
           "    set -e words[1]\n"
           "    string join ' ' -- $words\n"
           "end\n"
           "# The words typed are this command's, or those before its last one.\n"
           "function __thole_within\n"
           "    string match -q -- \"$argv[1] *\" (__thole_typed)' '\n"
           "end\n"
           "function __thole_before\n"
           "    set -l before (string split -r -m 1 ' ' -- $argv[1])\n"
           "    set -e before[-1]\n"
           "    test \"$before\" = (__thole_typed | string collect --allow-empty)\n"
           "end\n"
           "complete -c thole -n '__thole_before help' -f -l help -d 'List the commands'\n");
    for (uint32_t i = 0; i < command_count; i++) {
        const char *name = command_list[i]->name;
        const char *space = strchr(name, ' ');
        if (space != NULL) {
            printf("complete -c thole -n '__thole_before \"%.*s\"' -f -a %.*s\n",
                   (int)(space - name), name, (int)(space - name), name);
        }
        print_fish_command(command_list[i]);
    }
}

static int completion_run(int argc, char **argv)
{
    struct completion_arguments arguments = {0};
    if (argp_parse(&completion_argp, argc, argv, 0, NULL, &arguments) != 0) {
        return FAULT_USAGE;
    }
    switch (arguments.shell) {
    case SHELL_BASH:
        print_bash();
        break;
    case SHELL_ZSH:
        print_zsh();
        break;
    case SHELL_FISH:
        print_fish();
        break;
    case SHELL_NONE:
        ASSERT(false);
    }
    if (fflush(stdout) != 0) {
        struct fault fault;
        fault_set(&fault, FAULT_ENVIRONMENT, "cannot write the script to stdout: is it full?");
        return command_fail(&fault);
    }
    return 0;
}

const struct command command_completion = {
    .name = "completion",
    .summary = "Print the completion script of a shell",
    .argp = &completion_argp,
    .run = completion_run,
};
