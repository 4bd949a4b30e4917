import { cronJobs } from "convex/server";
import { internal } from "./_generated/api";

const crons = cronJobs();
crons.monthly("interest", { day: 1, hourUTC: 0, minuteUTC: 0 }, internal.entries.addHidden, { account: "interest", amount: 1 });

export default crons;
