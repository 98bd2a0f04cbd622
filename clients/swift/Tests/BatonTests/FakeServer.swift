import Foundation

@testable import Baton

let address = "https://api.example.com/api"
let ada = "ada@example.com"
let password = "copper lantern drifting sideways"

typealias Fault = @Sendable (Request) async throws -> RawAnswer

/// A small Baton in memory. It verifies every signature, and has the rule of generations and attempts.
final class FakeServer: Transport, @unchecked Sendable {
    enum Key: Equatable { case none, jwk([String: String]), secret(Data) }

    struct Account {
        let password: String
        var factor: String?
    }

    struct Lineage {
        let id: String
        let email: String
        let key: Key
        var generation = 0
        var ended: String?
        var attempts: [Int: String] = [:]
    }

    struct Logged {
        let path: String
        let method: String
        let headers: [String: String]
        let body: String
    }

    private struct Refusal: Error {
        let status: Int
        let members: [String: JSON]

        init(_ status: Int, _ error: String, _ code: String, _ action: String, _ more: [String: JSON] = [:]) {
            self.status = status
            members = more.merging(["error": .string(error), "code": .string(code), "action": .string(action)]) { $1 }
        }
    }

    private typealias Said = (status: Int, members: [String: JSON]?)

    private let lock = NSRecursiveLock()
    private var accounts = [ada: Account(password: password)]
    private var all: [Lineage] = []
    private var logged: [Logged] = []
    private var waiting: [Fault] = []
    private var clock: TimeInterval = 1_800_000_000
    private var grants: [String: JSON] = [:]
    private var oldGrants = 0
    private var once: [String: String] = [:]
    private var nonces: Set<String> = []
    private var pendingKey = Key.none
    private var count = 0

    private func alone<Value>(_ work: () throws -> Value) rethrows -> Value { try lock.withLock(work) }

    var time: TimeInterval {
        get { alone { clock } }
        set { alone { clock = newValue } }
    }
    var lineages: [Lineage] { alone { all } }
    var log: [Logged] { alone { logged } }
    var effects: Int { alone { count } }

    func account(_ email: String, factor: String? = nil) { alone { accounts[email] = Account(password: password, factor: factor) } }

    func end(_ reason: String) { alone { for at in all.indices where all[at].ended == nil { all[at].ended = reason } } }

    /// Let the next grant be too old.
    func ageGrant() { alone { oldGrants = 1 } }

    func sent(_ path: String) -> [Logged] { log.filter { $0.path == path } }

    /// Each request takes one fault: a function that throws, or that returns an answer.
    func fault(_ faults: Fault...) { alone { waiting += faults } }

    /// Give all further requests this fault, until `online`.
    func fail(_ fault: @escaping Fault) { alone { waiting += Array(repeating: fault, count: 40) } }

    func online() { alone { waiting = [] } }

    var loseAnswer: Fault {
        { request in
            _ = self.serve(request)
            throw NoAnswer("lost on the way back")
        }
    }
    var usual: Fault { { self.serve($0) } }
    let loseRequest: Fault = { _ in throw NoAnswer("lost on the way out") }
    let refuse: Fault = { _ in throw NoAnswer("no connection", sent: false) }
    let portal: Fault = { _ in RawAnswer(status: 200, headers: ["content-type": "text/html"], bytes: Data("<html>".utf8)) }

    func send(_ request: Request, limits: Limits) async throws -> RawAnswer {
        await Task.yield() // As a network: other work goes on.
        let fault = alone { waiting.isEmpty ? nil : waiting.removeFirst() }
        return try await (fault ?? usual)(request)
    }

    func serve(_ request: Request) -> RawAnswer {
        alone {
            let path = String(request.url.dropFirst(address.count).prefix { $0 != "?" })
            let body = String(decoding: request.body ?? Data(), as: UTF8.self)
            logged.append(Logged(path: path, method: request.method, headers: request.headers, body: body))
            let said: Said
            do {
                said = try route(request, path, body)
            } catch let refusal as Refusal {
                said = (refusal.status, refusal.members)
            } catch {
                fatalError("\(error)")
            }
            var headers = ["baton-request-id": "0123abcd-ef", "baton-time": "\(Int(clock))", "cache-control": "no-store"]
            if said.members != nil { headers["content-type"] = said.status < 400 ? "application/json" : "application/problem+json" }
            return RawAnswer(status: said.status, headers: headers, bytes: said.members.map { try! JSON.object($0).written() } ?? Data())
        }
    }

    private func form(_ body: String) -> [String: String] {
        Dictionary(uniqueKeysWithValues: body.split(separator: "&").map { pair in
            let name = pair.prefix { $0 != "=" }
            return (String(name), pair.dropFirst(name.count + 1).removingPercentEncoding ?? "")
        })
    }

