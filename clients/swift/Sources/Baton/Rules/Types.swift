// The values of the client. None of them shows a secret, in a text or in a dump.

import Foundation

/// A value that a text, a dump and a debugger show only by its `description`.
public protocol Masked: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {}

extension Masked {
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: []) }
}

public struct PublicJwk: Sendable, Hashable {
    public let crv: String
    public let kty: String
    public let x: String
    public let y: String?

    public init(crv: String, kty: String, x: String, y: String?) { (self.crv, self.kty, self.x, self.y) = (crv, kty, x, y) }
}

/// A key of the device. `data` belongs to the key store named `store`.
public struct StoredKey: Sendable, Hashable, Masked {
    public let store: String
    public var data: String
    public let jwk: PublicJwk?

    public init(store: String, data: String, jwk: PublicJwk?) { (self.store, self.data, self.jwk) = (store, data, jwk) }

    public var description: String { "StoredKey(store: \(store))" }
}

/// One login. `renewal` is the token that is exchanged, or nil if the login cannot be renewed. `expiresAt` is by the server's clock.
/// `attempt` belongs to the exchange of this token, and was made with it (rule 1). `keyId` is nil for an unbound login.
public struct Session: Sendable, Hashable, Masked {
    public let deviceId: String
    public internal(set) var accessToken: String
    public internal(set) var renewal: String?
    public internal(set) var expiresAt: TimeInterval
    public internal(set) var attempt: String
    public let keyId: String?
    public let secret: String?

    public var description: String { "Session(deviceId: \(deviceId), expiresAt: \(expiresAt))" }
}

/// A login in progress: its attempt is stored before it is sent (rule 1). `authSession` is that of a login that needs a factor.
public struct Pending: Sendable, Hashable, Masked {
    public let kind: String
    public let email: String
    public let clientId: String
    public let binding: String
    public let attempt: String
    public internal(set) var authSession: String?
    public internal(set) var factors: [String]?
    public internal(set) var enrol: [String]?
    public internal(set) var expiresAt: TimeInterval?

    public var description: String { "Pending(kind: \(kind))" }
}

/// A login that has ended on this device, until the server has confirmed its end. `key`: the record lacks it now.
public struct Revocation: Sendable, Hashable, Masked {
    public let token: String
    public let keyId: String?
    public let secret: String?
    public let since: TimeInterval
    public let key: StoredKey?

    public var description: String { "Revocation(since: \(since))" }
}

/// The secret of the last HMAC login: it signs the next login.
public struct LastSecret: Sendable, Hashable, Masked {
    public let keyId: String
    public let secret: String

    public var description: String { "LastSecret(keyId: \(keyId))" }
}

/// Why and when the last login has ended.
public struct Ended: Sendable, Hashable {
    public let reason: String?
    public let at: TimeInterval
}

/// All that a device stores. It is replaced as a whole.
public struct DeviceRecord: Sendable, Hashable, Masked {
    public internal(set) var session: Session?
    public internal(set) var key: StoredKey?
    public internal(set) var pending: Pending?
    public internal(set) var last: LastSecret?
    public internal(set) var revocations: [Revocation] = []
    public internal(set) var ended: Ended?

    public init() {}

    public var description: String { "DeviceRecord(session: \(session?.description ?? "none"))" }
}

/// Where the record is. Its functions may block: the client calls them on a thread for that.
public protocol Storage: Sendable {
    /// Read the record. Throw if it cannot be read now: an empty record means that there is no login.
    func read() throws -> DeviceRecord

    /// Replace the record: atomic, durable, and exclusive among processes. `change` is quick, and may be called again.
    func update(_ change: (DeviceRecord) -> DeviceRecord) throws -> DeviceRecord
}

/// Signs by P-256 with SHA-256: 64 bytes, r and s.
public protocol Signer: Sendable {
    var jwk: PublicJwk { get }

    func sign(_ message: Data) throws -> Data
}

/// A new key: what the record keeps of it, and its signer.
public struct CreatedKey: Sendable, Masked {
    public let store: String
    public let data: String
    public let signer: any Signer

    public init(store: String, data: String, signer: any Signer) { (self.store, self.data, self.signer) = (store, data, signer) }

    public var description: String { "CreatedKey(store: \(store))" }
}

/// The keys of the device. The functions may block. An error that they throw ends no login.
public protocol DeviceKeys: Sendable {
    /// Make a key, before a record names it.
    func create() throws -> CreatedKey

    /// Open a key. Nil: the key is permanently lost.
    func open(_ key: StoredKey) throws -> (any Signer)?

