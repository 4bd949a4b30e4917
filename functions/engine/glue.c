/* The C side of one isolate: QuickJS, its clock and randomness, the queue of asynchronous system calls.
 *
 * Promises to the host (functions/sandbox.py, functions/quickjs.py):
 *   - every export that runs JavaScript returns a STATUS_*; nothing else ends a call;
 *   - asynchronous system calls start one at a time, in the order JavaScript issued them, and only when no
 *     microtask is left (spec 03 1.3), so equal answers give equal executions;
 *   - once `control.interrupt` is set the call ends as STATUS_INTERRUPTED, whatever JavaScript catches;
 *   - all state is in linear memory: copying it back is a restore.
 *
 * Read in this order: enter, drain, start_operation, deliver.
 */
#include "glue.h"
#include "quickjs.h"
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

#define IO_BYTES 65536
#define ANSWER_PENDING (-1) /* asynchronous: the host will deliver later */
#define ANSWER_STOP INT32_MIN /* the host raised something JavaScript may not catch */
/* any other negative answer -n-2: n bytes of JSON {"message", "data"} to throw, in the io area */

enum { STATUS_WAITING, STATUS_RETURNED, STATUS_THROWN, STATUS_NEVER, STATUS_INTERRUPTED, STATUS_ABORTED };

IMPORT("syscall") int32_t host_syscall(const char *name, int32_t name_length, const char *args, int32_t args_length);
IMPORT("async_syscall")
int32_t host_async_syscall(int32_t id, const char *name, int32_t name_length, const char *args, int32_t args_length);
IMPORT("console") int32_t host_console(const char *level, int32_t level_length, const char *json, int32_t json_length);
IMPORT("operation")
int32_t host_operation(const char *request, int32_t request_length, const uint8_t *data, int32_t data_length);
IMPORT("load_module") int32_t host_load_module(const char *path, int32_t length);
IMPORT("now") double host_now(void);

struct control control;

static JSRuntime *runtime;
static JSContext *context;

/* Entry points of the prelude, bound once while it is evaluated. */
enum { ENTER, DESCRIBE, MAKE_ERROR, REFUSE_IMPORT_PHASE, NORMALIZE, MODULE_READY, HOOK_COUNT };
static const char *const hook_names[HOOK_COUNT] = {"enter",     "describe",    "makeError", "refuseImportPhase",
                                                   "normalize", "moduleReady"};
static JSValue hooks[HOOK_COUNT];

typedef struct operation {
  struct operation *next;
  JSValue name, args, resolve, reject;
  int32_t id;
} operation;

typedef struct rejection {
  struct rejection *next;
  JSValue promise, reason;
} rejection;

static operation *queue, **queue_end = &queue, *in_flight;
static int32_t next_operation_id;
static rejection *rejections;
static JSValue main_promise;
static bool aborted;
static char io_static[IO_BYTES], *io_area = io_static;
static uint32_t io_room = IO_BYTES;

EXPORT("control_address") struct control *control_address(void) { return &control; }

/* Where the host writes at least `need` bytes. The area moves only when it must grow. */
EXPORT("io_address") char *io_address(uint32_t need) {
  if (need > io_room) {
    char *larger = malloc(need);
    if (!larger) return 0;
    if (io_area != io_static) free(io_area);
    io_area = larger;
    io_room = need;
  }
  return io_area;
}

/* --- clock and randomness: the only two sources the engine has --------------------------------------- */

static double now_ms(void) {
  if (control.executing) control.observed |= OBSERVED_TIME;
  return control.clock_live ? host_now() : control.now_ms;
}

int clock_gettime(clockid_t clock, struct timespec *out) {
  double ms = now_ms();
  out->tv_sec = (time_t)(ms / 1000);
  out->tv_nsec = (long)((ms - (double)out->tv_sec * 1000) * 1e6);
  return 0;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
  int64_t us = (int64_t)(now_ms() * 1000);
  out->tv_sec = us / 1000000;
  out->tv_usec = us % 1000000;
  return 0;
}

