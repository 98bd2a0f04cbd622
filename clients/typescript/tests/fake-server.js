// A small Baton in memory. It verifies every signature with Node's own crypto, and has the rule of generations and attempts.

import { createHash, createHmac, createPublicKey, randomBytes, verify } from "node:crypto";
import { NoAnswer } from "../src/index.js";

export const BASE = "https://api.example.com/api";
export const EMAIL = "ada@example.com";
export const PASSWORD = "copper lantern drifting sideways";
const ORIGIN = "https://api.example.com";

class Refusal extends Error {
  constructor(status, error, code, action, members = {}) {
    super(code);
    this.answer = { status, members: { error, code, action, ...members } };
  }
}

export class FakeServer {
  accounts = new Map([[EMAIL, { password: PASSWORD, factor: null }]]);
  lineages = new Map();
  grants = new Map();
  /** How many of the next grants are too old. */
  oldGrants = 0;
  once = new Map();
  log = [];
  nonces = new Set();
  effects = 0;
  /** Each request takes one: a function that throws, or that returns an answer. */
  faults = [];
  time = 1_800_000_000;

  /** @returns {import("../src/types.js").Transport} */
  get transport() {
    return async (request) => {
      await new Promise((resolve) => setImmediate(resolve)); // As a network: other work goes on.
      const fault = this.faults.shift();
      return (fault && (await fault(request))) ?? this.serve(request);
    };
  }

  loseAnswer = (request) => {
    this.serve(request);
    throw new NoAnswer("lost on the way back");
  };
  loseRequest = () => {
    throw new NoAnswer("lost on the way out");
  };
  refuse = () => {
    throw new NoAnswer("no connection", false);
  };
  portal = () => ({ status: 200, headers: new Map([["content-type", "text/html"]]), bytes: new TextEncoder().encode("<html>") });

  sent(path) {
    return this.log.filter((one) => one.path === path);
  }

  serve(request) {
    const path = request.url.slice(BASE.length).split("?")[0];
    const body = request.body ? Buffer.from(request.body).toString() : "";
    this.log.push({ path, method: request.method, headers: request.headers, body });
    let said;
    try {
      said = this.#route(request, path, body);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      said = error.answer;
    }
    const bytes = new TextEncoder().encode(said.members === undefined ? "" : JSON.stringify(said.members));
    const headers = new Map([["baton-request-id", "0123abcd-ef"], ["baton-time", String(Math.floor(this.time))], ["cache-control", "no-store"]]);
    if (bytes.length) headers.set("content-type", said.status < 400 ? "application/json" : "application/problem+json");
    return { status: said.status, headers, bytes };
  }

