// Logins that have ended here: each is revoked at the server until the server has confirmed its end.

import Foundation

/// How a revocation is signed: not at all for an unbound login.
private enum Signing {
    case by(RequestSigner?)
    case gone // No request can revoke this login any more.
}

extension Baton {
    /// Send the revocations that wait. None of their errors concerns the caller. Without `now`, a revocation that was not
    /// answered is sent again after half a minute at the earliest. Return false if one was given up: its key does not exist
    /// any more, or it is too old.
    @discardableResult
    func revokeWaiting(_ patience: Patience, now: Bool = false) async throws -> Bool {
        if !now && options.clock() < revokeAfter { return true }
        if revoking == nil, try await record().revocations.isEmpty { return true }
        let work = revoking ?? Task {
            defer { revoking = nil }
            return try await sendRevocations()
        }
        revoking = work
        return try await patience.wait(for: work)
    }

    private func sendRevocations() async throws -> Bool {
        var possible = true
        for one in try await record().revocations where !refusedRevocations.contains(one.token) {
            let old = one.since > 0 && now() - one.since > revocationLife
            guard !old, case .by(let signer) = try await signing(one) else {
                possible = false
                try await forgetRevocation(one)
                continue
            }
            let form = formPlan("/oauth/revoke", ["token": one.token, "client_id": clientId])
            let prepare: @Sendable (TimeInterval) async throws -> Prepared? = { try await self.prepared(form, $0, signer) }
            do {
                let question = Question(verb: .revoke, repeatable: true, prepare: prepare) { _ in }
                switch try await ask(question, self.patience(revocationWait)) {
                case .answered, .ended(.done, _): try await forgetRevocation(one)
                case .ended: refusedRevocations.insert(one.token) // Until the app starts again.
                }
            } catch let error as BatonError where error.kind == "offline" || error.kind == "answer_lost" {
                revokeAfter = options.clock() + revocationRest
                return possible
            }
        }
        return possible
    }

    private func signing(_ one: Revocation) async throws -> Signing {
        guard let keyId = one.keyId else { return .by(nil) }
        if let secret = one.secret { return .by(try secretSigner(keyId, secret)) }
        let stored = try await record().key
        guard let key = one.key ?? stored, let (signer, _) = try await keySigner(key), signer.keyId == keyId else { return .gone }
        return .by(signer)
    }

    private func forgetRevocation(_ done: Revocation) async throws {
        try await update { now in
            var left = now
            left.revocations.removeAll { $0.token == done.token }
            return left
        }
        if let key = done.key { try? await blocking { [keys] in try keys.remove(key) } } // A key without a record does no harm.
    }
}