static uint64_t random_state[4];

static uint64_t rotate(uint64_t x, int by) { return (x << by) | (x >> (64 - by)); }

/* xoshiro256**: four words of state, passes the usual batteries, cheap in wasm. */
static uint64_t random_word(void) {
  uint64_t *s = random_state, result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotate(s[3], 45);
  return result;
}

/* Each seed word goes through splitmix64, so that a seed of zeros is not a state of zeros. */
static void seed_random(void) {
  uint64_t carry = 0;
  for (int i = 0; i < 4; i++) {
    uint64_t z = (carry += control.seed[i] + 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    random_state[i] = z ^ (z >> 31);
  }
}

static void note_randomness(void) {
  if (control.executing) control.observed |= OBSERVED_RANDOM;
}

static JSValue js_random(JSContext *c, JSValueConst self, int argc, JSValueConst *argv) {
  note_randomness();
  return JS_NewFloat64(c, (double)(random_word() >> 11) * 0x1p-53);
}

/* randomBytes(buffer, offset, length): fill a part of an ArrayBuffer. */
static JSValue js_random_bytes(JSContext *c, JSValueConst self, int argc, JSValueConst *argv) {
  size_t size;
  uint32_t offset, length;
  uint8_t *bytes = JS_GetArrayBuffer(c, &size, argv[0]);
  if (!bytes && size) return JS_EXCEPTION;
  if (JS_ToUint32(c, &offset, argv[1]) || JS_ToUint32(c, &length, argv[2])) return JS_EXCEPTION;
  if ((uint64_t)offset + length > size) return JS_ThrowRangeError(c, "random bytes out of bounds");
  note_randomness();
  for (uint32_t i = 0; i < length; i += 8) {
    uint64_t word = random_word();
    memcpy(bytes + offset + i, &word, length - i < 8 ? length - i : 8);
  }
  return JS_UNDEFINED;
}

/* --- text ----------------------------------------------------------------------------------------------- */

static JSValue js_utf8_encode(JSContext *c, JSValueConst self, int argc, JSValueConst *argv) {
  size_t length;
  const char *text = JS_ToCStringLen(c, &length, argv[0]);
  if (!text) return JS_EXCEPTION;
  JSValue buffer = JS_NewArrayBufferCopy(c, (const uint8_t *)text, length);
  JS_FreeCString(c, text);
  return buffer;
}

/* Length of the well-formed sequence at p, or minus the length of the maximal ill-formed part. */
static int utf8_step(const uint8_t *p, const uint8_t *end) {
  uint8_t lead = *p, low = 0x80, high = 0xbf;
  int need = lead < 0x80 ? 0 : lead < 0xc2 ? -1 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf5 ? 3 : -1;
  if (need < 0) return -1;
  if (lead == 0xe0) low = 0xa0;
  if (lead == 0xed) high = 0x9f;
  if (lead == 0xf0) low = 0x90;
  if (lead == 0xf4) high = 0x8f;
  for (int i = 1; i <= need; i++, low = 0x80, high = 0xbf)
    if (p + i >= end || p[i] < low || p[i] > high) return -i;
  return need + 1;
}

/* utf8Decode(buffer, offset, length, fatal): U+FFFD for each maximal ill-formed part, or undefined if fatal. */
static JSValue js_utf8_decode(JSContext *c, JSValueConst self, int argc, JSValueConst *argv) {
  size_t size, out = 0;
  uint32_t offset, length;
  uint8_t *bytes = JS_GetArrayBuffer(c, &size, argv[0]);
  if (!bytes && size) return JS_EXCEPTION;
  if (JS_ToUint32(c, &offset, argv[1]) || JS_ToUint32(c, &length, argv[2])) return JS_EXCEPTION;
  if ((uint64_t)offset + length > size) return JS_ThrowRangeError(c, "text out of bounds");
  const uint8_t *p = bytes + offset, *end = p + length, *q = p;
  int step = 1;
  while (q < end && (step = utf8_step(q, end)) > 0) q += step;
  if (q >= end) return JS_NewStringLen(c, (const char *)p, length);
  if (JS_ToBool(c, argv[3])) return JS_UNDEFINED;
  char *clean = js_malloc(c, (size_t)length * 3);
  if (!clean) return JS_EXCEPTION;
  while (p < end) {
    step = utf8_step(p, end);
    memcpy(clean + out, step > 0 ? (const char *)p : "\xef\xbf\xbd", step > 0 ? step : 3);
    out += step > 0 ? step : 3;
    p += step > 0 ? step : -step;
  }
  JSValue text = JS_NewStringLen(c, clean, out);
  js_free(c, clean);
  return text;
}

/* --- results -------------------------------------------------------------------------------------------- */

static int give(JSValueConst value, int status) {
  size_t length;
  const char *text = JS_ToCStringLen(context, &length, value); /* freed by the next restore */
  if (!text) {
    JS_FreeValue(context, JS_GetException(context));
    text = "";
    length = 0;
  }
  control.out_address = (uint32_t)(uintptr_t)text;
  control.out_length = length;
  return control.interrupt ? STATUS_INTERRUPTED : status;
}

static int give_thrown(JSValueConst reason) {
  if (control.interrupt) return STATUS_INTERRUPTED;
  JSValue described = JS_Call(context, hooks[DESCRIBE], JS_UNDEFINED, 1, &reason);
  if (JS_IsException(described)) JS_FreeValue(context, JS_GetException(context));
  return give(described, STATUS_THROWN);
}

static int give_exception(void) { return give_thrown(JS_GetException(context)); }

static JSValue stop(JSContext *c) {
  control.interrupt = 1;
  JS_ThrowInternalError(c, "interrupted");
  JSValue exception = JS_GetException(c);
  JS_SetUncatchableError(c, exception);
  return JS_Throw(c, exception);
}

/* The error object for a negative answer of the host. */
static JSValue answer_error(JSContext *c, int32_t answer) {
  JSValue text = JS_NewStringLen(c, io_area, -answer - 2);
  JSValue error = JS_Call(c, hooks[MAKE_ERROR], JS_UNDEFINED, 1, (JSValueConst *)&text);
  JS_FreeValue(c, text);
  return error;
}

/* --- what the prelude is given ---------------------------------------------------------------------------- */

static JSValue js_bind(JSContext *c, JSValueConst self, int argc, JSValueConst *argv) {
  for (int i = 0; i < HOOK_COUNT; i++) {
    JS_FreeValue(c, hooks[i]);
    hooks[i] = JS_GetPropertyStr(c, argv[0], hook_names[i]);
  }
  return JS_UNDEFINED;
}

/* abort(message): ends the call with a text nobody can catch (spec 03 0, UncatchableDeveloperError). */
static JSValue js_abort(JSContext *c, JSValueConst self, int argc, JSValueConst *argv) {
  if (!control.interrupt) {
    give(argv[0], STATUS_ABORTED);
    aborted = true;
  }
  return stop(c);
}

static JSValue refuse(JSContext *c, JSValueConst name) {
  return JS_Call(c, hooks[REFUSE_IMPORT_PHASE], JS_UNDEFINED, 1, &name);
}

static JSValue js_syscall(JSContext *c, JSValueConst self, int argc, JSValueConst *argv) {
  if (control.interrupt) return stop(c);
  if (!control.executing) return refuse(c, argv[0]);
  size_t name_length, args_length;
  const char *name = JS_ToCStringLen(c, &name_length, argv[0]);
  if (!name) return JS_EXCEPTION;
  const char *args = JS_ToCStringLen(c, &args_length, argv[1]);
  if (!args) {
    JS_FreeCString(c, name);
    return JS_EXCEPTION;
  }
  int32_t answer = host_syscall(name, name_length, args, args_length);
  JS_FreeCString(c, name);
  JS_FreeCString(c, args);
  if (answer == ANSWER_STOP) return stop(c);
  if (answer >= 0) return JS_NewStringLen(c, io_area, answer);
  JSValue error = answer_error(c, answer);
  return JS_IsException(error) ? error : JS_Throw(c, error);
}

static void settle_function(JSContext *c, JSValueConst function, JSValueConst value) {
  JS_FreeValue(c, JS_Call(c, function, JS_UNDEFINED, 1, &value));
}

/* Queue the operation; `drain` starts it when the microtasks are done. */
static JSValue js_async_syscall(JSContext *c, JSValueConst self, int argc, JSValueConst *argv) {
  if (control.interrupt) return stop(c);
  JSValue name = JS_ToString(c, argv[0]), args = JS_IsException(name) ? name : JS_ToString(c, argv[1]);
  if (JS_IsException(args)) return args;
  JSValue functions[2], promise = JS_NewPromiseCapability(c, functions);
  if (JS_IsException(promise)) return promise;
  if (!control.executing) {
    JSValue refusal = refuse(c, argv[0]);
    JSValue error = JS_IsException(refusal) ? JS_GetException(c) : refusal;
    settle_function(c, functions[1], error);
    return promise;
  }
  operation *o = js_malloc(c, sizeof *o);
  if (!o) return JS_EXCEPTION;
  *o = (operation){0, name, args, functions[0], functions[1], 0};
  *queue_end = o;
  queue_end = &o->next;
  return promise;
}

static JSValue js_console(JSContext *c, JSValueConst self, int argc, JSValueConst *argv) {
  if (control.interrupt) return stop(c);
  size_t level_length, json_length;
  const char *level = JS_ToCStringLen(c, &level_length, argv[0]);
  const char *json = JS_ToCStringLen(c, &json_length, argv[1]);
  int32_t answer = level && json ? host_console(level, level_length, json, json_length) : ANSWER_STOP;
  JS_FreeCString(c, level);
  JS_FreeCString(c, json);
  return answer == ANSWER_STOP ? stop(c) : JS_UNDEFINED;
}

/* operation(request, buffer, offset, length): a computation the host does for us (crypto.subtle), in both
 * phases, without a transaction. Bytes in, an ArrayBuffer out. */
static JSValue js_operation(JSContext *c, JSValueConst self, int argc, JSValueConst *argv) {
  if (control.interrupt) return stop(c);
  size_t size, request_length;
  uint32_t offset, length;
  uint8_t *bytes = JS_GetArrayBuffer(c, &size, argv[1]);
  if (!bytes && size) return JS_EXCEPTION;
  if (JS_ToUint32(c, &offset, argv[2]) || JS_ToUint32(c, &length, argv[3])) return JS_EXCEPTION;
  if ((uint64_t)offset + length > size) return JS_ThrowRangeError(c, "operand out of bounds");
  const char *request = JS_ToCStringLen(c, &request_length, argv[0]);
  if (!request) return JS_EXCEPTION;
  int32_t answer = host_operation(request, request_length, bytes + offset, length);
  JS_FreeCString(c, request);
  if (answer == ANSWER_STOP) return stop(c);
  if (answer >= 0) return JS_NewArrayBufferCopy(c, (const uint8_t *)io_area, answer);
  JSValue error = answer_error(c, answer);
  return JS_IsException(error) ? error : JS_Throw(c, error);
}

/* lazyScript(name, host): evaluate a part of the prelude that not every call needs; gives what it exports.
 * `load_module` gives what `compile_script` made: reading that takes a fifth of the time of compiling.
 * Whether user code met a part must not show: clock and randomness are afterwards as they were. */
static JSValue js_lazy_script(JSContext *c, JSValueConst self, int argc, JSValueConst *argv) {
  size_t length;
  uint64_t random_before[4];
  int32_t observed_before = control.observed;
  memcpy(random_before, random_state, sizeof random_state);
  const char *name = JS_ToCStringLen(c, &length, argv[0]);
  if (!name) return JS_EXCEPTION;
  int32_t size = host_load_module(name, length);
  JSValue value = size < 0 ? JS_ThrowReferenceError(c, "prelude part %s is missing", name)
                           : JS_ReadObject(c, (const uint8_t *)io_area, size, JS_READ_OBJ_BYTECODE);
  JS_FreeCString(c, name);
  if (!JS_IsException(value)) value = JS_EvalFunction(c, value);
  if (JS_IsException(value)) return value;
  JSValue exports = JS_Call(c, value, JS_UNDEFINED, 1, argv + 1);
  JS_FreeValue(c, value);
  memcpy(random_state, random_before, sizeof random_state);
  control.observed = observed_before;
  return exports;
}

/* --- modules ---------------------------------------------------------------------------------------------- */

static char *normalize(JSContext *c, const char *base, const char *name, void *opaque) {
  JSValue args[3] = {JS_NewString(c, base), JS_NewString(c, name),
                     JS_NewBool(c, !control.executing || control.dynamic_import)};
  JSValue joined = JS_Call(c, hooks[NORMALIZE], JS_UNDEFINED, 3, (JSValueConst *)args);
  JS_FreeValue(c, args[0]);
  JS_FreeValue(c, args[1]);
  if (JS_IsException(joined)) return 0;
  const char *text = JS_ToCString(c, joined);
  char *copy = text ? js_strdup(c, text) : 0;
  JS_FreeCString(c, text);
  JS_FreeValue(c, joined);
  return copy;
}

static JSModuleDef *load(JSContext *c, const char *name, void *opaque) {
  int32_t size = host_load_module(name, strlen(name));
  if (size == ANSWER_STOP) {
    stop(c);
    return 0;
  }
  if (size < 0) {
    JSValue error = answer_error(c, size);
    if (!JS_IsException(error)) JS_Throw(c, error);
    return 0;
  }
  char *source = js_malloc(c, size + 1);
  if (!source) return 0;
  memcpy(source, io_area, size);
  source[size] = 0;
  JSValue module = JS_Eval(c, source, size, name, JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
  js_free(c, source);
  if (JS_IsException(module)) return 0;
  JSModuleDef *definition = JS_VALUE_GET_PTR(module);
  JS_FreeValue(c, module); /* the context's module list keeps it */
  return definition;
}

/* --- the event loop (spec 03 1.3) ------------------------------------------------------------------------- */

static void track_rejection(JSContext *c, JSValueConst promise, JSValueConst reason, bool handled, void *opaque) {
  if (!handled) {
    rejection *r = js_malloc(c, sizeof *r), **end = &rejections;
    if (!r) return;
    *r = (rejection){0, JS_DupValue(c, promise), JS_DupValue(c, reason)};
    while (*end) end = &(*end)->next;
    *end = r;
    return;
  }
  for (rejection **link = &rejections; *link; link = &(*link)->next)
    if (JS_VALUE_GET_PTR((*link)->promise) == JS_VALUE_GET_PTR(promise)) {
      rejection *r = *link;
      *link = r->next;
      JS_FreeValue(c, r->promise);
      JS_FreeValue(c, r->reason);
      js_free(c, r);
      return;
    }
}

static void end_operation(operation *o) {
  JS_FreeValue(context, o->name);
  JS_FreeValue(context, o->args);
  JS_FreeValue(context, o->resolve);
  JS_FreeValue(context, o->reject);
  js_free(context, o);
}

/* `answer` as the host gave it: a length in the io area, or an error. */
static void settle_operation(operation *o, int32_t answer) {
  JSValue value = answer >= 0 ? JS_NewStringLen(context, io_area, answer) : answer_error(context, answer);
  settle_function(context, answer >= 0 ? o->resolve : o->reject, value);
  JS_FreeValue(context, value);
  end_operation(o);
}

static void start_operation(void) {
  operation *o = queue;
  if (!(queue = o->next)) queue_end = &queue;
  size_t name_length, args_length;
  const char *name = JS_ToCStringLen(context, &name_length, o->name);
  const char *args = JS_ToCStringLen(context, &args_length, o->args);
  o->id = ++next_operation_id;
  int32_t answer =
      name && args ? host_async_syscall(o->id, name, name_length, args, args_length) : ANSWER_STOP;
  JS_FreeCString(context, name);
  JS_FreeCString(context, args);
  if (answer == ANSWER_STOP) {
    control.interrupt = 1;
  } else if (answer == ANSWER_PENDING) {
    o->next = in_flight;
    in_flight = o;
  } else {
    settle_operation(o, answer);
  }
}

static int stopped(void) { return aborted ? STATUS_ABORTED : STATUS_INTERRUPTED; }

/* Run until JavaScript has settled or can only wait for the host. */
static int drain(void) {
  for (;;) {
    JSContext *c;
    while (!control.interrupt && JS_IsJobPending(runtime))
      if (JS_ExecutePendingJob(runtime, &c) < 0) JS_FreeValue(context, JS_GetException(context));
    if (control.interrupt) return stopped();
    if (rejections) return give_thrown(rejections->reason);
    JSPromiseStateEnum state = JS_PromiseState(context, main_promise);
    if (state == JS_PROMISE_REJECTED) return give_thrown(JS_PromiseResult(context, main_promise));
    if (queue) {
      start_operation();
      continue;
    }
    /* An action ends with its promise; queries and mutations first finish every system call. */
    if (state == JS_PROMISE_FULFILLED && (!in_flight || control.dynamic_import))
      return give(JS_PromiseResult(context, main_promise), STATUS_RETURNED);
    return in_flight ? STATUS_WAITING : STATUS_NEVER;
  }
}

/* io area: operation, target, args back to back. */
EXPORT("enter") int enter(uint32_t operation_length, uint32_t target_length, uint32_t args_length) {
  seed_random();
  JSValue args[3] = {JS_NewStringLen(context, io_area, operation_length),
                     JS_NewStringLen(context, io_area + operation_length, target_length),
                     JS_NewStringLen(context, io_area + operation_length + target_length, args_length)};
  main_promise = JS_Call(context, hooks[ENTER], JS_UNDEFINED, 3, (JSValueConst *)args);
  for (int i = 0; i < 3; i++) JS_FreeValue(context, args[i]);
  if (control.interrupt) return stopped();
  if (JS_IsException(main_promise)) return give_exception();
  return drain();
}

/* Settle one operation in flight; the answer lies in the io area. An unknown id is ignored. */
EXPORT("deliver") int deliver(int32_t id, int32_t answer) {
  for (operation **link = &in_flight; *link; link = &(*link)->next)
    if ((*link)->id == id) {
      operation *o = *link;
      *link = o->next;
      settle_operation(o, answer);
      break;
    }
  return control.interrupt ? stopped() : drain();
}

/* --- building: only before an image is taken -------------------------------------------------------------- */

static int interrupt_handler(JSRuntime *r, void *opaque) { return control.interrupt; }

static void define(JSValueConst object, const char *name, JSCFunction *function, int arity) {
  JS_SetPropertyStr(context, object, name, JS_NewCFunction(context, function, name, arity));
}

EXPORT("open") int open_(uint32_t heap_bytes_max, uint32_t stack_bytes_max) {
  heap_open(heap_bytes_max);
  if (!(runtime = JS_NewRuntime()) || !(context = JS_NewContext(runtime))) return -1;
  JS_SetMaxStackSize(runtime, stack_bytes_max);
  JS_SetGCThreshold(runtime, 16 << 20); /* a short call never pays a collection */
  JS_SetInterruptHandler(runtime, interrupt_handler, 0);
  JS_SetHostPromiseRejectionTracker(runtime, track_rejection, 0);
  JS_SetModuleLoaderFunc(runtime, normalize, load, 0);
  JSValue global = JS_GetGlobalObject(context), host = JS_NewObject(context);
  define(host, "bind", js_bind, 1);
  define(host, "abort", js_abort, 1);
  define(host, "syscall", js_syscall, 2);
  define(host, "asyncSyscall", js_async_syscall, 2);
  define(host, "console", js_console, 2);
  define(host, "lazyScript", js_lazy_script, 2);
  define(host, "operation", js_operation, 4);
  define(host, "random", js_random, 0);
  define(host, "randomBytes", js_random_bytes, 3);
  define(host, "utf8Encode", js_utf8_encode, 1);
  define(host, "utf8Decode", js_utf8_decode, 4);
  JS_SetPropertyStr(context, global, "__host", host);
  JS_FreeValue(context, global);
  for (int i = 0; i < HOOK_COUNT; i++) hooks[i] = JS_UNDEFINED;
  main_promise = JS_UNDEFINED;
  return 0;
}

/* io area: name, source. Evaluates a script of the prelude. */
EXPORT("run_script") int run_script(uint32_t name_length, uint32_t source_length) {
  char *name = js_strndup(context, io_area, name_length);
  char *source = js_strndup(context, io_area + name_length, source_length);
  JSValue value = JS_Eval(context, source, source_length, name, JS_EVAL_TYPE_GLOBAL);
  js_free(context, name);
  js_free(context, source);
  if (!JS_IsException(value)) return give(value, STATUS_RETURNED);
  return give(JS_GetException(context), STATUS_THROWN);
}

/* io area: name, source. Gives the compiled script, for `lazyScript` of the same engine build only: nobody
 * verifies it. */
EXPORT("compile_script") int compile_script(uint32_t name_length, uint32_t source_length) {
  char *name = js_strndup(context, io_area, name_length);
  char *source = js_strndup(context, io_area + name_length, source_length);
  int flags = JS_EVAL_TYPE_GLOBAL | JS_EVAL_FLAG_COMPILE_ONLY;
  JSValue code = JS_Eval(context, source, source_length, name, flags);
  if (JS_IsException(code)) return give(JS_GetException(context), STATUS_THROWN);
  size_t size;
  uint8_t *bytes = JS_WriteObject(context, &size, code, JS_WRITE_OBJ_BYTECODE | JS_WRITE_OBJ_STRIP_SOURCE);
  if (!bytes) return give(JS_GetException(context), STATUS_THROWN);
  control.out_address = (uint32_t)(uintptr_t)bytes; /* the instance is closed after its last compilation */
  control.out_length = size;
  return STATUS_RETURNED;
}

/* io area: specifier of an entry module. Loads, links and evaluates it with everything it imports. */
EXPORT("import_module") int import_module(uint32_t length) {
  char *name = js_strndup(context, io_area, length);
  if (!name) return STATUS_INTERRUPTED;
  main_promise = JS_LoadModule(context, "", name);
  if (JS_IsException(main_promise)) return give_exception();
  JSValue handled = JS_Call(context, hooks[MODULE_READY], JS_UNDEFINED, 1, (JSValueConst *)&main_promise);
  JS_FreeValue(context, handled);
  int status = drain();
  if (status != STATUS_RETURNED) return status;
  JSValue args[2] = {JS_NewString(context, name), JS_PromiseResult(context, main_promise)};
  handled = JS_Call(context, hooks[MODULE_READY], JS_UNDEFINED, 2, (JSValueConst *)args);
  return JS_IsException(handled) ? give_exception() : STATUS_RETURNED;
}

/* Forget one module's failure before the next one is evaluated. */
EXPORT("forget_failure") void forget_failure(void) {
  control.interrupt = control.exhausted = 0;
  aborted = false;
  rejections = 0;
  queue = in_flight = 0;
  queue_end = &queue;
}

/* Leave nothing behind that an image should not hold. */
EXPORT("collect") void collect(void) {
  if (io_area != io_static) free(io_area);
  io_area = io_static;
  io_room = IO_BYTES;
  JS_FreeValue(context, main_promise);
  main_promise = JS_UNDEFINED;
  JS_RunGC(runtime);
}
