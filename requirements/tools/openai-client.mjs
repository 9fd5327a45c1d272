// Tries /api/v1 with OpenAI's client for JavaScript, and prints what it was given as JSON. Its twin is openai-client.py.
// Arguments: base URL and key of a service whose model is scripted, and of one whose model is down and that takes two turns
// a minute.

import OpenAI from "openai";

const [baseURL, apiKey, brokenURL, brokenKey] = process.argv.slice(2);
const model = "pluckit-stylist";
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const broken = new OpenAI({ baseURL: brokenURL, apiKey: brokenKey, maxRetries: 0 });
const said = content => ({ model, messages: [{ role: "user", content }] });

const failure = async work => {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    const { status, code, param, type } = error;
    return { kind: error.constructor.name, status: status ?? null, code: code ?? null, param: param ?? null, type: type ?? null };
  }
  throw new Error("an error was expected");
};

const streamed = async body => {
  const seen = { text: "", finish: null, usage: null };
  for await (const chunk of await client.chat.completions.create({ ...body, stream: true })) {
    seen.text += chunk.choices[0]?.delta.content ?? "";
    seen.finish = chunk.choices[0]?.finish_reason ?? seen.finish;
    seen.usage = chunk.usage ?? seen.usage;
  }
  return seen;
};

const results = {};
results.models = (await client.models.list()).data.map(({ id }) => id);
results.model = (await client.models.retrieve(model)).owned_by;

const whole = await client.chat.completions.create(said("What do I own?"));
results.whole = {
  text: whole.choices[0].message.content,
  role: whole.choices[0].message.role,
  finish: whole.choices[0].finish_reason,
  usage: whole.usage,
};
results.streamed = await streamed(said("What do I own?"));
results.counted = await streamed({ ...said("What do I own?"), stream_options: { include_usage: true } });
results.tools = await streamed({ ...said("What do I own?"), metadata: { show_tools: "true" } });

results.errors = {
  n: await failure(() => client.chat.completions.create({ ...said("Hello"), n: 2 })),
  tools: await failure(() =>
    client.chat.completions.create({ ...said("Hello"), tools: [{ type: "function", function: { name: "x" } }] })),
  model: await failure(() => client.chat.completions.create({ ...said("Hello"), model: "gpt-5" })),
  retrieve: await failure(() => client.models.retrieve("gpt-5")),
  path: await failure(() => client.embeddings.create({ model, input: "x" })),
  key: await failure(() => new OpenAI({ baseURL, apiKey: "pat-x", maxRetries: 0 }).models.list()),
  type: await failure(() => client.chat.completions.create(said(7))),
  large: await failure(() => client.chat.completions.create(said("x".repeat(1024 * 1024)))),
  down: await failure(() => broken.chat.completions.create(said("Hello"))),
  amid: await failure(async () => {
    for await (const _ of await broken.chat.completions.create({ ...said("Hello"), stream: true }));
  }),
  limit: await failure(() => broken.chat.completions.create(said("Hello"))),
};
// The name of the class for a status without one of its own differs between the clients.
delete results.errors.large.kind;

// Leaves in the middle of an answer that never ends.
const endless = await client.chat.completions.create({ ...said("Go on for ever"), stream: true });
results.left = "";
for await (const chunk of endless) {
  results.left += chunk.choices[0]?.delta.content ?? "";
  if (results.left.endsWith("two ")) break;
}
console.log(JSON.stringify(results));
