// What all flows share: the record, the key, and one sending of a signed request.

import Foundation

struct Plan: Sendable {
    let method: String
    let path: String
    var body = Data()
    var contentType: String?
    var query: [String: String] = [:]
    var fields: [String: String] = [:]
    var team = false
}

struct Prepared: Sendable {
    let request: Request
    let team: Bool
}

extension Baton {
    var second: TimeInterval { now().rounded(.down) }

    func patience(_ deadline: TimeInterval?) -> Patience { Patience(options, deadline: deadline) }

    /// Run work that may block, on a thread for that. A caller that cancels does not stop it half-way.
    func blocking<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            threads.async { continuation.resume(with: Result { try work() }) }
        }
    }

    /// Use the storage. Its errors end no login.
    func guarded<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
        do {
            return try await blocking(work)
        } catch let error as BatonError {
            throw error
        } catch {
            throw BatonError.storageUnavailable("The storage cannot be used now. The login is kept: repeat the call.", cause: error)
        }
    }

    // The record

    func record() async throws -> DeviceRecord { try await guarded { [storage] in try storage.read() } }

    func session() async throws -> Session { try sessionOf(try await record()) }

    /// Change the record. Listeners are told after it has changed.
    @discardableResult
    func update(_ change: @escaping @Sendable (DeviceRecord) -> DeviceRecord) async throws -> DeviceRecord {
        let before = Box<State?>(nil)
        let (record, number) = try await guarded { [storage, updates] in
            let record = try storage.update { now in
                before.value = stateOf(now)
                return change(now)
            }
            return (record, updates.change { number in
                number += 1
                return number
            })
        }
        if told == nil { told = before.value } // What the app has seen until now.
        tell(stateOf(record), number)
        return record
    }

    /// Tell the listeners a new state. Callers go on in any order: the state of an earlier change is not told after a later one.
    private func tell(_ state: State, _ number: Int) {
        if number < toldNumber { return }
        toldNumber = number
        if state == told { return }
        told = state
        for listener in listeners.values { listener.yield(state) }
    }

    // Keys

    /// Return the signer of a session, or nil for an unbound one. A lost key ends the session (rule 6).
    func signer(of record: DeviceRecord) async throws -> RequestSigner? {
        let session = try sessionOf(record)
        guard let keyId = session.keyId else { return nil }
        if let secret = session.secret { return try secretSigner(keyId, secret) }
        if let key = record.key, let (signer, _) = try await keySigner(key), signer.keyId == keyId { return signer }
        let at = second
        try await update { now in
            guard same(now.session, session) else { return now }
            var left = withoutSession(now, "key_lost", at: at)
            left.key = nil
            return left
        }
        throw BatonError.loggedOut(reason: "key_lost", confirmed: false)
    }

    /// Open the key of the device. Nil: it does not exist any more.
    func keySigner(_ key: StoredKey) async throws -> (RequestSigner, PublicJwk)? {
        guard let signer = try await withKey({ [keys] in try keys.open(key) }) else { return nil }
        let jwk = signer.jwk
        if let stored = key.jwk, stored.x != jwk.x { return nil }
        return (RequestSigner(keyId: jwk.thumbprint) { message in try await self.withKey { try signer.sign(message) } }, jwk)
    }

    /// Use the key store. Its errors end no login: the work is tried twice again.
    private func withKey<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
        for wait in [0.2, 1] {
            do { return try await blocking(work) } catch { try await options.sleep(wait) }
        }
        do {
            return try await blocking(work)
        } catch {
            throw BatonError.storageUnavailable("The key of the device cannot be used now.", cause: error)
        }
    }

    nonisolated func secretSigner(_ keyId: String, _ secret: String) throws -> RequestSigner {
        let bytes = try unbase64(secret)
        return RequestSigner(keyId: keyId) { hmac(bytes, $0) }
    }

    // Requests

    /// Build a request, signed with a fresh nonce.
    func prepared(_ plan: Plan, _ created: TimeInterval, _ signer: RequestSigner?) async throws -> Prepared {
        let encoded = encodeQuery(plan.query)
        let url = base.origin + base.prefix + plan.path + (encoded.isEmpty ? "" : "?\(encoded)")
        var headers = [
            "accept": "application/json, application/problem+json" + (plan.team ? ", */*;q=0.1" : ""),
            "accept-encoding": "identity", // So an answer that is encoded was changed on its way.
            "cache-control": "no-store",
        ]
        if !plan.body.isEmpty {
            headers["content-type"] = plan.contentType ?? "application/json"
            headers["content-digest"] = contentDigest(plan.body)
        }
        headers.merge(plan.fields) { $1 }
        if let signer {
            let signed = try await signatureFields(
                method: plan.method, url: url, headers: headers, signer: signer, created: Int64(created), nonce: randomName()
            )
            headers.merge(signed) { $1 }
        }
        let body = plan.body.isEmpty ? nil : plan.body
        return Prepared(request: Request(method: plan.method, url: url, headers: headers, body: body), team: plan.team)
    }

    /// Send once. Throw `NoAnswer` for an answer that is not Baton's (rule 9).
    func send(_ prepared: Prepared, _ patience: Patience) async throws -> Ours {
        let request = prepared.request
        let before = options.clock()
        let limits = Limits(timeout: max(0.1, min(sendingLimit, patience.left)), bytes: answerBytes)
        let raw = try await transport.send(request, limits: limits)
        switch readAnswer(raw, url: request.url, method: request.method, team: prepared.team) {
        case .foreign(let why): throw NoAnswer("the answer is not Baton's: \(why)")
        case .ours(let ours):
            let stated = serverTime(raw.headers, ours.members)
            let after = options.clock()
            offset.change { $0 = newOffset($0, before: before, after: after, stated: stated) }
            return ours
        }
    }
}

func stateOf(_ record: DeviceRecord) -> State {
    record.session.map { .signedIn(deviceId: $0.deviceId) } ?? .signedOut(reason: record.ended?.reason, at: record.ended?.at)
}

func sessionOf(_ record: DeviceRecord) throws -> Session {
    guard let session = record.session else { throw BatonError.noSession }
    return session
}