  #route(request, path, body) {
    const form = new URLSearchParams(body);
    if (path === "/time") return ok({ server_time: Math.floor(this.time) });
    if (path === "/oauth/token") return this.#exchange(request, form);
    if (path === "/oauth/revoke") {
      const { lineage } = this.#token(form.get("token"));
      this.#verify(request, lineage.key);
      lineage.ended ??= lineage.generation - this.#token(form.get("token")).generation >= 2 ? "reuse" : "logout";
      return { status: 200 };
    }
    const json = body ? JSON.parse(body) : {};
    if (path === "/login/passkey/options" || path === "/register/start" || path === "/password/forgot") {
      this.#verify(request, json.device.public_key);
      return ok({ options: { challenge: "c" }, mail_session: "ms.1", expires_in: 300 });
    }
    if (path === "/password/reset") return json.code === "1234 5678" ? { status: 204 } : { status: 401, members: { error: "invalid_code", code: "invalid_code", action: "fix_request" } };
    if (this.requiresEvidence && /^\/(register|login|login\/passkey)$/.test(path)) {
      if (!json.attestation) throw new Refusal(403, "attestation_required", "attestation_required", "attest");
      if (json.attestation.challenge !== "at.1") throw new Refusal(403, "attestation_failed", "attestation_failed", "attest");
    }
    if (path === "/login/passkey") {
      if (json.credential.challenge !== "c") throw new Refusal(409, "challenge_invalid", "challenge_invalid", "fix_request");
      return this.#enter(request, path, { ...json, email: EMAIL, password: PASSWORD });
    }
    if (path === "/attestation-challenge") return ok({ attestation_challenge: "at.1", expires_in: 86400 });
    if (path === "/register" || path === "/login") return this.#enter(request, path, json);
    if (path.startsWith("/login/")) return this.#factor(request, path, json);
    const lineage = this.#caller(request);
    const route = `${request.method} ${path}`;
    if (route === "GET /me") return ok({ device_id: lineage.id, email: lineage.email });
    if (route === "POST /session/handover") return ok({ code: "ho.code", expires_in: 60 });
    if (route === "GET /me/devices") return ok({ devices: [...this.lineages.values()].map(({ id, ended }) => ({ device_id: id, ended_reason: ended })) });
    if (route === "POST /step-up") {
      if (json.password !== PASSWORD) throw new Refusal(401, "invalid_credentials", "invalid_credentials", "fix_request");
      const grant = randomBytes(8).toString("hex");
      this.grants.set(grant, JSON.stringify(json.operation));
      return ok({ grant, expires_in: 300 });
    }
    if (route === "POST /transfers") return this.#onceOnly(request, body);
    const digest = `sha-256=:${createHash("sha256").update(body).digest("base64")}:`;
    const operation = JSON.stringify({ method: request.method, path: `/api${path}`, digest });
    const grant = request.headers["baton-grant"];
    const fits = this.grants.get(grant) === operation;
    this.grants.delete(grant);
    if (!fits || this.oldGrants-- > 0) {
      const code = grant === undefined || fits ? "step_up_required" : "grant_invalid";
      throw new Refusal(401, "insufficient_user_authentication", code, "step_up", { factors: ["password"] });
    }
    this.effects++;
    if (route === "POST /logout") for (const one of this.lineages.values()) one.ended ??= "ended_everywhere";
    return { status: 204 };
  }

  #onceOnly(request, body) {
    const key = request.headers["idempotency-key"];
    if (!key) throw new Refusal(400, "invalid_request", "idempotency_key_required", "fix_request");
    const before = this.once.get(key);
    if (before && before !== body) throw new Refusal(422, "invalid_request", "idempotency_key_reused", "fix_request");
    if (!before) this.effects++;
    this.once.set(key, body);
    return { status: 201, members: { paid: true } };
  }

  #enter(request, path, { email, password, device }) {
    const attempt = request.headers["idempotency-key"];
    const key = device.public_key ?? (device.binding === "hmac" ? randomBytes(32) : null);
    if (device.public_key) this.#verify(request, key);
    if (path === "/register" && !this.accounts.has(email)) this.accounts.set(email, { password, factor: null });
    const account = this.accounts.get(email);
    if (account?.password !== password) throw new Refusal(401, "invalid_credentials", "invalid_credentials", "fix_request");
    if (account.factor) throw new Refusal(403, "insufficient_authorization", "factor_required", "prove_factor", { auth_session: `as.${email}`, expires_in: 600, factors: ["totp"] });
    return this.#tokens(this.#lineage(attempt, email, key));
  }

  #lineage(attempt, email, key) {
    const id = createHash("sha256").update(attempt).digest("hex").slice(0, 12);
    const known = this.lineages.get(id);
    if (known?.generation || known?.ended) throw new Refusal(409, "invalid_request", "superseded", "retry");
    for (const other of this.lineages.values()) if (!known && key?.x && other.key?.x === key.x) other.ended ??= "replaced";
    const lineage = known ?? { id, email, key, generation: 0, attempts: new Map(), ended: null };
    this.lineages.set(id, lineage);
    return lineage;
  }

  #factor(request, path, json) {
    const attempt = request.headers["idempotency-key"];
    const email = String(json.auth_session).slice(3);
    if (!this.accounts.get(email)?.factor) throw new Refusal(400, "invalid_session", "invalid_session", "log_in");
    if (path === "/login/enrol") return ok({ enrolment: "en.1", secret: "S", otpauth_uri: "otpauth:", expires_in: 900 });
    if (json.totp !== this.accounts.get(email).factor) throw new Refusal(401, "invalid_factor", "invalid_factor", "fix_request", { auth_session: `as.${email}` });
    return this.#tokens(this.#lineage(attempt, email, this.pendingKey), json.enrolment ? { recovery_codes: ["one", "two"] } : {});
  }

  #tokens(lineage, more = {}) {
    const token = `${lineage.id}.${lineage.generation}`;
    const hmac = Buffer.isBuffer(lineage.key) ? { key_id: `hmac-${lineage.id}`, secret: lineage.key.toString("base64url") } : {};
    return ok({ access_token: token, refresh_token: token, token_type: "Bearer", expires_in: 900, device_id: lineage.id, server_time: Math.floor(this.time), ...hmac, ...more });
  }

  #token(token) {
    const [id, generation] = String(token).split(".");
    const lineage = this.lineages.get(id);
    if (!lineage) throw new Refusal(400, "invalid_grant", "token_invalid", "log_in");
    return { lineage, generation: Number(generation) };
  }

  #exchange(request, form) {
    const { lineage, generation } = this.#token(form.get("refresh_token"));
    const attempt = request.headers["idempotency-key"];
    this.#verify(request, lineage.key);
    if (lineage.ended) throw new Refusal(400, "invalid_grant", "login_required", "log_in", { reason: lineage.ended });
    if (generation === lineage.generation) lineage.attempts.set(lineage.generation++, attempt);
    else if (lineage.attempts.get(generation) !== attempt) {
      lineage.ended = "reuse";
      throw new Refusal(400, "invalid_grant", "token_reused", "log_in");
    } else if (generation < lineage.generation - 1) throw new Refusal(409, "invalid_request", "superseded", "retry");
    return this.#tokens(lineage);
  }

  #caller(request) {
    const { lineage, generation } = this.#token(/^Bearer (.*)$/.exec(request.headers.authorization ?? "")?.[1]);
    this.#verify(request, lineage.key);
    if (lineage.ended) throw new Refusal(401, "invalid_token", "login_required", "log_in", { reason: lineage.ended });
    if (generation < lineage.generation - 1) throw new Refusal(401, "invalid_token", "token_expired", "exchange");
    return lineage;
  }

  /** Rebuild the base from the request, and verify the signature with Node's own crypto. */
  #verify(request, key) {
    if (!key) return;
    const { method, url, headers, body } = request;
    const input = /^baton=(\((.*)\);created=(\d+);keyid="[^"]+";nonce="([^"]+)";tag="baton")$/.exec(headers["signature-input"] ?? "");
    const signature = /^baton=:(.*):$/.exec(headers.signature ?? "")?.[1];
    if (!input || !signature) throw new Refusal(401, "invalid_signature", "signature_required", "fix_request");
    const [, parameters, names, created, nonce] = input;
    if (Math.abs(created - this.time) > 300) throw new Refusal(401, "stale_signature", "clock_skew", "sync_clock", { server_time: Math.floor(this.time) });
    const parsed = new URL(url);
    const value = { '"@method"': method, '"@authority"': parsed.host, '"@path"': parsed.pathname };
    const lines = names.split(" ").map((name) => `${name}: ${value[name] ?? headers[name.slice(1, -1)]}`);
    const base = [...lines, `"@signature-params": ${parameters}`].join("\n");
    if (body && headers["content-digest"] !== `sha-256=:${createHash("sha256").update(body).digest("base64")}:`)
      throw new Refusal(400, "invalid_request", "invalid_digest", "fix_request");
    const raw = Buffer.from(signature, "base64");
    const right = Buffer.isBuffer(key)
      ? createHmac("sha256", key).update(base).digest().equals(raw)
      : verify("sha256", Buffer.from(base), { key: createPublicKey({ key, format: "jwk" }), dsaEncoding: "ieee-p1363" }, raw);
    if (!right || !url.startsWith(ORIGIN)) throw new Refusal(401, "invalid_signature", "invalid_signature", "fix_request");
    if (this.nonces.has(nonce)) throw new Refusal(401, "replayed_nonce", "replayed_nonce", "retry");
    this.nonces.add(nonce);
  }
}

const ok = (members) => ({ status: 200, members });
