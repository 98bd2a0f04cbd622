// Registration and login: one attempt for all repetitions, also after a restart.

import Foundation

struct Entry: Sendable {
    let verb: Verb
    let email: String
    let password: String
    let deviceName: String
    let mail: MailCode?
    let deadline: TimeInterval?
    /// For a login with only a passkey: it passes the options to the platform.
    var get: (@Sendable (JSON) async throws -> JSON)?
}

/// The device in the request of a login: its signer, and the members of `device`.
struct Introduction: Sendable {
    let signer: RequestSigner?
    let device: [String: JSON]
}

func loginDone(_ session: Session, _ given: [String: JSON] = [:]) -> LoginDone {
    let left = given["recovery_codes_left"]?.double.flatMap { Int(exactly: $0) }
    return LoginDone(deviceId: session.deviceId, recoveryCodes: strings(given["recovery_codes"]), recoveryCodesLeft: left)
}

extension Baton {
    /// Register or log in.
    func begin(_ entry: Entry) async throws -> Login {
        var patience = patience(entry.deadline)
        try await revokeWaiting(patience) // Rule 8: first, because the new login has another key.
        let address = entry.email.precomposedStringWithCompatibilityMapping.trimmingCharacters(in: .whitespacesAndNewlines).lowercased()
        let anew = Box(false)
        var byLast = entry.verb == .login && options.binding == .hmac
        while true {
            let record = try await pendingFor(entry.verb.rawValue, address) // Rule 1: attempt and key are stored before they are sent.
            let known = try await introduction(record, byLast: byLast)
            let device = known.device.merging(["name": .string(entry.deviceName)]) { $1 }
            var members: [String: JSON] = ["client_id": .string(clientId), "device": .object(device)]
            if let get = entry.get {
                let read = having(["options": .object])
                let options = try await byKey("/login/passkey/options", members, deadline: entry.deadline, known: known, read)["options"] ?? .null
                members["credential"] = try await get(options)
                patience = self.patience(entry.deadline) // The person's time for the gesture does not count.
            } else {
                members["email"] = .string(entry.email)
                members["password"] = .string(entry.password)
                members["mail_session"] = entry.mail.map { .string($0.session) }
                members["code"] = entry.mail.map { .string($0.code) }
            }
            let attempt = record.pending?.attempt ?? ""
            let facts: @Sendable () async throws -> Facts = {
                let now = try await self.record()
                return Facts(session: now.session != nil && now.pending?.attempt != attempt, anew: anew.value)
            }
            let path = entry.get == nil ? "/\(entry.verb.rawValue)" : "/login/passkey"
            let fields = ["idempotency-key": try quotedKey(attempt)]
            let plan = Plan(method: "POST", path: path, body: try JSON.object(members).written(), fields: fields)
            let prepare: @Sendable (TimeInterval) async throws -> Prepared? = { try await self.prepared(plan, $0, known.signer) }
            let question = Question(verb: entry.verb, repeatable: true, prepare: prepare, read: firstTokens, facts: facts)
            switch try await ask(question, patience) {
            case .answered(let given): return .done(try await begun(given, record))
            case .ended(.returnSession, _): return .done(loginDone(try await session()))
            case .ended(.returnStep, .some(let refused)): return .step(try await stepAfter(refused, record))
            case .ended(.newAttempt, _):
                anew.value = true // Another process has finished this login, or its lineage has ended.
                try await dropPending(attempt)
            case .ended(_, .some(let refused))
            where byLast && known.signer != nil && ["invalid_signature", "stale_signature"].contains(refused.error):
                byLast = false // The server cannot verify the last secret any more. It is not needed to log in.
            case .ended(let step, let refused): throw unexpected(step, refused)
            }
        }
    }

