#!/usr/bin/env python3
"""tidy.py: the rules of the house that a script can check, so that readers have time for ideas.

Usage: tests/tidy.py [--root DIR]     check the tree; exit 1 on findings
       tests/tidy.py --self-test      plant one fault of each kind, and see each one caught

Prints `path:line: check: what is wrong`, then `tidy: N checks, N findings`. What clang-format,
clang-tidy and the compilers check already is not repeated here.
"""
import argparse
import fnmatch
import glob
import os
import re
import sys
import tempfile

COLUMNS_MAX = 100
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 1000
FILE_LINES_LONG = 600  # Said, not a finding.
NESTING_MAX = 4

FOLDERS = ['engine', 'net', 'storage', 'bench', 'tests', 'docs']
TOP_LEVEL = FOLDERS + ['meson.build', 'README.md', 'LICENSE']
TOP_LEVEL_MADE = ['build*', 'thole-*', '.*']  # What builds and runs leave behind; dotfiles.

# Who may include which device library, and who must include it nowhere else.
INCLUDE_GATES = [
    (r'rte_\w+\.h$', ['net/nic_dpdk*.c', 'net/*dpdk*.h', 'tests/device/test_nic_*.c']),
    (r'liburing', ['storage/disk_uring.c', 'bench/floor_disk.c']),
    (r'cmocka', ['tests/*']),
    (r'isa-l', ['engine/base/crc.c']),
    (r'^(bpf|xdp)/', ['net/xdp.c']),
]

# Folders whose files may name only these (quoted includes).
LAYERS = [
    ('engine/base/', ['engine/base/']),
    ('engine/raft/', ['engine/raft/', 'engine/base/']),
    ('engine/client/thole.h', []),  # It is installed, alone.
    ('engine/client/', ['engine/client/', 'engine/wire.h', 'engine/config.h', 'engine/base/',
                        'net/nic.h', 'net/nic_socket.h']),
    ('net/', ['net/', 'engine/base/']),
    ('storage/', ['storage/', 'engine/base/']),
    ('engine/', ['engine/', 'net/', 'storage/']),
    ('bench/', ['bench/', 'engine/', 'net/', 'storage/']),
    ('tests/', ['tests/', 'bench/', 'engine/', 'net/', 'storage/']),
]
LAYER_EXCEPTIONS = {'engine/main.c': ['bench/']}

# The order inside engine/: a file may include what stands in its own row or in one before it, and
# belongs to the first row that matches its path.
ENGINE_ORDER = [
    ['engine/base/*'],
    ['engine/raft/*'],
    ['engine/replica_counters.h', 'engine/log.[ch]', 'engine/wire*', 'engine/session.[ch]'],
    ['engine/machine.[ch]', 'engine/outbox.[ch]', 'engine/staging.[ch]', 'engine/stats.[ch]'],
    ['engine/assembly.[ch]'],
    ['engine/asker.[ch]', 'engine/suspects.[ch]'],
    ['engine/stream*', 'engine/mender.[ch]', 'engine/intake.[ch]', 'engine/reader.[ch]',
     'engine/waiting.[ch]', 'engine/scrub*', 'engine/stall.[ch]'],
    ['engine/replica*'],
    ['engine/*'],  # The poll loop, the configuration, the client, the programs.
]

PURE_FOLDER = 'engine/raft/'
PURE_INCLUDES = ['stdbool.h', 'stddef.h', 'stdint.h', 'string.h']
PURE_CALLS = (r'malloc|calloc|realloc|free|clock_gettime|gettimeofday|time|printf|fprintf|snprintf|'
              r'puts|rand|random|srand|getenv|open|read|write|close|sleep|nanosleep|exit|abort')

ALLOCATION = r'malloc|calloc|realloc|reallocarray|free|strdup|strndup|aligned_alloc|' \
             r'posix_memalign|asprintf|vasprintf|alloca'
