// The storage record: its format, and the changes of it. Every change checks the record that it gets, because it may be applied again.

import Foundation

/// Write a record as JSON.
public func writeRecord(_ record: DeviceRecord) throws -> Data {
    try JSON.object([
        "v": 2,
        "session": record.session.map(sessionMembers) ?? .null,
        "key": record.key.map(keyMembers) ?? .null,
        "pending": record.pending.map(pendingMembers) ?? .null,
        "last": record.last.map { ["key_id": .string($0.keyId), "secret": .string($0.secret)] } ?? .null,
        "revocations": .array(record.revocations.map(revocationMembers)),
        "ended": record.ended.map { ["reason": orNull($0.reason), "at": .number($0.at)] } ?? .null,
    ]).written()
}

/// Read a record of this format or of the one before it, or throw `BatonError.brokenStorage`.
public func readRecord(_ bytes: Data) throws -> DeviceRecord {
    do {
        let given = try JSON.parse(bytes)
        guard let members = given.members else { throw InvalidInput("not an object") }
        let version = try members["v"].map(number) ?? 1
        if version > 2 { throw BatonError.brokenStorage("A newer client wrote this record. It was not changed. Update the app.") }
        let known = ["session", "pending", "key"].allSatisfy { members[$0] != nil }
        guard version >= 1, version != 1 || known else { throw InvalidInput("v") }
        var record = DeviceRecord()
        record.session = try optional(given["session"], session)
        record.key = try optional(given["key"], key)
        record.pending = try optional(given["pending"], pending)
        record.last = try optional(given["last"]) { LastSecret(keyId: try string($0["key_id"]), secret: try string($0["secret"])) }
        record.revocations = try (optional(given["revocations"], list) ?? []).map(version == 1 ? oldRevocation : revocation)
        record.ended = try optional(given["ended"]) { Ended(reason: try stringOrNil($0["reason"]), at: try number($0["at"])) }
        return record
    } catch is InvalidInput {
        throw BatonError.brokenStorage("The record cannot be read. It was not changed.")
    }
}

private func orNull(_ text: String?) -> JSON { text.map(JSON.string) ?? .null }

private func present(_ members: [String: JSON?]) -> JSON { .object(members.compactMapValues { $0 }) }

private func sessionMembers(_ one: Session) -> JSON {
    present([
        "device_id": .string(one.deviceId),
        "access_token": .string(one.accessToken),
        "refresh_token": one.renewal == one.accessToken ? nil : orNull(one.renewal),
        "expires_at": .number(one.expiresAt),
        "attempt": .string(one.attempt),
        "key_id": orNull(one.keyId),
        "secret": orNull(one.secret),
    ])
}

private func session(_ given: JSON) throws -> Session {
    let token = try string(given["access_token"])
    return Session(
        deviceId: try string(given["device_id"]),
        accessToken: token,
        renewal: given["refresh_token"] == nil ? token : try stringOrNil(given["refresh_token"]),
        expiresAt: try number(given["expires_at"]),
        attempt: try string(given["attempt"]),
        keyId: try stringOrNil(given["key_id"]),
        secret: try stringOrNil(given["secret"])
    )
}

private func keyMembers(_ one: StoredKey) -> JSON {
    let jwk = one.jwk.map { ["crv": .string($0.crv), "kty": .string($0.kty), "x": .string($0.x), "y": orNull($0.y)] as JSON }
    return ["store": .string(one.store), "data": .string(one.data), "jwk": jwk ?? .null]
}

private func key(_ given: JSON) throws -> StoredKey {
    if let pkcs8 = given["pkcs8"], pkcs8 != .null {
        return StoredKey(store: "pkcs8", data: try string(pkcs8), jwk: try publicPart(string(pkcs8)))
    }
    let jwk = try optional(given["jwk"]) {
        PublicJwk(crv: try string($0["crv"]), kty: try string($0["kty"]), x: try string($0["x"]), y: try string($0["y"]))
    }
    return StoredKey(store: try string(given["store"]), data: try string(given["data"]), jwk: jwk)
}

private func pendingMembers(_ one: Pending) -> JSON {
    present([
        "kind": .string(one.kind),
        "email": .string(one.email),
        "client_id": .string(one.clientId),
        "binding": .string(one.binding),
        "attempt": .string(one.attempt),
        "auth_session": orNull(one.authSession),
        "factors": one.factors.map { .array($0.map(JSON.string)) },
        "enrol": one.enrol.map { .array($0.map(JSON.string)) },
        "expires_at": one.expiresAt.map(JSON.number),
    ])
}

