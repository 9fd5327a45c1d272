// Generates the types of a service's API with openapi-typescript, checks client.ts with them by the TypeScript compiler at
// its strictest, and runs it.
//
// usage: node typescript.mjs URL DIRECTORY

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { build } from "esbuild";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const [url, directory] = process.argv.slice(2);
const client = join(import.meta.dirname, "client.ts");

const types = join(directory, "api.d.ts");
await writeFile(types, astToString(await openapiTS(new URL("/api/openapi.json", url))));
const program = ts.createProgram([client, types], {
  strict: true, noUncheckedIndexedAccess: true, exactOptionalPropertyTypes: true, noEmit: true, skipLibCheck: false,
  target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler,
  lib: ["lib.es2022.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts", "lib.dom.asynciterable.d.ts"], types: [], paths: { api: [types] },
});
const found = ts.getPreEmitDiagnostics(program);
if (found.length > 0) {
  console.error(ts.formatDiagnostics(found, { getCanonicalFileName: (name) => name, getCurrentDirectory: () => directory, getNewLine: () => "\n" }));
  process.exit(1);
}

const bundle = join(directory, "client.mjs");
await build({ entryPoints: [client], bundle: true, format: "esm", platform: "node", outfile: bundle, logLevel: "error" });
const { use } = await import(pathToFileURL(bundle));
await use(url);
