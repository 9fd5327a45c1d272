// A Cosmos DB emulator that the official Rust SDK can talk to: the npm package @vercel/cosmosdb-server, repaired.
// README.md lists the repairs. In memory, plain HTTP, one process: `node cosmos-emulator.mjs --port 8081`.

import { randomUUID } from "node:crypto";
import http from "node:http";
import { createRequire } from "node:module";
import { Readable } from "node:stream";
import { isDeepStrictEqual, parseArgs } from "node:util";

const require = createRequire(import.meta.url);
const Account = require("@vercel/cosmosdb-server/lib/account").default;
const Collections = require("@vercel/cosmosdb-server/lib/account/collections").default;
const Documents = require("@vercel/cosmosdb-server/lib/account/documents").default;
const Items = require("@vercel/cosmosdb-server/lib/account/items").default;
const PartitionKeyRanges = require("@vercel/cosmosdb-server/lib/account/partition-key-ranges").default;
const findRoute = require("@vercel/cosmosdb-server/lib/routes").default;
const executor = require("@zeit/cosmosdb-query/lib/executor");
const queryHelpers = require("@zeit/cosmosdb-query/lib/helpers");

const { values: flags } = parseArgs({
  options: { port: { type: "string", default: "8081" }, host: { type: "string", default: "127.0.0.1" } },
});

const LARGEST_DOCUMENT_BYTES = 2 * 1024 * 1024;
const LARGEST_BATCH = 100;

// --- Keys and life of documents ------------------------------------------------------------------------------------

// The SDK reads the ids of partition key ranges as strings, as the service writes them.
PartitionKeyRanges.prototype.create = function create(range) {
  return Items.prototype.create.call(this, { ...range, id: String(range.id) });
};

// The package joins the parts with ":", so that different keys can meet.
Items.prototype._getId = (path, id, partition) => JSON.stringify([partition || id, path, id]);

function hasExpired(document, collection) {
  const { defaultTtl } = collection.read() ?? {};
  if (defaultTtl === undefined) return false;
  const seconds = typeof document.ttl === "number" ? document.ttl : defaultTtl;
  return seconds > 0 && Date.now() / 1000 >= document._ts + seconds;
}

function forget(documents, document) {
  documents._index.delete(documents._getId("/id", document.id, documents._getPartition(document)));
  documents._data.delete(document._rid);
}

// An expired document is as good as missing.
Documents.prototype._item = function item(path, value, partition) {
  const found = Items.prototype._item.call(this, path, value, partition);
  const document = found.read();
  if (!document || !hasExpired(document, this._parent)) return found;
  forget(this, document);
  return this._newItem();
};

// The package makes a container that is replaced anew, without what is in it.
const replaceContainer = Collections.prototype.replace;
Collections.prototype.replace = function replace(data, original) {
  const { documents, partitionKeyRanges, userDefinedFunctions } = this._item("/id", data.id, data.id);
  const replaced = replaceContainer.call(this, data, original);
  const container = this._item("/id", data.id, data.id);
  for (const [name, items] of Object.entries({ documents, partitionKeyRanges, userDefinedFunctions })) {
    items._parent = container;
    container[name] = items;
  }
  return replaced;
};

// --- Queries -------------------------------------------------------------------------------------------------------

// Number of a document within its container, from its resource id. The SDK breaks ties in the same way.
const ordinal = rid => Buffer.from(rid, "base64").readBigUInt64LE(8);

const TYPE_RANKS = ["undefined", "null", "boolean", "number", "string", "array", "object"];

function typeRank(value) {
  if (value === null) return TYPE_RANKS.indexOf("null");
  return TYPE_RANKS.indexOf(Array.isArray(value) ? "array" : typeof value);
}

function compareValues(a, b) {
  const ranks = typeRank(a) - typeRank(b);
  if (ranks !== 0) return ranks;
  if (typeof a === "string") return Buffer.compare(Buffer.from(a), Buffer.from(b));
  if (typeof a === "number" || typeof a === "boolean") return a - b;
  return 0;
}

