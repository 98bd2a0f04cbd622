// The second step of a login: it proves a second factor, or enrols one. It survives a restart.

import Foundation

public struct LoginStep: Sendable, Masked {
    /// The factors that the person can prove.
    public let factors: [String]
    /// The factors that the person can enrol.
    public let enrol: [String]
    /// When the step ends, in seconds of the server's clock.
    public let expiresAt: TimeInterval
    /// All other members of the answer.
    public let problem: [String: JSON]
    private let baton: Baton

    init(_ baton: Baton, factors: [String], enrol: [String], expiresAt: TimeInterval, problem: [String: JSON]) {
        (self.baton, self.factors, self.enrol, self.expiresAt) = (baton, factors, enrol, expiresAt)
        self.problem = problem.filter { $0.key != "auth_session" }
    }

    /// Return the options of a passkey, for the platform.
    public func options(deadline: TimeInterval? = 30) async throws -> JSON {
        try await answered("/login/factor/options", [:], having(["options": .object]), deadline)["options"] ?? .null
    }

    /// Where `factors` is `email_code`: send a code to the address of the account.
    public func sendEmailCode(deadline: TimeInterval? = 30) async throws {
        _ = try await answered("/login/email-code", [:], having(["expires_in": .number]), deadline)
    }

    /// Begin to enrol a factor, `totp` or `passkey`. Show `otpauth_uri`, or pass `options` to the platform. Then `prove` with
    /// `enrolment`.
    public func enrolment(_ kind: String, deadline: TimeInterval? = 30) async throws -> [String: JSON] {
        let shown: [String: Kind] = kind == "passkey" ? ["options": .object] : ["secret": .string]
        return try await answered("/login/enrol", ["kind": .string(kind)], having(shown.merging(["enrolment": .string]) { $1 }), deadline)
    }

    /// Prove a factor. After `refused` with code `invalid_factor` or `invalid_code`, ask the person again. After
    /// `invalid_session`, log in again.
    public func prove(
        _ proof: Proof, rememberDevice: Bool = true, enrolment: String? = nil, deadline: TimeInterval? = 30
    ) async throws -> Login {
        var members = proof.members
        members["enrolment"] = enrolment.map(JSON.string)
        members["remember_device"] = .bool(rememberDevice)
        switch try await baton.factor("/login/factor", members, await baton.firstTokens, deadline) {
        case .answered(let given, let record): return .done(try await baton.begun(given, record))
        case .next(let step): return .step(step)
        case .finished: return .done(loginDone(try await baton.session()))
        }
    }

    private func answered(
        _ path: String, _ members: [String: JSON], _ read: @escaping @Sendable (Ours) throws -> [String: JSON], _ deadline: TimeInterval?
    ) async throws -> [String: JSON] {
        guard case .answered(let given, _) = try await baton.factor(path, members, read, deadline) else {
            throw BatonError.notLoggedIn("This login has continued without this step.")
        }
        return given
    }

    public var description: String { "LoginStep(factors: \(factors), enrol: \(enrol))" }
}

enum FactorResult: Sendable {
    case answered([String: JSON], DeviceRecord)
    case next(LoginStep)
    case finished // Another process has finished this login.
}

extension Baton {
    func factor(
        _ path: String, _ members: [String: JSON], _ read: @escaping @Sendable (Ours) throws -> [String: JSON], _ deadline: TimeInterval?
    ) async throws -> FactorResult {
        let record = try await record()
        guard let pending = record.pending, let session = pending.authSession else {
            throw BatonError.notLoggedIn("No login waits for a second factor: log in.")
        }
        let body = try JSON.object(members.merging(["auth_session": .string(session)]) { $1 }).written()
        let signer = try await introduction(record, byLast: options.binding == .hmac).signer
        let plan = Plan(method: "POST", path: path, body: body, fields: ["idempotency-key": try quotedKey(pending.attempt)])
        let prepare: @Sendable (TimeInterval) async throws -> Prepared? = { try await self.prepared(plan, $0, signer) }
        let facts: @Sendable () async throws -> Facts = {
            let now = try await self.record()
            return Facts(session: now.session != nil && now.pending?.attempt != pending.attempt)
        }
        let question = Question(verb: .factor, repeatable: true, prepare: prepare, read: read, facts: facts)
        switch try await ask(question, patience(deadline)) {
        case .answered(let given): return .answered(given, record)
        case .ended(.returnSession, _): return .finished
        case .ended(.returnStep, .some(let refused)): return .next(try await stepAfter(refused, record))
        case .ended(let step, let refused):
            if refused?.code == "invalid_session" { try await dropPending(pending.attempt) } // Log in again, with the password.
            throw unexpected(step, refused)
        }
    }
}
