// The agent of the Swift client: JSON lines on standard input become calls of the client. It is never shipped.

import Baton
import Foundation

func text(_ value: String?) -> JSON { value.map(JSON.string) ?? .null }

actor Agent {
    private var client: Baton!
    private var storage: AgentStorage!
    private var step: LoginStep?

    private func open(_ line: JSON) async throws {
        shared.change {
            $0.skew = line["skew"]?.double ?? 0
            $0.scale = line["scale"]?.double ?? 0
        }
        storage = AgentStorage(files: FileStorage(folder: "\(line["store"]?.text ?? "")/record"))
        let options = Options(
            binding: Binding(rawValue: line["binding"]?.text ?? "key") ?? .key,
            clock: { Date().timeIntervalSince1970 + shared.set.skew },
            sleep: { try await Task.sleep(nanoseconds: UInt64($0 * shared.set.scale * 1e9)) }
        )
        let url = line["base_url"]?.text ?? ""
        client = try Baton(
            baseURL: url, clientId: line["client_id"]?.text ?? "", storage: storage, keys: SoftwareKeys(), transport: AgentTransport(), options: options
        )
        let states = client.states
        await withCheckedContinuation { begun in
            Task {
                var listening = false // The first is the state of now.
                for await state in states {
                    if listening { shared.say(["event": "state", "signed_in": state.signedIn, "reason": state.reason]) } else { begun.resume() }
                    listening = true
                }
            }
        }
    }

    private func told(_ login: Login) -> JSON {
        switch login {
        case .done(let done): return ["done": true, "device_id": .string(done.deviceId)]
        case .step(let next):
            step = next
            return ["done": false, "factors": .array(next.factors.map(JSON.string)), "enrol": .array(next.enrol.map(JSON.string))]
        }
    }

    private func confirm(_ line: JSON) -> Confirm {
        let password = line["password"]?.text
        return { _ in
            shared.change { $0.asked += 1 }
            return Proof(password: password)
        }
    }

    private func call(_ line: JSON, _ deadline: TimeInterval) async throws -> JSON {
        shared.change { $0.asked = 0 }
        let query = (line["query"]?.members ?? [:]).compactMapValues { $0.text ?? (try? String(decoding: $0.written(), as: UTF8.self)) }
        let answer = try await client.call(
            line["method"]?.text ?? "", line["path"]?.text ?? "", json: line["json"], query: query,
            confirm: line["password"] == nil ? nil : confirm(line), idempotencyKey: line["idempotency_key"]?.text,
            repeats: line["repeat"].map(\.isTrue), deadline: deadline
        )
        let json = answer.bytes.isEmpty ? JSON.null : try answer.json()
        let asked = JSON.integer(Int64(shared.set.asked))
        return ["status": .integer(Int64(answer.status)), "json": json, "asked": asked, "replayed": text(answer.headers["baton-replayed"])]
    }

    private func seen() throws -> JSON {
        let record = try storage.files.read()
        return [
            "token": text(record.session?.accessToken), "attempt": text(record.session?.attempt), "device_id": text(record.session?.deviceId),
            "key": text(record.key?.jwk?.thumbprint), "pending": .bool(record.pending != nil), "revocations": .integer(Int64(record.revocations.count)),
        ]
    }

    private func parallel(_ line: JSON) async -> JSON {
        let of = line["of"] ?? .null
        let tasks = (0..<Int(line["n"]?.double ?? 0)).map { _ in Task { await run(of) } }
        var results: [JSON] = []
        for task in tasks { results.append(await task.value) }
        return .array(results)
    }

    private func done(_ line: JSON) async throws -> JSON {
        func word(_ name: String) -> String { line[name]?.text ?? "" }
        let deadline = line["deadline_s"]?.double ?? 30
        let device = "agent"
        switch word("do") {
        case "open": try await open(line)
        case "register": return told(try await client.register(email: word("email"), password: word("password"), deviceName: device, deadline: deadline))
        case "login": return told(try await client.login(email: word("email"), password: word("password"), deviceName: device, deadline: deadline))
        case "pending_step":
            step = try await client.pendingStep()
            return .bool(step != nil)
        case "prove":
            let proof = Proof(totp: line["totp"]?.text, recoveryCode: line["recovery_code"]?.text, emailCode: line["email_code"]?.text)
            guard let step else { throw InvalidInput("no step") }
            return told(try await step.prove(proof, enrolment: line["enrolment"]?.text))
        case "enrolment": return .object(try await step?.enrolment("totp") ?? [:])
        case "call": return try await call(line, deadline)
        case "step_up": return .string(try await client.stepUp(Proof(password: word("password")), word("method"), word("path"), json: line["json"]))
        case "me": return .object(try await client.me(deadline: deadline))
        case "forgot_password": return .string(try await client.forgotPassword(email: word("email")))
        case "reset_password": try await client.resetPassword(session: word("session"), code: word("code"), newPassword: word("new_password"))
        case "devices": return .array(try await client.devices().map(JSON.object))
        case "end_device": try await client.endDevice(word("device_id"), confirm: confirm(line))
        case "change_password": try await client.changePassword(word("new_password"), confirm: confirm(line))
        case "delete_account": try await client.deleteAccount(confirm: confirm(line))
        case "logout": return ["confirmed": .bool(try await client.logout().confirmed)]
        case "logout_everywhere": try await client.logoutEverywhere(confirm: confirm(line))
        case "forget": try await client.forget()
        case "state":
            let state = try await client.state()
            return ["signed_in": state.signedIn, "reason": state.reason]
        case "sync_clock": return .number(try await client.syncClock())
        case "record": return try seen()
        case "expire": try storage.put("session", "expires_at", 0)
        case "own_attempt": try storage.put("session", "attempt", .string(String(repeating: "b", count: 22)))
        case "lose_key":
            let other = try SoftwareKeys().create().data
            try storage.put("key", "data", .string(other))
        case "set":
            shared.change { now in
                if let skew = line["skew"]?.double { now.skew = skew }
                if let scale = line["scale"]?.double { now.scale = scale }
                if let locked = line["locked"] { now.locked = locked.isTrue }
                if let full = line["full"] { now.full = full.isTrue }
                if let crash = line["crash"] { now.crash = crash.members == nil ? nil : crash }
            }
        case "cancel": shared.cancel(line["of"]?.double ?? 0)
        case "parallel": return await parallel(line)
        default: throw InvalidInput("unknown: \(word("do"))")
        }
        return .null
    }

    func run(_ line: JSON) async -> JSON {
        do {
            return ["ok": try await done(line)]
        } catch {
            return ["error": Self.members(error)]
        }
    }

    private static func members(_ error: any Error) -> JSON {
        var reason, code, action: String?
        var confirmed, status: JSON?
        var kind = error is CancellationError ? "cancelled" : error is InvalidInput ? "type_error" : "\(type(of: error))"
        if let error = error as? BatonError {
            kind = error.kind
            switch error {
            case .loggedOut(let told, let known): (reason, confirmed) = (told, .bool(known))
            case .refused(let refused):
                (reason, code, action, status) = (refused.reason, refused.code, refused.action, .integer(Int64(refused.status)))
            default: break
            }
        }
        return [
            "kind": .string(kind), "text": .string("\(error)"), "reason": text(reason), "code": text(code), "action": text(action),
            "confirmed": confirmed ?? .null, "status": status ?? .null,
        ]
    }
}

extension State {
    var signedIn: JSON { if case .signedIn = self { true } else { false } }
    var reason: JSON { if case .signedOut(let reason, _) = self { text(reason) } else { .null } }
}

// A second process for the tests of the storage: `BatonAgent add FOLDER TIMES`.
if CommandLine.arguments.count == 4, CommandLine.arguments[1] == "add" {
    for time in 0..<(Int(CommandLine.arguments[3]) ?? 0) {
        let one: JSON = ["token": "t", "key_id": .null, "secret": .null, "since": .integer(Int64(time))]
        _ = try FileStorage(folder: CommandLine.arguments[2]).update { edited($0) { $0["revocations"] = .array(($0["revocations"]?.elements ?? []) + [one]) } }
    }
    exit(0)
}

let agent = Agent()
let reader = Thread {
    while let line = readLine() {
        guard let said = try? JSON.parse(Data(line.utf8)), let members = said.members, let id = members["id"] else { continue }
        shared.begin(id.double ?? 0, Task {
            let result = await agent.run(said)
            shared.say(.object((result.members ?? [:]).merging(["id": id]) { $1 }))
        })
    }
    exit(0)
}
reader.start()
while true { sleep(1000) }