    private func route(_ request: Request, _ path: String, _ body: String) throws -> Said {
        if path == "/time" { return (200, ["server_time": .integer(Int64(clock))]) }
        if path == "/oauth/token" { return try exchange(request, form(body)) }
        if path == "/oauth/revoke" {
            let (at, generation) = try token(form(body)["token"])
            try verify(request, all[at].key)
            if all[at].ended == nil { all[at].ended = all[at].generation - generation >= 2 ? "reuse" : "logout" }
            return (200, nil)
        }
        let json = body.isEmpty ? [:] : try JSON.parse(Data(body.utf8)).members ?? [:]
        if ["/login/passkey/options", "/register/start", "/password/forgot"].contains(path) {
            try verify(request, key(json["device"]))
            return (200, ["options": ["challenge": "c"], "mail_session": "ms.1", "expires_in": 300])
        }
        if path == "/password/reset" {
            if json["code"]?.text == "1234 5678" { return (204, nil) }
            throw Refusal(401, "invalid_code", "invalid_code", "fix_request")
        }
        if path == "/login/passkey" {
            if json["credential"]?["challenge"]?.text != "c" { throw Refusal(409, "challenge_invalid", "challenge_invalid", "fix_request") }
            return try enter(request, path, json.merging(["email": .string(ada), "password": .string(password)]) { $1 })
        }
        if path == "/register" || path == "/login" { return try enter(request, path, json) }
        if path.hasPrefix("/login/") { return try factor(request, path, json) }
        return try member(request, path, body, json)
    }

    private func member(_ request: Request, _ path: String, _ body: String, _ json: [String: JSON]) throws -> Said {
        let lineage = try caller(request)
        let route = "\(request.method) \(path)"
        if route == "GET /me" { return (200, ["device_id": .string(lineage.id), "email": .string(lineage.email)]) }
        if route == "GET /me/devices" { return (200, ["devices": .array(all.map { ["device_id": .string($0.id)] })]) }
        if route == "POST /step-up" {
            if json["password"]?.text != password { throw Refusal(401, "invalid_credentials", "invalid_credentials", "fix_request") }
            let grant = UUID().uuidString
            grants[grant] = json["operation"]
            return (200, ["grant": .string(grant), "expires_in": 300])
        }
        if route == "POST /step-up/options" { return (200, ["options": ["challenge": "c"]]) }
        if route == "POST /transfers" { return try onceOnly(request, body) }
        let digest = contentDigest(Data(body.utf8))
        let operation: JSON = ["method": .string(request.method), "path": .string("/api\(path)"), "digest": .string(digest)]
        let grant = request.headers["baton-grant"]
        let fits = grants.removeValue(forKey: grant ?? "") == operation
        if fits { oldGrants -= 1 }
        if !fits || oldGrants >= 0 {
            let code = grant == nil || fits ? "step_up_required" : "grant_invalid"
            throw Refusal(401, "insufficient_user_authentication", code, "step_up", ["factors": ["password"]])
        }
        count += 1
        if route == "POST /logout" { for at in all.indices where all[at].ended == nil { all[at].ended = "ended_everywhere" } }
        return (204, nil)
    }

    private func onceOnly(_ request: Request, _ body: String) throws -> Said {
        guard let key = request.headers["idempotency-key"] else { throw Refusal(400, "invalid_request", "idempotency_key_required", "fix_request") }
        if let before = once[key], before != body { throw Refusal(422, "invalid_request", "idempotency_key_reused", "fix_request") }
        if once.updateValue(body, forKey: key) == nil { count += 1 }
        return (201, ["paid": true])
    }

    private func key(_ device: JSON?) -> Key {
        if let jwk = device?["public_key"]?.members { return .jwk(jwk.compactMapValues(\.text)) }
        return device?["binding"]?.text == "hmac" ? .secret(Data(repeating: 7, count: 32)) : .none
    }

    private func enter(_ request: Request, _ path: String, _ json: [String: JSON]) throws -> Said {
        let email = json["email"]?.text ?? ""
        let key = key(json["device"])
        if case .jwk = key { try verify(request, key) }
        if path == "/register", accounts[email] == nil { accounts[email] = Account(password: json["password"]?.text ?? "") }
        let account = accounts[email]
        if account?.password != json["password"]?.text { throw Refusal(401, "invalid_credentials", "invalid_credentials", "fix_request") }
        if account?.factor != nil {
            pendingKey = key
            let asks: [String: JSON] = ["auth_session": .string("as.\(email)"), "expires_in": 600, "factors": ["totp"]]
            throw Refusal(403, "insufficient_authorization", "factor_required", "prove_factor", asks)
        }
        return tokens(try lineage(request.headers["idempotency-key"] ?? "", email, key))
    }

    private func lineage(_ attempt: String, _ email: String, _ key: Key) throws -> Lineage {
        let id = String(base64url(sha256(Data(attempt.utf8))).prefix(12))
        if let known = all.first(where: { $0.id == id }) {
            if known.generation > 0 || known.ended != nil { throw Refusal(409, "invalid_request", "superseded", "retry") }
            return known
        }
        if case .jwk = key { for at in all.indices where all[at].key == key && all[at].ended == nil { all[at].ended = "replaced" } }
        all.append(Lineage(id: id, email: email, key: key))
        return all[all.count - 1]
    }