ALLOCATION_FOLDERS = ('engine/', 'net/', 'storage/')
# Start-up code, which runs before the memory is sealed.
ALLOCATION_ALLOWED = ['engine/base/mem.c', 'engine/main.c', 'engine/config*.c', 'engine/cli/*',
                      'net/nic_dpdk*', 'storage/disk_file.c', 'storage/format.c']

# What a header does for C++ alone.
CONDITIONALS_ALLOWED = {'engine/client/thole.h': '__cplusplus'}

# A list that is expanded (its one parameter is X) and a macro that pastes or quotes a name cannot
# be functions; so these need no place here. SIM_TRACE evaluates its arguments only when tracing.
MACROS_ALLOWED = ['SIM_TRACE']

# What `thole net stat` shows, and where its reader looks it up.
COUNTERS_TOLD = ['net/nic.h', 'net/capture.h', 'engine/wire.h', 'engine/replica_counters.h']
COUNTERS_MANUAL = 'docs/OPERATING.md'
COUNTERS_LIST = re.compile(r'#define (\w+_COUNTERS)\(X\)((?:[^\n]*\\\n)*[^\n]*)')

FORBIDDEN = re.compile(r'\b(TODO|FIXME|XXX|HACK)\b')
PATH_WORD = re.compile(r'(?<![\w./~*$}-])(?:\./)?((?:%s)/[\w./*-]*\w)' % '|'.join(FOLDERS))
PATH_ENDINGS = ['', '.c', '.h', '.py', '.sh', '.md']
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
CODE_TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
BLOCK_WORDS = {'if', 'for', 'while', 'switch', 'else', 'do'}


class Source:
    """One C file: its lines, its code with comments and strings blanked, its comments alone."""

    def __init__(self, path, text):
        self.path = path
        self.text = text
        self.lines = text.split('\n')
        self.code = CODE_TOKEN.sub(blank, text)
        self.comments = comments_of(text)
        self.code_lines = self.code.split('\n')
        # Without preprocessor lines, for whatever looks at functions and braces.
        self.bare = '\n'.join(without_directives(self.code_lines))


def blank(match):
    return re.sub(r'[^\n]', ' ', match.group(0))


def comments_of(text):
    """The text with everything but comments blanked, so that line numbers stay."""
    kept = [c if c == '\n' else ' ' for c in text]
    for match in CODE_TOKEN.finditer(text):
        if match.group(0).startswith('/'):
            kept[match.start():match.end()] = match.group(0)
    return ''.join(kept)


def without_directives(lines):
    result = []
    inside = False
    for line in lines:
        directive = inside or line.lstrip().startswith('#')
        inside = directive and line.rstrip().endswith('\\')
        result.append('' if directive else line)
    return result


def line_of(text, at):
    return text.count('\n', 0, at) + 1


def matches(path, patterns):
    return any(fnmatch.fnmatch(path, pattern) for pattern in patterns)


class Tree:
    def __init__(self, root):
        self.root = root
        self.findings = []
        self.sources = []
        self.texts = []  # (path, text) of every text file, C included.
        for folder, names, files in os.walk(root):
            here = os.path.relpath(folder, root)
            if here == '.':
                names[:] = [n for n in names if not matches(n, TOP_LEVEL_MADE) or n == '.ci']
            names[:] = sorted(n for n in names if n != '__pycache__')
            for name in sorted(files):
                self.add(os.path.normpath(os.path.join(here, name)))

    def add(self, path):
        if not (path.endswith(('.c', '.h', '.py', '.sh', '.md', '.build', '.lua', '.patch'))
                or path.startswith('.ci/')):
            return
        with open(os.path.join(self.root, path), encoding='utf-8', errors='replace') as file:
            text = file.read()
        self.texts.append((path, text))
        if path.endswith(('.c', '.h')):
            self.sources.append(Source(path, text))

    def find(self, check, path, line, what):
        self.findings.append((path, line, check, what))

    def exists(self, path):
        return any(glob.glob(os.path.join(self.root, path + e)) for e in PATH_ENDINGS)


