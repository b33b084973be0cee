/* bench.h: the benchmark's subcommands, as engine/main.c lists them. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include "engine/cli/command.h"

extern const struct command command_demo;
extern const struct command command_bench_run;
extern const struct command command_floor_disk;
extern const struct command command_floor_net;
extern const struct command command_floor_all;

#endif