    private func factor(_ request: Request, _ path: String, _ json: [String: JSON]) throws -> Said {
        let session = json["auth_session"]?.text ?? ""
        let email = String(session.dropFirst(3))
        guard let factor = accounts[email]?.factor else { throw Refusal(400, "invalid_session", "invalid_session", "log_in") }
        try verify(request, pendingKey)
        if path == "/login/enrol" { return (200, ["enrolment": "en.1", "secret": "S", "otpauth_uri": "otpauth:", "expires_in": 900]) }
        if path == "/login/factor/options" { return (200, ["options": ["challenge": "c"]]) }
        if path == "/login/email-code" { return (202, ["expires_in": 300]) }
        if json["totp"]?.text != factor { throw Refusal(401, "invalid_factor", "invalid_factor", "fix_request", ["auth_session": .string(session)]) }
        let more: [String: JSON] = json["enrolment"] == nil ? [:] : ["recovery_codes": ["one", "two"]]
        return tokens(try lineage(request.headers["idempotency-key"] ?? "", email, pendingKey), more)
    }

    private func tokens(_ lineage: Lineage, _ more: [String: JSON] = [:]) -> Said {
        let token = JSON.string("\(lineage.id).\(lineage.generation)")
        var members: [String: JSON] = [
            "access_token": token, "refresh_token": token, "token_type": "Bearer", "expires_in": 900, "device_id": .string(lineage.id),
            "server_time": .integer(Int64(clock)),
        ]
        if case .secret(let bytes) = lineage.key { (members["key_id"], members["secret"]) = (.string("hmac-\(lineage.id)"), .string(base64url(bytes))) }
        return (200, members.merging(more) { $1 })
    }

    private func token(_ token: String?) throws -> (Int, Int) {
        let parts = (token ?? "").components(separatedBy: ".")
        guard let at = all.firstIndex(where: { $0.id == parts[0] }) else { throw Refusal(400, "invalid_grant", "token_invalid", "log_in") }
        return (at, Int(parts[1]) ?? 0)
    }

    private func exchange(_ request: Request, _ form: [String: String]) throws -> Said {
        let (at, generation) = try token(form["refresh_token"])
        let attempt = request.headers["idempotency-key"] ?? ""
        try verify(request, all[at].key)
        if let reason = all[at].ended { throw Refusal(400, "invalid_grant", "login_required", "log_in", ["reason": .string(reason)]) }
        if generation == all[at].generation {
            all[at].attempts[generation] = attempt
            all[at].generation += 1
        } else if all[at].attempts[generation] != attempt {
            all[at].ended = "reuse"
            throw Refusal(400, "invalid_grant", "token_reused", "log_in")
        } else if generation < all[at].generation - 1 {
            throw Refusal(409, "invalid_request", "superseded", "retry")
        }
        return tokens(all[at])
    }

    private func caller(_ request: Request) throws -> Lineage {
        let (at, generation) = try token(request.headers["authorization"].map { String($0.dropFirst(7)) })
        try verify(request, all[at].key)
        if let reason = all[at].ended { throw Refusal(401, "invalid_token", "login_required", "log_in", ["reason": .string(reason)]) }
        if generation < all[at].generation - 1 { throw Refusal(401, "invalid_token", "token_expired", "exchange") }
        return all[at]
    }

    /// Rebuild the base from the request, and verify the signature.
    private func verify(_ request: Request, _ key: Key) throws {
        if key == .none { return }
        let headers = request.headers
        let input = String((headers["signature-input"] ?? "").dropFirst(6))
        let signature = (headers["signature"] ?? "").dropFirst(7).dropLast()
        guard let end = input.range(of: ");created="), let raw = Data(base64Encoded: String(signature)) else {
            throw Refusal(401, "invalid_signature", "signature_required", "fix_request")
        }
        let parameters = input[end.upperBound...].components(separatedBy: ";")
        if abs((Double(parameters[0]) ?? 0) - clock) > 300 {
            throw Refusal(401, "stale_signature", "clock_skew", "sync_clock", ["server_time": .integer(Int64(clock))])
        }
        if let body = request.body, headers["content-digest"] != contentDigest(body) {
            throw Refusal(400, "invalid_request", "invalid_digest", "fix_request")
        }
        let url = URLComponents(string: request.url)!
        let values = ["\"@method\"": request.method, "\"@authority\"": url.host!, "\"@path\"": url.percentEncodedPath]
        let names = input[..<end.lowerBound].dropFirst().split(separator: " ").map(String.init)
        let lines = names.map { "\($0): \(values[$0] ?? headers[String($0.dropFirst().dropLast())] ?? "")" }
        let base = Data((lines + ["\"@signature-params\": \(input)"]).joined(separator: "\n").utf8)
        let right = switch key {
        case .jwk(let jwk): verifiesP256(jwk, base, raw)
        case .secret(let secret): hmac(secret, base) == raw
        case .none: true
        }
        if !right || !request.url.hasPrefix(address) { throw Refusal(401, "invalid_signature", "invalid_signature", "fix_request") }
        if !nonces.insert(parameters[2]).inserted { throw Refusal(401, "replayed_nonce", "replayed_nonce", "retry") }
    }
}
