// Events, abort signals, structuredClone. One case a paragraph: the body of an async function.

const t = new EventTarget(), s = [];
t.addEventListener("a", (e) => s.push(e.type, e.target === t));
t.dispatchEvent(new Event("a"));
t.dispatchEvent(new Event("b"));
return s;

const t = new EventTarget();
let n = 0;
t.addEventListener("a", () => n++, { once: true });
t.dispatchEvent(new Event("a"));
t.dispatchEvent(new Event("a"));
return n;

const t = new EventTarget();
let n = 0;
const f = () => n++;
t.addEventListener("a", f);
t.addEventListener("a", f);
t.dispatchEvent(new Event("a"));
t.removeEventListener("a", f);
t.dispatchEvent(new Event("a"));
return n;

const t = new EventTarget(), s = [];
t.addEventListener("a", { handleEvent(e) {
  s.push(e.type, this.own);
}, own: 1 });
t.dispatchEvent(new Event("a"));
return s;

const t = new EventTarget();
t.addEventListener("a", (e) => e.preventDefault());
return [t.dispatchEvent(new Event("a")), t.dispatchEvent(new Event("a", { cancelable: true }))];

const t = new EventTarget(), s = [];
t.addEventListener("a", (e) => {
  s.push(1);
  e.stopImmediatePropagation();
});
t.addEventListener("a", () => s.push(2));
t.dispatchEvent(new Event("a"));
return s;

const t = new EventTarget(), c = new AbortController();
let n = 0;
t.addEventListener("a", () => n++, { signal: c.signal });
c.abort();
t.dispatchEvent(new Event("a"));
return n;

const e = new Event("x", { bubbles: true });
return [e.type, e.bubbles, e.cancelable, e.defaultPrevented, e.target];

class Own extends EventTarget {
}
;
const t = new Own();
let n = 0;
t.addEventListener("a", () => n++);
t.dispatchEvent(new Event("a"));
return n;

const c = new AbortController();
let n = 0;
c.signal.onabort = () => n++;
c.signal.addEventListener("abort", () => n++);
c.abort();
c.abort();
return [n, c.signal.aborted, c.signal.reason.name];

const c = new AbortController();
c.abort("why");
return c.signal.reason;

new AbortController().signal.throwIfAborted();
return 1;

const c = new AbortController();
c.abort(new RangeError("x"));
c.signal.throwIfAborted();

return [AbortSignal.abort().aborted, AbortSignal.abort().reason.name, AbortSignal.abort(5).reason];

const a = new AbortController(), b = new AbortController();
const any = AbortSignal.any([a.signal, b.signal]);
b.abort("b");
a.abort("a");
return [any.aborted, any.reason];

return AbortSignal.any([AbortSignal.abort("x")]).reason;

return AbortSignal.any([]).aborted;

return new AbortSignal();

return structuredClone({ a: [1, { b: 2 }], c: null, d: void 0, e: "x" });

const o = { a: 1 };
o.self = o;
const c = structuredClone(o);
return [c !== o, c.self === c];

const c = structuredClone(/* @__PURE__ */ new Map([[{ k: 1 }, /* @__PURE__ */ new Set([1, 2])]]));
const [[k, v]] = [...c];
return [k, [...v]];

const d = structuredClone(/* @__PURE__ */ new Date(5));
return [d instanceof Date, d.getTime()];

const r = structuredClone(/a/gi);
return [r.source, r.flags, r.lastIndex];

const e = structuredClone(new TypeError("t", { cause: 1 }));
return [e instanceof TypeError, e.message, e.cause];

class Own {
  x = 1;
  get y() {
    return 2;
  }
}
;
const c = structuredClone(new Own());
return [c.constructor === Object, Object.keys(c)];

const b = new Uint8Array([1, 2, 3]).subarray(1);
const c = structuredClone(b);
return [[...c], c.byteOffset, c.buffer.byteLength];

const shared = new ArrayBuffer(2);
const c = structuredClone([new Uint8Array(shared), new Uint8Array(shared)]);
return c[0].buffer === c[1].buffer;

return [typeof structuredClone(Object(1n)), structuredClone(new String("x")).length];

return structuredClone(() => {
});

return structuredClone(/* @__PURE__ */ Symbol("x"));

return structuredClone({ f() {
} });

return structuredClone(/* @__PURE__ */ new WeakMap());

return structuredClone(Promise.resolve());

const a = [1, , 3];
const c = structuredClone(a);
return [c.length, 1 in c];

const a = [1];
a.name = "x";
return structuredClone(a).name;
