import { defineComponent } from "convex/server";
import { v } from "convex/values";
import audit from "../audit/convex.config";

const component = defineComponent("ledger", {
  env: { CURRENCY: v.string(), NOTE: v.optional(v.string()) },
});
component.use(audit);

export default component;
