import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  counters: defineTable({ name: v.string(), count: v.number() }).index("by_name", ["name"]),
  messages: defineTable({ channel: v.string(), body: v.string(), tag: v.number() }) //
    .index("by_channel", ["channel"]),
  accounts: defineTable({ number: v.number(), balance: v.number() }).index("by_number", ["number"]),
});