def check_top_level(tree):
    for name in sorted(os.listdir(tree.root)):
        if name not in TOP_LEVEL and not matches(name, TOP_LEVEL_MADE):
            tree.find('top-level', name, 1, 'the top level is closed: ' + ' '.join(TOP_LEVEL))


def includes_of(source):
    for number, line in enumerate(source.lines, 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1) == '"', match.group(2)


def check_layers(tree):
    for source in tree.sources:
        allowed = next((a for f, a in LAYERS if source.path.startswith(f)), FOLDERS)
        allowed = allowed + LAYER_EXCEPTIONS.get(source.path, [])
        for line, quoted, name in includes_of(source):
            if quoted and not name.startswith(tuple(allowed)):
                only = " ".join(allowed) or 'nothing of the project'
                what = f'includes "{name}"; what may be included here: {only}'
                tree.find('layers', source.path, line, what)


def engine_rank(path):
    return next(rank for rank, row in enumerate(ENGINE_ORDER) if matches(path, row))


def check_engine_order(tree):
    for source in tree.sources:
        if not source.path.startswith('engine/'):
            continue
        for line, quoted, name in includes_of(source):
            if quoted and name.startswith('engine/') and \
                    engine_rank(name) > engine_rank(source.path):
                tree.find('engine-order', source.path, line,
                          f'includes "{name}", which stands above it')


def check_include_gates(tree):
    for source in tree.sources:
        for line, _, name in includes_of(source):
            for pattern, allowed in INCLUDE_GATES:
                if re.search(pattern, name) and not matches(source.path, allowed):
                    what = f'{name} is only for {" ".join(allowed)}'
                    tree.find('include-gates', source.path, line, what)


def check_pure_includes(tree):
    for source in tree.sources:
        if not source.path.startswith(PURE_FOLDER):
            continue
        for line, quoted, name in includes_of(source):
            if not quoted and name not in PURE_INCLUDES:
                tree.find('pure-includes', source.path, line, f'<{name}> in the pure core')


def check_pure_calls(tree):
    call = re.compile(r'(?<![\w.>])(%s)\s*\(' % PURE_CALLS)
    for source in tree.sources:
        if source.path.startswith(PURE_FOLDER):
            for match in call.finditer(source.bare):
                tree.find('pure-calls', source.path, line_of(source.bare, match.start()),
                          f'{match.group(1)}() in the pure core')


def is_mutable(declaration):
    """Whether a file-scope or static declaration holds something that can change."""
    declarator = re.split(r'[=\[]', declaration, 1)[0]
    if '*' in declarator:
        return not re.search(r'\bconst\b[^*]*$', declarator)  # A pointer must itself be const.
    return not re.search(r'\bconst\b', declarator)


def check_pure_state(tree):
    """No variable that outlives a call: at file scope, or static within a function."""
    for source in tree.sources:
        if not source.path.startswith(PURE_FOLDER):
            continue
        for at, text in file_scope_statements(source.bare):
            words = text.split()
            if not words or words[0] in ('typedef', 'extern', '_Static_assert'):
                continue
            head = text.split('=', 1)[0]
            aggregate = re.match(r'(static\s+|const\s+)*(struct|union|enum)\s+\w+\s*$', head)
            if '(' not in head and not aggregate and is_mutable(text):
                tree.find('pure-state', source.path, line_of(source.bare, at),
                          'a global that can change, in the pure core')
        for match in re.finditer(r'^[ \t]+static\s+([^;()]*)[;=\[]', source.bare, re.M):
            if is_mutable(match.group(1)):
                tree.find('pure-state', source.path, line_of(source.bare, match.start(1)),
                          'a static variable that can change, in the pure core')


def file_scope_statements(bare):
    """(position, text) of what stands at depth 0 before each ';', and before each function body."""
    depth = 0
    begin = 0
    text = ''
    for at, c in enumerate(bare):
        if c == '{':
            depth += 1
        elif c == '}':
            depth -= 1
            if depth == 0 and text.rstrip().endswith(')'):
                text = ''  # A function's body ended.
        elif depth == 0 and c == ';':
            if text.strip():
                yield begin, text.strip()
            text = ''
        elif depth == 0:
            if not text.strip():
                begin = at
            text += c


