// The types of the client. This module has no code.

/**
 * @typedef {{ crv: string, kty: string, x: string, y?: string }} PublicJwk
 * @typedef {{ store: string, data: string, jwk: PublicJwk | null }} StoredKey `data` belongs to the key store
 * @typedef {{ readonly jwk: PublicJwk, sign(message: Uint8Array): Promise<Uint8Array> }} Signer P-256, SHA-256, 64 bytes r‖s
 *
 * @typedef {object} DeviceKeys
 * @property {() => Promise<{ store: string, data: string, signer: Signer }>} create make a key, before a record names it
 * @property {(key: StoredKey) => Promise<Signer | null>} open null: the key is permanently lost
 * @property {(key: StoredKey) => Promise<void>} remove
 */

/**
 * @typedef {object} Session One login. `refresh_token` is absent if the access token is exchanged itself, null if the login cannot be renewed.
 * @property {string} device_id
 * @property {string} access_token
 * @property {string | null} [refresh_token]
 * @property {number} expires_at seconds of the server's clock
 * @property {string} attempt of the exchange of this token; it was made with the token (rule 1)
 * @property {string | null} key_id null for an unbound login
 * @property {string | null} secret of an HMAC login
 *
 * @typedef {object} Pending A login in progress: its attempt is stored before it is sent (rule 1).
 * @property {string} kind
 * @property {string} email
 * @property {string} client_id
 * @property {string} binding
 * @property {string} attempt
 * @property {string | null} auth_session the newest one of a login that needs a factor
 * @property {readonly string[]} [factors]
 * @property {readonly string[]} [enrol]
 * @property {number} [expires_at]
 *
 * @typedef {object} Revocation A login that has ended on this device. It is kept until the server has confirmed its end.
 * @property {string} token
 * @property {string | null} key_id
 * @property {string | null} secret
 * @property {number} since
 * @property {StoredKey | null} [key] of a copied login: the record has no key any more
 *
 * @typedef {object} DeviceRecord All that a device stores. It is replaced as a whole.
 * @property {2} v
 * @property {Session | null} session
 * @property {StoredKey | null} key
 * @property {Pending | null} pending
 * @property {{ key_id: string, secret: string } | null} last of the last HMAC login: it signs the next login
 * @property {readonly Revocation[]} revocations
 * @property {{ reason: string | null, at: number } | null} ended
 *
 * @typedef {(record: DeviceRecord) => DeviceRecord} Change quick, pure, and perhaps called again
 *
 * @typedef {object} Storage A storage that cannot be read now must throw. An empty record means that there is no session.
 * @property {() => Promise<DeviceRecord>} read
 * @property {(change: Change) => Promise<DeviceRecord>} update atomic, durable, and exclusive among tabs and processes
 */

/**
 * @typedef {object} Request
 * @property {string} method
 * @property {string} url
 * @property {Readonly<Record<string, string>>} headers names in lower case
 * @property {Uint8Array | null} body
 *
 * @typedef {object} RawAnswer
 * @property {number} status
 * @property {ReadonlyMap<string, string>} headers names in lower case
 * @property {Uint8Array} bytes
 * @property {string} [url] the URL that answered, if the platform follows redirects
 *
 * @typedef {(request: Request, limits: { timeout: number, signal: AbortSignal | undefined }) => Promise<RawAnswer>} Transport
 * It throws `NoAnswer`. A time-out is in seconds.
 * @typedef {(seconds: number, signal?: AbortSignal) => Promise<void>} Sleep
 * @typedef {<T>(name: string, wait: number, run: () => Promise<T>) => Promise<T>} Lock runs alone, or after `wait` seconds anyway
 * @typedef {{ tell(): void, onTold(listener: () => void): void }} Channel tells other tabs that the state has changed
 */

/**
 * @typedef {{ signedIn: true, deviceId: string } | { signedIn: false, reason: string | null, at: number | null }} State
 * @typedef {{ password?: string, totp?: string, passkey?: object, recovery_code?: string, email_code?: string }} Proof
 * @typedef {(demand: import("./flows/errors.js").Refused, passkey: { options(): Promise<object> }) => Promise<Proof>} Confirm
 * @typedef {{ done: true, deviceId: string, recoveryCodes: readonly string[], recoveryCodesLeft: number | null }} LoginDone
 * @typedef {LoginDone | { done: false, step: import("./flows/step.js").LoginStep }} Login
 * @typedef {{ deadline?: number | null, signal?: AbortSignal }} Waiting `deadline` is in seconds, null for none
 * @typedef {{ deviceName: string, mail?: { session: string, code: string } } & Waiting} LoginOptions
 *
 * @typedef {object} Sent
 * @property {unknown} [json]
 * @property {Uint8Array} [body]
 * @property {string} [contentType]
 * @property {Readonly<Record<string, string>>} [query]
 * @property {string} [grant]
 * @property {Confirm} [confirm] called if the route requires a step-up
 * @property {string} [idempotencyKey] stored by the app with its intent: the call is repeated until it is answered
 * @property {boolean} [repeat] two executions do no harm
 * @typedef {Sent & Waiting} CallOptions
 *
 * @typedef {object} BatonOptions
 * @property {(challenge: string, publicKey: object | null) => Promise<object>} [evidence] makes evidence of the app when
 *   the server asks for it, once for each attempt
 * @property {string} baseUrl
 * @property {string} clientId
 * @property {Storage} storage
 * @property {DeviceKeys} keys
 * @property {"key" | "hmac" | "none"} [binding]
 * @property {boolean} [plainHttp]
 * @property {Transport} [transport]
 * @property {() => number} [clock] seconds; it may be wrong
 * @property {Sleep} [sleep]
 * @property {() => number} [random] only for pauses
 * @property {Crypto} [crypto]
 * @property {Lock} [lock]
 * @property {Channel} [channel]
 */

export {};