    func remove(_ key: StoredKey) throws
}

/// A request. The names of its headers are in lower case.
public struct Request: Sendable, Masked {
    public let method: String
    public let url: String
    public let headers: [String: String]
    public let body: Data?

    public var description: String { "Request(\(method) \(url))" }
}

/// What a transport received. `url` is the one that answered, if the platform follows redirects.
public struct RawAnswer: Sendable, Masked {
    public let status: Int
    public let headers: [String: String]
    public let bytes: Data
    public let url: String?

    public init(status: Int, headers: [String: String], bytes: Data, url: String? = nil) {
        (self.status, self.headers, self.bytes, self.url) = (status, headers, bytes, url)
    }

    public var description: String { "RawAnswer(status: \(status))" }
}

/// The time for a request, its answer included, and the largest body.
public struct Limits: Sendable {
    public let timeout: TimeInterval
    public let bytes: Int
}

/// Sends one request. It throws `NoAnswer`. It follows no redirect, and keeps no cookies and no cache.
public protocol Transport: Sendable {
    func send(_ request: Request, limits: Limits) async throws -> RawAnswer
}

/// `reason` and `at`: why and when the last login has ended, if known.
public enum State: Sendable, Hashable {
    case signedIn(deviceId: String)
    case signedOut(reason: String?, at: TimeInterval?)
}

/// A proof of the person: one of its members. `passkey` is the answer of the platform.
public struct Proof: Sendable, Masked {
    let members: [String: JSON]

    public init(password: String? = nil, totp: String? = nil, passkey: JSON? = nil, recoveryCode: String? = nil, emailCode: String? = nil) {
        let texts = ["password": password, "totp": totp, "recovery_code": recoveryCode, "email_code": emailCode]
        members = texts.compactMapValues { $0.map(JSON.string) }.merging(passkey.map { ["passkey": $0] } ?? [:]) { $1 }
    }

    public var description: String { "Proof(\(members.keys.sorted().joined(separator: ", ")))" }
}

/// A route requires a step-up. `refused.problem["factors"]` lists the factors to prove, `options` are those of a passkey.
public struct Demand: Sendable, Masked {
    public let refused: Refused
    let ask: @Sendable () async throws -> JSON

    public func options() async throws -> JSON { try await ask() }

    public var description: String { "Demand(\(refused.code))" }
}

/// Asks the person for a proof. It is called only if a route requires a proof.
public typealias Confirm = @Sendable (Demand) async throws -> Proof

/// A code from the mailbox of an address, for `register`.
public struct MailCode: Sendable, Masked {
    let session: String
    let code: String

    public init(session: String, code: String) { (self.session, self.code) = (session, code) }

    public var description: String { "MailCode" }
}

/// A finished login.
public struct LoginDone: Sendable, Hashable, Masked {
    public let deviceId: String
    public let recoveryCodes: [String]
    public let recoveryCodesLeft: Int?

    public var description: String { "LoginDone(deviceId: \(deviceId))" }
}

/// A finished login, or the step that it waits for.
public enum Login: Sendable {
    case done(LoginDone)
    case step(LoginStep)
}

/// `confirmed` is false if the server has not answered yet. The revocation is stored and sent again. `confirmed` is also
/// false if the key of the login does not exist any more: then no request can revoke the login.
public struct LogoutResult: Sendable, Hashable {
    public let confirmed: Bool
}

public enum Binding: String, Sendable { case key, hmac, none }

/// `plainHttp` accepts `http` to any host, for a simulator. `clock` is in seconds, and may be wrong.
public struct Options: Sendable {
    public var binding: Binding
    public var plainHttp: Bool
    public var clock: @Sendable () -> TimeInterval
    public var sleep: @Sendable (TimeInterval) async throws -> Void
    public var random: @Sendable () -> Double

    public init(
        binding: Binding = .key,
        plainHttp: Bool = false,
        clock: @escaping @Sendable () -> TimeInterval = { Date().timeIntervalSince1970 },
        sleep: @escaping @Sendable (TimeInterval) async throws -> Void = Options.pause,
        random: @escaping @Sendable () -> Double = { .random(in: 0...1) }
    ) {
        (self.binding, self.plainHttp, self.clock, self.sleep, self.random) = (binding, plainHttp, clock, sleep, random)
    }

    /// Sleep, or throw `CancellationError`.
    public static func pause(_ time: TimeInterval) async throws { try await Task.sleep(nanoseconds: nanoseconds(time)) }
}
