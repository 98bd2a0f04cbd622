// A signed call with a usable token. It applies each remedy that a refusal names.

import Foundation

/// What a caller asked for.
struct Wish: Sendable {
    let method: String
    let path: String
    var body = Data()
    var contentType: String?
    var query: [String: String] = [:]
    var grant: String?
    var confirm: Confirm?
    var idempotencyKey: String?
    var repeats: Bool?
    var deadline: TimeInterval? = 30
    var team = false // A route of the app.
    var granted: @Sendable () -> Void = {} // Called after each step-up.
}

/// Encode a body, once: a repetition has the same bytes.
func bodyOf(_ json: (any Encodable & Sendable)?, _ body: Data?) throws -> Data {
    guard let json else { return body ?? Data() }
    if body != nil { throw InvalidInput("Give `json` or `body`, not both.") }
    if let value = json as? JSON { return try value.written() }
    do {
        return try JSONEncoder().encode(json)
    } catch {
        throw InvalidInput("`json` cannot be encoded: \(type(of: error))")
    }
}

/// What a call has done until now.
private struct Progress {
    var used: Session?
    var grant: String?
    var exchanged = false
    var continued = false
    var grants = 0
}

extension Baton {
    func call<Value: Sendable>(_ wish: Wish, _ read: @escaping @Sendable (Ours) throws -> Value) async throws -> Value {
        try checkPath(wish.path)
        guard !wish.method.isEmpty, wish.method.unicodeScalars.allSatisfy({ ("A"..."Z").contains($0) }) else {
            throw InvalidInput("A method is written in capitals.")
        }
        let key = try wish.idempotencyKey.map(quotedKey)
        let repeatable = wish.repeats ?? (["GET", "HEAD", "OPTIONS"].contains(wish.method) || key != nil)
        let stepUpAttempt = randomName() // With this attempt, the same code may be sent again.
        let progress = Box(Progress(grant: wish.grant))
        var patience = patience(wish.deadline)
        var proof: Proof?
        let prepare: @Sendable (TimeInterval) async throws -> Prepared? = { created in
            let record = try await self.record() // Rule 2: after `created` was taken, before every request.
            let session = try sessionOf(record)
            let grant = progress.change {
                $0.used = session
                return $0.grant
            }
            var fields = ["authorization": "Bearer \(session.accessToken)"]
            fields["idempotency-key"] = key
            fields["baton-grant"] = grant
            let plan = Plan(
                method: wish.method, path: wish.path, body: wish.body, contentType: wish.contentType, query: wish.query, fields: fields, team: wish.team
            )
            return try await self.prepared(plan, created, try await self.signer(of: record))
        }
        let facts: @Sendable () async throws -> Facts = {
            let stored = try await self.record().session
            let now = progress.value
            return Facts(
                exchanged: now.exchanged, renewable: now.used?.renewal != nil, moved: !same(stored, now.used), continued: now.continued,
                grants: now.grants, confirm: wish.confirm != nil
            )
        }
        let question = Question(verb: .call, repeatable: repeatable, keyed: key != nil, prepare: prepare, read: read, facts: facts)
        while true {
            try await usable(patience) // Rule 7.
            let step: Step
            let told: Refused?
            switch try await ask(question, patience) {
            case .answered(let value): return value
            case .ended(let said, let refused): (step, told) = (said, refused)
            }
            guard let refused = told, let used = progress.value.used else { throw unexpected(step, told) }
            switch step {
            case .exchange:
                progress.change { $0.exchanged = true }
                _ = try await exchange(used, patience)
            case .stepUp:
                guard let confirm = wish.confirm else { throw BatonError.refused(refused) }
                progress.change { $0.grants += 1 }
                if progress.value.grant != nil, refused.code == "step_up_required" { proof = nil } // It is too old: ask again.
                if proof == nil {
                    proof = try await confirm(Demand(refused: refused) { try await self.stepUpOptions(wish) })
                    patience = self.patience(wish.deadline) // The person's time for the input does not count.
                }
                let grant = try await stepUp(proof!, wish, attempt: stepUpAttempt, deadline: patience.leftOrNil)
                progress.change { $0.grant = grant }
                wish.granted()
            case .readStorage, .loggedOut:
                progress.change { $0.continued = true }
                _ = try await sessionAfter(refused, used) // It throws, unless storage has a newer session.
            default: throw BatonError.refused(refused)
            }
        }
    }

    /// Prove a factor for one exact request. Return the grant.
    func stepUp(_ proof: Proof, _ wish: Wish, attempt: String, deadline: TimeInterval?) async throws -> String {
        let body = try JSON.object(proof.members.merging(["operation": operation(wish)]) { $1 }).written()
        let asking = Wish(method: "POST", path: "/step-up", body: body, idempotencyKey: attempt, deadline: deadline)
        return try await call(asking, having(["grant": .string]))["grant"]?.text ?? ""
    }

    /// Return the options of a passkey for one exact request.
    private func stepUpOptions(_ wish: Wish) async throws -> JSON {
        let body = try JSON.object(["operation": operation(wish)]).written()
        let asking = Wish(method: "POST", path: "/step-up/options", body: body, repeats: true, deadline: wish.deadline)
        return try await call(asking, having(["options": .object]))["options"] ?? .null
    }

    private func operation(_ wish: Wish) -> JSON {
        ["method": .string(wish.method), "path": .string(base.prefix + wish.path), "digest": .string(contentDigest(wish.body))]
    }
}
