/* The heap of one isolate: two-level segregated fit over one growing span of linear memory.
 *
 * Why not the malloc of the toolchain: an isolate is restored by copying memory back, which cannot undo
 * `memory.grow`. This allocator asks how large the memory *is* before it grows it, so pages grown by an
 * earlier call are used again and a reused instance stays at its size. It also
 *   - packs blocks behind one 4-byte header, which keeps images small;
 *   - knows its large free blocks, which an image then leaves out (heap_free_spans);
 *   - raises `control.interrupt` when it must refuse, so that a program cannot catch running out of memory.
 */
#include "glue.h"

#define FREE 1u
#define PREVIOUS_FREE 2u
#define FLAGS 3u
#define HEADER 8u     /* distance from a block to its payload; `previous` lies in the neighbour's payload */
#define OVERHEAD 4u   /* what a block really costs beyond its payload */
#define PAYLOAD_MIN 12u
#define SMALL_MAX 256u
#define BIN_COUNT 192u
#define PAGE 65536u

typedef struct block {
  struct block *previous; /* valid only while the previous block is free */
  uint32_t size;          /* payload bytes, always 4 modulo 8, with the two flags below */
  struct block *next_free, *previous_free;
} block;

extern char __heap_base, __data_end;

static block *bins[BIN_COUNT];
static uint32_t bin_map[BIN_COUNT / 32];
static uint32_t heap_start, heap_end, heap_limit;

static uint32_t size_of(const block *b) { return b->size & ~FLAGS; }
static void *payload_of(block *b) { return (char *)b + HEADER; }
static block *block_of(const void *payload) { return (block *)((char *)payload - HEADER); }
static block *next_of(block *b) { return (block *)((char *)b + size_of(b) + OVERHEAD); }

static uint32_t bin_of(uint32_t size) {
  if (size < SMALL_MAX) return size / 8;
  uint32_t level = 31 - __builtin_clz(size);
  return 32 + (level - 8) * 8 + ((size >> (level - 3)) & 7);
}

static void link_free(block *b) {
  uint32_t bin = bin_of(size_of(b));
  b->size |= FREE;
  b->previous_free = 0;
  b->next_free = bins[bin];
  if (bins[bin]) bins[bin]->previous_free = b;
  bins[bin] = b;
  bin_map[bin / 32] |= 1u << (bin % 32);
  block *next = next_of(b);
  next->previous = b;
  next->size |= PREVIOUS_FREE;
}

static void unlink_free(block *b) {
  uint32_t bin = bin_of(size_of(b));
  if (b->next_free) b->next_free->previous_free = b->previous_free;
  if (b->previous_free) b->previous_free->next_free = b->next_free;
  else if (!(bins[bin] = b->next_free)) bin_map[bin / 32] &= ~(1u << (bin % 32));
  b->size &= ~FREE;
  next_of(b)->size &= ~PREVIOUS_FREE;
}

/* Give the tail of a used block back when it is worth a block of its own. */
static void trim(block *b, uint32_t size) {
  uint32_t whole = size_of(b);
  if (whole < size + OVERHEAD + PAYLOAD_MIN) return;
  b->size = size | (b->size & FLAGS);
  block *rest = next_of(b);
  rest->size = whole - size - OVERHEAD;
  block *after = next_of(rest);
  if (after->size & FREE) {
    unlink_free(after);
    rest->size += size_of(after) + OVERHEAD;
  }
  link_free(rest);
}

static block *find(uint32_t size) {
  uint32_t bin = bin_of(size);
  for (block *b = bins[bin]; b; b = b->next_free)
    if (size_of(b) >= size) return b;
  for (uint32_t word = ++bin / 32; bin < BIN_COUNT && word < BIN_COUNT / 32; word++) {
    uint32_t map = bin_map[word];
    if (word == bin / 32) map &= ~0u << (bin % 32);
    if (map) return bins[word * 32 + __builtin_ctz(map)];
  }
  return 0;
}