private func pending(_ given: JSON) throws -> Pending {
    Pending(
        kind: try given["kind"].map(string) ?? "login",
        email: try string(given["email"]),
        clientId: try string(given["client_id"]),
        binding: try string(given["binding"]),
        attempt: try string(given["attempt"]),
        authSession: try stringOrNil(given["auth_session"]),
        factors: try given["factors"].map { try list($0).map(string) },
        enrol: try given["enrol"].map { try list($0).map(string) },
        expiresAt: try given["expires_at"].map(number)
    )
}

private func revocationMembers(_ one: Revocation) -> JSON {
    present([
        "token": .string(one.token),
        "key_id": orNull(one.keyId),
        "secret": orNull(one.secret),
        "since": .number(one.since),
        "key": one.key.map(keyMembers),
    ])
}

private func revocation(_ given: JSON) throws -> Revocation {
    Revocation(
        token: try string(given["token"]), keyId: try stringOrNil(given["key_id"]), secret: try stringOrNil(given["secret"]),
        since: try number(given["since"]), key: try optional(given["key"], key)
    )
}

private func oldRevocation(_ given: JSON) throws -> Revocation {
    guard let ended = try optional(given["session"], session) else { throw InvalidInput("session") }
    return Revocation(
        token: ended.renewal ?? ended.accessToken, keyId: ended.keyId, secret: ended.secret, since: 0, key: try optional(given["key"], key)
    )
}

private func optional<Value>(_ value: JSON?, _ read: (JSON) throws -> Value) throws -> Value? {
    guard let value, value != .null else { return nil }
    return try read(value)
}

private func list(_ value: JSON) throws -> [JSON] {
    guard let elements = value.elements else { throw InvalidInput("not a list") }
    return elements
}

private func string(_ value: JSON?) throws -> String {
    guard let text = value?.text else { throw InvalidInput("not a string") }
    return text
}

private func stringOrNil(_ value: JSON?) throws -> String? { try optional(value, string) }

private func number(_ value: JSON?) throws -> Double {
    guard let double = value?.double else { throw InvalidInput("not a number") }
    return double
}

/// Return the public key at the end of a P-256 key in PKCS #8, as OpenSSL, WebCrypto and this client write it.
func publicPart(_ pkcs8: String) throws -> PublicJwk {
    let bytes = [UInt8](try unbase64(pkcs8))
    guard bytes.count == 138, bytes[73] == 4 else { throw InvalidInput("not a P-256 key") }
    return PublicJwk(crv: "P-256", kty: "EC", x: base64url(Data(bytes[74..<106])), y: base64url(Data(bytes[106...])))
}

/// Return whether both are the same generation: an attempt is made once for each token.
func same(_ a: Session?, _ b: Session?) -> Bool { a?.attempt == b?.attempt }

/// Hardware keys cannot be copied. Every other key may be in a copy of the device.
private func isCopyable(_ key: StoredKey) -> Bool { key.store != "enclave" && key.store != "keystore" }

/// Return the secret that signs the next HMAC login.
func lastSecret(_ record: DeviceRecord) -> LastSecret? {
    if let keyId = record.session?.keyId, let secret = record.session?.secret { LastSecret(keyId: keyId, secret: secret) } else { record.last }
}

/// Drop the session. After a copy was used, the key is not used again: the other holder may have it (rule 8).
func withoutSession(_ record: DeviceRecord, _ reason: String?, at: TimeInterval) -> DeviceRecord {
    var left = record
    left.session = nil
    if reason == "reuse" || reason == "replaced", let key = record.key, isCopyable(key) { left.key = nil }
    left.last = lastSecret(record)
    left.ended = reason.map { Ended(reason: $0, at: at) }
    return left
}

/// Move the token from the session to the revocations, in one write: no crash loses the revocation.
func revoked(_ record: DeviceRecord, _ reason: String, at: TimeInterval) -> DeviceRecord {
    guard let session = record.session else { return record }
    var left = withoutSession(record, reason, at: at)
    let copied = left.key == nil && session.secret == nil ? record.key : nil
    let one = Revocation(token: session.renewal ?? session.accessToken, keyId: session.keyId, secret: session.secret, since: at, key: copied)
    let waiting = record.revocations.filter { $0.since == 0 || at - $0.since < revocationLife }
    left.revocations = Array((waiting + [one]).suffix(revocationsMost))
    return left
}