const valueAt = (row, path) => path.reduce((value, name) => value?.[name], row);

// Order of two rows, each given by its sort keys and its number.
function compareRows(a, b, directions) {
  for (const [index, descending] of directions.entries()) {
    const order = compareValues(a.keys[index], b.keys[index]);
    if (order !== 0) return descending ? -order : order;
  }
  const order = a.number < b.number ? -1 : Number(a.number > b.number);
  return directions[0] ? -order : order;
}

const position = (row, rid, orders) => ({
  keys: orders.map(([path]) => valueAt(row, path)),
  number: ordinal(rid),
});

// As the service, and unlike the package: rows without the sort key stay, before all others.
queryHelpers.sort = (rows, ridOf, compositeIndexes, ...orders) => {
  const directions = orders.map(([, descending]) => Boolean(descending));
  const fits = index =>
    index.length === orders.length &&
    index.every(({ path }, i) => path === `/${orders[i][0].slice(1).join("/")}`) &&
    // An index serves an order and its exact opposite.
    [false, true].some(flip => index.every(({ order }, i) => (order === "descending") === (directions[i] !== flip)));
  if (orders.length > 1 && !(compositeIndexes ?? []).some(fits)) {
    throw new Error("The order by query does not have a corresponding composite index that it can be served from.");
  }
  return rows
    .map(row => ({ row, ...position(row, ridOf(row), orders) }))
    .sort((a, b) => compareRows(a, b, directions))
    .map(({ row }) => row);
};

// Where a page ended, so that the next one starts there whatever was written in between. `missing` are the sort keys
// that JSON cannot carry. In base64, since it travels in a header.
function encodePosition({ keys, number }) {
  const missing = keys.flatMap((key, index) => (key === undefined ? [index] : []));
  return Buffer.from(JSON.stringify({ keys, missing, number: String(number) })).toString("base64");
}

function decodePosition(token) {
  const { keys, missing, number } = JSON.parse(Buffer.from(token, "base64"));
  return { keys: keys.map((key, index) => (missing.includes(index) ? undefined : key)), number: BigInt(number) };
}

queryHelpers.paginate = (rows, limit, continuation, ridOf, ...orders) => {
  const directions = orders.map(([, descending]) => Boolean(descending));
  const placed = rows.map(([result, row]) => ({ result, ...position(row, ridOf(row), orders) }));
  const start = continuation && decodePosition(continuation);
  const rest = start ? placed.filter(row => compareRows(row, start, directions) > 0) : placed;
  const page = limit > 0 ? rest.slice(0, limit) : rest;
  return {
    result: queryHelpers.stripUndefined(page.map(({ result }) => result)),
    continuation: page.length < rest.length ? encodePosition(page.at(-1)) : null,
  };
};

