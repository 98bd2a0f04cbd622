import Foundation

@testable import Baton

let scriptTime: TimeInterval = 1_800_000_000
private let paths = ["call": "/things", "register": "/register", "login": "/login", "factor": "/login/factor", "exchange": "/oauth/token"]

struct Sent: Sendable, Equatable {
    let path: String
    let attempt: String?
    let token: String?
    let signature: String?
}

enum Event: Sendable, Equatable {
    case slept(TimeInterval)
    case sent(Sent)
}

enum Value: Sendable {
    case answer(Answer)
    case login(Login)
}

/// What the client did after the last answer of a script.
struct Played: Sendable {
    let events: [Event]
    let value: Value?
    let error: BatonError?
    let last: Sent?
    let record: DeviceRecord
    let left: Int
}

private struct Stop: Error {}

private func answer(_ members: [String: JSON]) throws -> RawAnswer {
    let headers = ["baton-request-id": "0123abcd-ef", "content-type": "application/json", "baton-time": "1800000000", "cache-control": "no-store"]
    return RawAnswer(status: 200, headers: headers, bytes: try JSON.object(members).written())
}

/// The answers that are left, and what was seen.
private struct Stage: Sendable {
    var answers: [Vector]
    var events: [Event] = []
    var last: Sent?
    var newer = 0
}

/// Play the script of a vector of `attempts.json` on a real client.
func play(_ run: Vector) async throws -> Played {
    let verb = run.text("verb")
    let made = try SoftwareKeys().create()
    let session = Session(
        deviceId: "d1", accessToken: "t1", renewal: "t1", expiresAt: verb == "exchange" ? scriptTime : scriptTime + 900,
        attempt: "attempt-of-token-1", keyId: made.signer.jwk.thumbprint, secret: nil
    )
    var begun = DeviceRecord()
    begun.key = StoredKey(store: made.store, data: made.data, jwk: made.signer.jwk)
    if verb == "call" || verb == "exchange" { begun.session = session }
    if verb == "factor" {
        begun.pending = Pending(kind: "login", email: ada, clientId: "mobile", binding: "key", attempt: "attempt-of-a-login", authSession: "as.1")
    }
    let storage = MemoryStorage(begun)
    let stage = Box(Stage(answers: (run["answers"]?.elements ?? []).map { Vector(members: $0.members ?? [:]) }))

    @Sendable func otherProcess(_ what: String?) {
        let newer = stage.change { now in
            now.newer += 1
            return now.newer
        }
        var moved = session
        (moved.accessToken, moved.renewal, moved.attempt) = ("newer-\(newer)", "newer-\(newer)", "attempt-of-newer-\(newer)")
        moved.expiresAt = scriptTime + 900
        let other = Session(
            deviceId: "other", accessToken: moved.accessToken, renewal: moved.renewal, expiresAt: moved.expiresAt, attempt: moved.attempt,
            keyId: moved.keyId, secret: nil
        )
        _ = storage.update { now in
            var later = now
            if what == "moved" { later.session = moved }
            if what == "finished" { (later.pending, later.session) = (nil, other) }
            return later
        }
    }

    let wire = Wire { request in
        let path = String(request.url.dropFirst(address.count))
        let headers = request.headers
        let sent = Sent(path: path, attempt: headers["idempotency-key"], token: headers["authorization"], signature: headers["signature-input"])
        if stage.value.answers.isEmpty {
            stage.change { $0.events.append(.sent(sent)) }
            throw Stop()
        }
        if path == "/step-up" { return try answer(["grant": "g", "expires_in": 300]) }
        if path != paths[verb] { return try answer(["access_token": "t2", "refresh_token": "t2", "expires_in": 900]) }
        let line = stage.change { now in
            now.last = sent
            return now.answers.removeFirst()
        }
        otherProcess(line["storage"]?.text)
        if let trouble = line["answer"]?.text { throw NoAnswer(trouble, sent: trouble != "not_sent") }
        return try rawAnswer(line.vector("answer"))
    }
    let options = Options(
        clock: { scriptTime },
        sleep: { seconds in stage.change { if $0.answers.isEmpty { $0.events.append(.slept(seconds)) } } },
        random: { 0.5 }
    )
    let client = try Baton(baseURL: address, clientId: "mobile", storage: storage, keys: SoftwareKeys(), transport: wire, options: options)
    let deadline = run.number("deadline")
    var value: Value?
    var failed: BatonError?
    do {
        switch verb {
        case "call":
            value = .answer(try await client.call(
                run.text("method"), "/things", confirm: run.isTrue("confirm") ? confirm : nil, idempotencyKey: run.isTrue("keyed") ? "0123456789abcdef" : nil,
                repeats: run.isTrue("repeat") ? true : nil, deadline: deadline
            ))
        case "exchange": value = .answer(try await client.call("GET", "/things", deadline: deadline))
        case "factor": value = (try await client.pendingStep()?.prove(Proof(totp: "123456"), deadline: deadline)).map(Value.login)
        case "register": value = .login(try await client.register(email: ada, password: "word", deviceName: "d", deadline: deadline))
        default: value = .login(try await client.login(email: ada, password: "word", deviceName: "d", deadline: deadline))
        }
    } catch is Stop {
        // The script is over.
    } catch let error as BatonError {
        failed = error
    }
    let seen = stage.value
    return Played(events: seen.events, value: value, error: failed, last: seen.last, record: storage.read(), left: seen.answers.count)
}
