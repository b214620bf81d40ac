// An OpenID provider that we did not write: oidc-provider, with two clients that get JWT access tokens for themselves (client credentials).
// node oidc.mjs PORT PROVIDER, where PROVIDER is the package's main file.
import { createRequire } from 'node:module';
import { generateKeyPairSync } from 'node:crypto';
import { pathToFileURL } from 'node:url';

const [port, main] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(createRequire(import.meta.url).resolve(main)));

const key = (kid, type, options) => ({ ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), kid, use: 'sig' });
const client = (client_id, client_secret, token_endpoint_auth_method) => ({
  client_id, client_secret, token_endpoint_auth_method,
  grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
});

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    // A name and a secret that must be encoded before they are put together (RFC 6749 §2.3.1).
    client('client:7', 'secret of+client/7%', 'client_secret_basic'),
    client('client-8', 'another secret&of=client 8', 'client_secret_post'),
  ],
  jwks: { keys: [key('of-rsa', 'rsa', { modulusLength: 2048 }), key('of-ec', 'ec', { namedCurve: 'P-256' })] },
  scopes: ['payments', 'accounts'],
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => 'urn:countersign:gateway',
      getResourceServerInfo: (_context, resource) => ({
        scope: 'payments accounts', audience: resource, accessTokenTTL: 600, accessTokenFormat: 'jwt',
        jwt: { sign: { alg: resource.endsWith('ec') ? 'ES256' : 'RS256' } },
      }),
    },
  },
});
provider.listen(Number(port), '127.0.0.1');