// The package turns SQL into JavaScript. As it is, `x IN c.y` fails unless `y` is a list or missing, and to gather the
// rows takes time that grows with the square of their number.
const execute = executor.default;
queryHelpers.elements = value => (Array.isArray(value) ? value : []);
const iteration = /\(([^\s(]+) \|\| \[\]\)\.map/g;
const gathering = /\$c\.reduce\(\(\$, c\) => typeof c !== "undefined" \? \[\.\.\.\$, \{\s*c: c\s*\}\] : \$, \[\]\)/;
executor.default = (rows, { code, ...options }) => {
  const repaired = code.replaceAll(iteration, "$h.elements($1).map").replace(gathering, "$c.map(c => ({ c }))");
  return execute(rows, { code: repaired, ...options });
};

function runQuery(collection, partition, { query, parameters }, headers) {
  const { documents } = collection;
  const rows = [...documents._data.values()].map(item => item.read()).filter(document => {
    const expired = hasExpired(document, collection);
    if (expired) forget(documents, document);
    return !expired && (partition === undefined || documents._getPartition(document) === partition);
  });
  // The package lists documents by their last write; the service and the paging above by their number.
  rows.sort((a, b) => (ordinal(a._rid) < ordinal(b._rid) ? -1 : 1));
  try {
    const { result, continuation } = documents._getQuery(query).exec(rows, {
      parameters,
      maxItemCount: Number(headers["x-ms-max-item-count"] ?? -1),
      continuation: headers["x-ms-continuation"],
      compositeIndexes: collection.read().indexingPolicy?.compositeIndexes ?? [],
    });
    return { status: 200, body: { _rid: collection.read()._rid, Documents: result, _count: result.length }, continuation };
  } catch (error) {
    return { status: 400, body: { code: "BadRequest", message: error.message } };
  }
}

// --- Requests ------------------------------------------------------------------------------------------------------

const isTrue = header => String(header).toLowerCase() === "true";
const failure = (status, code) => ({ status, body: { code, message: code } });

// One operation of a batch; `undo` takes it back.
function runOperation(collection, partition, operation) {
  const { documents } = collection;
  const { operationType: type, resourceBody: document, ifMatch } = operation;
  const id = operation.id ?? document?.id;
  const before = collection.document(id, partition).read();
  if (document && documents._getPartition(document) !== partition) return failure(400, "BadRequest");
  if (type === "Create" && before) return failure(409, "Conflict");
  if (!["Create", "Upsert"].includes(type) && !before) return failure(404, "NotFound");
  if (ifMatch && before && ifMatch !== "*" && ifMatch !== before._etag) return failure(412, "PreconditionFailed");
  const undo = () => {
    if (collection.document(id, partition).read()) documents.delete(id, partition);
    if (before) documents._set(before);
  };
  switch (type) {
    case "Read":
      return { status: 200, body: before };
    case "Create":
      return { status: 201, body: documents.create(document), undo };
    case "Replace":
      return { status: 200, body: documents.replace(document, before), undo };
    case "Upsert":
      return { status: before ? 200 : 201, body: documents.upsert(document), undo };
    case "Delete":
      documents.delete(id, partition);
      return { status: 204, undo };
    default:
      return failure(400, "BadRequest");
  }
}

// All operations or none, which the package does not do; every other one of a failed batch is answered with 424.
function runBatch(collection, partition, operations) {
  if (operations.length > LARGEST_BATCH) return failure(400, "BadRequest");
  const done = [];
  for (const [index, operation] of operations.entries()) {
    const outcome = runOperation(collection, partition, operation);
    done.push(outcome);
    if (outcome.status < 400) continue;
    for (const { undo } of done.reverse()) undo?.();
    const results = operations.map((_, at) => ({ statusCode: at === index ? outcome.status : 424, requestCharge: 0 }));
    return { status: 207, body: results };
  }
  const results = done.map(({ status, body }) => ({
    statusCode: status,
    requestCharge: 1,
    eTag: body?._etag,
    resourceBody: body,
  }));
  return { status: 200, body: results };
}

async function readBody(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const partitionOf = request => JSON.parse(request.headers["x-ms-documentdb-partitionkey"] ?? "[]")[0];

// What the package gets wrong or lacks about documents; `undefined` when its own handler may answer.
function answerAboutDocuments(account, request, parameters, body) {
  const { dbId, collId, docId } = parameters;
  const collection = account.database(dbId).collection(collId);
  if (!collection.read()) return { ...failure(404, "NotFound"), subStatus: 1003 };
  const { headers, method } = request;
  // The SDK plans our queries itself; one that it cannot plan shall fail here and not be answered with nonsense.
  if (isTrue(headers["x-ms-cosmos-is-query-plan-request"])) return failure(400, "QueryPlanNotSupported");
  const partition = partitionOf(request);
  if (isTrue(headers["x-ms-documentdb-isquery"]) || headers["content-type"] === "application/query+json") {
    return runQuery(collection, partition, JSON.parse(body), headers);
  }
  if (method === "PATCH" || (method === "GET" && docId === undefined)) return undefined;
  if (isTrue(headers["x-ms-cosmos-is-batch-request"])) return runBatch(collection, partition, JSON.parse(body));
  if (body.length > LARGEST_DOCUMENT_BYTES) return failure(413, "RequestEntityTooLarge");
  const document = body.length > 0 ? JSON.parse(body) : undefined;
  if (document && !document.id) return failure(400, "BadRequest");
  const creation = isTrue(headers["x-ms-documentdb-is-upsert"]) ? "Upsert" : "Create";
  const type = { GET: "Read", DELETE: "Delete", PUT: "Replace", POST: creation }[method];
  const operation = { operationType: type, id: docId, resourceBody: document, ifMatch: headers["if-match"] };
  return runOperation(collection, partition, operation);
}

// A container made without kind or version of its partition key has these, and the SDK names them when it replaces the
// container, which the package takes for another key.
function withKeyAsStored(account, { dbId, collId }, body) {
  const stored = account.database(dbId).collection(collId).read()?.partitionKey;
  const wanted = JSON.parse(body);
  const whole = key => ({ kind: "Hash", version: 1, ...key });
  if (!stored || !isDeepStrictEqual(whole(stored), whole(wanted.partitionKey))) return body;
  return Buffer.from(JSON.stringify({ ...wanted, partitionKey: stored }));
}

async function answer(account, request, response) {
  const [parameters, handler] = findRoute(request) ?? [];
  if (!handler) return failure(400, "BadRequest");
  let body = await readBody(request);
  if (parameters.collId && /\/docs(\/|$)/.test(request.url)) {
    const ours = answerAboutDocuments(account, request, parameters, body);
    if (ours) return ours;
  }
  if (request.method === "PUT" && /\/colls\/[^/]+\/?$/.test(request.url)) body = withKeyAsStored(account, parameters, body);
  // The package reads the request as a stream, which is spent by now.
  const { headers, method, url } = request;
  const again = Object.assign(Readable.from([body], { objectMode: false }), { headers, method, url });
  const answered = await handler(account, again, response, parameters);
  return { status: response.statusCode, body: answered };
}

function send(request, response, { status, subStatus, body, continuation }) {
  response.statusCode = status;
  response.setHeader("content-type", "application/json");
  response.setHeader("x-ms-activity-id", randomUUID());
  response.setHeader("x-ms-request-charge", "1");
  if (continuation) response.setHeader("x-ms-continuation", continuation);
  if (subStatus !== undefined) response.setHeader("x-ms-substatus", String(subStatus));
  if (body?._etag) response.setHeader("etag", body._etag);
  if (request.headers["a-im"] && status === 200) {
    // A feed of changes, of partition key ranges for one: everything at first, and then never anything new.
    response.setHeader("etag", '"1"');
    if (request.headers["if-none-match"]) response.statusCode = 304;
  }
  // As the service: a write is answered without its document unless the client wants it.
  const wantsLittle = request.headers.prefer === "return=minimal" && request.method !== "GET";
  const isBatch = Array.isArray(body);
  response.end(body === undefined || (wantsLittle && status < 300 && !isBatch) ? "" : JSON.stringify(body));
}

const server = http.createServer({ keepAliveTimeout: 60_000 });
server.listen(Number(flags.port), flags.host, () => {
  const { port } = server.address();
  const endpoint = `http://${flags.host}:${port}/`;
  const account = new Account(flags.host, port);
  // The SDK goes on to the addresses that the account names; the package names HTTPS ones.
  for (const location of [...account.read().writableLocations, ...account.read().readableLocations]) {
    location.databaseAccountEndpoint = endpoint;
  }
  server.on("request", (request, response) => {
    answer(account, request, response)
      .catch(error => {
        process.stderr.write(`${request.method} ${request.url}: ${error.stack}\n`);
        return failure(500, "InternalServerError");
      })
      .then(outcome => send(request, response, outcome));
  });
  process.stdout.write(`cosmos emulator listens on ${endpoint}\n`);
});
