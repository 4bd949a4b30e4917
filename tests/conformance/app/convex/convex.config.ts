import { defineApp } from "convex/server";
import { v } from "convex/values";
import ledger from "./components/ledger/convex.config";

const app = defineApp({ env: { LEDGER_NOTE: v.optional(v.string()) } });
app.use(ledger, { httpPrefix: "/ledger", env: { CURRENCY: "EUR", NOTE: app.env.LEDGER_NOTE } });
app.use(ledger, { name: "second", env: { CURRENCY: "CHF" } });

export default app;
