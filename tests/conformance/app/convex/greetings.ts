// Loaded by an action while it runs.
export const greet = (name: string) => `hello ${name}`;
