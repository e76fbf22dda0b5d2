// A script extension with three methods. What they do is decided in `invoke`. A text that is thrown is the message of an `Error`
// of the script.

function greet(call, name) {
  const given = call.createdWith[0];
  const setting = call.settings.find((found) => found.name === "greeting");
  const greeting = given?.tag === "text" ? given.val : setting?.value ?? "";
  return { tag: "text", val: `${greeting}, ${name.val}!` };
}

function total(numbers) {
  if (numbers.some((number) => number.tag !== "number")) throw "total adds numbers";
  return { tag: "number", val: numbers.reduce((sum, number) => sum + number.val, 0) };
}

// A stream, or what a method has returned as one.
function shout(bytes) {
  const isSmall = (byte) => byte >= 97 && byte <= 122;
  return { tag: "bytes", val: bytes.val.map((byte) => (isSmall(byte) ? byte - 32 : byte)) };
}

export const methods = {
  invoke(call) {
    const [first] = call.arguments;
    if (call.method === "greet" && first?.tag === "text") return greet(call, first);
    if (call.method === "total") return total(call.arguments);
    if (call.method === "shout" && first?.tag === "bytes") return shout(first);
    throw `${call.method} does not take these arguments`;
  },
};
