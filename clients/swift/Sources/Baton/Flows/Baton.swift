// The public surface: one device of one person at one Baton server.

import Dispatch
import Foundation

/// A caller that is cancelled cancels no other caller. Errors are `BatonError`. An `InvalidInput` is an error of the program,
/// before anything is sent.
public actor Baton: CustomReflectable {
    let base: Base
    let clientId: String
    let storage: any Storage
    let keys: any DeviceKeys
    let transport: any Transport
    let options: Options
    let threads = DispatchQueue(label: "baton.storage")
    let offset = Box<TimeInterval>(0)
    let updates = Box(0)
    // An actor runs other callers while one of them waits. Work that must not begin twice is a stored `Task`.
    var flight: Flight?
    var revoking: Task<Bool, any Error>?
    var revokeAfter: TimeInterval = -.infinity
    var refusedRevocations: Set<String> = []
    var listeners: [UUID: AsyncStream<State>.Continuation] = [:]
    var told: State?
    var toldNumber = 0

    public init(
        baseURL: String, clientId: String, storage: any Storage, keys: any DeviceKeys, transport: any Transport = FoundationTransport(),
        options: Options = Options()
    ) throws {
        base = try readBaseURL(baseURL, plainHttp: options.plainHttp)
        (self.clientId, self.storage, self.keys, self.transport, self.options) = (clientId, storage, keys, transport, options)
    }

    // Logins

    /// Create an account and log in. It is safe to repeat this after `offline` or a restart.
    public func register(
        email: String, password: String, deviceName: String, mail: MailCode? = nil, deadline: TimeInterval? = 30
    ) async throws -> Login {
        try await begin(Entry(verb: .register, email: email, password: password, deviceName: deviceName, mail: mail, deadline: deadline))
    }

    /// Log in. It is safe to repeat this after `offline` or a restart.
    public func login(email: String, password: String, deviceName: String, deadline: TimeInterval? = 30) async throws -> Login {
        try await begin(Entry(verb: .login, email: email, password: password, deviceName: deviceName, mail: nil, deadline: deadline))
    }

    /// Log in with only a passkey. `get` passes the options to the platform, and returns its answer.
    public func loginWithPasskey(
        deviceName: String, deadline: TimeInterval? = 30, get: @escaping @Sendable (_ options: JSON) async throws -> JSON
    ) async throws -> Login {
        try await begin(Entry(verb: .login, email: "", password: "", deviceName: deviceName, mail: nil, deadline: deadline, get: get))
    }

    /// Return the step of a login that waits for a second factor, also after a restart, or nil.
    public func pendingStep() async throws -> LoginStep? {
        guard let pending = try await record().pending, pending.authSession != nil else { return nil }
        if pending.expiresAt ?? .infinity <= now() { return nil }
        return LoginStep(self, factors: pending.factors ?? [], enrol: pending.enrol ?? [], expiresAt: pending.expiresAt ?? 0, problem: [:])
    }

    /// End this login. The person is signed out here in one write, before anything is sent. Then one request within 10 s
    /// informs the server. If the server has not answered, the record keeps the revocation, and later calls send it again.
    @discardableResult
    public func logout() async throws -> LogoutResult {
        let at = second
        try await update { revoked($0, "logout", at: at) }
        let possible: Bool
        do {
            possible = try await revokeWaiting(patience(revocationWait), now: true)
        } catch let error as CancellationError {
            throw error
        } catch {
            possible = false // The revocation is stored, and sent again.
        }
        let waiting = try await record().revocations
        return LogoutResult(confirmed: possible && waiting.isEmpty)
    }

    /// Delete the login on this device without a request.
    public func forget() async throws {
        try await update { withoutSession($0, nil, at: 0) }
    }

    // Mail: keep the mail session that these functions return in memory.

    /// Send a code to an address, for `register`. Return the mail session of the code.
    public func startRegistration(email: String) async throws -> String { try await mailCode("/register/start", email) }

    /// Send a code to an address, if an account has it, for `resetPassword`. Return the mail session of the code.
    public func forgotPassword(email: String) async throws -> String { try await mailCode("/password/forgot", email) }

    /// Set a new password with the code of the mail. Every login of the account ends: log in next.
    public func resetPassword(session: String, code: String, newPassword: String) async throws {
        try await byKey("/password/reset", ["mail_session": .string(session), "code": .string(code), "new_password": .string(newPassword)]) { _ in }
    }

    // Calls

    /// Send a signed call to a route of the app. Return its 2xx answer, or throw. `confirm` is called if the route requires a
    /// step-up. A call with an `idempotencyKey`, which the app stores with its intent, is repeated until it is answered, and so
    /// is one with `repeats`: two executions do no harm. A `deadline` of `nil` is none.
    public func call(
        _ method: String, _ path: String, json: (any Encodable & Sendable)? = nil, body: Data? = nil, contentType: String? = nil,
        query: [String: String] = [:], grant: String? = nil, confirm: Confirm? = nil, idempotencyKey: String? = nil, repeats: Bool? = nil,
        deadline: TimeInterval? = 30
    ) async throws -> Answer {
        let wish = Wish(
            method: method, path: path, body: try bodyOf(json, body), contentType: contentType, query: query, grant: grant, confirm: confirm,
            idempotencyKey: idempotencyKey, repeats: repeats, deadline: deadline, team: true
        )
        return try await call(wish) { $0.answer }
    }

    /// Return a grant for one exact request.
    public func stepUp(
        _ proof: Proof, _ method: String, _ path: String, json: (any Encodable & Sendable)? = nil, body: Data? = nil
    ) async throws -> String {
        try await stepUp(proof, Wish(method: method, path: path, body: try bodyOf(json, body)), attempt: randomName(), deadline: 30)
    }

    /// Read the account and this device.
    public func me(deadline: TimeInterval? = 30) async throws -> [String: JSON] {
        try await call(Wish(method: "GET", path: "/me", deadline: deadline), having(["device_id": .string]))
    }

    /// List the logins of the account.
    public func devices() async throws -> [[String: JSON]] {
        let answer = try await call(Wish(method: "GET", path: "/me/devices"), having(["devices": .list]))
        return answer["devices"]?.elements?.compactMap(\.members) ?? []
    }

    /// End the login of a device.
    public func endDevice(_ deviceId: String, confirm: @escaping Confirm) async throws {
        try await own(Wish(method: "DELETE", path: "/me/devices/\(percentEncoded(deviceId))", confirm: confirm, repeats: true))
    }

    /// Change the password, and log out every other device. After `answerLost`, either password may be valid.
    public func changePassword(_ newPassword: String, confirm: @escaping Confirm) async throws {
        let body = try JSON.object(["new_password": .string(newPassword)]).written()
        try await own(Wish(method: "POST", path: "/me/password", body: body, confirm: confirm))
    }

    /// End the logins of all devices. After `offline` it is safe to call this again. After `loggedOut`, this login had
    /// ended before, maybe by the call that was `offline`. If not, other logins may still be active.
    public func logoutEverywhere(confirm: @escaping Confirm) async throws {
        let body = try JSON.object(["everywhere": true]).written()
        let granted = Box(false)
        let wish = Wish(method: "POST", path: "/logout", body: body, confirm: confirm, repeats: true, granted: { granted.value = true })
        do {
            try await ending(wish, known: true)
        } catch BatonError.loggedOut(reason: "ended_everywhere", confirmed: true) where granted.value {
            // A repetition finds the login ended by the first sending, whose answer was lost. With a grant, the login was
            // active during this call. Without one, it ended before, and other logins may be newer.
        }
    }

    /// Delete the account.
    public func deleteAccount(confirm: @escaping Confirm) async throws {
        try await ending(Wish(method: "DELETE", path: "/me", confirm: confirm), known: false)
    }

    // State and time

    public func state() async throws -> State { stateOf(try await record()) }

    /// The state, and each new one that this client causes. A storage that cannot be read gives no first state.
    public nonisolated var states: AsyncStream<State> {
        AsyncStream { continuation in
            let name = UUID()
            continuation.onTermination = { _ in Task { await self.leave(name) } }
            Task { await self.listen(name, continuation) }
        }
    }

    private func listen(_ name: UUID, _ continuation: AsyncStream<State>.Continuation) async {
        if let state = try? await state() {
            if told == nil { told = state }
            continuation.yield(told ?? state) // The state may have changed since the read.
        }
        listeners[name] = continuation
    }

    private func leave(_ name: UUID) { listeners[name] = nil }

    /// Return the server's time, in seconds, by the clock of this device and its known offset.
    public nonisolated func now() -> TimeInterval { options.clock() + offset.value }

    /// Read the server's time. Return the offset in seconds.
    @discardableResult
    public func syncClock() async throws -> TimeInterval {
        let read: @Sendable (Ours) throws -> Void = { ours in
            if serverTime(ours.answer.headers, ours.members) == nil { throw NoAnswer("the answer has no time") }
        }
        let prepare: @Sendable (TimeInterval) async throws -> Prepared? = { try await self.prepared(Plan(method: "GET", path: "/time"), $0, nil) }
        let asked = try await ask(Question(verb: .time, repeatable: true, prepare: prepare, read: read), patience(30))
        if case .ended(let step, let refused) = asked { throw unexpected(step, refused) }
        return offset.value
    }

    /// Make an idempotency key of 128 bits. The app stores it with its intent, before the call.
    public static func newIdempotencyKey() -> String { randomName() }

    private func own(_ wish: Wish) async throws { try await call(wish) { _ in } }

    /// Drop the login that an answer has ended. A login that replaced it meanwhile stays.
    private func ending(_ wish: Wish, known: Bool) async throws {
        let ended = try await record().session?.deviceId
        try await own(wish)
        try await update { now in
            guard now.session?.deviceId == ended else { return now }
            var left = withoutSession(now, nil, at: 0)
            if !known { left.last = nil } // No account is left that would recognise this secret.
            return left
        }
    }

    public nonisolated var customMirror: Mirror { Mirror(self, children: []) }
}