static bool extend(uint32_t size) {
  uint64_t grown = ((uint64_t)size + 4 * HEADER + PAGE - 1) / PAGE * PAGE;
  if (heap_end + grown > (uint64_t)heap_start + heap_limit) return false;
  uint64_t present = (uint64_t)__builtin_wasm_memory_size(0) * PAGE;
  if (heap_end + grown > present &&
      __builtin_wasm_memory_grow(0, (heap_end + grown - present + PAGE - 1) / PAGE) == (size_t)-1)
    return false;
  block *b = (block *)(uintptr_t)(heap_end - HEADER); /* the old end mark becomes the new block's header */
  heap_end += grown;
  b->size = (grown - OVERHEAD) | (b->size & PREVIOUS_FREE);
  next_of(b)->size = 0; /* the new end mark: used, never merged */
  if (b->size & PREVIOUS_FREE) {
    block *before = b->previous;
    uint32_t joined = size_of(b) + OVERHEAD;
    unlink_free(before);
    before->size += joined;
    b = before;
  }
  link_free(b);
  return true;
}

void heap_open(uint32_t limit) {
  uint32_t base = ((uint32_t)(uintptr_t)&__heap_base + 15) & ~15u;
  uint32_t present = __builtin_wasm_memory_size(0) * PAGE;
  heap_start = base;
  heap_limit = limit;
  heap_end = base + HEADER; /* an empty heap is one end mark */
  if (heap_end > present) __builtin_wasm_memory_grow(0, 1);
  ((block *)(uintptr_t)(heap_end - HEADER))->size = 0;
}

void *malloc(size_t wanted) {
  if (wanted > heap_limit) goto refused;
  uint32_t size = wanted < PAYLOAD_MIN ? PAYLOAD_MIN : ((wanted + 3) & ~7u) + 4;
  block *b = find(size);
  if (!b && extend(size)) b = find(size);
  if (!b) goto refused;
  unlink_free(b);
  trim(b, size);
  return payload_of(b);
refused:
  control.interrupt = 1;
  control.exhausted = 1;
  return 0;
}

void free(void *payload) {
  if (!payload) return;
  block *b = block_of(payload), *next = next_of(b);
  if (next->size & FREE) {
    unlink_free(next);
    b->size += size_of(next) + OVERHEAD;
  }
  if (b->size & PREVIOUS_FREE) {
    block *before = b->previous;
    uint32_t joined = size_of(b) + OVERHEAD;
    unlink_free(before);
    before->size += joined;
    b = before;
  }
  link_free(b);
}

size_t malloc_usable_size(void *payload) { return payload ? size_of(block_of(payload)) : 0; }

void *calloc(size_t count, size_t each) {
  uint64_t size = (uint64_t)count * each;
  void *payload = malloc(size > UINT32_MAX ? UINT32_MAX : (size_t)size);
  return payload ? memset(payload, 0, (size_t)size) : 0;
}

void *realloc(void *payload, size_t wanted) {
  if (!payload) return malloc(wanted);
  if (!wanted) {
    free(payload);
    return 0;
  }
  block *b = block_of(payload);
  uint32_t have = size_of(b), size = wanted < PAYLOAD_MIN ? PAYLOAD_MIN : ((wanted + 3) & ~7u) + 4;
  if (wanted <= have) {
    trim(b, size);
    return payload;
  }
  block *next = next_of(b);
  if (wanted <= heap_limit && (next->size & FREE) && have + OVERHEAD + size_of(next) >= size) {
    unlink_free(next);
    b->size += size_of(next) + OVERHEAD;
    trim(b, size);
    return payload;
  }
  void *moved = malloc(wanted);
  if (!moved) return 0;
  memcpy(moved, payload, have);
  free(payload);
  return moved;
}

/* The parts of the heap whose bytes do not matter, as pairs (start, end) of at least `least` bytes each. */
EXPORT("heap_free_spans") uint32_t heap_free_spans(uint32_t *out, uint32_t room, uint32_t least) {
  uint32_t count = 0;
  for (block *b = (block *)(uintptr_t)heap_start; size_of(b); b = next_of(b)) {
    uint32_t start = (uint32_t)(uintptr_t)payload_of(b) + 8, end = (uint32_t)(uintptr_t)next_of(b);
    if (!(b->size & FREE) || end < start + least || count + 2 > room) continue;
    out[count++] = start;
    out[count++] = end;
  }
  return count;
}

EXPORT("statics_end") uint32_t statics_end(void) { return (uint32_t)(uintptr_t)&__data_end; }
EXPORT("stack_top") uint32_t stack_top(void) { return (uint32_t)(uintptr_t)__builtin_frame_address(0); }
EXPORT("heap_start") uint32_t heap_start_address(void) { return heap_start; }
EXPORT("heap_end") uint32_t heap_end_address(void) { return heap_end; }