def check_allocation(tree):
    call = re.compile(r'(?<![\w.>])(%s)\s*\(' % ALLOCATION)
    for source in tree.sources:
        if not source.path.startswith(ALLOCATION_FOLDERS):
            continue
        if matches(source.path, ALLOCATION_ALLOWED):
            continue
        for match in call.finditer(source.bare):
            what = f'{match.group(1)}(): memory is taken from struct mem, at start'
            tree.find('allocation', source.path, line_of(source.bare, match.start()), what)


def last_word(text):
    """The word that a text ends with, '' for none. A search for it would walk all the text."""
    begin = len(text)
    while begin > 0 and (text[begin - 1].isalnum() or text[begin - 1] == '_'):
        begin -= 1
    return text[begin:]


def opener_of(bare, at):
    """The keyword that a '{' belongs to, 'function' for a body, None for a list or a struct."""
    before = bare[:at].rstrip()
    word = last_word(before)
    if word:
        return word if word in BLOCK_WORDS else None
    if not before.endswith(')'):
        return None
    depth = 0
    for i in range(len(before) - 1, -1, -1):
        depth += (before[i] == ')') - (before[i] == '(')
        if depth == 0:
            word = last_word(before[:i].rstrip())
            if not word:
                return None
            return word if word in BLOCK_WORDS else 'function'
    return None


def functions_of(source):
    """(first line, last line, deepest nesting of blocks) of every function."""
    stack = []
    begin = 0
    deepest = 0
    for match in re.finditer(r'[{}]', source.bare):
        if match.group(0) == '{':
            opener = opener_of(source.bare, match.start())
            if not stack:
                begin = line_of(source.bare, match.start())
                deepest = 0
            stack.append(opener)
            deepest = max(deepest, sum(1 for o in stack if o in BLOCK_WORDS))
        elif stack:
            opener = stack.pop()
            if not stack and opener == 'function':
                yield begin, line_of(source.bare, match.start()), deepest


def check_function_length(tree):
    for source in tree.sources:
        for first, last, _ in functions_of(source):
            lines = last - first + 1
            # A list of cmocka tests is data, though it stands in main().
            listing = 'struct CMUnitTest' in '\n'.join(source.lines[first - 1:last])
            if lines > FUNCTION_LINES_MAX and not listing:
                tree.find('function-length', source.path, first,
                          f'a function of {lines} lines, at most {FUNCTION_LINES_MAX}')


def check_nesting(tree):
    for source in tree.sources:
        for first, _, deepest in functions_of(source):
            if deepest > NESTING_MAX:
                tree.find('nesting', source.path, first,
                          f'blocks {deepest} deep, at most {NESTING_MAX}')


def check_file_length(tree):
    for path, text in tree.texts:
        lines = text.count('\n')
        if path.endswith(('.c', '.h', '.py', '.sh')) and lines > FILE_LINES_MAX:
            tree.find('file-length', path, 1, f'{lines} lines, at most {FILE_LINES_MAX}')


def check_columns(tree):
    for path, text in tree.texts:
        if not path.endswith(('.c', '.h', '.py', '.sh')):
            continue
        for number, line in enumerate(text.split('\n'), 1):
            if len(line) > COLUMNS_MAX:
                tree.find('columns', path, number, f'{len(line)} columns, at most {COLUMNS_MAX}')


def check_white_space(tree):
    for path, text in tree.texts:
        if path.endswith('.patch'):
            continue  # A patch's context lines end as they end.
        for number, line in enumerate(text.split('\n'), 1):
            if '\t' in line or line != line.rstrip():
                tree.find('white-space', path, number, 'a tab, or white space at the end')
        if text and not text.endswith('\n'):
            tree.find('white-space', path, text.count('\n') + 1, 'no newline at the end')


