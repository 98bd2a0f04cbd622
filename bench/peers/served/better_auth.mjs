// better-auth with its OAuth provider plugin, one process: `node better_auth.mjs <sqlite:file | postgres url> <tokens>`.
//
// Its own migrations make the tables. It issues opaque access tokens, its default without a resource, and no ID token.
import { createServer } from 'node:http';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { betterAuth } from 'better-auth';
import { getMigrations } from 'better-auth/db/migration';
import { toNodeHandler } from 'better-auth/node';
import { jwt } from 'better-auth/plugins';
import { oauthProvider } from '@better-auth/oauth-provider';
import Database from 'better-sqlite3';
import pg from 'pg';

const [store, tokens] = process.argv.slice(2);
let database;
if (store.startsWith('sqlite:')) {
  database = new Database(store.slice('sqlite:'.length));
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = NORMAL');
} else {
  database = new pg.Pool({ connectionString: store, max: 16 });
}

const options = {
  database,
  baseURL: 'http://127.0.0.1',
  secret: randomBytes(32).toString('base64'),
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  disabledPaths: ['/token'],
  emailAndPassword: { enabled: true },
  logger: { level: 'error' },
  plugins: [
    jwt({ jwks: { keyPairConfig: { alg: 'ES256' } }, disableSettingJwtHeader: true }),
    oauthProvider({
      loginPage: '/login', consentPage: '/consent', accessTokenExpiresIn: 900, silenceWarnings: { oauthAuthServerConfig: true, openidConfig: true },
      scopes: ['offline_access', 'account'],
    }),
  ],
};
await (await getMigrations(options)).runMigrations();
const auth = betterAuth(options);
const { adapter } = await auth.$context;
const now = () => new Date(Math.floor(Date.now() / 1000) * 1000);
const later = (days) => new Date(now().getTime() + days * 86_400_000);
const stored = (token) => createHash('sha256').update(token).digest('base64url');

await adapter.create({
  model: 'oauthClient',
  data: {
    clientId: 'app', name: 'app', public: true, type: 'native', tokenEndpointAuthMethod: 'none', disabled: false,
    redirectUris: ['com.example.app:/callback'], grantTypes: ['authorization_code', 'refresh_token'],
    responseTypes: ['code'], scopes: ['offline_access', 'account'], createdAt: now(), updatedAt: now(),
  },
});

// Store what a login leaves: a user, a session and its first refresh token.
async function login(number) {
  const user = await adapter.create({
    model: 'user',
    data: { name: 'Bench', email: `account-${number}@example.com`, emailVerified: true, createdAt: now(), updatedAt: now() },
  });
  const session = await adapter.create({
    model: 'session',
    data: { userId: user.id, token: randomBytes(24).toString('base64url'), expiresAt: later(7), createdAt: now(), updatedAt: now() },
  });
  const token = randomBytes(24).toString('hex');
  await adapter.create({
    model: 'oauthRefreshToken',
    data: {
      token: stored(token), clientId: 'app', sessionId: session.id, userId: user.id, scopes: ['offline_access', 'account'],
      authTime: now(), createdAt: now(), expiresAt: later(30),
    },
  });
  return token;
}

const seeded = [];
for (let number = 0; number < Number(tokens); number += 1) seeded.push(await login(number));

const version = (name) => JSON.parse(readFileSync(join(process.cwd(), 'node_modules', name, 'package.json'))).version;
const handler = toNodeHandler(auth);
const server = createServer((request, response) => {
  if (!request.url.startsWith('/floor?bytes=')) return handler(request, response);
  request.resume().on('end', () => response.end('x'.repeat(Number(request.url.split('=')[1]))));
});
// A connection may be open for a while before it is used.
Object.assign(server, { keepAliveTimeout: 300_000, headersTimeout: 0, requestTimeout: 0 });
server.listen(0, '127.0.0.1', () => {
  const names = ['better-auth', '@better-auth/oauth-provider', store.startsWith('sqlite:') ? 'better-sqlite3' : 'pg'];
  const versions = Object.fromEntries([['Node.js', process.versions.node], ...names.map((name) => [name, version(name)])]);
  console.log(JSON.stringify({ port: server.address().port, path: '/api/auth/oauth2/token', tokens: seeded, versions }));
});
