// FormData. One case a paragraph: the body of an async function.

const f = new FormData();
f.append("a", 1);
f.append("b", "x");
f.append("a", null);
return [...f];

const f = new FormData();
f.append("a", "1");
f.append("b", "2");
f.append("a", "3");
f.set("a", "4");
return [...f.entries()];

const f = new FormData();
f.set("n", "1");
f.set("m", "2");
return [[...f.keys()], [...f.values()]];

const f = new FormData();
f.append("a", "1");
f.append("a", "2");
return [f.get("a"), f.getAll("a"), f.get("b"), f.getAll("b"), f.has("a")];

const f = new FormData();
f.append("a", "1");
f.delete("a");
f.delete("b");
return [...f].length;

const f = new FormData();
f.append("a", new Blob(["x"], { type: "t/t" }));
const v = f.get("a");
return [v instanceof File, v.name, v.type, await v.text()];

const f = new FormData();
f.append("a", new Blob(["x"]), "named");
return f.get("a").name;

const f = new FormData();
const g = new File(["x"], "own");
f.append("a", g);
return [f.get("a") === g, f.get("a").name];

const f = new FormData();
f.append("a", new File(["x"], "own", { lastModified: 9 }), "other");
return [f.get("a").name, f.get("a").lastModified];

const f = new FormData();
f.append("a", "text", "name");
return f;

const f = new FormData();
f.append("a");
return f;

return new FormData({});

const f = new FormData();
f.append("\uD800", "\uDC00");
return [...f];

const f = new FormData();
f.append("a", "1");
const s = [];
f.forEach((v, k) => s.push(k, v));
return s;

return Object.prototype.toString.call(new FormData());