def check_macros(tree):
    macro = re.compile(r'^\s*#\s*define\s+(\w+)\(([^)]*)\)(.*)')
    for source in tree.sources:
        if source.path.startswith('engine/base/'):
            continue
        for number, line in enumerate(source.lines, 1):
            match = macro.match(line)
            if not match or match.group(2).strip() == 'X' or '#' in match.group(3):
                continue
            if match.group(1) in MACROS_ALLOWED:
                continue
            tree.find('macros', source.path, number,
                      f'{match.group(1)}(): an inline function, not a macro')


def guard_of(path):
    return re.sub(r'\W', '_', path).upper()


def check_conditionals(tree):
    """Header guards named after the path, and no other #if outside engine/base."""
    for source in tree.sources:
        header = source.path.endswith('.h')
        guard = guard_of(source.path)
        if header and f'#ifndef {guard}\n#define {guard}\n' not in source.text:
            tree.find('conditionals', source.path, 1, f'the header guard is not {guard}')
        if source.path.startswith('engine/base/'):
            continue
        for number, line in enumerate(source.code_lines, 1):
            match = re.match(r'\s*#\s*(if|ifdef|ifndef)\b\s*(.*)', line)
            allowed = [guard, CONDITIONALS_ALLOWED.get(source.path)]
            if match and not (header and match.group(2).strip() in allowed):
                tree.find('conditionals', source.path, number,
                          'conditional compilation: choose by file, in meson')


def check_contract(tree):
    for source in tree.sources:
        if not source.text.startswith(f'/* {os.path.basename(source.path)}:'):
            tree.find('contract', source.path, 1, 'opens without "/* its-name: what it is"')


def check_typedefs(tree):
    for source in tree.sources:
        for match in re.finditer(r'\btypedef\s+(struct|union|enum)\b', source.bare):
            tree.find('typedefs', source.path, line_of(source.bare, match.start()),
                      'a typedef hides what it is; say struct')


def check_words(tree):
    for path, text in tree.texts:
        if path == 'tests/tidy.py':
            continue
        for number, line in enumerate(text.split('\n'), 1):
            match = FORBIDDEN.search(line)
            if match:
                tree.find('words', path, number, f'{match.group(1)}: do it, or leave it out')


def check_paths(tree):
    """Every path that a document, a script or a comment names must be there."""
    for path, text in tree.texts:
        if path == 'tests/tidy.py' or path.endswith(('.build', '.patch')):
            continue
        if path.endswith(('.c', '.h')):
            text = comments_of(text)
        for number, line in enumerate(text.split('\n'), 1):
            for match in PATH_WORD.finditer(line):
                if not tree.exists(match.group(1)):
                    tree.find('paths', path, number, f'{match.group(1)} is not there')


def check_counters(tree):
    """Every counter that a node tells of must have its meaning in the manual."""
    manual = ''.join(text for path, text in tree.texts if path == COUNTERS_MANUAL)
    for source in tree.sources:
        if source.path not in COUNTERS_TOLD:
            continue
        for match in COUNTERS_LIST.finditer(source.text):
            line = line_of(source.text, match.start())
            for name in re.findall(r'X\((\w+)\)', match.group(2)):
                if f'`{name}`' not in manual:
                    tree.find('counters', source.path, line, f'{COUNTERS_MANUAL} has no `{name}`')


CHECKS = [check_top_level, check_layers, check_engine_order, check_include_gates,
          check_pure_includes, check_pure_calls, check_pure_state, check_allocation,
          check_function_length, check_nesting, check_file_length, check_columns,
          check_white_space, check_macros, check_conditionals, check_contract, check_typedefs,
          check_words, check_paths, check_counters]


def run(root):
    tree = Tree(root)
    for check in CHECKS:
        check(tree)
    return tree


