// The units ECMA-402 6.6.2 sanctions.
export const UNITS = (
  "acre bit byte celsius centimeter day degree fahrenheit fluid-ounce foot gallon gigabit gigabyte gram hectare hour " +
  "inch kilobit kilobyte kilogram kilometer liter megabit megabyte meter microsecond mile mile-scandinavian milliliter " +
  "millimeter millisecond minute month nanosecond ounce percent petabyte pound second stone terabit terabyte week yard year"
).split(" ");

// A unit, or one per another.
export const isUnit = (text) => {
  const [unit, per, ...more] = text.split("-per-");
  return more.length === 0 && UNITS.includes(unit) && (per === undefined || UNITS.includes(per));
};
