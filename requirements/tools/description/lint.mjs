// Has Spectral and Redocly look at a description of the API. Fails on what either of them only warns of.
//
// usage: node lint.mjs OPENAPI.JSON

import { spawnSync } from "node:child_process";
import { join } from "node:path";

const [file] = process.argv.slice(2);
const tools = join(import.meta.dirname, "../node_modules/.bin");
const env = { ...process.env, REDOCLY_TELEMETRY: "off", REDOCLY_SUPPRESS_UPDATE_NOTICE: "true", NO_COLOR: "1" };

function run(tool, ...options) {
  const { status, stdout, stderr, error } = spawnSync(join(tools, tool), options, { encoding: "utf8", env, maxBuffer: 1 << 28 });
  if (error) throw error;
  return { status, stdout, stderr };
}

const spectral = run("spectral", "lint", file, "--ruleset", join(import.meta.dirname, "spectral.yaml"), "--fail-severity", "hint", "--quiet");
if (spectral.status !== 0) console.error(spectral.stdout, spectral.stderr);

const redocly = run("redocly", "lint", file, "--config", join(import.meta.dirname, "redocly.yaml"), "--format", "json");
const { totals, problems } = JSON.parse(redocly.stdout.slice(redocly.stdout.indexOf("{")));
for (const { ruleId, message, location } of problems) console.error(`redocly ${ruleId}: ${message} at ${location[0].pointer}`);

process.exitCode = spectral.status === 0 && totals.errors === 0 && totals.warnings === 0 ? 0 : 1;