    /// Store the attempt of a login, or keep that of the same login. Make the key of the device, if there is none.
    private func pendingFor(_ kind: String, _ email: String) async throws -> DeviceRecord {
        let binding = options.binding.rawValue
        let client = clientId
        let fresh = Pending(kind: kind, email: email, clientId: client, binding: binding, attempt: randomName())
        while true {
            let seen = try await record().key
            let made = options.binding == .key ? try await keyToMake(seen) : nil
            let record = try await update { now in
                let goesOn = now.pending.map { $0.email == email && $0.clientId == client && $0.binding == binding } ?? false
                var later = now
                if !goesOn { later.pending = fresh }
                if let made, now.key?.data == seen?.data { later.key = made } // Another process may have made one meanwhile.
                return later
            }
            if options.binding != .key || record.key != nil { return record }
        }
    }

    /// Return a new key if the stored one cannot be used.
    func keyToMake(_ seen: StoredKey?) async throws -> StoredKey? {
        if let seen, try await keySigner(seen) != nil { return nil }
        let made = try await guarded { [keys] in try keys.create() }
        return StoredKey(store: made.store, data: made.data, jwk: made.signer.jwk)
    }

    func introduction(_ record: DeviceRecord, byLast: Bool = false) async throws -> Introduction {
        switch options.binding {
        case .none: return Introduction(signer: nil, device: [:])
        case .hmac:
            let last = byLast ? lastSecret(record) : nil
            return Introduction(signer: try last.map { try secretSigner($0.keyId, $0.secret) }, device: ["binding": "hmac"])
        case .key:
            guard let key = record.key, let (signer, jwk) = try await keySigner(key) else {
                throw BatonError.storageUnavailable("The new key of the device cannot be opened. Log in again.", cause: nil)
            }
            let members: [String: JSON] = ["crv": .string(jwk.crv), "kty": .string(jwk.kty), "x": .string(jwk.x), "y": .string(jwk.y ?? "")]
            return Introduction(signer: signer, device: ["public_key": .object(members)])
        }
    }

    /// Only the answer to an HMAC login has a secret, once.
    var firstTokens: @Sendable (Ours) throws -> [String: JSON] {
        let always: [String: Kind] = ["access_token": .string, "expires_in": .number, "device_id": .string]
        return having(options.binding == .hmac ? always.merging(["key_id": .string, "secret": .string]) { $1 } : always)
    }

    /// Store the session of a finished login, if the storage still waits for it.
    func begun(_ given: [String: JSON], _ sent: DeviceRecord) async throws -> LoginDone {
        let attempt = sent.pending?.attempt
        var own: String?
        if options.binding == .key, let key = sent.key { own = try await keySigner(key)?.0.keyId }
        let empty = Session(
            deviceId: given["device_id"]?.text ?? "", accessToken: "", renewal: nil, expiresAt: 0, attempt: "",
            keyId: own ?? given["key_id"]?.text, secret: given["secret"]?.text
        )
        let session = born(given, nil, empty)
        let record = try await update { now in
            guard now.pending?.attempt == attempt else { return now }
            var later = now
            (later.session, later.pending, later.last, later.ended) = (session, nil, nil, nil)
            return later
        }
        guard let stored = record.session, stored.deviceId == session.deviceId else {
            throw BatonError.notLoggedIn("Another login on this storage overtook this one.")
        }
        return loginDone(stored, given)
    }

    /// Store the newest `auth_session`, before the step is returned.
    func stepAfter(_ refused: Refused, _ sent: DeviceRecord) async throws -> LoginStep {
        let problem = refused.problem
        guard let session = problem["auth_session"]?.text else { throw BatonError.refused(refused) }
        let expiresAt = second + (problem["expires_in"]?.double ?? 600)
        let (factors, enrol) = (strings(problem["factors"]), strings(problem["enrol"]))
        try await update { now in
            guard var pending = now.pending, pending.attempt == sent.pending?.attempt else { return now }
            (pending.authSession, pending.factors, pending.enrol, pending.expiresAt) = (session, factors, enrol, expiresAt)
            var later = now
            later.pending = pending
            return later
        }
        return LoginStep(self, factors: factors, enrol: enrol, expiresAt: expiresAt, problem: problem)
    }

    func dropPending(_ attempt: String?) async throws {
        try await update { now in
            guard now.pending?.attempt == attempt else { return now }
            var left = now
            left.pending = nil
            return left
        }
    }
}
