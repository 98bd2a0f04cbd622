import Foundation
import Testing

@testable import Baton

/// Logins, factors, step-ups, calls with keys, and states, on the fake server.
@Suite(.timeLimit(.minutes(1))) struct LoginTests {
    let server = FakeServer()
    let key = "0123456789abcdef"

    private func done(_ login: Login) throws -> LoginDone {
        guard case .done(let done) = login else { throw NotThis() }
        return done
    }

    @Test func aStepUpAsksThePersonOnceAndASpentGrantIsReplaced() async throws {
        let device = try await Device(server).login()
        let asked = Box(0)
        server.fault(server.usual, server.usual, server.loseAnswer) // The demand, the grant, and the lost answer.
        let confirm: Confirm = { demand in
            asked.change { $0 += 1 }
            #expect(demand.refused.problem["factors"] == ["password"])
            return Proof(password: password)
        }
        _ = try await device.client.call("POST", "/things", json: ["a": 1], confirm: confirm, repeats: true)
        #expect(asked.value == 1 && server.sent("/step-up").count == 2 && server.effects == 2)
    }

    @Test func aGrantThatIsTooOldAsksThePersonAgain() async throws {
        let client = try await Device(server).login().client
        let asked = Box(0)
        server.ageGrant()
        let confirm: Confirm = { _ in
            asked.change { $0 += 1 }
            return Proof(password: password)
        }
        _ = try await client.call("POST", "/things", json: ["a": 1], confirm: confirm)
        #expect(asked.value == 2 && server.effects == 1)
    }

    @Test func aDemandHasTheOptionsOfAPasskey() async throws {
        let client = try await Device(server).login().client
        let seen = Box<JSON?>(nil)
        _ = try await client.call("DELETE", "/me", confirm: { demand in
            seen.value = try await demand.options()
            return Proof(password: password)
        })
        #expect(seen.value == ["challenge": "c"])
    }

    @Test func withoutConfirmTheDemandIsReturned() async throws {
        let client = try await Device(server).login().client
        let refused = try await refusedOf { _ = try await client.call("DELETE", "/me") }
        #expect([refused.code, refused.action] == ["step_up_required", "step_up"])
        let grant = try await client.stepUp(Proof(password: password), "DELETE", "/me")
        #expect(try await client.call("DELETE", "/me", grant: grant).status == 204)
    }

    @Test func theOwnVerbs() async throws {
        let device = try await Device(server).login()
        let client = device.client
        #expect(try await client.devices().count == 1)
        try await client.changePassword("another lantern drifting sideways", confirm: confirm)
        try await client.endDevice("a b/c", confirm: confirm)
        #expect(server.log.last?.path == "/me/devices/a%20b%2Fc")
        try await client.logoutEverywhere(confirm: confirm)
        #expect(try device.record.session == nil)
        try await device.login()
        try await client.deleteAccount(confirm: confirm)
        #expect(try await client.state() == .signedOut(reason: nil, at: nil))
        try await device.login()
        try await client.forget()
        #expect(try await client.state() == .signedOut(reason: nil, at: nil))
    }

    @Test func aLogoutEverywhereWhoseAnswerWasLostReturnsAsUsual() async throws {
        let device = try await Device(server).login()
        try await device.client.logoutEverywhere(confirm: { [server] _ in
            server.fault(server.usual, server.loseAnswer) // The step-up is answered.
            return Proof(password: password)
        })
        #expect(server.sent("/logout").count == 3)
        #expect(try device.record.session == nil)
    }

    @Test func aLogoutEverywhereOfALoginThatEndedBeforeReportsThisEnd() async throws {
        let client = try await Device(server).login().client
        server.end("password_changed")
        #expect(try await loggedOutOf { try await client.logoutEverywhere(confirm: confirm) }.reason == "password_changed")
    }

    @Test func aLogoutEverywhereReportsAnotherEndOfTheLoginDuringTheCall() async throws {
        let client = try await Device(server).login().client
        let over = try await loggedOutOf {
            try await client.logoutEverywhere(confirm: { [server] _ in
                server.fault(server.usual, { server.end("password_changed"); return try await server.usual($0) }) // The step-up is answered.
                return Proof(password: password)
            })
        }
        #expect(over.reason == "password_changed")
    }

    @Test func aLogoutEverywhereAfterThatOfAnotherDeviceReportsIt() async throws {
        let client = try await Device(server).login().client
        server.end("ended_everywhere")
        #expect(try await loggedOutOf { try await client.logoutEverywhere(confirm: confirm) }.reason == "ended_everywhere")
    }

    @Test func aCallWithAKeyHasOneEffect() async throws {
        let client = try await Device(server).login().client
        server.fault(server.loseAnswer, server.loseRequest, server.loseAnswer)
        struct Payment: Codable { var amount = 7 }
        let answer = try await client.call("POST", "/transfers", json: Payment(), idempotencyKey: key)
        #expect(answer.status == 201 && server.effects == 1)
        #expect(try answer.json() == ["paid": true])
        #expect(try answer.decoded([String: Bool].self) == ["paid": true])
        server.fault(server.loseAnswer)
        #expect(try await kindOf { _ = try await client.call("POST", "/transfers", json: Payment()) } == "answer_lost")
        #expect(Baton.newIdempotencyKey().count == 22)
    }

    @Test func aLoginGoesOnWithItsAttemptAfterARestart() async throws {
        let device = try Device(server)
        let stored = Box<String?>(nil)
        server.fault { [server] request in
            stored.value = try device.record.pending?.attempt // Rule 1: before it is sent.
            return try await server.loseAnswer(request)
        }
        server.fail(server.loseAnswer)
        #expect(try await kindOf { _ = try await device.client.register(email: "bob@example.com", password: password, deviceName: name) } == "offline")
        server.online()
        let restarted = try Device(server, device.storage).client
        _ = try? await restarted.login(email: " Bob@Example.com", password: password, deviceName: name) // This server compares letters.
        let attempts = server.log.filter { $0.path == "/register" || $0.path == "/login" }.map { $0.headers["idempotency-key"] }
        let attempt = try #require(stored.value)
        #expect(Set(attempts) == ["\"\(attempt)\""])
        #expect(server.log.last?.path == "/login")
    }

    @Test func aSecondFactorAWrongCodeARestartTheRightCode() async throws {
        let device = try Device(server)
        server.account(ada, factor: "123456")
        let step = try await device.step()
        #expect(step.factors == ["totp"] && step.expiresAt == server.time + 600)
        #expect(try await refusedOf { _ = try await step.prove(Proof(totp: "000000")) }.code == "invalid_factor")
        let restarted = try #require(try await Device(server, device.storage).client.pendingStep())
        #expect(restarted.factors == ["totp"] && restarted.expiresAt == server.time + 600)
        #expect(try await restarted.options() == ["challenge": "c"])
        try await restarted.sendEmailCode()
        #expect(try await restarted.enrolment("totp")["enrolment"] == "en.1")
        let done = try done(await restarted.prove(Proof(totp: "123456"), enrolment: "en.1"))
        #expect(done.recoveryCodes == ["one", "two"])
        #expect(try await device.client.pendingStep() == nil)
        #expect(server.sent("/login/factor").last?.body.contains("\"remember_device\":true") == true)
        _ = try await device.client.me()
    }

    @Test func aStepThatHasExpiredIsNotReturned() async throws {
        let device = try Device(server)
        server.account(ada, factor: "123456")
        _ = try await device.step()
        server.time += 600
        #expect(try await device.client.pendingStep() == nil)
    }

    @Test func aVoidSessionOfAFactorIsDropped() async throws {
        let device = try Device(server)
        server.account(ada, factor: "123456")
        let step = try await device.step()
        server.account(ada)
        #expect(try await refusedOf { _ = try await step.prove(Proof(totp: "123456")) }.code == "invalid_session")
        #expect(try device.record.pending == nil)
    }

    @Test func aPasskeyAlone() async throws {
        let client = try Device(server).client
        _ = try done(await client.loginWithPasskey(deviceName: name) { options in ["challenge": options["challenge"] ?? .null] })
        _ = try await client.me()
        let sent = try #require(server.sent("/login/passkey").first)
        #expect(try JSON.parse(Data(sent.body.utf8)).members?.keys.sorted() == ["client_id", "credential", "device"])
        #expect(sent.headers["idempotency-key"]?.count == 24)
        let refused = try await refusedOf { _ = try await client.loginWithPasskey(deviceName: name) { _ in ["challenge": "old"] } }
        #expect(refused.code == "challenge_invalid")
        guard case .signedIn = try await client.state() else { throw NotThis() }
    }

    @Test func codesByMail() async throws {
        let device = try Device(server)
        let client = device.client
        let session = try await client.forgotPassword(email: ada)
        #expect(session == "ms.1")
        let before = try device.record.key
        let wrong = try await refusedOf { try await client.resetPassword(session: session, code: "0000 0000", newPassword: password) }
        #expect(wrong.code == "invalid_code")
        try await client.resetPassword(session: session, code: "1234 5678", newPassword: password)
        let mail = MailCode(session: try await client.startRegistration(email: "bob@example.com"), code: "1")
        _ = try await client.register(email: "bob@example.com", password: password, deviceName: name, mail: mail)
        let sent = try JSON.parse(Data(try #require(server.sent("/register").first).body.utf8))
        #expect(sent["mail_session"] == "ms.1" && sent["code"] == "1")
        #expect(try device.record.key == before, "one key for the code and for what follows")
    }

    @Test func hmacTheSecondLoginIsSignedWithTheLastSecret() async throws {
        let device = try await Device(server, binding: .hmac).login()
        _ = try await device.client.me()
        let secret = try #require(try device.record.session?.secret)
        try await device.client.logout()
        #expect(try device.record.last?.secret == secret)
        try await device.login()
        #expect(server.sent("/login").map { $0.headers["signature"] != nil } == [false, true])
    }

    @Test func withoutABindingNothingIsSigned() async throws {
        _ = try await Device(server, binding: .none).login().client.me()
        #expect(server.log.allSatisfy { $0.headers["signature"] == nil })
    }

    @Test func statesBeginWithTheStateOfNowAndEachIsToldOnce() async throws {
        let device = try Device(server)
        var states = device.client.states.makeAsyncIterator()
        #expect(await states.next() == .signedOut(reason: nil, at: nil))
        try await device.login()
        try expire(device.storage)
        _ = try await device.client.me()
        try await device.client.logout()
        #expect(await states.next() == .signedIn(deviceId: server.lineages[0].id))
        #expect(await states.next() == .signedOut(reason: "logout", at: server.time))
        try await device.login()
        #expect(await states.next() == .signedIn(deviceId: server.lineages[1].id))
    }

    @Test func noSecretIsShownByTheObjectsOfTheClient() async throws {
        let device = try await Device(server).login()
        server.account(ada, factor: "123456")
        let step = try await Device(server).step()
        let record = try device.record
        let lost = try await failure {
            _ = try await Device(server, device.storage, transport: Wire(work: server.loseRequest)).client.call("POST", "/x", json: ["a": password])
        }
        let session = try #require(record.session)
        let key = try #require(record.key)
        let request = Request(method: "GET", url: "u", headers: ["a": session.accessToken], body: Data(password.utf8))
        let answer = RawAnswer(status: 200, headers: [:], bytes: Data(session.accessToken.utf8))
        let revoked = revoked(record, "logout", at: 0)
        let shown: [Any] = [
            device.client, step, Login.step(step), lost, record, session, key, Proof(password: password), device.storage, request, answer, revoked,
            revoked.revocations, MailCode(session: session.accessToken, code: password), try SoftwareKeys().open(key) as Any,
            LastSecret(keyId: "k", secret: password), Pending(kind: "login", email: "e", clientId: "c", binding: "key", attempt: session.attempt),
        ]
        for one in shown {
            var dumped = ""
            dump(one, to: &dumped)
            for text in ["\(one)", String(reflecting: one), dumped] {
                for secret in [session.accessToken, session.attempt, String(key.data.suffix(60)), password, "as.ada"] {
                    #expect(!text.contains(secret), "\(type(of: one))")
                }
            }
        }
        #expect(step.problem["auth_session"] == nil)
    }

    @Test func errorsOfTheProgramAreNoticedBeforeAnythingIsSent() async throws {
        let client = try await Device(server).login().client
        let count = server.log.count
        struct Odd: Encodable { func encode(to encoder: any Encoder) throws { throw NotThis() } }
        let wrong: [() async throws -> Void] = [
            { _ = try await client.call("GET", "me") }, { _ = try await client.call("GET", "/a/../me") }, { _ = try await client.call("get", "/me") },
            { _ = try await client.call("POST", "/x", json: 1, body: Data([1])) }, { _ = try await client.call("POST", "/x", json: Odd()) },
            { _ = try await client.call("POST", "/x", idempotencyKey: "short") },
        ]
        for work in wrong { await #expect(throws: InvalidInput.self) { try await work() } }
        #expect(server.log.count == count)
        func simulator(_ plain: Bool) throws -> Baton {
            try Baton(baseURL: "http://10.0.2.2:8000", clientId: "m", storage: MemoryStorage(), keys: SoftwareKeys(), options: Options(plainHttp: plain))
        }
        #expect(throws: InvalidInput.self) { try simulator(false) }
        _ = try simulator(true)
    }
}
