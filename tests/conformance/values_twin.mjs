// Answers about values from the published npm package, for test_values_twin.py.
// stdin: {"trees": [tree, ...], "pairs": [[index, index], ...]}; a tree {"$undefined": null} is `undefined`.
// stdout: {"sizes", "encoded", "orders", "validators", "schema"}.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(new URL("../npm/package.json", import.meta.url));
const { compareValues, convexToJson, getConvexSize, jsonToConvex, v } = require("convex/values");
const { defineSchema, defineTable } = require("convex/server");

const { trees, pairs } = JSON.parse(readFileSync(0, "utf8"));
const isUndefined = (tree) => tree !== null && typeof tree === "object" && "$undefined" in tree;
const values = trees.map((tree) => (isUndefined(tree) ? undefined : jsonToConvex(tree)));

const validators = [
  v.null(),
  v.number(),
  v.int64(),
  v.boolean(),
  v.string(),
  v.bytes(),
  v.any(),
  v.id("users"),
  v.literal("x"),
  v.literal(1),
  v.literal(1n),
  v.literal(true),
  v.array(v.union(v.string(), v.null())),
  v.record(v.string(), v.object({ a: v.optional(v.number()) })),
  v.object({ b: v.any(), a: v.optional(v.array(v.id("users"))) }),
];

const schema = defineSchema({
  messages: defineTable({
    author: v.id("users"),
    body: v.string(),
    n: v.number(),
    embedding: v.optional(v.array(v.float64())),
  })
    .index("by_author", ["author", "n"])
    .index("by_staged", { fields: ["body"], staged: true })
    .searchIndex("search_body", { searchField: "body", filterFields: ["author"] })
    .vectorIndex("by_embedding", { vectorField: "embedding", dimensions: 4, filterFields: ["author"] }),
  users: defineTable(v.union(v.object({ name: v.string() }), v.object({ email: v.string() }))),
  anything: defineTable(v.any()),
});

const answer = {
  sizes: values.map(getConvexSize),
  encoded: values.map((value) => (value === undefined ? null : convexToJson(value))),
  orders: pairs.map(([left, right]) => Math.sign(compareValues(values[left], values[right]))),
  validators: validators.map((validator) => validator.json),
  schema: schema.export(),
};
process.stdout.write(JSON.stringify(answer));
