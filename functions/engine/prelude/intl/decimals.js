// Numbers as decimal texts, the form functions/intl/ computes with: no digit of a BigInt or a text is lost.

const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

const ofNumber = (number) => (Object.is(number, -0) ? "-0" : String(number));

const ofText = (text) => {
  const bare = text.trim();
  const number = Number(bare);
  if (!DECIMAL.test(bare) || !Number.isFinite(number) || number === 0) return ofNumber(number);
  return bare.replace(/^\+/, "").replace(/\.(?=e|$)/i, "").replace(/^(-?)\./, "$10.");
};

// ToIntlMathematicalValue (ECMA-402 15.5.16).
export const decimalOf = (value) => {
  const primitive = typeof value === "object" && value !== null ? toPrimitive(value) : value;
  if (typeof primitive === "bigint") return String(primitive);
  return typeof primitive === "string" ? ofText(primitive) : ofNumber(Number(primitive));
};

// What `+` and String() do not tell apart from a number: an object whose value is a BigInt or a text.
const toPrimitive = (object) => {
  const exotic = object[Symbol.toPrimitive];
  if (exotic !== undefined && exotic !== null) return exotic.call(object, "number");
  for (const method of ["valueOf", "toString"]) {
    const result = typeof object[method] === "function" ? object[method]() : object;
    if (typeof result !== "object" || result === null) return result;
  }
  throw new TypeError("Cannot convert object to primitive value");
};
