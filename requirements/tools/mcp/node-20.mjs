// Lets the conformance suite start on Node.js 20: it imports `globSync`, which `fs` has from version 22 on and which running
// scenarios does not need.
import { register } from 'node:module';

const filled = "export * from 'node:fs'; export { default } from 'node:fs'; export const globSync = undefined;";
const hooks = `
export async function resolve(specifier, context, next) {
    const isOfSuite = context.parentURL?.includes('/@modelcontextprotocol/conformance/');
    if (specifier === 'fs' && isOfSuite) {
        return { url: ${JSON.stringify(`data:text/javascript,${encodeURIComponent(filled)}`)}, shortCircuit: true };
    }
    return next(specifier, context);
}`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);
