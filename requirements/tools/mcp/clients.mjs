// Uses a running service as assistants do: the packages of both eras of the Model Context Protocol, over HTTP and over pipes.
// clients.mjs URL BINARY DATA_DIRECTORY
import assert from 'node:assert/strict';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { Client as FirstClient } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport as FirstStdioTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport as FirstHttpTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const [url, binary, directory] = process.argv.slice(2);
const endpoint = new URL('/api/mcp', url);
const program = { command: binary, args: ['mcp', '--data-dir', directory], env: { ...process.env }, stderr: 'inherit' };
const info = { name: 'test', version: '1' };
const pinned = { versionNegotiation: { mode: { pin: '2026-07-28' } } };

// Both packages compare a result with the schema of its tool.
const READS = {
    search_wardrobe: { query: 'navy' },
    get_wardrobe_summary: {},
    get_user_profile: {},
    analyze_wardrobe_gaps: {},
    get_trending_moods: {},
    get_wear_patterns: {},
    search_scraped_items: { query: 'loafers' },
    get_wear_history: {},
    plan_outfits: { days: 2, celsius: 12 },
};

async function use(name, client, transport) {
    await client.connect(transport);
    assert.equal(client.getServerVersion().name, 'pluckit');
    const { tools } = await client.listTools();
    assert.equal(tools.length, 16);
    const call = async (tool, args) => {
        const result = await client.callTool({ name: tool, arguments: args });
        assert.ok(!result.isError, `${tool}: ${JSON.stringify(result.content)}`);
        return result.structuredContent;
    };
    for (const [tool, args] of Object.entries(READS)) {
        await call(tool, args);
    }
    const { items } = await call('search_wardrobe', { query: '' });
    const { id, wear_count: before } = items[0];
    const wear = { item_id: id, idempotency_key: `${name} ${process.pid}`, occasion: 'test' };
    assert.equal((await call('log_wear', wear)).counted, true);
    assert.equal((await call('log_wear', wear)).counted, false);
    assert.equal((await call('update_item', { item_id: id, changes: { notes: name } })).item.wear_count, before + 1);
    await call('remember_preference', { kind: 'like', text: name });
    await call('forget_preference', { text: name });
    const refused = await client.callTool({ name: 'add_item', arguments: { picture_url: url, idempotency_key: name } });
    assert.equal(refused.isError, true);

    const { resources } = await client.listResources();
    const picture = resources.find(resource => resource.uri.endsWith('/picture'));
    const { contents } = await client.readResource({ uri: `wardrobe://items/${id}` });
    assert.equal(JSON.parse(contents[0].text).notes, name);
    assert.ok((await client.readResource({ uri: picture.uri })).contents[0].blob.length > 1000);
    await assert.rejects(client.readResource({ uri: 'wardrobe://items/none' }));
    assert.equal((await client.listResourceTemplates()).resourceTemplates.length, 2);
    const { messages } = await client.getPrompt({ name: 'pack_for_trip', arguments: { destination: 'Oslo' } });
    assert.match(messages[0].content.text, /Destination: Oslo/);
    await client.close();
    console.log(`${name}: good`);
}

await use('SDK 2 over HTTP, 2026-07-28', new Client(info, pinned), new StreamableHTTPClientTransport(endpoint));
await use('SDK 2 over HTTP, initialize', new Client(info), new StreamableHTTPClientTransport(endpoint));
await use('SDK 1 over HTTP', new FirstClient(info), new FirstHttpTransport(endpoint));
await use('SDK 2 over pipes, 2026-07-28', new Client(info, pinned), new StdioClientTransport(program));
await use('SDK 1 over pipes', new FirstClient(info), new FirstStdioTransport(program));
