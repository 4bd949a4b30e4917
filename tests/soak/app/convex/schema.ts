import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  jobs: defineTable({ lane: v.string(), token: v.string(), text: v.string() }).index("by_lane", ["lane"]),
  counters: defineTable({ name: v.string(), n: v.number() }).index("by_name", ["name"]),
  profiles: defineTable({ name: v.string(), rank: v.number(), text: v.string() })
    .index("by_name", ["name"])
    .index("by_rank", ["rank"]),
});
