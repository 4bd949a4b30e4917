import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  messages: defineTable({
    channel: v.string(),
    body: v.string(),
    n: v.optional(v.int64()),
  }).index("by_channel", ["channel"]),
  stamps: defineTable({
    name: v.string(),
    at: v.commitTs(),
    deep: v.array(v.object({ at: v.int64() })),
  }).index("by_at", ["at"]),
  notes: defineTable({ body: v.string(), shelf: v.string() }).searchIndex("by_body", {
    searchField: "body",
    filterFields: ["shelf"],
  }),
  points: defineTable({ at: v.array(v.float64()), kind: v.string() }).vectorIndex("by_at", {
    vectorField: "at",
    dimensions: 3,
    filterFields: ["kind"],
  }),
  counters: defineTable({ name: v.string(), n: v.number() }).index("by_name", ["name"]),
});
