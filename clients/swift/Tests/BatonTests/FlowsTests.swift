import Foundation
import Testing

@testable import Baton

/// Exchanges, copies, storages, keys and clocks, on the fake server.
@Suite(.timeLimit(.minutes(1))) struct FlowsTests {
    let server = FakeServer()

    /// Hold the next request until the second gate opens, or for ten seconds. Then it is lost.
    private func held() -> (began: Gate, release: Gate) {
        let (began, release) = (Gate(), Gate())
        server.fault { _ in
            began.open()
            await release.wait()
            throw NoAnswer("lost on the way out")
        }
        Task {
            try await Task.sleep(nanoseconds: 10_000_000_000)
            release.open()
        }
        return (began, release)
    }

    @Test func fiftyCallersWithAnExpiredTokenMakeOneExchange() async throws {
        let device = try await Device(server).login()
        for _ in 0..<5 {
            try expire(device.storage)
            let answers = try await withThrowingTaskGroup(of: String?.self) { group in
                for _ in 0..<50 { group.addTask { try await device.client.me()["device_id"]?.text } }
                return try await group.reduce(into: [String?]()) { $0.append($1) }
            }
            #expect(answers == Array(repeating: server.lineages[0].id, count: 50))
        }
        #expect(server.sent("/oauth/token").count == 5)
    }

    @Test func theFirstOfFiftyCallersCancelsAndTheOthersAreAnswered() async throws {
        let device = try await Device(server).login()
        try expire(device.storage)
        let (began, release) = held()
        let first = Task { try await device.client.me() }
        await began.wait()
        let others = (0..<49).map { _ in Task { try await device.client.me() } }
        try await Task.sleep(nanoseconds: 200_000_000) // They wait for the exchange too.
        first.cancel()
        await #expect(throws: CancellationError.self) { try await first.value }
        release.open()
        for other in others { #expect(try await other.value["device_id"] != nil) }
        #expect(server.sent("/oauth/token").count == 1)
    }

    @Test func aCallerWithAShortDeadlineIsOfflineAndTheExchangeGoesOn() async throws {
        let device = try await Device(server).login()
        try expire(device.storage)
        let (began, release) = held()
        let long = Task { try await device.client.me() }
        await began.wait()
        #expect(try await kindOf { _ = try await device.client.me(deadline: 0.02) } == "offline")
        release.open()
        #expect(try await long.value["device_id"] != nil)
        #expect(server.sent("/oauth/token").count == 1)
    }

    @Test func anExchangeWhoseAnswerIsLostThreeTimesGetsTheSameChild() async throws {
        let device = try await Device(server).login()
        try expire(device.storage)
        server.fault(server.loseAnswer, server.loseAnswer, server.loseAnswer)
        _ = try await device.client.me()
        let sent = server.sent("/oauth/token")
        #expect(sent.count == 4 && server.lineages[0].generation == 1)
        #expect(Set(sent.map { $0.headers["idempotency-key"] }).count == 1)
    }

    @Test func rule1TheAttemptIsInTheStorageBeforeTheExchangeIsSent() async throws {
        let device = try await Device(server).login()
        try expire(device.storage)
        let stored = Box<String?>(nil)
        server.fault { [server] request in
            stored.value = try device.record.session?.attempt
            return server.serve(request)
        }
        _ = try await device.client.me()
        let attempt = try #require(stored.value)
        #expect(server.sent("/oauth/token").map { $0.headers["idempotency-key"] } == ["\"\(attempt)\""])
        #expect(try device.record.session?.attempt != attempt)
    }

    @Test func rule3ALateChildDoesNotReplaceTheRecordOfAnotherProcess() async throws {
        let device = try await Device(server).login()
        let sibling = try Device(server, device.storage)
        try expire(device.storage)
        server.fault { [server] request in
            let answer = server.serve(request)
            _ = try await sibling.client.me() // It gets the same child, stores it, and exchanges that too.
            try expire(device.storage)
            _ = try await sibling.client.me()
            return answer
        }
        _ = try await device.client.me()
        #expect(try device.record.session?.accessToken.hasSuffix(".2") == true)
    }

    @Test func rule2StorageMovedWhileThisProcessPaused() async throws {
        let storage = try await Device(server).login().storage
        let sibling = try Device(server, storage)
        let device = try Device(server, storage, sleep: { _ = try await sibling.client.me() })
        try expire(storage)
        server.fault(server.loseRequest)
        _ = try await device.client.me()
        #expect(server.sent("/oauth/token").count == 1, "the one of the sibling: the old token is not sent again")
    }

    private func cloneThatExchangedTwice(_ device: Device) async throws -> Device {
        let clone = try Device(server, try copyOf(device.storage))
        for _ in 0..<2 {
            try expire(clone.storage)
            _ = try await clone.client.me()
        }
        try expire(device.storage)
        return clone
    }

    @Test func rule8ACloneExchangesTwiceAndTheOwnerRevokes() async throws {
        let device = try await Device(server).login()
        let clone = try await cloneThatExchangedTwice(device)
        let before = try #require(try device.record.key)
        let ended = try await loggedOutOf { _ = try await device.client.me() }
        #expect(ended.reason == "reuse" && ended.confirmed)
        #expect(server.lineages[0].ended == "reuse")
        #expect(try device.record.revocations == [])
        #expect(try await loggedOutOf { _ = try await clone.client.me() }.reason == "reuse")
        try await device.login()
        #expect(try device.record.key?.data != before.data, "the next login has a new key")
    }

    @Test func rule8WithoutANetworkKeepsTheRevocation() async throws {
        let device = try await Device(server).login()
        _ = try await cloneThatExchangedTwice(device)
        server.fault(server.usual, server.usual)
        server.fail(server.loseRequest)
        let ended = try await loggedOutOf { _ = try await device.client.me() }
        #expect(ended.reason == "reuse" && !ended.confirmed)
        #expect(try device.record.revocations.count == 1)
        server.online()
        try await Device(server, device.storage).login() // As after a restart.
        #expect(try device.record.revocations == [])
        #expect(server.lineages.map(\.ended) == ["reuse", nil])
    }

    @Test func aLoginElsewhereWithThisKeyEndsIt() async throws {
        let device = try await Device(server).login()
        try await Device(server, try copyOf(device.storage)).login()
        #expect(try await loggedOutOf { _ = try await device.client.me() }.reason == "replaced")
        #expect(try device.record.key == nil, "another holder has this key")
        let state = try await Device(server, device.storage).client.state()
        #expect(state == .signedOut(reason: "replaced", at: server.time), "the reason survives a restart")
    }

    @Test func aLostKeyLogsOut() async throws {
        let device = try await Device(server).login()
        let other = try SoftwareKeys().create()
        _ = try device.storage.update { now in
            var later = now
            later.key?.data = other.data
            return later
        }
        #expect(try await loggedOutOf { _ = try await device.client.me() }.reason == "key_lost")
        #expect(try await device.client.state() == .signedOut(reason: "key_lost", at: server.time))
        try await device.login()
        #expect(try await device.client.me()["device_id"] != nil)
    }

    @Test func aKeyOfAnotherLoginDoesNotSign() async throws {
        let device = try await Device(server).login()
        let other = try SoftwareKeys().create()
        _ = try device.storage.update { now in
            var later = now
            later.key = StoredKey(store: other.store, data: other.data, jwk: other.signer.jwk)
            return later
        }
        let count = server.log.count
        #expect(try await loggedOutOf { _ = try await device.client.me() }.reason == "key_lost")
        #expect(server.log.count == count, "nothing was sent")
    }

    private struct Busy: DeviceKeys {
        func create() throws -> CreatedKey { throw NotThis() }
        func open(_ key: StoredKey) throws -> (any Signer)? { throw NotThis() }
        func remove(_ key: StoredKey) {}
    }

    @Test func aKeyStoreInTroubleEndsNothing() async throws {
        let storage = try await Device(server).login().storage
        let device = try Device(server, storage, keys: Busy())
        #expect(try await kindOf { _ = try await device.client.me() } == "storage_unavailable")
        #expect(device.slept.value == [0.2, 1])
        #expect(try storage.read().session != nil)
    }

    /// A key store that opens a key, and then fails some times.
    private struct Failing: DeviceKeys, Signer {
        let real: any Signer
        let failures: Box<Int>
        var jwk: PublicJwk { real.jwk }

        func create() throws -> CreatedKey { throw NotThis() }
        func open(_ key: StoredKey) throws -> (any Signer)? { self }
        func remove(_ key: StoredKey) {}

        func sign(_ message: Data) throws -> Data {
            try failures.change { left in
                if left > 0 {
                    left -= 1
                    throw NotThis()
                }
            }
            return try real.sign(message)
        }
    }

    @Test func troubleAtASignatureIsTriedTwiceAgain() async throws {
        let storage = try await Device(server).login().storage
        let key = try #require(try storage.read().key)
        let real = try #require(try SoftwareKeys().open(key))
        let failures = Box(2)
        let device = try Device(server, storage, keys: Failing(real: real, failures: failures))
        _ = try await device.client.me()
        #expect(device.slept.value == [0.2, 1])
        failures.value = 3
        #expect(try await kindOf { _ = try await device.client.me() } == "storage_unavailable")
        #expect(try storage.read().session != nil)
    }

    @Test func aStorageThatIsLockedOrFullEndsNothing() async throws {
        let storage = try await Device(server).login().storage
        try expire(storage)
        let trouble = Box("read")
        let broken = Shelf(
            reading: {
                if trouble.value == "read" { throw NotThis() }
                return try storage.read()
            },
            updating: { change in
                if trouble.value == "update" { throw NotThis() }
                return try storage.update(change)
            }
        )
        let device = try Device(server, broken)
        let count = server.log.count
        #expect(try await kindOf { _ = try await device.client.me() } == "storage_unavailable")
        #expect(server.log.count == count)
        trouble.value = "update"
        #expect(try await kindOf { _ = try await device.client.me() } == "storage_unavailable") // The child cannot be stored, so it is not used.
        trouble.value = ""
        _ = try await device.client.me()
        #expect(server.lineages[0].generation == 1, "the same child")
    }

    @Test func aWrongClockCostsOneMoreRequest() async throws {
        let device = try await Device(server, wrong: 86_400).login()
        #expect(server.sent("/login").count == 2)
        #expect(device.client.now().rounded(.down) == server.time)
        #expect(try await device.client.syncClock() == -86_400)
    }

    @Test func aPortalAnswersEveryVerb() async throws {
        let device = try await Device(server).login()
        let portal = try Device(server, device.storage, transport: Wire(work: server.portal)).client
        let safe: [() async throws -> Void] = [
            { _ = try await portal.me() }, { _ = try await portal.devices() }, { try await portal.endDevice("x", confirm: confirm) },
            { try await portal.logoutEverywhere(confirm: confirm) }, { try await portal.syncClock() },
        ]
        for work in safe { #expect(try await kindOf(work) == "offline") }
        let once: [() async throws -> Void] = [
            { try await portal.changePassword("x", confirm: confirm) }, { try await portal.deleteAccount(confirm: confirm) },
            { _ = try await portal.call("POST", "/x") },
        ]
        for work in once { #expect(try await kindOf(work) == "answer_lost") }
        try expire(device.storage)
        #expect(try await kindOf { _ = try await portal.me() } == "offline")
        #expect(try device.record.session != nil)
        _ = try await device.client.me()
    }

    @Test func aCallThatPausesCanBeCancelled() async throws {
        let device = try await Device(server).login()
        let paused = Gate()
        let wire = Wire(work: server.refuse)
        let client = try Baton(
            baseURL: address, clientId: "mobile", storage: device.storage, keys: SoftwareKeys(), transport: wire,
            options: Options(sleep: { _ in
                paused.open()
                try await Task.sleep(nanoseconds: 60_000_000_000)
            })
        )
        let caller = Task { try await client.call("POST", "/x") }
        await paused.wait()
        caller.cancel()
        await #expect(throws: CancellationError.self) { try await caller.value }
    }
}
