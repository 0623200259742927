// Verifies one captured request with the npm package http-message-signatures.
//
// Standard input, as JSON:
//   method, url    of the request
//   headers        as an object
//   body           the bytes as sent, in base64
//   algorithm      "hmac-sha256" or "ed25519"
//   key_id         the only key id that is known
//   key            the shared secret in base64, or the public key in PEM
//
// Exit status 0 where signature and digest are good; 1, and why on standard error, where not.

import { createHash, createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import httpMessageSignatures from 'http-message-signatures';

const { createVerifier, httpbis } = httpMessageSignatures;

const REQUIRED_FIELDS = [
    '@method',
    '@target-uri',
    'content-digest',
    'content-type',
    'idempotency-key',
    'waystation-device',
    'waystation-batch',
];
const OPTIONAL_FIELDS = ['content-encoding', 'waystation-replaces'];
const MAX_AGE_SECONDS = 300;

function header(request, name) {
    const found = Object.entries(request.headers).find(([key]) => key.toLowerCase() === name);
    return found?.[1];
}

function checkDigest(request) {
    const digest = createHash('sha256').update(Buffer.from(request.body, 'base64')).digest('base64');
    if (header(request, 'content-digest') !== `sha-256=:${digest}:`) {
        throw new Error('Content-Digest is not that of the body');
    }
}

async function checkSignature(request) {
    const key = request.algorithm === 'ed25519'
        ? createPublicKey(request.key)
        : Buffer.from(request.key, 'base64');
    const good = await httpbis.verifyMessage({
        keyLookup: async ({ keyid }) => keyid !== request.key_id ? null : {
            id: keyid,
            algs: [request.algorithm],
            verify: createVerifier(key, request.algorithm),
        },
        all: true,
        maxAge: MAX_AGE_SECONDS,
        tolerance: 5,
        requiredParams: ['created', 'keyid', 'alg'],
        requiredFields: [
            ...REQUIRED_FIELDS,
            ...OPTIONAL_FIELDS.filter((name) => header(request, name) !== undefined),
        ],
    }, { method: request.method, url: request.url, headers: request.headers });
    if (good !== true) {
        throw new Error('the signature is not good');
    }
}

try {
    const request = JSON.parse(readFileSync(0, 'utf8'));
    checkDigest(request);
    await checkSignature(request);
} catch (error) {
    console.error(error.message);
    process.exitCode = 1;
}