# The self-test: a small tree without findings, and per line one fault: which check must find it,
# in which file, and what is put at that file's end (or, without a file, a new one's whole text).
GOOD_TREE = {
    'README.md': '# good\n\nRead engine/raft/core.c and ./tests/a.c; `net/*.h` too.\n',
    'engine/base/a.h': '/* a.h: base. */\n#ifndef ENGINE_BASE_A_H\n#define ENGINE_BASE_A_H\n'
                       '#define SQUARE(a) ((a) * (a))\n#endif\n',
    'engine/raft/core.c': '/* core.c: pure. */\n#include "engine/base/a.h"\n\n'
                          '#include <stdint.h>\n\nstruct core {\n    int a;\n};\n'
                          'static const char *const names[] = {"x", "free("};\n\n'
                          'static int add(int a)\n{\n    static const int one = 1;\n'
                          '    return a + one;\n}\n',
    'engine/main.c': '/* main.c: lists bench\'s commands. */\n#include "bench/cmd.h"\n',
    'engine/stream.h': '/* stream.h: a peer. */\n#ifndef ENGINE_STREAM_H\n'
                       '#define ENGINE_STREAM_H\n#include "engine/wire.h"\n'
                       '#include "engine/replica_counters.h"\n#endif\n',
    'engine/replica_drain.c': '/* replica_drain.c: out. */\n#include "engine/stream.h"\n',
    'engine/node.c': '/* node.c: a process. */\n#include "engine/replica.h"\n',
    'engine/client/thole.h': '/* thole.h: the public header. */\n'
                             '#ifndef ENGINE_CLIENT_THOLE_H\n#define ENGINE_CLIENT_THOLE_H\n'
                             '#ifdef __cplusplus\nextern "C" {\n#endif\n#endif\n',
    'engine/client/client.c': '/* client.c: requests. */\n#include "net/nic.h"\n',
    'net/n.h': '/* n.h: frames. */\n#ifndef NET_N_H\n#define NET_N_H\n'
               '#define N_LIST(X) X(a)\n#define N_NAME(name) N_##name,\n#endif\n',
    'net/nic.h': '/* nic.h: a port. */\n#ifndef NET_NIC_H\n#define NET_NIC_H\n'
                 '#define NIC_COUNTERS(X) \\\n    X(frames) \\\n    X(drops)\n#endif\n',
    'docs/OPERATING.md': '| `frames`, `drops` | counted |\n',
    'storage/s.c': '/* s.c: see storage/s.c. */\n#include "engine/base/a.h"\n',
    'bench/cmd.h': '/* cmd.h: commands. */\n#ifndef BENCH_CMD_H\n#define BENCH_CMD_H\n#endif\n',
    'tests/a.c': '/* a.c: a test. */\n#include <cmocka.h>\n',
}

