// panva's oidc-provider, one process:
// `node oidc_provider.mjs <sqlite:file | postgres url> <tokens> [jwt | dpop <thumbprint>]`.
//
// By default it rotates the refresh tokens of public clients, stores opaque access tokens, and issues an ID token (ES256).
// With `jwt`, it issues JWT access tokens (ES256) for a resource, and no ID token. With `dpop`, these tokens are bound to a
// key (RFC 9449). It does not rotate bound tokens by default: its configuration here changes this. The adapter is that of
// its documentation: one row for each instance, found by id.
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { Provider } from 'oidc-provider';
import Database from 'better-sqlite3';
import pg from 'pg';

const [store, tokens, form, thumbprint] = process.argv.slice(2);
const RESOURCE = form ? 'https://api.example.com' : undefined;
const TABLE = `CREATE TABLE IF NOT EXISTS oidc (
  id TEXT PRIMARY KEY, kind TEXT NOT NULL, payload TEXT NOT NULL, grant_id TEXT, expires_at BIGINT, consumed_at BIGINT)`;
const INDEX = 'CREATE INDEX IF NOT EXISTS oidc_grants ON oidc (grant_id)';
const SAY = {
  upsert: `INSERT INTO oidc (id, kind, payload, grant_id, expires_at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (id) DO UPDATE SET payload = excluded.payload, expires_at = excluded.expires_at`,
  find: 'SELECT payload, consumed_at FROM oidc WHERE id = $1 AND (expires_at IS NULL OR expires_at > $2)',
  consume: 'UPDATE oidc SET consumed_at = $1 WHERE id = $2',
  destroy: 'DELETE FROM oidc WHERE id = $1',
  revoke: 'DELETE FROM oidc WHERE grant_id = $1',
};

async function connect() {
  if (store.startsWith('sqlite:')) {
    const database = new Database(store.slice('sqlite:'.length));
    database.pragma('journal_mode = WAL');
    database.pragma('synchronous = NORMAL');
    database.exec(`${TABLE}; ${INDEX}`);
    const prepared = Object.fromEntries(
      Object.entries(SAY).map(([verb, sql]) => [verb, database.prepare(sql.replaceAll(/\$\d/g, '?'))]),
    );
    return async (verb, ...values) => (verb === 'find' ? prepared.find.get(...values) : prepared[verb].run(...values));
  }
  const pool = new pg.Pool({ connectionString: store, max: 16 });
  await pool.query(TABLE);
  await pool.query(INDEX);
  return async (verb, ...values) => (await pool.query({ name: verb, text: SAY[verb], values })).rows[0];
}

const ask = await connect();
const now = () => Math.floor(Date.now() / 1000);

class Adapter {
  constructor(kind) { this.kind = kind; }

  key(id) { return `${this.kind}:${id}`; }

  async upsert(id, payload, expiresIn) {
    const expiresAt = expiresIn ? now() + expiresIn : null;
    await ask('upsert', this.key(id), this.kind, JSON.stringify(payload), payload.grantId ?? null, expiresAt);
  }

  async find(id) {
    const row = await ask('find', this.key(id), now());
    if (!row) return undefined;
    const payload = JSON.parse(row.payload);
    return row.consumed_at ? { ...payload, consumed: Number(row.consumed_at) } : payload;
  }

  async consume(id) { await ask('consume', now(), this.key(id)); }

  async destroy(id) { await ask('destroy', this.key(id)); }

  async revokeByGrantId(grantId) { await ask('revoke', grantId); }
}

const signing = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
const provider = new Provider('http://127.0.0.1', {
  adapter: Adapter,
  clients: [{
    client_id: 'app',
    token_endpoint_auth_method: 'none',
    application_type: 'native',
    grant_types: ['authorization_code', 'refresh_token'],
    redirect_uris: ['com.example.app:/callback'],
  }],
  jwks: { keys: [{ ...signing, alg: 'ES256', use: 'sig', kid: 'bench' }] },
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  enabledJWA: { idTokenSigningAlgValues: ['ES256'] },
  cookies: { keys: ['of no one'] },
  findAccount: (_, accountId) => ({ accountId, claims: async () => ({ sub: accountId }) }),
  ttl: { AccessToken: 900, RefreshToken: 30 * 86400, Grant: 90 * 86400 },
  ...(thumbprint && { rotateRefreshToken: true }),
  features: {
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => RESOURCE,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: 'account', audience: RESOURCE, accessTokenTTL: 900, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
});

// Store what a login leaves: a grant and its first refresh token.
async function login(number) {
  const grant = new provider.Grant({ clientId: 'app', accountId: `account-${number}` });
  if (RESOURCE) grant.addResourceScope(RESOURCE, 'account');
  else grant.addOIDCScope('openid');
  const grantId = await grant.save();
  const client = await provider.Client.find('app');
  const token = new provider.RefreshToken({
    accountId: `account-${number}`, client, grantId, gty: 'authorization_code',
    scope: RESOURCE ? 'account' : 'openid', resource: RESOURCE, authTime: now(), iiat: now(), rotations: 0, jkt: thumbprint,
  });
  return token.save();
}

const seeded = [];
for (let number = 0; number < Number(tokens); number += 1) seeded.push(await login(number));

const version = (name) => JSON.parse(readFileSync(join(process.cwd(), 'node_modules', name, 'package.json'))).version;
const callback = provider.callback();
const server = createServer((request, response) => {
  if (!request.url.startsWith('/floor?bytes=')) return callback(request, response);
  request.resume().on('end', () => response.end('x'.repeat(Number(request.url.split('=')[1]))));
});
// A connection may be open for a while before it is used.
Object.assign(server, { keepAliveTimeout: 300_000, headersTimeout: 0, requestTimeout: 0 });
server.listen(0, '127.0.0.1', () => {
  const names = ['oidc-provider', store.startsWith('sqlite:') ? 'better-sqlite3' : 'pg'];
  const versions = Object.fromEntries([['Node.js', process.versions.node], ...names.map((name) => [name, version(name)])]);
  console.log(JSON.stringify({ port: server.address().port, path: '/token', tokens: seeded, versions }));
});
