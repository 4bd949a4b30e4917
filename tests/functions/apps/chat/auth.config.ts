export default { providers: [{ domain: process.env.ISSUER, applicationID: "convex" }] };
