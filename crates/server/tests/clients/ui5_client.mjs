// A page with the ODataModel v2 of OpenUI5, in Debian's Chromium, on an origin of its own. Given: the service root and a token.
// And whether to use $batch.
//
// The collection has the entity types Author (name) and Book (title, pages, price, printed), an Author has many Books.

import { createReadStream, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import puppeteer from "puppeteer-core";

const given = JSON.parse(process.argv[2]);
const here = path.dirname(fileURLToPath(import.meta.url));
const resources = realpathSync(path.join(here, "node_modules/@openui5/sap.ui.core/src"));
const mediaTypes = { ".js": "text/javascript", ".json": "application/json", ".css": "text/css" };
const page = `<!DOCTYPE html><meta charset="utf-8"><title>page</title>
<script id="sap-ui-bootstrap" src="/resources/sap-ui-core.js" data-sap-ui-async="true" data-sap-ui-compatversion="edge"
  data-sap-ui-theme="none" data-sap-ui-language="en"></script>`;

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, "http://localhost");
  if (pathname === "/") {
    response.writeHead(200, { "Content-Type": "text/html" }).end(page);
    return;
  }
  const file = path.join(resources, decodeURIComponent(pathname.replace(/^\/resources\//, "")));
  const stream = createReadStream(file.startsWith(resources) ? file : "/nonexistent");
  stream.on("error", () => response.writeHead(404).end());
  stream.on("open", () => {
    response.writeHead(200, { "Content-Type": mediaTypes[path.extname(file)] ?? "text/plain" });
    stream.pipe(response);
  });
});

// Runs in the page. Gives the results of each step.
async function usePage({ service, token, useBatch }) {
  const [ODataModel, Filter, Sorter] = await new Promise((resolve, reject) => {
    sap.ui.require(
      ["sap/ui/model/odata/v2/ODataModel", "sap/ui/model/Filter", "sap/ui/model/Sorter"],
      (...modules) => resolve(modules),
      reject,
    );
  });
  const model = new ODataModel({
    serviceUrl: service,
    useBatch,
    headers: { Authorization: `Bearer ${token}` },
    tokenHandling: false,
    defaultUpdateMethod: "MERGE",
  });
  const out = {};
  // The functions of the model with promises. A failure gives status and text.
  const failure = (error) => ({ status: Number(error.statusCode), text: error.responseText });
  const call = (name, ...args) =>
    new Promise((resolve, reject) => {
      const options = args.at(-1);
      options.success = (data, response) => resolve({ data, response });
      options.error = (error) => reject(Object.assign(new Error(JSON.stringify(failure(error))), failure(error)));
      model[name](...args);
    });
  const key = (set, id) => `/${model.createKey(set, { __id: id })}`;

  await model.metadataLoaded(true);
  const metadata = model.getServiceMetadata();
  const types = metadata.dataServices.schema.flatMap((schema) => schema.entityType ?? []);
  out.types = types.map((type) => type.name).sort();
  out.navigation = types.find((type) => type.name === "Author").navigationProperty.map((n) => n.name);

  const printed = new Date(Date.UTC(2020, 0, 2, 3, 4, 5));
  const created = await call("create", "/Author", { __id: "ann", name: "Ann" }, {});
  out.created = [created.data.name, Number(created.response.statusCode)];
  for (let number = 1; number <= 5; number++) {
    const book = { __id: `b${number}`, title: `Book ${number}`, pages: 100 * number, price: number + 0.5, printed };
    await call("create", `${key("Author", "ann")}/_Book`, book, {});
  }
  const one = await call("read", key("Book", "b1"), {});
  out.one = [one.data.title, one.data.pages, Number(one.data.price), one.data.printed.toISOString()];

  const query = await call("read", "/Book", {
    filters: [new Filter("pages", "GT", 100), new Filter("price", "LT", 5.5)],
    sorters: [new Sorter("pages", true)],
    urlParameters: { $top: "2", $skip: "1", $inlinecount: "allpages" },
  });
  out.query = [query.data.results.map((book) => book.title), query.data.__count];
  const linked = await call("read", `${key("Author", "ann")}/_Book`, { sorters: [new Sorter("pages", false)] });
  out.linked = linked.data.results.map((book) => book.title);
  const expanded = await call("read", key("Author", "ann"), { urlParameters: { $expand: "_Book" } });
  out.expanded = expanded.data._Book.results.length;

  await call("update", key("Book", "b1"), { pages: 111 }, {});
  const merged = await call("read", key("Book", "b1"), {});
  out.merged = [merged.data.title, merged.data.pages];
  await call("remove", key("Book", "b5"), {});
  out.removed = await call("read", key("Book", "b5"), {}).catch((error) => error.status);
  out.error = await call("create", "/Book", { __id: "b1" }, {}).catch((error) => [
    error.status,
    JSON.parse(error.text).error.message.value !== "",
  ]);

  // Changes one by one, or collected in a change set.
  const list = async () => {
    const found = await call("read", "/Book", { sorters: [new Sorter("__id", false)] });
    return found.data.results.map((book) => [book.title, book.pages]);
  };
  if (!useBatch) {
    await call("create", "/Book", { __id: "b6", title: "Six" }, {});
    await call("update", key("Book", "b2"), { pages: 222 }, {});
    await call("remove", key("Book", "b3"), {});
    out.changed = await list();
    return out;
  }
  model.setDeferredGroups(["good", "bad"]);
  const submit = async (groupId) => {
    const result = await new Promise((success, error) => model.submitChanges({ groupId, success, error }));
    const status = (response) => Number((response.response ?? response).statusCode);
    return result.__batchResponses.flatMap((response) => (response.__changeResponses ?? [response]).map(status));
  };
  const good = { groupId: "good", changeSetId: "one" };
  model.create("/Book", { __id: "b6", title: "Six" }, good);
  model.update(key("Book", "b2"), { pages: 222 }, good);
  model.remove(key("Book", "b3"), good);
  out.good = await submit("good");
  out.changed = await list();
  // Of these the last fails.
  const bad = { groupId: "bad", changeSetId: "two" };
  model.create("/Book", { __id: "b7", title: "Seven" }, bad);
  model.create("/Book", { __id: "b6", title: "Taken" }, bad);
  out.bad = await submit("bad");
  out.afterBad = await list();
  return out;
}

await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const profile = mkdtempSync(path.join(tmpdir(), "ui5-"));
const browser = await puppeteer.launch({
  executablePath: given.browser,
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
  userDataDir: profile,
  protocolTimeout: 240_000,
});
try {
  const tab = await browser.newPage();
  tab.on("console", (message) => console.error(message.text()));
  tab.on("requestfailed", (request) => console.error(request.url(), request.failure()?.errorText));
  await tab.goto(`http://127.0.0.1:${server.address().port}/`, { waitUntil: "load", timeout: 120_000 });
  await tab.waitForFunction("window.sap && sap.ui && sap.ui.require", { timeout: 120_000 });
  console.log(JSON.stringify(await tab.evaluate(usePage, given)));
} finally {
  await browser.close();
  server.close();
  rmSync(profile, { recursive: true, force: true });
}
