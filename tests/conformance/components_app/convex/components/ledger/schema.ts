import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export default defineSchema({
  // The app has a table of this name, too.
  messages: defineTable({ account: v.string(), amount: v.number(), other: v.optional(v.id("messages")) }).index(
    "by_account",
    ["account"],
  ),
});
