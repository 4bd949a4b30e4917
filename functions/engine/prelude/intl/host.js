// Requests to functions/intl/: a verb with settings, and an argument; all of it JSON.

export const request = (verb, settings = {}) => JSON.stringify(["intl", verb, settings]);

export const ask = (prepared, argument = null) => {
  const bytes = host.utf8Encode(JSON.stringify(argument));
  try {
    const answer = host.operation(prepared, bytes, 0, bytes.byteLength);
    return JSON.parse(host.utf8Decode(answer, 0, answer.byteLength, true));
  } catch (error) {
    throw error?.data?.name === "RangeError" ? new RangeError(error.message) : error;
  }
};

// The same question of the same verb, asked once in a call.
export const remembered = (verb) => {
  const prepared = request(verb);
  const answers = new Map();
  return (argument) => {
    if (!answers.has(argument)) answers.set(argument, ask(prepared, argument));
    return answers.get(argument);
  };
};

// Fields of a text may nest: the inner one wins, what no field covers is literal.
export const partsOf = ([text, fields]) => {
  const owner = new Array(text.length);
  const widest = fields.map((field, at) => [field, at]).sort(([a], [b]) => b[2] - b[1] - (a[2] - a[1]));
  for (const [field] of widest) owner.fill(field, field[1], field[2]);
  const parts = [];
  for (let start = 0, end; start < text.length; start = end) {
    for (end = start + 1; end < text.length && owner[end] === owner[start]; end++);
    parts.push({ type: owner[start]?.[0] ?? "literal", value: text.slice(start, end) });
  }
  return parts;
};

const SPANS = ["startRange", "endRange"];

// Parts of a range say which of the two values they belong to.
export const rangePartsOf = ([text, fields]) => {
  const spans = fields.filter(([name]) => SPANS.includes(name));
  const edges = new Set(spans.flatMap(([, start, end]) => [start, end]));
  const parts = [];
  let start = 0;
  for (const { type, value } of partsOf([text, fields.filter(([name]) => !SPANS.includes(name))])) {
    const last = start + value.length;
    const cuts = [...edges].filter((edge) => edge > start && edge < last).sort((a, b) => a - b);
    for (const end of [...cuts, last]) {
      const span = spans.find(([, from, to]) => from <= start && end <= to);
      parts.push({ type, value: text.slice(start, end), source: span?.[0] ?? "shared" });
      start = end;
    }
  }
  return parts;
};
