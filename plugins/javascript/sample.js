// A plugin that knows one password. What is true of a person is decided in `authenticate`.

function valueOf(fields, name) {
  return fields.find((field) => field.name === name)?.value ?? "";
}

// Compares in a time that does not depend on where the texts differ.
function isEqual(a, b) {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return difference === 0;
}

export const authenticator = {
  authenticate(login) {
    const name = valueOf(login.fields, "sample_account");
    const password = valueOf(login.fields, "sample_password");
    const expected = valueOf(login.settings, "password");
    if (!name || !password) {
      throw { error: "invalid-request", description: "sample_account and sample_password are needed" };
    }
    if (!expected || !isEqual(password, expected)) return undefined;
    return { name, accountType: login.accountTypes[0] };
  },
};
