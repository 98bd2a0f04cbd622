// The exchange of a token for its child: one in flight per process, and the record decides among processes.

import Foundation

/// The exchange of the token with this attempt.
struct Flight: Sendable {
    let attempt: String
    let child: Task<Session, any Error>
}

func formPlan(_ path: String, _ form: [String: String], fields: [String: String] = [:]) -> Plan {
    Plan(method: "POST", path: path, body: Data(encodeQuery(form).utf8), contentType: "application/x-www-form-urlencoded", fields: fields)
}

extension Baton {
    /// Exchange the token if it has expired (rule 7). At most twice: a child that arrived late may have expired too.
    func usable(_ patience: Patience) async throws {
        try await revokeWaiting(patience)
        for _ in 0..<2 {
            let session = try await session()
            if session.renewal == nil || now() < session.expiresAt - early { return }
            _ = try await exchange(session, patience)
        }
    }

    /// Exchange `parent`, or wait for the exchange that another caller has begun. It outlives the caller that began it.
    func exchange(_ parent: Session, _ patience: Patience) async throws -> Session {
        while true {
            let standing = try await session()
            if !same(standing, parent) { return standing }
            let mine = flight == nil
            let flight = self.flight ?? begin(parent, left: patience.leftOrNil)
            do {
                let child = try await patience.wait(for: flight.child, mine: mine)
                if flight.attempt == parent.attempt { return child }
            } catch BatonError.offline(let last) {
                if mine || patience.left <= moment { throw BatonError.offline(last: last) } // This caller may have more time.
            }
        }
    }

    private func begin(_ parent: Session, left: TimeInterval?) -> Flight {
        let child = Task {
            defer { flight = nil }
            return try await fly(parent, patience(left))
        }
        let begun = Flight(attempt: parent.attempt, child: child)
        flight = begun
        return begun
    }

    private func fly(_ parent: Session, _ patience: Patience) async throws -> Session {
        for superseded in 0... {
            let facts: @Sendable () async throws -> Facts = {
                Facts(moved: !same(try await self.record().session, parent), superseded: superseded)
            }
            let prepare: @Sendable (TimeInterval) async throws -> Prepared? = { try await self.exchangeRequest(parent, $0) }
            let question = Question(verb: .exchange, repeatable: true, prepare: prepare, read: tokens, facts: facts)
            switch try await ask(question, patience) {
            case .answered(let given):
                let child = born(given, parent, parent)
                // Rules 3 and 4: stored if the parent is still stored, and used only after that.
                let record = try await update { now in
                    guard same(now.session, parent) else { return now }
                    var later = now
                    later.session = child
                    return later
                }
                return try sessionOf(record)
            case .ended(.readStorage, _): return try await session()
            case .ended(.rule8, _): return try await afterCopy(parent, patience)
            case .ended(.loggedOut, .some(let refused)): return try await sessionAfter(refused, parent)
            case .ended(.askAgain, _): try await patience.pause(moment)
            case .ended(let step, let refused): throw unexpected(step, refused)
            }
        }
        throw BatonError.offline(last: "superseded")
    }

    private func exchangeRequest(_ parent: Session, _ created: TimeInterval) async throws -> Prepared? {
        let record = try await record() // Rule 2: after `created` was taken, before every request.
        guard same(record.session, parent), let token = parent.renewal else { return nil }
        let form = ["grant_type": "refresh_token", "refresh_token": token, "client_id": clientId]
        let plan = formPlan("/oauth/token", form, fields: ["idempotency-key": try quotedKey(parent.attempt)])
        return try await prepared(plan, created, try await signer(of: record))
    }

    /// Return `session` with the members that every generation has, and with a new attempt for its exchange (rule 1).
    func born(_ given: [String: JSON], _ parent: Session?, _ session: Session) -> Session {
        var child = session
        child.accessToken = given["access_token"]?.text ?? ""
        let kept = parent.map { $0.renewal == $0.accessToken ? child.accessToken : $0.renewal } ?? nil
        child.renewal = given["refresh_token"]?.text ?? kept
        child.expiresAt = (seconds(given["server_time"]) ?? second) + (given["expires_in"]?.double ?? 0)
        child.attempt = randomName()
        return child
    }

    /// Act on a second `superseded` (rule 8). Only a process that stored generation g+1 can have exchanged it (rule 4). The
    /// storage still has g, so that process has another copy of this record. Revoke the login, and use a new key.
    private func afterCopy(_ parent: Session, _ patience: Patience) async throws -> Session {
        let at = second
        let record = try await update { now in same(now.session, parent) ? revoked(now, "reuse", at: at) : now }
        if let other = record.session { return other }
        func waits(_ now: DeviceRecord) -> Bool { now.revocations.contains { $0.token == parent.renewal } }
        guard waits(record) else { throw BatonError.notLoggedIn("Another process has ended this session.") }
        try await revokeWaiting(patience, now: true)
        throw BatonError.loggedOut(reason: "reuse", confirmed: !waits(try await self.record()))
    }

    /// Act on the end of the session itself (rule 6). Return the newer session of another process, or throw `loggedOut`.
    func sessionAfter(_ refused: Refused, _ used: Session) async throws -> Session {
        let reason = refused.code == "token_reused" ? "reuse" : refused.reason ?? refused.code
        let at = second
        let record = try await update { now in same(now.session, used) ? withoutSession(now, reason, at: at) : now }
        guard let newer = record.session else { throw BatonError.loggedOut(reason: reason, confirmed: true) }
        return newer
    }
}
