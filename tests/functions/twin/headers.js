// Headers. One case a paragraph: the body of an async function.

return [...new Headers({ B: "2", a: " 1 " })];

return [...new Headers([["x", "a"], ["X", "b"], ["set-cookie", "c"], ["Set-Cookie", "d"]])];

const h = new Headers({ a: "1" });
h.append("A", "2");
h.set("b", 3);
h.delete("c");
return [...h.entries()];

const h = new Headers([["set-cookie", "a=1"], ["set-cookie", "b=2"]]);
return [h.getSetCookie(), h.get("set-cookie")];

return [new Headers(new Headers({ q: "r" })).get("Q"), new Headers().get("q"), new Headers({ q: "" }).
has("q")];

const seen = [];
new Headers({ b: "1", a: "2" }).forEach((v, k, h) => seen.push([v, k, h instanceof Headers]));
return seen;

return [[...new Headers({ b: "1", a: "2" }).keys()], [...new Headers({ b: "1", a: "2" }).values()]];

return new Headers(null);

return new Headers("text");

return new Headers(5);

return new Headers([["a"]]);

return new Headers([["a", "b", "c"]]);

return new Headers(["ab"]).get("a");

return new Headers({ "bad name": "x" });

return new Headers({ "": "x" });

return new Headers({ a: "line\nbreak" });

return new Headers({ a: "€" });

return new Headers({ a: "é" }).get("a");

return new Headers({ a: "x\r\n " }).get("a");

return new Headers().get("bad name");

return new Headers().append("a");

return new Headers().forEach(1);

return Object.prototype.toString.call(new Headers());

return Headers.name + Headers.prototype.append.name + new Headers()[Symbol.iterator].name;

return new Headers({ [/* @__PURE__ */ Symbol("s")]: "1" });
