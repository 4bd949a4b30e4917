/* What the files of the glue share: the control block both sides read, and the export/import marks. */
#ifndef TIDELOG_GLUE_H
#define TIDELOG_GLUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define EXPORT(name) __attribute__((export_name(name)))
#define IMPORT(name) __attribute__((import_module("host"), import_name(name)))

/* Read and written by the host between (and, for `interrupt`, during) calls. functions/sandbox.py holds the
 * same layout as a ctypes structure. */
struct control {
  double now_ms;       /* what every clock shows while the clock is frozen */
  uint64_t seed[4];    /* randomness of the phase that `enter` begins */
  uint32_t out_address, out_length; /* result of the last export that says so */
  int32_t interrupt;   /* not 0: JavaScript stops and cannot catch it */
  int32_t exhausted;   /* the heap limit was hit */
  int32_t observed;    /* OBSERVED_* bits of the execution phase */
  int32_t executing;   /* 0 import phase, 1 execution phase */
  int32_t clock_live;  /* 1: ask the host for the time (actions) */
  int32_t dynamic_import; /* 1: import() may load modules (actions) */
};

#define OBSERVED_TIME 1
#define OBSERVED_RANDOM 2

extern struct control control;
void heap_open(uint32_t limit);

#endif
