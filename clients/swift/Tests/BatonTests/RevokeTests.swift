import Foundation
import Testing

@testable import Baton

/// Revocations and overtaken logins: guards that need a particular order of events.
@Suite(.timeLimit(.minutes(1))) struct RevokeTests {
    let server = FakeServer()

    private func refusing(_ error: String, _ code: String, _ action: String) -> Fault {
        { _ in
            let headers = ["baton-request-id": "0123abcd-ef", "content-type": "application/json", "cache-control": "no-store"]
            let members: JSON = ["error": .string(error), "code": .string(code), "action": .string(action)]
            return RawAnswer(status: 400, headers: headers, bytes: try members.written())
        }
    }

    private func isSignedOut(_ client: Baton) async throws -> Bool {
        if case .signedOut = try await client.state() { true } else { false }
    }

    @Test func logoutWithoutANetworkSignsOutAtOnce() async throws {
        let device = try await Device(server).login()
        server.fail(server.refuse)
        #expect(try await !device.client.logout().confirmed)
        #expect(try await isSignedOut(device.client))
        #expect(try await kindOf { _ = try await device.client.me() } == "not_logged_in")
        server.online()
        server.fail(server.portal) // A portal's page confirms nothing.
        try await Device(server, device.storage).client.logout()
        #expect(try device.record.revocations.count == 1)
        server.online()
        let later = try await Device(server, device.storage).login()
        _ = try await later.client.me()
        #expect(try device.record.revocations == [])
        #expect(server.lineages.map(\.ended) == ["logout", nil], "the login since is untouched")
    }

    @Test func logoutWithANetworkIsConfirmedAndASecondOneToo() async throws {
        let client = try await Device(server).login().client
        #expect(try await client.logout().confirmed)
        #expect(try await client.logout().confirmed)
        #expect(try await client.state() == .signedOut(reason: "logout", at: server.time))
    }

    @Test func aRefusedRevocationIsKeptUntilTheAppStartsAgain() async throws {
        let device = try await Device(server).login()
        server.fault(refusing("unauthorized_client", "unauthorized_client", "fix_request"))
        #expect(try await !device.client.logout().confirmed)
        try await device.login()
        _ = try await device.client.me()
        #expect(try device.record.revocations.count == 1)
        #expect(server.sent("/oauth/revoke").isEmpty)
        _ = try await Device(server, device.storage).client.me()
        #expect(try device.record.revocations.isEmpty)
        #expect(server.sent("/oauth/revoke").count == 1)
    }

    @Test func aLoginThatHasEndedAtTheServerCompletesItsRevocation() async throws {
        let device = try await Device(server).login()
        server.fault(refusing("invalid_grant", "login_required", "log_in"))
        #expect(try await device.client.logout().confirmed)
    }

    @Test func anUnansweredRevocationDoesNotDelayEachCall() async throws {
        let device = try await Device(server).login()
        server.fail(server.loseRequest)
        try await device.client.logout()
        server.online()
        try await device.login()
        _ = try await device.client.me()
        #expect(server.sent("/oauth/revoke").isEmpty)
        server.time += 31
        _ = try await device.client.me()
        #expect(server.sent("/oauth/revoke").count == 1)
    }

    @Test func aRevocationWithoutItsKeyIsDroppedAndOneOf31DaysToo() async throws {
        let device = try await Device(server).login()
        let own = try device.record.session?.keyId
        let time = server.time
        _ = try device.storage.update { now in
            var later = now
            later.revocations = [
                Revocation(token: "t", keyId: "a key that is gone", secret: nil, since: time, key: nil),
                Revocation(token: "u", keyId: own, secret: nil, since: time - 31 * 86400, key: nil),
            ]
            return later
        }
        _ = try await Device(server, device.storage).client.me()
        #expect(try device.record.revocations.isEmpty)
        #expect(server.sent("/oauth/revoke").isEmpty)
    }

    @Test func logoutWithoutTheKeyOfTheLoginIsNotConfirmed() async throws {
        let device = try await Device(server).login()
        _ = try device.storage.update { now in
            var later = now
            later.key = nil
            return later
        }
        #expect(try await !device.client.logout().confirmed)
        #expect(try device.record.revocations.isEmpty)
        #expect(server.sent("/oauth/revoke").isEmpty)
    }

    @Test func atMostEightRevocationsWait() async throws {
        let storage = MemoryStorage()
        for _ in 0..<10 {
            let before = storage.read().revocations
            _ = storage.update { now in
                var later = now
                later.revocations = [] // Without them the login sends none.
                return later
            }
            let device = try await Device(server, storage).login()
            _ = storage.update { now in
                var later = now
                later.revocations = before
                return later
            }
            server.fail(server.loseRequest)
            try await device.client.logout()
            server.online()
        }
        #expect(storage.read().revocations.count == 8)
    }

    @Test func aLoginThatAnotherOneOvertookIsNotStored() async throws {
        server.account("bob@example.com")
        let device = try Device(server)
        let other = try Device(server, device.storage)
        server.fault { [server] request in
            let answer = server.serve(request)
            _ = try await other.client.login(email: "bob@example.com", password: password, deviceName: name)
            return answer
        }
        #expect(try await kindOf { try await device.login() } == "not_logged_in")
        #expect(try await other.client.me()["email"]?.text == "bob@example.com")
    }

    @Test func aLogoutEndsACloneToo() async throws {
        let device = try await Device(server).login()
        let clone = try Device(server, try copyOf(device.storage))
        try await device.client.logout()
        #expect(try await loggedOutOf { _ = try await clone.client.me() }.reason == "logout")
    }

    @Test func aLogoutBesideALongExchangeRevivesNothing() async throws {
        let device = try await Device(server).login()
        try expire(device.storage)
        server.fault { [server] request in
            let answer = server.serve(request)
            try await device.client.logout()
            return answer
        }
        #expect(try await kindOf { _ = try await device.client.me() } == "not_logged_in")
        #expect(try await isSignedOut(device.client))
    }
}
