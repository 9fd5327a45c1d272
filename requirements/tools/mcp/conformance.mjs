// Runs those scenarios of the official conformance suite that any server can pass: the others call tools that only a
// server made for them has. In these, too, some checks do; they say that they are not testable and do not count.
// conformance.mjs URL
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const SCENARIOS = {
    '2025-11-25': ['server-initialize', 'ping', 'tools-list', 'resources-list', 'prompts-list', 'dns-rebinding-protection'],
    '2026-07-28': [
        'server-stateless',
        'tools-list',
        'resources-list',
        'prompts-list',
        'sep-2164-resource-not-found',
        'dns-rebinding-protection',
        'caching',
        'http-header-validation',
    ],
};

const suite = createRequire(import.meta.url).resolve('@modelcontextprotocol/conformance/dist/index.js');
const hook = fileURLToPath(new URL('./node-20.mjs', import.meta.url));
const url = new URL('/api/mcp', process.argv[2]).href;

function run(version, scenario) {
    const settings = ['server', '--url', url, '--scenario', scenario, '--spec-version', version];
    return new Promise(done => {
        const child = spawn(process.execPath, ['--import', hook, suite, ...settings]);
        let said = '';
        child.stdout.on('data', piece => (said += piece));
        child.stderr.on('data', piece => (said += piece));
        child.on('close', code => done({ version, scenario, code, said }));
    });
}

// The checks that failed, each with its error.
function faultsIn(said) {
    const lines = said.split('\n');
    return lines.flatMap((line, at) => (/^ {4}Error: /.test(line) ? [`${lines[at - 1].trim()}\n${line}`] : []));
}

const runs = Object.entries(SCENARIOS).flatMap(([version, names]) => names.map(name => () => run(version, name)));
let failed = 0;
// Two at a time: each is a process of its own.
await Promise.all([0, 1].map(async () => {
    for (let next = runs.shift(); next; next = runs.shift()) {
        const { version, scenario, code, said } = await next();
        const faults = faultsIn(said);
        const isGood = code === 0 || (faults.length > 0 && faults.every(fault => fault.includes('Error: Not testable:')));
        console.log(`${version} ${scenario}: ${isGood ? 'good' : `failed\n${faults.join('\n') || said}`}`);
        failed += isGood ? 0 : 1;
    }
}));
process.exitCode = failed > 0 ? 1 : 0;
