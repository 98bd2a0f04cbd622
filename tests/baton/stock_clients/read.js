// Read Baton's documents and answers with AppAuth-JS and oauth4webapi. Input: JSON on stdin. Output: JSON on stdout.

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import * as oauth from 'oauth4webapi';

const { AuthorizationServiceConfiguration, TokenResponse } = createRequire(import.meta.url)('@openid/appauth');

const given = JSON.parse(readFileSync(0, 'utf8'));
const answer = (members) => new Response(JSON.stringify(members), { status: 200, headers: { 'content-type': 'application/json' } });

async function appauth() {
  const asked = [];
  const requestor = {
    xhr: async (settings) => {
      asked.push(settings.url);
      return given.openid;
    },
  };
  const found = await AuthorizationServiceConfiguration.fetchFromIssuer(given.issuer, requestor);
  const token = new TokenResponse(given.refreshed);
  return { asked, token: found.tokenEndpoint, revocation: found.revocationEndpoint, valid: token.isValid(0), refresh: token.refreshToken };
}

async function oauth4webapi() {
  const asked = [];
  const issuer = new URL(given.issuer);
  const options = {
    algorithm: 'oidc',
    [oauth.allowInsecureRequests]: true, // the issuer of the tests is on localhost
    [oauth.customFetch]: async (url) => {
      asked.push(String(url));
      return answer(given.openid);
    },
  };
  const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, options));
  const client = { client_id: given.client };
  const refreshed = await oauth.processRefreshTokenResponse(server, client, answer(given.refreshed));
  const narrowed = await oauth.processGenericTokenEndpointResponse(server, client, answer(given.narrowed));
  const resource = await oauth.processResourceDiscoveryResponse(issuer, answer(given.resource));
  return { asked, token: server.token_endpoint, grants: server.grant_types_supported, refreshed: refreshed.token_type, narrowed: narrowed.issued_token_type, servers: resource.authorization_servers };
}

console.log(JSON.stringify({ appauth: await appauth(), oauth4webapi: await oauth4webapi() }));
