// A plugin that asks a service over HTTP, and writes to the log. It needs the world `plugin-with-host`.
import { send } from "personium:authentication/http@1.0.0";
import { write } from "personium:authentication/log@1.0.0";

// The interpreter of the component has no TextEncoder and no TextDecoder.
function encode(text) {
  return Uint8Array.from(unescape(encodeURIComponent(text)), (c) => c.charCodeAt(0));
}

function decode(bytes) {
  return decodeURIComponent(escape(String.fromCharCode(...bytes)));
}

export const authenticator = {
  authenticate(login) {
    const url = login.settings.find((setting) => setting.name === "url").value;
    const headers = [{ name: "content-type", value: "application/json" }];
    const response = send({ method: "POST", url, headers, body: encode(JSON.stringify(login.fields)) });
    if (response.status !== 200) {
      write("warn", `the service answered with ${response.status}`);
      return undefined;
    }
    return { name: decode(response.body), accountType: login.accountTypes[0] };
  },
};