FAULTS = [
    ('top-level', 'stray.txt', 'a file\n'),
    ('layers', 'engine/raft/core.c', '#include "net/n.h"\n'),
    ('layers', 'engine/client/thole.h', '#include "engine/base/a.h"\n'),
    ('layers', 'engine/client/client.c', '/* client.c: x. */\n#include "engine/replica.h"\n'),
    ('layers', 'net/n.h', '#include "storage/s.h"\n'),
    ('layers', 'storage/s.c', '#include "engine/raft/raft.h"\n'),
    ('layers', 'engine/base/a.h', '#include "net/n.h"\n'),
    ('layers', 'engine/replica.c', '/* replica.c: x. */\n#include "bench/cmd.h"\n'),
    ('engine-order', 'engine/base/a.h', '#include "engine/raft/raft.h"\n'),
    ('engine-order', 'engine/raft/core.c', '#include "engine/log.h"\n'),
    ('engine-order', 'engine/log.c', '/* log.c: x. */\n#include "engine/stream.h"\n'),
    ('engine-order', 'engine/stream.h', '#include "engine/replica.h"\n'),
    ('engine-order', 'engine/replica_drain.c', '#include "engine/core.h"\n'),
    ('include-gates', 'storage/s.c', '#include <rte_ethdev.h>\n'),
    ('include-gates', 'net/n.h', '#include <liburing.h>\n'),
    ('include-gates', 'engine/main.c', '#include <cmocka.h>\n'),
    ('pure-includes', 'engine/raft/core.c', '#include <stdio.h>\n'),
    ('pure-calls', 'engine/raft/core.c', 'int f(void)\n{\n    return rand();\n}\n'),
    ('pure-state', 'engine/raft/core.c', 'static int counter;\n'),
    ('pure-state', 'engine/raft/core.c', 'struct core last = {1};\n'),
    ('pure-state', 'engine/raft/core.c', 'static const char *name = "a";\n'),
    ('pure-state', 'engine/raft/core.c', 'int f(void)\n{\n    static int n;\n    return n++;\n}\n'),
    ('allocation', 'storage/s.c', 'void *f(void)\n{\n    return malloc(3);\n}\n'),
    ('function-length', 'storage/s.c', 'void f(void)\n{\n' + '    g();\n' * 70 + '}\n'),
    ('file-length', 'storage/s.c', '\n' * 1001),
    ('columns', 'storage/s.c', '/* ' + 'a' * 100 + ' */\n'),
    ('white-space', 'storage/s.c', 'int a; \n'),
    ('white-space', 'storage/s.c', '\tint a;\n'),
    ('nesting', 'storage/s.c',
     'void f(int a)\n{\n' + ''.join('    ' * i + 'if (g(a)) {\n' for i in range(1, 6)) +
     '}\n' * 6),
    ('macros', 'storage/s.c', '#define TWICE(a) ((a) * 2)\n'),
    ('conditionals', 'storage/s.c', '#ifdef __linux__\n#endif\n'),
    ('conditionals', 'engine/client/thole.h', '#ifdef NDEBUG\n#endif\n'),
    ('conditionals', 'bench/bad.h', '/* bad.h: x. */\n#ifndef BAD_H\n#define BAD_H\n#endif\n'),
    ('contract', 'storage/other.c', 'int a;\n'),
    ('typedefs', 'storage/s.c', 'typedef struct s s_t;\n'),
    ('words', 'storage/s.c', '/* ' + 'TO' + 'DO: later */\n'),
    ('counters', 'net/nic.h', '#define MORE_COUNTERS(X) X(frames) \\\n    X(losses)\n'),
    ('paths', 'README.md', 'Also read `engine/gone.c`.\n'),
    ('paths', 'storage/s.c', '/* As engine/gone.h says. */\n'),
]


def tree_write(root, files):
    for path, text in files.items():
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, 'w', encoding='utf-8') as file:
            file.write(text)


def findings_with(files):
    with tempfile.TemporaryDirectory() as root:
        tree_write(root, files)
        return run(root).findings


def self_test():
    missed = [f'the good tree has {finding}' for finding in findings_with(GOOD_TREE)]
    for check, path, text in FAULTS:
        found = findings_with({**GOOD_TREE, path: GOOD_TREE.get(path, '') + text})
        if [f for f in found if f[2] == check and f[0] == path] == []:
            missed.append(f'{check} did not catch {text[:60]!r} in {path}')
    kinds = {function.__name__[6:].replace('_', '-') for function in CHECKS}
    for kind in sorted(kinds - {fault[0] for fault in FAULTS}):
        missed.append(f'{kind} has no planted fault')
    for line in missed:
        print(line)
    print(f'tidy self-test: {len(FAULTS)} faults, {len(missed)} missed')
    return 1 if missed else 0


def main():
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--root', default=here)
    parser.add_argument('--self-test', action='store_true')
    arguments = parser.parse_args()
    if arguments.self_test:
        return self_test()
    tree = run(arguments.root)
    for path, text in tree.texts:
        lines = text.count('\n')
        if path.endswith(('.c', '.h', '.py')) and lines > FILE_LINES_LONG:
            print(f'{path}: {lines} lines, longer than most should be')
    for path, line, check, what in sorted(tree.findings):
        print(f'{path}:{line}: {check}: {what}')
    print(f'tidy: {len(CHECKS)} checks, {len(tree.findings)} findings')
    return 1 if tree.findings else 0


if __name__ == '__main__':
    sys.exit(main())
